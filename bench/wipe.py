"""Wipes lab hosts: they are as before their first deploy. Never part of a measured time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.targets import Target, is_loopback, ssh_argv
from fabfile.core.errors import NexusError, Refused

_SCRIPT = Path(__file__).parent / "peers" / "wipe.sh"


def wipe(targets: Iterable[Target]) -> None:
    """Wipes them in parallel. Refused for an address that is not on loopback; NexusError names the host that failed."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_wipe_one, targets))


def _wipe_one(target: Target) -> None:
    if not is_loopback(target.ssh):
        raise Refused(f"{target.name} ({target.ssh}) is no lab host: it is not wiped")
    argv = [*ssh_argv(target), *(["sudo", "-n"] if target.sudo else []), "sh", "-s"]
    done = subprocess.run(argv, input=_SCRIPT.read_bytes(), capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise NexusError(f"{target.name} could not be wiped: {lines[-1]}")
