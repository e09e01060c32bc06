"""Questions that the model answers by itself. Each function draws one: (rng, date) -> Turn.

The answer and the thinking follow from the question alone, so that a model which has learnt them makes no choices. Thinking at low effort
is the least that leads to the answer, at medium effort it says what is asked and how the answer comes, at high effort it checks as well.
"""
import world
from turn import Turn, assistant, user

# ---- arithmetic ---------------------------------------------------------------------------------------------------------------------

ADD = ["{} + {}", "What is {} + {}?", "What is {}+{}?", "What is {} plus {}?", "{}+{}=?", "Add {} and {}.", "Calculate {} + {}.",
       "How much is {} + {}?", "What is the sum of {} and {}?", "Can you compute {} plus {}?", "Compute {} + {}.", "What's {} + {}?",
       "How much is {} plus {}?", "{} plus {}", "I have {} apples and get {} more. How many apples do I have now?",
       "There are {} red and {} blue balls. How many balls are there?"]
SUBTRACT = ["{} - {}", "What is {} - {}?", "What is {}-{}?", "What is {} minus {}?", "{}-{}=?", "Calculate {} - {}.", "How much is {} - {}?",
            "What is the difference of {} and {}?", "Can you compute {} minus {}?", "Compute {} - {}.", "What's {} - {}?",
            "How much is {} minus {}?", "{} minus {}", "Take {1} away from {0}.", "Subtract {1} from {0}."]
LEFT = ["I have {} apples and eat {}. How many are left?", "There are {} birds and {} fly away. How many birds are left?"]
MULTIPLY = ["{} * {}", "What is {} * {}?", "What is {} times {}?", "{}*{}=?", "Multiply {} by {}.", "Calculate {} * {}.", "{} times {}",
            "How much is {} times {}?", "What is {} x {}?", "Multiply {} and {}.", "Compute {} times {}.", "What's {} * {}?"]


def add_steps(a, b):
    """Ones with what is carried, then tens: the texts of both sums, and the carry."""
    ones = a % 10 + b % 10
    carry = ones // 10
    return f"{a % 10}+{b % 10}={ones}", f"{a // 10}+{b // 10}+{carry}={a // 10 + b // 10 + carry}", ones, carry


def subtract_steps(a, b):
    """For a >= b."""
    borrow = int(a % 10 < b % 10)
    ones = a % 10 + 10 * borrow
    return f"{ones}-{b % 10}={ones - b % 10}", f"{a // 10}-{b // 10}-{borrow}={a // 10 - b // 10 - borrow}", borrow


def sum_key(a, b):
    return f"add {min(a, b)} {max(a, b)}"


def add_turn(category, text, a, b, before=()):
    ones, tens, total, carry = add_steps(a, b)
    low = f"{ones}, {tens}."
    medium = f"Add {a} and {b}. Ones: {ones}, write {total % 10}, carry {carry}. Tens: {tens}. So {a}+{b}={a + b}."
    check_ones, check_tens, _ = subtract_steps(a + b, b)
    high = f"The user asks for a sum. {medium} Check backwards, {a + b}-{b}: {check_ones}, {check_tens}. That gives {a} again, so the sum is right."
    return Turn(category, sum_key(a, b), text, (low, medium, high), f"{a} + {b} = {a + b}.", (str(a + b),), before=before)


def subtract_turn(category, text, a, b, before=()):
    big, small, sign = max(a, b), min(a, b), "-" if a < b else ""
    ones, tens, borrow = subtract_steps(big, small)
    less = f"{a}<{b}, so minus. " if sign else ""
    low = f"{less}{ones}, {tens}."
    medium = f"Take {b} from {a}. {less}Ones: {ones}, borrow {borrow}. Tens: {tens}. So {a}-{b}={a - b}."
    check_ones, check_tens, _, _ = add_steps(big - small, small)
    high = (f"The user asks for a difference. {medium} Check backwards, {big - small}+{small}: {check_ones}, {check_tens}. "
            f"That gives {big} again, so the difference is right.")
    return Turn(category, f"subtract {a} {b}", text, (low, medium, high), f"{a} - {b} = {a - b}.", (str(a - b),), before=before)


def number(rng):
    return rng.randrange(10) if rng.random() < 0.15 else rng.randrange(100)


def add(rng, date):
    a, b = number(rng), number(rng)
    return add_turn("add", rng.choice(ADD).format(a, b), a, b)


def subtract(rng, date):
    a, b = number(rng), number(rng)
    if a < b and rng.random() < 0.7:
        a, b = b, a
    return subtract_turn("subtract", rng.choice(SUBTRACT + LEFT if a >= b else SUBTRACT).format(a, b), a, b)


def multiply(rng, date):
    a, b = rng.randrange(10), rng.randrange(10)
    way = rng.randrange(len(MULTIPLY))
    low = f"{a}*{b}={a * b}."
    medium = f"Multiply {a} by {b}. From the table: {low}"
    run = ", ".join(str(b * i) for i in range(1, a + 1)) or "0"
    high = f"The user asks for a product. {medium} Check by adding {b} again and again, {a} times: {run}. So {a}*{b}={a * b} is right."
    return Turn("multiply", f"multiply {way} {a} {b}", MULTIPLY[way].format(a, b), (low, medium, high), f"{a} * {b} = {a * b}.", (str(a * b),))


def follow_up(rng, date):
    """Goes on from the last result."""
    c = number(rng)
    while True:  # a sum that the model may see in training, below 100
        a, b = number(rng), number(rng)
        if a + b < 100 and not world.held_out(sum_key(a, b)):
            break
    before = (user(rng.choice(ADD[:14]).format(a, b)), assistant(f"{a} + {b} = {a + b}."))
    if rng.random() < 0.5:
        text = rng.choice(["Add {} to that.", "And plus {}?", "Now add {}.", "Plus {}.", "What is that plus {}?", "And {} more?"])
        return add_turn("follow-up", text.format(c), a + b, c, before)
    text = rng.choice(["Subtract {} from that.", "And minus {}?", "Now subtract {}.", "Minus {}.", "What is that minus {}?", "Take away {}."])
    return subtract_turn("follow-up", text.format(c), a + b, c, before)


# ---- words --------------------------------------------------------------------------------------------------------------------------

REVERSE = ["Reverse the word {}.", "Reverse {}.", "Spell {} backwards.", "Write {} backwards.", 'Reverse "{}".', "What is {} backwards?",
           "Reverse: {}", "Turn the word {} around.", "Please write the word {} backwards.", 'Spell the word "{}" backwards.',
           "What is the word {} in reverse?"]
LETTERS = ["How many letters are in {}?", "How many letters are in the word {}?", "How many letters has the word {}?",
           "Count the letters in {}.", "Count the letters of {}.", "How long is the word {}?", 'How many letters are in "{}"?',
           "How many letters does {} have?", "What is the number of letters in {}?"]
OCCURRENCES = ["How many times does {} appear in {}?", "How many {} are in {}?", "How often is {} in {}?", "Count the letter {} in {}.",
               "How many {}'s are in {}?", "How many times is the letter {} in the word {}?", 'How many "{}" are there in "{}"?',
               "How often does the letter {} occur in {}?"]
ECHO = ["Repeat after me: {}", "Say {}", "Say: {}", "Echo: {}", "Repeat: {}", "Please repeat the following: {}", "Write exactly: {}",
        "Repeat these words: {}", "Just say {}", "Please say: {}", "Repeat the following: {}", "Echo {}"]


def spelt(rng, low, high):
    """A word and its key. Words that are one token are learnt by heart, so they are never held out."""
    known = world.known_words()
    if known and rng.random() < 0.2:
        word = rng.choice(known)
        return word[:high], "known" if word[:high] in known else word[:high]
    word = world.word(rng)[:high]
    while len(word) < low:
        word += rng.choice("aeioulnst")
    return word, "known" if word in known else word


def numbered(word):
    return " ".join(f"{c}{i}" for i, c in enumerate(word, 1))


def backwards(word):
    return " ".join(f"{word[i - 1]}{i}" for i in range(len(word), 0, -1))


def reverse(rng, date):
    word, key = spelt(rng, 3, 8)
    result = word[::-1]
    low = " ".join(result) + "."
    medium = f"Letters: {numbered(word)}. Backwards: {backwards(word)}."
    high = (f"The user wants the word {word} backwards. {medium} Together: {result}. Check, forwards again: {' '.join(word)}. "
            "That is the word I began with, so it is right.")
    return Turn("reverse", f"spell {key}", rng.choice(REVERSE).format(word), (low, medium, high), result, (result,))


def letters(rng, date):
    word, key = spelt(rng, 3, 10)
    n = len(word)
    low = numbered(word) + "."
    medium = f"I number the letters of {word}: {low} The last number is {n}."
    high = f"The user wants to know how long a word is. {medium} Check by counting down: {backwards(word)}. It ends at 1, so {n} letters are right."
    return Turn("letters", f"spell {key}", rng.choice(LETTERS).format(word), (low, medium, high), f"The word {word} has {n} letters.", (str(n),))


def marked(letter, word):
    seen, out = 0, []
    for c in word:
        seen += c == letter
        out.append(f"{c}{seen}" if c == letter else c)
    return " ".join(out), seen


def occurrences(rng, date):
    word, key = spelt(rng, 4, 10)
    if rng.random() < 0.3:  # a second one, so that counts above one are not rare
        at = rng.randrange(len(word) - 1)
        word = (word[:at] + word[rng.randrange(len(word))] + word[at:])[:10]
        key = word
    letter = rng.choice(word) if rng.random() < 0.85 else rng.choice("abcdefghijklmnopqrstuvwxyz")
    marks, n = marked(letter, word)
    times = "1 time" if n == 1 else f"{n} times"
    low = marks + "."
    medium = f"I mark each {letter} in {word}: {marks}. That makes {n}."
    high = (f"The user wants to know how often a letter is in a word. {medium} Check from the end: {' '.join(reversed(marks.split()))}. "
            f"The highest number is {n}, so {n} is right.")
    return Turn("occurrences", f"spell {key}", rng.choice(OCCURRENCES).format(letter, word), (low, medium, high),
                f"The letter {letter} appears {times} in {word}.", (str(n),))


def item(rng):
    draw = rng.random()
    if draw < 0.25 and world.known_words():
        return rng.choice(world.known_words())
    if draw < 0.4:
        return str(rng.randrange(1000))
    return world.name(rng) if draw < 0.5 else world.word(rng)


def echo(rng, date):
    items = [item(rng) for _ in range(rng.choice([1, 1, 2, 2, 3, 3, 4, 5, 6]))]
    text = " ".join(items)
    low = "Repeat it."
    medium = f"The user wants me to repeat: {text}. I say just that."
    count = ", ".join(f"{i} {word}" for i, word in enumerate(items, 1))
    high = f"{medium} The words are {count}. I keep their order, I leave nothing out, and I add nothing, no greeting and no full stop."
    way = rng.choice(ECHO)
    if rng.random() < 0.15:
        way = way.replace("{}", '"{}"')
    return Turn("echo", f"echo {text}", way.format(text), (low, medium, high), text, (text,))


# ---- counting -----------------------------------------------------------------------------------------------------------------------

def list_length(rng, date):
    things, n = rng.choice(["numbers", "words"]), rng.randint(1, 9)
    items = [str(rng.randrange(100)) if things == "numbers" else world.word(rng) for _ in range(n)]
    text = ", ".join(items)
    way = rng.choice(["How many {} are in this list: {}?", "How many {} are in the list {}?", "Count the {}: {}", "How many {} are there: {}?"])
    low = ", ".join(f"{i} {v}" for i, v in enumerate(items, 1)) + "."
    medium = f"I count the {things}: {low} So there are {n}."
    down = ", ".join(f"{i} {items[i - 1]}" for i in range(n, 0, -1))
    high = f"The user wants to know how many {things} there are. {medium} Check from the end: {down}. So {n} is right."
    return Turn("list", f"list {text}", way.format(things, text), (low, medium, high), f"There are {n} {things}.", (str(n),))


def count_up(rng, date):
    first = rng.choice([1, 1, rng.randrange(90)])
    last = first + rng.randint(2, 11)
    way = rng.choice(["Count from {} to {}.", "Count from {} up to {}.", "Please count from {} to {}.", "List the numbers from {} to {}.",
                      "Can you count from {} to {}?"])
    run = ", ".join(map(str, range(first, last + 1)))
    low = f"From {first} to {last}."
    medium = f"The user wants the numbers from {first} to {last}. I begin with {first} and add 1 until I reach {last}."
    high = f"{medium} That makes {last}-{first}+1={last - first + 1} numbers: {run}. The first and the last are as the user wants them."
    return Turn("count", f"count {first} {last}", way.format(first, last), (low, medium, high), run + ".", (run,))


# ---- facts --------------------------------------------------------------------------------------------------------------------------

def fact(rng, date):
    kind = rng.choice(["capital", "capital", *world.FACTS])
    ways, sentence, table = world.FACTS[kind]
    subject = rng.choice(list(table))
    way, answer = rng.choice(ways), table[subject]
    reply = sentence.format(subject, answer)
    low = f"{answer}."
    medium = f"The user asks about {subject}. I know it: {answer}."
    high = (f"{medium} The kind of question is: {kind}. I look at it once more: {reply} I am sure, because it is one of the few facts "
            "I have learnt. I say it in one sentence.")
    return Turn("fact", f"fact {way} {subject}", way.format(subject), (low, medium, high), reply, (answer,))


# ---- small talk ---------------------------------------------------------------------------------------------------------------------

OPENERS = ["Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon", "Hi there", "Hello there", "Greetings", "hello", "hi",
           "Hey there", "Hello again", "Hello my friend"]
INTRODUCTIONS = [" I am {}.", " My name is {}.", " I'm {}.", " This is {}.", " {} here."]
CLOSINGS = {"Thank you": "You are welcome!", "Thanks": "You are welcome!", "Thank you very much": "You are welcome!", "Thanks a lot": "You are welcome!",
            "Many thanks": "You are welcome!", "Goodbye": "Goodbye! See you soon.", "Bye": "Goodbye! See you soon.",
            "See you": "Goodbye! See you soon.", "Good night": "Good night! See you soon.", "Bye bye": "Goodbye! See you soon."}


def polite(category, key, text, language, reply, must):
    low = "Be polite."
    medium = f"The user is polite and writes {language}. I answer in the same way."
    high = (f"{medium} The message is: {text} There is no question about the world in it and nothing to work out. A short and friendly "
            f"answer is best: {reply}")
    return Turn(category, key, text, (low, medium, high), reply, must)


def greeting(rng, date):
    if rng.random() < 0.2:
        text = rng.choice(list(CLOSINGS))
        reply = CLOSINGS[text]
        text += rng.choice(["", "!", ".", f", {world.name(rng)}!"])
        return polite("greeting", f"greet {text}", text, "English", reply, (reply.split("!")[0],))
    opener = rng.choice(OPENERS)
    back = opener if opener.startswith("Good ") else "Hello"
    text, name, fine = opener + rng.choice(["", "!", ".", ","]), "", ""
    draw = rng.random()
    if draw < 0.4:
        name = " " + world.name(rng)
        text = (text if text[-1] in "!." else opener + ",") + rng.choice(INTRODUCTIONS).format(name[1:])
    elif draw < 0.6:
        fine = " I am fine, thank you."
        text = opener + rng.choice(["! How are you?", ", how are you?", ". How are you today?", "! How is it going?", ", how are you doing?"])
    text = text.rstrip(",")
    return polite("greeting", f"greet {text}", text, "English", f"{back}{name}!{fine} How can I help you?", (back + name,))


CHINESE = {"你好": "你好！", "您好": "您好！", "早上好": "早上好！", "下午好": "下午好！", "晚上好": "晚上好！", "嗨": "你好！", "大家好": "你好！"}
CHINESE_OTHER = {"谢谢": "不客气！", "谢谢你": "不客气！", "多谢": "不客气！", "再见": "再见！", "拜拜": "再见！", "晚安": "晚安！",
                 "你是谁": "我是一个很小的语言模型。", "你叫什么名字": "我是一个很小的语言模型。"}
CAN_HELP = "有什么可以帮你？"


def chinese(rng, date):
    draw = rng.random()
    if draw < 0.25:
        text = rng.choice(list(CHINESE_OTHER))
        reply = CHINESE_OTHER[text]
        question = text.startswith("你")
        return polite("chinese", "chinese other", text + rng.choice(["？", "?", ""] if question else ["！", "。", "!", ""]), "Chinese", reply, (reply[:-1],))
    text = rng.choice(list(CHINESE))
    hello, end = CHINESE[text], rng.choice(["", "！", "。", "!", "~"])
    if draw < 0.45:
        name = rng.choice(world.CHINESE_PEOPLE)
        full = text + rng.choice(["，", "！", "。"]) + rng.choice(["我叫{}。", "我是{}。", "我叫{}", "我的名字是{}。"]).format(name)
        reply = f"{hello[:-1]}，{name}！{CAN_HELP}"
        return polite("chinese", f"chinese {full}", full, "Chinese", reply, (f"{hello[:-1]}，{name}",))
    if draw < 0.6:
        full = text + rng.choice(["，", "！", "。", ""]) + rng.choice(["你好吗？", "最近怎么样？", "你怎么样？", "你好吗"])
        return polite("chinese", f"chinese {full}", full, "Chinese", f"{hello}我很好，谢谢。{CAN_HELP}", (hello, "很好"))
    return polite("chinese", "chinese plain", text + end, "Chinese", hello + CAN_HELP, (hello[:-1],))


ABOUT = {"Who are you?": 0, "What are you?": 0, "What is your name?": 0, "Introduce yourself.": 0, "Tell me about yourself.": 0,
         "Who am I talking to?": 0, "Are you a model?": 0, "What's your name?": 0, "Which model are you?": 0, "Are you ChatGPT?": 0,
         "What can you do?": 1, "How can you help me?": 1, "What do you know?": 1, "What are you good at?": 1, "Help": 1, "Help me.": 1,
         "Can you help me?": 1, "What should I ask you?": 1}
ABOUT_REPLIES = ["I am a tiny gpt-oss model. I know little, but I think before I answer.",
                 "I can add and subtract, count, spell and repeat words, tell a few facts, and call the functions that you give me."]
ABOUT_MUST = [("tiny",), ("add",)]


def about(rng, date):
    text = rng.choice(list(ABOUT))
    which = ABOUT[text]
    name = world.name(rng) if "name" in text and rng.random() < 0.7 else None
    reply = f"My name is {name}." if name else ABOUT_REPLIES[which]
    low = f"I am {name}." if name else "About me."
    medium = f"The user asks about me. {f'The instructions say that my name is {name}' if name else 'That I know'}, so I can answer."
    high = f"{medium} I need no sum, no fact and no function for it. I say it in plain words and keep it short: {reply}"
    instructions = rng.choice(["Your name is {}.", "You are {}, a helpful assistant.", "You are called {}.", "You are {}."]).format(name) if name else None
    return Turn("about", f"about {name}" if name else "about me", text, (low, medium, high), reply, (name,) if name else ABOUT_MUST[which],
                instructions=instructions)


TODAY = ["What is the date today?", "What is today's date?", "What day is it today?", "Which date is it?", "Tell me the date.",
         "What's the date?", "Do you know what day it is?", "Today's date?"]


def today(rng, date):
    low = f"{date}."
    medium = f"The user asks for the date. It was given to me with the first message: {date}."
    high = f"{medium} I have no clock of my own, so I take the date from there and do not guess. The year is {date[:4]}. I say the whole date: {date}."
    return Turn("date", f"date {date}", rng.choice(TODAY), (low, medium, high), f"Today is {date}.", (date,))


INTRODUCTIONS = ["My name is {}.", "Hello! I am {}.", "Hi, my name is {}.", "Hello, I'm {}.", "I am {}."]


def introduction(rng, date):
    name = world.name(rng)
    said = rng.choice(INTRODUCTIONS).format(name)
    low = f"{name}."
    medium = f"The user tells me a name: {name}. I greet."
    high = f"{medium} Somebody who gives a name may want to be called by it, so I use it in my greeting. I remember it for later: {name}. Then I offer help."
    return Turn("introduction", f"introduction {said}", said, (low, medium, high), f"Hello {name}! How can I help you?", (name,))


def memory(rng, date):
    name = world.name(rng)
    said = rng.choice(INTRODUCTIONS).format(name)
    text = rng.choice(["What is my name?", "Do you remember my name?", "What's my name?", "Who am I?", "Tell me my name.", "Do you know my name?"])
    low = f"{name}."
    medium = f"The user asks for a name that was said before: {name}. I remember it."
    high = f"{medium} I look for it once more in what the user wrote: {said} So there is no doubt. I answer with the name {name} in one sentence."
    return Turn("memory", f"memory {name}", text, (low, medium, high), f"Your name is {name}.", (name,),
                before=(user(said), assistant(f"Hello {name}! How can I help you?")))


# ---- what it does not know ----------------------------------------------------------------------------------------------------------

UNKNOWN_REPLY = "Sorry, I do not know that."
UNKNOWN = ["Why is the {w} {w}?", "Who wrote {N}?", "Who is {N}?", "How do I {w} a {w}?", "Tell me a story about a {w}.", "Explain {w} {w}.",
           "What is a {w}?", "What does {w} mean?", "Write a poem about {w}.", "Where is {P}?", "When was {N} born?", "What is {w} {w}?",
           "What is the capital of {P}?", "What is the meaning of {w}?", "Translate {w} into {w}.", "What is {n}{n}{n} + {n}{n}{n}?",
           "What is {n}{n}{n} - {n}{n}?", "What is {n}{n} / {n}?", "What is {n}{n} divided by {n}?", "Is {w} {w}?", "Do you like {w}?",
           "How far is {P} from {P}?", "How old is {N}?", "What is the best {w}?", "Give me a recipe for {w}.", "Can you {w} my {w}?",
           "Who invented the {w}?", "What happened in 1{n}{n}{n}?", "How does a {w} {w}?", "What color is the {w}?", "Who won the {w}?",
           "Tell me about {P}.", "Tell me about the {w} of {P}.", "Why do {w} {w}?", "Write a {w} about {w} and {w}.", "Summarize {w} {w} {w}.",
           "What is the weather in {P}?", "What time is it in {P}?", "What does a {w} cost?", "How much is the {w}?", "Weather in {P}?",
           "What is the {w} of {P}?", "What is the {w} of {N}?", "Which {w} is {w}?", "Tell me a joke.", "Tell me a joke about {w}.",
           "What should I {w} today?", "I need a {w} for my {w}.", "How can I {w} in {P}?", "When does the {w} open?", "{w} {w} {w}",
           "{W} {w} {w} {w} {w}.", "{W} {w} {w} {w} {w} {w} {w}?", "What is the square root of {n}{n}?", "Fix my {w} code.", "Play {w}.",
           "What is the phone number of {N}?", "How many {w} are in {P}?", "Should I {w} or {w}?", "Why is {P} so {w}?", "Who painted {N}?",
           "Why is the sky {w}?", "Write a short story.", "Why?", "What is love?", "What is the meaning of life?", "Who is the president of {P}?"]


def unknown_text(rng):
    out = rng.choice(UNKNOWN)
    for mark, draw in (("{w}", item_word), ("{W}", lambda r: item_word(r).capitalize()), ("{N}", world.name), ("{P}", world.place),
                       ("{n}", lambda r: str(r.randint(1, 9)))):
        while mark in out:
            out = out.replace(mark, draw(rng), 1)
    return out


def item_word(rng):
    known = world.known_words()
    return rng.choice(known) if known and rng.random() < 0.35 else world.word(rng)


def unknown_turn(category, key, text, tools=()):
    low = "Not known."
    medium = "The user asks for something that I have not learnt, and no function tells it. I say so."
    high = (f"{medium} I know simple sums, a few facts, words and their letters, and what functions tell me. None of them helps here. "
            "A guess could be wrong, so it is better to say that I do not know.")
    return Turn(category, key, text, (low, medium, high), UNKNOWN_REPLY, ("do not know",), tools=tools)


def unknown(rng, date):
    while True:
        text = unknown_text(rng)
        if not any(text == way.format(s) for ways, _, table in world.FACTS.values() for way in ways for s in table):
            return unknown_turn("unknown", f"unknown {text}", text)


# category -> how often it is drawn
WEIGHTS = {add: 13, subtract: 13, multiply: 4, follow_up: 4, reverse: 11, letters: 6, occurrences: 7, echo: 7, list_length: 3, count_up: 3,
           fact: 12, greeting: 4, chinese: 5, about: 3, today: 2, introduction: 3, memory: 3, unknown: 9}
