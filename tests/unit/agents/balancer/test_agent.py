"""The balancer's loop: it follows Consul, and no missing, failing or damaged input takes a service down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.fake_caddy import BOTH, World


def test_a_configuration_is_loaded_once(world: World) -> None:
    """Upstreams follow Consul; without a change nothing is loaded again; a quorum confirms each request."""
    for _ in range(3):
        world.turn()
    assert world.answer() == BOTH
    assert world.admin.loads == [200]
    assert all("consistent" in path for path in world.consul.requests)


@pytest.mark.parametrize("failing", ["nexus/services/routes", "/v1/health/service/web"])
def test_a_failing_consul_removes_nothing(world: World, failing: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever request fails, the upstreams stay, it is logged once, and Consul is asked again in each turn."""
    world.turn()
    world.consul.failing = failing
    world.consul.health["web"] = []
    for _ in range(3):
        world.turn(changed=False)
    world.turn(after=60.0, changed=False)
    world.turn(changed=False)
    assert world.answer() == BOTH
    assert world.admin.loads == [200]
    assert capsys.readouterr().out.count("Caddy keeps what it has") == 1
    world.consul.failing = None
    world.turn(changed=False)
    assert "no healthy instance" in world.answer()


@pytest.mark.parametrize("value", [None, [], "", {"routes": None}, {}])
def test_missing_routes_remove_nothing(world: World, value: Any) -> None:
    """A missing or damaged key means that Consul lost its data, not that the operator wants no routes."""
    world.turn()
    world.consul.routes = value
    world.turn()
    assert world.answer() == BOTH


def test_an_empty_list_of_routes_is_published(world: World) -> None:
    """An empty list, written by the operator, removes everything."""
    world.turn()
    world.consul.routes = {"routes": []}
    world.turn()
    assert list(world.admin.running["apps"]["http"]["servers"]) == ["http"]


def test_health_in_another_form_removes_nothing(world: World) -> None:
    """An answer that is no list of instances counts as no answer."""
    world.turn()
    malformed: list[Any] = [None, {}, [{}], [{"Service": None}], "x"]
    for value in malformed:
        world.consul.health["web"] = value
        world.turn()
        assert world.answer() == BOTH


def test_from_disk_before_consul_answers(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """A balancer that starts without Consul gives Caddy the last good input; only its own user can read the file."""
    world.turn()
    world.stop_caddy()
    world.restart_caddy()
    world.consul.failing = ""
    world.restart()
    world.balancer.restore()
    world.turn()
    assert world.answer() == BOTH
    assert (world.folder / "last.json").stat().st_mode & 0o777 == 0o600
    assert "From disk" in capsys.readouterr().out


@pytest.mark.parametrize("text", [
    "", "{", "[]", "\x00", '{"routes": 1, "upstreams": {}}', '{"routes": [], "upstreams": {"a": [[1]]}}',
])  # fmt: skip
def test_a_damaged_file_is_not_used(world: World, text: str) -> None:
    """Nothing is loaded from it, and Consul's answer replaces it."""
    (world.folder / "last.json").write_text(text)
    world.balancer.restore()
    assert world.admin.loads == []
    world.turn()
    stored = json.loads((world.folder / "last.json").read_text())
    assert stored["upstreams"] == {"web": [["10.0.0.1", 8080], ["10.0.0.2", 8080]]}


def test_a_caddy_that_restarted_gets_its_configuration_back(world: World) -> None:
    """In the next turn, without news from Consul."""
    world.turn()
    world.stop_caddy()
    world.turn(changed=False)
    world.turn(changed=False)
    world.restart_caddy()
    world.turn(changed=False)
    assert world.answer() == BOTH
