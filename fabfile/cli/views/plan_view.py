"""A plan on the screen or as JSON, and the progress of a deploy while it runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Iterator
from threading import Lock
from typing import TYPE_CHECKING

from ...core.state.plan_text import describe
from ..console.terminal import console

if TYPE_CHECKING:
    from ...edge.deploy.draft import Draft


def plan_lines(draft: Draft, diffs: bool) -> Iterator[str]:
    """The whole plan, host by host; hosts with nothing to do share the last line."""
    unchanged = [name for name in draft.plans if name not in draft.changing]
    for name, plan in draft.plans.items():
        if not plan.empty:
            yield f"{name}  [{', '.join(draft.cluster.host(name).roles)}]  {draft.addresses[name].advertise}"
            yield from (f"  {line}" for line in describe(plan, diffs))
            yield ""
    if draft.acl_stale:
        yield f"cluster {draft.cluster.name}"
        yield "  ~ Consul's ACL policies and tokens"
        yield from (f"    {line}" for line in draft.acl_drift)
        yield ""
    if draft.engines:
        yield "container engine"
        yield from (f"  {line}" for line in engine_lines(draft))
        yield ""
    if draft.service_changes:
        yield "services"
        yield from (f"  {line}" for line in draft.service_changes)
        yield ""
    if len(draft.levels) > 1:
        yield f"the security is turned on in {len(draft.levels)} passes over all hosts, so that nobody is cut off on the way"
    for name, former in draft.moving.items():
        old = f" from {' and '.join(former)}" if former else ""
        until = ": until then the firewalls let in both" if draft.cluster.firewall and former else ""
        yield f"{name} moves to {draft.addresses[name].advertise}{old}{until}"
    if unchanged:
        yield f"nothing to do: {', '.join(unchanged)}"


def engine_lines(draft: Draft) -> Iterator[str]:
    """What is missing of the container engine, and where."""
    clientless = [name for name in draft.engines if draft.facts[name].docker == "clientless"]
    if without := [name for name in draft.engines if name not in clientless]:
        yield f"+ package docker.io on {', '.join(without)}"
    if clientless:
        yield f"+ the client /usr/bin/docker on {', '.join(clientless)}: Docker is there, but services cannot call it"


def show_plan(draft: Draft, diffs: bool = True) -> None:
    """To stdout; coloured like a diff on a terminal that wants colour."""
    from rich.text import Text

    terminal = console()
    if not terminal.is_terminal:
        for line in plan_lines(draft, diffs):
            print(line)
        return
    for line in plan_lines(draft, diffs):
        sign = line.strip()[:1]
        style = {"+": "green", "-": "red", "~": "yellow", ">": "cyan", "@": "dim"}.get(sign, "")
        terminal.print(Text(line, style=style if line.startswith("  ") else "bold"), soft_wrap=True)


def plan_json(draft: Draft, diffs: bool = True) -> dict[str, object]:
    """What changes on each host, with unified diffs if asked for."""
    return {
        "cluster": draft.cluster.name,
        "changes": len(draft.changing),
        "acl": draft.acl_stale,
        "acl_drift": list(draft.acl_drift),
        "services": list(draft.service_changes),
        "engines": list(draft.engines),
        "passes": len(draft.levels),
        "hosts": [
            {
                "name": name,
                "generation": plan.wanted.id,
                "changes": list(describe(plan, diffs=False)),
                **({"diff": list(describe(plan))} if diffs else {}),
            }
            for name, plan in draft.plans.items()
        ],
    }


# The first word of an `apply.sh` line -> the phase it belongs to.
_PHASES = {"check": "checking with the programs themselves", "put": "placing files", "drop": "placing files"}


class Progress:
    """One line per host and event on stderr, with the seconds since the start. Lines stay: the log of a deploy must be
    readable afterwards, and in a pipe.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = Lock()
        self._last: dict[str, str] = {}

    def _line(self, text: str) -> None:
        with self._lock:
            print(f"{time.monotonic() - self._began:6.1f}s  {text}", file=sys.stderr, flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def wave(self, title: str, hosts: Collection[str]) -> None:
        self._line(f"{title}: {', '.join(hosts)}")

    def step(self, host: str, text: str) -> None:
        """One line per phase: one for all checks, one for all files, one for each unit and for each file that was kept."""
        phase = _PHASES.get(text.split(" ")[0])
        with self._lock:
            repeated = phase is not None and self._last.get(host) == phase
            self._last[host] = phase or text
        if not repeated:
            self._line(f"  {host:<10} {phase or text}")

    def done(self, host: str, text: str) -> None:
        self._line(f"  {host:<10} done: {text}")

    def failed(self, host: str, text: str) -> None:
        self._line(f"  {host:<10} FAILED: {text.partition(': ')[2] or text}")
