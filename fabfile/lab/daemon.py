"""Starts and stops the Docker daemon: with systemctl, or detached on machines without systemd. Stops only our own."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from ..core.errors import NexusError
from .debian_packages import Say

_START_TIMEOUT = 60.0  # seconds; a small machine needs 2 to 8
_STOP_TIMEOUT = 30.0  # seconds
# Docker's default ranges may be somebody's real network; this range is reserved for tests (RFC 2544)
_BRIDGE = ("--bip", "198.18.0.1/24", "--default-address-pool", "base=198.18.128.0/17,size=24")


def log_file(root: Path) -> Path:
    return root / "dockerd.log"


def _pid_file(root: Path) -> Path:
    return root / "dockerd.pid"


def our_pid(root: Path) -> int | None:
    """The PID of the dockerd that was started for this state folder; None when it does not run."""
    try:
        pid = int(_pid_file(root).read_text())
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, IndexError):
        return None
    # another program may have the PID by now: only a dockerd with this very pid file as argument is ours
    is_ours = os.path.basename(argv[0]) == b"dockerd" and os.fsencode(_pid_file(root)) in argv
    return pid if is_ours and state != "Z" else None


def start(root: Path, say: Say, answers: Callable[[], bool]) -> None:
    """Starts the engine and waits until `answers` is true. NexusError has the last line of its log."""
    if Path("/run/systemd/system").is_dir():
        say("starting Docker (systemctl start docker)")
        done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NexusError(f"Docker does not start: {done.stderr.strip()}", "journalctl -u docker")
    elif our_pid(root) is None:
        say("starting the Docker engine")
        _spawn(root)
    began = time.monotonic()
    while not answers():
        waited = time.monotonic() - began
        # dockerd writes its pid file at once: no pid file after two seconds means that it died
        dead = waited > 2 and not Path("/run/systemd/system").is_dir() and our_pid(root) is None
        if dead or waited > _START_TIMEOUT:
            raise NexusError(f"Docker did not come up: {_last_log_line(root)}", f"read {log_file(root)}")
        time.sleep(0.1)


def stop(root: Path, say: Say) -> None:
    """Stops our dockerd, if it runs; its containerd ends with it. NexusError: it did not end within 30 s."""
    pid = our_pid(root)
    if pid is None:
        return
    say("stopping the Docker engine that lab.up started")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT
    while our_pid(root) is not None:
        if time.monotonic() > deadline:
            raise NexusError(f"dockerd ({pid}) did not stop in {_STOP_TIMEOUT:.0f} s", f"read {log_file(root)}")
        time.sleep(0.05)
    _pid_file(root).unlink(missing_ok=True)


def _spawn(root: Path) -> None:
    _pid_file(root).unlink(missing_ok=True)  # dockerd does not start if the pid file of a dead one exists
    with log_file(root).open("wb") as log:
        subprocess.Popen(
            ["dockerd", "--pidfile", str(_pid_file(root)), *_BRIDGE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,  # Ctrl-C at the operator's terminal must not reach it
        )


def _last_log_line(root: Path) -> str:
    try:
        lines = log_file(root).read_text(errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it left no log"
