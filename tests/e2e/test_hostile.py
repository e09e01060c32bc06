"""What hostile and careless clients and operators do to the real program: it answers, refuses or leaves, and loses nothing."""
import concurrent.futures
import json
import os
import random
import re
import shutil
import signal
import socket
import struct
import time

import pytest
import requests
from conftest import ROOT, Server, run, wait_until

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
PART_OF_A_CHARACTER = 144  # of the tiny vocabulary: a byte that is no character by itself


@pytest.fixture(scope="module")
def small(tiny_model):
    """Two ranks, few places, a short queue."""
    server = Server(2, tiny_model, "--max-model-len", "512", "--set", "engine.max_sequences=4", "--set", "server.max_queue=20")
    yield server
    assert server.stop() == 0, server.text()
    assert "Sanitizer" not in server.text() and "runtime error" not in server.text()


def post(server, path, body):
    return requests.post(server.url + path, data=body if isinstance(body, bytes) else json.dumps(body), timeout=60)


def complete(server, **more):
    answer = post(server, COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 8, "temperature": 0, "ignore_eos": True, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events(server, path, body):
    """The parsed events of a stream, which must end with [DONE], once."""
    with requests.post(server.url + path, json={**body, "stream": True}, stream=True, timeout=60) as answer:
        assert answer.status_code == 200, answer.text
        lines = [line for line in answer.iter_lines() if line]
    assert all(line.startswith(b"data: ") for line in lines)
    assert lines[-1] == b"data: [DONE]" and lines.count(b"data: [DONE]") == 1
    return [json.loads(line[6:]) for line in lines[:-1]]


def connect(server):
    host, port = re.match(r"http://(.*):(\d+)", server.url).groups()
    return socket.create_connection((host, int(port)), timeout=20)


def raw(server, data):
    """What comes back until the server closes."""
    with connect(server) as s:
        s.sendall(data)
        received = b""
        while piece := s.recv(65536):
            received += piece
        return received


def request_bytes(body, path=COMPLETIONS):
    data = json.dumps(body).encode()
    return b"POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (path.encode(), len(data)) + data


def figures(server):
    text = requests.get(server.url + "/metrics", timeout=20).text
    names = ("vllm:num_requests_running", "vllm:num_requests_waiting", "vllm:kv_cache_usage_perc")
    return [float(re.search(rf"^{name}{{[^}}]*}} (\S+)$", text, re.M).group(1)) for name in names]


def is_idle(server):
    return figures(server) == [0, 0, 0]


def lead(server):
    """The rank that listens."""
    return max(server.rank_pids(), key=lambda pid: len(os.listdir(f"/proc/{pid}/fd")))


# ---- values at the edges ----

def abs_of(value):
    return abs(value) if isinstance(value, int) else 0  # beyond 64 bits it is no JSON integer, and the error names no field


@pytest.mark.parametrize("field, value, code", [
    ("temperature", 1e-9, 200), ("temperature", 1e-40, 200), ("temperature", 2, 200), ("temperature", -1, 400), ("temperature", 1e30, 400),
    ("top_p", 0, 400), ("top_p", 1e-20, 200), ("top_p", 1e-35, 400), ("top_k", 2**31 - 1, 200), ("top_k", 2**31, 400), ("top_k", -2, 400),
    ("presence_penalty", -2, 200), ("frequency_penalty", 2, 200), ("frequency_penalty", 2.1, 400), ("repetition_penalty", 1000, 200),
    ("seed", -2**63, 200), ("seed", 2**63 - 1, 200), ("seed", 2**63, 400), ("n", 0, 400), ("n", 3, 200), ("min_tokens", 2**31, 400),
    ("min_tokens", 2, 200), ("min_tokens", 3, 400), ("logprobs", -1, 400), ("top_p", 1.2e-38, 400), ("top_p", 9e-31, 400), ("top_p", 1e-30, 200),
    ("prompt", [2**32 - 1], 400), ("stop_token_ids", [4117], 400), ("repetition_penalty", 0.001, 200),
    ("max_tokens", 0, 200), ("max_tokens", 1, 200), ("max_tokens", -1, 400), ("max_tokens", 10**30, 400), ("logprobs", 20, 200), ("logprobs", 21, 400),
    ("logit_bias", {"5": 1e9}, 200), ("logit_bias", {"5": -1e9}, 200), ("logit_bias", {"4117": 1}, 400), ("logit_bias", {"-1": 1}, 400),
    ("logit_bias", {"x": 1}, 400), ("logit_bias", {str(i): 1 for i in range(1025)}, 400), ("stop", "", 400), ("stop", ["a"] * 65, 400),
    ("prompt", [1] * 512, 400), ("prompt", [1] * 511, 200), ("prompt", [4117], 400), ("prompt", "\0", 200), ("model", "no", 404),
])
def test_one_field_at_its_edge(small, field, value, code):
    answer = post(small, COMPLETIONS, {"prompt": [1, 2, 3], "max_tokens": 2, "ignore_eos": True, field: value})
    assert answer.status_code == code, answer.text
    if code != 200:
        error = answer.json()["error"]
        assert error["message"] and (error["param"] == field or code == 404 or abs_of(value) >= 2**63)


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"0x10", b"01"])
def test_numbers_that_json_does_not_know(small, number):
    assert post(small, COMPLETIONS, b'{"prompt": "x", "temperature": %s}' % number).status_code == 400
    assert post(small, COMPLETIONS, b'{"prompt": "x", "logit_bias": {"1": %s}}' % number).status_code == 400


def test_a_prompt_that_fills_the_model_is_scored(small):
    body = complete(small, prompt=[7] * 512, max_tokens=0, echo=True, logprobs=1)
    assert len(body["choices"][0]["logprobs"]["tokens"]) == 512 and body["usage"]["completion_tokens"] == 0
    last = complete(small, prompt=[7] * 511, max_tokens=100)
    assert last["usage"]["completion_tokens"] == 1 and last["choices"][0]["finish_reason"] == "length"


# ---- answers ----

def random_request(rng):
    request = {
        "prompt": [rng.randrange(4096) for _ in range(rng.choice([1, 2, 17, 60]))], "max_tokens": rng.choice([0, 1, 2, 8, 20]),
        "temperature": rng.choice([0, 0.7, 1.5]), "seed": rng.choice([0, -1, 5, -2**63]), "n": rng.choice([1, 1, 2]),
        "ignore_eos": rng.random() < 0.5, "echo": rng.random() < 0.4, "min_tokens": rng.choice([0, 0, 3]),
        "include_stop_str_in_output": rng.random() < 0.3,
    }
    request["min_tokens"] = min(request["min_tokens"], request["max_tokens"])
    if rng.random() < 0.6:
        request["logprobs"] = rng.choice([0, 1, 20])
    if rng.random() < 0.6:
        request["stop"] = rng.sample(["e", " t", "a", "the", "s ", "\ufffd", "er", "i", "  "], 2)
    if rng.random() < 0.4:
        request["logit_bias"] = {str(rng.choice([PART_OF_A_CHARACTER, 4098, 4100, 4110])): 8}
    return request


def assert_choice_holds(request, choice):
    stopped = isinstance(choice["stop_reason"], str)
    assert choice["finish_reason"] in ("stop", "length")
    assert choice["stop_reason"] is None or choice["finish_reason"] == "stop"
    if stopped and request["include_stop_str_in_output"]:
        assert choice["text"].endswith(choice["stop_reason"])
    if request["echo"] or request["min_tokens"]:
        return
    shown = choice["text"][:-1] if stopped and request["include_stop_str_in_output"] else choice["text"]
    assert not any(stop in shown for stop in request.get("stop", [])), (request, choice)


def assert_logprobs_hold(request, choice):
    lists = choice["logprobs"]
    assert len({len(entries) for entries in lists.values()}) == 1
    first_scored = 1 if request["echo"] else 0
    assert all(-9999 <= value <= 0 for value in lists["token_logprobs"][first_scored:])
    for token, offset in zip(lists["tokens"], lists["text_offset"]):
        whole = "\ufffd" not in token and not token.startswith("<|")
        at = choice["text"][offset:offset + len(token)]
        # a token behind half a character comes out with its replacement
        assert not whole or len(at) < len(token) or at == token or at.startswith("\ufffd"), (token, at)


@pytest.mark.parametrize("seed", range(12))
def test_a_stream_says_what_the_whole_answer_says(small, seed):
    request = random_request(random.Random(seed))
    whole = post(small, COMPLETIONS, request).json()
    parts = events(small, COMPLETIONS, {**request, "stream_options": {"include_usage": True}})
    assert parts[-1]["choices"] == []
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert parts[-1]["usage"][name] == whole["usage"][name]
    tokens = 0
    for choice in whole["choices"]:
        mine = [part["choices"][0] for part in parts[:-1] if part["choices"][0]["index"] == choice["index"]]
        assert "".join(part["text"] for part in mine) == choice["text"]
        assert [part["finish_reason"] for part in mine] == [None] * (len(mine) - 1) + [choice["finish_reason"]]
        assert mine[-1]["stop_reason"] == choice["stop_reason"]
        assert_choice_holds(request, choice)
        if "logprobs" in request:
            assert [token for part in mine for token in part["logprobs"]["tokens"]] == choice["logprobs"]["tokens"]
            assert_logprobs_hold(request, choice)
            tokens += len(choice["logprobs"]["tokens"]) - (len(request["prompt"]) if request["echo"] else 0)
    assert "logprobs" not in request or tokens == whole["usage"]["completion_tokens"]


def test_a_stop_string_in_the_last_half_character(small):
    """Only the end of the answer makes U+FFFD of a byte that waits for its next one."""
    request = {"prompt": [1], "max_tokens": 1, "logit_bias": {str(PART_OF_A_CHARACTER): 100}, "stop": "\ufffd", "temperature": 0}
    for choice in (complete(small, **request)["choices"][0], events(small, COMPLETIONS, request)[-1]["choices"][0]):
        assert (choice["text"], choice["finish_reason"], choice["stop_reason"]) == ("", "stop", "\ufffd")


def test_offsets_behind_an_echo_that_ends_in_half_a_character(small):
    choice = complete(small, prompt=[20, PART_OF_A_CHARACTER], max_tokens=4, echo=True, logprobs=0)["choices"][0]
    lists = choice["logprobs"]
    assert choice["text"][1] == "\ufffd"
    assert lists["text_offset"][:3] == [0, 1, 2]
    assert_logprobs_hold({"echo": True}, choice)


# ---- HTTP ----

@pytest.mark.parametrize("name, code", [("tiny", 200), ("%74iny", 200), ("tiny%00x", 404), ("%00", 404), ("%", 404), ("tin", 404), ("", 404)])
def test_names_of_models_in_paths(small, name, code):
    answer = raw(small, f"GET /v1/models/{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d " % code)


@pytest.mark.parametrize("data", [b"GET /health HTTP/1.0\n\n", b"GET /health HTTP/1.1\r\nHost: a\n\n", b"GET /health HTTP/1.1\nHost: a\n\n"])
def test_bare_line_feeds_are_refused_at_once(small, data):
    began = time.monotonic()
    assert raw(small, data).startswith(b"HTTP/1.1 400 ")
    assert time.monotonic() - began < 5


def test_hundreds_of_connections_leave_nothing_behind(small):
    pid = lead(small)
    complete(small)
    before = len(os.listdir(f"/proc/{pid}/fd"))
    held = [connect(small) for _ in range(300)]
    for i, s in enumerate(held):
        if i % 3 == 0:
            s.sendall(b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n")
        elif i % 3 == 1:
            s.sendall(b"POST /v1/comp")
        else:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert requests.get(small.url + "/health", timeout=20).status_code == 200
    for s in held:
        s.close()
    assert wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)


# ---- load ----

def test_a_full_queue_refuses_and_recovers(small):
    whole = [request_bytes({"prompt": [i + 1], "max_tokens": 40, "ignore_eos": True}).replace(b"Host: a", b"Host: a\r\nConnection: close") for i in range(60)]
    held = [connect(small) for _ in whole]
    for s, data in zip(held, whole):
        s.sendall(data[:-1])
    for s, data in zip(held, whole):  # so all come at once, however long each takes to send
        s.sendall(data[-1:])
    answers = []
    for s in held:
        with s:
            received = b""
            while piece := s.recv(65536):
                received += piece
            answers.append((int(received.split()[1]), b"\r\nRetry-After: 1\r\n" in received))
    assert set(answers) == {(200, False), (429, True)}
    assert complete(small)["usage"]["completion_tokens"] == 8


def hang_up(server, rng):
    body = {"prompt": [rng.randrange(4000) for _ in range(rng.choice([1, 30, 400]))], "max_tokens": rng.choice([1, 20, 400]),
            "n": rng.choice([1, 1, 4]), "stream": rng.random() < 0.5, "ignore_eos": True, "stop": "a" if rng.random() < 0.2 else None}
    data = request_bytes(body)
    with connect(server) as s:
        s.sendall(data[:rng.randrange(len(data))] if rng.random() < 0.1 else data)
        time.sleep(rng.random() * rng.choice([0, 0.01, 0.05]))
        if rng.random() < 0.5:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif rng.random() < 0.3:
            s.shutdown(socket.SHUT_WR)


def test_a_storm_of_hang_ups_changes_nothing(small):
    probes = [{"prompt": [7, 8, 9] * k, "n": 2, "temperature": 1, "seed": 3, "logprobs": 1} for k in (1, 20, 60)]
    before = [complete(small, **probe)["choices"] for probe in probes]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(hang_up, small, random.Random(seed)) for seed in range(400)]:
            done.result()
    assert wait_until(lambda: is_idle(small), 20), figures(small)
    assert [complete(small, **probe)["choices"] for probe in probes] == before


@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_pauses_goes_on(small, victim):
    pid = sorted(small.rank_pids())[victim]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(complete, small, prompt=[i + 1], max_tokens=300) for i in range(4)]
        wait_until(lambda: figures(small)[0] > 0)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(pid, signal.SIGCONT)
        assert all(answer.result()["usage"]["completion_tokens"] == 300 for answer in asked)


# ---- files ----

@pytest.fixture
def damaged(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "model")


def make_fifo(path):
    path.unlink()
    os.mkfifo(path)


def make_folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("name, change, says", [
    ("model-00002-of-00004.safetensors", make_fifo, "not a regular file"),
    ("model-00002-of-00004.safetensors", make_folder, "not a regular file"),
    ("model-00002-of-00004.safetensors", lambda p: os.truncate(p, p.stat().st_size - 1), "incomplete"),
    ("config.json", make_fifo, "no config.json"),
    ("tokenizer.json", make_fifo, "not a regular file"),
    ("tokenizer.json", lambda p: p.write_bytes(b""), "not JSON"),
    ("tokenizer.json", lambda p: p.write_bytes(b"[]"), "gpt-oss checkpoint"),
], ids=["shard-fifo", "shard-folder", "shard-short", "config-fifo", "tokenizer-fifo", "tokenizer-empty", "tokenizer-list"])
def test_damaged_checkpoints_end_with_one_line(damaged, name, change, says):
    change(damaged / name)
    ended = run(0, ROOT / "configs" / "tiny.yaml", "--model", damaged, "--port", "0", timeout=20)
    errors = [line for line in ended.stderr.splitlines() if "error" in line]
    assert ended.returncode == 4 and len(errors) == 1, ended.stderr
    assert says in errors[0]


@pytest.mark.parametrize("path, kind", [("fifo.yaml", "a FIFO"), ("/dev/zero", "a device"), (".", "a directory")])
@pytest.mark.parametrize("ranks", [0, 2])
def test_configurations_that_are_no_files(tmp_path, ranks, path, kind):
    os.mkfifo(tmp_path / "fifo.yaml")
    ended = run(ranks, tmp_path / path, timeout=20)
    errors = [line for line in ended.stderr.splitlines() if kind in line]
    assert ended.returncode == 2 and len(errors) == 1 and "allowed is a regular file" in errors[0], ended.stderr


@pytest.mark.parametrize("path", ["fifo", "/dev/zero", "."])
def test_key_files_that_are_no_files(tiny_model, tmp_path, path):
    os.mkfifo(tmp_path / "fifo")
    ended = run(0, ROOT / "configs" / "tiny.yaml", "--model", tiny_model, "--port", "0", "--set",
                f"server.api_keys_file={tmp_path / path}", timeout=20)
    assert ended.returncode == 2 and "not a regular file" in ended.stderr
