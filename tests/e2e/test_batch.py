"""The verb batch: every line is answered or told of once, whatever happens in between."""
import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import LONG, ROOT, backend_flags, command, environment, run, wait_until

CONFIG = ROOT / "configs" / "tiny.yaml"


def request(name, url="/v1/completions", method="POST", **body):
    if url.endswith("chat/completions"):
        body = {"messages": [{"role": "user", "content": f"say {name} – ünï"}], "max_tokens": 6, **body}
    else:
        body = {"prompt": [1, 2, 3], "max_tokens": 4, "ignore_eos": True, **body}
    return {"custom_id": name, "method": method, "url": url, "body": body}


def write(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def arguments(model, source, output, *flags):
    return ["batch", CONFIG, "--model", model, *backend_flags(), "--input", source, "--output", output, *flags]


def batch(ranks, model, source, output, *flags, timeout=60):
    return run(ranks, *arguments(model, source, output, *flags), timeout=timeout)


def rows_of(path):
    """The lines of a file, each of which must be whole."""
    text = path.read_text() if path.exists() else ""
    assert not text or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def errors_of(output):
    return output.with_name(output.stem + ".errors" + output.suffix)


class Job:
    """A batch under mpirun that the test disturbs."""

    def __init__(self, ranks, *arguments_):
        self.process = subprocess.Popen(command(ranks, *arguments_), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                        stdin=subprocess.DEVNULL, text=True, start_new_session=True)

    def ranks(self):
        listed = subprocess.run(["ps", "-o", "pid=,comm=", "-s", str(self.process.pid)], capture_output=True, text=True).stdout
        own = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(self.process.pid)], capture_output=True, text=True).stdout
        rows = [line.split(None, 1) for line in (listed + own).splitlines()]
        return sorted({int(pid) for pid, name in rows if name.strip() == "gptoss-tp"})

    def kill(self):
        for pid in [*self.ranks(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.communicate()


def mixed():
    """200 lines, and what becomes of those that fail: their index -> code."""
    rows = [request(f"r{i}", "/v1/chat/completions" if i % 2 else "/v1/completions") for i in range(200)]
    long = request("long")
    long["body"]["prompt"] = "x" * 200_000
    wrong = {
        3: ("{\"custom_id\": \"r3\", ", "invalid_json"),
        8: ("[1, 2]", "invalid_json"),
        15: ({"method": "POST", "url": "/v1/completions", "body": {}}, "missing_custom_id"),
        16: ({**request("x"), "custom_id": 7}, "missing_custom_id"),
        17: ({**request("x"), "custom_id": ""}, "missing_custom_id"),
        30: (request("r30", url="/v1/embeddings"), "invalid_url"),
        31: (request("r31", method="GET"), "invalid_method"),
        32: ({**request("r32"), "body": "text"}, "invalid_body"),
        33: (request("r33", stream=True), "stream_not_allowed"),
        60: (request("r1"), "duplicate_custom_id"),
        61: (request("r1"), "duplicate_custom_id"),
        62: (request("r30"), "duplicate_custom_id"),
        90: (request("r90", max_tokens=-1), "BadRequestError"),
        91: (request("r91", model="another"), "NotFoundError"),
        92: (request("r92", prompt=[10 ** 9]), "BadRequestError"),
        199: (long, "line_too_long"),
    }
    for index, (row, _) in wrong.items():
        rows[index] = row
    return rows, {index: code for index, (_, code) in wrong.items()}


@pytest.mark.parametrize("ranks", [1, 2] if LONG else [2])
def test_answers_and_errors(tmp_path, tiny_model, ranks):
    rows, wrong = mixed()
    rows[100] = "  \n" + json.dumps(rows[100])  # an empty line is none, but counts
    lines = {i + 1 + (i >= 100): code for i, code in wrong.items()}
    source, output = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    flags = ["--set", "server.max_body=64KiB", "--set", "server.max_queue=24"]
    ended = batch(ranks, tiny_model, source, output, *flags)
    assert ended.returncode == 0, ended.stderr
    good, bad = rows_of(output), rows_of(errors_of(output))
    assert {row["line"]: row["error"]["code"] for row in bad} == lines
    assert len(bad) == len(wrong) and len(good) == 200 - len(wrong)
    assert all(row["error"]["message"] for row in bad)
    refused = [row for row in bad if row["response"]]
    assert {row["custom_id"]: row["response"]["status_code"] for row in refused} == {"r90": 400, "r91": 404, "r92": 400}
    assert all(row["response"]["body"]["error"]["message"] == row["error"]["message"] for row in refused)
    assert [row["custom_id"] for row in bad if row["error"]["code"] == "duplicate_custom_id"] == ["r1", "r1", "r30"]

    expected = {f"r{i}" for i in range(200)} - {f"r{i}" for i in wrong}
    assert sorted(row["custom_id"] for row in good) == sorted(expected)
    for row in good:
        number, response = int(row["custom_id"][1:]), row["response"]
        assert row["id"] == "batch_req_" + response["request_id"] and row["error"] is None
        assert response["status_code"] == 200 and response["body"]["id"].endswith(response["request_id"])
        assert response["body"]["object"] == ("chat.completion" if number % 2 else "text_completion")
        assert number % 2 or response["body"]["usage"]["completion_tokens"] == 4
    assert len({row["id"] for row in good + bad}) == 200
    tokens = sum(row["response"]["body"]["usage"]["completion_tokens"] for row in good)
    assert f"{len(good)} answered, {len(bad)} failed, 0 done before" in ended.stderr and f"{tokens} written" in ended.stderr

    before = output.read_bytes(), errors_of(output).read_bytes()
    again = batch(ranks, tiny_model, source, output, *flags)
    assert again.returncode == 0 and "0 answered, 0 failed, 200 done before" in again.stderr, again.stderr
    assert (output.read_bytes(), errors_of(output).read_bytes()) == before


def test_answers_are_those_of_the_server(tmp_path, tiny_model):
    """The order of lines and who runs beside them change nothing: each greedy answer is its own prompt's."""
    rows = [request(f"{i}", prompt=[i % 5 + 1, 9, 9], temperature=0, max_tokens=8) for i in range(20)]
    output = tmp_path / "out"
    assert batch(2, tiny_model, write(tmp_path / "in", rows), output).returncode == 0
    texts = {row["custom_id"]: row["response"]["body"]["choices"][0]["text"] for row in rows_of(output)}
    assert len(texts) == 20 and all(texts[str(i)] == texts[str(i % 5)] for i in range(20))
    assert len(set(texts.values())) > 1
    assert not (tmp_path / "out.errors").exists()


def settle(output, n):
    names = [row["custom_id"] for row in rows_of(output)]
    assert sorted(names, key=int) == [str(i) for i in range(n)], "lost or twice"


def begin_and_stop(ranks, output, more, most, *arguments_):
    """A batch whose ranks stand still, by SIGSTOP, after that many more bytes of answers, and before `most` answers. Begins anew where this process got to it too
    late, as a busy machine may have it."""
    before = output.read_bytes() if output.exists() else b""
    for _ in range(5):
        job = Job(ranks, *arguments_)
        assert wait_until(lambda: output.exists() and output.stat().st_size > len(before) + more or job.process.poll() is not None)
        for pid in job.ranks():
            os.kill(pid, signal.SIGSTOP)
        if output.exists() and len(before) < output.stat().st_size and output.read_bytes().count(b"\n") < most:
            return job
        job.kill()
        output.write_bytes(before)
    pytest.fail("each time it had gone too far")


def go_on(job):
    for pid in job.ranks():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("ranks", [1, 2] if LONG else [2])
def test_killed_again_and_again(tmp_path, tiny_model, ranks):
    n, kills = 500, 5
    rows = [request(str(i), max_tokens=8) for i in range(n - 2)] + [request("stream", stream=True), "no JSON"]
    source, output = write(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    sizes = []
    for i in range(kills):
        job = begin_and_stop(ranks, output, 3000 + 500 * i, n - 2, *arguments(tiny_model, source, output))
        job.kill()
        if i % 2:  # as a write that was cut by a full disk leaves it
            with output.open("a") as file:
                file.write('{"id":"batch_req_0123","custom_id":"' + "7" * i)
        sizes.append(output.stat().st_size)
    assert sizes == sorted(sizes) and len(set(sizes)) == kills, sizes
    ended = batch(ranks, tiny_model, source, output)
    assert ended.returncode == 0, ended.stderr
    assert int(re.search(r"(\d+) done before", ended.stderr).group(1)) > 0
    settle(output, n - 2)
    assert [(row["line"], row["error"]["code"]) for row in rows_of(errors_of(output))] == [(n - 1, "stream_not_allowed"), (n, "invalid_json")]


@pytest.mark.parametrize("target", [0, 1])
def test_drained_then_resumed(tmp_path, tiny_model, target):
    n = 300
    source, output = write(tmp_path / "in.jsonl", [request(str(i), max_tokens=16) for i in range(n)]), tmp_path / "out.jsonl"
    job = begin_and_stop(2, output, 3000, n // 2, *arguments(tiny_model, source, output))
    os.kill(job.ranks()[target], signal.SIGTERM)
    go_on(job)
    _, log = job.process.communicate(timeout=60)
    assert job.process.returncode == 0, log
    done = len(rows_of(output))
    assert f"{n - done} lines are left" in log and 0 < done < n, log
    assert not rows_of(errors_of(output))
    ended = batch(2, tiny_model, source, output)
    assert ended.returncode == 0 and f"{done} done before" in ended.stderr, ended.stderr
    settle(output, n)


def test_a_lost_rank_ends_it(tmp_path, tiny_model):
    n = 200
    source, output = write(tmp_path / "in.jsonl", [request(str(i), max_tokens=16) for i in range(n)]), tmp_path / "out.jsonl"
    job = begin_and_stop(2, output, 3000, n // 2, *arguments(tiny_model, source, output))
    os.kill(job.ranks()[1], signal.SIGKILL)
    go_on(job)
    _, log = job.process.communicate(timeout=30)
    assert job.process.returncode != 0
    assert all(row["response"]["status_code"] == 200 for row in rows_of(output))
    assert not rows_of(errors_of(output)), "a lost rank is not the lines' fault"


@pytest.mark.parametrize("ranks", [0, 2] if LONG else [0])
def test_standard_input(tmp_path, tiny_model, ranks):
    output = tmp_path / "out.jsonl"
    text = "".join(json.dumps(request(str(i))) + "\n" for i in range(50))[:-1]  # no newline ends the last line
    process = subprocess.Popen(command(ranks, *arguments(tiny_model, "-", output)), env=environment(), stdin=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)
    process.stdin.write(text[:2000])
    process.stdin.flush()
    assert wait_until(lambda: output.exists() and output.stat().st_size > 0), "answers do not wait for the end of the input"
    _, log = process.communicate(text[2000:], timeout=30)
    assert process.returncode == 0, log
    settle(output, 50)


@pytest.mark.parametrize("ranks, flags, code, says", [
    (0, [], 2, ["--input"]),
    (2, ["--input", "{dir}/in"], 2, ["--output"]),
    (2, ["--input", "{dir}/none", "--output", "{dir}/out"], 2, ["cannot read", "none"]),
    (0, ["--input", "{dir}", "--output", "{dir}/out"], 2, ["cannot read"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/no/out"], 2, ["cannot write", "no/out"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/in"], 2, ["--output", "input"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/out", "--errors", "{dir}/out"], 2, ["--errors"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/other"], 2, ["other:1", "no line that a batch wrote"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/cut"], 2, ["cut:1", "no line that a batch wrote"]),
    (0, ["--input", "{dir}/in", "--output", "{dir}/out", "--inptu", "x"], 2, ["--inptu", "--input"]),
    (0, ["--input", "{dir}/in", "--output", "/dev/null"], 2, ["/dev/null", "regular file"]),
])
def test_wrong_use_is_one_line(tmp_path, tiny_model, ranks, flags, code, says):
    write(tmp_path / "in", [request("1")])
    (tmp_path / "other").write_text('{"custom_id": "1"}\n')
    (tmp_path / "cut").write_text("precious")
    ended = run(ranks, "batch", CONFIG, "--model", tiny_model, *backend_flags(), *[f.format(dir=tmp_path) for f in flags])
    assert ended.returncode == code, ended.stderr
    ours = [line for line in ended.stderr.splitlines() if "error" in line and all(word in line for word in says)]
    assert len(ours) == 1, ended.stderr
    assert (tmp_path / "cut").read_text() == "precious" and (tmp_path / "other").stat().st_size == 19


def test_two_at_once_are_refused(tmp_path, tiny_model):
    source, output = write(tmp_path / "in", [request("1")]), tmp_path / "out"
    with output.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        ended = batch(0, tiny_model, source, output)
    assert ended.returncode == 2 and "another batch" in ended.stderr, ended.stderr


def resident(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{pid}/status").read()).group(1)) * 1024


@pytest.mark.skipif(not LONG, reason="GPTOSS_LONG=1 runs it: half a minute")
def test_memory_stays_small(tmp_path, tiny_model):
    n = 20_000
    text = "x" * 2000
    source = write(tmp_path / "in.jsonl", [request(str(i), max_tokens=1, user=text) for i in range(n)])
    output = tmp_path / "out.jsonl"
    # A small KV cache: memory is the system's to give when it is first touched, and that is not the batch's growth.
    job = Job(1, *arguments(tiny_model, source, output, "--set", "engine.kv_cache=8MiB", "--max-model-len", "512"))
    assert wait_until(lambda: output.exists() and output.stat().st_size > 1_000_000, 60), job.kill()
    pid, = job.ranks()
    early, most = resident(pid), 0
    while job.process.poll() is None:
        try:
            most = max(most, resident(pid))
        except (OSError, AttributeError):
            break
        time.sleep(0.05)
    _, log = job.process.communicate(timeout=60)
    assert job.process.returncode == 0, log
    settle(output, n)
    assert source.stat().st_size > 40e6 and most - early < 8e6, (early, most)
