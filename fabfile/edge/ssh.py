"""One SSH connection a host, as `ssh` itself would make it, and commands over it as root.

Fabric makes the connection (ssh_config, agent, ProxyJump); two of its habits are replaced: unknown host keys
are refused, on jump hosts too, and stdin is written in one go over the transport's own channel.
"""

from __future__ import annotations

import logging
import random
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from ..core.errors import HostError
from ..core.model import Cluster, Host, SshDefaults
from ..core.ssh_values import split_gateway
from .channel import Http
from .jumps import proxy_jump
from .known import known_hosts, pin
from .links import link
from .ssh_errors import explain
from .ssh_files import ssh_config

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel, Transport

TIMEOUT = 10.0  # seconds, each: TCP connect, banner, authentication
_ATTEMPTS = 3
_CHUNK = 1 << 17

# For whoever is not known to be root: by itself, or through sudo that must not ask. `sh -c` because the login shell may
# be none of ours.
_AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n -- env SSH_CONNECTION="$SSH_CONNECTION" "$@"; fi'


@dataclass(frozen=True, slots=True)
class Result:
    """What a command said. `code` is -1 when the connection ended before the command did."""

    code: int
    out: bytes
    err: str


class Remote:
    """A host and its one connection, opened on first use; close it at the end. Once it is open, any thread may use it."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.cluster = cluster
        self.host = host
        self.token: str | None = None  # for Consul's API, where the cluster has ACLs
        self.http = Http(self.tunnel)
        self._connection: Any = None

    def open(self) -> None:
        """Connects and authenticates. HostError says why not; a hiccup of a busy sshd is tried again."""
        for attempt in range(1, _ATTEMPTS + 1):
            began = time.monotonic()
            at = connection = connect(self.cluster, self.host)
            try:
                for at in reversed(list(hops(connection))):  # jump hosts first, so that the one that fails is known
                    open_hop(at)
            except Exception as error:
                close_all(connection)
                passing = _is_hiccup(error) and time.monotonic() - began < TIMEOUT / 2
                if attempt == _ATTEMPTS or not passing:
                    raise explain(self.host, error, at, at is not connection) from error
                time.sleep(random.uniform(0.2, 0.6) * attempt)  # noqa: S311  jitter, not a secret
            else:
                connection.transport.set_keepalive(15)
                self._connection = connection
                return

    @property
    def connection(self) -> Any:
        """Fabric's connection, open."""
        if self._connection is None:
            self.open()
        return self._connection

    @property
    def transport(self) -> Transport:
        found: Transport = self.connection.transport
        return found

    def run(
        self, argv: Iterable[str], stdin: Iterable[bytes] = (), timeout: float = 60,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:  # fmt: skip
        """Runs argv as root. `timeout` (seconds) bounds each silence; on_line sees stdout's lines as they come."""
        as_root = () if self.connection.user == "root" else ("sh", "-c", _AS_ROOT, "nexus")
        command = "exec " + shlex.join([*as_root, *argv])
        try:
            return _exchange(self.transport.open_session(timeout=TIMEOUT), command, stdin, timeout, on_line)
        except HostError:
            raise
        except Exception as error:
            raise explain(self.host, error) from error

    def script(self, script: Path, *args: str, timeout: float = 60) -> Result:
        """Runs one of remote_agents' scripts as root, sent on stdin, with args. HostError when it fails."""
        result = self.run(["sh", "-s", "--", *args], [script.read_bytes()], timeout)
        if result.code != 0:
            raise sudo_fault(self.host, result)
        return result

    def tunnel(self, port: int) -> Channel:
        """A stream to a TCP port on the host's own loopback; nothing listens on the operator's side.

        HostError: the host cannot be reached by SSH, or nobody answers at that port.
        """
        from paramiko import ChannelException

        transport = self.transport
        try:
            return transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=TIMEOUT)
        except ChannelException as error:  # the host's own word; anything else is a lost connection
            raise HostError(self.host.name, f"port {port} on its loopback did not answer ({error.text.lower()})",
                            f"inv status; on the host: ss -lnt 'sport = {port}'") from error  # fmt: skip
        except Exception as error:
            raise explain(self.host, error) from error

    def close(self) -> None:
        self.http.close()
        if self._connection is not None:
            close_all(self._connection)
            self._connection = None


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


def _is_hiccup(error: Exception) -> bool:
    from paramiko import AuthenticationException, BadHostKeyException, SSHException

    if isinstance(error, AuthenticationException | BadHostKeyException):
        return False
    return isinstance(error, EOFError | ConnectionResetError) or (isinstance(error, SSHException) and "banner" in str(error))


def _exchange(
    channel: Channel,
    command: str,
    stdin: Iterable[bytes],
    timeout: float,
    on_line: Callable[[str], None] | None,
) -> Result:
    """stdin is fed from a thread of its own, so that neither side can wait for the other for ever."""
    with channel:
        channel.settimeout(timeout)
        channel.exec_command(command)
        feeder = Thread(target=_feed, args=(channel, stdin), daemon=True)
        feeder.start()
        out = bytearray()
        pending = b""
        while chunk := channel.recv(_CHUNK):
            out += chunk
            if on_line:
                *lines, pending = (pending + chunk).split(b"\n")
                for line in lines:
                    on_line(line.decode("utf-8", "replace"))
        err = channel.makefile_stderr("rb").read().decode("utf-8", "replace")
        return Result(channel.recv_exit_status(), bytes(out), err)


def _feed(channel: Channel, stdin: Iterable[bytes]) -> None:
    with suppress(OSError):  # the other end stopped reading: its exit code tells why
        for chunk in stdin:
            channel.sendall(chunk)
        channel.shutdown_write()


def sudo_fault(host: Host, result: Result) -> HostError:
    """A failed command in one line; sudo's own refusals get their way out."""
    err = result.err.strip().splitlines()
    last = err[-1] if err else f"exit code {result.code}"
    if "password is required" in result.err or "terminal is required" in result.err:
        hint = "let this user run sudo without one (NOPASSWD), or name a root user: `user: root`"
        return HostError(host.name, "sudo wants a password", hint)
    if "sudo" in result.err and "not found" in result.err:
        return HostError(host.name, "not root, and sudo is not installed", "name a root user: `user: root`")
    if "sudoers" in result.err:
        return HostError(host.name, last, "let this user run sudo (NOPASSWD), or name a root user: `user: root`")
    return HostError(host.name, last)
