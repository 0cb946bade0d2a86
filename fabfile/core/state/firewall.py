"""The firewall's share of a host: one nftables table of our own, or allowances where ufw is in charge. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from ..model.cluster import Cluster, Host
from .manifest import Folder, Manifest, Unit, stamp, text_file
from .render import render
from .scripts import script
from .topology import Address

RULES = "/etc/nexus/firewall.nft"
ALLOWANCES = "/etc/nexus/firewall.ufw"
UFW_SCRIPT = "/usr/local/lib/nexus/firewall-ufw.sh"
UNIT = "/etc/systemd/system/nexus-firewall.service"
# Where a container engine's own traffic comes from: its bridges, and the loopback.
INNER = ('"lo"', '"docker0"', '"br-*"')


@dataclass(frozen=True, slots=True)
class FirewallView:
    """What the templates see. Addresses are sorted, so that equal intent gives equal bytes."""

    cluster: str
    cluster_addresses: tuple[str, ...]
    admin4: tuple[str, ...]
    admin6: tuple[str, ...]
    ssh_ports: tuple[int, ...]
    public_ports: tuple[int, ...]
    service_ports: tuple[int, ...]
    server: bool
    worker: bool
    inner: tuple[str, ...]
    ufw: bool


def firewall_view(
    cluster: Cluster, host: Host, where: Iterable[Address], ssh_ports: Iterable[int], ufw: bool,
    service_ports: Iterable[int] = (),
) -> FirewallView:  # fmt: skip
    """`where`: all hosts' addresses; `ssh_ports`: where sshd was seen to listen on this host."""
    own = {a for address in where for a in (address.bind, address.advertise) if not ipaddress.ip_address(a).is_unspecified}
    return FirewallView(
        cluster=cluster.name,
        cluster_addresses=tuple(sorted(own, key=ipaddress.ip_address)),
        admin4=_merged(cluster, 4),
        admin6=_merged(cluster, 6),
        ssh_ports=tuple(sorted(set(ssh_ports))), public_ports=(80, 443) if host.has("loadbalancer") else (),
        service_ports=tuple(sorted(set(service_ports))), server=host.has("manager"), worker=host.has("worker"),
        inner=INNER, ufw=ufw,
    )  # fmt: skip


def _merged(cluster: Cluster, version: int) -> tuple[str, ...]:
    """The networks of one IP version, sorted and without overlap: nft refuses overlapping intervals."""
    networks = [ipaddress.ip_network(n) for n in cluster.admin_from]
    own = [n for n in networks if n.version == version]
    return tuple(map(str, ipaddress.collapse_addresses(own)))  # type: ignore[type-var]


def firewall_part(view: FirewallView) -> Manifest:
    """Reloaded, not restarted: the new rules replace the old ones in one transaction of the kernel."""
    unit = text_file(UNIT, render("systemd/nexus-firewall.service.j2", view))
    if view.ufw:
        files = (
            text_file(ALLOWANCES, render("firewall/nexus.ufw.j2", view)),
            text_file(UFW_SCRIPT, script("firewall-ufw"), "0755"),
        )
    else:
        files = (text_file(RULES, render("firewall/nexus.nft.j2", view)),)  # type: ignore[assignment]
    reload_stamp = stamp(f.sha256 for f in files)
    return Manifest(
        folders=(Folder("/etc/nexus", "0755", "root", "root"),),
        files=(*files, unit),
        units=(Unit("nexus-firewall.service", stamp((unit.sha256,)), reload_stamp),),
    )
