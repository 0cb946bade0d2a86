"""Hostile words on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab


HOSTILE = {
    "hosts, a semicolon": ("plan", "--hosts", "; touch MARK"),
    "hosts, a substitution": ("plan", "--hosts", "$(touch MARK)"),
    "hosts, a newline": ("plan", "--hosts", "w1\ntouch MARK"),
    "deploy to an option": ("deploy", "--yes", "--hosts", "-oProxyCommand=touch MARK"),
    "an address that is an option": ("add-worker", "-oProxyCommand=touch MARK", "--yes"),
    "an address that is a command": ("add-worker", "$(touch MARK)", "--yes"),
    "a name that climbs": ("add-worker", "127.0.7.7", "--yes", "--name", "../../etc"),
    "a name that is a command": ("add-worker", "127.0.7.7", "--yes", "--name", "`touch MARK`"),
    "a user that is a command": ("add-worker", "127.0.7.7", "--yes", "--user", "; touch MARK"),
    "a user that is an option": ("add-worker", "127.0.7.7", "--yes", "--user", "-oProxyCommand=touch MARK"),
    "a gateway that is an option": ("add-worker", "127.0.7.7", "--yes", "--gateway", "-oProxyCommand=touch MARK"),
    "a gateway that is a command": ("add-worker", "127.0.7.7", "--yes", "--gateway", "$(touch MARK)@x"),
    "a fingerprint with a newline": ("add-worker", "127.0.7.7", "--yes", "--fingerprint", "SHA256:x\ntouch MARK"),
    "an inventory with a newline": ("plan", "--inventory", "a\ntouch MARK"),
    "an inventory that is a command": ("plan", "--inventory", "$(touch MARK)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_words_on_the_command_line_are_refused(lab: Lab, tmp_path: Path, case: str) -> None:
    """Exit code 1 and a clear error: no file made, hosts.yml and the pinned keys byte for byte as before."""
    mark = tmp_path / "mark"
    known = lab.inventory.parent / "known_hosts"
    before = lab.inventory.read_bytes(), known.read_bytes(), sorted(p.name for p in lab.inventory.parent.iterdir())
    done = lab.inv(*(word.replace("MARK", str(mark)) for word in HOSTILE[case]), timeout=30)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert not mark.exists()
    assert (lab.inventory.read_bytes(), known.read_bytes(), sorted(p.name for p in lab.inventory.parent.iterdir())) == before
