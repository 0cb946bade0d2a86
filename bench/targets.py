"""The same hosts in each tool's own inventory. Pure, but for the small files that it writes."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fabfile.core.errors import Refused
from fabfile.core.model.cluster import Cluster, Host

Entry = Mapping[str, str]  # path, mode, owner, group; of a file also source, its name in the host's folder


@dataclass(frozen=True, slots=True)
class Wanted:
    """What differs by host in the end state, beside the unit: Consul's folders and configuration files."""

    folders: tuple[Entry, ...]
    configs: tuple[Entry, ...]

    @property
    def operations(self) -> int:
        """Of peers/pyinfra_deploy.py: user, binary, unit, reload, restart, service, and one for each of these."""
        return 6 + len(self.folders) + len(self.configs)

    def plain(self) -> dict[str, list[dict[str, str]]]:
        return {"folders": [dict(d) for d in self.folders], "configs": [dict(f) for f in self.configs]}


@dataclass(frozen=True, slots=True)
class Target:
    """A host as every tool needs to know it. `files` is the folder of its rendered files."""

    name: str
    ssh: str
    port: int
    user: str
    key: Path
    known_hosts: Path
    files: Path

    @property
    def sudo(self) -> bool:
        return self.user != "root"


def targets(cluster: Cluster, files: Path) -> tuple[Target, ...]:
    """Refused unless every host is on this machine's loopback, and says its user, key and known_hosts itself."""
    return tuple(_target(cluster, host, files / host.name) for host in cluster.hosts)


def _target(cluster: Cluster, host: Host, files: Path) -> Target:
    if not is_loopback(host.ssh):
        raise Refused(
            f"{host.name} ({host.ssh}) is no lab host: a benchmark wipes its hosts",
            "benchmarks go to loopback addresses only; hosts.yml as shipped names the lab",
        )
    if host.user is None or host.key is None or cluster.ssh.known_hosts is None:
        raise Refused(f"{host.name}: a benchmark's inventory names user, key and known_hosts itself")
    return Target(host.name, host.ssh, host.port or 22, host.user, host.key, cluster.ssh.known_hosts, files)


def our_inventory(cluster: Cluster, found: Sequence[Target]) -> str:
    """hosts.yml of the same hosts with no more than the peers bring, too: no firewall, and no services.yml beside it."""
    hosts: dict[str, Any] = {
        host.name: {"ssh": t.ssh, "port": t.port, "user": t.user, "key": str(t.key), "roles": list(host.roles)}
        for host, t in zip(cluster.hosts, found, strict=True)
    }
    defaults = {"known_hosts": str(found[0].known_hosts), "ssh_config": "none"}
    whole: dict[str, Any] = {"cluster": cluster.name, "firewall": False, "defaults": defaults, "hosts": hosts}
    if cluster.consul.file:
        whole["consul"] = {"binary": str(cluster.consul.file)}
    elif cluster.consul.version:
        whole["consul"] = {"version": cluster.consul.version}
    return yaml.safe_dump(whole, sort_keys=False)


def is_loopback(address: str) -> bool:
    """A literal address in 127.0.0.0/8 or ::1; a name never is one, for it may change its mind."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def pyinfra_inventory(found: Sequence[Target], binary: Path, wanted: Mapping[str, Wanted]) -> str:
    """A Python file, as pyinfra takes it."""
    hosts = [
        (
            t.name,
            {
                "ssh_hostname": t.ssh, "ssh_port": t.port, "ssh_user": t.user, "ssh_key": str(t.key),
                "ssh_known_hosts_file": str(t.known_hosts), "ssh_strict_host_key_checking": "yes",
                "ssh_config_file": "/dev/null", "ssh_look_for_keys": False, "ssh_allow_agent": False,
                "_sudo": t.sudo, "files": str(t.files), "binary": str(binary), **wanted[t.files.name].plain(),
            },
        )
        for t in found
    ]  # fmt: skip
    lines = "".join(f"    {host!r},\n" for host in hosts)
    return f"hosts = [\n{lines}]\n"


def ansible_inventory(found: Sequence[Target], binary: Path, wanted: Mapping[str, Wanted]) -> str:
    """JSON, which Ansible's YAML inventory plugin reads."""
    hosts: dict[str, Any] = {
        t.name: {
            "ansible_host": t.ssh, "ansible_port": t.port, "ansible_user": t.user,
            "ansible_ssh_private_key_file": str(t.key), "ansible_become": t.sudo,
            "ansible_ssh_common_args": f"-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes "
                                       f"-o UserKnownHostsFile={t.known_hosts}",
            "files": str(t.files), "binary": str(binary), **wanted[t.files.name].plain(),
        }
        for t in found
    }  # fmt: skip
    return json.dumps({"all": {"hosts": hosts}}, indent=1) + "\n"


def ssh_words(target: Target) -> list[str]:
    """OpenSSH's own client, for what lies outside the measured time."""
    return [
        "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile={target.known_hosts}", "-i", str(target.key), "-p", str(target.port),
        f"{target.user}@{target.ssh}",
    ]  # fmt: skip
