"""Why a connection failed, in one line that an operator can act on."""

from __future__ import annotations

import socket
from typing import Any

from ..core.errors import HostError, HostKeyError
from ..core.model import Host
from .trust import fingerprint


class UnknownKey(Exception):
    """The server offered a key that no known_hosts file names."""

    def __init__(self, hostname: str, key: Any) -> None:
        super().__init__(hostname)
        self.hostname = hostname
        self.key = key


def explain(host: Host, error: BaseException) -> HostError:
    """Any error of connecting or running as a HostError with its next step."""
    from paramiko import AuthenticationException, BadHostKeyException, SSHException

    where = f"{host.ssh}:{host.port or 22}"
    if isinstance(error, HostError):
        return error
    if isinstance(error, UnknownKey):
        return HostKeyError(
            host.name,
            f"the SSH key of {error.hostname} is unknown ({error.key.get_name()} {fingerprint(error.key)})",
            f"compare the fingerprint with the host's console, then pin it: inv trust --hosts {host.name}",
        )
    if isinstance(error, BadHostKeyException):
        return HostKeyError(
            host.name,
            f"the SSH key of {error.hostname} has CHANGED: pinned {fingerprint(error.expected_key)}, "
            f"offered {fingerprint(error.key)}",
            f"somebody may be in between. If the host was reinstalled: inv trust --hosts {host.name} --replace",
        )
    if isinstance(error, AuthenticationException):
        who = host.user or "your user"
        return HostError(
            host.name, f"{where} refused {who} (no key was accepted)",
            f"set `user:` and `key:` of hosts.{host.name}, or load the key into your agent; "
            f"try: ssh {host.user or 'USER'}@{host.ssh}",
        )  # fmt: skip
    return _network(host, where, error) or HostError(
        host.name, f"{where}: {str(error) or type(error).__name__}",
        "" if isinstance(error, SSHException) else "the connection was lost; run the command again",
    )  # fmt: skip


def _network(host: Host, where: str, error: BaseException) -> HostError | None:
    if isinstance(error, socket.gaierror):
        return HostError(host.name, f"the name {host.ssh} cannot be resolved", f"check `ssh:` of hosts.{host.name}")
    if "banner" in str(error) or "No existing session" in str(error):
        return HostError(
            host.name, f"{where} accepts connections but does not speak SSH",
            f"is sshd on another port (`port:` of hosts.{host.name}), or is the host hung?",
        )  # fmt: skip
    if isinstance(error, ConnectionRefusedError) or "Unable to connect to port" in str(error):
        return HostError(
            host.name, f"{where} is closed or cannot be reached", "is the host up, and sshd running there?"
        )
    if isinstance(error, TimeoutError):
        return HostError(host.name, f"{where} did not answer in time", "is the host up, and is a firewall in the way?")
    if isinstance(error, OSError) and error.errno in (101, 113):  # ENETUNREACH, EHOSTUNREACH
        return HostError(
            host.name, f"there is no route to {where}", f"check `ssh:` and `gateway:` of hosts.{host.name}"
        )
    if isinstance(error, FileNotFoundError):
        return HostError(host.name, f"{error.filename}: no such key file", f"check `key:` of hosts.{host.name}")
    return None
