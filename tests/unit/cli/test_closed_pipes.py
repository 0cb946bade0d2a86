"""`inv … | head`: whoever has read enough has done nothing wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from fabfile.core.resources import ROOT


@pytest.mark.parametrize("words", [("--list",), ("--help", "deploy"), ("chaos.list",), ("chaos.list", "--json")])
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_is_gone_is_no_fault(words: tuple[str, ...], buffered: bool) -> None:
    """Not a word on stderr, and no exit code that says well."""
    ours, theirs = os.pipe()
    os.close(ours)
    env = {**os.environ, "PYTHONUNBUFFERED": "" if buffered else "1"}
    done = subprocess.run(
        [sys.executable, "-m", "invoke", "--search-root", str(ROOT), *words],
        stdout=theirs, stderr=subprocess.PIPE, env=env, check=False, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    assert done.stderr == b""
    assert done.returncode in (1, 141)  # 1: rich's own way


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "invoke", "--search-root", str(ROOT), "chaos.list", "--json"],
            stdout=full, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}, check=False,
            timeout=60,
        )  # fmt: skip
    assert done.returncode == 1
    assert "error: the system refused: no space left on device" in done.stderr
