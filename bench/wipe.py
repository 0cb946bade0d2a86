"""Takes lab hosts back to the state before their first deploy: outside every measured time."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.targets import Target, is_loopback, ssh_words
from fabfile.core.errors import NexusError, Refused

_SCRIPT = Path(__file__).parent / "peers" / "wipe.sh"


def wipe(found: Iterable[Target]) -> None:
    """All of them at once. Refused for an address that is not on loopback; NexusError names the host that failed."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(_one, found))


def _one(target: Target) -> None:
    if not is_loopback(target.ssh):
        raise Refused(f"{target.name} ({target.ssh}) is no lab host: it is not wiped")
    argv = [*ssh_words(target), *(["sudo", "-n"] if target.sudo else []), "sh", "-s"]
    done = subprocess.run(argv, input=_SCRIPT.read_bytes(), capture_output=True, check=False, timeout=120)
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        raise NexusError(f"{target.name} could not be wiped: {words[-1]}")
