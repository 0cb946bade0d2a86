"""How the services do, read from Consul's KV store and checks."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.judge.service_health import KV_PREFIXES, Instance, ServiceHealth, ServicesHealth, read_services_health
from remote_agents.nexus_agents.shared import kv_schema

Specs = Mapping[str, Mapping[str, Any]]
Hosts = Mapping[str, Specs]


def entry(key: str, value: object, session: str | None = None) -> dict[str, Any]:
    """As `/v1/txn` and `/v1/kv` give it."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    made = {"Key": key, "Value": base64.b64encode(body).decode(), "ModifyIndex": 1}
    return made | ({"Session": session} if session else {})


def spec(revision: str = "r1", low: int = 1, **replicas: Any) -> dict[str, Any]:
    return {"revision": revision, "replicas": {"all": False, "min": low, "max": low, "cpu": None, **replicas}}


def report(state: str = "running", revision: str = "r1", note: str = "") -> dict[str, Any]:
    return {"revision": revision, "state": state, "since": 0, "cpu": None, "restarts": 0, "note": note}


def kv(wanted: Specs, orders: Hosts, reports: Hosts, scale: object = None) -> list[dict[str, Any]]:
    found = [entry(kv_schema.WANTED, {"digest": "d", "services": wanted})]
    found += [entry(kv_schema.orders_key(h), {"epoch": 1, "services": o}) for h, o in orders.items()]
    found += [entry(kv_schema.report_key(h), {"epoch": 1, "at": 0, "services": r}) for h, r in reports.items()]
    return [*found, entry(kv_schema.SCALES, scale)] if scale is not None else found


def checks(words: str) -> list[dict[str, Any]]:
    """`web@w1` passes, `web@w1!critical` does not, `@w1!critical` is the whole host."""
    found = []
    for word in words.split():
        where, _, status = word.partition("!")
        service, host = where.split("@")
        ids = {"CheckID": f"service:{kv_schema.instance_id(service)}", "ServiceID": kv_schema.instance_id(service)}
        found.append({"Node": host, "Status": status or "passing",
                      **(ids if service else {"CheckID": "serfHealth", "ServiceID": ""})})  # fmt: skip
    return found


def one(wanted: Specs, orders: Hosts, reports: Hosts, health: str, scale: object = None) -> ServiceHealth:
    [state] = read_services_health(kv(wanted, orders, reports, scale), checks(health)).services
    return state


WEB = {"web": spec()}
ON_W1 = {"w1": {"web": spec()}}
RUNS = {"w1": {"web": report()}}
ALL_WELL = "@w1 web@w1"


def test_the_names_are_those_of_the_agents() -> None:
    """What the operator's side reads are the keys that the agents write: both sides have a copy of the names."""
    keys = (
        kv_schema.WANTED,
        kv_schema.orders_key("w1"),
        kv_schema.report_key("w1"),
        kv_schema.SCALES,
        kv_schema.MISFITS,
        kv_schema.PRIMARY,
        kv_schema.EPOCH,
    )
    assert [[p for p in KV_PREFIXES if key.startswith(p)] for key in keys] == [[p] for p in KV_PREFIXES]
    assert not kv_schema.ROUTES.startswith(KV_PREFIXES)


def test_a_service_that_is_well() -> None:
    """Ordered, reported, passing, in the wanted revision: one instance, settled."""
    state = one(WEB, ON_W1, RUNS, ALL_WELL)
    assert state == ServiceHealth("web", 1, (Instance("w1", "running", True, True),))
    assert state.settled
    assert state.passing == 1


@pytest.mark.parametrize(("reports", "health", "instance"), [
    ({}, ALL_WELL, Instance("w1", "unknown", False, False)),
    ({"w1": {}}, ALL_WELL, Instance("w1", "unknown", False, False)),
    ({"w2": {"web": report()}}, ALL_WELL, Instance("w1", "unknown", False, False)),
    (RUNS, "@w1", Instance("w1", "running", False, True)),
    (RUNS, "@w1 web@w1!critical", Instance("w1", "running", False, True)),
    (RUNS, "@w1 web@w1!warning", Instance("w1", "running", False, True)),
    (RUNS, "@w1 web@w1 web@w1!critical", Instance("w1", "running", False, True)),
    (RUNS, "@w1!critical web@w1", Instance("w1", "running", False, True)),
    (RUNS, "@w2!critical web@w1 web@w2!critical", Instance("w1", "running", True, True)),
    (RUNS, "web@w2", Instance("w1", "running", False, True)),
    (RUNS, "web-2@w1 we@w1", Instance("w1", "running", False, True)),
    ({"w1": {"web": report("starting")}}, ALL_WELL, Instance("w1", "starting", False, True)),
    ({"w1": {"web": report("looping", note="crashed")}}, "@w1", Instance("w1", "looping", False, True, "crashed")),
    ({"w1": {"web": report(revision="r0")}}, ALL_WELL, Instance("w1", "running", True, False)),
    ({"w1": {"web": report("pulling", "r0")}}, ALL_WELL, Instance("w1", "pulling", True, False)),
    ({"w1": {"web": report("pull-failed", "r0")}}, ALL_WELL, Instance("w1", "pull-failed", True, False)),
    ({"w1": {"web": report("pulling", "None")}}, "@w1", Instance("w1", "pulling", False, False)),
])  # fmt: skip
def test_an_instance_follows_its_workers_report_and_its_checks(reports: Any, health: str, instance: Instance) -> None:
    """It passes when its worker reports that it runs, and its checks and its host's pass; else it is not settled."""
    state = one(WEB, ON_W1, reports, health)
    assert state.instances == (instance,)
    assert state.settled == (instance.passing and instance.current)


@pytest.mark.parametrize(("wanted", "scale", "count"), [
    (spec(low=3), None, 3),
    (spec(low=0), None, 0),
    (spec(all=True, low=0), None, None),
    (spec(all=True, low=0), {"web": 4}, None),
    (spec(low=3), {"web": 5}, 3),
    (spec(low=2, max=9, cpu=60), None, 2),
    (spec(low=2, max=9, cpu=60), {"other": 5}, 2),
    (spec(low=2, max=9, cpu=60), {"web": 5}, 5),
])  # fmt: skip
def test_how_many_are_wanted(wanted: dict[str, Any], scale: object, count: int | None) -> None:
    """A number, all, or what autoscaling has arrived at, which counts for services with limits only."""
    assert one({"web": wanted}, {}, {}, "", scale).wanted == count


def test_what_is_no_longer_wanted_shows_until_it_is_gone() -> None:
    """A service that left services.yml has none wanted and is not settled as long as an order for it stands."""
    state = one({}, ON_W1, RUNS, ALL_WELL)
    assert (state.name, state.wanted, state.passing, state.settled) == ("web", 0, 1, False)
    assert not state.instances[0].current
    assert read_services_health(kv({}, {"w1": {}}, RUNS), checks(ALL_WELL)).services == ()


def test_what_was_published_shows_before_it_is_placed() -> None:
    """A service without any order yet is there, with nothing, and is not settled."""
    state = one(WEB, {}, {}, "")
    assert (state.instances, state.wanted, state.settled) == ((), 1, False)


def test_services_and_hosts_are_in_the_order_of_their_names() -> None:
    """Whatever the order of the keys."""
    orders = {h: {"b": spec(), "a": spec()} for h in ("w2", "w10", "w1")}
    found = read_services_health(kv({"b": spec(), "a": spec()}, orders, {}), [])
    assert [s.name for s in found.services] == ["a", "b"]
    assert [i.host for i in found.services[0].instances] == ["w1", "w10", "w2"]


def test_the_json_has_the_keys_that_scripts_rely_on() -> None:
    """Name, what is wanted, what passes and where, and each instance."""
    state = one({"web": spec(all=True, low=0)}, ON_W1, RUNS, ALL_WELL)
    assert json.loads(json.dumps(state.json())) == {
        "name": "web", "wanted": "all", "passing": 1, "hosts": ["w1"],
        "instances": [{"host": "w1", "state": "running", "passing": True, "note": ""}],
        "kept_off": [],
    }  # fmt: skip
    assert one({"web": spec(low=3)}, {}, {}, "").json()["wanted"] == 3


# The primary


@pytest.mark.parametrize(("entries", "services_health"), [
    ([], ServicesHealth()),
    ([entry(kv_schema.EPOCH, 7)], ServicesHealth(epoch=7)),
    ([entry(kv_schema.PRIMARY, {"host": "m1"}), entry(kv_schema.EPOCH, 7)], ServicesHealth(epoch=7)),
    ([entry(kv_schema.PRIMARY, {"host": "m1"}, "s-1"), entry(kv_schema.EPOCH, 7)],
     ServicesHealth(primary="m1", epoch=7)),
    ([entry(kv_schema.PRIMARY, b"no json", "s-1"), entry(kv_schema.EPOCH, b"")], ServicesHealth()),
])  # fmt: skip
def test_the_primary_is_who_holds_the_lock(entries: list[dict[str, Any]], services_health: ServicesHealth) -> None:
    """A value without a session names the last primary; the epoch is read from its own key."""
    assert read_services_health(entries, []) == services_health


def test_entries_are_read_once() -> None:
    """Any iterable will do, as it is declared."""
    entries = [entry(kv_schema.PRIMARY, {"host": "m1"}, "s-1"), *kv(WEB, ON_W1, RUNS)]
    assert read_services_health(iter(entries), checks(ALL_WELL)) == read_services_health(entries, checks(ALL_WELL))


@pytest.mark.parametrize("value", [
    b"", b"no json", b"null", b"[]", b'"x"', b"7", b'{"services": null}', b'{"services": []}',
    b'{"services": {"web": 7}}', b'{"services": {"web": null}}', b'{"services": {"web": {}}}',
    b'{"services": {"web": {"state": null}}}'])  # fmt: skip
def test_a_broken_report_is_none(value: bytes) -> None:
    """Whatever a worker wrote as its report, the others' are still read, and it does not pass."""
    orders = {**ON_W1, "w2": {"web": spec()}}
    entries = [*kv({"web": spec(low=2)}, orders, RUNS), entry(kv_schema.report_key("w2"), value)]
    [web] = read_services_health(entries, checks(f"{ALL_WELL} @w2 web@w2")).services
    assert web.instances[0] == Instance("w1", "running", True, True)
    assert (web.instances[1].host, web.instances[1].passing) == ("w2", False)


# Settled

GOOD, BAD, OLD = (Instance("h", "running", *flags) for flags in [(True, True), (False, True), (True, False)])


@pytest.mark.parametrize(("wanted", "instances", "settled"), [
    (0, (), True), (1, (), False), (1, (GOOD,), True), (1, (BAD,), False), (1, (OLD,), False), (0, (GOOD,), False),
    (2, (GOOD,), False), (2, (GOOD, GOOD), True), (2, (GOOD, BAD), False), (2, (GOOD, GOOD, GOOD), False),
    (2, (GOOD, GOOD, BAD), False), (2, (GOOD, OLD), False), (2, (GOOD, GOOD, OLD), False),
    (None, (GOOD, GOOD), True), (None, (GOOD, BAD), False), (None, (OLD,), False),
])  # fmt: skip
def test_settled_is_all_that_is_wanted_and_nothing_else(wanted: int | None, instances: Any, settled: bool) -> None:
    """As many as wanted, each passing in the wanted revision; neither one that is left over nor one that is old."""
    assert ServiceHealth("web", wanted, instances).settled == settled


@given(st.one_of(st.none(), st.integers(0, 4)), st.lists(st.sampled_from([GOOD, BAD, OLD]), max_size=5))
def test_what_is_settled_passes(wanted: int | None, instances: list[Instance]) -> None:
    """Settled is never less than passing in full."""
    state = ServiceHealth("web", wanted, tuple(instances))
    if state.settled:
        assert state.passing == len(instances)
        assert wanted in (None, state.passing)


def test_a_worker_that_a_service_is_kept_off_is_told() -> None:
    """With the reason; it is no problem by itself, for the service runs elsewhere. A damaged value is none."""
    entries = kv(WEB, ON_W1, RUNS)
    why = "not up for 60 s: its check: 503"
    stored = {"web": {"w2": {"revision": "r1", "until": 1, "why": why}, "w3": "?"}, "gone": {}}
    [state] = read_services_health([*entries, entry(kv_schema.MISFITS, stored)], checks(ALL_WELL)).services
    assert state.kept_off == (("w2", why),)
    assert state.settled
    assert state.json()["kept_off"] == [{"host": "w2", "why": why}]
    [state] = read_services_health([*entries, entry(kv_schema.MISFITS, ["?"])], checks(ALL_WELL)).services
    assert state.kept_off == ()
