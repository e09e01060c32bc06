"""Layout independence: however ranks share the work and steps cut it, greedy tokens are the same."""
import concurrent.futures
import random
import re

import pytest
import requests
from conftest import BACKEND, Server, wait_until

LAYOUTS = [(1, []), (2, ["tp", "tp"]), (2, ["tp", "ep"]), (2, ["dp", "tp"]), (2, ["dp", "ep"]), (4, ["tp", "tp"]), (4, ["tp", "ep"]),
           (4, ["dp", "tp"]), (4, ["dp", "ep"])]


def prompts():
    draw = random.Random(1)
    shared = [draw.randrange(4000) for _ in range(150)]  # a prefix that several prompts share, longer than the sliding window
    made = [[draw.randrange(4000) for _ in range(n)] for n in (1, 2, 16, 17, 127, 128, 129, 300)]
    return made + [shared + [draw.randrange(4000) for _ in range(n)] for n in (1, 20, 60)]


def greedy_of_one_request(server, prompts, max_tokens=24):
    body = {"prompt": prompts, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True, "logprobs": 0, "return_tokens_as_token_ids": True}
    answer = requests.post(server.url + "/v1/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return [choice["logprobs"]["tokens"] for choice in answer.json()["choices"]]


def greedy(server, prompt):
    return greedy_of_one_request(server, [prompt])[0]


def all_greedy(server, together):
    with concurrent.futures.ThreadPoolExecutor(len(prompts()) if together else 1) as pool:
        return list(pool.map(lambda p: greedy(server, p), prompts()))


@pytest.fixture(scope="module")
def reference(tiny_model):
    server = Server(1, tiny_model, "--set", "engine.prefix_cache=false")
    tokens = all_greedy(server, together=False)
    server.stop()
    assert all(len(t) == 24 for t in tokens)
    return tokens


@pytest.mark.parametrize("ranks, layout", LAYOUTS, ids=lambda v: str(v) if isinstance(v, int) else "-".join(v) or "alone")
def test_layouts_agree(start, reference, ranks, layout):
    flags = [f for key, value in zip(("attention", "experts"), layout) for f in ("--set", f"parallel.{key}={value}")]
    server = start(ranks, *flags)
    assert all_greedy(server, together=True) == reference  # batched, prefix cache on
    assert all_greedy(server, together=False) == reference  # alone, every prompt found in the prefix cache


def test_memory_of_each_rank(start):
    """Once all have said it, which they do by themselves; a rank's part of the weights is less than all of them."""
    alone, server = start(1), start(3, "--set", "parallel.attention=dp")

    def figures(of, name):
        text = requests.get(of.url + "/metrics", timeout=10).text
        device = "cpu" if BACKEND == "cpu" else "cuda:0"
        return [int(line.split()[-1]) for line in text.splitlines() if re.match(rf'vllm:device_memory_{name}_bytes\{{.*,rank="\d+",device="{device}"', line)]

    assert wait_until(lambda: len(figures(server, "used")) == 3 and len(figures(alone, "used")) == 1, 10)
    used, total, weights, kv_cache = (figures(server, name) for name in ("used", "total", "weights", "kv_cache"))
    assert all(0 < u < t for u, t in zip(used, total)) and len(set(total)) == 1 and len(set(kv_cache)) == 1 and kv_cache[0] > 0
    assert max(weights) < figures(alone, "weights")[0] < sum(weights), "experts are split, attention is held by each"


def test_chunked_prefill_agrees(start, reference):
    server = start(2, "--set", "engine.max_tokens_per_step=19", "--set", "engine.max_sequences=5")
    assert all_greedy(server, together=True) == reference


def test_preemption_agrees(start):
    """Sequences that grow beyond a small cache are preempted and recomputed, and say what they would have said."""
    small = start(2, "--max-model-len", "400", "--set", "engine.kv_cache=2200KiB", "--set", "engine.max_tokens_per_step=64")
    large = start(2)
    starts = [[i] * 8 for i in range(1, 7)]
    answers = [greedy_of_one_request(server, starts, 350) for server in (small, large)]
    assert answers[0] == answers[1]
    metrics = requests.get(small.url + "/metrics", timeout=10).text
    assert [float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("vllm:num_preemptions_total")][0] > 0
