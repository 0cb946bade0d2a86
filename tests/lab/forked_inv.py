"""`inv` as a fork of a process that has already imported the toolkit: saves half a second in some hundred calls.

It gets the same arguments, environment and working folder as `python -m invoke`, uses the same entry point, and ends as
Python ends. Tests that kill the process start `python -m invoke` instead. Run as a module, this file is the server that
forks; `run` is for the tests.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parents[2]
LAZY_IMPORTS = ("fabric", "paramiko", "consul", "jinja2", "cryptography.x509")  # the toolkit imports them on first use
MAX_REQUEST = 1 << 17  # bytes: the arguments and the environment
_start_lock = threading.Lock()
_server: list[socket.socket] = []


def run(
    arguments: Sequence[str], env: Mapping[str, str], folder: Path, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Like subprocess.run with captured output. subprocess.TimeoutExpired has the output so far."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                request = json.dumps([list(arguments), dict(env), str(folder)]).encode()
                socket.send_fds(_server_socket(), [request], [out.fileno(), err.fileno(), theirs.fileno()])
            pid = _receive_int(ours)
            ours.settimeout(timeout)
            try:
                code = _receive_int(ours)
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout, _read_all(out), _read_all(err)) from None
        return subprocess.CompletedProcess(list(arguments), code, _read_all(out).decode(), _read_all(err).decode())


def _read_all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _receive_int(link: socket.socket) -> int:
    data = link.recv(4, socket.MSG_WAITALL)
    if len(data) < 4:
        raise ConnectionError("the server of forked_inv.py has ended")
    return int.from_bytes(data, "big", signed=True)


def _server_socket() -> socket.socket:
    """The connection to the server. The first call starts the server, which ends when this process ends."""
    with _start_lock:
        if not _server:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                argv = [sys.executable, "-m", "tests.lab.forked_inv", str(theirs.fileno())]
                subprocess.Popen(argv, cwd=ROOT, pass_fds=[theirs.fileno()])
            _server.append(ours)
        return _server[0]


def _serve(requests: socket.socket) -> None:
    for module in pkgutil.walk_packages([str(ROOT / "fabfile")], "fabfile."):
        importlib.import_module(module.name)
    for name in ("invoke.main", *LAZY_IMPORTS):
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork does not walk the shared objects, and so does not copy their pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks that handle requests
    while True:
        request, fds, _, _ = socket.recv_fds(requests, MAX_REQUEST, 3)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            arguments, env, folder = json.loads(request)
            _handle(arguments, env, folder, fds)
        for fd in fds:
            os.close(fd)


def _handle(arguments: list[str], env: dict[str, str], folder: str, fds: list[int]) -> NoReturn:
    """Runs `inv` in another fork. Sends its PID, and its exit code when it ends."""
    child = os.fork()
    if child == 0:
        _run_inv(arguments, env, folder, fds)
    with socket.socket(fileno=fds[2]) as link, suppress(BrokenPipeError):
        link.sendall(child.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        link.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _run_inv(arguments: list[str], env: dict[str, str], folder: str, fds: list[int]) -> NoReturn:
    from invoke.main import program

    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, fd in enumerate((os.open(os.devnull, os.O_RDONLY), *fds[:2])):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    sys.argv = ["inv", *arguments]
    program.run(sys.argv)
    sys.exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
