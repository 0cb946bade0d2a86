"""A drill under way: what was seen, and what follows from it. No host is touched here; the clock is the runner's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...core.model.cluster import Cluster
from ..verdict.record import Kind, Moment, Primary
from .load import Sample
from .plan import MARGIN, Plan
from .prober import PERIOD, Observation, unhealthy_hosts, unsettled_services

LIMIT = 3.0  # times the promised recovery that is waited for, and at least FLOOR seconds
FLOOR = 30.0
RECENT = 10.0  # seconds of requests that are looked at for a stop
FAILING = 0.5  # their share that may fail
FEWEST = 20  # and so many must have failed
Tell = Callable[[float, Kind, str], None]


@dataclass
class DrillRun:
    """Times are seconds since `began`, a time of time.monotonic(). `tell` hears each moment as it comes."""

    cluster: Cluster
    plan: Plan
    tell: Tell
    began: float
    moments: list[Moment] = field(default_factory=list)
    seen: list[Observation] = field(default_factory=list)
    primaries: list[Primary] = field(default_factory=list)
    before: Observation | None = None  # the last one before the fault
    fault_at: float | None = None
    healed_at: float | None = None
    detected: float | None = None
    recovered: float | None = None
    error_s: float = PERIOD
    aborted: str = ""
    troubles: list[str] = field(default_factory=list)

    def note(self, at: float, kind: Kind, text: str) -> None:
        moment = Moment(round(at, 2), kind, text)
        self.moments.append(moment)
        self.tell(moment.at_s, kind, text)

    def mark_injected(self, at: float) -> None:
        """The fault is on its way: from here on is measured."""
        self.before, self.fault_at = self.seen[-1], at
        self.note(at, "fault", f"{self.plan.fault.name} on {self.plan.target.text}")
        if self.plan.expectation.detection == "none":
            self.detected = 0.0  # nothing has to notice

    def mark_healed(self, at: float) -> None:
        self.healed_at = at
        self.note(at, "healed", "the fault is undone")

    def observe(self, seen: Observation) -> None:
        """Judged at once, so that a time is that of the answer that showed it, and its error the time since the look
        before was asked."""
        gap = seen.at - self.seen[-1].asked if self.seen else PERIOD
        self.seen.append(seen)
        at = seen.at - self.began
        self._hear_primary(seen, at)
        if self.fault_at is None or seen.asked - self.began < self.fault_at:
            return
        if self.detected is None and self._is_detected(seen):
            self.detected = round(at - self.fault_at, 2)
            self.error_s = round(max(self.error_s, gap), 2)
            self.note(at, "detected", f"seen {self.detected:.1f} s after the fault")
        zero = self.healed_at if self.plan.hold else self.fault_at
        if self.recovered is None and zero is not None and seen.asked - self.began >= zero and self._is_recovered(seen):
            self.recovered = round(at - zero, 2)
            self.error_s = round(max(self.error_s, gap), 2)
            self.note(at, "recovered", f"{self.recovered:.1f} s after the {'undo' if self.plan.hold else 'fault'}")

    def _hear_primary(self, seen: Observation, at: float) -> None:
        last = self.primaries[-1].epoch if self.primaries else 0
        host, epoch = seen.services_health.primary, seen.services_health.epoch
        if host is None or epoch <= last:
            return
        self.primaries.append(Primary(host, epoch, round(at, 2) if last else min(0.0, round(at, 2))))
        if last:
            self.note(at, "primary", f"{host} is primary, epoch {epoch}")

    def _is_detected(self, seen: Observation) -> bool:
        hosts, before = self.plan.target.hosts, self.before or self.seen[0]
        match self.plan.expectation.detection:
            case "primary_changed":
                return seen.services_health.primary is not None and seen.services_health.epoch > before.services_health.epoch
            case "member_failed":
                return bool(seen.members) and all(not seen.members.get(h, False) for h in hosts)
            case "instance_not_passing":
                mine = [i for s in seen.services_health.services if s.name == self.plan.target.service for i in s.instances]
                return seen.answered and not any(i.host in hosts and i.passing for i in mine)
            case _:  # unit_restarted, config_differs
                return any(h in seen.watched and seen.watched[h] != before.watched.get(h) for h in hosts)

    def _is_recovered(self, seen: Observation) -> bool:
        """Of a fault that is held, by a look after its undo; of any other once it was noticed: before that, all seems
        well only because nobody has looked."""
        if not self.plan.hold and self.detected is None:
            return False
        return not self.lacking(seen)

    def lacking(self, seen: Observation) -> tuple[str, ...]:
        """What is missing until the cluster has recovered, the fault in place where it is not held."""
        plan, in_force = self.plan, self.healed_at is None
        found = list(unhealthy_hosts(seen, self.cluster, plan.spared if in_force else ()))
        if plan.expectation.detection == "unit_restarted":
            up = [h for h in plan.target.hosts if "ActiveState=active" in seen.watched.get(h, "").split("\n")]
            found += [f"the unit on {h} is not active" for h in plan.target.hosts if h not in up]
        if plan.expectation.detection == "config_differs" and self.before:
            found += [f"{plan.values['path']} on {h} is not as it was" for h in plan.target.hosts
                      if seen.watched.get(h) != self.before.watched.get(h)]  # fmt: skip
        away = in_force and plan.spared and "instances" in plan.fault.loses
        return (*found, *(self._not_elsewhere(seen) if away else unsettled_services(seen.services_health)))

    def _not_elsewhere(self, seen: Observation) -> list[str]:
        """Where fewer hosts are left than instances are wanted, as many as there is room for are enough."""
        found = []
        for service in seen.services_health.services:
            room = self.plan.room.get(service.name, len(self.cluster.having("worker")))
            due = room if service.wanted is None else min(service.wanted, room)
            here = sum(i.passing and i.host not in self.plan.spared for i in service.instances)
            if here < due:
                found.append(f"{service.name} has {here} of {due} passing elsewhere")
        return found

    @property
    def limit(self) -> float:
        """Seconds from the fault on until its undo, whatever is seen."""
        promised = self.plan.expectation.promise.recover_s or FLOOR
        return float(self.plan.hold or min(self.plan.ttl - MARGIN / 2, max(FLOOR, LIMIT * promised)))

    def stop_reason(self, now: float, samples: Sequence[Sample]) -> str:
        """Why the fault must be undone at once; empty: go on."""
        expectation, loses = self.plan.expectation, self.plan.fault.loses
        if expectation.promise.failed_requests is not None or not loses & {"balancer", "instances"}:
            recent = [s for s in samples if s.at > now - RECENT]
            failed = sum(not s.ok for s in recent)
            if failed > FEWEST and failed > FAILING * len(recent):
                return f"{failed} of the last {len(recent)} requests failed"
        others = [h.name for h in self.cluster.hosts if h.name not in self.plan.target.hosts]
        last = [s for s in self.seen[-3:] if s.members and s.asked - self.began > (self.fault_at or 0.0)]
        gone = [n for n in others if len(last) == 3 and not any(s.members.get(n, False) for s in last)]
        return f"{', '.join(gone)} is not the target, and is lost" if gone else ""
