"""Random JSON schemas, small ones, of the kinds that clients send; every one can be satisfied in a few hundred bytes."""
import random


def _string(r):
    kind = r.randrange(6)
    if kind == 0:
        return {"type": "string", "enum": r.sample(["red", "green", "blue", "naïve", "a \"quoted\" word", "日本", ""], r.randint(1, 4))}
    if kind == 1:
        return {"type": "string", "pattern": r.choice(["^[a-z]{1,6}$", "^\\d{3}-\\d{4}$", "^(yes|no)$"])}
    if kind == 2:
        return {"type": "string", "format": r.choice(["date", "date-time", "uuid", "email"])}
    least = r.randint(0, 3)
    return {"type": "string", "minLength": least, "maxLength": least + r.randint(0, 12)}


def _number(r):
    if r.random() < 0.5:
        low = r.randint(-1000, 1000)
        return {"type": "integer", "minimum": low, "maximum": low + r.randint(0, 500)}
    return r.choice([{"type": "integer", "minimum": 0, "maximum": 99}, {"type": "integer", "enum": [1, 5, 25]}, {"const": 7}])


def _array(r, depth):
    least = r.randint(0, 2)
    return {"type": "array", "items": schema(r, depth - 1), "minItems": least, "maxItems": least + r.randint(0, 2)}


def _object(r, depth):
    names = r.sample(["id", "name", "größe", "tags", "x y", "nested", "kind", "when"], r.randint(0, 4))
    return {"type": "object", "properties": {name: schema(r, depth - 1) for name in names},
            "required": [name for name in names if r.random() < 0.6], "additionalProperties": False}


def schema(r, depth=2):
    kinds = [_string, _number, lambda _: {"type": "boolean"}, lambda _: {"type": "null"}, lambda _: {"enum": [1, "one", None, True, [1, {"a": 2}]]}]
    if depth > 0:
        kinds += [lambda q: _array(q, depth), lambda q: _object(q, depth), lambda q: _object(q, depth),
                  lambda q: {"anyOf": [schema(q, depth - 1), schema(q, depth - 1)]}]
    return r.choice(kinds)(r)


def objects(seed, n):
    """`n` schemas of objects, the same ones for a seed."""
    r = random.Random(seed)
    return [_object(r, 2) for _ in range(n)]
