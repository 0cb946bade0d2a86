"""The way to a host: an unopened Fabric connection that knows the pinned keys, over jump hosts where there are any."""

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
from .fabric_connection import link
from .known_hosts import known_hosts, pin
from .proxy_jump import proxy_jump

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Transport

TIMEOUT = 10.0  # seconds, each: TCP connect, banner, authentication


def connect(cluster: Cluster, host: Host) -> Any:
    """An unopened Fabric connection that knows the pinned keys and refuses all others, on every hop."""
    logging.getLogger("paramiko").addHandler(logging.NullHandler())  # it would print tracebacks of what we explain
    try:
        connection = link(
            host.ssh, user=host.user, port=host.port, config=_config(cluster.ssh),
            gateway=_gateway(cluster, host), connect_timeout=int(TIMEOUT), connect_kwargs=_kwargs(host.key),
        )  # fmt: skip
    except ValueError as error:  # a Port or ProxyJump that is none
        raise HostError(host.name, f"what ssh_config says of {host.ssh} cannot be used: {error}",
                        f"mend its Port or ProxyJump; `ssh -G {host.ssh}` shows what applies") from error  # fmt: skip
    for hop in hops(connection):
        hop.connect_timeout = hop.connect_timeout or int(TIMEOUT)  # those of ProxyJump would wait as long as TCP does
        pin(hop, known_hosts(cluster, hop))
    return connection


def hops(connection: Any) -> Iterator[Any]:
    """The connection and every jump host on its way."""
    while connection is not None and not isinstance(connection, str):
        yield connection
        connection = connection.gateway or None


def open_hop(connection: Any) -> None:
    """Connects and authenticates, the ones before it too. What it is asked to open later has TIMEOUT, not an hour."""
    connection.open()
    connection.transport.channel_timeout = TIMEOUT


def close_all(connection: Any) -> None:
    for hop in list(hops(connection)):
        with suppress(Exception):
            hop.close()


@cache
def _config(ssh: SshDefaults) -> Any:
    """Read once, not once a host; connections only look things up in it."""
    return ssh_config(ssh)


def _gateway(cluster: Cluster, host: Host) -> Any:
    """hosts.yml's own, else ssh_config's."""
    if host.gateway is None:
        return proxy_jump(_config(cluster.ssh), host.ssh)
    user, name, port = split_gateway(host.gateway)  # Fabric would take [fd00::1]:22 for a name
    return link(
        name, user=user, port=port, config=_config(cluster.ssh), connect_timeout=int(TIMEOUT),
        connect_kwargs=_kwargs(host.key),
    )  # fmt: skip


def _kwargs(key: Path | None) -> dict[str, object]:
    wait = {
        "banner_timeout": TIMEOUT - 2,  # less than the connect's own, whose message would name no cause
        "auth_timeout": TIMEOUT,
        "transport_factory": _transport,
    }
    return {**wait, "key_filename": str(key), "look_for_keys": False} if key else dict(wait)


def _transport(sock: Any, **words: Any) -> Transport:
    """AES-GCM first, where the server has it: a fifth faster than paramiko's own first choice, which needs a MAC beside."""
    from paramiko import Transport

    made = Transport(sock, **words)
    options = made.get_security_options()
    options.ciphers = sorted(options.ciphers, key=lambda name: "gcm" not in name)
    return made
