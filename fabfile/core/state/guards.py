"""What must hold before a deploy may change anything: the right cluster, its own primary, usable hosts. Pure."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..config.yaml_tree import Fault
from ..errors import HostError, InputError, Refused, Several
from ..model.cluster import Cluster
from ..model.service import Services
from .desired import IDENTITY
from .facts import Facts
from .firewall import RULES
from .manifest import Manifest
from .topology import Address

OLDEST_PYTHON = (3, 10)
OLDEST_SYSTEMD = 245  # Debian 11 has 247, Ubuntu 20.04 has 245


@dataclass(frozen=True, slots=True)
class Identity:
    """Which cluster a host says it belongs to."""

    cluster: str
    id: str
    security: int = 0
    secrets: int = 0


def identities(facts: Mapping[str, Facts]) -> dict[str, Identity]:
    """Of each host that was deployed before."""
    found = {}
    for name, fact in facts.items():
        file = fact.files.get(IDENTITY)
        if file and file.content:
            try:
                said = json.loads(file.content)
                security, serial = int(said.get("security", 0)), int(said.get("secrets", 0))
                found[name] = Identity(str(said["cluster"]), str(said["id"]), security, serial)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue
    return found


def settle_identity(
    cluster: Cluster, own: str | None, found: Mapping[str, Identity], adopt: bool = False
) -> str | None:
    """The cluster id to deploy with; None: a new cluster, make one. Refused where hosts belong to another."""
    others = {i.id for i in found.values()} - ({own} if own else set())
    if not others:
        return own
    name, identity = next((n, i) for n, i in found.items() if i.id in others)
    if own is None and len(others) == 1 and identity.cluster == cluster.name:
        if adopt:
            return identity.id
        raise Refused(
            f"{name} belongs to a running cluster {identity.cluster} (id {identity.id}), "
            "which this state folder does not know",
            f"put {cluster.state} back from a backup, or: inv secrets.import FILE; "
            "with its secrets.json at hand: inv deploy --adopt",
        )
    raise Refused(
        f"{name} belongs to another cluster: {identity.cluster} (id {identity.id}), "
        f"not to {cluster.name} (id {own or 'new'})",
        f"take {name} out of {cluster.source.name}; to move it here for good, on the host: rm {IDENTITY}",
    )


def check_rollback(host: str, before: Manifest, now: Identity | None) -> None:
    """A generation of a lower security level is not gone back to: its neighbours no longer speak to it."""
    kept = next((f.content for f in before.files if f.path == IDENTITY), None)
    try:
        said = json.loads(kept) if kept else {}
        level, serial = int(said.get("security", 0)), int(said.get("secrets", 0))
    except (ValueError, TypeError, AttributeError):  # damaged on the host: as if it told nothing
        level = serial = 0
    if now and level == now.security and serial < now.secrets:
        raise Refused(
            f"{host}: the secrets of the generation before have been rotated since and are void",
            "change hosts.yml and deploy instead",
        )
    if now and level < now.security:
        raise Refused(
            f"{host}: in the generation before, the cluster was less secure (level {level}, now {now.security})",
            "change hosts.yml and deploy instead",
        )


def check_secrets(cluster: Cluster, found: Mapping[str, Identity], serial: int | None) -> None:
    """A secured cluster cannot be changed without its secrets, and must never be given other ones by accident.

    `serial`: that of the secrets at hand; None: there are none.
    """
    secured = [name for name, identity in found.items() if identity.security > 0]
    newer = [name for name, identity in found.items() if serial is not None and identity.secrets > serial]
    if newer:
        raise Refused(
            f"{', '.join(newer)} have newer secrets than {cluster.state}: they were rotated from elsewhere",
            "ask the other operator for an export: inv secrets.import FILE --replace",
        )
    if secured and serial is None:
        raise Refused(
            f"{', '.join(secured)} run with secrets that {cluster.state} does not have",
            "put secrets.json back from a backup, or bring the secrets in: inv secrets.import FILE",
        )


def check_admin(cluster: Cluster, facts: Mapping[str, Facts], where: Mapping[str, Address]) -> None:
    """With `admin_from`, the operator must be inside: the firewall would shut this very connection out."""
    networks = [ipaddress.ip_network(n) for n in cluster.admin_from]
    for name, fact in facts.items():
        if fact.ufw or not (networks and cluster.firewall and fact.ssh_client):
            continue
        client = ipaddress.ip_address(fact.ssh_client.partition("%")[0])
        others = {a for address in where.values() for a in (address.bind, address.advertise)}
        if str(client) not in others and not any(client in n for n in networks):
            raise Refused(
                f"{name} sees you come from {client}, which admin_from does not let in ({', '.join(cluster.admin_from)})",
                f"add {client} to admin_from in {cluster.source.name}; nothing was changed",
            )


def check_neighbours(
    cluster: Cluster, facts: Mapping[str, Facts], where: Mapping[str, Address], selected: Collection[str]
) -> None:
    """A host that came into hosts.yml later is let in by nobody's firewall yet: then all must be deployed."""
    for name, fact in facts.items():
        rules = fact.files.get(RULES)
        if name in selected or not cluster.firewall or rules is None or rules.content is None:
            continue
        strangers = [n for n in selected if where[n].advertise.encode() not in rules.content]
        if strangers:
            raise Refused(
                f"the firewall of {name} does not know {', '.join(strangers)} yet", "deploy all: inv deploy --hosts all"
            )


def check_primary(cluster: Cluster, primary: str | None) -> None:
    """The running cluster's primary manager must be one that this inventory knows as a manager."""
    if primary is not None and primary not in {h.name for h in cluster.having("manager")}:
        raise Refused(
            f"the running cluster's primary manager is {primary}, "
            f"which {cluster.source.name} does not name as a manager",
            f"add {primary} to {cluster.source.name} as a manager",
        )


def check_hosts(facts: Mapping[str, Facts]) -> None:
    """Refuses hosts that cannot run what we install, all faults at once."""
    faults = [f"{name}: {fault}" for name, fact in facts.items() for fault in _unfit(fact)]
    if faults:
        raise InputError(faults, "nothing was changed")


def check_ports(cluster: Cluster, offered: Services, facts: Mapping[str, Facts]) -> None:
    """No service may be placed where sshd listens: whichever came second would not start. All faults at once."""
    source = offered.source.name if offered.source else ""
    faults = [
        Fault(("services", service.name, "port"), f"{service.port} is the SSH port of {host.name}", service.line)
        for service in offered
        for host in cluster.hosts
        if host.name in facts and service.fits(host) and service.port == facts[host.name].ssh_port is not None
    ]
    if faults:
        raise InputError([fault.render(source) for fault in faults], "choose another port; nothing was changed")


def _unfit(fact: Facts) -> Iterator[str]:
    if fact.arch is None:
        yield f"its architecture {fact.machine} is not supported (amd64, arm64, armv7 are)"
    if fact.python < OLDEST_PYTHON:
        version = ".".join(map(str, fact.python)) or "none"
        yield f"needs python3 of version 3.10 or newer, has {version}"
    if fact.systemd < OLDEST_SYSTEMD:
        yield f"needs systemd {OLDEST_SYSTEMD} or newer, has {fact.systemd or 'none'}"
    for path in sorted(fact.odd):
        yield f"{path} is in the way: it is not a regular file"


def require(faults: Sequence[HostError]) -> None:
    """Raises the faults of hosts that were to be changed, each with its own way out."""
    if faults:
        raise Several(faults)
