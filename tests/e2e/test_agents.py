"""openai-agents, as people use it: streamed loops, several turns, structured results, one agent handing over to another. With $GPTOSS_LONG: over
both APIs, at 1 and 2 ranks."""
import asyncio
import typing

import openai
import pydantic
import pytest

from conftest import LONG, ROOT, Server

agents = pytest.importorskip("agents", reason="openai-agents is not installed")
agents.set_tracing_disabled(True)

MODEL = ROOT / "tests" / "data" / "tiny"
DATE = {"current_date": "2026-03-14"}
pytestmark = pytest.mark.skipif(not LONG, reason="GPTOSS_LONG=1 runs it")


@pytest.fixture(scope="module", params=[1, 2], ids=lambda ranks: f"{ranks} ranks")
def server(request):
    running = Server(request.param, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


@pytest.fixture(params=["chat", "responses"])
def agent(server, request):
    """agent(**fields): an agent over the one API or the other."""
    def make(**fields):
        client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=60)
        kind = agents.OpenAIChatCompletionsModel if request.param == "chat" else agents.OpenAIResponsesModel
        settings = agents.ModelSettings(temperature=0, max_tokens=400, extra_body=DATE, **fields.pop("settings", {}))
        return agents.Agent(**{"name": "Helper", "model": kind(model="tiny", openai_client=client), "model_settings": settings, **fields})
    return make


def weather(asked):
    @agents.function_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        asked.append(city)
        return "sunny, 21 degrees"
    return get_weather


def test_streamed_tool_loop(agent):
    asked = []

    async def run():
        result = agents.Runner.run_streamed(agent(tools=[weather(asked)]), "What is the weather in Rome?")
        return result, [event async for event in result.stream_events()]
    result, events = asyncio.run(run())
    assert asked == ["Rome"] and "sunny" in result.final_output and "21" in result.final_output
    items = [event.item.type for event in events if event.type == "run_item_stream_event"]
    assert [kind for kind in items if kind != "reasoning_item"] == ["tool_call_item", "tool_call_output_item", "message_output_item"]
    raw = [event.data for event in events if event.type == "raw_response_event"]
    said = "".join(event.delta for event in raw if event.type == "response.output_text.delta")
    assert said == result.final_output


def test_turns_go_on_from_one_another(agent):
    async def run():
        helper = agent()
        first = await agents.Runner.run(helper, "My name is Omar.")
        return await agents.Runner.run(helper, [*first.to_input_list(), {"role": "user", "content": "What is my name?"}])
    assert "Omar" in asyncio.run(run()).final_output


class Verdict(pydantic.BaseModel):
    city: typing.Literal["Cairo", "Tokyo", "Rome"]
    sure: bool


def test_structured_result(agent):
    result = asyncio.run(agents.Runner.run(agent(output_type=Verdict), "What is the capital of Egypt?"))
    assert isinstance(result.final_output, Verdict)


def test_a_call_that_must_be(agent):
    """tool_choice required, which the client takes back after the first call so that the loop ends."""
    asked = []
    result = asyncio.run(agents.Runner.run(agent(tools=[weather(asked)], settings={"tool_choice": "required"}), "What is the weather in Rome?"))
    assert asked == ["Rome"] and "sunny" in result.final_output


def test_handoff(agent):
    other = agent(name="Adder", instructions="You are a helpful assistant.")
    first = agent(name="Front", handoffs=[other], settings={"tool_choice": "required"})
    result = asyncio.run(agents.Runner.run(first, "What is 47 + 46?"))
    assert result.last_agent.name == "Adder" and isinstance(result.final_output, str) and result.final_output
