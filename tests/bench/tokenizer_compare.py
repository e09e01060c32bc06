#!/usr/bin/env python3
"""Compares tokenizer_bench with tiktoken, on one core, on the same texts, alternately in one run.

    pip install tiktoken
    python3 tests/bench/tokenizer_compare.py build/release/tests/text/tokenizer_bench [NAME=FILE ...]

Without files: English is Python's own language reference, code is Python's standard library (both come with Python), and Chinese is
put together at random from the sentences below; give files of your own for a better judgement. The numbers of tokens must agree; that the ids do is a matter of the tests.
"""
import base64
import os
import pathlib
import pydoc_data.topics
import random
import subprocess
import sys
import tempfile
import time

import tiktoken
import tiktoken_ext.openai_public as published

VOCABULARY = pathlib.Path(__file__).resolve().parents[2] / "runtime/text/data/o200k_base.tiktoken"
SIZE = 2_000_000
ROUNDS = 3
CHINESE = """今天早上下了一场大雨，路上的行人都撑着伞。|这本书讲的是一个年轻人离开家乡到城市里寻找工作的故事。|系统会把请求放进队列，然后按照先后次序处理。
|如果内存不足，程序应当给出清楚的提示，而不是直接退出。|他说：“明天见！”然后头也不回地走了。|2019年全国粮食总产量达到六亿六千万吨。|山里的空气很新鲜，
|我们沿着小河走了三个小时，终于到了村口的老桥。|为什么同样的问题会得到不同的答案呢？|分词器先把文字切成小段，再把每一段合并成词元。|老师要求学生写一篇关于春天的作文，
|字数不少于八百字。|这家餐馆的豆腐又嫩又香，价钱也不贵。|科学家们发现，这种植物只生长在海拔三千米以上的地方。|请在使用前仔细阅读说明书，并妥善保管。|经济的发展离不开教育，
|教育的进步也需要经济的支持。|月亮升起来了，湖面上闪着银色的光。|开发人员可以通过配置文件修改端口号和日志级别。|人工智能正在改变我们的生活方式。""".replace("\n", "").split("|")


def tiktoken_encoding():
    ranks = {}
    for line in VOCABULARY.read_bytes().splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    load, published.load_tiktoken_bpe = published.load_tiktoken_bpe, lambda *a, **k: ranks
    try:
        definition = published.o200k_base()
    finally:
        published.load_tiktoken_bpe = load
    return tiktoken.Encoding(**definition)


def default_texts():
    rng = random.Random(1)
    library = pathlib.Path(os.__file__).parent
    english = "\n".join(str(t) for t in pydoc_data.topics.topics.values())
    code = "".join(p.read_text(errors="replace") for p in sorted(library.glob("*.py")))
    chinese = "".join(rng.choice(CHINESE) + rng.choice(["", "", "\n"]) for _ in range(SIZE // 60))
    return {"English": english, "code": code, "Chinese": chinese}


def cut(text):
    return text.encode()[:SIZE].decode(errors="ignore")


def best_of_tiktoken(encoding, text):
    best, ids = float("inf"), []
    for _ in range(3):
        began = time.perf_counter()
        ids = encoding.encode_ordinary(text)
        best = min(best, time.perf_counter() - began)
    return best, len(ids)


def best_of_bench(bench, path):
    out = subprocess.run([bench, str(VOCABULARY), path], check=True, capture_output=True, text=True).stdout
    _, size, tokens, seconds, _ = next(line for line in out.splitlines() if line.startswith("text\t")).split("\t")
    return float(seconds), int(tokens), int(size)


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    texts = {name: pathlib.Path(path).read_text(errors="replace") for name, path in (a.split("=", 1) for a in sys.argv[2:])}
    encoding = tiktoken_encoding()
    print(f"{'text':<10} {'bytes':>9} {'tokens':>8} {'ours MB/s':>10} {'tiktoken MB/s':>14} {'ratio':>6}")
    for name, text in (texts or default_texts()).items():
        text = cut(text)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", newline="", suffix=".txt") as file:
            file.write(text)
            file.flush()
            ours = theirs = float("inf")
            for _ in range(ROUNDS):
                seconds, tokens, size = best_of_bench(sys.argv[1], file.name)
                reference, expected = best_of_tiktoken(encoding, text)
                ours, theirs = min(ours, seconds), min(theirs, reference)
            if tokens != expected:
                sys.exit(f"{name}: {tokens} tokens, tiktoken has {expected}")
        print(f"{name:<10} {size:>9} {tokens:>8} {size / ours / 1e6:>10.1f} {size / theirs / 1e6:>14.1f} {theirs / ours:>6.1f}")


main()
