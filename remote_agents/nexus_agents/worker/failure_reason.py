"""Why an instance does not live, in one line: the last line of its log, how its process ended, what its check was told.

`explain` is pure; `read_log` asks the journal, and `FailureReasons` when it is to be asked.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..shared.kv_schema import unit_name
from .instance_steps import Evaluation

LINES = 30  # of the journal
LONGEST = 200  # characters of a reason
TIMEOUT = 3.0  # seconds for journalctl
MOST_IN_A_TURN = 3  # reasons that one turn of the worker looks for: the other instances wait for it
SILENT_FOR = 10.0  # seconds for which a check is critical until its reason is looked for
_ENDED = re.compile(r"\.service: Main process exited, code=(\w+), status=(\S+)")
_SYSTEMD = "systemd"  # who writes `Main process exited` into the unit's log
_NO_NEWS = "--help"  # Docker's last line tells how to ask for help


def read_log(service: str) -> list[Mapping[str, Any]]:
    """The last entries of the unit's journal, oldest first; empty where they cannot be read."""
    argv = ["journalctl", "--quiet", "--no-pager", "--output=json", f"--lines={LINES}", f"--unit={unit_name(service)}"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=TIMEOUT, errors="replace")
        return [json.loads(line) for line in done.stdout.splitlines()]
    except (subprocess.TimeoutExpired, OSError, ValueError):
        return []


def explain(entries: Iterable[Mapping[str, Any]], check_output: str = "") -> str:
    """`Address already in use (exited, 1/FAILURE)`; "" where nothing is known. `check_output`: of its check in Consul."""
    said = ended = ""
    for entry in entries:
        text = entry.get("MESSAGE")
        if not isinstance(text, str) or not text.strip():  # journald gives bytes that are no text as a list
            continue
        if entry.get("SYSLOG_IDENTIFIER") == _SYSTEMD:
            match = _ENDED.search(text)
            ended = f"{match[1]}, {match[2]}" if match else ended
        elif _NO_NEWS not in text:
            said = " ".join(text.split())
    check = " ".join(check_output.split())
    parts = [_short(said), f"({ended})" if ended else "", f"its check: {_short(check)}" if check and not ended else ""]
    return " ".join(filter(None, parts))


class FailureReasons:
    """The reasons of all instances that are not up, each looked for when its instance fails again. Not thread-safe."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._due: set[str] = set()
        self._left = MOST_IN_A_TURN

    def new_turn(self) -> None:
        self._left = MOST_IN_A_TURN

    def set(self, service: str, reason: str) -> None:
        self._reasons[service] = reason

    def add_to(
        self, evaluation: Evaluation, service: str, failures_before: int, outputs: Mapping[str, str], now: float
    ) -> Evaluation:
        """With the reason in its note, while it is not up. `outputs`: service -> what its check was told."""
        if evaluation.state not in ("starting", "looping", "failed"):
            self._reasons.pop(service, None)
            self._due.discard(service)
            return evaluation
        history, step = evaluation.history, evaluation.step
        critical_for = now - history.critical_since if history.critical_since is not None else 0.0
        if (
            history.failures > failures_before
            or (step is not None and step.verb in ("pause", "kill"))
            or (critical_for >= SILENT_FOR and service not in self._reasons)
        ):
            self._due.add(service)
        if service in self._due and self._left > 0:
            self._left -= 1
            self._due.discard(service)
            self._reasons[service] = explain(read_log(service), outputs.get(service, ""))
        note = ": ".join(filter(None, (evaluation.note, self._reasons.get(service, ""))))
        return replace(evaluation, note=note)


def _short(text: str) -> str:
    """Without what a terminal would obey: a program may log anything."""
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
