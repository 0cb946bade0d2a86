"""Commands over a channel of a real SSH connection: what a host says has an end here, too."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import paramiko
import pytest

from fabfile.edge.ssh import exec_channel
from fabfile.edge.ssh.exec_channel import OutputTooLong, Result, run_command

ANSWERS = {
    b"short": (b"one\ntwo\n", b"said"), b"long": (b"line\n" * 60_000, b"x" * 60_000), b"no end": (b"y" * 300_000, b""),
}  # fmt: skip


class _Server(paramiko.ServerInterface):
    def check_auth_none(self, _username: str) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        # after paramiko has said yes, which it does when this has returned
        threading.Timer(0.05, _answer, (channel, *ANSWERS[command])).start()
        return True


def _answer(channel: paramiko.Channel, out: bytes, err: bytes) -> None:
    try:
        channel.sendall(out)
        channel.sendall_stderr(err)
        channel.send_exit_status(0)
    except (OSError, EOFError):
        pass  # the client has had enough
    finally:
        channel.close()


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[paramiko.Transport]:
    monkeypatch.setattr(exec_channel, "MAX_OUTPUT", 200_000)
    monkeypatch.setattr(exec_channel, "_MAX_LINE", 100_000)
    monkeypatch.setattr(exec_channel, "_MAX_STDERR", 50_000)
    client_end, server_end = socket.socketpair()
    server, client = paramiko.Transport(server_end), paramiko.Transport(client_end)
    server.add_server_key(paramiko.ECDSAKey.generate())
    try:
        server.start_server(server=_Server(), event=threading.Event())
        client.start_client(timeout=10)
        client.auth_none("nobody")
        yield client
    finally:
        client.close()
        server.close()


def run(transport: paramiko.Transport, command: str, lines: list[str] | None = None) -> Result:
    on_line = None if lines is None else lines.append
    return run_command(transport.open_session(timeout=10), command, (), 10, on_line)


def test_an_answer_comes_whole(transport: paramiko.Transport) -> None:
    """Both channels, the exit code, and each line as it comes."""
    lines: list[str] = []
    assert run(transport, "short") == Result(0, b"one\ntwo\n", "said")
    assert run(transport, "short", lines) == Result(0, b"one\ntwo\n", "said")
    assert lines == ["one", "two"]


def test_an_answer_without_an_end_is_refused(transport: paramiko.Transport) -> None:
    """More than anything of ours says is not kept in memory."""
    with pytest.raises(OutputTooLong):
        run(transport, "long")


@pytest.mark.parametrize(("command", "count"), [("long", 60_000), ("no end", 2)])
def test_lines_go_on(transport: paramiko.Transport, command: str, count: int) -> None:
    """Who follows a log gets every line of it, long ones in pieces; only so much is kept for afterwards."""
    lines: list[str] = []
    result = run(transport, command, lines)
    assert len(lines) >= count
    assert sum(map(len, lines)) + (60_000 if command == "long" else 0) >= 250_000
    assert len(result.out) <= 200_000 + (1 << 17)
    assert len(result.err) <= 50_000
