"""Undoes whatever a drill left anywhere, by what the hosts themselves know of it. The way out when all else failed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from ...core.errors import HostError
from ...core.state.scripts import script
from ...edge.ssh.connection import Remote
from ...edge.ssh.fanout import each
from ...edge.ssh.fleet import Fleet
from . import fault_protocol
from .fault_driver import Power, fault


def heal(
    fleet: Fleet, power: Power | None, say: Callable[[str], None]
) -> tuple[list[tuple[str, str]], list[HostError]]:
    """(host, what was undone), and what could not be; a host that cannot be asked is among the latter."""
    done: list[tuple[str, str]] = []
    faults: list[HostError] = []
    if power:
        for host in power.left():
            try:
                power.on(host)
                fleet[host].close()
                done.append((host, "stop-host"))
                say(f"{host}: has its power back")
            except (HostError, KeyError) as error:
                faults.append(error if isinstance(error, HostError) else HostError(host, "is not in the inventory"))
    found, unasked = each(fleet, _left)
    for name, left in found.items():
        for one in left:
            try:
                fault(fleet[name], fault_protocol.argv("revert", one.id))
                done.append((name, one.fault))
                say(f"{name}: {one.fault} is undone ({_told(one)})")
            except HostError as error:
                faults.append(error)
    return done, [*faults, *unasked]


def _told(one: fault_protocol.LeftoverFault) -> str:
    if one.state == "orphan":
        return "it had lost its folder"
    return f"its own undo was due in {one.seconds} s" if one.seconds >= 0 else f"overdue since {-one.seconds} s"


def _left(remote: Remote) -> tuple[fault_protocol.LeftoverFault, ...]:
    with suppress(HostError):
        remote.open()
    done = remote.run(fault_protocol.argv("list"), [script("fault").encode()], timeout=60)
    if done.code != 0:
        raise HostError(remote.host.name, f"fault.sh list: {done.err.strip()}")
    return fault_protocol.left(done.out)
