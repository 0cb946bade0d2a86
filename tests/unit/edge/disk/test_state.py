"""The operator's own folder of a cluster: who may read it, and what it keeps."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


READERS: dict[str, Callable[[State], object]] = {
    "cluster.json": lambda s: s.cluster_id, "versions.json": lambda s: s.versions(), "acl.json": lambda s: s.acl(),
    "addresses.json": lambda s: s.addresses(), "verified.json": lambda s: s.verified(),
}  # fmt: skip
WRITERS: dict[str, Callable[[State], object]] = {
    "cluster.json": lambda s: s.make_cluster_id("ab"), "versions.json": lambda s: s.keep_versions({"consul": "1.2.3"}),
    "addresses.json": lambda s: s.keep_addresses({"m1": Address("10.0.0.1", "10.0.0.1")}),
    "acl.json": lambda s: s.keep_acl("d"), "verified.json": lambda s: s.keep_verified(1.0),
}  # fmt: skip
ODD = [
    b"", b"\n", b"[]", b"null", b"0", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, b'{"id":' * 100_000, b'{"id": 1, "id": 1}',
    b'{"id": [], "digest": [], "at": [], "consul": [], "m1": []}', b'{"id": "", "digest": "", "at": "", "m1": ["", ""]}',
    b'{"id": null, "digest": null, "at": null}', b'{"id": "\\ud800", "digest": "\\ud800", "at": NaN}',
    b'{"id": 1, "digest": 1, "at": 1e999}', b'{"id": true, "digest": true, "at": true}', b'{"at": ' + b"9" * 5000 + b"}",
    b'{"consul": "../../x", "id": "\\n", "digest": "\\u0000", "at": -1}',
]


@pytest.mark.parametrize("content", ODD, ids=lambda c: c[:20])
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_shape_is_no_empty_one(state: State, name: str, content: bytes) -> None:
    """Whatever is not what belongs there is named with a way out, by readers and writers, and stays as it was found:
    never another version or cluster id without a word."""
    state.ensure()
    (state.folder / name).write_bytes(content)
    for look in (READERS[name], WRITERS[name]):
        with pytest.raises(NexusError) as caught:
            look(state)
        assert f"{name} cannot be read: " in caught.value.message
        assert len(caught.value.message) < 300
        assert caught.value.hint
    assert (state.folder / name).read_bytes() == content


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["1.2.3", "10.0.0.1", "::1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    | st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "digest", "at", "consul", "m1"), inner)),
)  # fmt: skip


@given(st.sampled_from(sorted(READERS)), st.binary() | JSON.map(lambda v: json.dumps(v).encode()))
def test_any_content_is_a_value_or_an_error(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    """Whatever the bytes, a reader gives a value of its type or our error; and then so does the writer, which keeps it."""
    state = State(tmp_path_factory.mktemp("any") / "prod")
    state.ensure()
    (state.folder / name).write_bytes(content)
    fault = None
    try:
        READERS[name](state)
    except NexusError as error:
        fault = error
    if fault:
        assert name in fault.message
        assert fault.message.isprintable()
        assert fault.hint
        return
    before = json.loads(content)
    WRITERS[name](state)
    READERS[name](state)
    after = json.loads((state.folder / name).read_bytes())
    assert before == {**before, **{k: v for k, v in after.items() if k not in ("id", "consul", "m1", "digest", "at")}}
    assert before.keys() <= after.keys()


def test_a_folder_in_place_of_a_file_is_named(state: State) -> None:
    """That holds for what is no file, too."""
    for name, look in READERS.items():
        (state.ensure() / name).mkdir()
        with pytest.raises(NexusError, match=name):
            look(state)


def test_hosts_that_are_missing_for_a_moment_keep_their_addresses(state: State) -> None:
    """A host that is commented out is found again at once."""
    state.keep_addresses({"m1": Address("10.0.0.1", "10.0.0.1"), "w1": Address("10.0.0.2", "10.0.0.2")})
    state.keep_addresses({"m1": Address("10.0.0.3", "10.0.0.3")})
    assert state.addresses() == {"m1": Address("10.0.0.3", "10.0.0.3"), "w1": Address("10.0.0.2", "10.0.0.2")}


def test_a_damaged_file_is_named(state: State) -> None:
    """A file that is not JSON is an error that names it, never a silent new cluster."""
    state.ensure()
    (state.folder / "cluster.json").write_text("{")
    with pytest.raises(NexusError, match=r"cluster\.json cannot be read"):
        _ = state.cluster_id
