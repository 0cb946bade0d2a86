"""The way to any manager: the first that answers, or all reasons why none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fabfile.cli.console.output import show_errors
from fabfile.core.errors import HostError, Several
from fabfile.edge.consul.overview import first_answer
from fabfile.edge.consul.tunnels import open_manager
from fabfile.edge.ssh.connection import Remote
from tests.support.samples import cluster_of


def test_when_no_manager_answers_each_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line and one way out for each, not the first one's alone."""

    def closed(remote: Remote) -> None:
        raise HostError(remote.host.name, "closed", f"is {remote.host.name} up?")

    monkeypatch.setattr(Remote, "open", closed)
    cluster = replace(cluster_of(m1="manager", w1="worker", m2="manager"), state=tmp_path)
    with pytest.raises(Several) as refused, open_manager(cluster):
        pass
    errors = [(error.message, error.hint) for error in refused.value.errors]
    assert errors == [("m1: closed", "is m1 up?"), ("m2: closed", "is m2 up?")]


@pytest.mark.parametrize(
    ("hints", "hint"),
    [({"m1": "up?", "m2": "up?"}, "up?"), ({"m1": "up?", "m2": "key?"}, "inv detect tells the way out of each")],
)
def test_when_no_manager_can_be_queried_each_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], hints: dict[str, str], hint: str
) -> None:
    """A line for each, and the way out where they share it."""
    cluster = cluster_of(m1="manager", m2="manager")

    def question(consul: Any) -> None:
        name = consul._remote.host.name
        raise HostError(name, "closed", hints[name])

    with pytest.raises(HostError) as failed:
        first_answer([Remote(cluster, host) for host in cluster.hosts], question)
    show_errors(failed.value)
    assert capsys.readouterr().err.splitlines() == ["error: m1: closed", "error: m2: closed", f"hint: {hint}"]
    with pytest.raises(HostError, match="no manager answers"):
        first_answer([], question)
