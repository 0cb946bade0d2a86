"""What a fault is, as data. remote_agents/faults does it and undoes it on the host; `course.runner` waits and measures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ...core.model.cluster import Role

# How a target may be named: a host's name, `one`, …, `minority[:role]`, `majority[:role]`, `service:NAME[@HOST]`.
Word: TypeAlias = Literal["host", "one", "primary", "raft-leader", "minority", "majority", "service"]
# Looked for on the host before anything happens there; see `check` of each family in fault.sh.
Capability: TypeAlias = Literal["nft", "netem", "docker", "fallocate", "python3", "clock", "way-back"]
# instance_not_passing: the target's instance does not pass in Consul, or is gone from there.
# member_failed: Consul holds every target host for failed. primary_changed: a newer epoch has a holder.
# unit_restarted: the unit's main process is another one, or systemd counts one restart more.
# config_differs: a probe finds the file not as it was deployed. none: nothing has to notice.
Detection: TypeAlias = Literal[
    "instance_not_passing", "member_failed", "primary_changed", "unit_restarted", "config_differs", "none"
]
# From the injection on, and after the detection: steady: the whole steady state holds again, with the fault in place.
# steady_elsewhere: the same, but nothing is asked of the target hosts themselves: every service has all its instances,
# wherever, and somebody is primary.
# steady_after: the fault stays for `hold` seconds; measured from its undo on, until the whole steady state holds.
Recovery: TypeAlias = Literal["steady", "steady_elsewhere", "steady_after"]
# What is gone as long as the fault lasts: of its hosts, or of its service.
Loss: TypeAlias = Literal["instances", "quorum", "balancer", "primary"]
# From whom the host is cut: nobody; all that is not in the target; all others.
Peers: TypeAlias = Literal["none", "outside", "others"]

_NUMBER = re.compile(r"-?(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True, slots=True)
class Argument:
    """A setting of a fault: one of `choices`, or a whole number from `low` to `high` (never 0), in `unit`."""

    name: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None
    unit: str = ""

    @property
    def due(self) -> str:
        """`one of both, in`, `a whole number from 1 to 100 (%)`."""
        unit = f" ({self.unit})" if self.unit else ""
        number = [] if self.low is None else [f"a whole number from {self.low} to {self.high}{unit}, not 0"]
        if self.low is not None and self.low > 0:
            number = [f"a whole number from {self.low} to {self.high}{unit}"]
        words = [f"one of {', '.join(self.choices)}"] if len(self.choices) > 1 else list(self.choices)
        return " or ".join([*words, *number])

    def takes(self, value: str) -> bool:
        if value in self.choices:
            return True
        if self.low is None or self.high is None or not _NUMBER.fullmatch(value):
            return False
        return int(value) != 0 and self.low <= int(value) <= self.high


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of damage.

    does, measures: one line each, for `inv chaos.list`
    words, target:  how its target may be named, and the word that is meant when none is given
    ttl:            seconds after which the host undoes it by itself
    hold:           seconds it is left in place where recovery is `steady_after`
    detection, recovery, promise: on an ordinary target; `promises.course` knows what a target changes
    role:           that its hosts must have (None: any); by_value: the same, by the value of the first argument
    loses:          what is gone meanwhile; in_place: it comes back at once by design, where it was
    unit:           that is hit; {service} and the arguments' names stand for their values
    on_service:     it hits one instance, not a host
    """

    name: str
    does: str
    measures: str
    words: tuple[Word, ...]
    target: str
    ttl: int
    detection: Detection
    recovery: Recovery
    hold: int = 15
    arguments: tuple[Argument, ...] = ()
    needs: tuple[Capability, ...] = ()
    role: Role | None = None
    by_value: Mapping[str, Role] = field(default_factory=dict)
    loses: frozenset[Loss] = frozenset()
    in_place: bool = False
    unit: str | None = None
    peers: Peers = "none"
    on_service: bool = False

    @property
    def promise(self) -> str:
        """Its key in the table of promises."""
        return self.name
