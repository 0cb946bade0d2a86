"""What is printed cannot command the operator's terminal, wherever its words come from; our own colours stay."""

from __future__ import annotations

import ast
import json
import os
import pty
import re
import subprocess
import sys

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from fabfile.cli.console.command import command
from fabfile.cli.console.output import print_json, say, table
from fabfile.cli.console.terminal import HarmlessStream, console, harmless_output
from fabfile.core.errors import ApplyError
from fabfile.core.resources import ROOT
from fabfile.core.text import harmless, visible

# A title, a colour, DEL, an 8-bit CSI, a text turned around, a hidden mark, half a pair.
HOSTILE = "a\x1b]0;title\x07b\x1b[31mc\x7fd\x9b2Je\u202ef\u200bg\ud800h\ri\x00"
SHOWN = r"a\x1b]0;title\x07b\x1b[31mc\x7fd\x9b2Je\u202ef\u200bg\ud800h\x0di\x00"
OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def test_invisible_characters_are_shown() -> None:
    """Lines, tabs and foreign letters stay; nothing else that a terminal obeys or hides."""
    assert harmless(HOSTILE) == SHOWN
    assert harmless("Grüße, 世界\n\t✓ →\u00a0e\u0301") == "Grüße, 世界\n\t✓ →\u00a0e\u0301"
    assert visible("a\nb\tc\x1b") == r"a b c\x1b"
    for code in [*range(0x300), *range(0x2000, 0x2100), *range(0xD700, 0xE010), *range(0xFE00, 0x10010), 0xE0041]:
        assert not OBEYED.search(harmless(chr(code)))


@command()
def speak(c: Context, way: str = "", yes: bool = False, json: bool = False, debug: bool = False) -> None:
    """Prints a host's words in every way that commands have."""
    if way == "error":
        raise ApplyError("m1", HOSTILE, HOSTILE, f"{HOSTILE}\n{HOSTILE}")
    if way == "oserror":
        raise OSError(2, HOSTILE, f"/{HOSTILE}")
    if way == "bug":
        raise RuntimeError(HOSTILE)
    print(HOSTILE)
    print(HOSTILE, file=sys.stderr, flush=True)
    sys.stdout.writelines([HOSTILE, HOSTILE])
    say(HOSTILE)
    table([HOSTILE, "b"], [[HOSTILE, HOSTILE]])
    console(stderr=True).print(HOSTILE, markup=False)
    print_json({HOSTILE: HOSTILE})


@pytest.mark.parametrize("way", ["", "error", "oserror"])
@pytest.mark.parametrize("as_json", [False, True])
def test_no_way_of_speaking_reaches_the_terminal_raw(capsys: pytest.CaptureFixture[str], way: str, as_json: bool) -> None:
    """Tables, messages, errors with their logs, JSON."""
    try:
        speak(Context(), way=way, json=as_json)
    except Exit:
        assert way
    said = capsys.readouterr()
    assert not OBEYED.search(said.out + said.err)
    assert r"\x1b" in said.err
    if way and as_json:
        error = json.loads(said.out)
        assert set(error) == {"error", "hint"}
        assert "\x1b" in error["error"] or r"\u001b" in error["error"]  # a path is quoted already
    else:
        assert bool(said.out) == (not way)


PROGRAM = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from tests.unit.cli.test_terminal import speak
from fabfile.cli import program
from invoke.collection import Collection
program.namespace = lambda: Collection(speak)
sys.argv = ["inv", *sys.argv[1:]]
program.main("inv")
"""


def run(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "COLUMNS": "100"}
    argv = [sys.executable, "-c", PROGRAM, *words]
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60, **options)  # type: ignore


@pytest.mark.parametrize(
    "words", [("speak",), ("speak", "--way", "error", "--debug"), ("speak", "--way", "bug"), (HOSTILE[:-10],)]
)
def test_tracebacks_and_slips_are_harmless_too(words: tuple[str, ...]) -> None:
    """--debug's traceback, a fault of ours, a word that is no command."""
    done = run(*words)
    assert not OBEYED.search(done.stdout + done.stderr)
    assert r"\x1b" in done.stderr or r"\u001b" in done.stderr
    assert ("Traceback" in done.stderr) == (len(words) == 4 or "bug" in words)


def test_our_own_colours_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal a table is coloured; a host's colours in it are text."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    argv = [sys.executable, "-c", PROGRAM, "speak"]
    done = subprocess.run(argv, stdout=theirs, stderr=subprocess.DEVNULL, env=env, check=False, timeout=60)
    os.close(theirs)
    text = b"".join(iter(lambda: _read(ours), b"")).decode().replace("\r\n", "\n")
    assert done.returncode == 0
    assert set(re.findall(r"\x1b\[[0-9;]*m", text)) >= {"\x1b[1m", "\x1b[0m"}
    assert "\x1b[31m" not in text
    assert not OBEYED.search(re.sub(r"\x1b\[[0-9;]*m", "", text))


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""


def test_a_terminal_without_our_letters_is_no_reason_to_stop() -> None:
    """In a locale of one byte a letter, an arrow is shown as its number."""
    env = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    argv = [sys.executable, str(ROOT / "tasks.py"), "service.keys"]
    done = subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_guarded_stream_is_guarded_once(capsys: pytest.CaptureFixture[str]) -> None:
    """And given back as it was; a stream that was closed from the start stays closed."""
    before = sys.stdout
    with harmless_output(), harmless_output():
        assert isinstance(sys.stdout, HarmlessStream)
        assert sys.stdout.rich_proxied_file is before
        assert not sys.stdout.isatty()
    assert sys.stdout is before


def test_no_command_has_a_console_of_its_own() -> None:
    """All of the command line's tables and colours come from one place."""
    wrong = [
        path.name
        for path in sorted((ROOT / "fabfile/cli").rglob("*.py"))
        if path.name != "terminal.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "rich.console"
    ]
    assert wrong == []
