"""The program fake_server (the real server over the fake engine), and a client for it.

Environment: GPTOSS_BUILD_DIR, the build folder (default: build/release beside tests/).
"""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import time

from described import Description
from response_order import check_order

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GPTOSS_BUILD_DIR", ROOT / "build" / "release"))
DESCRIPTION = Description(json.loads((ROOT / "runtime" / "server" / "openapi.json").read_text()))
VOCABULARY = ROOT / "runtime" / "text" / "data" / "o200k_base.tiktoken"

# o200k_harmony
RETURN, CONSTRAIN, CHANNEL, START, END, MESSAGE, CALL = 200002, 200003, 200005, 200006, 200007, 200008, 200012


class FakeServer:
    def __init__(self, *flags):
        self.process = subprocess.Popen([BUILD / "tests" / "server" / "fake_server", VOCABULARY, *flags], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.port = json.loads(self.process.stdout.readline())["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.words = {}

    def order(self, **what):
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def say(self, *scripts, interval_ms=0, repeat=False):
        """The ids that the next sequences generate; forgets what was submitted before."""
        self.order(set={"scripts": scripts, "interval_ms": interval_ms, "repeat": repeat}, forget=True)

    def report(self):
        return self.order(report=True)

    def wait_idle(self, seconds=2.0):
        """The records once nothing runs; fails when something runs on."""
        end = time.monotonic() + seconds
        while True:
            report = self.report()
            if report["running"] == 0:
                return report["submitted"]
            assert time.monotonic() < end, f"{report['running']} sequences still run"
            time.sleep(0.005)

    def wait_submitted(self, seconds=5.0):
        """Until the engine has had a request: before that, nothing runs either."""
        end = time.monotonic() + seconds
        while not self.report()["submitted"]:
            assert time.monotonic() < end, "no request reached the engine"
            time.sleep(0.005)

    def request(self, method, path, body=None, headers=None, timeout=10):
        """(status, headers, bytes) of one request on its own connection; the answer must be one that /openapi.json describes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body = json.dumps(body)
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            data = response.read()
            if len(data) < 1 << 16:  # the validator takes seconds for megabytes
                DESCRIPTION.check(method, path, response.status, response.headers["Content-Type"], data)
            return response.status, response.headers, data
        finally:
            connection.close()

    def post(self, path, body, headers=None):
        """The parsed answer, which must be 200."""
        status, _, data = self.request("POST", path, body, headers)
        assert status == 200, data
        return json.loads(data)

    def refused(self, path, body, status=400):
        """The error object of an answer with that status."""
        found, headers, data = self.request("POST", path, body)
        assert found == status, data
        assert headers["Content-Type"] == "application/json"
        error = json.loads(data)["error"]
        assert error["code"] == status and error["message"]
        return error

    def events(self, path, body):
        """The parsed events of a stream, which must end with [DONE]."""
        status, headers, data = self.request("POST", path, dict(body, stream=True))
        assert status == 200, data
        assert headers["Content-Type"].startswith("text/event-stream")
        return parse_events(data)

    def response_events(self, body):
        """The checked events of a streamed response."""
        status, headers, data = self.request("POST", "/v1/responses", dict(body, stream=True))
        assert status == 200, data
        assert headers["Content-Type"].startswith("text/event-stream")
        events = parse_named_events(data)
        check_order(events)
        return events

    def prompt_text(self):
        """What the last call submitted, as text with control tokens."""
        return self.post("/detokenize", {"tokens": self.report()["submitted"][-1]["prompt"]})["prompt"]

    def ids(self, text):
        if text not in self.words:
            self.words[text] = self.post("/tokenize", {"prompt": text})["tokens"]
        return self.words[text]

    def connect(self, timeout=10):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=10):
        """Sends bytes and returns all that comes back until the server closes."""
        with self.connect(timeout) as s:
            s.sendall(data)
            received = b""
            while True:
                try:
                    piece = s.recv(65536)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    def answer(self, content, reasoning=None, end=RETURN):
        """Ids of a harmony answer after <|start|>assistant."""
        out = []
        if reasoning is not None:
            out += [CHANNEL, *self.ids("analysis"), MESSAGE, *self.ids(reasoning), END, START, *self.ids("assistant")]
        return out + [CHANNEL, *self.ids("final"), MESSAGE, *self.ids(content), end]

    def call(self, name, arguments, reasoning=None):
        out = []
        if reasoning is not None:
            out += [CHANNEL, *self.ids("analysis"), MESSAGE, *self.ids(reasoning), END, START, *self.ids("assistant")]
        return out + [CHANNEL, *self.ids(f"commentary to=functions.{name} "), CONSTRAIN, *self.ids("json"), MESSAGE, *self.ids(arguments), CALL]

    def close(self, seconds=0):
        self.process.stdin.write(json.dumps({"close": seconds}) + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends it and checks that it ended well: under the sanitizers a leak shows here."""
        if self.process.poll() is None:
            self.process.stdin.close()
        assert self.process.wait(timeout=20) == 0


def parse_named_events(data):
    """The events of a streamed response: each has a name, which is its type, and there is no [DONE]."""
    out = []
    for block in data.decode().split("\n\n")[:-1]:
        name, line = block.split("\n")
        event = json.loads(line.removeprefix("data: "))
        assert name == f"event: {event['type']}" and line.startswith("data: "), block
        out.append(event)
    assert data.endswith(b"\n\n")
    return out


def parse_events(data):
    lines = [line for line in data.decode().split("\n") if line]
    assert all(line.startswith("data: ") for line in lines), lines
    assert lines[-1] == "data: [DONE]"
    return [json.loads(line[6:]) for line in lines[:-1]]
