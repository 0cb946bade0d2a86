"""Builds the image of the lab's Docker service on each worker node, from the node's busybox. No registry is needed."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..core.errors import NexusError
from . import compose, engine, keys
from .nodes import STATE

IMAGE = "nexus-lab/boxed:1"
WORKERS = ("m1", "w1", "w2")
_BUILD = f"""set -eu
systemctl start docker
docker image inspect {IMAGE} >/dev/null 2>&1 && exit 0
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
mkdir "$d/bin" "$d/www"
cp /bin/busybox "$d/bin/"
echo ok >"$d/www/health"
echo 'hello from a container' >"$d/www/index.html"
tar -C "$d" -c . | docker import \\
  --change 'CMD ["/bin/busybox", "httpd", "-f", "-p", "8081", "-h", "/www"]' - {IMAGE} >/dev/null
"""


def workers(root: Path = STATE) -> tuple[str, ...]:
    """The nodes that may run the service: also those that the cluster has grown by."""
    return (*WORKERS, *keys.pinned(keys.known_hosts_now(root)))


def ensure(nodes: Iterable[str] = WORKERS, root: Path = STATE) -> None:
    """Starts Docker on these nodes and imports the image if it is missing. NexusError: the lab does not run, or a node
    cannot run Docker."""
    docker = engine.find(root)
    if docker is None:
        raise NexusError("the lab does not run", "start it: inv lab.up")

    def build(node: str) -> None:
        docker.run("exec", "--interactive", compose.container(node), "sh", "-s", stdin=_BUILD, timeout=120)

    with ThreadPoolExecutor() as pool:
        list(pool.map(build, nodes))
