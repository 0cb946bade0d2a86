"""The lab's nodes: up, down, status. After an interruption, the next `up` or `down` finishes the work."""

from __future__ import annotations

import errno
import fcntl
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import NexusError
from . import compose, daemon, engine, keys
from . import compose_plugin as plugin
from . import node_image as image
from .compose import NODES, PROJECT, Node
from .debian_packages import Say
from .engine import Engine
from .home import home
from .releases import Releases

STATE = home() / ".nexus" / "lab-nodes"
_SETTLE = Path(__file__).parent / "node" / "settle.sh"
_MINE = f"label=com.docker.compose.project={PROJECT}"
_SSH_WAIT = 10.0  # seconds for sshd's banner, after systemd reports the end of the boot


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """A node's status. `state` is the container's state in Docker (running, exited, paused, …), or absent."""

    name: str
    state: str
    ssh: str
    cluster: str


def up(say: Say, root: Path = STATE, wanted: Releases | None = None) -> tuple[NodeStatus, ...]:
    """Brings every node up, in the state that hosts.yml expects. A complete lab does not change.

    Installs and starts what is missing, repairs stopped or removed nodes, and returns when all answer by SSH.
    wanted: which Debian they run; None: as they are. A node of another release is replaced, with all that is on it.
    """
    with _exclusive(root, say):
        docker = engine.ensure(root, say)
        plugin.ensure(docker, root, say)
        wanted = wanted or releases_there(root) or Releases()
        node = image.ensure(docker, root, say, wanted.nodes)
        spare = node if wanted.spare == wanted.nodes else image.ensure(docker, root, say, wanted.spare)
        states = _states(docker)
        keys.write(compose.compose_file(root), compose.render(node, spare))
        _start(docker, root, states, say)
        settled = _settle(docker, keys.ensure_key(root), say)
        # the host keys come from `docker exec`, not from the network: nobody can forge them
        keys.write(keys.known_hosts_file(root), keys.known_hosts(settled, keys.known_hosts_now(root)))
        image.prune(docker)
        return _report(_states(docker))


def down(say: Say, root: Path = STATE) -> None:
    """Removes nodes, volumes, network and known_hosts; stops the engine if `up` started it. Keeps the image."""
    with _exclusive(root, say):
        for path in (keys.known_hosts_file(root), compose.compose_file(root)):
            path.unlink(missing_ok=True)
        if docker := engine.find(root):
            _remove(docker, say)
            if docker.run("ps", "--quiet").strip() and daemon.our_pid(root):
                say("the Docker engine stays up: containers that are not the lab's run on it")
                return
        daemon.stop(root, say)


def status(root: Path = STATE) -> tuple[NodeStatus, ...]:
    """The status of each node, in the lab's order. Starts nothing."""
    docker = engine.find(root)
    return _report(_states(docker) if docker else {})


def releases_there(root: Path = STATE) -> Releases | None:
    """Which Debian the nodes run, by the lab's Compose file. None: there is no lab."""
    try:
        images = compose.images(compose.compose_file(root).read_text())
        return Releases(image.release_of(images["m1"]), image.release_of(images[compose.SPARE]))
    except (OSError, UnicodeError, KeyError):
        return None


def compose_command(root: Path = STATE) -> list[str]:
    """The start of a Compose command line for the lab; run it with `engine.environment(root)`."""
    return ["docker", "compose", "--project-name", PROJECT, "--file", str(compose.compose_file(root))]


@contextmanager
def _exclusive(root: Path, say: Say) -> Iterator[None]:
    """Only one lab.up or lab.down runs at a time; a second one waits."""
    root.mkdir(parents=True, exist_ok=True)
    for private in (root.parent, root):  # `.nexus` holds secrets of clusters too
        private.chmod(0o700)
    with (root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another lab.up or lab.down to end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _states(docker: Engine) -> dict[str, str]:
    """Node name -> the state of its container in Docker."""
    listed = docker.run("ps", "--all", "--filter", _MINE, "--format", "{{json .}}")
    rows = (json.loads(line) for line in listed.splitlines())
    return {str(row["Names"]).removeprefix(f"{PROJECT}-"): str(row["State"]) for row in rows}


def _report(states: dict[str, str]) -> tuple[NodeStatus, ...]:
    return tuple(NodeStatus(n.name, states.get(n.name, "absent"), n.ssh, n.cluster) for n in NODES)


def _start(docker: Engine, root: Path, states: dict[str, str], say: Say) -> None:
    missing = [node.name for node in NODES if states.get(node.name) != "running"]
    if missing:
        say(f"starting {', '.join(missing)}")
    for name in missing:
        if states.get(name) == "paused":  # Compose would try to start it, and fail
            docker.run("unpause", compose.container(name))
    arguments = (*compose_command(root)[1:], "--progress", "quiet", "up", "--detach", "--remove-orphans")
    try:
        docker.run(*arguments, timeout=300)
    except NexusError:
        _check_addresses(_states(docker))
        raise


def _settle(docker: Engine, key: str, say: Say) -> dict[str, str]:
    """Waits for every node and authorizes the key. Node name -> its public host key."""
    script = _SETTLE.read_text()

    def one(node: Node) -> tuple[str, str]:
        try:
            answer = docker.run(
                "exec", "--interactive", compose.container(node.name),
                "sh", "-s", "--", key, ",".join(node.users), stdin=script, timeout=60,
            )  # fmt: skip
        except NexusError as fault:
            hint = f"read its journal: docker exec {compose.container(node.name)} journalctl -b"
            raise NexusError(f"lab node {node.name} does not come up: {fault.message}", hint) from fault
        await_ssh(node)
        verdict, host_key = answer.strip().splitlines()
        if verdict != "running":
            say(f"{node.name} is {verdict}: some unit failed (systemctl --failed, on {node.ssh})")
        return node.name, host_key

    with ThreadPoolExecutor(len(NODES)) as pool:
        return dict(pool.map(one, NODES))


def await_ssh(node: Node) -> None:
    """Waits for sshd's banner. NexusError: none in time."""
    deadline = time.monotonic() + _SSH_WAIT
    while True:
        try:
            with socket.create_connection((node.ssh, 22), timeout=2) as link:
                if link.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise NexusError(
                f"lab node {node.name} runs, but {node.ssh}:22 does not answer as SSH",
                "is something else in the way there? ss -ltnp",
            )
        time.sleep(0.05)


def _check_addresses(states: dict[str, str]) -> None:
    """NexusError: an address of a node that did not start cannot be bound. Docker's own message says less.

    Called only after a failure: a starting node holds its ports before Docker calls it running.
    """
    for node in (node for node in NODES if states.get(node.name) != "running"):
        for port in (22, *node.publish):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((node.ssh, port))
                except OSError as fault:
                    _explain_bind_error(fault, node, port)


def _explain_bind_error(fault: OSError, node: Node, port: int) -> None:
    if fault.errno == errno.EADDRNOTAVAIL:
        hint = f"macOS wants each loopback address added: sudo ifconfig lo0 alias {node.ssh} (127.0.7.1-7)"
        raise NexusError(f"this machine has no address {node.ssh}", hint) from fault
    if fault.errno == errno.EADDRINUSE:
        hint = "see what listens (ss -ltnp); a server on 0.0.0.0 must be told to use its own address"
        problem = f"port {port} of {node.ssh}, needed by lab node {node.name}, is taken"
        raise NexusError(problem, hint) from fault
    # other errors (a low port, without root) are no fault here: the engine may be able to bind it


def _remove(docker: Engine, say: Say) -> None:
    containers = docker.run("ps", "--all", "--quiet", "--filter", _MINE).split()
    if containers:
        say("removing the lab's nodes")
        docker.run("rm", "--force", "--volumes", *containers)
    for kind in ("network", "volume"):
        if names := docker.run(kind, "ls", "--quiet", "--filter", _MINE).split():
            docker.run(kind, "rm", *names)
