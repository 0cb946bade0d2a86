"""Which services are kept off which workers, how long, and what becomes of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.misfits import FAILURES, MOST, PATIENCE, REMEMBERED, Misfits
from remote_agents.nexus_agents.orchestrator.placement import decide
from remote_agents.nexus_agents.orchestrator.placement_model import Action, DesiredService, Instance, Observed, Worker
from tests.support.placements import action_texts, desired_services, observed

HOSTS = ("w1", "w2", "w3", "w4", "w5")
WHY = "crashed 5 times without passing: Address already in use"
LOOPING = Instance("r1", False, "looping", FAILURES, WHY)


def seen(workers: str, orders: str, **instances: Instance) -> Observed:
    """`w1=…`: the instance of web there."""
    found = observed(workers, orders)
    return replace(found, instances={**found.instances, **{("web", host): i for host, i in instances.items()}})


def after(misfits: Misfits, cluster: Observed, wanted: str = "web=1", now: float = 0.0, wall: float = 1e9) -> list[str]:
    """What the primary does: one look, one decision."""
    desired = desired_services(wanted)
    misfits.update(cluster, desired, now, wall)
    return action_texts(decide(replace(cluster, misfits=misfits.reasons()), desired).actions)


def test_five_failures_move_it_to_another_worker() -> None:
    """It is placed on a free worker, and taken from where it cannot live, with the worker's own reason in both events."""
    misfits, cluster = Misfits(), seen("w1 w2", "web@w1", w1=LOOPING)
    assert after(misfits, cluster) == ["place web w2", "remove web w1"]
    decision = decide(replace(cluster, misfits=misfits.reasons()), desired_services("web=1"))
    assert [a.why for a in decision.actions] == [f"w1 cannot run it ({WHY})", f"the worker cannot run it ({WHY})"]


def test_fewer_failures_are_the_workers_affair() -> None:
    """So is one that has only just stopped passing."""
    assert after(Misfits(), seen("w1 w2", "web@w1", w1=replace(LOOPING, failures=FAILURES - 1))) == []


@pytest.mark.parametrize(
    ("instance", "why"),
    [
        (Instance("r1", False, "running", 0, "its check: 503"), "not up for 60 s: its check: 503"),
        (Instance("r1", False, "starting"), "not up for 60 s: it is starting"),
        (Instance("r1", False), "not up for 60 s: its check does not pass"),
        (None, "not up for 60 s: its worker does not report it"),
    ],
)
def test_a_minute_without_a_pass_moves_it_too(instance: Instance | None, why: str) -> None:
    """By the primary's own clock: also where the worker is deaf and reports nothing."""
    misfits, cluster = Misfits(), seen("w1 w2", "web@w1?", **({"w1": instance} if instance else {}))
    assert after(misfits, cluster, now=100.0) == []
    assert after(misfits, cluster, now=100.0 + PATIENCE - 1) == []
    assert after(misfits, cluster, now=100.0 + PATIENCE) == ["place web w2", "remove web w1"]
    assert misfits.reasons() == {("web", "w1"): why}


def test_what_happens_to_most_workers_at_once_moves_nothing() -> None:
    """Where two of three are not up for a minute, as after tokens were lost, no worker is to blame; failures still count."""
    silent = Instance("r1", False)
    cluster = seen("w1 w2 w3", "web@w1 web@w2", w1=silent, w2=silent)
    misfits = Misfits()
    assert [after(misfits, cluster, "web=2", now=now) for now in (0.0, PATIENCE, 10 * PATIENCE)] == [[], [], []]
    assert after(misfits, seen("w1 w2 w3", "web@w1 web@w2", w1=LOOPING, w2=silent), "web=2", now=10 * PATIENCE) == [
        "place web w3", "remove web w1"]  # fmt: skip
    assert after(Misfits(), seen("w1 w2 w3", "web@w1", w1=silent)) == []


def test_a_pass_in_between_starts_the_minute_anew() -> None:
    """Only a minute in a row counts."""
    misfits, down = Misfits(), seen("w1 w2", "web@w1", w1=Instance("r1", False, "starting"))
    assert after(misfits, down, now=0.0) == []
    assert after(misfits, seen("w1 w2", "web@w1"), now=PATIENCE - 1) == []
    assert after(misfits, down, now=PATIENCE + 1) == []


def test_an_image_that_is_being_pulled_takes_its_time() -> None:
    """A worker that says so is not given up on."""
    misfits, cluster = Misfits(), seen("w1 w2", "web@w1", w1=Instance("r1", False, "pulling"))
    assert [after(misfits, cluster, now=now) for now in (0.0, 10 * PATIENCE)] == [[], []]


def test_without_another_worker_it_stays() -> None:
    """It stays where it is, and the note says why; once another worker comes it moves."""
    misfits, cluster = Misfits(), seen("w1 w2:dead", "web@w1", w1=LOOPING)
    assert after(misfits, cluster) == []
    [note] = decide(replace(cluster, misfits=misfits.reasons()), desired_services("web=1")).notes
    assert note == f"web stays on w1, which cannot run it ({WHY}), until another worker has it up"
    assert after(misfits, seen("w1 w2", "web@w1", w1=LOOPING)) == ["place web w2", "remove web w1"]


def test_a_worker_that_cannot_run_it_is_better_than_none() -> None:
    """A missing replica goes there when nobody else is left; nothing moves from one such worker to another."""
    misfits = Misfits()
    after(misfits, seen("w1 w2", "web@w1", w1=LOOPING))
    assert after(misfits, seen("w1 w2:dead", "web@w2")) == ["place web w1", "remove web w2"]
    misfits = Misfits()
    misfits.load({"web": {h: {"revision": "r1", "until": 2e9, "why": "x"} for h in ("w1", "w2")}})
    assert after(misfits, seen("w1 w2", "web@w1", w1=LOOPING)) == []


def test_a_service_on_every_worker_stays_on_every_worker() -> None:
    """There is nowhere else for it."""
    assert after(Misfits(), seen("w1 w2", "web@w1 web@w2", w1=LOOPING), "web=all") == []


def test_what_fails_everywhere_stays_put() -> None:
    """After two workers the service itself is to blame: it does not wander through the whole cluster."""
    misfits, cluster = Misfits(), seen("w1 w2 w3 w4", "web@w1", w1=LOOPING)
    for host in HOSTS[1 : MOST + 1]:
        assert after(misfits, cluster)[0] == f"place web {host}"
        cluster = seen("w1 w2 w3 w4", f"web@{host}", **{host: LOOPING})
    assert after(misfits, cluster) == []
    assert len(misfits.reasons()) == MOST


def test_it_is_forgotten_after_ten_minutes_or_with_a_new_revision() -> None:
    """The worker gets another chance then; and the next primary knows what this one knew."""
    misfits, gone = Misfits(), seen("w1 w2 w3", "web@w2")
    after(misfits, seen("w1 w2 w3", "web@w1", w1=LOOPING), wall=1e9)
    successor = Misfits()
    successor.load(misfits.dump())
    assert successor.reasons() == {("web", "w1"): WHY}
    assert after(successor, gone, "web=2", wall=1e9 + REMEMBERED - 1) == ["place web w3"]
    assert successor.update(gone, desired_services("web=2"), 0.0, 1e9 + REMEMBERED)
    assert successor.dump() == {}
    assert misfits.update(gone, desired_services("web:r2=1"), 0.0, 1e9)
    assert misfits.dump() == {}


def test_one_that_is_up_again_is_no_misfit() -> None:
    """Where it had to stay and came up, it is at home again."""
    misfits = Misfits()
    after(misfits, seen("w1 w2:dead", "web@w1", w1=LOOPING))
    assert misfits.reasons()
    assert after(misfits, seen("w1 w2", "web@w1")) == []
    assert misfits.reasons() == {}


@pytest.mark.parametrize(
    "stored",
    [None, [], "x", {"web": 1}, {"web": {"w1": None}}, {"web": {"w1": {"revision": "r1", "until": "soon", "why": ""}}}],
)
def test_a_damaged_value_is_an_empty_one(stored: Any) -> None:
    """Whatever is in the KV store, the primary goes on."""
    misfits = Misfits()
    misfits.load(stored)
    assert misfits.dump() == {}


@settings(deadline=None)
@given(st.data())
def test_where_workers_are_left_all_come_up_and_nothing_wanders(data: st.DataObject) -> None:
    """With at most two workers where it cannot live, and room on others, each replica ends up serving; no step
    takes one that serves, and the steps end."""
    hosts = HOSTS[: data.draw(st.integers(3, 5))]
    bad = data.draw(st.sets(st.sampled_from(hosts), max_size=MOST))
    count = data.draw(st.integers(1, len(hosts) - len(bad)))
    desired = {"web": DesiredService("web", "r1", count)}
    workers = {h: Worker(h, True) for h in hosts}
    orders: dict[str, dict[str, str]] = {}
    misfits, steps = Misfits(), 0
    for turn in range(20):
        instances = {
            ("web", h): LOOPING if h in bad else Instance("r1", True) for h, o in orders.items() if "web" in o
        }  # fmt: skip
        look = Observed(workers, {h: dict(o) for h, o in orders.items()}, instances)
        misfits.update(look, desired, float(turn), 1e9)
        actions = decide(replace(look, misfits=misfits.reasons()), desired).actions
        assert not [a for a in actions if a.kind == "remove" and a.host not in bad]
        _apply(orders, actions)
        steps += len(actions)
        if not actions:
            break
    serving = [h for h, o in orders.items() if "web" in o and h not in bad]
    assert len(serving) == count
    assert steps <= count + 3 * len(bad)


def _apply(orders: dict[str, dict[str, str]], actions: tuple[Action, ...]) -> None:
    for action in actions:
        if action.kind == "remove":
            del orders[action.host][action.service]
        else:
            orders.setdefault(action.host, {})[action.service] = action.revision
