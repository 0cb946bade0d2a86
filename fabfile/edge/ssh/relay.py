"""A stream to a port on a host's loopback without TCP forwarding, which its sshd may forbid: a small program carries it.

The program is Python's, which every host has that can run the agents.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from ...core.errors import HostError
from ...core.model.cluster import Host
from .exec_channel import one_line

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel

_CONNECTED = b"+"
# Ends with its stdin: nobody asks over half a connection.
_PROGRAM = """import os, select, socket
try:
    s = socket.create_connection(("127.0.0.1", PORT), 10)
except OSError as e:
    os.write(1, ("-" + (e.strerror or str(e))).encode())
    raise SystemExit(1)
s.settimeout(None)
os.write(1, b"+")
while True:
    for f in select.select([0, s], [], [])[0]:
        d = s.recv(65536) if f is s else os.read(0, 65536)
        if len(d) == 0:
            raise SystemExit(0)
        if f is not s:
            s.sendall(d)
        while f is s and d:
            d = d[os.write(1, d):]
"""


def command(port: int) -> str:
    """The command line that carries a stream to the port."""
    return one_line(shlex.join(["exec", "python3", "-c", _PROGRAM.replace("PORT", str(port))]))


def open_relay(channel: Channel, host: Host, port: int, timeout: float) -> Channel:
    """Makes the session a stream to the port, within `timeout` seconds. HostError when nobody answers there.

    Closes the channel on any error.
    """
    try:
        channel.settimeout(timeout)
        channel.exec_command(command(port))
        answer = channel.recv(1)
        if answer == _CONNECTED:
            return channel
        if answer:
            raise no_answer(host, port, channel.recv(200).decode("utf-8", "replace"))
        raise HostError(
            host.name, f"its sshd forbids TCP forwarding, and python3, which would do without, does not run there"
            f" ({channel.recv_stderr(200).decode('utf-8', 'replace').strip() or 'no output'})",
            "install python3 there, or let its sshd forward: AllowTcpForwarding yes",
        )  # fmt: skip
    except BaseException:
        channel.close()
        raise


def no_answer(host: Host, port: int, why: str) -> HostError:
    """Nobody listens at the port."""
    return HostError(host.name, f"port {port} on its loopback did not answer ({why.lower()})",
                     f"inv status; on the host: ss -lnt 'sport = {port}'")  # fmt: skip
