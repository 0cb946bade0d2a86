"""Installs another Python than the operator's on a host, and runs the agents with it. The system's Python stays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fabfile.lab.compose import container

from .conftest import Lab

OLDEST, NEWEST = 10, 15  # minor versions of Python 3 to look for
HOME = "/opt/nexus-test-python"
DROP_IN = "/run/systemd/system/{unit}.service.d/other-python.conf"
_EXCLUDED = {"test", "site-packages", "__pycache__", "idlelib", "tkinter", "share", "include"}


@dataclass(frozen=True)
class Python:
    version: str  # 3.10
    prefix: Path  # has bin/ and lib/, and nothing but this Python


def find_other_python() -> Python | None:
    """This machine's oldest Python of another version than ours. None: there is none that can be copied to a host.

    The system's Python cannot be copied: its folder has other programs as well.
    """
    ours = f"{sys.version_info[0]}.{sys.version_info[1]}"
    script = "import json, sys; print(json.dumps(['%d.%d' % sys.version_info[:2], sys.base_prefix]))"
    for program in _programs():
        try:
            done = subprocess.run([program, "-I", "-c", script], text=True, capture_output=True, timeout=20, check=True)
            version, prefix = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if version != ours and prefix not in ("/", "/usr", "/usr/local"):
            return Python(version, Path(prefix))
    return None


def _programs() -> Iterator[str]:
    folders = [str(p) for p in sorted(Path.home().glob(".pyenv/versions/*/bin"))]
    for minor in range(OLDEST, NEWEST + 1):
        for folder in (None, os.pathsep.join(folders)):
            if program := shutil.which(f"python3.{minor}", path=folder):
                yield program


def install(lab: Lab, host: str, python: Python, tmp_path: Path) -> None:
    """Copies the Python to HOME on the host. It needs LD_LIBRARY_PATH to find its libraries."""
    packed = tmp_path / "python.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(python.prefix, HOME[1:], filter=lambda e: None if Path(e.name).name in _EXCLUDED else e)
    with packed.open("rb") as source:
        subprocess.run(["docker", "cp", "-", f"{container(host)}:/"], stdin=source, check=True, capture_output=True)
    assert lab.run(host, f"LD_LIBRARY_PATH={HOME}/lib {HOME}/bin/python{python.version} -I --version").startswith(
        f"Python {python.version}."
    )


def run_unit_with(lab: Lab, host: str, unit: str, python: Python) -> None:
    """Restarts the unit with this Python, with its own arguments and sandbox. `restore` ends this."""
    lines = lab.run(host, f"systemctl cat {unit}").splitlines()
    [exec_start] = [line for line in lines if line.startswith("ExecStart=")]
    arguments = exec_start.removeprefix("ExecStart=/usr/bin/python3 ")
    assert arguments != exec_start
    text = (
        f"[Service]\nEnvironment=LD_LIBRARY_PATH={HOME}/lib\n"
        f"ExecStart=\nExecStart={HOME}/bin/python{python.version} {arguments}\n"
    )
    path = Path(DROP_IN.format(unit=unit))
    lab.run(host, f"mkdir -p {path.parent} && cat >{path}", stdin=text)
    lab.run(host, f"systemctl daemon-reload && systemctl restart {unit}")
    assert lab.run(host, f"readlink /proc/$(systemctl show -P MainPID {unit})/exe").startswith(HOME)


def restore(lab: Lab, host: str, *units: str) -> None:
    """Restarts the units with the system's Python, and removes ours."""
    paths = " ".join(DROP_IN.format(unit=unit) for unit in units)
    lab.run(host, f"rm -f {paths}; systemctl daemon-reload; systemctl restart {' '.join(units)}; rm -rf {HOME}")

