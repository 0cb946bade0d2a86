"""The firewall's share of a host: an nftables table of our own, or ufw rules where ufw manages the firewall. Pure."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from ..model.cluster import Cluster, Host
from .facts import FileFact
from .manifest import Folder, Manifest, Unit, stamp, text_file
from .render import render
from .scripts import script
from .topology import Address

RULES = "/etc/nexus/firewall.nft"
ALLOWANCES = "/etc/nexus/firewall.ufw"
SCRIPT = "/usr/local/lib/nexus/firewall.sh"
UNIT_NAME = "nexus-firewall.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
NFTABLES = "/etc/systemd/system/nftables.service.d/nexus-firewall.conf"  # whoever flushes all tables, loads ours again
PATHS = (RULES, ALLOWANCES, SCRIPT, UNIT, NFTABLES)
# The services' ports in our own rules, see templates/firewall.
_SERVICES = re.compile(r"# Services,.*\n\s*ip saddr @cluster tcp dport \{ ([\d, ]+) \} accept")
_ALLOWANCE = re.compile(r"^proto tcp from [\d.]+ to any port ([\d,]+)$", re.MULTILINE)
_CONSULS = {8300, 8301}
# A container engine's bridges. What comes in by one is of this host's own containers; it leaves for other hosts with the
# host's own address.
_BRIDGES = ("docker0", "br-*")


@dataclass(frozen=True, slots=True)
class FirewallView:
    """What the templates see. Addresses and ports are sorted, so that equal intent gives equal bytes.

    cluster_addresses: all hosts' own and advertised addresses; admin4, admin6: the networks of `admin_from`
    public_ports: open to anybody; service_ports: open to the cluster
    bridges: the devices of this host's own containers, `*` at the end of a pattern
    """

    cluster: str
    cluster_addresses: tuple[str, ...]
    admin4: tuple[str, ...]
    admin6: tuple[str, ...]
    ssh_ports: tuple[int, ...]
    public_ports: tuple[int, ...]
    service_ports: tuple[int, ...]
    server: bool
    worker: bool
    bridges: tuple[str, ...]
    ufw: bool


def cluster_addresses(addresses: Iterable[Address], former: Iterable[str] = ()) -> tuple[str, ...]:
    """Whom all hosts' rules let in. `addresses`: those of all hosts; `former`: that hosts of the cluster still have.

    Once a run: parsing and sorting a thousand addresses takes some milliseconds.
    """
    each = {*former, *(a for address in addresses for a in (address.bind, address.advertise))}
    known = ((ipaddress.ip_address(a), a) for a in each)
    return tuple(a for _, a in sorted((int(ip), a) for ip, a in known if not ip.is_unspecified))


def firewall_view(
    cluster: Cluster, host: Host, let_in: tuple[str, ...], ssh_ports: Iterable[int], ufw: bool,
    service_ports: Iterable[int] = (),
) -> FirewallView:  # fmt: skip
    """`let_in`: of `cluster_addresses`; `ssh_ports`: the ports on which sshd was seen on this host."""
    return FirewallView(
        cluster=cluster.name,
        cluster_addresses=let_in,
        admin4=_admin_networks(cluster.admin_from, 4),
        admin6=_admin_networks(cluster.admin_from, 6),
        ssh_ports=tuple(sorted(set(ssh_ports))), public_ports=(80, 443) if host.has("loadbalancer") else (),
        service_ports=tuple(sorted(set(service_ports))), server=host.has("manager"), worker=host.has("worker"),
        bridges=_BRIDGES, ufw=ufw,
    )  # fmt: skip


def open_service_ports(files: Mapping[str, FileFact]) -> tuple[int, ...]:
    """The services' ports that the host's own rules file opens: what stays where nobody can say which services there are."""
    found = set()
    for path, pattern in ((RULES, _SERVICES), (ALLOWANCES, _ALLOWANCE)):
        content = files[path].content if path in files else None
        for ports in pattern.findall((content or b"").decode("utf-8", "replace")):
            found |= {int(port) for port in ports.split(",")}
    return tuple(sorted(found - _CONSULS))


@lru_cache(maxsize=8)
def _admin_networks(admin_from: tuple[str, ...], version: int) -> tuple[str, ...]:
    """The networks of one IP version, sorted and merged: nft refuses overlapping intervals."""
    networks = [n for n in map(ipaddress.ip_network, admin_from) if n.version == version]
    return tuple(map(str, ipaddress.collapse_addresses(networks)))  # type: ignore[type-var]


@lru_cache(maxsize=32)  # a cluster has many hosts and few kinds of rules
def firewall_part(view: FirewallView) -> Manifest:
    """New rules are a reload, not a restart: they replace the old ones in one transaction of the kernel."""
    unit = text_file(UNIT, render("systemd/nexus-firewall.service.j2", view))
    nftables = text_file(NFTABLES, render("systemd/nftables-nexus.conf.j2", view))
    if view.ufw:
        rules = text_file(ALLOWANCES, render("firewall/nexus.ufw.j2", view))
    else:
        rules = text_file(RULES, render("firewall/nexus.nft.j2", view))
    loader = text_file(SCRIPT, script("firewall"), "0755")
    reload_stamp = stamp((rules.sha256, loader.sha256))
    folders = ("/etc/nexus", "/usr/local/lib/nexus", os.path.dirname(NFTABLES))
    return Manifest(
        folders=tuple(Folder(path, "0755", "root", "root") for path in folders),
        files=(rules, loader, unit, nftables),
        units=(Unit(UNIT_NAME, stamp((unit.sha256,)), reload_stamp),),
    )
