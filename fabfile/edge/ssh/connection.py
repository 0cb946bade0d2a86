"""One SSH connection per host, made as `ssh` itself would make it, and commands over it as root.

Fabric makes the connection (ssh_config, agent, ProxyJump); two of its habits are replaced: unknown host keys
are refused, on jump hosts too, and stdin is written all at once over the transport's own channel.
"""

from __future__ import annotations

import random
import shlex
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ...core.errors import HostError
from ...core.model.cluster import Cluster, Host
from .connect import TIMEOUT, close_all, hops, new_connection, open_hop
from .errors import explain
from .exec_channel import AS_ROOT, MAX_OUTPUT, OutputTooLong, Result, command_fault, run_command
from .http_channel import Http

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel, Transport

_ATTEMPTS = 3


class Remote:
    """A host and its one connection. It opens on first use; the owner closes it. Once open, any thread may use it."""

    def __init__(self, cluster: Cluster, host: Host) -> None:
        self.cluster = cluster
        self.host = host
        self.token: str | None = None  # for Consul's API, where the cluster has ACLs
        self.http = Http(self.tunnel)
        self._connection: Any = None

    def open(self) -> None:
        """Connects and authenticates. HostError says why not; a transient failure of a busy sshd is tried again."""
        for attempt in range(1, _ATTEMPTS + 1):
            began = time.monotonic()
            at = connection = new_connection(self.cluster, self.host)
            try:
                for at in reversed(list(hops(connection))):  # jump hosts first, so that the one that fails is known
                    open_hop(at)
            except Exception as error:
                close_all(connection)
                transient = _is_transient(error) and time.monotonic() - began < TIMEOUT / 2
                if attempt == _ATTEMPTS or not transient:
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
        """The SSH transport, open."""
        transport: Transport = self.connection.transport
        return transport

    def run(
        self, argv: Iterable[str], stdin: Iterable[bytes] = (), timeout: float = 60,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:  # fmt: skip
        """Runs argv as root. HostError when the connection fails; a failing command is a Result.

        timeout: seconds without output until it is given up; on_line: called with each line of stdout as it arrives
        """
        as_root = () if self.connection.user == "root" else ("sh", "-c", AS_ROOT, "nexus")
        command = "exec " + shlex.join([*as_root, *argv])
        try:
            return run_command(self.transport.open_session(timeout=TIMEOUT), command, stdin, timeout, on_line)
        except HostError:
            raise
        except OutputTooLong:
            raise HostError(self.host.name, f"its answer is longer than {MAX_OUTPUT >> 20} MB, and was not read on",
                            "look at what its login shell prints, and at its files in /var/lib/nexus") from None  # fmt: skip
        except Exception as error:
            raise explain(self.host, error) from error

    def script(self, text: str, *args: str, timeout: float = 60) -> Result:
        """Runs a script (`core.state.scripts`) as root, sent on stdin, with args. HostError when it fails."""
        result = self.run(["sh", "-s", "--", *args], [text.encode()], timeout)
        if result.code != 0:
            raise command_fault(self.host, result)
        return result

    def tunnel(self, port: int) -> Channel:
        """A stream to a TCP port on the host's own loopback; nothing listens on the operator's side.

        HostError: the host cannot be reached by SSH, or nobody answers at that port.
        """
        from paramiko import ChannelException

        transport = self.transport
        try:
            return transport.open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0), timeout=TIMEOUT)
        except ChannelException as error:  # the host refused the channel; any other error is a lost connection
            raise HostError(self.host.name, f"port {port} on its loopback did not answer ({error.text.lower()})",
                            f"inv status; on the host: ss -lnt 'sport = {port}'") from error  # fmt: skip
        except Exception as error:
            raise explain(self.host, error) from error

    def close(self) -> None:
        """Closes all connections; the next use opens a new one."""
        self.http.close()
        if self._connection is not None:
            close_all(self._connection)
            self._connection = None


def _is_transient(error: Exception) -> bool:
    from paramiko import AuthenticationException, BadHostKeyException, SSHException

    if isinstance(error, AuthenticationException | BadHostKeyException):
        return False
    no_banner = isinstance(error, SSHException) and "banner" in str(error)
    return no_banner or isinstance(error, EOFError | ConnectionResetError)
