"""Kept connections are emptied before Caddy reloads: when the marker is there, and what Caddy makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from remote_agents.nexus_agents.balancer.caddy_admin import Caddy
from remote_agents.nexus_agents.balancer.connection_drain import DRAIN_TIME, MARKER, ConnectionDrain
from remote_agents.nexus_agents.balancer.publisher import Publisher
from tests.support.caddy_reader import SETTINGS, config_of, handlers, https_routes, route
from tests.support.fake_caddy import World, entry


def drain_in(folder: Path, pauses: list[float]) -> ConnectionDrain:
    return ConnectionDrain(folder, pauses.append)


def test_the_marker_is_there_before_and_during_the_reload_only(tmp_path: Path) -> None:
    """It stands for a moment before the reload begins, and goes after it, also after a failed one."""
    pauses: list[float] = []
    drain = drain_in(tmp_path, pauses)
    with drain.draining():
        assert (pauses, (tmp_path / MARKER).exists()) == ([DRAIN_TIME], True)
    assert not (tmp_path / MARKER).exists()
    with pytest.raises(ValueError, match="refused"), drain.draining():
        raise ValueError("refused")
    assert not (tmp_path / MARKER).exists()


def test_a_marker_left_by_a_killed_agent_goes(tmp_path: Path) -> None:
    """Else no connection would be kept until the next reload."""
    (tmp_path / MARKER).touch()
    drain_in(tmp_path, [])
    assert not (tmp_path / MARKER).exists()


def test_a_missing_folder_stops_no_reload(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fewer kept connections are worse than a balancer that no longer follows: it reloads all the same."""
    with drain_in(tmp_path / "gone", []).draining():
        done = True
    assert done
    assert "kept connections are cut" in capsys.readouterr().out


def test_each_server_looks_for_the_marker_first() -> None:
    """The first route of both servers, which goes on to the next ones, and leaves requests to upgrade alone."""
    servers = config_of(route(), runtime="/run/nexus-balancer")["apps"]["http"]["servers"]
    for server in servers.values():
        first = server["routes"][0]
        assert first["match"] == [
            {"file": {"root": "/run/nexus-balancer", "try_files": [f"/{MARKER}"]}, "not": [{"header": {"Upgrade": ["*"]}}]}
        ]
        assert first["handle"] == [{"handler": "headers", "response": {"deferred": True, "set": {"Connection": ["close"]}}}]
        assert "terminal" not in first
    assert "file" not in str(https_routes(config_of(route()))[0]["match"])


def test_streams_outlive_a_reload_where_caddy_can() -> None:
    """Every proxy has the delay, or none: an older Caddy refuses a key that it does not know."""
    proxies = handlers(https_routes(config_of(route(), stream_close_delay="300s")), "reverse_proxy")
    assert {p["stream_close_delay"] for p in proxies} == {"300s"}
    assert "stream_close_delay" not in str(config_of(route()))


def test_the_balancer_drains_for_each_change_but_not_for_an_empty_caddy(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Caddy that has just started serves nobody, and gets its configuration at once."""
    seen: list[bool] = []
    load = Caddy.load

    def watched(caddy: Caddy, config: bytes) -> None:
        seen.append((world.folder / MARKER).exists())
        load(caddy, config)

    monkeypatch.setattr(Caddy, "load", watched)
    settings = {**SETTINGS, "runtime": str(world.folder)}
    world.balancer._publisher = Publisher(Caddy(world.socket, str(world.folder / "caddy")), settings)
    world.turn()
    world.consul.health["web"].append(entry("10.0.0.3"))
    world.turn()
    assert seen == [True, True]
    world.stop_caddy()
    world.restart_caddy()
    world.turn()
    assert seen == [True, True, False]
    assert "10.0.0.3:8080" in str(world.admin.running)
