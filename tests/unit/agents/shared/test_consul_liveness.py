"""What an agent says of its own talk with Consul, from answers of a real HTTP server and by the test's clock."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fabfile.core.judge.health import CANNOT as LOOKED_FOR
from remote_agents.nexus_agents.shared.consul_api import Consul, ConsulError
from remote_agents.nexus_agents.shared.consul_liveness import CANNOT, FAILING_AFTER, FORGOTTEN_AFTER, Liveness

ORDERS, REPORT = "/v1/kv/nexus/placement/w1/orders", "/v1/kv/nexus/report/w1/state"


class Server:
    """Answers each path with its code of `codes`, else 200."""

    def __init__(self) -> None:
        self.codes: dict[str, int] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                code = server.codes.get(self.path.partition("?")[0], 200)
                body = b"ACL not found\n" if code == 403 else b"null"
                self.send_response(code)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.do_GET()

            def log_message(self, *_: object) -> None:
                """Nothing on the test's stderr."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._http.server_address[1]}"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class Agent:
    """A client, its clone in another thread, and the clock of both."""

    def __init__(self, address: str) -> None:
        self.time = 1000.0
        self._reads = Consul("token", address, liveness=Liveness(lambda: self.time))
        self._writes = self._reads.clone()

    def read(self, path: str = ORDERS) -> None:
        with contextlib.suppress(ConsulError):
            self._reads.get(f"{path}?index=1")

    def write(self, path: str = REPORT) -> None:
        with contextlib.suppress(ConsulError):
            self._writes.put(path, {})

    def says(self) -> str:
        return self._reads.liveness.sentence()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def agent(server: Server) -> Agent:
    return Agent(server.address)


def test_an_agent_that_is_heard_says_so(agent: Agent) -> None:
    """Before the first answer it says that there was none; then which of the two it does."""
    assert agent.says() == "has not heard of Consul yet"
    agent.read()
    assert agent.says() == "reads Consul"
    agent.write()
    assert agent.says() == "reads and writes Consul"


def test_a_token_that_is_gone_is_told_with_time_and_reason(server: Server, agent: Agent) -> None:
    """A read and a write that are refused for ten seconds are one sentence until both work again."""
    agent.read()
    agent.write()
    server.codes = {ORDERS: 403, REPORT: 403}
    for _ in range(3):
        agent.read()
        agent.write()
        agent.time += FAILING_AFTER / 2
    says = agent.says()
    assert says.startswith(f"{CANNOT}read nexus/placement/w1/orders since 2")
    assert says.count("403 ACL not found") == 2
    assert "; cannot write nexus/report/w1/state since" in says
    server.codes = {REPORT: 403}
    agent.read()
    agent.write()
    assert agent.says().startswith("cannot write")
    server.codes = {}
    agent.write()
    assert agent.says() == "reads and writes Consul"


def test_a_call_that_works_does_not_hide_one_that_fails(server: Server, agent: Agent) -> None:
    """Consul's own agent answers while the servers refuse: that is deaf all the same."""
    server.codes = {ORDERS: 403}
    for _ in range(3):
        agent.read("/v1/agent/services")
        agent.read()
        agent.time += FAILING_AFTER / 2
    assert agent.says().startswith("cannot read nexus/placement/w1/orders")


def test_an_election_is_no_trouble(server: Server, agent: Agent) -> None:
    """Failures of less than ten seconds are not told."""
    agent.write()
    server.codes = {REPORT: 500}
    agent.write()
    agent.time += FAILING_AFTER - 1
    agent.write()
    assert agent.says() == "writes Consul"


@pytest.mark.parametrize("code", [404, 409])
def test_an_answer_is_an_answer(server: Server, agent: Agent, code: int) -> None:
    """A key that is missing and a condition that does not hold are words of a Consul that listens."""
    server.codes = {ORDERS: code, REPORT: code}
    for _ in range(3):
        agent.read()
        agent.write()
        agent.time += FAILING_AFTER
    assert agent.says() == "reads and writes Consul"


def test_a_call_that_is_not_tried_again_is_forgotten(server: Server, agent: Agent) -> None:
    """What failed once, and is no longer needed, is no trouble for ever."""
    agent.read()
    server.codes = {REPORT: 500}
    agent.write()
    agent.time += FORGOTTEN_AFTER + 1
    assert agent.says() == "reads Consul"


def test_a_consul_that_is_gone_is_told(server: Server, agent: Agent) -> None:
    """No answer at all is told by the error's name."""
    server.close()
    for _ in range(3):
        agent.read()
        agent.time += FAILING_AFTER / 2
    assert agent.says().endswith(": ConnectionRefusedError")


def test_status_looks_for_the_word_that_agents_say() -> None:
    """Both sides of the wire mean the same word."""
    assert CANNOT == LOOKED_FOR
