"""runtime/server/API.md says what is so: each refused row is sent and refused by its name, each working one is in /openapi.json and nothing else is, and the endpoints
are those of /openapi.json."""
import json
import re

import pytest

from fake import DESCRIPTION, ROOT

TEXT = (ROOT / "runtime" / "server" / "API.md").read_text()
ASK = {"chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}), "completions": ("/v1/completions", {"prompt": "x"}),
       "responses": ("/v1/responses", {"input": "x"})}
SCHEMAS = {"chat": "ChatRequest", "completions": "CompletionRequest", "responses": "ResponseRequest"}
AROUND = {  # a row about something inside a field: the field that holds the value
    "response_format.type": lambda v: {"response_format": {"type": v}}, "tools[0].type": lambda v: {"tools": [{"type": v}]},
    "messages[0].content[0].type": lambda v: {"messages": [{"role": "user", "content": [{"type": v, v: {"url": "x"}}]}]},
    "input[0].type": lambda v: {"input": [{"type": v}]}}


def rows(heading):
    """The cells of the table under a heading."""
    part = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", TEXT, re.M | re.S).group(1)
    return [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in part.splitlines() if line.startswith("|")][2:]


def names(cell):
    return re.findall(r"`([^`]+)`", cell)


REFUSED = [(api, names(row[1])[0], json.loads(names(row[2])[0])) for row in rows("Refused") for api in (ASK if row[0] == "all" else [row[0]])]


@pytest.mark.parametrize("api,field,value", REFUSED)
def test_refused(server, api, field, value):
    path, body = ASK[api]
    error = server.refused(path, {**body, **AROUND.get(field, lambda v: {field: v})(value)})
    assert error["param"] == field and field in error["message"] and error["type"] == "BadRequestError", error
    assert not server.report()["submitted"] or server.report()["running"] == 0


def properties(name):
    schema = DESCRIPTION.document["components"]["schemas"][name]
    parts = schema.get("allOf", [schema])
    return {key for part in parts for key in (part.get("properties") or properties(part["$ref"].rsplit("/", 1)[1]))}


@pytest.mark.parametrize("api", ASK)
def test_the_description_has_what_works(api):
    column = list(ASK).index(api) + 1
    told = {name for row in rows("Fields of all that generate") for name in names(row[0]) if row[column] not in ("ignored", "refused")}
    told |= {name for row in rows("Fields of one") if row[0] == api and row[2] != "ignored" for name in names(row[1])}
    optional = {"user", "service_tier", "stream_options"}  # accepted; the description need not say so
    assert told - optional == properties(SCHEMAS[api]) - optional


@pytest.mark.parametrize("api", ASK)
def test_ignored(server, api):
    """Accepted whatever they hold."""
    column = list(ASK).index(api) + 1
    fields = [name for row in rows("Fields of all that generate") for name in names(row[0]) if row[column] == "ignored"]
    fields += [name for row in rows("Fields of one") if row[0] == api and row[2] == "ignored" for name in names(row[1])]
    server.say(server.answer("x"))
    path, body = ASK[api]
    for value in (5, "x", True, {"a": 1}, [1]):
        assert server.post(path, {**body, **{field: value for field in fields}})["object"]


def test_endpoints():
    told = {tuple(name.split()) for row in rows("Endpoints") for name in names(row[0]) if row[1] != "404"}
    assert told == DESCRIPTION.operations()


def test_the_description_names_what_is_refused():
    for api, name in SCHEMAS.items():
        words = DESCRIPTION.document["components"]["schemas"][name]["description"].split("names them: ")[1].rstrip(".").split(", ")
        only_some = {"truncation_side", "structured_outputs", "reasoning_effort", "guided_whitespace_pattern", "n"}
        assert set(words) == {field for a, field, _ in REFUSED if a == api and "." not in field} - only_some
