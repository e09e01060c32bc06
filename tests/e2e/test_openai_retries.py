"""The openai client's own ways with trouble, over a proxy that makes it and over a server that is full: retries, time-outs, broken streams; and what it
parses. With $GPTOSS_LONG, at 1 and 2 ranks."""
import asyncio
import time
import typing

import openai
import pydantic
import pytest
import requests

from conftest import LONG, ROOT, Server, wait_until
from faulty_proxy import FaultyProxy

MODEL = ROOT / "tests" / "data" / "tiny"
ASK = dict(model="tiny", messages=[{"role": "user", "content": "What is 47 + 46?"}], temperature=0, max_tokens=400, extra_body={"current_date": "2026-03-14"})
SOON = {"retry-after-ms": "5"}  # the client waits so long, not its usual half second
pytestmark = pytest.mark.skipif(not LONG, reason="GPTOSS_LONG=1 runs it")


@pytest.fixture(scope="module", params=[1, 2], ids=lambda ranks: f"{ranks} ranks")
def server(request):
    running = Server(request.param, MODEL, "--set", "server.max_queue=2", "--set", "engine.max_sequences=2")
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(scope="module")
def proxy(server):
    made = FaultyProxy(server.url)
    yield made
    made.close()


def client(url, **options):
    return openai.OpenAI(base_url=url + "/v1", api_key="none", **{"max_retries": 2, "timeout": 60, **options})


def running(server):
    figures = requests.get(server.url + "/metrics", timeout=10).text
    return sum(float(line.split()[-1]) for line in figures.splitlines() if line.startswith(("vllm:num_requests_running{", "vllm:num_requests_waiting{")))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
def test_tries_again(proxy, status):
    fault = {"status": status, **SOON}
    proxy.plan(fault, fault)
    answer = client(proxy.url).chat.completions.create(**ASK)
    assert "93" in answer.choices[0].message.content
    assert [s["x-stainless-retry-count"] for s in proxy.seen] == ["0", "1", "2"]
    proxy.plan(fault, fault, fault)
    with pytest.raises(openai.APIStatusError) as error:
        client(proxy.url).responses.create(model="tiny", input="x")
    assert error.value.status_code == status and len(proxy.seen) == 3


def test_tries_a_dropped_connection_again(proxy):
    proxy.plan("drop")
    assert client(proxy.url, max_retries=1).models.list().data[0].id == "tiny" and len(proxy.seen) == 2


def test_what_is_wrong_is_not_tried_again(proxy):
    proxy.plan()
    with pytest.raises(openai.BadRequestError) as error:
        client(proxy.url).chat.completions.create(**dict(ASK, temperature=-1))
    assert error.value.param == "temperature" and error.value.code == "400" and len(proxy.seen) == 1


def test_timeout_gives_up_and_the_server_too(server, proxy):
    proxy.plan(("stall", 1.5))
    with pytest.raises(openai.APITimeoutError):
        client(proxy.url, max_retries=0, timeout=0.3).chat.completions.create(**ASK)
    long = dict(ASK, max_tokens=3000, extra_body={"ignore_eos": True})
    with pytest.raises(openai.APITimeoutError):
        client(server.url, max_retries=0, timeout=0.3).chat.completions.create(**long)
    assert wait_until(lambda: running(server) == 0), "it works for nobody"


def test_timeout_then_answer(proxy):
    proxy.plan(("stall", 1.5))
    answer = client(proxy.url, max_retries=1, timeout=1.0).chat.completions.create(**dict(ASK, max_tokens=20))
    assert answer.usage.completion_tokens == 20 and len(proxy.seen) == 2


def test_a_broken_stream_is_an_error(server, proxy):
    """Cut off inside an event: the client says so, and does not take the beginning for the whole."""
    for create, more in ((lambda c: c.chat.completions.create(**ASK, stream=True), 1000),
                         (lambda c: c.responses.create(model="tiny", input="What is 47 + 46?", stream=True), 6000)):
        proxy.plan(("cut", more))
        with pytest.raises(Exception) as error:
            for _ in create(client(proxy.url, max_retries=0)):
                pass
        assert "peer closed connection" in str(error.value) or isinstance(error.value, openai.APIConnectionError), error
    assert wait_until(lambda: running(server) == 0)


def test_leaving_a_stream_stops_it(server):
    for create in (lambda c: c.chat.completions.create(**dict(ASK, max_tokens=3000, extra_body={"ignore_eos": True}), stream=True),
                   lambda c: c.responses.create(model="tiny", input="Go on", stream=True, max_output_tokens=3000, extra_body={"ignore_eos": True})):
        with create(client(server.url)) as stream:
            assert next(iter(stream))
        assert wait_until(lambda: running(server) == 0)


def test_a_full_server_serves_all_who_wait(server):
    """Room for two and a queue of two: six come at once, are sent away with Retry-After, and all have their answer in the end."""
    async def all_at_once():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=20, timeout=60) as c:
            raw = await asyncio.gather(*(c.chat.completions.with_raw_response.create(**dict(ASK, max_tokens=30)) for _ in range(6)))
            return raw
    began = time.monotonic()
    answers = asyncio.run(all_at_once())
    assert time.monotonic() - began < 40
    assert all(a.parse().usage.completion_tokens == 30 for a in answers)
    assert any(a.retries_taken > 0 for a in answers), "it was never full"


# ---- what the client parses -------------------------------------------------------------------------------------------


class Verdict(pydantic.BaseModel):
    city: typing.Literal["Cairo", "Tokyo", "Rome"]
    sure: bool


class Weather(pydantic.BaseModel):
    city: str


def test_parse(server):
    c = client(server.url)
    for text in ("What is the capital of Egypt?", "Hello."):
        ask = dict(ASK, messages=[{"role": "user", "content": text}])
        parsed = c.chat.completions.parse(**ask, response_format=Verdict).choices[0].message
        assert isinstance(parsed.parsed, Verdict) and parsed.refusal is None
        with c.chat.completions.stream(**ask, response_format=Verdict) as stream:
            kinds = {event.type for event in stream}
            assert stream.get_final_completion().choices[0].message.parsed == parsed.parsed
        assert {"chunk", "content.delta", "content.done"} <= kinds


def test_parse_calls(server):
    tool = openai.pydantic_function_tool(Weather, name="get_weather", description="Weather of a city.")
    ask = dict(ASK, messages=[{"role": "user", "content": "What is the weather in Lisbon?"}], tools=[tool])
    call, = client(server.url).chat.completions.parse(**ask, tool_choice="required").choices[0].message.tool_calls
    assert call.function.parsed_arguments == Weather(city="Lisbon")
    with client(server.url).chat.completions.stream(**ask) as stream:
        done = [event for event in stream if event.type == "tool_calls.function.arguments.done"]
    assert [(d.name, d.parsed_arguments) for d in done] == [("get_weather", Weather(city="Lisbon"))]


def test_parse_of_a_cut_answer(server):
    with pytest.raises(openai.LengthFinishReasonError):
        client(server.url).chat.completions.parse(**dict(ASK, max_tokens=8), response_format=Verdict)


def test_async_chat(server):
    async def both():
        async with openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=5, timeout=60) as c:
            whole = await c.chat.completions.create(**ASK)
            pieces = [p async for p in await c.chat.completions.create(**ASK, stream=True)]
            text = await c.completions.create(model="tiny", prompt="Once", max_tokens=5, stream=True)
            return whole.choices[0].message.content, "".join(p.choices[0].delta.content or "" for p in pieces), [p async for p in text]
    whole, streamed, text = asyncio.run(both())
    assert whole == streamed and "93" in whole and text[-1].choices[0].finish_reason == "length"
