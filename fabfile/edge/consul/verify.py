"""The seed's success criteria as checks against the running cluster, each with a verdict and a reason."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...core.errors import NexusError
from ...core.judge.health import Health
from ...core.judge.log_lines import HARMLESS, TOKEN_TTL, Harmless, LogLine, read_log_lines, split, summary
from ..disk.pki import WARN_DAYS, days_left
from ..disk.state import State
from ..disk.vault import Vault
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet
from .client import Consul
from .reach import hosts_reach_each_other

_PATIENCE = 15.0  # seconds for a service to appear, or to disappear
_ERROR_LINES = r"\[ERR\]|\[ERROR\]|\[FATAL\]|\"level\":\"(error|fatal|panic)\"|^panic:"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `inv verify`."""

    name: str
    passed: bool
    detail: str


def verify(fleet: Fleet, health: Health) -> Iterator[Check]:
    """Checks every criterion, one after the other; none depends on another."""
    yield _servers_alive(health)
    leader = health.consul.leader
    yield Check("the cluster has a leader", leader is not None, leader or "no raft leader")
    yield _units_active(health)
    yield _nothing_drifted(health)
    yield _agents_hear(health)
    reachable = [fleet[h.host.name] for h in health.hosts if h.reachable]
    managers = [r for r in reachable if r.host.has("manager")]
    lost = [h.host.name for h in health.hosts if not h.reachable and h.host.has("manager")]
    yield _check("the API answers on every manager", lambda: _api_answers(managers, lost))
    yield _check("the hosts reach each other's ports", lambda: _ports_answer(fleet, health))
    yield _check("no errors in the units' logs since the deploy", lambda: _logs_clean(fleet, health))
    yield _check("the certificates are good for a while", lambda: _certificates_valid(health))
    workers = [r for r in reachable if r.host.has("worker")] or managers
    name = "a test service is registered, seen passing, and removed"
    yield _check(name, lambda: _service_registers(workers, managers))


def _check(name: str, check: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *check())
    except NexusError as error:
        return Check(name, False, error.first_line)


def _servers_alive(health: Health) -> Check:
    states = {h.host.name: h.consul for h in health.hosts if h.host.has("manager")}
    alive = [name for name, state in states.items() if state == "alive"]
    detail = ", ".join(f"{name} {state}" for name, state in states.items())
    return Check("the servers are alive in the member list", len(alive) == len(states), detail)


def _units_active(health: Health) -> Check:
    bad = [f"{h.host.name}: {u} {s}" for h in health.hosts for u, s in h.units.items() if s != "active"]
    count = sum(len(h.units) for h in health.hosts)
    return Check("the units are active", not bad, ", ".join(bad) or f"{count} units on {len(health.hosts)} hosts")


def _nothing_drifted(health: Health) -> Check:
    drifted = [f"{h.host.name}: {line}" for h in health.hosts for line in h.drift]
    detail = ", ".join([*drifted, *_not_asked(health)])
    return Check("firewalls and units are in force as deployed", not detail, detail or f"on {len(health.hosts)} hosts")


def _agents_hear(health: Health) -> Check:
    deaf = [f"{h.host.name}: {unit} {words}" for h in health.hosts for unit, words in h.deaf.items()]
    lost = [f"Consul's ACLs: {line}" for line in health.consul.acls]
    mute = [f"{name}: Consul cannot write its own entry" for name in sorted(health.consul.reserved)]
    faults = [*deaf, *mute, *lost, *_not_asked(health)]
    return Check("the agents read and write Consul", not faults, "; ".join(faults) or "with the tokens that they have")


def _api_answers(managers: Sequence[Remote], lost: Sequence[str]) -> tuple[bool, str]:
    for remote in managers:
        Consul(remote).agent.self()
    return not lost, _unreachable(lost) or ", ".join(r.host.name for r in managers)


def _ports_answer(fleet: Fleet, health: Health) -> tuple[bool, str]:
    """Consul's checks are local, so that all of them pass behind a firewall that lets nobody in."""
    passed, detail = hosts_reach_each_other({h.host.name: fleet[h.host.name] for h in health.hosts if h.reachable}, health)
    lost = _not_asked(health)
    return passed and not lost, "; ".join([*lost, *([] if passed and lost else [detail])])


def _not_asked(health: Health) -> list[str]:
    """Why some hosts of the cluster could not be checked, in one sentence; empty when all could."""
    lost = [h.host.name for h in health.hosts if not h.reachable]
    return [_unreachable(lost)] if lost else []


def _unreachable(lost: Sequence[str]) -> str:
    """Why these hosts could not be checked; empty when there are none."""
    return f"{', '.join(lost)} could not be reached" if lost else ""


def _logs_clean(fleet: Fleet, health: Health) -> tuple[bool, str]:
    """No error lines but the harmless ones of `log_lines`. Logs that could not be read fail the check."""
    verified = State(health.cluster.state).verified()
    age = time.time() - verified if verified else None
    bad: list[tuple[str, LogLine]] = []
    known: list[Harmless] = []
    for h in (h for h in health.hosts if h.reachable):
        lines = _error_lines(fleet[h.host.name], h.units, age)
        faults, harmless = split(lines, _late(fleet[h.host.name], h.units, age, lines))
        bad += [(h.host.name, line) for line in faults]
        known += harmless
    if bad:
        return False, summary(bad, known)
    lost = _not_asked(health)
    return not lost, "".join(lost) or summary(bad, known)


def _late(remote: Remote, units: Iterable[str], age: float | None, lines: Sequence[LogLine]) -> Sequence[LogLine]:
    """Of these lines, those that came after the first TOKEN_TTL after the deploy; all, where no deploy is known."""
    if age is None or not any(rule.at_first and rule.fits(line) for rule in HARMLESS for line in lines):
        return lines
    return _error_lines(remote, units, age - TOKEN_TTL) if age > TOKEN_TTL else []


def _error_lines(remote: Remote, units: Iterable[str], age: float | None) -> list[LogLine]:
    """Error lines of the last `age` seconds (None: since boot). An age, for the hosts' clocks may differ."""
    when = ["-b"] if age is None else ["--since", f"-{age:.0f}s"]
    chosen = [word for unit in units for word in ("-u", unit)]
    form = ["--all", "--output=json", "--output-fields=MESSAGE,UNIT,_SYSTEMD_UNIT"]  # --all: long messages, too
    argv = ["journalctl", "-q", "--no-pager", *form, *when, *chosen, f"--grep={_ERROR_LINES}"]
    return read_log_lines(remote.run(argv, timeout=30, repeat=True).out)


def _certificates_valid(health: Health) -> tuple[bool, str]:
    secrets = Vault(health.cluster.state).load()
    if secrets is None:
        return False, "no secrets.json"
    left, name = min((days_left(pair.cert), name) for name, pair in secrets.certs.items())
    return left >= WARN_DAYS, f"{left} days left ({name})" + ("" if left >= WARN_DAYS else ": inv secrets.rotate certs")


def _service_registers(workers: Sequence[Remote], managers: Sequence[Remote]) -> tuple[bool, str]:
    """Registers a service with a TCP check of Consul's own port: a real check of something that surely answers."""
    if not managers:
        return False, "no manager could be reached, so nobody can be asked"
    name = f"nexus-verify-{secrets.token_hex(3)}"
    worker, manager = Consul(workers[0]), Consul(managers[0])
    if not manager.status.leader():  # the agent would register the service later, maybe after we removed it
        return False, "there is no raft leader, so nothing was registered"
    began = time.monotonic()
    registration = {"Name": name, "Port": 8500, "Check": {"TCP": "127.0.0.1:8500", "Interval": "1s", "Timeout": "1s"}}
    try:
        worker.request("PUT", "/v1/agent/service/register", registration)
        seen = _wait_until(lambda: bool(manager.request("GET", f"/v1/health/service/{name}?passing")))
    finally:
        worker.agent.service.deregister(name)
    gone = _wait_until(lambda: not manager.request("GET", f"/v1/health/service/{name}"))
    took = f"on {workers[0].host.name}, seen from {managers[0].host.name}, {time.monotonic() - began:.1f} s in all"
    return (
        seen and gone,
        took if seen and gone else "never seen passing" if not seen else "still listed after its removal",
    )


def _wait_until(condition: Callable[[], bool]) -> bool:
    """False when the condition does not hold within _PATIENCE."""
    until = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
