"""One SSH connection per host, made as `ssh` itself would make it, and commands over it as root.

Fabric makes the connection (ssh_config, agent, ProxyJump); two of its habits are replaced: unknown host keys
are refused, on jump hosts too, and stdin is written all at once over the transport's own channel.
"""

from __future__ import annotations

import random
import shlex
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ...core.errors import HostError
from ...core.model.cluster import Cluster, Host
from .connect import TIMEOUT, close_all, hops, new_connection, open_hop
from .errors import explain
from .exec_channel import Limit, Result, command_fault, has_ended, one_line, run_command
from .http_channel import Http
from .login_turns import turn_at
from .relay import no_answer, open_relay
from .sudo import as_root

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel, Transport

_ATTEMPTS = 3
_PROHIBITED = 1  # "administratively prohibited", where 2 is "connect failed" (RFC 4254, 5.1)
_PAUSE = 3.0  # seconds after a lost connection could not be opened anew, in which every use fails at once


class Remote:
    """A host and its one connection. It opens on first use, and anew where it was lost; the owner closes it.

    Any thread may use it. Work that was under way when the connection was lost is not repeated, but where `repeat` says
    that it may be.
    """

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.cluster = cluster
        self.host = host
        self.token: str | None = None  # for Consul's API, where the cluster has ACLs
        self.http = Http(self.tunnel, lambda: self.is_lost)
        self._connection: Any = None
        self._opening = threading.RLock()
        self._underway: Any = None  # the connection that is being opened
        self._closed = False
        self.forwarding_refused = False  # by the sshd of this connection
        self._failed: tuple[float, HostError] | None = None

    def open(self) -> None:
        """Connects and authenticates, unless it is open. HostError says why not."""
        with self._opening:
            if not self.is_lost:
                return
            self.reset()
            try:
                self._open()
            except HostError as error:
                self._failed = (time.monotonic(), error)
                raise
            finally:
                self._underway = None

    def _open(self) -> None:
        """A transient failure of a busy sshd is tried again."""
        for attempt in range(1, _ATTEMPTS + 1):
            at = connection = self._underway = new_connection(self.cluster, self.host)
            if self._closed:
                raise HostError(self.host.name, "its connection was closed", "the command is ending")
            began = time.monotonic()
            try:
                for at in reversed(list(hops(connection))):  # jump hosts first, so that the one that fails is known
                    with turn_at(at):
                        began = time.monotonic()
                        open_hop(at)
            except Exception as error:
                close_all(connection)
                transient = _is_transient(error) and time.monotonic() - began < TIMEOUT / 2
                if attempt == _ATTEMPTS or not transient or self._closed:
                    raise explain(self.host, error, at, at is not connection) from error
                time.sleep(random.uniform(0.2, 0.6) * attempt)  # noqa: S311  jitter, not a secret
            else:
                connection.transport.set_keepalive(15)
                self._connection = connection
                return

    @property
    def is_lost(self) -> bool:
        """Whether there is no connection, or none any more."""
        return self._connection is None or not self._connection.transport.is_active()

    @property
    def connection(self) -> Any:
        """Fabric's connection, open."""
        with self._opening:
            if self.is_lost:
                if self._connection is None and self._failed and time.monotonic() - self._failed[0] < _PAUSE:
                    raise self._failed[1]
                self.open()
            return self._connection

    @property
    def transport(self) -> Transport:
        """The SSH transport, open."""
        transport: Transport = self.connection.transport
        return transport

    def run(
        self, argv: Iterable[str], stdin: Iterable[bytes] = (), timeout: float = 60,
        on_line: Callable[[str], None] | None = None, repeat: bool = False, limit: Limit | None = None,
    ) -> Result:  # fmt: skip
        """Runs argv as root. HostError when the connection fails; a failing command is a Result.

        timeout: seconds without output until it is given up; on_line: called with each line of stdout as it arrives;
        repeat: it may be run again, with the same stdin, when the connection is lost in the midst of it; limit: instead of
        `timeout`, for work of an unusual kind
        """
        argv, limit = list(argv), limit or Limit.of_silence(timeout)
        try:
            result = self._run(argv, stdin, limit, on_line)
        except HostError:
            if not (repeat and self.is_lost):
                raise
        else:
            if not (repeat and result.lost):
                return result
        return self._run(argv, stdin, limit, on_line)

    def _run(
        self, argv: Iterable[str], stdin: Iterable[bytes], limit: Limit, on_line: Callable[[str], None] | None
    ) -> Result:
        if self.connection.user != "root":
            argv, stdin = as_root(argv, stdin)
        command = one_line("exec " + shlex.join(argv))
        try:
            channel = self._channel(lambda transport: transport.open_session(timeout=TIMEOUT))
            return run_command(channel, command, stdin, limit, on_line)
        except HostError:
            raise
        except Exception as error:
            raise explain(self.host, error) from error

    def _channel(self, open_channel: Callable[[Transport], Channel]) -> Channel:
        """A new channel; over a new connection where the old one turns out to be lost. Nothing has been asked yet."""
        from paramiko import ChannelException

        transport = self.transport
        try:
            return open_channel(transport)
        except ChannelException:  # an answer
            raise
        except Exception:
            if not has_ended(transport, within=0.5):
                raise
        return open_channel(self.transport)

    def script(self, text: str, *args: str, timeout: float = 60, repeat: bool = False) -> Result:
        """Runs a script (`core.state.scripts`) as root, sent on stdin, with args. HostError when it fails."""
        result = self.run(["sh", "-s", "--", *args], [text.encode()], timeout, repeat=repeat)
        if result.code != 0:
            raise command_fault(self.host, result)
        return result

    def tunnel(self, port: int) -> Channel:
        """A stream to a TCP port on the host's own loopback; nothing listens on the operator's side.

        Where its sshd forbids forwarding, a program on the host carries the stream. HostError: the host cannot be reached
        by SSH, or nobody answers at that port.
        """
        from paramiko import ChannelException

        ends = ("127.0.0.1", port), ("127.0.0.1", 0)
        try:
            if not self.forwarding_refused:
                return self._channel(lambda transport: transport.open_channel("direct-tcpip", *ends, timeout=TIMEOUT))
        except ChannelException as error:  # the host refused the channel; any other error is a lost connection
            if error.code != _PROHIBITED:
                raise no_answer(self.host, port, error.text) from error
            self.forwarding_refused = True
        except HostError:
            raise
        except Exception as error:
            raise explain(self.host, error) from error
        return self._relay(port)

    def _relay(self, port: int) -> Channel:
        try:
            session = self._channel(lambda transport: transport.open_session(timeout=TIMEOUT))
            return open_relay(session, self.host, port, TIMEOUT)
        except HostError:
            raise
        except Exception as error:
            raise explain(self.host, error) from error

    def reset(self) -> None:
        """Closes all connections; the next use opens a new one."""
        self.http.close()
        self._failed, self.forwarding_refused = None, False
        if self._connection is not None:
            close_all(self._connection)
            self._connection = None

    def close(self) -> None:
        """Closes all connections for good, also one that another thread is opening."""
        self._closed = True
        if self._underway is not None:
            close_all(self._underway)
        self.reset()


def _is_transient(error: Exception) -> bool:
    from paramiko import AuthenticationException, SSHException

    if isinstance(error, AuthenticationException):
        return False
    no_banner = isinstance(error, SSHException) and "banner" in str(error)
    return no_banner or isinstance(error, EOFError | ConnectionResetError)
