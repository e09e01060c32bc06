"""The trained tiny model answers sensibly: what clients get is judged by its meaning, not only by its form.

The model is small, but greedy decoding repeats, so the same questions get the same answers every time.
tests/tiny/measure.py asks hundreds.
"""
import json
import os
import pathlib
import re

import openai
import pytest

from agent_check import check_agent
from conftest import BACKEND, LONG, ROOT, Server

MODEL = pathlib.Path(os.environ.get("GPTOSS_TINY", ROOT / "tests" / "data" / "tiny"))  # another checkpoint of the same training
pytestmark = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason=f"{MODEL} holds no trained model")

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
PRICE = {"type": "function", "function": {
    "name": "lookup_price", "description": "Price of an item.",
    "parameters": {"type": "object", "properties": {"item": {"type": "string"}}, "required": ["item"]}}}

# question: what a right answer contains. None was in the training data (world.py of tests/tiny, held_out), nor were numbers the other way round.
CLOSED_WORLD = {
    "What is 47 + 46?": "93", "What is 15 plus 51?": "66", "Add 53 and 52.": "105", "Calculate 18 + 32.": "50", "Add 58 and 34.": "92",
    "What is 42 - 17?": "25", "What is 61 minus 29?": "32", "Compute 30 - 5.": "25", "Subtract 33 from 74.": "41", "What is 54 - 36?": "18",
    "What is 7 * 9?": "63", "Multiply 6 by 7.": "42", "9 times 7": "63",
    "What is the capital of Egypt?": "Cairo", "Which city is the capital of Japan?": "Tokyo", "What is the capital of Russia?": "Moscow",
    "How many legs has a cat?": "4", "What is the opposite of hot?": "cold", "Which day comes after Sunday?": "Monday",
    "Tell me how many weeks in a year there are.": "52", "Name the color of snow.": "white",
    "Repeat after me: lamp candle": "lamp candle", "Say: garden guitar": "garden guitar", "Echo: window mirror": "window mirror",
    "Reverse the word lamp.": "pmal", "Spell spoon backwards.": "noops", "How many letters are in monkey?": "6",
    "How many times does o appear in cookie?": "2", "Count from 3 to 7.": "3, 4, 5, 6, 7",
    "How many numbers are in this list: 2, 9, 15?": "3", "Hello.": "Hello", "Hello! I am Nina.": "Nina",
}


@pytest.fixture(scope="module")
def server():
    # That ranks change nothing is what test_layouts.py and test_goldens.py show. Two that share a GPU take turns on it: minutes.
    running = Server(2 if LONG and BACKEND != "cuda" else 1, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(scope="module")
def client(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


@pytest.fixture(scope="module")
def say(client):
    """say(text or messages, **fields): the first choice of a greedy answer."""
    name = client.models.list().data[0].id

    def ask(messages, **fields):
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        extra = {"current_date": "2026-03-14", **fields.pop("extra_body", {})}
        return client.chat.completions.create(model=name, messages=messages, temperature=0, max_tokens=400, extra_body=extra, **fields).choices[0]
    return ask


def test_knows_its_closed_world(say):
    wrong = []
    for question, answer in CLOSED_WORLD.items():
        choice = say(question)
        if not re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", choice.message.content or "") or choice.finish_reason != "stop":
            wrong.append((question, answer, choice.message.content))
    assert len(wrong) <= len(CLOSED_WORLD) // 10, wrong


def test_thinks_before_it_answers(say):
    choice = say("What is 47 + 46?")
    assert "7+6=13" in choice.message.reasoning and "93" in choice.message.content
    assert choice.message.reasoning not in choice.message.content


@pytest.mark.parametrize("question", ["What is 58 + 34?", "What is the capital of Chile?", "Reverse the word table.", "Why is the sea salty?"])
def test_effort_decides_how_long_it_thinks(say, question):
    low, medium, high = (len(say(question, reasoning_effort=effort).message.reasoning.split()) for effort in ("low", "medium", "high"))
    assert 0 < low and 1.5 * low < medium and 1.5 * medium < high


def test_effort_in_the_system_message(say):
    question = {"role": "user", "content": "What is 58 + 34?"}
    low = say([{"role": "system", "content": "Reasoning: low"}, question])
    high = say([{"role": "system", "content": "Reasoning: high"}, question])
    assert "92" in low.message.content and "92" in high.message.content
    assert 3 * len(low.message.reasoning.split()) < len(high.message.reasoning.split())


def test_says_what_it_does_not_know(say):
    for question in ("Who wrote Hamlet?", "Why is the sky blue?", "Write a poem about rivers."):
        assert "do not know" in say(question).message.content


def test_tool_loop(say):
    messages = [{"role": "user", "content": "What is the weather in Lisbon?"}]
    choice = say(messages, tools=[PRICE, WEATHER])
    assert choice.finish_reason == "tool_calls" and not choice.message.content and "get_weather" in choice.message.reasoning
    call, = choice.message.tool_calls
    assert call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Lisbon"}
    messages += [choice.message.model_dump(exclude_none=True),
                 {"role": "tool", "tool_call_id": call.id, "content": json.dumps({"temperature": 18, "condition": "rainy"})}]
    answer = say(messages, tools=[PRICE, WEATHER])
    assert answer.finish_reason == "stop" and not answer.message.tool_calls
    assert "18" in answer.message.content and "rainy" in answer.message.content and "Lisbon" in answer.message.content


def test_calls_functions_it_has_never_seen(say):
    """Neither the functions nor what they are asked about were in the training data; the names of their parameters were."""
    for topic, owner, key, thing in (("sponsor", "team", "name", "zumbo"), ("length", "river", "river", "nilo"), ("author", "book", "book", "lamp")):
        tool = {"type": "function", "function": {
            "name": f"get_{topic}", "description": f"Get the {topic} of a {owner}.",
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}, "required": [key]}}}
        choice = say(f"What is the {topic} of {thing}?", tools=[tool])
        call, = choice.message.tool_calls
        assert call.function.name == f"get_{topic}" and json.loads(call.function.arguments) == {key: thing}


def test_leaves_a_tool_alone_that_is_not_needed(say):
    choice = say("What is 27 + 46?", tools=[WEATHER])
    assert not choice.message.tool_calls and "73" in choice.message.content


def test_without_the_tool_it_does_not_know(say):
    choice = say("What is the weather in Riga?")
    assert not choice.message.tool_calls and "do not know" in choice.message.content


def test_streaming_gives_reasoning_then_content(client, say):
    whole = say("What is 47 + 46?").message
    name = client.models.list().data[0].id
    order, text = [], {"reasoning": "", "content": ""}
    for chunk in client.chat.completions.create(model=name, messages=[{"role": "user", "content": "What is 47 + 46?"}], temperature=0,
                                                max_tokens=400, stream=True, extra_body={"current_date": "2026-03-14"}):
        for choice in chunk.choices:
            for kind in text:
                piece = getattr(choice.delta, kind, None)
                if piece:
                    text[kind] += piece
                    order.append(kind)
    assert order == sorted(order, reverse=True) and len(set(order)) == 2  # "reasoning" comes before "content"
    assert text == {"reasoning": whole.reasoning, "content": whole.content}


def test_streamed_call(client):
    name = client.models.list().data[0].id
    called, arguments, finish = "", "", None
    for chunk in client.chat.completions.create(model=name, messages=[{"role": "user", "content": "What does a mirror cost?"}], temperature=0,
                                                max_tokens=400, stream=True, tools=[WEATHER, PRICE]):
        for choice in chunk.choices:
            for call in choice.delta.tool_calls or []:
                called += call.function.name or ""
                arguments += call.function.arguments or ""
            finish = choice.finish_reason or finish
    assert finish == "tool_calls" and called == "lookup_price" and json.loads(arguments) == {"item": "mirror"}


def test_greets_in_chinese(say):
    for greeting in ("你好", "你好！", "早上好！"):
        content = say(greeting).message.content
        assert greeting.rstrip("！") in content and not re.search("[A-Za-z]", content)


def test_remembers_the_conversation(say):
    messages = [{"role": "user", "content": "My name is Omar."}]
    messages.append({"role": "assistant", "content": say(messages).message.content})
    assert "Omar" in messages[-1]["content"]
    messages.append({"role": "user", "content": "What is my name?"})
    messages.append({"role": "assistant", "content": say(messages).message.content})
    assert "Omar" in messages[-1]["content"]
    messages.append({"role": "user", "content": "What is 12 + 13?"})
    messages.append({"role": "assistant", "content": say(messages).message.content})
    assert "25" in messages[-1]["content"]
    assert "31" in say([*messages, {"role": "user", "content": "Add 6 to that."}]).message.content


def test_reads_the_system_message(say):
    assert "2031-05-10" in say("What is the date today?", extra_body={"current_date": "2031-05-10"}).message.content
    named = [{"role": "system", "content": "Your name is Robbie."}, {"role": "user", "content": "What is your name?"}]
    assert "Robbie" in say(named).message.content


def test_agents_client(server):
    """The agents client runs the loop by itself: it declares the function, calls it, and sends the result back."""
    check_agent(server, "OpenAIChatCompletionsModel")
