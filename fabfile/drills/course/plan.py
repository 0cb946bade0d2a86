"""What a drill is going to do, decided from what the cluster is now, before anything happens. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ...core.errors import InputError, Refused
from ...core.judge.service_health import Serving
from ...core.model.cluster import Cluster
from ...core.model.service import Services
from ...core.state.topology import Address
from ..faults import blast_radius as blast
from ..faults import catalogue as faults
from ..faults import targets
from ..faults.model import Fault
from ..faults.promises import PROMISES, Course, course
from ..faults.targets import Target
from ..verdict.record import Promise
from .load import Place

MARGIN = 10  # seconds between the end of what we wait for and the host's own undo


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster at one moment. alive: host -> whether Consul holds it for alive; version: of Consul."""

    cluster: Cluster
    serving: Serving
    leader: str | None
    alive: Mapping[str, bool]
    where: Mapping[str, Address]
    services: Services = field(default_factory=Services)
    version: str = ""

    @property
    def passing(self) -> dict[str, int]:
        """Service -> instances that pass; those that have any."""
        return {s.name: s.passing for s in self.serving.services if s.passing}


@dataclass(frozen=True, slots=True)
class Wish:
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
    course: Course
    where: Mapping[str, Address]
    ttl: int
    place: Place | None = None
    quiet: str = ""
    room: Mapping[str, int] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    forced: str | None = None
    version: str = ""

    @property
    def hold(self) -> int:
        """Seconds for which the fault is left in place whatever is seen; 0: until all is well again, or its time is up."""
        return self.fault.hold if self.course.recovery == "steady_after" else 0

    @property
    def watch(self) -> tuple[str, ...]:
        """The command on the target hosts whose answer must change, where that is how the fault is noticed."""
        if self.course.detection == "unit_restarted":
            unit = faults.unit_of(self.fault, self.values, self.target.service)
            return ("systemctl", "show", "-p", "MainPID", "-p", "NRestarts", "-p", "ActiveState", str(unit))
        if self.course.detection == "config_differs":
            return ("sha256sum", self.values["path"])
        return ()

    @property
    def spared(self) -> tuple[str, ...]:
        """Hosts of which nothing is asked as long as the fault is in place."""
        return self.target.hosts if self.course.recovery == "steady_elsewhere" else ()


def draw(fault: Fault, wish: Wish, scene: Scene, table: Mapping[str, Promise] = PROMISES) -> Plan:
    """InputError for a target, an argument or a ttl that cannot be; Refused for what would take too much away."""
    values = faults.arguments(fault, wish.values)
    role = faults.role_of(fault, values)
    word = wish.target or _default(fault, scene)
    target = targets.resolve(fault, word, scene.cluster, scene.serving, scene.leader, scene.alive, role)
    what = course(fault, target, scene.cluster, scene.serving.primary, table, values)
    reasons = blast.reasons(fault, target, scene.cluster, scene.serving, scene.alive)
    if reasons and not wish.force:
        raise Refused(
            f"{fault.name} on {target.text} would take too much away: {' '.join(reasons)}",
            "another target, or --force 'why' if that is what you want to see; nothing was injected",
        )
    place, quiet = _place(target, scene) if wish.load else (None, "--no-load")
    made = Plan(fault, target, values, what, scene.where, fault.ttl, place, quiet, _room(target, scene), reasons,
                wish.force or None, scene.version)  # fmt: skip
    if place is None and what.promise.failed_requests is not None:
        text = f"{what.promise.text} (requests are not measured: {quiet})"
        made = replace(made, course=replace(what, promise=replace(what.promise, text=text, failed_requests=None)))
    return replace(made, ttl=_ttl(made, wish.ttl))


def _default(fault: Fault, scene: Scene) -> str:
    """Where containers are what is hit, it is the container that has most instances."""
    if "docker" not in fault.needs:
        return fault.target
    passing = scene.passing
    boxed = [s.name for s in scene.services if s.image and s.name in passing]
    if not boxed:
        raise Refused("no service runs in a container here", "nothing was injected")
    return f"service:{max(boxed, key=lambda name: passing[name])}"


def _ttl(plan: Plan, asked: int | None) -> int:
    """Long enough for what is waited for: a host that undoes it sooner would spoil the measurement."""
    least = (plan.hold or int(plan.course.promise.recover_s or 0)) + MARGIN
    if asked is None:
        return max(plan.fault.ttl, least)
    if not least <= asked <= faults.LONGEST:
        at = f"--ttl {asked}: {plan.fault.name} needs from {least} to {faults.LONGEST} seconds"
        raise InputError([at], f"without --ttl it is {max(plan.fault.ttl, least)}")
    return asked


def _place(target: Target, scene: Scene) -> tuple[Place | None, str]:
    """The service that is hit, if users reach it; else the one with most instances. By a balancer that is not hit."""
    balancers = sorted(scene.cluster.having("loadbalancer"), key=lambda h: h.name in target.hosts)
    passing = scene.passing
    open_ = [s for s in scene.services if s.domain and s.name in passing]
    if not balancers or not open_:
        return None, "no load balancer" if not balancers else "no service has a domain and passes"
    chosen = max(open_, key=lambda s: (s.name == target.service, passing[s.name]))
    return Place(balancers[0].ssh, str(chosen.domain), chosen.path), ""


def _room(target: Target, scene: Scene) -> dict[str, int]:
    return {
        s.name: sum(s.fits(h) and h.name not in target.hosts and scene.alive.get(h.name, False) for h in scene.cluster.hosts)
        for s in scene.services
    }
