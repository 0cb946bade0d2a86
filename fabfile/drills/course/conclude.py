"""The end of a drill: checks the primaries' history where managers were hurt, judges, and builds the record."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import NexusError
from ...core.judge.fencing import check_history, read_acts, since_an_election
from ...edge.consul import service_operations
from ...edge.ssh.fleet import Fleet
from ..faults import targets
from ..verdict.record import Record, Requests, Sample, Verdict, requests_of
from ..verdict.verdict import measurement_errors, verdict_of
from .drill import DrillRun
from .load import RequestSample

SLOW_MS = 1000.0
MAX_SILENCE = 20.0  # seconds without a probe or a request after which the numbers are worth nothing


def conclude(
    run: DrillRun, fleet: Fleet, began_unix: float, prober_error: str, request_samples: Sequence[RequestSample]
) -> Record:
    """The record of the run. `began_unix`: unix s at which it began."""
    plan, expectation = run.plan, run.plan.expectation
    by_due = sorted(request_samples, key=lambda s: s.due_s)
    samples = tuple(Sample(round(s.due_s, 3), round(s.ms, 1), s.ok) for s in by_due)
    requests = requests_of(samples, SLOW_MS)
    findings, history_error = None, ""
    if run.fault_at_s is not None and targets.touches_managers(plan.fault, plan.target, run.cluster):
        findings, history_error = _check_primaries(fleet)
    verdict, why = _verdict(run, requests, samples, findings, [e for e in (prober_error, history_error) if e])
    return Record(
        plan.fault.name, verdict, began_unix, plan.target.text, plan.target.hosts, run.cluster.name, why,
        expectation.promise, None if expectation.detection == "none" else run.detected_s, run.recovered_s, run.error_s,
        float(plan.ttl), run.fault_at_s, run.healed_at_s, requests, tuple(run.primaries), findings,
        tuple(sorted(run.moments, key=lambda m: m.at_s)), samples, plan.forced, plan.version, bool(plan.hold),
    )  # fmt: skip


def _verdict(
    run: DrillRun,
    requests: Requests,
    samples: Sequence[Sample],
    findings: tuple[str, ...] | None,
    known_errors: Sequence[str],
) -> tuple[Verdict, str]:
    """Two primaries are a FAIL whatever else happened; next comes a failed undo, then an abort, then the numbers."""
    probe_times = [o.asked_at - run.began for o in run.observations]
    errors = measurement_errors(
        samples, probe_times, began_s=run.fault_at_s or 0.0, ended_s=run.healed_at_s or probe_times[-1],
        max_gap_s=MAX_SILENCE, load_asked=run.plan.load_target is not None,
    )  # fmt: skip
    verdict, why = verdict_of(
        run.plan.expectation.promise, detected_s=run.detected_s, recovered_s=run.recovered_s, error_s=run.error_s,
        requests=requests, two_primaries=findings, measurement_errors=[*known_errors, *errors],
    )  # fmt: skip
    problems = "; ".join(run.problems)
    if findings:
        return verdict, f"{why} {problems}".rstrip()
    if problems:
        return "FAIL", f"{problems[:1].upper()}{problems[1:]}."
    if run.abort_reason:
        return "ABORTED", f"{run.abort_reason[:1].upper()}{run.abort_reason[1:]}."
    return verdict, why


def _check_primaries(fleet: Fleet) -> tuple[tuple[str, ...] | None, str]:
    """The two-primary checker's findings over all acts of the primaries; or None, and why they could not be read."""
    try:
        return check_history(since_an_election(read_acts(service_operations.events(fleet, forever=False)))), ""
    except NexusError as error:
        return None, f"the history of the primaries could not be read: {error}"
