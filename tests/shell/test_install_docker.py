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
  install)
    [ {code} = 0 ] || {{ echo 'E: Unable to locate package docker.io' >&2; exit {code}; }}
    for package; do [ ! -e {folder}/package/$package ] || cp {folder}/package/$package {client}; done
    ;;
  download) : >docker.io_20.deb ;;
esac"""
TALKS = """#!/bin/sh
case $1 in
  version) echo "no engine" >&2; echo asked >>{log}; [ "$(grep -c asked {log})" -ge {tries} ] && echo 20 ;;
  --version) echo Docker version 20 ;;
esac"""


def client(folder: Path) -> Path:
    return folder / "root/usr/bin/docker"


def prepare(folder: Path, client_in: str = "docker.io", tries: int = 1) -> None:
    """A host, and sources where the package `client_in` has the client; it reaches the engine at the try `tries`."""
    client(folder).parent.mkdir(parents=True)
    (folder / "package").mkdir()
    program = folder / "package" / client_in
    program.write_text(TALKS.format(log=folder / "log", tries=tries))
    program.chmod(0o755)


def install(shell: str, folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    if not (folder / "root").exists():
        prepare(folder)
    (folder / "bin").mkdir()
    found = {"sleep": f"echo sleep $1 >>{folder}/log", "apt-cache": "exit 100", "systemctl": f"echo $* >>{folder}/log"}
    for name, body in {**found, **programs}.items():
        path = folder / "bin" / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    for name in ("grep", "cp", "mv", "rm", "sed", "mktemp", "tar", "cat"):
        (folder / "bin" / name).symlink_to(str(shutil.which(name)))
    path = script_file("install-docker", folder, folder / "bin", alone=True)
    return subprocess.run([shell, str(path), str(folder / "root")], text=True, capture_output=True, check=False, timeout=60)


def apt(folder: Path, tries: int = 0, said: str = LOCKED, code: int = 0) -> str:
    return APT.format(log=folder / "log", folder=folder, client=client(folder), tries=tries, said=said, code=code)


def called(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_an_engine_with_its_client_is_left_alone(shell: str, tmp_path: Path) -> None:
    prepare(tmp_path)
    shutil.copy(tmp_path / "package/docker.io", client(tmp_path))
    done = install(shell, tmp_path, dockerd=":", apt_get=apt(tmp_path))
    assert (done.returncode, done.stdout) == (0, "")
    assert not (tmp_path / "log").exists()


def test_it_is_installed(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, apt_get=apt(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed Docker version 20\n", "")
    assert [line.split()[0] for line in called(tmp_path)] == ["update", "install", "start", "asked"]
    assert "DPkg::Lock::Timeout=300" in called(tmp_path)[1]
    assert called(tmp_path)[1].endswith(" docker.io")


def test_a_client_with_a_package_of_its_own_comes_too(shell: str, tmp_path: Path) -> None:
    """As on Debian 13, where docker.io only recommends it."""
    prepare(tmp_path, client_in="docker-cli")
    done = install(shell, tmp_path, apt_get=apt(tmp_path), apt_cache='[ "$2" = docker-cli ]')
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed Docker version 20\n", "")
    assert called(tmp_path)[1].endswith(" docker.io docker-cli")


def test_no_client_after_all_is_a_failure(shell: str, tmp_path: Path) -> None:
    """Where its package is not known either."""
    prepare(tmp_path, client_in="docker-cli")
    done = install(shell, tmp_path, apt_get=apt(tmp_path))
    assert done.returncode == 1
    assert f"{client(tmp_path)} is not there" in done.stderr


@pytest.mark.parametrize(("owner", "package"), [("docker.io", "docker-cli"), ("docker-ce", "docker-ce-cli")])
def test_an_engine_without_its_client_gets_it(shell: str, tmp_path: Path, owner: str, package: str) -> None:
    """From the package that belongs to the engine; the engine's own package is not touched."""
    prepare(tmp_path, client_in=package)
    query = f"echo {owner}: /usr/bin/dockerd"
    done = install(shell, tmp_path, dockerd=":", apt_get=apt(tmp_path), apt_cache="", dpkg_query=query)
    assert (done.returncode, done.stdout) == (0, "installed Docker version 20\n")
    assert called(tmp_path)[1].endswith(f" --reinstall {package}")


def test_a_client_that_is_part_of_the_engines_package_is_taken_out_of_it(shell: str, tmp_path: Path) -> None:
    """As on Debian 12. Installing that package again would restart the engine, and end every container."""
    prepare(tmp_path)
    tree = tmp_path / "unpacked/usr/bin"
    tree.mkdir(parents=True)
    shutil.copy(tmp_path / "package/docker.io", tree / "docker")
    done = install(
        shell, tmp_path, dockerd=":", apt_get=apt(tmp_path),
        dpkg_query="case $1 in -S) echo docker.io: /usr/sbin/dockerd ;; *) echo 20+b6 ;; esac",
        dpkg_deb=f"tar -c -C {tmp_path}/unpacked ./usr/bin/docker",
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "installed Docker version 20\n", "")
    assert [line.split()[0] for line in called(tmp_path)] == ["update", "download", "start", "asked"]
    assert called(tmp_path)[1].endswith("docker.io=20+b6")


def test_an_engine_that_was_put_there_by_hand_is_left_to_its_owner(shell: str, tmp_path: Path) -> None:
    done = install(shell, tmp_path, dockerd=":", apt_get=apt(tmp_path), dpkg_query="exit 1")
    assert done.returncode == 1
    assert f"its client is not at {client(tmp_path)}: put it there, or a link to it" in done.stderr
    assert called(tmp_path) == ["update -qq"]


def test_the_engine_may_need_a_moment(shell: str, tmp_path: Path) -> None:
    prepare(tmp_path, tries=3)
    done = install(shell, tmp_path, apt_get=apt(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert called(tmp_path).count("sleep 1") == 2


def test_a_client_that_reaches_no_engine_is_a_failure(shell: str, tmp_path: Path) -> None:
    prepare(tmp_path, tries=10_000)
    done = install(shell, tmp_path, apt_get=apt(tmp_path))
    assert done.returncode == 1
    assert "cannot talk to the engine (systemctl status docker): no engine" in done.stderr


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
    assert "install Docker with its client" in done.stderr
