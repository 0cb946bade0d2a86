"""The schedule of a gameday: which drills run, on which targets, in which order; and the operator's choice. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...core.config.fault import shown
from ...core.config.schema import nearest
from ...core.errors import InputError
from .catalogue import FAULTS


@dataclass(frozen=True, slots=True)
class ScheduledDrill:
    """fault: its name. target: "" for the fault's default. values: of its arguments."""

    fault: str
    target: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`partition on one way udp`"""
        target = [f"on {self.target}"] if self.target else []
        return " ".join([self.fault, *target, *(f"{name} {value}" for name, value in self.values.items())])


# From one process to one host to many: what fails early explains what fails late.
SCHEDULE = tuple(
    ScheduledDrill(fault.name, run.target, run.values)
    for fault in sorted(FAULTS.values(), key=lambda f: f.gameday_position)
    for run in fault.gameday_runs
)


def chosen(only: Sequence[str], skip: Sequence[str], repeat: int) -> tuple[ScheduledDrill, ...]:
    """The chosen drills, `repeat` rounds one after the other. InputError for unknown names, or if no drill is left."""
    unknown = [name for name in (*only, *skip) if name not in FAULTS]
    if unknown:
        near = {name: nearest(name, FAULTS) for name in unknown}
        errors = [f"there is no fault {shown(name)}" + (f"; {near[name]}" if near[name] else "") for name in unknown]
        raise InputError(errors, "inv chaos.list")
    left = [drill for drill in SCHEDULE if (not only or drill.fault in only) and drill.fault not in skip]
    if not left:
        raise InputError(["--only and --skip leave no drill"], "inv chaos.list")
    if not 1 <= repeat <= 100:
        raise InputError([f"--repeat {repeat}: is not a number from 1 to 100"])
    return tuple(left * repeat)
