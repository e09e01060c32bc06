#!/usr/bin/env python3
"""Holds a written tokenizer.json against Hugging Face's own loader: the same ids as tiktoken on the generated cases.

    pip install tokenizers
    build/release/tests/text/write_tokenizer_json runtime/text/data/o200k_base.tiktoken 199998 /tmp/full.json
    build/release/tests/text/write_tokenizer_json runtime/text/data/o200k_base.tiktoken 1000 /tmp/reduced.json
    python3 tests/data/check_tokenizer_json.py /tmp/full.json /tmp/reduced.json

Cases with the text of a special token are left out: that loader takes it for the token.
"""
import gzip
import json
import pathlib
import sys

from tokenizers import Tokenizer

CASES = pathlib.Path(__file__).resolve().parent / "tokenizer/cases.jsonl.gz"


def check(path, column, n_ordinary):
    tokenizer = Tokenizer.from_file(path)
    added = {token.content: i for i, token in tokenizer.get_added_tokens_decoder().items()}
    written = {token["content"]: token["id"] for token in json.load(open(path, encoding="utf-8"))["added_tokens"]}
    if added != written or min(added.values()) != n_ordinary:
        sys.exit(f"{path}: the loader numbers the added tokens differently: {added}")
    checked = skipped = 0
    for line in gzip.open(CASES, "rt", encoding="utf-8", newline="\n"):
        case = json.loads(line)
        if case[column] is None:
            continue
        if any(content in case[0] for content in added):
            skipped += 1
            continue
        encoding = tokenizer.encode(case[0], add_special_tokens=False)
        if encoding.ids != case[column]:
            sys.exit(f"{path}: {case[0]!r}: {encoding.ids}, expected {case[column]}")
        if tokenizer.decode(encoding.ids, skip_special_tokens=False) != case[0]:
            sys.exit(f"{path}: {case[0]!r} does not decode to itself")
        checked += 1
    print(f"{path}: {checked} cases agree, {skipped} with special tokens' texts left out")


if len(sys.argv) != 3:
    sys.exit(__doc__)
check(sys.argv[1], 1, 199998)
check(sys.argv[2], 2, 1000)
