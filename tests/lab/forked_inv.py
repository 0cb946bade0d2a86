"""`inv` as a process that was forked from one that had imported the toolkit: half a second less, each of some hundred times.

It enters by the same door with the same words, environment and folder, and ends as Python ends, as `python -m invoke`
does, which those tests start that kill it. As a module this is the server; `run` is what the tests call.
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
LATER = ("fabric", "paramiko", "consul", "jinja2", "cryptography.x509")  # what the toolkit imports when it needs it
LARGEST = 1 << 17  # bytes of a request: the words and the environment
_starting = threading.Lock()
_server: list[socket.socket] = []


def run(words: Sequence[str], env: Mapping[str, str], folder: Path, timeout: float) -> subprocess.CompletedProcess[str]:
    """As subprocess.run with captured output; subprocess.TimeoutExpired, with what it had said, when it takes too long."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        mine, theirs = socket.socketpair()
        with mine:
            with theirs:
                request = json.dumps([list(words), dict(env), str(folder)]).encode()
                socket.send_fds(_door(), [request], [out.fileno(), err.fileno(), theirs.fileno()])
            process = _number(mine)
            mine.settimeout(timeout)
            try:
                code = _number(mine)
            except TimeoutError:
                os.kill(process, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(words), timeout, _whole(out), _whole(err)) from None
        return subprocess.CompletedProcess(list(words), code, _whole(out).decode(), _whole(err).decode())


def _whole(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _number(link: socket.socket) -> int:
    found = link.recv(4, socket.MSG_WAITALL)
    if len(found) < 4:
        raise ConnectionError("the server of warm.py has ended")
    return int.from_bytes(found, "big", signed=True)


def _door() -> socket.socket:
    """To the server, which is started by the first who asks, and ends when this process does."""
    with _starting:
        if not _server:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                words = [sys.executable, "-m", "tests.lab.forked_inv", str(theirs.fileno())]
                subprocess.Popen(words, cwd=ROOT, pass_fds=[theirs.fileno()])
            _server.append(mine)
        return _server[0]


def _serve(door: socket.socket) -> None:
    for module in pkgutil.walk_packages([str(ROOT / "fabfile")], "fabfile."):
        importlib.import_module(module.name)
    for name in ("invoke.main", *LATER):
        importlib.import_module(name)
    gc.freeze()  # what all share is not walked, and so not copied, in each
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who answer
    while True:
        request, fds, _, _ = socket.recv_fds(door, LARGEST, 3)
        if not request:
            return
        if os.fork() == 0:
            door.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _answer(*json.loads(request), fds)
        for fd in fds:
            os.close(fd)


def _answer(words: list[str], env: dict[str, str], folder: str, fds: list[int]) -> NoReturn:
    child = os.fork()
    if child == 0:
        _become(words, env, folder, fds)
    with socket.socket(fileno=fds[2]) as link, suppress(BrokenPipeError):
        link.sendall(child.to_bytes(4, "big"))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        link.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _become(words: list[str], env: dict[str, str], folder: str, fds: list[int]) -> NoReturn:
    from invoke.main import program

    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for number, fd in enumerate((os.open(os.devnull, os.O_RDONLY), *fds[:2])):
        os.dup2(fd, number)
    for fd in fds:
        os.close(fd)
    sys.argv = ["inv", *words]
    program.run(sys.argv)
    sys.exit(0)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
