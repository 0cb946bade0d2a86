"""The house's rules, read from the source: which room may import which, and what the pure room may not touch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OWN = ("fabfile", "remote_agents")
FORBIDDEN = {
    "fabfile/core": ("fabfile.edge", "fabfile.cli", "fabfile.drills", "fabfile.lab", "remote_agents"),
    "fabfile/edge": ("fabfile.cli", "fabfile.drills", "fabfile.lab"),
    "fabfile/lab": ("fabfile.cli", "fabfile.drills"),
    "fabfile/drills": ("fabfile.cli",),
    "remote_agents": ("fabfile",),
}
MAY_IMPORT_CLI = ("tasks.py", "fabfile/__init__.py")
# Modules that touch the world; a pure function has no use for them.
WORLDLY = ("socket", "subprocess", "http", "urllib", "requests", "fabric", "invoke", "paramiko", "consul", "random",
           "secrets", "threading", "asyncio", "tempfile", "shutil", "rich")  # fmt: skip
CLOCKS = {"time", "monotonic", "time_ns", "monotonic_ns", "perf_counter", "sleep", "now", "utcnow", "today"}


def sources(*folders: str) -> list[Path]:
    found = [p for folder in folders for p in sorted((ROOT / folder).rglob("*.py"))]
    return found or [ROOT / "tasks.py"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it, by its full name; a name from a package counts as one."""
    package = list(path.relative_to(ROOT).with_suffix("").parts)[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def is_within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


@pytest.mark.parametrize("room", FORBIDDEN)
def test_imports_go_one_way(room: str) -> None:
    """No file of a room imports a room that stands above it."""
    wrong = [(name_of(p), i) for p in sources(room) for i in imports(p) if is_within(i, FORBIDDEN[room])]
    assert wrong == []


def test_nothing_imports_the_command_line() -> None:
    """Only the two doors and the command line itself import fabfile.cli."""
    wrong = [
        name_of(p)
        for p in [*sources(*OWN), ROOT / "tasks.py"]
        if name_of(p) not in MAY_IMPORT_CLI and not name_of(p).startswith("fabfile/cli/")
        and any(is_within(i, ("fabfile.cli",)) for i in imports(p))
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("path", sources("fabfile/core"), ids=name_of)
def test_the_pure_room_is_pure(path: Path) -> None:
    """core prints nothing, asks no clock, and opens neither socket nor process; render.py alone reads files."""
    tree = ast.parse(path.read_text())
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {f.id for f in called if isinstance(f, ast.Name)}
    attributes = {f.attr for f in called if isinstance(f, ast.Attribute)}
    assert not names & {"print", "open", "input"}
    assert not attributes & CLOCKS
    assert not [i for i in imports(path) if i.split(".")[0] in (*WORLDLY, "time")]
    if path.name != "render.py":
        assert not attributes & {"read_text", "read_bytes", "write_text", "write_bytes"}


def test_the_agents_stand_alone() -> None:
    """What runs on hosts imports itself and Python's own library, for nothing else is there."""
    theirs = sys.stdlib_module_names | {"remote_agents"}
    wrong = [(name_of(p), i) for p in sources("remote_agents") for i in imports(p) if i.split(".")[0] not in theirs]
    assert wrong == []


def test_no_module_shadows_a_library() -> None:
    """fab puts fabfile/ first on sys.path, so nothing directly in it may bear the name of a library."""
    entries = [p for p in (ROOT / "fabfile").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()]
    ours = {p.stem for p in entries} - {"__init__"}
    libraries = set(sys.stdlib_module_names) | {
        name for name, owners in packages_distributions().items() if "nexus-ops" not in owners}  # fmt: skip
    assert ours & libraries == set()


@pytest.mark.parametrize("room", ["fabfile/core", "fabfile/edge"])
def test_the_rooms_are_not_empty(room: str) -> None:
    """The rules above look at real files."""
    assert len(sources(room)) > 5
