"""Why an instance is not up: read out of journal entries as systemd 252 writes them, and when it is looked for."""

from __future__ import annotations

from typing import Any

import pytest

from remote_agents.nexus_agents.worker import failure_reason
from remote_agents.nexus_agents.worker.failure_reason import LONGEST, MOST_IN_A_TURN, SILENT_FOR, FailureReasons, explain
from remote_agents.nexus_agents.worker.instance_steps import Evaluation, InstanceHistory, Step


def said(text: object, by: str = "web") -> dict[str, Any]:
    return {"MESSAGE": text, "SYSLOG_IDENTIFIER": by}


def ended(code: str, status: str) -> dict[str, Any]:
    return said(f"nexus-svc-web.service: Main process exited, code={code}, status={status}", "systemd")


TAKEN = [
    said("Started Service web, kept by Nexus Ops.", "systemd"),
    said("Traceback (most recent call last):"),
    said("OSError: [Errno 98] Address already in use"),
    ended("exited", "1/FAILURE"),
    said("nexus-svc-web.service: Failed with result 'exit-code'.", "systemd"),
    said("nexus-svc-web.service: Scheduled restart job, restart counter is at 5.", "systemd"),
]
IMAGE = [
    said("Unable to find image 'registry.test/app:2' locally"),
    said("docker: Error response from daemon: manifest for registry.test/app:2 not found."),
    said("See 'docker run --help'."),
    ended("exited", "125/n/a"),
]


@pytest.mark.parametrize(
    ("entries", "check", "reason"),
    [
        (TAKEN, "", "OSError: [Errno 98] Address already in use (exited, 1/FAILURE)"),
        (TAKEN, "connection refused", "OSError: [Errno 98] Address already in use (exited, 1/FAILURE)"),
        (IMAGE, "", "docker: Error response from daemon: manifest for registry.test/app:2 not found. (exited, 125/n/a)"),
        ([said("listening")], "HTTP GET http://10.0.0.2:8080/: 503\n Output: no", "listening its check: "
         "HTTP GET http://10.0.0.2:8080/: 503 Output: no"),
        ([ended("killed", "9/KILL")], "", "(killed, 9/KILL)"),
        ([said("\x1b[31mred\x1b[0m alert")], "", " [31mred [0m alert"),
        ([said([104, 105]), said("  "), {}], "", ""),
    ],
)  # fmt: skip
def test_a_reason_is_one_line(entries: list[dict[str, Any]], check: str, reason: str) -> None:
    """The program's last line and how it ended; where it did not end, what its check was told; "" where nothing is known."""
    assert explain(entries, check) == reason


def test_a_reason_is_short() -> None:
    """Whatever a program writes, the note stays readable."""
    assert len(explain([said("x" * 5000)], "y" * 5000)) < 2 * LONGEST + 20


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> FailureReasons:
    monkeypatch.setattr(failure_reason, "read_log", lambda _: TAKEN)
    return FailureReasons()


def noted(reasons: FailureReasons, state: str = "starting", service: str = "web", before: int = 0, **history: Any) -> str:
    reasons.new_turn()
    evaluation = Evaluation(InstanceHistory(**history), None, True, state, "again")
    return reasons.add_to(evaluation, service, before, {}, now=100.0).note


REASON = "again: OSError: [Errno 98] Address already in use (exited, 1/FAILURE)"


def test_a_failure_has_its_reason_until_it_is_up(reasons: FailureReasons) -> None:
    """Looked for when it has ended again; kept while it is not up; gone once it runs."""
    assert noted(reasons) == "again"
    assert noted(reasons, failures=1) == REASON
    assert noted(reasons, "looping", failures=1, before=1) == REASON
    assert noted(reasons, "running") == "again"
    assert noted(reasons) == "again"


def test_a_check_that_stays_critical_has_its_reason(reasons: FailureReasons) -> None:
    """A process that runs and does not pass is explained after ten seconds."""
    assert noted(reasons, critical_since=100.0 - SILENT_FOR + 1) == "again"
    assert noted(reasons, critical_since=100.0 - SILENT_FOR) == REASON


@pytest.mark.parametrize("verb", ["kill", "pause"])
def test_a_kill_and_a_pause_have_their_reason(reasons: FailureReasons, verb: Any) -> None:
    """The report that follows at once has it."""
    evaluation = Evaluation(InstanceHistory(), Step(verb, "web", "why"), True, "failed")
    assert reasons.add_to(evaluation, "web", 0, {}, 0.0).note == REASON.removeprefix("again: ")


def test_many_failures_at_once_do_not_hold_the_worker_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn asks the journal for a few; the others' reasons come with the next turns."""
    asked: list[str] = []

    def read(name: str) -> list[dict[str, Any]]:
        asked.append(name)
        return TAKEN

    monkeypatch.setattr(failure_reason, "read_log", read)
    reasons, evaluation = FailureReasons(), Evaluation(InstanceHistory(failures=1), None, True, "starting")
    for before in (0, 1, 1):
        reasons.new_turn()
        for n in range(2 * MOST_IN_A_TURN):
            reasons.add_to(evaluation, f"s{n}", before, {}, 0.0)
        assert len(asked) <= 2 * MOST_IN_A_TURN
    assert len(set(asked)) == len(asked) == 2 * MOST_IN_A_TURN
