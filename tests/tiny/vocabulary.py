"""The tiny model's vocabulary: a part of o200k, and the tokenizer.json that says so.

Kept are the 256 single bytes and some whole words of o200k, in the order of their ranks, and the special tokens of harmony behind them.
There are no merges: a piece of text that is a word of the vocabulary is one token, any other is spelled byte by byte. (`ignore_merges`
in tokenizer.json, which gpt-oss has as well, makes readers look for the whole piece first.) So words that the model has never seen come
as letters, which it can copy, count and reverse.

vocabulary.json holds the words; build_vocabulary.py chooses them.
"""
import base64
import functools
import json
import pathlib

import regex

HERE = pathlib.Path(__file__).resolve().parent
RANKS_FILE = HERE.parents[1] / "runtime" / "text" / "data" / "o200k_base.tiktoken"
WORDS_FILE = HERE / "vocabulary.json"

# openai/harmony `src/tiktoken_ext/public_encodings.rs`
PATTERN = "|".join([
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"\p{N}{1,3}",
    r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]+",
    r"\s+(?!\S)",
    r"\s+",
])

# By their place behind the ordinary tokens, as in o200k_harmony; the others are reserved.
SPECIAL_PLACES = {0: "<|startoftext|>", 1: "<|endoftext|>", 4: "<|return|>", 5: "<|constrain|>", 7: "<|channel|>", 8: "<|start|>",
                  9: "<|end|>", 10: "<|message|>", 14: "<|call|>", 20: "<|endofprompt|>"}
N_SPECIALS = 21


@functools.lru_cache(maxsize=1)
def ranks():
    """Bytes to rank, of the whole of o200k."""
    table = {}
    for line in RANKS_FILE.read_bytes().splitlines():
        encoded, rank = line.split()
        table[base64.b64decode(encoded)] = int(rank)
    return table


def pieces(text):
    return SPLIT.findall(text)


SPLIT = regex.compile(PATTERN)


@functools.lru_cache(maxsize=1)
def byte_alphabet():
    """Byte to the character that stands for it in tokenizer.json: itself where it is printable, else one above 255 (as GPT-2 does)."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(other)}}


class Vocabulary:
    def __init__(self, words=None):
        """words: pieces that are one token each; default: those of vocabulary.json, none if it is not there."""
        if words is None:
            words = json.loads(WORDS_FILE.read_text()) if WORDS_FILE.exists() else []
        table = ranks()
        self.words = words
        self.tokens = sorted([bytes([b]) for b in range(256)] + [w.encode() for w in words], key=table.__getitem__)
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self.n_ordinary = len(self.tokens)
        self.specials = {SPECIAL_PLACES.get(i, f"<|reserved_{self.n_ordinary + i}|>"): self.n_ordinary + i for i in range(N_SPECIALS)}
        self.size = self.n_ordinary + N_SPECIALS
        self._cache = {}

    def _piece(self, piece):
        known = self._cache.get(piece)
        if known is None:
            data = piece.encode()
            known = [self.ids[data]] if data in self.ids else [self.ids[bytes([b])] for b in data]
            if len(self._cache) < 200000:
                self._cache[piece] = known
        return known

    def encode(self, text):
        return [i for piece in SPLIT.findall(text) for i in self._piece(piece)]

    def encode_parts(self, parts):
        """Of harmony.py."""
        ids = []
        for part in parts:
            if part.startswith("<|"):
                ids.append(self.specials[part])
            else:
                ids += self.encode(part)
        return ids

    def decode(self, ids):
        names = {i: name.encode() for name, i in self.specials.items()}
        return b"".join(names[i] if i in names else self.tokens[i] for i in ids).decode(errors="replace")

    def tokenizer_json(self):
        alphabet = byte_alphabet()
        added = [{"id": i, "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
                 for name, i in self.specials.items()]
        split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        return {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]}, "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                      "fuse_unk": False, "byte_fallback": False, "ignore_merges": True,
                      "vocab": {"".join(alphabet[b] for b in token): i for i, token in enumerate(self.tokens)}, "merges": []}}
