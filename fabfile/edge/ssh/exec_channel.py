"""One command on one channel of an SSH connection: stdin, stdout line by line, stderr, exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from ...core.errors import HostError
from ...core.model.cluster import Host

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel

_CHUNK = 1 << 17
MAX_OUTPUT = 1 << 26  # bytes of stdout that are kept; a host's facts are 0.3 MB
_MAX_LINE = _MAX_STDERR = 1 << 20  # bytes
_FEEDER_ENDS = 5.0  # seconds; longer only on a connection that takes nothing any more

# For users who may not be root: run directly if root, else through sudo without a prompt. `sh -c`, because the login
# shell may be any.
AS_ROOT = 'if [ "$(id -u)" = 0 ]; then exec "$@"; else exec sudo -n -- env SSH_CONNECTION="$SSH_CONNECTION" "$@"; fi'


class OutputTooLong(Exception):
    """The command's output would fill this machine's memory."""


@dataclass(frozen=True, slots=True)
class Result:
    """Exit code and output of a command. `code` is -1 when no exit code came; `lost`: because the connection ended."""

    code: int
    out: bytes
    err: str
    lost: bool = False


def run_command(
    channel: Channel,
    command: str,
    stdin: Iterable[bytes],
    timeout: float,
    on_line: Callable[[str], None] | None,
) -> Result:
    """Runs the command on the channel and closes it. Any error of paramiko or the socket is raised as it is.

    A thread of its own writes stdin, so that the two sides cannot wait for each other for ever. It has ended when this
    returns: nothing of this command can reach the channel that gets its number next.
    """
    from paramiko import SSHException

    feeder = Thread(target=_feed, args=(channel, stdin), daemon=True)
    out = bytearray()
    try:
        channel.settimeout(timeout)
        channel.exec_command(command)
        feeder.start()
        _read_stdout(channel, out, on_line)
        err = _read_stderr(channel)
        code = channel.recv_exit_status()
        return Result(code, bytes(out), err, code == -1 and _is_lost(channel))
    except (EOFError, SSHException):
        if not _is_lost(channel):
            raise
        return Result(-1, bytes(out), "the connection was lost", lost=True)
    finally:
        channel.close()  # wakes the feeder where the command stopped reading
        if feeder.ident:
            feeder.join(_FEEDER_ENDS)


def _read_stdout(channel: Channel, out: bytearray, on_line: Callable[[str], None] | None) -> None:
    """All of it, into `out`; where a caller takes each line at once, MAX_OUTPUT of it. Else OutputTooLong for more."""
    pending = b""
    while chunk := channel.recv(_CHUNK):
        if len(out) < MAX_OUTPUT or not on_line:
            out += chunk
        if not on_line:
            if len(out) > MAX_OUTPUT:
                raise OutputTooLong
            continue
        *lines, pending = (pending + chunk).split(b"\n")
        for line in [*lines, *([pending] if len(pending) > _MAX_LINE else [])]:
            on_line(line.decode("utf-8", "replace"))
        pending = pending if len(pending) <= _MAX_LINE else b""


def _read_stderr(channel: Channel) -> str:
    """Its first _MAX_STDERR bytes; the rest is read and dropped, so that the command can end."""
    stream = channel.makefile_stderr("rb")
    err = stream.read(_MAX_STDERR)
    while stream.read(_CHUNK):
        pass
    return err.decode("utf-8", "replace")


def _is_lost(channel: Channel) -> bool:
    transport = channel.get_transport()
    transport.join(0.2)  # a connection that is lost closes its channels first; a moment later its thread ends
    return not transport.is_active()


def _feed(channel: Channel, stdin: Iterable[bytes]) -> None:
    from paramiko import SSHException

    with suppress(OSError, EOFError, SSHException):  # the command stopped reading, or the connection is lost
        for chunk in stdin:
            channel.sendall(chunk)
        channel.shutdown_write()


def command_fault(host: Host, result: Result) -> HostError:
    """The error of a failed command: its last line on stderr; for sudo's refusals, a hint."""
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
