"""Random JSON schemas, and values that are valid against them, made without the program under test."""
import datetime
import ipaddress
import json
import random
import re
import uuid

import jsonschema

# pattern -> values that match it (by Python's re.search, which is what jsonschema asks)
PATTERNS = {
    r"^[a-z]+$": ["a", "hello", "zz"],
    r"^[A-Z]{2}[0-9]{4}$": ["AB1234", "ZZ0000"],
    r"^(foo|bar)(-[0-9]{1,3})?$": ["foo", "bar-12", "foo-007"],
    r"b.d": ["bad", "xbxdx", "b/d"],
    r"^[^a-c\"]*x$": ["x", "zéx", "\\x"],
    r"^\S+@\S+$": ["a@b", "é@ü"],
    r"^$|^[0-9]+\.[0-9]{2}$": ["", "1.00", "123.45"],
    r"^(?!ab)[a-d]{2,6}$": ["aa", "ba", "dcba"],
    r"[\n\t\\]": ["a\nb", "\t", "\\"],
    r"^\w{3,8}$": ["abc", "A_1", "zzzzzzzz"],
    r"^(a|bb)*c?$": ["", "abba", "bbc"],
    r"^.{2,5}$": ["ab", "äöü", "日本語"],
}
# Random tokens would hardly ever come upon what these ask for, so they get a limit.
UNLIKELY = [r"b.d", r"[\n\t\\]", r"^\S+@\S+$", r"^[^a-c\"]*x$"]
FORMATS = {
    "date": ["2024-02-29", "1999-12-31"],
    "time": ["12:34:56Z", "00:00:00.5+02:00"],
    "date-time": ["2024-02-29T12:34:56Z", "1999-12-31T00:00:00.123-05:00"],
    "duration": ["P1D", "PT5M", "P1Y2M3DT4H5M6S", "P2W"],
    "email": ["a@b.c", "john.doe+x@example.com"],
    "hostname": ["localhost", "a-b.example.com"],
    "ipv4": ["0.0.0.0", "192.168.1.255"],
    "ipv6": ["::", "::1", "fe80::1:2", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000"],
    "uri": ["http://example.com/a?b=c#d", "mailto:a@b.c", "urn:isbn:123"],
}
NAMES = ["a", "b", "name", "na", "value", "x-y", "日本", "quo\"te", "list", "k1", "k2", "k10"]
WORDS = ["", "a", "hello world", "é", "日本語 text", "quote \" and \\", "line\nbreak", "tab\t", "\u0001", "emoji 🎉", "null", "0"]

checker = jsonschema.FormatChecker(formats=())


def check(name, function):
    def passes(value):
        if isinstance(value, str):
            function(value)
        return True

    checker.checks(name, raises=Exception)(passes)


def must(condition):
    if not condition:
        raise ValueError


check("date", lambda v: must(re.fullmatch(r"\d{4}-\d\d-\d\d", v)) or datetime.date.fromisoformat(v))
check("time", lambda v: must(datetime.time.fromisoformat(v).tzinfo))
check("date-time", lambda v: must(datetime.datetime.fromisoformat(v).tzinfo))
check("duration", lambda v: must(re.fullmatch(r"P(?!$)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+S)?)?)", v)))
check("email", lambda v: must(re.fullmatch(r"[^@\s]{1,64}@[^@\s]{1,253}", v) and ".." not in v))
check("hostname", lambda v: must(len(v) <= 253 and all(re.fullmatch(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", p) for p in v.split("."))))
check("ipv4", ipaddress.IPv4Address)
check("ipv6", ipaddress.IPv6Address)
check("uuid", lambda v: must(str(uuid.UUID(v)) == v.lower()))
check("uri", lambda v: must(re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*:[!#$&-;=?-\[\]_a-z~%]*", v)))


def validator(schema):
    return jsonschema.Draft202012Validator(schema, format_checker=checker)


class Schemas:
    """Schemas whose every keyword the program claims to support."""

    def __init__(self, seed):
        self.r = random.Random(seed)
        self.defs = {}
        self.inside = 0  # arrays and objects that we are in

    def root(self):
        r = self.r
        for i in range(r.choice([0, 0, 1, 2])):
            self.defs[f"d{i}"] = None  # may be referred to before it is there
        for name in list(self.defs):
            self.defs[name] = self.any(2)
        schema = self.any(3)
        if not isinstance(schema, dict):
            schema = {"anyOf": [schema, {"type": "null"}]}
        if self.defs:
            schema = {**schema, "$defs": self.defs}
        return schema

    def any(self, depth):
        r = self.r
        kinds = ["string"] * 4 + ["integer", "number", "boolean", "null", "enum", "const", "types"]
        if depth > 0:
            kinds += ["object"] * 6 + ["array"] * 3 + ["anyOf", "oneOf", "allOf", "true", "extend"]
        if self.defs:
            kinds += ["ref"] * 2
        return getattr(self, "make_" + r.choice(kinds))(depth)

    def child(self, depth):
        self.inside += 1
        schema = self.any(depth)
        self.inside -= 1
        return schema

    def make_true(self, depth):
        return self.r.choice([True, {}, {"title": "anything", "description": "at all"}])

    def make_null(self, depth):
        return {"type": "null"}

    def make_boolean(self, depth):
        return {"type": "boolean"}

    def make_ref(self, depth):
        # behind a union with null: so that schemas which refer to themselves have values
        ref = {"$ref": "#/$defs/" + self.r.choice(list(self.defs))}
        if self.inside and self.r.random() < 0.5:
            return {"anyOf": [ref, {"type": "null"}]}
        return {"type": "array", "items": ref, "maxItems": self.r.randint(0, 2)}

    def make_string(self, depth):
        r = self.r
        schema = {"type": "string"}
        kind = r.choice(["plain", "plain", "length", "pattern", "format", "both"])
        if kind in ("pattern", "both"):
            schema["pattern"] = r.choice(list(PATTERNS))
        if kind == "format":
            schema["format"] = r.choice(list(FORMATS))
        if schema.get("pattern") in UNLIKELY:
            schema["maxLength"] = 20
        if kind in ("length", "both"):
            if r.random() < 0.7:
                schema["minLength"] = r.randint(0, 4)
            if r.random() < 0.7:
                schema["maxLength"] = r.choice([4, 5, 8, 20, 50])
        return schema

    def bounds(self, values):
        r = self.r
        schema = {}
        low, high = sorted([r.choice(values), r.choice(values)])
        if r.random() < 0.7:
            schema[r.choice(["minimum", "exclusiveMinimum"])] = low
        if r.random() < 0.7:
            schema[r.choice(["maximum", "exclusiveMaximum"])] = high
        if low == high and ("exclusiveMinimum" in schema or "exclusiveMaximum" in schema):
            return {}
        return schema

    def make_integer(self, depth):
        r = self.r
        schema = {"type": "integer"}
        if r.random() < 0.6:
            schema.update(self.bounds([-1000000, -129, -100, -10, -1, 0, 1, 5, 9, 10, 99, 100, 255, 12345, 2**53]))
            low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum", schema.get("exclusiveMaximum"))
            if low is not None and high is not None and high - low < 2:
                del schema["maximum" if "maximum" in schema else "exclusiveMaximum"]
        elif r.random() < 0.3:
            schema["multipleOf"] = r.choice([1, 2, 3, 5, 7, 10, 25, 100])
        return schema

    def make_number(self, depth):
        schema = {"type": "number"}
        if self.r.random() < 0.6:
            schema.update(self.bounds([-1e6, -273.15, -2.5, -1, -0.001, 0, 0.5, 0.25, 1, 3.14159, 10, 99.99, 1000]))
        return schema

    def make_enum(self, depth):
        r = self.r
        values = r.sample(WORDS, r.randint(1, 4)) + r.sample([1, -2, 2.5, True, None, 100, [1, "x"], {"a": [None]}], r.randint(0, 3))
        schema = {"enum": values}
        if r.random() < 0.3:
            schema["type"] = "string"
        return schema

    def make_const(self, depth):
        return {"const": self.r.choice(WORDS + [5, False, 0.25, [], {"k": 1}])}

    def make_types(self, depth):
        r = self.r
        schema = {"type": r.sample(["string", "integer", "null", "boolean", "number"], r.randint(1, 3))}
        if r.random() < 0.5:
            schema["minLength"] = 2
        if r.random() < 0.5:
            schema["minimum"] = 3
        return schema

    def make_array(self, depth):
        r = self.r
        schema = {"type": "array"}
        if r.random() < 0.8:
            schema["items"] = self.child(depth - 1)
        prefix = r.choice([0, 0, 0, 1, 2, 3])
        if prefix:
            schema["prefixItems"] = [self.child(depth - 1) for _ in range(prefix)]
            if r.random() < 0.4:
                schema["items"] = False
        least = r.choice([0, 0, 1, 2])
        if schema.get("items") is False:
            least = min(least, prefix)
        if least:
            schema["minItems"] = least
        if r.random() < 0.4:
            schema["maxItems"] = r.randint(least, 5)
        return schema

    def make_object(self, depth):
        r = self.r
        schema = {"type": "object"}
        names = r.sample(NAMES, r.randint(0, 5))
        if names:
            schema["properties"] = {name: self.child(depth - 1) for name in names}
            required = [name for name in names if r.random() < 0.6]
            if r.random() < 0.1:
                required.append("extra")
            if required:
                schema["required"] = required
        kind = r.choice(["closed", "closed", "open", "schema", "default"])
        if kind == "closed" and "extra" not in schema.get("required", []):
            schema["additionalProperties"] = False
        elif kind == "open":
            schema["additionalProperties"] = True
        elif kind == "schema":
            schema["additionalProperties"] = self.child(depth - 1)
        if r.random() < 0.15:
            schema["patternProperties"] = {r.choice(["^x-", "^k[0-9]+$", "^id_"]): self.child(depth - 1)}
        if r.random() < 0.1:
            schema["propertyNames"] = r.choice([{"maxLength": 6}, {"pattern": "^[a-z0-9_-]*$"}, {"enum": ["a", "b", "list", "k1"]}])
            schema.pop("required", None)
        if r.random() < 0.15:
            schema["minProperties"] = r.randint(0, 1 + len(names) // 2)
        if r.random() < 0.15:
            schema["maxProperties"] = r.randint(max(1, len(schema.get("required", []))), 6)
        if schema.get("minProperties", 0) > schema.get("maxProperties", 99):
            del schema["minProperties"]
        return schema

    def make_anyOf(self, depth):
        return {"anyOf": [self.any(depth - 1) for _ in range(self.r.randint(1, 3))]}

    def make_oneOf(self, depth):
        r = self.r
        if r.random() < 0.5:
            branches = [self.make_string(0), self.make_number(0), {"type": "null"}, self.make_array(1)]
            return {"oneOf": r.sample(branches, r.randint(1, 4))}
        branches = []
        for kind in r.sample(["cat", "dog", "bird"], r.randint(1, 3)):
            branch = self.make_object(depth)
            branch.pop("propertyNames", None)
            branch.pop("patternProperties", None)
            branch.pop("maxProperties", None)
            branch["properties"] = {"kind": {"const": kind}, **branch.get("properties", {})}
            branch["required"] = ["kind", *branch.get("required", [])]
            branches.append(branch)
        return {"oneOf": branches}

    def make_allOf(self, depth):
        r = self.r
        first, second = self.open_object(depth), self.open_object(depth)
        return {"allOf": [first, second, *([{"required": ["a"]}] if r.random() < 0.3 else [])]}

    def open_object(self, depth):
        r = self.r
        names = r.sample(["a", "b", "name", "value", "list"], 2)
        return {"type": "object", "properties": {name: self.child(depth - 2) for name in names}, "required": names[: r.randint(0, 2)]}

    def make_extend(self, depth):
        """Keywords beside anyOf."""
        r = self.r
        return {
            "type": "object",
            "properties": {"a": self.child(depth - 2), "b": self.child(depth - 2), "name": self.make_string(0)},
            r.choice(["anyOf"]): [{"required": ["a"]}, {"required": ["b"], "properties": {"name": {"type": "string", "maxLength": 9}}}],
            "additionalProperties": r.random() < 0.5,
        }


class Values:
    """Random values that are probably valid; the caller asks a validator."""

    def __init__(self, root, seed):
        self.root, self.r = root, random.Random(seed)

    def any(self, schema, depth=0):
        r = self.r
        if schema is True or schema == {}:
            return r.choice([None, 1, "text", [], {}, [1, {"a": "b"}], -2.5])
        if schema is False:
            return None
        if "$ref" in schema:
            return self.any(self.root["$defs"][schema["$ref"].split("/")[-1]], depth + 1)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return r.choice(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                branches = schema[keyword]
                branch = branches[-1] if depth > 6 else r.choice(branches)
                if "properties" not in schema:
                    return self.any(branch, depth + 1)
        if "allOf" in schema:
            value = {}
            for part in schema["allOf"]:
                made = self.any({"type": "object", **part}, depth + 1)
                value = {**value, **{k: v for k, v in made.items() if k not in value}}
            listed = [name for part in schema["allOf"] for name in part.get("properties", {})]
            listed += [name for part in schema["allOf"] for name in part.get("required", [])]
            return {name: value[name] for name in [*listed, *value] if name in value}
        kind = schema.get("type", "object")
        if isinstance(kind, list):
            kind = r.choice(kind)
        return getattr(self, "make_" + kind)(schema, depth)

    def make_null(self, schema, depth):
        return None

    def make_boolean(self, schema, depth):
        return self.r.random() < 0.5

    def make_string(self, schema, depth):
        r = self.r
        if "pattern" in schema:
            return r.choice(PATTERNS[schema["pattern"]])
        if "format" in schema:
            return r.choice(FORMATS[schema["format"]])
        length = r.randint(schema.get("minLength", 0), min(schema.get("maxLength", 30), 30))
        text = r.choice(WORDS)
        return (text + "abcé\"日" * 10)[:length] if len(text) < length else text[:length] or text[: schema.get("maxLength", 99)]

    def number(self, schema):
        low = schema.get("minimum", schema.get("exclusiveMinimum", -50))
        high = schema.get("maximum", schema.get("exclusiveMaximum", max(low, 0) + 50))
        return low, high

    def make_integer(self, schema, depth):
        low, high = self.number(schema)
        low, high = int(low), max(int(high), int(low))
        step = schema.get("multipleOf", 1)
        return self.r.choice([low, high, self.r.randint(low, high), low + 1, high - 1]) // step * step

    def make_number(self, schema, depth):
        low, high = self.number(schema)
        value = self.r.choice([low, high, round(self.r.uniform(low, max(low, high)), self.r.randint(0, 5)), int(high) - 1])
        return int(value) if value == int(value) else value  # an integer in the program's spelling, in case it has to be one

    def make_array(self, schema, depth):
        r = self.r
        prefix, items = schema.get("prefixItems", []), schema.get("items", True)
        least = schema.get("minItems", 0)
        most = min(schema.get("maxItems", 4), len(prefix) if items is False else 99)
        n = least if depth > 6 else r.randint(least, max(least, most))
        return [self.any(prefix[i] if i < len(prefix) else items, depth + 1) for i in range(n)]

    def make_object(self, schema, depth):
        r = self.r
        required = schema.get("required", [])
        value = {}
        for name, of in schema.get("properties", {}).items():
            if name in required or schema.get("minProperties", 0) > 1 or (depth < 6 and r.random() < 0.5):
                value[name] = self.any(of, depth + 1)
        for name in required:
            if name not in value:
                value[name] = self.any(schema.get("additionalProperties", True), depth + 1)
        rest = schema.get("additionalProperties", True)
        if rest is not False and depth < 6 and r.random() < 0.5:
            for name in r.sample(["other", "zzz", "n\"ew"], r.randint(1, 2)):
                value[name] = self.any(rest, depth + 1)
        for pattern, of in schema.get("patternProperties", {}).items():
            if r.random() < 0.5:
                value[{"^x-": "x-1", "^k[0-9]+$": "k77", "^id_": "id_x"}[pattern]] = self.any(of, depth + 1)
        return value


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
