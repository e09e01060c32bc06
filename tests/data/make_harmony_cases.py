#!/usr/bin/env python3
"""Writes harmony/render_cases.jsonl.gz and harmony/parse_streams.jsonl.gz: what the reference library makes of random conversations and
of random streams of generated tokens. Needs `pip install openai-harmony==0.0.8`; the tests read the two files and need nothing.

Where this project differs from the library by rule (runtime/text/README.md), the cases are either rendered by our rule with the
library's own functions, or left out; both are counted and printed.
"""
import collections
import gzip
import json
import os
import pathlib
import random

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("TIKTOKEN_ENCODINGS_BASE", str(HERE.parents[1] / "runtime" / "text" / "data"))
import openai_harmony  # noqa: E402  (reads the variable)

SEED = 20250805
N_RENDER = 1800
N_PARSE = 2400
ENCODING = openai_harmony.load_harmony_encoding("HarmonyGptOss")
SPECIAL = {name: ENCODING.encode(f"<|{name}|>", allowed_special="all")[0]
           for name in ("start", "end", "message", "channel", "constrain", "return", "call")}

WORDS = ("the a weather in Paris tomorrow list of files number city and country temperature unit celsius please sum value null id "
         "query result error 42 3.14 naïve 東京 emoji 🙂 für été Привет don't I'll x=y; {\"a\": [1, 2]} `code` https://a.b/c?d=e "
         "<|end|> <|start|>assistant <|message|> CamelCase snake_case 2025-06-28 !? ... \t \u00a0 e\u0301 👩‍👩‍👧 ١٢ ﬁ").split(" ")
NAMES = "city unit count items opts id when filter_by maxResults x-y tag q0 lat lon mode deep".split()


def words(rng, low, high, newlines=False):
    out = " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))
    if newlines and rng.random() < 0.3:
        out = out.replace(" ", rng.choice(["\n", "\r\n", "\n\n", "  "]), rng.randint(1, 3))
    return out


# ---- schemas -----------------------------------------------------------------------------------------------------------------------

def number(rng):
    """Numbers that serde_json reads exactly: at most 15 digits and a small exponent. (Its default reader may be off by one unit in the
    last place for longer ones; this project reads those correctly.)"""
    return rng.choice([rng.randint(-5, 100), rng.randint(-2**53, 2**53), -(2**63), 2**63 - 1, 0, 1.0, -0.5, 0.1, 1e21, 1e16, 1e15, 1e-5, 1e-7,
                       rng.randint(-999, 999) / 100, rng.randint(1, 10**12) / 10**6, rng.randint(1, 10**6) * 1e-12,
                       float(rng.randint(1, 10**15)), 2.5e20, 123456.75])


def value(rng, depth=0):
    kind = rng.randrange(7 if depth < 2 else 5)
    if kind == 0:
        return number(rng)
    if kind == 1:
        return rng.choice(["", "a", "null", 'quote " \\ / \n\t\x01\x1f\x7f', words(rng, 0, 3)])
    if kind == 2:
        return rng.choice([True, False])
    if kind == 3:
        return None
    if kind == 4:
        return number(rng)
    if kind == 5:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(NAMES): value(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def decorate(rng, schema, chance):
    def add(key, make):
        if rng.random() < chance:
            schema[key] = make()
    add("description", lambda: rng.choice([words(rng, 1, 6, True), "", 7]))
    add("title", lambda: rng.choice([words(rng, 1, 2), 3]))
    add("default", lambda: value(rng))
    add("nullable", lambda: rng.choice([True, True, False, "yes"]))
    add("examples", lambda: [value(rng) for _ in range(rng.randint(0, 3))])
    add(rng.choice(["minimum", "pattern", "additionalProperties", "strict", "$comment"]), lambda: rng.choice([0, False, "^a"]))
    return schema


def schema(rng, depth=0):
    chance = rng.choice([0, 0.2, 0.5])
    kind = rng.randrange(14 if depth < 3 else 8)
    if kind < 3:
        out = {"type": rng.choice(["string", "number", "integer", "boolean"])}
        if rng.random() < 0.3:
            out["enum"] = [rng.choice(["a", "b c", 'q"', 3, None, "é"]) for _ in range(rng.randint(0, 4))]
        if rng.random() < 0.2 and out.get("enum"):
            out["default"] = out["enum"][0]
    elif kind == 3:
        out = {"type": [rng.choice(["string", "integer", "number", "null", "array", 5]) for _ in range(rng.randint(0, 3))]}
    elif kind == 4:
        out = rng.choice([{}, {"type": "null"}, {"type": "file"}, {"anyOf": [{"type": "string"}]}, {"$ref": "#/a"}, {"const": 3},
                          {"enum": ["a", 1]}, {"type": 7}, {"allOf": []}, {"type": "array"}, {"type": "object"}])
        out = dict(out)
    elif kind in (5, 6, 7):
        out = {"type": "array", "items": schema(rng, depth + 1)}
    elif kind in (8, 9):
        out = {"oneOf": rng.choice([[schema(rng, depth + 1) for _ in range(rng.randint(0, 3))], [schema(rng, depth + 1)], {"type": "string"}, 3])}
        if rng.random() < 0.2:
            out["type"] = "string"
    else:
        return object_schema(rng, depth, chance)
    if rng.random() < 0.1 and isinstance(out.get("oneOf"), list) and out["oneOf"] and isinstance(out["oneOf"][0], dict):
        out["description"] = out["oneOf"][0]["description"] = "the same text"
    return decorate(rng, out, chance)


def object_schema(rng, depth=0, chance=0.3):
    properties = {name: rng.choice([True, 3, "x"]) if rng.random() < 0.02 else schema(rng, depth + 1)
                  for name in rng.sample(NAMES, rng.randint(0, 4 if depth else 5))}
    out = {"type": "object", "properties": properties}
    if rng.random() < 0.6:
        out["required"] = [rng.choice(NAMES + ["nowhere", 3]) for _ in range(rng.randint(0, 3))]
    return decorate(rng, out, chance)


# ---- conversations -----------------------------------------------------------------------------------------------------------------

def tool(rng):
    out = {"name": rng.choice(["get_weather", "lookup", "a1", "sendMail", "f"]) + str(rng.randint(0, 9)),
           "description": rng.choice([words(rng, 1, 8, True), "", "line\nline\r\n", "\n", "cr\r"])}
    choice = rng.random()
    if choice < 0.75:
        out["parameters"] = object_schema(rng)
    elif choice < 0.9:
        out["parameters"] = rng.choice([schema(rng), {}, None, True])
    return out


def namespaces(rng, names):
    return {name: {"name": name, "description": rng.choice([None, None, "", words(rng, 2, 8, True), "\nx\n\ny\n"]),
                   "tools": [tool(rng) for _ in range(rng.randint(0, 2))]} for name in names}


def system_message(rng):
    content = {}
    if rng.random() < 0.2:
        content["model_identity"] = rng.choice([None, "", words(rng, 1, 6)])
    if rng.random() < 0.6:
        content["reasoning_effort"] = rng.choice(["low", "medium", "high", None])
    if rng.random() < 0.5:
        content["conversation_start_date"] = "2025-%02d-%02d" % (rng.randint(1, 12), rng.randint(1, 28))
    if rng.random() < 0.15:
        content["knowledge_cutoff"] = rng.choice([None, "2021-01"])
    if rng.random() < 0.15:
        content["valid_channels"] = rng.choice([[], ["final"], ["analysis", "final"]])
    if rng.random() < 0.1:
        content["tools"] = namespaces(rng, rng.sample(["browser", "python", "a_b"], rng.randint(0, 2)))
    return {"role": "system", "content": [{"system": content}]}


def developer_message(rng):
    content = {}
    if rng.random() < 0.7:
        content["instructions"] = rng.choice(["", words(rng, 1, 20, True), "Be brief."])
    if rng.random() < 0.6:
        content["tools"] = namespaces(rng, ["functions"] if rng.random() < 0.8 else rng.sample(["functions", "zoo", "Abc", "mail"], 2))
    return {"role": "developer", "content": [{"developer": content}]}


def turn(rng):
    yield {"role": "user", "content": words(rng, 0, 12, True), **({"name": "bob"} if rng.random() < 0.05 else {})}
    for _ in range(rng.choice([0, 0, 1, 2])):
        if rng.random() < 0.6:
            yield {"role": "assistant", "channel": "analysis", "content": words(rng, 1, 10)}
        if rng.random() < 0.3:
            yield {"role": "assistant", "channel": "commentary", "content": words(rng, 1, 8)}
        name = "functions." + rng.choice(["get_weather", "lookup"])
        yield {"role": "assistant", "recipient": name, "channel": rng.choice(["commentary", "commentary", "analysis"]),
               "content_type": rng.choice(["<|constrain|>json", "json", "code", "<|constrain|>", None]), "content": json.dumps(value(rng), ensure_ascii=False)}
        if rng.random() < 0.9:
            yield {"role": "tool", "name": name, "recipient": rng.choice(["assistant", "all", None]),
                   "channel": rng.choice(["commentary", None]), "content": words(rng, 0, 8)}
    if rng.random() < 0.6:
        yield {"role": "assistant", "channel": "analysis", "content": words(rng, 1, 10)}
    if rng.random() < 0.8:
        yield {"role": "assistant", "channel": rng.choice(["final", "final", "final", None]), "content": words(rng, 0, 12, True)}


def conversation(rng):
    out = [system_message(rng)] if rng.random() < 0.85 else []
    if rng.random() < 0.7:
        out.append(developer_message(rng))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        out.extend(turn(rng))
    return [{k: v for k, v in m.items() if v is not None} for m in out]


def for_library(message):
    """Our shape of a message to the library's JSON. The binding is fed directly: the Python classes drop nulls inside schemas."""
    out = {k: v for k, v in message.items() if k != "content"}
    content = message["content"]
    if isinstance(content, str):
        out["content"] = [{"type": "text", "text": content}]
        return out
    (kind, fields), = content[0].items()
    if kind == "developer":
        out["content"] = [{"type": "developer_content", **fields}]
        return out
    made = {"type": "system_content", "model_identity": "You are ChatGPT, a large language model trained by OpenAI.",
            "reasoning_effort": "medium", "knowledge_cutoff": "2024-06", "valid_channels": ["analysis", "commentary", "final"]} | fields
    made["channel_config"] = {"valid_channels": made.pop("valid_channels"), "channel_required": True}
    if made["reasoning_effort"]:
        made["reasoning_effort"] = made["reasoning_effort"].capitalize()
    out["content"] = [{k: v for k, v in made.items() if v is not None}]
    return out


def render(messages, complete, drop):
    text = json.dumps({"messages": [for_library(m) for m in messages]})
    config = {"auto_drop_analysis": drop}
    if complete:
        return ENCODING._inner.render_conversation_for_completion(conversation_json=text, next_turn_role="assistant", config=config)
    return ENCODING._inner.render_conversation(conversation_json=text, config=config)


def render_cases(rng, count):
    for _ in range(N_RENDER):
        messages = conversation(rng)
        complete = rng.random() < 0.9
        last_final = max((i for i, m in enumerate(messages) if m.get("channel") == "final"), default=-1)
        ours = [m for i, m in enumerate(messages) if i > last_final or m.get("channel") != "analysis"]
        ids = render(ours, complete, False)
        same = ids == render(messages, complete, True)
        count["rendered as by the library's own dropping of reasoning" if same else "rendered by our rule for dropping reasoning"] += 1
        yield {"messages": messages, "options": {"next_role": "assistant" if complete else None}, "expected_ids": ids}


# ---- streams -----------------------------------------------------------------------------------------------------------------------

DECLARED = ["lookup_weather", "f", "get.time"]
BROKEN = [t for t in range(0, 256) if len(ENCODING._inner.decode_bytes([t])) == 1 and ENCODING._inner.decode_bytes([t])[0] >= 0x80]


def ids_of(text):
    return ENCODING.encode(text, disallowed_special=())


def tokens(text):
    """Text in which <|name|> of a formatting token is that token."""
    return ENCODING.encode(text, allowed_special={f"<|{n}|>" for n in SPECIAL}, disallowed_special=())


def content(rng):
    out = []
    for _ in range(rng.choice([0, 1, 3, 8])):
        kind = rng.random()
        if kind < 0.7:
            out += ids_of(words(rng, 1, 4))
        elif kind < 0.8:
            out += ids_of("🙂é東"[rng.randrange(3)])
        elif kind < 0.9:
            out += [rng.choice(BROKEN) for _ in range(rng.randint(1, 3))]
        else:
            out.append(rng.choice([SPECIAL["start"], SPECIAL["message"], SPECIAL["channel"], SPECIAL["constrain"], 200014, 199998]))
    return out


def header(rng):
    """(text behind the role, the name of our rule that makes a difference or None)"""
    channel = rng.choice(["analysis", "commentary", "final", "commentary"])
    mark = f"<|channel|>{channel}"
    to = rng.choice(["functions.get_weather", "functions.x-1", "python", "browser.search", "container.exec", "assistant", "user", "all"])
    bare = "python" if to == "assistant" else to  # behind the channel, the word "assistant" would be the role
    kind = rng.choice(["json", "code", "<|constrain|>json", "yaml", "<|constrain|>"])
    space = rng.choice([" ", " ", " ", "  ", "\n"])
    forms = [
        (mark, None), (mark, None), (mark + space, None), ("", None),
        (f"{mark} to={to}{space}{kind}", None), (f" to={to}{mark}{space}{kind}", None), (f" to={to}{mark}", None), (f"{mark}{space}to={to}", None),
        (f"{mark} to={to}<|constrain|>json", None), (f" to={to}<|constrain|>json{mark}", None), (f" to={to}", None), (f" to={to} {kind}", None),
        (f"<|channel|>commentary {bare} json", None), (f"<|channel|>analysis {bare}", None), (f"<|channel|>analysis {bare} {kind}", None),
        ("<|channel|>thoughts", None), ("<|channel|>Final", None),
        (f" assistant{mark}", None), (f"{mark} functions.get_weather", None), (f" functions.get_weather{mark} code", None),
        (f"{mark} to={to} {' ' * 3}{kind}\n", None), (f"{mark}<|constrain|>json to={to}", "words the library rejects"),
        (f"{mark} {kind}" if kind != "yaml" else f"{mark} json", "a lone content type"),
        (f"{mark} {to}" if channel == "final" and not to.startswith("functions.") else "<|channel|>final hello", "a lone word in an answer"),
        (f" to={rng.choice(DECLARED)}{mark} json", "a declared function without its namespace"),
        (f"<|channel|>commentary{mark}", "several channels"), (f"<|channel|>commentary to=assistant{mark}", "several channels"),
        (f"<|channel|>analysis... text commentary to={to}", "words the library rejects"), (f"{mark}to={to} {kind}", "glued words"),
        ("<|channel|><|constrain|>json", "words the library rejects"), (f"commentary to={to}{mark}", "words the library rejects"),
    ]
    return rng.choice(forms)


def stream(rng):
    """(after_assistant, ids, whether the library must be lenient, the rules that make a difference)"""
    after = rng.random() < 0.6
    ids, rules, lenient = [], set(), False
    for index in range(rng.choice([1, 1, 2, 3, 4])):
        role = "assistant"
        if index or not after:
            role = rng.choice(["assistant"] * 6 + ["user", "developer", "functions.get_weather", "tool", "assistant:bob", "assistantcommentary", "weird"])
            ids += tokens("<|start|>" + role)
        text, rule = header(rng)
        if role == "functions.get_weather":
            text, rule = f" to=assistant<|channel|>{rng.choice(['commentary', 'analysis'])}", None
        if role == "weird" or role.startswith("assistant") and role != "assistant":
            rule = "a role the library rejects or misreads"
        if rule:
            rules.add(rule)
        spelled = rng.random() < 0.05
        ids += ids_of(text) if spelled else tokens(text)
        if index == 0 and after and rng.random() < 0.06:
            ids[:] = tokens(rng.choice(["", "<|channel|>analysis", "<|channel|>final"])) + ids_of(" I must refuse this") + [SPECIAL["end"]]
            lenient = True
            rules.discard(rule)
            continue
        ids += [SPECIAL["message"]] + content(rng)
        if index and rng.random() < 0.02:
            rules.add("ends inside a message")
            break
        stop = rng.choice(["end"] * 5 + ["return", "call"])
        ids.append(SPECIAL[stop])
        if rng.random() < 0.04:
            ids += tokens(rng.choice(["<|end|>", "<|return|>", "commentary", "<|message|>x<|end|>"]))
            rules.add("tokens between messages")
    if after and not lenient and rng.random() < 0.1 and ids[-1] in (SPECIAL["end"], SPECIAL["return"], SPECIAL["call"]):
        ids.pop()
    stops = [i for i, t in enumerate(ids) if t in (SPECIAL["return"], SPECIAL["call"])]
    if after and stops and stops[0] != len(ids) - 1:
        rules.add("tokens behind the end of a generation")
    return after, ids, lenient, rules


def kind(message):
    """What a message is for, written down a second time and independently of the parser in C."""
    role, recipient, channel = message["role"], message.get("recipient"), message.get("channel")
    if recipient and (recipient.startswith("functions.") and recipient != "functions." or recipient in DECLARED) and role in ("assistant", "tool"):
        return "call"
    if role != "assistant" or recipient not in (None, "all", "user", "assistant"):
        return "analysis"
    return "final" if channel in (None, "final", "commentary") else "analysis"


def parse_streams(rng, count):
    kept = 0
    while kept < N_PARSE:
        after, ids, lenient, rules = stream(rng)
        rules.discard("ends inside a message")
        if rules:
            count["left out: " + min(rules)] += 1
            continue
        role = openai_harmony.Role.ASSISTANT if after else None
        messages = json.loads(ENCODING._inner.parse_messages_from_completion_tokens(ids, role and role.value, not lenient))
        expect = []
        for m in messages:
            text = m["content"] if isinstance(m["content"], str) else "".join(c["text"] for c in m["content"])
            out = {"kind": kind(m), "role": m.get("name") if m["role"] == "tool" else m["role"], "content": text}
            out |= {k: m[k] for k in ("channel", "recipient", "content_type") if m.get(k) is not None}
            expect.append(out)
        kept += 1
        count["parsed as by the library" + (" when lenient" if lenient else "")] += 1
        yield {"role": "assistant" if after else None, "ids": ids, "expect": expect}


def write(name, cases):
    path = HERE / "harmony" / name
    with open(path, "wb") as raw, gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=9, mtime=0) as out:
        for case in cases:
            out.write(json.dumps(case, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def main():
    for name, make in (("render_cases.jsonl.gz", render_cases), ("parse_streams.jsonl.gz", parse_streams)):
        count = collections.Counter()
        write(name, make(random.Random(SEED), count))
        for reason, n in sorted(count.items()):
            print(f"  {n:5d} {reason}")


if __name__ == "__main__":
    main()
