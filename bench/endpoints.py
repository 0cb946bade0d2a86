"""Many endpoints that are one node: their addresses, an inventory of all of them, and the forwarding to the node."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from bench.forward import address
from bench.targets import Target
from fabfile.core.errors import InputError, NexusError
from fabfile.lab import engine, keys
from fabfile.lab.compose import NODES, container
from fabfile.lab.nodes import STATE

PORT = 2222  # above 1023: listening needs no root
MAX_ENDPOINTS = 250
CLUSTER = "bench-scale"
_FORWARD = Path(__file__).with_name("forward.py")


def parse_counts(text: str) -> tuple[int, ...]:
    """`1,10,50,100` as numbers in rising order. InputError names each item that is not a number from 1 to 250."""
    items = [item.strip() for item in text.split(",")]
    wrong = [item for item in items if not (item.isdecimal() and 1 <= int(item) <= MAX_ENDPOINTS)]
    if wrong:
        faults = [f"--counts: {item!r} is not a number from 1 to {MAX_ENDPOINTS}" for item in wrong]
        raise InputError(faults, "--counts 1,10,50")
    return tuple(sorted({int(item) for item in items}))


def inventory(count: int, key: Path, known_hosts: Path) -> str:
    """hosts.yml with one manager, the node as deployed, and `count` - 1 workers with made-up cluster addresses."""
    hosts: dict[str, Any] = {"e1": {"ssh": address(1), "roles": ["manager"]}}
    for number in range(2, count + 1):
        cluster_address = f"198.19.8.{number}"  # from the range reserved for tests (RFC 2544); nothing connects to it
        hosts[f"e{number}"] = {"ssh": address(number), "roles": ["worker"], "address": cluster_address}
    defaults = {
        "user": "root", "key": str(key), "known_hosts": str(known_hosts), "ssh_config": "none", "port": PORT,
    }  # fmt: skip
    # the firewall's rules name every host: with each fleet size the node would differ
    document = {"cluster": CLUSTER, "firewall": False, "defaults": defaults, "hosts": hosts}
    return yaml.safe_dump(document, sort_keys=False)


def known_hosts(count: int, node: str, key: str) -> str:
    """known_hosts lines with the node's public key, for its own address and each endpoint's."""
    kind, body = key.split()[:2]
    names = [f"[{address(n)}]:{PORT}" for n in range(1, count + 1)]
    return "".join(f"{name} {kind} {body}\n" for name in (node, *names))


def spare_node(known: Path, count: int) -> Target:
    """The lab's spare node. Its host key is read with `docker exec`. NexusError: the lab does not run."""
    node = next(node for node in NODES if node.name == "spare")
    docker = engine.find(STATE)
    if docker is None:
        raise NexusError("the lab does not run", "start it: inv lab.up")
    key = docker.run("exec", container(node.name), "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    known.write_text(known_hosts(count, node.ssh, key))
    return Target("e1", node.ssh, 22, "root", keys.key_file(STATE), known, known.parent / "files" / "e1")


def endpoints(node: Target, count: int) -> Sequence[Target]:
    """The node at each of its addresses. All use the files of the first: they are one machine."""
    return [
        Target(f"e{n}", address(n), PORT, node.user, node.key, node.known_hosts, node.files)
        for n in range(1, count + 1)
    ]


@contextmanager
def forwarding(node: Target, count: int, log: Path) -> Iterator[None]:
    """Connections to each endpoint's address reach the node. NexusError: an address cannot be listened on."""
    argv = [sys.executable, "-SE", str(_FORWARD), str(PORT), str(count), node.ssh, str(node.port)]
    with log.open("wb") as err:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
    try:
        assert process.stdout is not None  # noqa: S101  asked for above
        if process.stdout.readline() != b"ready\n":
            lines = log.read_text(errors="replace").strip().splitlines() or ["no message"]
            raise NexusError(f"the endpoints cannot be listened on: {lines[-1]}", f"ss -ltnp | grep :{PORT}")
        yield
    finally:
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
