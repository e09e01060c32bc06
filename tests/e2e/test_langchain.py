"""langchain-openai at 1 and 2 ranks, over chat and responses: invoke, stream, batch, bind_tools, with_structured_output. With $GPTOSS_LONG."""
import asyncio
import os
import typing

import pydantic
import pytest

from conftest import ROOT, Server

if not os.environ.get("GPTOSS_LONG"):
    pytest.skip("set GPTOSS_LONG=1", allow_module_level=True)
langchain_openai = pytest.importorskip("langchain_openai", reason="langchain-openai is not installed")
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage  # noqa: E402
from langchain_core.tools import tool  # noqa: E402

LOOP = asyncio.new_event_loop()  # one for all: the client keeps its connections from model to model
MODEL = ROOT / "tests" / "data" / "tiny"
pytestmark = pytest.mark.skipif(not (MODEL / "config.json").exists(), reason=f"{MODEL} holds no trained model")


@tool
def get_weather(city: str) -> str:
    """Weather of a city."""
    return "sunny, 21 degrees"


class Verdict(pydantic.BaseModel):
    """A city."""
    city: typing.Literal["Cairo", "Tokyo", "Rome"]
    sure: bool


@pytest.fixture(scope="module", params=[1, 2], ids=["1 rank", "2 ranks"])
def server(request):
    running = Server(request.param, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def model(server, request):
    return langchain_openai.ChatOpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", temperature=0, max_tokens=400, max_retries=0, timeout=60,
                                       use_responses_api=request.param, stream_usage=True, extra_body={"current_date": "2026-03-14"})


def test_invoke(model):
    answer = model.invoke([SystemMessage("Your name is Robbie."), HumanMessage("What is your name?")])
    assert "Robbie" in answer.text and answer.usage_metadata["output_tokens"] > 0
    assert answer.usage_metadata["output_token_details"]["reasoning"] > 0
    again = model.invoke([HumanMessage("My name is Omar."), AIMessage("Hello, Omar."), HumanMessage("What is my name?")])
    assert "Omar" in again.text


def test_stream(model):
    whole = model.invoke("What is 47 + 46?")
    pieces = list(model.stream("What is 47 + 46?"))
    added = pieces[0]
    for piece in pieces[1:]:
        added = added + piece
    assert added.text == whole.text and "93" in whole.text and len(pieces) > 5
    assert added.usage_metadata["output_tokens"] == whole.usage_metadata["output_tokens"]


def test_async_and_batch(model):
    async def both():
        streamed = [piece async for piece in model.astream("What is 47 + 46?")]
        return "".join(piece.text for piece in streamed), await model.abatch(["What is 47 + 46?", "What is 12 + 13?"])
    streamed, batch = LOOP.run_until_complete(both())
    assert "93" in streamed and "93" in batch[0].text and "25" in batch[1].text


def test_tool_loop(model):
    bound = model.bind_tools([get_weather])
    messages = [HumanMessage("What is the weather in Lisbon?")]
    answer = bound.invoke(messages)
    call, = answer.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Lisbon"}
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    final = bound.invoke([*messages, answer, result])
    assert not final.tool_calls and "sunny" in final.text and "21" in final.text


def test_streamed_call(model):
    added = None
    for piece in model.bind_tools([get_weather]).stream("What is the weather in Lisbon?"):
        added = piece if added is None else added + piece
    call, = added.tool_calls
    assert call["name"] == "get_weather" and call["args"] == {"city": "Lisbon"}


@pytest.mark.parametrize("strict", [None, True])
def test_calls_that_must_be(model, strict):
    for choice in ("any", "get_weather", "required"):
        answer = model.bind_tools([get_weather], tool_choice=choice, strict=strict).invoke("Hello.")
        call, = answer.tool_calls
        assert call["name"] == "get_weather" and list(call["args"]) == ["city"] and not answer.invalid_tool_calls


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(model, method):
    for text in ("What is the capital of Egypt?", "Hello."):
        assert isinstance(model.with_structured_output(Verdict, method=method).invoke(text), Verdict)


def test_log_probabilities(server):
    model = langchain_openai.ChatOpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", temperature=0, max_tokens=30, logprobs=True, top_logprobs=2)
    content = model.invoke("Hello.").response_metadata["logprobs"]["content"]
    assert content and all(len(entry["top_logprobs"]) >= 2 for entry in content)


def test_completions(server):
    model = langchain_openai.OpenAI(model="tiny", base_url=server.url + "/v1", api_key="none", temperature=0, max_tokens=12, n=1)
    text = model.invoke("Once upon")
    assert text and "".join(model.stream("Once upon")) == text


def test_errors(model):
    with pytest.raises(Exception, match="not exist"):
        model.model_copy(update={"model_name": "nobody"}).invoke("x")
