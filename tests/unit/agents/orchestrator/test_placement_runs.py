"""The placement in a simulated cluster: whatever happens, no step does harm, and the steps come to an end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from remote_agents.nexus_agents.orchestrator.placement import decide
from remote_agents.nexus_agents.orchestrator.placement_model import (
    Action,
    Decision,
    DesiredService,
    Instance,
    Observed,
    Worker,
)

HOSTS, SERVICES = ("w1", "w2", "w3", "w4", "w5"), ("api", "web")
BROKEN = "r3"  # a revision that never passes
ROUNDS = 80  # more than any way from one state to another takes here


@dataclass
class Cluster:
    """Workers that carry out their orders on `settle`; `instances` is what really runs, also on partitioned workers."""

    workers: dict[str, Worker]
    orders: dict[str, dict[str, str]] = field(default_factory=dict)
    instances: dict[tuple[str, str], Instance] = field(default_factory=dict)
    broken: str = BROKEN

    def seen(self) -> Observed:
        return Observed(dict(self.workers), {h: dict(o) for h, o in self.orders.items()}, dict(self.instances))

    def apply(self, actions: Iterable[Action]) -> None:
        for action in actions:
            orders = self.orders.setdefault(action.host, {})
            if action.kind == "remove":
                del orders[action.service]
            else:
                orders[action.service] = action.revision

    def settle(self, hosts: Iterable[str]) -> None:
        """These workers, where alive, stop what is not ordered and start what is."""
        for host in [h for h in hosts if h in self.workers and self.workers[h].alive]:
            orders = self.orders.get(host, {})
            for service in SERVICES:
                self.instances.pop((service, host), None)
                if service in orders:
                    fine = orders[service] != self.broken
                    self.instances[service, host] = Instance(orders[service], fine, "running" if fine else "looping")


def up(seen: Observed, service: str, actions: Iterable[Action] = ()) -> set[str]:
    """Hosts on which it serves after these actions, and before any new instance has started."""
    touched = {a.host for a in actions if a.service == service}
    return {
        h for h, orders in seen.orders.items()
        if service in orders and h in seen.workers and seen.workers[h].alive and h not in touched
        and (i := seen.instances.get((service, h))) and i.passing and i.revision == orders[service]
    }  # fmt: skip


def fit(seen: Observed, desired: DesiredService) -> set[str]:
    return {n for n, w in seen.workers.items() if w.alive and all(w.labels.get(k) == v for k, v in desired.labels.items())}


def check(seen: Observed, wanted: Mapping[str, DesiredService], decision: Decision) -> None:
    """What must hold for every single decision."""
    places = [(a.service, a.host) for a in decision.actions]
    assert len(set(places)) == len(places)
    for a in decision.actions:
        has = a.service in seen.orders.get(a.host, {})
        assert has is (a.kind != "place"), "never two on a host, and nothing is changed that is not there"
        if a.kind == "remove":
            assert a.revision == seen.orders[a.host][a.service]
        else:
            assert a.host in fit(seen, wanted[a.service]), "never on a worker that is dead or not eligible"
            assert a.revision == wanted[a.service].revision
    for desired in wanted.values():
        check_service(seen, desired, [a for a in decision.actions if a.service == desired.name and a.host in seen.workers])


def check_service(seen: Observed, desired: DesiredService, actions: list[Action]) -> None:
    name, able = desired.name, fit(seen, desired)
    count = len(able) if desired.count is None else desired.count
    held = {h for h, o in seen.orders.items() if name in o and h in seen.workers}
    spare = {h for h in able - held if not seen.workers[h].flapping}
    serving, still = up(seen, name), up(seen, name, actions)
    in_place = {a.host for a in actions if a.kind == "replace"}
    assert len(still) >= min(len(serving), count) - len(in_place & serving)
    new = {h for h in held if seen.workers[h].alive and seen.orders[h][name] == desired.revision}
    if in_place:
        assert len(actions) == 1, "one step of a change at a time"
        assert new <= serving, "not before every new instance passes"
        if in_place & serving:
            assert not spare, "never below the count while a worker is free"
            others = held - in_place
            assert {h for h in others if desired.count is not None or seen.workers[h].alive} <= serving
    placed = {a.host for a in actions if a.kind == "place"}
    if desired.count is not None and any(seen.workers[h].flapping for h in placed):
        assert spare <= placed, "a flapping worker comes last"
    if placed and len(held & able) >= count:
        assert (len(placed), new <= serving) == (1, True), (
            "an extra instance is one, and only when all new ones pass"
        )
    gone = {a.host for a in actions if a.kind == "remove"}
    assert not (gone & able & serving & new) or len(held & able) > count, "what is well and wanted stays"
    alive = {h for h in held if seen.workers[h].alive}
    assert len((alive | placed) - gone) >= min(count, len(alive)), "the replacement first"
    assert count == 0 or desired.count is None or len((held | placed) - gone) >= min(count, len(held)), "its order stays"


def run(
    cluster: Cluster, wanted: Mapping[str, DesiredService], watch: Callable[[Observed, Decision], None] | None = None
) -> Decision:
    """Decides, applies and lets all workers settle until nothing is left to do: the last decision."""
    for _ in range(ROUNDS):
        seen = cluster.seen()
        decision = decide(seen, wanted)
        check(seen, wanted, decision)
        if watch:
            watch(seen, decision)
        if not decision.actions:
            return decision
        cluster.apply(decision.actions)
        cluster.settle(HOSTS)
    raise AssertionError("it does not come to an end")


labels = st.sampled_from([{}, {"zone": "a"}, {"zone": "b"}])
counts = st.one_of(st.none(), st.integers(0, 6))


@st.composite
def wants(draw: st.DrawFn, revisions: tuple[str, ...] = ("r1", "r2", BROKEN)) -> dict[str, DesiredService]:
    names = draw(st.sets(st.sampled_from(SERVICES)))
    return {n: DesiredService(n, draw(st.sampled_from(revisions)), draw(counts), draw(labels)) for n in sorted(names)}


@st.composite
def workers(draw: st.DrawFn) -> dict[str, Worker]:
    return {h: Worker(h, True, draw(labels), draw(st.integers(0, 4)) == 0) for h in HOSTS[: draw(st.integers(1, 5))]}


def disturb(cluster: Cluster, data: st.DataObject) -> None:
    """One event: a worker dies, returns, loses its label, flaps, leaves or joins; an instance fails; some settle."""
    host = data.draw(st.sampled_from(HOSTS))
    worker = cluster.workers.get(host) or Worker(host, True)
    what = data.draw(st.sampled_from(["die", "back", "label", "flap", "leave", "fail", "settle", "settle"]))
    if what in ("die", "back"):
        cluster.workers[host] = replace(worker, alive=what == "back")
    elif what == "label":
        cluster.workers[host] = replace(worker, labels=data.draw(labels))
    elif what == "flap":
        cluster.workers[host] = replace(worker, flapping=not worker.flapping)
    elif what == "leave":
        cluster.workers.pop(host, None)
    elif what == "fail":
        for key in [k for k in cluster.instances if k[1] == host]:
            cluster.instances[key] = replace(cluster.instances[key], passing=False)
    else:
        cluster.settle(data.draw(st.sets(st.sampled_from(HOSTS))))


def live(data: st.DataObject, steps: int = 14) -> tuple[Cluster, dict[str, DesiredService]]:
    """A cluster after random desired services, failures and decisions, each of them checked."""
    cluster, wanted = Cluster(data.draw(workers())), data.draw(wants())
    for _ in range(data.draw(st.integers(0, steps))):
        if data.draw(st.integers(0, 5)) == 0:
            wanted = data.draw(wants())
        disturb(cluster, data)
        seen = cluster.seen()
        decision = decide(seen, wanted)
        check(seen, wanted, decision)
        if data.draw(st.booleans()):
            cluster.apply(decision.actions)
    return cluster, wanted


@settings(deadline=None)
@given(st.data())
def test_no_step_does_harm_and_it_comes_to_an_end(data: st.DataObject) -> None:
    """Through random failures every decision keeps the rules; without failures they end, even if a revision never passes."""
    cluster, wanted = live(data)
    cluster.settle(HOSTS)
    last = run(cluster, wanted)
    assert decide(cluster.seen(), wanted) == last


@settings(deadline=None)
@given(st.data())
def test_a_healthy_cluster_reaches_the_desired_state(data: st.DataObject) -> None:
    """Once all workers live and every revision passes, each service has exactly its number, in the desired revision."""
    cluster, _ = live(data)
    wanted = data.draw(wants())
    cluster.broken = ""
    cluster.workers = cluster.workers or {"w1": Worker("w1", True)}
    for name, worker in cluster.workers.items():
        cluster.workers[name] = replace(worker, alive=True)
    cluster.settle(HOSTS)
    last = run(cluster, wanted)
    seen = cluster.seen()
    for name, desired in wanted.items():
        able = fit(seen, desired)
        count = len(able) if desired.count is None else desired.count
        held = {h for h, o in seen.orders.items() if name in o}
        assert len(held & able) == min(count, len(able))
        assert len(held) <= max(count, len(held & able))
        assert all(seen.orders[h][name] == desired.revision for h in held & able)
        running = {h for s, h in cluster.instances if s == name and h in cluster.workers}
        assert running == held, "no instance runs that is not ordered"
        assert up(seen, name) == held
    assert all(name in wanted for orders in seen.orders.values() for name in orders)
    assert not any("the change" in note for note in last.notes)


@settings(deadline=None)
@given(st.data())
def test_a_rolling_change_keeps_the_service_up(data: st.DataObject) -> None:
    """During a rolling change at most one instance is down, and none where there is room for an extra one."""
    size = data.draw(st.integers(1, 5))
    count = data.draw(st.integers(1, size))
    cluster = Cluster({h: Worker(h, True) for h in HOSTS[:size]})
    run(cluster, {"web": DesiredService("web", "r1", count)})
    wanted = {"web": DesiredService("web", "r2", count)}
    for _ in range(ROUNDS):
        seen = cluster.seen()
        decision = decide(seen, wanted)
        check(seen, wanted, decision)
        assert len(up(seen, "web", decision.actions)) >= (count if size > count else count - 1)
        cluster.apply(decision.actions)
        cluster.settle(data.draw(st.sets(st.sampled_from(HOSTS), min_size=3)))
        if set(cluster.instances.values()) == {Instance("r2", True)} and len(cluster.instances) == count:
            break
    cluster.settle(HOSTS)
    assert run(cluster, wanted).notes == ()
    assert sorted(cluster.instances.values(), key=str) == [Instance("r2", True)] * count


@settings(deadline=None)
@given(st.integers(2, 5), st.data())
def test_a_revision_that_never_passes_costs_no_more_than_one(size: int, data: st.DataObject) -> None:
    """A broken revision stops at its first instance, and going back to the old one restores everything."""
    count = data.draw(st.integers(1, size))
    cluster = Cluster({h: Worker(h, True) for h in HOSTS[:size]})
    run(cluster, {"web": DesiredService("web", "r1", count)})
    last = run(cluster, {"web": DesiredService("web", BROKEN, count)})
    assert sum(i.revision == BROKEN for i in cluster.instances.values()) == 1
    assert len(up(cluster.seen(), "web")) == (count if size > count else count - 1)
    assert len(last.notes) == 1
    run(cluster, {"web": DesiredService("web", "r1", count)})
    assert len(up(cluster.seen(), "web")) == len(cluster.instances) == count


@settings(deadline=None)
@given(st.data())
def test_equal_facts_give_equal_decisions(data: st.DataObject) -> None:
    """The decision depends neither on the order of its input nor on earlier calls."""
    cluster, wanted = live(data)
    seen = cluster.seen()

    def shuffled(known: Mapping) -> dict:  # type: ignore[type-arg]
        return {k: known[k] for k in data.draw(st.permutations(sorted(known)))}

    again = Observed(
        shuffled(seen.workers), {h: shuffled(o) for h, o in shuffled(seen.orders).items()}, shuffled(seen.instances)
    )
    assert decide(again, shuffled(wanted)) == decide(seen, wanted) == decide(seen, wanted)


@settings(deadline=None)
@given(st.data())
def test_nothing_moves_to_a_worker_that_comes_back(data: st.DataObject) -> None:
    """A complete cluster stays as it is when a worker joins or returns, unless something was missing."""
    cluster = Cluster(data.draw(workers()))
    wanted = {n: replace(w, count=w.count or 1) for n, w in data.draw(wants(("r1",))).items()}
    run(cluster, wanted)
    short = {n for n, w in wanted.items() if len(up(cluster.seen(), n) & fit(cluster.seen(), w)) < (w.count or 1)}
    cluster.workers.update({h: Worker(h, True, {"zone": "a"}) for h in HOSTS if h not in cluster.workers})
    assert {a.service for a in decide(cluster.seen(), wanted).actions} <= short


@settings(deadline=None)
@given(st.data())
def test_a_partitioned_worker_leaves_no_duplicate(data: st.DataObject) -> None:
    """A worker that kept running while it was called dead stops, on its return, whatever others have taken over."""
    cluster = Cluster({h: Worker(h, True) for h in HOSTS[: data.draw(st.integers(2, 5))]})
    wanted = {"web": DesiredService("web", "r1", data.draw(st.integers(1, 5)))}
    run(cluster, wanted)
    host = data.draw(st.sampled_from(sorted(cluster.workers)))
    cluster.workers[host] = Worker(host, False)
    run(cluster, wanted)
    others = {h for s, h in cluster.instances if h != host}
    cluster.workers[host] = Worker(host, True)
    cluster.settle([host])
    assert run(cluster, wanted).actions == ()
    assert {h for _, h in cluster.instances} - {host} == others
    assert len(cluster.instances) == min(wanted["web"].count or 0, len(cluster.workers))
