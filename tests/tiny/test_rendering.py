"""harmony.py and vocabulary.py against openai-harmony and tiktoken's o200k. Not part of tests/run.sh: it needs both packages.

    pip install openai-harmony regex pytest && python3 -m pytest tests/tiny/test_rendering.py
"""
import json
import os
import random

import pytest

import conversations
import harmony
import questions
import vocabulary
import world

openai_harmony = pytest.importorskip("openai_harmony")
N = 1500


@pytest.fixture(scope="module")
def encoding():
    os.environ["TIKTOKEN_ENCODINGS_BASE"] = str(vocabulary.RANKS_FILE.parent)
    return openai_harmony.load_harmony_encoding("HarmonyGptOss")


def library_messages(c):
    """The library's messages for a conversation, as the server puts them together."""
    h = openai_harmony
    system = h.SystemContent.new().with_reasoning_effort(h.ReasoningEffort(c.effort.capitalize())).with_conversation_start_date(c.date)
    out = [h.Message.from_role_and_content(h.Role.SYSTEM, system)]
    text = "\n\n".join(m["content"] for m in c.messages if m["role"] == "system")
    if text or c.tools:
        developer = h.DeveloperContent.new()
        if text:
            developer = developer.with_instructions(text)
        if c.tools:
            described = [h.ToolDescription.new(t["function"]["name"], t["function"].get("description", ""), parameters=t["function"]["parameters"])
                         for t in c.tools]
            developer = developer.with_function_tools(described)
        out.append(h.Message.from_role_and_content(h.Role.DEVELOPER, developer))
    names = {}
    for m in c.messages:
        if m["role"] == "user":
            out.append(h.Message.from_role_and_content(h.Role.USER, m["content"]))
        elif m["role"] == "tool":
            author = h.Author.new(h.Role.TOOL, f"functions.{names[m['tool_call_id']]}")
            out.append(h.Message.from_author_and_content(author, m["content"]).with_channel("commentary").with_recipient("assistant"))
        elif m["role"] == "assistant":
            for channel, key in (("analysis", "reasoning"), ("final", "content")):
                if m.get(key):
                    out.append(h.Message.from_role_and_content(h.Role.ASSISTANT, m[key]).with_channel(channel))
            for call in m.get("tool_calls") or []:
                names[call["id"]] = call["function"]["name"]
                out.append(h.Message.from_role_and_content(h.Role.ASSISTANT, call["function"]["arguments"]).with_channel("commentary")
                           .with_recipient(f"functions.{call['function']['name']}").with_content_type("json"))
    return out


def drop_old_reasoning(messages):
    """The rule of the server (runtime/text/README.md), which is not the library's: nothing is kept before the last final answer."""
    finals = [i for i, m in enumerate(messages) if m.channel == "final"]
    return [m for i, m in enumerate(messages) if m.channel != "analysis" or not finals or i > finals[-1]]


def test_prompts_are_the_librarys(encoding):
    rng, kept = random.Random(5), openai_harmony.RenderConversationConfig(auto_drop_analysis=False)
    for _ in range(N):
        c = conversations.draw(rng)
        conversation = openai_harmony.Conversation.from_messages(drop_old_reasoning(library_messages(c)))
        ids = encoding.render_conversation_for_completion(conversation, openai_harmony.Role.ASSISTANT, config=kept)
        assert encoding.decode_utf8(ids) == harmony.text(c.parts()[0])


def test_the_library_reads_the_completions(encoding):
    rng = random.Random(6)
    for _ in range(N):
        c = conversations.draw(rng)
        ids = encoding.encode(harmony.text(c.parts()[1]), allowed_special="all")
        thinking, last = encoding.parse_messages_from_completion_tokens(ids, openai_harmony.Role.ASSISTANT)
        assert thinking.channel == "analysis" and thinking.content[0].text == c.reasoning
        if c.call:
            assert last.channel == "commentary" and last.recipient == f"functions.{c.call[0]}" and last.content_type == "<|constrain|>json"
        else:
            assert last.channel == "final" and last.content[0].text == c.reply


def test_pieces_are_those_of_o200k():
    """Without merges a token can only be a whole piece, so the pieces have to be cut where o200k cuts."""
    tiktoken = pytest.importorskip("tiktoken")
    full = tiktoken.Encoding("o200k", pat_str=vocabulary.PATTERN, mergeable_ranks=vocabulary.ranks(), special_tokens={})
    v, rng = vocabulary.Vocabulary(), random.Random(7)
    for _ in range(200):
        text = harmony.text(conversations.draw(rng).parts()[0])
        assert v.decode(v.encode(text)) == text
        ours = set(v.encode(text))
        theirs = {token for token in (full.decode_single_token_bytes(i) for i in full.encode_ordinary(text)) if token in v.ids}
        assert {v.tokens[i] for i in ours if len(v.tokens[i]) > 1} <= theirs


def test_tokenizer_json_agrees(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    v, rng = vocabulary.Vocabulary(), random.Random(8)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(v.tokenizer_json()))
    theirs = tokenizers.Tokenizer.from_file(str(path))
    assert theirs.get_vocab_size() == v.size
    for _ in range(300):
        parts = [p for side in conversations.draw(rng).parts() for p in side]
        for part in parts:
            assert theirs.encode(part, add_special_tokens=False).ids == v.encode_parts([part])
    for text in ("naïve 東京 🙂", "x\t\n  y", "你好，世界！", "it's 12345"):
        assert theirs.encode(text).ids == v.encode(text) and theirs.decode(v.encode(text)) == text


def test_held_out_questions_are_new():
    rng = random.Random(9)
    seen = {conversations.draw(rng, "train").messages[-1]["content"] for _ in range(20000)}
    for ask in (questions.add, questions.subtract, questions.fact, questions.echo, questions.reverse):
        turn = conversations.settle(rng, "held_out", lambda r: ask(r, "2025-06-28"))
        assert world.held_out(turn.key) and turn.user not in seen
