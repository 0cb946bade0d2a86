"""What the orchestrator knows of the cluster: the newest word of each watch, and a pure reading of it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..shared import kv_schema
from ..shared.blocking_query import Watch
from ..shared.consul_api import Consul, decoded
from .flapping import flapping
from .placement_model import Instance, Worker
from .promotion import PromotionRequest, promotion_request_of
from .session_lease import CHECK

MOST_CPU, MOST_EPOCHS = 1e6, 10**9  # percent of one core; what is more is no honest report
DEAD_AFTER = 6.0  # seconds that Consul must have called a worker dead: an agent that only restarts costs no move
_PATHS = {
    "lock": (f"/v1/kv/{kv_schema.PRIMARY}", True),
    "promote": (f"/v1/kv/{kv_schema.PROMOTE}", True),
    "beat": (f"/v1/kv/{kv_schema.BEAT}", True),
    "wanted": (f"/v1/kv/{kv_schema.WANTED}", False),
    "reports": (f"/v1/kv/{kv_schema.REPORTS}?recurse", False),
    "nodes": ("/v1/catalog/nodes", False),
    "health": ("/v1/health/state/any", False),
}


class ClusterView:
    """The watches' newest values. `changed` is set whenever one of them is new."""

    def __init__(self, consul: Consul) -> None:
        self.changed = threading.Event()
        self._consul = consul
        self._values: dict[str, Any] = {}
        for name, (path, stale) in _PATHS.items():
            Watch(consul, path, lambda value, name=name: self._put(name, value), stale).start()  # type: ignore[misc]

    def _put(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.changed.set()

    def confirm(self) -> None:
        """Reads anew, from the leader and with a quorum's word, what a decision is made of. ConsulError.

        For a new primary: its watches may have been waiting for a leader that is gone, and show what was.
        """
        for name, (path, stale) in _PATHS.items():
            if not stale:
                self._values[name] = self._consul.get(f"{path}{'&' if '?' in path else '?'}consistent")[1]

    def newest_epoch(self) -> int:
        """Of the orders that any worker says it follows; 0 where none says one."""
        said = [decoded(entry) for entry in self._values.get("reports") or ()]
        epochs = [s["epoch"] for s in said if isinstance(s, dict) and type(s.get("epoch")) is int]
        return max((e for e in epochs if e < MOST_EPOCHS), default=0)

    def ready(self) -> bool:
        """Every watch has had its first answer."""
        return len(self._values) == len(_PATHS)

    def lock_is_free(self) -> bool:
        """False as long as nobody knows."""
        return "lock" in self._values and not self.holder()

    def holder(self) -> str | None:
        """The session that holds the lock; None also as long as nobody knows."""
        found = (self._values.get("lock") or [{}])[0].get("Session")
        return str(found) if found else None

    def beat(self) -> Any:
        """The primary's newest, as in wire.BEAT; None where there never was one."""
        return self._value("beat", None)

    def can_be_primary(self, host: str) -> bool:
        """Whether Consul calls this host alive, and the orchestrator on it at work."""
        own = {c["CheckID"]: c["Status"] for c in self.health() if c["Node"] == host}
        return own.get("serfHealth") == "passing" and own.get(CHECK) == "passing"

    def promotion(self) -> PromotionRequest | None:
        """Which host an operator wants as primary."""
        return promotion_request_of(self._values.get("promote"))

    def wanted(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Service -> spec; None where nothing was ever published, or cannot be read: no reason to stop what runs."""
        found = self._value("wanted", {}).get("services")
        return dict(found) if isinstance(found, dict) else None

    def reports(self) -> dict[str, Mapping[str, Any]]:
        """Host -> service -> what its worker says of it."""
        found = self._values.get("reports") or ()
        own = [e for e in found if e["Key"] == kv_schema.report_key(kv_schema.host_of(e["Key"]))]
        return {kv_schema.host_of(e["Key"]): valid_report(decoded(e)) for e in own}

    def nodes(self) -> list[Mapping[str, Any]]:
        return list(self._values.get("nodes") or ())

    def health(self) -> list[Mapping[str, Any]]:
        return list(self._values.get("health") or ())

    def _value(self, name: str, default: Any) -> Any:
        entries = self._values.get(name)
        return (decoded(entries[0]) if entries else None) or default


def valid_report(value: Any) -> dict[str, Mapping[str, Any]]:
    """A worker may write anything into its report: what is none is left out, and harms nobody."""
    services = value.get("services") if isinstance(value, dict) else None
    found: dict[str, Mapping[str, Any]] = {}
    for name, said in services.items() if isinstance(services, dict) else ():
        if isinstance(said, dict):
            cpu = said.get("cpu")
            sound = isinstance(cpu, (int, float)) and not isinstance(cpu, bool) and 0 <= cpu < MOST_CPU  # no NaN either
            found[name] = {**said, "cpu": cpu if sound else None}
    return found


@dataclass
class WorkerLiveness:
    """Remembers since when Consul calls a worker dead, and how often it did. Times are seconds of one clock.

    Of use only while it looks all the time: a new primary begins with an empty `dead_since`.
    """

    dead_since: dict[str, float] = field(default_factory=dict)
    deaths: dict[str, list[float]] = field(default_factory=dict)

    def workers(
        self, nodes: Iterable[Mapping[str, Any]], health: Iterable[Mapping[str, Any]], at: float
    ) -> dict[str, Worker]:
        """The cluster's workers: of the catalogue, by the roles and labels that their agents bear."""
        down = {c["Node"] for c in health if c["CheckID"] == "serfHealth" and c["Status"] == "critical"}
        found = {}
        for node in nodes:
            name, meta = str(node["Node"]), node.get("Meta") or {}
            if "worker" not in meta.get("nexus_roles", "").split(","):
                continue
            alive = self._alive(name, name in down, at)
            labels = {k.removeprefix("label_"): v for k, v in meta.items() if k.startswith("label_")}
            found[name] = Worker(name, alive, labels, flapping(self.deaths.get(name, ()), at))
        return found

    def _alive(self, name: str, down: bool, at: float) -> bool:
        if not down:
            self.dead_since.pop(name, None)
            return True
        if name not in self.dead_since:
            self.dead_since[name] = at
            self.deaths[name] = [*self.deaths.get(name, ())[-9:], at]
        return at - self.dead_since[name] < DEAD_AFTER


def instances(
    reports: Mapping[str, Mapping[str, Any]], health: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], Instance]:
    """(service, host) -> its state. Passing: the worker says that it runs, and Consul that all its checks pass."""
    bad: set[tuple[str, str]] = set()
    known: set[tuple[str, str]] = set()
    for check in health:
        key = (str(check["Node"]), str(check.get("ServiceID") or check["CheckID"]))
        known.add(key)
        if check["Status"] != "passing":
            bad.add(key)
    found = {}
    for host, services in reports.items():
        for name, said in services.items():
            key = (host, kv_schema.instance_id(name))
            fine = said.get("state") == "running" and key in known and not bad & {key, (host, "serfHealth")}
            found[name, host] = Instance(str(said.get("revision")), fine, str(said.get("state")))
    return found
