"""The plan of a drill: target, promise, load, duration; from a cluster snapshot, before anything happens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...core.errors import InputError, Refused
from ...core.judge.service_health import ServicesHealth
from ...core.model.cluster import Cluster
from ...core.model.service import Services
from ...core.state.topology import Address
from ..faults import blast_radius, catalogue, targets
from ..faults.model import Fault
from ..faults.promises import PROMISES, Expectation, expectation_for
from ..faults.targets import Target
from ..verdict.record import Promise
from .load import DEFAULT_RATE, MAX_RATE, LoadTarget

UNDO_MARGIN = 10  # seconds between the end of what a drill waits for and the host's own undo


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """A cluster at one moment. alive: host -> whether Consul's members list it as alive; version: Consul's."""

    cluster: Cluster
    services_health: ServicesHealth
    raft_leader: str | None
    alive: Mapping[str, bool]
    addresses: Mapping[str, Address]
    services: Services = field(default_factory=Services)
    version: str = ""

    @property
    def passing(self) -> dict[str, int]:
        """Service -> instances that pass; only services that have any."""
        return {s.name: s.passing for s in self.services_health.services if s.passing}


@dataclass(frozen=True, slots=True)
class DrillRequest:
    """What the operator asked for. target: "" for the default; values: of the arguments; ttl: None for the default.

    load, rate: whether requests are sent, and how many a second.
    """

    target: str = ""
    values: Mapping[str, str] = field(default_factory=dict)
    ttl: int | None = None
    force: str = ""
    load: bool = True
    rate: int = DEFAULT_RATE


@dataclass(frozen=True, slots=True)
class DrillPlan:
    """load_target: None: no requests are sent, because of `no_load_reason`. version: Consul's.

    capacity_elsewhere: service -> hosts outside the target that may run it.
    refusal_reasons: what would be gone; if there are any, `forced` says why the drill runs all the same.
    others: containers that are not the cluster's, which it ends, and starts again at its end.
    """

    fault: Fault
    target: Target
    values: Mapping[str, str]
    expectation: Expectation
    addresses: Mapping[str, Address]
    ttl: int
    load_target: LoadTarget | None = None
    no_load_reason: str = ""
    capacity_elsewhere: Mapping[str, int] = field(default_factory=dict)
    refusal_reasons: tuple[str, ...] = ()
    forced: str | None = None
    version: str = ""
    load_rate: int = DEFAULT_RATE
    others: tuple[str, ...] = ()

    @property
    def hold(self) -> int:
        """Seconds for which the fault stays in place whatever is seen; 0: until all is well, or its time is up."""
        return self.fault.hold if self.expectation.recovery == "steady_after" else 0

    @property
    def watched_file(self) -> str | None:
        """The file whose sum on the target hosts shows the fault; None: the fault hits no file."""
        return catalogue.file_of(self.fault, self.values)

    @property
    def watch_command(self) -> tuple[str, ...]:
        """The command whose output on the target hosts must change; empty: the fault is detected in another way."""
        unit = str(catalogue.unit_of(self.fault, self.values, self.target.service))
        if self.expectation.detection == "unit_restarted":
            return ("systemctl", "show", "-p", "MainPID", "-p", "NRestarts", "-p", "ActiveState", unit)
        if self.expectation.detection == "config_differs":
            look = 'sha256sum "$1" && systemctl show -p MainPID "$2"'
            return ("sh", "-c", look, "look", str(self.watched_file), unit)
        return ()

    @property
    def exempt_hosts(self) -> tuple[str, ...]:
        """Hosts that need not be well while the fault is in place."""
        return self.target.hosts if self.expectation.recovery == "steady_elsewhere" else ()

    @property
    def cuts_power(self) -> bool:
        """Whether a host loses its power from outside, so that something else must give it back."""
        condition = self.fault.power_off_when
        return condition is not None and self.values[condition[0]] == condition[1]


def plan_drill(
    fault: Fault, request: DrillRequest, snapshot: ClusterSnapshot, table: Mapping[str, Promise] = PROMISES
) -> DrillPlan:
    """InputError for an impossible target, argument or ttl; Refused for a blast radius that is too large."""
    values = catalogue.argument_values(fault, request.values)
    role = catalogue.role_of(fault, values)
    spec = request.target or _default_target(fault, snapshot)
    cluster, health = snapshot.cluster, snapshot.services_health
    target = targets.resolve(fault, spec, cluster, health, snapshot.raft_leader, snapshot.alive, role)
    expectation = expectation_for(fault, target, cluster, health.primary, table, values)
    reasons = blast_radius.refusal_reasons(fault, target, cluster, health, snapshot.alive)
    if reasons and not request.force:
        raise Refused(
            f"{fault.name} on {target.text} would take too much away: {' '.join(reasons)}",
            "another target, or --force 'why' if that is what you want to see; nothing was injected",
        )
    load_target, no_load_reason = _load_target(target, snapshot) if request.load else (None, "--no-load")
    if load_target is None:
        expectation = _without_requests(expectation, no_load_reason)
    if not 1 <= request.rate <= MAX_RATE:
        raise InputError([f"--rate {request.rate}: must be from 1 to {MAX_RATE} requests a second"], "nothing was injected")
    plan = DrillPlan(
        fault, target, values, expectation, snapshot.addresses, fault.ttl, load_target, no_load_reason,
        _capacity_elsewhere(target, snapshot), reasons, request.force or None, snapshot.version, request.rate,
    )  # fmt: skip
    return replace(plan, ttl=_ttl(plan, request.ttl))


def _default_target(fault: Fault, snapshot: ClusterSnapshot) -> str:
    """For faults of containers, the service in containers that has most passing instances."""
    if not fault.containers_only:
        return fault.default_target
    passing = snapshot.passing
    containerised = [s.name for s in snapshot.services if s.image and s.name in passing]
    if not containerised:
        raise Refused("no service runs in a container here", "nothing was injected")
    return f"service:{max(containerised, key=lambda name: passing[name])}"


def _without_requests(expectation: Expectation, reason: str) -> Expectation:
    """What is not measured is not promised; the promise's sentence says so."""
    promise = expectation.promise
    if promise.failed_requests is None:
        return expectation
    text = f"{promise.text} (requests are not measured: {reason})"
    return replace(expectation, promise=replace(promise, text=text, failed_requests=None))


def _ttl(plan: DrillPlan, requested: int | None) -> int:
    """Long enough for what the drill waits for: a host that undoes the fault sooner would spoil the measurement."""
    minimum = (plan.hold or int(plan.expectation.promise.recover_s or 0)) + UNDO_MARGIN
    if requested is None:
        return max(plan.fault.ttl, minimum)
    if not minimum <= requested <= catalogue.MAX_TTL:
        error = f"--ttl {requested}: {plan.fault.name} needs from {minimum} to {catalogue.MAX_TTL} seconds"
        raise InputError([error], f"without --ttl it is {max(plan.fault.ttl, minimum)}")
    return requested


def _load_target(target: Target, snapshot: ClusterSnapshot) -> tuple[LoadTarget | None, str]:
    """The service that is hit, if users reach it, else the one with most instances. Prefers a balancer not hit."""
    balancers = sorted(snapshot.cluster.having("loadbalancer"), key=lambda h: h.name in target.hosts)
    passing = snapshot.passing
    public = [s for s in snapshot.services if s.domain and s.name in passing]
    if not balancers or not public:
        return None, "no load balancer" if not balancers else "no service has a domain and passes"
    chosen = max(public, key=lambda s: (s.name == target.service, passing[s.name]))
    return LoadTarget(balancers[0].ssh, str(chosen.domain), chosen.path), ""


def _capacity_elsewhere(target: Target, snapshot: ClusterSnapshot) -> dict[str, int]:
    elsewhere = [h for h in snapshot.cluster.hosts if h.name not in target.hosts and snapshot.alive.get(h.name, False)]
    return {s.name: sum(s.fits(h) for h in elsewhere) for s in snapshot.services}
