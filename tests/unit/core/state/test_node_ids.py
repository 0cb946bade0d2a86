"""Which id a host's node has in Consul: what a living host has, a wiped one had, and a new one gets."""

from __future__ import annotations

import uuid

import pytest

from fabfile.core.state.consul import NODE_ID_FILE, SETTINGS
from fabfile.core.state.desired import PATHS
from fabfile.core.state.facts import Facts, FileFact
from fabfile.core.state.node_ids import derived_node_id, kept_node_ids
from tests.support.samples import CONTEXT, bare_facts, facts_of, wanted

OLD, OTHER = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def host(folder: str | None = None, settings: str | None = None) -> Facts:
    """With this text as the folder's node-id, and this line in its settings."""
    texts = {NODE_ID_FILE: folder, SETTINGS: None if settings is None else f'node_name = "w1"\n{settings}\n'}
    files = {p: FileFact("s", "0600", "consul", "consul", len(t), t.encode()) for p, t in texts.items() if t is not None}
    return bare_facts(files=files)


def test_an_id_follows_from_cluster_and_name() -> None:
    """The same cluster and name give the same id; another of either, another id; each is one that Consul takes."""
    one = derived_node_id("0123", "m1")
    assert one == derived_node_id("0123", "m1") == str(uuid.UUID(one))
    assert len({one, derived_node_id("0123", "m2"), derived_node_id("4567", "m1")}) == 3


@pytest.mark.parametrize(
    ("facts", "kept"),
    [
        (host(), None),
        (host(folder=f"{OLD.upper()}\n"), OLD),
        (host(settings=f'node_id    = "{OLD}"'), OLD),
        (host(folder=OLD, settings=f'node_id = "{OTHER}"'), OLD),
        (host(folder="nonsense"), None),
        (host(folder="", settings=f'node_id = "{OLD}"'), OLD),
        (host(settings='node_id = "nonsense"'), None),
        (host(settings=f'# node_id = "{OLD}"'), None),
    ],
)
def test_a_host_keeps_the_id_that_it_has(facts: Facts, kept: str | None) -> None:
    """That of Consul's folder; where the folder is lost, that of its settings; none where it has neither."""
    assert kept_node_ids({"w1": facts}) == ({} if kept is None else {"w1": kept})


def test_an_id_that_two_hosts_have_is_nobodys() -> None:
    """Clones of one machine get ids of their own."""
    assert kept_node_ids({"w1": host(OLD), "w2": host(OLD), "w3": host(OTHER)}) == {"w3": OTHER}


def test_a_host_that_was_deployed_and_then_wiped_keeps_its_id() -> None:
    """What a deploy placed names the id, so the next plan has no other, whether Consul's folder is there or not."""
    for name in ("m1", "w1"):
        placed = facts_of(wanted(name))
        assert kept_node_ids({name: placed}) == {name: derived_node_id(CONTEXT.cluster_id, name)}


def test_the_probe_looks_at_consuls_own_file() -> None:
    """Without it an older cluster's ids would not be known, and would be changed."""
    assert NODE_ID_FILE in PATHS
    assert SETTINGS in PATHS
