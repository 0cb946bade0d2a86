"""What must hold before a deploy may change anything: usable hosts, ports, firewalls, a known primary. Pure.

Which cluster a host belongs to is checked in `identity`.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from ..config.fault import Fault
from ..errors import HostError, InputError, Refused, Several
from ..model.cluster import Cluster
from ..model.service import Services
from .facts import Facts
from .firewall import RULES
from .topology import Address

_ADDRESS = re.compile(r"[0-9]+(?:\.[0-9]+){3}")
OLDEST_PYTHON = (3, 10)
OLDEST_SYSTEMD = 245  # Debian 11 has 247, Ubuntu 20.04 has 245


def require_reachable(faults: Sequence[HostError]) -> None:
    """Raises the faults of hosts that were to be changed, each with its own hint."""
    if faults:
        raise Several(faults)


def check_hosts(facts: Mapping[str, Facts]) -> None:
    """InputError with all faults at once for hosts that cannot run what we install."""
    faults = [f"{name}: {fault}" for name, fact in facts.items() for fault in _host_faults(fact)]
    if faults:
        raise InputError(faults, "nothing was changed")


def _host_faults(fact: Facts) -> Iterator[str]:
    if fact.arch is None:
        yield f"its architecture {fact.machine} is not supported (amd64, arm64, armv7 are)"
    if fact.python < OLDEST_PYTHON:
        version = ".".join(map(str, fact.python)) or "none"
        yield f"needs python3 of version 3.10 or newer, has {version}"
    if fact.systemd < OLDEST_SYSTEMD:
        yield f"needs systemd {OLDEST_SYSTEMD} or newer, has {fact.systemd or 'none'}"
    for path in sorted(fact.not_regular):
        yield f"{path} is in the way: it is not a regular file"


def check_ports(cluster: Cluster, services: Services, facts: Mapping[str, Facts]) -> None:
    """No service may listen on the SSH port of a host that may run it: whichever starts second fails.

    InputError, all faults at once.
    """
    source = services.source.name if services.source else ""
    faults = [
        Fault(("services", service.name, "port"), f"{service.port} is the SSH port of {host.name}", service.line)
        for service in services
        for host in cluster.hosts
        if host.name in facts and service.fits(host) and service.port == facts[host.name].ssh_port is not None
    ]
    if faults:
        raise InputError([fault.render(source) for fault in faults], "choose another port; nothing was changed")


def check_admin(cluster: Cluster, facts: Mapping[str, Facts], addresses: Mapping[str, Address]) -> None:
    """Refused where `admin_from` leaves out the operator: the new firewall would cut the connection of this deploy.

    Hosts of the cluster are always let in, so an operator on one of them is fine. On hosts with ufw the SSH rules are
    the operator's own.
    """
    networks = [ipaddress.ip_network(n) for n in cluster.admin_from]
    cluster_addresses = {a for address in addresses.values() for a in (address.bind, address.advertise)}
    for name, fact in facts.items():
        if fact.ufw or not (networks and cluster.firewall and fact.ssh_client):
            continue
        client = ipaddress.ip_address(fact.ssh_client.partition("%")[0])
        if str(client) not in cluster_addresses and not any(client in n for n in networks):
            raise Refused(
                f"{name} sees you come from {client}, "
                f"which admin_from does not let in ({', '.join(cluster.admin_from)})",
                f"add {client} to admin_from in {cluster.source.name}; nothing was changed",
            )


def check_neighbours(
    cluster: Cluster, facts: Mapping[str, Facts], addresses: Mapping[str, Address], selected: Collection[str]
) -> None:
    """Refused where the firewall of a host that is not selected does not let a selected host in.

    That is so for a host which was added to hosts.yml after the others were deployed; then all must be deployed.
    """
    others = facts.keys() - set(selected)
    missing_of: dict[bytes, list[str]] = {}  # rules -> those that they do not know; most hosts have the same rules
    for name, fact in facts.items():
        rules = fact.files.get(RULES)
        if name not in others or not cluster.firewall or rules is None or rules.content is None:
            continue
        if rules.content not in missing_of:
            let_in = set(_ADDRESS.findall(rules.content.decode("utf-8", "replace")))
            missing_of[rules.content] = [n for n in selected if addresses[n].advertise not in let_in]
        if missing := missing_of[rules.content]:
            raise Refused(
                f"the firewall of {name} does not know {', '.join(missing)} yet", "deploy all: inv deploy --hosts all"
            )


def check_primary(cluster: Cluster, primary: str | None) -> None:
    """Refused where the running cluster's primary is no manager of this inventory."""
    if primary is not None and primary not in {h.name for h in cluster.having("manager")}:
        raise Refused(
            f"the running cluster's primary manager is {primary}, "
            f"which {cluster.source.name} does not name as a manager",
            f"add {primary} to {cluster.source.name} as a manager",
        )
