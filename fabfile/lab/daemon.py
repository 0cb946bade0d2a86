"""dockerd by hand: for machines without systemd, started detached, and stopped only if it is ours."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..core.errors import NexusError
from .debian_packages import Say

_START = 60.0  # seconds; 2 to 8 on a small machine
_STOP = 30.0
# Docker's own choice for its networks may be a real network of somebody's; this range is for tests (RFC 2544)
_BRIDGE = ("--bip", "198.18.0.1/24", "--default-address-pool", "base=198.18.128.0/17,size=24")


def log_file(root: Path) -> Path:
    return root / "dockerd.log"


def _pid_file(root: Path) -> Path:
    return root / "dockerd.pid"


def ours(root: Path) -> int | None:
    """The process of the dockerd that was started for this state folder, or None where it does not run."""
    try:
        pid = int(_pid_file(root).read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    # a pid may have gone to another program since: only a dockerd that was given this very file is ours
    named = os.path.basename(argv[0]) == b"dockerd" and os.fsencode(_pid_file(root)) in argv
    return pid if named and state != "Z" else None


def start(root: Path, say: Say, answers: Callable[[], bool]) -> None:
    """Start the engine and wait until `answers`. NexusError bears the last line of its log."""
    if Path("/run/systemd/system").is_dir():
        say("starting Docker (systemctl start docker)")
        done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NexusError(f"Docker does not start: {done.stderr.strip()}", "journalctl -u docker")
    elif ours(root) is None:
        say("starting the Docker engine")
        _spawn(root)
    begun = time.monotonic()
    while not answers():
        waited = time.monotonic() - begun
        # dockerd writes its pid file within its first moments, so one second of none is a dockerd that died
        dead = waited > 2 and not Path("/run/systemd/system").is_dir() and ours(root) is None
        if dead or waited > _START:
            raise NexusError(f"Docker did not come up: {_last_words(root)}", f"read {log_file(root)}")
        time.sleep(0.1)


def stop(root: Path, say: Say) -> None:
    """Stop our dockerd, if it runs; containerd goes with it. NexusError: it did not end in 30 s."""
    pid = ours(root)
    if pid is None:
        return
    say("stopping the Docker engine that lab.up started")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP
    while ours(root) is not None:
        if time.monotonic() > deadline:
            raise NexusError(f"dockerd ({pid}) did not stop in {_STOP:.0f} s", f"read {log_file(root)}")
        time.sleep(0.05)
    _pid_file(root).unlink(missing_ok=True)


def _spawn(root: Path) -> None:
    _pid_file(root).unlink(missing_ok=True)  # dockerd refuses to start over the file of a dead one
    with log_file(root).open("wb") as log:
        subprocess.Popen(
            ["dockerd", "--pidfile", str(_pid_file(root)), *_BRIDGE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,  # a Ctrl-C at the operator's terminal is not meant for it
        )


def _last_words(root: Path) -> str:
    try:
        lines = log_file(root).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it left no log"
