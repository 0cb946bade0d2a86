"""Helpers of the security tests: port scans, SSH from outside, secret values, and the state of the hosts' files."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from fabfile.lab import compose

from .conftest import HOSTS, Lab

ADDRESS = {node.name: node.cluster for node in compose.NODES}
SSH = {node.name: node.ssh for node in compose.NODES}
OPERATOR = "198.18.7.1/32"  # the operator's address as the hosts see it
CONSUL_PORTS = (8300, 8301, 8302, 8500, 8501, 8502, 8503, 8600)
OTHER_PORTS = (21, 23, 25, 53, 111, 2019, 2375, 2376, 3306, 5432, 6379, 7946, 8080, 8088, 8443, 9100, 9999, 20000)

_SCAN = """
import socket, sys
from concurrent.futures import ThreadPoolExecutor
def answers(pair):
    try:
        socket.create_connection(pair, 1.2).close()
        return True
    except OSError:
        return False
pairs = [(a, int(p)) for a in sys.argv[1].split(",") for p in sys.argv[2].split(",")]
with ThreadPoolExecutor(400) as pool:
    for (address, port), yes in zip(pairs, pool.map(answers, pairs)):
        if yes:
            print(address, port)
"""


def scan(lab: Lab, origin: str, ports: tuple[int, ...], hosts: tuple[str, ...] = HOSTS) -> set[tuple[str, int]]:
    """The (host, port) pairs that accept a TCP connection from `origin`."""
    names = {ADDRESS[h]: h for h in hosts}
    command = f"python3 - {','.join(names)} {','.join(map(str, ports))}"
    lines = lab.run(origin, command, stdin=_SCAN).splitlines()
    return {(names[address], int(port)) for address, port in (line.split() for line in lines)}


def secret_values(secrets: dict[str, Any]) -> list[str]:
    """Values that nothing may show: keys, token secrets, and two lines of the body of each private key."""
    pairs = [secrets["authority"], *secrets["certs"].values()]
    bodies = [line for pair in pairs for line in pair["key"].splitlines()[1:3]]
    tokens = [token["secret"] for token in secrets["tokens"].values()]
    return [value for value in (secrets["gossip"], secrets["management"], *tokens, *bodies) if value]


def assert_no_secrets(text: str, values: list[str], where: str) -> None:
    """The failure message names the place and the values' numbers, never a value itself."""
    leaks = [i for i, value in enumerate(values) if value in text]
    assert not leaks, f"{where} shows {len(leaks)} of {len(values)} secret values (numbers {leaks})"


def deployed_files(lab: Lab) -> dict[str, str]:
    """Host -> checksums of the deployed files, and the current generation."""
    command = (
        "find /etc/consul.d /etc/nexus /var/lib/nexus/current/ -type f | sort | xargs sha256sum; "
        "readlink /var/lib/nexus/current"
    )
    return {h: lab.run(h, command) for h in HOSTS}


def with_admin_from(lab: Lab, folder: Path, networks: str) -> Lab:
    """The lab with an inventory that allows SSH from these networks only."""
    return lab.variant(folder, "cluster: lab\n", f"cluster: lab\nadmin_from: [{networks}]\n")


def ssh_answers(host: str) -> bool:
    """Whether a new connection gets sshd's banner."""
    try:
        with socket.create_connection((SSH[host], 22), timeout=2) as link:
            link.settimeout(2)
            return link.recv(4) == b"SSH-"
    except OSError:
        return False
