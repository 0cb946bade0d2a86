"""services.yml on disk: finding it, changing one number in it, putting it back."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fabfile.core.errors import InputError, NexusError, Several
from fabfile.core.model.cluster import Cluster
from fabfile.core.model.service import Replicas, Services
from fabfile.core.resources import ROOT
from fabfile.edge.disk import services
from fabfile.edge.disk.services import load, load_both, set_replicas
from fabfile.edge.disk.text_edit import undo

LEAST = "services: {web: {command: [run], replicas: 1}}\n"
EXAMPLE = ROOT / "docs/examples/services.yml"


def scaled(folder: Path, text: str, count: int = 5, name: str = "web") -> str:
    """The text after set_replicas; that old bytes come back by undo is checked on the way."""
    path = folder / "services.yml"
    path.write_bytes(text.encode())
    done = set_replicas(path, name, count)
    new = path.read_bytes().decode()
    assert done.old == text
    assert load_from(folder).service(name).replicas == Replicas(min=count, max=count)
    undo(done)
    assert path.read_bytes() == text.encode()
    return new


def load_from(folder: Path, path: Path | None = None) -> Services:
    return load(Cluster("c", (), folder / "hosts.yml", folder / ".nexus/c", "c"), path)


def refused(folder: Path, text: str, name: str = "web", count: int = 5) -> InputError:
    """The error of a change that must leave every byte and no other file."""
    path = folder / "services.yml"
    path.write_bytes(text.encode())
    with pytest.raises(InputError) as caught:
        set_replicas(path, name, count)
    assert path.read_bytes() == text.encode()
    assert os.listdir(folder) == ["services.yml"]
    return caught.value


def test_services_are_read_beside_the_inventory_or_where_they_are_named(tmp_path: Path) -> None:
    """services.yml beside hosts.yml is read; a named file goes before it; an absent one means no services."""
    assert load_from(tmp_path) == Services((), None)
    (tmp_path / "services.yml").write_text(LEAST)
    (tmp_path / "other.yml").write_text("services: {}")
    assert [s.name for s in load_from(tmp_path)] == ["web"]
    assert load_from(tmp_path).source == tmp_path / "services.yml"
    assert load_from(tmp_path, tmp_path / "other.yml") == Services((), tmp_path / "other.yml")


def test_files_that_cannot_be_read_are_one_clear_error(tmp_path: Path) -> None:
    """A named file that is absent, a folder, a dangling link, not text: each is an InputError that says so."""
    (tmp_path / "latin.yml").write_bytes("# Bär".encode("latin-1"))
    for name, fault in [
        ("none.yml", "none.yml: is not there"),
        (".", "is a folder; a file is due"),
        ("latin.yml", "latin.yml:1: byte 0xe4 is not UTF-8"),
        ("a\0b", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=fault):
            load_from(tmp_path, tmp_path / name)
    (tmp_path / "services.yml").symlink_to("gone.yml")
    with pytest.raises(InputError, match=r"is a link to gone\.yml, which is not there"):
        load_from(tmp_path)


def test_the_faults_of_both_files_are_reported_together(tmp_path: Path) -> None:
    """hosts.yml and services.yml are checked together: the error has the faults of both, each with its own hint."""
    hosts, other = tmp_path / "hosts.yml", tmp_path / "services.yml"
    hosts.write_text("cluster: c\nhosts: {m1: {ssh: a, roles: [manager]}}\n")
    other.write_text(LEAST)
    cluster, warnings, offered = load_both(str(hosts), {}, tmp_path)
    assert (cluster.name, warnings, [s.name for s in offered]) == ("c", (), ["web"])
    other.write_text("services: {web: {command: run, port: 0}}")
    with pytest.raises(InputError, match=r"services.yml:1: services.web.port: 0 is not a port"):
        load_both(str(hosts), {}, tmp_path)
    hosts.write_text("cluster: c\nhosts: {m1: {ssh: a, roles: [managr]}}\n")
    with pytest.raises(Several) as caught:
        load_both(str(hosts), {}, tmp_path)
    assert [e.message.partition(":")[0] for e in caught.value.errors] == ["hosts.yml", "services.yml"]
    assert caught.value.errors[0].hint != caught.value.errors[1].hint
    other.unlink()
    with pytest.raises(InputError) as alone:
        load_both(str(hosts), {}, tmp_path)
    assert all(fault.startswith("hosts.yml:") for fault in alone.value.faults)


def test_the_example_changes_in_one_number(tmp_path: Path) -> None:
    """In a file full of comments, the number alone is another; `all` gives way to one."""
    text = EXAMPLE.read_text()
    assert scaled(tmp_path, text) == text.replace("    replicas: 2\n", "    replicas: 5\n")
    assert scaled(tmp_path, text, 12, "node-exporter") == text.replace("replicas: all\n", "replicas: 12\n")


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (LEAST, LEAST.replace("1", "5")),
        ("services:\n  web:\n    replicas:   10   # ten\n    command: run", None),
        ("services:\n  web: {command: run,\n    'replicas': &n 10, port: 8010} # x\n  b: [a]\n", None),
        ("services:\n  web:\n    command: run\n    replicas: !!int 10\n", None),
        ('services:\n  web:\n    command: run\n    replicas: "all" # all\n', 'replicas: 5 # all\n'),
        ("services:\n  web: {command: run, replicas: &a all}\n", "replicas: &a 5}\n"),
        ("\ufeffservices:\r\n  web:\r\n    replicas: 10\r\n    command: run\r\n", None),
        ('{"services": {"web": {"replicas": 10, "command": ["run"]}}}', None),
        ("services: # ä🎉\n  web:\n    command: run # é🎉\n    replicas: 10\n...\n", None),
        ("services:\t\n  web:\t# x\n    command:\trun\n    replicas:\t10\t# ten\n", None),
        ("services:\n  web: {command: run,\treplicas:\t10\t}\t# x\n", None),
        ("# x\n\ufeffservices:\n  web:\n    command: run\n    replicas: 10\n", None),
        ("\ufeff\ufeffservices:\n  web: {command: run, replicas: 10}\n", None),
    ],
    ids=["flow", "no-newline", "anchor", "tag", "quoted", "anchored-all", "bom-crlf", "json", "wide", "tabs", "flow-tabs",
         "late-bom", "two-boms"],
)
def test_a_number_that_is_there_is_replaced(tmp_path: Path, text: str, new: str | None) -> None:
    """What is around it (comments, anchors, a BOM, CRLF, JSON) stays, byte for byte."""
    result = scaled(tmp_path, text)
    assert result.endswith(new) if new else result == text.replace("10", "5", 1)


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (
            "services:\n  web:\n    command: run   # it\n    port: 8080   # the port\n    # end of web\n\n  b: [x]\n",
            "services:\n  web:\n    command: run   # it\n    port: 8080   # the port\n    replicas: 5\n    # end of web\n\n"
            "  b: [x]\n",
        ),
        ("services:\n  web:\n      command: run", "services:\n  web:\n      command: run\n      replicas: 5\n"),
        (
            "services:\r\n  web:\r\n    command: run\r\n  b: [x]",
            "services:\r\n  web:\r\n    command: run\r\n    replicas: 5\r\n  b: [x]",
        ),
        (
            "services:\n  web:\n    command:\n    - run\n    - a # b\n  b: [x]\n",
            "services:\n  web:\n    command:\n    - run\n    - a # b\n    replicas: 5\n  b: [x]\n",
        ),
        (
            "services:\n  web:\n    command: [run]\n    env:\n      A:\n        x\n        y\n# end\n",
            "services:\n  web:\n    command: [run]\n    env:\n      A:\n        x\n        y\n    replicas: 5\n# end\n",
        ),
        (
            "services:\n  web:\n    command: >-\n      run\n      it\n  b: [x]\n",
            "services:\n  web:\n    command: >-\n      run\n      it\n    replicas: 5\n  b: [x]\n",
        ),
        (
            "services:\n  web:\n    command: |-\n      run",
            "services:\n  web:\n    command: |-\n      run\n    replicas: 5\n",
        ),
        (
            "services:\n  a: &a {command: &c [run], env: &e {A: b}}\n  web:\n    command: *c\n    env: *e # env\n",
            "services:\n  a: &a {command: &c [run], env: &e {A: b}}\n  web:\n    command: *c\n    env: *e # env\n"
            "    replicas: 5\n",
        ),
        (
            "services:\n  a: {command: &c [run]}\n  web: {command: *c }\n",
            "services:\n  a: {command: &c [run]}\n  web: {command: *c, replicas: 5 }\n",
        ),
        (
            "services: {web: {\n  command: run, port: 8080,  # p\n}}\n",
            "services: {web: {\n  command: run, port: 8080, replicas: 5,  # p\n}}\n",
        ),
        ('{"services":{"web":{"command":"run"}}}', '{"services":{"web":{"command":"run", "replicas": 5}}}'),
        (
            "services:\n  web: {command: [run], env: {A: b}} # x",
            "services:\n  web: {command: [run], env: {A: b}, replicas: 5} # x",
        ),
        (
            "services:\n  a: {env: &e {A: b}, command: x}\n  web:\n    command: run\n    env:\n      *e\n",
            "services:\n  a: {env: &e {A: b}, command: x}\n  web:\n    command: run\n    env:\n      *e\n    replicas: 5\n",
        ),
        ("services:\n    ? web\n    : command: run\n", "services:\n    ? web\n    : command: run\n      replicas: 5\n"),
    ],
    ids=["block", "no-newline", "crlf", "list-last", "nested-last", "folded-last", "literal-end", "alias", "flow-alias",
         "flow-lines", "json", "flow", "alias-line", "explicit-key"],
)  # fmt: skip
def test_a_number_that_is_not_there_becomes_the_last_key(tmp_path: Path, text: str, new: str) -> None:
    """The key is added in the service's own style and indent; all else stays."""
    assert scaled(tmp_path, text) == new


@pytest.mark.parametrize("text", [LEAST, "services: {web: [run]}", "services: {web: {command: run}}"])
def test_what_is_so_already_is_not_written(tmp_path: Path, text: str) -> None:
    """The number that is there, or that is the default, leaves the file alone."""
    path = tmp_path / "services.yml"
    path.write_text(text)
    before = path.stat()
    assert set_replicas(path, "web", 1).new == path.read_text()
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


@pytest.mark.parametrize(
    ("text", "fault", "hint"),
    [
        ("services: {web: [run]}", "services.web: is a list, which has no place for replicas",
         "write it as a mapping: web: {command: [...], replicas: 5}"),
        ("services: {web: {command: run, replicas: {min: 1, max: 5, cpu: 9}}}", "services.web.replicas: follows the CPU",
         "change min and max in the file, or write a number there"),
        ("services: {wed: [run]}", "services.web: there is no such service; did you mean wed?", "inv service.list"),
        ("services: {}", "services.web: there is no such service", "inv service.list"),
        ("services:\n  web: {command: run, port: 1.5}", "services.yml:2: services.web.port: 1.5 is not a port", ""),
        ("services:\n  a: &a {command: run}\n  web: *a\n", "cannot be changed without changing other lines", "by hand"),
        ("services:\n  web: &a {command: run, replicas: 2}\n  b: *a\n", "cannot be changed without changing", "by hand"),
        ("services:\n  a: {command: x, replicas: &n 3}\n  web: {command: x, replicas: *n}\n", "cannot be changed", "hand"),
        ("services:\n  a: {command: [run, &n 3]}\n  web: {command: run, replicas: *n}\n", "cannot be changed", "hand"),
        ("services:\n  web:\n    replicas: |-\n      all\n    command: run\n", "cannot be changed", "by hand"),
        ("services:\n  web:\n    command: x\n    env: &e\n      A: b\n  b:\n    command: x\n    env:   # y\n      *e\n",
         "services.b.replicas: cannot be changed", "by hand"),
    ],
    ids=["list", "scaled", "near", "none", "faulty", "alias", "anchor", "number-alias", "odd-alias", "literal",
         "alias-comment"],
)  # fmt: skip
def test_what_cannot_be_one_number_is_refused(tmp_path: Path, text: str, fault: str, hint: str) -> None:
    """Lists, autoscaled services, aliases, unknown names, faulty files: an InputError with a hint, not a byte written."""
    error = refused(tmp_path, text, "b" if "services.b" in fault else "web")
    assert fault in error.message
    assert hint in error.hint


@pytest.mark.parametrize("count", [-1, 1001])
def test_a_number_that_would_be_a_fault_is_refused(tmp_path: Path, count: int) -> None:
    """What the door would not let in is not written."""
    error = refused(tmp_path, LEAST, count=count)
    assert error.message == f"services.yml: services.web.replicas: {count} is not a number of instances (0-1000)"


def test_a_hostile_name_is_shown_on_one_line(tmp_path: Path) -> None:
    """A name from the command line cannot break the report."""
    assert refused(tmp_path, LEAST, "a\nb\x1b").message.isprintable()


def test_the_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    """Mode bits stay, a symbolic link stays a link, and no temporary file is left."""
    real, link = tmp_path / "real.yml", tmp_path / "services.yml"
    real.write_text(LEAST)
    real.chmod(0o640)
    link.symlink_to(real)
    set_replicas(link, "web", 3)
    assert link.is_symlink()
    assert real.stat().st_mode & 0o7777 == 0o640
    assert real.read_text() == LEAST.replace("1", "3")
    assert sorted(os.listdir(tmp_path)) == ["real.yml", "services.yml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_the_file_keeps_its_owner(tmp_path: Path) -> None:
    """`sudo inv service.scale` leaves the operator's file the operator's."""
    path = tmp_path / "services.yml"
    path.write_text(LEAST)
    os.chown(path, 12345, 54321)
    set_replicas(path, "web", 3)
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 54321)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk at the last moment is one error; the old file stays and no temporary file is left."""
    path = tmp_path / "services.yml"
    path.write_text(LEAST)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(services.os, "fsync", full)
    with pytest.raises(NexusError, match="cannot be written: no space left"):
        set_replicas(path, "web", 3)
    assert path.read_text() == LEAST
    assert os.listdir(tmp_path) == ["services.yml"]


def shared(a: str, b: str) -> int:
    """How many characters both begin with."""
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


OWN = st.fixed_dictionaries(
    {"command": st.just(["run", 8080]) | st.just("run it")},
    optional={
        "replicas": st.integers(0, 1000) | st.just("all"),
        "env": st.dictionaries(st.sampled_from("ABC"), st.text("a #:{}'\"é", max_size=6)),
        "check": st.just({"ttl": True, "interval": 2}),
        "labels": st.just({"a": "b"}),
        "stop_timeout": st.just("10s"),
    },
)


@given(
    st.lists(OWN, min_size=1, max_size=4),
    st.data(),
    st.integers(0, 1000),
    st.sampled_from([None, True, False]),
    st.sampled_from([2, 4, 7]),
    st.sampled_from(["", "# end\n", "\n\n  # odd\n"]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_the_number_is_all_that_changes(
    tmp_path_factory: pytest.TempPathFactory,
    owns: list[dict[str, object]],
    data: st.DataObject,
    count: int,
    flow: bool | None,
    indent: int,
    tail: str,
    newline: str,
) -> None:
    """In any style, the text before and after the number or the new line is the old text."""
    file = {"services": {f"s{n}": dict(data.draw(st.permutations(list(own.items())))) for n, own in enumerate(owns)}}
    name = data.draw(st.sampled_from(sorted(file["services"])))
    style: dict[str, object] = {"default_flow_style": flow, "indent": indent, "width": 40}
    text = yaml.safe_dump(file, sort_keys=False, allow_unicode=True, **style) + tail
    text = text.replace("\n", newline)
    folder = tmp_path_factory.mktemp("edit")
    result = scaled(folder, text, count, name)
    path = folder / "services.yml"
    before = load_from(folder)
    path.write_bytes(result.encode())
    goal = Replicas(min=count, max=count)
    assert list(load_from(folder)) == [replace(s, replicas=goal) if s.name == name else s for s in before]
    same = shared(text, result)
    rest = shared(text[same:][::-1], result[same:][::-1])
    put_in, taken = result[same : len(result) - rest], text[same : len(text) - rest]
    assert taken in ("all", "") or taken.isdigit()
    assert set(put_in) <= set(f"\r\n ,replicas:{count}")
