"""The Docker engine of the lab: the running one, or one that we start and later stop.

The operator's Docker settings never change: every call uses the lab's own DOCKER_CONFIG. The operator still chooses the
engine: DOCKER_HOST, else the current context, else the default one.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import NexusError
from ..edge.disk.paths import home_folder
from . import daemon
from . import debian_packages as packages
from .debian_packages import Say

_MANUAL = "https://docs.docker.com/engine/install/"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that answers. `env`: the environment of each docker call; `arch`: the engine's architecture."""

    env: Mapping[str, str]
    arch: str

    def run(self, *args: str, stdin: str = "", timeout: float = 120) -> str:
        """stdout of `docker ARGS`, within `timeout` seconds. NexusError has docker's message."""
        try:
            done = subprocess.run(
                ["docker", *args],
                env=self.env,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired as fault:
            problem = f"docker {args[0]} did not end in {timeout:.0f} s"
            raise NexusError(problem, "is the engine well? docker info") from fault
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise NexusError(f"docker {args[0]}: {lines[-1]}")
        return done.stdout


def environment(root: Path) -> dict[str, str]:
    """The environment in which `docker` and `docker compose` see the lab with state folder `root`.

    Reads the operator's current context, because it may name another socket (rootless, Docker Desktop).
    """
    env = {**os.environ, "DOCKER_CONFIG": str(root / "docker")}
    if not env.get("DOCKER_HOST") and (host := _context_host(operator_config())):
        env["DOCKER_HOST"] = host
    env.pop("DOCKER_CONTEXT", None)  # docker would look for the context in the lab's own, empty folder
    return env


def operator_config() -> Path:
    """The folder of the operator's own Docker settings."""
    return Path(os.environ.get("DOCKER_CONFIG") or home_folder(os.environ) / ".docker")


def find(root: Path) -> Engine | None:
    """The engine that answers now, or None. Starts nothing."""
    if shutil.which("docker") is None:
        return None
    env = environment(root)
    info = _info(env)
    return Engine(env, info["Architecture"]) if info else None


def ensure(root: Path, say: Say) -> Engine:
    """The engine that answers; starts or installs it if necessary. NexusError: no engine can be started here."""
    if engine := find(root):
        return engine
    _refuse_if_not_startable(environment(root))
    if packages.can_install() and not (shutil.which("dockerd") and shutil.which("docker")):
        packages.install(["docker.io"], say)
        if engine := find(root):  # under systemd the package starts it
            return engine
    daemon.start(root, say, lambda: find(root) is not None)
    engine = find(root)
    if engine is None:
        raise NexusError("Docker was started and went away again", f"read {daemon.log_file(root)}")
    return engine


def _refuse_if_not_startable(env: Mapping[str, str]) -> None:
    """NexusError: we may not start an engine here. It is remote, or we are not root, or cannot install one."""
    if env.get("DOCKER_HOST"):
        raise NexusError(
            f"no Docker engine answers at {env['DOCKER_HOST']}",
            "start it, or unset DOCKER_HOST (or `docker context use default`) for this machine's own engine",
        )
    if os.geteuid() != 0:
        if shutil.which("docker") and "permission denied" in _docker_error(env):
            raise NexusError(
                "you may not use this machine's Docker engine",
                "join its group: sudo usermod -aG docker $USER, then log in again",
            )
        raise NexusError(
            "no Docker engine answers, and the lab is made of containers",
            f"install and start Docker ({_MANUAL}), or run this as root on Debian or Ubuntu",
        )
    if not packages.can_install() and shutil.which("dockerd") is None:
        raise NexusError(
            "no Docker engine is installed here, and only on Debian or Ubuntu can one be installed for you",
            f"install and start Docker: {_MANUAL}",
        )


def _info(env: Mapping[str, str]) -> dict[str, str] | None:
    done = subprocess.run(
        ["docker", "info", "--format", "{{json .}}"], env=env, capture_output=True, text=True, check=False
    )
    # without an engine, older clients exit 0 and list the errors in their answer
    if done.returncode != 0 or not done.stdout.strip():
        return None
    info = json.loads(done.stdout)
    return None if info.get("ServerErrors") or not info.get("Architecture") else dict(info)


def _docker_error(env: Mapping[str, str]) -> str:
    return subprocess.run(["docker", "ps"], env=env, capture_output=True, text=True, check=False).stderr


def _context_host(config: Path) -> str:
    """The endpoint of the operator's current Docker context; empty for the default one."""
    name = os.environ.get("DOCKER_CONTEXT")
    if not name:
        try:
            name = json.loads((config / "config.json").read_text()).get("currentContext")
        except (OSError, ValueError, AttributeError, RecursionError):  # not Docker's own
            return ""
    if not isinstance(name, str) or not name or name == "default":
        return ""
    done = subprocess.run(
        ["docker", "context", "inspect", name, "--format", "{{.Endpoints.docker.Host}}"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()
