"""Our agents' share of a host: one program, and for each role a unit, settings and a token. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..model.cluster import Cluster, Host, Role
from ..model.secrets import Secrets
from .artifacts import VersionNumbers
from .manifest import Account, File, Folder, Manifest, Unit, stamp, text_file
from .render import render
from .topology import Address

PROGRAM = "/usr/local/lib/nexus/nexus-agents.pyz"
UNIT = "/etc/systemd/system/nexus-{}.service"
AGENT_OF_ROLE: Mapping[Role, str] = {"manager": "orchestrator", "worker": "worker", "loadbalancer": "balancer"}
_STREAM_CLOSE_DELAY_SINCE = (2, 7, 0)  # the first Caddy that knows this setting
# Agent -> owner and group of its token file: the user that it runs as.
_TOKEN_OWNERS = {"orchestrator": ("nexus-orchestrator",) * 2, "worker": ("root",) * 2, "balancer": ("caddy",) * 2}
PATHS = (
    PROGRAM,
    *(f"/etc/nexus/{agent}.json" for agent in AGENT_OF_ROLE.values()),
    *(f"/etc/nexus/secret-{agent}-token" for agent in AGENT_OF_ROLE.values()),
    *(UNIT.format(agent) for agent in AGENT_OF_ROLE.values()),
)
UNITS = tuple(f"nexus-{agent}.service" for agent in AGENT_OF_ROLE.values())


@dataclass(frozen=True, slots=True)
class AgentProgram:
    """The agents as one file for all architectures. sha256: of the file; packed: its gzip on the operator's disk."""

    sha256: str
    packed: Path
    version: str


def agents_part(
    cluster: Cluster, host: Host, own: Address, secrets: Secrets, program: AgentProgram, caddy: VersionNumbers | None
) -> Manifest:
    """`caddy`: the version of a load balancer's Caddy.

    A changed program, setting or token restarts the agents that use it; no service stops for that."""
    binary = File(PROGRAM, program.sha256, "0755", packed=program.packed, note=program.version)
    files, units = [binary], []
    for role in host.roles:
        agent = AGENT_OF_ROLE[role]
        token_path = f"/etc/nexus/secret-{agent}-token"
        settings = {"token": token_path, **_settings(cluster, host, own, agent, caddy)}
        agent_files = (
            text_file(f"/etc/nexus/{agent}.json", json.dumps(settings, indent=1) + "\n"),
            text_file(token_path, secrets.tokens[f"{agent}/{host.name}"].secret + "\n", "0600", *_TOKEN_OWNERS[agent]),
            text_file(UNIT.format(agent), render(f"systemd/nexus-{agent}.service.j2", cluster)),
        )
        files += agent_files
        units.append(Unit(f"nexus-{agent}.service", stamp([binary.sha256, *(p.sha256 for p in agent_files)])))
    accounts = (Account("nexus-orchestrator", "/var/lib/nexus-orchestrator"),) if host.has("manager") else ()
    folders = (Folder("/etc/nexus", "0755", "root", "root"), Folder("/usr/local/lib/nexus", "0755", "root", "root"))
    return Manifest(accounts, folders, tuple(files), tuple(units))


def _settings(cluster: Cluster, host: Host, own: Address, agent: str, caddy: VersionNumbers | None) -> dict[str, object]:
    if agent == "orchestrator":
        preferred = next((h.name for h in cluster.hosts if h.primary), None)
        folders = {"state": "/var/lib/nexus-orchestrator", "runtime": "/run/nexus-orchestrator"}
        return {"host": host.name, "preferred": preferred, **folders}
    if agent == "worker":
        return {"host": host.name, "address": own.bind, "advertise": own.advertise, "state": "/var/lib/nexus-worker"}
    return {
        "state": "/var/lib/nexus-balancer", "runtime": "/run/nexus-balancer",
        "stream_close_delay": "300s" if caddy and caddy >= _STREAM_CLOSE_DELAY_SINCE else None,
        "admin": "/run/caddy/admin.sock", "access_log": "/var/log/caddy/access.log",
        "http_port": 80, "https_port": 443, "email": cluster.email, "internal": cluster.internal_ca,
    }  # fmt: skip
