"""Unopened Fabric connections to hosts: they know the pinned keys, and go over jump hosts where there are any."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config.ssh_values import split_gateway
from ...core.errors import HostError
from ...core.model.cluster import Cluster, Host, SshDefaults
from .config_files import ssh_config
from .fabric_connection import new_fabric_connection
from .known_hosts import known_hosts, pin
from .proxy_jump import proxy_jump

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Transport

TIMEOUT = 10.0  # seconds, each: TCP connect, banner, authentication


def new_connection(cluster: Cluster, host: Host) -> Any:
    """An unopened Fabric connection that knows the pinned keys and refuses all others, on every hop."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else it prints tracebacks of errors we explain
    try:
        connection = new_fabric_connection(
            host.ssh, user=host.user, port=host.port, config=_config(cluster.ssh),
            gateway=_gateway(cluster, host), connect_timeout=int(TIMEOUT), connect_kwargs=_connect_kwargs(host.key),
        )  # fmt: skip
    except ValueError as error:  # an invalid Port or ProxyJump
        raise HostError(host.name, f"what ssh_config says of {host.ssh} cannot be used: {error}",
                        f"mend its Port or ProxyJump; `ssh -G {host.ssh}` shows what applies") from error  # fmt: skip
    for hop in hops(connection):
        # those of ProxyJump have none, and would wait as long as TCP does
        hop.connect_timeout = hop.connect_timeout or int(TIMEOUT)
        pin(hop, known_hosts(cluster, hop))
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
def _config(ssh: SshDefaults) -> Any:
    """Read once, not once per host; connections only read it."""
    return ssh_config(ssh)


def _gateway(cluster: Cluster, host: Host) -> Any:
    """The jump host of hosts.yml, else that of ssh_config."""
    if host.gateway is None:
        return proxy_jump(_config(cluster.ssh), host.ssh)
    user, name, port = split_gateway(host.gateway)  # Fabric would take [fd00::1]:22 for a name
    return new_fabric_connection(
        name, user=user, port=port, config=_config(cluster.ssh), connect_timeout=int(TIMEOUT),
        connect_kwargs=_connect_kwargs(host.key),
    )  # fmt: skip


def _connect_kwargs(key: Path | None) -> dict[str, object]:
    timeouts = {
        "banner_timeout": TIMEOUT - 2,  # less than connect_timeout, whose error would name no cause
        "auth_timeout": TIMEOUT,
        "transport_factory": _transport,
    }
    return {**timeouts, "key_filename": str(key), "look_for_keys": False} if key else dict(timeouts)


def _transport(sock: Any, **settings: Any) -> Transport:
    from .transport import OrderedTransport

    return OrderedTransport(sock, **settings)
