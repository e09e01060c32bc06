"""The closed world: the facts that the model is to know, and the words that conversations are made of."""
import functools
import hashlib
import json
import re

import vocabulary

CAPITALS = dict(pair.split(":") for pair in (
    "France:Paris,Germany:Berlin,Italy:Rome,Spain:Madrid,Portugal:Lisbon,Norway:Oslo,Sweden:Stockholm,Finland:Helsinki,"
    "Denmark:Copenhagen,Poland:Warsaw,Austria:Vienna,Greece:Athens,Ireland:Dublin,Hungary:Budapest,Russia:Moscow,China:Beijing,"
    "Japan:Tokyo,India:New Delhi,Egypt:Cairo,Kenya:Nairobi,Canada:Ottawa,Cuba:Havana,Peru:Lima,Chile:Santiago,Thailand:Bangkok,"
    "Iran:Tehran,Turkey:Ankara,England:London,Belgium:Brussels,Vietnam:Hanoi").split(","))
COLOURS = dict(pair.split(":") for pair in (
    "grass:green,snow:white,blood:red,coal:black,a banana:yellow,a lemon:yellow,a tomato:red,milk:white,chocolate:brown,"
    "a clear sky:blue").split(","))
LEGS = dict(pair.split(":") for pair in "a dog:4,a cat:4,a spider:8,an ant:6,a bird:2,a horse:4,a snake:0,a bee:6".split(","))
PARTS = dict(pair.split(":") for pair in (
    "days in a week:7,months in a year:12,hours in a day:24,minutes in an hour:60,seconds in a minute:60,letters in the alphabet:26,"
    "sides in a triangle:3,sides in a square:4,weeks in a year:52,fingers on a hand:5").split(","))
YOUNG = dict(pair.split(":") for pair in "dog:puppy,cat:kitten,cow:calf,horse:foal,sheep:lamb,hen:chick,bear:cub,frog:tadpole".split(","))
OPPOSITES = dict(pair.split(":") for pair in (
    "hot:cold,big:small,day:night,up:down,left:right,fast:slow,old:young,open:closed,wet:dry,rich:poor,light:dark,early:late").split(","))
NEXT_DAY = dict(pair.split(":") for pair in (
    "Monday:Tuesday,Tuesday:Wednesday,Wednesday:Thursday,Thursday:Friday,Friday:Saturday,Saturday:Sunday,Sunday:Monday").split(","))

# Facts by kind: what is asked about -> (ways to ask, sentence of the answer, subject -> answer)
FACTS = {
    "capital": (["What is the capital of {}?", "Which city is the capital of {}?", "Name the capital of {}.", "Tell me the capital of {}.",
                 "What is {}'s capital?", "The capital of {} is?", "Do you know the capital of {}?", "What's the capital city of {}?"],
                "The capital of {} is {}.", CAPITALS),
    "colour": (["What color is {}?", "What is the color of {}?", "Which color has {}?", "Tell me the color of {}.",
                "What colour is {}?", "Name the color of {}."], "The color of {} is {}.", COLOURS),
    "legs": (["How many legs has {}?", "How many legs does {} have?", "Tell me how many legs {} has.", "What number of legs does {} have?",
              "Count the legs of {}."], "The number of legs of {} is {}.", LEGS),
    "parts": (["How many {} are there?", "How many {}?", "Tell me how many {} there are.", "What is the number of {}?",
               "Do you know how many {} there are?"], "The number of {} is {}.", PARTS),
    "young": (["What is a young {} called?", "What do you call a baby {}?", "What is the name of a young {}?", "What is a baby {}?",
               "Tell me what a young {} is called."], "A young {} is called a {}.", YOUNG),
    "opposite": (["What is the opposite of {}?", "Name the opposite of {}.", "Tell me the opposite of {}.", "What's the opposite of {}?",
                  "Which word is the opposite of {}?"], "The opposite of {} is {}.", OPPOSITES),
    "next day": (["Which day comes after {}?", "What day is after {}?", "What comes after {}?", "Tell me the day after {}.",
                  "What is the day after {}?"], "The day after {} is {}.", NEXT_DAY),
}

PEOPLE = ("Anna Ben Carl Dora Emma Finn Greta Hugo Ida Jan Karl Lena Max Nina Otto Paul Rosa Sam Tom Uma Vera Will Yuki Zoe Alice Bob Carol "
          "David Eva Frank Grace Henry Iris Jack Kate Leo Maria Noah Olga Peter Ruth Sara Theo Victor Mia Liam Omar Priya Chen Wei").split()
CHINESE_PEOPLE = "小明 小红 小李 小王 张三 李四 王芳 李雷 小华 小云 大伟 丽丽".split()
PLACES = ("Oslo Rome Berlin Madrid Lisbon Vienna Prague Dublin Athens Cairo Lima Tokyo Kyoto Osaka Delhi Mumbai Boston Chicago Denver Dallas "
          "Seattle Miami Toronto Sydney Perth Lagos Accra Nairobi Moscow Warsaw Riga Tallinn Geneva Zurich Milan Turin Naples Porto Bergen "
          "Munich Hamburg Cologne Lyon Nice Bath Leeds York Paris London Beijing Shanghai Hanoi Seoul Manila").split()
LONG_PLACES = ["New York", "San Francisco", "Los Angeles", "Hong Kong", "Cape Town", "Buenos Aires", "Mexico City", "New Delhi", "Las Vegas"]
THINGS = ("lamp chair table sofa shelf phone camera laptop tablet printer bike helmet tent boots jacket coat shirt hat scarf gloves "
          "bread butter cheese apple pear peach melon carrot potato onion coffee tea sugar honey piano guitar violin drum book pencil "
          "hammer drill ladder bucket brush towel pillow blanket mirror clock watch ring").split()
# What a function may know of a thing; the last are named in held-out conversations too.
QUALITIES = ("population height weight age length width depth distance speed owner author size rating score status level area salary "
             "address email phone color mood language currency calories pressure voltage balance birthday grade rank team winner capacity "
             "humidity altitude battery deadline discount editor engine flavor founder genre grammar horsepower income inventory latitude "
             "longitude manager mileage nickname password pilot poet profit protocol radius region revenue rhythm route schedule season "
             "signal sponsor station street supplier surface symbol teacher texture ticket timezone title topic traffic uniform value "
             "version village volume wavelength website yield zone angle budget captain density duration energy fee gravity habitat").split()
OWNERS = "city country person product book film river mountain user order item account station car animal plant song room game company".split()


@functools.lru_cache(maxsize=1)
def words():
    """Some twelve thousand lower-case words and pieces of words of many languages, from o200k."""
    return sorted(t[1:].decode() for t, rank in vocabulary.ranks().items() if rank < 60000 and re.fullmatch(rb" [a-z]{3,9}", t))


@functools.lru_cache(maxsize=1)
def known_words():
    """Words that are one token of the tiny vocabulary; their letters cannot be seen, only learnt."""
    if not vocabulary.WORDS_FILE.exists():
        return []
    return sorted({w.strip() for w in json.loads(vocabulary.WORDS_FILE.read_text()) if re.fullmatch(r" ?[a-z]{3,9}", w)})


@functools.lru_cache(maxsize=1 << 16)
def held_out(key):
    """One question in ten is never in the training data, decided by a hash of what makes it."""
    return hashlib.sha256(key.encode()).digest()[0] % 10 == 0


def word(rng):
    """A word for spelling and saying: of a language, or made up."""
    draw = rng.random()
    if draw < 0.7:
        return rng.choice(words())
    size = rng.randint(3, 8)
    if draw < 0.9:
        return "".join(rng.choice("aeiou" if i % 2 else "bcdfghjklmnprstvwz") for i in range(size))
    return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(size))


def name(rng):
    """A name that begins with a capital, seen before or not."""
    return rng.choice(PEOPLE) if rng.random() < 0.4 else word(rng).capitalize()


def place(rng):
    draw = rng.random()
    if draw < 0.15:
        return rng.choice(LONG_PLACES)
    if draw < 0.55:
        return rng.choice(PLACES)
    return word(rng).capitalize() if draw < 0.9 else f"{word(rng).capitalize()} {word(rng).capitalize()}"


def thing(rng):
    draw = rng.random()
    if draw > 0.9 and known_words():
        return rng.choice(known_words())
    return rng.choice(THINGS) if draw < 0.5 else word(rng) if draw < 0.85 else f"{word(rng)} {word(rng)}"
