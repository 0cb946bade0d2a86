"""remote_agents/install-docker.sh under each shell, with an apt-get that only says what the real one would."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.script_host import SHELLS
from tests.support.stand_ins import script_file

pytestmark = pytest.mark.parametrize("shell", SHELLS)
LOCKED = "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)"
APT = """echo "$*" >>{log}
case $1 in
  update) [ "$(grep -c update {log})" -ge {tries} ] || {{ echo '{said}' >&2; exit 100; }} ;;
  install) [ {code} = 0 ] || {{ echo 'E: Unable to locate package docker.io' >&2; exit {code}; }} ;;
esac"""


def install(shell: str, folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    (folder / "bin").mkdir()
    for name, body in {"sleep": f"echo sleep $1 >>{folder}/log", "docker": "echo Docker version 20", **programs}.items():
        path = folder / "bin" / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    (folder / "bin" / "grep").symlink_to(str(shutil.which("grep")))
    path = script_file("install-docker", folder, folder / "bin", alone=True)
    return subprocess.run([shell, str(path), ""], text=True, capture_output=True, check=False, timeout=60)


def apt(folder: Path, tries: int = 0, said: str = LOCKED, code: int = 0) -> str:
    return APT.format(log=folder / "log", tries=tries, said=said, code=code)


def called(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_an_engine_that_is_there_is_left_alone(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, dockerd=":", apt_get=apt(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "log").exists()


def test_it_is_installed(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, apt_get=apt(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed Docker version 20\n", "")
    assert [line.split()[0] for line in called(tmp_path)] == ["update", "install"]
    assert "DPkg::Lock::Timeout=300" in called(tmp_path)[1]


def test_another_apt_is_waited_for(shell: str, tmp_path: Path) -> None:
    """The host's own upgrade holds the lists for a while: asked again every five seconds, and no word of it remains."""
    done = install(shell, tmp_path, apt_get=apt(tmp_path, tries=4))
    assert (done.returncode, done.stderr) == (0, "")
    assert called(tmp_path).count("sleep 5") == 3


def test_one_that_never_ends_is_not_waited_for_for_ever(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, apt_get=apt(tmp_path, tries=10_000, code=100))
    assert done.returncode == 100
    assert "Could not get lock" in done.stderr
    assert called(tmp_path).count("sleep 5") == 59


def test_a_source_that_fails_is_told_and_need_not_matter(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, apt_get=apt(tmp_path, tries=10_000, said="E: The repository has no Release file."))
    assert done.returncode == 0
    assert "no Release file" in done.stderr
    assert "sleep 5" not in called(tmp_path)


def test_what_cannot_be_installed_is_a_failure(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, apt_get=apt(tmp_path, code=100))
    assert done.returncode == 100
    assert "Unable to locate package" in done.stderr


def test_elsewhere_than_debian_it_says_what_to_do(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path)
    assert done.returncode == 1
    assert "install Docker here yourself" in done.stderr
