"""The agents client, which runs the loop of function calls by itself, against a server of the tiny trained model."""
import asyncio

import openai
import pytest


def check_agent(server, kind):
    """kind: the class of openai-agents that speaks one of the APIs. It declares a function, calls it, sends the result back and says what it learnt."""
    agents = pytest.importorskip("agents", reason="openai-agents is not installed")
    asked = []

    @agents.function_tool
    def get_weather(city: str) -> str:
        """Weather of a city."""
        asked.append(city)
        return "sunny, 21 degrees"

    agents.set_tracing_disabled(True)
    client = openai.AsyncOpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)
    agent = agents.Agent(name="Helper", instructions="You are a helpful assistant.", tools=[get_weather],
                         model=getattr(agents, kind)(model="tiny", openai_client=client), model_settings=agents.ModelSettings(temperature=0, max_tokens=400))
    result = asyncio.run(agents.Runner.run(agent, "What is the weather in Rome?"))
    assert asked == ["Rome"] and "sunny" in result.final_output and "21" in result.final_output
