"""A gameday as its operator sees it: each drill in turn, the cluster steady between, a table and one page at the end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import HostError, InputError, NexusError, Refused
from ..console.output import print_json, say, table
from . import drill_view

if TYPE_CHECKING:
    from ...drills.faults.gameday import Entry
    from ...drills.verdict.record import Record
    from ...edge.ssh.fleet import Fleet

SETTLE = 180.0  # seconds for all voters to be back between two drills


def preview(fleet: Fleet, entries: Sequence[Entry], json: bool) -> None:
    from ...drills.course.plan import DrillRequest

    rows = []
    for entry in entries:
        try:
            made = drill_view.ready(fleet, entry.fault, DrillRequest(entry.target, entry.values))
            rows.append((entry.title, made.plan.target.text, made.plan.expectation.promise.text))
        except (InputError, Refused) as error:
            rows.append((entry.title, "left out", error.message))
    if json:
        print_json([{"drill": drill, "target": target, "promise": promise} for drill, target, promise in rows])
    else:
        table(("drill", "target", "promise"), rows)


def play(fleet: Fleet, entries: Sequence[Entry], load: bool) -> tuple[list[Record], Path]:
    """All records, and the page of all. A drill that does not fit is SKIPPED. After one that left the cluster unsteady, or
    was broken off, none is run: what they would show is UNKNOWN."""
    from ...drills.report import store

    records: list[Record] = []
    ended = ""
    for number, entry in enumerate(entries, 1):
        say(f"\n{number} of {len(entries)}: {entry.title}")
        record = _skipped(fleet, entry, f"not run: {ended}", "UNKNOWN") if ended else _one(fleet, entry, load)
        records.append(record)
        ended = ended or _why_over(fleet, record)
        say(f"{record.verdict}: {record.why}")
    return records, store.save_gameday(drill_view.folder(fleet.cluster), records)


def _one(fleet: Fleet, entry: Entry, load: bool) -> Record:
    from ...drills.course.fault_driver import FaultUnsupported
    from ...drills.course.plan import DrillRequest

    try:
        made = drill_view.ready(fleet, entry.fault, DrillRequest(entry.target, entry.values, load=load))
    except (InputError, Refused) as error:
        return _skipped(fleet, entry, error.message)
    try:
        return drill_view.run(fleet, made)[0]
    except FaultUnsupported as error:
        return _skipped(fleet, entry, error.message)
    except (Refused, HostError) as error:
        return _skipped(fleet, entry, error.message, "UNKNOWN")


def _why_over(fleet: Fleet, record: Record) -> str:
    """Why no further drill may begin; empty: go on."""
    from ...drills.course.snapshot import wait_until_settled

    if record.verdict == "ABORTED":
        return f"{record.drill} before it was broken off"
    if record.verdict == "SKIPPED":
        return ""
    try:
        lacking = wait_until_settled(fleet, SETTLE)
    except NexusError as error:
        lacking = (error.message,)
    return f"not steady {SETTLE:.0f} s after {record.drill}: {'; '.join(lacking)}" if lacking else ""


def _skipped(fleet: Fleet, entry: Entry, why: str, verdict: str = "SKIPPED") -> Record:
    from ...drills.verdict.record import Record

    sentence = " ".join(why.split())
    return Record(entry.fault, verdict, time.time(), entry.target, cluster=fleet.cluster.name, why=sentence)  # type: ignore[arg-type]


def show(records: Sequence[Record], page: Path, json: bool) -> None:
    from rich.console import Console

    from ...drills.report import summary

    if json:
        drill_view.print_records([(record, page) for record in records])
        return
    Console().print(summary.table(records))
    for record in records:
        if record.verdict in ("FAIL", "UNKNOWN", "ABORTED"):
            print(f"{record.verdict} {record.drill}: {record.why}")
    print(f"report: {page}")
