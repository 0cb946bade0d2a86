"""Commands on the wire: one line that every login shell takes."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from fabfile.edge.ssh.exec_channel import one_line
from tests.support.loopback_sshd import remote_of, sshd

ODD = ["a\nb\n", "it's", 'q"q', "!x", "back\\slash \\n \\0101", "ü $HOME `id`", "%s %b", "", "-n"]
SHELLS = [shell for shell in ("sh", "dash", "bash", "tcsh", "csh", "fish") if shutil.which(shell)]


@pytest.mark.parametrize("shell", SHELLS)
def test_every_argument_arrives(shell: str) -> None:
    """Under each login shell that is here, byte for byte, with stdin untouched."""
    script = 'cat\nfor word in "$@"; do printf "%s|" "$word"; done'
    line = one_line("exec " + shlex.join(["sh", "-c", script, "nexus", *ODD]))
    assert not set("\n!") & set(line)
    done = subprocess.run([shell, "-c", line], input="in|", capture_output=True, text=True, check=True)
    assert done.stdout.split("|") == ["in", *ODD, ""]


def test_a_plain_command_goes_as_it_is(tmp_path: Path) -> None:
    """So that a host's log can be read; one of several lines does not break."""
    with sshd() as server:
        remote = remote_of(server, tmp_path)
        assert remote.run(["echo", "a b"]).out == b"a b\n"
        assert remote.run(["sh", "-c", "cat\necho $1", "x", "!"], [b"in\n"]).out == b"in\n!\n"
        assert server.commands[0] == "exec echo 'a b'"
        assert "\n" not in server.commands[1]
        remote.close()
