#!/usr/bin/env python3
"""Chooses the words of the tiny vocabulary and writes vocabulary.json: the pieces of o200k that the conversations use most.

    python3 tests/tiny/build_vocabulary.py

Left out are numbers (digits stay single, so that sums go digit by digit), letters with something in front (words are spelt letter by
letter), and names of people, places and things (they are copied letter by letter). To be run again when the
texts of questions.py or functions.py change; the model has to be trained anew then.
"""
import collections
import json
import random
import re

import conversations
import functions
import vocabulary
import world

CONVERSATIONS, LEAST, SEED = 60000, 90, 1


def names():
    """Words that are copied from a question into a call or an answer."""
    tables = [world.CAPITALS, world.COLOURS, world.LEGS, world.YOUNG, world.OPPOSITES, world.NEXT_DAY]
    texts = [text for table in tables for pair in table.items() for text in pair]
    texts += [*world.PEOPLE, *world.PLACES, *world.LONG_PLACES, *world.THINGS, *functions.MONEY]
    return {word for text in texts for word in text.split()} - {"a", "an", "in"}


def main():
    vocabulary.WORDS_FILE.unlink(missing_ok=True)  # what is known must not feed back
    rng, table, counts = random.Random(SEED), vocabulary.ranks(), collections.Counter()
    proper = names()
    for _ in range(CONVERSATIONS):
        prompt, completion = conversations.draw(rng).parts()
        pieces = {piece for part in prompt + completion if not part.startswith("<|") for piece in vocabulary.pieces(part)}
        counts.update(pieces)
    words = [piece for piece, n in counts.items()
             if n >= LEAST and len(piece.encode()) > 1 and piece.encode() in table and not re.search(r"\d", piece)
             and (not re.fullmatch(r"[\W_][A-Za-z]", piece) or piece in (" a", " I")) and piece.strip(" _.") not in proper]
    words.sort(key=lambda w: table[w.encode()])
    vocabulary.WORDS_FILE.write_text(json.dumps(words, ensure_ascii=False, indent=0) + "\n")
    print(f"{len(words)} words, {vocabulary.Vocabulary(words).size} tokens in all")


if __name__ == "__main__":
    main()
