"""Forced output: the fake engine says any token ids, and this says what must become of them, without asking the parser.

Harmony as it is read here, with no more knowledge than that:
- A *body* is what stands between <|message|> and the next stop (<|end|>, <|return|>, <|call|>, <|endoftext|>) or the end of generation. Special
  tokens inside it are their text; bytes that are no UTF-8 are U+FFFD, one for each maximal broken part.
- A *header* is what stands before a <|message|>, from the stop or <|start|> before it on. It says what the body is for, and is shown to nobody.
- What is neither is *stray*: text that no <|message|> follows before the next stop or <|start|>.
- Generation ends at the first <|return|>, <|call|> or <|endoftext|>; nothing behind it counts (ignore_eos).

No text is lost when each body is, whole and unchanged, in exactly one of reasoning, content, and arguments of a call, in their order, and when each
stray word is, too, unless it is one of: the name behind <|channel|>, text behind another role than the assistant's, a header that max_tokens cut short
(one whose words may still become a header). What has more than LONG bytes before its <|message|> may be taken for stray text, and the marker for a part
of it; such a body is judged by its words only.
"""
import base64
import re

from fake import CALL, CHANNEL, CONSTRAIN, END, MESSAGE, RETURN, START, VOCABULARY

END_OF_TEXT = 199999
SPECIAL = {CALL: "<|call|>", CHANNEL: "<|channel|>", CONSTRAIN: "<|constrain|>", END: "<|end|>", MESSAGE: "<|message|>", RETURN: "<|return|>", START: "<|start|>",
           END_OF_TEXT: "<|endoftext|>", 199998: "<|startoftext|>"}
TERMINAL = {RETURN, CALL, END_OF_TEXT}
STOPS = TERMINAL | {END}
SIZE = 201088
LONG = 60
OTHERS = re.compile(r"<\|start\|>\s*((system|developer|user|tool)(:|\s|<|$)|functions\.)")  # a role that is not the assistant's


class Vocabulary:
    def __init__(self):
        lines = VOCABULARY.read_bytes().split(b"\n")
        self.bytes = [base64.b64decode(line.split(b" ")[0]) for line in lines if line]
        self.ids = {text: i for i, text in enumerate(self.bytes)}

    def encode(self, text):
        """Ids of a text with control tokens, each piece as long as can be; not the tokenizer's own choice, but it says the same."""
        out = []
        for piece in re.split(r"(<\|[a-z]+\|>)", text):
            named = [i for i, name in SPECIAL.items() if name == piece]
            data = b"" if named else piece.encode("utf-8", "surrogateescape")
            out += named
            while data:
                size = next(n for n in range(min(len(data), 32), 0, -1) if data[:n] in self.ids)
                out.append(self.ids[data[:size]])
                data = data[size:]
        return out

    def text(self, ids):
        """What they are inside a body."""
        return b"".join(self.token(i) for i in ids).decode("utf-8", "replace")

    def token(self, i):
        if i < len(self.bytes):
            return self.bytes[i]
        if i in SPECIAL:
            return SPECIAL[i].encode()
        return f"<|reserved_{i}|>".encode() if i < SIZE else b""


def split(ids):
    """[(header ids, body ids or None)]: None where no <|message|> came. Cut at the end of generation; `header` keeps a <|start|> at its head."""
    out, header, body = [], [], None
    for i in ids:
        if i in STOPS:
            out.append((header, body))
            header, body = [], None
            if i in TERMINAL:
                return out, True
        elif body is not None:
            body.append(i)
        elif i == MESSAGE:
            body = []
        elif i == START:
            out.append((header, None))
            header = [START]
        else:
            header.append(i)
    out.append((header, body))
    return out, False


class Lost(AssertionError):
    pass


class Judge:
    """Holds shown texts against forced tokens, and counts."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.counts = dict.fromkeys(("strings", "tokens", "bodies", "bodies_judged_by_words", "body_words", "stray_words_shown", "header_words", "channel_names",
                                     "other_roles", "cut_headers"), 0)

    def check(self, ids, shown):
        """`shown`: texts of reasoning, answers and arguments in the order in which they came."""
        parts, over = split(ids)
        everything = "\x00".join(shown)
        place = 0
        self.counts["strings"] += 1
        self.counts["tokens"] += len(ids)
        for number, (header, body) in enumerate(parts):
            said = self.vocabulary.text(header)
            if body is None:
                self.stray(said, number == len(parts) - 1 and not over, everything)
                continue
            for word in words(said):
                self.counts["header_words"] += 1
            place = self.body(self.vocabulary.text(body), shown, place, len(said.encode()) <= LONG, everything)

    def body(self, text, shown, place, exact, everything):
        self.counts["bodies"] += 1
        for word in words(text):
            self.counts["body_words"] += 1
            if everything.count(word) != 1:
                raise Lost(f"{word!r} of a body is shown {everything.count(word)} times")
        if not text:
            return place
        if not exact:
            self.counts["bodies_judged_by_words"] += 1
            return place
        if text not in shown[place:]:
            raise Lost(f"the body {text!r} is not among {shown[place:]!r}")
        return shown.index(text, place) + 1

    def stray(self, text, cut, everything):
        text = text.replace("\x00", " ")  # as a header has it
        other = OTHERS.match(text)
        for word in words(text):
            n = everything.count(word)
            if n == 1:
                self.counts["stray_words_shown"] += 1
            elif n > 1:
                raise Lost(f"{word!r} is shown {n} times")
            elif re.search(r"<\|channel\|>\S*%s" % word, text):
                self.counts["channel_names"] += 1
            elif other:
                self.counts["other_roles"] += 1
            elif cut and may_become_header(text):
                self.counts["cut_headers"] += 1
            else:
                raise Lost(f"{word!r} of the stray text {text!r} is shown nowhere")


def may_become_header(text):
    """A marker or an address in it, a header's word at its head, or no second word yet."""
    text = text.removeprefix("<|start|>").strip()
    return (re.search(r"<\|(channel|constrain)\|>|to=", text) or len(text.split()) < 2
            or re.match("assistant|system|developer|user|tool|analysis|commentary|final|json|code|text|to=|:", text))


def words(text):
    """The words that a script holds once each: they can be told apart wherever they come out."""
    return re.findall(r"w\d\d\d", text)
