"""An SSH server on the loopback that runs commands by this machine's own sh: as a host's sshd, with the faults of one."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from fabfile.core.model.cluster import Cluster, Host, SshDefaults
from fabfile.edge.ssh.connection import Remote


@dataclass
class Sshd:
    """port, host_key: where it listens, and what it offers. The other fields may be changed while it runs.

    forwarding: AllowTcpForwarding; max_tries: MaxAuthTries; accepted: the keys that are let in, None for every key.
    before_command: called with each command's number before it is run; `drop` ends all connections. commands: what was run.
    """

    port: int
    host_key: paramiko.PKey
    forwarding: bool = True
    max_tries: int = 6
    accepted: Iterable[paramiko.PKey] | None = None
    before_command: Callable[[int], object] = lambda _: None
    commands: list[str] = field(default_factory=list)
    logins: int = 0
    offered: list[str] = field(default_factory=list)
    forwards: int = 0
    transports: list[paramiko.Transport] = field(default_factory=list)

    def drop(self) -> None:
        """Ends all connections, as a restarted sshd or a firewall's reset would."""
        for transport in self.transports:
            transport.close()
        self.transports.clear()

    @property
    def known_hosts_line(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key.get_name()} {self.host_key.get_base64()}\n"


class _Session(paramiko.ServerInterface):
    def __init__(self, sshd: Sshd, transport: paramiko.Transport) -> None:
        self._sshd, self._transport, self._tries = sshd, transport, 0
        self._inner: dict[int, socket.socket] = {}

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _username: str, key: paramiko.PKey) -> int:
        self._sshd.offered.append(key.get_base64())
        if self._sshd.accepted is None or key.get_base64() in {k.get_base64() for k in self._sshd.accepted}:
            self._sshd.logins += 1
            return paramiko.common.AUTH_SUCCESSFUL
        self._tries += 1
        if self._tries >= self._sshd.max_tries:
            self._transport.close()
        return paramiko.common.AUTH_FAILED

    def check_channel_request(self, kind: str, _chanid: int) -> int:
        ok = paramiko.common.OPEN_SUCCEEDED
        return ok if kind == "session" else paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_direct_tcpip_request(self, chanid: int, _origin: Any, destination: Any) -> int:
        self._sshd.forwards += 1
        if not self._sshd.forwarding:
            return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        try:
            self._inner[chanid] = socket.create_connection(destination)
        except OSError:
            return paramiko.common.OPEN_FAILED_CONNECT_FAILED
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._sshd.commands.append(command)
            self._sshd.before_command(len(self._sshd.commands))
            done = subprocess.Popen(["sh", "-c", command], stdin=-1, stdout=-1, stderr=-1, bufsize=0)
            threading.Thread(target=_feed, args=(channel, done.stdin), daemon=True).start()
            copiers = [threading.Thread(target=_copy, args=pair, daemon=True)
                       for pair in ((done.stdout, channel.sendall), (done.stderr, channel.sendall_stderr))]  # fmt: skip
            for copier in copiers:
                copier.start()
            for copier in copiers:
                copier.join()
            if channel.closed:
                done.kill()
            code = done.wait()
            channel.send_exit_status(code if code >= 0 else 128 - code)
            channel.close()

    def serve_tunnels(self) -> None:
        kept: list[paramiko.Channel | None] = []
        while self._transport.is_active():
            channel = self._transport.accept(0.2)
            kept.append(channel)  # one that nobody holds closes itself
            inner = self._inner.pop(channel.get_id(), None) if channel is not None else None
            if channel is not None and inner is not None:
                threading.Thread(target=_feed, args=(channel, inner.makefile("wb", buffering=0)), daemon=True).start()
                threading.Thread(target=_relay, args=(inner, channel), daemon=True).start()


def _feed(channel: paramiko.Channel, sink: Any) -> None:
    with suppress(OSError, ValueError):
        while data := channel.recv(1 << 16):
            sink.write(data)
    with suppress(OSError):
        sink.close()


def _copy(source: Any, send: Callable[[bytes], None]) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        while data := source.read(1 << 16):
            send(data)
    source.close()  # the command gets SIGPIPE


def _relay(inner: socket.socket, channel: paramiko.Channel) -> None:
    with suppress(OSError, EOFError, paramiko.SSHException):
        while data := inner.recv(1 << 16):
            channel.sendall(data)
    channel.close()
    inner.close()


@contextmanager
def sshd() -> Iterator[Sshd]:
    """A running server with a new host key."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = Sshd(listener.getsockname()[1], paramiko.ECDSAKey.generate())

    def accept() -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(sock)
            transport.add_server_key(found.host_key)
            session = _Session(found, transport)
            found.transports.append(transport)
            with suppress(EOFError, paramiko.SSHException, OSError):
                transport.start_server(event=threading.Event(), server=session)
                threading.Thread(target=session.serve_tunnels, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield found
    finally:
        listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        listener.close()
        found.drop()


def client_key(folder: Path) -> Path:
    """A new private key in a file."""
    file = folder / "id"
    if not file.exists():
        paramiko.ECDSAKey.generate().write_private_key_file(str(file))
    return file


def remote_of(server: Sshd, folder: Path) -> Remote:
    """The host m1 at the server, its key pinned, no ssh_config."""
    (folder / "known_hosts").write_text(server.known_hosts_line)
    ssh = SshDefaults(folder / "known_hosts", None, use_config=False)
    host = Host("m1", "127.0.0.1", ("manager",), port=server.port, user="root", key=client_key(folder))
    cluster = Cluster("c", (host,), folder / "hosts.yml", folder, "c", ssh=ssh)
    return Remote(cluster, host)
