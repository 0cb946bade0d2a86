"""One command on one channel of an SSH connection: stdin, stdout line by line, stderr, exit code."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING

from ...core.errors import HostError
from ...core.model.cluster import Host

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import Channel, Transport

_CHUNK = 1 << 17
_LONGEST_LINE = 1 << 18  # bytes
_THREAD_ENDS = 5.0  # seconds; longer only on a connection that takes nothing any more


def one_line(command: str) -> str:
    """The command as any login shell takes it: csh breaks at a newline in quotes and at `!`, fish reads a backslash twice.

    Where there is one of them, sh gets the command in octal and reads it from there.
    """
    if not any(sign in command for sign in "\n!\\"):
        return command
    octal = "".join(c if (c.isalnum() and c.isascii()) or c in " -_./:=,+" else _octal(c) for c in command)
    return f"exec sh -c 'eval \"$(printf %b \"$1\")\"' nexus '{octal}'"


def _octal(character: str) -> str:
    return "".join(f"\\0{byte:03o}" for byte in character.encode())


@dataclass(frozen=True, slots=True)
class Result:
    """Exit code and output of a command. `code` is -1 when no exit code came; `lost`: because the connection ended."""

    code: int
    out: bytes
    err: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """How long a command may take, and how much it may say; more is given up.

    silence: seconds without output; whole: seconds in all; size: bytes of its output. Watched output is not kept.
    """

    silence: float
    whole: float
    size: int = 1 << 25

    @classmethod
    def of_silence(cls, seconds: float) -> Limit:
        """A command of the usual kind may work ten times as long as it may be silent."""
        return cls(seconds, 10 * seconds)


WATCHED = Limit(silence=86400, whole=math.inf, size=0)  # somebody reads it as it comes, and ends it with Ctrl-C


class GaveUp(Exception):
    """The command was given up: what it did."""


def run_command(
    channel: Channel, command: str, stdin: Iterable[bytes], limit: Limit, on_line: Callable[[str], None] | None
) -> Result:
    """Runs the command on the channel and closes it. GaveUp beyond the limit; any error of paramiko or the socket is
    raised as it is.

    Threads of its own write stdin and read stderr, so that the two sides cannot wait for each other for ever. They have
    ended when this returns: nothing of this command can reach the channel that gets its number next.
    """
    from paramiko import SSHException

    out = _Output(limit, on_line)
    err = _Tail()
    feeder = Thread(target=_feed, args=(channel, stdin), daemon=True)
    drain = Thread(target=err.read, args=(channel,), daemon=True)
    try:
        channel.settimeout(limit.silence)
        channel.exec_command(command)
        feeder.start()
        drain.start()
        out.read(channel)
        drain.join(out.wait)
        if drain.is_alive() or not channel.status_event.wait(out.wait):
            raise TimeoutError("the command ended its output, and not itself")
        code = channel.recv_exit_status()
        return Result(code, bytes(out.kept), err.text, code == -1 and has_ended(channel.get_transport()))
    except (EOFError, SSHException):
        if not has_ended(channel.get_transport()):
            raise
        return Result(-1, bytes(out.kept), "the connection was lost", lost=True)
    finally:
        channel.close()  # wakes the feeder where the command stopped reading
        for thread in (feeder, drain):
            if thread.ident:
                thread.join(_THREAD_ENDS)


class _Output:
    """stdout, read within the limit."""

    def __init__(self, limit: Limit, on_line: Callable[[str], None] | None) -> None:
        self._limit, self._on_line = limit, on_line
        self._until = time.monotonic() + limit.whole
        self._pending = b""
        self.kept = bytearray()

    @property
    def wait(self) -> float:
        """Seconds to wait for the next sign of life. GaveUp when there are none left."""
        left = self._until - time.monotonic()
        if left <= 0:
            raise GaveUp(f"did not end within {self._limit.whole:.0f} s")
        return min(self._limit.silence, left)

    def read(self, channel: Channel) -> None:
        """To its end."""
        while True:
            channel.settimeout(self.wait)
            try:
                chunk = channel.recv(_CHUNK)
            except TimeoutError:
                if self.wait:  # GaveUp where it was not silence, but the whole time
                    raise
            if not chunk:
                return
            if self._limit.size:
                self.kept += chunk
            if len(self.kept) > self._limit.size:
                raise GaveUp(f"said more than {self._limit.size >> 20} MiB")
            if self._on_line:
                self._tell(chunk, self._on_line)

    def _tell(self, chunk: bytes, on_line: Callable[[str], None]) -> None:
        *lines, self._pending = (self._pending + chunk).split(b"\n")
        if len(self._pending) > _LONGEST_LINE:
            lines, self._pending = [*lines, self._pending], b""
        for line in lines:
            on_line(line.decode("utf-8", "replace"))


class _Tail:
    """The end of stderr, however much came before. It is read while stdout is: both share the channel's window."""

    def __init__(self) -> None:
        self._kept = b""

    def read(self, channel: Channel) -> None:
        from paramiko import SSHException

        with suppress(OSError, EOFError, SSHException):
            while True:
                try:
                    chunk = channel.recv_stderr(_CHUNK)
                except TimeoutError:
                    continue  # stdout's reader gives up, and closes the channel
                if not chunk:
                    return
                self._kept = (self._kept + chunk)[-_LONGEST_LINE:]

    @property
    def text(self) -> str:
        return self._kept.decode("utf-8", "replace")


def has_ended(transport: Transport, within: float = 0.2) -> bool:
    """Whether the connection is lost. One that is closes its channels first; its thread ends a moment (seconds) later."""
    transport.join(within)
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
    if "incorrect password" in result.err or "no password was provided" in result.err:
        return HostError(host.name, "sudo does not take this password", "try it on the host: sudo -k true")
    if "password is required" in result.err or "terminal is required" in result.err:
        hint = (
            "give it: --ask-sudo-pass before the command's name, or NEXUS_SUDO_PASSWORD_FILE; or let this user run sudo "
            "without one (NOPASSWD), or name a root user: `user: root`"
        )
        return HostError(host.name, "sudo wants a password", hint)
    if "sudo" in result.err and "not found" in result.err:
        return HostError(host.name, "not root, and sudo is not installed", "name a root user: `user: root`")
    if "sudoers" in result.err:
        return HostError(host.name, last, "let this user run sudo (NOPASSWD), or name a root user: `user: root`")
    return HostError(host.name, last)
