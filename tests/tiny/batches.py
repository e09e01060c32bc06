"""Conversations packed into rows of tokens. A batch is a pure function of (seed, its number): runs repeat, and many processes can make them."""
import random

import numpy as np
import torch

import conversations
from vocabulary import Vocabulary

ROW = 640       # tokens; longer conversations are left out
IGNORED = -100  # a target that does not count
PATIENCE = 6    # conversations in a row that find no room end the batch


def encode(vocabulary, conversation):
    """Ids, and how many of them are the prompt's."""
    prompt, completion = conversation.parts()
    ids = vocabulary.encode_parts(prompt)
    return ids + vocabulary.encode_parts(completion), len(ids)


def place(arrays, row, at, document, ids, n_prompt):
    """Only what the model writes counts: the token behind each place from the prompt's last one on."""
    tokens, positions, documents, targets = arrays
    end = at + len(ids)
    tokens[row, at:end], positions[row, at:end], documents[row, at:end] = ids, np.arange(len(ids)), document
    targets[row, at + n_prompt - 1:end - 1] = ids[n_prompt:]


def pack(items, rows):
    """items: pairs of encode(), as many as fit. Returns tokens, positions, documents, targets [rows, ROW] and where each item lies."""
    arrays = [np.zeros((rows, ROW), np.int16) for _ in range(4)]
    arrays[3][:] = IGNORED
    used, misses, places = [0] * rows, 0, []
    for ids, n_prompt in items:
        row = next((r for r in range(rows) if used[r] + len(ids) <= ROW), None)
        places.append(None if row is None else (row, used[row], len(ids)))
        if row is None:
            misses += 1
            if misses >= PATIENCE:
                break
            continue
        misses = 0
        place(arrays, row, used[row], len(places), ids, n_prompt)
        used[row] += len(ids)
    return [torch.from_numpy(a) for a in arrays], places


class Batches(torch.utils.data.Dataset):
    def __init__(self, seed, rows, n):
        self.seed, self.rows, self.n, self.vocabulary = seed, rows, n, Vocabulary()

    def __len__(self):
        return self.n

    def __getitem__(self, number):
        rng = random.Random(f"{self.seed}/{number}")
        stream = iter(lambda: encode(self.vocabulary, conversations.draw(rng)), None)
        return pack(stream, self.rows)[0]


def held_out(seed, each, rows):
    """Batches of held-out conversations: `each` of every category, with the category and the effort of each."""
    rng, vocabulary = random.Random(f"{seed}/held-out"), Vocabulary()
    drawn = [conversations.draw(rng, "held_out", category) for category in conversations.CATEGORIES for _ in range(each)]
    left, out = [(c.category, c.effort, encode(vocabulary, c)) for c in drawn], []
    left = [entry for entry in left if len(entry[2][0]) <= ROW]
    while left:
        arrays, places = pack([entry[2] for entry in left], rows)
        names = [(entry[0], entry[1], where) for entry, where in zip(left, places) if where]
        left = [entry for entry, where in zip(left, places + [None] * len(left)) if not where]
        out.append((arrays, names))
    return out
