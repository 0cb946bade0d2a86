"""demo and test: the two commands of a fresh machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from invoke.context import Context
from invoke.exceptions import Exit

from .base import chosen, command, inventory, say

ROOT = Path(__file__).resolve().parents[2]


@command()
def demo(c: Context, debug: bool = False) -> None:
    """Start the lab on this machine, deploy the cluster to it, and check it. Minutes the first time."""
    from ..lab import nodes
    from .deploy import run_deploy
    from .health import status, verify

    nodes.up(lambda words: say(f"lab: {words}"))
    cluster = inventory(str(ROOT / "hosts.yml"))
    run_deploy(cluster, chosen(cluster, "all"), yes=True, what="demo")
    shipped = str(ROOT / "hosts.yml")
    status(c, inventory_=shipped)
    verify(c, inventory_=shipped)
    say("next: ./inv status, ./inv plan, ./inv add-worker 127.0.7.7; ./inv lab.down takes it all away")


@command(help={"unit": "only the tests that need no lab", "only": "pytest's -k expression"})
def test(c: Context, unit: bool = False, only: str = "") -> None:
    """Run linters, types and tests. Those of the lab take the lab over: they rebuild it, and take it down at the end."""
    if not only:
        for tool in (["ruff", "check", "."], ["mypy"]):
            if subprocess.call([sys.executable, "-m", *tool], cwd=ROOT):
                raise Exit(code=1)
    words = ["tests/unit"] if unit else ["tests", "-m", "not arm64"]
    code = subprocess.call([sys.executable, "-m", "pytest", *words, *(["-k", only] if only else [])], cwd=ROOT)
    if code:
        raise Exit(code=code)
