"""What operators do with services: wait until they are as wanted, restart an instance, read logs, move the primary."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from ...core.errors import HostError, InputError, Refused
from ...core.foreign import understood
from ...core.judge.fencing import read_event
from ...core.judge.service_health import ServiceHealth, ServicesHealth
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.exec_channel import WATCHED
from ..ssh.fanout import for_each_host
from ..ssh.fleet import Fleet
from .client import Consul
from .overview import first_answer, services_health

PROMOTE = "nexus/promote"
EVENTS = "nexus/events/"
POLL_INTERVAL = 0.5  # seconds between two reads
CRASH_LOOP_PATIENCE = 5.0  # seconds to go on waiting when all that is missing crashes in a loop
HANDOVER_TIMEOUT = 20.0  # seconds; a handover takes less than one


def managers(fleet: Fleet) -> list[Remote]:
    """The connections to all managers, in the inventory's order."""
    return fleet.of(fleet.cluster.having("manager"))


def _consul_with_leader(servers: list[Remote]) -> Consul:
    """Consul on the first manager that knows a raft leader. HostError when none does."""

    def require_leader(consul: Consul) -> Consul:
        if not consul.status.leader():
            raise HostError(consul.host, "its Consul knows no raft leader", "inv status")
        return consul

    return first_answer(servers, require_leader)


def health_of(fleet: Fleet, name: str) -> ServiceHealth:
    """The health of one service. InputError when the cluster has no such service."""
    found = {s.name: s for s in services_health(managers(fleet)).services}
    if name not in found:
        raise InputError([f"{name}: the cluster runs only {', '.join(found) or 'nothing'}"], "inv service.list")
    return found[name]


def wait_until_settled(
    fleet: Fleet, names: set[str] | None, seconds: float, say: Callable[[str], None],
    is_current: Callable[[ServicesHealth], bool],
) -> bool:  # fmt: skip
    """Waits until these services (None: all) are as wanted, and reports each change to `say`.

    seconds: how long to wait, not counting the pull of images
    is_current: whether the health that was read is already about the newest services.yml
    False when time is up, or when all that is missing crashes in a loop, or lacks an image that cannot be pulled.
    """
    until, reported = time.monotonic() + seconds, ""
    looping_since = float("inf")
    while True:
        now = services_health(managers(fleet))
        mine = [s for s in now.services if names is None or s.name in names]
        text = ", ".join(map(_progress, mine))
        if text != reported:
            say(text)
            reported = text
        if is_current(now) and all(s.settled for s in mine):
            return True
        if any(i.state == "pulling" for s in mine for i in s.instances):
            until = time.monotonic() + seconds  # the worker agent has a limit for a pull
        looping_since = min(looping_since, time.monotonic()) if _only_loops_left(mine) else float("inf")
        if time.monotonic() > min(until, looping_since + CRASH_LOOP_PATIENCE):
            return False
        time.sleep(POLL_INTERVAL)


def _progress(service: ServiceHealth) -> str:
    pulling = [i.host for i in service.instances if i.state == "pulling"]
    numbers = f"{service.name} {service.passing}/{'all' if service.wanted is None else service.wanted}"
    return f"{numbers} (pulling its image on {' '.join(pulling)})" if pulling else numbers


def _only_loops_left(services: list[ServiceHealth]) -> bool:
    """True when each service that is not as wanted crashes or fails to be pulled in a loop: waiting will not help."""
    late = [s for s in services if not s.settled]
    return bool(late) and all(any(i.state in ("looping", "pull-failed") for i in s.instances) for s in late)


def restart(fleet: Fleet, name: str, host: str, seconds: float) -> None:
    """Restarts one instance and waits until it passes. HostError when it does not within `seconds`."""
    done = fleet[host].script(script("restart"), "", name, timeout=600)
    if done.code != 0:
        raise HostError(host, f"{name} did not restart: {done.err.strip()}", f"inv service.logs {name}")
    until = time.monotonic() + seconds
    time.sleep(1.0)  # the first read must not find the old state
    while time.monotonic() < until:
        if any(i.host == host and i.passing for i in health_of(fleet, name).instances):
            return
        time.sleep(POLL_INTERVAL)
    late = f"{name} does not pass {seconds:.0f} s after its restart; the others were left alone"
    raise HostError(host, late, f"inv service.logs {name}")


def logs(fleet: Fleet, name: str, lines: int) -> tuple[list[tuple[str, str]], list[HostError]]:
    """The last `lines` log lines as (host, line), sorted by time, and the faults of hosts that could not be read."""
    argv = _journalctl(name, "--lines", str(lines))
    found, faults = for_each_host(fleet, lambda r: r.run(argv, repeat=True).out.decode("utf-8", "replace").splitlines())
    merged = sorted((line.partition(" ")[0], host, line) for host, own in found.items() for line in own)
    return [(host, line) for _, host, line in merged[-lines:]], faults


def _journalctl(name: str, *options: str) -> list[str]:
    unit = f"nexus-svc-{name}"
    return ["journalctl", "--unit", unit, "--no-pager", "--quiet", "--output", "short-iso-precise", *options]


def follow(fleet: Fleet, name: str, on_line: Callable[[str, str], None]) -> None:
    """Calls `on_line(host, line)` for each new log line, until interrupted. Skips hosts that are lost."""
    argv = _journalctl(name, "--follow", "--lines", "0")
    remotes = list(fleet)  # all at once: none of them ends by itself
    for_each_host(
        remotes, lambda r: r.run(argv, on_line=lambda text: on_line(r.host.name, text), limit=WATCHED), limit=len(remotes)
    )


def promote(fleet: Fleet, host: str) -> tuple[int, float]:
    """Hands the primary over to this manager: (new epoch, seconds it took). Refused, with the reason, when it fails."""
    servers = managers(fleet)
    before = services_health(servers)
    consul = _consul_with_leader(servers)
    began = time.monotonic()
    consul.request("PUT", f"/v1/kv/{PROMOTE}", {"to": host})
    while time.monotonic() - began < HANDOVER_TIMEOUT:
        # read before the health: the manager deletes the key when it took over or declined
        is_handled = consul.kv.get(PROMOTE)[1] is None
        now = services_health(servers)
        if now.primary == host and now.epoch > before.epoch:
            return now.epoch, time.monotonic() - began
        if is_handled:
            break
        time.sleep(0.1)
    consul.request("DELETE", f"/v1/kv/{PROMOTE}")
    reasons = [e["text"] for e in events(fleet, False) if e["kind"] == "declined" and e["epoch"] >= before.epoch]
    why = reasons[-1] if reasons else f"{host} did not take over within {HANDOVER_TIMEOUT:.0f} s"
    hint = f"last lines of its orchestrator's log: {_last_log_lines(fleet[host])}"
    raise Refused(f"{why}; the primary is {now.primary or 'nobody'}", hint)


def _last_log_lines(remote: Remote) -> str:
    try:
        argv = ["journalctl", "--unit", "nexus-orchestrator", "--lines", "2", "--output", "cat", "--no-pager"]
        result = remote.run(argv, repeat=True)
    except HostError as error:
        return f"not available: {error.message}"
    return " / ".join(result.out.decode("utf-8", "replace").split("\n")).strip(" /") or "none"


def events(fleet: Fleet, forever: bool) -> Iterator[dict[str, Any]]:
    """The cluster's events, oldest first, each with its `order` (the Raft index).

    `forever`: then new ones as they come, without an end. HostError when no manager knows a leader.
    """
    consul, index, seen = _consul_with_leader(managers(fleet)), None, set[str]()
    while True:
        index, found = consul.kv.get(EVENTS, recurse=True, index=index, wait="5s")
        with understood(consul.host, "the list of events"):
            entries = sorted(found or (), key=lambda e: int(e["CreateIndex"]))
        for entry in entries:
            if entry["Key"] not in seen:
                seen.add(entry["Key"])
                yield read_event(entry["CreateIndex"], entry["Value"])
        if not forever:
            return


