"""Another Python than the operator's, put on a host and under its agents; the system's own stays as it is."""

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

OLDEST, NEWEST = 10, 15  # minor versions that are looked for
HOME = "/opt/nexus-test-python"
DROP_IN = "/run/systemd/system/{unit}.service.d/other-python.conf"
_LEFT_OUT = {"test", "site-packages", "__pycache__", "idlelib", "tkinter", "share", "include"}


@dataclass(frozen=True)
class Python:
    version: str  # 3.10
    prefix: Path  # that holds bin/ and lib/, and nothing but this Python


def another() -> Python | None:
    """The oldest that the machine has besides the operator's own, if its folder can be moved: the system's cannot."""
    mine = f"{sys.version_info[0]}.{sys.version_info[1]}"
    asked = "import json, sys; print(json.dumps(['%d.%d' % sys.version_info[:2], sys.base_prefix]))"
    for program in _programs():
        try:
            said = subprocess.run([program, "-I", "-c", asked], text=True, capture_output=True, timeout=20, check=True)
            version, prefix = json.loads(said.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        if version != mine and prefix not in ("/", "/usr", "/usr/local"):
            return Python(version, Path(prefix))
    return None


def _programs() -> Iterator[str]:
    folders = [str(p) for p in sorted(Path.home().glob(".pyenv/versions/*/bin"))]
    for minor in range(OLDEST, NEWEST + 1):
        for folder in (None, os.pathsep.join(folders)):
            if found := shutil.which(f"python3.{minor}", path=folder):
                yield found


def place(lab: Lab, host: str, python: Python, tmp_path: Path) -> None:
    """Puts it to HOME on the host; its libraries are found by LD_LIBRARY_PATH."""
    packed = tmp_path / "python.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(python.prefix, HOME[1:], filter=lambda e: None if Path(e.name).name in _LEFT_OUT else e)
    with packed.open("rb") as source:
        subprocess.run(["docker", "cp", "-", f"{container(host)}:/"], stdin=source, check=True, capture_output=True)
    assert lab.on(host, f"LD_LIBRARY_PATH={HOME}/lib {HOME}/bin/python{python.version} -I --version").startswith(
        f"Python {python.version}."
    )


def run_under(lab: Lab, host: str, unit: str, python: Python) -> None:
    """The unit's own command line, by that Python, in the unit's own confinement; until `back` is called."""
    [own] = [line for line in lab.on(host, f"systemctl cat {unit}").splitlines() if line.startswith("ExecStart=")]
    words = own.removeprefix("ExecStart=/usr/bin/python3 ")
    assert words != own
    text = (
        f"[Service]\nEnvironment=LD_LIBRARY_PATH={HOME}/lib\n"
        f"ExecStart=\nExecStart={HOME}/bin/python{python.version} {words}\n"
    )
    path = Path(DROP_IN.format(unit=unit))
    lab.on(host, f"mkdir -p {path.parent} && cat >{path}", stdin=text)
    lab.on(host, f"systemctl daemon-reload && systemctl restart {unit}")
    assert lab.on(host, f"readlink /proc/$(systemctl show -P MainPID {unit})/exe").startswith(HOME)


def back(lab: Lab, host: str, *units: str) -> None:
    """As it was, the files gone."""
    paths = " ".join(DROP_IN.format(unit=unit) for unit in units)
    lab.on(host, f"rm -f {paths}; systemctl daemon-reload; systemctl restart {' '.join(units)}; rm -rf {HOME}")

