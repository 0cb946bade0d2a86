"""The hosts' addresses within the cluster: from hosts.yml, else from the probe, else remembered. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import InputError
from ..model.cluster import Cluster, Host
from .facts import Facts


@dataclass(frozen=True, slots=True)
class Address:
    """bind: the host's own address; advertise: the address that other hosts dial, another one only behind NAT."""

    bind: str
    advertise: str


def addresses(cluster: Cluster, facts: Mapping[str, Facts], remembered: Mapping[str, Address]) -> dict[str, Address]:
    """Each host's address, by host name. `facts`: of reachable hosts; `remembered`: the addresses of earlier runs.

    InputError, all faults at once: hosts without a known address, and hosts that share one.
    """
    by_host: dict[str, Address] = {}
    faults = []
    for host in cluster.hosts:
        address = _address(host, facts.get(host.name), remembered.get(host.name))
        if address is None:
            faults.append(f"hosts.{host.name}.address: not known; the probe saw no usable IPv4 address")
        else:
            by_host[host.name] = address
    faults += _clashes(by_host)
    if faults:
        raise InputError(faults, "write the cluster address of each into hosts.yml: `address: 10.0.0.2`")
    return by_host


def _address(host: Host, facts: Facts | None, remembered: Address | None) -> Address | None:
    bind = host.address or _probed(host, facts) or (remembered and remembered.bind)
    if bind is None and host.advertise is None:
        return None
    return Address(bind or "0.0.0.0", host.advertise or bind or "")  # noqa: S104  rendered, not bound here


def _probed(host: Host, facts: Facts | None) -> str | None:
    """The address that SSH dials, if the host itself has it; else that of its default route."""
    if facts is None:
        return None
    own = {ip for _, ip in facts.addresses}
    return host.ssh if host.ssh in own and not ipaddress.ip_address(host.ssh).is_loopback else facts.default_address()


def _clashes(by_host: Mapping[str, Address]) -> list[str]:
    first_host: dict[str, str] = {}  # advertised address -> the first host that has it
    faults = []
    for name, address in by_host.items():
        other = first_host.setdefault(address.advertise, name)
        if other != name:
            faults.append(f"hosts.{name}: has the same cluster address as {other} ({address.advertise})")
    return faults
