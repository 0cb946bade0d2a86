"""What is promised of each fault: by the seed, by us, and our aim. One row for each time that is measured. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fabfile.core.config.schema import nearest
from fabfile.core.errors import InputError

MAIN, NOTICED, BACK = "", "noticed", "back"  # the metrics of a scenario: the times that are measured
LEADER = "-leader"  # suffix of a scenario in which the primary's host is also the raft leader


@dataclass(frozen=True, slots=True)
class Expectation:
    """One line of the table: one metric of one scenario. Seconds; None: no number was promised.

    limit, aim:         what no run may exceed, and what the median should not exceed
    no_failed_requests: whether no request may fail in any run
    """

    scenario: str
    metric: str
    fault: str
    seed: str = ""
    promise: str = ""
    limit: float | None = None
    aim: float | None = None
    no_failed_requests: bool = False


_NO_PRIMARY = "manual restart"
_PRIMARY = (
    Expectation("stop", MAIN, "primary stopped cleanly: a standby acts", _NO_PRIMARY, "2 s", 2, 0.5),
    Expectation("kill", MAIN, "primary orchestrator kill -9: a primary acts", _NO_PRIMARY, "5 s", 5, 1),
    Expectation("freeze", MAIN, "primary frozen (SIGSTOP) for 30 s: a standby acts", "not said",
        "10 s, and on waking it does nothing", 10, 6),
    Expectation("wake", MAIN, "primary frozen for 12 s, so that it wakes: a standby acts", "not said",
        "10 s, and on waking it does nothing", 10, 6),
    Expectation("primary-off", MAIN, "primary's host powered off: a standby acts", _NO_PRIMARY, "15 s", 15, 8),
    Expectation("cut-off", MAIN, "primary cut off from the other managers: a standby acts", "not said",
        "15 s, and the cut-off side never acts", 15, None),
)  # fmt: skip

EXPECTATIONS = (
    Expectation("kill-service", MAIN, "service process killed: back and passing", "60 s", "10 s", 10, 2),
    Expectation("kill-service", NOTICED, "service process killed: noticed", "10 s"),
    Expectation("hang-service", MAIN, "service hung (SIGSTOP): back and passing", "60 s", "30 s", 30, 15),
    Expectation("hang-service", NOTICED, "service hung: noticed", "10 s"),
    Expectation("worker-off", MAIN, "worker host powered off: replicas elsewhere", "60 s, users unharmed",
        "30 s, no failed request", 30, 12, no_failed_requests=True),
    Expectation("worker-off", NOTICED, "worker host powered off: noticed"),
    Expectation("worker-off", BACK, "worker host on again: no duplicate left"),
    *_PRIMARY,
    *(replace(row, scenario=row.scenario + LEADER, fault=f"{row.fault}; also raft leader") for row in _PRIMARY),
    Expectation("promote", MAIN, "inv promote: the named manager acts", "not said", "2 s", 2, 0.5),
    Expectation("kill-consul", MAIN, "Consul agent killed on a worker: registered again", "10 s, services go on",
        "10 s, no service stops", 10, 3),
    Expectation("managers-off", MAIN, "all managers off for two minutes, on again: healthy", "workers go on",
        "60 s after, unattended; workers go on", 60, 15),
)  # fmt: skip
SCENARIOS = tuple(dict.fromkeys(row.scenario for row in EXPECTATIONS))


def select_scenarios(only: str, leader: bool) -> tuple[str, ...]:
    """The scenarios of the comma list `only`, in the table's order; an empty list means all except the leader variants.

    `leader` adds the leader variant of each, if there is one. InputError names the unknown ones.
    """
    names = [name.strip() for name in only.split(",")] if only else []
    if unknown := [name for name in names if name not in SCENARIOS]:
        known = [n for n in SCENARIOS if not n.endswith(LEADER)]
        hint = f"known are {', '.join(known)}; --leader adds the variants of primary's faults"
        faults = [f"--only: {name!r} is no fault; {nearest(name, SCENARIOS)}".rstrip("; ") for name in unknown]
        raise InputError(faults, hint)
    selected = set(names or [name for name in SCENARIOS if not name.endswith(LEADER)])
    if leader:
        selected |= {name + LEADER for name in selected}
    return tuple(name for name in SCENARIOS if name in selected)


def expectations_of(scenarios: Sequence[str]) -> tuple[Expectation, ...]:
    """The table's lines of these scenarios."""
    return tuple(row for row in EXPECTATIONS if row.scenario in scenarios)
