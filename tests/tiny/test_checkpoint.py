"""The written checkpoint against Hugging Face in float32, and what the program makes of it. Not part of tests/run.sh: it needs torch and
transformers.

    GPTOSS_TINY=tests/data/tiny GPTOSS_PROGRAM=build/release/launch/gptoss-tp python3 -m pytest tests/tiny/test_checkpoint.py
"""
import json
import os
import pathlib
import random

import pytest

import conversations
import measure
import vocabulary

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
import checkpoint  # noqa: E402  (needs torch)
import mxfp4  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = pathlib.Path(os.environ.get("GPTOSS_TINY", ROOT / "tests" / "data" / "tiny"))
PROGRAM = os.environ.get("GPTOSS_PROGRAM", ROOT / "build" / "release" / "launch" / "gptoss-tp")
needs_model = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason=f"{MODEL} holds no model")
TOLERANCE = 2e-4  # float32 sums in another order, through a few layers


def test_packing_is_what_training_rounds():
    torch.manual_seed(1)
    weight = torch.randn(3, 10, 96) * torch.exp(2 * torch.randn(3, 10, 1))
    assert torch.equal(mxfp4.unpacked(*mxfp4.packed(weight)), mxfp4.rounded(weight))
    assert torch.equal(mxfp4.rounded(mxfp4.rounded(weight)), mxfp4.rounded(weight))
    assert (mxfp4.rounded(weight) - weight).abs().max() <= weight.abs().max() / 4
    codes = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6] * 4)
    assert torch.equal(mxfp4.rounded(codes), codes) and torch.equal(mxfp4.rounded(-codes), -codes)


@pytest.fixture(scope="module")
def reference():
    config = transformers.GptOssConfig(**{k: v for k, v in json.loads((MODEL / "config.json").read_text()).items() if k != "quantization_config"})
    config._attn_implementation = "eager"
    model = transformers.GptOssForCausalLM(config).float().eval()
    model.load_state_dict(checkpoint.float_state(MODEL), strict=True)
    return model


@pytest.fixture(scope="module")
def url():
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    with measure.Server(PROGRAM, MODEL) as address:
        yield address


@needs_model
def test_log_probabilities_are_hugging_faces(reference, url):
    v, rng = vocabulary.Vocabulary(), random.Random(3)
    for _ in range(12):
        prompt, completion = conversations.draw(rng).parts()
        ids = v.encode_parts(prompt + completion)
        body = {"prompt": ids, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0}
        ours = measure.post(url + "/v1/completions", body)["choices"][0]["logprobs"]["token_logprobs"]
        with torch.no_grad():
            every = torch.log_softmax(reference(torch.tensor([ids])).logits[0].double(), -1)
        theirs = every[torch.arange(len(ids) - 1), torch.tensor(ids[1:])]
        assert (torch.tensor(ours[1:], dtype=torch.float64) - theirs).abs().max() < TOLERANCE


@needs_model
def test_the_server_renders_what_was_trained(url):
    v, rng = vocabulary.Vocabulary(), random.Random(4)
    for _ in range(300):
        c = conversations.draw(rng)
        body = {"messages": c.messages, "reasoning_effort": c.effort, "current_date": c.date, **({"tools": c.tools} if c.tools else {})}
        assert measure.post(url + "/tokenize", body)["tokens"] == v.encode_parts(c.parts()[0])
