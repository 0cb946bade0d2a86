"""What the probe saw on one host, as values. `probe_output.parse` makes them from the probe's output. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..model.cluster import Arch
from .left_faults import LeftoverFault
from .manifest import Manifest

_ARCHES: Mapping[str, Arch] = {
    "x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64",
    "armv7l": "armv7", "armv8l": "armv7",
}  # fmt: skip
# clientless: dockerd is there, and not the client that the services' units call
Docker = Literal["none", "clientless", "ready"]
# Bridges and tunnels of container engines and VPNs: other hosts should not use their addresses by default.
_INNER_DEVICE = re.compile(r"^(docker|br-|veth|virbr|cni|flannel|cali|lxc|lxd|podman|wg|tun|tap|dummy)")


@dataclass(frozen=True, slots=True)
class FileFact:
    """A regular file at a managed path. mode: four octal digits; size: bytes; content: of files up to 64 KiB."""

    sha256: str
    mode: str
    owner: str
    group: str
    size: int
    content: bytes | None = field(default=None, repr=False)  # may hold secrets


@dataclass(frozen=True, slots=True)
class UnitFact:
    """The state of a unit that has a file, in systemd's own words.

    enabled: it starts at boot; outdated: its file has changed since systemd read it
    """

    load: str
    active: str
    sub: str
    enabled: bool
    outdated: bool = False

    @property
    def misread(self) -> bool:
        """systemd has to read the unit's file again: it has read another text, or none that it can use."""
        return self.outdated or self.load in ("not-found", "error", "bad-setting")

    @property
    def running(self) -> bool:
        """As `systemctl is-active` decides: a unit that reloads its files still runs."""
        return self.active in ("active", "reloading", "refreshing")

    @property
    def state(self) -> str:
        """active, absent (it has no unit file), or systemd's word for why it does not run: activating, failed, …"""
        return "absent" if self.load == "not-found" else "active" if self.running else self.active


@dataclass(frozen=True, slots=True)
class RulesFact:
    """The firewall's rules on a host that has our unit: sums of what was loaded last, and of what is in force.

    file: of the file that was loaded; loaded: of what was in force right after that. None: no record since the boot
    now: of what is in force; None: nothing of ours is
    """

    file: str | None
    loaded: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class OtherFirewall:
    """Somebody else's rules that refuse packets which come in: what ours let in, they may still refuse.

    name: whose they are, for people: iptables, iptables-legacy, firewalld, ufw, `nftables table inet NAME`
    closed: they refuse all that they do not let in; else only some packets, as of an address that is banned
    """

    name: str
    closed: bool


@dataclass(frozen=True, slots=True)
class LockFact:
    """The cluster's lock as one manager has it. Times are unix seconds by that host's clock."""

    id: str
    who: str
    what: str
    origin: str
    since: int
    expires: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One host.

    machine, bits: the kernel's architecture and the userland's word size
    now: unix time in seconds by the host's clock; boot_id: another one after each boot
    addresses: (device, IPv4 address) pairs; default_device: that of the default route
    ssh_client, ssh_port: the operator's address and sshd's port, of the probe's own connection
    ufw: ufw manages the host's firewall; docker: the container engine
    files: by path; not_regular: managed paths where something else than a regular file is
    said: unit -> what our agent says of itself, in systemd's StatusText
    stamps: unit -> the stamps of its last start and reload by us (`Unit.stamp`); store: sums of the blobs it keeps
    current: id of the host's generation; manifest: what that generation placed; previous: the one before, if probed for
    pending: id of a generation whose commit was interrupted
    rules: what is in force of the firewall; None where our unit has no file
    faults: of drills, that are on it
    other_firewalls: whose rules besides ours refuse packets; None where nobody can tell, for nft is not there
    """

    machine: str
    bits: int
    os_id: str
    os_version: str
    os_name: str
    cpus: int
    memory_kb: int
    disk_kb: int
    python: tuple[int, ...]
    systemd: int
    now: float
    boot_id: str
    addresses: tuple[tuple[str, str], ...]
    default_device: str | None
    ssh_client: str | None
    ssh_port: int | None
    ufw: bool
    users: frozenset[str]
    files: Mapping[str, FileFact]
    not_regular: frozenset[str]
    units: Mapping[str, UnitFact]
    stamps: Mapping[str, str]
    store: frozenset[str]
    current: str | None
    manifest: Manifest
    previous: Manifest | None
    pending: str | None
    lock: LockFact | None
    docker: Docker = "none"
    rules: RulesFact | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[LeftoverFault, ...] = ()
    other_firewalls: tuple[OtherFirewall, ...] | None = None

    @property
    def arch(self) -> Arch | None:
        """None for a machine that there are no binaries for. A 32-bit userland on a 64-bit ARM kernel is armv7."""
        arch = _ARCHES.get(self.machine)
        if self.bits == 32:
            return None if arch == "amd64" else "armv7" if arch else None
        return arch

    def default_address(self) -> str | None:
        """The IPv4 address that other hosts most likely reach: on the default route's device, else on the first one."""
        outer = [(device, ip) for device, ip in self.addresses if not _INNER_DEVICE.match(device)]
        on_route = [ip for device, ip in outer if device == self.default_device]
        return next(iter(on_route + [ip for _, ip in outer]), None)
