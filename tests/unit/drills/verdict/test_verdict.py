"""PASS, FAIL or UNKNOWN: what was never seen has not happened, and what could not be measured is not judged."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.judge.fencing import Act, check_history
from fabfile.drills.verdict.record import Promise, Requests
from fabfile.drills.verdict.verdict import judge_time, measurement_errors, verdict_of

PROMISE = Promise("back in 10 s, seen in 5 s, no failed request", 10, 5, 0)
GOOD: dict[str, Any] = {"detected_s": 1.0, "recovered_s": 2.0, "error_s": 0.5, "requests": Requests(100, 0)}
# m1 goes on after m2 was elected: the one thing that fencing must make impossible
TWO = (
    Act(100, 10.0, 1, "m1", "s-m1", "elected"), Act(110, 20.0, 2, "m2", "s-m2", "elected"),
    Act(120, 25.0, 1, "m1", "s-m1", "place"),
)  # fmt: skip


def test_all_kept_is_a_pass_that_says_what_was_kept() -> None:
    """The sentence bears the measured and the promised."""
    verdict, why = verdict_of(PROMISE, **GOOD)
    assert verdict == "PASS"
    assert why == ("Detected after 1.00 s, promised within 5 s; recovered after 2.00 s, promised within 10 s; "
                   "none of 100 requests failed.")  # fmt: skip


@pytest.mark.parametrize(("change", "words"), [
    ({"recovered_s": None}, "Recovered: never seen, promised within 10 s."),
    ({"detected_s": None}, "Detected: never seen, promised within 5 s."),
    ({"requests": Requests(100, 1)}, "1 of 100 requests failed, promised none."),
    ({"recovered_s": 11.0}, "Recovered after 11.0 s ± 0.5 s, promised within 10 s."),
])  # fmt: skip
def test_each_broken_promise_is_a_fail(change: dict[str, Any], words: str) -> None:
    """Never seen is no 0: it has not happened in time."""
    assert verdict_of(PROMISE, **{**GOOD, **change}) == ("FAIL", words)


def test_never_seen_is_a_fail_however_large_the_error_bar() -> None:
    """A slow probe excuses a late sight, not a missing one."""
    assert verdict_of(PROMISE, **{**GOOD, "recovered_s": None, "error_s": 1e6})[0] == "FAIL"


@pytest.mark.parametrize(("measured", "judgement", "verdict"), [
    (9.99, "kept", "PASS"), (10.0, "kept", "PASS"), (10.01, "close", "PASS"), (10.5, "close", "PASS"),
    (10.51, "broken", "FAIL"), (20.0, "broken", "FAIL"), (0.0, "kept", "PASS"), (None, "never", "FAIL"),
])  # fmt: skip
def test_the_promise_has_a_sharp_edge(measured: float | None, judgement: str, verdict: str) -> None:
    """Up to the promise kept; beyond it by the error bar at most in doubt, and said so; further on broken."""
    assert judge_time(measured, 10, 0.5) == judgement
    made, why = verdict_of(Promise("", 10), detected_s=None, recovered_s=measured, error_s=0.5, requests=Requests())
    assert made == verdict
    assert ("within the error bar" in why) == (judgement == "close")


@given(st.floats(0, 100), st.floats(0.1, 100), st.floats(0, 10), st.floats(0, 10))
def test_longer_is_never_better(value: float, promised: float, error: float, more: float) -> None:
    """No time is judged better than a shorter one."""
    rank = ("kept", "close", "broken")
    assert rank.index(judge_time(value, promised, error)) <= rank.index(judge_time(value + more, promised, error))


def test_what_is_not_promised_is_not_judged() -> None:
    """Nothing promised, nothing seen: no FAIL, and a sentence all the same."""
    verdict, why = verdict_of(Promise("x"), detected_s=None, recovered_s=None, error_s=0.5, requests=Requests(9, 9))
    assert (verdict, why) == ("PASS", "Nothing was seen that the promise rules out.")
    assert judge_time(None, None, 0.5) == judge_time(1e9, None, 0.5) == "free"


def test_some_failed_requests_may_be_promised() -> None:
    """At most so many: as many is kept, one more is not."""
    promise = Promise("", failed_requests=3)
    kept, late = ({**GOOD, "requests": Requests(1000, n)} for n in (3, 4))
    assert verdict_of(promise, **kept) == ("PASS", "3 of 1,000 requests failed.")
    assert verdict_of(promise, **late) == ("FAIL", "4 of 1,000 requests failed, promised at most 3.")


def test_a_broken_measurement_is_unknown() -> None:
    """Neither good nor bad numbers count then."""
    for change in ({}, {"recovered_s": None}, {"recovered_s": 99.0}):
        verdict, why = verdict_of(PROMISE, **{**GOOD, **change}, measurement_errors=["the load was silent for 30 s"])
        assert (verdict, why) == ("UNKNOWN", "The measurement broke: the load was silent for 30 s.")


def test_a_bad_history_of_primaries_is_a_fail() -> None:
    """A hand-made history with two primaries at a time fails the best of numbers, and a broken measurement as well."""
    findings = check_history(TWO)
    assert findings
    for errors in ([], ["the probes were silent"]):
        verdict, why = verdict_of(PROMISE, **GOOD, two_primaries=findings, measurement_errors=errors)
        assert verdict == "FAIL"
        assert findings[0] in why
    assert "and 1 more" in why
    assert verdict_of(PROMISE, **GOOD, two_primaries=check_history(TWO[:2]))[0] == "PASS"


EVEN = [n * 0.5 for n in range(41)]  # each half second from 0 to 20


def errors_of(probes: list[float], loads: list[float], *, asked: bool = True) -> tuple[str, ...]:
    samples = [(at, 5.0, True) for at in loads]
    return measurement_errors(samples, probes, began_s=0.0, ended_s=20.0, max_gap_s=5.0, load_asked=asked)


def test_steady_probes_and_load_are_sound() -> None:
    """In any order; and without load none is missed."""
    assert errors_of(EVEN, EVEN[::-1]) == ()
    assert errors_of(EVEN, [], asked=False) == ()


@pytest.mark.parametrize(("probes", "loads", "words"), [
    ([], EVEN, "the probes were silent for 20.0 s from 0.00 s on"),
    ([t for t in EVEN if not 4 < t < 12], EVEN, "the probes were silent for 8.00 s from 4.00 s on"),
    ([t for t in EVEN if t > 7], EVEN, "the probes were silent for 7.50 s from 0.00 s on"),
    (EVEN, [t for t in EVEN if t < 12], "the load was silent for 8.50 s from 11.5 s on"),
    (EVEN, [], "load was asked for, and no request was sent"),
    (EVEN, [t + 100 for t in EVEN], "the load was silent for 20.0 s from 0.00 s on"),
])  # fmt: skip
def test_silence_breaks_the_measurement(probes: list[float], loads: list[float], words: str) -> None:
    """At the start, amid and at the end: a load that died, a laptop that slept."""
    found = errors_of(probes, loads)
    assert len(found) == 1
    assert words in found[0]


def test_silence_up_to_the_gap_is_allowed() -> None:
    """The bound itself is no fault."""
    assert errors_of([0.0, 5.0, 10.0, 15.0], EVEN) == ()
    assert len(errors_of([0.0, 5.01, 10.0, 15.0], EVEN)) == 1
