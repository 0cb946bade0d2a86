"""The operator's own folder of a cluster: who may read it, and what it keeps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fabfile.core.errors import NexusError
from fabfile.core.state.topology import Address
from fabfile.edge.disk.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / ".nexus/prod")


def rights(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.fixture(params=[0o000, 0o022, 0o077])
def _umask(request: pytest.FixtureRequest) -> object:
    before = os.umask(request.param)
    yield
    os.umask(before)


def test_reading_makes_nothing(state: State) -> None:
    """Asking a state that was never written gives the empty answer and leaves no folder."""
    assert (state.cluster_id, state.versions(), state.addresses(), state.verified()) == (None, {}, {}, None)
    assert not state.folder.parent.exists()


@pytest.mark.usefixtures("_umask")
def test_only_the_operator_may_read_it(state: State) -> None:
    """Folders are 0700 and files 0600, whatever the umask."""
    state.make_cluster_id()
    assert (rights(state.folder), rights(state.folder.parent)) == (0o700, 0o700)
    assert rights(state.folder / "cluster.json") == 0o600


def test_git_never_sees_it(state: State) -> None:
    """The folder of all clusters ignores itself, and an operator's own .gitignore there is left alone."""
    state.make_cluster_id()
    ignore = state.folder.parent / ".gitignore"
    assert ignore.read_text() == "*\n"
    ignore.write_text("*\n!notes\n")
    State(state.folder.parent / "stage").make_cluster_id()
    assert ignore.read_text() == "*\n!notes\n"


def test_what_is_kept_is_read_back(state: State) -> None:
    """Id, versions, addresses and the time of the last verification come back as they were given."""
    made = state.make_cluster_id()
    state.keep_versions({"consul": "1.22.7"})
    state.keep_addresses({"m1": Address("10.0.0.1", "203.0.113.1")})
    state.keep_verified(1.5)
    state.keep_verified(2.5)
    again = State(state.folder)
    assert (again.cluster_id, again.versions()) == (made, {"consul": "1.22.7"})
    assert again.addresses() == {"m1": Address("10.0.0.1", "203.0.113.1")}
    assert again.verified() == 2.5


def test_ids_differ_and_can_be_adopted(state: State) -> None:
    """Two clusters of one name get different ids, each of them once; an adopted id is kept as it is."""
    first = state.make_cluster_id()
    assert State(state.folder.parent / "stage").make_cluster_id() != first == state.make_cluster_id()
    assert state.make_cluster_id("abcd") == state.cluster_id == "abcd"


def test_an_equal_value_is_not_written_again(state: State) -> None:
    """Keeping what is kept already touches no file."""
    state.keep_versions({"consul": "1.22.7"})
    before = (state.folder / "versions.json").stat()
    state.keep_versions({"consul": "1.22.7"})
    after = (state.folder / "versions.json").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_damaged_file_is_named(state: State) -> None:
    """A file that is not JSON is an error that names it, never a silent new cluster."""
    state.ensure()
    (state.folder / "cluster.json").write_text("{")
    with pytest.raises(NexusError, match=r"cluster\.json cannot be read"):
        _ = state.cluster_id
