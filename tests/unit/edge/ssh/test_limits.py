"""Every exchange with a host ends: one that answers for ever, one that says nothing, one with a huge stderr."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from fabfile.core.errors import HostError
from fabfile.edge.ssh import http_channel, transport
from fabfile.edge.ssh.connection import Remote
from fabfile.edge.ssh.exec_channel import WATCHED, Limit
from tests.support.inprocess_sshd import PathEcho
from tests.support.loopback_sshd import Sshd, remote_of, sshd

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def server() -> Iterator[Sshd]:
    with sshd() as found:
        yield found


@pytest.fixture
def remote(server: Sshd, tmp_path: Path) -> Iterator[Remote]:
    made = remote_of(server, tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("script", "limit", "told"),
    [
        ("yes", Limit(5, 60, 1 << 20), "said more than 1 MiB; it was given up"),
        ("while :; do echo a; sleep 0.05; done", Limit(5, 0.5), "did not end within 0 s; it was given up"),
        ("sleep 20", Limit(0.5, 60), "did not answer in time"),
        ("exec >&-; sleep 20", Limit(0.5, 60), "did not answer in time"),
    ],
)  # fmt: skip
def test_a_command_without_end_is_given_up(remote: Remote, script: str, limit: Limit, told: str) -> None:
    """By time, by bytes, by silence; and the connection serves the next one."""
    began = time.monotonic()
    with pytest.raises(HostError, match=told):
        remote.run(["sh", "-c", script], limit=limit)
    assert time.monotonic() - began < 8
    assert remote.run(["echo", "a"]).out == b"a\n"


def test_a_huge_stderr_stops_nothing(remote: Remote) -> None:
    """It is read beside stdout; its end is kept."""
    done = remote.run(["sh", "-c", "head -c 8000000 /dev/zero | tr '\\0' x >&2; echo out; echo end >&2"], timeout=20)
    assert (done.code, done.out) == (0, b"out\n")
    assert done.err.endswith("xend\n")
    assert len(done.err) < 1_000_000


def test_watched_output_is_not_kept(remote: Remote) -> None:
    """Nor does it end at a size, nor a line without an end take all memory."""
    lines: list[str] = []
    done = remote.run(["sh", "-c", "seq 300000; head -c 2000000 /dev/zero"], on_line=lines.append, limit=WATCHED)
    assert (done.code, done.out, lines[299_999]) == (0, b"", "300000")
    assert len(lines) > 300_000


def test_a_host_that_never_starts_the_command_is_given_up(
    remote: Remote, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent behind an open channel; paramiko itself would wait for ever."""
    remote.run(["true"])
    monkeypatch.setattr(transport, "_ANSWER", 0.5)
    monkeypatch.setattr("paramiko.Transport._send_user_message", _without_answers)
    with pytest.raises(HostError, match="did not answer in time"):
        remote.run(["sleep", "20"])
    monkeypatch.undo()
    assert server.commands


_send = __import__("paramiko").Transport._send_user_message


def _without_answers(self: object, message: object) -> None:
    """Leaves out what a server answers to a request on a channel (RFC 4254, 5.4)."""
    if message.asbytes()[0] not in (99, 100):  # type: ignore[attr-defined]
        _send(self, message)


@pytest.mark.parametrize("endless", ["drips", "floods"])
def test_an_answer_of_consul_ends(remote: Remote, monkeypatch: pytest.MonkeyPatch, endless: str) -> None:
    """One that drips for ever, and one that never ends."""
    ended = threading.Event()

    class Endless(PathEcho):
        def do_GET(self) -> None:  # noqa: N802  http.server calls it so
            self.send_response(200)
            self.end_headers()
            try:
                while not ended.wait(0.05 if endless == "drips" else 0):
                    self.wfile.write(b"x" * (1 if endless == "drips" else 1 << 16))
            except OSError:
                self.close_connection = True

    monkeypatch.setattr(http_channel, "WHOLE", 1.0 if endless == "drips" else 60.0)
    monkeypatch.setattr(http_channel, "SIZE", 1 << 20)
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        monkeypatch.setattr(http_channel, "PORT", web.server_port)
        with pytest.raises(http_channel.http.client.HTTPException, match="the answer did not end"):
            remote.http.request("GET", "/v1/x", None, {})
        ended.set()
        remote.reset()
        web.shutdown()


def test_ctrl_c_ends_at_once(server: Sshd, tmp_path: Path) -> None:
    """Also while hosts are silent, and others are being connected to."""
    made = remote_of(server, tmp_path)
    program = f"""
import sys
from pathlib import Path
from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.fanout import for_each_host
from fabfile.edge.ssh.fleet import Fleet
key, folder = Path({str(made.host.key)!r}), Path({str(tmp_path)!r})
hosts = (
    Host("m1", "127.0.0.1", ("manager",), port={server.port}, user="root", key=key),
    Host("m2", "198.51.100.1", ("manager",), key=key),
)
ssh = SshDefaults(folder / "known_hosts", None, use_config=False)
cluster = Cluster("c", hosts, folder / "hosts.yml", folder, "c", ssh=ssh)
with Fleet(cluster) as fleet:
    print("started", flush=True)
    for_each_host(fleet, lambda remote: remote.run(["sleep", "60"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        for _ in range(100):
            if server.commands:
                break
            time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait(20)
        assert time.monotonic() - began < 3
