"""The agents as one file: equal sources give equal bytes, and what is in it runs on any host's Python."""

from __future__ import annotations

import ast
import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fabfile.core.state.agents import AgentProgram
from fabfile.edge.artifacts import agents_zipapp as agents

OLDEST = (3, 10)  # of the hosts' Pythons; core.state.guards refuses older ones


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[AgentProgram, Path]:
    """The program, and its file as a host has it."""
    cache = tmp_path_factory.mktemp("cache")
    program = agents.build(cache)
    path = cache / "nexus-agents.pyz"
    path.write_bytes(content(program))
    return program, path


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the agents' sources, which the next build takes."""
    copy = tmp_path / "sources" / "nexus_agents"
    shutil.copytree(agents.SOURCES, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(agents, "SOURCES", copy)
    return copy


def content(program: AgentProgram) -> bytes:
    return gzip.decompress(program.packed.read_bytes())


def names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def run(path: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """As the units start it, in an environment that knows nothing of this project."""
    return subprocess.run([sys.executable, "-I", str(path), *args], capture_output=True, text=True, timeout=60, check=False,
                          cwd="/", env={"PATH": "/usr/bin:/bin"}, stdin=subprocess.DEVNULL)  # fmt: skip


def test_equal_sources_give_equal_bytes(sources: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither time nor rights of the files, nor the umask, nor the order of a folder's listing shows in the bytes."""
    first = agents.build(tmp_path / "one")
    for n, path in enumerate(sorted(sources.rglob("*.py"))):
        os.utime(path, (10**9 + n, 10**9 + n))
        path.chmod(0o600 + 0o11 * (n % 2))
    in_order = agents._entries

    def backwards() -> Iterator[tuple[str, bytes]]:
        return iter(list(in_order())[::-1])

    monkeypatch.setattr(agents, "_entries", backwards)
    before = os.umask(0o077)
    try:
        second = agents.build(tmp_path / "two")
    finally:
        os.umask(before)
    assert (first.sha256, first.version) == (second.sha256, second.version)
    assert first.packed.name == second.packed.name
    assert first.packed.read_bytes() == second.packed.read_bytes()


def test_the_sum_is_of_the_bytes_that_land(built: tuple[AgentProgram, Path]) -> None:
    """What is kept is gzip of a file that has this sum, under the name of the sum, without the time it was packed."""
    program, _ = built
    assert hashlib.sha256(content(program)).hexdigest() == program.sha256
    assert program.packed.name == f"{program.sha256}.gz"
    assert program.packed.read_bytes()[4:8] == bytes(4)


@pytest.mark.parametrize("change", ["edit", "add", "remove", "rename"])
def test_another_source_gives_another_sum_and_version(change: str, sources: Path, tmp_path: Path) -> None:
    """One changed, new, lost or renamed module is another program, in the cache beside the first."""
    (sources / "extra.py").write_text("A = 1\n")
    first = agents.build(tmp_path / "cache")
    if change == "edit":
        (sources / "extra.py").write_text("A = 2\n")
    elif change == "add":
        (sources / "more.py").write_text("")
    elif change == "remove":
        (sources / "extra.py").unlink()
    else:
        (sources / "extra.py").rename(sources / "extra2.py")
    second = agents.build(tmp_path / "cache")
    assert first.sha256 != second.sha256
    assert first.version != second.version
    assert first.packed.is_file()
    assert second.packed.is_file()


def test_what_is_no_source_stays_out(sources: Path, tmp_path: Path) -> None:
    """Compiled files and notes beside the sources change nothing."""
    first = agents.build(tmp_path / "cache")
    (sources / "__pycache__").mkdir()
    for name in ("__pycache__/wire.cpython-311.pyc", "fast.so", "README.md", ".wire.py.swp"):
        (sources / name).write_bytes(b"\0")
    assert agents.build(tmp_path / "cache") == first


def test_a_second_build_keeps_the_packed_file(tmp_path: Path) -> None:
    """What is in the cache already is not written again."""
    first = agents.build(tmp_path)
    before = first.packed.stat().st_mtime_ns
    assert agents.build(tmp_path) == first
    assert first.packed.stat().st_mtime_ns == before
    assert [p.name for p in first.packed.parent.iterdir()] == [first.packed.name]


def test_only_sources_are_in_it(built: tuple[AgentProgram, Path]) -> None:
    """Nothing compiled for this machine is in it, nothing twice, no library, and of other files only the version."""
    found = names(built[1])
    others = {n for n in found if not n.endswith(".py")}
    assert others == {"nexus_agents/VERSION"}
    assert len(set(found)) == len(found)
    assert found == sorted(found)
    assert {n.split("/")[0] for n in found} == {"__main__.py", "nexus_agents"}


def test_each_agent_is_in_it(built: tuple[AgentProgram, Path]) -> None:
    """Every module of the agents is there, as it is on disk."""
    with zipfile.ZipFile(built[1]) as archive:
        for path in sorted(agents.SOURCES.rglob("*.py")):
            assert archive.read(f"nexus_agents/{path.relative_to(agents.SOURCES).as_posix()}") == path.read_bytes()


def test_every_module_is_of_a_python_that_hosts_have(built: tuple[AgentProgram, Path]) -> None:
    """The syntax of all of it is that of the oldest Python that a host may have."""
    with zipfile.ZipFile(io.BytesIO(built[1].read_bytes())) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                ast.parse(archive.read(name), name, feature_version=OLDEST)


def test_it_says_its_version(built: tuple[AgentProgram, Path]) -> None:
    """`--version` runs in an isolated Python, and tells what the operator's side calls it."""
    program, path = built
    done = run(path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"nexus-agents {program.version}\n", "")
    assert program.version.startswith(f"{agents.VERSION}+")


@pytest.mark.parametrize("args", [
    (), ("worker",), ("orchestrator",), ("release",), ("balancer",), ("gardener", "/dev/null"), ("--version", "x"),
    ("worker", "a", "b")])  # fmt: skip
def test_wrong_words_give_the_usage(args: tuple[str, ...], built: tuple[AgentProgram, Path]) -> None:
    """Without settings, or with an agent that there is not, it says how it is used and ends with 2."""
    done = run(built[1], *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: nexus-agents.pyz worker|orchestrator|")


@pytest.mark.parametrize("agent", ["worker", "orchestrator", "balancer"])
def test_it_needs_nothing_but_python(agent: str, built: tuple[AgentProgram, Path]) -> None:
    """Each agent can be imported where no library is installed, every module from the file or Python's own."""
    code = (
        f"import sys; sys.path.insert(0, {str(built[1])!r}); import nexus_agents.{agent}\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) - {"nexus_agents", "__main__"} <= sys.stdlib_module_names | set(sys.builtin_module_names)


def test_it_is_small_enough_to_be_uploaded_to_every_host(built: tuple[AgentProgram, Path]) -> None:
    """Packed, it is no more than a page of text takes."""
    assert built[0].packed.stat().st_size < 100_000
