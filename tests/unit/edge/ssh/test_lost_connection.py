"""A connection that breaks costs no more than what was under way on it, and not even that where it may be repeated."""

from __future__ import annotations

import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace as Given
from typing import Any

import pytest

from fabfile.core.errors import ApplyError, HostError
from fabfile.edge.deploy import apply
from fabfile.edge.ssh import http_channel
from tests.support.inprocess_sshd import PathEcho
from tests.support.loopback_sshd import Sshd, remote_of, sshd


def wait_lost(remote: Any) -> None:
    for _ in range(100):
        if remote.is_lost:
            return
        time.sleep(0.05)
    raise AssertionError("the connection is still there")


def test_the_next_command_opens_it_anew(tmp_path: Path) -> None:
    """One that was lost between two commands is not noticed, whether that was seen already or not."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        for seen in (True, False):
            assert remote.run(["echo", "a"]).out == b"a\n"
            server.drop()
            if seen:
                wait_lost(remote)
            assert remote.run(["echo", "b"]).out == b"b\n"
        assert server.logins == 3
        remote.close()


def drop_at(server: Sshd, number: int) -> None:
    server.before_command = lambda now: server.drop() if now == number else None


def test_what_may_be_repeated_is_run_again(tmp_path: Path) -> None:
    """With all of its stdin; once."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        drop_at(server, 1)
        assert remote.run(["cat"], [b"all"], repeat=True).out == b"all"
        assert len(server.commands) == 2
        remote.close()


def test_what_may_not_be_repeated_is_not(tmp_path: Path) -> None:
    """The result says that the connection was lost, and the next command is served."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        drop_at(server, 1)
        lost = remote.run(["echo", "a"])
        assert (lost.code, lost.lost) == (-1, True)
        assert len(server.commands) == 1
        assert remote.run(["echo", "a"]).code == 0
        remote.close()


def test_a_host_that_is_gone_is_not_dialled_at_every_use(tmp_path: Path) -> None:
    """For a moment, each use gets the same error at once."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        remote.run(["true"])
    wait_lost(remote)
    with pytest.raises(HostError) as first:
        remote.run(["true"])
    with pytest.raises(HostError) as second:
        remote.run(["true"])
    assert second.value is first.value
    remote.close()


def test_what_was_closed_stays_closed(tmp_path: Path) -> None:
    """A thread that outlives its command opens nothing behind its back."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        remote.run(["true"])
        remote.close()
        with pytest.raises(HostError, match="was closed"):
            remote.run(["true"])
        assert server.logins == 1


def test_a_question_to_consul_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A GET whose connection was lost under way, over a new connection; a PUT is not."""
    dropped = []

    class DropsOnce(PathEcho):
        def do_GET(self) -> None:  # noqa: N802  http.server calls it so
            if not dropped:
                dropped.append(server.drop())
            super().do_GET()

        do_PUT = do_GET  # noqa: N815

    web = ThreadingHTTPServer(("127.0.0.1", 0), DropsOnce)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    monkeypatch.setattr(http_channel, "PORT", web.server_port)
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        assert remote.http.request("GET", "/v1/x", None, {}).status == 200
        dropped.clear()
        with pytest.raises((OSError, http_channel.http.client.HTTPException)):
            remote.http.request("PUT", "/v1/x", "1", {})
        remote.close()
    web.shutdown()
    web.server_close()


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("current new", "the host went on by itself and has the new generation"),
        ("current old", "the host has changed nothing"), ("current old\npending new", "the host did not finish it"),
        ("running yes", "the host is still at it"),
    ],
)  # fmt: skip
def test_a_deploy_says_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, told: str
) -> None:
    """Where the connection was lost in the midst of a change, the host is asked what it has, and nothing is repeated."""
    monkeypatch.setattr(apply, "payload", lambda *_: [b"part"])
    monkeypatch.setattr(apply, "script", lambda _: f"cat <<'end'\n{answer}\nend\n")
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        drop_at(server, 1)
        with pytest.raises(ApplyError, match=f"the connection was lost while the change was made; {told}"):
            apply.apply_plan(remote, Given(wanted=Given(id="new")), "ann", lambda _: None)  # type: ignore[arg-type]
        assert len(server.commands) == 2
        remote.close()
