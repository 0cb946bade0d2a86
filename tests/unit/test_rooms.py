"""The house's rules, read from the source: which room may import which, and what the pure room may not touch."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT

OWN = ("fabfile", "remote_agents")
CORE = ("core", "core.model", "core.config", "core.state", "core.judge")
EDGE = ("edge.disk", "edge.ssh", "edge.artifacts", "edge.consul", "edge.deploy")
DRILLS = ("drills.verdict", "drills.faults", "drills.report", "drills.course")
AGENTS = "remote_agents.nexus_agents"
# Room -> the rooms that its files may import, besides itself. A room that stands in no row may not exist.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": (),
    "core.model": ("core",),
    "core.config": ("core", "core.model"),
    "core.state": ("core", "core.model", "core.config"),
    "core.judge": ("core", "core.model", "core.config", "core.state"),
    "edge.disk": CORE,
    "edge.ssh": (*CORE, "edge.disk"),
    "edge.artifacts": (*CORE, "edge.disk"),
    "edge.consul": (*CORE, "edge.disk", "edge.ssh"),
    "edge.deploy": (*CORE, "edge.disk", "edge.ssh", "edge.artifacts", "edge.consul"),
    "lab": (*CORE, *EDGE),
    "drills.verdict": CORE,
    "drills.faults": (*CORE, "drills.verdict"),
    "drills.report": (*CORE, "edge.disk", "drills.verdict"),
    "drills.course": (*CORE, *EDGE, "drills.verdict", "drills.faults"),
    "cli.console": (*CORE, "edge.disk"),
    "cli.views": (*CORE, *EDGE, *DRILLS, "lab", "cli.console"),
    "cli.flows": (*CORE, *EDGE, "cli.console", "cli.views"),
    "cli.tasks": (*CORE, *EDGE, *DRILLS, "lab", "cli.console", "cli.views", "cli.flows"),
    "cli": ("core", "cli.console", "cli.flows", "cli.tasks"),
    "": ("cli",),  # the package itself, Fabric's door
}
AGENTS_MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "shared": (),
    "orchestrator": ("shared",),
    "worker": ("shared",),
    "balancer": ("shared",),
    "": ("shared", "orchestrator", "worker", "balancer"),  # __main__, which starts one of the three
}
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


def modules() -> dict[str, Path]:
    """Dotted name -> file, of all that is ours; a package by its own name."""
    found = {}
    for path in sources(*OWN):
        found[".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")] = path
    return found


MODULES = modules()


def imported(module: str) -> set[str]:
    """Our modules that this one imports; a package counts only where something of its own is taken from it."""
    found = {name for name in imports(MODULES[module]) if name in MODULES and name != module}
    return {n for n in found if MODULES[n].name != "__init__.py" or MODULES[n].read_text().strip()}


def room_of(module: str) -> str:
    """`fabfile.edge.ssh.fleet` -> `fabfile.edge.ssh`."""
    return module if MODULES[module].name == "__init__.py" else module.rpartition(".")[0]


def rows() -> dict[str, tuple[str, ...]]:
    """Both tables in full names."""

    def full(top: str, table: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        return {".".join(filter(None, (top, room))): tuple(f"{top}.{r}" for r in allowed) for room, allowed in table.items()}

    # beside the sh scripts: a program that is sent to a host's python3, alone
    return {**full("fabfile", MAY_IMPORT), **full(AGENTS, AGENTS_MAY_IMPORT), "remote_agents": ()}


ROWS = rows()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_one_way(module: str) -> None:
    """A file imports its own room and those that the table names, and nothing else of ours."""
    room = room_of(module)
    if not MODULES[module].read_text().strip():
        return
    assert room in ROWS, f"{room} stands in no row of the table"
    wrong = sorted(name for name in imported(module) if room_of(name) not in (room, *ROWS[room]))
    assert wrong == []


def test_the_table_has_no_circle() -> None:
    """The rooms stand above each other: no room may import one that may, by whatever way, import it."""
    below: dict[str, set[str]] = {}

    def reach(room: str, way: tuple[str, ...]) -> set[str]:
        assert room not in way, " > ".join((*way, room))
        if room not in below:
            below[room] = {r for n in ROWS[room] if n != room for r in (n, *reach(n, (*way, room)))}
        return below[room]

    for room in ROWS:
        reach(room, ())


def test_no_files_import_each_other_in_a_circle() -> None:
    """Not within a room either, and not by an import inside a function."""
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " > ".join((*way[way.index(module) :], module))
        if module not in done:
            for name in sorted(imported(module)):
                visit(name, (*way, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


def test_every_row_of_the_table_is_a_room() -> None:
    """A row for a room that is gone would allow what nobody wants."""
    assert [room for room in ROWS if room not in MODULES] == []


def test_nothing_imports_the_command_line() -> None:
    """Only the two doors and the command line itself import fabfile.cli."""
    doors = ("tasks.py", "fabfile/__init__.py")
    wrong = [
        name_of(p)
        for p in [*sources(*OWN), ROOT / "tasks.py"]
        if name_of(p) not in doors and not name_of(p).startswith("fabfile/cli/")
        and any(i == "fabfile.cli" or i.startswith("fabfile.cli.") for i in imports(p))
    ]  # fmt: skip
    assert wrong == []


@pytest.mark.parametrize("path", sources("fabfile"), ids=name_of)
def test_the_package_never_names_itself(path: Path) -> None:
    """Imports within it are relative: an installed copy bears another name (`nexus_ops`)."""
    tree = ast.parse(path.read_text())
    absolute = [
        node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level and node.module
    ]
    absolute += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [name for name in absolute if name.split(".")[0] == "fabfile"] == []


@pytest.mark.parametrize("path", sources("fabfile/core"), ids=name_of)
def test_the_pure_room_is_pure(path: Path) -> None:
    """core prints nothing, asks no clock, and opens neither socket nor process; two modules read what is shipped."""
    tree = ast.parse(path.read_text())
    called = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {f.id for f in called if isinstance(f, ast.Name)}
    attributes = {f.attr for f in called if isinstance(f, ast.Attribute)}
    assert not names & {"print", "open", "input"}
    assert not attributes & CLOCKS
    assert not [i for i in imports(path) if i.split(".")[0] in (*WORLDLY, "time")]
    if path.name not in ("render.py", "scripts.py"):
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
