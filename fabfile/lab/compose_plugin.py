"""Finds or installs the Compose v2 plugin: the operator's own, or a pinned one in the lab's plugin folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from ..core.errors import ArtifactError, NexusError
from ..edge.artifacts import debian
from . import debian_packages as packages
from .debian_packages import Say
from .engine import Engine, operator_config

# Debian trixie's docker-compose 2.26.1-4: paths and sums from Debian's Packages index. Needs libc6 >= 2.34.
_POOL = "pool/main/d/docker-compose/docker-compose_2.26.1-4_{arch}.deb"
_PINS = {
    "amd64": "47681197cb2b1ab88206b42a1a92fc75f50d9530a6322d03494a473eed0408ea",
    "arm64": "bbafaa666f3e7fa00ad36f2a8bab889f1c791ca8743d674e7267a3d07203869c",
}
_MEMBER = "usr/libexec/docker/cli-plugins/docker-compose"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def ensure(engine: Engine, root: Path, say: Say) -> None:
    """Makes `docker compose` work with the lab's settings. NexusError: no plugin can be installed here."""
    plugin = root / "docker" / "cli-plugins" / "docker-compose"
    if os.access(plugin, os.X_OK) or _works(engine):
        return
    operators = operator_config() / "cli-plugins" / "docker-compose"
    # Docker Desktop's place for it; with our DOCKER_CONFIG docker does not look there
    if os.access(operators, os.X_OK):
        plugin.parent.mkdir(parents=True, exist_ok=True)
        plugin.unlink(missing_ok=True)
        plugin.symlink_to(operators)
        return
    _install(plugin, say)
    if not _works(engine):
        raise NexusError("the Compose plugin does not run here", "install Compose v2 and try again")


def _install(plugin: Path, say: Say) -> None:
    arch = _ARCHITECTURES.get(os.uname().machine, "")
    hint = "install Compose v2: https://docs.docker.com/compose/install/"
    if arch not in _PINS or not packages.is_debian_like(packages.os_release()):
        raise NexusError("docker has no Compose v2 plugin (`docker compose version` fails)", hint)
    say("fetching the Compose plugin from the apt mirror")
    try:
        deb = debian.fetch_deb(_POOL.format(arch=arch), _PINS[arch], plugin.parents[2] / "docker-compose.deb")
        debian.unpack(deb, _MEMBER, plugin)
        deb.unlink()
    except ArtifactError as fault:
        # Ubuntu's mirrors do not have Debian's pool, but Ubuntu has its own package
        if packages.os_release().get("ID") != "ubuntu" or not packages.can_install():
            raise NexusError(f"the Compose v2 plugin could not be fetched: {fault.message}", hint) from fault
        packages.install(["docker-compose-v2"], say)


def _works(engine: Engine) -> bool:
    argv = ["docker", "compose", "version"]
    return subprocess.run(argv, env=engine.env, capture_output=True, check=False).returncode == 0
