"""A gameday: which drills, on which targets, in which order. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ...core.config.schema import nearest
from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from .catalogue import FAULTS


@dataclass(frozen=True, slots=True)
class Entry:
    """target: "" for the fault's own."""

    fault: str
    target: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        words = [self.fault, *([f"on {self.target}"] if self.target else []), *(f"{k} {v}" for k, v in self.values.items())]
        return " ".join(words)


# From one process to one host to many: what fails early explains what fails late.
ORDER = (
    Entry("kill-service"),
    Entry("hang-service"),
    Entry("kill-agent"),
    Entry("kill-balancer"),
    Entry("kill-consul"),
    Entry("kill-consul", "raft-leader"),
    Entry("corrupt-config"),
    Entry("burn-cpu"),
    Entry("eat-memory"),
    Entry("fill-disk"),
    Entry("skew-clock"),
    Entry("packet-loss"),
    Entry("latency"),
    Entry("stop-docker"),
    Entry("stop-primary"),
    Entry("kill-primary"),
    Entry("freeze-primary"),
    Entry("partition", "one"),
    Entry("partition", "one", {"way": "udp"}),
    Entry("partition", "minority"),
    Entry("stop-host"),
    Entry("stop-host", "primary"),
)


def chosen(only: Sequence[str], skip: Sequence[str], repeat: int) -> tuple[Entry, ...]:
    """Each entry `repeat` times, one round after the other. InputError for names that are no faults, or if none is left."""
    unknown = [name for name in (*only, *skip) if name not in FAULTS]
    if unknown:
        faults = [f"there is no fault {shown(n)}" + (f"; {near}" if (near := nearest(n, FAULTS)) else "") for n in unknown]
        raise InputError(faults, "inv chaos.list")
    left = [e for e in ORDER if (not only or e.fault in only) and e.fault not in skip]
    if not left:
        raise InputError(["--only and --skip leave no drill"], "inv chaos.list")
    if not 1 <= repeat <= 100:
        raise InputError([f"--repeat {repeat}: is not a number from 1 to 100"])
    return tuple(left * repeat)
