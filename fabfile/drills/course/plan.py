"""What a drill is going to do, decided from what the cluster is now, before anything happens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...core.errors import InputError, Refused
from ...core.judge.service_health import ServicesHealth
from ...core.model.cluster import Cluster
from ...core.model.service import Services
from ...core.state.topology import Address
from ..faults import blast_radius, targets
from ..faults import catalogue as faults
from ..faults.model import Fault
from ..faults.promises import PROMISES, Expectation, expectation_for
from ..faults.targets import Target
from ..verdict.record import Promise
from .load import LoadTarget

MARGIN = 10  # seconds between the end of what we wait for and the host's own undo


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A cluster at one moment. alive: host -> whether Consul holds it for alive; version: of Consul."""

    cluster: Cluster
    services_health: ServicesHealth
    leader: str | None
    alive: Mapping[str, bool]
    where: Mapping[str, Address]
    services: Services = field(default_factory=Services)
    version: str = ""

    @property
    def passing(self) -> dict[str, int]:
        """Service -> instances that pass; those that have any."""
        return {s.name: s.passing for s in self.services_health.services if s.passing}


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What the operator asked for. target: "" for the fault's own; values: of its arguments; ttl: None for its own."""

    target: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    ttl: int | None = None
    force: str = ""
    load: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """place: where requests go; None: none are sent, because of `quiet`. room: service -> hosts left that may run it.

    reasons: why it would be too much; none, or `forced` says why it is done all the same. version: Consul's.
    """

    fault: Fault
    target: Target
    values: Mapping[str, str]
    expectation: Expectation
    where: Mapping[str, Address]
    ttl: int
    load_target: LoadTarget | None = None
    no_load_reason: str = ""
    room: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    forced: str | None = None
    version: str = ""

    @property
    def hold(self) -> int:
        """Seconds for which the fault is left in place whatever is seen; 0: until all is well again, or its time is up."""
        return self.fault.hold if self.expectation.recovery == "steady_after" else 0

    @property
    def watch(self) -> tuple[str, ...]:
        """The command on the target hosts whose answer must change, where that is how the fault is noticed."""
        if self.expectation.detection == "unit_restarted":
            unit = faults.unit_of(self.fault, self.values, self.target.service)
            return ("systemctl", "show", "-p", "MainPID", "-p", "NRestarts", "-p", "ActiveState", str(unit))
        if self.expectation.detection == "config_differs":
            return ("sha256sum", self.values["path"])
        return ()

    @property
    def spared(self) -> tuple[str, ...]:
        """Hosts of which nothing is asked as long as the fault is in place."""
        return self.target.hosts if self.expectation.recovery == "steady_elsewhere" else ()


def plan_drill(
    fault: Fault, request: DrillRequest, snapshot: ClusterSnapshot, table: Mapping[str, Promise] = PROMISES
) -> Plan:
    """InputError for a target, an argument or a ttl that cannot be; Refused for what would take too much away."""
    values = faults.arguments(fault, request.values)
    role = faults.role_of(fault, values)
    word = request.target or _default(fault, snapshot)
    target = targets.resolve(fault, word, snapshot.cluster, snapshot.services_health, snapshot.leader, snapshot.alive, role)
    what = expectation_for(fault, target, snapshot.cluster, snapshot.services_health.primary, table, values)
    reasons = blast_radius.reasons(fault, target, snapshot.cluster, snapshot.services_health, snapshot.alive)
    if reasons and not request.force:
        raise Refused(
            f"{fault.name} on {target.text} would take too much away: {' '.join(reasons)}",
            "another target, or --force 'why' if that is what you want to see; nothing was injected",
        )
    load_target, no_load_reason = _place(target, snapshot) if request.load else (None, "--no-load")
    made = Plan(fault, target, values, what, snapshot.where, fault.ttl, load_target, no_load_reason,
                _room(target, snapshot), reasons, request.force or None, snapshot.version)  # fmt: skip
    if load_target is None and what.promise.failed_requests is not None:
        text = f"{what.promise.text} (requests are not measured: {no_load_reason})"
        made = replace(made, expectation=replace(what, promise=replace(what.promise, text=text, failed_requests=None)))
    return replace(made, ttl=_ttl(made, request.ttl))


def _default(fault: Fault, snapshot: ClusterSnapshot) -> str:
    """Where containers are what is hit, it is the container that has most instances."""
    if "docker" not in fault.needs:
        return fault.target
    passing = snapshot.passing
    boxed = [s.name for s in snapshot.services if s.image and s.name in passing]
    if not boxed:
        raise Refused("no service runs in a container here", "nothing was injected")
    return f"service:{max(boxed, key=lambda name: passing[name])}"


def _ttl(plan: Plan, asked: int | None) -> int:
    """Long enough for what is waited for: a host that undoes it sooner would spoil the measurement."""
    least = (plan.hold or int(plan.expectation.promise.recover_s or 0)) + MARGIN
    if asked is None:
        return max(plan.fault.ttl, least)
    if not least <= asked <= faults.LONGEST:
        at = f"--ttl {asked}: {plan.fault.name} needs from {least} to {faults.LONGEST} seconds"
        raise InputError([at], f"without --ttl it is {max(plan.fault.ttl, least)}")
    return asked


def _place(target: Target, snapshot: ClusterSnapshot) -> tuple[LoadTarget | None, str]:
    """The service that is hit, if users reach it; else the one with most instances. By a balancer that is not hit."""
    balancers = sorted(snapshot.cluster.having("loadbalancer"), key=lambda h: h.name in target.hosts)
    passing = snapshot.passing
    open_ = [s for s in snapshot.services if s.domain and s.name in passing]
    if not balancers or not open_:
        return None, "no load balancer" if not balancers else "no service has a domain and passes"
    chosen = max(open_, key=lambda s: (s.name == target.service, passing[s.name]))
    return LoadTarget(balancers[0].ssh, str(chosen.domain), chosen.path), ""


def _room(target: Target, snapshot: ClusterSnapshot) -> dict[str, int]:
    return {
        s.name: sum(
            s.fits(h) and h.name not in target.hosts and snapshot.alive.get(h.name, False) for h in snapshot.cluster.hosts
        )
        for s in snapshot.services
    }
