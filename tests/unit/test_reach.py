"""The way to any manager: the first that answers, or all reasons why none does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.core.errors import HostError, Several
from fabfile.edge.reach import manager
from fabfile.edge.ssh import Remote

from .samples import cluster_of


def test_where_no_manager_answers_each_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line and one way out for each, not the first one's alone."""

    def closed(remote: Remote) -> None:
        raise HostError(remote.host.name, "closed", f"is {remote.host.name} up?")

    monkeypatch.setattr(Remote, "open", closed)
    cluster = replace(cluster_of(m1="manager", w1="worker", m2="manager"), state=tmp_path)
    with pytest.raises(Several) as refused, manager(cluster):
        pass
    told = [(error.message, error.hint) for error in refused.value.errors]
    assert told == [("m1: closed", "is m1 up?"), ("m2: closed", "is m2 up?")]
