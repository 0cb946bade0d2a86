"""`inv … | head`: whoever has read enough has done nothing wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fabfile.core.resources import ROOT

ENTRIES = ([str(ROOT / "tasks.py")], ["-m", "invoke", "--search-root", str(ROOT)])  # of ./inv, and of Invoke's own program
# A command with more to say than a pipe holds, and the exit code of a plan with changes.
ENDS_WITH_2 = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from invoke.collection import Collection
from invoke.exceptions import Exit
from fabfile.cli import program
from fabfile.cli.console.command import command
@command()
def plan(c, words=3):
    print("word " * words)
    raise Exit(code=2)
program.namespace = lambda: Collection(plan)
sys.argv[0] = "inv"
program.main("inv")
"""


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("words", [("--list",), ("--help", "deploy"), ("chaos.list",), ("chaos.list", "--json")])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_is_gone_is_no_fault(entry: list[str], words: tuple[str, ...], buffered: bool) -> None:
    """Not a word on stderr, and no exit code that says well."""
    ours, theirs = os.pipe()
    os.close(ours)
    env = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    done = subprocess.run(
        [sys.executable, *entry, *words],
        stdout=theirs, stderr=subprocess.PIPE, env=env, check=False, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    assert done.stderr == b""
    assert done.returncode == 141


@pytest.mark.parametrize("channels", ["stdout", "both"])
@pytest.mark.parametrize("words", ["3", "300000"])
def test_a_plan_that_nobody_reads_ends_quietly(words: str, channels: str) -> None:
    """A command with an exit code of its own, too: `inv plan | head`, `inv plan 2>&1 | head`."""
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-c", ENDS_WITH_2, "plan", "--words", words],
        stdout=theirs, stderr=subprocess.PIPE if channels == "stdout" else theirs, check=False, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    assert (done.returncode, done.stderr or b"") == (141, b"")
    read = subprocess.run([sys.executable, "-c", ENDS_WITH_2, "plan"], capture_output=True, check=False, timeout=60)
    assert (read.returncode, read.stdout, read.stderr) == (2, b"word word word \n", b"")


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("unbuffered", ["1", ""])
@pytest.mark.parametrize("words", [("chaos.list", "--json"), ("service.keys",)])
def test_a_full_disk_is_told(entry: list[str], words: tuple[str, ...], unbuffered: str) -> None:
    """Also where Python notices only when it writes the last of it; and once."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, *entry, *words],
            stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": unbuffered}, check=False,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("error: the system refused: no space left on device\nhint: ")
    assert done.stderr.count("\n") == 2
