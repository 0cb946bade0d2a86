"""One drill as its operator sees it: what it is going to do, how it goes, how it ended, where its report is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError, Refused
from ...core.model.cluster import Cluster
from ...edge.disk.paths import writable
from ..console.output import print_json, say

if TYPE_CHECKING:
    from ...drills.course.fault_driver import Power
    from ...drills.course.plan import DrillRequest, Plan
    from ...drills.verdict.record import Promise, Record
    from ...edge.ssh.fleet import Fleet

PASSED, FAILED, NO_ANSWER = 0, 1, 3  # exit codes of drills; NO_ANSWER: UNKNOWN and ABORTED say nothing of the cluster


@dataclass(frozen=True, slots=True)
class PreparedDrill:
    """A drill that may begin. power: what takes and gives a host's power, where the fault needs it."""

    plan: Plan
    power: Power | None


def ready(fleet: Fleet, name: str, request: DrillRequest) -> PreparedDrill:
    """Looks at the cluster and decides; touches nothing. InputError and Refused say what cannot be."""
    from ...drills.course.plan import plan_drill
    from ...drills.course.snapshot import take_snapshot
    from ...drills.faults.catalogue import fault_named

    plan = plan_drill(fault_named(name), request, take_snapshot(fleet), promises(fleet.cluster))
    return PreparedDrill(plan, _power(plan, fleet.cluster))


def promises(cluster: Cluster) -> Mapping[str, Promise]:
    """The table, with what the operator made tighter in hosts.yml."""
    from ...drills.faults.promises import PROMISES, tightened

    try:
        return tightened(PROMISES, cluster.promises)
    except InputError as error:
        raise InputError([f"{cluster.source.name}: {fault}" for fault in error.faults], error.hint or "") from None


def _power(plan: Plan, cluster: Cluster) -> Power | None:
    """Refused where a host would lose its power and nobody could give it back."""
    from ...lab.power import power_of

    if "way-back" not in plan.fault.needs:
        return None
    power = power_of([(name, cluster.host(name).ssh) for name in plan.target.hosts])
    if power is None and plan.values["way-back"] == "none":
        raise Refused(
            f"nobody could give {', '.join(plan.target.hosts)} its power back",
            "on a server: --way-back reboot restarts it at once instead, without stopping anything first",
        )
    return power if plan.values["way-back"] == "none" else None


def plan_lines(plan: Plan) -> Iterator[tuple[str, str]]:
    """Name and text of each line that says what is about to happen."""
    values = ", ".join(f"{name} {value}" for name, value in plan.values.items())
    yield "drill", plan.fault.name + (f" ({values})" if values else "")
    yield "does", plan.fault.does
    yield "target", plan.target.text
    last = f"for {plan.hold} s" if plan.hold else "until all is well again, or three times the promised time is over"
    yield "lasts", f"{last}; the host undoes it by itself after {plan.ttl} s"
    yield "promise", plan.expectation.promise.text
    yield (
        "requests",
        f"to https://{plan.load_target.domain} at {plan.load_target.address}"
        if plan.load_target
        else f"none: {plan.no_load_reason}",
    )
    if plan.reasons:
        yield "FORCED", f"{' '.join(plan.reasons)} Because: {plan.forced}"


def plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "drill": plan.fault.name, "target": plan.target.text, "hosts": plan.target.hosts, "service": plan.target.service,
        "arguments": dict(plan.values), "detection": plan.expectation.detection, "promise": plan.expectation.promise.text,
        "hold_s": plan.hold, "ttl_s": plan.ttl, "load": plan.load_target.domain if plan.load_target else None,
        "too_much": list(plan.reasons), "forced": plan.forced,
    }  # fmt: skip


def show_plan(plan: Plan, stream: Any = None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    for name, text in plan_lines(plan):
        made.add_row(Text(name, "bold red" if name == "FORCED" else "dim"), Text(text))
    Console(file=stream or sys.stderr).print(made)


def run(fleet: Fleet, made: PreparedDrill) -> tuple[Record, Path]:
    """The drill itself, watched on stderr, and its record kept: it and the path of its page."""
    from ...drills.course.runner import drill
    from ...drills.report import store
    from ...drills.report.live import Live

    title = f"{made.plan.fault.name} on {made.plan.target.text}"
    with Live(title, sys.stderr.isatty()) as live:
        record = drill(fleet, made.plan, made.power, live.tell, live.requests)
    return record, store.save(folder(fleet.cluster), record)


def folder(cluster: Cluster) -> Path:
    """Where records and reports are kept."""
    return cluster.state / "drills"


def show(record: Record, before: Sequence[Record], page: Path | None) -> None:
    from rich.console import Console

    from ...drills.report import summary

    Console().print(summary.show(record, before, page))


def as_json(record: Record, page: Path | None) -> dict[str, Any]:
    """The record without its single requests, which its file keeps."""
    made = {key: value for key, value in record.to_json().items() if key != "samples"}
    return {**made, "report": str(page) if page else None}


def print_records(records: Sequence[tuple[Record, Path | None]]) -> None:
    print_json([as_json(record, page) for record, page in records])


def write_junit(path: str, records: Sequence[Record]) -> None:
    from ...drills.report.junit import xml

    if path:
        Path(path).write_text(xml(records))
        say(f"JUnit: {path}")


def check_writable(path: str) -> None:
    """Before anything happens: a drill whose result cannot be written would be for nothing."""
    if path:
        writable("--junit", path)


def exit_code(records: Sequence[Record]) -> int:
    """The worst: a broken promise before a drill without an answer. Where all were skipped, nothing was answered."""
    verdicts = {record.verdict for record in records}
    if "FAIL" in verdicts:
        return FAILED
    return NO_ANSWER if verdicts & {"UNKNOWN", "ABORTED"} or "PASS" not in verdicts else PASSED
