"""`--hosts`: which hosts an expression names."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.config.selectors import select
from fabfile.core.errors import InputError
from fabfile.core.model.cluster import Cluster, Host, Role

ROLES_OF: dict[str, tuple[Role, ...]] = {
    "m1": ("manager", "worker"),
    "m2": ("manager",),
    "w1": ("worker",),
    "w2": ("worker",),
    "lb1": ("loadbalancer",),
}
HOSTS = tuple(Host(name, f"10.0.0.{n}", roles) for n, (name, roles) in enumerate(ROLES_OF.items(), 1))
CLUSTER = Cluster("c", HOSTS, Path("/c/hosts.yml"), Path("/c/.nexus/c"), "c")
ITEMS = st.sampled_from(
    ["all", "manager", "managers", "worker", "workers", "loadbalancers", *ROLES_OF, "w*", "?1"]
)


def names(expression: str, cluster: Cluster = CLUSTER) -> list[str]:
    return [host.name for host in select(cluster, expression)]


@pytest.mark.parametrize(
    ("expression", "chosen"),
    [
        ("all", "m1 m2 w1 w2 lb1"),
        ("manager", "m1 m2"),
        ("workers", "m1 w1 w2"),
        ("lb1,m1", "m1 lb1"),
        ("w*", "w1 w2"),
        ("[mw]1", "m1 w1"),
        ("!lb1", "m1 m2 w1 w2"),
        ("!manager, !lb*", "w1 w2"),
        ("!m1,workers", "w1 w2"),
        (" w1 , w1 ", "w1"),
    ],
)
def test_expressions_name_hosts_in_inventory_order(expression: str, chosen: str) -> None:
    """Names, roles, globs, lists and exclusions choose each host once, in the order of hosts.yml."""
    assert names(expression) == chosen.split()


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("w3", "--hosts: w3 matches no host; did you mean w1 or w2?"),
        ("wrokers", "--hosts: wrokers matches no host; did you mean workers?"),
        ("all,!w9x", "--hosts: w9x matches no host"),
        ("z*", '--hosts: "z*" matches no host'),
        ("", "--hosts: an item is empty; write names, roles or globs with single commas between"),
        ("w1,,w2", "--hosts: an item is empty; write names, roles or globs with single commas between"),
        ("w1,!workers", '--hosts "w1,!workers": leaves no host'),
        ("$(id)", '--hosts: "$(id)" matches no host'),
    ],
)
def test_what_matches_nothing_is_an_error_that_names_it(expression: str, fault: str) -> None:
    """A misspelt item, an empty one and an empty selection are InputErrors; near names are offered."""
    with pytest.raises(InputError) as caught:
        select(CLUSTER, expression)
    assert caught.value.message.startswith(fault)


def test_one_fault_is_told_once() -> None:
    """However often the same item stands there."""
    with pytest.raises(InputError) as caught:
        select(CLUSTER, ",")
    assert len(caught.value.faults) == 1


def test_a_role_that_nobody_has_says_so() -> None:
    """A role word is never taken for a misspelt name."""
    bare = Cluster("c", HOSTS[:2], CLUSTER.source, CLUSTER.state, "c")
    with pytest.raises(InputError, match="no host has the role loadbalancer"):
        select(bare, "loadbalancers")


@given(st.lists(ITEMS, min_size=1))
def test_a_list_is_the_union_of_its_items(items: list[str]) -> None:
    """Order and repetition of items do not matter: a list chooses what its items choose one by one."""
    union = {name for item in items for name in names(item)}
    assert names(",".join(items)) == [name for name in ROLES_OF if name in union]


@given(ITEMS)
def test_an_item_and_its_exclusion_part_the_cluster(item: str) -> None:
    """`x` and `!x` together are all hosts, and share none."""
    chosen = names(item)
    rest = [name for name in ROLES_OF if name not in chosen]
    if rest:
        assert names(f"!{item}") == rest
    else:
        with pytest.raises(InputError):
            select(CLUSTER, f"!{item}")


@given(st.text())
def test_no_expression_raises_anything_else(expression: str) -> None:
    """Any text chooses hosts of the cluster, or is an InputError."""
    with contextlib.suppress(InputError):
        assert set(names(expression)) <= set(ROLES_OF)
