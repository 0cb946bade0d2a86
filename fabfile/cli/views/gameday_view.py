"""A gameday for its operator: each drill in turn, with a settled cluster in between; then a table and one page."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import HostError, InputError, NexusError, Refused
from ..console.output import print_json, say, table
from ..console.terminal import console
from . import drill_view

if TYPE_CHECKING:
    from ...drills.course.plan import DrillPlan
    from ...drills.faults.gameday import ScheduledDrill
    from ...drills.verdict.record import Record, Verdict
    from ...edge.ssh.fleet import Fleet

SETTLE_TIMEOUT = 180.0  # seconds for all voters to be back between two drills


def preview(fleet: Fleet, schedule: Sequence[ScheduledDrill], json: bool) -> None:
    """Shows what each drill would do, or why it would be left out; changes nothing."""
    from ...drills.course.plan import DrillRequest

    rows = []
    for scheduled in schedule:
        try:
            request = DrillRequest(scheduled.target, scheduled.values)
            plan = drill_view.prepare_drill(fleet, scheduled.fault, request).plan
            rows.append((scheduled.title, _with_others(plan), plan.expectation.promise.text))
        except (InputError, Refused, HostError) as error:
            rows.append((scheduled.title, "left out", error.message))
    if json:
        print_json([{"drill": drill, "target": target, "promise": promise} for drill, target, promise in rows])
    else:
        table(("drill", "target", "promise"), rows)


def _with_others(plan: DrillPlan) -> str:
    """The target, and what is not the cluster's and ends with it."""
    return f"{plan.target.text}; also ends {', '.join(plan.others)}" if plan.others else plan.target.text


def run_gameday(fleet: Fleet, schedule: Sequence[ScheduledDrill], load: bool) -> tuple[list[Record], Path]:
    """All records, and the path of their page. A drill that does not fit is SKIPPED. After a drill that was aborted, or
    left the cluster unsteady, no other one is run: their result is UNKNOWN.
    """
    from ...drills.report import store

    records: list[Record] = []
    stopped = ""
    for number, scheduled in enumerate(schedule, 1):
        say(f"\n{number} of {len(schedule)}: {scheduled.title}")
        if stopped:
            record = _not_run(fleet, scheduled, f"not run: {stopped}", "UNKNOWN")
        else:
            record = _run_scheduled(fleet, scheduled, load)
        records.append(record)
        stopped = stopped or _stop_reason(fleet, record)
        say(f"{record.verdict}: {record.why}")
    return records, store.save_gameday(drill_view.records_folder(fleet.cluster), records)


def _run_scheduled(fleet: Fleet, scheduled: ScheduledDrill, load: bool) -> Record:
    from ...drills.course.fault_driver import FaultUnsupported
    from ...drills.course.plan import DrillRequest

    request = DrillRequest(scheduled.target, scheduled.values, load=load)
    try:
        prepared = drill_view.prepare_drill(fleet, scheduled.fault, request)
    except (InputError, Refused) as error:
        return _not_run(fleet, scheduled, error.message)
    except HostError as error:
        return _not_run(fleet, scheduled, error.message, "UNKNOWN")
    if prepared.plan.others:
        say(f"on {_with_others(prepared.plan)} (not the cluster's; started again with the undo)")
    try:
        return drill_view.run_prepared(fleet, prepared)[0]
    except FaultUnsupported as error:
        return _not_run(fleet, scheduled, error.message)
    except (Refused, HostError) as error:
        return _not_run(fleet, scheduled, error.message, "UNKNOWN")


def _stop_reason(fleet: Fleet, record: Record) -> str:
    """Why no further drill may begin; empty: go on."""
    from ...drills.course.snapshot import wait_until_settled

    if record.verdict == "ABORTED":
        return f"{record.drill} before it was broken off"
    if record.verdict == "SKIPPED":
        return ""
    try:
        problems = wait_until_settled(fleet, SETTLE_TIMEOUT)
    except NexusError as error:
        problems = (error.message,)
    return f"not steady {SETTLE_TIMEOUT:.0f} s after {record.drill}: {'; '.join(problems)}" if problems else ""


def _not_run(fleet: Fleet, scheduled: ScheduledDrill, why: str, verdict: Verdict = "SKIPPED") -> Record:
    from ...drills.verdict.record import Record

    sentence = " ".join(why.split())
    return Record(scheduled.fault, verdict, time.time(), scheduled.target, cluster=fleet.cluster.name, why=sentence)


def show(records: Sequence[Record], page: Path, json: bool) -> None:
    from ...drills.report.summary import runs_table

    if json:
        drill_view.print_records([(record, page) for record in records])
        return
    console().print(runs_table(records))
    for record in records:
        if record.verdict in ("FAIL", "UNKNOWN", "ABORTED"):
            print(f"{record.verdict} {record.drill}: {record.why}")
    print(f"report: {page}")
