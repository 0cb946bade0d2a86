"""Services by hand: wait until they are as wanted, restart one gently, read their logs, hand over the primary."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ...core.errors import HostError, InputError, Refused
from ...core.judge.service_health import ServiceHealth, ServicesHealth
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.fanout import each
from ..ssh.fleet import Fleet
from .client import Consul
from .overview import first, services_health

PROMOTE = "nexus/promote"
EVENTS = "nexus/events/"
LOOK = 0.5  # seconds between two looks
HOPELESS = 5.0  # seconds for which nothing but crash loops is left, until nobody waits any more
HANDOVER = 20.0  # seconds; a handover takes a fraction of one


def managers(fleet: Fleet) -> list[Remote]:
    return fleet.of(fleet.cluster.having("manager"))


def _answering(servers: list[Remote]) -> Consul:
    """Of the first manager that knows a raft leader. HostError when none does."""

    def leading(consul: Consul) -> Consul:
        if not consul.status.leader():
            raise HostError(consul.host, "its Consul knows no raft leader", "inv status")
        return consul

    return first(servers, leading)


def state_of(fleet: Fleet, name: str) -> ServiceHealth:
    """InputError when the cluster has no such service."""
    found = {s.name: s for s in services_health(managers(fleet)).services}
    if name not in found:
        raise InputError([f"{name}: the cluster runs only {', '.join(found) or 'nothing'}"], "inv service.list")
    return found[name]


def settle(
    fleet: Fleet, names: set[str] | None, seconds: float, say: Callable[[str], None], fresh: Callable[[ServicesHealth], bool]
) -> bool:
    """Waits until these services (None: all) are as wanted, telling each change. False when the time is up.

    `fresh`: whether what is seen is about the newest wish already.
    """
    until, said = time.monotonic() + seconds, ""
    hopeless_since = float("inf")
    while True:
        now = services_health(managers(fleet))
        mine = [s for s in now.services if names is None or s.name in names]
        text = ", ".join(f"{s.name} {s.passing}/{'all' if s.wanted is None else s.wanted}" for s in mine)
        if text != said:
            say(text)
            said = text
        if fresh(now) and all(s.settled for s in mine):
            return True
        hopeless_since = min(hopeless_since, time.monotonic()) if _hopeless(mine) else float("inf")
        if time.monotonic() > min(until, hopeless_since + HOPELESS):
            return False
        time.sleep(LOOK)


def _hopeless(services: list[ServiceHealth]) -> bool:
    """Whatever is not as wanted crashes in a loop: waiting will not help."""
    late = [s for s in services if not s.settled]
    return bool(late) and all(any(i.state == "looping" for i in s.instances) for s in late)


def restart(fleet: Fleet, name: str, host: str, seconds: float) -> None:
    """One instance; returns when it passes again. HostError when it does not."""
    done = fleet[host].script(script("restart"), "", name, timeout=600)
    if done.code != 0:
        raise HostError(host, f"{name} did not restart: {done.err.strip()}", f"inv service.logs {name}")
    until = time.monotonic() + seconds
    time.sleep(1.0)  # the first look must not find the state of before
    while time.monotonic() < until:
        if any(i.host == host and i.passing for i in state_of(fleet, name).instances):
            return
        time.sleep(LOOK)
    late = f"{name} does not pass {seconds:.0f} s after its restart; the others were left alone"
    raise HostError(host, late, f"inv service.logs {name}")


def logs(fleet: Fleet, name: str, lines: int) -> tuple[list[tuple[str, str]], list[HostError]]:
    """(host, line) of all hosts that have any, by their time."""
    words = _journal(name, "--lines", str(lines))
    found, faults = each(fleet, lambda r: r.run(words).out.decode("utf-8", "replace").splitlines())
    merged = sorted((line.partition(" ")[0], host, line) for host, own in found.items() for line in own)
    return [(host, line) for _, host, line in merged[-lines:]], faults


def _journal(name: str, *words: str) -> list[str]:
    return ["journalctl", "--unit", f"nexus-svc-{name}", "--no-pager", "--quiet", "--output", "short-iso-precise", *words]


def follow(fleet: Fleet, name: str, line: Callable[[str, str], None]) -> None:
    """Each new line of any host, until interrupted. Hosts that are lost are left out."""
    words = _journal(name, "--follow", "--lines", "0")
    each(fleet, lambda r: r.run(words, timeout=86400, on_line=lambda text: line(r.host.name, text)))


def promote(fleet: Fleet, host: str) -> tuple[int, float]:
    """Hands the primary over to this manager. (epoch, seconds). Refused when it does not take over, with the reason."""
    servers = managers(fleet)
    before = services_health(servers)
    consul = _answering(servers)
    began = time.monotonic()
    consul.ask("PUT", f"/v1/kv/{PROMOTE}", {"to": host})
    while time.monotonic() - began < HANDOVER:
        gone = consul.kv.get(PROMOTE)[1] is None  # asked first: whoever deletes it has taken over, or declined
        now = services_health(servers)
        if now.primary == host and now.epoch > before.epoch:
            return now.epoch, time.monotonic() - began
        if gone:
            break
        time.sleep(0.1)
    consul.ask("DELETE", f"/v1/kv/{PROMOTE}")
    told = [e["text"] for e in events(fleet, False) if e["kind"] == "declined" and e["epoch"] >= before.epoch]
    why = told[-1] if told else f"{host} did not take over within {HANDOVER:.0f} s"
    hint = f"its orchestrator's last words: {_last_words(fleet[host])}"
    raise Refused(f"{why}; the primary is {now.primary or 'nobody'}", hint)


def _last_words(remote: Remote) -> str:
    try:
        said = remote.run(["journalctl", "--unit", "nexus-orchestrator", "--lines", "2", "--output", "cat", "--no-pager"])
    except HostError as error:
        return f"not to be had: {error.message}"
    return " / ".join(said.out.decode("utf-8", "replace").split("\n")).strip(" /") or "none"


def events(fleet: Fleet, forever: bool) -> Iterator[dict[str, Any]]:
    """The cluster's events, oldest first, each with its `order` (Raft's index); then, if asked, new ones as they come."""
    consul, index, seen = _answering(managers(fleet)), None, set[str]()
    while True:
        index, found = consul.kv.get(EVENTS, recurse=True, index=index, wait="5s")
        for entry in sorted(found or (), key=lambda e: int(e["CreateIndex"])):
            if entry["Key"] not in seen:
                seen.add(entry["Key"])
                yield {"order": entry["CreateIndex"], **json.loads(entry["Value"])}
        if not forever:
            return


