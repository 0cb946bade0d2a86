"""One course for every drill: steady, armed, under load, hurt, watched, healed, steady again, judged. The effectful file."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from ..core.errors import HostError, NexusError, Refused
from ..core.fencing import check_history, read_acts, since_an_election
from ..core.model import Cluster
from ..core.topology import Address
from ..edge import lock, serve
from ..edge.fanout import each
from ..edge.fleet import Fleet
from . import faults, targets
from .hands import Hands, Power
from .load import Load, Place
from .look import PERIOD, Prober, Seen, unsteady
from .model import Fault
from .promises import Course
from .record import Kind, Moment, Primary, Record, Sample, requests_of
from .targets import Target
from .verdict import broken_of, verdict_of

LIMIT = 3.0  # times the promised recovery that is waited for, and at least FLOOR seconds
FLOOR = 30.0
SETTLE = 120.0  # seconds for the whole steady state after the undo
GAP = 20.0  # seconds that probes or load may be silent before the numbers are worth nothing
SLOW_MS = 1000.0
RATE = 20.0  # requests a second
FAILING = 0.5  # share of the last ten seconds' requests at which a drill is stopped
Tell = Callable[[float, Kind, str], None]


@dataclass(frozen=True)
class Plan:
    """What was decided before anything happens. `place`: where load goes; None: none is run."""

    fault: Fault
    target: Target
    values: Mapping[str, str]
    course: Course
    place: Place | None
    ttl: int
    forced: str | None = None


@dataclass
class Run:
    """A drill under way. Times are seconds since `began`."""

    cluster: Cluster
    plan: Plan
    tell: Tell
    began: float = field(default_factory=time.monotonic)
    wall: float = field(default_factory=time.time)
    moments: list[Moment] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    primaries: list[Primary] = field(default_factory=list)
    fault_at: float | None = None
    healed_at: float | None = None
    detected: float | None = None
    recovered: float | None = None
    aborted: str = ""
    troubles: list[str] = field(default_factory=list)

    @property
    def now(self) -> float:
        return time.monotonic() - self.began

    def note(self, kind: Kind, text: str, at: float | None = None) -> None:
        moment = Moment(round(self.now if at is None else at, 2), kind, text)
        self.moments.append(moment)
        self.tell(moment.at_s, kind, text)

    def hear(self, seen: Seen) -> None:
        """From the prober's thread. Judged at once, so that a time is that of the answer that showed it."""
        self.seen.append(seen)
        at = seen.at - self.began
        last = self.primaries[-1].epoch if self.primaries else 0
        if seen.serving.primary and seen.serving.epoch > last:
            self.primaries.append(Primary(seen.serving.primary, seen.serving.epoch, round(at if last else min(at, 0.0), 2)))
            if last:
                self.note("primary", f"{seen.serving.primary} is primary, epoch {seen.serving.epoch}", at)
        if self.fault_at is None or at < self.fault_at:
            return
        if self.detected is None and self._is_detected(seen):
            self.detected = round(at - self.fault_at, 2)
            self.note("detected", f"seen {self.detected:.1f} s after the fault", at)
        if self.recovered is None and self._is_recovered(seen):
            start = self.healed_at if self.plan.course.recovery == "steady_after" else self.fault_at
            self.recovered = round(at - (start or self.fault_at), 2)
            self.note("recovered", f"after {self.recovered:.1f} s", at)

    def _is_detected(self, seen: Seen) -> bool:
        hosts, first = self.plan.target.hosts, self.seen[0]
        match self.plan.course.detection:
            case "primary_changed":
                return seen.serving.primary is not None and seen.serving.epoch > first.serving.epoch
            case "member_failed":
                return seen.answered and all(not seen.members.get(h, False) for h in hosts)
            case "instance_not_passing":
                mine = [i for s in seen.serving.services if s.name == self.plan.target.service for i in s.instances]
                return seen.answered and not any(i.host in hosts and i.passing for i in mine)
            case "unit_restarted":
                return any(h in seen.pids and seen.pids[h] != first.pids.get(h) for h in hosts)
            case _:
                return True  # nothing has to notice

    def _is_recovered(self, seen: Seen) -> bool:
        if self.plan.course.recovery == "steady_after" and (self.healed_at is None or seen.at - self.began < self.healed_at):
            return False
        if self.plan.course.recovery != "steady_after" and self.detected is None:
            return False
        spared = self.plan.target.hosts if self.plan.course.recovery == "steady_elsewhere" else ()
        if (
            "instances" in self.plan.fault.loses
            and spared
            and any(i.host in spared for s in seen.serving.services for i in s.instances)
        ):
            return False  # its replicas are not elsewhere yet
        return not unsteady(seen, self.cluster, spared)


def drill(fleet: Fleet, plan: Plan, where: Mapping[str, Address], power: Power | None, tell: Tell) -> Record:
    """The whole course. Refused when the steady state does not hold; HostError when the undo cannot be armed.

    Ctrl-C heals and is told as ABORTED. Whatever else happens, the undo is tried, and the hosts' own timers stand behind.
    """
    run = Run(fleet.cluster, plan, tell)
    servers = serve.managers(fleet)
    ordered = sorted(servers, key=lambda r: r.host.name in plan.target.hosts)
    hit = [fleet[name] for name in plan.target.hosts]
    unit = (
        faults.unit_of(plan.fault, plan.values, plan.target.service) if plan.course.detection == "unit_restarted" else None
    )
    hands = Hands(secrets.token_hex(6), plan.fault.name, plan.ttl, power)
    with (
        lock.held([*servers, *(r for r in hit if r not in servers)], f"drill {plan.fault.name} on {plan.target.text}"),
        ExitStack() as stack,
    ):
        prober = Prober(ordered, run.hear, unit, hit)
        run.note("phase", "steady state")
        prober.start()
        stack.callback(prober.stop)
        _await_steady(run, 10.0)
        load = stack.enter_context(Load(plan.place, RATE, run.began)) if plan.place else None
        time.sleep(2.0 if load else 0.5)
        try:
            _hurt(run, hands, hit, where)
            _watch(run, load)
        except KeyboardInterrupt:
            run.aborted = "interrupted by the operator"
        except HostError as error:
            run.aborted = error.message
        finally:
            _heal(run, hands, hit)
        _await_recovery(run)
        if load:
            load.stop()
    return _record(run, fleet, prober, load)


def _await_steady(run: Run, seconds: float) -> None:
    """Refused, with nothing done, when it does not hold."""
    until = time.monotonic() + seconds
    while True:
        problems = unsteady(run.seen[-1], run.cluster) if run.seen else ("nothing was seen yet",)
        if not problems:
            return
        if time.monotonic() > until:
            raise Refused(f"the cluster is not steady: {'; '.join(problems)}", "nothing was injected; inv status says more")
        time.sleep(0.2)


def _hurt(run: Run, hands: Hands, hit: Sequence[object], where: Mapping[str, Address]) -> None:
    plan, cluster = run.plan, run.cluster
    run.note("phase", "arming the undo")

    def words(host: str) -> tuple[str, ...]:
        peers = targets.peers(plan.fault, host, plan.target, cluster, where)
        return faults.script_words(plan.fault, plan.values, plan.target.service, peers)

    _raise(each(hit, lambda r: hands.arm(r, words(r.host.name)))[1])  # type: ignore[arg-type]
    run.note("phase", "fault")
    run.fault_at = run.now
    run.note("fault", f"{plan.fault.name} on {plan.target.text}", run.fault_at)
    _raise(each(hit, hands.inject)[1])  # type: ignore[arg-type]


def _raise(found: Sequence[HostError]) -> None:
    if found:
        raise found[0]


def _watch(run: Run, load: Load | None) -> None:
    """Until it has recovered, or has been held for long enough, or its time is up, or a stop condition holds."""
    course, began = run.plan.course, run.now
    hold = run.plan.fault.hold if course.recovery == "steady_after" else 0.0
    limit = hold or min(run.plan.ttl - 5.0, max(FLOOR, LIMIT * (course.promise.recover_s or FLOOR)))
    while run.now - began < limit:
        if not hold and run.recovered is not None:
            return
        if stop := _stop_reason(run, load):
            run.aborted = stop
            run.note("abort", stop)
            return
        time.sleep(0.1)


def _stop_reason(run: Run, load: Load | None) -> str:
    """Too many failed requests, or a host that is not the target has gone."""
    if load and run.plan.course.key.endswith("-quorum") is False and "balancer" not in run.plan.fault.loses:
        recent = [s for s in load.samples if s.at > run.now - 10]
        failed = sum(not s.ok for s in recent)
        if failed > 20 and failed > FAILING * len(recent):
            return f"{failed} of the last {len(recent)} requests failed"
    others = [h.name for h in run.cluster.hosts if h.name not in run.plan.target.hosts]
    gone = [
        n for n in others if len(run.seen) > 2 and all(s.answered and not s.members.get(n, False) for s in run.seen[-3:])
    ]
    return f"{', '.join(gone)} is not the target, and is lost" if gone else ""


def _heal(run: Run, hands: Hands, hit: Sequence[object]) -> None:
    run.note("phase", "healing")
    for _ in range(3):
        _, left = each(hit, hands.revert)  # type: ignore[arg-type]
        if not left:
            run.healed_at = run.now
            run.note("healed", "the fault is undone", run.healed_at)
            return
        time.sleep(1.0)
    run.troubles += [f"the undo failed on {f.host}: {f.message}" for f in left]
    run.note("abort", f"THE UNDO FAILED: {left[0].message}; run inv chaos.heal")


def _await_recovery(run: Run) -> None:
    run.note("phase", "steady again")
    until = time.monotonic() + SETTLE
    while time.monotonic() < until:
        after = [s for s in run.seen[-2:] if run.healed_at is not None and s.at - run.began > run.healed_at]
        if len(after) == 2 and not any(unsteady(s, run.cluster) for s in after):
            return
        time.sleep(0.2)
    problems = unsteady(run.seen[-1], run.cluster)
    run.troubles.append(f"not steady {SETTLE:.0f} s after the undo: {'; '.join(problems)}")


def _record(run: Run, fleet: Fleet, prober: Prober, load: Load | None) -> Record:
    plan, course = run.plan, run.plan.course
    samples = (
        tuple(Sample(round(s.at, 3), round(s.ms, 1), s.ok) for s in sorted(load.samples, key=lambda s: s.at)) if load else ()
    )
    findings = _history(fleet) if targets.touches_managers(plan.fault, plan.target, run.cluster) else None
    ended = run.healed_at or run.now
    broken = broken_of(samples, [t - run.began for t in prober.times], began_s=run.fault_at or 0.0, ended_s=ended, gap_s=GAP,
                       load_asked=plan.place is not None)  # fmt: skip
    requests = requests_of(samples, SLOW_MS)
    verdict, why = verdict_of(course.promise, detected_s=run.detected, recovered_s=run.recovered, error_s=PERIOD,
                              requests=requests, two_primaries=findings, broken=broken)  # fmt: skip
    if run.troubles:
        verdict, why = "FAIL", "; ".join(run.troubles) + "."
    elif run.aborted:
        verdict, why = "ABORTED", run.aborted + "."
    detected = None if course.detection == "none" else run.detected
    made = Record(
        plan.fault.name, verdict, run.wall, plan.target.text, plan.target.hosts, run.cluster.name, why, course.promise,
        detected, run.recovered, PERIOD, float(plan.ttl), run.fault_at, run.healed_at, requests,
        tuple(run.primaries), findings, tuple(run.moments), samples, plan.forced,
    )  # fmt: skip
    return replace(made, timeline=tuple(sorted(made.timeline, key=lambda m: m.at_s)))


def _history(fleet: Fleet) -> tuple[str, ...]:
    """The two-primary checker over all that the primaries have done."""
    try:
        return check_history(since_an_election(read_acts(serve.events(fleet, forever=False))))
    except NexusError as error:
        return (f"the history could not be read: {error}",)
