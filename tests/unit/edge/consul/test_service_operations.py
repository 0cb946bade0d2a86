"""How long a command waits for services: as long as there is hope, and no longer."""

from __future__ import annotations

from pathlib import Path
from unittest.mock import Mock

import pytest

from fabfile.core.judge.service_health import Instance, ServiceHealth, ServicesHealth
from fabfile.edge.consul import service_operations
from fabfile.edge.consul.service_operations import wait_until_settled


def health(state: str) -> ServicesHealth:
    passing = state == "running"
    return ServicesHealth((ServiceHealth("web", 1, (Instance("w1", state, passing, True),)),))


def wait(monkeypatch: pytest.MonkeyPatch, states: dict[float, str], seconds: float = 60) -> tuple[bool, float, list[str]]:
    """`states`: from second -> the instance's state. The result, how long it took, and what was said."""
    at, said = [0.0], list[str]()

    def sleep(pause: float) -> None:
        at[0] += pause

    monkeypatch.setattr(service_operations, "time", Mock(monotonic=lambda: at[0], sleep=sleep))
    monkeypatch.setattr(service_operations, "managers", lambda _: [])
    monkeypatch.setattr(
        service_operations, "services_health", lambda _: health(states[max(s for s in states if s <= at[0])])
    )
    fleet = Mock(path=Path())
    return wait_until_settled(fleet, None, seconds, said.append, lambda _: True), at[0], said


def test_a_long_pull_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time for the start begins behind it; what is pulled where is said once."""
    settled, took, said = wait(monkeypatch, {0: "starting", 50: "pulling", 1000: "starting", 1055: "running"})
    assert (settled, took) == (True, 1055)
    assert said == ["web 0/1", "web 0/1 (pulling its image on w1)", "web 0/1", "web 1/1"]


def test_a_start_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    settled, took, _ = wait(monkeypatch, {0: "pulling", 1000: "starting"})
    assert (settled, round(took)) == (False, 1060)


@pytest.mark.parametrize("state", ["looping", "pull-failed"])
def test_what_only_fails_again_and_again_is_told_soon(state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settled, took, _ = wait(monkeypatch, {0: "starting", 10: state})
    assert not settled
    assert took < 17
