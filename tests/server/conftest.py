"""A running fake_server for each test."""
import pytest

from fake import FakeServer


@pytest.fixture(scope="module")
def shared():
    server = FakeServer()
    yield server
    server.stop()


@pytest.fixture
def server(shared):
    shared.order(set={"scripts": [], "interval_ms": 0, "repeat": False, "by_seed": False, "random": 0, "ending": 0, "hold": None, "max_queue": 1024, "draining": False, "alive": True}, forget=True)
    yield shared
    assert shared.process.poll() is None, "the server died"


@pytest.fixture
def own_server():
    """Starts servers with flags of the test's choice."""
    started = []

    def start(*flags):
        started.append(FakeServer(*flags))
        return started[-1]

    yield start
    for s in started:
        s.stop()
