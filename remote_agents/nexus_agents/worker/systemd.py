"""systemd and the files of our units: the worker's hands. Nothing here decides."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ..shared.atomic_files import write
from ..shared.kv_schema import unit_name
from .instance_steps import Unit
from .instance_units import ENV, FOLDER, env_path, env_text, revision_of, unit_text

_GLOB = unit_name("*")
_PROPERTIES = "Id,ActiveState,NRestarts,MainPID,CPUUsageNSec"
UNFINISHED = "unfinished"  # the revision of a unit whose last start was cut off: no spec has it
_ABSENT = (1 << 64) - 1  # systemd's way of saying that it does not measure


class SystemdError(Exception):
    """systemd did not answer: nobody knows what runs."""


def systemctl(*words: str, timeout: float = 60.0) -> str:
    """Its output; a failure is told by the state that the unit is in afterwards. SystemdError where that is asked."""
    try:
        done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError) as error:
        if words[0] == "show":
            raise SystemdError(str(error)) from error
        return ""
    if words[0] == "show" and done.returncode != 0:
        raise SystemdError(done.stderr.strip())
    return done.stdout


def units() -> tuple[dict[str, Unit], dict[str, int]]:
    """Service -> unit, and service -> CPU time in ns (-1: not measured): those that run, and those with a file of ours."""
    found: dict[str, Unit] = {}
    cpu: dict[str, int] = {}
    for path in Path(FOLDER).glob(_GLOB):
        name = _service(path.name)
        with contextlib.suppress(FileNotFoundError):  # a stop that goes on beside us has taken it away
            revision = revision_of(path.read_text(encoding="utf-8", errors="replace"))
            found[name] = Unit(UNFINISHED if os.path.exists(_mark(name)) else revision, "inactive")
    for block in systemctl("show", "--property", _PROPERTIES, _GLOB).split("\n\n"):
        said = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" not in said:
            continue
        name = _service(said["Id"])
        known = found.get(name)
        found[name] = Unit(
            known.revision if known else None, said["ActiveState"], int(said["NRestarts"]), int(said["MainPID"])
        )
        used = said.get("CPUUsageNSec", "")
        cpu[name] = int(used) if used.isdecimal() and int(used) != _ABSENT else -1
    return found, cpu


def _service(unit: str) -> str:
    return unit.removeprefix(unit_name("*").partition("*")[0]).removesuffix(".service")


def start(spec: dict[str, Any], host: str) -> None:
    """Writes the unit as this spec wants it and starts it, or restarts it where it runs.

    Cut off in between, the file would bear the new revision and the process still be the old one: a mark tells that.
    """
    name = spec["name"]
    os.makedirs(ENV, mode=0o700, exist_ok=True)
    write(_mark(name), "", 0o600)
    write(env_path(name), env_text(spec, host), 0o600)
    write(f"{FOLDER}/{unit_name(name)}", unit_text(spec), 0o644)
    systemctl("daemon-reload")
    systemctl("reset-failed", unit_name(name))
    systemctl("restart", "--no-block", unit_name(name))
    os.unlink(_mark(name))


def _mark(service: str) -> str:
    return f"{ENV}/{service}.starting"


def stop(service: str, timeout: float) -> None:
    """Stops it and takes its unit away."""
    unit = unit_name(service)
    systemctl("stop", unit, timeout=timeout)
    for path in (f"{FOLDER}/{unit}", env_path(service), _mark(service)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    systemctl("daemon-reload")
    systemctl("reset-failed", unit)


def pause(service: str) -> None:
    systemctl("stop", "--no-block", unit_name(service))


def kill(service: str) -> None:
    """What hangs need not be asked: systemd starts it again at once."""
    systemctl("kill", "--signal=KILL", unit_name(service))


def host_is_stopping() -> bool:
    return systemctl("is-system-running").strip() == "stopping"
