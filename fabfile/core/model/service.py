"""What runs on the cluster, as values: Service and Services, and the JSON that goes into Consul's KV store.

Only values that passed `config.services` get this far. The JSON values (WANTED, ROUTES, spec) have the form that
`remote_agents/nexus_agents/shared/kv_schema.py` describes; durations are seconds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from .cluster import Host

CheckKind = Literal["http", "tcp", "ttl"]


# Fields of the spec that workers get. A change of the first kind replaces running instances; of the second, it happens
# around them. `key`: the name in services.yml, where that differs.
_REPLACES = {"spec": True, "replaces": True}
_AROUND = {"spec": True, "replaces": False}


@dataclass(frozen=True, slots=True)
class Check:
    """How Consul learns that an instance is well. ttl: the worker agent vouches for the process.

    path: of http, else empty; interval, timeout: seconds
    """

    kind: CheckKind
    path: str = ""
    interval: float = 2.0
    timeout: float = 1.0


@dataclass(frozen=True, slots=True)
class Replicas:
    """How many instances, at most one a host. `all` (one on every worker with the labels) goes before min and max.

    cpu: percent of one core that an instance is to use; between min and max, the number follows it
    """

    all: bool = False
    min: int = 1
    max: int = 1
    cpu: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """An entry of services.yml, every default filled in. Either `image` or a `command` is there, or both.

    command:     the argv; with an image its arguments, or None for the image's own
    port:        on the host, and in Consul; target_port: the container's (None without an image)
    memory_mb:   MiB; cpu: cores; stop_timeout: seconds from SIGTERM to SIGKILL
    domain:      where the balancer offers it, under the prefix `path` (no slash at its end but for `/` itself)
    headers:     of the balancer's answers; None takes a default one away
    timeout:     seconds that the balancer waits for the first byte
    labels:      a worker must have them all
    line:        1-based, in services.yml
    """

    name: str = field(metadata=_AROUND)
    check: Check = field(metadata=_REPLACES)
    command: tuple[str, ...] | None = field(default=None, metadata=_REPLACES)
    image: str | None = field(default=None, metadata=_REPLACES)
    port: int | None = field(default=None, metadata=_REPLACES)
    target_port: int | None = field(default=None, metadata=_REPLACES)
    replicas: Replicas = field(default=Replicas(), metadata=_AROUND)
    env: Mapping[str, str] = field(default_factory=dict, metadata=_REPLACES)
    user: str | None = field(default=None, metadata=_REPLACES)
    memory_mb: int | None = field(default=None, metadata={**_REPLACES, "key": "memory"})
    cpu: float | None = field(default=None, metadata=_REPLACES)
    stop_timeout: float = field(default=10.0, metadata=_REPLACES)
    domain: str | None = None
    path: str = "/"
    headers: Mapping[str, str | None] = field(default_factory=dict)
    timeout: float = 10.0
    labels: Mapping[str, str] = field(default_factory=dict, metadata=_AROUND)
    line: int | None = field(default=None, compare=False)

    @property
    def revision(self) -> str:
        """12 hexadecimal digits. They change exactly when running instances must be replaced."""
        return _digest({f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.metadata.get("replaces")})[:12]

    def spec(self) -> dict[str, Any]:
        """The spec of WANTED and ORDERS."""
        own = {f.name: _plain(getattr(self, f.name)) for f in fields(self) if f.metadata.get("spec")}
        named = {"check_host": self.domain} if self.domain and self.check.kind == "http" else {}
        return {**own, **named, "revision": self.revision}

    def route(self) -> dict[str, Any] | None:
        """Its entry of ROUTES; None without a domain."""
        if self.domain is None:
            return None
        return {
            "service": self.name, "domain": self.domain, "path": self.path, "check_path": self.check.path or None,
            "headers": dict(self.headers), "timeout": self.timeout,
        }  # fmt: skip

    def fits(self, host: Host) -> bool:
        """Whether the host may run it: a worker that has all its labels."""
        return host.has("worker") and all(host.labels.get(key) == value for key, value in self.labels.items())


# services.yml's key -> the field that holds its value
FIELDS: Mapping[str, Field[Any]] = {f.metadata.get("key") or f.name: f for f in fields(Service)}


@dataclass(frozen=True, slots=True)
class Services:
    """All of services.yml, in the file's order. `source` None: there is no such file."""

    entries: tuple[Service, ...] = ()
    source: Path | None = None

    def __iter__(self) -> Iterator[Service]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def service(self, name: str) -> Service:
        """The service of that name; KeyError when there is none."""
        for service in self.entries:
            if service.name == name:
                return service
        raise KeyError(name)

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports that workers open to the cluster, sorted."""
        return tuple(sorted(service.port for service in self.entries if service.port is not None))


def wanted(services: Services) -> dict[str, Any]:
    """The value of WANTED. Its digest (SHA-256 in hexadecimal) covers the routes too."""
    specs = {service.name: service.spec() for service in services}
    return {"digest": _digest({"services": specs, **routes(services)}), "services": specs}


def routes(services: Services) -> dict[str, Any]:
    """The value of ROUTES, sorted by domain and path."""
    found = [route for service in services if (route := service.route())]
    return {"routes": sorted(found, key=lambda route: (route["domain"], route["path"]))}


def differences(have: Mapping[str, Any] | None, services: Services) -> tuple[str, ...]:
    """What publishing would change in the cluster's WANTED (None: unknown): `+ web`, `~ api (new version)`, `- old`."""
    if services.source is None or (have is not None and have.get("digest") == wanted(services)["digest"]):
        return ()
    before, after = dict((have or {}).get("services", {})), {s.name: s.spec() for s in services}
    lines = [f"+ {name}" for name in after if name not in before]
    for name, spec in after.items():
        if name in before and before[name] != spec:
            lines.append(f"~ {name} ({_what_changes(before[name], spec)})")
    lines += [f"- {name}" for name in before if name not in after]
    return tuple(lines) or (("~ routes",) if have or after else ())


def _what_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if before.get("revision") != after["revision"]:
        return "new version: its instances are replaced one by one"
    same_place = {**before, "check_host": None} == {**after, "check_host": None}
    return f"its check asks for {after.get('check_host', 'no domain')}" if same_place else "placement"


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _digest(value: object) -> str:
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
