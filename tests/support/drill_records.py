"""Sample records of drills for the tests of reports: each way that a drill can end, and extremes."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from fabfile.drills.verdict.record import Moment, Primary, Promise, Record, Requests, Sample, requests_of

BEGAN = 1_795_464_904.0  # 2026-11-23 20:15:04 UTC
HOSTILE = "</text><script>alert(1)</script>&\"' \x1b[31m\x00\u202e\ud800\nend"


def load(until_s: float, *, rate: float = 20, down: tuple[float, float] = (0, 0), seed: int = 1) -> tuple[Sample, ...]:
    """`rate` requests a second until `until_s`, around 12 ms each. Those within `down` fail; for one second after it they
    are slow.
    """
    random = Random(seed)  # noqa: S311  noise for a picture
    samples = []
    for number in range(int(until_s * rate)):
        at_s = number / rate
        failing = down[0] <= at_s < down[1]
        ms = random.lognormvariate(2.5, 0.35) * (8 if down[1] and down[1] <= at_s < down[1] + 1 else 1)
        samples.append(Sample(round(at_s, 3), round(random.uniform(1, 4) if failing else ms, 1), not failing))
    return tuple(samples)


def timeline_of(fault_s: float, *seen: Moment, healed_s: float | None, drill: str) -> tuple[Moment, ...]:
    """The timeline that the runner writes, together with the moments `seen`."""
    healing = [] if healed_s is None else [
        Moment(healed_s - 0.2, "phase", "healing"), Moment(healed_s, "healed", "the fault is undone"),
        Moment(healed_s + 0.1, "phase", "steady again"),
    ]  # fmt: skip
    moments = [
        Moment(0.0, "phase", "steady state"), Moment(fault_s - 0.8, "phase", "arming the undo"),
        Moment(fault_s, "phase", "fault"), Moment(fault_s, "fault", drill), *seen, *healing,
    ]  # fmt: skip
    return tuple(sorted(moments, key=lambda m: m.at_s))


def passed() -> Record:
    samples = load(14, down=(6.2, 6.5))
    return Record(
        "kill-service", "PASS", BEGAN, "api on w1, one of 3 instances that pass", ("w1",), "shop",
        "Recovered after 1.84 s, promised within 10 s.", Promise("back and passing in 10 s", 10), 0.41, 1.84, 0.5, 60,
        6.1, 8.9, requests_of(samples, 1000), (Primary("m1", 4, -3600),), None,
        timeline_of(6.1, Moment(6.51, "detected", "seen 0.4 s after the fault"), Moment(7.94, "recovered", "after 1.8 s"),
                    healed_s=8.9, drill="kill-service on api on w1"), samples, None, "0.1.0",
    )  # fmt: skip


def failed() -> Record:
    samples = load(48, down=(6.0, 44))
    return Record(
        "hang-service", "FAIL", BEGAN + 100, "api on w2, its only instance that passes", ("w2",), "shop",
        "Recovered: never seen, promised within 30 s.", Promise("back and passing in 30 s", 30), 4.2, None, 0.5, 90, 6.0,
        42.3, requests_of(samples, 1000), (Primary("m1", 4, -3600),), None,
        timeline_of(6.0, Moment(10.2, "detected", "seen 4.2 s after the fault"), healed_s=42.3,
                    drill="hang-service on api on w2"),
        samples, "the only instance, and we want to see it", "0.1.0",
    )  # fmt: skip


def twice() -> Record:
    """The primary changes twice."""
    samples = load(22)
    epochs = (Primary("manager-1", 4, -120.0), Primary("manager-2", 5, 7.31), Primary("manager-3", 6, 7.52))
    return Record(
        "kill-primary", "PASS", BEGAN + 200, "manager-1, the primary", ("manager-1",), "shop",
        "Recovered after 1.92 s, promised within 5 s.", Promise("a primary acts again in 5 s", 5), 1.21, 1.92, 0.2, 60,
        6.1, 13.0, requests_of(samples, 1000), epochs, (),
        timeline_of(6.1, Moment(7.31, "detected", "seen 1.2 s after the fault"),
                    Moment(7.31, "primary", "manager-2 is primary, epoch 5"),
                    Moment(7.52, "primary", "manager-3 is primary, epoch 6"), Moment(8.02, "recovered", "after 1.9 s"),
                    healed_s=13.0, drill="kill-primary on manager-1, the primary"), samples, None, "0.1.0",
    )  # fmt: skip


def aborted() -> Record:
    samples = load(19, down=(6.1, 16.4))
    return Record(
        "partition", "ABORTED", BEGAN + 300, "m2: 1 of 3 managers", ("m2",), "shop",
        "103 of the last 200 requests failed.",
        Promise("the cut-off side never acts; replicas on the other side in 30 s", 30), 2.5, None, 0.5, 120,
        6.0, 16.6, requests_of(samples, 1000), (Primary("m1", 4, -3600),), (),
        timeline_of(6.0, Moment(8.5, "detected", "seen 2.5 s after the fault"),
                    Moment(16.1, "abort", "103 of the last 200 requests failed"), healed_s=16.6, drill="partition on m2"),
        samples, None, "0.1.0",
    )  # fmt: skip


def unknown() -> Record:
    samples = load(9)
    why = "The measurement broke: the probes were silent for 24.0 s from 9.10 s on, and may be for 20 s at most."
    return Record(
        "kill-consul", "UNKNOWN", BEGAN + 400, "w3, worker, running 2 instances", ("w3",), "shop", why,
        Promise("no service stops; Consul's agent is back in 10 s", 10, failed_requests=0), None, None, 0.5, 60, 6.0, 33.1,
        requests_of(samples, 1000), (Primary("m1", 4, -3600),), None,
        timeline_of(6.0, healed_s=33.1, drill="kill-consul on w3"), samples, None, "0.1.0",
    )  # fmt: skip


def unloaded() -> Record:
    """Without load, so without requests."""
    record = twice()
    return replace(record, began=BEGAN + 500, samples=(), requests=Requests(), primaries=record.primaries[:2],
                   timeline=tuple(m for m in record.timeline if "epoch 6" not in m.text))  # fmt: skip


def long() -> Record:
    """A drill of ten minutes with a fault of nine; the recovery counts from the undo on."""
    samples = load(600, down=(30.0, 31.5))
    return Record(
        "packet-loss", "PASS", BEGAN + 600, "w1, worker, running 4 instances", ("w1",), "shop",
        "Recovered after 6.20 s, promised within 30 s; 30 of 12,000 requests failed.",
        Promise("what runs goes on; all is steady within 30 s of the undo", 30, failed_requests=100), None, 6.2, 0.5, 600,
        30.0, 570.0, requests_of(samples, 1000), (Primary("m1", 4, -3600),), (),
        timeline_of(30.0, Moment(576.2, "recovered", "after 6.2 s"), healed_s=570.0, drill="packet-loss on w1"),
        samples, None, "0.1.0", since_undo=True,
    )  # fmt: skip


def split() -> Record:
    """Two primaries at the same time, which must never happen."""
    finding = ("two primaries at a time: place by m1 (epoch 4, index 812) at 1795465110.500, 2.100 s later than elected by "
               "m2 (epoch 5, index 809) at 1795465108.400")  # fmt: skip
    return replace(
        twice(), drill="freeze-primary", verdict="FAIL", began=BEGAN + 700, two_primaries=(finding, finding),
        why=f"The history of the primaries is not sound: {finding}; and 1 more.",
    )  # fmt: skip


def skipped() -> Record:
    return Record("stop-docker", "SKIPPED", BEGAN + 800, cluster="shop", why="no worker of this cluster runs Docker")


def hostile() -> Record:
    """An attacker wrote every text."""
    return replace(
        passed(), drill=f"kill-{HOSTILE}", target=HOSTILE, cluster=HOSTILE, why=HOSTILE * 20, hosts=(HOSTILE,),
        promise=Promise(HOSTILE, 10), primaries=(Primary(HOSTILE, 1, -1),), two_primaries=(HOSTILE,),
        timeline=(Moment(1, "note", HOSTILE), Moment(2, "phase", HOSTILE)), forced=HOSTILE, version=HOSTILE,
    )  # fmt: skip


EVERY = (passed, failed, twice, aborted, unknown, unloaded, long, split, skipped, hostile)
