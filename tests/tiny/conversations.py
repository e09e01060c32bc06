"""Whole conversations: a question of a category with its date, effort, instructions, functions and what was said before.

`draw` makes one. In the split "train" no question is held out, in "held_out" the last one is (world.held_out); what was said before
always comes from the training split.
"""
import dataclasses
import datetime
import json

import functions
import harmony
import questions
import world
from turn import EFFORTS, Turn, assistant, user

INSTRUCTIONS = ["You are a helpful assistant.", "Be brief.", "You are a friendly assistant.", "Answer in English.", "Be polite and short.",
                "You are a helpful, honest and harmless assistant.", "Use the functions when they help.", "You are a careful assistant.",
                "Answer the user's questions.", "Always answer truthfully.", "Think step by step.", "You are an expert.",
                "You can use tools. Use them only when needed.", "Keep your answers short.", "You are a weather assistant.", "Help the user."]


@dataclasses.dataclass
class Conversation:
    category: str
    messages: list
    tools: list
    effort: str
    date: str
    reasoning: str
    reply: str
    must: tuple
    call: tuple  # (name, arguments) or None

    def parts(self):
        """Prompt and completion, as parts of harmony.py."""
        call = (self.call[0], json.dumps(self.call[1], ensure_ascii=False)) if self.call else None
        return (harmony.prompt(self.messages, self.tools, self.effort, self.date),
                harmony.completion(self.reasoning, self.reply, call))


def settle(rng, split, make):
    """Draws until the question belongs to the split."""
    while True:
        made = make(rng)
        if world.held_out(made.key) == (split == "held_out"):
            return made


# ---- turns with functions -----------------------------------------------------------------------------------------------------------

def family(rng):
    return rng.choice(functions.FAMILIES)(rng)


def others(rng, request=None):
    """Functions beside the one that is needed, each with another name."""
    tools = {}
    for _ in range(rng.choice([0, 1, 1, 2]) if request else rng.choice([1, 1, 2])):
        other = settle(rng, "train", family)
        if not request or (other.noun != request.noun and other.name() != request.name()):
            tools.setdefault(other.name(), other.tool)
    return list(tools.values())


def argument_text(request):
    return " and ".join(f"{key} {value}" for key, value in request.arguments.items())


def call_turn(rng, request, tools):
    name = request.name()
    low = f"Call {name}."
    medium = f"The user asks for something that I do not know, but {name} tells it. I call it with {argument_text(request)}."
    names = ", ".join(tool["function"]["name"] for tool in tools)
    high = (f"{medium} The functions are: {names}. Of these {name} fits best. What it needs I take from the question as it stands: "
            f"{argument_text(request)}. Then I wait for the result.")
    return Turn("call", request.key, request.user, (low, medium, high), call=(name, request.arguments), tools=tuple(tools))


def loop_messages(rng, request, number, text, reasoning):
    """The call and its result in the history."""
    arguments = json.dumps(request.arguments, ensure_ascii=False)
    call = {"id": f"call_{number}", "type": "function", "function": {"name": request.name(), "arguments": arguments}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    if reasoning:
        message["reasoning"] = reasoning
    return [user(request.user), message, {"role": "tool", "tool_call_id": call["id"], "content": text}]


def result_turn(rng, request, tools, number):
    """The function has answered; the model tells it."""
    text = functions.result(rng, request)
    reply, must = functions.answer(request, text)
    thought = rng.choice([None, *call_turn(rng, request, tools).think])
    low = "Tell the result."
    medium = f"{request.name()} has answered: {text}. I tell the user."
    high = (f"{medium} The question was: {request.user} The result belongs to it, so I need no other call. I put it into one sentence and "
            "change no value.")
    messages = loop_messages(rng, request, number, text, thought)
    return Turn("result", request.key, None, (low, medium, high), reply, must, before=tuple(messages), tools=tuple(tools))


def with_tools(rng, request):
    tools = [request.tool, *others(rng, request)]
    rng.shuffle(tools)
    return tools


# ---- histories ----------------------------------------------------------------------------------------------------------------------

PLAIN = [f for f in questions.WEIGHTS if f not in (questions.follow_up, questions.memory, questions.about, questions.today)]


def plain_history(rng):
    turn = settle(rng, "train", lambda r: r.choice(PLAIN)(r, random_date(r)))
    return [user(decorated(rng, turn.user)), assistant(turn.reply)]


def history(rng, tools_request):
    """None, one or two turns that are done."""
    messages = []
    for number in range(rng.choice([0, 0, 0, 0, 1, 1, 2])):
        if tools_request and rng.random() < 0.5:
            request, tools = tools_request
            turn = result_turn(rng, request, tools, f"h{number}")
            messages += [*turn.before, assistant(turn.reply)]
        else:
            messages += plain_history(rng)
    return messages


def decorated(rng, text):
    """How people write: without a capital or the last mark, with please."""
    draw = rng.random()
    if draw < 0.05 and text[-1] in "?.":
        return text[:-1]
    if draw < 0.09 and text[0].isascii() and text.split()[0] in STARTS:
        return text[0].lower() + text[1:]
    if draw < 0.12 and text.split()[0] in VERBS:
        return f"Please {text[0].lower()}{text[1:]}"
    if draw < 0.14 and text.split()[0] in STARTS and text[-1] in "?.":
        return f"{rng.choice(['Hey', 'Hello', 'Hi', 'OK'])}, {text[0].lower()}{text[1:]}"
    return text


VERBS = {"Add", "Calculate", "Compute", "Subtract", "Multiply", "Reverse", "Spell", "Write", "Count", "Name", "Tell", "Convert", "Find", "Look"}
STARTS = VERBS | {"What", "How", "Which", "Is", "Who", "Why", "Can", "What's", "Do"}


# ---- the whole ----------------------------------------------------------------------------------------------------------------------

def random_date(rng):
    return (datetime.date(2023, 1, 1) + datetime.timedelta(days=rng.randrange(4000))).isoformat()


def instructions(rng, turn):
    base = rng.choice(INSTRUCTIONS) if rng.random() < 0.8 else " ".join(world.word(rng) for _ in range(rng.randint(2, 8))).capitalize() + "."
    if turn.instructions:
        return turn.instructions if rng.random() < 0.6 else f"{turn.instructions} {base}"
    return base if rng.random() < 0.3 else None


def plain_turn(rng, split, ask):
    def make(r):
        date = random_date(r)
        return dataclasses.replace(ask(r, date), date=date)

    turn = settle(rng, split, make)
    if rng.random() < 0.2:
        turn.tools = tuple(others(rng))
        if turn.category == "unknown" and clashes(turn):
            turn.tools = ()
    return turn


def clashes(turn):
    """Whether a function given could tell what is asked."""
    names = " ".join(tool["function"]["name"].lower() for tool in turn.tools)
    text = turn.user.lower()
    marks = {"weather": "weather", "time": "time", "cost": "price", "how much": "price", "how far": "distance"}
    return (any(mark in text and noun in names for mark, noun in marks.items()) or "search" in names or "pages" in names
            or any(word in names for word in text.strip("?.").split() if len(word) > 2))


def tool_turn(rng, split, kind):
    request = settle(rng, split, family)
    if kind == "missing":  # no function tells it
        tools = others(rng, request) if rng.random() < 0.5 else []
        turn = questions.unknown_turn("missing", request.key, request.user, tuple(tools))
        return (questions.unknown_turn("missing", request.key, request.user) if clashes(turn) else turn), None
    tools = with_tools(rng, request)
    turn = call_turn(rng, request, tools) if kind == "call" else result_turn(rng, request, tools, rng.randrange(1000))
    if kind == "result" and rng.random() < 0.3:  # a history with the same function
        return turn, (request, tools)
    earlier = settle(rng, "train", family)
    return turn, (earlier, tools) if earlier.name() in [t["function"]["name"] for t in tools] else None


TOOL_WEIGHTS = {"call": 13, "result": 11, "missing": 4}


def draw(rng, split="train", category=None):
    """category: one of CATEGORIES, default: by weight."""
    effort = rng.randrange(3)
    pick = BY_NAME[category] if category else rng.choices(ALL, ALL_WEIGHTS)[0]
    earlier = None
    if isinstance(pick, str):
        turn, earlier = tool_turn(rng, split, pick)
    else:
        turn = plain_turn(rng, split, pick)
    text = instructions(rng, turn)
    messages = [{"role": "system", "content": text}] if text else []
    messages += history(rng, earlier) + list(turn.before)
    if turn.user:
        messages.append(user(decorated(rng, turn.user) if turn.category not in ("echo", "unknown", "greeting", "chinese") else turn.user))
    date = turn.date or random_date(rng)
    return Conversation(turn.category, messages, list(turn.tools), EFFORTS[effort], date, turn.think[effort], turn.reply, turn.must, turn.call)


ALL = [*questions.WEIGHTS, *TOOL_WEIGHTS]
ALL_WEIGHTS = [*questions.WEIGHTS.values(), *TOOL_WEIGHTS.values()]
BY_NAME = {"add": questions.add, "subtract": questions.subtract, "multiply": questions.multiply, "follow-up": questions.follow_up,
           "reverse": questions.reverse, "letters": questions.letters, "occurrences": questions.occurrences, "echo": questions.echo,
           "list": questions.list_length, "count": questions.count_up, "fact": questions.fact, "greeting": questions.greeting,
           "chinese": questions.chinese, "about": questions.about, "date": questions.today, "introduction": questions.introduction,
           "memory": questions.memory,
           "unknown": questions.unknown, "call": "call", "result": "result", "missing": "missing"}
CATEGORIES = list(BY_NAME)
