"""The benchmark's hosts, and the same hosts as an inventory of each tool. Pure."""

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

Entry = Mapping[str, str]  # path, mode, owner, group; a file also has source, its name in the host's folder


@dataclass(frozen=True, slots=True)
class HostFiles:
    """The part of the end state that differs by host: Consul's folders and configuration files."""

    folders: tuple[Entry, ...]
    configs: tuple[Entry, ...]

    @property
    def operations(self) -> int:
        """Number of operations in peers/pyinfra_deploy.py.

        They are user, binary, unit, reload, restart, service, and one for each of these folders and files.
        """
        return 6 + len(self.folders) + len(self.configs)

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        return {"folders": [dict(d) for d in self.folders], "configs": [dict(f) for f in self.configs]}


@dataclass(frozen=True, slots=True)
class Target:
    """A host with what each tool must know to connect. `files` is the folder of its rendered files."""

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


def lab_targets(cluster: Cluster, files: Path) -> tuple[Target, ...]:
    """Refused unless every host is on this machine's loopback and names its user, key and known_hosts."""
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


def our_inventory(cluster: Cluster, targets: Sequence[Target]) -> str:
    """hosts.yml of the same hosts, limited to what the peers deploy too: no firewall, and no services.yml beside it."""
    hosts: dict[str, Any] = {
        host.name: {"ssh": t.ssh, "port": t.port, "user": t.user, "key": str(t.key), "roles": list(host.roles)}
        for host, t in zip(cluster.hosts, targets, strict=True)
    }
    defaults = {"known_hosts": str(targets[0].known_hosts), "ssh_config": "none"}
    inventory: dict[str, Any] = {"cluster": cluster.name, "firewall": False, "defaults": defaults, "hosts": hosts}
    if cluster.consul.file:
        inventory["consul"] = {"binary": str(cluster.consul.file)}
    elif cluster.consul.version:
        inventory["consul"] = {"version": cluster.consul.version}
    return yaml.safe_dump(inventory, sort_keys=False)


def is_loopback(address: str) -> bool:
    """Whether it is a literal address in 127.0.0.0/8 or ::1. A name never is: it may resolve differently later."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def pyinfra_inventory(targets: Sequence[Target], binary: Path, files: Mapping[str, HostFiles]) -> str:
    """A Python file, which is pyinfra's format."""
    hosts = [
        (
            t.name,
            {
                "ssh_hostname": t.ssh, "ssh_port": t.port, "ssh_user": t.user, "ssh_key": str(t.key),
                "ssh_known_hosts_file": str(t.known_hosts), "ssh_strict_host_key_checking": "yes",
                "ssh_config_file": "/dev/null", "ssh_look_for_keys": False, "ssh_allow_agent": False,
                "_sudo": t.sudo, "files": str(t.files), "binary": str(binary), **files[t.files.name].to_json(),
            },
        )
        for t in targets
    ]  # fmt: skip
    lines = "".join(f"    {host!r},\n" for host in hosts)
    return f"hosts = [\n{lines}]\n"


def ansible_inventory(targets: Sequence[Target], binary: Path, files: Mapping[str, HostFiles]) -> str:
    """JSON, which Ansible's YAML inventory plugin reads."""
    hosts: dict[str, Any] = {
        t.name: {
            "ansible_host": t.ssh, "ansible_port": t.port, "ansible_user": t.user,
            "ansible_ssh_private_key_file": str(t.key), "ansible_become": t.sudo,
            "ansible_ssh_common_args": f"-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=yes "
                                       f"-o UserKnownHostsFile={t.known_hosts}",
            "files": str(t.files), "binary": str(binary), **files[t.files.name].to_json(),
        }
        for t in targets
    }  # fmt: skip
    return json.dumps({"all": {"hosts": hosts}}, indent=1) + "\n"


def ssh_argv(target: Target) -> list[str]:
    """OpenSSH's client, for work outside the measured time."""
    return [
        "ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=yes",
        "-o", f"UserKnownHostsFile={target.known_hosts}", "-i", str(target.key), "-p", str(target.port),
        f"{target.user}@{target.ssh}",
    ]  # fmt: skip
