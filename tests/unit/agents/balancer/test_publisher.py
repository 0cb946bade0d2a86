"""What the balancer gives to Caddy: not more reloads than it takes, and without what Caddy refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.balancer import agent as balancer
from remote_agents.nexus_agents.balancer import upstreams as instances
from remote_agents.nexus_agents.balancer.faulty_services import faulty_services
from tests.support.caddy_reader import route
from tests.support.fake_caddy import BAD, BOTH, World, entry


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World(tmp_path)
    monkeypatch.setattr(balancer, "now", lambda: found.time)
    yield found
    found.end()


def test_what_caddy_refuses_is_left_out_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The service is named with Caddy's reason, the others are published, and it is not tried again until it changes."""
    world.consul.routes = {"routes": [route(), *(route(f"s{i}", domain=f"s{i}.test") for i in range(5))]}
    world.consul.routes["routes"][3]["check_path"] = BAD
    world.consul.health |= {f"s{i}": [entry("10.0.0.5"), entry("10.0.0.6")] for i in range(5)}
    world.turn()
    assert world.goes() == BOTH
    assert "s2 is left out, for Caddy refuses it: invalid URL escape" in capsys.readouterr().out
    assert [world.goes(f"s{i}.test").startswith("10.0.0.5:") for i in range(5)] == [True, True, False, True, True]
    loads = len(world.admin.loads)
    world.turn()
    assert len(world.admin.loads) == loads
    world.consul.routes["routes"][3]["check_path"] = "/health"
    world.turn()
    assert world.goes("s2.test").startswith("10.0.0.5:")


def test_what_nobody_is_to_blame_for_keeps_the_old(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Caddy goes on with the old one, is asked for it once more, so that systemd is at ease, and for the new one later."""
    world.turn()
    world.admin.refuses.append("10.0.0.3")
    world.consul.health["web"].append(entry("10.0.0.3"))
    world.turn()
    world.turn()
    assert world.goes() == BOTH
    assert world.admin.loads == [200, 400, 200]
    assert "keeps the one before: caddy's reason" in capsys.readouterr().out
    world.admin.refuses.clear()
    world.turn(after=10.0)
    assert world.goes() == f"{BOTH},10.0.0.3:8080"


def test_without_the_program_nobody_is_blamed(world: World) -> None:
    """Where `caddy validate` cannot be run, the old configuration stays."""
    world.turn()
    (world.folder / "caddy").unlink()
    world.consul.routes = {"routes": [route(), route("bad", domain="bad.test", check_path=BAD)]}
    world.consul.health["bad"] = [entry("10.0.0.5"), entry("10.0.0.6")]
    world.turn()
    assert world.goes() == BOTH


def test_an_instance_that_comes_back_costs_no_reload(world: World) -> None:
    """While another passes and Caddy checks for itself, a failing one stays known for LINGER seconds."""
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2")]
    world.turn()
    assert (world.goes(), world.admin.loads) == (BOTH, [200])
    world.turn(after=instances.LINGER, changed=False)
    assert world.goes() == "10.0.0.2:8080"


@pytest.mark.parametrize("gone", [
    [entry("10.0.0.2")], [entry("10.0.0.1", "critical", "_service_maintenance:web"), entry("10.0.0.2")],
    [entry("10.0.0.1", "critical", "_node_maintenance"), entry("10.0.0.2")],
])  # fmt: skip
def test_an_instance_that_was_taken_out_is_gone_at_once(world: World, gone: list[Any]) -> None:
    """Deregistered or in maintenance, it gets nothing any more."""
    world.turn()
    world.consul.health["web"] = gone
    world.turn()
    assert world.goes() == "10.0.0.2:8080"


def test_without_a_check_of_its_own_caddy_is_told_at_once(world: World) -> None:
    """A failing instance that Caddy does not check goes with the first word of it."""
    world.consul.routes = {"routes": [route(check_path=None)]}
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2")]
    world.turn()
    assert world.goes() == "10.0.0.2:8080"


def test_none_passing_is_503_for_that_service_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Its requests get the sentence, its neighbour's go on, and the log names it."""
    world.consul.routes = {"routes": [route(), route("b", domain="b.test")]}
    world.consul.health["b"] = [entry("10.0.0.7")]
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2", "warning")]
    world.turn()
    assert "no healthy instance" in world.goes()
    assert world.goes("b.test") == "10.0.0.7:8080"
    assert "web has no healthy instance" in capsys.readouterr().out


def test_the_last_instance_may_be_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HOLD, an instance with none beside it stays known that long; one that is deregistered does not."""
    monkeypatch.setattr(instances, "HOLD", 5.0)
    world.consul.health["web"] = [entry("10.0.0.1")]
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical")]
    world.turn()
    assert world.goes() == "10.0.0.1:8080"
    world.turn(after=5.0, changed=False)
    assert "no healthy instance" in world.goes()


NAMES = st.sets(st.integers(0, 30).map("s{}".format))


@given(NAMES, NAMES)
def test_exactly_the_culprits_are_found(services: set[str], bad: set[str]) -> None:
    """However many there are, Caddy takes what is left, and nobody else is left out."""
    trials = 0

    def rejection(tried: Sequence[str]) -> str | None:
        nonlocal trials
        trials += 1
        return "why" if bad & set(tried) else None

    assert faulty_services(sorted(services), rejection) == dict.fromkeys(services & bad, "why")
    if len(services & bad) == 1:
        assert trials <= 2 * 5 + 2


def test_a_caddy_that_takes_nothing_blames_nobody() -> None:
    """Where even a configuration with no service is refused, no service is at fault."""
    assert faulty_services(["a", "b"], lambda _: "no such module") == {}


def test_of_two_that_clash_one_stays() -> None:
    """Services that Caddy refuses only together lose as few as it takes."""
    assert len(faulty_services(["a", "b", "c"], lambda tried: "clash" if {"a", "c"} <= set(tried) else None)) == 1
