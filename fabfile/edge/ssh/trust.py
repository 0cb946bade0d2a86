"""Host keys: fetch the one that a server offers, and pin it once the operator agrees."""

from __future__ import annotations

import hmac
import socket
from base64 import b64decode
from pathlib import Path
from typing import Any

from ...core.errors import HostError, InputError
from ...core.model.cluster import Cluster, Host
from ..disk.atomic import refuse_special, rewrite_atomically
from ..disk.lock import locked
from ..disk.paths import display_path
from .connect import TIMEOUT, close_all, hops, new_connection, open_hop
from .errors import explain
from .known_hosts import fingerprint, known_hosts, pinned
from .known_hosts_file import read


def offered_key(cluster: Cluster, host: Host, hop: int = 0) -> tuple[str, Any, Path]:
    """The host's name in known_hosts files, the key that it offers, and the file to pin the key in.

    `hop` 0 is the host itself, 1 the jump host before it, and so on. Only the hops on the way are authenticated.
    HostError when it cannot be reached, or a hop on the way, whose key must be known; or the file is unfit.
    """
    from paramiko import Transport

    way = list(hops(new_connection(cluster, host)))
    at = connection = way[hop]
    files = known_hosts(cluster.ssh.known_hosts, connection)
    if not files:
        raise HostError(host.name, "ssh_config names no known_hosts file",
                        "name one: known_hosts under defaults in hosts.yml")  # fmt: skip
    try:
        refuse_unfit(files[0])
    except InputError as error:  # of this host: ssh_config may name another file for each
        raise HostError(host.name, error.message, error.hint) from None
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
        own = pinned(connection, files)
        own.refuse_revoked(key)
    except Exception as error:
        raise explain(host, error, at, at is not way[0]) from error
    finally:
        close_all(connection)
    return own.name, key, files[0]


def hop_count(cluster: Cluster, host: Host) -> int:
    """How many SSH servers are on the way to the host, itself included."""
    return len(list(hops(new_connection(cluster, host))))


def pinned_fingerprints(file: Path, name: str) -> list[str]:
    """The fingerprints of the name's keys in the file."""
    return [fingerprint(entry.blob) for entry in read(file).of(name) if not entry.marker and entry.blob]


def pin_key(file: Path, name: str, key: Any, replace: bool = False) -> None:
    """Adds the key to a known_hosts file; `replace` takes the name off its old keys first. All else stays, byte for byte.

    InputError when the file is none that can be written: /dev/null, a folder.
    """
    refuse_unfit(file)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(file):  # ssh and another run add lines, too
        old = file.read_bytes()
        lines = old.splitlines(keepends=True)
        if lines and not lines[-1].endswith((b"\n", b"\r")):
            lines[-1] += b"\n"
        if replace:
            lines = [kept for line in lines if (kept := _without_name(line, name)) is not None]
        new = b"".join([*lines, f"{name} {key.get_name()} {key.get_base64()}\n".encode()])
        rewrite_atomically(file, new)


def refuse_unfit(file: Path) -> None:
    """InputError when no key can be pinned in the file: it is there, and is no regular file."""
    try:
        refuse_special(file)
    except OSError as error:
        hint = "ssh_config (UserKnownHostsFile) or hosts.yml names it: name a file there, or `known_hosts: FILE` in defaults"
        why = (error.strerror or str(error)).lower()
        raise InputError([f"{display_path(file)}: no key can be pinned in it: {why}"], hint) from None


def _without_name(line: bytes, name: str) -> bytes | None:
    """The line without the name; None when no other name is left. Comments and marked lines (@revoked) stay."""
    fields = line.split(None, 1)
    if len(fields) < 2 or line.lstrip().startswith((b"#", b"@")):
        return line
    names = fields[0].split(b",")
    kept = [other for other in names if not _is(other, name)]
    if len(kept) == len(names):
        return line
    return b",".join(kept) + b" " + fields[1] if kept else None


def _is(written: bytes, name: str) -> bool:
    """Whether a name in a known_hosts file, plain or hashed, is this one."""
    plain = name.lower().encode()
    if not written.startswith(b"|1|"):
        return written.lower() == plain
    try:
        _, _, salt, hashed = written.split(b"|")
        return hmac.digest(b64decode(salt), plain, "sha1") == b64decode(hashed)  # so ssh hashes names
    except ValueError:
        return False
