"""Hypothesis strategies for the record of a drill, from usual values to absurd ones."""

from __future__ import annotations

from typing import TypeAlias

from hypothesis import strategies as st

from fabfile.drills.verdict.record import MOMENT_KINDS, VERDICTS, Moment, Primary, Promise, Record, Requests, Sample

TEXT = st.text(max_size=40)  # with control characters; a lone surrogate is in `drill_records.HOSTILE`
NUMBER = st.floats(-1e12, 1e12, allow_nan=False)
SHORT = st.floats(0, 700, allow_nan=False).map(lambda v: round(v, 2))
COUNT = st.integers(0, 10**12)


def maybe(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.none() | strategy


Numbers: TypeAlias = st.SearchStrategy[float]


def records(number: Numbers = NUMBER, sample: Numbers = NUMBER) -> st.SearchStrategy[Record]:
    return st.builds(
        Record, drill=TEXT, verdict=st.sampled_from(VERDICTS), began=number, target=TEXT,
        hosts=st.lists(TEXT, max_size=3).map(tuple), cluster=TEXT, why=TEXT,
        promise=st.builds(Promise, TEXT, maybe(number), maybe(number), maybe(COUNT)),
        detected_s=maybe(number), recovered_s=maybe(number), error_s=number, ttl_s=number,
        fault_at_s=maybe(number), healed_at_s=maybe(number),
        requests=st.builds(Requests, COUNT, COUNT, COUNT, *[maybe(number)] * 5),
        primaries=st.lists(st.builds(Primary, TEXT, COUNT, number), max_size=5).map(tuple),
        two_primaries=maybe(st.lists(TEXT, max_size=3).map(tuple)),
        timeline=st.lists(st.builds(Moment, number, st.sampled_from(MOMENT_KINDS), TEXT), max_size=8).map(tuple),
        samples=st.lists(st.builds(Sample, sample, sample.map(abs), st.booleans()), max_size=60).map(tuple),
        forced=maybe(TEXT), version=TEXT, since_undo=st.booleans(),
    )  # fmt: skip
