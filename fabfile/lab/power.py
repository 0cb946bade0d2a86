"""The power of the lab's nodes: off as if the plug were pulled, on again by whoever is still there.

`arm` starts a process of its own that gives the power back at a set time, as a server's remote management would; it
outlives the operator's. What it is to do lies in a file, so that anybody can do it sooner.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..core.errors import HostError, NexusError
from ..core.resources import ROOT
from . import engine, keys
from .compose import NODES, container
from .engine import Engine
from .nodes import STATE, await_ssh

_TURN = 0.5


class LabPower:
    """Of the nodes whose names are the hosts' names. HostError where the engine does not do it."""

    def __init__(self, docker: Engine, root: Path = STATE) -> None:
        self._docker, self._root = docker, root

    def arm(self, host: str, seconds: int) -> None:
        """On again after so many seconds, whatever becomes of this process."""
        note = _note(self._root, host)
        note.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write(note, json.dumps({"host": host, "until": time.time() + seconds}))
        words = [sys.executable, "-m", __name__, str(self._root), host]
        subprocess.Popen(words, cwd=ROOT, env=dict(self._docker.env), start_new_session=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def off(self, host: str) -> None:
        self._do(host, "kill")

    def start(self, host: str) -> None:
        """However often it is said; it does not wait for the boot."""
        self._do(host, "start")

    def on(self, host: str) -> None:
        """The same; it returns when SSH answers."""
        self.start(host)
        try:
            await_ssh(next(node for node in NODES if node.name == host))
        except NexusError as error:
            raise HostError(host, error.message) from error
        _note(self._root, host).unlink(missing_ok=True)

    def left(self) -> dict[str, float]:
        """Hosts that were taken the power, or may be so still -> seconds until they get it back."""
        found = {}
        for note in sorted(_note(self._root, "").parent.glob("*.json")):
            with suppress(OSError, ValueError, KeyError):
                said = json.loads(note.read_text())
                found[str(said["host"])] = float(said["until"]) - time.time()
        return found

    def _do(self, host: str, verb: str) -> None:
        try:
            self._docker.run(verb, container(host))
        except NexusError as error:
            raise HostError(host, error.message, "./inv lab.up repairs the lab") from error


def is_node(name: str, ssh: str) -> bool:
    """Whether the host is a node of the lab: by its name and its SSH address."""
    return any((node.name, node.ssh) == (name, ssh) for node in NODES)


def power_of(hosts: Iterable[tuple[str, str]], root: Path = STATE) -> LabPower | None:
    """The lab's power, where all of these (name, SSH address) are nodes of it; None for real hosts."""
    docker = engine.find(root) if all(is_node(*host) for host in hosts) else None
    return LabPower(docker, root) if docker else None


def _note(root: Path, host: str) -> Path:
    return root / "power" / f"{host}.json"


def _keep(root: Path, host: str) -> None:
    """The process behind `arm`: ends with the note, or by giving the power back at its time."""
    note = _note(root, host)
    mine = note.read_text()
    until = float(json.loads(mine)["until"])
    while time.time() < until:
        time.sleep(_TURN)
        try:
            if note.read_text() != mine:
                return  # a later drill's
        except OSError:
            return  # it is on
    subprocess.run(["docker", "start", container(host)], env=os.environ, capture_output=True, check=False)
    note.unlink(missing_ok=True)


if __name__ == "__main__":
    _keep(Path(sys.argv[1]), sys.argv[2])
