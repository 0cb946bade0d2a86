"""Host keys: fetch the one that a server offers, and pin it once the operator agrees."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ...core.errors import HostError
from ...core.model.cluster import Cluster, Host
from ..disk.atomic import write_atomically
from .connect import TIMEOUT, close_all, hops, new_connection, open_hop
from .errors import explain
from .known_hosts import fingerprint, known_hosts, pinned
from .known_hosts_file import parse_line, read


def offered_key(cluster: Cluster, host: Host, hop: int = 0) -> tuple[str, Any, Path]:
    """The host's name in known_hosts files, the key that it offers, and the file to pin the key in.

    `hop` 0 is the host itself, 1 the jump host before it, and so on. Only the hops on the way are authenticated.
    HostError when it cannot be reached, or a hop on the way, whose key must be known.
    """
    from paramiko import Transport

    way = list(hops(new_connection(cluster, host)))
    at = connection = way[hop]
    try:
        for at in reversed(way[hop + 1 :]):
            open_hop(at)
        at = connection
        name, port = connection.host, connection.port
        sock: Any
        far = connection.gateway
        sock = connection.open_gateway() if far else socket.create_connection((name, port), timeout=TIMEOUT)
        transport = Transport(sock)
        transport.banner_timeout = TIMEOUT
        try:
            transport.start_client(timeout=TIMEOUT)
            key = transport.get_remote_server_key()
        finally:
            transport.close()
        files = known_hosts(cluster.ssh.known_hosts, connection)
        own = pinned(connection, files)
        own.refuse_revoked(key)
    except Exception as error:
        raise explain(host, error, at, at is not way[0]) from error
    finally:
        close_all(connection)
    if not files:
        raise HostError(host.name, "ssh_config names no known_hosts file",
                        "name one: known_hosts under defaults in hosts.yml")  # fmt: skip
    return own.name, key, files[0]


def hop_count(cluster: Cluster, host: Host) -> int:
    """How many SSH servers are on the way to the host, itself included."""
    return len(list(hops(new_connection(cluster, host))))


def pinned_fingerprints(file: Path, name: str) -> list[str]:
    """The fingerprints of the name's keys in the file."""
    return [fingerprint(entry.blob) for entry in read(file).of(name) if not entry.marker and entry.blob]


def pin_key(file: Path, name: str, key: Any, replace: bool = False) -> None:
    """Adds the key to a known_hosts file and keeps all other lines; `replace` drops the name's old keys first."""
    old = file.read_bytes().split(b"\n") if file.is_file() else []
    while old and not old[-1].strip():
        old.pop()
    if replace:
        old = [line for line in old if not _is_of(line.decode("utf-8", "replace"), name)]
    lines = [*old, f"{name} {key.get_name()} {key.get_base64()}".encode()]
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, b"\n".join(lines) + b"\n")


def _is_of(line: str, name: str) -> bool:
    """Whether the line names this host itself: not by a wildcard, which names others, too, nor with a marker."""
    entry = parse_line(line)
    if entry is None or entry.marker or any(sign in entry.names for sign in "*?!"):
        return False
    return entry.matches(name.lower())
