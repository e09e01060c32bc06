"""What /openapi.json says about an answer: the paths, their statuses, and the schemas of bodies and of streams' events."""
import json
import re

import jsonschema

# Faults of HTTP itself, which any request may get: the description says so once.
OF_HTTP = (405, 408, 414, 417, 431, 501, 505)
METHODS = ("get", "post", "put", "delete", "patch")
EVENTS = {"/v1/chat/completions": "ChatChunk", "/v1/completions": "Completion", "/v1/responses": "ResponseEvent",
          "/v1/responses/{name}": "ResponseEvent"}


class Description:
    def __init__(self, document):
        self.document = document
        self.validators = {}
        # names that stand in a path hold no slash, but for a model's
        self.paths = [(re.compile("^" + re.escape(path).replace(r"\{name\}", ".+" if path == "/v1/models/{name}" else "[^/]+") + "$"), path) for path in document["paths"]]

    def operations(self):
        return {(method.upper(), path) for path, item in self.document["paths"].items() for method in item if method in METHODS}

    def find(self, method, path):
        """(path as described, operation), or None. An exact path goes before one with a name in it."""
        path = path.split("?")[0]
        found = [described for pattern, described in self.paths if pattern.match(path)]
        found.sort(key=lambda described: "{" in described)
        wanted = "get" if method == "HEAD" else method.lower()
        return next(((p, self.document["paths"][p][wanted]) for p in found if wanted in self.document["paths"][p]), None)

    def validate(self, value, schema):
        key = json.dumps(schema)
        if key not in self.validators:
            whole = dict(schema, components=self.document["components"])
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        error = jsonschema.exceptions.best_match(self.validators[key].iter_errors(value))
        assert error is None, f"{error.json_path}: {error.message}"

    def component(self, name, value):
        self.validate(value, {"$ref": f"#/components/schemas/{name}"})

    def check(self, method, path, status, content_type, data):
        """Fails unless the answer is one that the description knows."""
        found = self.find(method, path)
        if found is None or status in OF_HTTP:
            assert method == "OPTIONS" or status in (404, *OF_HTTP) or (status == 401 and path.startswith("/v1")), (method, path, status)
            if data:
                self.component("Error", json.loads(data))
            return
        described, operation = found
        responses = operation["responses"]
        assert str(status) in responses, f"{method} {described}: {status} is not described"
        response = responses[str(status)]
        if "$ref" in response:
            response = self.document["components"]["responses"][response["$ref"].rsplit("/", 1)[1]]
        content = response.get("content", {})
        if not data:
            assert method == "HEAD" or status == 304 or not content, f"{method} {described}: {status} without a body"
            return
        kind = content_type.split(";")[0]
        assert kind in content, f"{method} {described}: {status} as {kind} is not described"
        if kind == "application/json":
            self.validate(json.loads(data), content[kind]["schema"])
        elif kind == "text/event-stream":
            self.check_events(described, data)

    def check_events(self, path, data):
        for line in data.decode().splitlines():
            if line.startswith("data: ") and line != "data: [DONE]":
                event = json.loads(line[6:])
                self.component("Error" if "error" in event else EVENTS[path], event)
