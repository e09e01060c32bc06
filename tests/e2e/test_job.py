"""The job as an operator sees it: exit codes, signals, lost ranks, idle cost, hang-ups."""
import http.client
import json
import os
import re
import signal
import socket
import time

import pytest
import requests
from conftest import LONG, ROOT, run, wait_until


def metric(server, name):
    text = requests.get(server.url + "/metrics", timeout=10).text
    values = [float(line.split()[-1]) for line in text.splitlines() if re.match(re.escape(name) + r"[{ ]", line)]
    assert values, name + " is not among the metrics"
    return values[0]


def complete(server, **more):
    body = {"prompt": [1, 2, 3], "max_tokens": 8, "temperature": 0, "ignore_eos": True, **more}
    return requests.post(server.url + "/v1/completions", json=body, timeout=60)


@pytest.mark.parametrize("ranks", [0, 1, 3])
@pytest.mark.parametrize("make, code, says", [
    (lambda d: "model:\n  path: x\n  pathh: y\n", 2, ["bad.yaml:3", "pathh", "path"]),
    (lambda d: "server:\n  port: 99999\n", 2, ["bad.yaml:2", "server.port", "99999"]),
    (lambda d: f"model:\n  path: {d}/nothing\n", 4, ["nothing"]),
])
def test_wrong_use_is_one_line(tmp_path, ranks, make, code, says):
    config = tmp_path / "bad.yaml"
    config.write_text(make(tmp_path))
    ended = run(ranks, config)
    assert ended.returncode == code, ended.stderr
    ours = [line for line in (ended.stdout + ended.stderr).splitlines() if "error" in line and any(word in line for word in says)]
    assert len(ours) == 1, ended.stderr
    assert all(word in ours[0] for word in says), ours[0]


def test_port_in_use(tiny_model):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ended = run(2, ROOT / "configs" / "tiny.yaml", "--model", tiny_model, "--port", taken.getsockname()[1])
    assert ended.returncode == 3
    assert len([line for line in ended.stderr.splitlines() if "port" in line and "error" in line]) == 1, ended.stderr


@pytest.mark.parametrize("victim, busy", [(0, True), (1, False), (2, True), *([(0, False), (1, True), (2, False)] if LONG else [])])
def test_a_killed_rank_ends_the_job(start, victim, busy):
    server = start(3, "--set", "parallel.attention=dp")
    pids = sorted(server.rank_pids())
    assert len(pids) == 3
    if busy:
        stream = requests.post(server.url + "/v1/completions", stream=True, timeout=60,
                               json={"prompt": [1], "max_tokens": 3000, "ignore_eos": True, "stream": True})
        next(stream.iter_lines())
    os.kill(pids[victim], signal.SIGKILL)
    assert server.process.wait(10) != 0  # by itself it would wait for ever; how soon is noticed is what tests/comm/test_lost.c measures
    server.reader.join(5)
    ours = [line for line in server.log if "lost" in line]
    assert len(ours) == 1, server.text()
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize("target", ["mpirun", 0, 1])
def test_a_signal_drains_the_whole_job(start, target, sign):
    if target == "mpirun" and sign != signal.SIGUSR1:
        pytest.skip("mpirun does not pass it on: it ends the ranks itself")
    server = start(2)
    body = {"prompt": [1], "max_tokens": 200, "temperature": 0, "ignore_eos": True, "stream": True}
    stream = requests.post(server.url + "/v1/completions", json=body, stream=True, timeout=60)
    lines = stream.iter_lines()
    next(lines)
    if target == "mpirun":
        server.process.send_signal(sign)
        if not wait_until(lambda: "draining" in server.text(), 5):
            pytest.skip("this mpirun passes no signals on")
    else:
        os.kill(sorted(server.rank_pids())[target], sign)
    rest = [line for line in lines if line.startswith(b"data: ")]
    assert rest[-1] == b"data: [DONE]"
    assert any(b'"finish_reason":"length"' in line.replace(b" ", b"") for line in rest)
    assert server.process.wait(20) == 0, server.text()


def test_a_second_signal_cuts(start):
    server = start(2)
    kept = requests.post(server.url + "/v1/completions", stream=True, timeout=60,
                         json={"prompt": [1], "max_tokens": 16000, "ignore_eos": True, "stream": True})
    pid = server.rank_pids()[0]
    os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: "draining" in server.text())
    time.sleep(0.2)
    assert server.process.poll() is None, "it should still be draining"
    os.kill(pid, signal.SIGTERM)
    server.process.wait(20)
    assert b'"length"' not in b"".join(kept.iter_lines()), "it was not cut"


def cpu_seconds(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_idle_costs_nothing_and_wakes_at_once(start):
    server = start(4)
    complete(server)
    pids = server.rank_pids()
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(4)
    used = [cpu_seconds(pid) - b for pid, b in zip(pids, before)]
    assert max(used) < 0.02 * 4, used
    waits, total = [], metric(server, "vllm:request_queue_time_seconds_sum")
    for _ in range(11):
        time.sleep(0.1)
        complete(server)
        waits.append(-total + (total := metric(server, "vllm:request_queue_time_seconds_sum")))
    # The third best: a busy machine may wake ranks late now and then. If a timer woke them, a tenth of a second apart, one in twenty would be as quick.
    assert sorted(waits)[2] < 0.005, waits


def test_a_hang_up_frees_the_sequence(start):
    server = start(2)
    host, port = re.match(r"http://(.*):(\d+)", server.url).groups()
    for stream in (True, False):
        client = http.client.HTTPConnection(host, int(port))
        client.request("POST", "/v1/completions", json.dumps({"prompt": [1], "max_tokens": 15000, "ignore_eos": True, "stream": stream}))
        assert wait_until(lambda: metric(server, "vllm:num_requests_running") == 1)
        client.close()
        client.sock = None
        assert wait_until(lambda: metric(server, "vllm:num_requests_running") == 0, 5)  # which takes longer by itself
    assert complete(server).status_code == 200


def test_many_at_once(start):
    import concurrent.futures
    server = start(2, "--set", "engine.max_sequences=8")
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda i: complete(server, prompt=[i + 1] * (i % 90 + 1), max_tokens=i % 30 + 1), range(120)))
    assert all(a.status_code == 200 for a in answers)
    assert all(a.json()["usage"]["completion_tokens"] == i % 30 + 1 for i, a in enumerate(answers))
    assert wait_until(lambda: metric(server, "vllm:kv_cache_usage_perc") == 0), "blocks were not given back"
