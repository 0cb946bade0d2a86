"""remote_agents/firewall.sh, and the probe that looks at what it loaded: nft in a network namespace, a stand-in for ufw."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from fabfile.core.state.facts import RulesFact
from fabfile.core.state.firewall import ALLOWANCES, RULES, UNIT, cluster_addresses, firewall_part, firewall_view
from fabfile.core.state.probe_output import parse
from tests.support.samples import ADDRESSES, CLUSTER
from tests.support.script_host import SHELLS, make_root, sha
from tests.support.stand_ins import PATH, script_file

RECORD = "run/nexus-firewall.loaded"


def rules_of(port: int, ufw: bool = False) -> tuple[str, bytes]:
    """Path and content of the rules that a worker gets whose services have this port."""
    let_in = cluster_addresses(ADDRESSES.values())
    part = firewall_part(firewall_view(CLUSTER, CLUSTER.host("w1"), let_in, (22,), ufw, (port,)))
    (file,) = (f for f in part.files if f.path in (RULES, ALLOWANCES))
    return file.path, file.content or b""


class Firewall:
    """A host's files, and the scripts. `run` runs shell text that may call `load`, `again`, `drop` and `probe NAME`."""

    def __init__(self, shell: str, folder: Path, *isolated: str) -> None:
        self.shell, self.isolated, self.folder = shell, isolated, folder
        self.root = make_root(folder / "root")
        self.programs = folder / "bin"
        for path in (self.root / "run", self.root / "etc/nexus", self.root / "etc/ufw", self.programs):
            path.mkdir(parents=True)
        (self.root / UNIT.lstrip("/")).parent.mkdir(parents=True)
        (self.root / UNIT.lstrip("/")).write_text("[Service]\n")
        self.program("systemctl", 'case "$1" in is-system-running) echo "${STATE:-running}" ;; esac')
        self.loader = script_file("firewall", folder, self.programs)
        self.prober = script_file("probe", folder, self.programs)

    def program(self, name: str, text: str) -> None:
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def put(self, port: int, ufw: bool = False) -> str:
        """The rules are written to their file. Returns its sum."""
        path, content = rules_of(port, ufw)
        (self.root / path.lstrip("/")).write_bytes(content)
        return sha(content)

    def run(self, text: str) -> str:
        loader = f"{self.shell} {self.loader}"
        verbs = "".join(f"{verb}() {{ {loader} {verb} {self.root}; }}\n" for verb in ("load", "again", "drop"))
        probe = f"probe() {{ {self.shell} {self.prober} {self.root} '' >{self.folder}/$1; }}\n"
        done = subprocess.run(
            [*self.isolated, "sh", "-euc", f"PATH={self.programs}:{PATH}\n{verbs}{probe}{text}"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def probed(self, name: str) -> RulesFact:
        found = parse("w1", (self.folder / name).read_bytes()).rules
        assert found is not None
        return found


@cache
def nft_works() -> bool:
    """Whether nft may be run in a network namespace of one's own."""
    if shutil.which("unshare") is None or shutil.which("nft", path=PATH) is None:
        return False
    argv = ["unshare", "-n", "sh", "-c", f"PATH={PATH} nft add table inet nexus_probe"]
    return subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.fixture
def nft(shell: str, tmp_path: Path) -> Firewall:
    if not nft_works():
        pytest.skip("nft is not installed, or may not be run in a namespace")
    return Firewall(shell, tmp_path, "unshare", "-n")


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def in_force(fact: RulesFact, file: str) -> bool:
    return fact.file == file and fact.now is not None and fact.now == fact.loaded


def test_loaded_rules_are_seen_to_be_in_force(nft: Firewall) -> None:
    """After each load the probe finds what was loaded, from that very file, and finds the same again."""
    file = nft.put(8080)
    nft.run("load; probe one; probe two; load; probe three")
    assert in_force(nft.probed("one"), file)
    assert nft.probed("one") == nft.probed("two") == nft.probed("three")


@pytest.mark.parametrize(
    "deed",
    ["nft flush ruleset", "nft delete table inet nexus", "nft flush chain inet nexus input",
     "nft add rule inet nexus input tcp dport 8500 accept", "nft add element inet nexus cluster { 192.0.2.99 }"],
)  # fmt: skip
def test_what_others_do_to_the_rules_is_seen(nft: Firewall, deed: str) -> None:
    """A flush, a rule or an address by hand: what is in force is not what was loaded, until it is loaded again."""
    file = nft.put(8080)
    nft.run(f"load; {deed}; probe bad; load; probe good")
    assert not in_force(nft.probed("bad"), file)
    assert (nft.probed("bad").now is None) == ("flush ruleset" in deed or "delete" in deed)
    assert in_force(nft.probed("good"), file)


def test_other_tables_do_not_matter(nft: Firewall) -> None:
    """What another program does with tables of its own is nothing to us."""
    file = nft.put(8080)
    nft.run("load; nft add table inet other; probe now")
    assert in_force(nft.probed("now"), file)


def test_rules_of_another_file_are_seen(nft: Firewall) -> None:
    """A file that was replaced, and not loaded, leaves the rules of the one before in force."""
    before = nft.put(8080)
    nft.run("load; probe before")
    assert nft.put(9090) != before
    _, old = rules_of(8080)
    (nft.folder / "old.nft").write_bytes(old)
    nft.run(f"load; probe after; nft -f {nft.folder}/old.nft; probe old")
    assert (nft.probed("before").file, nft.probed("before").loaded) == (before, nft.probed("old").now)
    assert not in_force(nft.probed("old"), nft.probed("after").file or "")


def test_again_loads_only_what_was_loaded(nft: Firewall) -> None:
    """After a flush of all tables ours comes back; where it was not loaded, or was taken away, it does not."""
    file = nft.put(8080)
    nft.run("again; probe never; load; nft flush ruleset; again; probe flushed; drop; probe dropped; again; probe after")
    assert in_force(nft.probed("flushed"), file)
    for name in ("never", "dropped", "after"):
        assert nft.probed(name) == RulesFact(None, None, None)


def test_a_flush_in_the_middle_of_a_load_is_not_lost(nft: Firewall) -> None:
    """nftables.service may start while our rules are being loaded: the record is there before them."""
    file = nft.put(8080)
    nft.program("nft", f'PATH={PATH}; nft "$@"; case "$1" in -f) [ ! -e {nft.folder}/once ] || {{ rm {nft.folder}/once; '
                       f'nft flush ruleset; {nft.shell} {nft.loader} again {nft.root}; }} ;; esac')  # fmt: skip
    nft.run(f": >{nft.folder}/once; load; probe now")
    assert not (nft.folder / "once").exists()
    assert in_force(nft.probed("now"), file)


def test_the_doors_stay_shut_while_the_machine_goes_down(nft: Firewall) -> None:
    """Our unit's stop leaves the table there, and the stop of nftables.service, which flushes it, has it loaded again."""
    file = nft.put(8080)
    nft.run("export STATE=stopping; load; drop; probe stopped; nft flush ruleset; again; probe flushed")
    assert in_force(nft.probed("stopped"), file)
    assert in_force(nft.probed("flushed"), file)


def test_rules_that_nft_refuses_are_an_error(nft: Firewall) -> None:
    """The unit fails, and what was in force before stays so."""
    file = nft.put(8080)
    place = nft.root / RULES.lstrip("/")
    nft.run(f"load; probe before; echo nonsense >{place}; if load 2>/dev/null; then exit 9; fi; probe after")
    assert nft.probed("before") == nft.probed("after")
    assert in_force(nft.probed("after"), file)


UFW = """
rules=DIR/rules
case "$*" in
  status) if [ -e DIR/on ]; then echo "Status: active"; echo; cat $rules; else echo "Status: inactive"; fi ;;
  "status numbered") [ -e DIR/on ] || exit 0; awk '{ printf "[%2d] %s\\n", NR, $0 }' $rules ;;
  "--force enable") : >DIR/on; echo x >>DIR/enabled ;;
  "--force delete "*) sed -i "$3d" $rules ;;
  "allow "*) printf '%-26s %-12s%s # nexus\\n' "$*" ALLOW Anywhere >>$rules ;;
  *) echo "ufw: $*" >&2; exit 1 ;;
esac
"""


@pytest.fixture
def ufw(shell: str, tmp_path: Path) -> Firewall:
    host = Firewall(shell, tmp_path)
    host.program("ufw", UFW.replace("DIR", str(tmp_path)))
    (host.root / "etc/ufw/ufw.conf").write_text("ENABLED=yes\n")
    (tmp_path / "rules").write_text("22/tcp                     ALLOW       Anywhere\n")
    (tmp_path / "on").touch()
    return host


def test_ufws_allowances_are_seen_to_be_in_force(ufw: Firewall) -> None:
    """Loaded twice they are there once, beside the operator's own rules, and the probe finds them, wherever they stand."""
    file = ufw.put(8080, ufw=True)
    lines = (ufw.folder / "rules").read_text()
    ufw.run(f"load; load; probe one; sed -i '1i 443/tcp  ALLOW Anywhere' {ufw.folder}/rules; probe two")
    assert in_force(ufw.probed("one"), file)
    assert in_force(ufw.probed("two"), file)
    allowed = [x for x in rules_of(8080, ufw=True)[1].decode().splitlines() if x and not x.startswith("#")]
    assert len((ufw.folder / "rules").read_text().splitlines()) == len(allowed) + 2
    assert lines in (ufw.folder / "rules").read_text()


def test_a_deleted_allowance_is_seen(ufw: Firewall) -> None:
    """One of ours that is gone from ufw shows until it is loaded again."""
    file = ufw.put(8080, ufw=True)
    ufw.run(f"load; sed -i '$d' {ufw.folder}/rules; probe bad; load; probe good")
    assert not in_force(ufw.probed("bad"), file)
    assert in_force(ufw.probed("good"), file)


def test_an_ufw_that_was_flushed_is_put_in_force(ufw: Firewall) -> None:
    """ufw is to run and does not, for all tables were flushed: that shows, and both ways to load mend it."""
    file = ufw.put(8080, ufw=True)
    ufw.run(f"load; rm {ufw.folder}/on; probe bad; again; probe again; rm {ufw.folder}/on; load; probe load")
    assert ufw.probed("bad").now is None
    assert in_force(ufw.probed("again"), file)
    assert in_force(ufw.probed("load"), file)


def test_a_disabled_ufw_stays_disabled(ufw: Firewall) -> None:
    """An operator who has disabled ufw may have no rule for SSH: nobody else enables it."""
    ufw.put(8080, ufw=True)
    (ufw.root / "etc/ufw/ufw.conf").write_text("ENABLED=no\n")
    (ufw.folder / "on").unlink()
    ufw.run("load")
    assert not (ufw.folder / "enabled").exists()


def test_a_host_without_our_unit_has_no_such_fact(shell: str, tmp_path: Path) -> None:
    """Where the firewall is not ours nothing is looked at."""
    host = Firewall(shell, tmp_path)
    (host.root / UNIT.lstrip("/")).unlink()
    host.run("probe now")
    assert parse("w1", (tmp_path / "now").read_bytes()).rules is None
