"""What the orchestrator decides, situation by situation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from remote_agents.nexus_agents.orchestrator.placement import decide
from remote_agents.nexus_agents.orchestrator.placement_model import Action, Instance
from tests.support.placements import action_texts, desired_services, observed

# what must hold: (workers, orders, wanted, the actions, the notes)
CASES: dict[str, tuple[str, str, str, list[str], list[str]]] = {
    # first placement, spread
    "all replicas are placed at once, by name": (
        "w3 w2 w1", "", "web=2", ["place web w1", "place web w2"], []),
    "the emptiest workers come first": (
        "w1 w2 w3", "a@w1 b@w1 a@w2", "a=2 b=1 web=2", ["place web w3", "place web w2"], []),
    "what this decision places counts too": (
        "w1 w2", "", "a=1 b=1 c=1", ["place a w1", "place b w2", "place c w1"], []),
    "what nobody wants any more does not count": (
        "w1 w2", "old@w1", "web=1", ["remove old w1", "place web w1"], []),
    "one on every worker": (
        "w1 w2 w3", "web@w2", "web=all", ["place web w1", "place web w3"], []),
    # fewest moves
    "what is healthy does not move for balance": (
        "w1 w2 w3", "a@w1 b@w1 c@w1", "a=1 b=1 c=1", [], []),
    "a worker that comes back is given nothing": (
        "w1 w2 w3", "a@w1 b@w1 a@w2 b@w2", "a=2 b=2", [], []),
    "a worker that comes back is given what is missing": (
        "w1 w2 w3", "a@w1 b@w1 a@w2 b@w2", "a=3 b=2", ["place a w3"], []),
    "an instance that does not pass is its worker's affair": (
        "w1 w2 w3", "web@w1 web@w2!failed", "web=2", [], []),
    # no healthy worker, and too few
    "no worker is alive": (
        "w1:dead w2:dead", "", "web=2", [], ["web: 2 of 2 wait for a worker: no worker is alive"]),
    "no worker is known, as after a restore: nothing is touched": (
        "", "web@w1 old@w2", "web=1", [], ["no worker is known to Consul: nothing is changed"]),
    "more replicas than workers": (
        "w1 w2", "", "web=5", ["place web w1", "place web w2"],
        ["web: 3 of 5 wait for a worker: every worker that may have it has one"]),
    # flapping
    "a flapping worker comes last": (
        "w1:flaps w2 w3", "a@w2 b@w2 a@w3 b@w3", "a=2 b=2 web=2", ["place web w2", "place web w3"],
        ["w1 flaps: it is given nothing new while another worker can take it"]),
    "a flapping worker is better than none": (
        "w1:flaps w2", "web@w2", "web=2", ["place web w1"],
        ["w1 flaps: it is given nothing new while another worker can take it"]),
    "a flapping worker keeps what it has": (
        "w1:flaps w2 w3", "web@w1", "web=1", [],
        ["w1 flaps: it is given nothing new while another worker can take it"]),
    "no rolling change moves a replica to a flapping worker": (
        "w1 w2 w3:flaps", "web@w1 web@w2", "web:r2=2", ["replace web w1"],
        ["w3 flaps: it is given nothing new while another worker can take it"]),
    "a dead worker's flapping is not noted": (
        "w1:flaps:dead w2", "web@w2", "web=1", [], []),
    # labels
    "only workers with all labels": (
        "w1:zone=a w2:zone=a:disk=ssd w3:disk=ssd w4", "", "web=2/zone=a/disk=ssd", ["place web w2"],
        ["web: 1 of 2 wait for a worker: every worker that may have it has one"]),
    "no worker has the labels": (
        "w1 w2:zone=a", "", "web=1/zone=b", [], ["web: 1 of 1 wait for a worker: no live worker has zone=b"]),
    "a lost label: the replacement first": (
        "w1 w2:zone=a w3:zone=a", "web@w1 web@w2", "web=2/zone=a", ["place web w3"],
        ["web stays on w1, which lacks zone=a, until another worker has it up"]),
    "a lost label: its removal waits until the replacement passes": (
        "w1 w2:zone=a w3:zone=a", "web@w1 web@w2 web@w3!starting", "web=2/zone=a", [],
        ["web stays on w1, which lacks zone=a, until another worker has it up"]),
    "a lost label: then the removal": (
        "w1 w2:zone=a w3:zone=a", "web@w1 web@w2 web@w3", "web=2/zone=a", ["remove web w1"], []),
    "a lost label: what does not pass need not wait": (
        "w1 w2:zone=a", "web@w1!looping web@w2?", "web=1/zone=a", ["remove web w1"], []),
    "a lost label with nowhere to go": (
        "w1 w2:zone=a", "web@w1 web@w2", "web=2/zone=a", [],
        ["web stays on w1, which lacks zone=a, until another worker has it up"]),
    "one on every worker leaves the one that lost the label": (
        "w1 w2:zone=a", "web@w1 web@w2", "web=all/zone=a", ["remove web w1"], []),
    # surplus
    "surplus goes at once, the last by name": (
        "w1 w2 w3", "web@w1 web@w2 web@w3", "web=1", ["remove web w3", "remove web w2"], []),
    "surplus: off the fullest worker": (
        "w1 w2 w3", "web@w1 web@w2 web@w3 a@w1", "web=2 a=1", ["remove web w1"], []),
    "surplus: what does not pass, before the fullest": (
        "w1 w2 w3", "web@w1 web@w2!failed web@w3 a@w1", "web=2 a=1", ["remove web w2"], []),
    "surplus: first what does not pass, then the fullest": (
        "w1 w2 w3", "web@w1 web@w2!failed web@w3 a@w1", "web=1 a=1", ["remove web w2", "remove web w1"], []),
    "surplus: the old revision, before what does not pass": (
        "w1 w2 w3", "web@w1 web@w2:r2 web@w3:r2", "web:r2=2", ["remove web w1"], []),
    "none wanted": (
        "w1 w2", "web@w1 web@w2!looping", "web=0", ["remove web w2", "remove web w1"], []),
    # rolling change with an extra instance first
    "rolling: one extra first": (
        "w1 w2 w3", "web@w1 web@w2", "web:r2=2", ["place web w3"], []),
    "rolling: nothing goes while the extra starts": (
        "w1 w2 w3", "web@w1 web@w2 web@w3:r2!starting", "web:r2=2", [], ["web: the change to r2 waits for w3 (starting)"]),
    "rolling: one old goes when the extra passes": (
        "w1 w2 w3", "web@w1 web@w2 web@w3:r2", "web:r2=2", ["remove web w2"], []),
    "rolling: and the next extra comes where it was": (
        "w1 w2 w3", "web@w1 web@w3:r2", "web:r2=2", ["place web w2"], []),
    "rolling: the only replica moves without a gap": (
        "w1 w2", "web@w1", "web:r2=1", ["place web w2"], []),
    # rolling change in place
    "rolling in place: one at a time": (
        "w1 w2", "web@w1 web@w2", "web:r2=2", ["replace web w1"], []),
    "rolling in place: the worker has not begun yet": (
        "w1 w2", "web@w1:r2? web@w2", "web:r2=2", [], ["web: the change to r2 waits for w1 (starting)"]),
    "rolling in place: the next": (
        "w1 w2", "web@w1:r2 web@w2", "web:r2=2", ["replace web w2"], []),
    "rolling in place: the only replica": (
        "w1", "web@w1", "web:r2=1", ["replace web w1"], []),
    "rolling in place: on every worker, whatever is dead": (
        "w1 w2 w3:dead", "web@w1:r2 web@w2 web@w3", "web:r2=all", ["replace web w2"], []),
    "rolling in place waits for a replica whose worker is dead": (
        "w1 w2 w3:dead", "web@w1 web@w2 web@w3", "web:r2=3", [],
        ["web: one waits for w3 to come back: every worker that may have it has one",
         "web: the change to r2 waits for w3 (dead)"]),
    # a change that meets trouble
    "rolling: what does not pass is changed first": (
        "w1 w2 w3", "web@w1 web@w2!looping", "web:r2=2", ["replace web w2"], []),
    "rolling: of several that do not pass, one at a time": (
        "w1 w2", "web@w1!looping web@w2!looping", "web:r2=2", ["replace web w1"], []),
    "a looping new revision holds the change": (
        "w1 w2 w3", "web@w1 web@w2 web@w3:r2!looping", "web:r2=2", [], ["web: the change to r2 waits for w3 (looping)"]),
    "a new revision that runs and does not pass holds the change": (
        "w1 w2", "web@w1:r2!running web@w2", "web:r2=2", [], ["web: the change to r2 waits for w1 (not passing)"]),
    "a held change holds even where an old one fails": (
        "w1 w2 w3", "web@w1 web@w2!failed web@w3:r2!looping", "web:r2=2", [],
        ["web: the change to r2 waits for w3 (looping)"]),
    "back to the old revision: the failed extra goes at once": (
        "w1 w2 w3", "web@w1 web@w2 web@w3:r2!looping", "web=2", ["remove web w3"], []),
    "a fixed third revision: the failed extra goes first": (
        "w1 w2 w3", "web@w1 web@w2 web@w3:r2!looping", "web:r3=2", ["remove web w3"], []),
    "more replicas in a change: they come first, all at once": (
        "w1 w2 w3 w4", "web@w1 web@w2", "web:r2=4", ["place web w3", "place web w4"], []),
    "fewer replicas in a change: the one that serves stays": (
        "w1 w2 w3", "web@w1 web@w2:r2!starting web@w3:r2!starting", "web:r2=1", ["remove web w3"], []),
    "fewer replicas in a change: of those that serve as many as are wanted": (
        "w1 w2 w3 w4 w5", "web@w1 web@w2 web@w3:r2!starting web@w4:r2!starting web@w5:r2!starting", "web:r2=1",
        ["remove web w2", "remove web w5", "remove web w4"], []),
    "a change waits for a new instance whose worker lost the label": (
        "w1 w2:zone=a", "web@w1:r2!starting web@w2!failed", "web:r2=2/zone=a", [],
        ["web stays on w1, which lacks zone=a, until another worker has it up",
         "web: the change to r2 waits for w1 (starting)"]),
    "a change in place waits for an old instance whose worker lost the label": (
        "w1 w2:zone=a", "web@w1!failed web@w2", "web:r2=2/zone=a", [],
        ["web stays on w1, which lacks zone=a, until another worker has it up",
         "web: the change to r2 waits for w1 (failed)"]),
    # dead hosts
    "a dead worker's replica goes elsewhere, and its order is taken back": (
        "w1:dead w2 w3", "web@w1 web@w2", "web=2", ["place web w3", "remove web w1"], []),
    "a dead worker's replica with nowhere to go stays its own": (
        "w1:dead w2", "web@w1 web@w2", "web=2", [],
        ["web: one waits for w1 to come back: every worker that may have it has one"]),
    "of two dead workers' replicas one finds a place": (
        "w1:dead w2:dead w3", "web@w1 web@w2", "web=2", ["place web w3", "remove web w2"],
        ["web: one waits for w1 to come back: every worker that may have it has one"]),
    "of two dead workers the one with the wished revision keeps its order": (
        "w1:dead w2:dead w3", "web@w1 web@w2:r2", "web:r2=2", ["place web w3", "remove web w1"],
        ["web: one waits for w2 to come back: every worker that may have it has one"]),
    "what does not pass is changed though a dead worker's replica waits": (
        "w1:dead w2", "web@w1 web@w2!looping", "web:r2=2", ["replace web w2"],
        ["web: one waits for w1 to come back: every worker that may have it has one"]),
    "one on every worker: a dead one keeps its order": (
        "w1:dead w2", "web@w1 web@w2", "web=all", [], []),
    "all workers dead: all orders stay": (
        "w1:dead w2:dead", "web@w1 web@w2", "web=2", [],
        ["web: one waits for w1 to come back: no worker is alive",
         "web: one waits for w2 to come back: no worker is alive"]),
    "a dead worker in a rolling change: the repair first, with the new revision": (
        "w1:dead w2 w3", "web@w1 web@w2", "web:r2=2", ["place web w3", "remove web w1"], []),
    "a dead worker in a rolling change: the extra takes its place": (
        "w1:dead w2 w3", "web@w1 web@w2 web@w3:r2", "web:r2=2", ["remove web w1"], []),
    "a cut-off worker that comes back has its instance taken away": (
        "w1 w2 w3", "web@w1 web@w2 web@w3", "web=2", ["remove web w3"], []),
    "a cut-off worker that comes back to a kept order goes on": (
        "w1 w2", "web@w1 web@w2", "web=2", [], []),
    # what is gone
    "a removed service goes everywhere, from dead workers too": (
        "w1 w2:dead", "web@w1 old@w1 old@w2", "web=1", ["remove old w1", "remove old w2"], []),
    "nothing wanted any more": (
        "w1 w2", "web@w1 old@w2", "", ["remove web w1", "remove old w2"], []),
    "a worker that left is replaced and its orders go": (
        "w2 w3", "web@w1 web@w2 old@w1", "web=2", ["remove old w1", "remove web w1", "place web w3"], []),
    "a worker that left counts as gone even where none can take over": (
        "w2", "web@w1 web@w2", "web=2", ["remove web w1"],
        ["web: 1 of 2 wait for a worker: every worker that may have it has one"]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_situation(name: str) -> None:
    """Each situation leads to its actions, in their order, and to what an operator should know, word for word."""
    workers, orders, wanted, actions, notes = CASES[name]
    decision = decide(observed(workers, orders), desired_services(wanted))
    assert action_texts(decision.actions) == actions
    assert list(decision.notes) == notes


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_the_input_does_not_matter(name: str) -> None:
    """The same facts in reverse order give exactly the same decision."""
    workers, orders, wanted, *_ = CASES[name]
    backwards = [" ".join(reversed(text.split())) for text in (workers, orders, wanted)]
    assert decide(observed(*backwards[:2]), desired_services(backwards[2])) == decide(
        observed(workers, orders), desired_services(wanted)
    )


def test_an_action_has_its_revision_and_its_reason() -> None:
    """place and replace have the desired revision, remove the old one, and each has its reason."""
    assert decide(observed("w1:dead w2", "web@w1 old@w2:r7"), desired_services("web:r2=1")).actions == (
        Action("remove", "old", "w2", "r7", "no longer wanted"),
        Action("place", "web", "w2", "r2", "w1 is dead"),
        Action("remove", "web", "w1", "r1", "the worker is dead, and others have its replica"),
    )
    assert decide(observed("w1", "web@w1!looping"), desired_services("web:r2=1")).actions == (
        Action("replace", "web", "w1", "r2", "it is not up (looping), so it changes first"),
    )


@pytest.mark.parametrize("state", ["looping", "failed", "stopping"])
def test_a_passing_check_alone_does_not_make_an_instance_up(state: str) -> None:
    """An instance that its worker reports as looping, failed or stopping is not up, whatever its check's state."""
    seen = observed("w1 w2", "web@w1 web@w2")
    seen = replace(seen, instances={**seen.instances, ("web", "w2"): Instance("r1", True, state)})
    assert decide(seen, desired_services("web=2")).sentence == "web 1/2"
    assert action_texts(decide(seen, desired_services("web=1")).actions) == ["remove web w2"]


@pytest.mark.parametrize(
    ("workers", "orders", "wanted", "sentence"),
    [
        ("w1 w2 w3", "web@w1 web@w2 web@w3", "web=3", "web 3/3"),
        ("w1 w2", "web@w1 web@w2 api@w1", "web=2 api=3",
         "api 1/3 (1 waiting for a worker), web 2/2; placed api on w2"),
        ("w1:dead w2", "web@w1 web@w2", "web=2", "web 1/2 (1 waiting for a worker)"),
        ("w1", "web@w1 old@w1", "web:r2=1", "web 1/1; removed old from w1, changed web on w1"),
        ("w1", "", "", "no services wanted"),
        ("", "web@w1", "web=1", "no worker is known to Consul: nothing is changed"),
        ("w1", " ".join(f"s{n}@w1" for n in range(8)), " ".join(f"s{n}=1" for n in range(8)), "8 services whole"),
        ("w1", " ".join(f"s{n}@w1" for n in range(7)), " ".join(f"s{n}=1" for n in range(9)),
         "s7 0/1, s8 0/1, 7 services whole; placed s7 on w1, placed s8 on w1"),
        ("w1", "", " ".join(f"s{n}=1" for n in range(8)),
         "s0 0/1, s1 0/1, s2 0/1, s3 0/1, s4 0/1, s5 0/1, 2 more short; placed s0 on w1, placed s1 on w1, placed s2 on w1, "
         "placed s3 on w1, placed s4 on w1, placed s5 on w1, 2 more"),
    ],
)  # fmt: skip
def test_the_sentence_for_the_journal(workers: str, orders: str, wanted: str, sentence: str) -> None:
    """One line with each service's count, what waits and what is done; with many services, only the incomplete ones."""
    assert decide(observed(workers, orders), desired_services(wanted)).sentence == sentence


@pytest.mark.parametrize(("state", "told"), [
    ("pulling", "pulling"), ("pull-failed", "pull-failed"), ("running", "starting")])  # fmt: skip
def test_a_change_tells_what_it_waits_for(state: str, told: str) -> None:
    """An image that is still pulled shows; the older version that runs meanwhile is not the new one."""
    world = observed("w1 w2", "web@w1:r2 web@w2")
    world = replace(world, instances={**world.instances, ("web", "w1"): Instance("r1", True, state)})
    decision = decide(world, desired_services("web:r2=2"))
    assert decision.actions == ()
    assert decision.notes == (f"web: the change to r2 waits for w1 ({told})",)
