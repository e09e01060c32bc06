#!/usr/bin/env python3
"""Makes tests/data/goldens_http.json: what Hugging Face computes in float32 from the tiny trained model, for tests that go through HTTP.

    pip install torch transformers==4.57.1 numpy safetensors regex
    python3 tests/data/make_goldens_http.py tests/data/tiny tests/data/goldens_http.json

The checkpoints of make_goldens.py have vocabularies that no tokenizer goes with; this one is served as it is. A list of prompts, random ids and
conversations of tests/tiny:

    name, ids   the prompt
    greedy      the float32 run's greedy continuation, behind any end of the answer
    gaps        between its best and second-best log-probability
    rows        for chosen positions of the prompt, and for every token of the continuation:
      position    of the token whose successor is told
      logprobs    id: log-probability in the float32 run, of its 8 best and, within the prompt, of the token that follows
      bf16        mean absolute difference of Hugging Face's own BF16 run over the same ids, the same tokens before them
"""
import copy
import json
import pathlib
import random
import sys

import torch
from transformers import GptOssConfig

import make_goldens

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tiny"))
import checkpoint  # noqa: E402
import conversations  # noqa: E402
import vocabulary  # noqa: E402

BEST, GREEDY, SEED = 8, 12, 11
# A prompt is redrawn where float32 rounding could decide the continuation, or moves a value by more than this from where it is in float64.
LEAST_GAP, MOST_ROUNDING = 1e-3, 3e-5
SHOWN = 20  # best tokens that an answer over HTTP holds at most
RANDOM_LENGTHS = [1, 2, 17, 64, 129, 300]
# Conversations that end where an answer begins; and several in a row cut behind so many tokens, past the window and past the context before YaRN.
CONVERSATIONS, CUT = 6, [129, 300, 700]


def draws(vocab):
    """Name and draw() of every prompt."""
    g, rng, v = torch.Generator().manual_seed(SEED), random.Random(SEED), vocabulary.Vocabulary()

    def question():
        return torch.tensor(v.encode_parts(conversations.draw(rng, "held_out").parts()[0]))

    def several(length):
        ids = []
        while len(ids) < length:
            ids += v.encode_parts(sum(conversations.draw(rng).parts(), []))
        return torch.tensor(ids[:length])

    return ([(f"{n} random ids", lambda n=n: torch.randint(0, vocab, (n,), generator=g)) for n in RANDOM_LENGTHS]
            + [(f"conversation {i + 1}", question) for i in range(CONVERSATIONS)]
            + [(f"{n} tokens of conversations", lambda n=n: several(n)) for n in CUT])


def settled(model, double, name, draw):
    """The prompt, its continuation and gaps, both together without the last token, and their log-probabilities."""
    while True:
        ids, _ = make_goldens.settled_prompt(model, draw)
        greedy, gaps = make_goldens.greedy_continuation(model, ids, GREEDY)
        text = torch.cat([ids, torch.tensor(greedy[:-1])])
        exact = make_goldens.log_probabilities(model, text)
        far = exact - make_goldens.log_probabilities(double, text)
        rounding = float(far.gather(1, exact.topk(BEST).indices).abs().max())
        if min(gaps) >= LEAST_GAP and rounding <= MOST_ROUNDING:
            return ids, greedy, gaps, text, exact
        print(f"  redraw {name}: gap {min(gaps):.1e}, rounding {rounding:.1e}")


def golden(model, half, double, g, name, draw):
    ids, greedy, gaps, text, exact = settled(model, double, name, draw)
    n = len(ids)
    rounded = make_goldens.log_probabilities(half, text)
    rows, worst_rank = [], 0
    for at in [p for p in make_goldens.choose_positions(g, n).tolist() if p < n - 1] + list(range(n - 1, len(text))):
        best = torch.topk(exact[at], BEST).indices
        rank = max(int((rounded[at] > rounded[at, i]).sum()) + 1 for i in best)
        worst_rank = max(worst_rank, rank)
        targets = torch.unique(torch.cat([best, text[at + 1:at + 2]])) if at < n - 1 else best
        rows.append({"position": at, "logprobs": {int(t): round(float(exact[at, t]), 7) for t in targets},
                     "bf16": round(float((rounded[at, targets] - exact[at, targets]).abs().mean()), 7)})
    values = sum(len(r["logprobs"]) for r in rows)
    error = sum(len(r["logprobs"]) * r["bf16"] for r in rows) / values
    print(f"{name}: {n} tokens, {values} values, BF16 error {error:.4f}, worst rank in BF16 of the {BEST} best {worst_rank} of {SHOWN} shown, "
          f"smallest gap {min(gaps):.1e}")
    return {"name": name, "ids": ids.tolist(), "greedy": greedy, "gaps": [round(x, 5) for x in gaps], "rows": rows}


def main(folder, out):
    torch.set_num_threads(2)
    published = json.loads((pathlib.Path(folder) / "config.json").read_text())
    config = GptOssConfig(**{k: v for k, v in published.items() if k != "quantization_config"})
    model, half = make_goldens.hugging_face(config, checkpoint.float_state(folder))
    g = torch.Generator().manual_seed(SEED)
    double = copy.deepcopy(model).double()
    made = [golden(model, half, double, g, name, draw) for name, draw in draws(config.vocab_size)]
    lines = ",\n".join(json.dumps(m, separators=(",", ":")) for m in made)
    pathlib.Path(out).write_text(f'{{"torch": "{torch.__version__}", "prompts": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(*sys.argv[1:])
