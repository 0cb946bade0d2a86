"""Damaged values in Consul's KV store, answers of another kind than is due: a value or our own error, never a traceback."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fabfile.cli.tasks.primary import _print_event
from fabfile.core.errors import HostError
from fabfile.core.foreign import understood
from fabfile.core.judge.fencing import ELECTED, check_history, read_acts, read_event
from fabfile.core.judge.service_health import read_services_health

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["services", "web", "replicas", "all", "min", "cpu", "state", "revision", "note", "host", "m1"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip
KEYS = ("nexus/wanted/services", "nexus/placement/m1/orders", "nexus/placement/", "nexus/report/m1/services", "nexus/scale",
        "nexus/primary", "nexus/epoch")  # fmt: skip
WANTED = {"services": {"web": {"revision": "r", "replicas": {"all": False, "min": 1, "max": 1, "cpu": None}}}}
GOOD = {
    "nexus/wanted/services": WANTED, "nexus/placement/m1/orders": {"services": {"web": {}}},
    "nexus/report/m1/services": {"services": {"web": {"state": "running", "revision": "r"}}},
}  # fmt: skip
CHECKS = [{"Node": "m1", "ServiceID": "nexus-svc-web", "CheckID": "c", "Status": "passing"}]


def entries(values: dict[str, Any], session: bool = True) -> list[dict[str, Any]]:
    kept = {"Session": "s"} if session else {}
    return [{"Key": key, "Value": base64.b64encode(value).decode(), **kept} for key, value in values.items()]


WRITTEN = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=20)


@given(st.dictionaries(st.sampled_from(KEYS), WRITTEN, max_size=4))
@example({"nexus/report/m1/services": b"[" * 200_000})
@example({"nexus/epoch": b"9" * 5000})
def test_damaged_values_are_read_as_nothing(damaged: dict[str, bytes]) -> None:
    """The health of all services can be shown, printed as JSON and asked, whatever an agent has written."""
    good = {key: json.dumps(value).encode() for key, value in GOOD.items()}
    health = read_services_health(entries({**good, **damaged}), CHECKS)
    assert json.dumps([service.json() for service in health.services])
    assert f"{health.epoch}"
    assert health.primary is None or isinstance(health.primary, str)
    assert all(isinstance(service.settled, bool) for service in health.services)


def test_a_damaged_report_hides_no_other() -> None:
    """The sound ones beside it count as ever."""
    good = {key: json.dumps(value).encode() for key, value in GOOD.items()}
    health = read_services_health(entries({**good, "nexus/report/w9/services": b"{"}), CHECKS)
    assert [(s.name, s.passing, s.settled) for s in health.services] == [("web", 1, True)]


EVENT = {"at": 1.5, "epoch": 3, "host": "m1", "session": "s", "kind": ELECTED, "text": "elected"}


FIELDS = st.dictionaries(st.sampled_from(sorted(EVENT)), JSON)


@given(JSON | FIELDS | FIELDS.map(lambda changed: {**EVENT, **changed}))
def test_a_damaged_event_is_shown_beside_the_others(value: Any) -> None:
    """Every event prints, whatever was written."""
    event = read_event(7, json.dumps(value))
    assert event["order"] == 7
    _print_event(event, False)
    _print_event(event, True)
    assert read_event(7, json.dumps(EVENT)) == {**EVENT, "order": 7}


@pytest.mark.parametrize("text", [None, "", b"{", "[1]", "[" * 200_000, b"\xff"])
def test_a_damaged_event_proves_nothing(text: str | bytes | None) -> None:
    """It is not passed over where the history of primaries is judged."""
    sound = read_event(1, json.dumps(EVENT))
    assert check_history(read_acts([sound])) == ()
    assert check_history(read_acts([sound, read_event(2, text)]))


@given(JSON)
def test_an_answer_of_another_kind_is_the_hosts_error(value: Any) -> None:
    """In one line, with the host's name and no more than a line's length of it."""
    with pytest.raises(HostError) as told, understood("m1", "Consul's state"):
        value["Servers"][0]["Node"]["Address"].items()
    assert told.value.message.startswith("m1: Consul's state cannot be read (")
    assert len(told.value.message.splitlines()) == 1
