"""The unmodified openai client against the real program: chat, streaming, tools, completions, models."""
import json

import openai
import pytest

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}


@pytest.fixture(scope="module")
def client(shared):
    return openai.OpenAI(base_url=shared.url + "/v1", api_key="none", max_retries=0, timeout=60)


@pytest.fixture(scope="module")
def name(client):
    return client.models.list().data[0].id


def test_models(client, name):
    model = client.models.retrieve(name)
    assert model.id == name and model.object == "model"


def test_chat(client, name):
    answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hello"}], max_tokens=24, temperature=0)
    assert answer.object == "chat.completion" and len(answer.choices) == 1
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason in ("stop", "length", "tool_calls")
    assert 0 < answer.usage.completion_tokens <= 24
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_streamed_chat_says_the_same(client, name):
    ask = dict(model=name, messages=[{"role": "user", "content": "Tell me a story"}], max_tokens=60, temperature=0.7, seed=11)
    whole = client.chat.completions.create(**ask).choices[0]
    content = reasoning = ""
    finish, usage = None, None
    for chunk in client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}):
        usage = chunk.usage or usage
        for choice in chunk.choices:
            content += choice.delta.content or ""
            reasoning += getattr(choice.delta, "reasoning", None) or ""
            finish = choice.finish_reason or finish
    assert content == (whole.message.content or "")
    assert finish == whole.finish_reason
    assert usage.completion_tokens <= 60
    if "\n" not in reasoning:  # several analysis messages are joined by a newline when not streamed
        assert reasoning.replace("\n", "") == (whole.message.reasoning or "").replace("\n", "")


def test_seeds_decide(client, name):
    def draw(seed):
        return client.completions.create(model=name, prompt="Once", max_tokens=16, temperature=1.0, seed=seed).choices[0].text
    assert draw(5) == draw(5)
    assert len({draw(seed) for seed in range(4)}) > 1


def test_several_choices(client, name):
    answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}], n=3, max_tokens=8, temperature=1.0, seed=3)
    assert [c.index for c in answer.choices] == [0, 1, 2]
    streamed = {0: 0, 1: 0, 2: 0}
    for chunk in client.completions.create(model=name, prompt="Hi", n=3, max_tokens=8, stream=True):
        for choice in chunk.choices:
            streamed[choice.index] += 1
    assert all(streamed.values())


def test_tools_round_trip(client, name):
    """A random model calls nothing sensible, but a conversation with a call and its result must be accepted and rendered."""
    messages = [{"role": "user", "content": "Weather in Oslo?"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Oslo"}'}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"sun": True})}]
    answer = client.chat.completions.create(model=name, messages=messages, tools=[WEATHER], max_tokens=16)
    assert answer.choices[0].message.role == "assistant"


def test_completion_logprobs_and_echo(client, name):
    answer = client.completions.create(model=name, prompt="One two three", max_tokens=4, temperature=0, logprobs=3, echo=True)
    choice = answer.choices[0]
    assert choice.text.startswith("One two three")
    assert choice.logprobs.token_logprobs[0] is None
    assert len(choice.logprobs.tokens) == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert all(p <= 0 for p in choice.logprobs.token_logprobs[1:])
    # greedy: the drawn token is the best one
    for token, value, top in list(zip(choice.logprobs.tokens, choice.logprobs.token_logprobs, choice.logprobs.top_logprobs))[-4:]:
        assert value == max(top.values())


def test_scoring_agrees_with_generation(client, name):
    """max_tokens 0 with echo scores the tokens that were generated before with the log-probabilities they were drawn with."""
    first = client.completions.create(model=name, prompt=[5, 6, 7, 8], max_tokens=12, temperature=0, logprobs=1,
                                      extra_body={"return_tokens_as_token_ids": True}).choices[0]
    ids = [5, 6, 7, 8] + [int(t.split(":")[1]) for t in first.logprobs.tokens]
    scored = client.completions.create(model=name, prompt=ids, max_tokens=0, echo=True, logprobs=1).choices[0]
    for a, b in zip(first.logprobs.token_logprobs, scored.logprobs.token_logprobs[4:]):
        assert abs(a - b) < 2e-4


def test_chat_logprobs(client, name):
    answer = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}], max_tokens=5, logprobs=True, top_logprobs=4)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(len(entry.top_logprobs) in (4, 5) for entry in content)


def test_stop_string_cuts(client, name):
    long = client.completions.create(model=name, prompt="Go", max_tokens=40, temperature=0).choices[0].text
    stop = long[8:10]
    cut = client.completions.create(model=name, prompt="Go", max_tokens=40, temperature=0, stop=[stop]).choices[0]
    assert cut.text == long[: long.index(stop)] and cut.finish_reason == "stop"


def test_errors_are_the_clients(client, name):
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="nobody", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model=name, messages=[])
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=name, prompt=[10 ** 9], max_tokens=1)
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model=name, prompt="x " * 200000, max_tokens=1)
