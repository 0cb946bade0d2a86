"""What each host should be: a pure function of the inventory, the addresses and the binaries at hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .artifacts import Artifact, Program
from .manifest import Account, File, Folder, Manifest, Unit, stamp, text_file
from .model import Cluster, Host
from .render import render
from .topology import Address

CONSUL = "/usr/local/bin/consul"
CADDY = "/usr/local/bin/caddy"
IDENTITY = "/etc/nexus/host.json"
SYSTEMD = "/etc/systemd/system/"

# Every unit and path that any role may have: what the probe looks at, whatever a host's roles were before.
UNITS = ("consul.service", "caddy.service", "nexus-recover.service")
PATHS = (
    CONSUL, CADDY, IDENTITY, "/etc/consul.d/consul.hcl", "/etc/caddy/Caddyfile",
    *(SYSTEMD + unit for unit in UNITS),
)  # fmt: skip


def units_of(host: Host) -> tuple[str, ...]:
    """The units that must be active on a host of these roles."""
    return ("consul.service", "caddy.service") if host.has("loadbalancer") else ("consul.service",)


@dataclass(frozen=True, slots=True)
class Context:
    """What all hosts of one run share. `binaries` has one artifact a program for the host's architecture."""

    cluster: Cluster
    cluster_id: str
    addresses: Mapping[str, Address]


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


def consul_view(context: Context, host: Host, version: tuple[int, int, int]) -> ConsulView:
    """CONSUL versions: `ui_config` since 1.9, `grpc_tls` since 1.14; older ones refuse these keys."""
    cluster, own = context.cluster, context.addresses[host.name]
    return ConsulView(
        version=".".join(map(str, version)), name=host.name, cluster=cluster.name, cluster_id=context.cluster_id,
        datacenter=cluster.datacenter, roles=host.roles, labels=tuple(sorted(host.labels.items())),
        address=own.bind, advertise=own.advertise, server=host.has("manager"),
        managers=tuple(context.addresses[m.name].advertise for m in cluster.having("manager")),
        ui_config=version >= (1, 9, 0), grpc_tls=version >= (1, 14, 0),
    )  # fmt: skip


def desired(context: Context, host: Host, binaries: Mapping[Program, Artifact]) -> Manifest:
    """The whole wanted state of one host. `binaries` maps consul and caddy to the build for its architecture."""
    parts = [_base(context, host), _consul(context, host, binaries["consul"])]
    if host.has("loadbalancer"):
        parts.append(_balancer(context, binaries["caddy"]))
    return Manifest(
        tuple(a for p in parts for a in p.accounts),
        tuple(d for p in parts for d in p.folders),
        tuple(f for p in parts for f in p.files),
        tuple(u for p in parts for u in p.units),
    )


def _base(context: Context, host: Host) -> Manifest:
    identity = {
        "cluster": context.cluster.name,
        "id": context.cluster_id,
        "host": host.name,
        "roles": host.roles,
    }
    recover = text_file(SYSTEMD + "nexus-recover.service", render("systemd/nexus-recover.service.j2", None))
    return Manifest(
        folders=(Folder("/etc/nexus", "0755", "root", "root"),),
        files=(text_file(IDENTITY, json.dumps(identity) + "\n"), recover),
    )


def _consul(context: Context, host: Host, artifact: Artifact) -> Manifest:
    view = consul_view(context, host, artifact.version)
    binary = _binary(CONSUL, artifact)
    config = text_file("/etc/consul.d/consul.hcl", render("consul/consul.hcl.j2", view), "0640", "root", "consul")
    unit = text_file(SYSTEMD + "consul.service", render("systemd/consul.service.j2", view))
    return Manifest(
        accounts=(Account("consul", "/var/lib/consul"),),
        folders=(Folder("/etc/consul.d", "0750", "root", "consul"),),
        files=(binary, config, unit),
        units=(Unit("consul.service", stamp((binary.sha256, config.sha256, unit.sha256))),),
    )


def _balancer(context: Context, artifact: Artifact) -> Manifest:
    binary = _binary(CADDY, artifact)
    config = text_file("/etc/caddy/Caddyfile", render("caddy/Caddyfile.j2", context.cluster))
    unit = text_file(SYSTEMD + "caddy.service", render("systemd/caddy.service.j2", context.cluster))
    return Manifest(
        accounts=(Account("caddy", "/var/lib/caddy"),),
        folders=(Folder("/etc/caddy", "0755", "root", "root"),),
        files=(binary, config, unit),
        units=(Unit("caddy.service", stamp((binary.sha256, unit.sha256)), stamp((config.sha256,))),),
    )


def _binary(path: str, artifact: Artifact) -> File:
    return File(path, artifact.sha256, "0755", packed=artifact.packed, note=artifact.origin)
