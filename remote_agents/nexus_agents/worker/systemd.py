"""Calls systemctl, and writes and removes the files of our units. It decides nothing."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import Any

from ..shared.atomic_files import write_atomically
from ..shared.kv_schema import unit_name
from .image_pulls import UNIT_PREFIX, Pull, image_of, pull_output, pull_text, pull_unit, read_pull
from .instance_steps import Unit
from .instance_units import ENV, FOLDER, env_path, env_text, revision_of, unit_text

_GLOB = unit_name("*")
_PROPERTIES = "Id,ActiveState,NRestarts,MainPID,CPUUsageNSec"
_NOT_MEASURED = (1 << 64) - 1  # systemd's CPUUsageNSec where it has no value
UNFINISHED = "unfinished"  # the revision of a unit whose last start was interrupted: no spec has it


class SystemdError(Exception):
    """systemd did not answer: it is unknown what runs."""


def systemctl(*args: str, timeout: float = 60.0) -> str:
    """Its output. SystemdError where `show` fails; a failure of any other verb shows in the unit's state afterwards."""
    try:
        done = subprocess.run(["systemctl", *args], capture_output=True, text=True, check=False, timeout=timeout)
    except (subprocess.TimeoutExpired, OSError) as error:
        if args[0] == "show":
            raise SystemdError(str(error)) from error
        return ""
    if args[0] == "show" and done.returncode != 0:
        raise SystemdError(done.stderr.strip())
    return done.stdout


def units() -> tuple[dict[str, Unit], dict[str, int]]:
    """Service -> unit, and service -> CPU time in ns (-1: not measured). SystemdError.

    Of the units that are loaded, and of those that have a file of ours.
    """
    found: dict[str, Unit] = {}
    cpu_times: dict[str, int] = {}
    for path in Path(FOLDER).glob(_GLOB):
        name = _service_name(path.name)
        with contextlib.suppress(FileNotFoundError):  # a stop in another thread has just removed it
            revision = revision_of(path.read_text(encoding="utf-8", errors="replace"))
            found[name] = Unit(UNFINISHED if os.path.exists(_start_marker(name)) else revision, "inactive")
    for block in systemctl("show", "--property", _PROPERTIES, _GLOB).split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" not in properties:
            continue
        name = _service_name(properties["Id"])
        found[name] = Unit(
            found[name].revision if name in found else None,
            properties["ActiveState"], int(properties["NRestarts"]), int(properties["MainPID"]),
        )  # fmt: skip
        cpu_time = properties.get("CPUUsageNSec", "")
        cpu_times[name] = int(cpu_time) if cpu_time.isdecimal() and int(cpu_time) != _NOT_MEASURED else -1
    return found, cpu_times


def pulls() -> dict[str, Pull]:
    """Service -> the pull of its image, where one is under way or done. SystemdError."""
    images: dict[str, str] = {}
    for path in Path(FOLDER).glob(pull_unit("*")):
        with contextlib.suppress(FileNotFoundError):
            images[path.name] = image_of(path.read_text(encoding="utf-8", errors="replace"))
    if not images:  # nearly always: no process for it
        return {}
    found = {}
    for block in systemctl("show", "--property", "Id,ActiveState,SubState,Result", *images).split("\n\n"):
        properties = dict(line.partition("=")[::2] for line in block.splitlines())
        unit = properties.get("Id", "")
        service = unit.removeprefix(UNIT_PREFIX).removesuffix(".service")
        if unit in images and (pull := read_pull(images[unit], properties, _read(pull_output(service)))):
            found[service] = pull
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def start_pull(spec: dict[str, Any]) -> None:
    """Starts the unit that pulls the spec's image; instead of one that pulls another image."""
    name = spec["name"]
    os.makedirs(ENV, mode=0o700, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(pull_output(name))
    write_atomically(f"{FOLDER}/{pull_unit(name)}", pull_text(spec), 0o644)
    systemctl("daemon-reload")
    systemctl("reset-failed", pull_unit(name))
    systemctl("restart", "--no-block", pull_unit(name))


def end_pull(service: str) -> None:
    """Removes the pull's unit. One that is under way ends: Docker stops pulling when its client goes."""
    systemctl("stop", "--no-block", pull_unit(service))
    for path in (f"{FOLDER}/{pull_unit(service)}", pull_output(service)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _service_name(unit: str) -> str:
    return unit.removeprefix(unit_name("*").partition("*")[0]).removesuffix(".service")


def start(spec: dict[str, Any], host: str) -> None:
    """Writes the unit of this spec and starts it; restarts it where it runs.

    Interrupted in between, the unit file has the new revision while the old process still runs; a marker shows that.
    """
    name = spec["name"]
    os.makedirs(ENV, mode=0o700, exist_ok=True)
    write_atomically(_start_marker(name), "", 0o600)
    write_atomically(env_path(name), env_text(spec, host), 0o600)
    write_atomically(f"{FOLDER}/{unit_name(name)}", unit_text(spec), 0o644)
    systemctl("daemon-reload")
    systemctl("reset-failed", unit_name(name))
    systemctl("restart", "--no-block", unit_name(name))
    os.unlink(_start_marker(name))


def _start_marker(service: str) -> str:
    return f"{ENV}/{service}.starting"


def stop(service: str, timeout: float) -> None:
    """Stops the instance and removes its unit. `timeout`: seconds for the stop."""
    unit = unit_name(service)
    systemctl("stop", unit, timeout=timeout)
    for path in (f"{FOLDER}/{unit}", env_path(service), _start_marker(service)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    systemctl("daemon-reload")
    systemctl("reset-failed", unit)


def pause(service: str) -> None:
    systemctl("stop", "--no-block", unit_name(service))


def kill(service: str) -> None:
    """SIGKILL, as a hung process ignores any other signal; systemd restarts it at once."""
    systemctl("kill", "--signal=KILL", unit_name(service))


def host_is_stopping() -> bool:
    return systemctl("is-system-running").strip() == "stopping"
