"""hosts.yml as values: Cluster, Host, and the settings between.

Only values that passed `core.config.inventory` get this far, so nothing here checks anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

Role = Literal["manager", "worker", "loadbalancer"]
ROLES: tuple[Role, ...] = get_args(Role)

Arch = Literal["amd64", "arm64", "armv7"]
ARCHES: tuple[Arch, ...] = get_args(Arch)


@dataclass(frozen=True, slots=True)
class Host:
    """A machine of hosts.yml. None means: left to ~/.ssh/config (ssh keys) or to the probe (addresses).

    ssh:       where the operator's SSH goes: address, DNS name or an alias of ssh_config
    address:   what the host binds in the cluster (its own IPv4 address)
    advertise: what the other hosts reach it by, where that differs (NAT)
    gateway:   jump host, `[user@]host[:port]`
    """

    name: str
    ssh: str
    roles: tuple[Role, ...]
    port: int | None = None
    user: str | None = None
    key: Path | None = None
    gateway: str | None = None
    address: str | None = None
    advertise: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    primary: bool = False

    def has(self, role: Role) -> bool:
        return role in self.roles


@dataclass(frozen=True, slots=True)
class Binary:
    """Which build of a program to install: a version to fetch, or a file that the operator names.

    version: None asks for the toolkit's default, with the fallbacks that `edge.artifacts.resolve` documents.
    """

    version: str | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class SshDefaults:
    """SSH settings of every host that does not say otherwise. `config` None is the user's own ~/.ssh/config."""

    known_hosts: Path | None = None
    config: Path | None = None
    use_config: bool = True


@dataclass(frozen=True, slots=True)
class Cluster:
    """All of hosts.yml. `hosts` keeps the file's order; `state` is the operator-side folder of this cluster.

    admin_from: networks that may reach SSH (empty: any); firewall: whether the hosts' firewall is ours to set
    email: the ACME account's; internal_ca: every domain's certificate from Caddy's own CA (None: where no other can)
    promises: drill -> number -> value, tighter than what the toolkit promises; drills.faults.promises knows their names
    """

    name: str
    hosts: tuple[Host, ...]
    source: Path
    state: Path
    datacenter: str
    domain: str | None = None
    consul: Binary = Binary()
    caddy: Binary = Binary()
    ssh: SshDefaults = SshDefaults()
    firewall: bool = True
    admin_from: tuple[str, ...] = ()
    email: str | None = None
    internal_ca: bool | None = None
    promises: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def host(self, name: str) -> Host:
        """The host of that name; KeyError when there is none."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def having(self, role: Role) -> tuple[Host, ...]:
        return tuple(h for h in self.hosts if h.has(role))
