"""gptoss-tp chat as one uses it: at a terminal, which is a pseudo-terminal here, and in a pipe."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import urllib.request

import pytest

from conftest import PATIENCE, PROGRAM, ROOT, Server, environment, run, wait_until

MODEL = ROOT / "tests" / "data" / "tiny"
QUESTION = "What is 47 + 38?"
ENDLESS = "Reverse the word " + "ab" * 120 + "."  # far longer than what it was trained on: it goes on for minutes
PROMPT = re.compile(r"> $")
pytestmark = pytest.mark.skipif("not in this build" in run(0, "chat", "--help").stdout, reason="built without libcurl")


@pytest.fixture(scope="module")
def server():
    running = Server(1, MODEL)
    yield running
    if running.process.poll() is None:
        assert running.stop() == 0, running.text()


class Terminal:
    """A chat at a pseudo-terminal. What it wrote since the last send() is in `text`, as it came."""

    def __init__(self, server, home, *flags, **variables):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            env = {key: value for key, value in environment().items() if key not in ("NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE")}
            os.execve(PROGRAM, [str(PROGRAM), "chat", "--url", server.url, *flags],
                      {**env, "TERM": "xterm-256color", "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), **variables})
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.text, self.code = "", None
        assert self.until(PROMPT), self.text

    def _read(self, seconds):
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False  # the other side is closed
        self.text += data.decode(errors="replace")
        return bool(data)

    def plain(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)

    def until(self, pattern, seconds=PATIENCE):
        """Whether the text, without escapes, comes to match."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.plain()):
            if time.monotonic() > deadline or not self._read(0.05):
                return bool(re.search(pattern, self.plain()))
        return True

    def send(self, keys):
        self.text = ""
        os.write(self.fd, keys.encode())

    def ask(self, line, ends=PROMPT):
        """Types a line, waits for the next prompt, and returns what came between."""
        self.send(line)
        assert wait_until(lambda: not self._read(0.05) or line.split("\n")[0][:8] in self.plain()), self.text
        self.send("\r")
        assert self.until(r"\n" + ends.pattern), self.text
        return self.text

    def wait(self, seconds=PATIENCE):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._read(0.05):
            pass
        assert wait_until(self._ended), "it is still there"
        return self.code

    def _ended(self):
        if self.code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.code = os.waitstatus_to_exitcode(status) if pid else None
        return self.code is not None

    def close(self):
        if not self._ended():
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self.fd)


@pytest.fixture
def terminal(server, tmp_path):
    opened = []

    def begin(*flags, **variables):
        opened.append(Terminal(server, tmp_path, *flags, **variables))
        return opened[-1]

    yield begin
    for one in opened:
        one.close()


def running(server):
    with urllib.request.urlopen(server.url + "/metrics") as answer:
        return float(re.search(r"^vllm:num_requests_running\{.*\} (\S+)$", answer.read().decode(), re.M).group(1))


def pipe(server, lines, *flags):
    return subprocess.run([PROGRAM, "chat", "--url", server if isinstance(server, str) else server.url, *flags], input=lines, env=environment(),
                          capture_output=True, text=True, timeout=60)


def answers(ask, wanted):
    """Whether one of a few answers has it: chats are sampled, and the small model errs now and then."""
    return any(re.search(wanted, ask()) for _ in range(5))


def dim(text):
    """What was written dim ahead of the line with the rate: the reasoning."""
    return "".join(re.findall(r"\x1b\[2m([^\x1b]*)\x1b\[0m", text.split("\x1b[2m[")[0]))


def test_answers_and_thinks_as_long_as_told(terminal):
    chat = terminal()
    assert answers(lambda: re.sub(r"\x1b\[2m[^\x1b]*\x1b\[0m", "", chat.ask(QUESTION)), "= 85")  # in what is not dim
    assert re.search(r"\[\d+ tokens, [\d.]+ tokens/s, the first after [\d.]+ s\]", chat.plain())
    lengths = []
    for effort in ("low", "high"):
        assert f"effort: {effort}" in chat.ask(f"/effort {effort}")
        lengths.append(len(dim(chat.ask(QUESTION)).split()))
    assert 0 < 2 * lengths[0] < lengths[1]
    chat.ask("/reasoning fold")
    chat.ask(QUESTION)
    assert re.search(r"thought for \d+ words\s+\S.*\n\[", chat.plain())
    chat.ask("/reasoning off")
    assert not dim(chat.ask(QUESTION))


def test_commands_and_what_is_none(terminal):
    chat = terminal("--system", "Your name is Robbie.")
    assert answers(lambda: chat.ask("/clear") and chat.ask("What is your name?"), "Robbie")
    refused = chat.ask("/efort low")
    assert "no command" in refused and all(name in refused for name in ("/effort", "/system", "/clear", "/model", "/help", "/quit"))
    assert "tiny" in chat.ask("/model")
    chat.ask("/model nobody")
    assert "no model 'nobody'" in chat.ask(QUESTION)
    chat.ask("/model tiny")
    assert answers(lambda: chat.ask(QUESTION), "85")  # the conversation goes on
    chat.send("/quit\r")
    assert chat.wait() == 0


def test_stops_an_answer(server, terminal):
    chat = terminal("--effort", "high")
    chat.send(ENDLESS + "\r")
    assert wait_until(lambda: chat._read(0) and running(server) == 1)
    assert chat.until(r"\.\s*\n\S")
    chat.send("\x03")
    assert chat.until(r"stopped\]\s+> $", 5), chat.text  # by itself it would go on for minutes
    assert wait_until(lambda: running(server) == 0, 5)
    chat.ask("/clear")
    assert answers(lambda: chat.ask(QUESTION), "85")


def test_ctrl_c_at_the_prompt(terminal):
    chat = terminal()
    chat.send("half a line")
    assert chat.until("line$")
    chat.send("\x03")
    assert chat.until(r"\n> $") and "once more" not in chat.text
    chat.send("\x03")
    assert chat.until(r"once more[^\n]*\n> $")
    chat.send("\x03")
    assert chat.wait() == 0


def test_several_lines_and_history(terminal, tmp_path):
    if "libedit" not in subprocess.run(["ldd", PROGRAM], capture_output=True, text=True).stdout:
        pytest.skip("built without libedit")
    chat = terminal(NO_COLOR="1")
    chat.send("What is 47 \\\r")
    assert chat.until(r"\| $")
    assert "\x1b[2m" not in chat.ask("+ 38?")
    chat.send("\x1b[200~What is\r47 + 38?\x1b[201~")
    assert chat.until(r"38\?") and "tokens" not in chat.text  # nothing was sent yet
    chat.send("\r")
    assert chat.until(r"tokens.*\n> $")
    chat.send("\x04")
    assert chat.wait() == 0
    kept, = (tmp_path / "state").rglob("chat_history")
    assert kept.stat().st_mode & 0o777 == 0o600
    again = terminal()
    again.send("\x1b[A")
    assert again.until(r"What is\s+47 \+ 38\?")


def test_in_a_pipe(server):
    def piped(lines):
        done = pipe(server, lines)
        assert (done.stderr, done.returncode) == ("", 0)
        return done.stdout

    assert answers(lambda: piped(QUESTION + "\n"), r"\A47 \+ 38 = 85\.\n\Z")
    assert answers(lambda: piped("My name is Omar.\n\nWhat is my name?"), r"\A.*\n.*Omar.*\n\Z")


def test_errors_are_one_line(server):
    nobody = pipe("http://127.0.0.1:1", "hello\n")
    assert nobody.returncode == 5 and not nobody.stdout and nobody.stderr.count("\n") == 1 and "--url" in nobody.stderr
    unknown = pipe(server, "hello\n", "--model", "nobody")
    assert unknown.returncode == 2 and unknown.stderr.count("\n") == 1 and "no model 'nobody'" in unknown.stderr
