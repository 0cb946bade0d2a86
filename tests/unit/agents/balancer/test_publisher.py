"""What the balancer loads into Caddy: no needless reloads, and no service that Caddy refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.balancer import upstreams as instances
from remote_agents.nexus_agents.balancer.faulty_services import faulty_services
from tests.support.caddy_reader import route
from tests.support.fake_caddy import BAD, BOTH, World, entry


def test_only_the_refused_service_is_left_out(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """It is logged with Caddy's reason, the others are published, and it is not tried again until it changes."""
    world.consul.routes = {"routes": [route(), *(route(f"s{i}", domain=f"s{i}.test") for i in range(5))]}
    world.consul.routes["routes"][3]["check_path"] = BAD
    world.consul.health |= {f"s{i}": [entry("10.0.0.5"), entry("10.0.0.6")] for i in range(5)}
    world.turn()
    assert world.answer() == BOTH
    assert "s2 is left out, for Caddy refuses it: invalid URL escape" in capsys.readouterr().out
    assert [world.answer(f"s{i}.test").startswith("10.0.0.5:") for i in range(5)] == [True, True, False, True, True]
    loads = len(world.admin.loads)
    world.turn()
    assert len(world.admin.loads) == loads
    world.consul.routes["routes"][3]["check_path"] = "/health"
    world.turn()
    assert world.answer("s2.test").startswith("10.0.0.5:")


def test_a_refusal_through_no_services_fault_keeps_the_old_one(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Caddy keeps the old one, loads it once more (for systemd's state), and the new one is tried again later."""
    world.turn()
    world.admin.refuses.append("10.0.0.3")
    world.consul.health["web"].append(entry("10.0.0.3"))
    world.turn()
    world.turn()
    assert world.answer() == BOTH
    assert world.admin.loads == [200, 400, 200]
    assert "keeps the one before: caddy's reason" in capsys.readouterr().out
    world.admin.refuses.clear()
    world.turn(after=10.0)
    assert world.answer() == f"{BOTH},10.0.0.3:8080"


def test_without_the_program_no_service_is_left_out(world: World) -> None:
    """Where `caddy validate` cannot be run, the old configuration stays."""
    world.turn()
    (world.folder / "caddy").unlink()
    world.consul.routes = {"routes": [route(), route("bad", domain="bad.test", check_path=BAD)]}
    world.consul.health["bad"] = [entry("10.0.0.5"), entry("10.0.0.6")]
    world.turn()
    assert world.answer() == BOTH


def test_an_instance_that_comes_back_costs_no_reload(world: World) -> None:
    """While another passes and Caddy checks for itself, a failing instance stays an upstream for LINGER seconds."""
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2")]
    world.turn()
    assert (world.answer(), world.admin.loads) == (BOTH, [200])
    world.turn(after=instances.LINGER, changed=False)
    assert world.answer() == "10.0.0.2:8080"


@pytest.mark.parametrize("gone", [
    [entry("10.0.0.2")], [entry("10.0.0.1", "critical", "_service_maintenance:web"), entry("10.0.0.2")],
    [entry("10.0.0.1", "critical", "_node_maintenance"), entry("10.0.0.2")],
])  # fmt: skip
def test_a_removed_instance_is_gone_at_once(world: World, gone: list[Any]) -> None:
    """Deregistered or in maintenance, it gets no more requests."""
    world.turn()
    world.consul.health["web"] = gone
    world.turn()
    assert world.answer() == "10.0.0.2:8080"


def test_without_a_check_of_its_own_caddy_reloads_at_once(world: World) -> None:
    """A failing instance that Caddy does not check itself is removed at once."""
    world.consul.routes = {"routes": [route(check_path=None)]}
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2")]
    world.turn()
    assert world.answer() == "10.0.0.2:8080"


def test_none_passing_is_503_for_that_service_alone(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Its requests get the sentence, those of other services go on, and the log names it."""
    world.consul.routes = {"routes": [route(), route("b", domain="b.test")]}
    world.consul.health["b"] = [entry("10.0.0.7")]
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical"), entry("10.0.0.2", "warning")]
    world.turn()
    assert "no healthy instance" in world.answer()
    assert world.answer("b.test") == "10.0.0.7:8080"
    assert "web has no healthy instance" in capsys.readouterr().out


def test_the_last_instance_may_be_held(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """With HOLD, the last instance stays an upstream that long after it fails."""
    monkeypatch.setattr(instances, "HOLD", 5.0)
    world.consul.health["web"] = [entry("10.0.0.1")]
    world.turn()
    world.consul.health["web"] = [entry("10.0.0.1", "critical")]
    world.turn()
    assert world.answer() == "10.0.0.1:8080"
    world.turn(after=5.0, changed=False)
    assert "no healthy instance" in world.answer()


NAMES = st.sets(st.integers(0, 30).map("s{}".format))


@given(NAMES, NAMES)
def test_exactly_the_faulty_services_are_found(services: set[str], bad: set[str]) -> None:
    """However many there are, Caddy accepts the others, and no other is left out."""
    trials = 0

    def validate(tried: Sequence[str]) -> str | None:
        nonlocal trials
        trials += 1
        return "why" if bad & set(tried) else None

    assert faulty_services(sorted(services), validate) == dict.fromkeys(services & bad, "why")
    if len(services & bad) == 1:
        assert trials <= 2 * 5 + 2


def test_if_caddy_refuses_everything_no_service_is_faulty() -> None:
    """Where even a configuration with no service is refused, no service is at fault."""
    assert faulty_services(["a", "b"], lambda _: "no such module") == {}


def test_of_two_that_clash_one_is_left_out() -> None:
    """Of services that Caddy refuses only together, as few as possible are left out."""
    assert len(faulty_services(["a", "b", "c"], lambda tried: "clash" if {"a", "c"} <= set(tried) else None)) == 1
