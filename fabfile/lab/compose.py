"""The lab's nodes as data, and the Compose file made from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = "nexus-lab"
# From 198.18.0.0/15, set apart for tests (RFC 2544): no real network is ever shadowed
SUBNET = "198.18.7.0/24"


@dataclass(frozen=True, slots=True)
class Node:
    """One lab host. `ssh` is where the operator finds it, `cluster` is its address on the nodes' own network.

    users:   who may log in with the lab's key
    publish: further TCP ports that the operator reaches at `ssh`
    trusted: whether its host key is put into the lab's known_hosts (the spare's is not: joining pins it)
    """

    name: str
    ssh: str
    cluster: str
    users: tuple[str, ...] = ("root", "ops")
    publish: tuple[int, ...] = ()
    trusted: bool = True


NODES = (
    Node("m1", "127.0.7.1", "198.18.7.11"),
    Node("m2", "127.0.7.2", "198.18.7.12"),
    Node("m3", "127.0.7.3", "198.18.7.13"),
    Node("w1", "127.0.7.4", "198.18.7.14"),
    Node("w2", "127.0.7.5", "198.18.7.15", users=("ops",)),
    Node("lb1", "127.0.7.6", "198.18.7.16", publish=(80, 443)),
    Node("spare", "127.0.7.7", "198.18.7.17", trusted=False),
)


def container(name: str) -> str:
    """The name of a node's container."""
    return f"{PROJECT}-{name}"


def compose_file(root: Path) -> Path:
    """The Compose file of the lab whose state folder is `root`; `nodes.up` writes it."""
    return root / "compose.yml"


def render(image: str) -> str:
    """The Compose file: every node of `image`, on one network, each SSH port on its own loopback address."""
    document = {
        "name": PROJECT,
        "services": {node.name: _service(node, image) for node in NODES},
        "networks": {"nodes": {"ipam": {"config": [{"subnet": SUBNET}]}}},
        "volumes": {f"{node.name}-docker": {} for node in NODES},
    }
    return yaml.safe_dump(document, sort_keys=False)


def _service(node: Node, image: str) -> dict[str, Any]:
    return {
        "image": image,
        "pull_policy": "never",
        "container_name": container(node.name),
        "hostname": node.name,
        "environment": {"container": "docker"},  # systemd's way of being told that it is in one
        # Not `privileged`: it fails where the machine itself lacks a capability, and gives every node its
        # devices. SYS_RESOURCE is the one that may lack, and nothing here needs it.
        "cap_add": ["ALL"],
        "cap_drop": ["SYS_RESOURCE"],
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        # A cgroup tree of its own; Docker mounts it read-only, v1 and v2 alike, and init.sh makes it writable
        "cgroup": "private",
        "tmpfs": ["/run", "/run/lock", "/tmp:exec"],  # noqa: S108 - a mount point, not a file
        "stop_signal": "SIGRTMIN+3",  # systemd's own word for a clean halt
        "stop_grace_period": "5s",
        "restart": "no",
        # Docker inside the node cannot put its overlay on the node's own overlay
        "volumes": [f"{node.name}-docker:/var/lib/docker"],
        "ports": [f"{node.ssh}:{port}:{port}" for port in (22, *node.publish)],
        "networks": {"nodes": {"ipv4_address": node.cluster}},
    }
