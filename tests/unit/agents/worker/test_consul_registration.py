"""The worker's half of Consul, against a real HTTP server that answers as an agent does, fails, or hangs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.shared.consul_api import Consul, ConsulError
from remote_agents.nexus_agents.worker.consul_registration import Registrar, is_registered_as, registration

LIMIT = 0.3  # seconds that a call may take here


Spec = dict[str, Any]


def spec(name: str = "web", kind: str = "http", revision: str = "r1", port: int | None = 8080, **check: Any) -> Spec:
    return {
        "name": name, "revision": revision, "port": port,
        "check": {"kind": kind, "path": "/health" if kind == "http" else "", "interval": 2.0, "timeout": 1.0, **check},
    }  # fmt: skip


class Agent:
    """Consul's agent: keeps what is registered, with the checks.

    `asked`: one line a call, `PUT /v1/agent/service/register web`; `fails`: part of such a line -> a status, "hang", or
    the body of a 200.
    """

    def __init__(self) -> None:
        self.services: dict[str, Any] = {}
        self.checks: dict[str, Any] = {}
        self.fails: dict[str, int | str | bytes] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self._over = threading.Event()
        agent = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                agent._answer(self, b"")

            def do_PUT(self) -> None:
                agent._answer(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            def log_message(self, *_: object) -> None:
                """Nothing on the test's stderr."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()

    def puts(self) -> list[str]:
        """The ends of what was put, such as `register web`, in order; those that failed too."""
        return [line.rpartition("/")[2] for line in self.asked if line.startswith("PUT")]

    def _answer(self, http: BaseHTTPRequestHandler, body: bytes) -> None:
        told = json.loads(body) if body else {}
        name = f" {told['Name']}" if "Name" in told else ""
        self.asked.append(f"{http.command} {http.path}{name}")
        self.tokens.add(http.headers.get("X-Consul-Token"))
        fault = next((f for part, f in self.fails.items() if part in self.asked[-1]), None)
        if fault == "hang":
            self._over.wait(10)
            return
        sound = json.dumps(self._do(http.path, told)).encode() if fault is None else b"out of order"
        content = fault if isinstance(fault, bytes) else sound
        http.send_response(fault if isinstance(fault, int) else 200)
        http.send_header("Content-Length", str(len(content)))
        http.end_headers()
        http.wfile.write(content)

    def _do(self, path: str, told: Mapping[str, Any]) -> Any:
        words = path.split("/")[3:]
        if words == ["services"]:
            return self.services
        if words == ["checks"]:
            return self.checks
        if words[1] == "register":
            self.services[told["ID"]] = {**{k: v for k, v in told.items() if k not in ("Check", "Name")},
                                         "Service": told["Name"], "Weights": {"Passing": 1, "Warning": 1}}  # fmt: skip
            check = {"CheckID": told["Check"]["CheckID"], "ServiceID": told["ID"], "Status": "critical"}
            self.checks[check["CheckID"]] = check
        elif words[1] == "deregister":
            self.services.pop(words[2])
            self.checks = {k: c for k, c in self.checks.items() if c["ServiceID"] != words[2]}
        else:
            self.checks[words[2]]["Status"] = {"pass": "passing", "fail": "critical"}[words[1]]
        return None

    def says(self, **status: str) -> None:
        for name, word in status.items():
            self.checks[f"service:nexus-svc-{name}"]["Status"] = word


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("NO_PROXY", "*")
    made = Agent()
    yield made
    made.close()


def registrar(agent: Agent) -> Registrar:
    """Not started: each test takes its turns by hand."""
    return Registrar(Consul("the-token", agent.address, LIMIT), "10.0.0.2", "203.0.113.2", threading.Event())


def want(made: Registrar, *specs: Mapping[str, Any], alive: tuple[str, ...] = ()) -> None:
    made.want({s["name"]: s for s in specs}, frozenset(alive))


# What Consul is told


@pytest.mark.parametrize(("own", "check"), [
    (spec(), {"HTTP": "http://10.0.0.2:8080/health", "Interval": "2000ms", "Timeout": "1000ms"}),
    (spec(path="/h?deep=1", interval=1.5, timeout=0.1), {
        "HTTP": "http://10.0.0.2:8080/h?deep=1", "Interval": "1500ms", "Timeout": "100ms"}),
    (spec(kind="tcp", interval=3600.0), {"TCP": "10.0.0.2:8080", "Interval": "3600000ms", "Timeout": "1000ms"}),
    (spec(kind="ttl"), {"TTL": "10s"}),
    (spec(kind="ttl", port=None), {"TTL": "10s"}),
])  # fmt: skip
def test_a_registration_is_what_consul_needs(own: dict[str, Any], check: dict[str, str]) -> None:
    """The check looks at what we bind, the others get the address they reach; without a port it is 0."""
    assert registration(own, "10.0.0.2", "203.0.113.2") == {
        "ID": "nexus-svc-web", "Name": "web", "Address": "203.0.113.2", "Port": own["port"] or 0, "Tags": ["nexus"],
        "Meta": {"nexus_revision": "r1"}, "Check": {**check, "CheckID": "service:nexus-svc-web"},
    }  # fmt: skip


@given(st.integers(1000, 3_600_000), st.integers(100, 300_000))
def test_durations_reach_consul_to_the_millisecond(interval: int, timeout: int) -> None:
    """Whatever duration the door lets in is said in whole milliseconds, which Go reads."""
    check = registration(spec(interval=interval / 1000, timeout=timeout / 1000), "a", "b")["Check"]
    assert (check["Interval"], check["Timeout"]) == (f"{interval}ms", f"{timeout}ms")


WANTED = registration(spec(), "10.0.0.2", "203.0.113.2")


@pytest.mark.parametrize(("have", "equal"), [
    (None, False), ({}, False), (WANTED, True), ({**WANTED, "Weights": {}, "EnableTagOverride": False}, True),
    ({**WANTED, "Address": "203.0.113.3"}, False), ({**WANTED, "Port": 8081}, False), ({**WANTED, "Meta": None}, False),
    ({**WANTED, "Meta": {"nexus_revision": "r2"}}, False)])  # fmt: skip
def test_what_is_registered_is_compared(have: Mapping[str, Any] | None, equal: bool) -> None:
    """Address, port and revision decide; what Consul adds of its own does not."""
    assert is_registered_as(have, WANTED) == equal


# Turns


def test_what_is_listed_is_registered_once(agent: Agent) -> None:
    """A register each at first, and none more as long as nothing changes; every call has the token."""
    made = registrar(agent)
    want(made, spec(), spec("api", "tcp"))
    for _ in range(3):
        made._reconcile()
    assert agent.puts() == ["register web", "register api"]
    assert sorted(agent.services) == ["nexus-svc-api", "nexus-svc-web"]
    assert agent.tokens == {"the-token"}


def test_another_process_registers_each_again_once(agent: Agent) -> None:
    """With its own token, for that of the one before may be deleted; one a turn, after all else, and the check as it was."""
    first = registrar(agent)
    want(first, spec(), spec("api", "ttl", port=None), alive=("api",))
    first._reconcile()
    agent.says(web="passing")
    agent.asked.clear()
    second = registrar(agent)
    want(second, spec(), spec("api", "ttl", port=None), alive=("api",))
    for _ in range(4):
        second._reconcile()
    assert sorted(p for p in agent.puts() if p.startswith("register")) == ["register api", "register web"]
    assert agent.puts()[0] == "service:nexus-svc-api"
    assert len([p for p in agent.puts() if p == "service:nexus-svc-api"]) == 4


def test_registering_again_keeps_nothing_waiting(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs while the servers are away: the checks are kept up all the same, and it is tried again."""
    monkeypatch.setattr("remote_agents.nexus_agents.worker.consul_registration.REREGISTER_TIMEOUT", LIMIT)
    first = registrar(agent)
    want(first, spec("api", "ttl", port=None), alive=("api",))
    first._reconcile()
    agent.fails["register"] = "hang"
    second = registrar(agent)
    want(second, spec("api", "ttl", port=None), alive=("api",))
    for _ in range(2):
        with pytest.raises(ConsulError):
            second._reconcile()
    assert second.passing == {"api": True}
    agent.fails.clear()
    second._reconcile()
    assert second._registered == {"api"}


def test_what_is_not_listed_is_taken_out(agent: Agent) -> None:
    """Of our own instances all that are not listed go; what others registered on this host is theirs."""
    made = registrar(agent)
    want(made, spec(), spec("api"))
    made._reconcile()
    agent.services["theirs"] = {"Service": "theirs"}
    agent.services["nexus-orchestrator"] = {"Service": "nexus-orchestrator"}
    want(made, spec())
    made._reconcile()
    assert sorted(agent.services) == ["nexus-orchestrator", "nexus-svc-web", "theirs"]
    want(made)
    made._reconcile()
    assert sorted(agent.services) == ["nexus-orchestrator", "theirs"]


def test_a_new_revision_is_registered_anew(agent: Agent) -> None:
    """The revision stands in Consul, so a changed check follows it."""
    made = registrar(agent)
    want(made, spec())
    made._reconcile()
    want(made, spec(revision="r2"))
    made._reconcile()
    assert agent.services["nexus-svc-web"]["Meta"] == {"nexus_revision": "r2"}
    assert agent.puts() == ["register web", "register web"]


def test_an_agent_that_lost_all_is_told_again(agent: Agent) -> None:
    """Consul's agent with an empty data folder gets every registration again."""
    made = registrar(agent)
    want(made, spec())
    made._reconcile()
    agent.services.clear()
    agent.checks.clear()
    made._reconcile()
    assert list(agent.services) == ["nexus-svc-web"]


def test_before_the_first_word_nothing_is_taken_out(agent: Agent) -> None:
    """An agent that has just come leaves what is registered from before, but reads how it does."""
    first = registrar(agent)
    want(first, spec())
    first._reconcile()
    agent.says(web="passing")
    made = registrar(agent)
    made._reconcile()
    assert list(agent.services) == ["nexus-svc-web"]
    assert made.passing == {"web": True}


@pytest.mark.parametrize(("status", "passing"), [("passing", True), ("warning", False), ("critical", False)])
def test_checks_are_read(status: str, passing: bool, agent: Agent) -> None:
    """The worker learns of each of its instances whether it passes, and nothing of others' services or of the node."""
    made = registrar(agent)
    want(made, spec())
    made._reconcile()
    agent.says(web=status)
    agent.checks["theirs"] = {"CheckID": "theirs", "ServiceID": "theirs", "Status": "critical"}
    agent.checks["disk"] = {"CheckID": "disk", "ServiceID": "", "Status": "critical"}
    made._reconcile()
    assert made.passing == {"web": passing}


def test_the_worker_is_woken_when_a_check_changes(agent: Agent) -> None:
    """`changed` is set for news only."""
    made = registrar(agent)
    want(made, spec())
    made._reconcile()
    made._reconcile()
    made._changed.clear()
    made._reconcile()
    assert not made._changed.is_set()
    agent.says(web="passing")
    made._reconcile()
    assert made._changed.is_set()


def test_a_ttl_check_is_vouched_for_by_the_worker(agent: Agent) -> None:
    """It passes in each turn in which the process runs, and fails in each in which it does not."""
    made = registrar(agent)
    want(made, spec("job", "ttl", port=None), alive=("job",))
    made._reconcile()
    assert agent.checks["service:nexus-svc-job"]["Status"] == "passing"
    want(made, spec("job", "ttl", port=None), alive=("other",))
    made._reconcile()
    assert agent.checks["service:nexus-svc-job"]["Status"] == "critical"


# Failures


@pytest.mark.parametrize(("path", "fault"), [
    ("/v1/agent/services", 500), ("/v1/agent/services", "hang"), ("/v1/agent/checks", 500), ("/v1/agent/checks", "hang"),
    ("register", 500), ("register", 403), ("pass", "hang"), ("pass", 500), ("deregister", 500)])  # fmt: skip
def test_a_failure_is_a_consul_error_and_passes(path: str, fault: int | str, agent: Agent) -> None:
    """A call that fails or hangs ends within its limit as ConsulError, and the next good turn makes up for it."""
    first = registrar(agent)
    want(first, spec("old"))
    first._reconcile()
    made = registrar(agent)
    want(made, spec(), spec("job", "ttl"), alive=("job",))
    agent.fails[path] = fault
    for _ in range(2):
        try_turn(made)
    agent.fails.clear()
    made._reconcile()
    assert sorted(agent.services) == ["nexus-svc-job", "nexus-svc-web"]
    assert agent.checks["service:nexus-svc-job"]["Status"] == "passing"


def try_turn(made: Registrar) -> None:
    """A turn in which Consul may fail; anything else may not."""
    try:
        made._reconcile()
    except ConsulError:
        return


@pytest.mark.parametrize(("path", "fault"), [
    ("register a", 500), ("register a", 403), ("deregister/nexus-svc-old", 500), ("deregister/nexus-svc-old", 404),
    ("pass/service:nexus-svc-a", 500), ("pass/service:nexus-svc-a", "hang")])  # fmt: skip
def test_one_that_fails_takes_no_other_with_it(path: str, fault: int | str, agent: Agent) -> None:
    """While Consul refuses one instance, or hangs over it, the others are registered and vouched for in each turn."""
    first = registrar(agent)
    want(first, spec("old"))
    first._reconcile()
    made = registrar(agent)
    want(made, spec("a", "ttl"), spec("b", "ttl"), alive=("a", "b"))
    agent.fails[path] = fault
    for _ in range(3):
        try_turn(made)
    assert "nexus-svc-b" in agent.services
    assert agent.checks["service:nexus-svc-b"]["Status"] == "passing"


class Enough(Exception):
    """Ends the endless loop."""


def run(made: Registrar, turns: int) -> None:
    """The thread's own loop for so many turns, in this thread and without its pauses."""
    left = iter(range(turns - 1))

    def pause(_: float) -> bool:
        if next(left, None) is None:
            raise Enough
        return True

    made._due.wait = pause  # type: ignore[method-assign, assignment]
    with pytest.raises(Enough):
        made.run()


def test_an_agent_that_is_away_is_told_of_once(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """The loop goes on, says once that Consul is away, and once more after it was back."""
    made = registrar(agent)
    want(made, spec())
    agent.fails["/v1"] = 500
    run(made, 4)
    assert not made.fresh()
    assert capsys.readouterr().out.count("\n") == 1
    agent.fails.clear()
    run(made, 2)
    assert made.fresh()
    agent.fails["/v1"] = 500
    run(made, 2)
    assert capsys.readouterr().out.count("the services go on") == 1


@pytest.mark.parametrize("body", [b"null", b"[]", b"{}", b"", b"no json"])
@pytest.mark.parametrize("path", ["services", "checks"])
def test_the_loop_survives_every_answer(path: str, body: bytes, agent: Agent) -> None:
    """An agent that is starting may say anything; the thread must not end of it, for nobody would start it again."""
    made = registrar(agent)
    want(made, spec())
    agent.fails[f"/v1/agent/{path}"] = body
    run(made, 2)
    agent.fails.clear()
    run(made, 2)
    assert list(agent.services) == ["nexus-svc-web"]


def test_a_registrar_has_a_connection_of_its_own(agent: Agent) -> None:
    """The client is not the worker's: no two threads share one."""
    consul = Consul("the-token", agent.address, LIMIT)
    made = Registrar(consul, "10.0.0.2", "203.0.113.2", threading.Event())
    assert made._consul is not consul
    assert made.daemon
