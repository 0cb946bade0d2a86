"""What is said of each fault in advance: by the seed, by us, and what we aim at. A row each; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fabfile.core.config.schema import nearest
from fabfile.core.errors import InputError

MAIN, NOTICED, BACK = "", "noticed", "back"  # the parts of a scenario that are timed
LEADER = "-leader"  # ends the name of a scenario in which the primary's host is the raft leader, too


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: one time of one scenario. Seconds; None: no number was said.

    limit, aim: what no run may exceed, and what the median should not
    unfailing:  whether no request may fail in any run
    """

    name: str
    part: str
    fault: str
    seed: str = ""
    promise: str = ""
    limit: float | None = None
    aim: float | None = None
    unfailing: bool = False


_NO_PRIMARY = "manual restart"
_PRIMARY = (
    Row("stop", MAIN, "primary stopped cleanly: a standby acts", _NO_PRIMARY, "2 s", 2, 0.5),
    Row("kill", MAIN, "primary orchestrator kill -9: a primary acts", _NO_PRIMARY, "5 s", 5, 1),
    Row("freeze", MAIN, "primary frozen (SIGSTOP) for 30 s: a standby acts", "not said",
        "10 s, and on waking it does nothing", 10, 6),
    Row("wake", MAIN, "primary frozen for 12 s, so that it wakes: a standby acts", "not said",
        "10 s, and on waking it does nothing", 10, 6),
    Row("primary-off", MAIN, "primary's host powered off: a standby acts", _NO_PRIMARY, "15 s", 15, 8),
    Row("cut-off", MAIN, "primary cut off from the other managers: a standby acts", "not said",
        "15 s, and the cut-off side never acts", 15, None),
)  # fmt: skip

ROWS = (
    Row("kill-service", MAIN, "service process killed: back and passing", "60 s", "10 s", 10, 2),
    Row("kill-service", NOTICED, "service process killed: noticed", "10 s"),
    Row("hang-service", MAIN, "service hung (SIGSTOP): back and passing", "60 s", "30 s", 30, 15),
    Row("hang-service", NOTICED, "service hung: noticed", "10 s"),
    Row("worker-off", MAIN, "worker host powered off: replicas elsewhere", "60 s, users unharmed",
        "30 s, no failed request", 30, 12, unfailing=True),
    Row("worker-off", NOTICED, "worker host powered off: noticed"),
    Row("worker-off", BACK, "worker host on again: no duplicate left"),
    *_PRIMARY,
    *(replace(row, name=row.name + LEADER, fault=f"{row.fault}; also raft leader") for row in _PRIMARY),
    Row("promote", MAIN, "inv promote: the named manager acts", "not said", "2 s", 2, 0.5),
    Row("kill-consul", MAIN, "Consul agent killed on a worker: registered again", "10 s, services go on",
        "10 s, no service stops", 10, 3),
    Row("managers-off", MAIN, "all managers off for two minutes, on again: healthy", "workers go on",
        "60 s after, unattended; workers go on", 60, 15),
)  # fmt: skip
NAMES = tuple(dict.fromkeys(row.name for row in ROWS))


def chosen(only: str, leader: bool) -> tuple[str, ...]:
    """Scenarios of a comma list (empty: all that are no leader variant), in the table's order; `leader` adds each
    one's leader variant, where it has one. InputError: one of them is none."""
    words = [word.strip() for word in only.split(",")] if only else []
    if wrong := [word for word in words if word not in NAMES]:
        known = [n for n in NAMES if not n.endswith(LEADER)]
        hint = f"known are {', '.join(known)}; --leader adds the variants of primary's faults"
        raise InputError([f"--only: {word!r} is no fault; {nearest(word, NAMES)}".rstrip("; ") for word in wrong], hint)
    wanted = set(words or [name for name in NAMES if not name.endswith(LEADER)])
    if leader:
        wanted |= {name + LEADER for name in wanted}
    return tuple(name for name in NAMES if name in wanted)


def rows_of(names: Sequence[str]) -> tuple[Row, ...]:
    """The table's lines of these scenarios."""
    return tuple(row for row in ROWS if row.name in names)
