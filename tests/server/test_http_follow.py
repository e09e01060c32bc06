"""GET /v1/responses/{id}?stream=true: a stream that is taken up again is the stream that was, whoever reads it, from wherever, however slowly."""
import json
import threading
import time

import pytest

from fake import PATIENCE, RETURN, parse_named_events
from response_order import check_order

RESPONSES = "/v1/responses"
ASK = {"input": "hi", "background": True, "stream": True}
TOOLS = [{"type": "function", "name": "get_weather", "description": "d", "parameters": {"type": "object"}, "strict": False}]


def raw(method, path, body=""):
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class Stream:
    """A reply in chunks, read as it comes."""

    def __init__(self, server, request):
        self.socket = server.connect()
        self.socket.sendall(request)
        self.received = bytearray()

    def read(self):
        piece = self.socket.recv(65536)
        assert piece, "the connection ended"
        self.received += piece

    def body(self):
        """What the chunks that are there hold, and whether the last one is."""
        out, at = bytearray(), self.received.find(b"\r\n\r\n") + 4
        while at >= 4 and (end := self.received.find(b"\r\n", at)) > 0:
            size = int(self.received[at:end], 16)
            if not size:
                return bytes(out), True
            at = end + 2 + size + 2
            if len(self.received) < at:
                break
            out += self.received[end + 2:end + 2 + size]
        return bytes(out), False

    def until(self, text):
        while text not in self.body()[0]:
            self.read()
        return self.body()[0]

    def whole(self):
        while not self.received.endswith(b"\r\n0\r\n\r\n"):
            self.read()
        out, done = self.body()
        assert done
        return out

    def close(self):
        self.socket.close()


def begin(server, **more):
    return Stream(server, raw("POST", RESPONSES, json.dumps(dict(ASK, **more))))


def long_answer(server):
    """Its stream is 6 MB and more."""
    return [*server.answer("word")[:-1], *server.ids(" word") * 30000, RETURN]


def identity_of(stream):
    text = stream.until(b"\n\n")
    return json.loads(text[text.index(b"data: ") + 6:].split(b"\n")[0])["response"]["id"]


def follow(server, identity, after=None):
    return Stream(server, raw("GET", f"{RESPONSES}/{identity}?stream=true" + (f"&starting_after={after}" if after is not None else "")))


def get(server, identity, query, status=200):
    found, headers, data = server.request("GET", f"{RESPONSES}/{identity}{query}")
    assert found == status, data
    return headers, data


def refused(server, identity, query, param):
    error = json.loads(get(server, identity, query, 400)[1])["error"]
    assert error["param"] == param, error
    return error["message"]


# ---- what is replayed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["answer", "call", "logprobs", "cut"])
def test_every_place_to_take_it_up(server, what):
    more = {"answer": {}, "call": {"tools": TOOLS}, "logprobs": {"include": ["message.output_text.logprobs"], "top_logprobs": 2}, "cut": {"max_output_tokens": 9}}[what]
    server.say(server.call("get_weather", '{"city": "Zürich"}', reasoning="look") if what == "call" else server.answer('Hello, "wörld" 👋\n', reasoning="Be nice."))
    first = begin(server, **more)
    whole, identity = first.whole(), identity_of(first)
    first.close()
    events = parse_named_events(whole)
    assert check_order(events)["id"] == identity and len(events) > 10
    headers, data = get(server, identity, "?stream=true")
    assert data == whole and headers["Content-Type"] == "text/event-stream; charset=utf-8" and headers["Cache-Control"] == "no-cache"
    blocks = [block + b"\n\n" for block in whole.split(b"\n\n")[:-1]]
    for n in range(len(blocks) - 1):
        assert get(server, identity, f"?stream=true&starting_after={n}")[1] == b"".join(blocks[n + 1:])
    for n in (len(blocks) - 1, len(blocks) + 5, 2**63 - 2):
        assert follow(server, identity, n).whole() == b"", "all of it was seen"
    assert json.loads(get(server, identity, "?stream=false&starting_after=3")[1]) == events[-1]["response"]


def test_a_client_that_went_comes_back(server):
    server.say(server.answer(" ".join(str(n) for n in range(100)), reasoning="r"), hold=20)
    stream = begin(server)
    identity = identity_of(stream)
    stream.until(b"output_text.delta")
    stream.close()
    seen = parse_named_events(stream.body()[0])
    for more in (30, 40, 50):
        server.hold(more)
        stream = follow(server, identity, seen[-1]["sequence_number"])
        stream.until(b"\n\n")
        stream.close()
        seen += parse_named_events(stream.body()[0])
        assert json.loads(get(server, identity, "")[1])["status"] == "in_progress", "it goes on meanwhile"
    later = 100  # far behind what the 50 tokens have made
    future = follow(server, identity, later)
    server.hold()
    seen += parse_named_events(follow(server, identity, seen[-1]["sequence_number"]).whole())
    assert check_order(seen)["status"] == "completed"
    assert len(seen) > later + 20 and parse_named_events(future.whole()) == seen[later + 1:], "what had not come yet was waited for"


def test_many_read_at_once(server):
    server.say(server.answer("word " * 200), interval_ms=2)
    stream = begin(server)
    identity = identity_of(stream)
    others = []
    for _ in range(20):
        others.append(follow(server, identity))
        time.sleep(0.002)
    for gone in others[::5]:
        gone.close()
    whole = stream.whole()
    assert all(other.whole() == whole for i, other in enumerate(others) if i % 5)
    assert len(parse_named_events(whole)) > 200


def test_head(server):
    server.say(server.answer("one"))
    stream = begin(server)
    stream.whole()
    with server.connect() as connection:  # a body would stand where the second head is looked for
        connection.sendall(raw("HEAD", f"{RESPONSES}/{identity_of(stream)}?stream=true") + raw("HEAD", "/health"))
        received = b""
        while received.count(b"\r\n\r\n") < 2:
            received += connection.recv(4096)
    assert b"text/event-stream" in received and received.split(b"\r\n\r\n")[1].startswith(b"HTTP/1.1 200")


# ---- how it ends -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["cancel", "delete", "failure"])
def test_an_early_end_reaches_all(own_server, how):
    server = own_server()
    server.say(server.answer("one two three four") + server.ids("x") * 1000, hold=20)
    stream = begin(server, ignore_eos=True)
    identity = identity_of(stream)
    other = follow(server, identity, 1)
    other.until(b"output_text.delta")
    if how == "failure":
        server.order(set={"draining": True})
    else:
        assert server.request(*{"cancel": ("POST", f"{RESPONSES}/{identity}/cancel"), "delete": ("DELETE", f"{RESPONSES}/{identity}")}[how])[0] == 200
    events = parse_named_events(stream.whole())
    assert events[-1]["response"]["status"] == ("failed" if how == "failure" else "cancelled")
    assert parse_named_events(other.whole()) == events[2:]
    if how == "delete":
        get(server, identity, "?stream=true", 404)
    else:
        assert parse_named_events(get(server, identity, "?stream=true")[1]) == events


def test_closing_leaves_slow_readers(own_server):
    """After the engine has ended all; who reads gets the end, who does not is not waited for."""
    server = own_server("max_model_len=100000")
    server.say(long_answer(server), interval_ms=0.05)
    stream = begin(server)
    identity = identity_of(stream)
    follow(server, identity).until(b"output_text.delta")
    for _ in range(3):
        follow(server, identity)
    stream.whole()
    server.close(seconds=0.2)
    assert server.process.wait(PATIENCE) == 0


# ---- what is refused -------------------------------------------------------------------------------------------------


def test_refusals(server):
    server.say(server.answer("x"))
    for made in ({}, {"stream": False}, {"background": True}):
        body = server.post(RESPONSES, dict({"input": "hi"}, **made))
        assert "made with background: true and stream: true" in refused(server, body["id"], "?stream=true", "stream")
    stream = begin(server)
    stream.whole()
    identity = identity_of(stream)
    for value in ("1", "yes", "", "True"):
        refused(server, identity, f"?stream={value}", "stream")
    for value in ("", "x", "-1", "+1", "1.5", "1x", "9223372036854775807", "9" * 30):
        refused(server, identity, f"?stream=true&starting_after={value}".replace("+", "%2B"), "starting_after")
    get(server, "resp_nobody", "?stream=true", 404)


# ---- memory ----------------------------------------------------------------------------------------------------------


def resident(server, what):
    """Bytes of the server's memory: "VmRSS" now, "VmHWM" at most so far."""
    text = open(f"/proc/{server.process.pid}/status").read()
    return int(text.split(what + ":")[1].split()[0]) << 10


def test_who_reads_slowly_is_waited_for_and_costs_little(own_server):
    """The stream is far larger than what any connection may have unsent; ten readers, who read only how it begins until it is over."""
    server = own_server("max_model_len=100000")
    server.say(long_answer(server), hold=20)
    before = resident(server, "VmRSS")
    stream = begin(server)
    identity = identity_of(stream)
    stream.close()
    slow = [follow(server, identity) for _ in range(10)]
    for one in slow:
        one.until(b"output_text.delta")
    server.hold()
    server.wait_idle(1)
    grown = resident(server, "VmHWM") - before
    whole = follow(server, identity).whole()
    assert len(whole) > 6e6 and check_order(parse_named_events(whole))["status"] == "completed"
    threads = [threading.Thread(target=one.whole) for one in slow[:2]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(one.body() == (whole, True) for one in slow[:2])
    # What is kept of the stream, the response in its last event, the scratch that this was written to, and what the allocator has over, which varies:
    # the stream's size in all, where a copy for each reader would be ten times it. 256 KiB that may wait for each reader, which doubling makes 512, and that up
    # to three times: where they are written, what is half sent, and what was added behind it; how often all three are there, the machine decides.
    if "libasan" not in open(f"/proc/{server.process.pid}/maps").read():  # which keeps what was freed
        assert grown < len(whole) + 10 * 3 * (512 << 10), grown


def test_events_make_room(own_server):
    """One response's events fill the store: they go, and it goes on. Who was reading them sees the stream break off."""
    server = own_server("max_responses=200000", "max_model_len=100000")
    server.say(server.answer("x"))
    old = server.post(RESPONSES, {"input": "old"})
    server.say([*server.answer("word")[:-1], *server.ids(" word") * 9000, RETURN], interval_ms=0.1, hold=20)
    stream = begin(server)
    identity = identity_of(stream)
    other = follow(server, identity)
    other.until(b"output_text.delta")
    server.hold()
    events = parse_named_events(stream.whole())
    assert check_order(events)["status"] == "completed", "its own client noticed nothing"
    with pytest.raises((AssertionError, ConnectionResetError), match="the connection ended|reset"):
        other.whole()
    get(server, old["id"], "", 404)
    short = begin(server, max_output_tokens=20)
    whole, identity = short.whole(), identity_of(short)
    assert get(server, identity, "?stream=true")[1] == whole, "there is room again"


def test_a_lost_stream_is_told(own_server):
    server = own_server("max_responses=20000", "max_model_len=100000")
    server.say(long_answer(server), hold=1600)
    stream = begin(server)
    identity = identity_of(stream)
    stream.until(b'"sequence_number":1500,')
    assert "for want of memory" in refused(server, identity, "?stream=true", "stream")
    assert json.loads(get(server, identity, "")[1])["status"] == "in_progress"
    server.request("POST", f"{RESPONSES}/{identity}/cancel")
    assert server.wait_idle()[0]["cancelled"]
