"""/v1/completions and the small endpoints over the fake engine."""
import json

import pytest

from fake import RETURN

PATH = "/v1/completions"


def test_text(server):
    server.say(server.ids(" brown fox 👋") + [RETURN])
    body = server.post(PATH, {"prompt": "The quick"})
    choice = body["choices"][0]
    assert body["id"].startswith("cmpl-") and body["object"] == "text_completion"
    assert choice["text"] == " brown fox 👋" and choice["finish_reason"] == "stop" and choice["stop_reason"] == RETURN
    assert choice["logprobs"] is None
    record, = server.report()["submitted"]
    assert record["prompt"] == server.ids("The quick") and record["max_tokens"] == 16


def test_special_tokens_of_the_answer(server):
    server.say([200005, *server.ids("final"), 200008, *server.ids("x"), RETURN])
    assert server.post(PATH, {"prompt": "a"})["choices"][0]["text"] == "finalx"
    server.say([200005, *server.ids("final"), 200008, *server.ids("x"), RETURN])
    assert server.post(PATH, {"prompt": "a", "skip_special_tokens": False})["choices"][0]["text"] == "<|channel|>final<|message|>x"


def test_stream_is_the_same_text(server):
    ids = server.ids(" brown fox 👋 and a 🐕‍🦺")
    server.say(ids + [RETURN])
    events = server.events(PATH, {"prompt": "x", "max_tokens": 100, "stream_options": {"include_usage": True}})
    assert "".join(c["text"] for e in events for c in e["choices"]) == " brown fox 👋 and a 🐕‍🦺"
    assert events[-2]["choices"][0]["finish_reason"] == "stop" and events[-1]["usage"]["completion_tokens"] == len(ids) + 1


@pytest.mark.parametrize("prompt,n", [(["a", "b", "c"], 3), ([5, 6], 1), ([[5], [6, 7]], 2), ("a", 1)])
def test_prompts(server, prompt, n):
    server.say([RETURN])
    body = server.post(PATH, {"prompt": prompt})
    assert [c["index"] for c in body["choices"]] == list(range(n))
    assert len(server.report()["submitted"]) == n


def test_many_prompts_more_than_the_queue_holds(server):
    server.say(*[server.ids(" w") * (1 + i % 3) + [RETURN] for i in range(600)])
    server.order(set={"max_queue": 300})
    body = server.post(PATH, {"prompt": [[5]] * 600})
    assert [c["text"] for c in body["choices"]] == [" w" * (1 + i % 3) for i in range(600)]


@pytest.mark.parametrize("stay", [True, False])
def test_a_call_that_was_begun_waits_for_room(server, stay):
    """Others may fill the queue while a call of many sequences runs: it loses nothing, and may be hung up on."""
    server.say(server.ids(" w") * 30, repeat=True, hold=5)
    server.order(set={"max_queue": 1})
    with server.connect() as s:
        body = json.dumps({"prompt": "x", "n": 4, "max_tokens": 30, "stream": True}).encode()
        s.sendall(b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body)
        data = s.recv(65536)
        server.wait_submitted()
        refused = server.order(set={"max_queue": 0}) or server.report()["refused"]
        server.hold()
        assert len(server.wait_idle()) == 1, "the rest found no room"
        server.wait_report(lambda r: r["refused"] > refused, "the rest was not tried")
        if stay:
            server.order(set={"max_queue": 1})
            while b"[DONE]" not in data:
                piece = s.recv(65536)
                assert piece, data[-300:]
                data += piece
            assert b'"error"' not in data and data.count(b'"finish_reason":"length"') == 4
    server.wait_load(0)
    server.order(set={"max_queue": 9})
    assert server.post(PATH, {"prompt": "x", "max_tokens": 2})["usage"]["completion_tokens"] == 2
    assert len(server.wait_idle()) == (5 if stay else 2)


@pytest.mark.parametrize("stream", [False, True])
def test_stop_string(server, stream):
    server.say(server.ids("one two three four") * 50, hold=50)  # it ends only by being cancelled
    request = {"prompt": "x", "stop": "o th", "max_tokens": 500}
    if stream:
        events = server.events(PATH, request)
        text, last = "".join(c["text"] for e in events for c in e["choices"]), events[-1]["choices"][0]
    else:
        last = server.post(PATH, request)["choices"][0]
        text = last["text"]
    assert text == "one tw" and last["stop_reason"] == "o th" and last["finish_reason"] == "stop"
    record, = server.wait_idle()
    assert record["cancelled"]


def test_min_tokens_keeps_stop_strings_away(server):
    server.say(server.ids("a stop b stop c") + [RETURN])
    assert server.post(PATH, {"prompt": "x", "stop": "stop", "min_tokens": 3})["choices"][0]["text"] == "a stop b "


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(server, stream):
    ids = server.ids(" brown fox 👋")
    server.say(ids)
    request = {"prompt": "x", "logprobs": 2}
    if stream:
        parts = [c["logprobs"] for e in server.events(PATH, request) for c in e["choices"]]
        merged = {k: [v for p in parts for v in p[k]] for k in parts[0]}
    else:
        merged = server.post(PATH, request)["choices"][0]["logprobs"]
    assert len(merged["tokens"]) == len(ids) == len(merged["token_logprobs"]) == len(merged["top_logprobs"])
    assert merged["token_logprobs"][:2] == [-0.5, -0.625]
    assert merged["text_offset"][:3] == [0, len(" brown"), len(" brown fox")]
    assert len(merged["top_logprobs"][0]) == 2
    assert len(merged["top_logprobs"][1]) == 3, "the drawn token is added when it is not among the best"


def test_echo_and_scoring(server):
    server.say(server.ids(" three"))
    body = server.post(PATH, {"prompt": "one two", "echo": True, "logprobs": 1, "max_tokens": 1})
    choice = body["choices"][0]
    assert choice["text"] == "one two three"
    assert choice["logprobs"]["tokens"] == ["one", " two", " three"]
    assert choice["logprobs"]["token_logprobs"] == [None, -0.625, -0.5]
    assert choice["logprobs"]["top_logprobs"][0] is None and choice["logprobs"]["text_offset"] == [0, 3, 7]
    scored = server.post(PATH, {"prompt": "one two", "echo": True, "logprobs": 1, "max_tokens": 0})["choices"][0]
    assert scored["text"] == "one two" and scored["logprobs"]["tokens"] == ["one", " two"]
    assert server.report()["submitted"][-1]["max_tokens"] == 0
    plain = server.post(PATH, {"prompt": [[9552, 200006], [5]], "echo": True, "max_tokens": 0})["choices"]
    assert plain[0]["text"] == " \ufffd<|start|>" and plain[0]["finish_reason"] == "length"
    events = server.events(PATH, {"prompt": "one two", "echo": True, "max_tokens": 1})
    assert "".join(c["text"] for e in events for c in e["choices"]) == "one two three"


def test_max_tokens_is_cut_to_the_model(server):
    server.say([RETURN])
    server.post(PATH, {"prompt": [5] * 4000, "max_tokens": 1000})
    server.post(PATH, {"prompt": [5] * 4096, "max_tokens": 0})
    server.post(PATH, {"prompt": [5] * 4000, "max_tokens": None})
    assert [r["max_tokens"] for r in server.report()["submitted"]] == [96, 0, 96]
    error = server.refused(PATH, {"prompt": [5] * 4096})
    assert error["param"] == "prompt" and "4096" in error["message"]


def test_tokens_that_are_no_characters(server):
    server.say([9552, RETURN])
    assert server.post(PATH, {"prompt": "x"})["choices"][0]["text"] == " \ufffd"


def test_refusals(server):
    assert server.refused(PATH, {"prompt": "x", "suffix": "y"})["param"] == "suffix"
    assert server.refused(PATH, {"prompt": [300000]})["param"] == "prompt"
    assert server.refused(PATH, {"prompt": "x", "best_of": 2, "n": "two"})["param"] == "n"
    assert server.refused(PATH, {"prompt": ["x"] * 100, "n": 100})["param"] == "n"
    error = server.refused(PATH, {"prompt": [1] * 4000, "max_tokens": 500, "min_tokens": 97})
    assert error["param"] == "min_tokens" and "at most 96" in error["message"], "what the prompt leaves counts, too"
    server.say([RETURN])
    server.post(PATH, {"prompt": [1] * 4000, "max_tokens": 500, "min_tokens": 96})
    error = server.refused("/detokenize", {"tokens": [1, 2**32 - 1]})
    assert error["param"] == "tokens" and "4294967295" in error["message"]


# ---- the small endpoints ----

def test_models(server):
    listed = json.loads(server.request("GET", "/v1/models")[2])
    assert [m["id"] for m in listed["data"]] == ["gpt-oss-test", "alias/of-it"]
    assert listed["data"][0]["max_model_len"] == 4096 and listed["data"][0]["object"] == "model"
    for path in ("/v1/models/gpt-oss-test", "/v1/models/alias/of-it", "/v1/models/alias%2Fof-it"):
        assert server.request("GET", path)[0] == 200
    assert server.request("GET", "/v1/models/none")[0] == 404


def test_health(server):
    for path in ("/health", "/ping"):
        assert server.request("GET", path)[0] == 200 and server.request("GET", path)[2] == b""
    server.order(set={"alive": False})
    assert server.request("GET", "/health")[0] == 503
    assert json.loads(server.request("GET", "/version")[2])["version"]
    assert json.loads(server.request("GET", "/load")[2])["server_load"] == 0


def test_tokenize_and_back(server):
    text = "Grüße 👋 <|start|>"
    body = server.post("/tokenize", {"prompt": text, "return_token_strs": True})
    assert body["count"] == len(body["tokens"]) == len(body["token_strs"]) and body["max_model_len"] == 4096
    assert 200006 not in body["tokens"]
    assert server.post("/detokenize", {"tokens": body["tokens"]})["prompt"] == text
    assert server.post("/detokenize", {"tokens": [200006]})["prompt"] == "<|start|>"
    assert server.refused("/detokenize", {"tokens": [1 << 40]})["param"] == "tokens"
    assert server.refused("/tokenize", {})["param"] == "prompt"


def test_tokenize_messages(server):
    body = {"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "low", "current_date": "2025-06-28"}
    tokens = server.post("/tokenize", body)["tokens"]
    text = server.post("/detokenize", {"tokens": tokens})["prompt"]
    assert "Current date: 2025-06-28\n\nReasoning: low\n" in text and text.endswith("<|start|>user<|message|>hi<|end|><|start|>assistant")
    shorter = server.post("/tokenize", dict(body, add_generation_prompt=False))["tokens"]
    assert tokens[:len(shorter)] == shorter and len(tokens) == len(shorter) + 2


def test_metrics(server):
    server.say(server.ids(" a b c") + [RETURN])
    server.post(PATH, {"prompt": "x"})
    status, headers, data = server.request("GET", "/metrics")
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=0.0.4")
    values = {}
    for line in data.decode().splitlines():
        if not line.startswith("#"):
            name, value = line.rsplit(" ", 1)
            values[name] = float(value)
    label = 'model_name="gpt-oss-test",engine="0"'
    assert values[f"vllm:num_requests_running{{{label}}}"] == 0
    assert values[f"vllm:generation_tokens_total{{{label}}}"] >= 4
    assert values[f'vllm:request_success_total{{{label},finished_reason="stop"}}'] >= 1
    assert values[f"vllm:time_to_first_token_seconds_count{{{label}}}"] >= 1
    assert values[f'vllm:time_to_first_token_seconds_bucket{{{label},le="+Inf"}}'] == values[f"vllm:time_to_first_token_seconds_count{{{label}}}"]
    assert values[f"vllm:iteration_tokens_total_count{{{label}}}"] >= 1
    for name in ("inter_token_latency_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds", "request_prompt_tokens",
                 "request_time_per_output_token_seconds", "request_params_n", "request_params_max_tokens"):
        assert f"vllm:{name}_sum{{{label}}}" in values
    buckets = [v for k, v in values.items() if k.startswith("vllm:request_prompt_tokens_bucket")]
    assert buckets == sorted(buckets) and buckets[-1] >= 1


def test_metrics_of_memory(own_server):
    """Of each rank that has told; a label and a unit for every figure."""
    server = own_server()
    assert http_figures(server, "vllm:device_memory_used_bytes") == {}
    ranks = [{"device": "cuda:0", "used": 75_000_000_001, "total": 80_000_000_000, "weights": 33_000_000_000, "kv_cache": 40_000_000_000}, None,
             {"device": "cuda:1", "used": 5, "total": 2**62, "weights": 0, "kv_cache": 3}]
    server.order(set={"memory": ranks})
    for name in ("used", "total", "weights", "kv_cache"):
        found = http_figures(server, f"vllm:device_memory_{name}_bytes")
        assert found == {f'{{model_name="gpt-oss-test",engine="0",rank="{i}",device="{rank["device"]}"}}': rank[name] for i, rank in enumerate(ranks) if rank}
    text = server.request("GET", "/metrics")[2].decode()
    assert 'vllm:device_memory_used_bytes{model_name="gpt-oss-test",engine="0",rank="0",device="cuda:0"} 75000000001\n' in text, "no digit is lost"
    lines = [line for line in text.splitlines() if "device_memory" in line]
    assert [line.split()[:3] for line in lines[:2]] == [["#", kind, "vllm:device_memory_used_bytes"] for kind in ("HELP", "TYPE")] and len(lines) == 4 * (2 + 2)


def http_figures(server, name):
    text = server.request("GET", "/metrics")[2].decode()
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(name + "{")]
    return {labels[len(name):]: float(value) for labels, value in rows}


def test_http_metrics(own_server):
    server = own_server()
    server.say(server.ids(" a b c") + [RETURN], interval_ms=40)
    server.post(PATH, {"prompt": "x"})
    server.refused(PATH, {"prompt": "x", "n": 0})
    server.events(PATH, {"prompt": "x"})
    server.request("PUT", PATH)
    server.request("GET", "/v1/models/gpt-oss-test")
    server.request("HEAD", "/v1/models/alias%2Fof-it")
    for path in ("/health", "/ping", "/version", "/load"):
        server.request("GET", path)
    for i in range(50):
        server.request("GET", f"/nothing/{i}")
        server.request(f"VERB{i}", "/nothing")
    server.raw(b"x\r\n\r\n")
    server.hold(0)
    with server.connect() as s:  # hangs up before the answer
        s.sendall(b'POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 14\r\n\r\n{"prompt":[1]}')
        server.wait_submitted(3)
    server.wait_idle()
    server.wait_load(0)
    counts = http_figures(server, "http_requests_total")
    assert counts.pop('{handler="/tokenize",method="POST",status="2xx"}') == 1, "say() asked for ids"
    assert counts == {
        '{handler="/v1/completions",method="POST",status="2xx"}': 2, '{handler="/v1/completions",method="POST",status="4xx"}': 2,
        '{handler="/v1/completions",method="PUT",status="4xx"}': 1,
        '{handler="/v1/models/{name}",method="GET",status="2xx"}': 1, '{handler="/v1/models/{name}",method="HEAD",status="2xx"}': 1,
        '{handler="none",method="GET",status="4xx"}': 50, '{handler="none",method="other",status="4xx"}': 51}
    label = 'handler="/v1/completions",method="POST"'
    buckets = [v for k, v in http_figures(server, "http_request_duration_seconds_bucket").items() if label in k]
    assert buckets == sorted(buckets) and buckets[-1] == 4 and buckets[0] <= 2, "the two that generate take more than 0.1 s, to the end of the stream"
    assert http_figures(server, "http_request_duration_seconds_count")[f"{{{label}}}"] == 4
    assert 0.24 < http_figures(server, "http_request_duration_seconds_sum")[f"{{{label}}}"] < 60, "in seconds: as milliseconds it would be 240 and more"


def test_openai_client(server):
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=server.url + "/v1", api_key="x", max_retries=0)
    server.say(server.answer("Hello", reasoning="r"))
    answer = client.chat.completions.create(model="gpt-oss-test", messages=[{"role": "user", "content": "hi"}])
    assert answer.choices[0].message.content == "Hello" and answer.choices[0].message.reasoning == "r"
    parts = list(client.chat.completions.create(model="gpt-oss-test", messages=[{"role": "user", "content": "hi"}], stream=True,
                                                stream_options={"include_usage": True}))
    assert "".join(p.choices[0].delta.content or "" for p in parts if p.choices) == "Hello" and parts[-1].usage.total_tokens > 0
    server.say(server.ids(" there"))
    assert client.completions.create(model="gpt-oss-test", prompt="Hi").choices[0].text == " there"
    assert [m.id for m in client.models.list()][0] == "gpt-oss-test"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="none", messages=[{"role": "user", "content": "hi"}])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="gpt-oss-test", messages=[{"role": "user", "content": "hi"}], temperature=-1)
