"""The order in which hosts change."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.model.cluster import Cluster
from fabfile.core.state.manifest import Manifest, text_file
from fabfile.core.state.plan import HostPlan, diff
from fabfile.core.state.waves import Wave, waves
from tests.support.samples import bare_facts, cluster_of, facts_of

WANTED = Manifest(files=(text_file("/a", "a"),))
CLUSTER = cluster_of(
    m1="manager worker", m2="manager", w1="worker", m3="manager loadbalancer", w2="worker", lb1="loadbalancer",
    lb2="worker loadbalancer",
)  # fmt: skip
MANAGERS = ["m1", "m2", "m3"]


def plans(cluster: Cluster, *unchanged: str) -> dict[str, HostPlan]:
    """A plan for every host; the hosts of `unchanged` have nothing to change."""
    facts = {h.name: facts_of(WANTED) if h.name in unchanged else bare_facts() for h in cluster.hosts}
    return {name: diff(name, WANTED, fact) for name, fact in facts.items()}


def order(cluster: Cluster, *unchanged: str, running: list[str] = MANAGERS, leader: str | None = None) -> list[str]:
    return [" ".join(w.hosts) for w in waves(cluster, plans(cluster, *unchanged), running, leader)]


def test_the_first_start_is_all_at_once() -> None:
    """With no manager running there is no quorum to keep, and all changing hosts go together."""
    assert order(CLUSTER, running=[]) == ["m1 m2 w1 m3 w2 lb1 lb2"]
    assert order(CLUSTER, "w1", "m2", running=[]) == ["m1 m3 w2 lb1 lb2"]


def test_servers_go_one_by_one_with_the_leader_last() -> None:
    """Each server is a wave of its own, before all other hosts, and the raft leader comes after its followers."""
    assert order(CLUSTER, leader="m1")[:3] == ["m2", "m3", "m1"]
    assert order(CLUSTER, leader="m2")[:3] == ["m1", "m3", "m2"]
    assert order(CLUSTER)[:3] == ["m1", "m2", "m3"]


def test_new_servers_come_after_the_old_ones() -> None:
    """A new server joins those whose firewalls know it already; the leader is the last of the old ones."""
    assert order(CLUSTER, running=["m2", "m3"], leader="m2")[:3] == ["m3", "m2", "m1"]
    assert order(CLUSTER, running=["m3"], leader="m3")[:3] == ["m3", "m1", "m2"]


def test_a_manager_with_a_new_address_goes_first() -> None:
    """It may be down until it has its address, and the gate of another one would wait for it; a leader is not down."""
    found = waves(CLUSTER, plans(CLUSTER), MANAGERS, "m1", ["m3", "w2"])
    assert [" ".join(w.hosts) for w in found][:5] == ["m3", "m2", "m1", "w1", "w2"]
    found = waves(CLUSTER, plans(CLUSTER), MANAGERS, "m1", ["m1"])
    assert [" ".join(w.hosts) for w in found][:3] == ["m2", "m3", "m1"]


def test_then_workers_then_balancers() -> None:
    """Workers follow the servers, and load balancers, one by one, come last even where they are workers too."""
    assert order(CLUSTER)[3:] == ["w1", "w2", "lb1", "lb2"]
    assert [w.title for w in waves(CLUSTER, plans(CLUSTER), MANAGERS, None)] == [
        "manager", "manager", "manager", "workers", "workers", "load balancer", "load balancer"]  # fmt: skip


def test_workers_go_in_batches() -> None:
    """About a third of the workers, counted over the whole inventory, change at the same time."""
    cluster = cluster_of(m1="manager", **{f"w{n}": "worker" for n in range(10)})
    assert order(cluster, "m1", running=["m1"]) == ["w0 w1 w2", "w3 w4 w5", "w6 w7 w8", "w9"]


def test_only_hosts_with_something_to_change_appear() -> None:
    """An unchanged host is in no wave; where all are unchanged, or none was selected, there is no wave."""
    assert order(CLUSTER, "m1", "w2", "lb1") == ["m2", "m3", "w1", "lb2"]
    assert order(CLUSTER, *(h.name for h in CLUSTER.hosts)) == []
    assert order(CLUSTER, *(h.name for h in CLUSTER.hosts), running=[]) == []
    assert waves(CLUSTER, {}, MANAGERS, "m1") == []


def test_unselected_hosts_do_not_change() -> None:
    """Only hosts that have a plan appear."""
    only = {"w1": plans(CLUSTER)["w1"]}
    assert waves(CLUSTER, only, MANAGERS, "m1") == [Wave("workers", ("w1",))]


@given(
    st.lists(st.sampled_from(["manager", "worker", "loadbalancer", "manager worker", "worker loadbalancer"]),
             min_size=1, max_size=12),
    st.data(),
)  # fmt: skip
def test_each_changing_host_changes_once_and_servers_never_together(roles: list[str], data: st.DataObject) -> None:
    """Whatever the inventory: each changing host is in one wave, and with a server running no wave has two servers."""
    cluster = cluster_of(**{f"h{n}": r for n, r in enumerate(roles)})
    names = [h.name for h in cluster.hosts]
    managers = [h.name for h in cluster.having("manager")]
    unchanged = data.draw(st.sets(st.sampled_from(names)))
    leader = data.draw(st.sampled_from([None, *managers]))
    found = waves(cluster, plans(cluster, *unchanged), managers, leader)
    assert sorted(n for w in found for n in w.hosts) == sorted(set(names) - unchanged)
    assert all(w.hosts for w in found)
    if managers:
        assert all(len(w.hosts) == 1 for w in found if set(w.hosts) & set(managers))
        changing = [n for w in found for n in w.hosts if n in managers]
        assert leader not in changing[:-1]
