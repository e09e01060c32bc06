"""What a client gets over HTTP against Hugging Face in float32: log-probabilities of prompts and of greedy continuations by the trained tiny model
(tests/data/goldens_http.json, made by tests/data/make_goldens_http.py).

The bounds are those of tests/model/test_goldens.c. Answers say float32 numbers in nine digits, which loses nothing; the goldens have seven decimals.
"""
import json
import math

import pytest
import requests
from conftest import BACKEND, LONG, ROOT, Server

MAX_ERROR, MEAN_ERROR = 2e-4, 2e-5  # cpu: float32 sums in another order
# cuda: of the error of Hugging Face's own BF16 run, over all prompts together; over a part of the values, where single flips of the routing outweigh the rest
BF16_FACTOR, PART_FACTOR, BF16_GREEDY_GAP = 1.1, 2, 1.0
# BF16, in whosever run, now and then sends a token to another expert: then one of the golden's eight best may be none of the twenty that are told.
# It counts as if it came right behind them, which is less than its error, so it must be rare: Hugging Face's run had 1 in 7,000 values of
# a larger set of such prompts.
BF16_MISSING = 1e-3
EXACT = BACKEND == "cpu"
PROMPTS = json.loads((ROOT / "tests" / "data" / "goldens_http.json").read_text())["prompts"]
SHOWN = 20  # best tokens told of a place: the most there can be


@pytest.fixture(scope="module", params=[1, 2, 4] if not EXACT else [1, 2] if LONG else [2], ids=lambda n: f"ranks{n}")
def server(request):
    running = Server(request.param, ROOT / "tests" / "data" / "tiny")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


def complete(server, prompt, **fields):
    body = {"prompt": prompt, "max_tokens": len(PROMPTS[0]["greedy"]), "temperature": 0, "ignore_eos": True, "logprobs": SHOWN,
            "return_tokens_as_token_ids": True, **fields}
    answer = requests.post(server.url + "/v1/completions", json=body, timeout=120)
    assert answer.status_code == 200, answer.text
    return answer.json()


def number(token):
    return int(token.removeprefix("token_id:"))


def greedy_tokens(golden, choice):
    """How many tokens of the answer are the golden's, before the first other one, which only a near tie excuses."""
    tokens = [number(t) for t in choice["logprobs"]["tokens"]]
    assert len(tokens) == len(golden["greedy"]), f"{golden['name']}: {len(tokens)} tokens came, not {len(golden['greedy'])}"
    for step, (got, want, gap) in enumerate(zip(tokens, golden["greedy"], golden["gaps"])):
        if got != want:
            assert gap <= (MAX_ERROR if EXACT else BF16_GREEDY_GAP), \
                f"{golden['name']}: token {step} of the continuation is {got}; Hugging Face has {want}, {gap:.3g} ahead of any other"
            return step
    return len(tokens)


def told(golden, choice):
    """Position: {id: log-probability} for all places that the answer tells of and the golden's context holds for."""
    last = len(golden["ids"]) - 1
    places = {last + step: {number(t): value for t, value in top.items()}
              for step, top in enumerate(choice["logprobs"]["top_logprobs"][:greedy_tokens(golden, choice) + 1])}
    for at, of_next in enumerate((choice["prompt_logprobs"] or [])[1:]):
        places[at] = {int(t): entry["logprob"] for t, entry in of_next.items()}
    return places


def compare(golden, choice):
    """(error, Hugging Face's BF16 error, what, whether it was told) of every value of the golden at a place that the answer tells of."""
    places = told(golden, choice)
    for row in golden["rows"]:
        got = places.get(row["position"])
        for token, want in row["logprobs"].items() if got else ():
            value = got.get(int(token))
            where = f"{golden['name']}, position {row['position']}, token {token}"
            assert value is not None or not EXACT, f"{where}: one of the best 8 of Hugging Face is not in the best {SHOWN}"
            assert value is None or math.isfinite(value), f"{where}: {value}"
            error = max(0.0, want - sorted(got.values())[-SHOWN]) if value is None else abs(value - want)
            yield error, row["bf16"], f"{where}: {value}, not {want}", value is not None


def check(what, pairs, factor=BF16_FACTOR):
    """pairs of goldens and the choices that answer them. Returns how many values were compared."""
    values = [v for golden, choice in pairs for v in compare(golden, choice)]
    errors, yardsticks, _, shown = zip(*values)
    mean, yardstick, missing = sum(errors) / len(values), sum(yardsticks) / len(values), shown.count(False)
    worst = max(values)
    line = (f"{what}: {len(values)} values, mean error {mean:.2e}, worst {worst[0]:.2e} ({worst[2]}), {missing} not told; "
            f"Hugging Face's BF16 run: {yardstick:.2e}")
    print(line)
    if EXACT:
        assert worst[0] <= MAX_ERROR and mean <= MEAN_ERROR, line
    else:
        assert mean <= factor * yardstick and missing <= BF16_MISSING * len(values), line
    return len(values)


def test_each_prompt_alone(server):
    pairs = []
    for golden in PROMPTS:
        choice = complete(server, golden["ids"], prompt_logprobs=SHOWN)["choices"][0]
        assert len(choice["prompt_logprobs"]) == len(golden["ids"])
        pairs.append((golden, choice))
    compared, all_values = check("alone", pairs), sum(len(row["logprobs"]) for golden in PROMPTS for row in golden["rows"])
    assert compared == all_values if EXACT else compared > 0.9 * all_values, f"only {compared} of {all_values} values were compared"


def test_all_prompts_in_one_request(server):
    choices = complete(server, [golden["ids"] for golden in PROMPTS], prompt_logprobs=SHOWN)["choices"]
    assert [c["index"] for c in choices] == list(range(len(PROMPTS)))
    check("together", list(zip(PROMPTS, choices)))


def test_prompts_from_the_cache(server):
    """Nothing is asked of the prompt itself, so what the cache holds of it is not computed again."""
    pairs, cached = [], 0
    for golden in PROMPTS:
        complete(server, golden["ids"], max_tokens=1)
        answer = complete(server, golden["ids"])
        cached += answer["usage"]["prompt_tokens_details"]["cached_tokens"]
        pairs.append((golden, answer["choices"][0]))
    assert cached > sum(len(golden["ids"]) for golden in PROMPTS) / 2, f"only {cached} tokens came from the cache"
    check("cached", pairs, PART_FACTOR)  # the continuations alone
