"""Installs Debian packages that the lab needs on the operator's machine; reads os-release."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..core.errors import NexusError

Say = Callable[[str], None]
_OS_RELEASE = Path("/etc/os-release")


def parse_os_release(text: str) -> dict[str, str]:
    """The `KEY=value` lines of os-release(5), without quotes."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def is_debian_like(release: Mapping[str, str]) -> bool:
    """Whether apt is the system's package manager: Debian, Ubuntu, and systems derived from them (ID_LIKE)."""
    return not {"debian", "ubuntu"}.isdisjoint({release.get("ID", ""), *release.get("ID_LIKE", "").split()})


def os_release() -> dict[str, str]:
    """This machine's os-release; empty if there is none (macOS)."""
    return parse_os_release(_OS_RELEASE.read_text()) if _OS_RELEASE.is_file() else {}


def can_install() -> bool:
    """Whether `install` can work here: root on a Debian-like system."""
    return os.geteuid() == 0 and is_debian_like(os_release()) and shutil.which("apt-get") is not None


def install(packages: Sequence[str], say: Say) -> None:
    """Installs packages with apt. NexusError has the last line of apt's output."""
    say(f"installing the Debian packages: {' '.join(packages)}")
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            lines = (done.stderr or done.stdout).strip().splitlines() or ["no reason given"]
            by_hand = f"try by hand: apt-get {' '.join(command)}"
            raise NexusError(f"apt-get {command[0]} failed: {lines[-1]}", by_hand)
