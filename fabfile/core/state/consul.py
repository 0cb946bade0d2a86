"""Consul's share of a host: program, settings, certificates, unit. Rendered for the version that is installed.

Security is reached in LEVELS, so that a running cluster can be brought there one agent after the other: an agent
of one level always understands its neighbours of the level before and after.

    0  as deployed by hand or by an early toolkit: no ACLs, no encryption
    1  everybody has keys, certificates and tokens, and asks for none
    2  everybody encrypts what it sends
    3  everybody refuses what is not encrypted, not certified, not permitted: where a new cluster starts
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
FOLDER = "/etc/consul.d"
TLS = f"{FOLDER}/tls"  # of its own: a PEM directly in the config folder draws a warning each (measured)
UNIT = "/etc/systemd/system/consul.service"
LEVELS = (1, 2, 3)
FULL = 3


@dataclass(frozen=True, slots=True)
class ConsulView:
    """What the Consul templates see. The switches follow the version: no Consul starts on a key it does not know."""

    version: str
    name: str
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
    gossip: str
    agent_token: str


def consul_view(
    cluster: Cluster, cluster_id: str, host: Host, own: Address, managers: tuple[str, ...],
    version: tuple[int, int, int], level: int,
) -> ConsulView:  # fmt: skip
    """CONSUL versions: `ui_config` since 1.9, `tls {}` since 1.12, `grpc_tls` since 1.14; older ones refuse these."""
    return ConsulView(
        version=".".join(map(str, version)), name=host.name, cluster=cluster.name, cluster_id=cluster_id,
        datacenter=cluster.datacenter, roles=host.roles, labels=tuple(sorted(host.labels.items())),
        address=own.bind, advertise=own.advertise, server=host.has("manager"), managers=managers,
        ui_config=version >= (1, 9, 0), grpc_tls=version >= (1, 14, 0), tls_block=version >= (1, 12, 0), level=level,
    )  # fmt: skip


def consul_part(view: ConsulView, artifact: Artifact, secrets: Secrets) -> Manifest:
    """New tokens and certificates are read by a reload (Consul since 1.5; one that asks for neither is restarted by its
    changed settings on the way to a level). The last step of a rotation, which drops the oldest CA, restarts: connections
    that were made under that CA end. A changed gossip key alone does neither: agents keep their keyring, and a rotation
    changes it at run time."""
    pair = secrets.certs[view.name]
    binary = File(CONSUL, artifact.sha256, "0755", packed=artifact.packed, note=artifact.origin)
    unit = text_file(UNIT, render("systemd/consul.service.j2", view))
    secret = SecretView(secrets.gossip, secrets.tokens[f"agent/{view.name}"].secret)
    settings = _own("consul.hcl", render("consul/consul.hcl.j2", view))
    read_again = (
        _own("secret-tokens.hcl", render("consul/secret-tokens.hcl.j2", secret)),
        _own("tls/ca.pem", secrets.trust_bundle),
        _own("tls/cert.pem", pair.cert),
        _own("tls/secret-key.pem", pair.key),
    )
    keyring = _own("secret-gossip.hcl", render("consul/secret-gossip.hcl.j2", secret))
    oldest = hashlib.sha256(secrets.trusted[0].encode()).hexdigest()
    restart = stamp((binary.sha256, unit.sha256, settings.sha256, oldest))
    return Manifest(
        accounts=(Account("consul", "/var/lib/consul"),),
        folders=(Folder(FOLDER, "0750", "root", "consul"), Folder(TLS, "0750", "root", "consul")),
        files=(binary, settings, *read_again, keyring, unit),
        units=(Unit("consul.service", restart, stamp(f.sha256 for f in read_again)),),
    )


def _own(name: str, text: str) -> File:
    """Readable by Consul's own user and nobody else."""
    return text_file(f"{FOLDER}/{name}", text, "0640", "root", "consul")
