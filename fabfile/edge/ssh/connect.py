"""Unopened Fabric connections to hosts: they know the pinned keys, and go over jump hosts where there are any."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config.ssh_settings import SshSettings, split_jump
from ...core.config.ssh_values import split_gateway
from ...core.errors import HostError, InputError
from ...core.model.cluster import Cluster, Host
from .fabric_connection import new_fabric_connection
from .known_hosts import pin
from .openssh import NotSaid, settings_of

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Transport

TIMEOUT = 10.0  # seconds, each: TCP connect, banner, authentication
_LONGEST = 8  # jump hosts that have jump hosts


def new_connection(cluster: Cluster, host: Host) -> Any:
    """An unopened Fabric connection that knows the pinned keys and refuses all others, on every hop."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it prints tracebacks of errors we explain
    try:
        settings = settings_of(cluster.ssh, host.ssh, host.user, host.port)
        given = split_gateway(host.gateway) if host.gateway else None  # Fabric would take [fd00::1]:22 for a name
        gateway = _hop(cluster, given, host.key) if given else _way(cluster, settings)
        connection = _connection(settings, host.key, gateway)
    except (NotSaid, ValueError) as error:
        hint = getattr(error, "hint", f"mend its ProxyJump; `ssh -G {host.ssh}` shows what applies")
        raise HostError(host.name, str(error), hint) from error
    for hop in hops(connection):
        pin(hop, cluster.ssh.known_hosts)
    return connection


def _way(cluster: Cluster, target: SshSettings, depth: int = 0) -> Any:
    """The connection to the last of its jump hosts, through those before it; None for none.

    ssh visits them in the order written. The first may have jump hosts of its own. A host needs no jump over itself.
    """
    if depth > _LONGEST:
        raise ValueError(f"ProxyJump of {target.hostname} leads in a circle")
    gateway = None
    for jump in target.jumps:
        hop = _hop(cluster, split_jump(jump), None, gateway, target, depth)
        if hop.host == target.hostname:
            return None
        gateway = hop
    return gateway


def _hop(
    cluster: Cluster, place: tuple[str | None, str, int | None], key: Path | None,
    gateway: Any = None, behind: SshSettings | None = None, depth: int = 0,
) -> Any:  # fmt: skip
    """A jump host: user, name and port; reached through `gateway`."""
    user, name, port = place
    settings = settings_of(cluster.ssh, name, user, port)
    is_target = behind is not None and settings.hostname == behind.hostname
    if gateway is None and not is_target:
        gateway = _way(cluster, settings, depth + 1)
    return _connection(settings, key, gateway)


def _proxy_command(settings: SshSettings) -> str | None:
    """In a shell, as ssh runs it; Fabric would split it into words."""
    return f"sh -c {shlex.quote(f'exec {settings.proxy_command}')}" if settings.proxy_command else None


def _connection(settings: SshSettings, key: Path | None, gateway: Any) -> Any:
    if gateway is None:
        gateway = _proxy_command(settings) or False  # False: not Fabric's own choice either
    connection = new_fabric_connection(
        settings.hostname, user=settings.user or None, port=settings.port, config=fabric_config(), gateway=gateway,
        connect_timeout=settings.connect_timeout or int(TIMEOUT), connect_kwargs=_timeouts(),
    )  # fmt: skip
    connection.settings = settings
    connection.connect_kwargs.update(
        auth_strategy=_Login(connection.user, key, settings), transport_factory=_transport,
    )  # fmt: skip
    return connection


def hops(connection: Any) -> Iterator[Any]:
    """The connection and those to its jump hosts: the host's own first, the outermost jump host last."""
    while connection is not None and not isinstance(connection, str):
        yield connection
        connection = connection.gateway or None


def open_hop(connection: Any) -> None:
    """Connects and authenticates, through its jump hosts. Channels opened later have TIMEOUT, not paramiko's hour."""
    connection.open()
    connection.transport.channel_timeout = TIMEOUT


def close_all(connection: Any) -> None:
    """Closes the connection and those to its jump hosts; errors in closing are ignored."""
    for hop in list(hops(connection)):
        with suppress(Exception):
            hop.close()


@cache
def fabric_config() -> Any:
    """Fabric's configuration, without any ssh_config, read once; connections only read it. InputError: it is not valid."""
    from fabric import Config
    from paramiko import SSHConfig

    try:
        return Config(ssh_config=SSHConfig())
    except Exception as error:  # of any kind: Fabric reads files of its own
        raise InputError([f"the configuration of Fabric cannot be read: {error}"], "look into ~/.fabric.*") from error


def _timeouts() -> dict[str, object]:
    return {"banner_timeout": TIMEOUT - 2, "auth_timeout": TIMEOUT}  # less than connect_timeout, which names no cause


class _Login:
    """Makes the login when it is needed: paramiko costs 80 ms."""

    def __init__(self, user: str, key: Path | None, settings: SshSettings) -> None:
        self._arguments = (user, key, settings.keys, settings.only_keys, settings.agent)

    def authenticate(self, transport: Transport) -> None:
        from .login import KeyLogin

        KeyLogin(*self._arguments).authenticate(transport)


def _transport(sock: Any, **settings: Any) -> Transport:
    from .transport import OrderedTransport

    return OrderedTransport(sock, **settings)
