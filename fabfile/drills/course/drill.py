"""A drill under way: the observations, and what follows: detected, recovered, abort. No host, no clock."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...core.model.cluster import Cluster
from ..verdict.record import Moment, MomentKind, Primary
from .load import RequestSample
from .plan import UNDO_MARGIN, DrillPlan
from .prober import PERIOD, Observation, unhealthy_hosts, unsettled_services

WAIT_FACTOR = 3.0  # a drill waits this many times the promised recovery, and at least MIN_WAIT seconds
MIN_WAIT = 30.0
RECENT = 10.0  # seconds of requests that count for an abort
MAX_FAILED_SHARE = 0.5  # of the recent requests; more end the drill,
MIN_FAILED = 20  # if more than this many failed
OnMoment = Callable[[float, MomentKind, str], None]


@dataclass
class DrillRun:
    """Times are seconds since `began`, a time of time.monotonic(). `on_moment` gets each moment as it comes."""

    cluster: Cluster
    plan: DrillPlan
    on_moment: OnMoment
    began: float
    moments: list[Moment] = field(default_factory=list)
    observations: list[Observation] = field(default_factory=list)
    primaries: list[Primary] = field(default_factory=list)
    baseline: Observation | None = None  # the last one before the fault
    fault_at_s: float | None = None
    healed_at_s: float | None = None
    detected_s: float | None = None
    recovered_s: float | None = None
    error_s: float = PERIOD
    abort_reason: str = ""
    problems: list[str] = field(default_factory=list)  # after the undo, or with it

    def add_moment(self, at_s: float, kind: MomentKind, text: str) -> None:
        moment = Moment(round(at_s, 2), kind, text)
        self.moments.append(moment)
        self.on_moment(moment.at_s, kind, text)

    def mark_injected(self, at_s: float) -> None:
        """The injection begins: the times count from here."""
        self.baseline, self.fault_at_s = self.observations[-1], at_s
        self.add_moment(at_s, "fault", f"{self.plan.fault.name} on {self.plan.target.text}")
        if self.plan.expectation.detection == "none":
            self.detected_s = 0.0  # nothing has to notice

    def mark_healed(self, at_s: float) -> None:
        self.healed_at_s = at_s
        self.add_moment(at_s, "healed", "the fault is undone")

    def observe(self, observation: Observation) -> None:
        """Judged at once. A time is that of the answer that showed it; its error is the time since the probe before it
        was asked.
        """
        gap = observation.answered_at - self.observations[-1].asked_at if self.observations else PERIOD
        self.observations.append(observation)
        asked_s, answered_s = observation.asked_at - self.began, observation.answered_at - self.began
        self._track_primary(observation, answered_s)
        if self.fault_at_s is None or asked_s < self.fault_at_s:
            return
        if self.detected_s is None and self._is_detected(observation):
            self.detected_s = round(answered_s - self.fault_at_s, 2)
            self.error_s = round(max(self.error_s, gap), 2)
            self.add_moment(answered_s, "detected", f"seen {self.detected_s:.1f} s after the fault")
        from_s = self.healed_at_s if self.plan.hold else self.fault_at_s
        if self.recovered_s is None and from_s is not None and asked_s >= from_s and self._is_recovered(observation):
            self.recovered_s = round(answered_s - from_s, 2)
            self.error_s = round(max(self.error_s, gap), 2)
            since = "undo" if self.plan.hold else "fault"
            self.add_moment(answered_s, "recovered", f"{self.recovered_s:.1f} s after the {since}")

    def _track_primary(self, observation: Observation, at_s: float) -> None:
        last_epoch = self.primaries[-1].epoch if self.primaries else 0
        host, epoch = observation.services_health.primary, observation.services_health.epoch
        if host is None or epoch <= last_epoch:
            return
        self.primaries.append(Primary(host, epoch, round(at_s, 2) if last_epoch else min(0.0, round(at_s, 2))))
        if last_epoch:
            self.add_moment(at_s, "primary", f"{host} is primary, epoch {epoch}")

    def _is_detected(self, observation: Observation) -> bool:
        hosts, baseline = self.plan.target.hosts, self.baseline or self.observations[0]
        health = observation.services_health
        match self.plan.expectation.detection:
            case "primary_changed":
                return health.primary is not None and health.epoch > baseline.services_health.epoch
            case "member_failed":
                return bool(observation.members) and all(not observation.members.get(h, False) for h in hosts)
            case "instance_not_passing":
                instances = [i for s in health.services if s.name == self.plan.target.service for i in s.instances]
                return observation.complete and not any(i.host in hosts and i.passing for i in instances)
            case _:  # unit_restarted, config_differs
                output = observation.watch_output
                return any(h in output and output[h] != baseline.watch_output.get(h) for h in hosts)

    def _is_recovered(self, observation: Observation) -> bool:
        """A fault that is not held must be detected first: until then, all looks well only because nobody noticed."""
        if not self.plan.hold and self.detected_s is None:
            return False
        return not self.not_recovered(observation)

    def not_recovered(self, observation: Observation) -> tuple[str, ...]:
        """What is missing until the cluster has recovered, one clause each."""
        plan, in_force, output = self.plan, self.healed_at_s is None, observation.watch_output
        missing = list(unhealthy_hosts(observation, self.cluster, plan.exempt_hosts if in_force else ()))
        if plan.expectation.detection == "unit_restarted":
            missing += [f"the unit on {h} is not active" for h in plan.target.hosts
                        if "ActiveState=active" not in output.get(h, "").split("\n")]  # fmt: skip
        if plan.expectation.detection == "config_differs" and self.baseline:
            missing += [f"{plan.watched_file}, or the process that reads it, is not as it was on {h}"
                        for h in plan.target.hosts
                        if output.get(h) != self.baseline.watch_output.get(h)]  # fmt: skip
        moved = in_force and plan.exempt_hosts and "instances" in plan.fault.losses
        services = self._not_elsewhere(observation) if moved else unsettled_services(observation.services_health)
        return (*missing, *services)

    def _not_elsewhere(self, observation: Observation) -> list[str]:
        """Where fewer hosts are left than instances are wanted, one instance on each host that is left is enough."""
        missing = []
        for service in observation.services_health.services:
            capacity = self.plan.capacity_elsewhere.get(service.name, len(self.cluster.having("worker")))
            needed = capacity if service.wanted is None else min(service.wanted, capacity)
            passing = sum(i.passing and i.host not in self.plan.exempt_hosts for i in service.instances)
            if passing < needed:
                missing.append(f"{service.name} has {passing} of {needed} passing elsewhere")
        return missing

    @property
    def max_fault_s(self) -> float:
        """Seconds from the fault until its undo, whatever is seen."""
        promised = self.plan.expectation.promise.recover_s or MIN_WAIT
        return float(self.plan.hold or min(self.plan.ttl - UNDO_MARGIN / 2, max(MIN_WAIT, WAIT_FACTOR * promised)))

    def stop_reason(self, now_s: float, samples: Sequence[RequestSample]) -> str:
        """Why the fault must be undone at once; empty: go on."""
        expectation, losses = self.plan.expectation, self.plan.fault.losses
        if expectation.promise.failed_requests is not None or not losses & {"balancer", "instances"}:
            recent = [s for s in samples if s.due_s > now_s - RECENT]
            failed = sum(not s.ok for s in recent)
            if failed > MIN_FAILED and failed > MAX_FAILED_SHARE * len(recent):
                return f"{failed} of the last {len(recent)} requests failed"
        others = [h.name for h in self.cluster.hosts if h.name not in self.plan.target.hosts]
        since_fault = [
            o for o in self.observations[-3:] if o.members and o.asked_at - self.began > (self.fault_at_s or 0.0)
        ]
        lost = [n for n in others if len(since_fault) == 3 and not any(o.members.get(n, False) for o in since_fault)]
        return f"{', '.join(lost)} is not the target, and is lost" if lost else ""
