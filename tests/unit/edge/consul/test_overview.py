"""What is read out of Consul's own lists."""

from __future__ import annotations

from fabfile.edge.consul.overview import reserved


def test_a_node_that_runs_under_another_id_than_the_catalogue_has_is_found() -> None:
    """As Consul 1.8.7 lists a manager whose data folder was lost; others, and nodes without an id, are no trouble."""
    pool = [
        {"Name": "m1", "Status": 1, "Tags": {"id": "id-1", "role": "consul"}},
        {"Name": "m2", "Status": 1, "Tags": {"id": "new", "role": "consul"}},
        {"Name": "w1", "Status": 4, "Tags": {}},
        {"Name": "w2", "Status": 1, "Tags": {"id": "not in the catalogue yet"}},
    ]
    nodes = [
        {"Node": "m1", "ID": "id-1"}, {"Node": "m2", "ID": "old"}, {"Node": "w1", "ID": "id-3"},
        {"Node": "a database outside", "ID": ""},
    ]  # fmt: skip
    assert reserved(pool, nodes) == {"m2": ("new", "old")}
