"""The primary: how it reads Consul (workers, instances, desired services), and what it writes of its decision."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import Mock, patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator import cluster_view
from remote_agents.nexus_agents.orchestrator.agent import Orchestrator
from remote_agents.nexus_agents.orchestrator.autoscaler import Autoscaler, measured_cpus
from remote_agents.nexus_agents.orchestrator.cluster_view import _WATCHES, DEAD_AFTER, ClusterView, WorkerLiveness, instances
from remote_agents.nexus_agents.orchestrator.fenced_lock import (
    KEPT_EVENTS,
    MAX_OPERATIONS,
    PRUNE_AFTER,
    FencedLock,
    NotPrimary,
)
from remote_agents.nexus_agents.orchestrator.flapping import DEATHS, QUIET
from remote_agents.nexus_agents.orchestrator.orders import (
    MAX_BYTES,
    apply_actions,
    desired_services,
    event_of,
    fit_transaction,
    refresh_orders,
)
from remote_agents.nexus_agents.orchestrator.placement_model import Action, DesiredService, Instance, Worker
from remote_agents.nexus_agents.orchestrator.primary_loop import PrimaryLoop
from remote_agents.nexus_agents.orchestrator.promotion import PromotionRequest, PromotionTracker
from remote_agents.nexus_agents.orchestrator.session_lease import ACT_TIMEOUT, CHECK
from remote_agents.nexus_agents.shared import kv_schema
from remote_agents.nexus_agents.shared.clock import now
from remote_agents.nexus_agents.shared.consul_api import ConsulError

MOST_OPERATIONS = 64  # of one transaction: Consul's maxTxnOps


def node(name: str, roles: str | None = "worker", **labels: str) -> dict[str, Any]:
    """As /v1/catalog/nodes has it. `roles` None: a node that is not ours."""
    meta = {"nexus_roles": roles, **{f"label_{key}": value for key, value in labels.items()}} if roles is not None else None
    return {"Node": name, "Address": "192.0.2.1", "Meta": meta}


def alive(name: str, status: str = "passing") -> dict[str, Any]:
    return {"Node": name, "CheckID": "serfHealth", "ServiceID": "", "Status": status}


def check(host: str, service: str, status: str = "passing", kind: str = "service") -> dict[str, Any]:
    own = kv_schema.instance_id(service)
    return {"Node": host, "CheckID": f"{kind}:{own}", "ServiceID": own, "Status": status}


def entry(key: str, value: object) -> dict[str, Any]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return {"Key": key, "Value": base64.b64encode(body).decode(), "ModifyIndex": 1}


def lives(liveness: WorkerLiveness, at: float, up: bool) -> Worker:
    """One look at a cluster of the single worker w1."""
    return liveness.workers([node("w1")], [alive("w1", "passing" if up else "critical")], at)["w1"]


# Workers


def test_workers_are_the_nodes_with_the_role() -> None:
    """Managers, balancers and foreign nodes are no workers; the labels are those of the node's metadata."""
    nodes = [
        node("m1", "manager"), node("mw1", "manager,worker", zone="a"), node("w1", "worker", zone="b", disk="ssd"),
        node("lb1", "loadbalancer"), node("other", None), node("near", "workers"), {"Node": "bare"},
    ]  # fmt: skip
    found = WorkerLiveness().workers(nodes, [], 0.0)
    assert found == {
        "mw1": Worker("mw1", True, {"zone": "a"}), "w1": Worker("w1", True, {"zone": "b", "disk": "ssd"})}  # fmt: skip


@pytest.mark.parametrize("health", [
    [], [alive("w1")], [alive("w1", "warning")], [alive("w2", "critical")], [check("w1", "web", "critical")],
    [{**alive("w1", "critical"), "CheckID": "disk"}]])  # fmt: skip
def test_only_the_failure_detector_calls_a_worker_dead(health: list[dict[str, Any]]) -> None:
    """A failed service or another check is no death, nor is another node's."""
    liveness = WorkerLiveness()
    for at in (0.0, 10 * DEAD_AFTER):
        assert liveness.workers([node("w1")], health, at)["w1"].alive


def test_a_death_has_to_last() -> None:
    """A worker is dead once Consul has called it so for DEAD_AFTER seconds without a break, and alive at once again."""
    liveness = WorkerLiveness()
    looks = [(0, True), (10, False), (10 + DEAD_AFTER - 0.1, False), (10 + DEAD_AFTER, False), (100, False), (101, True),
             (102, False), (101 + DEAD_AFTER, False), (102 + DEAD_AFTER, False)]  # fmt: skip
    found = [lives(liveness, at, up).alive for at, up in looks]
    assert found == [True, True, True, False, False, True, True, True, False]


def test_an_agent_that_restarts_often_flaps() -> None:
    """Three deaths within minutes mark a worker, however short they were, until it stays alive for QUIET seconds."""
    liveness = WorkerLiveness()
    for n in range(DEATHS):
        assert not lives(liveness, 20.0 * n, True).flapping
        flaps = lives(liveness, 20.0 * n + 10, False).flapping
    assert flaps
    last = 20.0 * (DEATHS - 1) + 10
    assert lives(liveness, last + QUIET - 1, True).flapping
    assert not lives(liveness, last + QUIET, True).flapping


def test_a_long_death_is_one() -> None:
    """Looking at a dead worker again and again does not make it flap."""
    liveness = WorkerLiveness()
    assert not any(lives(liveness, float(at), False).flapping for at in range(1000))
    assert len(liveness.deaths["w1"]) == 1


def test_deaths_are_counted_not_looks() -> None:
    """A worker that stays dead has died once; three times alive and dead again make it flap, and it alone."""
    liveness = WorkerLiveness()
    nodes = [node("w1"), node("w2")]
    for at, up in enumerate([True, False, False, False, True, False, True]):
        liveness.workers(nodes, [alive("w1", "passing" if up else "critical"), alive("w2")], float(at))
    assert liveness.deaths == {"w1": [1.0, 5.0]}
    workers = liveness.workers(nodes, [alive("w1", "critical"), alive("w2")], 7.0)
    assert (workers["w1"].flapping, workers["w2"].flapping) == (True, False)
    assert not liveness.workers(nodes, [alive("w1"), alive("w2")], 7.0 + QUIET)["w1"].flapping


def test_only_the_last_deaths_are_kept() -> None:
    """However often a worker dies, its newest four deaths are kept: a worker that flaps for months fills no memory."""
    liveness = WorkerLiveness()
    for at in range(200):
        lives(liveness, float(at), at % 2 == 0)
    assert liveness.deaths["w1"] == [193.0, 195.0, 197.0, 199.0]


@given(st.lists(st.tuples(st.floats(0, 4), st.booleans()), max_size=60))
def test_a_worker_that_was_alive_lately_is_not_dead(looks: list[tuple[float, bool]]) -> None:
    """A worker is dead exactly when it has been down in every look of at least the last DEAD_AFTER seconds."""
    liveness, at, since = WorkerLiveness(), 0.0, None
    for pause, up in looks:
        at += pause
        since = None if up else at if since is None else since
        assert lives(liveness, at, up).alive == (since is None or at - since < DEAD_AFTER)


# Instances


def report(state: str = "running", revision: str = "r1", **more: Any) -> dict[str, Any]:
    return {"revision": revision, "state": state, "cpu": None, "restarts": 0, "note": "", **more}


@pytest.mark.parametrize(("health", "passing"), [
    ([check("w1", "web")], True),
    ([alive("w1"), check("w1", "web"), check("w1", "api", "critical"), check("w2", "web", "critical")], True),
    ([], False),
    ([alive("w1")], False),
    ([check("w2", "web"), check("w1", "api"), check("w1", "web-2")], False),
    ([check("w1", "web", "critical")], False),
    ([check("w1", "web", "warning")], False),
    ([check("w1", "web"), check("w1", "web", "critical", "_service_maintenance")], False),
    ([check("w1", "web", "critical", "_service_maintenance"), check("w1", "web")], False),
    ([alive("w1", "critical"), check("w1", "web")], False),
    ([{"Node": "w1", "CheckID": "service:web", "Status": "passing"}], False),
])  # fmt: skip
def test_an_instance_passes_when_all_checks_pass(health: list[dict[str, Any]], passing: bool) -> None:
    """A running instance passes when Consul knows it, all its checks pass and its host is not dead."""
    reports = {"w1": {"web": report()}}
    assert instances(reports, health) == {("web", "w1"): Instance("r1", passing)}


@pytest.mark.parametrize("state", ["starting", "looping", "stopping", "stopped", "failed", "unknown"])
def test_what_does_not_run_does_not_pass(state: str) -> None:
    """Consul's check may be older than the worker's report."""
    found = instances({"w1": {"web": report(state)}}, [check("w1", "web")])
    assert found == {("web", "w1"): Instance("r1", False, state)}


def test_what_nobody_reports_is_no_instance() -> None:
    """Checks without a report are no instance, as on a host without its agent; two hosts are not confused."""
    assert instances({}, [check("w1", "web")]) == {}
    found = instances({"w1": {"web": report()}, "w2": {"web": report(revision="r2")}}, [check("w2", "web")])
    assert found == {("web", "w1"): Instance("r1", False), ("web", "w2"): Instance("r2", True)}


# The view


def view_of(**values: Any) -> ClusterView:
    """A view with these values of its watches, in Consul's form; no watch runs."""
    with patch.object(cluster_view, "Watch") as watch:
        view = ClusterView(Mock(get=Mock(side_effect=ConsulError("not called"))))
    assert watch.call_count == watch.return_value.start.call_count == len(_WATCHES)
    for call in watch.call_args_list:
        _, path, on_change, _ = call.args
        for name in values:
            if _WATCHES[name][0] == path:
                on_change(values[name])
    return view


def test_a_view_is_ready_when_every_watch_has_answered() -> None:
    """A missing key is an answer too; before all answers are there the primary does not decide."""
    assert not view_of().ready()
    assert not view_of(**dict.fromkeys(list(_WATCHES)[1:])).ready()
    full = view_of(**dict.fromkeys(_WATCHES))
    assert full.ready()
    assert (full.desired_specs(), full.reports(), full.promotion_request()) == (None, {}, None)
    assert (full.nodes(), full.health()) == ([], [])


@pytest.mark.parametrize(("value", "services"), [
    ({"digest": "d", "services": {}}, {}), ({"digest": "d"}, None), (b"", None), (b"no json", None),
    ({"services": None}, None), ({"services": []}, None)])  # fmt: skip
def test_no_services_is_not_the_same_as_no_value(value: object, services: dict[str, Any] | None) -> None:
    """Only a value that was published as empty removes services; a damaged one counts as none."""
    assert view_of(desired=[entry(kv_schema.WANTED, value)]).desired_specs() == services


def test_news_wake_the_loop() -> None:
    """Each new value sets `changed`."""
    assert not view_of().changed.is_set()
    assert view_of(nodes=[]).changed.is_set()


@pytest.mark.parametrize(("values", "free"), [
    ({}, False), ({"lock": None}, True), ({"lock": []}, True), ({"lock": [entry("k", {})]}, True),
    ({"lock": [{**entry("k", {}), "Session": "s-1"}]}, False)])  # fmt: skip
def test_the_lock_is_free_when_consul_says_so(values: dict[str, Any], free: bool) -> None:
    """The lock is free when its key is missing or has no session; not before the first answer."""
    assert view_of(**values).lock_is_free() == free


@pytest.mark.parametrize(("value", "desired"), [
    ({"to": "m2"}, PromotionRequest("m2", 1)), ({"to": "m2", "ready": "s-2"}, PromotionRequest("m2", 1, "s-2")),
    ({"to": "m2", "ready": 7}, PromotionRequest("m2", 1)), ({}, None), ({"to": ""}, None), ({"to": 7}, None), ([], None),
    (b"", None), (b"no json", None)])  # fmt: skip
def test_who_is_to_be_primary(value: object, desired: PromotionRequest | None) -> None:
    """The host that an operator named, if any, and the session with which it is ready."""
    assert view_of(promotion=[entry(kv_schema.PROMOTE, value)]).promotion_request() == desired


@pytest.mark.parametrize(("reports", "newest"), [
    ([], 0), ([{"epoch": 3}, {"epoch": 7}, {"epoch": 5}], 7), ([{"epoch": "9"}, {"epoch": True}, {}, b"no json", [9]], 0),
    ([{"epoch": 10**12}, {"epoch": 4}], 4)])  # fmt: skip
def test_the_newest_epoch_that_workers_report(reports: list[object], newest: int) -> None:
    """Only a number counts, and only one that a real epoch can reach."""
    entries = [entry(kv_schema.report_key(f"w{n}"), value) for n, value in enumerate(reports)]
    assert view_of(reports=entries).newest_epoch() == newest


def test_a_new_primary_reads_its_input_again() -> None:
    """All input of a decision is confirmed by a quorum; the values that wake standbys may come from any server."""
    view = view_of(desired=[entry(kv_schema.WANTED, {"services": {"old": {}}})], lock=None)
    paths = []

    def get(path: str) -> tuple[int, Any]:
        paths.append(path)
        return 1, [entry(kv_schema.WANTED, {"services": {"new": {}}})] if kv_schema.WANTED in path else []

    view._consul = Mock(get=get)
    view.refresh_consistent()
    assert view.desired_specs() == {"new": {}}
    assert all(path.endswith("consistent") for path in paths)
    assert len(paths) == len([stale for _, stale in _WATCHES.values() if not stale])


def test_desired_specs_and_reports() -> None:
    """Service -> desired spec, and host -> service -> report."""
    view = view_of(
        desired=[entry(kv_schema.WANTED, {"digest": "d", "services": {"web": {"revision": "r1"}}})],
        reports=[entry(kv_schema.report_key("w1"), {"epoch": 1, "at": 0, "services": {"web": report()}}),
                 entry(kv_schema.report_key("w2"), {"at": 0})],
    )  # fmt: skip
    assert view.desired_specs() == {"web": {"revision": "r1"}}
    assert view.reports() == {"w1": {"web": report()}, "w2": {}}


@pytest.mark.parametrize("value", [
    b"", b"no json", b"null", b"[]", b'"x"', b"7", b"[7]", b'{"services": null}', b'{"services": []}', b'{"services": [7]}',
    b'{"services": {"web": 7}}', b'{"services": {"web": null}}', b'{"services": {"web": {}}}',
    b'{"services": {"web": {"state": "running", "cpu": "much"}}}',
    b'{"services": {"web": {"state": "running", "cpu": []}}}'])  # fmt: skip
def test_a_worker_cannot_stop_the_orchestrators_with_its_report(value: bytes) -> None:
    """Whatever one worker writes below its own prefix, the others' reports are read, and its own does not count."""
    fine = entry(kv_schema.report_key("w1"), {"services": {"web": report(cpu=50.0)}})
    view = view_of(reports=[entry(kv_schema.report_key("w2"), value), fine])
    reports = view.reports()
    assert reports["w1"] == {"web": report(cpu=50.0)}
    found = instances(reports, [check("w1", "web"), check("w2", "web")])
    assert found["web", "w1"] == Instance("r1", True)
    assert measured_cpus("web", reports) == [50.0]


# Desired services, orders, events


def spec(revision: str = "r1", low: int = 1, high: int | None = None, **own: Any) -> dict[str, Any]:
    """A spec as far as the orchestrator reads it; `high` and `cpu` make it autoscaled."""
    cpu = own.pop("cpu", None)
    replicas = {"all": own.pop("everywhere", False), "min": low, "max": low if high is None else high, "cpu": cpu}
    return {"revision": revision, "replicas": replicas, "labels": {}, **own}


@pytest.mark.parametrize(("given_spec", "counts", "count"), [
    (spec(low=3), {}, 3), (spec(low=0), {}, 0), (spec(low=2, high=5, cpu=60), {"web": 4}, 4),
    (spec(low=2, high=5, cpu=60), {}, 2), (spec(low=2, high=5, cpu=60), {"api": 4}, 2),
    (spec(everywhere=True, low=0), {}, None), (spec(everywhere=True, low=0), {"web": 3}, None)])  # fmt: skip
def test_the_count_is_from_the_file_or_from_autoscaling(given_spec: Any, counts: Any, count: int | None) -> None:
    """A fixed number, the autoscaler's number, or one on every worker."""
    assert desired_services({"web": given_spec}, counts) == {"web": DesiredService("web", "r1", count)}


def test_a_desired_service_has_revision_and_labels() -> None:
    """The decision needs no more of a spec."""
    assert desired_services({"web": spec("r7", labels={"disk": "ssd"})}, {})["web"] == DesiredService(
        "web", "r7", 1, {"disk": "ssd"}
    )


SPECS = {name: spec(f"{name}-2") for name in ("api", "web")}


@pytest.mark.parametrize(("actions", "orders"), [
    ("", {"w1": {"web": "old", "api": "old"}}),
    ("place web w2", {"w1": {"web": "old", "api": "old"}, "w2": {"web": "new"}}),
    ("replace web w1", {"w1": {"web": "new", "api": "old"}}),
    ("remove web w1", {"w1": {"api": "old"}}),
    ("remove web w1, remove api w1", {"w1": {}}),
    ("remove web w1, place web w2", {"w1": {"api": "old"}, "w2": {"web": "new"}}),
    ("remove web w9", {"w1": {"web": "old", "api": "old"}, "w9": {}}),
])  # fmt: skip
def test_orders_follow_the_actions(actions: str, orders: dict[str, dict[str, str]]) -> None:
    """Each action changes one service on one host; a placed or replaced order has the spec that is desired now."""
    before = {"w1": {"web": spec("old"), "api": spec("old")}}
    kept = json.dumps(before)
    texts = [text.split() for text in actions.split(", ") if text]
    updated = apply_actions(before, tuple(Action(k, s, h, "r", "why") for k, s, h in texts), SPECS)  # type: ignore[arg-type]
    expected = {h: {s: SPECS[s] if r == "new" else spec("old") for s, r in o.items()} for h, o in orders.items()}
    assert updated == expected
    assert json.dumps(before) == kept


HOSTS, SERVICES = ("w1", "w2", "w3"), ("api", "web")
ACTIONS = st.lists(st.builds(
    Action, st.sampled_from(["place", "remove", "replace"]), st.sampled_from(SERVICES), st.sampled_from(HOSTS), st.just("r"),
    st.just("why")), max_size=8)  # fmt: skip


@given(ACTIONS, ACTIONS)
def test_orders_grow_step_by_step(first: list[Action], second: list[Action]) -> None:
    """Two decisions in a row give the same orders as both together."""
    once = apply_actions({}, (*first, *second), SPECS)
    assert apply_actions(apply_actions({}, tuple(first), SPECS), tuple(second), SPECS) == once


def test_an_event_tells_what_where_and_why() -> None:
    """An event has the kind, the service, the affected host, and a sentence."""
    assert event_of(Action("place", "web", "w1", "r1", "2 wanted, 1 there")) == {
        "kind": "place", "service": "web", "target": "w1", "text": "place web on w1: 2 wanted, 1 there"}  # fmt: skip


# What is written


class Store:
    """Consul's KV store as far as the primary uses it; transactions have their limit."""

    def __init__(self, **values: Any) -> None:
        self.values = {key.replace("__", "/"): value for key, value in values.items()}
        self.sizes: list[int] = []
        self.released = False
        self.holder = "s-1"

    def get(self, path: str) -> tuple[int, Any]:
        prefix, _, how = path.removeprefix("/v1/kv/").partition("?")
        keys = sorted(key for key in self.values if key.startswith(prefix))
        return 1, (keys if "keys" in how else [entry(key, self.values[key]) for key in keys]) or None

    def read(self, key: str, consistent: bool = False) -> tuple[int, Any]:
        assert consistent
        return 1, self.values.get(key)

    def transact(self, operations: Iterable[Mapping[str, Any]], timeout: float) -> None:
        written = list(operations)
        assert timeout <= ACT_TIMEOUT
        assert written[0] == {"Verb": "check-session", "Key": kv_schema.PRIMARY, "Session": "s-1"}
        self.sizes.append(len(written))
        if len(written) > MOST_OPERATIONS:
            raise ConsulError("Transaction contains too many operations", 413)
        if self.holder != "s-1":
            raise ConsulError("failed session check", 409)
        for o in written[1:]:
            if o["Verb"] == "delete":
                self.values.pop(o["Key"], None)
            elif o["Verb"] == "unlock":
                assert (o["Key"], o["Session"]) == (kv_schema.PRIMARY, "s-1")
                self.released = True
            else:
                self.values[o["Key"]] = json.loads(base64.b64decode(o["Value"]))

    def placed(self) -> dict[str, set[str]]:
        """Host -> services."""
        return {
            kv_schema.host_of(k): set(v["services"]) for k, v in self.values.items() if k.startswith(kv_schema.PLACEMENT)
        }

    def events(self) -> list[dict[str, Any]]:
        return [value for key, value in sorted(self.values.items()) if key.startswith(kv_schema.EVENTS)]


class Held:
    """A session that is ours."""

    id = "s-1"


def primary(store: Store, tmp_path: Path, specs: Mapping[str, Any] | None, **more: Any) -> Orchestrator:
    """m1 as primary of epoch 3, with the workers w0, w1 and w2; without its threads."""
    nodes = [node(f"w{n}") for n in range(3)]
    desired = None if specs is None else [entry(kv_schema.WANTED, {"digest": "d", "services": specs})]
    orchestrator = object.__new__(Orchestrator)
    orchestrator._host, orchestrator._view = "m1", view_of(**{  # type: ignore[assignment]
        "lock": None, "promotion": None, "desired": desired, "reports": None, "nodes": nodes, "health": [],
        **more})  # fmt: skip
    orchestrator._lock = FencedLock(store, Held(), "m1", tmp_path / "epoch")  # type: ignore[arg-type]
    orchestrator._lock._lock_session, orchestrator._lock.epoch = "s-1", 3
    orchestrator._lock._lease.renew(now())
    orchestrator._primary_loop = PrimaryLoop(store, orchestrator._lock, orchestrator._view)  # type: ignore[arg-type]
    orchestrator._view.refresh_consistent = Mock()  # type: ignore[method-assign]  the watches' values are current
    orchestrator._is_primary, orchestrator._last_logged, orchestrator._promotions = True, ("", 0.0), PromotionTracker()
    return orchestrator


def cycles(orchestrator: Orchestrator, store: Store, most: int = 100) -> None:
    """Runs cycles until one writes nothing; after a refusal of Consul the orders are read again, as in the loop."""
    for _ in range(most):
        before = len(store.sizes)
        try:
            orchestrator._act_as_primary()
        except ConsulError:
            orchestrator._primary_loop.invalidate()
        if len(store.sizes) == before:
            return
    raise AssertionError(f"no end after {most} cycles; operations: {store.sizes[-5:]}")


def test_a_decision_is_written_whole_with_its_events(tmp_path: Path) -> None:
    """Orders of each changed host with our epoch, and one event for each action, in one transaction; then nothing more."""
    store = Store(nexus__placement__w0__orders={"epoch": 2, "services": {"api": spec()}})
    orchestrator = primary(store, tmp_path, {"api": spec(), "web": spec("r7", 2)})
    cycles(orchestrator, store)
    assert store.sizes == [1 + 2 + 2]
    assert store.placed() == {"w0": {"api"}, "w1": {"web"}, "w2": {"web"}}
    assert store.values[kv_schema.orders_key("w1")] == {"epoch": 3, "services": {"web": spec("r7", 2)}}
    assert store.values[kv_schema.orders_key("w0")]["epoch"] == 2
    assert [(e["kind"], e["service"], e["target"], e["epoch"], e["host"]) for e in store.events()] == [
        ("place", "web", "w1", 3, "m1"), ("place", "web", "w2", 3, "m1")]  # fmt: skip


def test_what_changes_around_an_instance_reaches_its_worker(tmp_path: Path) -> None:
    """The newest spec of the revision that it has, without an event; one of another revision waits for its replacement."""
    store = Store(
        nexus__placement__w0__orders={"epoch": 2, "services": {"api": spec(), "web": spec("r7")}},
        nexus__placement__w1__orders={"epoch": 2, "services": {"api": {**spec(), "check_host": "api.test"}}},
    )
    newest = {"api": {**spec("r1", 2), "check_host": "api.test"}, "web": {**spec("r7"), "check_host": "web.test"}}
    cycles(primary(store, tmp_path, newest), store)
    assert store.values[kv_schema.orders_key("w0")] == {"epoch": 3, "services": newest}
    assert store.values[kv_schema.orders_key("w1")]["services"] == {"api": newest["api"]}
    assert store.events() == []
    assert refresh_orders({"w0": {"api": spec("r0")}}, newest, 3, 24)[1] == []


def test_a_change_for_many_workers_is_written_in_parts(tmp_path: Path) -> None:
    """No more orders in one transaction than it takes."""
    orders = {f"w{n}": {"api": spec()} for n in range(60)}
    newest = {"api": {**spec(), "check_host": "api.test"}}
    counts = []
    while True:
        orders, operations = refresh_orders(orders, newest, 3, 24)  # type: ignore[assignment]
        counts.append(len(operations))
        if not operations:
            break
    assert counts == [24, 24, 12, 0]
    large = {"api": {**newest["api"], "env": {"A": "x" * 200_000}}}
    assert len(refresh_orders({"w0": {"api": spec()}, "w1": {"api": spec()}, "w2": {"api": spec()}}, large, 3, 24)[1]) == 1


def test_a_service_that_is_no_longer_desired_is_removed(tmp_path: Path) -> None:
    """Published services without one of the ordered ones remove it, and leave an empty order for the worker to read."""
    store = Store(nexus__placement__w0__orders={"epoch": 2, "services": {"api": spec()}})
    cycles(primary(store, tmp_path, {}), store)
    assert store.values[kv_schema.orders_key("w0")] == {"epoch": 3, "services": {}}


def test_without_published_services_nothing_is_touched(tmp_path: Path) -> None:
    """Where WANTED is missing, as after an old snapshot was restored, whatever runs goes on."""
    store = Store(nexus__placement__w0__orders={"epoch": 2, "services": {"api": spec()}})
    cycles(primary(store, tmp_path, None), store)
    assert store.sizes == []


def test_a_primary_that_lost_its_lock_writes_nothing(tmp_path: Path) -> None:
    """Consul's refusal ends the primary's role at once."""
    store = Store()
    store.holder = "s-2"
    orchestrator = primary(store, tmp_path, {"web": spec()})
    with pytest.raises(NotPrimary):
        orchestrator._act_as_primary()
    assert not orchestrator._lock.held
    assert store.values == {}


def test_the_named_primary_deletes_the_request_and_goes_on(tmp_path: Path) -> None:
    """Once the host named by `inv promote` is primary, the key is deleted, so that no host hands over again."""
    store = Store(nexus__promote={"to": "m1"})
    orchestrator = primary(store, tmp_path, {"web": spec()}, promotion=[entry(kv_schema.PROMOTE, {"to": "m1"})])
    orchestrator._act_as_primary()
    assert kv_schema.PROMOTE not in store.values
    assert store.placed() == {"w0": {"web"}}


def test_another_named_primary_is_handed_over_to_when_it_is_ready(tmp_path: Path) -> None:
    """It goes on until the other host is ready; then it writes the event, releases the lock, and acts no more."""
    store = Store()
    orchestrator = primary(store, tmp_path, {"web": spec()}, promotion=named("m2"), health=can_be_primary("m2"))
    orchestrator._act_as_primary()
    assert orchestrator._lock.held
    assert store.placed() == {"w0": {"web"}}
    store = Store()
    orchestrator = primary(store, tmp_path, {"web": spec()}, promotion=named("m2", ready="s-2"), health=can_be_primary("m2"))
    orchestrator._act_as_primary()
    assert store.released
    assert not orchestrator._lock.held
    assert [e["kind"] for e in store.events()] == ["resigned"]
    assert store.placed() == {}


def test_a_new_scale_is_written_with_its_event(tmp_path: Path) -> None:
    """The autoscaler's numbers are stored, so that they outlive the primary."""
    store = Store(nexus__scale={"web": 3})
    cycles(primary(store, tmp_path, {"web": spec(low=1, high=2, cpu=50)}), store)
    assert store.values[kv_schema.SCALES] == {"web": 2}
    assert [e["kind"] for e in store.events()] == ["scale", "place", "place"]


@pytest.mark.parametrize("count", [1, 23, 24, 25, 61, 64, 200])
def test_a_large_decision_fits_consuls_transactions(count: int, tmp_path: Path) -> None:
    """However many services change at once, Consul accepts each transaction, and all of it gets placed."""
    store = Store()
    cycles(primary(store, tmp_path, {f"s{n}": spec() for n in range(count)}), store)
    assert max(store.sizes) <= MOST_OPERATIONS
    assert sum(map(len, store.placed().values())) == count
    assert [e["kind"] for e in store.events()] == ["place"] * count


@pytest.mark.parametrize("count", [1, 35, 36, 100])
def test_many_new_scales_fit_consuls_transactions(count: int, tmp_path: Path) -> None:
    """However many services get a new number at once, as when their limits changed, all of them are scaled and placed."""
    names = [f"s{n}" for n in range(count)]
    store = Store(nexus__scale=dict.fromkeys(names, 9))
    cycles(primary(store, tmp_path, {name: spec(low=1, high=2, cpu=50) for name in names}), store)
    assert max(store.sizes) <= MOST_OPERATIONS
    assert store.values[kv_schema.SCALES] == dict.fromkeys(names, 2)
    assert sum(map(len, store.placed().values())) == 2 * count


# Autoscaling


SCALED = {"web": spec(low=2, high=6, cpu=50), "api": spec(low=4), "agent": spec(everywhere=True, low=0)}


def cpus(*percents: float | None, state: str = "running") -> dict[str, dict[str, Any]]:
    """One instance of web on each host."""
    return {f"w{n}": {"web": {"state": state, "cpu": cpu}} for n, cpu in enumerate(percents, 1)}


def after(scaler: Autoscaler, reports: Any, seconds: int, specs: Any = SCALED) -> tuple[dict[str, int], list[str]]:
    """One update for each second: the counts at the end, and all reasons."""
    counts: dict[str, int] = {}
    reasons: list[str] = []
    for at in range(seconds):
        counts, changes = scaler.update(specs, reports, float(at))
        reasons += changes.values()
    return counts, reasons


def test_only_services_with_limits_are_scaled() -> None:
    """Other services have no count here; scaled ones begin with the minimum, without a reason."""
    assert after(Autoscaler(), {}, 1) == ({"web": 2}, [])


def test_load_makes_it_grow_with_a_reason() -> None:
    """Busy instances lead to more of them, up to the maximum, each step with its reason."""
    counts, reasons = after(Autoscaler(), cpus(99.0, 99.0), 300)
    assert counts == {"web": 4}
    counts, _ = after(Autoscaler(), cpus(99.0, 99.0, 99.0, 99.0), 300)
    assert counts == {"web": 6}
    assert reasons[0].startswith("web: 2 to 4 replicas: CPU 99%")


@pytest.mark.parametrize("reports", [
    {}, cpus(None, None), cpus(99.0, 99.0, state="starting"), {"w1": {}}, {"w1": {"api": {"cpu": 99}}}])  # fmt: skip
def test_what_is_not_measured_changes_nothing(reports: Mapping[str, Any]) -> None:
    """No report, no CPU, or nothing that runs yet: the number stays."""
    assert after(Autoscaler(), reports, 300) == ({"web": 2}, [])


def test_a_new_primary_continues_from_the_stored_number() -> None:
    """The stored counts are loaded; that of an unknown service is dropped with the first update."""
    scaler = Autoscaler()
    scaler.load({"web": 5, "gone": 3})
    assert after(scaler, {}, 2) == ({"web": 5}, [])
    assert scaler.dump() == {"web": 5}


@pytest.mark.parametrize("stored", [None, [], "x", 7, {}])
def test_without_stored_counts_it_starts_with_the_minimum(stored: object) -> None:
    """Also where the stored value has another form."""
    scaler = Autoscaler()
    scaler.load(stored)
    assert after(scaler, {}, 1)[0] == {"web": 2}


def test_new_limits_hold_at_once() -> None:
    """A count outside of the limits of services.yml is brought inside at once, with a reason."""
    scaler = Autoscaler()
    scaler.load({"web": 6})
    counts, reasons = after(scaler, {}, 1, {"web": spec(low=1, high=3, cpu=50)})
    assert (counts, len(reasons)) == ({"web": 3}, 1)


def test_without_limits_the_count_is_dropped() -> None:
    """A service with a fixed number of replicas again is no longer scaled."""
    scaler = Autoscaler()
    scaler.load({"web": 6})
    assert after(scaler, {}, 1, {"web": spec(low=2)}) == ({}, [])
    assert scaler.dump() == {}


@given(st.lists(st.tuples(st.integers(1, 40), st.lists(st.floats(0, 400), max_size=6)), max_size=30))
def test_the_number_never_leaves_its_limits(history: list[tuple[int, list[float]]]) -> None:
    """Whatever is measured, the count stays between minimum and maximum, and each change has one reason."""
    scaler, at, before = Autoscaler(), 0.0, 2
    for pause, percents in history:
        at += pause
        counts, changes = scaler.update(SCALED, cpus(*percents), at)
        assert 2 <= counts["web"] <= 6
        assert bool(changes) == (counts["web"] != before)
        before = counts["web"]


def test_the_watches_ask_no_more_than_they_need() -> None:
    """One watch for each value; those about the lock may be answered by any server."""
    assert {name for name, (_, stale) in _WATCHES.items() if stale} == {"lock", "promotion", "heartbeat"}
    assert {path.split("?")[0] for path, _ in _WATCHES.values()} == {
        f"/v1/kv/{key}"
        for key in (kv_schema.PRIMARY, kv_schema.PROMOTE, kv_schema.BEAT, kv_schema.WANTED, kv_schema.REPORTS)} | {
        "/v1/catalog/nodes", "/v1/health/state/any"}  # fmt: skip


def can_be_primary(host: str) -> list[dict[str, Any]]:
    return [alive(host), {"Node": host, "CheckID": CHECK, "ServiceID": "nexus-orchestrator", "Status": "passing"}]


def named(host: str, **more: str) -> list[dict[str, Any]]:
    return [entry(kv_schema.PROMOTE, {"to": host, **more})]


@pytest.mark.parametrize(
    "health", [[], [alive("m2")], [alive("m2", "critical"), *can_be_primary("m2")[1:]], can_be_primary("m3")]
)
def test_it_does_not_hand_over_to_a_manager_that_cannot_be_primary(tmp_path: Path, health: list[dict[str, Any]]) -> None:
    """A dead host, or one whose orchestrator is not passing: it goes on, deletes the request, and writes an event."""
    store = Store(nexus__promote={"to": "m2"})
    primary(store, tmp_path, {}, promotion=named("m2"), health=health)._act_as_primary()
    assert not store.released
    assert kv_schema.PROMOTE not in store.values
    assert [e["kind"] for e in store.events()] == ["declined"]


def test_a_handover_that_failed_is_not_tried_again(tmp_path: Path) -> None:
    """A host that took the lock because the named one did not keeps it: the lock does not change hands in circles."""
    store = Store(nexus__promote={"to": "m2"})
    orchestrator = primary(store, tmp_path, {}, promotion=named("m2", ready="s-2"), health=can_be_primary("m2"))
    orchestrator._promotions.lock_acquired(orchestrator._view.promotion_request())
    orchestrator._act_as_primary()
    assert not store.released
    assert kv_schema.PROMOTE not in store.values
    orchestrator._act_as_primary()  # our own server may still show the request for a while
    assert not store.released
    assert [e["kind"] for e in store.events()] == ["declined"]


def test_old_events_go_batch_by_batch(tmp_path: Path) -> None:
    """A new primary prunes at once, one batch in each cycle, until only the newest are left."""
    count = KEPT_EVENTS + 2 * MAX_OPERATIONS + 5
    old = {f"{kv_schema.EVENTS}{n:08d}-00000001": {"kind": "place", "epoch": n} for n in range(count)}
    store = Store()
    store.values.update(old)
    orchestrator = primary(store, tmp_path, {})
    orchestrator._lock._unpruned = PRUNE_AFTER
    counts = []
    for _ in range(5):
        orchestrator._act_as_primary()
        counts.append(len(store.events()))
    assert counts == [KEPT_EVENTS + MAX_OPERATIONS + 5, KEPT_EVENTS + 5, KEPT_EVENTS, KEPT_EVENTS, KEPT_EVENTS]
    assert min(store.values) == sorted(old)[-KEPT_EVENTS]


BIG = {f"s{n}": {**spec(), "env": {"A": "x" * 30_000}} for n in range(20)}


def test_a_transaction_takes_as_many_orders_as_it_has_room_for() -> None:
    """Orders that are too large together are written in parts of one action at least, and no action is lost or repeated."""
    actions = tuple(Action("place", s, f"w{n}", "r1", "why") for n in range(3) for s in BIG)
    orders: Any = {}
    rounds = 0
    while actions:
        done, orders, operations = fit_transaction(orders, actions, BIG, 3)
        assert done == actions[: len(done)]
        assert len(done) == 1 or sum(len(o["Value"]) for o in operations) <= MAX_BYTES
        actions, rounds = actions[len(done) :], rounds + 1
    assert orders == {f"w{n}": BIG for n in range(3)}
    assert rounds > 3


class LockStore:
    """Consul as `acquire` sees it: the stored epoch, and the answer to the transaction."""

    def __init__(self, epoch: int | None, answer: ConsulError | None) -> None:
        self.epoch, self.answer = epoch, answer
        self.operations: list[Mapping[str, Any]] = []

    def read(self, key: str) -> tuple[int, Any]:
        assert key == kv_schema.EPOCH
        return 7, self.epoch

    def transact(self, operations: Iterable[Mapping[str, Any]], timeout: float) -> None:
        assert timeout <= ACT_TIMEOUT
        self.operations = list(operations)
        if self.answer:
            raise self.answer


@pytest.mark.parametrize(("stored", "local", "epoch"), [(None, "", 1), (4, "4", 5), (4, "9", 10), (9, "4", 10)])
def test_a_new_epoch_is_beyond_all_known_ones(tmp_path: Path, stored: int | None, local: str, epoch: int) -> None:
    """Beyond the KV store's, and beyond the local file's where the store was restored from an older snapshot."""
    (tmp_path / "epoch").write_text(local)
    lock = FencedLock(store := LockStore(stored, None), Held(), "m1", tmp_path / "epoch")  # type: ignore[arg-type]
    lock.acquire()
    assert lock.epoch == epoch
    assert lock.held
    lock.acquire(known_epoch=20)
    assert lock.epoch == 21
    assert store.operations[1] == {"Verb": "cas", "Key": kv_schema.EPOCH, "Index": 7,
                              "Value": base64.b64encode(b"21").decode()}  # fmt: skip


@pytest.mark.parametrize(("answer", "next_epoch"), [(ConsulError("refused", 409), 5), (ConsulError("no answer"), 6)])
def test_an_epoch_is_reused_only_when_it_was_certainly_not_acquired(
    tmp_path: Path, answer: ConsulError, next_epoch: int
) -> None:
    """A refusal wrote nothing; after a timeout that is unknown."""
    store = LockStore(4, answer)
    lock = FencedLock(store, Held(), "m1", tmp_path / "epoch")  # type: ignore[arg-type]
    with pytest.raises(ConsulError):
        lock.acquire()
    assert not lock.held
    store.answer = None
    lock.acquire()
    assert lock.epoch == next_epoch


def test_what_cannot_live_on_its_worker_is_moved_and_remembered(tmp_path: Path) -> None:
    """One transaction has the orders, the pairing for the next primary, and events with the worker's own reason."""
    why = "crashed 5 times without passing: Address already in use"
    loops = {"revision": "r1", "state": "looping", "cpu": None, "restarts": 5, "failures": 5, "note": why}
    reports = [entry(kv_schema.report_key("w0"), {"epoch": 2, "services": {"web": loops}})]
    store = Store(nexus__placement__w0__orders={"epoch": 2, "services": {"web": spec()}})
    orchestrator = primary(store, tmp_path, {"web": spec()}, reports=reports)
    cycles(orchestrator, store)
    assert store.sizes == [1 + 2 + 1 + 2]
    assert store.placed() == {"w0": set(), "w1": {"web"}}
    assert store.values[kv_schema.MISFITS]["web"]["w0"]["why"] == why
    assert [e["text"] for e in store.events()] == [
        f"place web on w1: w0 cannot run it ({why})", f"remove web on w0: the worker cannot run it ({why})"]  # fmt: skip
    successor = primary(store, tmp_path, {"web": spec()}, reports=reports)
    successor._primary_loop.cycle()
    assert successor._primary_loop._misfits.reasons() == {("web", "w0"): why}


@pytest.mark.parametrize("failures", [None, "5", 1.5, True])
def test_a_count_of_failures_that_is_no_number_is_none(failures: object) -> None:
    """A worker may write anything into its report."""
    report = {"revision": "r1", "state": "looping", "failures": failures, "note": "x" * 5000}
    found = instances({"w1": {"web": report}}, [])["web", "w1"]
    assert found.failures == 0
    assert len(found.note) == cluster_view.MAX_NOTE
