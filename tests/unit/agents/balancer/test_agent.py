"""The balancer's loop: it follows Consul, and nothing that is sick, gone or damaged takes a service down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from remote_agents.nexus_agents.balancer import agent as balancer
from tests.support.fake_caddy import BOTH, World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World(tmp_path)
    monkeypatch.setattr(balancer, "now", lambda: found.time)
    yield found
    found.end()


def test_what_consul_says_is_loaded_once(world: World) -> None:
    """Upstreams follow; what changes nothing is not loaded again; each question is one that a quorum confirms."""
    for _ in range(3):
        world.turn()
    assert world.goes() == BOTH
    assert world.admin.loads == [200]
    assert all("consistent" in path for path in world.consul.asked)


@pytest.mark.parametrize("sick", ["nexus/services/routes", "/v1/health/service/web"])
def test_a_sick_consul_removes_nothing(world: World, sick: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever question fails, the upstreams stay, it is said once, and Consul is asked again in each turn."""
    world.turn()
    world.consul.sick = sick
    world.consul.health["web"] = []
    for _ in range(3):
        world.turn(changed=False)
    world.turn(after=60.0, changed=False)
    world.turn(changed=False)
    assert world.goes() == BOTH
    assert world.admin.loads == [200]
    assert capsys.readouterr().out.count("Caddy keeps what it has") == 1
    world.consul.sick = None
    world.turn(changed=False)
    assert "no healthy instance" in world.goes()


@pytest.mark.parametrize("value", [None, [], "", {"routes": None}, {}])
def test_routes_that_are_gone_remove_nothing(world: World, value: Any) -> None:
    """A key that is missing or unreadable is a Consul that lost its data, not an operator who wants no routes."""
    world.turn()
    world.consul.routes = value
    world.turn()
    assert world.goes() == BOTH


def test_no_routes_at_all_is_an_order(world: World) -> None:
    """An empty list, written by the operator, takes everything down."""
    world.turn()
    world.consul.routes = {"routes": []}
    world.turn()
    assert list(world.admin.running["apps"]["http"]["servers"]) == ["http"]


def test_health_in_another_form_removes_nothing(world: World) -> None:
    """An answer that is no list of instances counts as none."""
    world.turn()
    odds: list[Any] = [None, {}, [{}], [{"Service": None}], "x"]
    for odd in odds:
        world.consul.health["web"] = odd
        world.turn()
        assert world.goes() == BOTH


def test_from_disk_before_consul_answers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A balancer that starts without Consul gives a Caddy that starts what was good last; the file is for it alone."""
    world.turn()
    world.stop_caddy()
    world.restart_caddy()
    world.consul.sick = ""
    world.restart()
    world.balancer.restore()
    world.turn()
    assert world.goes() == BOTH
    assert (world.folder / "last.json").stat().st_mode & 0o777 == 0o600
    assert "From disk" in capsys.readouterr().out


@pytest.mark.parametrize("text", [
    "", "{", "[]", "\x00", '{"routes": 1, "upstreams": {}}', '{"routes": [], "upstreams": {"a": [[1]]}}',
])  # fmt: skip
def test_a_damaged_file_is_not_used(world: World, text: str) -> None:
    """It is said, nothing is loaded from it, and Consul's answer replaces it."""
    (world.folder / "last.json").write_text(text)
    world.balancer.restore()
    assert world.admin.loads == []
    world.turn()
    kept = json.loads((world.folder / "last.json").read_text())
    assert kept["upstreams"] == {"web": [["10.0.0.1", 8080], ["10.0.0.2", 8080]]}


def test_a_caddy_that_restarted_gets_its_configuration_back(world: World) -> None:
    """In the next turn, with nothing new from Consul; while it is away, that is said once."""
    world.turn()
    world.stop_caddy()
    world.turn(changed=False)
    world.turn(changed=False)
    world.restart_caddy()
    world.turn(changed=False)
    assert world.goes() == BOTH
