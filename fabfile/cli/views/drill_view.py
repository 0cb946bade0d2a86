"""One drill for its operator: prepares, runs and keeps it; shows its plan, its result and where its report is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import InputError, Refused
from ...core.model.cluster import Cluster
from ...edge.disk.paths import output_path
from ..console.output import print_json, say
from ..console.terminal import console

if TYPE_CHECKING:
    from ...drills.course.fault_driver import Power
    from ...drills.course.plan import DrillPlan, DrillRequest
    from ...drills.verdict.record import Promise, Record
    from ...edge.ssh.fleet import Fleet

PASSED, FAILED, NO_VERDICT = 0, 1, 3  # exit codes; NO_VERDICT: UNKNOWN and ABORTED say nothing about the cluster


@dataclass(frozen=True, slots=True)
class PreparedDrill:
    """A drill that may begin. power: switches a host's power, where the fault needs it."""

    plan: DrillPlan
    power: Power | None


def prepare_drill(fleet: Fleet, name: str, request: DrillRequest) -> PreparedDrill:
    """Reads the cluster and plans; changes nothing. InputError and Refused say what is impossible."""
    from ...drills.course.other_containers import other_containers
    from ...drills.course.plan import plan_drill
    from ...drills.course.snapshot import take_snapshot
    from ...drills.faults.catalogue import fault_named

    plan = plan_drill(fault_named(name), request, take_snapshot(fleet), promises(fleet.cluster))
    if plan.fault.ends_containers:
        plan = replace(plan, others=other_containers([fleet[host] for host in plan.target.hosts]))
    return PreparedDrill(plan, _power(plan, fleet.cluster))


def promises(cluster: Cluster) -> Mapping[str, Promise]:
    """The table of promises, with the operator's tighter numbers in hosts.yml."""
    from ...drills.faults.promises import PROMISES, tightened

    try:
        return tightened(PROMISES, cluster.promises)
    except InputError as error:
        raise InputError([f"{cluster.source.name}: {fault}" for fault in error.faults], error.hint or "") from None


def _power(plan: DrillPlan, cluster: Cluster) -> Power | None:
    """Refused where a host would lose its power and nobody could give it back."""
    from ...lab.power import power_of

    if not plan.cuts_power:
        return None
    power = power_of([(name, cluster.host(name).ssh) for name in plan.target.hosts])
    if power is None:
        raise Refused(
            f"nobody could give {', '.join(plan.target.hosts)} its power back",
            "on a server: --way-back reboot restarts it at once instead, without stopping anything first",
        )
    return power


def plan_lines(plan: DrillPlan) -> Iterator[tuple[str, str]]:
    """Name and text of each line that says what is about to happen."""
    values = ", ".join(f"{name} {value}" for name, value in plan.values.items())
    yield "drill", plan.fault.name + (f" ({values})" if values else "")
    yield "does", plan.fault.does
    yield "target", plan.target.text
    if plan.others:
        yield "ALSO ENDS", f"{', '.join(plan.others)}: not the cluster's; they are started again with the undo"
    end = f"for {plan.hold} s" if plan.hold else "until all is well again, or three times the promised time is over"
    yield "lasts", f"{end}; the host undoes it by itself after {plan.ttl} s"
    yield "promise", plan.expectation.promise.text
    if load := plan.load_target:
        yield "requests", f"{plan.load_rate} a second to https://{load.domain} at {load.address}"
    else:
        yield "requests", f"none: {plan.no_load_reason}"
    if plan.refusal_reasons:
        yield "FORCED", f"{' '.join(plan.refusal_reasons)} Because: {plan.forced}"


def plan_json(plan: DrillPlan) -> dict[str, Any]:
    return {
        "drill": plan.fault.name, "target": plan.target.text, "hosts": plan.target.hosts,
        "service": plan.target.service, "arguments": dict(plan.values),
        "detection": plan.expectation.detection, "promise": plan.expectation.promise.text,
        "hold_s": plan.hold, "ttl_s": plan.ttl, "load": plan.load_target.domain if plan.load_target else None,
        "load_rate": plan.load_rate if plan.load_target else 0,
        "also_ends": list(plan.others), "too_much": list(plan.refusal_reasons), "forced": plan.forced,
    }  # fmt: skip


def show_plan(plan: DrillPlan, stderr: bool = True) -> None:
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in plan_lines(plan):
        grid.add_row(Text(name, "bold red" if name.isupper() else "dim"), Text(text))
    console(stderr).print(grid)


def run_prepared(fleet: Fleet, drill: PreparedDrill) -> tuple[Record, Path]:
    """Runs the drill, with the live view on stderr, and keeps its record. The record, and the path of its page."""
    from ...drills.course.runner import run_drill
    from ...drills.report import store
    from ...drills.report.live import LiveView

    title = f"{drill.plan.fault.name} on {drill.plan.target.text}"
    with LiveView(title, sys.stderr.isatty()) as view:
        record = run_drill(fleet, drill.plan, drill.power, view.moment, view.requests)
    return record, store.save(records_folder(fleet.cluster), record)


def records_folder(cluster: Cluster) -> Path:
    """Of records and reports."""
    return cluster.state / "drills"


def show_record(record: Record, kept: Sequence[Record], page: Path | None) -> None:
    """`kept`: the records so far, of any drill."""
    from ...drills.report.summary import summary

    console().print(summary(record, kept, page))


def record_json(record: Record, page: Path | None) -> dict[str, Any]:
    """The record without its single requests, which its file keeps."""
    values = {key: value for key, value in record.to_json().items() if key != "samples"}
    return {**values, "report": str(page) if page else None}


def print_records(records: Sequence[tuple[Record, Path | None]]) -> None:
    print_json([record_json(record, page) for record, page in records])


def write_junit(path: str, records: Sequence[Record]) -> None:
    from ...drills.report.junit import junit_xml

    if path:
        Path(path).write_text(junit_xml(records))
        say(f"JUnit: {path}")


def check_writable(path: str) -> None:
    """Before anything happens: a drill whose result cannot be written would run in vain."""
    if path:
        output_path("--junit", path)


def exit_code(records: Sequence[Record]) -> int:
    """The worst: first a broken promise, then a drill without a verdict. If all were skipped, there is no verdict."""
    verdicts = {record.verdict for record in records}
    if "FAIL" in verdicts:
        return FAILED
    return NO_VERDICT if verdicts & {"UNKNOWN", "ABORTED"} or "PASS" not in verdicts else PASSED
