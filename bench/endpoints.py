"""Many endpoints that are one node: their addresses, an inventory that names them all, and the road to the node."""

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

PORT = 2222  # so that no root is needed to listen
MOST = 250
CLUSTER = "bench-scale"
_FORWARD = Path(__file__).with_name("forward.py")


def counts(text: str) -> tuple[int, ...]:
    """`1,10,50,100` as numbers in rising order. InputError: one of them is none, or not from 1 to 250."""
    words = [word.strip() for word in text.split(",")]
    wrong = [word for word in words if not (word.isdecimal() and 1 <= int(word) <= MOST)]
    if wrong:
        raise InputError([f"--counts: {word!r} is not a number from 1 to {MOST}" for word in wrong], "--counts 1,10,50")
    return tuple(sorted({int(word) for word in words}))


def inventory(count: int, key: Path, known_hosts: Path) -> str:
    """hosts.yml of one manager, which is the node as deployed, and `count` - 1 workers, which claim other addresses."""
    hosts: dict[str, Any] = {"e1": {"ssh": address(1), "roles": ["manager"]}}
    for number in range(2, count + 1):
        own = f"198.19.8.{number}"  # of the range set apart for tests (RFC 2544); nobody ever dials it
        hosts[f"e{number}"] = {"ssh": address(number), "roles": ["worker"], "address": own}
    defaults = {
        "user": "root", "key": str(key), "known_hosts": str(known_hosts), "ssh_config": "none", "port": PORT,
    }  # fmt: skip
    # the firewall's rules name every host: the one node would differ from each of these fleets
    return yaml.safe_dump({"cluster": CLUSTER, "firewall": False, "defaults": defaults, "hosts": hosts}, sort_keys=False)


def known_hosts(count: int, node: str, key: str) -> str:
    """The node's one public key, at its own address and at every endpoint's."""
    kind, body = key.split()[:2]
    ends = [f"[{address(n)}]:{PORT}" for n in range(1, count + 1)]
    return "".join(f"{where} {kind} {body}\n" for where in (node, *ends))


def spare(known: Path, most: int) -> Target:
    """The lab's spare node, its key read over the engine's own channel. NexusError: it does not run."""
    node = next(node for node in NODES if node.name == "spare")
    docker = engine.find(STATE)
    if docker is None:
        raise NexusError("the lab does not run", "start it: inv lab.up")
    key = docker.run("exec", container(node.name), "cat", "/etc/ssh/ssh_host_ed25519_key.pub")
    known.write_text(known_hosts(most, node.ssh, key))
    return Target("e1", node.ssh, 22, "root", keys.key_file(STATE), known, known.parent / "files" / "e1")


def endpoints(node: Target, count: int) -> Sequence[Target]:
    """The node at each of its addresses; all have the files of the first, for they are one machine."""
    return [
        Target(f"e{n}", address(n), PORT, node.user, node.key, node.known_hosts, node.files) for n in range(1, count + 1)
    ]


@contextmanager
def road(node: Target, count: int, log: Path) -> Iterator[None]:
    """Every endpoint's address leads to the node. NexusError: an address cannot be listened on."""
    argv = [sys.executable, "-SE", str(_FORWARD), str(PORT), str(count), node.ssh, str(node.port)]
    with log.open("wb") as err:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err)
    try:
        assert process.stdout is not None  # noqa: S101  asked for above
        if process.stdout.readline() != b"ready\n":
            said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise NexusError(f"the endpoints cannot be listened on: {said[-1]}", f"ss -ltnp | grep :{PORT}")
        yield
    finally:
        assert process.stdin is not None  # noqa: S101
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
