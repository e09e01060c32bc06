#!/usr/bin/env python3
"""Asks a served model held-out questions and counts what it gets right.

    python3 tests/tiny/measure.py --model tests/data/tiny [--program build/release/launch/gptoss-tp] [--each 40]
    python3 tests/tiny/measure.py --url http://127.0.0.1:8000

With --model it starts the server itself, on the CPU. Greedy, through /v1/chat/completions, in random order, with the dates and efforts of
the conversations. An answer is right when it contains what it must (a number: as its last number); a call when function and arguments
are the wanted ones. Needs the `regex` package. Exit code 1 when fewer than --least of all, or of any category --least-category, are right.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import urllib.request

import conversations
from turn import EFFORTS

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAX_TOKENS = 512


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--model", help="a checkpoint; the server is started for it")
    where.add_argument("--url", help="of a running server")
    parser.add_argument("--program", default=ROOT / "build" / "release" / "launch" / "gptoss-tp")
    parser.add_argument("--each", type=int, default=40, help="questions of each category")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--parallel", type=int, default=8)
    parser.add_argument("--least", type=float, default=0.90, help="share of all that must be right")
    parser.add_argument("--least-category", type=float, default=0.0, help="share of every category that must be right")
    parser.add_argument("--show", type=int, default=2, help="wrong answers shown of each category")
    return parser.parse_args()


class Server:
    """The program on one rank, stopped at the end of the block."""

    def __init__(self, program, model):
        command = [str(program), str(ROOT / "configs" / "tiny.yaml"), "--model", str(model), "--port", "0", "--set", "engine.max_sequences=16"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.url = None
        for line in self.process.stdout:
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                self.url = found.group(1)
                break
        if not self.url:
            raise SystemExit(f"{program} did not start; run it by hand to see why")

    def __enter__(self):
        return self.url

    def __exit__(self, *reason):
        self.process.terminate()
        self.process.communicate(timeout=60)


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


def get(url):
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def ask(url, name, c):
    body = {"model": name, "messages": c.messages, "temperature": 0, "max_tokens": MAX_TOKENS, "reasoning_effort": c.effort, "current_date": c.date}
    if c.tools:
        body["tools"] = c.tools
    return post(url + "/v1/chat/completions", body)["choices"][0]


def contains(text, must):
    if re.fullmatch(r"-?\d+(\.\d+)?", must):
        numbers = re.findall(r"-?\d+(?:\.\d+)?", text)
        return must in numbers[-1:] or (len(numbers) > 1 and must in numbers and not re.search(r" [-+*] ", text))
    return must in text


def right_call(choice, call):
    calls = choice["message"].get("tool_calls") or []
    if choice["finish_reason"] != "tool_calls" or len(calls) != 1 or calls[0]["function"]["name"] != call[0]:
        return False
    try:
        return json.loads(calls[0]["function"]["arguments"]) == call[1]
    except ValueError:
        return False


def valid_calls(choice, tools):
    """Per call made: whether it names a given function and its arguments are JSON with what that function requires."""
    known = {t["function"]["name"]: t["function"]["parameters"] for t in tools}
    for call in choice["message"].get("tool_calls") or []:
        try:
            given = json.loads(call["function"]["arguments"])
            wanted = known[call["function"]["name"]]
            yield isinstance(given, dict) and set(wanted["required"]) <= set(given) <= set(wanted["properties"])
        except (ValueError, KeyError):
            yield False


def right(choice, c):
    if c.call:
        return right_call(choice, c.call)
    content = choice["message"].get("content") or ""
    if c.category in ("echo", "reverse"):
        return content.strip() == c.reply.strip() and choice["finish_reason"] == "stop"
    return choice["finish_reason"] == "stop" and not choice["message"].get("tool_calls") and all(contains(content, m) for m in c.must)


class Tally:
    def __init__(self):
        self.right, self.asked = collections.Counter(), collections.Counter()
        self.words, self.calls, self.wrong = collections.defaultdict(list), [], collections.defaultdict(list)

    def add(self, c, choice):
        good = right(choice, c)
        for key in (c.category, f"effort {c.effort}", "all"):
            self.asked[key] += 1
            self.right[key] += good
        self.words[c.effort].append(len((choice["message"].get("reasoning") or "").split()))
        self.calls += valid_calls(choice, c.tools)
        if not good:
            self.wrong[c.category].append((c, choice))

    def share(self, key):
        return self.right[key] / self.asked[key] if self.asked[key] else 0.0

    def show_wrong(self, most):
        for category, entries in self.wrong.items():
            for c, choice in entries[:most]:
                print(f"wrong, {category}, {c.effort}: {c.messages[-1]['content']!r}\n  wanted {c.call or c.reply!r}\n"
                      f"  got    {json.dumps(choice['message'], ensure_ascii=False)}")

    def table(self):
        for key in [*conversations.CATEGORIES, *(f"effort {e}" for e in EFFORTS), "all"]:
            print(f"{key:16s} {self.right[key]:5d} of {self.asked[key]:5d}  {self.share(key):7.1%}")
        for effort in EFFORTS:
            print(f"words of reasoning at {effort:6s} effort: {sum(self.words[effort]) / max(1, len(self.words[effort])):6.1f}")
        print(f"calls with a given function and valid arguments: {sum(self.calls)} of {len(self.calls)}")

    def problems(self, args):
        """What keeps the model from being good enough."""
        out = [f"{key}: {self.share(key):.1%} is below {least:.0%}" for key, least in
               [("all", args.least), *((c, args.least_category) for c in conversations.CATEGORIES)] if self.share(key) < least]
        low, medium, high = (sum(self.words[e]) / max(1, len(self.words[e])) for e in EFFORTS)
        if not 1.5 * low < medium or not 1.5 * medium < high:
            out.append("the effort does not decide how long it thinks")
        if sum(self.calls) < 0.9 * len(self.calls):
            out.append("fewer than 90 % of its calls are valid")
        return out


def run(url, args):
    name = get(url + "/v1/models")["data"][0]["id"]
    rng = random.Random(args.seed)
    asked = [conversations.draw(rng, "held_out", category) for category in conversations.CATEGORIES for _ in range(args.each)]
    rng.shuffle(asked)
    tally, began = Tally(), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(args.parallel) as pool:
        for c, choice in zip(asked, pool.map(lambda c: ask(url, name, c), asked)):
            tally.add(c, choice)
    tally.show_wrong(args.show)
    print(f"\n{len(asked)} held-out questions to {name} in {time.monotonic() - began:.0f} s")
    tally.table()
    return tally.problems(args)


def main():
    args = arguments()
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT", "1")
    os.environ.setdefault("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    if args.url:
        problems = run(args.url.rstrip("/"), args)
    else:
        with Server(args.program, args.model) as url:
            problems = run(url, args)
    for problem in problems:
        print("NOT GOOD ENOUGH:", problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
