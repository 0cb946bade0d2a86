"""Every shell script of the project: the linter, and the manners that keep a half-sent script from running."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT
from tests.support.script_host import SHELLS

LEFT_OUT = {".git", ".venv", ".nexus", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}


def scripts() -> list[Path]:
    found = [ROOT / "inv", *([ROOT / ".ci/run"] if (ROOT / ".ci/run").is_file() else [])]
    for folder, dirs, files in os.walk(ROOT):
        dirs[:] = [d for d in dirs if d not in LEFT_OUT and not (Path(folder, d) / "pyvenv.cfg").exists()]
        found += [Path(folder, name) for name in files if name.endswith(".sh")]
    return sorted(found)


SCRIPTS = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in scripts()]
HOUSE = [p for p in SCRIPTS if p.id != ".ci/run"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_shellcheck_is_content(script: Path) -> None:
    """shellcheck, as requirements.lock brings it beside the interpreter, has nothing to say about the script."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("shellcheck", path=places)
    assert program is not None
    done = subprocess.run([program, script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("", 0)


@pytest.mark.parametrize("script", HOUSE)
def test_scripts_are_posix_strict_and_run_from_their_last_line(script: Path) -> None:
    """`#!/bin/sh`, `set -eu` before any other command, and `main "$@"` last, so that a cut-off script runs nothing."""
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert next(line for line in lines if line and not line.startswith("#")) == "set -eu"
    assert lines[-1] == 'main "$@"'


@pytest.mark.parametrize("script", HOUSE)
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_can_read_the_script(script: Path, shell: str) -> None:
    """The script is free of syntax that one of the usual shells does not know."""
    assert subprocess.run([shell, "-n", script], capture_output=True, check=False).returncode == 0
