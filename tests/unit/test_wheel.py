"""The installed copy: a wheel with all that is shipped, in an environment that knows nothing of this checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT
from fabfile.core.version import VERSION

# Renders a host of every role, as `inv plan` does, from the installed copy's own templates, agents and scripts.
RENDER = """
import sys
from pathlib import Path
from nexus_ops.core import resources
from nexus_ops.core.config.inventory import parse
from nexus_ops.core.state.artifacts import Artifact
from nexus_ops.core.state.desired import ClusterContext, desired
from nexus_ops.core.state.scripts import python_script, script
from nexus_ops.core.state.topology import Address
from nexus_ops.edge.artifacts import agents_zipapp
from nexus_ops.edge.disk.vault import Vault

here = Path(sys.argv[1])
text = "cluster: c\\nhosts: {m1: {ssh: 198.51.100.1, roles: [manager, worker, loadbalancer]}}\\n"
cluster, _ = parse(text, here / "hosts.yml", state_root=here, home=here)
secrets = Vault(cluster.state).ensure(cluster)
agents = agents_zipapp.build(here)
context = ClusterContext(cluster, "id", {"m1": Address("198.51.100.1", "198.51.100.1")}, secrets, agents)
binaries = {
    name: Artifact(name, (1, 22, 7), "1.22.7", "amd64", "0" * 64, 1, here / "x.gz", "0" * 64, 1, "a test")
    for name in ("consul", "caddy")
}
manifest = desired(context, cluster.hosts[0], binaries)
assert resources.INSTALLED and str(resources.ROOT).startswith(sys.prefix)
assert all(script(name).endswith('main "$@"\\n') for name in ("apply", "fault", "probe", "lock"))
assert "def main(" in python_script("ask_ports")
print(len(manifest.files), "files,", len(manifest.units), "units, agents", agents.version)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git knows, so that nothing of a build stays in the checkout."""
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    words = ["git", "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.run(words, cwd=ROOT, capture_output=True, check=True)
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    done = subprocess.run([*pip, "--wheel-dir", str(out), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    words = [*pip, "-c", str(ROOT / "requirements.lock"), str(wheel)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def nexus(environment: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "COLUMNS": "100"}
    argv = [str(environment / "bin/nexus"), *words]
    return subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_every_package_and_shipped_file_is_in_the_wheel(wheel: Path) -> None:
    """pyproject.toml names each package; whatever is not Python and is read at run time is there as well."""
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if name.startswith("nexus_ops/")}
    wanted = {f"nexus_ops/{p.relative_to(ROOT / 'fabfile')}" for p in (ROOT / "fabfile").rglob("*") if p.is_file()}
    for room in ("remote_agents", "templates"):
        wanted |= {f"nexus_ops/{p.relative_to(ROOT)}" for p in (ROOT / room).rglob("*") if p.is_file()}
    assert {name for name in wanted if "__pycache__" not in name} == there


def test_nexus_is_a_program_of_its_own(environment: Path, tmp_path: Path) -> None:
    """It says its version, lists the commands, and explains one of them, in a folder with nothing in it."""
    assert nexus(environment, tmp_path, "--version").stdout == f"Nexus Ops {VERSION}\n"
    assert "Show what deploy would change" in nexus(environment, tmp_path, "plan", "--help").stdout
    assert re.search(r"^  chaos\.kill-service ", nexus(environment, tmp_path).stdout, re.MULTILINE)


def test_nexus_has_the_same_commands_as_inv(environment: Path, tmp_path: Path) -> None:
    """The very same tasks, whichever way they are started."""
    inv = [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "--list", "--list-format=flat"]
    here = subprocess.run(inv, cwd=ROOT, env={**os.environ, "COLUMNS": "100"}, capture_output=True, text=True, check=True)
    there = nexus(environment, tmp_path, "--list", "--list-format=flat")
    names = [re.findall(r"^  (\S+)", text, re.MULTILINE) for text in (here.stdout, there.stdout)]
    assert names[0] == names[1]
    assert len(names[0]) > 40


def test_nexus_names_itself_in_hints(environment: Path, tmp_path: Path) -> None:
    """Whoever typed nexus is not told to type inv."""
    done = nexus(environment, tmp_path, "deply")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == ["error: deply: there is no such command; did you mean deploy?", "hint: nexus --list"]


def test_nothing_of_the_current_folder_is_run(environment: Path, tmp_path: Path) -> None:
    """Python files beside hosts.yml are not imported, whatever they are called."""
    for name in ("tasks", "fabfile", "random", "json", "invoke", "nexus_ops", "bench"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (tmp_path / "hosts.yml").write_text("cluster: c\nhosts: {}\n")
    assert "no host has the role manager" in nexus(environment, tmp_path, "plan").stderr
    assert not (tmp_path / "ran").exists()


def test_what_needs_a_checkout_says_so(environment: Path, tmp_path: Path) -> None:
    """Tests, docs and benchmarks are no part of an installed copy."""
    for words in (["test"], ["docs"], ["bench.scale", "--yes"]):
        done = nexus(environment, tmp_path, *words)
        assert done.returncode == 1
        assert "part of a checkout of the project" in done.stderr, done.stderr


@pytest.mark.parametrize(("shell", "words"), [("bash", "complete -F"), ("zsh", "compctl"), ("fish", "complete ")])
def test_completion_scripts_are_there(shell: str, words: str, environment: Path, tmp_path: Path) -> None:
    """Invoke makes the script of each shell, for the name nexus."""
    done = nexus(environment, tmp_path, f"--print-completion-script={shell}")
    assert words.split()[0] in done.stdout
    assert "nexus" in done.stdout


def test_a_host_is_rendered_from_the_installed_copy(environment: Path, tmp_path: Path) -> None:
    """Templates, the agents' sources and the scripts are found inside the package."""
    argv = [str(environment / "bin/python"), "-I", "-c", RENDER, str(tmp_path)]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(rf"\d+ files, 6 units, agents {re.escape(VERSION)}\+[0-9a-f]{{12}}\n", done.stdout), done.stdout
