"""One question with its thinking and its answer."""
import dataclasses


@dataclasses.dataclass
class Turn:
    category: str
    key: str            # what makes the question; decides whether it is held out
    user: str
    think: tuple        # at low, medium and high effort
    reply: str = None
    must: tuple = ()    # what a right answer contains, whatever its words
    call: tuple = None  # (function, arguments) instead of a reply
    before: tuple = ()  # messages that the question refers to
    instructions: str = None
    tools: tuple = ()
    date: str = None    # of the conversation


EFFORTS = ("low", "medium", "high")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}
