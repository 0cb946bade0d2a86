"""The wanted state of each host: a pure function of the inventory, the addresses, the secrets and the binaries."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..model.cluster import Cluster, Host
from ..model.secrets import Secrets
from . import agents
from .artifacts import Artifact, Program
from .consul import CONFIG_FOLDER, CONSUL, FULL_LEVEL, NODE_ID_FILE, TLS_FOLDER, consul_part, consul_view
from .firewall import PATHS as FIREWALL_PATHS
from .firewall import cluster_addresses, firewall_part, firewall_view
from .identity import IDENTITY
from .manifest import Account, File, Folder, Manifest, Unit, stamp, text_file
from .node_ids import derived_node_id
from .other_firewalls import FIREWALLD
from .render import render
from .topology import Address

CADDY = "/usr/local/bin/caddy"
SYSTEMD = "/etc/systemd/system/"

# Units and paths of all roles. The probe looks at all of them, because a host may have had other roles before.
# nftables.service is not ours, but has a drop-in of ours; firewalld may refuse what our rules let in.
UNITS = ("nexus-firewall.service", "consul.service", "caddy.service", *agents.UNITS, "nexus-recover.service")
PROBED_UNITS = (*UNITS, "nftables.service", FIREWALLD)
PATHS = (
    CONSUL, CADDY, IDENTITY, "/etc/caddy/Caddyfile", *FIREWALL_PATHS,
    *(f"{CONFIG_FOLDER}/{name}" for name in ("consul.hcl", "secret-tokens.hcl", "secret-gossip.hcl")),
    *(f"{TLS_FOLDER}/{name}" for name in ("ca.pem", "cert.pem", "secret-key.pem")),
    *agents.PATHS, NODE_ID_FILE,
    *(SYSTEMD + unit for unit in UNITS if unit not in agents.UNITS and SYSTEMD + unit not in FIREWALL_PATHS),
)  # fmt: skip


def units_of(host: Host, firewall: bool = True) -> tuple[str, ...]:
    """The units that must be active on a host of these roles."""
    firewall_unit = ("nexus-firewall.service",) if firewall else ()
    caddy = ("caddy.service",) if host.has("loadbalancer") else ()
    agent_units = (f"nexus-{agents.AGENT_OF_ROLE[role]}.service" for role in host.roles)
    return (*firewall_unit, "consul.service", *caddy, *agent_units)


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """What the wanted states of all hosts are made from.

    addresses: by host name, of all hosts of the inventory
    former: addresses that hosts still have, besides; the firewalls let them in
    service_ports: ports of all services, which may run on any worker; None: not known, and each host's rules keep theirs
    kept_ports: host name -> the services' ports that its rules open now
    levels: host name -> its security level (see `consul`); a host that is not there gets the full one
    ssh_ports: host name -> the ports on which its sshd was seen; ufw: names of the hosts whose firewall ufw manages
    node_ids: host name -> the id of its Consul node, of hosts that have one already
    let_in, managers: made once from the others, for all hosts: whom their firewalls let in, and whom their Consuls join
    """

    cluster: Cluster
    cluster_id: str
    addresses: Mapping[str, Address]
    secrets: Secrets
    agents: agents.AgentProgram
    former: tuple[str, ...] = ()
    service_ports: tuple[int, ...] | None = ()
    kept_ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    levels: Mapping[str, int] = field(default_factory=dict)
    ssh_ports: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ufw: frozenset[str] = frozenset()
    node_ids: Mapping[str, str] = field(default_factory=dict)
    let_in: tuple[str, ...] = field(init=False, compare=False, repr=False)
    managers: tuple[str, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        managers = tuple(self.addresses[m.name].advertise for m in self.cluster.having("manager"))
        object.__setattr__(self, "let_in", cluster_addresses(self.addresses.values(), self.former))
        object.__setattr__(self, "managers", managers)


def desired(context: ClusterContext, host: Host, binaries: Mapping[Program, Artifact]) -> Manifest:
    """The whole wanted state of one host. `binaries` maps consul and caddy to the build for its architecture."""
    level = context.levels.get(host.name, FULL_LEVEL)
    parts = [_base(context, host, level)]
    if context.cluster.firewall:
        parts.append(_firewall(context, host))
    parts.append(_consul(context, host, binaries["consul"], level))
    if host.has("loadbalancer"):
        parts.append(_balancer(context, binaries["caddy"]))
    caddy = binaries["caddy"].version if host.has("loadbalancer") else None
    own = context.addresses[host.name]
    parts.append(agents.agents_part(context.cluster, host, own, context.secrets, context.agents, caddy))
    return Manifest(
        tuple(a for p in parts for a in p.accounts),
        tuple(dict.fromkeys(d for p in parts for d in p.folders)),
        tuple(f for p in parts for f in p.files),
        tuple(u for p in parts for u in p.units),
    )


def _base(context: ClusterContext, host: Host, level: int) -> Manifest:
    identity = {
        "cluster": context.cluster.name, "id": context.cluster_id, "host": host.name, "roles": host.roles,
        "security": level, "secrets": context.secrets.serial,
    }  # fmt: skip
    recover = text_file(SYSTEMD + "nexus-recover.service", render("systemd/nexus-recover.service.j2", None))
    return Manifest(
        folders=(Folder("/etc/nexus", "0755", "root", "root"),),
        files=(text_file(IDENTITY, json.dumps(identity) + "\n"), recover),
    )


def _firewall(context: ClusterContext, host: Host) -> Manifest:
    ssh_ports = context.ssh_ports.get(host.name) or (host.port or 22,)
    ufw = host.name in context.ufw
    known = context.service_ports
    ports = context.kept_ports.get(host.name, ()) if known is None else known
    service_ports = ports if host.has("worker") else ()
    return firewall_part(firewall_view(context.cluster, host, context.let_in, ssh_ports, ufw, service_ports))


def _consul(context: ClusterContext, host: Host, artifact: Artifact, level: int) -> Manifest:
    own = context.addresses[host.name]
    node_id = context.node_ids.get(host.name) or derived_node_id(context.cluster_id, host.name)
    view = consul_view(context.cluster, context.cluster_id, host, node_id, own, context.managers, artifact.version, level)
    return consul_part(view, artifact, context.secrets)


def _balancer(context: ClusterContext, artifact: Artifact) -> Manifest:
    binary = File(CADDY, artifact.sha256, "0755", packed=artifact.packed, note=artifact.origin)
    config = text_file("/etc/caddy/Caddyfile", render("caddy/Caddyfile.j2", context.cluster))
    unit = text_file(SYSTEMD + "caddy.service", render("systemd/caddy.service.j2", context.cluster))
    return Manifest(
        accounts=(Account("caddy", "/var/lib/caddy"),),
        folders=(Folder("/etc/caddy", "0755", "root", "root"),),
        files=(binary, config, unit),
        units=(Unit("caddy.service", stamp((binary.sha256, unit.sha256)), stamp((config.sha256,))),),
    )
