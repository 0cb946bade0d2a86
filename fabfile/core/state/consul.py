"""Consul's share of a host: program, settings, certificates, unit, rendered for the installed version. Pure.

A running cluster is secured level by level, one agent after the other: agents understand each other when their levels
are neighbours.

    0  as deployed by hand or by an early version of this toolkit: no ACLs, no encryption
    1  each agent has keys, certificates and tokens, and demands none
    2  each agent encrypts what it sends
    3  each agent refuses what is not encrypted, certified and permitted; new clusters start here
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from ..model.cluster import Cluster, Host
from ..model.secrets import Secrets
from .artifacts import Artifact
from .manifest import Account, File, Folder, Manifest, Unit, stamp, text_file
from .render import render
from .topology import Address

CONSUL = "/usr/local/bin/consul"
CONFIG_FOLDER = "/etc/consul.d"
# A folder of its own: Consul warns about each PEM file directly in its config folder (measured).
TLS_FOLDER = f"{CONFIG_FOLDER}/tls"
SETTINGS = f"{CONFIG_FOLDER}/consul.hcl"
NODE_ID_FILE = "/var/lib/consul/node-id"  # Consul's own, where the settings named no id at its first start
UNIT = "/etc/systemd/system/consul.service"
LEVELS = (1, 2, 3)
FULL_LEVEL = 3


@dataclass(frozen=True, slots=True)
class ConsulView:
    """What the Consul templates see.

    address, advertise: the host's own address and the one that others dial; managers: advertised addresses of all
    ui_config, grpc_tls, tls_block: whether this version knows the key; Consul does not start on an unknown one
    """

    version: str
    name: str
    node_id: str
    cluster: str
    cluster_id: str
    datacenter: str
    roles: tuple[str, ...]
    labels: tuple[tuple[str, str], ...]
    address: str
    advertise: str
    server: bool
    managers: tuple[str, ...]
    ui_config: bool
    grpc_tls: bool
    tls_block: bool
    level: int


@dataclass(frozen=True, slots=True)
class SecretView:
    """What the templates of secret files see. gossip: base64 key; agent_token: secret of the agent's token."""

    gossip: str
    agent_token: str


def consul_view(
    cluster: Cluster, cluster_id: str, host: Host, node_id: str, own: Address, managers: tuple[str, ...],
    version: tuple[int, int, int], level: int,
) -> ConsulView:  # fmt: skip
    """Consul knows `ui_config` since 1.9, `tls {}` since 1.12 and `grpc_tls` since 1.14; older versions refuse them."""
    return ConsulView(
        version=".".join(map(str, version)), name=host.name, node_id=node_id, cluster=cluster.name,
        cluster_id=cluster_id, datacenter=cluster.datacenter, roles=host.roles, labels=tuple(sorted(host.labels.items())),
        address=own.bind, advertise=own.advertise, server=host.has("manager"), managers=managers,
        ui_config=version >= (1, 9, 0), grpc_tls=version >= (1, 14, 0), tls_block=version >= (1, 12, 0), level=level,
    )  # fmt: skip


def consul_part(view: ConsulView, artifact: Artifact, secrets: Secrets) -> Manifest:
    """What a change does to the running unit:

    - tokens, certificates: reload (Consul reads them again since 1.5)
    - program, unit, settings, so each new security level: restart
    - the oldest CA goes, as a rotation's last step: restart, so that connections made under that CA end
    - gossip key: nothing; agents keep their keyring, and a rotation changes it at run time
    """
    pair = secrets.certs[view.name]
    binary = File(CONSUL, artifact.sha256, "0755", packed=artifact.packed, note=artifact.origin)
    unit = text_file(UNIT, render("systemd/consul.service.j2", view))
    secret = SecretView(secrets.gossip, secrets.tokens[f"agent/{view.name}"].secret)
    settings = _consul_file("consul.hcl", render("consul/consul.hcl.j2", view))
    reloaded = (
        _consul_file("secret-tokens.hcl", render("consul/secret-tokens.hcl.j2", secret)),
        _consul_file("tls/ca.pem", secrets.trust_bundle),
        _consul_file("tls/cert.pem", pair.cert),
        _consul_file("tls/secret-key.pem", pair.key),
    )
    keyring = _consul_file("secret-gossip.hcl", render("consul/secret-gossip.hcl.j2", secret))
    oldest_ca = hashlib.sha256(secrets.trusted[0].encode()).hexdigest()
    restart = stamp((binary.sha256, unit.sha256, settings.sha256, oldest_ca))
    return Manifest(
        accounts=(Account("consul", "/var/lib/consul"),),
        folders=(Folder(CONFIG_FOLDER, "0750", "root", "consul"), Folder(TLS_FOLDER, "0750", "root", "consul")),
        files=(binary, settings, *reloaded, keyring, unit),
        units=(Unit("consul.service", restart, stamp(f.sha256 for f in reloaded)),),
    )


def _consul_file(name: str, text: str) -> File:
    """A file in the config folder that only root and Consul's user can read."""
    return text_file(f"{CONFIG_FOLDER}/{name}", text, "0640", "root", "consul")
