"""./inv in a copy of the tree: what it does on a machine that is ready, and what it says on one that is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT

# What the launcher may count on, and nothing more: no Python, no apt-get.
TOOLS = ("sh", "dirname", "cmp", "flock", "id", "rm", "cp", "mv", "mkdir", "chmod", "cat")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree without a .venv, in a folder whose name has a blank."""
    target = tmp_path / "nexus ops"
    target.mkdir()
    for name in ("inv", "tasks.py", "requirements.lock", "hosts.yml"):
        shutil.copy2(ROOT / name, target / name)
    for name in ("fabfile", "remote_agents", "templates"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder for PATH with the usual tools and no Python."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        if found:
            (folder / name).symlink_to(found)
    return folder


def make_ready(copy: Path) -> None:
    """A .venv as a finished first run leaves it, with this very Python in it."""
    (copy / ".venv/bin").mkdir(parents=True)
    program(copy / ".venv/bin/python", f'exec {sys.executable} "$@"')
    shutil.copy(copy / "requirements.lock", copy / ".venv/.stamp")


def program(path: Path, body: str) -> None:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def inv(copy: Path, *words: str, path: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path) if path else os.environ["PATH"], "HOME": str(copy), "LANG": "C.UTF-8"}
    return subprocess.run(
        [copy / "inv", *words], cwd=cwd or copy, env=env, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def test_help_and_list_work_and_the_launcher_is_silent(copy: Path, tmp_path: Path) -> None:
    """With .venv in place, invoke answers from any folder, and the launcher adds no word and no file."""
    make_ready(copy)
    done = inv(copy, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: inv" in done.stdout
    listed = inv(copy, "--list", cwd=tmp_path)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert " deploy " in listed.stdout
    assert inv(copy, cwd=tmp_path).stdout == listed.stdout
    assert not (copy / ".venv.lock").exists()


def test_words_reach_invoke_as_they_are(copy: Path) -> None:
    """Arguments with blanks, quotes and globs are passed on untouched, behind the search root."""
    make_ready(copy)
    program(copy / ".venv/bin/python", "printf '%s\\n' \"$@\"; exit 7")
    done = inv(copy, "a b", "*", "", "it's")
    assert done.stdout.splitlines() == ["-m", "invoke", "--search-root", str(copy), "a b", "*", "", "it's"]
    assert done.returncode == 7


def test_without_python_it_says_so(copy: Path, bare: Path) -> None:
    """On a machine without Python it ends with one line and a hint, and leaves no half .venv."""
    done = inv(copy, "--help", path=bare)
    assert (done.returncode, done.stdout) == (1, "")
    assert "inv: Python 3.10 or newer was not found\nhint: " in done.stderr
    assert "NEXUS_PYTHON=" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (copy / ".venv").exists()


def test_an_old_python_is_none(copy: Path, bare: Path) -> None:
    """A Python below 3.10 is passed over like none."""
    program(bare / "python3", "exit 1")
    done = inv(copy, "--help", path=bare)
    assert done.returncode == 1
    assert "Python 3.10 or newer was not found" in done.stderr


PRETENDER = """
case "$*" in
  *version_info*) exit 0 ;;
  -V) echo 'Python 3.12.0' ;;
  "-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
  "-m pip "*) PIP ;;
  *) printf 'ran %s\\n' "$*" ;;
esac
"""


def test_a_first_run_is_told_and_stamped(copy: Path, bare: Path) -> None:
    """The first run says what it does, installs from the lock, and the next one is silent."""
    program(bare / "python3", PRETENDER.replace("PIP", "exit 0"))
    first = inv(copy, "plan", path=bare)
    assert (first.returncode, first.stdout) == (0, f"ran -m invoke --search-root {copy} plan\n")
    assert "making .venv with Python 3.12.0" in first.stderr
    assert (copy / ".venv/.stamp").read_bytes() == (copy / "requirements.lock").read_bytes()
    second = inv(copy, "plan", path=bare)
    assert (second.stdout, second.stderr) == (first.stdout, "")


def test_a_broken_first_run_is_redone(copy: Path, bare: Path) -> None:
    """When the packages cannot be had, it says so, nothing is stamped, and the next run begins anew."""
    program(bare / "python3", PRETENDER.replace("PIP", "exit 1"))
    done = inv(copy, "plan", path=bare)
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not be installed" in done.stderr
    assert "run ./inv again" in done.stderr
    assert not (copy / ".venv/.stamp").exists()
    program(bare / "python3", PRETENDER.replace("PIP", "exit 0"))
    assert inv(copy, "plan", path=bare).returncode == 0


def test_a_changed_lock_makes_the_environment_anew(copy: Path, bare: Path) -> None:
    """An environment of other pinned packages is not used."""
    program(bare / "python3", PRETENDER.replace("PIP", "exit 0"))
    inv(copy, "plan", path=bare)
    (copy / ".venv/old").touch()
    (copy / "requirements.lock").write_text("# other\n")
    assert "making .venv" in inv(copy, "plan", path=bare).stderr
    assert not (copy / ".venv/old").exists()
