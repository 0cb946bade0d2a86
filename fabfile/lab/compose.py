"""The lab's nodes as data, and the Compose file that is rendered from them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PROJECT = "nexus-lab"
# From 198.18.0.0/15, which is reserved for tests (RFC 2544): it shadows no real network
SUBNET = "198.18.7.0/24"
SPARE = "spare"


@dataclass(frozen=True, slots=True)
class Node:
    """One lab host. `ssh` is its address for the operator, `cluster` its address on the nodes' own network.

    users:   the users that may log in with the lab's key
    publish: more TCP ports that the operator reaches at `ssh`
    trusted: whether the lab's known_hosts has its host key (the spare's is not there: add-worker pins it)
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
    Node(SPARE, "127.0.7.7", "198.18.7.17", trusted=False),
)


def container(name: str) -> str:
    """The name of a node's container."""
    return f"{PROJECT}-{name}"


def compose_file(root: Path) -> Path:
    """The path of the Compose file in the lab's state folder `root`; `nodes.up` writes the file."""
    return root / "compose.yml"


def render(image: str, spare: str = "") -> str:
    """The Compose file: every node of `image`, on one network, each SSH port on its own loopback address.

    spare: the spare's image, if it has another one
    """
    images = {node.name: image for node in NODES} | ({SPARE: spare} if spare else {})
    document = {
        "name": PROJECT,
        "services": {node.name: _service(node, images[node.name]) for node in NODES},
        "networks": {"nodes": {"ipam": {"config": [{"subnet": SUBNET}]}}},
        "volumes": {_docker_volume(node, images[node.name]): {} for node in NODES},
    }
    return yaml.safe_dump(document, sort_keys=False)


def images(text: str) -> dict[str, str]:
    """Node -> its image in a Compose file that `render` made; none in a damaged one."""
    try:
        services = yaml.safe_load(text)["services"]
        return {str(name): str(service["image"]) for name, service in services.items()}
    except (yaml.YAMLError, AttributeError, LookupError, TypeError):
        return {}


def _docker_volume(node: Node, image: str) -> str:
    """One for each release: an older Docker cannot use what a newer one has written."""
    release, dash, _ = image.rpartition(":")[2].partition("-")
    return f"{node.name}-docker{dash}{release if dash else ''}"


def _service(node: Node, image: str) -> dict[str, Any]:
    return {
        "image": image,
        "pull_policy": "never",
        "container_name": container(node.name),
        "hostname": node.name,
        "environment": {"container": "docker"},  # tells systemd that it runs in a container
        # Not `privileged`: it fails where the machine itself lacks a capability, and gives every node the machine's
        # devices. SYS_RESOURCE is the capability that a machine may lack, and nothing here needs it.
        "cap_add": ["ALL"],
        "cap_drop": ["SYS_RESOURCE"],
        "security_opt": ["seccomp=unconfined", "apparmor=unconfined"],
        # A private cgroup tree. Docker mounts it read-only (v1 and v2), and init.sh makes it writable
        "cgroup": "private",
        "tmpfs": ["/run", "/run/lock", "/tmp:exec"],  # noqa: S108 - a mount point, not a file
        "stop_signal": "SIGRTMIN+3",  # systemd's signal for a clean halt
        "stop_grace_period": "5s",
        "restart": "no",
        # Docker inside the node cannot stack its overlay on the node's overlay
        "volumes": [f"{_docker_volume(node, image)}:/var/lib/docker"],
        "ports": [f"{node.ssh}:{port}:{port}" for port in (22, *node.publish)],
        "networks": {"nodes": {"ipv4_address": node.cluster}},
    }
