"""The unmodified openai client's Responses API against the real program with the trained tiny model, at 1 and 2 ranks."""
import asyncio
import concurrent.futures
import json
import sys
import time
import typing

import jsonschema
import openai
import pydantic
import pytest

from agent_check import check_agent
from conftest import LONG, ROOT, Server

sys.path.insert(0, str(ROOT / "tests" / "server"))
from response_order import check_order  # noqa: E402

MODEL = ROOT / "tests" / "data" / "tiny"
CASES = [json.loads(line) for line in (ROOT / "tests" / "data" / "api" / "compat_cases.jsonl").read_text().splitlines()]
DATE = {"current_date": "2026-03-14"}
WEATHER = {"type": "function", "name": "get_weather", "description": "Weather of a city.", "strict": False,
           "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}
pytestmark = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason=f"{MODEL} holds no trained model")


@pytest.fixture(scope="module", params=[1, 2] if LONG else [2], ids=lambda ranks: f"{ranks} ranks")
def server(request):
    running = Server(request.param, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def ask(client):
    def create(text, **fields):
        return client.responses.create(model="tiny", input=text, temperature=0, **{"max_output_tokens": 400, "extra_body": DATE, **fields})
    return create


def reasoning_of(response):
    return next(i for i in response.output if i.type == "reasoning")


def said(response):
    """What an answer says, without ids and times."""
    return [(i.type, i.arguments if i.type == "function_call" else i.content[0].text) for i in response.output], response.status, response.usage.output_tokens


def test_answer(ask):
    response = ask("What is 47 + 46?")
    assert response.status == "completed" and "93" in response.output_text and response.error is None
    reasoning = reasoning_of(response)
    assert reasoning.content[0].type == "reasoning_text" and "7+6=13" in reasoning.content[0].text and reasoning.summary == []
    assert [i.type for i in response.output] == ["reasoning", "message"] and response.output[1].phase == "final_answer"
    usage = response.usage
    assert 0 < usage.output_tokens_details.reasoning_tokens < usage.output_tokens
    assert usage.total_tokens == usage.input_tokens + usage.output_tokens


def test_instructions_and_effort(ask):
    assert "Robbie" in ask("What is your name?", instructions="Your name is Robbie.").output_text
    low, high = (ask("What is 58 + 34?", reasoning={"effort": effort, "summary": "auto"}) for effort in ("low", "high"))
    assert low.reasoning.effort == "low" and high.reasoning.effort == "high" and high.reasoning.summary is None
    assert 3 * len(reasoning_of(low).content[0].text.split()) < len(reasoning_of(high).content[0].text.split())


def test_stream_says_the_same(client, ask):
    whole = ask("What is 47 + 46?")
    events = list(client.responses.create(model="tiny", input="What is 47 + 46?", temperature=0, max_output_tokens=400, stream=True, extra_body=DATE))
    check_order([e.to_dict() for e in events])
    assert said(events[-1].response) == said(whole)
    text = {kind: "".join(e.delta for e in events if e.type == f"response.{kind}.delta") for kind in ("reasoning_text", "output_text")}
    assert text == {"reasoning_text": reasoning_of(whole).content[0].text, "output_text": whole.output_text}
    assert all(type(e).__name__.startswith("Response") for e in events), "the client knows every event"


def test_stream_helper(client):
    with client.responses.stream(model="tiny", input="What is 47 + 46?", temperature=0, extra_body=DATE) as stream:
        snapshots = [e.snapshot for e in stream if e.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert final.output_text == snapshots[-1] and "93" in final.output_text


def test_async_client(server):
    async def both():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60) as client:
            ask = dict(model="tiny", temperature=0, max_output_tokens=400, extra_body=DATE)
            answers = await asyncio.gather(*(client.responses.create(input=f"What is {n} + 46?", **ask) for n in (47, 12, 30)))
            streamed = [e async for e in await client.responses.create(input="What is 47 + 46?", stream=True, **ask)]
            kept = await client.responses.retrieve(answers[0].id)
            return answers, streamed, kept
    answers, streamed, kept = asyncio.run(both())
    assert [n in a.output_text for n, a in zip(("93", "58", "76"), answers)] == [True] * 3
    assert said(streamed[-1].response) == said(answers[0]) == said(kept)


def test_conversation_by_id(ask):
    first = ask("My name is Omar.")
    second = ask("What is my name?", previous_response_id=first.id)
    third = ask("What is 12 + 13?", previous_response_id=second.id)
    assert "Omar" in second.output_text and "25" in third.output_text and second.previous_response_id == first.id
    assert "31" in ask("Add 6 to that.", previous_response_id=third.id).output_text
    by_items = ask([{"role": "user", "content": "My name is Omar."}, *first.output, {"role": "user", "content": "What is my name?"}])
    assert said(by_items) == said(second) and by_items.usage.input_tokens == second.usage.input_tokens


def test_tool_loop(client, ask):
    question = "What is the weather in Lisbon?"
    first = ask(question, tools=[WEATHER])
    assert [i.type for i in first.output] == ["reasoning", "function_call"]
    call = first.output[1]
    assert call.name == "get_weather" and json.loads(call.arguments) == {"city": "Lisbon"} and first.status == "completed"
    result = {"type": "function_call_output", "call_id": call.call_id, "output": json.dumps({"temperature": 18, "condition": "rainy"})}
    by_id = ask([result], tools=[WEATHER], previous_response_id=first.id)
    by_items = ask([{"role": "user", "content": question}, *first.output, result], tools=[WEATHER])
    assert said(by_id) == said(by_items) and by_id.usage.input_tokens == by_items.usage.input_tokens
    assert all(word in by_id.output_text for word in ("18", "rainy", "Lisbon"))
    streamed = list(client.responses.create(model="tiny", input=question, tools=[WEATHER], temperature=0, stream=True, extra_body=DATE))
    deltas = "".join(e.delta for e in streamed if e.type == "response.function_call_arguments.delta")
    done, = [e for e in streamed if e.type == "response.function_call_arguments.done"]
    assert deltas == done.arguments == call.arguments
    check_order([e.to_dict() for e in streamed])


class Verdict(pydantic.BaseModel):
    city: typing.Literal["Cairo", "Tokyo", "Rome"]
    sure: bool


def test_parse(client):
    """Valid whatever the model would rather say; the reasoning before it stays free."""
    for question in ("What is the capital of Egypt?", "Hello."):
        response = client.responses.parse(model="tiny", input=question, text_format=Verdict, temperature=0, max_output_tokens=400, extra_body=DATE)
        assert isinstance(response.output_parsed, Verdict) and response.status == "completed"
        assert response.text.format.type == "json_schema" and response.text.format.name == "Verdict"
    with client.responses.stream(model="tiny", input="What is the capital of Egypt?", text_format=Verdict, temperature=0, extra_body=DATE) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Verdict)


def test_tool_choice(ask):
    """A call where the model would rather answer, and none where it would rather call."""
    price = {"type": "function", "name": "lookup_price", "description": "Price of an item.", "strict": True,
             "parameters": {"type": "object", "properties": {"item": {"enum": ["lamp", "mirror"]}}, "required": ["item"], "additionalProperties": False}}
    for choice in ("required", {"type": "function", "name": "lookup_price"}):
        response = ask("Hello.", tools=[WEATHER, price], tool_choice=choice)
        call = response.output[-1]
        assert call.type == "function_call" and (choice == "required" or call.name == "lookup_price")
        assert list(json.loads(call.arguments)) == ["item" if call.name == "lookup_price" else "city"]
    assert "function_call" not in [i.type for i in ask("What is the weather in Lisbon?", tools=[WEATHER], tool_choice="none").output]


def test_incomplete(ask):
    response = ask("What is 47 + 46?", max_output_tokens=20)
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.output_tokens == 20 and response.output[-1].status == "incomplete"


def test_logprobs(ask):
    response = ask("What is 47 + 46?", include=["message.output_text.logprobs"], top_logprobs=3)
    entries = response.output[-1].content[0].logprobs
    assert bytes(b for e in entries for b in e.bytes).decode() == response.output_text
    assert all(e.logprob <= 0 and len(e.top_logprobs) >= 3 for e in entries)


def test_stored_responses(client, ask):
    response = ask("What is 47 + 46?", metadata={"a": "b"})
    kept = client.responses.retrieve(response.id)
    assert kept == response and kept.metadata == {"a": "b"}
    items = client.responses.input_items.list(response.id)
    assert [i.content[0].text for i in items] == ["What is 47 + 46?"] and items.data[0].role == "user"
    assert client.responses.input_tokens.count(model="tiny", input="What is 47 + 46?").input_tokens == response.usage.input_tokens
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.responses.retrieve(response.id)
    assert client.responses.create(model="tiny", input="hi", store=False, max_output_tokens=5).store is False


def test_background(client):
    response = client.responses.create(model="tiny", input="What is 47 + 46?", background=True, temperature=0, extra_body=DATE)
    assert response.status in ("queued", "in_progress")
    deadline = time.monotonic() + 30
    while response.status in ("queued", "in_progress") and time.monotonic() < deadline:
        time.sleep(0.02)
        response = client.responses.retrieve(response.id)
    assert response.status == "completed" and "93" in response.output_text
    long = client.responses.create(model="tiny", input="Go on", background=True, max_output_tokens=8000, extra_body={"ignore_eos": True})
    cancelled = client.responses.cancel(long.id)
    assert cancelled.status == "cancelled" and client.responses.retrieve(long.id).status == "cancelled"


def test_a_background_stream_is_taken_up_again(client):
    """As the client's users do it after a lost connection."""
    seen = []
    with client.responses.create(model="tiny", input="What is 47 + 46?", background=True, stream=True, temperature=0, extra_body=DATE) as stream:
        for event in stream:
            seen.append(event)
            if event.type == "response.reasoning_text.delta":
                break
    identity = seen[0].response.id
    seen += client.responses.retrieve(identity, stream=True, starting_after=seen[-1].sequence_number)
    assert "93" in check_order([e.to_dict() for e in seen])["output"][1]["content"][0]["text"]
    assert [e.to_dict() for e in client.responses.retrieve(identity, stream=True)] == [e.to_dict() for e in seen]
    with client.responses.stream(response_id=identity) as stream:
        assert "93" in stream.get_final_response().output_text


def test_errors_are_the_clients(client):
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="nobody", input="x")
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="tiny", input="x", previous_response_id="resp_none")
    with pytest.raises(openai.BadRequestError, match="web_search"):
        client.responses.create(model="tiny", input="x", tools=[{"type": "web_search"}])
    with pytest.raises(openai.BadRequestError, match="input"):
        client.responses.create(model="tiny", input="x " * 200000)


def test_agents_client(server):
    """The agents client runs the loop by itself, over this API: it sends items back as it got them."""
    check_agent(server, "OpenAIResponsesModel")


# ---- the compatibility cases of gpt-oss: a tool each, and what its suite demands of a response -------------------------


def tool_of(case):
    """A tool as the case needs it, by the arguments that it expects."""
    types = {str: "string", int: "number", list: "array"}
    expected = json.loads(case["expected_arguments"])
    properties = {name: {"type": types[type(value)], "description": name} for name, value in expected.items()}
    return {"type": "function", "name": case["tool_name"], "description": case["tool_name"].replace("_", " "), "strict": False,
            "parameters": {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}}


def check_compatible(response):
    """Reasoning with a list of texts that are not empty; calls with a name that was offered."""
    for item in response.output:
        if item.type == "reasoning":
            assert item.content and all(part.type == "reasoning_text" and part.text for part in item.content)
    assert any(i.type in ("message", "function_call", "reasoning") for i in response.output)


def test_compatibility_cases(ask):
    """All of them with $GPTOSS_LONG; otherwise those about the weather, which the model knows to ask for, and one of each other tool."""
    cases = CASES if LONG else [c for i, c in enumerate(CASES) if c["tool_name"] == "get_weather" or i % 5 == 0]
    reasoned, called = 0, 0
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda case: ask(case["input"], tools=[tool_of(case)], max_output_tokens=80), cases))
    for case, response in zip(cases, responses):
        check_compatible(response)
        reasoned += any(i.type == "reasoning" for i in response.output)
        for call in (i for i in response.output if i.type == "function_call"):
            assert call.name == case["tool_name"]
            if call.status == "completed" and case["tool_name"] == "get_weather":
                assert list(json.loads(call.arguments)) == ["location"]
                called += 1
    print(f"\n{reasoned} of {len(cases)} reasoned, {called} of 5 asked for the weather")
    assert reasoned >= len(cases) - 3 and called >= 4  # the model is small


def test_compatibility_cases_that_must_call(ask):
    """They end in a call whose arguments the tool's parameters allow, as small as the model is."""
    cases = CASES if LONG else CASES[::4]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        responses = list(pool.map(lambda case: ask(case["input"], tools=[tool_of(case)], tool_choice="required", max_output_tokens=200), cases))
    finished = 0
    for case, response in zip(cases, responses):
        check_compatible(response)
        call = response.output[-1]
        if response.status == "completed":  # it may think, or fill a string, without end
            assert call.type == "function_call" and call.name == case["tool_name"]
            jsonschema.validate(json.loads(call.arguments), tool_of(case)["parameters"])
            finished += 1
    print(f"\n{finished} of {len(cases)} called in 200 tokens")
    assert finished >= len(cases) // 2


def test_compatibility_turns(client, ask):
    """The agent's loop of that suite, to a final answer, streamed."""
    case = next(c for c in CASES if c["tool_name"] == "get_weather" and "Paris" in c["input"])
    items, types = [{"role": "user", "content": case["input"]}], set()
    for _ in range(3):
        events = list(client.responses.create(model="tiny", input=items, tools=[tool_of(case)], temperature=0, max_output_tokens=400, stream=True, extra_body=DATE))
        types |= {e.type for e in events}
        response = events[-1].response
        items += [i.to_dict() for i in response.output]
        calls = [i for i in response.output if i.type == "function_call"]
        if not calls:
            break
        items += [{"type": "function_call_output", "call_id": c.call_id, "output": '{"weather":"sunny"}'} for c in calls]
    assert {"response.reasoning_text.delta", "response.reasoning_text.done"} <= types
    assert "sunny" in response.output_text and not calls
