"""Requests of many megabytes: nobody else waits for them, and they may go, fail or be cut off like any other."""
import json
import select
import socket
import struct

import pytest
from fake import PATIENCE, RETURN

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TEXT = "The quick brown fox jumps over the lazy dog. Zażółć gęślą jaźń 12345; "


def text_of(size):
    return (TEXT * (size // len(TEXT) + 1))[:size]


def body_of(path, text):
    what = {"messages": [{"role": "user", "content": text}]} if path == CHAT else {"prompt": text}
    return json.dumps(what, ensure_ascii=False).encode()


def head_of(path, size, more=""):
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n{more}\r\n".encode()


def send_until_busy(server, path, size, clients, waiting):
    """Connections of clients that sent so much, when the server says that it is at work on `waiting` or more requests. It begins anew where too many were
    answered before, because the machine held this process up."""
    body = body_of(path, text_of(size))
    for _ in range(10):
        others = server.load()
        made = [server.connect() for _ in range(clients)]
        for s in made:
            s.sendall(head_of(path, len(body)) + body)
        while others + clients - len(select.select(made, [], [], 0)[0]) >= waiting:
            if server.load() >= waiting:
                return made
        for s in made:
            s.close()
        server.wait_load(others)
    pytest.fail("each time the server was done before it was asked")


@pytest.mark.parametrize("path, code", [(CHAT, 400), (COMPLETIONS, 400), ("/tokenize", 200)])
def test_others_are_served_meanwhile(server, path, code):
    answers = []
    body = body_of(path, text_of(10_000_000))
    server.check_serves_during(lambda: answers.append(server.request("POST", path, body, timeout=120)))
    assert {answer[0] for answer in answers} == {code}, answers[0][2][:300]


def test_a_stream_goes_on_meanwhile(server):
    server.say(server.ids(" w") * 10, interval_ms=10, repeat=True)
    with server.connect() as s:
        stream = json.dumps({"prompt": "x", "max_tokens": 4000, "stream": True}).encode()
        s.sendall(head_of(COMPLETIONS, len(stream)) + stream)
        s.recv(65536)
        read = 0  # pieces, each of which is what came since the last one; one may have been there before
        for _ in range(5):  # this process may be held up all the while
            large, = send_until_busy(server, "/tokenize", 10_000_000, 1, waiting=2)
            with large:
                while server.load() == 2:
                    assert s.recv(65536).count(b"data: ")
                    read += 1
            if read >= 5:
                break
        assert read >= 5


def test_large_is_as_small(own_server):
    server = own_server("max_model_len=200000")
    text = text_of(150_000)
    tokens = server.post("/tokenize", {"prompt": text})["tokens"]
    assert server.post("/detokenize", {"tokens": tokens})["prompt"] == text
    server.say(server.answer("yes"))
    status, headers, data = server.request("POST", CHAT, body_of(CHAT, text), {"X-Request-Id": "mine"})
    answer = json.loads(data)
    assert status == 200 and headers["X-Request-Id"] == "mine" and answer["id"] == "chatcmpl-mine"
    assert answer["choices"][0]["message"]["content"] == "yes" and answer["usage"]["prompt_tokens"] > len(tokens)
    assert "".join(e["choices"][0]["delta"].get("content") or "" for e in server.events(CHAT, json.loads(body_of(CHAT, text)))) == "yes"
    server.say([RETURN])
    server.post(COMPLETIONS, {"prompt": tokens})
    assert server.report()["submitted"][0]["prompt"] == tokens


def test_large_refusals(own_server, tmp_path):
    (tmp_path / "keys").write_text("k\n")
    server = own_server(f"keys={tmp_path / 'keys'}")
    key = {"Authorization": "Bearer k"}
    text = text_of(100_000)
    assert server.request("POST", CHAT, body_of(CHAT, text))[0] == 401
    for body, code, says in ((b'{"messages": "' + text.encode(), 400, b"not valid JSON"), (body_of(CHAT, text), 400, b"4096"),
                             (json.dumps({"messages": [{"role": "user", "content": text}], "n": 0}).encode(), 400, b'"param":"n"'),
                             (json.dumps({"messages": [{"role": "user", "content": text}], "model": "no"}).encode(), 404, b"`no`")):
        status, _, data = server.request("POST", CHAT, body, key)
        assert status == code and says in data, data[:300]


def test_pipelined_answers_keep_their_order(server):
    body = body_of("/tokenize", text_of(1_000_000))
    with server.connect() as s:
        s.sendall(head_of("/tokenize", len(body)) + body + b"GET /version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := s.recv(1 << 20):
            data += piece
    assert data.count(b"HTTP/1.1 200") == 2 and data.index(b'"tokens"') < data.index(b'"version"')


@pytest.mark.parametrize("reset", [False, True])
def test_hang_ups_meanwhile(own_server, reset):
    """Those that wait for their turn are dropped, the one that has it is not begun."""
    server = own_server("max_model_len=2000000")
    server.say([RETURN])
    before = server.cpu_seconds()
    server.post(COMPLETIONS, {"prompt": text_of(3_000_000)})
    alone = server.cpu_seconds() - before
    server.order(forget=True)
    for _ in range(3):  # the one that has it may be done just before they go
        clients = send_until_busy(server, COMPLETIONS, 3_000_000, 8, waiting=5)
        begun, before = len(server.report()["submitted"]), server.cpu_seconds()
        for s in clients:
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        server.wait_load(0)
        used = server.cpu_seconds() - before
        assert used < 2 * alone, f"{used} s of work for five or more that nobody waits for, one takes {alone} s"
        if len(server.report()["submitted"]) == begun:
            break
    else:
        pytest.fail("one was begun each time")
    server.post(COMPLETIONS, {"prompt": "x"})


def test_closing_answers_what_is_being_prepared(own_server):
    server = own_server()
    s, = send_until_busy(server, "/tokenize", 4_000_000, 1, waiting=1)
    with s:
        server.close(60)
        data = b""
        while piece := s.recv(1 << 20):
            data += piece
        assert data.startswith(b"HTTP/1.1 200") and data.endswith(b"null}")
        assert server.process.wait(PATIENCE) == 0


def test_closing_drops_what_is_being_prepared(own_server):
    server = own_server()
    clients = send_until_busy(server, COMPLETIONS, 10_000_000, 2, waiting=1)
    server.close(0)
    assert server.process.wait(PATIENCE) == 0
    for s in clients:
        s.close()
