"""/v1/responses over the fake engine."""
import json
import pathlib
import threading
import time

import pytest

from fake import CHANNEL, END, MESSAGE, PATIENCE, START
from response_order import check_order

RESPONSES = "/v1/responses"
CHAT = "/v1/chat/completions"
ASK = {"input": "hi"}
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "name": "get_weather", "description": "d", "parameters": PARAMETERS, "strict": False}]
CHAT_TOOLS = [{"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": PARAMETERS}}]
RECORDED = pathlib.Path(__file__).parents[1] / "data" / "api" / "responses_basic_event_stream.txt"


def get(server, path, status=200):
    found, headers, data = server.request("GET", path)
    assert found == status, data
    return json.loads(data)


def message_of(response):
    return next(i for i in response["output"] if i["type"] == "message")


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_answer(server):
    ids = server.answer("Hello, wörld 👋", reasoning="Be nice.")
    server.say(ids)
    body = server.post(RESPONSES, ASK)
    assert body["id"].startswith("resp_") and body["object"] == "response" and body["status"] == "completed"
    assert body["model"] == "gpt-oss-test" and body["error"] is None and body["incomplete_details"] is None
    assert abs(body["created_at"] - time.time()) < 60 and body["completed_at"] >= body["created_at"]
    reasoning, message = body["output"]
    assert reasoning["type"] == "reasoning" and reasoning["id"].startswith("rs_") and reasoning["summary"] == []
    assert reasoning["content"] == [{"type": "reasoning_text", "text": "Be nice."}]
    assert message["type"] == "message" and message["id"].startswith("msg_") and message["role"] == "assistant" and message["phase"] == "final_answer"
    assert message["content"] == [{"type": "output_text", "text": "Hello, wörld 👋", "annotations": [], "logprobs": []}]
    assert reasoning["status"] == message["status"] == "completed"
    prompt = len(server.report()["submitted"][0]["prompt"])
    usage = body["usage"]
    assert usage["input_tokens"] == prompt and usage["output_tokens"] == len(ids) and usage["total_tokens"] == prompt + len(ids)
    assert usage["input_tokens_details"] == {"cached_tokens": prompt // 2}
    assert 0 < usage["output_tokens_details"]["reasoning_tokens"] < len(ids)


def test_settings_come_back(server):
    server.say(server.answer("x"))
    asked = {"instructions": "Be kind.", "max_output_tokens": 20, "max_tool_calls": 3, "metadata": {"k": "v"}, "parallel_tool_calls": False,
             "temperature": 0.7, "top_p": 0.5, "tools": TOOLS, "tool_choice": "none", "truncation": "auto", "user": "u", "store": False,
             "text": {"format": {"type": "json_object"}, "verbosity": "low"}, "prompt_cache_key": "p", "safety_identifier": "s", "top_logprobs": 2}
    body = server.post(RESPONSES, dict(ASK, **asked, reasoning={"effort": "high", "summary": "auto"}))
    asked["text"] = {"format": {"type": "json_object"}}
    assert {key: body[key] for key in asked} == asked
    assert body["reasoning"] == {"effort": "high", "summary": None}, "there is no summary, and the response says so"
    assert body["background"] is False and body["previous_response_id"] is None and body["service_tier"] == "default"
    body = server.post(RESPONSES, ASK)
    unasked = {"instructions": None, "max_output_tokens": None, "metadata": {}, "parallel_tool_calls": True, "temperature": 1.0, "top_p": 1.0,
               "tools": [], "tool_choice": "auto", "truncation": "disabled", "user": None, "store": True, "text": {"format": {"type": "text"}},
               "reasoning": {"effort": "medium", "summary": None}, "top_logprobs": 0}
    assert {key: body[key] for key in unasked} == unasked


def test_null_is_absent_and_unknown_fields_are_ignored(server):
    known = ["background", "include", "instructions", "max_output_tokens", "max_tool_calls", "metadata", "parallel_tool_calls", "previous_response_id",
             "reasoning", "store", "stream", "stream_options", "temperature", "text", "tool_choice", "tools", "top_logprobs", "top_p", "truncation",
             "user", "conversation", "prompt", "context_management", "safety_identifier", "prompt_cache_key", "service_tier", "model"]
    server.say(server.answer("x"))
    body = server.post(RESPONSES, dict(ASK, never_heard_of={"a": 1}, **dict.fromkeys(known)))
    assert body["status"] == "completed" and body["tools"] == [] and body["store"] is True
    server.post(RESPONSES, dict(ASK, reasoning={"effort": None, "summary": None}, text={"format": None, "verbosity": None}, tools=[], tool_choice="auto"))


def test_sampling_reaches_the_engine(server):
    server.say(server.answer("x"))
    server.post(RESPONSES, dict(ASK, temperature=0, top_p=0.5, max_output_tokens=9, top_k=7, seed=11))
    record = server.report()["submitted"][0]
    assert (record["temperature"], record["top_p"], record["max_tokens"], record["top_k"], record["seed"]) == (0, 0.5, 9, 7, 11)
    assert record["top_logprobs"] == -1 and set(record["stop_ids"]) == {200002, 200012, 199999}


def test_effort_and_instructions_are_rendered(server):
    server.say(server.answer("x"))
    server.post(RESPONSES, dict(ASK, instructions="Be kind.", reasoning={"effort": "low"}))
    text = server.prompt_text()
    assert "\n\nReasoning: low\n\n" in text.split("<|end|>")[0] and "# Instructions\n\nBe kind.<|end|>" in text


def test_text_format_is_asked_for_in_the_prompt(server):
    server.say(server.answer("{}"))
    server.post(RESPONSES, dict(ASK, text={"format": {"type": "json_schema", "name": "point", "schema": {"type": "object"}}}))
    assert '# Response Formats\n\n## point\n\n{"type":"object"}<|end|>' in server.prompt_text()


@pytest.mark.parametrize("stream", [False, True])
def test_function_call(server, stream):
    arguments = '{"city": "Zürich"}'
    server.say(server.call("get_weather", arguments, reasoning="look"))
    request = dict(ASK, tools=TOOLS)
    body = check_order(server.response_events(request)) if stream else server.post(RESPONSES, request)
    reasoning, call = body["output"]
    assert body["status"] == "completed" and reasoning["content"][0]["text"] == "look"
    assert call["id"].startswith("fc_") and call["call_id"].startswith("call_")
    assert {k: call[k] for k in ("type", "name", "arguments", "status")} == {"type": "function_call", "name": "get_weather", "arguments": arguments, "status": "completed"}


@pytest.mark.parametrize("stream", [False, True])
def test_preambles_are_messages(server, stream):
    head = [CHANNEL, *server.ids("commentary"), MESSAGE, *server.ids("Let me look."), END, START, *server.ids("assistant")]
    server.say(head + server.call("get_weather", "{}"))
    body = check_order(server.response_events(dict(ASK, tools=TOOLS))) if stream else server.post(RESPONSES, dict(ASK, tools=TOOLS))
    message, call = body["output"]
    assert message["phase"] == "commentary" and message["content"][0]["text"] == "Let me look." and call["type"] == "function_call"


def test_parallel_tool_calls(server):
    two = server.call("get_weather", '{"city":"A"}')[:-1] + [END, START, *server.ids("assistant")] + server.call("get_weather", '{"city":"B"}')
    server.say(two)
    body = server.post(RESPONSES, dict(ASK, tools=TOOLS))
    assert [c["arguments"] for c in body["output"]] == ['{"city":"A"}', '{"city":"B"}'] and len({c["call_id"] for c in body["output"]}) == 2
    server.say(two)
    body = server.post(RESPONSES, dict(ASK, tools=TOOLS, parallel_tool_calls=False))
    assert [c["arguments"] for c in body["output"]] == ['{"city":"A"}'] and body["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_cut_by_max_output_tokens(server, stream):
    server.say(server.answer("one two three four five six", reasoning="r"))
    n = len(server.answer("one two", reasoning="r")) - 1
    request = dict(ASK, max_output_tokens=n)
    body = check_order(server.response_events(request)) if stream else server.post(RESPONSES, request)
    assert body["status"] == "incomplete" and body["incomplete_details"] == {"reason": "max_output_tokens"} and body["completed_at"] is None
    assert message_of(body)["content"][0]["text"] == "one two" and message_of(body)["status"] == "incomplete"
    assert body["output"][0]["status"] == "completed" and body["usage"]["output_tokens"] == n


@pytest.mark.parametrize("stream", [False, True])
def test_cut_in_a_header_gives_no_item(server, stream):
    server.say([CHANNEL])
    body = check_order(server.response_events(ASK)) if stream else server.post(RESPONSES, ASK)
    assert body["output"] == [] and body["status"] == "incomplete"


def test_empty_messages(server):
    """Reasoning and preambles without text are nothing; an answer without text is one."""
    analysis = [CHANNEL, *server.ids("analysis"), MESSAGE, END, START, *server.ids("assistant")]
    server.say(analysis + server.answer(""))
    body = check_order(server.response_events(ASK))
    item, = body["output"]
    assert item["type"] == "message" and item["content"][0]["text"] == ""


def test_stop_strings(server):
    server.say(server.answer("one two STOP HERE three", reasoning="a STOP HERE does not count here"))
    body = check_order(server.response_events(dict(ASK, stop=["P HE"])))
    assert message_of(body)["content"][0]["text"] == "one two STO" and body["status"] == "completed"


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs_are_those_of_the_answer(server, stream):
    words = server.ids("Hi 👋 there")
    server.say(server.answer("Hi 👋 there", reasoning="no"))
    request = dict(ASK, include=["message.output_text.logprobs"], top_logprobs=2)
    if stream:
        events = server.response_events(request)
        entries = [p for e in events if e["type"] == "response.output_text.delta" for p in e["logprobs"]]
        done, = [e["logprobs"] for e in events if e["type"] == "response.output_text.done"]
        assert done == entries == message_of(events[-1]["response"])["content"][0]["logprobs"]
    else:
        entries = message_of(server.post(RESPONSES, request))["content"][0]["logprobs"]
    assert bytes(b for e in entries for b in e["bytes"]).decode() == "Hi 👋 there" and len(entries) == len(words)
    assert all(len(e["top_logprobs"]) == 2 and e["logprob"] <= 0 for e in entries)
    server.say(server.answer("x"))
    assert message_of(server.post(RESPONSES, dict(ASK, top_logprobs=2)))["content"][0]["logprobs"] == []


# ---- events ----------------------------------------------------------------------------------------------------------


def test_stream_is_the_same_response(server):
    ids = server.answer("Hello, wörld 👋", reasoning="Be nice.")
    server.say(ids)
    events = server.response_events(ASK)
    final = events[-1]["response"]
    server.say(ids)
    whole = server.post(RESPONSES, ASK)
    assert strip(final) == strip(whole)
    assert events[0]["response"]["status"] == events[1]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == [] and events[0]["response"]["usage"] is None
    assert get(server, f"{RESPONSES}/{final['id']}") == final, "what is stored is what was said"


def strip(response):
    """Without what differs from call to call."""
    drawn = ("id", "call_id", "created_at", "completed_at")
    return {k: [{a: b for a, b in i.items() if a not in drawn} for i in v] if k == "output" else v for k, v in response.items() if k not in drawn}


def test_recorded_order(server):
    """The types and keys of a stream recorded from OpenAI, whose reasoning has no text; ours has more about it."""
    recorded = [json.loads(line[6:]) for line in RECORDED.read_text().splitlines() if line.startswith("data: ")]
    server.say(server.answer("Hello there! How can I assist you today?", reasoning="r"))
    ours = [e for e in server.response_events(dict(ASK, instructions="You are a helpful assistant.", reasoning={"effort": "low", "summary": "detailed"}))
            if "reasoning_text" not in e["type"] and e.get("part", {}).get("type") != "reasoning_text"]
    assert [e["type"] for e in ours] == [e["type"] for e in recorded]
    for mine, theirs in zip(ours, recorded):
        assert set(theirs) <= set(mine)
        for key in ("response", "item", "part"):
            assert set(theirs.get(key, {})) <= set(mine.get(key, {}))
    assert [e["delta"] for e in ours if "delta" in e] == [e["delta"] for e in recorded if "delta" in e]


def test_failure_while_streaming(server):
    server.say(server.answer("one two three") + server.ids("x") * 1000, hold=20)
    result = {}
    thread = threading.Thread(target=lambda: result.update(events=server.response_events(dict(ASK, ignore_eos=True))))
    thread.start()
    server.wait_generated(20)
    server.order(set={"draining": True})
    thread.join()
    final = result["events"][-1]
    assert final["type"] == "response.failed" and final["response"]["error"]["code"] == "server_error"
    assert "shutting down" in final["response"]["error"]["message"]
    assert get(server, f"{RESPONSES}/{final['response']['id']}")["status"] == "failed"


# ---- the conversation ------------------------------------------------------------------------------------------------

TURN = [  # chat messages, and the items that mean the same
    ([{"role": "user", "content": "w?"}], [{"role": "user", "content": "w?"}]),
    ([{"role": "system", "content": "Reasoning: high\nA"}, {"role": "developer", "content": "B"}, {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "text", "text": "y"}]}],
     [{"type": "message", "role": "system", "content": "Reasoning: high\nA"}, {"role": "developer", "content": [{"type": "input_text", "text": "B"}]},
      {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}, {"type": "input_text", "text": "y"}]}]),
    ([{"role": "user", "content": "w?"},
      {"role": "assistant", "content": None, "reasoning": "look", "tool_calls": [{"id": "c9", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Z"}'}}]},
      {"role": "tool", "tool_call_id": "c9", "content": "sunny"}],
     [{"role": "user", "content": "w?"}, {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "look"}]},
      {"type": "function_call", "id": "fc_1", "call_id": "c9", "name": "get_weather", "arguments": '{"city":"Z"}', "status": "completed"},
      {"type": "function_call_output", "call_id": "c9", "output": "sunny"}]),
    ([{"role": "user", "content": "w?"},
      {"role": "assistant", "content": "Let me look.", "reasoning": "look", "tool_calls": [
          {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}},
          {"id": "c2", "type": "function", "function": {"name": "get_weather", "arguments": '{"a":1}'}}]},
      {"role": "tool", "tool_call_id": "c2", "content": "two"}, {"role": "tool", "tool_call_id": "c1", "content": "one"}],
     [{"role": "user", "content": "w?"}, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "look"}]},
      {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look.", "annotations": []}]},
      {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
      {"type": "function_call", "call_id": "c2", "name": "get_weather", "arguments": '{"a":1}'},
      {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
      {"type": "function_call_output", "call_id": "c1", "output": "one"}]),
    ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning": "old"}, {"role": "user", "content": "c"}],
     [{"role": "user", "content": "a"}, {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "old"}]},
      {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]),
]


@pytest.mark.parametrize("chat,items", TURN)
@pytest.mark.parametrize("instructions", [None, "Be kind."])
def test_items_render_as_the_messages_of_a_chat(server, chat, items, instructions):
    server.say(server.answer("x"))
    system = [{"role": "system", "content": instructions}] if instructions else []
    server.post(CHAT, {"messages": system + chat, "tools": CHAT_TOOLS})
    server.post(RESPONSES, {"input": items, "tools": TOOLS, "instructions": instructions})
    first, second = (r["prompt"] for r in server.report()["submitted"])
    assert first == second


def test_phase_decides_between_preamble_and_answer(server):
    server.say(server.answer("x"))
    said = {"type": "message", "role": "assistant", "content": "Looking."}
    for phase, channel in ((None, "final"), ("commentary", "commentary"), ("final_answer", "final")):
        server.post(RESPONSES, {"input": [{"role": "user", "content": "a"}, dict(said, phase=phase), {"role": "user", "content": "b"}]})
        assert f"<|channel|>{channel}<|message|>Looking.<|end|>" in server.prompt_text()


@pytest.mark.parametrize("store", [False, True])
def test_output_goes_back_in(server, store):
    """A tool loop: by sending the items back, and by naming the response. Both give the model the same prompt."""
    server.say(server.call("get_weather", '{"city": "Z"}', reasoning="look"), server.answer("Sunny."))
    first = server.post(RESPONSES, {"input": "w?", "tools": TOOLS, "store": store})
    call = first["output"][1]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sun"}
    second = server.post(RESPONSES, {"input": [{"role": "user", "content": "w?"}, *first["output"], result], "tools": TOOLS})
    assert message_of(second)["content"][0]["text"] == "Sunny."
    prompts = [r["prompt"] for r in server.report()["submitted"]]
    text = server.prompt_text()
    assert "<|channel|>analysis<|message|>look<|end|>" in text and "<|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>sun<|end|>" in text
    if store:
        third = server.post(RESPONSES, {"input": [result], "tools": TOOLS, "previous_response_id": first["id"]})
        assert server.report()["submitted"][-1]["prompt"] == prompts[1] and third["previous_response_id"] == first["id"]
        server.post(RESPONSES, {"input": [{"role": "user", "content": "w?"}, *({"type": "item_reference", "id": i["id"]} for i in first["output"]), result], "tools": TOOLS})
        assert server.report()["submitted"][-1]["prompt"] == prompts[1]
    else:
        assert server.refused(RESPONSES, {"input": [result], "previous_response_id": first["id"]}, 404)["param"] == "previous_response_id"
        assert "not found" in server.refused(RESPONSES, {"input": [{"type": "item_reference", "id": "fc_nobody"}, result]}, 404)["message"]


def test_a_chain_of_responses(server):
    """Instructions are not carried over, all else is; each response begins where the one that it names ended, not where the chain did."""
    server.say(server.answer("one"), server.answer("two"), server.answer("three"), server.answer("other"))
    a = server.post(RESPONSES, {"input": "A", "instructions": "Obey."})
    b = server.post(RESPONSES, {"input": "B", "previous_response_id": a["id"]})
    server.post(RESPONSES, {"input": "C", "previous_response_id": b["id"], "instructions": "J."})
    text = server.prompt_text()
    assert "# Instructions\n\nJ.<|end|>" in text and "Obey." not in text
    assert text.endswith("<|start|>user<|message|>A<|end|><|start|>assistant<|channel|>final<|message|>one<|end|><|start|>user<|message|>B<|end|>"
                         "<|start|>assistant<|channel|>final<|message|>two<|end|><|start|>user<|message|>C<|end|><|start|>assistant")
    server.post(RESPONSES, {"input": "D", "previous_response_id": a["id"]})
    assert server.prompt_text().endswith("one<|end|><|start|>user<|message|>D<|end|><|start|>assistant")
    server.request("DELETE", f"{RESPONSES}/{a['id']}")
    server.post(RESPONSES, {"input": "E", "previous_response_id": b["id"]})
    assert "<|message|>A<|end|>" in server.prompt_text(), "what another goes on from stays"


def test_large_bodies_are_prepared_elsewhere(server):
    """Beyond 64 KiB the worker looks the conversation up."""
    server.say(server.answer("one"), server.answer("two"))
    first = server.post(RESPONSES, {"input": "A", "user": "u" * 100000})
    second = server.post(RESPONSES, {"input": "B", "user": "u" * 100000, "previous_response_id": first["id"]})
    assert "<|message|>one<|end|><|start|>user<|message|>B<|end|>" in server.prompt_text() and message_of(second)["content"][0]["text"] == "two"
    assert server.refused(RESPONSES, {"input": "B", "user": "u" * 100000, "previous_response_id": "resp_no"}, 404)["param"] == "previous_response_id"


def test_previous_without_input(server):
    server.say(server.call("get_weather", "{}"))
    first = server.post(RESPONSES, {"input": "w?", "tools": TOOLS})
    server.post(RESPONSES, {"input": [], "previous_response_id": first["id"]})


# ---- what is stored --------------------------------------------------------------------------------------------------


def test_get_and_delete(server):
    server.say(server.answer("x"))
    body = server.post(RESPONSES, ASK)
    path = f"{RESPONSES}/{body['id']}"
    assert get(server, path) == body == get(server, path + "?include[]=message.output_text.logprobs")
    status, _, data = server.request("DELETE", path)
    assert status == 200 and json.loads(data) == {"id": body["id"], "object": "response", "deleted": True}
    for method, tail in (("GET", ""), ("DELETE", ""), ("GET", "/input_items"), ("POST", "/cancel")):
        status, _, data = server.request(method, path + tail)
        error = json.loads(data)["error"]
        assert status == 404 and error["type"] == "NotFoundError" and body["id"] in error["message"] and "made room" in error["message"]


def test_store_false(server):
    server.say(server.answer("x"))
    body = server.post(RESPONSES, dict(ASK, store=False))
    assert body["store"] is False
    get(server, f"{RESPONSES}/{body['id']}", 404)


def test_a_client_cannot_choose_the_id(server):
    """It could take over somebody else's response."""
    server.say(server.answer("x"))
    bodies = [server.post(RESPONSES, ASK, {"X-Request-Id": "same"}) for _ in range(2)]
    assert len({b["id"] for b in bodies}) == 2 and not any("same" in b["id"] for b in bodies)


def test_input_items(server):
    server.say(server.answer("one", reasoning="r"), server.answer("two"))
    first = server.post(RESPONSES, {"input": "A"})
    items = [{"role": "assistant", "content": "x"}, {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
             {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call_output", "call_id": "c", "output": "o"},
             {"id": "msg_mine", "role": "user", "content": [{"type": "input_text", "text": "B"}]}]
    second = server.post(RESPONSES, {"input": items, "previous_response_id": first["id"]})
    path = f"{RESPONSES}/{second['id']}/input_items"
    page = get(server, path + "?order=asc")
    data = page["data"]
    assert page["object"] == "list" and page["has_more"] is False and page["first_id"] == data[0]["id"] and page["last_id"] == data[-1]["id"]
    assert [i["type"] for i in data] == ["message", "reasoning", "message", "message", "reasoning", "function_call", "function_call_output", "message"]
    assert data[0]["content"] == [{"type": "input_text", "text": "A"}] and data[1:3] == first["output"]
    assert data[3]["content"] == [{"type": "output_text", "text": "x", "annotations": [], "logprobs": []}] and data[-1]["id"] == "msg_mine"
    assert len({i["id"] for i in data}) == len(data) and all(i["status"] == "completed" for i in data)
    assert get(server, path)["data"] == data[::-1] and get(server, path)["data"] == data[::-1], "ids stay"
    assert get(server, path + "?limit=3&order=asc")["data"] == data[:3] and get(server, path + "?limit=3&order=asc")["has_more"] is True
    assert get(server, path + f"?limit=3&after={data[4]['id']}")["data"] == data[1:4][::-1]
    assert get(server, path + "?after=nobody", 400)["error"]["param"] == "after"
    assert get(server, path + "?limit=0", 400)["error"]["param"] == "limit" and get(server, path + "?order=up", 400)["error"]["param"] == "order"
    assert get(server, f"{RESPONSES}/{first['id']}/input_items")["data"] == [data[0]]


def test_the_store_is_bounded(own_server):
    """Of many responses the last used stay; a conversation that is used keeps its turns, and one larger than the store is not kept."""
    server = own_server("max_responses=60000")
    server.say(server.answer("x"))
    kept = server.post(RESPONSES, {"input": "first"})
    bodies = []
    for i in range(60):
        bodies.append(server.post(RESPONSES, {"input": "word " * 200}))
        get(server, f"{RESPONSES}/{kept['id']}")
    there = [server.request("GET", f"{RESPONSES}/{b['id']}")[0] == 200 for b in bodies]
    assert there[-1] and not there[0] and 3 < sum(there) < 40
    assert there == sorted(there), "the oldest went first"
    chain = kept
    for i in range(40):
        chain = server.post(RESPONSES, {"input": f"turn {i}", "previous_response_id": chain["id"]})
    assert "<|message|>first<|end|>" in server.prompt_text()
    large = server.post(RESPONSES, {"input": "a", "user": "u" * 70000})
    assert large["status"] == "completed"
    get(server, f"{RESPONSES}/{large['id']}", 404)
    assert server.refused(RESPONSES, {"input": "a", "previous_response_id": large["id"]}, 404)["param"] == "previous_response_id"


# ---- background ------------------------------------------------------------------------------------------------------


def wait_for(server, identity, *states):
    return wait_until(server, identity, lambda body: body["status"] in states)


def wait_until(server, identity, wanted):
    """The stored response once it is as wanted."""
    end = time.monotonic() + PATIENCE
    while not wanted(body := get(server, f"{RESPONSES}/{identity}")):
        assert time.monotonic() < end, body
        time.sleep(0.005)
    return body


def test_background(server):
    server.say(server.answer("one two three", reasoning="r"), hold=5)
    body = server.post(RESPONSES, dict(ASK, background=True))
    assert body["status"] == "queued" and body["background"] is True and body["output"] == [] and body["usage"] is None
    running = wait_for(server, body["id"], "in_progress")
    assert running["usage"] is None
    assert "still being made" in server.refused(RESPONSES, dict(ASK, previous_response_id=body["id"]))["message"]
    server.hold()
    final = wait_for(server, body["id"], "completed")
    assert message_of(final)["content"][0]["text"] == "one two three" and final["usage"]["output_tokens"] > 0
    server.say(server.answer("x"))
    server.post(RESPONSES, dict(ASK, previous_response_id=body["id"]))
    assert "<|message|>one two three<|end|>" in server.prompt_text()


@pytest.mark.parametrize("stream", [False, True])
def test_cancel(server, stream):
    server.say(server.answer("one two three four") + server.ids("x") * 1000, hold=20)
    request = dict(ASK, background=True, ignore_eos=True)
    if stream:
        connection = server.connect()
        connection.sendall(raw_post(dict(request, stream=True)))
        received = b""
        while b"output_text.delta" not in received:
            received += connection.recv(4096)
        identity = first_id(received)
        assert b"response.queued" in received and b"response.in_progress" in received
        connection.close()  # it goes on without its client
    else:
        identity = server.post(RESPONSES, request)["id"]
    wait_until(server, identity, lambda body: body["output"])
    status, _, data = server.request("POST", f"{RESPONSES}/{identity}/cancel")
    body = json.loads(data)
    assert status == 200 and body["status"] == "cancelled" and body["output"][0]["status"] in ("incomplete", "completed")
    assert get(server, f"{RESPONSES}/{identity}") == body
    assert server.wait_idle()[0]["cancelled"]
    again = server.request("POST", f"{RESPONSES}/{identity}/cancel")
    assert again[0] == 200 and json.loads(again[2]) == body


def test_cancel_ends_a_stream_that_listens(server):
    server.say(server.answer("one two three four") + server.ids("x") * 1000, hold=20)
    with server.connect() as connection:
        connection.sendall(raw_post(dict(ASK, background=True, stream=True, ignore_eos=True)))
        received = b""
        while b"output_text.delta" not in received:
            received += connection.recv(4096)
        assert server.request("POST", f"{RESPONSES}/{first_id(received)}/cancel")[0] == 200
        while not received.endswith(b"0\r\n\r\n"):
            received += connection.recv(4096)
    assert b"event: response.incomplete" in received and b'"status":"cancelled"' in received


def test_only_what_runs_in_the_background_is_cancelled(server):
    server.say(server.answer("y"))
    identity = server.post(RESPONSES, ASK)["id"]
    assert server.request("POST", f"{RESPONSES}/{identity}/cancel")[0] == 400


def raw_post(body):
    text = json.dumps(body).encode()
    return b"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text)


def first_id(received):
    return json.loads(received[received.index(b"data: ") + 6:].split(b"\n")[0])["response"]["id"]


def test_delete_while_it_runs(server):
    server.say(server.ids("x") * 1000, hold=20)
    identity = server.post(RESPONSES, dict(ASK, background=True))["id"]
    server.wait_submitted()
    assert server.request("DELETE", f"{RESPONSES}/{identity}")[0] == 200
    get(server, f"{RESPONSES}/{identity}", 404)
    assert server.wait_idle()[0]["cancelled"]


def test_a_client_that_goes_ends_its_response(server):
    server.say(server.answer("one") + server.ids("x") * 1000, hold=20)
    connection = server.connect()
    connection.sendall(raw_post(dict(ASK, stream=True, ignore_eos=True)))
    received = b""
    while b"response.created" not in received:
        received += connection.recv(4096)
    server.wait_submitted()
    connection.close()
    assert server.wait_idle()[0]["cancelled"]


def test_background_in_a_full_queue(server):
    server.order(set={"max_queue": 0})
    status, headers, data = server.request("POST", RESPONSES, dict(ASK, background=True))
    assert status == 429 and int(headers["Retry-After"]) >= 1


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change,param,status", [
    ({"input": None}, "input", 400), ({"input": []}, "input", 400), ({"input": 5}, "input", 400), ({"input": [5]}, "input[0]", 400),
    ({"input": [{"content": "x"}]}, "input[0].type", 400), ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", 400),
    ({"input": [{"role": "user"}]}, "input[0].content", 400),
    ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input[0].content[0].type", 400),
    ({"input": [{"type": "computer_call"}]}, "input[0].type", 400), ({"input": [{"type": "item_reference"}]}, "input[0].id", 400),
    ({"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]}, "input[0].call_id", 400),
    ({"input": [{"type": "function_call", "call_id": "c", "name": "a b", "arguments": ""}]}, "input[0].name", 400),
    ({"input": [{"type": "function_call", "name": "f", "arguments": ""}]}, "input[0].call_id", 400),
    ({"input": [{"role": "assistant", "content": "x", "phase": "late"}]}, "input[0].phase", 400),
    ({"tools": [{"type": "web_search"}]}, "tools[0].type", 400), ({"tools": [{"type": "function"}]}, "tools[0].name", 400),
    ({"tools": TOOLS, "tool_choice": {"type": "function", "name": "other"}}, "tool_choice.name", 400),
    ({"tools": TOOLS, "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice", 400),
    ({"tool_choice": "required"}, "tool_choice", 400), ({"text": {"format": {"type": "xml"}}}, "text.format.type", 400),
    ({"include": ["everything"]}, "include", 400), ({"truncation": "maybe"}, "truncation", 400), ({"top_logprobs": 21}, "top_logprobs", 400),
    ({"reasoning": {"effort": "none"}}, "reasoning.effort", 400), ({"reasoning": {"summary": "poem"}}, "reasoning.summary", 400),
    ({"metadata": {"a": 1}}, "metadata", 400), ({"metadata": {str(i): "" for i in range(17)}}, "metadata", 400), ({"metadata": {"k" * 65: ""}}, "metadata", 400),
    ({"max_output_tokens": 0}, "max_output_tokens", 400), ({"temperature": -1}, "temperature", 400), ({"n": 2}, "n", 400),
    ({"background": True, "store": False}, "background", 400), ({"conversation": "conv_1"}, "conversation", 400), ({"prompt": {"id": "p"}}, "prompt", 400),
    ({"previous_response_id": "resp_no"}, "previous_response_id", 404), ({"model": "nobody"}, "model", 404), ({"input": "word " * 5000}, "input", 400),
])
def test_refusals_name_their_field(server, change, param, status):
    error = server.refused(RESPONSES, dict(ASK, **change), status)
    assert error["param"] == param and error["message"]


def test_a_refused_tool_is_named(server):
    assert "web_search" in server.refused(RESPONSES, dict(ASK, tools=[{"type": "web_search"}]))["message"]


def test_input_tokens(server):
    server.say(server.answer("x"))
    ask = {"input": [{"role": "user", "content": "w?"}], "instructions": "I.", "tools": TOOLS}
    assert server.post(RESPONSES + "/input_tokens", ask) == {"object": "response.input_tokens", "input_tokens": server.post(RESPONSES, ask)["usage"]["input_tokens"]}
    assert server.refused(RESPONSES + "/input_tokens", {"input": []})["param"] == "input"


def test_truncation_auto(server):
    server.say(server.answer("x"))
    items = [{"role": "system", "content": "Keep me."}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
             {"type": "function_call_output", "call_id": "c", "output": "gone"}]
    items += [{"role": "user", "content": f"{i} " + "word " * 400} for i in range(20)]
    assert server.refused(RESPONSES, {"input": items})["param"] == "input"
    body = server.post(RESPONSES, {"input": items, "truncation": "auto", "max_output_tokens": 1000})
    text = server.prompt_text()
    assert "Keep me." in text and "gone" not in text and "<|message|>19 word" in text and "<|message|>1 word" not in text
    assert 2500 < body["usage"]["input_tokens"] <= 4096 - 1000, "as much as fits"
    assert server.refused(RESPONSES, {"input": "word " * 5000, "truncation": "auto"})["param"] == "input", "one that alone is too long stays so"


def test_routes(server):
    status, headers, _ = server.request("GET", RESPONSES)
    assert status == 405 and headers["Allow"] == "POST"
    status, headers, _ = server.request("PUT", RESPONSES + "/resp_1")
    assert status == 405 and headers["Allow"] == "GET, HEAD, DELETE"
    assert server.request("GET", RESPONSES + "/resp_1/more")[0] == 404 and server.request("GET", RESPONSES + "/resp_1/cancel")[0] == 405
    server.say(server.answer("x"))
    body = server.post(RESPONSES, ASK)
    get(server, f"{RESPONSES}/{body['id']}")
    figures = server.request("GET", "/metrics")[2].decode()
    assert 'handler="/v1/responses"' in figures and 'handler="/v1/responses/{name}"' in figures and body["id"] not in figures
