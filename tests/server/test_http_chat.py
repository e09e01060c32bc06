"""/v1/chat/completions over the fake engine."""
import json

import pytest

from fake import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

CHAT = "/v1/chat/completions"
ASK = {"messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "d",
                                           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]


def joined(events, key, index=0):
    return "".join(c["delta"].get(key) or "" for e in events for c in e["choices"] if c["index"] == index)


def test_answer(server):
    server.say(server.answer("Hello, wörld 👋", reasoning="Be nice."))
    body = server.post(CHAT, ASK, {"X-Request-Id": "my-id.1"})
    choice = body["choices"][0]
    assert body["id"] == "chatcmpl-my-id.1" and body["object"] == "chat.completion" and body["model"] == "gpt-oss-test"
    assert choice["message"]["content"] == "Hello, wörld 👋"
    assert choice["message"]["reasoning"] == choice["message"]["reasoning_content"] == "Be nice."
    assert choice["message"]["role"] == "assistant" and "tool_calls" not in choice["message"]
    assert choice["finish_reason"] == "stop" and choice["stop_reason"] == RETURN
    usage = body["usage"]
    submitted = server.report()["submitted"][0]
    assert usage["prompt_tokens"] == len(submitted["prompt"])
    assert usage["completion_tokens"] == len(server.answer("Hello, wörld 👋", reasoning="Be nice."))
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"]["cached_tokens"] == len(submitted["prompt"]) // 2
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]


def test_stream_is_the_same_text(server):
    server.say(server.answer("Hello, wörld 👋", reasoning="Be nice."))
    events = server.events(CHAT, dict(ASK, stream_options={"include_usage": True}))
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert joined(events, "content") == "Hello, wörld 👋"
    assert joined(events, "reasoning") == joined(events, "reasoning_content") == "Be nice."
    assert all(e["object"] == "chat.completion.chunk" and e["id"] == events[0]["id"] for e in events)
    finish = [e["choices"][0] for e in events if e["choices"] and e["choices"][0]["finish_reason"]]
    assert len(finish) == 1 and finish[0]["finish_reason"] == "stop" and finish[0]["stop_reason"] == RETURN
    assert events[-1]["choices"] == [] and events[-1]["usage"]["completion_tokens"] > 0
    assert all("usage" not in e for e in events[:-1])


def test_continuous_usage(server):
    server.say(server.answer("a b c d"))
    events = server.events(CHAT, dict(ASK, stream_options={"continuous_usage_stats": True}))
    counts = [e["usage"]["completion_tokens"] for e in events]
    assert counts == sorted(counts) and counts[0] < counts[-1]


def test_include_reasoning_false(server):
    server.say(server.answer("yes", reasoning="hidden"))
    message = server.post(CHAT, dict(ASK, include_reasoning=False, logprobs=True))["choices"][0]
    assert message["message"]["reasoning"] is None and message["message"]["content"] == "yes" and message["logprobs"] is None
    events = server.events(CHAT, dict(ASK, include_reasoning=False))
    assert joined(events, "reasoning") == "" and joined(events, "content") == "yes"


def test_length(server):
    server.say(server.answer("one two three four five six"))
    choice = server.post(CHAT, dict(ASK, max_completion_tokens=5, max_tokens=1))["choices"][0]
    assert choice["finish_reason"] == "length" and choice["stop_reason"] is None
    assert choice["message"]["content"] == "one two"
    assert server.report()["submitted"][0]["max_tokens"] == 5


def test_cut_in_a_header_gives_no_text(server):
    server.say([CHANNEL])
    choice = server.post(CHAT, ASK)["choices"][0]
    assert choice["message"]["content"] is None and choice["finish_reason"] == "length"


@pytest.mark.parametrize("stream", [False, True])
def test_tool_call(server, stream):
    arguments = '{"city": "Zürich"}'
    server.say(server.call("get_weather", arguments, reasoning="look"))
    request = dict(ASK, tools=TOOLS)
    if stream:
        events = server.events(CHAT, request)
        calls = [c for e in events for c in e["choices"][0]["delta"].get("tool_calls", [])]
        assert calls[0]["id"].startswith("call_") and calls[0]["type"] == "function" and calls[0]["index"] == 0
        assert calls[0]["function"] == {"name": "get_weather", "arguments": ""}
        assert all("id" not in c and "name" not in c["function"] for c in calls[1:])
        assert "".join(c["function"]["arguments"] for c in calls) == arguments
        assert joined(events, "reasoning") == "look"
        assert events[-1]["choices"][0]["finish_reason"] == "tool_calls"
        return
    choice = server.post(CHAT, request)["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and choice["stop_reason"] == CALL
    assert choice["message"]["content"] is None and choice["message"]["reasoning"] == "look"
    call, = choice["message"]["tool_calls"]
    assert call["function"] == {"name": "get_weather", "arguments": arguments} and call["type"] == "function"


def test_tool_round_trip_is_rendered(server):
    request = {"tools": TOOLS, "messages": [
        {"role": "user", "content": "w?"},
        {"role": "assistant", "content": None, "reasoning": "look", "tool_calls": [
            {"id": "c9", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c9", "content": "sunny"}]}
    server.say(server.answer("It is sunny."))
    server.post(CHAT, request)
    text = server.post("/detokenize", {"tokens": server.report()["submitted"][0]["prompt"]})["prompt"]
    assert "to=functions.get_weather" in text and "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sunny<|end|>" in text
    assert "namespace functions {" in text and text.endswith("<|end|><|start|>assistant")


def test_effort_from_a_system_message(server):
    server.say(server.answer("x"))
    server.post(CHAT, {"messages": [{"role": "system", "content": "Be kind.\nReasoning: high"}, {"role": "user", "content": "hi"}]})
    text = server.post("/detokenize", {"tokens": server.report()["submitted"][0]["prompt"]})["prompt"]
    assert "\n\nReasoning: high\n\n" in text.split("<|end|>")[0]
    assert "# Instructions\n\nBe kind.<|end|>" in text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("include", [False, True])
def test_stop_string_across_tokens(server, stream, include):
    text = server.answer("one two STOP HERE three", reasoning="a STOP HERE does not count here")[:-1]
    server.say(text + server.ids("x") * 1000, hold=100)  # it ends only by being cancelled
    request = dict(ASK, stop=["P HE", "never"], include_stop_str_in_output=include)
    wanted = "one two STO" + ("P HE" if include else "")
    if stream:
        events = server.events(CHAT, request)
        content, finish = joined(events, "content"), events[-1]["choices"][0]
    else:
        finish = server.post(CHAT, request)["choices"][0]
        content = finish["message"]["content"]
    assert content == wanted and finish["finish_reason"] == "stop" and finish["stop_reason"] == "P HE"
    record, = server.wait_idle()
    assert record["cancelled"]


def test_a_stop_that_only_begins_is_given_out(server):
    server.say(server.answer("one two STOP"))
    assert server.post(CHAT, dict(ASK, stop="STOP HERE"))["choices"][0]["message"]["content"] == "one two STOP"
    events = server.events(CHAT, dict(ASK, stop="STOP HERE"))
    assert joined(events, "content") == "one two STOP"


def test_stop_token_ids(server):
    word = server.ids(" two")[0]
    server.say(server.answer("one two three"))
    choice = server.post(CHAT, dict(ASK, stop_token_ids=[word]))["choices"][0]
    assert choice["message"]["content"] == "one" and choice["stop_reason"] == word and choice["finish_reason"] == "stop"


def test_ignore_eos(server):
    server.say(server.answer("done") + server.ids(" more and more"))
    body = server.post(CHAT, dict(ASK, ignore_eos=True))
    assert server.report()["submitted"][0]["stop_ids"] == []
    assert body["choices"][0]["message"]["content"] == "done" and body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == len(server.answer("done") + server.ids(" more and more"))


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_cover_every_token(server, stream):
    ids = server.answer("Hi 👋")
    server.say(ids)
    request = dict(ASK, logprobs=True, top_logprobs=2)
    if stream:
        entries = [p for e in server.events(CHAT, request) for c in e["choices"] if c["logprobs"] for p in c["logprobs"]["content"]]
    else:
        entries = server.post(CHAT, request)["choices"][0]["logprobs"]["content"]
    assert len(entries) == len(ids)
    assert entries[0]["token"] == "<|channel|>" and entries[0]["logprob"] == -0.5
    assert bytes(b for e in entries for b in e["bytes"]).decode() == "<|channel|>final<|message|>Hi 👋<|return|>"
    assert all(len(e["top_logprobs"]) == 2 for e in entries)
    server.say(ids)
    spelled = server.post(CHAT, dict(request, return_tokens_as_token_ids=True))["choices"][0]["logprobs"]["content"]
    assert spelled[0]["token"] == f"token_id:{CHANNEL}"


def test_n_choices_have_their_own_text_and_seed(server):
    server.say(server.answer("first"), server.answer("second", reasoning="r"), server.answer("third"))
    body = server.post(CHAT, dict(ASK, n=3, seed=10))
    assert [c["message"]["content"] for c in body["choices"]] == ["first", "second", "third"]
    records = server.report()["submitted"]
    assert [r["seed"] for r in records] == [10, 11, 12]
    assert body["usage"]["prompt_tokens"] == len(records[0]["prompt"])
    server.say(server.answer("first"), server.answer("second"))
    events = server.events(CHAT, dict(ASK, n=2))
    assert joined(events, "content", 0) == "first" and joined(events, "content", 1) == "second"


def test_sampling_reaches_the_engine(server):
    server.say(server.answer("x"))
    server.post(CHAT, dict(ASK, temperature=0, top_p=0.5, top_k=7, min_tokens=3, logit_bias={"5": 1}))
    record = server.report()["submitted"][0]
    assert (record["temperature"], record["top_p"], record["top_k"], record["min_tokens"], record["n_bias"]) == (0, 0.5, 7, 3, 1)
    assert set(record["stop_ids"]) == {200002, 200012, 199999}
    server.post(CHAT, ASK)
    server.post(CHAT, ASK)
    seeds = {r["seed"] for r in server.report()["submitted"]}
    assert len(seeds) == 3, "without a seed every request draws its own"


def test_malformed_model_output_is_no_error(server):
    for ids in ([MESSAGE, *server.ids("text")], [START] * 5, [END, CALL], [*server.ids("just text"), RETURN], [CONSTRAIN, CHANNEL, MESSAGE, END],
                [CHANNEL, *server.ids("analysis"), MESSAGE, 9552, RETURN], [200013, 199998, RETURN], []):
        server.say(ids)
        assert server.post(CHAT, ASK)["choices"][0]["message"]["role"] == "assistant"
        server.say(ids)
        server.events(CHAT, ASK)


def test_refusals_name_their_field(server):
    assert server.refused(CHAT, dict(ASK, temperature="x"))["param"] == "temperature"
    assert server.refused(CHAT, {"messages": [{"role": "user", "content": 5}]})["param"] == "messages[0].content"
    error = server.refused(CHAT, dict(ASK, model="nobody"), 404)
    assert error["type"] == "NotFoundError" and "`nobody`" in error["message"]
    assert server.refused(CHAT, dict(ASK, cache_salt="x"))["param"] == "cache_salt"
    long = server.refused(CHAT, {"messages": [{"role": "user", "content": "word " * 5000}]})
    assert "4096" in long["message"] and "5" in long["message"] and long["param"] == "messages"


def test_alias_is_answered_under_the_first_name(server):
    server.say(server.answer("x"))
    assert server.post(CHAT, dict(ASK, model="alias/of-it"))["model"] == "gpt-oss-test"


def test_full_queue(server):
    server.order(set={"max_queue": 0})
    status, headers, data = server.request("POST", CHAT, ASK)
    assert status == 429 and int(headers["Retry-After"]) >= 1 and json.loads(data)["error"]["type"] == "RateLimitError"


def test_a_choice_too_many_for_the_queue_waits(server):
    server.say(server.answer("x"), interval_ms=1)
    server.order(set={"max_queue": 2})
    assert len(server.post(CHAT, dict(ASK, n=9))["choices"]) == 9


def test_structured_output_is_asked_for_in_the_prompt(server):
    server.say(server.answer("{}"))
    server.post(CHAT, dict(ASK, response_format={"type": "json_schema", "json_schema": {"name": "point", "schema": {"type": "object"}}}))
    text = server.post("/detokenize", {"tokens": server.report()["submitted"][0]["prompt"]})["prompt"]
    assert '# Response Formats\n\n## point\n\n{"type":"object"}<|end|>' in text
