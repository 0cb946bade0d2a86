"""How the services do: from Consul's KV store and checks to one value a service. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..text import visible

UNIT_PREFIX = "nexus-svc-"  # an instance's id in Consul, and the name of its unit, begin with it
# States in which an instance may serve. While an image is pulled, what Consul has is the older version, which goes on.
SERVING = ("running", "pulling", "pull-failed")
KV_PREFIXES = (
    "nexus/wanted/", "nexus/placement/", "nexus/report/", "nexus/scale", "nexus/misfits", "nexus/primary", "nexus/epoch",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Instance:
    """state: as its worker reports it (unknown: no report yet)
    passing: it serves by its worker's report, and all of its checks in Consul pass
    current: it runs the revision that is wanted; note: the worker's remark for people, often empty
    """

    host: str
    state: str
    passing: bool
    current: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """wanted: how many instances; None: one on every worker that has the labels.

    kept_off: (host, why): workers where it could not live, so that for some minutes any other one comes before them
    """

    name: str
    wanted: int | None
    instances: tuple[Instance, ...]
    kept_off: tuple[tuple[str, str], ...] = ()

    @property
    def passing(self) -> int:
        """How many instances pass."""
        return sum(i.passing for i in self.instances)

    @property
    def settled(self) -> bool:
        """As many instances as wanted, no more; each passes and runs the wanted revision."""
        due = len(self.instances) if self.wanted is None else self.wanted
        return len(self.instances) == due and all(i.passing and i.current for i in self.instances)

    def json(self) -> dict[str, Any]:
        """The keys that scripts may rely on."""
        return {
            "name": self.name, "wanted": "all" if self.wanted is None else self.wanted, "passing": self.passing,
            "hosts": [i.host for i in self.instances if i.passing],
            "instances": [
                {"host": i.host, "state": i.state, "passing": i.passing, "note": i.note} for i in self.instances
            ],
            "kept_off": [{"host": host, "why": why} for host, why in self.kept_off],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServicesHealth:
    """All services, by name. primary: host that holds the orchestrators' lock, None: nobody does; epoch: 0 before the
    first election."""

    services: tuple[ServiceHealth, ...] = ()
    primary: str | None = None
    epoch: int = 0


def read_services_health(entries: Iterable[Mapping[str, Any]], checks: Sequence[Mapping[str, Any]]) -> ServicesHealth:
    """`entries`: those of the KV store below KV_PREFIXES; `checks`: all of Consul's health checks. Both as its HTTP API
    gives them."""
    entries = list(entries)
    values = {str(e["Key"]): _value(e) for e in entries}
    orders = {host: _mapping(_mapping(v).get("services")) for host, v in _by_host("nexus/placement/", values).items()}
    reports = {host: _reported_services(value) for host, value in _by_host("nexus/report/", values).items()}
    passing = _passing_instances(checks)
    specs = _mapping(_mapping(values.get("nexus/wanted/services")).get("services"))
    scale = _mapping(values.get("nexus/scale"))
    services = []
    for name in sorted(specs.keys() | {service for ordered in orders.values() for service in ordered}):
        spec = _mapping(specs[name]) if name in specs else None
        instances = tuple(
            _instance(host, spec, reports.get(host, {}).get(name), (host, name) in passing)
            for host in sorted(orders)
            if name in orders[host]
        )
        kept_off = _kept_off(values.get("nexus/misfits"), name)
        services.append(ServiceHealth(name, _wanted_count(spec, scale.get(name)), instances, kept_off))
    return ServicesHealth(tuple(services), _primary(entries), _count(values.get("nexus/epoch")))


def _by_host(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Of keys `nexus/KIND/HOST/...` the values by host."""
    return {key.split("/")[2]: value for key, value in values.items() if key.startswith(prefix)}


def _primary(entries: Sequence[Mapping[str, Any]]) -> str | None:
    """The lock's entry has a session only while somebody holds it; its value alone names the last holder."""
    held = next((e for e in entries if e["Key"] == "nexus/primary" and e.get("Session")), None)
    host = _mapping(_value(held)).get("host") if held else None
    return host if isinstance(host, str) else None


def _reported_services(report: Any) -> dict[str, Mapping[str, Any]]:
    """The well-formed services of a report: a worker may write anything into it."""
    services = _mapping(_mapping(report).get("services"))
    return {name: s for name, s in services.items() if isinstance(s, dict) and "state" in s}


def _wanted_count(spec: Mapping[str, Any] | None, scaled: object) -> int | None:
    """`scaled`: the number that autoscaling has arrived at; it counts for services with a CPU limit only."""
    if spec is None:
        return 0
    replicas = _mapping(spec.get("replicas"))
    if replicas.get("all"):
        return None
    return _count(scaled if scaled is not None and replicas.get("cpu") is not None else replicas.get("min"))


def _instance(
    host: str, spec: Mapping[str, Any] | None, report: Mapping[str, Any] | None, checks_pass: bool
) -> Instance:
    report = report or {"state": "unknown"}
    state = str(report["state"])
    current = spec is not None and report.get("revision") == spec.get("revision")
    return Instance(host, state, checks_pass and state in SERVING, current, str(report.get("note", "")))


def _kept_off(misfits: Any, service: str) -> tuple[tuple[str, str], ...]:
    hosts = misfits.get(service) if isinstance(misfits, dict) else None
    return tuple((host, visible(str(m.get("why", "")))) for host, m in sorted((hosts or {}).items()) if isinstance(m, dict))


def _passing_instances(checks: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """(host, service) of those that have checks, all of which pass, on a host that is not dead."""
    passing: set[tuple[str, str]] = set()
    failing: set[tuple[str, str]] = set()
    for check in checks:
        if check["ServiceID"].startswith(UNIT_PREFIX):
            instance = (check["Node"], check["ServiceID"].removeprefix(UNIT_PREFIX))
            (passing if check["Status"] == "passing" else failing).add(instance)
    dead = {c["Node"] for c in checks if c["CheckID"] == "serfHealth" and c["Status"] != "passing"}
    return {(host, name) for host, name in passing - failing if host not in dead}


def _value(entry: Mapping[str, Any]) -> Any:
    """The entry's JSON value; None where it is no JSON."""
    try:
        return json.loads(base64.b64decode(entry.get("Value") or ""))
    except (ValueError, RecursionError):
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    """An agent's value, which may be damaged: nothing, where it is no mapping."""
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int:
    """0 where there is no such number. A number that no cluster has would not even print."""
    return value if isinstance(value, int) and 0 <= value < 10**18 else 0
