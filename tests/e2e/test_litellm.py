"""litellm at 1 and 2 ranks, as an openai and as a hosted_vllm provider: completion, streaming, tools, formats, its retries. With $GPTOSS_LONG; it wants an
older openai client than the other tests, and so has requirements and an environment of its own (requirements-litellm.txt)."""
import asyncio
import json
import os

import pytest

from conftest import ROOT, Server
from faulty_proxy import FaultyProxy

if not os.environ.get("GPTOSS_LONG"):
    pytest.skip("set GPTOSS_LONG=1", allow_module_level=True)
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would fetch a list of prices when imported
litellm = pytest.importorskip("litellm", reason="litellm is not installed")

MODEL = ROOT / "tests" / "data" / "tiny"
WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
VERDICT = {"type": "object", "properties": {"city": {"enum": ["Cairo", "Rome"]}}, "required": ["city"], "additionalProperties": False}
pytestmark = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason=f"{MODEL} holds no trained model")


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def server(request):
    running = Server(request.param, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(params=["openai", "hosted_vllm"])
def fields(server, request):
    return dict(model=f"{request.param}/tiny", api_base=server.url + "/v1", api_key="none", temperature=0, max_tokens=400, timeout=60, extra_body={"current_date": "2026-03-14"})


def user(text):
    return [{"role": "user", "content": text}]


def test_completion(fields):
    answer = litellm.completion(messages=user("What is 47 + 46?"), **fields)
    message = answer.choices[0].message
    assert "93" in message.content and message.reasoning_content and answer.usage.total_tokens > 0


def test_streaming(fields):
    whole = litellm.completion(messages=user("What is 47 + 46?"), **fields)
    pieces = list(litellm.completion(messages=user("What is 47 + 46?"), stream=True, stream_options={"include_usage": True}, **fields))
    built = litellm.stream_chunk_builder(pieces)
    assert built.choices[0].message.content == whole.choices[0].message.content
    assert built.choices[0].message.reasoning_content == whole.choices[0].message.reasoning_content
    assert built.usage.completion_tokens == whole.usage.completion_tokens and built.choices[0].finish_reason == "stop"


def test_async(fields):
    async def both():
        pieces = [p async for p in await litellm.acompletion(messages=user("What is 47 + 46?"), stream=True, **fields)]
        answer = await litellm.acompletion(messages=user("What is 12 + 13?"), **fields)
        return "".join(p.choices[0].delta.content or "" for p in pieces if p.choices), answer.choices[0].message.content
    streamed, whole = asyncio.run(both())
    assert "93" in streamed and "25" in whole


@pytest.mark.parametrize("stream", [False, True])
def test_tool_loop(fields, stream):
    messages = user("What is the weather in Lisbon?")
    answer = litellm.completion(messages=messages, tools=[WEATHER], stream=stream, **fields)
    answer = litellm.stream_chunk_builder(list(answer)) if stream else answer
    call, = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "get_weather" and json.loads(call.function.arguments) == {"city": "Lisbon"}
    messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": '{"temperature": 18, "condition": "rainy"}'}]
    final = litellm.completion(messages=messages, tools=[WEATHER], **fields).choices[0].message.content
    assert "18" in final and "rainy" in final


def test_formats_and_forced_calls(fields):
    schema = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": VERDICT, "strict": True}}
    assert set(json.loads(litellm.completion(messages=user("Hello."), response_format=schema, **fields).choices[0].message.content)) == {"city"}
    call, = litellm.completion(messages=user("Hello."), tools=[WEATHER], tool_choice="required", **fields).choices[0].message.tool_calls
    assert list(json.loads(call.function.arguments)) == ["city"]


def test_text_completion(server):
    answer = litellm.text_completion(model="text-completion-openai/tiny", prompt="Once", api_base=server.url + "/v1", api_key="none", max_tokens=8, temperature=0)
    assert answer.choices[0].text and answer.choices[0].finish_reason == "length"


def test_responses(server):
    answer = litellm.responses(model="openai/tiny", input="What is 47 + 46?", api_base=server.url + "/v1", api_key="none", temperature=0, extra_body={"current_date": "2026-03-14"})
    assert "93" in answer.output[-1].content[0].text


def test_errors_and_retries(server, fields):
    with pytest.raises(litellm.BadRequestError, match="temperature"):
        litellm.completion(messages=user("x"), **dict(fields, temperature=-1))
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(messages=user("x"), **dict(fields, model=fields["model"].replace("tiny", "nobody")))
    proxy = FaultyProxy(server.url)
    try:
        proxy.plan({"status": 429, "Retry-After": "0"}, 500)
        answer = litellm.completion(messages=user("What is 47 + 46?"), num_retries=3, **dict(fields, api_base=proxy.url + "/v1"))
        assert "93" in answer.choices[0].message.content and len(proxy.seen) == 3
    finally:
        proxy.close()
