"""Long answers of one sequence on a GPU: 100,000 tokens in all without a hang or a number that is none, and the same seed giving the same tokens. By one rank, where a
decode step is one kernel: random weights in the shape of gpt-oss-20b. By two ranks that share the GPU, at the same time, which takes NVIDIA's MPS: the tiny model.
GPTOSS_LONG=1, GPTOSS_BACKEND=cuda."""
import contextlib
import math
import os
import shutil
import subprocess

import pytest
import requests
from conftest import BACKEND, LONG, Server

pytestmark = pytest.mark.skipif(BACKEND != "cuda" or not LONG, reason="wants GPTOSS_BACKEND=cuda and GPTOSS_LONG=1")

PROMPT = [(i * 37 + 5) % 250 for i in range(100)]


@contextlib.contextmanager
def serving(*arguments, **more):
    server = Server(*arguments, **more)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def complete(server, **fields):
    body = {"prompt": PROMPT, "ignore_eos": True, "return_tokens_as_token_ids": True, "temperature": 1, "logprobs": 0, **fields}
    answer = requests.post(server.url + "/v1/completions", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    logprobs = answer.json()["choices"][0]["logprobs"]
    assert all(math.isfinite(value) for value in logprobs["token_logprobs"])
    return [int(token.removeprefix("token_id:")) for token in logprobs["tokens"]]


def check_seeds(server, seeds, tokens):
    """Each seed twice; 100,000 tokens in all."""
    assert 2 * len(seeds) * tokens >= 100000
    drawn = {}
    for seed in seeds:
        drawn[seed], again = (complete(server, max_tokens=tokens, seed=seed) for _ in range(2))
        assert len(again) == tokens
        assert drawn[seed] == again, "the same seed gave other tokens"
    assert len({tuple(ids) for ids in drawn.values()}) == len(seeds)


def test_one_rank():
    with serving(1, None, "--set", "model.weights=dummy", "--set", "engine.max_sequences=8", config="20b") as server:
        check_seeds(server, (1, 2), 25000)


@pytest.fixture
def sharing(tmp_path):
    """The GPU serves several processes at once. Without this they take turns of milliseconds, at every exchange."""
    control = shutil.which("nvidia-cuda-mps-control")
    if not control:
        pytest.skip("needs nvidia-cuda-mps-control, which comes with the driver")
    folders = {name: str(tmp_path / name) for name in ("CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY")}
    for folder in folders.values():
        os.mkdir(folder)
    os.environ.update(folders)
    subprocess.run([control, "-d"], check=True, timeout=30)
    yield
    subprocess.run([control], input="quit\n", text=True, timeout=30)
    for name in folders:
        del os.environ[name]


def test_two_ranks(sharing, tiny_model):
    with serving(2, tiny_model, "--set", "engine.kv_cache=256MiB") as server:
        check_seeds(server, (1, 2, 3, 4), 12500)
