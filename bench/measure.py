"""Runs a tool as its user would and measures the whole process; runs rounds in which the tools take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.stats import Sample
from fabfile.core.errors import NexusError

_TIMED = Path(__file__).with_name("timed.py")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tool:
    """One command to measure.

    check:  takes exit code and output, returns what is wrong; empty when the tool did its work
    before: runs ahead of every run, outside the measured time
    """

    name: str
    argv: tuple[str, ...]
    cwd: Path
    check: Callable[[int, str], str]
    env: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], None] = lambda: None


def run(tool: Tool, logs: Path) -> Sample:
    """One run of the whole process. NexusError: the tool did not do its work; the hint names its log."""
    tool.before()
    log, report = logs / f"{tool.name.lower()}.log", logs / "report.json"
    report.unlink(missing_ok=True)
    argv = [sys.executable, "-SE", str(_TIMED), str(report), str(log), str(tool.cwd), *tool.argv]
    # our own VIRTUAL_ENV or PYTHON* would change which libraries the other tools load
    clean = {k: v for k, v in os.environ.items() if k != "VIRTUAL_ENV" and not k.startswith(("PYTHON", "INVOKE_"))}
    subprocess.run(argv, env={**clean, **tool.env}, check=True)
    result = json.loads(report.read_bytes())
    if fault := tool.check(result["code"], log.read_text(errors="replace")):
        raise NexusError(f"{tool.name}: {fault}", f"read {log}")
    return Sample(**result["sample"])


def run_rounds(
    tools: Sequence[Tool], count: int, logs: Path, say: Say, between: Callable[[], None] = lambda: None
) -> dict[str, list[Sample]]:
    """Samples by tool. Each round runs every tool once, so that a drift of the machine affects all of them.

    `between` runs before each run.
    """
    samples: dict[str, list[Sample]] = {tool.name: [] for tool in tools}
    for number in range(1, count + 1):
        for tool in tools:
            between()
            sample = run(tool, logs)
            samples[tool.name].append(sample)
            say(f"  round {number}/{count}  {tool.name:<8} {sample.wall:6.2f} s  {sample.memory:4.0f} MB")
    return samples
