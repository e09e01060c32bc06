#!/usr/bin/env python3
"""Writes tests/data/tokenizer/cases.jsonl.gz: 20,000 generated strings and their ids by tiktoken.

    pip install tiktoken && python3 tests/data/make_tokenizer_cases.py

Each line is [text, ids, ids of the reduced vocabulary or null]. The vocabulary comes from runtime/text/data, nothing is
downloaded. The reduced vocabulary is its first REDUCED ranks.

Only code points of Unicode 14 are used, because PCRE2 10.42 (Debian 12) knows no later ones and would rightly differ from
tiktoken; U+0295 is left out as well, since a later version moved it from Ll to Lo. Python 3.11 carries exactly Unicode 14.
"""
import base64
import gzip
import json
import pathlib
import random
import sys
import unicodedata

import tiktoken
import tiktoken_ext.openai_public as published

COUNT, REDUCED, REDUCED_COUNT, SEED = 20000, 1000, 1500, 20240613
HERE = pathlib.Path(__file__).resolve().parent
VOCABULARY = HERE.parent.parent / "runtime/text/data/o200k_base.tiktoken"
OUT = HERE / "tokenizer/cases.jsonl.gz"

if unicodedata.unidata_version != "14.0.0":
    sys.exit(f"needs a Python with Unicode 14 (3.11), this one has {unicodedata.unidata_version}")

rng = random.Random(SEED)


def vocabulary():
    ranks = {}
    for line in VOCABULARY.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    return ranks


def pattern():
    """The pattern of o200k_base, without letting tiktoken look for the vocabulary on the network."""
    load = published.load_tiktoken_bpe
    published.load_tiktoken_bpe = lambda *args, **kwargs: {}
    try:
        return published.o200k_base()["pat_str"]
    finally:
        published.load_tiktoken_bpe = load


RANKS = vocabulary()
PATTERN = pattern()
FULL = tiktoken.Encoding("o200k", pat_str=PATTERN, mergeable_ranks=RANKS, special_tokens={})
SMALL = tiktoken.Encoding("reduced", pat_str=PATTERN, special_tokens={},
                          mergeable_ranks={t: r for t, r in RANKS.items() if r < REDUCED})

SAFE = [chr(c) for c in range(0x110000)
        if unicodedata.category(chr(c)) not in ("Cn", "Cs") and c != 0x295]
BY_CATEGORY = {}
for ch in SAFE:
    BY_CATEGORY.setdefault(unicodedata.category(ch), []).append(ch)
SAFE_SET = set(SAFE)


def block(first, last):
    return [chr(c) for c in range(first, last + 1) if chr(c) in SAFE_SET]


SCRIPTS = [block(*b) for b in (
    (0x41, 0x7A), (0xC0, 0x24F), (0x250, 0x2AF), (0x370, 0x3FF), (0x400, 0x4FF), (0x531, 0x58F), (0x591, 0x5F4),
    (0x600, 0x6FF), (0x700, 0x74F), (0x780, 0x7B1), (0x900, 0x97F), (0x980, 0x9FE), (0xA01, 0xA76), (0xA81, 0xAFF),
    (0xB82, 0xBFA), (0xC00, 0xC7F), (0xD00, 0xD7F), (0xD81, 0xDF4), (0xE01, 0xE5B), (0xE81, 0xEDF), (0xF00, 0xFDA),
    (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x139F), (0x13A0, 0x13FD), (0x1401, 0x166C),
    (0x1780, 0x17F9), (0x1800, 0x18AA), (0x1D00, 0x1DBF), (0x1E00, 0x1FFE), (0x2C00, 0x2DFF), (0x3041, 0x30FF),
    (0x3105, 0x318E), (0x4E00, 0x9FFF), (0xA000, 0xA4C6), (0xA640, 0xA69F), (0xA720, 0xA7FF), (0xAC00, 0xD7A3),
    (0xFF01, 0xFFDC), (0x10400, 0x1044F), (0x12000, 0x12399), (0x1D400, 0x1D7FF), (0x1E900, 0x1E959), (0x20000, 0x2A6DF))]
COMMON_HAN = list("的一是不了人我在有他这中大来上国个到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小")
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\v", "\f", "\u0085", "\u00a0", "\u1680", "\u2003", "\u2028", "\u2029",
          "\u202f", "\u205f", "\u3000", "\u180e", "\u200b", "\ufeff", "\n\n", " \n", "\n ", "\t ", "        "]
EMOJI = ["😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "🏳️‍🌈", "❤️", "1️⃣", "🫠", "✈️", "🧑🏿‍🚀", "🂡", "☃", "⌚"]
ENDINGS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'vE", "'M", "'lL", "'D", "'ſ", "’s", "'", "''s",
           "'x", "'r", "'l", "'é", "'ll's"]
SPECIAL = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|constrain|>", "<|endoftext|>",
           "<|endofprompt|>", "<|reserved_200000|>", "<|", "|>", "<|start", "analysis", "final", "assistant"]
CODE = ["for (int i = 0; i < n; i++) {\n", "    return x->next;\n", "}\n\n", "def f(self, *args):\n\t", "import os, sys\n", "// ",
        "/* ", " */", "https://", "a/b/c.txt", "x != y && !z", "\"\\n\"", "#include <stdio.h>\n", "=>", "::", "->", "<div class=\"",
        "</div>\n", "SELECT * FROM ", "${HOME}/", "\\u00e9", "0x1F", "1e-9", "i+=1;", "[[[", "]]", "--", "||", "%s\\n", "camelCaseName",
        "SNAKE_CASE", "HTTPServer", "getURLs", "\n/\n//\r\n", "...///", "{}\n\n\n"]
WORDS = """the of and to in is you that it he was for on are as with his they at be this from have or by one had not but what all
were when we there can an your which their said if do will each about how up out them then she many some so these would other into
has more her two like him see time could no make than first been its who now people my made over did down only way find use may water
long little very after words called just where most know get through back much before go good new write our used me man too any day
same right look think also around another came come work three word must because does part even place well such here take why things
help put years different away again off went old number Straße naïve café Ünïcödé größer señor façade İstanbul ﬁn ĳ Ǆ ǅ ʰ ª º ⅷ""".split()
VALID_TOKENS = []
for token in RANKS:
    try:
        text = token.decode()
    except UnicodeDecodeError:
        continue
    if all(ch in SAFE_SET for ch in text):
        VALID_TOKENS.append(text)


def pick(pool, low, high):
    return [rng.choice(pool) for _ in range(rng.randint(low, high))]


def word():
    text = rng.choice(WORDS)
    return rng.choice([text, text, text, text.upper(), text.title(), text.swapcase(),
                       "".join(rng.choice([c.lower(), c.upper()]) for c in text)])


def script():
    pool = rng.choice(SCRIPTS)
    return rng.choice(["", " ", " "]).join("".join(pick(pool, 1, 6)) for _ in range(rng.randint(1, 3)))


def any_characters():
    return "".join(pick(SAFE, 1, 6))


def categories():
    return "".join(rng.choice(BY_CATEGORY[rng.choice(list(BY_CATEGORY))]) for _ in range(rng.randint(2, 8)))


def edge():
    """Characters whose categories the pattern treats in different ways, one after the other."""
    pool = ["a", "B", "é", "É", "ǅ", "ʰ", "ª", "漢", "\u0301", "\u0903", "\u20dd", " ", "\n", "\r", "\t", "\u00a0", "\u3000", "1", "٣",
            "Ⅷ", "²", "'", "s", "S", "ſ", "/", ".", "!", "_", "€", "😀", "\u200d", "\x00", "\x7f", "\u00ad", "\ue000"]
    return "".join(pick(pool, 2, 12))


def digits():
    pool = rng.choice([list("0123456789"), list("0123456789"), list("٠١٢٣٤٥٦٧٨٩"), list("०१२३४५६७८९"), BY_CATEGORY["Nd"],
                       BY_CATEGORY["No"], BY_CATEGORY["Nl"]])
    return "".join(pick(pool, 1, 9)) + rng.choice(["", "", ".", ",", " ", "%", "km"])


def marks():
    return "".join(c + "".join(pick(BY_CATEGORY["Mn"], 0, 3)) for c in pick(WORDS, 1, 2))


def controls():
    return "".join(pick([chr(c) for c in range(32)] + ["\x7f", "\x85", "\u200b", "\u202e", "a", " "], 1, 6))


def repeats():
    return rng.choice(list("aX0 =-\n\t漢é.😀/#") + ["ab", " a", "\r\n", "ha", "的的", "Éa"]) * rng.choice([2, 5, 17, 40, 130, 300])


PARTS = [(word, 30), (lambda: word() + rng.choice(ENDINGS), 8), (script, 16), (any_characters, 3), (categories, 4), (edge, 8),
         (digits, 8), (marks, 3), (controls, 2), (repeats, 1), (lambda: rng.choice(EMOJI), 4), (lambda: rng.choice(SPECIAL), 4),
         (lambda: rng.choice(CODE), 8), (lambda: "".join(pick(SPACES, 1, 4)), 8), (lambda: rng.choice(VALID_TOKENS), 10),
         (lambda: "".join(pick(COMMON_HAN, 2, 9)), 5)]
MAKERS, WEIGHTS = zip(*PARTS)


def case():
    joint = rng.choice(["", " ", " ", " ", "\n"])
    return joint.join(maker() for maker in rng.choices(MAKERS, WEIGHTS, k=rng.randint(1, 5)))


def main():
    seen, lines = {""}, []
    while len(lines) < COUNT:
        text = case()
        if text in seen:
            continue
        seen.add(text)
        small = SMALL.encode_ordinary(text) if len(lines) < REDUCED_COUNT else None
        lines.append(json.dumps([text, FULL.encode_ordinary(text), small], ensure_ascii=False, separators=(",", ":")))
    data = ("\n".join(lines) + "\n").encode()
    OUT.write_bytes(gzip.compress(data, 9, mtime=0))
    print(f"{OUT}: {len(lines)} cases, {len(data)} bytes, {OUT.stat().st_size} compressed")


main()
