"""What a model may say: formats, required calls, lists of ids and words. The fake engine draws at random among what is allowed, over the whole
vocabulary, so that nothing but the constraint makes an answer valid."""
import concurrent.futures
import json
import os
import re

import jsonschema
import pytest

import schemas
from fake import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START

CHAT = "/v1/chat/completions"
COMPLETE = "/v1/completions"
ASK = {"messages": [{"role": "user", "content": "hi"}]}
RUNS = 10000 if os.environ.get("GPTOSS_LONG") else 60
POINT = {"type": "object", "properties": {"x": {"type": "integer", "minimum": 0, "maximum": 999}, "label": {"type": "string", "maxLength": 8}},
         "required": ["x", "label"], "additionalProperties": False}
CITY = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 3, 7]}}, "required": ["city", "days"],
        "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": CITY}},
         {"type": "function", "function": {"name": "get_weather_of_point", "parameters": POINT}},
         {"type": "function", "function": {"name": "now"}}]


def as_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}


def think(server, text="Let me see."):
    return [CHANNEL, *server.ids("analysis"), MESSAGE, *server.ids(text), END, START, *server.ids("assistant")]


@pytest.fixture
def dice(server):
    """Draws at random behind each script; no reasoning unless a script says it."""
    def throw(*scripts, seed=1, ending=30):
        server.say(*scripts or ([CHANNEL, *server.ids("final"), MESSAGE],))
        server.order(set={"random": seed, "ending": ending})
    return throw


def answer_of(server, **fields):
    choice = server.post(CHAT, dict(ASK, **fields))["choices"][0]
    assert choice["finish_reason"] == "stop" and not choice["message"].get("tool_calls"), choice
    return choice["message"]["content"]


def test_random_schemas(server, dice):
    """Every answer is valid against its schema, whatever is drawn."""
    dice(ending=40)
    todo = schemas.objects(7, RUNS)

    def run(schema):
        choice = server.post(CHAT, dict(ASK, response_format=as_format(schema)))["choices"][0]
        assert choice["finish_reason"] == "stop", (schema, choice)
        jsonschema.validate(json.loads(choice["message"]["content"]), schema, format_checker=None)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(run, todo))
    assert not any("stuck" in r for r in server.wait_idle())


def test_reasoning_is_free(server, dice):
    dice(think(server, "{\"not\": json") + [CHANNEL, *server.ids("final"), MESSAGE])
    choice = server.post(CHAT, dict(ASK, response_format=as_format(POINT)))["choices"][0]
    assert choice["message"]["reasoning"] == "{\"not\": json"
    jsonschema.validate(json.loads(choice["message"]["content"]), POINT)


def test_headers_come_right_by_themselves(server, dice):
    """Without a script the header is drawn, too: reasoning, whose end chance does not find, or the answer."""
    dice([], ending=30)
    kinds = set()
    for seed in range(1, 30):
        server.order(set={"random": seed})
        choice = server.post(CHAT, dict(ASK, response_format=as_format(POINT), max_tokens=400))["choices"][0]
        if choice["message"]["reasoning"] is not None:
            assert choice["finish_reason"] == "length" and choice["message"]["content"] is None
            kinds.add("reasoning")
        else:
            jsonschema.validate(json.loads(choice["message"]["content"]), POINT)
            kinds.add("answer")
    assert kinds == {"reasoning", "answer"}
    assert not any("stuck" in r for r in server.wait_idle())


def test_json_types_in_the_header(server, dice):
    for kind in ([CHANNEL, *server.ids("final "), CONSTRAIN, *server.ids("json"), MESSAGE], [CHANNEL, *server.ids("final json"), MESSAGE]):
        dice(kind)
        jsonschema.validate(json.loads(answer_of(server, response_format=as_format(POINT))), POINT)
        assert "forced" not in server.wait_idle()[0]


def test_json_object(server, dice):
    for seed in range(1, 6):
        dice(seed=seed, ending=60)
        choice = server.post(CHAT, dict(ASK, response_format={"type": "json_object"}, max_tokens=200))["choices"][0]
        assert choice["message"]["content"].startswith("{")
        if choice["finish_reason"] == "stop":
            assert isinstance(json.loads(choice["message"]["content"]), dict)


@pytest.mark.parametrize("field", [
    {"structured_outputs": {"choice": ["yes", "no", "yes, but"]}}, {"guided_choice": ["yes", "no", "yes, but"]}])
def test_choice(server, dice, field):
    seen = set()
    for seed in range(1, 25):
        dice(seed=seed, ending=50)
        seen.add(answer_of(server, **field))
    assert seen == {"yes", "no", "yes, but"}


@pytest.mark.parametrize("field", [{"structured_outputs": {"regex": "[a-f]{2,5}-\\d+"}}, {"guided_regex": "[a-f]{2,5}-\\d+"}])
def test_regex(server, dice, field):
    for seed in range(1, 8):
        dice(seed=seed, ending=50)
        assert re.fullmatch("[a-f]{2,5}-[0-9]+", answer_of(server, **field))


@pytest.mark.parametrize("field", ["structured_outputs", "guided_grammar"])
def test_grammar(server, dice, field):
    ebnf = 'root ::= number (" + " number)*\nnumber ::= [1-9] [0-9]?'
    dice(ending=50)
    content = answer_of(server, **({field: ebnf} if field == "guided_grammar" else {field: {"grammar": ebnf}}))
    assert re.fullmatch(r"[1-9][0-9]?( \+ [1-9][0-9]?)*", content)


def test_json_in_both_spellings(server, dice):
    for field in ({"structured_outputs": {"json": POINT}}, {"structured_outputs": {"json": json.dumps(POINT)}}, {"guided_json": POINT}):
        dice()
        jsonschema.validate(json.loads(answer_of(server, **field)), POINT)


def test_compact_json(server, dice):
    for seed in range(1, 6):
        dice(seed=seed)
        content = answer_of(server, structured_outputs={"json": {"type": "array", "items": {"enum": [1, 2]}, "minItems": 3, "maxItems": 3},
                                                        "disable_any_whitespace": True})
        assert re.fullmatch(r"\[[12],[12],[12]\]", content)


def test_a_scripted_answer_is_not_touched(server):
    """What a model says by itself, and may, it says."""
    content = '{"x": 12, "label": "abc"}'
    server.say(server.answer(content, reasoning="So."))
    choice = server.post(CHAT, dict(ASK, response_format=as_format(POINT)))["choices"][0]
    assert choice["message"]["content"] == content and choice["message"]["reasoning"] == "So."
    assert "forced" not in server.wait_idle()[0]


def test_cut_at_max_tokens(server):
    server.say(server.answer('{"x": 12, "label": "abc"}'))
    choice = server.post(CHAT, dict(ASK, response_format=as_format(POINT), max_tokens=6))["choices"][0]
    assert choice["finish_reason"] == "length" and '{"x": 12, "label": "abc"}'.startswith(choice["message"]["content"])


# ---- calls


def calls_of(choice):
    return [(c["function"]["name"], c["function"]["arguments"]) for c in choice["message"].get("tool_calls", [])]


def test_required_always_calls(server, dice):
    names = set()
    for seed in range(1, 41):
        dice([], seed=seed, ending=50)
        if seed % 2:
            dice(think(server), seed=seed, ending=50)
        choice = server.post(CHAT, dict(ASK, tools=TOOLS, tool_choice="required", max_tokens=600))["choices"][0]
        if choice["finish_reason"] == "length":  # reasoning whose end chance did not find
            assert seed % 2 == 0 and choice["message"]["reasoning"] is not None
            continue
        [(name, arguments)] = calls_of(choice)
        names.add(name)
        assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
        jsonschema.validate(json.loads(arguments), {"get_weather": CITY, "get_weather_of_point": POINT, "now": {"type": "object", "maxProperties": 0}}[name])
    assert names == {"get_weather", "get_weather_of_point", "now"}
    assert not any("stuck" in r for r in server.wait_idle())


def test_named_calls_that_function(server, dice):
    for seed in range(1, 11):
        dice(think(server), seed=seed, ending=50)
        choice = server.post(CHAT, dict(ASK, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "get_weather"}}))["choices"][0]
        [(name, arguments)] = calls_of(choice)
        assert name == "get_weather" and choice["finish_reason"] == "stop" and choice["stop_reason"] == CALL
        jsonschema.validate(json.loads(arguments), CITY)


def test_an_answer_gives_way_to_a_required_call(server, dice):
    dice(server.answer("I will not call."))
    choice = server.post(CHAT, dict(ASK, tools=TOOLS, tool_choice="required", max_tokens=600))["choices"][0]
    assert choice["message"]["content"] is None


@pytest.mark.parametrize("header", ["commentary to=functions.get_weather ", " to=functions.get_weather"])
def test_every_form_of_a_call(server, dice, header):
    if header.startswith(" "):
        script = [*server.ids(header), CHANNEL, *server.ids("commentary json"), MESSAGE]
    else:
        script = [CHANNEL, *server.ids(header), CONSTRAIN, *server.ids("json"), MESSAGE]
    dice(think(server) + script)
    [(name, arguments)] = calls_of(server.post(CHAT, dict(ASK, tools=TOOLS, tool_choice="required"))["choices"][0])
    assert name == "get_weather" and "forced" not in server.wait_idle()[0]
    jsonschema.validate(json.loads(arguments), CITY)


def strict(*names):
    return [{"type": "function", "function": dict(t["function"], strict=t["function"]["name"] in names)} for t in TOOLS]


def test_auto_is_strict_where_asked(server, dice):
    preamble = [CHANNEL, *server.ids("commentary"), MESSAGE, *server.ids("I look it up."), END, START, *server.ids("assistant")]
    call = [CHANNEL, *server.ids("commentary to=functions.get_weather "), CONSTRAIN, *server.ids("json"), MESSAGE]
    dice(think(server) + preamble + call)
    choice = server.post(CHAT, dict(ASK, tools=strict("get_weather")))["choices"][0]
    [(name, arguments)] = calls_of(choice)
    assert choice["message"]["content"] == "I look it up." and choice["finish_reason"] == "tool_calls"
    jsonschema.validate(json.loads(arguments), CITY)
    loose = call[:1] + server.ids("commentary to=functions.now ") + [CONSTRAIN, *server.ids("json"), MESSAGE, *server.ids('{"any": thing'), CALL]
    dice(loose)
    assert calls_of(server.post(CHAT, dict(ASK, tools=strict("get_weather")))["choices"][0]) == [("now", '{"any": thing')]
    dice(server.answer("No call."))
    assert answer_of(server, tools=strict("get_weather")) == "No call."


def test_auto_without_strict_is_free(server):
    server.say(server.call("get_weather", '{"any": thing'))
    assert calls_of(server.post(CHAT, dict(ASK, tools=TOOLS))["choices"][0]) == [("get_weather", '{"any": thing')]
    assert not server.wait_idle()[0]["constrained"]


def test_tools_and_a_format_together(server, dice):
    dice()
    jsonschema.validate(json.loads(answer_of(server, tools=TOOLS, response_format=as_format(POINT))), POINT)
    dice(server.call("get_weather", '{"loose": 1'))
    [(name, arguments)] = calls_of(server.post(CHAT, dict(ASK, tools=TOOLS, response_format=as_format(POINT)))["choices"][0])
    assert (name, arguments) == ("get_weather", '{"loose": 1')


def test_tool_choice_none_allows_no_call(server, dice):
    dice(server.call("get_weather", "{}"), ending=50)
    choice = server.post(CHAT, dict(ASK, tools=TOOLS, tool_choice="none", response_format=as_format(POINT), max_tokens=900))["choices"][0]
    assert not calls_of(choice)


def test_a_stream_is_the_same(server, dice):
    for fields in ({"response_format": as_format(POINT)}, {"tools": TOOLS, "tool_choice": "required"}):
        dice(think(server), seed=5)
        whole = server.post(CHAT, dict(ASK, **fields))["choices"][0]
        dice(think(server), seed=5)
        events = server.events(CHAT, dict(ASK, **fields))
        deltas = [c["delta"] for e in events for c in e["choices"]]
        assert "".join(d.get("content") or "" for d in deltas) == (whole["message"]["content"] or "")
        arguments = "".join(t["function"].get("arguments", "") for d in deltas for t in d.get("tool_calls", []))
        assert arguments == "".join(a for _, a in calls_of(whole))
        assert [c["finish_reason"] for e in events for c in e["choices"]][-1] == whole["finish_reason"]


def test_one_call_without_parallel_calls(server):
    two = server.call("now", "{}")[:-1] + [END, START, *server.ids("assistant")] + server.call("now", "{}")
    for parallel, n in ((True, 2), (False, 1)):
        server.say(two)
        choice = server.post(CHAT, dict(ASK, tools=TOOLS, parallel_tool_calls=parallel))["choices"][0]
        assert len(calls_of(choice)) == n and choice["finish_reason"] == "tool_calls"


# ---- ids and words


def test_completions_are_constrained_as_a_whole(server, dice):
    for field in ({"response_format": as_format(POINT)}, {"structured_outputs": {"json": POINT}}, {"guided_json": POINT}):
        dice([], ending=50)
        choice = server.post(COMPLETE, dict(prompt="x", max_tokens=300, **field))["choices"][0]
        assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(choice["text"]), POINT)


def test_min_tokens_hold_as_long_as_they_can(server, dice):
    dice([], ending=100)
    choice = server.post(COMPLETE, dict(prompt="x", max_tokens=300, min_tokens=40, guided_regex="a*"))["choices"][0]
    assert choice["finish_reason"] == "stop" and server.wait_idle()[0]["generated"] == 41
    dice([], ending=100)
    assert server.post(COMPLETE, dict(prompt="x", max_tokens=300, min_tokens=40, guided_regex="ab?"))["choices"][0]["text"] in ("a", "ab")
    server.say(server.answer("x"))
    server.post(CHAT, dict(ASK, min_tokens=9))
    assert server.wait_idle()[0]["min_tokens"] == 9  # alone it is the engine's


def test_allowed_token_ids(server, dice):
    allowed = [*server.ids("abc"), *server.ids(" tree"), RETURN]
    dice([], ending=5)
    choice = server.post(COMPLETE, dict(prompt="x", max_tokens=200, allowed_token_ids=allowed, logprobs=0, skip_special_tokens=False,
                                        return_tokens_as_token_ids=True))["choices"][0]
    assert {int(t.split(":")[1]) for t in choice["logprobs"]["tokens"]} <= set(allowed)


def test_bad_words(server):
    text = server.ids("A bad word, and bad words")
    server.say(text + server.ids(" bad"))
    server.order(set={"random": 3})
    choice = server.post(COMPLETE, dict(prompt="x", max_tokens=len(text), bad_words=["bad", "word"], logprobs=0))["choices"][0]
    assert not {" bad", "bad", " word", "word"} & set(choice["logprobs"]["tokens"]) and choice["text"].startswith("A")
    long = server.ids("to be or not to be")
    assert len(long) > 3
    server.say(long)
    server.order(set={"random": 0})
    choice = server.post(COMPLETE, dict(prompt="x", max_tokens=len(long), bad_words=["to be or not to be"]))["choices"][0]
    assert choice["text"].startswith("to be or not to") and not choice["text"].endswith("be"), "only the last token is not allowed"


# ---- refusals and figures


def test_refusals_name_field_and_keyword(server):
    bad = {"type": "object", "properties": {"a": {"type": "object", "patternProperties": {"(": {}}}}}
    for path, fields, param in (
            (CHAT, dict(ASK, response_format=as_format({"type": "nonsense"})), "response_format.json_schema.schema"),
            (CHAT, dict(ASK, guided_regex="("), "guided_regex"),
            (CHAT, dict(ASK, structured_outputs={"grammar": "root :="}), "structured_outputs.grammar"),
            (CHAT, dict(ASK, tools=[{"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "nonsense"}}}]),
             "tools[0].function.parameters"),
            (CHAT, dict(ASK, response_format={"type": "json_object"}, guided_regex="a"), "guided_regex"),
            (COMPLETE, dict(prompt="x", guided_regex="a)"), "guided_regex")):
        error = server.refused(path, fields)
        assert error["param"] == param and error["message"].startswith(param + ": "), error
    assert server.refused(CHAT, dict(ASK, response_format=as_format(bad)))["param"] == "response_format.json_schema.schema"


def test_a_schema_that_is_compiled_holds_up_nobody(server, dice):
    """Compiling is the worker's, whether it comes to something or, after a third of a second, to nothing."""
    schema = {"type": "object", "properties": {f"key{i}": {"type": "string", "maxLength": 20} for i in range(300)}, "additionalProperties": False}
    dice(ending=100)
    server.post(CHAT, dict(ASK, response_format=as_format(schema), max_tokens=2000))
    hard = {"type": "string", "pattern": "^(a|b)*a(a|b){13}$", "maxLength": 40}
    server.check_serves_during(lambda: server.refused(COMPLETE, dict(prompt="x", guided_json=hard)))


def test_prompt_logprobs(server):
    server.say(server.answer("x"), server.answer("x"))
    body = server.post(CHAT, dict(ASK, prompt_logprobs=2))
    prompt = server.wait_idle()[0]["prompt"]
    found = body["prompt_logprobs"]
    assert len(found) == len(prompt) and found[0] is None
    for token, entry in zip(prompt[1:], found[1:]):
        own = entry[str(token)]
        assert own["logprob"] < 0 and own["rank"] >= 1 and isinstance(own["decoded_token"], str) and len(entry) in (2, 3)
    server.say([*server.ids("x")])
    choice = server.post(COMPLETE, dict(prompt="Hello there", max_tokens=1, prompt_logprobs=0))["choices"][0]
    assert choice["text"] == "x" and [None if e is None else len(e) for e in choice["prompt_logprobs"]] == [None, 1]
    assert choice["logprobs"] is None
    server.say([*server.ids("x")])
    choice = server.post(COMPLETE, dict(prompt="Hello there", max_tokens=1, prompt_logprobs=3, echo=True, logprobs=1))["choices"][0]
    assert choice["text"] == "Hello therex" and len(choice["logprobs"]["tokens"]) == 3 and len(choice["logprobs"]["top_logprobs"][1]) <= 2
    assert server.post(CHAT, ASK)["prompt_logprobs"] is None


def test_truncated_prompts(server):
    server.say(server.ids("x"))
    ids = server.ids("one two three four five six")
    server.post(COMPLETE, dict(prompt="one two three four five six", max_tokens=1, truncate_prompt_tokens=3))
    assert server.wait_idle()[0]["prompt"] == ids[-3:]


def test_best_of(server):
    """The fake engine's later tokens are less likely: the shortest choice is the best."""
    server.say(server.ids("a b c d"), server.ids("a"), server.ids("a b c"), server.ids("a b"))
    body = server.post(COMPLETE, dict(prompt="x", max_tokens=9, n=2, best_of=4))
    assert [(c["index"], c["text"], c["logprobs"]) for c in body["choices"]] == [(0, "a", None), (1, "a b", None)]
    assert body["usage"]["completion_tokens"] == sum(len(server.ids(t)) for t in ("a b c d", "a", "a b c", "a b"))


def test_request_id(server):
    server.say(server.answer("x"))
    assert server.post(CHAT, dict(ASK, request_id="mine-1"))["id"] == "chatcmpl-mine-1"
    assert server.post(CHAT, dict(ASK, request_id="mine-1"), {"X-Request-Id": "header"})["id"] == "chatcmpl-header"
    assert "\n" not in server.post(CHAT, dict(ASK, request_id="a\nb"))["id"]


def test_responses_are_constrained_alike(server, dice):
    flat = [dict(t["function"], type="function") for t in TOOLS]
    dice(think(server))
    body = server.post("/v1/responses", {"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": POINT}}})
    [message] = [item for item in body["output"] if item["type"] == "message"]
    assert message["status"] == "completed"
    jsonschema.validate(json.loads(message["content"][0]["text"]), POINT)
    for choice in ("required", {"type": "function", "name": "get_weather"}):
        dice(think(server), ending=50)
        body = server.post("/v1/responses", {"input": "hi", "tools": flat, "tool_choice": choice})
        [call] = [item for item in body["output"] if item["type"] == "function_call"]
        jsonschema.validate(json.loads(call["arguments"]), {"get_weather": CITY, "get_weather_of_point": POINT, "now": {"maxProperties": 0}}[call["name"]])
        assert choice == "required" or call["name"] == "get_weather"
    error = server.refused("/v1/responses", {"input": "hi", "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "nonsense"}}}})
    assert error["param"] == "text.format.schema"
    error = server.refused("/v1/responses", {"input": "hi", "tools": [dict(flat[0], strict=True, parameters={"type": "nonsense"})]})
    assert error["param"] == "tools[0].parameters"
