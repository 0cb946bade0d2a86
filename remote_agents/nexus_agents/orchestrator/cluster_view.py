"""What the orchestrator knows of the cluster: the newest value of each watch, and pure functions that interpret it."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..shared import kv_schema
from ..shared.blocking_query import Watch
from ..shared.consul_api import Consul, decode_entry
from .flapping import KEPT_DEATHS, flapping
from .placement_model import Instance, Worker
from .promotion import PromotionRequest, parse_request
from .session_lease import CHECK

MAX_CPU, MAX_EPOCH = 1e6, 10**9  # percent of one core; larger values in a report are wrong
MAX_NOTE = 300  # characters
DEAD_AFTER = 6.0  # seconds that Consul must call a worker dead: an agent that only restarts costs no move
# name -> (path, whether any server may answer)
_WATCHES = {
    "lock": (f"/v1/kv/{kv_schema.PRIMARY}", True),
    "promotion": (f"/v1/kv/{kv_schema.PROMOTE}", True),
    "heartbeat": (f"/v1/kv/{kv_schema.BEAT}", True),
    "desired": (f"/v1/kv/{kv_schema.WANTED}", False),
    "reports": (f"/v1/kv/{kv_schema.REPORTS}?recurse", False),
    "nodes": ("/v1/catalog/nodes", False),
    "health": ("/v1/health/state/any", False),
}


class ClusterView:
    """The watches' newest values. `changed` is set on each new value."""

    def __init__(self, consul: Consul) -> None:
        self.changed = threading.Event()
        self._consul = consul
        self._values: dict[str, Any] = {}
        for name, (path, stale) in _WATCHES.items():
            Watch(consul, path, lambda value, name=name: self._update(name, value), stale).start()  # type: ignore[misc]

    def _update(self, name: str, value: Any) -> None:
        self._values[name] = value
        self.changed.set()

    def refresh_consistent(self) -> None:
        """Reads everything that a decision depends on from the leader, confirmed by a quorum. ConsulError.

        For a new primary: its watches may still wait for a leader that is gone, and show old values.
        """
        for name, (path, stale) in _WATCHES.items():
            if not stale:
                self._values[name] = self._consul.get(f"{path}{'&' if '?' in path else '?'}consistent")[1]

    def ready(self) -> bool:
        """Every watch has had its first answer."""
        return len(self._values) == len(_WATCHES)

    def lock_is_free(self) -> bool:
        """False before the first answer."""
        return "lock" in self._values and not self.lock_session()

    def lock_session(self) -> str | None:
        """The session that holds the lock; None also before the first answer."""
        session = (self._values.get("lock") or [{}])[0].get("Session")
        return str(session) if session else None

    def heartbeat(self) -> Any:
        """The primary's newest, kv_schema.BEAT; None where there never was one."""
        return self._kv_value("heartbeat", None)

    def newest_epoch(self) -> int:
        """The newest epoch in the workers' reports; 0 without any."""
        reports = [decode_entry(entry) for entry in self._values.get("reports") or ()]
        epochs = [r["epoch"] for r in reports if isinstance(r, dict) and type(r.get("epoch")) is int]
        return max((e for e in epochs if e < MAX_EPOCH), default=0)

    def can_be_primary(self, host: str) -> bool:
        """Whether Consul calls this host alive and its orchestrator passing."""
        status = {c["CheckID"]: c["Status"] for c in self.health() if c["Node"] == host}
        return status.get("serfHealth") == "passing" and status.get(CHECK) == "passing"

    def promotion_request(self) -> PromotionRequest | None:
        """Which host an operator wants as primary."""
        return parse_request(self._values.get("promotion"))

    def desired_specs(self) -> Mapping[str, Mapping[str, Any]] | None:
        """Service -> spec; None where nothing was published yet or the value is damaged: no reason to stop services."""
        services = self._kv_value("desired", {}).get("services")
        return dict(services) if isinstance(services, dict) else None

    def reports(self) -> dict[str, Mapping[str, Any]]:
        """Host -> service -> its worker's report."""
        entries = self._values.get("reports") or ()
        states = [e for e in entries if e["Key"] == kv_schema.report_key(kv_schema.host_of(e["Key"]))]
        return {kv_schema.host_of(e["Key"]): valid_reports(decode_entry(e)) for e in states}

    def nodes(self) -> list[Mapping[str, Any]]:
        return list(self._values.get("nodes") or ())

    def health(self) -> list[Mapping[str, Any]]:
        return list(self._values.get("health") or ())

    def _kv_value(self, name: str, default: Any) -> Any:
        entries = self._values.get(name)
        return (decode_entry(entries[0]) if entries else None) or default


def valid_reports(value: Any) -> dict[str, Mapping[str, Any]]:
    """The well-formed part of kv_schema.REPORT: a worker may write anything there, and must harm nobody else."""
    services = value.get("services") if isinstance(value, dict) else None
    reports: dict[str, Mapping[str, Any]] = {}
    for name, report in services.items() if isinstance(services, dict) else ():
        if isinstance(report, dict):
            cpu = report.get("cpu")
            valid = isinstance(cpu, (int, float)) and not isinstance(cpu, bool) and 0 <= cpu < MAX_CPU  # no NaN either
            reports[name] = {**report, "cpu": cpu if valid else None}
    return reports


@dataclass
class WorkerLiveness:
    """Remembers since when Consul calls a worker dead, and how often it died. Times are seconds of one clock.

    It must be asked all the time: a new primary starts with an empty `dead_since`.
    """

    dead_since: dict[str, float] = field(default_factory=dict)
    deaths: dict[str, list[float]] = field(default_factory=dict)

    def workers(
        self, nodes: Iterable[Mapping[str, Any]], health: Iterable[Mapping[str, Any]], now: float
    ) -> dict[str, Worker]:
        """The cluster's workers, from the catalogue: the nodes' metadata has their roles and labels."""
        down = {c["Node"] for c in health if c["CheckID"] == "serfHealth" and c["Status"] == "critical"}
        workers = {}
        for node in nodes:
            name, meta = str(node["Node"]), node.get("Meta") or {}
            if "worker" not in meta.get("nexus_roles", "").split(","):
                continue
            alive = self._alive(name, name in down, now)
            labels = {k.removeprefix("label_"): v for k, v in meta.items() if k.startswith("label_")}
            workers[name] = Worker(name, alive, labels, flapping(self.deaths.get(name, ()), now))
        return workers

    def _alive(self, name: str, down: bool, now: float) -> bool:
        if not down:
            self.dead_since.pop(name, None)
            return True
        if name not in self.dead_since:
            self.dead_since[name] = now
            self.deaths[name] = [*self.deaths.get(name, ()), now][-KEPT_DEATHS:]
        return now - self.dead_since[name] < DEAD_AFTER


def instances(
    reports: Mapping[str, Mapping[str, Any]], health: Iterable[Mapping[str, Any]]
) -> dict[tuple[str, str], Instance]:
    """(service, host) -> its state. Passing: the worker reports it as running, and all its checks pass in Consul."""
    failing: set[tuple[str, str]] = set()
    registered: set[tuple[str, str]] = set()
    for check in health:
        key = (str(check["Node"]), str(check.get("ServiceID") or check["CheckID"]))
        registered.add(key)
        if check["Status"] != "passing":
            failing.add(key)
    found = {}
    for host, services in reports.items():
        for name, report in services.items():
            key = (host, kv_schema.instance_id(name))
            healthy = key in registered and not failing & {key, (host, "serfHealth")}
            state = str(report.get("state"))
            running = report.get("state") == "running"
            failures, note = report.get("failures"), str(report.get("note") or "")[:MAX_NOTE]
            found[name, host] = Instance(
                str(report.get("revision")), running and healthy, state, failures if type(failures) is int else 0, note
            )
    return found
