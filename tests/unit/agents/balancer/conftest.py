"""The balancer with its surroundings, for all of its tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agents.nexus_agents.balancer import agent as balancer
from tests.support.fake_caddy import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    found = World(tmp_path)
    monkeypatch.setattr(balancer, "now", lambda: found.time)
    yield found
    found.close()
