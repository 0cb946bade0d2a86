"""A channel's messages keep their order: sshd ends the whole connection over one that comes after CLOSE."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytest

from fabfile.edge.ssh.transport import OrderedTransport
from tests.support.loopback_sshd import remote_of, sshd

DATA, EOF = 94, 96
NOTHING_LOST = "Ignoring message for dead channel"


@pytest.mark.parametrize(("slow", "stdin"), [(EOF, []), (DATA, [b"x" * 1000])])
def test_nothing_follows_the_close_of_a_channel(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, slow: int, stdin: list[bytes]
) -> None:
    """However long stdin's last message is under way while the command ends: the server gets it before CLOSE."""
    sends = OrderedTransport._send_user_message  # type: ignore[attr-defined]

    def held_up(self: Any, message: Any) -> None:
        if message.asbytes()[0] == slow:
            time.sleep(0.15)
        sends(self, message)

    monkeypatch.setattr(OrderedTransport, "_send_user_message", held_up)
    caplog.set_level(logging.DEBUG, "paramiko")
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        for _ in range(3):
            assert remote.run(["true"], stdin).code == 0
        assert remote.run(["cat"], [b"whole"]).out == b"whole"
        remote.close()
    assert [r.getMessage() for r in caplog.records if NOTHING_LOST in r.getMessage()] == []


def test_stdin_ends_with_its_command(tmp_path: Path) -> None:
    """A command that reads nothing leaves no thread behind that still writes to it."""
    written = []

    def endless() -> Any:
        while True:
            written.append(1)
            yield b"x" * (1 << 17)

    with sshd() as server:
        remote = remote_of(server, tmp_path)
        assert remote.run(["true"], endless()).code == 0
        before = len(written)
        time.sleep(0.3)
        assert len(written) == before
        remote.close()
