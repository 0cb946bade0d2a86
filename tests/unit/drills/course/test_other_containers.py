"""Which containers on a drill's host are not the cluster's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from fabfile.core.errors import HostError
from fabfile.drills.course.other_containers import other_containers
from fabfile.drills.faults.catalogue import FAULTS


def remote(name: str, out: str, code: int = 0) -> Any:
    done = SimpleNamespace(code=code, out=out.encode(), err="Cannot connect to the Docker daemon\n")
    return SimpleNamespace(host=SimpleNamespace(name=name), run=lambda *_, **__: done)


def test_those_of_services_are_the_clusters() -> None:
    found = other_containers([remote("w1", "theirs\nnexus-svc-web\ndb\n"), remote("w2", "nexus-svc-web\n")])
    assert found == ("db on w1", "theirs on w1")


def test_what_docker_does_not_tell_is_not_risked() -> None:
    with pytest.raises(HostError, match="Cannot connect to the Docker daemon"):
        other_containers([remote("w1", "", 1)])


def test_the_drills_that_end_containers_look_for_them() -> None:
    assert [name for name, fault in FAULTS.items() if fault.ends_containers] == ["stop-docker"]
