"""How the services do: from Consul's KV store and checks to one value a service. Pure."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

UNIT = "nexus-svc-"  # an instance's id in Consul, and its unit's name, begin with it
PREFIXES = ("nexus/wanted/", "nexus/placement/", "nexus/report/", "nexus/scale", "nexus/primary", "nexus/epoch")


@dataclass(frozen=True, slots=True)
class Instance:
    """state: as its worker reports it (unknown: not yet); passing: by Consul's word as well."""

    host: str
    state: str
    passing: bool
    current: bool  # of the revision that is wanted
    note: str = ""


@dataclass(frozen=True, slots=True)
class ServiceHealth:
    """wanted: how many instances; None: one on every worker that has the labels."""

    name: str
    wanted: int | None
    instances: tuple[Instance, ...]

    @property
    def passing(self) -> int:
        return sum(i.passing for i in self.instances)

    @property
    def settled(self) -> bool:
        """All that is wanted passes, in the wanted revision, and nothing else is left."""
        due = len(self.instances) if self.wanted is None else self.wanted
        return len(self.instances) == due and all(i.passing and i.current for i in self.instances)

    def json(self) -> dict[str, Any]:
        return {
            "name": self.name, "wanted": "all" if self.wanted is None else self.wanted, "passing": self.passing,
            "hosts": [i.host for i in self.instances if i.passing],
            "instances": [{"host": i.host, "state": i.state, "passing": i.passing, "note": i.note} for i in self.instances],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ServicesHealth:
    """primary, epoch: of the orchestrators' lock; 0 and None where there was none yet."""

    services: tuple[ServiceHealth, ...] = ()
    primary: str | None = None
    epoch: int = 0


def read_services_health(entries: Iterable[Mapping[str, Any]], health: Sequence[Mapping[str, Any]]) -> ServicesHealth:
    """`entries`: of the KV store below PREFIXES; `health`: Consul's checks, all of them."""
    entries = list(entries)
    values = {str(e["Key"]): _value(e) for e in entries}
    holder = next((e for e in entries if e["Key"] == "nexus/primary" and e.get("Session")), None)
    orders = {k.split("/")[2]: (v or {}).get("services", {}) for k, v in values.items() if k.startswith("nexus/placement/")}
    reports = {k.split("/")[2]: _sound(v) for k, v in values.items() if k.startswith("nexus/report/")}
    well = _passing(health)
    specs = (values.get("nexus/wanted/services") or {}).get("services", {})
    scale = values.get("nexus/scale") or {}
    services = []
    for name in sorted(specs.keys() | {s for o in orders.values() for s in o}):
        found = tuple(_instance(host, specs.get(name), reports.get(host, {}).get(name), (host, name) in well)
                      for host in sorted(h for h, o in orders.items() if name in o))  # fmt: skip
        services.append(ServiceHealth(name, _count(specs.get(name), scale.get(name)), found))
    primary = (_value(holder) or {}).get("host") if holder else None
    return ServicesHealth(tuple(services), primary, int(values.get("nexus/epoch") or 0))


def _sound(report: Any) -> dict[str, Mapping[str, Any]]:
    """A worker may write anything into its report."""
    services = report.get("services") if isinstance(report, dict) else None
    return {n: s for n, s in services.items() if isinstance(s, dict) and "state" in s} if isinstance(services, dict) else {}


def _count(spec: Mapping[str, Any] | None, scaled: int | None) -> int | None:
    if spec is None:
        return 0
    replicas = spec["replicas"]
    if replicas["all"]:
        return None
    return int(scaled) if scaled is not None and replicas["cpu"] is not None else int(replicas["min"])


def _instance(host: str, spec: Mapping[str, Any] | None, report: Mapping[str, Any] | None, well: bool) -> Instance:
    said = report or {"state": "unknown"}
    current = spec is not None and said.get("revision") == spec["revision"]
    return Instance(host, str(said["state"]), well and said["state"] == "running", current, str(said.get("note", "")))


def _passing(health: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """(host, service) of those that have checks, all of which pass, on a host that is not dead."""
    good: set[tuple[str, str]] = set()
    bad: set[tuple[str, str]] = set()
    for check in health:
        ids = [check["ServiceID"].removeprefix(UNIT)] if check["ServiceID"].startswith(UNIT) else []
        for name in ids:
            (good if check["Status"] == "passing" else bad).add((check["Node"], name))
    dead = {c["Node"] for c in health if c["CheckID"] == "serfHealth" and c["Status"] != "passing"}
    return {key for key in good - bad if key[0] not in dead}


def _value(entry: Mapping[str, Any]) -> Any:
    try:
        return json.loads(base64.b64decode(entry.get("Value") or ""))
    except ValueError:
        return None
