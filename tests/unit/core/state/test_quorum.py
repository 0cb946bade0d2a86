"""What a step of a deploy waits for: its own servers and those that were well, not those that were ill before."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.state.quorum import Quorum, read_quorum


def server(name: str, healthy: bool = True, voter: bool = True, serf: str = "alive") -> dict[str, Any]:
    return {"ID": f"id-{name}", "Name": name, "SerfStatus": serf, "Healthy": healthy, "Voter": voter}


def quorum(*servers: dict[str, Any]) -> Quorum:
    return read_quorum({"Healthy": all(s["Healthy"] for s in servers), "Servers": list(servers)})


def test_who_was_ill_before_is_not_waited_for() -> None:
    """m3 is dead: a step on m1 and m2 lacks nothing, although autopilot as a whole is not healthy."""
    found = quorum(server("m1"), server("m2"), server("m3", healthy=False, serf="failed"))
    assert found.lacks(["m1", "m2"]) == ""
    assert found.lacks(["m1", "m3"]) == "m3 does not answer the others"
    assert found.others == {"m3": "does not answer the others"}


@pytest.mark.parametrize(("joining", "said"), [
    ((), "m4 is not in the raft quorum"),
    ((server("m4", healthy=False, voter=False),), "m4 is not caught up yet"),
    ((server("m4", voter=False),), "m4 has no vote yet"),
    ((server("m4"),), ""),
])  # fmt: skip
def test_a_new_server_is_well_once_it_votes(joining: tuple[dict[str, Any], ...], said: str) -> None:
    """What it lacks is named, step by step."""
    assert quorum(server("m1"), server("m2"), server("m3"), *joining).lacks(["m1", "m4"]) == said


def test_one_more_may_go_only_while_a_majority_is_left() -> None:
    three = quorum(server("m1"), server("m2"), server("m3"))
    assert three.survives_without("m1")
    ill = quorum(server("m1"), server("m2"), server("m3", healthy=False, serf="failed"))
    assert not ill.survives_without("m1")
    assert ill.survives_without("m3")
    five = quorum(*(server(f"m{n}") for n in range(4)), server("m4", healthy=False, serf="failed"))
    assert five.survives_without("m0")


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from(["alive", "failed", "left"])), max_size=7))
def test_each_server_is_well_or_has_a_fault(states: list[tuple[bool, bool, str]]) -> None:
    found = quorum(*(server(f"m{n}", *state) for n, state in enumerate(states)))
    assert found.well | found.others.keys() == {f"m{n}" for n in range(len(states))}
    assert not found.well & found.others.keys()
    assert found.lacks(found.well) == ""
    assert all(found.lacks([name]) for name in found.others)
