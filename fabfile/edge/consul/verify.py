"""The seed's success criteria as checks against the running cluster: each yields one verdict with its reason."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...core.errors import NexusError
from ...core.judge.health import Health
from ..disk.pki import WARN_DAYS, days_left
from ..disk.state import State
from ..disk.vault import Vault
from ..ssh.connection import Remote
from ..ssh.fleet import Fleet
from .client import Consul

_PATIENCE = 15.0  # seconds for a service to be seen, or to be gone
_TOKEN_TTL = 30.0  # seconds for which a Consul agent may remember that it did not know a token yet (acl_token_ttl)
_NOT_KNOWN = "ACL not found"
_ERROR_LINES = r"\[ERR\]|\[ERROR\]|\[FATAL\]|\"level\":\"(error|fatal|panic)\"|^panic:"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `inv verify`."""

    name: str
    passed: bool
    detail: str


def verify(fleet: Fleet, health: Health) -> Iterator[Check]:
    """Every criterion, one after the other; each stands for itself."""
    yield _servers_alive(health)
    leader = health.word.leader
    yield Check("the cluster has a leader", leader is not None, leader or "no raft leader")
    yield _units_active(health)
    reachable = [fleet[h.host.name] for h in health.hosts if h.reachable]
    managers = [r for r in reachable if r.host.has("manager")]
    lost = [h.host for h in health.hosts if not h.reachable]
    yield _tried("the API answers on every manager", lambda: _api(managers, [h.name for h in lost if h.has("manager")]))
    yield _tried("no errors in the units' logs since the deploy", lambda: _logs(fleet, health))
    yield _tried("the certificates are good for a while", lambda: _certificates(health))
    workers = [r for r in reachable if r.host.has("worker")] or managers
    yield _tried("a test service is registered, seen passing, and removed", lambda: _service(workers, managers))


def _tried(name: str, check: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *check())
    except NexusError as error:
        return Check(name, False, str(error).splitlines()[0])


def _servers_alive(health: Health) -> Check:
    states = {h.host.name: h.consul for h in health.hosts if h.host.has("manager")}
    alive = [name for name, state in states.items() if state == "alive"]
    detail = ", ".join(f"{name} {state}" for name, state in states.items())
    return Check("the servers are alive in the member list", len(alive) == len(states), detail)


def _units_active(health: Health) -> Check:
    bad = [f"{h.host.name}: {u} {s}" for h in health.hosts for u, s in h.units.items() if s != "active"]
    count = sum(len(h.units) for h in health.hosts)
    return Check("the units are active", not bad, ", ".join(bad) or f"{count} units on {len(health.hosts)} hosts")


def _api(managers: Sequence[Remote], lost: Sequence[str]) -> tuple[bool, str]:
    for remote in managers:
        Consul(remote).agent.self()
    return not lost, _unseen(lost) or ", ".join(r.host.name for r in managers)


def _unseen(lost: Sequence[str]) -> str:
    """Why nothing can be said of these hosts; empty where there are none."""
    return f"{', '.join(lost)} could not be reached" if lost else ""


def _logs(fleet: Fleet, health: Health) -> tuple[bool, str]:
    """A new token may be unknown to an agent for a while after the deploy: that alone is no error. Logs that nobody could
    read are no good logs.
    """
    at = State(health.cluster.state).verified()
    age = time.time() - at if at else None
    found = []
    for h in (h for h in health.hosts if h.reachable):
        lines = _errors(fleet[h.host.name], h.units, age)
        if age is not None and any(_NOT_KNOWN in line for line in lines):
            lasting = _errors(fleet[h.host.name], h.units, age - _TOKEN_TTL) if age > _TOKEN_TTL else []
            lines = [line for line in lines if _NOT_KNOWN not in line or line in lasting]
        found += [f"{h.host.name}: {line}" for line in lines]
    if found:
        return False, f"{len(found)} lines, the last: {found[-1]}"
    lost = [h.host.name for h in health.hosts if not h.reachable]
    return not lost, _unseen(lost) or "none"


def _errors(remote: Remote, units: Iterable[str], age: float | None) -> list[str]:
    """Of the last `age` seconds, not since a time: the hosts' clocks need not agree with ours. None: since the boot."""
    when = ["-b"] if age is None else ["--since", f"-{age:.0f}s"]
    chosen = [word for unit in units for word in ("-u", unit)]
    argv = ["journalctl", "-q", "--no-pager", "-o", "cat", *when, *chosen, f"--grep={_ERROR_LINES}"]
    return [line.strip() for line in remote.run(argv, timeout=30).out.decode("utf-8", "replace").splitlines()]


def _certificates(health: Health) -> tuple[bool, str]:
    secrets = Vault(health.cluster.state).load()
    if secrets is None:
        return False, "no secrets.json"
    left, name = min((days_left(pair.cert), name) for name, pair in secrets.certs.items())
    return left >= WARN_DAYS, f"{left} days left ({name})" + ("" if left >= WARN_DAYS else ": inv secrets.rotate certs")


def _service(workers: Sequence[Remote], managers: Sequence[Remote]) -> tuple[bool, str]:
    """Consul's own TCP check of its own port: a real check, of something that is surely there."""
    if not managers:
        return False, "no manager could be reached, so nobody can be asked"
    name = f"nexus-verify-{secrets.token_hex(3)}"
    where, asked = Consul(workers[0]), Consul(managers[0])
    if not asked.status.leader():  # an agent that cannot ask about our token registers it whenever it can, maybe after us
        return False, "there is no raft leader, so nothing was registered"
    began = time.monotonic()
    registration = {"Name": name, "Port": 8500, "Check": {"TCP": "127.0.0.1:8500", "Interval": "1s", "Timeout": "1s"}}
    try:
        where.ask("PUT", "/v1/agent/service/register", registration)
        seen = _until(lambda: bool(asked.ask("GET", f"/v1/health/service/{name}?passing")))
    finally:
        where.agent.service.deregister(name)
    gone = _until(lambda: not asked.ask("GET", f"/v1/health/service/{name}"))
    took = f"on {workers[0].host.name}, seen from {managers[0].host.name}, {time.monotonic() - began:.1f} s in all"
    return (
        seen and gone,
        took if seen and gone else "never seen passing" if not seen else "still listed after its removal",
    )


def _until(true: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE
    while not true():
        if time.monotonic() > until:
            return False
        time.sleep(0.2)
    return True
