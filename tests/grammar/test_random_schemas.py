"""Random schemas: whatever the masks let through is valid, and what is valid is let through.

A few hundred by default; GPTOSS_LONG=1: 10,000. GRAMMAR_RUNS=n: that many, from seed GRAMMAR_SEED. Judge: the Python package jsonschema.
Environment: GPTOSS_BUILD_DIR, the build folder that holds tests/grammar/grammar_driver (default: build/release).
"""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from random_schemas import Schemas, Values, compact, validator  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GPTOSS_BUILD_DIR", ROOT / "build" / "release"))
RUNS = int(os.environ.get("GRAMMAR_RUNS", 10000 if os.environ.get("GPTOSS_LONG") else 300))
EACH = 3  # texts sampled of each schema
SEED = int(os.environ.get("GRAMMAR_SEED", 1))
# What a random schema may run into that the README lists as refused, or that has no value at all.
REFUSED = ("no text can satisfy", "patterns that may match the same name", "minProperties", "may both match", "have to be merged",
           "beside 'enum'", "too complex together", "alternatives (anyOf, oneOf) are not supported here")


def expected_texts(schema, seed):
    """Valid values, with their properties in the order of the schema as far as Values wrote them so."""
    judge, values = validator(schema), Values(schema, seed)
    texts = []
    for _ in range(6):
        try:
            value = values.any(schema)
        except RecursionError:
            continue
        text = compact(value)
        if judge.is_valid(value) and "e+" not in text and "e-" not in text:
            texts.append(text)
    return texts


def problems(schema, answer, texts):
    judge = validator(schema)
    for run in answer["runs"]:
        if not run["done"]:
            yield "unfinished", run["text"]
            continue
        try:
            value = json.loads(run["text"])
        except ValueError as error:
            yield f"not JSON: {error}", run["text"]
            continue
        for error in judge.iter_errors(value):
            yield f"invalid: {error.message[:300]}", run["text"]
            break
    for text, accepted in zip(texts, answer["accepted"]):
        if not accepted:
            yield "a valid value is refused", text


def test_random_schemas(tmp_path):
    lines, cases = [], []
    for seed in range(SEED, SEED + RUNS):
        schema = Schemas(seed).root()
        texts = expected_texts(schema, seed)
        cases.append((schema, texts))
        lines.append(json.dumps({"schema": schema, "seed": seed, "runs": EACH, "texts": texts}))
    driver = subprocess.run([BUILD / "tests" / "grammar" / "grammar_driver"], input="\n".join(lines), capture_output=True, text=True,
                            env={**os.environ, "GPTOSS_TESTS_DIR": str(ROOT / "tests")}, timeout=36000)
    assert driver.returncode == 0, driver.stderr
    answers = driver.stdout.rstrip("\n").split("\n")  # not splitlines(): texts may have other line ends
    assert len(answers) == RUNS, driver.stderr
    found, valid, refused, accepted, unfinished = [], 0, {}, 0, 0
    for seed, ((schema, texts), line) in enumerate(zip(cases, answers), SEED):
        answer = json.loads(line)
        if "error" in answer:
            reason = next((words for words in REFUSED if words in answer["error"]), None)
            refused[reason] = refused.get(reason, 0) + 1
            if reason is None or (reason == "no text can satisfy" and texts):
                found.append((seed, answer["error"], texts[:1], schema))
            continue
        accepted += len(texts)
        wrong = list(problems(schema, answer, texts))
        cut = sum(kind == "unfinished" for kind, _ in wrong)
        wrong = [problem for problem in wrong if problem[0] != "unfinished"]
        unfinished += cut
        valid += EACH - cut - sum(kind.startswith(("not JSON", "invalid")) for kind, _ in wrong)
        found += [(seed, kind, text[:400], schema) for kind, text in wrong]
    print(f"\n{RUNS} schemas, {sum(refused.values())} of them refused {refused}\n{valid} sampled texts valid, {unfinished} cut off at the "
          f"token limit; {accepted} values made independently accepted")
    print(driver.stderr)
    for seed, kind, text, schema in found[:10]:
        print(f"seed {seed}: {kind}\n  {text}\n  {json.dumps(schema, ensure_ascii=False)[:1500]}")
    assert not found
    assert sum(refused.values()) < RUNS // 5 and unfinished < max(2, RUNS // 100)
