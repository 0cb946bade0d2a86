"""Undoes every leftover fault, by what the hosts themselves know of it. The way out when all else failed."""

from __future__ import annotations

from collections.abc import Callable

from ...core.errors import HostError
from ...core.state.left_faults import LeftoverFault
from ...core.state.scripts import script
from ...edge.ssh.connection import Remote
from ...edge.ssh.fanout import for_each_host
from ...edge.ssh.fleet import Fleet
from . import fault_protocol
from .fault_driver import Power, run_fault_script


def heal(
    fleet: Fleet, power: Power | None, say: Callable[[str], None]
) -> tuple[list[tuple[str, str]], list[HostError]]:
    """(host, fault) of all that was undone, and the errors; a host that cannot be asked is an error too."""
    undone: list[tuple[str, str]] = []
    errors: list[HostError] = []
    if power:
        for host in power.left():
            try:
                power.on(host)
                fleet[host].reset()
                undone.append((host, "stop-host"))
                say(f"{host}: has its power back")
            except (HostError, KeyError) as error:
                errors.append(error if isinstance(error, HostError) else HostError(host, "is not in the inventory"))
    leftovers, unasked = for_each_host(fleet, _leftovers)
    for host, faults in leftovers.items():
        for fault in faults:
            try:
                run_fault_script(fleet[host], fault_protocol.argv("revert", fault.id), repeat=True)
                undone.append((host, fault.fault))
                say(f"{host}: {fault.fault} is undone ({fault.outlook})")
            except HostError as error:
                errors.append(error)
    return undone, [*errors, *unasked]


def _leftovers(remote: Remote) -> tuple[LeftoverFault, ...]:
    done = remote.run(fault_protocol.argv("list"), [script("fault").encode()], timeout=60, repeat=True)
    if done.code != 0:
        raise HostError(remote.host.name, f"fault.sh list: {done.err.strip()}")
    return fault_protocol.parse_leftovers(done.out)
