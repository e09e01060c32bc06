"""Whatever the model says, through chat and responses, streamed and not: no error, no text lost, valid events, the same said everywhere.

forced_output.py says what "lost" means. The random strings are a few thousand, and 100,000 with $GPTOSS_LONG.
"""
import concurrent.futures
import http.client
import json
import os
import random

import pytest

from fake import CALL, END, RETURN, parse_events, parse_named_events
from forced_output import END_OF_TEXT, SIZE, Judge, Vocabulary
from response_order import check_order

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
NAMES = ["get_weather", "lookup"]
PARAMETERS = {"type": "object", "properties": {}}
ASKS = {CHAT: {"messages": [{"role": "user", "content": "hi"}], "tools": [{"type": "function", "function": {"name": n, "parameters": PARAMETERS}} for n in NAMES]},
        RESPONSES: {"input": "hi", "tools": [{"type": "function", "name": n, "parameters": PARAMETERS} for n in NAMES], "store": False}}
LONG = bool(os.environ.get("GPTOSS_LONG"))
STRINGS = 100_000 if LONG else 2_000


@pytest.fixture(scope="module")
def vocabulary():
    return Vocabulary()


# ---- what an answer of each kind says: (kind, text) in the order in which it came, calls as (name, arguments) ----------


def of_response(body):
    out = []
    for item in body["output"]:
        if item["type"] == "function_call":
            out.append((item["name"], item["arguments"]))
        else:
            part, = item["content"]
            kind = "reasoning" if item["type"] == "reasoning" else item["phase"]
            out.append((kind, part["text"]))
    return out


def of_choice(choice):
    message = choice["message"]
    assert message["reasoning"] == message["reasoning_content"]
    return {"reasoning": message["reasoning"] or "", "content": message["content"] or "",
            "calls": [(c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", [])]}


def of_chunks(chunks):
    out = {"reasoning": "", "content": "", "calls": []}
    for delta in (c["delta"] for c in chunks):
        for key in ("reasoning", "content"):
            out[key] += delta.get(key) or ""
        for call in delta.get("tool_calls", []):
            if "id" in call:
                out["calls"].append([call["function"]["name"], ""])
                assert call["index"] == len(out["calls"]) - 1
            out["calls"][call["index"]][1] += call["function"]["arguments"]
    out["calls"] = [tuple(c) for c in out["calls"]]
    assert chunks[0]["delta"] == {"role": "assistant", "content": ""} and [bool(c["finish_reason"]) for c in chunks] == [False] * (len(chunks) - 1) + [True]
    return out


def as_chat(said):
    """The items of a response as a chat gives them."""
    def joined(*kinds):
        return "\n".join(text for kind, text in said if kind in kinds and text)
    return {"reasoning": joined("reasoning"), "content": joined("commentary", "final_answer"),
            "calls": [s for s in said if s[0] not in ("reasoning", "commentary", "final_answer")]}


# ---- sequences that models have said ---------------------------------------------------------------------------------

THINK = "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant"
ARGUMENTS = '{"city": "Z"}'
CALLED = [("get_weather", ARGUMENTS)]
SEQUENCES = {  # what is said behind <|start|>assistant: what must come of it
    # forms of a call
    "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    " to=functions.get_weather<|channel|>commentary json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    " to=functions.get_weather<|channel|>commentary <|constrain|>json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    THINK + " to=functions.get_weather<|channel|>commentary json<|message|>%s<|call|>" % ARGUMENTS: [("reasoning", "Hm."), *CALLED],
    "<|channel|>analysis to=functions.get_weather code<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>final to=functions.get_weather<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.get_weather<|constrain|>json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.get_weather<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.get_weather <!constrain!>json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.get_weather code<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=get_weather json<|message|>%s<|call|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.get_weather json<|message|>%s<|end|>" % ARGUMENTS: CALLED,
    "<|channel|>commentary to=functions.undeclared json<|message|>{}<|call|>": [("undeclared", "{}")],
    "<|channel|>commentary to=functions.get_weather json<|message|>{\"city\": \"": [("get_weather", "{\"city\": \"")],
    "<|channel|>commentary to=functions.get_weather json<|message|>no json at all<|call|>": [("get_weather", "no json at all")],
    "<|channel|>commentary<|message|>Let me look.<|end|><|start|>assistant to=functions.lookup<|channel|>commentary json<|message|>{}<|call|>":
        [("commentary", "Let me look."), ("lookup", "{}")],
    # tools nobody declared
    "<|channel|>analysis to=python code<|message|>1 + 1<|call|>": [("reasoning", "1 + 1")],
    "<|channel|>commentary to=python code<|message|>1 + 1<|call|>": [("reasoning", "1 + 1")],
    "<|channel|>analysis to=browser.search code<|message|>{\"query\": \"x\"}<|call|>": [("reasoning", "{\"query\": \"x\"}")],
    "<|channel|>commentary to=container.exec code<|message|>ls<|call|>": [("reasoning", "ls")],
    "<|channel|>commentary to=somebody<|message|>x<|end|>": [("reasoning", "x")],
    # text or a second stop behind a stop: "unexpected token 12606 / 200002 / 200007 while expecting start token 200006"
    "<|channel|>analysis<|message|>Hm.<|end|>commentary<|message|>A<|end|>": [("reasoning", "Hm."), ("commentary", "A")],
    "<|channel|>analysis<|message|>Hm.<|end|><|end|><|start|>assistant<|channel|>final<|message|>A<|return|>": [("reasoning", "Hm."), ("final_answer", "A")],
    "<|channel|>analysis<|message|>Hm.<|end|>The answer is 4.<|return|>": [("reasoning", "Hm."), ("final_answer", "The answer is 4.")],
    "<|channel|>analysis<|message|>Hm.<|end|><|channel|>final<|message|>A<|return|>": [("reasoning", "Hm."), ("final_answer", "A")],
    "<|channel|>analysis<|message|>Hm.<|end|><|message|>A<|return|>": [("reasoning", "Hm."), ("final_answer", "A")],
    # headers with words too many: "unexpected tokens remaining in message header"
    "<|channel|>analysis... commentary<|message|>Hm.<|end|>": [("reasoning", "Hm.")],
    "<|channel|>analysis of the question<|message|>Hm.<|end|>": [("reasoning", "Hm.")],
    "<|channel|>final answer to the user<|message|>A<|return|>": [("final_answer", "A")],
    "<|channel|><|message|>A<|return|>": [("final_answer", "A")],
    "<|channel|>thoughts<|message|>Hm.<|end|>": [("reasoning", "Hm.")],
    # a stray channel before the real one
    "<|channel|>commentary<|channel|>analysis<|message|>Hm.<|end|>": [("reasoning", "Hm.")],
    "<|channel|>commentary to=assistant<|channel|>final<|message|>A<|return|>": [("final_answer", "A")],
    "<|channel|>commentary<|channel|>commentary to=functions.lookup json<|message|>{}<|call|>": [("lookup", "{}")],
    "<|channel|>analysiscommentary<|message|>A<|end|>": [("commentary", "A")],
    THINK + "commentary to=functions.lookup json<|message|>{}<|call|>": [("reasoning", "Hm."), ("lookup", "{}")],
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistantcommentary to=functions.lookup json<|message|>{}<|call|>": [("reasoning", "Hm."), ("lookup", "{}")],
    # other roles
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>user<|message|>And you?<|end|>": [("reasoning", "Hm."), ("reasoning", "And you?")],
    "<|channel|>analysis<|message|>Hm.<|end|><|start|>functions.lookup to=assistant<|channel|>commentary<|message|>made up<|end|>":
        [("reasoning", "Hm."), ("reasoning", "made up")],
    # the answer without a header
    "I must refuse.<|return|>": [("final_answer", "I must refuse.")],
    "<|channel|>final Here you are<|return|>": [("final_answer", "Here you are")],
    "<|channel|>commentary Hello there<|end|>": [("commentary", "Hello there")],
    "<|channel|>analysis Hmm<|end|>": [("reasoning", "Hmm")],
    "I must refuse, with more words than any header has, again and again, and more.": [("final_answer", "I must refuse, with more words than any header has, again and again, and more.")],
    # a lone content type
    "<|channel|>final <|constrain|>json<|message|>{}<|return|>": [("final_answer", "{}")],
    "<|channel|>final<|constrain|>json<|message|>{}<|return|>": [("final_answer", "{}")],
    "<|channel|>final json<|message|>{}<|return|>": [("final_answer", "{}")],
    "<|channel|>commentary json<|message|>{}<|end|>": [("commentary", "{}")],
    # the end in the middle
    "": [], "<|channel|>": [], "<|channel|>analysis": [], "<|channel|>commentary to=functions.lookup": [], " to=functions.lookup": [],
    THINK: [("reasoning", "Hm.")], THINK + "<|channel|>final": [("reasoning", "Hm.")],
    "<|channel|>analysis<|message|>half of a thou": [("reasoning", "half of a thou")],
    "<|channel|>final<|message|>half of an answ": [("final_answer", "half of an answ")],
    # several of a kind
    "<|channel|>analysis<|message|>one<|end|><|start|>assistant<|channel|>analysis<|message|>two<|end|><|start|>assistant<|channel|>final<|message|>A<|end|>"
    "<|start|>assistant<|channel|>final<|message|>B<|return|>": [("reasoning", "one"), ("reasoning", "two"), ("final_answer", "A"), ("final_answer", "B")],
    # nothing said
    "<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>final<|message|><|return|>": [("final_answer", "")],
    "<|channel|>analysis<|message|><|end|><|start|>assistant<|channel|>analysis<|message|>x<|end|>": [("reasoning", "x")],
    # special tokens and broken UTF-8 inside a body
    "<|channel|>final<|message|>a<|channel|>b<|message|><|start|>assistant<|constrain|>c<|return|>": [("final_answer", "a<|channel|>b<|message|><|start|>assistant<|constrain|>c")],
    "<|channel|>final<|message|>line\udcf0\udc9f\n<|return|>": [("final_answer", "line\ufffd\n")],
    "<|channel|>analysis<|message|>\udcc3(\udcff<|end|>": [("reasoning", "\ufffd(\ufffd")],
    "<|channel|>commentary to=functions.lookup json<|message|>{\"a\": \"\udce2\udc82\"}<|call|>": [("lookup", "{\"a\": \"\ufffd\"}")],
    "<|channel|>final<|message|>\udcf0\udc9f\udc91": [("final_answer", "\ufffd")],
    # control tokens alone
    "<|message|>text": [("final_answer", "text")], "<|start|><|start|><|start|>": [], "<|end|><|call|>": [], "<|constrain|><|channel|><|message|><|end|>": [("final_answer", "")],
    "<|endoftext|>": [], "<|return|>": [], "<|startoftext|><|channel|>final<|message|>A<|return|>": [("final_answer", "A")],
}


@pytest.mark.parametrize("sequence,wanted", SEQUENCES.items())
def test_malformed_sequences(server, vocabulary, sequence, wanted):
    ids = [i for piece in sequence.split("<!constrain!>") for i in [*SPELLED, *vocabulary.encode(piece)]][len(SPELLED):]
    server.say(ids)
    body = server.post(RESPONSES, ASKS[RESPONSES])
    assert of_response(body) == wanted
    assert body["status"] == ("completed" if ids and ids[-1] in (RETURN, CALL, END_OF_TEXT) else "incomplete")
    assert of_response(check_order(server.response_events(ASKS[RESPONSES]))) == wanted
    assert of_choice(server.post(CHAT, ASKS[CHAT])["choices"][0]) == as_chat(wanted)
    assert of_chunks([e["choices"][0] for e in server.events(CHAT, ASKS[CHAT])]) == as_chat(wanted)


SPELLED = [464, 91, 542, 141043, 91, 29]  # "<|constrain|>" in ordinary tokens


@pytest.mark.parametrize("end", ["<|return|>", "<|call|>", "<|endoftext|>"])
def test_nothing_counts_behind_the_end(server, vocabulary, end):
    """ignore_eos."""
    server.say(vocabulary.encode("<|channel|>final<|message|>A" + end + " more<|channel|>final<|message|>B<|end|><|start|>assistant<|channel|>final<|message|>C"))
    body = server.post(RESPONSES, dict(ASKS[RESPONSES], ignore_eos=True))
    assert of_response(body) == [("final_answer", "A")] and body["usage"]["output_tokens"] > 10
    assert of_choice(server.post(CHAT, dict(ASKS[CHAT], ignore_eos=True))["choices"][0])["content"] == "A"


# ---- random strings --------------------------------------------------------------------------------------------------


def random_string(rng, vocabulary):
    """Control tokens, words of headers, words of its own (each once), any tokens, parts of characters, stops: now like harmony, now noise."""
    number = 0

    def said(n):
        nonlocal number
        out = []
        for _ in range(n):
            number += 1
            out += vocabulary.encode(f"{'' if rng.random() < 0.2 else ' '}w{number:03d}")
        return out

    header_words = ["analysis", "commentary", "final", "assistant", "user", "system", " to=functions.get_weather", " to=lookup", " to=python", " to=", "json", " json", " code",
                    "functions.lookup", "analysis...", "assistantcommentary", " to=assistant", "\n", " ", "<|constrain|>", "<|constrain|>json", "<|channel|>"]
    bytes_of = [b"\xf0", b"\x9f", b"\x91", b"\xc3", b"\xff", b"\xe2\x82", b"\x80", b"\x00"]

    def message(body):
        out = vocabulary.encode(rng.choice(["", "<|start|>assistant", "<|start|>assistant", "<|start|>", "<|start|>user", "assistant"]))
        for _ in range(rng.choice((0, 1, 1, 2, 3))):
            out += vocabulary.encode(rng.choice(header_words)) if rng.random() < 0.9 else said(1)
        if rng.random() < 0.7:
            out += vocabulary.encode(rng.choice(["<|channel|>analysis", "<|channel|>final", "<|channel|>commentary", "<|channel|>commentary to=functions.lookup json"]))
        return out + (vocabulary.encode("<|message|>") if rng.random() < 0.85 else []) + body

    def noise():
        kind = rng.random()
        if kind < 0.3:
            return [rng.choice([200003, 200005, 200006, 200008, 200007])]
        if kind < 0.5:
            return vocabulary.encode(rng.choice(header_words))
        if kind < 0.8:
            return said(rng.randrange(1, 4))
        if kind < 0.9:
            return [i for b in rng.sample(bytes_of, 2) for i in [vocabulary.ids.get(b)] if i is not None]
        return [rng.randrange(SIZE)]

    out = []
    for _ in range(rng.randrange(1, 6)):
        body = [i for _ in range(rng.randrange(0, 4)) for i in (said(rng.randrange(1, 4)) if rng.random() < 0.6 else noise())]
        out += message(body) if rng.random() < 0.75 else [i for _ in range(rng.randrange(1, 5)) for i in noise()]
        out += [rng.choice([END] * 8 + [RETURN, CALL, END_OF_TEXT])] if rng.random() < 0.8 else []
    if rng.random() < 0.3:
        out.append(rng.choice((RETURN, CALL)))
    return [i for i in out if i not in (200013, 200014)]


class Client:
    """A connection that is used again."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path, body):
        self.connection.request("POST", path, body=json.dumps(body))
        response = self.connection.getresponse()
        data = response.read()
        assert response.status == 200, data
        return data


def ask_response(client, seed):
    whole = json.loads(client.post(RESPONSES, dict(ASKS[RESPONSES], seed=seed)))
    streamed = check_order(parse_named_events(client.post(RESPONSES, dict(ASKS[RESPONSES], seed=seed, stream=True))))
    assert of_response(whole) == of_response(streamed) and whole["status"] == streamed["status"] and whole["usage"] == streamed["usage"]
    assert [i["status"] for i in whole["output"]] == [i["status"] for i in streamed["output"]]
    return of_response(whole)


def ask_chat(client, seed, n):
    """n answers in one request."""
    ask = dict(ASKS[CHAT], seed=seed, n=n)
    whole = [of_choice(c) for c in json.loads(client.post(CHAT, ask))["choices"]]
    chunks = [[] for _ in range(n)]
    for event in parse_events(client.post(CHAT, dict(ask, stream=True))):
        for choice in event["choices"]:
            chunks[choice["index"]].append(choice)
    assert [of_chunks(c) for c in chunks] == whole
    return whole


def run_batch(port, judge, strings):
    """Strings 0, 1, ... of the engine's scripts, through all four ways."""
    workers, together = 4, 50
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        clients = [Client(port) for _ in range(workers)]
        chats = pool.map(lambda k: [ask_chat(clients[k], first, min(together, len(strings) - first)) for first in range(k * together, len(strings), workers * together)], range(workers))
        chats = list(chats)
        responses = list(pool.map(lambda k: [ask_response(clients[k], seed) for seed in range(k, len(strings), workers)], range(workers)))
        for client in clients:
            client.connection.close()
    for seed, ids in enumerate(strings):
        said = responses[seed % workers][seed // workers]
        block = seed // together
        try:
            assert chats[block % workers][block // workers][seed % together] == as_chat(said)
            judge.check(ids, [text for _, text in said])
        except AssertionError as e:
            raise AssertionError(f"{e}\nids: {ids}\nsaid: {said}\ntext: {judge.vocabulary.text(ids)!r}") from None


def test_random_strings(server, vocabulary):
    judge, rng, batch = Judge(vocabulary), random.Random(1), 1000
    for _ in range(STRINGS // batch):
        strings = [random_string(rng, vocabulary) for _ in range(batch)]
        server.order(set={"scripts": strings, "by_seed": True}, forget=True)
        run_batch(server.port, judge, strings)
    counts = judge.counts
    print("\n" + ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in counts.items()))
    assert counts["strings"] == STRINGS and counts["bodies"] > STRINGS and counts["body_words"] > STRINGS
    assert counts["stray_words_shown"] > 0 and counts["bodies_judged_by_words"] < counts["bodies"] / 2
