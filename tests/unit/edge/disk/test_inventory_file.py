"""hosts.yml on disk: finding it, adding a host to it, putting it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import InputError, NexusError
from fabfile.core.resources import ROOT
from fabfile.edge.disk import inventory
from fabfile.edge.disk.inventory import add_host, load
from fabfile.edge.disk.paths import read_fault
from fabfile.edge.disk.text_edit import undo

MINIMAL = "cluster: c\nhosts: {m1: {ssh: 192.0.2.1, roles: [manager]}}\n"
FIELDS = {"ssh": "10.0.0.9", "roles": ("worker",), "port": None, "user": "op"}
FLOW = "w9: {ssh: 10.0.0.9, roles: [worker], user: op}"
SHIPPED = ROOT / "hosts.yml"


def added(folder: Path, text: str, name: str = "w9", fields: dict[str, object] | None = None) -> str:
    """The text after add_host; that old bytes come back by undo is checked on the way."""
    path = folder / "hosts.yml"
    path.write_bytes(text.encode())
    done = add_host(path, name, fields or FIELDS)
    new = path.read_bytes().decode()
    assert done.old == text
    undo(done)
    assert path.read_bytes() == text.encode()
    return new


def test_the_shipped_inventory_gains_one_line(tmp_path: Path) -> None:
    """A host added to hosts.yml is one line in its style; every other byte stays."""
    text = SHIPPED.read_text()
    assert added(tmp_path, text) == text + f"  {FLOW}\n"


def test_comments_after_the_last_host_stay_where_they_are(tmp_path: Path) -> None:
    """The new host follows the last one; comments and keys after it stay below, in any number."""
    head = "cluster: c   # name\nhosts:\n  m1: {ssh: a, roles: [manager]}   # first\n"
    tail = "  # w2: {ssh: b, roles: [worker]}\n\n# the end\ndatacenter: 'x1'   # kept\n# really\n"
    assert added(tmp_path, head + tail) == f"{head}  {FLOW}\n{tail}"


def test_a_block_host_is_followed_by_a_block(tmp_path: Path) -> None:
    """Block style, its indent and its blank lines go on; a comment inside the last host stays in it."""
    text = (
        "hosts:\n    m1:\n       ssh: a\n       roles: [manager]\n\n"
        "    w1:\n       ssh: b\n       roles:\n       - worker   # only\n       # user: x\n"
        "\n    # end\ncluster: c\n"
    )
    entry = "\n    w9:\n       ssh: 10.0.0.9\n       roles: [worker]\n       user: op\n"
    assert added(tmp_path, text) == text.replace("# user: x\n", "# user: x\n" + entry)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (MINIMAL, MINIMAL.replace("]}}", f"]}}, {FLOW}}}")),
        (
            "cluster: c\nhosts: {\n  m1: {ssh: a, roles: [manager]},  # one\n}\n",
            f"cluster: c\nhosts: {{\n  m1: {{ssh: a, roles: [manager]}}, {FLOW},  # one\n}}\n",
        ),
        (
            '{"cluster": "c", "hosts": {"m1": {"ssh": "a", "roles": ["manager"]}}}',
            f'{{"cluster": "c", "hosts": {{"m1": {{"ssh": "a", "roles": ["manager"]}}, {FLOW}}}}}',
        ),
        ("\ufeff" + MINIMAL, "\ufeff" + MINIMAL.replace("]}}", f"]}}, {FLOW}}}")),
        (
            "cluster: c\nhosts:\n  m1: &m {ssh: a, roles: [manager]}",
            f"cluster: c\nhosts:\n  m1: &m {{ssh: a, roles: [manager]}}\n  {FLOW}\n",
        ),
        (
            "cluster: c\r\nhosts:\r\n  m1: {ssh: a, roles: [manager]}\r\n",
            f"cluster: c\r\nhosts:\r\n  m1: {{ssh: a, roles: [manager]}}\r\n  {FLOW}\r\n",
        ),
        (
            "\ufeffcluster: c\nhosts:\n  m1: {ssh: a,\n       roles: [manager]}\n...\n",
            f"\ufeffcluster: c\nhosts:\n  m1: {{ssh: a,\n       roles: [manager]}}\n  {FLOW}\n...\n",
        ),
        (
            "cluster: c\nhosts:\n  m1:\n    roles: [manager]\n    ssh: >-\n      a\n\n# end\n",
            "cluster: c\nhosts:\n  m1:\n    roles: [manager]\n    ssh: >-\n      a\n"
            "\n  w9:\n    ssh: 10.0.0.9\n    roles: [worker]\n    user: op\n# end\n",
        ),
        (
            "cluster:\tc\nhosts:\t# all\n  m1:\t{ssh: a,\troles: [manager]}\n",
            f"cluster:\tc\nhosts:\t# all\n  m1:\t{{ssh: a,\troles: [manager]}}\n  {FLOW}\n",
        ),
        (
            "\ufeff\ufeffcluster: c\nhosts:\n  m1: {ssh: a, roles: [manager]}\n\ufeff# x\n",
            f"\ufeff\ufeffcluster: c\nhosts:\n  m1: {{ssh: a, roles: [manager]}}\n  {FLOW}\n\ufeff# x\n",
        ),
    ],
    ids=["flow", "flow-lines", "json", "bom", "no-newline", "crlf", "bom-document-end", "block-scalar", "tabs", "boms"],
)
def test_every_way_to_write_hosts_is_kept(tmp_path: Path, text: str, new: str) -> None:
    """Flow mappings, JSON, CRLF, a BOM, a missing last newline: each file stays what it is."""
    assert added(tmp_path, text) == new


def test_values_that_yaml_would_change_are_quoted(tmp_path: Path) -> None:
    """Names and labels that YAML reads as numbers or booleans come back as text."""
    fields = {"ssh": "b", "roles": ["worker"], "labels": {"v": "1.20", "on": "0x1f"}, "key": Path("~/k")}
    path = tmp_path / "hosts.yml"
    path.write_text(MINIMAL)
    add_host(path, "1", fields)
    host = load(str(path), {"HOME": "/h"}, tmp_path)[0].host("1")
    assert (host.labels, host.key) == ({"v": "1.20", "on": "0x1f"}, Path("/h/k"))


@pytest.mark.parametrize(
    ("name", "fields", "fault"),
    [
        ("m1", FIELDS, "hosts.m1: is there already"),
        ("W9", FIELDS, "hosts.W9: W9 is not a host name"),
        ("a: b\nc", FIELDS, "is not a host name"),
        ("w9", FIELDS | {"ssh": "192.0.2.1"}, "192.0.2.1 port 22 is also where m1 is reached"),
        ("w9", FIELDS | {"user": "a; b"}, 'hosts.w9.user: "a; b" is not a user name'),
        ("w9", FIELDS | {"roles": []}, "hosts.w9.roles: is empty"),
    ],
)
def test_a_host_that_would_be_a_fault_is_not_written(
    tmp_path: Path, name: str, fields: dict[str, object], fault: str
) -> None:
    """What core.config.inventory refuses is an InputError, and not a byte is written nor a file left behind."""
    path = tmp_path / "hosts.yml"
    path.write_text(MINIMAL)
    with pytest.raises(InputError) as caught:
        add_host(path, name, fields)
    assert fault in caught.value.message
    assert path.read_text() == MINIMAL
    assert os.listdir(tmp_path) == ["hosts.yml"]


def test_the_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    """Mode bits stay, a symbolic link stays a link, and no temporary file is left."""
    real = tmp_path / "real.yml"
    real.write_text(MINIMAL)
    real.chmod(0o640)
    link = tmp_path / "hosts.yml"
    link.symlink_to(real)
    add_host(link, "w9", FIELDS)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o7777 == 0o640
    assert "w9" in real.read_text()
    assert sorted(os.listdir(tmp_path)) == ["hosts.yml", "real.yml"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the last moment is one error; the old file stays and no temporary file is left."""
    path = tmp_path / "hosts.yml"
    path.write_text(MINIMAL)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(inventory.os, "fsync", full)
    with pytest.raises(NexusError, match="cannot be written: no space left"):
        add_host(path, "w9", FIELDS)
    assert path.read_text() == MINIMAL
    assert os.listdir(tmp_path) == ["hosts.yml"]


def test_the_inventory_is_found_in_the_documented_order(tmp_path: Path) -> None:
    """--inventory goes before NEXUS_HOSTS, that before hosts.yml here, that before one further up."""
    deep = tmp_path / "a/b"
    deep.mkdir(parents=True)
    for name in ("flag.yml", "env.yml", "hosts.yml", "a/hosts.yml"):
        (tmp_path / name).write_text(MINIMAL)
    env = {"NEXUS_HOSTS": "../../env.yml", "HOME": str(tmp_path)}
    assert load("~/flag.yml", env, deep)[0].source == tmp_path / "flag.yml"
    assert load(None, env, deep)[0].source.samefile(tmp_path / "env.yml")
    assert load(None, {"NEXUS_HOSTS": ""}, deep)[0].source == tmp_path / "a/hosts.yml"
    assert load(None, {}, tmp_path)[0].source == tmp_path / "hosts.yml"


def test_the_state_folder_is_beside_the_file_or_where_the_environment_says(tmp_path: Path) -> None:
    """State is <inventory folder>/.nexus/<cluster>, or $NEXUS_STATE/<cluster>."""
    (tmp_path / "hosts.yml").write_text(MINIMAL)
    assert load(None, {}, tmp_path)[0].state == tmp_path / ".nexus/c"
    assert load(None, {"NEXUS_STATE": "/s"}, tmp_path)[0].state == Path("/s/c")
    assert load(None, {"NEXUS_STATE": "s"}, tmp_path)[0].state == tmp_path / "s/c"


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path: Path) -> None:
    """Missing, a folder, not text, too large, an impossible name: each is an InputError that says so."""
    (tmp_path / "latin.yml").write_bytes("# Bär".encode("latin-1"))
    (tmp_path / "large.yml").write_bytes(b"#" * (1 << 20) + b"#")
    for name, fault in [
        ("none.yml", "none.yml: is not there"),
        (".", "is a folder; a file is due"),
        ("latin.yml", "latin.yml:1: byte 0xe4 is not UTF-8"),
        ("large.yml", "large.yml: is larger than 1 MiB"),
        ("a\0b", "cannot be read"),
    ]:
        with pytest.raises(InputError) as caught:
            load(name, {}, tmp_path)
        assert fault in caught.value.message
    empty = tmp_path / "empty"
    empty.mkdir()
    if not any((folder / "hosts.yml").exists() for folder in empty.parents):
        with pytest.raises(InputError, match="or any folder above it"):
            load(None, {}, empty)


def test_a_link_to_nowhere_is_an_error_and_not_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hosts.yml whose target is gone is still this folder's inventory; one of a folder above does not replace it."""
    (tmp_path / "hosts.yml").write_text(MINIMAL)
    here = tmp_path / "here"
    here.mkdir()
    (here / "hosts.yml").symlink_to("../gone.yml")
    monkeypatch.chdir(here)
    with pytest.raises(InputError) as caught:
        load(None, {}, here)
    assert caught.value.faults == ("hosts.yml: is a link to ../gone.yml, which is not there",)
    assert caught.value.hint == "bring its target back, or make the link anew"


def test_a_file_of_somebody_else_is_told_with_a_way_to_look(tmp_path: Path) -> None:
    """Whose it is, the operator can see."""
    error = PermissionError(13, "Permission denied")
    assert read_fault(tmp_path / "h", error) == ("is not yours to read", f"ls -lL {tmp_path / 'h'} shows whose it is")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_read_permission_is_one_clear_error(tmp_path: Path) -> None:
    """A file that may not be read is an InputError that says so."""
    (tmp_path / "hosts.yml").write_text(MINIMAL)
    (tmp_path / "hosts.yml").chmod(0)
    with pytest.raises(InputError, match="is not yours to read"):
        load(None, {}, tmp_path)


HOST = st.fixed_dictionaries(
    {"roles": st.just(["worker"])},
    optional={
        "port": st.integers(1, 65535),
        "labels": st.dictionaries(st.sampled_from("abc"), st.just("1.0")),
    },
)


@given(
    st.lists(HOST, max_size=4),
    HOST,
    st.sampled_from([None, True, False]),
    st.sampled_from([2, 4, 7]),
    st.sampled_from(["", "# end\n", "\n\n  # odd\n", "datacenter: d\n", "\n# x\ndomain: a.b # y\n"]),
)
def test_adding_changes_nothing_but_the_new_host(
    tmp_path_factory: pytest.TempPathFactory,
    others: list[dict[str, object]],
    new: dict[str, object],
    flow: bool | None,
    indent: int,
    tail: str,
) -> None:
    """In any style, the old text is the new text without the added lines, and the document gains one host."""
    hosts = {"m1": {"ssh": "a", "roles": ["manager"]}} | {
        f"w{n}": {"ssh": f"h{n}"} | h for n, h in enumerate(others)
    }
    body = yaml.safe_dump({"hosts": hosts}, default_flow_style=flow, indent=indent, sort_keys=False)
    text = (
        "cluster: c\n"
        + (body if not flow else f"hosts: {yaml.safe_dump(hosts, default_flow_style=True)}")
        + tail
    )
    result = added(tmp_path_factory.mktemp("edit"), text, "x-new", {"ssh": "zz"} | new)
    wanted = yaml.safe_load(text)
    wanted["hosts"]["x-new"] = {"ssh": "zz"} | new
    assert yaml.safe_load(result) == wanted
    assert list(yaml.safe_load(result)["hosts"])[-1] == "x-new"
    start = next(n for n in range(len(result)) if text[:n] + result[n] != text[: n + 1])
    assert result.endswith(text[start:])
