"""How long masks take over the o200k vocabulary, for schemas as people use them: GPTOSS_BUILD_DIR=build/release python tests/grammar/mask_times.py

For each, 60 texts are sampled from the masks with random logits (see grammar_driver.c). The first one's masks are those of a grammar that was
never used; those of the others include states that were never seen before, in strings with a length, lists and nested objects. Then what a step
of the engine waits for 32 constrained sequences (mask_steps.c): all of one schema, and of all schemas.
"""
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GPTOSS_BUILD_DIR", ROOT / "build" / "release"))


def record(properties, **more):
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False, **more}


text, short = {"type": "string"}, {"type": "string", "maxLength": 80}
person = record({"name": short, "age": {"type": "integer", "minimum": 0, "maximum": 130}, "email": {"type": "string", "format": "email"}})
SCHEMAS = {
    "any JSON object": {"type": "object"},
    "tool call, strict": record({"location": text, "unit": {"enum": ["celsius", "fahrenheit"]}, "days": {"type": ["integer", "null"]}}),
    "tool call, optional properties": {"type": "object", "properties": {name: text for name in ("query", "site", "before", "after", "page")}},
    "list of records, lengths": {
        "type": "array", "minItems": 3, "maxItems": 200,
        "items": record({"id": {"type": "string", "format": "uuid"}, "title": {"type": "string", "minLength": 3, "maxLength": 200},
                         "when": {"type": "string", "format": "date-time"}, "price": {"type": "number", "minimum": 0},
                         "tags": {"type": "array", "items": short, "maxItems": 5}, "owner": person})},
    "steps, as in OpenAI's examples": record({"steps": {"type": "array", "items": record({"explanation": text, "output": text})}, "final_answer": text}),
    "recursive user interface": {
        "$ref": "#/$defs/node",
        "$defs": {"node": record({"type": {"enum": ["div", "button", "header", "form"]}, "label": short,
                                  "children": {"type": "array", "items": {"$ref": "#/$defs/node"}, "maxItems": 4},
                                  "attributes": {"type": "array", "items": record({"name": short, "value": text}), "maxItems": 3}})}},
    "union by kind": {"oneOf": [record({"kind": {"const": "a"}, "value": text}), record({"kind": {"const": "b"}, "items": {"type": "array", "items": person}})]},
    "pattern": record({"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{4,6}$"}, "slug": {"type": "string", "pattern": "^[a-z0-9-]+$"}}),
    "formats": record({"email": {"type": "string", "format": "email"}, "host": {"type": "string", "format": "hostname"},
                       "address": {"type": "string", "format": "uri", "maxLength": 80}, "work": {"type": "string", "format": "email", "maxLength": 40}}),
    "patterns with counts": record({"words": {"type": "string", "pattern": "^([A-Z][a-z]{0,11} ){1,5}$"}, "path": {"type": "string", "pattern": "^(/[A-Za-z0-9._-]{1,32}){1,8}$"},
                                    "name": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,31}$"}, "short": {"type": "string", "pattern": "^.{2,5}$"}}),
    "patterns near a length": record({"plain": {"type": "string", "pattern": "^[^<>]*$", "maxLength": 100}, "ends": {"type": "string", "pattern": "^[^a-c\"]*x$", "maxLength": 20},
                                      "words": {"type": "string", "pattern": "^[A-Za-z]+( [A-Za-z]+)*$", "minLength": 5, "maxLength": 50}, "has": {"type": "string", "pattern": "b.d", "maxLength": 20}}),
    "strings of several kinds": {"type": "array", "items": {"anyOf": [{"type": "string", "format": "email"}, {"type": "string", "maxLength": 9}, {"type": "string", "minLength": 4, "maxLength": 30}]}},
    "names by pattern": {"type": "object", "patternProperties": {"^x-[a-z]{1,20}$": {"type": "integer"}}, "additionalProperties": {"type": "string", "maxLength": 30}},
    "pattern and length": record({"slug": {"type": "string", "pattern": "^[a-z]+(-[a-z]+)*$", "maxLength": 40}, "note": {"type": "string", "pattern": "[.!?]$", "maxLength": 200}}),
}

for name, schema in SCHEMAS.items():
    line = json.dumps({"schema": schema, "seed": 1, "runs": 60})
    driver = subprocess.run([BUILD / "tests" / "grammar" / "grammar_driver"], input=line.encode(), capture_output=True, check=True,
                            env={**os.environ, "GPTOSS_TESTS_DIR": str(ROOT / "tests")})
    answer = json.loads(driver.stdout)
    print(name if "runs" in answer else f"{name}: {answer['error']}")
    for times in driver.stderr.decode().splitlines()[1:]:
        print("   ", times)

def steps(name, schemas):
    bench = subprocess.run([BUILD / "tests" / "grammar" / "mask_steps", "32", "3000"], input=json.dumps(schemas).encode(), capture_output=True, check=True,
                           env={**os.environ, "GPTOSS_TESTS_DIR": str(ROOT / "tests")})
    print(f"a step of 32 sequences, {name}")
    for times in bench.stdout.decode().splitlines():
        print("   ", times)


steps("one schema", [SCHEMAS["list of records, lengths"]])
steps("all schemas", list(SCHEMAS.values()))
