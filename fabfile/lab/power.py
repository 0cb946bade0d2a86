"""The power of the lab's nodes: off as if the plug were pulled, and on again.

`arm` starts a separate process that restores the power at a set time, as a server's remote management would. It
outlives the operator's process. Its task is in a file, so that `chaos.heal` can restore the power earlier.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ..core.errors import HostError, NexusError
from . import engine, keys
from .compose import NODES, container
from .engine import Engine
from .nodes import STATE, await_ssh

# A file of its own, without imports of ours: `python -m` would take any random.py beside hosts.yml for Python's own.
_RESTORER = Path(__file__).with_name("restore_power.py")


class LabPower:
    """Switches nodes, which have their hosts' names, off and on. HostError: the engine failed to do it."""

    def __init__(self, docker: Engine, root: Path = STATE) -> None:
        self._docker, self._root = docker, root

    def arm(self, host: str, seconds: int) -> None:
        """The node starts again after this many seconds, even if this process ends."""
        order = _order_file(self._root, host)
        order.parent.mkdir(mode=0o700, exist_ok=True)
        keys.write(order, json.dumps({"host": host, "until": time.time() + seconds}))
        argv = [sys.executable, "-I", str(_RESTORER), str(order), container(host)]
        subprocess.Popen(argv, cwd="/", env=dict(self._docker.env), start_new_session=True, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip

    def off(self, host: str) -> None:
        self._do(host, "kill")

    def start(self, host: str) -> None:
        """Repeatable. Does not wait for the boot."""
        self._do(host, "start")

    def on(self, host: str) -> None:
        """Starts the node and returns when SSH answers."""
        self.start(host)
        try:
            await_ssh(next(node for node in NODES if node.name == host))
        except NexusError as error:
            raise HostError(host, error.message) from error
        _order_file(self._root, host).unlink(missing_ok=True)

    def left(self) -> dict[str, float]:
        """Hosts without power, or that may still lose it -> seconds until they get it back."""
        seconds = {}
        for file in sorted(_order_file(self._root, "").parent.glob("*.json")):
            with suppress(OSError, ValueError, KeyError):
                order = json.loads(file.read_text())
                seconds[str(order["host"])] = float(order["until"]) - time.time()
        return seconds

    def _do(self, host: str, verb: str) -> None:
        try:
            self._docker.run(verb, container(host))
        except NexusError as error:
            raise HostError(host, error.message, "./inv lab.up repairs the lab") from error


def is_node(name: str, ssh: str) -> bool:
    """Whether the host is a node of the lab: by its name and its SSH address."""
    return any((node.name, node.ssh) == (name, ssh) for node in NODES)


def power_of(hosts: Iterable[tuple[str, str]], root: Path = STATE) -> LabPower | None:
    """The lab's power, if all of these (name, SSH address) are its nodes; None for real hosts."""
    docker = engine.find(root) if all(is_node(*host) for host in hosts) else None
    return LabPower(docker, root) if docker else None


def _order_file(root: Path, host: str) -> Path:
    """Says when the host gets its power back."""
    return root / "power" / f"{host}.json"
