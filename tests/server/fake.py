"""The program fake_server (the real server over the fake engine), and a client for it.

Environment: GPTOSS_BUILD_DIR, the build folder (default: build/release beside tests/).
"""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import threading
import time

from described import Description
from response_order import check_order

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GPTOSS_BUILD_DIR", ROOT / "build" / "release"))
DESCRIPTION = Description(json.loads((ROOT / "runtime" / "server" / "openapi.json").read_text()))
VOCABULARY = ROOT / "runtime" / "text" / "data" / "o200k_base.tiktoken"

PATIENCE = 30  # seconds that anything may take which happens at once on an idle machine

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

    def say(self, *scripts, interval_ms=0, repeat=False, hold=None):
        """The ids that the next sequences generate; forgets what was submitted before. hold: after so many tokens each waits, until hold() is called."""
        self.order(set={"scripts": scripts, "interval_ms": interval_ms, "repeat": repeat, "hold": hold}, forget=True)

    def hold(self, tokens=None):
        """Lets what runs come to so many tokens; None: to its end."""
        self.order(set={"hold": tokens})

    def report(self):
        return self.order(report=True)

    def wait_report(self, wanted, what, seconds=PATIENCE):
        """The report once it is as wanted."""
        end = time.monotonic() + seconds
        while not wanted(report := self.report()):
            assert time.monotonic() < end, f"{what}: {report}"
            time.sleep(0.005)
        return report

    def wait_idle(self, submitted=0):
        """The records once so many sequences were begun and nothing runs; fails when something runs on."""
        return self.wait_report(lambda r: not r["running"] and len(r["submitted"]) >= submitted, "sequences still run, or never began")["submitted"]

    def wait_submitted(self, n=1):
        """Until the engine has had so many sequences: before that, nothing runs either."""
        self.wait_report(lambda r: len(r["submitted"]) >= n, "no request reached the engine")

    def wait_generated(self, tokens):
        """Until every sequence has had so many tokens."""
        self.wait_report(lambda r: r["submitted"] and all(s.get("generated", 0) >= tokens for s in r["submitted"]), "not so many tokens came")

    def load(self):
        return json.loads(self.request("GET", "/load")[2])["server_load"]

    def wait_load(self, wanted, seconds=PATIENCE):
        end = time.monotonic() + seconds
        while (found := self.load()) != wanted:
            assert time.monotonic() < end, f"/load is {found}, not {wanted}"
            time.sleep(0.002)

    def cpu_seconds(self):
        """Of all its threads so far. What it has done is seen by that, however little of the machine it gets."""
        fields = open(f"/proc/{self.process.pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def health_seconds(self):
        """How long an answer takes that has nothing to wait for."""
        began = time.monotonic()
        assert self.request("GET", "/health")[0] == 200
        return time.monotonic() - began

    def check_serves_during(self, work, enough=8, rounds=5):
        """work(): a request that gives the server much to do. Others are answered meanwhile about as fast as when there is nothing to do.

        It is asked again while this process has not caught the server at it `enough` times, because the machine was busy. A server that does such work between
        answers is caught at most once a request. The median, because single answers may wait for the machine.
        """
        idle = sorted(self.health_seconds() for _ in range(21))[10]
        waits = []
        for _ in range(rounds):
            worker = threading.Thread(target=work)
            worker.start()
            while worker.is_alive():
                if self.load():
                    waits.append(self.health_seconds())
            worker.join()
            if len(waits) >= enough:
                break
        assert len(waits) >= enough and sorted(waits)[len(waits) // 2] < 0.02 + 4 * idle, (idle, waits[:20])

    def request(self, method, path, body=None, headers=None, timeout=PATIENCE):
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

    def connect(self, timeout=PATIENCE):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=PATIENCE):
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
        assert self.process.wait(PATIENCE) == 0


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
