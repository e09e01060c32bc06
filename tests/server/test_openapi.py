"""/openapi.json: it names the routes that there are, and is valid; every answer that the other tests get is held against it in fake.py. With $GPTOSS_LONG schemathesis
sends what it allows, and what it does not."""
import json
import os
import re
import subprocess
import sys

import jsonschema
import pytest

from described import Description
from fake import ROOT

SOURCE = json.loads((ROOT / "runtime" / "server" / "openapi.json").read_text())


def routes():
    """(method, path) of the rows of the table in routes.c, with {name} for a name."""
    rows = re.findall(r'^    \{"([A-Z]+)", "([^"]+)"(.*)\},$', (ROOT / "runtime" / "server" / "routes.c").read_text(), re.M)
    out = set()
    for method, path, rest in rows:
        suffix = re.search(r'\.suffix = "([^"]*)"', rest)
        out.add((method, path + ("{name}" if ".prefix = true" in rest else "") + (suffix.group(1) if suffix else "")))
    assert len(out) == len(rows) > 15
    return out


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)


def test_the_program_serves_the_file(server):
    status, headers, data = server.request("GET", "/openapi.json")
    assert status == 200 and headers["Content-Type"] == "application/json" and json.loads(data) == SOURCE


def test_routes_and_description_name_the_same():
    assert Description(SOURCE).operations() == routes()


def test_it_is_whole():
    used = set(references(SOURCE))
    defined = {f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in SOURCE["components"][kind]}
    assert used <= defined and defined - used == {"#/components/schemas/ChatChunk", "#/components/schemas/ResponseEvent"}, "those are named in words"
    for name, schema in SOURCE["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.skipif(not os.environ.get("GPTOSS_LONG"), reason="needs schemathesis; set GPTOSS_LONG=1")
def test_schemathesis(server, tmp_path):
    """No 5xx, and only statuses, content types and bodies that are described, whatever is sent: bodies that the description allows, and others."""
    pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    server.say(server.answer("A word.", reasoning="Hm."))
    found = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "run", server.url + "/openapi.json", "--phases", "coverage,fuzzing,stateful", "--mode", "all", "--max-examples", "60", "--seed", "1",
         "--generation-deterministic", "--workers", "2", "--request-timeout", "30", "--no-color", "--suppress-health-check", "all",
         "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"],
        capture_output=True, text=True, cwd=tmp_path, timeout=280)
    assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
    assert re.search(r"(\d+) generated", found.stdout), found.stdout[-2000:]
