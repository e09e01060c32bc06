"""Questions that only a given function can answer: draws functions as a client declares them, the call, and the function's results.

A family says how its functions and their parameters may be called, how a user asks, and what comes back. One family, `quality`, draws
the function's name and what it tells from lists or makes them up, so that the model has to read the declaration.
"""
import dataclasses
import json

import world

FETCH = ["get", "lookup", "find", "fetch", "check", "query", "read", "show"]


@dataclasses.dataclass
class Request:
    """What one question asks of a function."""
    key: str
    user: str
    noun: str        # "weather"
    what: str        # "The weather in Oslo", as answers begin
    tool: dict       # API declaration of the function that tells it
    arguments: dict
    results: object  # rng -> a result: dict or text

    def name(self):
        return self.tool["function"]["name"]


def declare(rng, name, description, properties, required, style=None):
    """A declaration in one of the shapes that clients send: by hand, or made from types with titles."""
    style = rng.random() if style is None else style
    properties = {k: dict(v) for k, v in properties.items()}
    if style < 0.25:  # titles, descriptions or, in between, both
        for key, schema in properties.items():
            schema["title"] = key.replace("_", " ").title()
    if 0.12 < style < 0.4:
        for key, schema in properties.items():
            schema.setdefault("description", rng.choice(["The {}.", "Which {}.", "{}", "Name of the {}."]).format(key))
    function = {"name": name, "parameters": {"type": "object", "properties": properties, "required": required}}
    if description and rng.random() < 0.85:
        function["description"] = description
    if style < 0.25:
        function["parameters"].update(title=f"{name}_args", additionalProperties=False)
    return {"type": "function", "function": function}


def fetch_name(rng, noun):
    draw = rng.random()
    verb = rng.choice(FETCH)
    if draw < 0.75:
        return f"{verb}_{noun}"
    return noun if draw < 0.85 else verb + noun.capitalize() if draw < 0.95 else f"{verb}_current_{noun}"


STRING, NUMBER = {"type": "string"}, {"type": "number"}
UNIT = {"type": "string", "enum": ["celsius", "fahrenheit"]}


def number_text(rng):
    return rng.choice([rng.randrange(10), rng.randrange(100), rng.randrange(1000), round(rng.random() * 100, 1)])


# ---- families: (rng) -> Request -----------------------------------------------------------------------------------------------------

CONDITIONS = "sunny cloudy rainy windy foggy snowy clear stormy cold warm".split()


def weather_result(rng):
    degrees, sky = rng.randint(-15, 38), rng.choice(CONDITIONS)
    draw = rng.random()
    if draw < 0.2:
        return rng.choice([f"{sky}, {degrees} degrees", f"{degrees} degrees and {sky}", sky, f"{degrees} C"])
    one = {rng.choice(["temperature", "temp", "degrees", "celsius"]): degrees}
    other = {rng.choice(["condition", "sky", "description", "summary"]): sky}
    return one if draw < 0.35 else other if draw < 0.45 else {**one, **other} if draw < 0.75 else {**other, **one}


def weather(rng):
    place = world.place(rng)
    ask = rng.choice(["What is the weather in {}?", "How is the weather in {}?", "What's the weather like in {} today?", "Weather in {}?",
                      "Tell me the weather in {}.", "Is it raining in {}?", "Is it cold in {}?", "What is the temperature in {}?",
                      "What is the weather like in {}?", "How warm is it in {}?", "I want to know the weather in {}.", "What's the weather in {}?"])
    key = rng.choice(["city", "city", "location", "place", "town"])
    unit = {"unit": UNIT} if rng.random() < 0.2 else {}
    name = rng.choice([fetch_name(rng, "weather"), fetch_name(rng, "weather"), "get_weather", "get_current_weather", "weather_in"])
    about = rng.choice(["Weather of a {}.", "Get the weather in a {}.", "The current weather of a {}.", "Returns the weather for a {}."]).format(key)
    return Request(f"weather {place}", ask.format(place), "weather", f"The weather in {place}",
                   declare(rng, name, about, {key: STRING, **unit}, [key]), {key: place}, weather_result)


def clock_result(rng):
    time = f"{rng.randrange(24):02}:{rng.randrange(60):02}"
    return time if rng.random() < 0.3 else {rng.choice(["time", "time", "clock", "now"]): time}


def clock(rng):
    place = world.place(rng)
    ask = rng.choice(["What time is it in {}?", "What is the time in {}?", "Tell me the time in {}.", "Time in {}?", "How late is it in {}?",
                      "What's the time in {}?", "What is the local time in {}?"])
    key = rng.choice(["city", "city", "location", "place", "town"])
    name = rng.choice([fetch_name(rng, "time"), fetch_name(rng, "time"), "get_time", "time_in", "clock"])
    about = rng.choice(["Time in a {}.", "Get the local time of a {}.", "The current time in a {}.", "What time it is in a {}."]).format(key)
    return Request(f"time {place}", ask.format(place), "time", f"The time in {place}", declare(rng, name, about, {key: STRING}, [key]),
                   {key: place}, clock_result)


def price_result(rng):
    price = number_text(rng)
    draw = rng.random()
    if draw < 0.2:
        return f"{price} {rng.choice(['dollars', 'euros', 'EUR', 'USD'])}"
    one = {rng.choice(["price", "price", "cost", "amount"]): price}
    return one if draw < 0.6 else {**one, "currency": rng.choice(["EUR", "USD", "GBP", "CNY"])}


def price(rng):
    thing = world.thing(rng)
    ask = rng.choice(["What does a {} cost?", "How much is the {}?", "What is the price of a {}?", "Price of {}?", "How much does the {} cost?",
                      "Look up the price of {}.", "What is the price of the {}?", "How much is a {}?", "Tell me the price of {}."])
    key = rng.choice(["item", "item", "product", "article", "name"])
    name = rng.choice([fetch_name(rng, "price"), "lookup_price", "price_of"])
    about = rng.choice(["Price of an {}.", "Look up the price of an {}.", "What an {} costs."]).format("item")
    return Request(f"price {thing}", ask.format(thing), "price", f"The price of {thing}", declare(rng, name, about, {key: STRING}, [key]),
                   {key: thing}, price_result)


def quality(rng):
    noun = rng.choice(world.QUALITIES) if rng.random() < 0.5 else world.word(rng)
    owner = rng.choice(world.OWNERS)
    value = rng.choice([world.name, world.place, world.thing, lambda r: world.word(r).upper()[:3] + str(r.randrange(1000))])(rng)
    ask = rng.choice(["What is the {} of {}?", "Tell me the {} of {}.", "Look up the {} of {}.", "I need the {} of {}.", "Can you find the {} of {}?",
                      "Find the {} of {}.", "What's the {} of {}?", "Please get the {} of {}.", "Do you know the {} of {}?", "Show the {} of {}."])
    key = rng.choice([owner, owner, "name", "id", "query", f"{owner}_name", f"{owner}_id"])
    about = rng.choice(["{0} of a {1}.", "Get the {0} of a {1}.", "Returns the {0} of the {1}.", "Looks up the {0} of a {1}."]).format(noun, owner)

    def results(r):
        told = r.choice([number_text, world.word, world.name, world.place])(r)
        return str(told) if r.random() < 0.2 else {r.choice([noun, noun, noun, "result", "value"]): told}
    return Request(f"quality {noun}", ask.format(noun, value), noun, f"The {noun} of {value}",
                   declare(rng, fetch_name(rng, noun), about, {key: STRING}, [key]), {key: value}, results)


MONEY = "EUR USD GBP CNY JPY CHF SEK NOK INR BRL".split()


def convert(rng):
    amount, (start, end) = rng.randint(1, 999), rng.sample(MONEY, 2)
    ask = rng.choice(["Convert {} {} to {}.", "How much is {} {} in {}?", "What are {} {} in {}?", "Change {} {} into {}."])
    a, b, c = rng.choice([("amount", "from", "to"), ("value", "source", "target"), ("amount", "from_currency", "to_currency")])
    name = rng.choice(["convert", "convert_currency", "exchange", "change_money"])
    tool = declare(rng, name, "Converts money from one currency to another.", {a: NUMBER, b: STRING, c: STRING}, [a, b, c])
    return Request(f"convert {amount} {start} {end}", ask.format(amount, start, end), "exchange", f"{amount} {start} in {end}", tool,
                   {a: amount, b: start, c: end}, lambda r: {r.choice(["amount", "result", "value"]): number_text(r)})


def distance(rng):
    start, end = world.place(rng), world.place(rng)
    ask = rng.choice(["How far is it from {} to {}?", "What is the distance from {} to {}?", "Distance from {} to {}?", "How far is {} from {}?"])
    a, b = rng.choice([("start", "end"), ("from", "to"), ("origin", "destination"), ("city_a", "city_b")])
    tool = declare(rng, fetch_name(rng, "distance"), "Distance between two places.", {a: STRING, b: STRING}, [a, b])
    return Request(f"distance {start} {end}", ask.format(start, end), "distance", f"The distance from {start} to {end}", tool, {a: start, b: end},
                   lambda r: {r.choice(["distance", "km", "kilometers"]): r.randrange(10000)})


def timer(rng):
    minutes = rng.randint(1, 99)
    ask = rng.choice(["Set a timer for {} minutes.", "Start a timer of {} minutes.", "Timer for {} minutes, please.", "Wake me in {} minutes."])
    key = rng.choice(["minutes", "duration", "time"])
    name = rng.choice(["set_timer", "start_timer", "timer", "setTimer"])
    return Request(f"timer {minutes}", ask.format(minutes), "timer", f"The timer of {minutes} minutes",
                   declare(rng, name, "Sets a timer.", {key: {"type": "integer"}}, [key]), {key: minutes},
                   lambda r: r.choice(["ok", "started", {"status": "ok"}, {"status": "started"}, {"set": True}]))


def search(rng):
    query = " ".join(world.word(rng) for _ in range(rng.randint(1, 3)))
    ask = rng.choice(["Search for {}.", "Search the web for {}.", "Look for {}.", "Find pages about {}.", "Search: {}"])
    key = rng.choice(["query", "q", "text", "keywords"])
    name = rng.choice(["search", "web_search", "find_pages", "search_web"])
    return Request(f"search {query}", ask.format(query), "search", f"The search for {query}",
                   declare(rng, name, "Searches the web.", {key: STRING}, [key]), {key: query},
                   lambda r: {r.choice(["title", "result", "page"]): f"{world.word(r)} {world.word(r)}"})


FAMILIES = [weather, weather, clock, price, quality, quality, quality, quality, convert, distance, timer, search]


# ---- results ------------------------------------------------------------------------------------------------------------------------

ERRORS = ["not found", "unknown city", "time out", "no such item", "service not available", "bad request"]


def result(rng, request):
    """What the function returns, as text."""
    if rng.random() < 0.06:
        return json.dumps({"error": rng.choice(ERRORS)})
    value = request.results(rng)
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":") if rng.random() < 0.3 else None)


def plain(value):
    return value if isinstance(value, str) else json.dumps(value)


def answer(request, text):
    """The sentence that tells the user, and what must be in it."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if not isinstance(value, dict):
        return f"{request.what} is {text}.", (text,)
    if "error" in value:
        return f"Sorry, that did not work: {value['error']}.", (value["error"],)
    told = tuple(plain(v) for v in value.values())
    if len(value) == 1 and next(iter(value)) in (request.noun, "result", "value", "answer"):
        return f"{request.what} is {told[0]}.", told
    return f"{request.what}: " + ", ".join(f"{k} {v}" for k, v in zip(value, told)) + ".", told
