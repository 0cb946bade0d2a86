"""Pinned host keys: the files that hold them, and clients that accept these keys and no other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ...core.model.cluster import Cluster
from .config_files import host_keys

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import HostKeys, PKey, SSHClient

_reading = Lock()


class UnknownKey(Exception):
    """The server offered a key that no known_hosts file names."""

    def __init__(self, hostname: str, key: Any) -> None:
        super().__init__(hostname)
        self.hostname = hostname
        self.key = key


def fingerprint(key: Any) -> str:
    """As `ssh-keygen -l` shows it: SHA256:… without padding."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")


def known_hosts(cluster: Cluster, connection: Any) -> list[Path]:
    """The files that pin this connection's key: hosts.yml's own, else ssh_config's, else the usual two."""
    if cluster.ssh.known_hosts:
        return [cluster.ssh.known_hosts]
    named = connection.ssh_config.get("userknownhostsfile")
    if named:
        return [Path(name).expanduser() for name in named.split()]
    return [Path("~/.ssh/known_hosts").expanduser(), Path("/etc/ssh/ssh_known_hosts")]


def known_hosts_name(host: str, port: int) -> str:
    """The server's name in known_hosts files."""
    return host if port == 22 else f"[{host}]:{port}"


def pin(connection: Any, files: Iterable[Path]) -> None:
    """Makes the connection's client accept its server's keys in the files, and refuse any other with UnknownKey.

    Of each kind of key the first one counts, in the order of the files.
    """
    from paramiko import MissingHostKeyPolicy

    class Refuse(MissingHostKeyPolicy):
        def missing_host_key(self, client: SSHClient, hostname: str, key: PKey) -> None:  # noqa: ARG002
            raise UnknownKey(hostname, key)

    name = known_hosts_name(connection.host, connection.port)
    own: dict[str, PKey] = {}
    for file in files:
        if file.is_file():
            own = {**dict(_keys(file).lookup(name) or {}), **own}
    for kind, key in own.items():
        connection.client.get_host_keys().add(name, kind, key)
    connection.client.set_missing_host_key_policy(Refuse())


def _keys(file: Path) -> HostKeys:
    """The whole file, read once, not once per host: a fleet's file has as many lines as the fleet has hosts."""
    found = file.stat()
    with _reading:  # all connections read it at the same moment
        return _read(file, found.st_mtime_ns, found.st_size, found.st_ino)


@lru_cache(maxsize=8)
def _read(file: Path, *_state: int) -> HostKeys:
    return host_keys(file)
