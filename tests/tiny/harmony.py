"""API messages to harmony, as the server renders a chat request. Small on purpose: the schemas of our own tools, no built-in tools.

A rendered conversation is a list of parts. A part that starts with "<|" is a special token; every other part is text that is encoded by
itself, as openai/harmony does it. test_rendering.py compares this file with that library and with the server.
"""
IDENTITY = "You are ChatGPT, a large language model trained by OpenAI.\nKnowledge cutoff: 2024-06\nCurrent date: "
CHANNELS = "# Valid channels: analysis, commentary, final. Channel must be included for every message."
CALLS = "\nCalls to these tools must go to the commentary channel: 'functions'."
START, END, MESSAGE, CHANNEL = "<|start|>", "<|end|>", "<|message|>", "<|channel|>"
CONSTRAIN, RETURN, CALL = "<|constrain|>", "<|return|>", "<|call|>"


def typescript(schema):
    """The type of a property: what the tools here use of JSON schema."""
    if "enum" in schema:
        return " | ".join(f'"{v}"' for v in schema["enum"])
    if schema.get("type") == "array":
        return typescript(schema["items"]) + "[]" if "items" in schema else "Array<any>"
    return {"integer": "number"}.get(schema.get("type"), schema.get("type", "any"))


def property_lines(name, schema, required):
    lines = [f"// {schema['title']}", "//"] if "title" in schema else []
    if "description" in schema:
        lines.append(f"// {schema['description']}")
    line = f"{name}{'' if required else '?'}: {typescript(schema)},"
    if "default" in schema:
        value, plain = schema["default"], schema.get("type") != "string" or "enum" in schema
        line += f" // default: {value}" if plain else f' // default: "{value}"'
    return lines + [line]


def tool_text(tool):
    function = tool["function"]
    lines = [f"// {line}" for line in function.get("description", "").splitlines()]
    parameters = function.get("parameters")
    if parameters is None:
        return "\n".join([*lines, f"type {function['name']} = () => any;"])
    body = [line for name, schema in parameters.get("properties", {}).items()
            for line in property_lines(name, schema, name in parameters.get("required", []))]
    return "\n".join([*lines, f"type {function['name']} = (_: {{", *body, "}) => any;"])


def system_text(effort, date, has_tools):
    return f"{IDENTITY}{date}\n\nReasoning: {effort}\n\n{CHANNELS}{CALLS if has_tools else ''}"


def developer_text(instructions, tools):
    sections = [f"# Instructions\n\n{instructions}"] if instructions else []
    if tools:
        types = "".join(tool_text(tool) + "\n\n" for tool in tools)
        sections.append(f"# Tools\n\n## functions\n\nnamespace functions {{\n\n{types}}} // namespace functions")
    return "\n\n".join(sections)


def assistant_parts(message):
    """One message of the history: reasoning, content and calls, each with its channel."""
    calls = message.get("tool_calls") or []
    parts = []
    if message.get("reasoning"):
        parts += [START, "assistant", CHANNEL, "analysis", MESSAGE, message["reasoning"], END]
    if message.get("content"):
        parts += [START, "assistant", CHANNEL, "commentary" if calls else "final", MESSAGE, message["content"], END]
    for call in calls:
        function = call["function"]
        parts += [START, "assistant", f" to=functions.{function['name']}", CHANNEL, "commentary", " json", MESSAGE,
                  function["arguments"], CALL]
    return parts


def prompt(messages, tools=None, effort="medium", date="2025-06-28"):
    """The parts of a chat request up to and with the header that the model goes on from. Reasoning before the last final answer is
    left out."""
    parts = [START, "system", MESSAGE, system_text(effort, date, bool(tools)), END]
    instructions = "\n\n".join(m["content"] for m in messages if m["role"] in ("system", "developer"))
    if instructions or tools:
        parts += [START, "developer", MESSAGE, developer_text(instructions, tools), END]
    finals = [i for i, m in enumerate(messages) if m["role"] == "assistant" and not m.get("tool_calls") and m.get("content")]
    names = {}
    for i, message in enumerate(messages):
        if message["role"] == "user":
            parts += [START, "user", MESSAGE, message["content"], END]
        elif message["role"] == "assistant":
            names.update((call["id"], call["function"]["name"]) for call in message.get("tool_calls") or [])
            kept = message if not finals or i > finals[-1] else {**message, "reasoning": None}
            parts += assistant_parts(kept)
        elif message["role"] == "tool":
            name = names[message["tool_call_id"]]
            parts += [START, f"functions.{name}", " to=assistant", CHANNEL, "commentary", MESSAGE, message["content"], END]
    return parts + [START, "assistant"]


def completion(reasoning, content=None, call=None):
    """What the model writes behind prompt(): its thinking, then an answer or a call (name, arguments as JSON text)."""
    parts = [CHANNEL, "analysis", MESSAGE, reasoning, END, START, "assistant"]
    if call:
        name, arguments = call
        return parts + [CHANNEL, "commentary", f" to=functions.{name}", " ", CONSTRAIN, "json", MESSAGE, arguments, CALL]
    return parts + [CHANNEL, "final", MESSAGE, content, RETURN]


def text(parts):
    return "".join(parts)
