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


def inv(
    copy: Path, *words: str, path: Path | None = None, cwd: Path | None = None, **variables: str
) -> subprocess.CompletedProcess[str]:
    env = {"PATH": str(path) if path else os.environ["PATH"], "HOME": str(copy), "LANG": "C.UTF-8", **variables}
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
    """Arguments with blanks, quotes and globs are passed on untouched, to an isolated Python."""
    make_ready(copy)
    program(copy / ".venv/bin/python", "printf '%s\\n' \"$@\"; exit 7")
    done = inv(copy, "a b", "*", "", "it's")
    assert done.stdout.splitlines() == ["-I", str(copy / "tasks.py"), "a b", "*", "", "it's"]
    assert done.returncode == 7


def plant(folder: Path) -> Path:
    """Files that tell when they are run, by the names of Python's modules, of our libraries and of our own code."""
    names = {
        *sys.stdlib_module_names, "sitecustomize", "usercustomize", "invoke", "fabric", "paramiko", "yaml", "rich", "jinja2",
        "consul", "tasks", "fabfile", "bench", "nexus_ops", ".invoke",
    }  # fmt: skip
    folder.mkdir(exist_ok=True)
    for name in names:
        if not (folder / f"{name}.py").exists() and not (folder / name).is_dir():
            (folder / f"{name}.py").write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r} + ' ')\n")
    return folder


HOSTS = "cluster: c\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager, worker]}}\n"
SERVICES = "services: {web: {command: run, port: 8080}}\n"
# All that the commands import, also what they import late; one that says where modules come from.
EVERYTHING = """
import importlib, pkgutil, sys, fabfile, random, invoke
for module in pkgutil.walk_packages(fabfile.__path__, "fabfile."):
    importlib.import_module(module.name)
"""


@pytest.mark.parametrize("beside", ["hosts.yml", "inv"])
def test_no_python_file_of_the_current_folder_is_run(copy: Path, tmp_path: Path, beside: str) -> None:
    """Not beside hosts.yml, and not in the checkout itself, whatever it is called; not by way of PYTHONPATH either."""
    make_ready(copy)
    folder = plant(copy if beside == "inv" else tmp_path / "operators")
    (folder / "hosts.yml").write_text(HOSTS)
    (folder / "services.yml").write_text(SERVICES)
    (folder / "invoke.yaml").write_text("tasks: {executor_class: random.Executor}\n")
    for words in (["--list"], ["status"], ["plan", "--json"], ["chaos.list"], ["service.keys"], ["secrets.export", "/x"]):
        done = inv(copy, *words, cwd=folder, PYTHONPATH=f":.:{folder}", PYTHONSTARTUP=str(folder / "random.py"))
        assert "Traceback" not in done.stderr
        assert done.stdout or "error: " in done.stderr
    tasks = copy / "tasks.py"
    tasks.write_text(tasks.read_text().partition("if __name__")[0] + EVERYTHING)
    assert inv(copy, cwd=folder).stderr == ""
    assert not (folder / "ran").exists(), (folder / "ran").read_text()


@pytest.mark.parametrize("text", ["a: [", "run: 7\n", "tasks: {executor_class: os.Nothing}\n", "\0"])
def test_settings_of_invoke_do_not_count(copy: Path, tmp_path: Path, text: str) -> None:
    """Neither the home folder's nor the current one's nor variables: no task needs one, and a broken one stops nothing."""
    make_ready(copy)
    for name in (".invoke.yaml", "invoke.yaml", ".invoke.json", "invoke.json"):
        (copy / name).write_text(text)
    runtime = str(copy / "invoke.yaml")
    variables = {"INVOKE_TASKS_EXECUTOR_CLASS": "os.x", "INVOKE_RUN_DRY": "x"}
    done = inv(copy, "chaos.list", cwd=copy, INVOKE_RUNTIME_CONFIG=runtime, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    assert inv(copy, "--config", "x", "plan").stderr.startswith("error: inv --config: there is no such option")


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
  "-I -m venv "*) mkdir -p "$4/bin"; cp "$0" "$4/bin/python" ;;
  "-I -m pip "*) PIP ;;
  *) printf 'ran %s\\n' "$*" ;;
esac
"""


def test_a_first_run_is_told_and_stamped(copy: Path, bare: Path) -> None:
    """The first run says what it does, installs from the lock, and the next one is silent."""
    program(bare / "python3", PRETENDER.replace("PIP", "exit 0"))
    first = inv(copy, "plan", path=bare)
    assert (first.returncode, first.stdout) == (0, f"ran -I {copy}/tasks.py plan\n")
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


@pytest.mark.parametrize("home", ["/dev/null", "here", "~"])
def test_a_home_that_is_no_folder_is_told(copy: Path, home: str) -> None:
    """Invoke looks for its own settings there first, and would show a traceback; so both doors look before it does."""
    make_ready(copy)
    env = {"PATH": os.environ["PATH"], "HOME": home, "PYTHONPATH": str(ROOT)}
    for argv in ([str(copy / "inv"), "plan"], [sys.executable, "-m", "fabfile.cli.program", "plan"]):
        done = subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"HOME: {home} is no folder" in done.stderr.replace('"', "")
        assert "hint: export HOME=DIR" in done.stderr
