"""One edit of the operator's file beside others: none is lost, and an undo takes back its own alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fabfile.core.errors import Busy, NexusError
from fabfile.core.resources import ROOT
from fabfile.edge.disk import text_edit
from fabfile.edge.disk.inventory import add_host
from fabfile.edge.disk.services import set_replicas
from fabfile.edge.disk.text_edit import edit, undo

SERVICES = """services:
  web:
    command: run
    replicas: 1
  api:
    command: run
    replicas: 1
"""
HOSTS = "cluster: c\nhosts:\n  m1: {ssh: a, roles: [manager]}\n"

_ADD = """
import sys; from pathlib import Path; from fabfile.edge.disk.inventory import add_host
sys.stdin.read(1)
for n in range(5):
    add_host(Path(sys.argv[1]), lambda c: f"w{len(c.hosts)}", {"ssh": f"h{sys.argv[2]}-{n}", "roles": ["worker"]})
"""


def test_no_edit_is_lost_beside_others(tmp_path: Path) -> None:
    """Four runs that add five hosts each at the same time leave a valid file with all twenty."""
    path = tmp_path / "hosts.yml"
    path.write_text(HOSTS)
    runs = [
        subprocess.Popen([sys.executable, "-c", _ADD, str(path), str(n)], stdin=subprocess.PIPE, cwd=ROOT) for n in range(4)
    ]
    for run in runs:
        assert run.stdin
        run.stdin.write(b"x")
        run.stdin.close()
    assert [run.wait(60) for run in runs] == [0] * 4
    text = path.read_text()
    assert text.startswith(HOSTS)
    assert {line.split()[0] for line in text.splitlines()[3:]} == {f"w{n}:" for n in range(1, 21)}
    assert [p.name for p in tmp_path.iterdir()] == ["hosts.yml"]


def test_an_editor_that_saves_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """The change is made again, to the text that is there when it is written; with no end to it, it gives up."""
    path = tmp_path / "f"
    path.write_text("0\n")
    calls: list[str] = []

    def change(old: str) -> tuple[str, text_edit.Undone]:
        if len(calls) < saves:
            path.write_text(f"{len(calls) + 1}\n")
        calls.append(old)
        return old + "mine\n", lambda *_: True

    saves = 2
    assert edit(path, "", change).new == path.read_text() == "2\nmine\n"
    assert calls == ["0\n", "1\n", "2\n"]
    saves = 1000
    with pytest.raises(Busy, match="somebody else writes it"):
        edit(path, "", change)
    assert "mine" not in path.read_text()


def test_an_undo_keeps_what_others_have_changed(tmp_path: Path) -> None:
    """Another service's number, and another host, stay when the first edit is taken back."""
    services, hosts = tmp_path / "services.yml", tmp_path / "hosts.yml"
    services.write_text(SERVICES)
    hosts.write_text(HOSTS)
    first = set_replicas(services, "web", 5)
    set_replicas(services, "api", 7)
    assert undo(first) is False
    assert services.read_text() == SERVICES[:-2] + "7\n"
    mine = add_host(hosts, "w1", {"ssh": "b", "roles": ["worker"]})
    add_host(hosts, "w2", {"ssh": "d", "roles": ["worker"]})
    assert undo(mine) is False
    assert hosts.read_text() == HOSTS + "  w2: {ssh: d, roles: [worker]}\n"


@pytest.mark.parametrize("text", [
    SERVICES.replace("replicas: 1", "replicas: 9"), SERVICES.replace("replicas: 1", "replicas: 0x"), "{",
    SERVICES.replace("    replicas: 1\n  api:", "    port: 1\n    replicas: 5\n  api:"),
])  # fmt: skip
def test_an_undo_that_would_touch_others_work_is_refused(tmp_path: Path, text: str) -> None:
    """Where the very lines were changed, or what is left would be no valid file, not a byte is written, and that is told."""
    path = tmp_path / "services.yml"
    path.write_text(SERVICES)
    done = set_replicas(path, "web", 5)
    path.write_text(text)
    if "replicas: 5" in text:  # a line beside it: the edit itself stands as it was written
        undo(done)
        assert path.read_text() == text.replace("replicas: 5", "replicas: 1")
        return
    with pytest.raises(NexusError, match="was changed by others meanwhile, and is left as it is"):
        undo(done)
    assert path.read_text() == text


def test_an_undo_after_an_undo_changes_nothing(tmp_path: Path) -> None:
    """The operator may have taken it back by hand."""
    path = tmp_path / "services.yml"
    path.write_text(SERVICES)
    done = set_replicas(path, "web", 5)
    assert undo(done)
    before = path.stat()
    assert undo(done)
    assert (path.read_text(), path.stat().st_mtime_ns) == (SERVICES, before.st_mtime_ns)
