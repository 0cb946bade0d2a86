"""A host whose user has to give sudo a password, as many companies want it: w2, by real sudo."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import Lab

pytestmark = pytest.mark.lab
PASSWORD = "correct horse"


@pytest.fixture
def asking(lab: Lab) -> Iterator[Lab]:
    """w2's sudo asks."""
    rules = lab.run("w2", "grep -rl NOPASSWD /etc/sudoers /etc/sudoers.d").split()
    lab.run("w2", f"echo 'ops:{PASSWORD}' | chpasswd")
    for file in rules:
        lab.run("w2", f"cp -p {file} /root/ && sed -i s/NOPASSWD://g {file}")
    yield lab
    for file in rules:
        lab.run("w2", f"cp -p /root/{Path(file).name} {file}")
    lab.run("w2", "passwd -l ops")


def test_a_password_is_asked_for_and_taken(asking: Lab, tmp_path: Path) -> None:
    """Without it the hint names the ways to give it; with it detect, a deploy and its scripts work; a wrong one is told."""
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    refused = asking.inv("detect", "--hosts", "w2")
    assert refused.returncode == 1
    assert "sudo wants a password" in refused.stderr
    assert "--ask-sudo-pass" in refused.stderr
    given = {"NEXUS_SUDO_PASSWORD_FILE": str(file)}
    assert "w2" in asking.inv_ok("detect", "--hosts", "w2", env=given)
    labelled = asking.variant(tmp_path, "user: ops}", "user: ops, labels: {disk: fast}}")
    assert "1 of 1 hosts changed" in labelled.inv_ok("deploy", "--hosts", "w2", "--yes", env=given)
    assert "1 of 1 hosts changed" in asking.inv_ok("deploy", "--hosts", "w2", "--yes", env=given)
    file.write_text("wrong\n")
    wrong = asking.inv("detect", "--hosts", "w2", env=given)
    assert wrong.returncode == 1
    assert "sudo does not take this password" in wrong.stderr
    assert PASSWORD not in asking.run("w2", "journalctl -b -o cat --since -5min | grep -v COMMAND", check=False)
