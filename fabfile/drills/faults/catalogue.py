"""The catalogue of faults, collected from the data files, and what follows from a fault and its arguments. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...core.config.fault import shown
from ...core.config.schema import nearest
from ...core.errors import InputError
from ...core.model.cluster import Role
from . import hosts, network, processes, resources
from .model import Fault

MAX_TTL = 3600  # seconds that a fault may last; the script on the host has the same limit

FAULTS: Mapping[str, Fault] = {
    fault.name: fault for fault in (*processes.FAULTS, *hosts.FAULTS, *network.FAULTS, *resources.FAULTS)
}


def fault_named(name: str) -> Fault:
    """InputError when there is none of that name."""
    if name not in FAULTS:
        near = nearest(name, FAULTS) or "see the list"
        raise InputError([f"there is no fault {shown(name)}; {near}"], "inv chaos.list")
    return FAULTS[name]


def argument_values(fault: Fault, given: Mapping[str, str]) -> dict[str, str]:
    """Every argument's value, in order, defaults filled in; InputError with all faults, each `NAME: …`."""
    known = {argument.name: argument for argument in fault.arguments}
    errors = [
        f"{shown(name)}: {fault.name} has no such argument; "
        + (nearest(name, known) or (f"it has {', '.join(known)}" if known else "it has none"))
        for name in given if name not in known
    ]  # fmt: skip
    values = {name: given.get(name, argument.default) for name, argument in known.items()}
    errors += [f"{n}: {shown(v)} is not {known[n].expected}" for n, v in values.items() if not known[n].accepts(v)]
    if errors:
        raise InputError(errors, f"inv chaos.list explains {fault.name}")
    return values


def role_of(fault: Fault, values: Mapping[str, str]) -> Role | None:
    """The role that a host must have to be hit; None: any host can be."""
    first = next(iter(values.values()), "")
    return fault.role_by_value.get(first, fault.role)


def unit_of(fault: Fault, values: Mapping[str, str], service: str | None = None) -> str | None:
    """The unit that is hit; None where it is none in particular."""
    unit = fault.unit_by_value.get(next(iter(values.values()), ""), fault.unit)
    return None if unit is None else unit.format_map({**values, "service": service})


def file_of(fault: Fault, values: Mapping[str, str]) -> str | None:
    """The file that is hit; None where it is none in particular."""
    return None if fault.file is None else fault.file.format_map(values)


def script_arguments(
    fault: Fault, values: Mapping[str, str], service: str | None = None, peers: Sequence[str] = ()
) -> tuple[str, ...]:
    """The WORDs of `fault.sh ROOT arm ID FAULT SECONDS WORD...`; `peers`: of `targets.peer_addresses`."""
    services = (service,) if fault.on_service and service else ()
    return (*services, *values.values(), *peers)
