"""remote_agents/probe.sh, run for real on a temporary root under each shell, read by fabfile.core.state.facts."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from fabfile.core.state.facts import Facts, UnitFact
from fabfile.core.state.left_faults import LeftoverFault
from fabfile.core.state.manifest import Account, File, Folder, Manifest, Unit
from tests.support.script_host import GROUP, SCRIPTS, SHELLS, USER, call, make_root, probe, probe_output, sha, state_of, tree

pytestmark = pytest.mark.parametrize("shell", SHELLS)
HCL = "/etc/consul.d/consul.hcl"
LIMIT = 65536


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def put(root: Path, path: str, content: bytes, mode: int = 0o640) -> Path:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    place.chmod(mode)
    return place


def ledger(root: Path, path: str, claimed: str) -> None:
    """Notes the sum for the file as it is now, in apply.sh's words."""
    words = subprocess.check_output(["stat", "-c", "%i|%s|%y|%z", root / path.lstrip("/")], text=True).strip()
    state_of(root).mkdir(parents=True, exist_ok=True)
    with (state_of(root) / "sums").open("a") as out:
        out.write(f"{path}|{words}|{claimed}\n")


def generation(root: Path, link: str, manifest: Manifest) -> None:
    folder = state_of(root) / "generations" / manifest.id
    folder.mkdir(parents=True)
    (folder / "manifest").write_text(manifest.text())
    (state_of(root) / link).symlink_to(f"generations/{manifest.id}")


def test_the_machine_is_described(shell: str, root: Path) -> None:
    """Operating system, accounts, processors, memory, disk, clock and Python of a bare host come out as facts."""
    facts = probe(shell, root, HCL)
    assert (facts.os_id, facts.os_version, facts.os_name) == ("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    assert facts.users == {"root", "consul"}
    assert facts.machine == os.uname().machine
    assert facts.bits in (32, 64)
    assert facts.cpus >= 1
    assert facts.memory_kb > 1000
    assert facts.disk_kb > 0
    assert abs(facts.now - root.stat().st_mtime) < 300
    assert facts.python >= (3,)


def test_a_host_that_never_saw_us_has_nothing_of_ours(shell: str, root: Path) -> None:
    """With no file, no state folder and no lock in place, every such fact is empty and nothing fails."""
    facts = probe(shell, root, HCL, "/usr/local/bin/consul", previous=True)
    assert facts.files == {}
    assert (facts.current, facts.pending, facts.previous, facts.lock) == (None, None, None, None)
    assert (facts.store, facts.stamps, facts.not_regular, facts.manifest) == (frozenset(), {}, frozenset(), Manifest())


def test_no_paths_at_all_are_no_fault(shell: str, root: Path) -> None:
    """A probe that is asked for no file answers all the same."""
    assert probe(shell, root).files == {}


def test_a_host_without_os_release_is_still_described(shell: str, root: Path) -> None:
    """A missing /etc/os-release costs the system's name, not the probe."""
    (root / "etc/os-release").unlink()
    assert probe(shell, root, HCL).os_name == "unknown"


@pytest.mark.parametrize("content", [b"", b"x = 1\n", b"\x00\xff\n\ncontents\n", b"no newline at the end"])
def test_a_files_sum_rights_and_bytes_are_right(shell: str, root: Path, content: bytes) -> None:
    """Sum, mode, owner, group, size and content are the file's own, whatever bytes it holds."""
    put(root, HCL, content)
    fact = probe(shell, root, HCL).files[HCL]
    assert (fact.sha256, fact.size, fact.mode, fact.owner, fact.group, fact.content) == (
        sha(content), len(content), "0640", USER, GROUP, content,
    )  # fmt: skip


def test_special_mode_bits_are_told(shell: str, root: Path) -> None:
    """A set-user-id bit shows, and every mode has four digits."""
    put(root, HCL, b"a", 0o4755)
    put(root, "/etc/narrow", b"b", 0o400)
    files = probe(shell, root, HCL, "/etc/narrow").files
    assert (files[HCL].mode, files["/etc/narrow"].mode) == ("4755", "0400")


def test_small_files_travel_and_big_ones_do_not(shell: str, root: Path) -> None:
    """Files up to 64 KiB come with their bytes, one byte more comes with its sum alone."""
    put(root, "/etc/small", b"s" * LIMIT)
    put(root, "/etc/big", b"b" * (LIMIT + 1))
    files = probe(shell, root, "/etc/small", "/etc/big").files
    assert files["/etc/small"].content == b"s" * LIMIT
    assert files["/etc/big"].content is None
    assert files["/etc/big"].sha256 == sha(b"b" * (LIMIT + 1))


def test_a_matching_ledger_entry_is_trusted(shell: str, root: Path) -> None:
    """Where inode, size and both times match, the ledger's sum is told and the file is not hashed."""
    put(root, HCL, b"x = 1\n")
    ledger(root, HCL, "f" * 64)
    assert probe(shell, root, HCL).files[HCL].sha256 == "f" * 64


def test_the_last_ledger_entry_of_a_path_is_its_own(shell: str, root: Path) -> None:
    """Entries of other paths, even ones that contain this path, are never taken for it."""
    put(root, HCL, b"x = 1\n")
    put(root, "/opt" + HCL, b"x = 2\n")
    ledger(root, "/opt" + HCL, "e" * 64)
    facts = probe(shell, root, HCL, "/opt" + HCL)
    assert facts.files[HCL].sha256 == sha(b"x = 1\n")
    assert facts.files["/opt" + HCL].sha256 == "e" * 64


def edit_in_place(place: Path) -> None:
    info = place.stat()
    place.write_bytes(b"x = 2\n")
    os.utime(place, ns=(info.st_atime_ns, info.st_mtime_ns))


def replace(place: Path) -> None:
    info = place.stat()
    other = place.with_name("other")
    other.write_bytes(b"x = 2\n")
    other.chmod(0o640)
    os.utime(other, ns=(info.st_atime_ns, info.st_mtime_ns))
    other.replace(place)


@pytest.mark.parametrize("edit", [edit_in_place, replace])
def test_an_edit_by_hand_is_seen_despite_the_ledger(shell: str, root: Path, edit: object) -> None:
    """An edit that keeps the size and sets the old time back, in place or by rename, is hashed anew."""
    place = put(root, HCL, b"x = 1\n")
    ledger(root, HCL, sha(b"x = 1\n"))
    edit(place)  # type: ignore[operator]
    assert probe(shell, root, HCL).files[HCL].sha256 == sha(b"x = 2\n")


@pytest.mark.parametrize("text", ["", "garbage\n", f"{HCL}|\n", f"{HCL}|1|2|3|4|" + "f" * 64 + "\n", "|||||\n\n"])
def test_a_broken_ledger_is_passed_over(shell: str, root: Path, text: str) -> None:
    """A ledger that is empty, half written or out of date changes no sum."""
    put(root, HCL, b"x = 1\n")
    state_of(root).mkdir(parents=True)
    (state_of(root) / "sums").write_text(text)
    assert probe(shell, root, HCL).files[HCL].sha256 == sha(b"x = 1\n")


def test_a_folder_in_a_files_place_is_odd(shell: str, root: Path) -> None:
    """What stands in a file's place and is none is named as odd and not read."""
    (root / HCL.lstrip("/")).mkdir(parents=True)
    (root / "etc/pipe").parent.mkdir(exist_ok=True)
    os.mkfifo(root / "etc/pipe")
    put(root, "/etc/plain", b"p")
    facts = probe(shell, root, HCL, "/etc/pipe", "/etc/plain")
    assert facts.not_regular == {HCL, "/etc/pipe"}
    assert set(facts.files) == {"/etc/plain"}


def test_links_are_followed_and_dangling_ones_are_absent(shell: str, root: Path) -> None:
    """A link to a file counts as that file; one that leads nowhere counts as nothing."""
    put(root, "/etc/real", b"r")
    (root / "etc/link").symlink_to("real")
    (root / "etc/dangling").symlink_to("nowhere")
    facts = probe(shell, root, "/etc/link", "/etc/dangling")
    assert set(facts.files) == {"/etc/link"}
    assert facts.files["/etc/link"].content == b"r"
    assert facts.not_regular == frozenset()


def kept(root: Path, shell: str, previous: bool) -> Facts:
    old = b"old\n"
    before = Manifest(files=(File("/etc/gone", sha(old), "0600", USER, GROUP), File("/etc/big", "b" * 64)))
    now = Manifest(
        (Account("consul", "/var/lib/consul"),), (Folder("/etc/consul.d", "0750", "root", "consul"),),
        (File(HCL, "a" * 64, "0640", "root", "consul"), File("/etc/extra", "c" * 64)),
        (Unit("consul.service", "r1", "l1"),),
    )  # fmt: skip
    generation(root, "previous", before)
    generation(root, "current", now)
    (state_of(root) / "pending").symlink_to("generations/abc")
    store, stamps = state_of(root) / "store", state_of(root) / "stamps"
    store.mkdir()
    stamps.mkdir()
    (store / sha(old)).write_bytes(old)
    (store / ("b" * 64)).write_bytes(b"b" * (LIMIT + 1))
    (stamps / "consul.service").write_text("r1 l1\n")
    put(root, "/etc/extra", b"left over\n")
    facts = probe(shell, root, HCL, previous=previous)
    assert (facts.current, facts.pending) == (now.id, "abc")
    assert facts.manifest == now
    assert facts.stamps == {"consul.service": "r1 l1"}
    assert facts.store == {sha(old), "b" * 64}
    return facts


def test_what_was_placed_before_is_told_and_looked_at(shell: str, root: Path) -> None:
    """Generation, journal, stamps and store are told, and a file of the kept manifest is looked at unasked."""
    facts = kept(root, shell, previous=False)
    assert facts.files["/etc/extra"].sha256 == sha(b"left over\n")


@pytest.mark.parametrize("asked", [False, True])
def test_an_unknown_previous_generation_is_not_an_empty_one(shell: str, root: Path, asked: bool) -> None:
    """A previous manifest that was not asked for, or is gone, is none: an empty one would be rolled back to."""
    before = Manifest(files=(File("/etc/gone", "a" * 64),))
    generation(root, "previous", before)
    if asked:
        shutil.rmtree(state_of(root) / "generations" / before.id)
    assert probe(shell, root, previous=asked).previous is None


def test_the_generation_before_comes_with_its_small_files(shell: str, root: Path) -> None:
    """Asked for, the previous manifest comes too, with the stored bytes of files up to 64 KiB."""
    facts = kept(root, shell, previous=True)
    assert facts.previous is not None
    assert [(f.path, f.content) for f in facts.previous.files] == [("/etc/gone", b"old\n"), ("/etc/big", None)]
    assert "/etc/extra" in facts.files


def test_a_standing_lock_is_told(shell: str, root: Path) -> None:
    """A lock that lock.sh took is read back in full."""
    if shutil.which("flock") is None:
        pytest.skip("flock is not installed")
    call(shell, SCRIPTS / "lock.sh", root, "take", "id1", "60", "laptop:boot:7", "ann@laptop", "deploy $(x) 'all'")
    lock = probe(shell, root).lock
    assert lock is not None
    assert (lock.id, lock.who, lock.what, lock.origin) == ("id1", "ann@laptop", "deploy $(x) 'all'", "laptop:boot:7")
    assert lock.expires - lock.since == 60


SYSTEMCTL = """#!/bin/sh
case "$1" in
  --version) printf 'systemd 252 (252.22-1~deb12u1)\\n+PAM\\n' ;;
  show) [ "$2 $3" = '--property=Id,StatusText --' ] || exit 1
    shift 3
    for unit; do printf 'Id=%s\\nStatusText=%s\\n\\n' "$unit" "$(cat "$0.$unit" 2>/dev/null)"; done ;;
  *) for unit; do
    case "$unit" in
      consul.service) printf '%s         loaded active   running Consul\\n' "$unit" ;;
      nexus-worker.service) printf '%s masked inactive dead %s\\n' "$unit" "$unit" ;;
      nexus-balancer.service) printf '%s loaded active running asked for in vain\\n' "$unit" ;;
    esac
  done ;;
esac
"""


def test_units_are_read_from_systemctl(shell: str, root: Path, tmp_path: Path) -> None:
    """Each unit that has a file, wherever systemd looks for one, is told with its states; its version is a number."""
    place = put(tmp_path, "bin/systemctl", SYSTEMCTL.encode(), 0o755)
    put(root, "/etc/systemd/system/consul.service", b"[Service]\n")
    put(root, "/usr/lib/systemd/system/caddy.service", b"[Service]\n")
    (root / "etc/systemd/system/nexus-worker.service").symlink_to("/dev/null")
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir()
    (wants / "consul.service").symlink_to("/etc/systemd/system/consul.service")
    names = ["consul.service", "caddy.service", "nexus-worker.service", "nexus-balancer.service"]
    facts = probe(shell, root, units=",".join(names), programs=place.parent)
    assert facts.systemd == 252
    assert facts.units == {
        "consul.service": UnitFact("loaded", "active", "running", enabled=True),
        "caddy.service": UnitFact("loaded", "inactive", "dead", enabled=False),
        "nexus-worker.service": UnitFact("masked", "inactive", "dead", enabled=False),
    }


def test_our_agents_words_are_told(shell: str, root: Path, tmp_path: Path) -> None:
    """What an agent tells systemd of itself comes whole; other units are not asked, and silence is no entry."""
    place = put(tmp_path, "bin/systemctl", SYSTEMCTL.encode(), 0o755)
    for name in ("consul", "nexus-worker", "nexus-balancer"):
        put(root, f"/etc/systemd/system/{name}.service", b"[Service]\n")
    words = "cannot write nexus/report/w1/state since 2026-11-25 03:00:00 UTC: 500 a=b"
    put(tmp_path, "bin/systemctl.nexus-worker.service", words.encode())
    put(tmp_path, "bin/systemctl.consul.service", b"not asked")
    names = ["consul.service", "nexus-worker.service", "nexus-orchestrator.service", "nexus-balancer.service"]
    facts = probe(shell, root, units=",".join(names), programs=place.parent)
    assert facts.said == {"nexus-worker.service": words}


def test_without_any_unit_systemd_is_still_told(shell: str, root: Path, tmp_path: Path) -> None:
    """On a host that has none of our units there is a version, and no unit."""
    place = put(tmp_path, "bin/systemctl", SYSTEMCTL.encode(), 0o755)
    facts = probe(shell, root, units="consul.service", programs=place.parent)
    assert (facts.systemd, dict(facts.units)) == (252, {})


def test_an_engine_without_the_client_that_units_call_is_told(shell: str, root: Path, tmp_path: Path) -> None:
    """Another client elsewhere does not help them."""
    place = put(tmp_path, "bin/dockerd", b"", 0o755)
    put(tmp_path, "bin/docker", b"", 0o755)
    assert probe(shell, root, programs=place.parent).docker == "clientless"
    put(root, "/usr/bin/docker", b"", 0o755)
    assert probe(shell, root, programs=place.parent).docker == "ready"


def test_what_drills_left_is_told_by_their_own_script(shell: str, root: Path) -> None:
    """The host's copy of the fault script knows the form of its folder."""
    assert probe(shell, root, HCL).faults == ()
    put(root, "/var/lib/nexus/faults/a1/fault.sh", b'echo "left a1 partition $2ed -7"\n')
    assert probe(shell, root, HCL).faults == (LeftoverFault("a1", "partition", "listed", -7),)


def test_the_probe_changes_nothing(shell: str, root: Path) -> None:
    """Below the root every path, byte, mode and time is the same after a probe as before."""
    kept(root, shell, previous=True)
    before = tree(root)
    probe(shell, root, HCL, "/etc/extra", previous=True)
    assert tree(root) == before


def test_the_answer_begins_with_its_version(shell: str, root: Path) -> None:
    """The first line names the format, so that a reader of another one refuses it."""
    assert probe_output(shell, root).startswith(b"nexus-probe 1\n")
