"""Every shell script of the project: the linter, and the rules that keep a half-sent script from running.

A folder of remote_agents with a head.sh is a script in parts. Each part is checked by itself, and the whole like any script.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fabfile.core.resources import ROOT, SCRIPTS
from fabfile.core.state.scripts import FIRST, LAST, script
from tests.support.script_host import SHELLS
from tests.support.stand_ins import PATH_LINE

LEFT_OUT = {".git", ".venv", ".nexus", "node_modules", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
RUN = 'main "$@"'
# What shellcheck can know of the whole script only: who reads a variable, who sets it, who calls a function.
OF_THE_WHOLE = "--exclude=SC2034,SC2154,SC2329"
ASSIGNMENT = r"""[A-Za-z_]+=('[^']*'|"[^"`(]*"|[^\s'"`$;&|()<>]*)"""
SETTINGS = r"set -eu|umask [0-7]{3}|export [A-Z_]+( [A-Z_]+)*"


def files() -> list[Path]:
    found = [ROOT / "inv", *([ROOT / ".ci/run"] if (ROOT / ".ci/run").is_file() else [])]
    for folder, dirs, names in os.walk(ROOT):
        dirs[:] = [d for d in dirs if d not in LEFT_OUT and not (Path(folder, d) / "pyvenv.cfg").exists()]
        found += [Path(folder, name) for name in names if name.endswith(".sh")]
    return sorted(found)


def named(paths: Iterable[Path]) -> list[object]:
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def text_of(path: Path) -> str:
    """A folder's parts, put together; a file as it is."""
    return script(path.name) if path.is_dir() else path.read_text()


FOLDERS = sorted(path.parent for path in SCRIPTS.glob(f"*/{FIRST}"))
PARTS = [path for path in files() if path.parent in FOLDERS]
WHOLE = [*(path for path in files() if path not in PARTS), *FOLDERS]
HOUSE = [path for path in WHOLE if path != ROOT / ".ci/run"]
SENT = [path for path in WHOLE if path.parent == SCRIPTS]


def shellcheck(text: str, *options: str) -> tuple[str, int]:
    """Output and exit code of shellcheck, which requirements.lock installs beside the interpreter."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    program = shutil.which("shellcheck", path=places)
    assert program is not None
    done = subprocess.run([program, *options, "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout, done.returncode


def commands(text: str) -> list[str]:
    """The lines that a shell would run on reading the text: all but comments and the bodies of functions."""
    found, inside = [], False
    for line in text.splitlines():
        if inside:
            inside = line != "}"
        elif re.fullmatch(r"[a-z_]+\(\) \{", line):
            inside = True
        elif line and not line.startswith("#") and not re.fullmatch(r"[a-z_]+\(\) \{ .*\}(\s+#.*)?", line):
            found.append(line)
    assert not inside
    return found


@pytest.mark.parametrize("path", named(WHOLE))
def test_shellcheck_is_content_with_the_script(path: Path) -> None:
    """shellcheck finds nothing in the whole script."""
    assert shellcheck(text_of(path)) == ("", 0)


@pytest.mark.parametrize("path", named(PARTS))
def test_shellcheck_is_content_with_the_part(path: Path) -> None:
    """shellcheck finds nothing in the part that is wrong whatever the other parts hold."""
    assert shellcheck(path.read_text(), "--shell=sh", OF_THE_WHOLE) == ("", 0)


@pytest.mark.parametrize("path", named(HOUSE))
def test_scripts_are_posix_strict_and_run_from_their_last_line(path: Path) -> None:
    """`#!/bin/sh`, `set -eu` before any other command, and `main "$@"` last, so that a cut-off script runs nothing."""
    lines = text_of(path).splitlines()
    assert lines[0] == "#!/bin/sh"
    assert next(line for line in lines if line and not line.startswith("#")) == "set -eu"
    assert lines[-1] == RUN


@pytest.mark.parametrize("path", named(SENT))
def test_a_host_has_no_say_in_where_programs_are_found(path: Path) -> None:
    """PATH is set and exported before the first function: sudo's secure_path may lack /usr/local/bin or /usr/sbin."""
    lines = text_of(path).splitlines()
    first = next(n for n, line in enumerate(lines) if re.match(r"[a-z_]+\(\) ", line))
    assert lines[:first].count(PATH_LINE) == 1
    assert any(re.fullmatch(r"export ([A-Z_]+ )*PATH", line) for line in lines[lines.index(PATH_LINE) : first])
    assert not [line for line in lines if line.startswith("PATH=") and line != PATH_LINE]


@pytest.mark.parametrize("path", named([*HOUSE, *PARTS]))
@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_can_read_the_script(path: Path, shell: str) -> None:
    """Script and part are free of syntax that one of the usual shells does not know."""
    done = subprocess.run([shell, "-n"], input=text_of(path).encode(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("path", named(PARTS))
def test_a_part_says_what_it_holds(path: Path) -> None:
    """Each part begins with a comment for readers; head.sh after its `#!/bin/sh`."""
    lines = path.read_text().splitlines()
    assert re.match(r"# (?!shellcheck)\w", lines[1 if path.name == FIRST else 0])
    assert lines[0].startswith("#!") == (path.name == FIRST)


@pytest.mark.parametrize("path", named(PARTS))
def test_a_part_runs_nothing(path: Path) -> None:
    """Outside of functions there are assignments of plain values, the settings of head.sh, and the last line of main.sh."""
    allowed = f"{ASSIGNMENT}|{SETTINGS}" if path.name == FIRST else ASSIGNMENT
    found = commands(path.read_text())
    if path.name == LAST:
        assert found.pop() == RUN
    assert [line for line in found if not re.fullmatch(allowed, line)] == []


@pytest.mark.parametrize("line", ["x=1 rm y", 'x="$(rm y)"', "x=`rm y`", "x=1; rm y", "rm y", "x=$(rm y)", "main"])
def test_a_command_is_no_assignment(line: str) -> None:
    """The rule above takes no command for an assignment, wherever in the line it stands."""
    assert commands(f"f() {{\n  rm z\n}}\n{line}\n") == [line]
    assert not re.fullmatch(f"{ASSIGNMENT}|{SETTINGS}", line)


@pytest.mark.parametrize("folder", named(FOLDERS))
def test_equal_parts_give_equal_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole is head.sh, the others by name, and main.sh, however the disk lists them; nothing else is in the folder."""
    names = sorted(path.name for path in folder.iterdir())
    middle = [name for name in names if name not in (FIRST, LAST)]
    whole = "\n".join((folder / name).read_text() for name in (FIRST, *middle, LAST))
    assert all(name.endswith(".sh") and not name.startswith(".") for name in names)
    for order in (sorted, lambda paths: sorted(paths, reverse=True)):
        with monkeypatch.context() as patch:
            for listing in ("glob", "iterdir"):
                patch.setattr(Path, listing, listed(getattr(Path, listing), order))
            for _ in range(2):
                script.cache_clear()
                assert script(folder.name) == whole


def listed(
    listing: Callable[..., Iterable[Path]], order: Callable[[Iterable[Path]], list[Path]]
) -> Callable[..., list[Path]]:
    """`listing`, a method of Path, with its answer in that order."""
    return lambda *args: order(listing(*args))
