"""remote_agents/restart.sh under each shell; consul and systemctl are stand-ins that write down how they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.script_host import SHELLS, Outcome, call
from tests.support.stand_ins import script_file

pytestmark = pytest.mark.parametrize("shell", SHELLS)
UNIT = "nexus-svc-web.service"


def restart(shell: str, folder: Path, systemctl: str = "") -> tuple[Outcome, list[str]]:
    """What the script answered, and the calls. `systemctl`: what the stand-in does on `restart` and `is-active`."""
    programs, log = folder / "bin", folder / "log"
    programs.mkdir()
    bodies = {
        "consul": f'echo "consul $* $CONSUL_HTTP_TOKEN_FILE" >>{log}',
        "systemctl": f'echo "systemctl $*" >>{log}\n{systemctl}',
        "sleep": f'echo "sleep $*" >>{log}',
    }
    for name, body in bodies.items():
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    path = script_file("restart", folder, programs)
    env = {"PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}  # sudo's secure_path on Red Hat's, without /usr/local/bin
    done = call(shell, path, "/root", "web", env=env)
    return done, log.read_text().splitlines()


def maintenance(verb: str) -> str:
    return f"consul maint -{verb} -service=nexus-svc-web"


def test_the_balancer_lets_go_before_the_restart(shell: str, tmp_path: Path) -> None:
    """Maintenance on, a wait, the restart, maintenance off; with the worker's token; whatever PATH the caller has."""
    done, calls = restart(shell, tmp_path)
    assert (done.code, done.lines, done.err) == (0, ("restarted",), "")
    assert [line.split(" -reason")[0] for line in calls] == [
        f"systemctl is-active --quiet {UNIT}", maintenance("enable"), "sleep 1.5", f"systemctl restart {UNIT}",
        f"{maintenance('disable')} /root/etc/nexus/secret-worker-token",
    ]  # fmt: skip
    assert calls[1].endswith(" /root/etc/nexus/secret-worker-token")


def test_a_restart_that_fails_leaves_no_maintenance(shell: str, tmp_path: Path) -> None:
    """The instance goes back into the balancer, and the script fails."""
    done, calls = restart(shell, tmp_path, '[ "$1" != restart ]')
    assert (done.code, done.lines) == (1, ())
    assert calls[-1].startswith(maintenance("disable"))


def test_where_it_does_not_run_nothing_is_touched(shell: str, tmp_path: Path) -> None:
    """An instance that is not active here is absent: no restart, and no call to Consul."""
    done, calls = restart(shell, tmp_path, "exit 3")
    assert (done.code, done.lines) == (0, ("absent",))
    assert calls == [f"systemctl is-active --quiet {UNIT}"]
