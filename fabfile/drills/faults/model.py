"""What a fault is, as data: targets, arguments, detection, recovery, promises, place in a gameday.

processes.py, hosts.py, network.py and resources.py hold the entries. remote_agents/fault/ injects a fault on the host
and undoes it; `course.runner` waits and measures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ...core.model.cluster import Role
from ..verdict.record import Promise

# How a target may be given: a host's name, `one`, ..., `minority[:ROLE]`, `majority[:ROLE]`, `service:NAME[@HOST]`.
TargetKind: TypeAlias = Literal["host", "one", "primary", "raft-leader", "minority", "majority", "service"]
ANY_TARGET: tuple[TargetKind, ...] = ("host", "one", "primary", "raft-leader", "minority", "majority", "service")
SINGLE_HOST: tuple[TargetKind, ...] = ("host", "one", "primary", "raft-leader", "service")
# How a target of a kind is written, where it is not the kind itself.
TARGET_FORMS: Mapping[str, str] = {
    "host": "a host's name", "minority": "minority[:ROLE]", "majority": "majority[:ROLE]",
    "service": "service:NAME[@HOST]",
}  # fmt: skip
# The script looks for it on the host before anything happens there.
Capability: TypeAlias = Literal["nft", "netem", "docker", "fallocate", "python3", "clock", "way-back"]
# instance_not_passing: the target's instance does not pass in Consul, or is gone from there.
# member_failed: Consul reports every target host as failed. primary_changed: a newer epoch has a holder.
# unit_restarted: the unit's main process is another one, or systemd counts one restart more.
# config_differs: the sum of `file` is not the one before the fault; in the end the file is as it was, and the unit's main
# process the same all the while. none: nothing has to notice.
Detection: TypeAlias = Literal[
    "instance_not_passing", "member_failed", "primary_changed", "unit_restarted", "config_differs", "none"
]
# Measured from the injection on, after the detection:
# steady: the whole steady state holds again, with the fault in place.
# steady_elsewhere: the same, without the target hosts: every service has all its instances, on any host, and there is a
# primary.
# steady_after: the fault stays for `hold` seconds; measured from its undo on, until the whole steady state holds.
Recovery: TypeAlias = Literal["steady", "steady_elsewhere", "steady_after"]
# What is gone while the fault lasts: on its hosts, or of its service.
Loss: TypeAlias = Literal["instances", "quorum", "balancer", "primary"]
# From which hosts the fault cuts a target host: none; those outside the target; all others.
PeerScope: TypeAlias = Literal["none", "outside", "others"]
# on_primary: the primary runs on a target host. breaks_quorum: the managers that are left are no majority.
# (argument, value): the drill was asked for with it.
Condition: TypeAlias = Literal["on_primary", "breaks_quorum"] | tuple[str, str]

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
    def expected(self) -> str:
        """`one of both, in`, `a whole number from 1 to 100 (%)`."""
        unit = f" ({self.unit})" if self.unit else ""
        number = [] if self.low is None else [f"a whole number from {self.low} to {self.high}{unit}, not 0"]
        if self.low is not None and self.low > 0:
            number = [f"a whole number from {self.low} to {self.high}{unit}"]
        choices = [f"one of {', '.join(self.choices)}"] if len(self.choices) > 1 else list(self.choices)
        return " or ".join([*choices, *number])

    def accepts(self, value: str) -> bool:
        if value in self.choices:
            return True
        if self.low is None or self.high is None or not _NUMBER.fullmatch(value):
            return False
        return int(value) != 0 and self.low <= int(value) <= self.high


@dataclass(frozen=True, slots=True)
class SpecialCase:
    """A condition under which a fault has another promise, and is detected and measured in another way.

    name: the end of the promise's key, FAULT-NAME. title: the condition, for `inv chaos.list`.
    """

    name: str
    condition: Condition
    title: str
    promise: Promise
    detection: Detection
    recovery: Recovery


@dataclass(frozen=True, slots=True)
class GamedayRun:
    """One run of a fault in a gameday. target: "" for the fault's default; values: of its arguments."""

    target: str = ""
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of damage.

    does, measures:       one line each, for `inv chaos.list`
    target_kinds:         how its target may be given; default_target: the target when none is given
    arguments, needs:     settings, and what the host must have
    role:                 that its hosts must have (None: any); role_by_value: by the value of the first argument
    on_service:           it hits one instance, not a host; containers_only: of services that run in a container
    ends_containers:      all on the host, the cluster's or not
    unit, file:           what it hits; {service} and the arguments' names stand for their values
    unit_by_value:        the unit, by the value of the first argument
    peers:                the hosts from which it cuts a target host
    power_off_when:       (argument, value) with which the host loses its power: only the lab's engine can do that
    losses:               what is gone meanwhile; in_place: by design it comes back at once, where it was
    ttl:                  seconds after which the host undoes it by itself
    hold:                 seconds it is left in place where recovery is `steady_after`
    detection, recovery, promise: on an ordinary target. special_cases: on others; the last one that applies counts.
                          The promised numbers are the design's "we promise"; where it has none, ours, and marked so
    gameday_position:     ascending, with room between; gameday_runs: its drills in a gameday
    """

    name: str
    does: str
    measures: str
    target_kinds: tuple[TargetKind, ...]
    default_target: str
    arguments: tuple[Argument, ...] = ()
    needs: tuple[Capability, ...] = ()
    role: Role | None = None
    role_by_value: Mapping[str, Role] = field(default_factory=dict)
    on_service: bool = False
    containers_only: bool = False
    ends_containers: bool = False
    unit: str | None = None
    unit_by_value: Mapping[str, str] = field(default_factory=dict)
    file: str | None = None
    peers: PeerScope = "none"
    power_off_when: tuple[str, str] | None = None
    losses: frozenset[Loss] = frozenset()
    in_place: bool = False
    ttl: int
    hold: int = 15
    detection: Detection
    recovery: Recovery
    promise: Promise
    special_cases: tuple[SpecialCase, ...] = ()
    gameday_position: int
    gameday_runs: tuple[GamedayRun, ...] = (GamedayRun(),)

    def promise_key(self, case: SpecialCase | None = None) -> str:
        """The key in the table of promises and under `promises:` in hosts.yml."""
        return f"{self.name}-{case.name}" if case else self.name


def steady_after_undo(recover_s: float, failed_requests: int | None = None) -> Promise:
    """The promise of a fault that is held for a while and disturbs nothing for good."""
    text = f"what runs goes on; all is steady within {recover_s:g} s of the undo"
    return Promise(text, recover_s, failed_requests=failed_requests)
