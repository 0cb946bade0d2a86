"""The probe sees who else filters packets: real rules of nft and iptables in a network namespace."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from fabfile.core.state.facts import OtherFirewall
from fabfile.core.state.probe_output import parse
from tests.support.script_host import SHELLS, make_root
from tests.support.stand_ins import PATH, script_file

from .test_firewall_sh import nft_works

IPTABLES = """
NAME -A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
NAME -A INPUT -i lo -j ACCEPT
NAME -A INPUT -p tcp --dport 22 -j ACCEPT
NAME -A INPUT -m comment --comment "accept? no" -j REJECT --reject-with icmp-host-prohibited
"""
DOCKER = """
nft add table ip filter
nft add chain ip filter INPUT '{ type filter hook input priority filter; policy accept; }'
nft add chain ip filter FORWARD '{ type filter hook forward priority filter; policy drop; }'
nft add rule ip filter FORWARD counter drop
"""
OURS = """
nft add table inet nexus
nft add chain inet nexus input '{ type filter hook input priority filter; policy drop; }'
"""


def seen(shell: str, folder: Path, rules: str) -> tuple[OtherFirewall, ...] | None:
    """What the probe makes of these rules, which are set in a network namespace of its own."""
    if not nft_works():
        pytest.skip("nft is not installed, or may not be run in a namespace")
    programs = folder / "bin"
    programs.mkdir()
    prober, root = script_file("probe", folder, programs), make_root(folder / "root")
    done = subprocess.run(
        ["unshare", "-n", "sh", "-euc", f"PATH={PATH}\n{rules}\n{shell} {prober} {root} ''"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return parse("w1", done.stdout).other_firewalls


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("program", "name"), [("iptables-nft", "iptables"), ("iptables-legacy", "iptables-legacy")])
def test_iptables_with_a_last_reject_is_seen(shell: str, tmp_path: Path, program: str, name: str) -> None:
    """The rules of a cloud's image, by either kind of iptables, are named and known to refuse the rest."""
    if shutil.which(program, path=PATH) is None:
        pytest.skip(f"{program} is not installed")
    assert seen(shell, tmp_path, IPTABLES.replace("NAME", program)) == (OtherFirewall(name, True),)


def test_a_table_of_somebody_else_is_seen(shell: str, tmp_path: Path) -> None:
    """Any table of nft that is hooked to input and drops, however many rules stand before the last one."""
    many = "\n".join(f"add rule inet mine in ip saddr 192.0.2.{n} drop" for n in range(150))
    rules = (f"nft -f - <<'EOF'\nadd table inet mine\nadd chain inet mine in {{ type filter hook input priority 5; }}\n"
             f"{many}\nadd rule inet mine in counter drop\nEOF")  # fmt: skip
    assert seen(shell, tmp_path, rules) == (OtherFirewall("nftables table inet mine", True),)


def test_our_own_rules_and_dockers_are_nobody_elses(shell: str, tmp_path: Path) -> None:
    """Our table is not named, nor what refuses only forwarded packets."""
    assert seen(shell, tmp_path, OURS + DOCKER) == ()


def test_an_nft_that_may_not_list_tells_nothing(shell: str, tmp_path: Path) -> None:
    """Where nft fails, as in a container without rights, the probe goes on and nobody is named."""
    program = tmp_path / "bin2" / "nft"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho 'Operation not permitted' >&2\nexit 1\n")
    program.chmod(0o755)
    prober, root = script_file("probe", tmp_path, program.parent), make_root(tmp_path / "root")
    done = subprocess.run(["unshare", "-n", shell, prober, str(root), ""], capture_output=True, check=False)
    if done.returncode and b"unshare" in done.stderr:
        pytest.skip("no network namespace")
    assert parse("w1", done.stdout).other_firewalls is None
