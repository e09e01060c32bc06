"""Long answers of one sequence on a GPU, where a decode step is one kernel: 100,000 tokens in all without a hang or a number that is none, and the same seed giving the
same tokens. Random weights in the shape of gpt-oss-20b. GPTOSS_LONG=1, GPTOSS_BACKEND=cuda."""
import math

import pytest
import requests
from conftest import BACKEND, LONG, Server

pytestmark = pytest.mark.skipif(BACKEND != "cuda" or not LONG, reason="wants GPTOSS_BACKEND=cuda and GPTOSS_LONG=1")

TOKENS = 25000
PROMPT = [(i * 37 + 5) % 150000 for i in range(100)]


@pytest.fixture(scope="module")
def server():
    running = Server(1, None, "--set", "model.weights=dummy", "--set", "engine.max_sequences=8", config="20b")
    yield running
    if running.process.poll() is None:
        running.stop()


def complete(server, prompt, **fields):
    body = {"prompt": prompt, "ignore_eos": True, "return_tokens_as_token_ids": True, **fields}
    answer = requests.post(server.url + "/v1/completions", json=body, timeout=300)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


def ids(choice):
    return [int(token.removeprefix("token_id:")) for token in choice["logprobs"]["tokens"]]


def test_a_hundred_thousand_tokens(server):
    drawn = []
    for seed in (1, 1, 2, 2):
        choice = complete(server, PROMPT, max_tokens=TOKENS, temperature=1, seed=seed, logprobs=0)
        assert all(math.isfinite(value) for value in choice["logprobs"]["token_logprobs"])
        drawn.append(ids(choice))
    assert [len(tokens) for tokens in drawn] == [TOKENS] * 4
    assert drawn[0] == drawn[1] and drawn[2] == drawn[3], "the same seed gave other tokens"
    assert drawn[0] != drawn[2]
