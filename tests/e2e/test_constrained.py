"""Structured output and forced calls through the whole program: whatever a model would rather say, trained or with random weights, its answers are valid;
and nobody else in the batch notices."""
import concurrent.futures
import json
import pathlib
import sys

import jsonschema
import pytest
import requests

from conftest import BACKEND, LONG, ROOT, Server

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "server"))
import schemas  # noqa: E402  tests/server/schemas.py

TRAINED = ROOT / "tests" / "data" / "tiny"
RUNS = 300 if LONG else 8
ASK = {"messages": [{"role": "user", "content": "What is the weather in Paris?"}]}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 3, 7]}}, "required": ["city", "days"],
        "additionalProperties": False}
PRICE = {"type": "object", "properties": {"item": {"type": "string", "maxLength": 12}}, "required": ["item"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "Weather of a city.", "parameters": CITY}},
         {"type": "function", "function": {"name": "lookup_price", "parameters": PRICE}}]


class Client:
    def __init__(self, server):
        self.server = server
        tokens = self.post("/tokenize", dict(ASK, return_token_strs=True))
        self.end = dict(zip(tokens["token_strs"], tokens["tokens"]))["<|end|>"]

    def post(self, path, body):
        answer = requests.post(self.server.url + path, json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def chat(self, **fields):
        """The only choice. Reasoning ends soon, even where chance decides: its end is wanted more than anything that may come in its place."""
        body = dict(ASK, temperature=1, max_tokens=700, logit_bias={str(self.end): 100})
        return self.post("/v1/chat/completions", {**body, **fields})["choices"][0]

    def stream(self, **fields):
        body = dict(ASK, temperature=1, max_tokens=700, logit_bias={str(self.end): 100}, stream=True, **fields)
        answer = requests.post(self.server.url + "/v1/chat/completions", json=body, timeout=120)
        assert answer.status_code == 200, answer.text
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]"
        return [c for line in lines[:-1] for c in json.loads(line)["choices"]]


@pytest.fixture(scope="module", params=[("trained", 1), ("trained", 2), ("random", 1), ("random", 2)] if LONG else [("random", 2)], ids=lambda p: f"{p[0]}-{p[1]}")
def client(request, tiny_model):
    weights, ranks = request.param
    if weights == "trained" and not (TRAINED / "config.json").exists():
        pytest.skip(f"{TRAINED} holds no trained model")
    server = Server(ranks, TRAINED if weights == "trained" else tiny_model)
    yield Client(server)
    if server.process.poll() is None:
        assert server.stop() == 0, server.text()


def together(jobs):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return [f.result() for f in [pool.submit(job) for job in jobs]]


def as_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def check_answer(choice, schema):
    assert choice["finish_reason"] == "stop", (schema, choice)
    jsonschema.validate(json.loads(choice["message"]["content"]), schema)


def test_random_schemas(client):
    todo = schemas.objects(3, RUNS)
    answers = together([lambda s=s, i=i: client.chat(response_format=as_format(s), seed=i) for i, s in enumerate(todo)])
    for schema, choice in zip(todo, answers):
        check_answer(choice, schema)


def test_other_formats(client):
    assert client.chat(structured_outputs={"choice": ["sunny", "cloudy"]})["message"]["content"] in ("sunny", "cloudy")
    assert client.chat(guided_regex="[0-9]{1,3} degrees")["message"]["content"].endswith(" degrees")
    assert client.chat(structured_outputs={"grammar": 'root ::= "a" "b"{2,4}'})["message"]["content"] in ("abb", "abbb", "abbbb")
    greedy = client.chat(response_format=as_format(CITY), temperature=0)
    check_answer(greedy, CITY)
    text = client.post("/v1/completions", {"prompt": "x", "max_tokens": 300, "structured_outputs": {"json": PRICE}, "seed": 3})["choices"][0]
    assert text["finish_reason"] == "stop"
    jsonschema.validate(json.loads(text["text"]), PRICE)


def check_call(choice, names, reason):
    [call] = choice["message"]["tool_calls"]
    assert call["function"]["name"] in names and choice["finish_reason"] == reason
    jsonschema.validate(json.loads(call["function"]["arguments"]), {"get_weather": CITY, "lookup_price": PRICE}[call["function"]["name"]])


def test_required_and_named_calls(client):
    named = {"type": "function", "function": {"name": "lookup_price"}}
    answers = together([lambda i=i: client.chat(tools=TOOLS, tool_choice="required", seed=i, temperature=i % 3 / 2) for i in range(9)] +
                       [lambda i=i: client.chat(tools=TOOLS, tool_choice=named, seed=i) for i in range(3)])
    for choice in answers[:9]:
        check_call(choice, ("get_weather", "lookup_price"), "tool_calls")
    for choice in answers[9:]:
        check_call(choice, ("lookup_price",), "stop")


def test_strict_tools_with_a_format(client):
    strict = [{"type": "function", "function": dict(t["function"], strict=True)} for t in TOOLS]
    for choice in together([lambda i=i: client.chat(tools=strict, response_format=as_format(PRICE), seed=i) for i in range(6)]):
        if choice["message"].get("tool_calls"):
            check_call(choice, ("get_weather", "lookup_price"), "tool_calls")
        else:
            check_answer(choice, PRICE)


def test_a_stream_says_the_same(client):
    for fields in ({"response_format": as_format(CITY)}, {"tools": TOOLS, "tool_choice": "required"}):
        whole, pieces = client.chat(seed=5, **fields), client.stream(seed=5, **fields)
        assert "".join(c["delta"].get("content") or "" for c in pieces) == (whole["message"]["content"] or "")
        arguments = "".join(t["function"].get("arguments", "") for c in pieces for t in c["delta"].get("tool_calls", []))
        assert arguments == "".join(t["function"]["arguments"] for t in whole["message"].get("tool_calls", []))
        assert pieces[-1]["finish_reason"] == whole["finish_reason"]


@pytest.mark.skipif(BACKEND == "cuda", reason="on a GPU a row's roundings depend on how many others there are")
def test_others_in_the_batch_are_not_disturbed(client):
    def free(seed):
        body = {"prompt": "The weather", "max_tokens": 60, "temperature": 1, "seed": seed, "ignore_eos": True, "logprobs": 0,
                "return_tokens_as_token_ids": True}
        return client.post("/v1/completions", body)["choices"][0]["logprobs"]["tokens"]

    alone = [free(seed) for seed in range(4)]
    bound = [lambda i=i: client.chat(response_format=as_format(CITY), seed=i)["message"]["content"] for i in range(4)]
    bound_alone = [job() for job in bound]
    mixed = together([job for i in range(4) for job in (lambda i=i: free(i), bound[i])])
    assert mixed[0::2] == alone and mixed[1::2] == bound_alone


def test_prompt_log_probabilities_and_ids(client):
    body = client.post("/v1/chat/completions", dict(ASK, max_tokens=4, temperature=0, prompt_logprobs=1))
    assert len(body["prompt_logprobs"]) == body["usage"]["prompt_tokens"] and body["prompt_logprobs"][0] is None
    allowed = [5, 6, 7, 40, 41]
    tokens = client.post("/v1/completions", {"prompt": "x", "max_tokens": 30, "allowed_token_ids": allowed, "logprobs": 0, "temperature": 1.5,
                                             "return_tokens_as_token_ids": True})["choices"][0]["logprobs"]["tokens"]
    assert {int(t.split(":")[1]) for t in tokens} <= set(allowed) and len(tokens) == 30


def test_refusals(client):
    answer = requests.post(client.server.url + "/v1/chat/completions", json=dict(ASK, response_format=as_format({"type": "nonsense"})), timeout=60)
    assert answer.status_code == 400 and answer.json()["error"]["param"] == "response_format.json_schema.schema"
