"""Where the hosts reach each other: cluster addresses from hosts.yml, else from the probe, else remembered."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..model.cluster import Cluster, Host
from .facts import Facts


@dataclass(frozen=True, slots=True)
class Address:
    """bind: the host's own address; advertise: what the others dial (the same, unless NAT is between)."""

    bind: str
    advertise: str


def addresses(cluster: Cluster, facts: Mapping[str, Facts], remembered: Mapping[str, Address]) -> dict[str, Address]:
    """Every host's address. `facts` lacks unreachable hosts; `remembered` is from earlier runs.

    InputError, all faults at once, for hosts whose address nobody knows and for two hosts that share one.
    """
    found: dict[str, Address] = {}
    faults = []
    for host in cluster.hosts:
        address = _address(host, facts.get(host.name), remembered.get(host.name))
        if address is None:
            faults.append(f"hosts.{host.name}.address: not known; the probe saw no usable IPv4 address")
        else:
            found[host.name] = address
    faults += _clashes(found)
    if faults:
        raise InputError(faults, "write the cluster address of each into hosts.yml: `address: 10.0.0.2`")
    return found


def _address(host: Host, facts: Facts | None, remembered: Address | None) -> Address | None:
    bind = host.address or _probed(host, facts) or (remembered and remembered.bind)
    if bind is None and host.advertise is None:
        return None
    return Address(bind or "0.0.0.0", host.advertise or bind or "")  # noqa: S104  rendered, not bound here


def _probed(host: Host, facts: Facts | None) -> str | None:
    """What SSH dials, where the host itself has that address; else what its default route uses."""
    if facts is None:
        return None
    own = {ip for _, ip in facts.addresses}
    return host.ssh if host.ssh in own and not ipaddress.ip_address(host.ssh).is_loopback else facts.address()


def _clashes(found: Mapping[str, Address]) -> list[str]:
    seen: dict[str, str] = {}
    faults = []
    for name, address in found.items():
        other = seen.setdefault(address.advertise, name)
        if other != name:
            faults.append(f"hosts.{name}: has the same cluster address as {other} ({address.advertise})")
    return faults
