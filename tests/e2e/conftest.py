"""Runs the real program under mpirun on the tiny checkpoint, for tests that talk to it as a client would.

Environment: GPTOSS_BUILD_DIR, the build folder that holds launch/gptoss-tp (default: build/release beside tests/); GPTOSS_BACKEND, cpu
(default) or cuda, where all ranks share one GPU.
"""
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("GPTOSS_BUILD_DIR", ROOT / "build" / "release"))
PROGRAM = BUILD / "launch" / "gptoss-tp"
LONG = bool(os.environ.get("GPTOSS_LONG"))  # everything, however long it takes
BACKEND = os.environ.get("GPTOSS_BACKEND", "cpu")
START_SECONDS = 60
PATIENCE = 20.0  # seconds that anything may take which happens at once on an idle machine


def backend_flags(backend=BACKEND):
    return ["--set", f"backend={backend}"] + (["--set", "parallel.share_gpu=true"] if backend == "cuda" else [])


def environment():
    env = dict(os.environ)
    env.update(OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMPI_MCA_rmaps_base_oversubscribe="1")
    env.setdefault("OMP_NUM_THREADS", "1")
    env.setdefault("OMPI_MCA_mpi_yield_when_idle", "1")  # tests run side by side: ranks that wait must not spin
    return env


def command(ranks, *arguments):
    program = [str(PROGRAM), *map(str, arguments)]
    return ["mpirun", "--oversubscribe", "-np", str(ranks), *program] if ranks else program


def run(ranks, *arguments, timeout=60):
    """Runs the program to its end; ranks 0: without mpirun."""
    return subprocess.run(command(ranks, *arguments), env=environment(), capture_output=True, text=True, timeout=timeout)


class Server:
    """A serving job. `log` grows while it runs. model None: what the configuration says."""

    def __init__(self, ranks, model, *flags, config="tiny"):
        of_model = ["--model", model] if model else []
        arguments = [ROOT / "configs" / f"{config}.yaml", *of_model, "--port", "0", *backend_flags(), *flags]
        self.process = subprocess.Popen(command(ranks, *arguments), env=environment(), stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, start_new_session=True)
        self.log, self.url = [], None
        self.listening = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        if not self.listening.wait(START_SECONDS) or not self.url:
            self.kill()
            raise RuntimeError("the server did not start:\n" + "".join(self.log))

    def _read(self):
        for line in self.process.stdout:
            self.log.append(line)
            found = re.search(r"listening on (http://\S+)", line)
            if found:
                self.url = found.group(1)
                self.listening.set()
        self.listening.set()

    def rank_pids(self):
        """Process ids of the ranks, in no order."""
        children = subprocess.run(["ps", "-o", "pid=,ppid=,comm=", "-A"], capture_output=True, text=True).stdout
        rows = [line.split(None, 2) for line in children.splitlines()]
        tree, grown = {str(self.process.pid)}, True
        while grown:
            more = {pid for pid, parent, _ in rows if parent in tree} - tree
            tree, grown = tree | more, bool(more)
        return [int(pid) for pid, _, name in rows if pid in tree and name.strip() == "gptoss-tp"]

    def stop(self, seconds=30):
        """Asks it to drain and returns the exit code. Asks a rank: not every mpirun passes signals on."""
        for pid in self.rank_pids()[:1]:
            os.kill(pid, signal.SIGUSR1)
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError("the server did not stop:\n" + "".join(self.log)) from None
        self.reader.join(5)
        return code

    def kill(self):
        for pid in [*self.rank_pids(), self.process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def text(self):
        return "".join(self.log)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A tiny random checkpoint, made once."""
    folder = tmp_path_factory.mktemp("model") / "tiny"
    made = run(0, "synth", folder, "--like", "tiny", "--seed", "7")
    assert made.returncode == 0, made.stderr
    return folder


@pytest.fixture
def start(tiny_model):
    """start(ranks, *flags): a server that is stopped after the test."""
    servers = []

    def begin(ranks, *flags):
        servers.append(Server(ranks, tiny_model, *flags))
        return servers[-1]

    yield begin
    for server in servers:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def shared(tiny_model):
    """One server of two ranks for the tests of a file."""
    server = Server(2, tiny_model)
    yield server
    if server.process.poll() is None:
        assert server.stop() == 0, server.text()


def wait_until(condition, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False
