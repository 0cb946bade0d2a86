"""Registrations at Consul's agent, against a real HTTP server that answers as an agent does, fails, or hangs."""

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

TIMEOUT = 0.3  # seconds for a call


Spec = dict[str, Any]


def spec(name: str = "web", kind: str = "http", revision: str = "r1", port: int | None = 8080, **check: Any) -> Spec:
    return {
        "name": name, "revision": revision, "port": port,
        "check": {"kind": kind, "path": "/health" if kind == "http" else "", "interval": 2.0, "timeout": 1.0, **check},
    }  # fmt: skip


class Agent:
    """Consul's agent: stores registrations and checks.

    `requests`: one line for each, `PUT /v1/agent/service/register web`; `fails`: part of such a line -> a status, "hang", or
    the body of a 200.
    """

    def __init__(self) -> None:
        self.services: dict[str, Any] = {}
        self.checks: dict[str, Any] = {}
        self.fails: dict[str, int | str | bytes] = {}
        self.requests: list[str] = []
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
        """The ends of all PUT requests, such as `register web`, in order; those that failed too."""
        return [line.rpartition("/")[2] for line in self.requests if line.startswith("PUT")]

    def _answer(self, http: BaseHTTPRequestHandler, body: bytes) -> None:
        payload = json.loads(body) if body else {}
        name = f" {payload['Name']}" if "Name" in payload else ""
        self.requests.append(f"{http.command} {http.path}{name}")
        self.tokens.add(http.headers.get("X-Consul-Token"))
        fault = next((f for part, f in self.fails.items() if part in self.requests[-1]), None)
        if fault == "hang":
            self._over.wait(10)
            return
        result = json.dumps(self._execute(http.path, payload)).encode() if fault is None else b"out of order"
        content = fault if isinstance(fault, bytes) else result
        http.send_response(fault if isinstance(fault, int) else 200)
        http.send_header("Content-Length", str(len(content)))
        http.end_headers()
        http.wfile.write(content)

    def _execute(self, path: str, payload: Mapping[str, Any]) -> Any:
        words = path.split("/")[3:]
        if words == ["services"]:
            return self.services
        if words == ["checks"]:
            return self.checks
        if words[1] == "register":
            self.services[payload["ID"]] = {**{k: v for k, v in payload.items() if k not in ("Check", "Name")},
                                         "Service": payload["Name"], "Weights": {"Passing": 1, "Warning": 1}}  # fmt: skip
            kind = next(k.lower() for k in ("HTTP", "TCP", "TTL") if k in payload["Check"])
            check = {"CheckID": payload["Check"]["CheckID"], "ServiceID": payload["ID"], "Status": "critical", "Type": kind}
            self.checks[check["CheckID"]] = check
        elif words[1] == "deregister":
            self.services.pop(words[2])
            self.checks = {k: c for k, c in self.checks.items() if c["ServiceID"] != words[2]}
        else:
            self.checks[words[2]]["Status"] = {"pass": "passing", "fail": "critical"}[words[1]]
        return None

    def set_checks(self, **statuses: str) -> None:
        for name, status in statuses.items():
            self.checks[f"service:nexus-svc-{name}"]["Status"] = status


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("NO_PROXY", "*")
    fake = Agent()
    yield fake
    fake.close()


def new_registrar(agent: Agent) -> Registrar:
    """Not started: each test calls `_reconcile` itself."""
    return Registrar(Consul("the-token", agent.address, TIMEOUT), "10.0.0.2", "203.0.113.2", threading.Event())


def set_desired(registrar: Registrar, *specs: Mapping[str, Any], running: tuple[str, ...] = ()) -> None:
    registrar.set_desired({s["name"]: s for s in specs}, frozenset(running))


# Registrations


@pytest.mark.parametrize(("own", "check"), [
    (spec(), {"HTTP": "http://10.0.0.2:8080/health", "Interval": "2000ms", "Timeout": "1000ms"}),
    (spec(path="/h?deep=1", interval=1.5, timeout=0.1), {
        "HTTP": "http://10.0.0.2:8080/h?deep=1", "Interval": "1500ms", "Timeout": "100ms"}),
    (spec(kind="tcp", interval=3600.0), {"TCP": "10.0.0.2:8080", "Interval": "3600000ms", "Timeout": "1000ms"}),
    (spec(kind="ttl"), {"TTL": "10s"}),
    (spec(kind="ttl", port=None), {"TTL": "10s"}),
])  # fmt: skip
def test_a_registration_is_what_consul_needs(own: dict[str, Any], check: dict[str, str]) -> None:
    """The check connects to the local address, other hosts get the advertised one; without a port it is 0."""
    assert registration(own, "10.0.0.2", "203.0.113.2") == {
        "ID": "nexus-svc-web", "Name": "web", "Address": "203.0.113.2", "Port": own["port"] or 0, "Tags": ["nexus"],
        "Meta": {"nexus_revision": "r1"}, "Check": {**check, "CheckID": "service:nexus-svc-web"},
    }  # fmt: skip


@given(st.integers(1000, 3_600_000), st.integers(100, 300_000))
def test_durations_reach_consul_to_the_millisecond(interval: int, timeout: int) -> None:
    """Every valid duration becomes whole milliseconds in Go's form."""
    check = registration(spec(interval=interval / 1000, timeout=timeout / 1000), "a", "b")["Check"]
    assert (check["Interval"], check["Timeout"]) == (f"{interval}ms", f"{timeout}ms")


DESIRED = registration(spec(), "10.0.0.2", "203.0.113.2")


@pytest.mark.parametrize(("current", "equal"), [
    (None, False), ({}, False), (DESIRED, True), ({**DESIRED, "Weights": {}, "EnableTagOverride": False}, True),
    ({**DESIRED, "Address": "203.0.113.3"}, False), ({**DESIRED, "Port": 8081}, False), ({**DESIRED, "Meta": None}, False),
    ({**DESIRED, "Meta": {"nexus_revision": "r2"}}, False)])  # fmt: skip
def test_registrations_are_compared(current: Mapping[str, Any] | None, equal: bool) -> None:
    """Address, port and revision decide; fields that Consul adds do not."""
    assert is_registered_as(current, DESIRED) == equal


# Turns


def test_each_desired_instance_is_registered_once(agent: Agent) -> None:
    """One registration each, and no more while nothing changes; every call has the token."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec(), spec("api", "tcp"))
    for _ in range(3):
        registrar._reconcile()
    assert agent.puts() == ["register web", "register api"]
    assert sorted(agent.services) == ["nexus-svc-api", "nexus-svc-web"]
    assert agent.tokens == {"the-token"}


def test_another_process_registers_each_again_once(agent: Agent) -> None:
    """With its own token, as the former one may be deleted; one a turn, after all else, and the check keeps its state."""
    first = new_registrar(agent)
    set_desired(first, spec(), spec("api", "ttl", port=None), running=("api",))
    first._reconcile()
    agent.set_checks(web="passing")
    agent.requests.clear()
    second = new_registrar(agent)
    set_desired(second, spec(), spec("api", "ttl", port=None), running=("api",))
    for _ in range(4):
        second._reconcile()
    assert sorted(p for p in agent.puts() if p.startswith("register")) == ["register api", "register web"]
    assert agent.puts()[0] == "service:nexus-svc-api"
    assert len([p for p in agent.puts() if p == "service:nexus-svc-api"]) == 4


def test_registering_again_delays_nothing(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs while the servers are away: the checks are refreshed all the same, and it is tried again."""
    monkeypatch.setattr("remote_agents.nexus_agents.worker.consul_registration.REREGISTER_TIMEOUT", TIMEOUT)
    first = new_registrar(agent)
    set_desired(first, spec("api", "ttl", port=None), running=("api",))
    first._reconcile()
    agent.fails["register"] = "hang"
    second = new_registrar(agent)
    set_desired(second, spec("api", "ttl", port=None), running=("api",))
    for _ in range(2):
        with pytest.raises(ConsulError):
            second._reconcile()
    assert second.passing == {"api": True}
    agent.fails.clear()
    second._reconcile()
    assert second._registered == {"api"}


def test_an_undesired_instance_is_deregistered(agent: Agent) -> None:
    """All of our own instances that are not desired are deregistered; other services of the host stay."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec(), spec("api"))
    registrar._reconcile()
    agent.services["theirs"] = {"Service": "theirs"}
    agent.services["nexus-orchestrator"] = {"Service": "nexus-orchestrator"}
    set_desired(registrar, spec())
    registrar._reconcile()
    assert sorted(agent.services) == ["nexus-orchestrator", "nexus-svc-web", "theirs"]
    set_desired(registrar)
    registrar._reconcile()
    assert sorted(agent.services) == ["nexus-orchestrator", "theirs"]


def test_a_new_revision_is_registered_again(agent: Agent) -> None:
    """Consul has the revision, so a changed check follows from it."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    registrar._reconcile()
    set_desired(registrar, spec(revision="r2"))
    registrar._reconcile()
    assert agent.services["nexus-svc-web"]["Meta"] == {"nexus_revision": "r2"}
    assert agent.puts() == ["register web", "register web"]


def test_an_agent_that_lost_its_data_gets_all_again(agent: Agent) -> None:
    """Consul's agent with an empty data folder gets every registration again."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    registrar._reconcile()
    agent.services.clear()
    agent.checks.clear()
    registrar._reconcile()
    assert list(agent.services) == ["nexus-svc-web"]


def test_before_the_first_orders_nothing_is_deregistered(agent: Agent) -> None:
    """A new registrar leaves older registrations alone, but reads their checks."""
    first = new_registrar(agent)
    set_desired(first, spec())
    first._reconcile()
    agent.set_checks(web="passing")
    registrar = new_registrar(agent)
    registrar._reconcile()
    assert list(agent.services) == ["nexus-svc-web"]
    assert registrar.passing == {"web": True}


@pytest.mark.parametrize(("status", "passing"), [("passing", True), ("warning", False), ("critical", False)])
def test_checks_are_read(status: str, passing: bool, agent: Agent) -> None:
    """`passing` has each of the worker's instances, and neither other services nor the node."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    registrar._reconcile()
    agent.set_checks(web=status)
    agent.checks["theirs"] = {"CheckID": "theirs", "ServiceID": "theirs", "Status": "critical"}
    agent.checks["disk"] = {"CheckID": "disk", "ServiceID": "", "Status": "critical"}
    registrar._reconcile()
    assert registrar.passing == {"web": passing}


def test_the_worker_is_woken_when_a_check_changes(agent: Agent) -> None:
    """`changed` is set only when a check's state changes."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    registrar._reconcile()
    registrar._reconcile()
    registrar._changed.clear()
    registrar._reconcile()
    assert not registrar._changed.is_set()
    agent.set_checks(web="passing")
    registrar._reconcile()
    assert registrar._changed.is_set()


def test_a_ttl_check_is_refreshed_by_the_worker(agent: Agent) -> None:
    """It passes in each turn in which the process runs, and fails in each in which it does not."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec("job", "ttl", port=None), running=("job",))
    registrar._reconcile()
    assert agent.checks["service:nexus-svc-job"]["Status"] == "passing"
    set_desired(registrar, spec("job", "ttl", port=None), running=("other",))
    registrar._reconcile()
    assert agent.checks["service:nexus-svc-job"]["Status"] == "critical"


# Failures


@pytest.mark.parametrize(("path", "fault"), [
    ("/v1/agent/services", 500), ("/v1/agent/services", "hang"), ("/v1/agent/checks", 500), ("/v1/agent/checks", "hang"),
    ("register", 500), ("register", 403), ("pass", "hang"), ("pass", 500), ("deregister", 500)])  # fmt: skip
def test_a_failure_is_a_consul_error_and_passes(path: str, fault: int | str, agent: Agent) -> None:
    """A call that fails or hangs ends within its timeout as ConsulError, and the next good turn makes up for it."""
    first = new_registrar(agent)
    set_desired(first, spec("old"))
    first._reconcile()
    registrar = new_registrar(agent)
    set_desired(registrar, spec(), spec("job", "ttl"), running=("job",))
    agent.fails[path] = fault
    for _ in range(2):
        try_turn(registrar)
    agent.fails.clear()
    registrar._reconcile()
    assert sorted(agent.services) == ["nexus-svc-job", "nexus-svc-web"]
    assert agent.checks["service:nexus-svc-job"]["Status"] == "passing"


def try_turn(registrar: Registrar) -> None:
    """A turn in which only Consul may fail."""
    try:
        registrar._reconcile()
    except ConsulError:
        return


@pytest.mark.parametrize(("path", "fault"), [
    ("register a", 500), ("register a", 403), ("deregister/nexus-svc-old", 500), ("deregister/nexus-svc-old", 404),
    ("pass/service:nexus-svc-a", 500), ("pass/service:nexus-svc-a", "hang")])  # fmt: skip
def test_a_failing_instance_does_not_affect_the_others(path: str, fault: int | str, agent: Agent) -> None:
    """While Consul refuses one instance or hangs, the others are registered and refreshed in each turn."""
    first = new_registrar(agent)
    set_desired(first, spec("old"))
    first._reconcile()
    registrar = new_registrar(agent)
    set_desired(registrar, spec("a", "ttl"), spec("b", "ttl"), running=("a", "b"))
    agent.fails[path] = fault
    for _ in range(3):
        try_turn(registrar)
    assert "nexus-svc-b" in agent.services
    assert agent.checks["service:nexus-svc-b"]["Status"] == "passing"


class LoopEnd(Exception):
    """Ends the endless loop."""


def run(registrar: Registrar, turns: int) -> None:
    """Runs so many turns of the thread's loop in this thread, without pauses."""
    remaining = iter(range(turns - 1))

    def pause(_: float) -> bool:
        if next(remaining, None) is None:
            raise LoopEnd
        return True

    registrar._due.wait = pause  # type: ignore[method-assign, assignment]
    with pytest.raises(LoopEnd):
        registrar.run()


def test_an_agent_that_is_away_is_logged_once(agent: Agent, capsys: pytest.CaptureFixture[str]) -> None:
    """The loop goes on, logs once that Consul is away, and once more after it was back."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    agent.fails["/v1"] = 500
    run(registrar, 4)
    assert not registrar.is_fresh()
    assert capsys.readouterr().out.count("\n") == 1
    agent.fails.clear()
    run(registrar, 2)
    assert registrar.is_fresh()
    agent.fails["/v1"] = 500
    run(registrar, 2)
    assert capsys.readouterr().out.count("the services go on") == 1


@pytest.mark.parametrize("body", [b"null", b"[]", b"{}", b"", b"no json"])
@pytest.mark.parametrize("path", ["services", "checks"])
def test_the_loop_survives_every_answer(path: str, body: bytes, agent: Agent) -> None:
    """A starting agent may answer anything; that must not end the thread, as nothing would start it again."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec())
    agent.fails[f"/v1/agent/{path}"] = body
    run(registrar, 2)
    agent.fails.clear()
    run(registrar, 2)
    assert list(agent.services) == ["nexus-svc-web"]


def test_a_registrar_has_a_connection_of_its_own(agent: Agent) -> None:
    """The registrar's client is not the worker's: no two threads share one."""
    consul = Consul("the-token", agent.address, TIMEOUT)
    registrar = Registrar(consul, "10.0.0.2", "203.0.113.2", threading.Event())
    assert registrar._consul is not consul
    assert registrar.daemon


@pytest.mark.parametrize(("kind", "vouched"), [("http", []), ("ttl", ["pass"])])
def test_what_is_kept_stays_as_it_is(agent: Agent, kind: str, vouched: list[str]) -> None:
    """An older version that goes on while an image is pulled: only the worker's word for a TTL check goes on, too."""
    registrar = new_registrar(agent)
    set_desired(registrar, spec(kind=kind), running=("web",))
    registrar._reconcile()
    before = dict(agent.services["nexus-svc-web"])
    agent.requests.clear()
    registrar.set_desired({"web": None}, frozenset({"web"}))
    registrar._reconcile()
    assert agent.services["nexus-svc-web"] == before
    assert [line.split("/")[-2] for line in agent.requests if line.startswith("PUT")] == vouched


def test_nothing_is_registered_where_nothing_is_there_to_keep(agent: Agent) -> None:
    registrar = new_registrar(agent)
    registrar.set_desired({"web": None}, frozenset())
    registrar._reconcile()
    assert (agent.services, agent.puts()) == ({}, [])


def test_a_service_with_a_domain_is_asked_for_it() -> None:
    """As the load balancer asks: by that name, and as if by HTTPS."""
    own = {**spec(), "check_host": "web.test"}
    made = registration(own, "10.0.0.2", "203.0.113.2")
    assert made["Check"]["Header"] == {"Host": ["web.test"], "X-Forwarded-Proto": ["https"]}
    assert made["Check"]["HTTP"] == "http://10.0.0.2:8080/health"


def test_another_domain_is_another_registration(agent: Agent) -> None:
    """And nothing else changes: the revision is the same, so no instance is replaced."""
    registrar = new_registrar(agent)
    for host, again in (("a.test", 1), ("a.test", 0), ("b.test", 1), (None, 1), (None, 0)):
        own = {**spec(), **({"check_host": host} if host else {})}
        registrar._registered.add("web")  # as by this process: no other reason to register
        agent.requests.clear()
        set_desired(registrar, own)
        registrar._reconcile()
        assert agent.puts() == ["register web"] * again
        assert agent.services["nexus-svc-web"]["Meta"]["nexus_revision"] == "r1"


@pytest.mark.parametrize(("kind", "status", "output", "answer"), [
    ("http", "critical", "HTTP GET http://10.0.0.2:8080/health: 400 Bad Request Output: <html>\n<h1>Bad", "HTTP GET "
     "http://10.0.0.2:8080/health: 400 Bad Request"),
    ("tcp", "critical", "dial tcp 10.0.0.2:8080:\n connect: connection refused",
     "dial tcp 10.0.0.2:8080: connect: connection refused"),
    ("http", "passing", "HTTP GET http://10.0.0.2:8080/health: 200 OK Output: ok", None),
    ("http", "critical", "", None), ("ttl", "critical", "TTL expired", None), ("http", "critical", "x" * 999, "x" * 200),
])  # fmt: skip
def test_what_a_failing_check_said_is_kept(agent: Agent, kind: str, status: str, output: str, answer: str | None) -> None:
    """In one line, without the page behind it. The worker's own word is none."""
    agent.checks["c"] = {"ServiceID": "nexus-svc-web", "Status": status, "Type": kind, "Output": output}
    registrar = new_registrar(agent)
    registrar._read()
    assert registrar.answers == ({} if answer is None else {"web": answer})
