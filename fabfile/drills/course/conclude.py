"""The end of a drill: from what was seen to its record, with the primaries' history where managers were hurt."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import NexusError
from ...core.judge.fencing import check_history, read_acts, since_an_election
from ...edge.consul import service_operations as serve
from ...edge.ssh.fleet import Fleet
from ..faults import targets
from ..verdict.record import Record, Requests, Sample, Verdict, requests_of
from ..verdict.verdict import broken_of, verdict_of
from .drill import DrillRun
from .load import Sample as Answer

SLOW_MS = 1000.0
GAP = 20.0  # seconds that probes or load may be silent before the numbers are worth nothing


def record_of(run: DrillRun, fleet: Fleet, wall: float, broken: str, answers: Sequence[Answer]) -> Record:
    """`wall`: unix s at which the run began; `broken`: of the prober."""
    plan, expectation = run.plan, run.plan.expectation
    samples = tuple(Sample(round(s.at, 3), round(s.ms, 1), s.ok) for s in sorted(answers, key=lambda s: s.at))
    requests = requests_of(samples, SLOW_MS)
    findings, unread = None, ""
    if run.fault_at is not None and targets.touches_managers(plan.fault, plan.target, run.cluster):
        findings, unread = _history(fleet)
    verdict, why = _judged(run, requests, samples, findings, [b for b in (broken, unread) if b])
    return Record(
        plan.fault.name, verdict, wall, plan.target.text, plan.target.hosts, run.cluster.name, why, expectation.promise,
        None if expectation.detection == "none" else run.detected, run.recovered, run.error_s, float(plan.ttl),
        run.fault_at, run.healed_at, requests, tuple(run.primaries), findings,
        tuple(sorted(run.moments, key=lambda m: m.at_s)), samples, plan.forced, plan.version, bool(plan.hold),
    )  # fmt: skip


def _judged(
    run: DrillRun,
    requests: Requests,
    samples: Sequence[Sample],
    findings: tuple[str, ...] | None,
    broken: Sequence[str],
) -> tuple[Verdict, str]:
    """Two primaries are a FAIL whatever else happened; then an undo that failed; then a drill that was broken off."""
    probes = [s.asked - run.began for s in run.seen]
    gone = broken_of(samples, probes, began_s=run.fault_at or 0.0, ended_s=run.healed_at or probes[-1], gap_s=GAP,
                     load_asked=run.plan.load_target is not None)  # fmt: skip
    verdict, why = verdict_of(run.plan.expectation.promise, detected_s=run.detected, recovered_s=run.recovered,
                              error_s=run.error_s, requests=requests, two_primaries=findings,
                              broken=[*broken, *gone])  # fmt: skip
    trouble = "; ".join(run.troubles)
    if findings:
        return verdict, f"{why} {trouble}".rstrip()
    if trouble:
        return "FAIL", f"{trouble[:1].upper()}{trouble[1:]}."
    if run.aborted:
        return "ABORTED", f"{run.aborted[:1].upper()}{run.aborted[1:]}."
    return verdict, why


def _history(fleet: Fleet) -> tuple[tuple[str, ...] | None, str]:
    """The two-primary checker's findings over all that the primaries did; or None, and why it could not be read."""
    try:
        return check_history(since_an_election(read_acts(serve.events(fleet, forever=False)))), ""
    except NexusError as error:
        return None, f"the history of the primaries could not be read: {error}"
