"""remote_agents/apply as a payload brings it: run on a temporary root under each shell, with payloads that deploy sends."""

from __future__ import annotations

import fcntl
import gzip
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fabfile.core.state.manifest import Folder, Manifest, Unit
from fabfile.core.state.plan import HostPlan, diff
from fabfile.core.state.scripts import script
from tests.support.script_host import (
    GROUP,
    SHELLS,
    USER,
    Outcome,
    apply,
    bytes_of,
    call,
    content_of,
    file,
    make_root,
    packed_file,
    paths_of,
    prefer_programs,
    probe,
    sha,
    state_of,
    tree,
    unpack,
)

PROGRAM, CONFIG = "/usr/local/bin/consul", "/etc/consul.d/consul.hcl"
BIG, IDENTITY = "/usr/local/bin/big", "/etc/nexus/host.json"
AGREES = b"#!/bin/sh\nexit 0\n"
REFUSES = b"#!/bin/sh\necho 'unknown key frobnicate'\necho 'line 3' >&2\nexit 1\n"
BIG_SIZE = 1_200_000  # bytes; above the size from which a file shares the store's inode
WORKERS = 4
COMMANDS = 50  # more than the commands of one deploy that change something


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_root(tmp_path / "root")


def old_generation(folder: Path) -> Manifest:
    return Manifest(
        folders=(Folder("/etc/consul.d", "0750", USER, GROUP),),
        files=(
            file(PROGRAM, AGREES, "0755"), file(CONFIG, b"old = 1\n" * 40, "0640"), file(IDENTITY, b"{}\n"),
            file("/etc/nexus/leaves", b"l\n" * 30), packed_file(BIG, b"o" * BIG_SIZE, folder),
        ),
        units=(Unit("consul.service", "r1", "l1"),),
    )  # fmt: skip


def new_generation(folder: Path) -> Manifest:
    return Manifest(
        folders=(Folder("/etc/consul.d", "0700", USER, GROUP),),
        files=(
            file(PROGRAM, AGREES, "0755"), file(CONFIG, b"new = 22\n" * 50, "0600"), file(IDENTITY, b"{}\n"),
            file("/etc/nexus/comes", b"c\n" * 30, "0600"), packed_file(BIG, b"n" * BIG_SIZE, folder),
        ),
        units=(Unit("consul.service", "r2", "l1"),),
    )  # fmt: skip


def plan_for(shell: str, root: Path, wanted: Manifest, *known: Manifest) -> HostPlan:
    """The plan that deploy makes now, from a fresh probe."""
    return diff("h1", wanted, probe(shell, root, *paths_of(wanted, *known)))


def deploy(shell: str, root: Path, wanted: Manifest, folder: Path, *known: Manifest) -> Outcome:
    return apply(shell, unpack(plan_for(shell, root, wanted, *known), folder), root)


def assert_is(shell: str, root: Path, wanted: Manifest, *known: Manifest) -> None:
    """The files are the wanted generation and nothing else, and the next probe finds no difference."""
    for item in wanted.files:
        assert content_of(root, item.path) == bytes_of(item), item.path
        place = root / item.path.lstrip("/")
        assert oct(place.stat().st_mode & 0o7777)[2:].rjust(4, "0") == item.mode, item.path
    for path in set(paths_of(*known)) - set(paths_of(wanted)):
        assert content_of(root, path) is None, path
    plan = plan_for(shell, root, wanted, *known)
    assert (plan.files, plan.recorded) == ((), True)
    assert not list(root.rglob("*.nexus-new-*"))


@pytest.fixture
def old(tmp_path: Path) -> Manifest:
    return old_generation(tmp_path)


@pytest.fixture
def new(tmp_path: Path) -> Manifest:
    return new_generation(tmp_path)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_bare_host_gets_its_first_generation(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """It creates files, folders and modes as wanted, prints each step, and removes the payload."""
    done = deploy(shell, root, old, tmp_path / "in")
    assert (done.code, done.lines[-1]) == (0, f"done {old.id}")
    assert_is(shell, root, old)
    assert oct((root / "etc/consul.d").stat().st_mode & 0o777) == "0o750"
    assert done.every("step put") == [f.path for f in old.files]
    assert done.every("step check") == [os.path.dirname(CONFIG)]
    assert not (tmp_path / "in").exists()
    facts = probe(shell, root)
    assert (facts.current, facts.pending, facts.manifest) == (old.id, None, Manifest(
        old.accounts, old.folders, facts.manifest.files, old.units))  # fmt: skip
    assert facts.manifest.id == old.id
    assert facts.stamps == {"consul.service": "r1 l1"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_second_generation_keeps_the_first(
    shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path
) -> None:
    """After update, create and remove, only the new files are there; the old generation is `previous`, with its bytes."""
    deploy(shell, root, old, tmp_path / "in1")
    plan = plan_for(shell, root, new)
    assert {c.path for c in plan.files} == {CONFIG, BIG, "/etc/nexus/comes", "/etc/nexus/leaves"}
    done = apply(shell, unpack(plan, tmp_path / "in2"), root)
    assert (done.code, done.err) == (0, "")
    assert_is(shell, root, new, old)
    assert oct((root / "etc/consul.d").stat().st_mode & 0o777) == "0o700"
    facts = probe(shell, root, previous=True)
    assert facts.previous is not None
    assert (facts.current, facts.previous.id) == (new.id, old.id)
    assert {f.sha256 for f in (*old.files, *new.files)} == facts.store
    assert facts.stamps == {"consul.service": "r2 l1"}


@pytest.mark.parametrize("shell", SHELLS)
def test_a_rollback_needs_no_bytes(shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path) -> None:
    """A payload without a blob brings a host back to its previous generation, and forward again."""
    deploy(shell, root, old, tmp_path / "in1")
    deploy(shell, root, new, tmp_path / "in2")
    for n, wanted in enumerate((old, new)):
        facts = probe(shell, root, *paths_of(old, new), previous=True)
        assert facts.previous is not None
        plan = diff("h1", facts.previous, facts)
        assert plan.missing_blobs() == ()
        folder = unpack(plan, tmp_path / f"back{n}")
        assert not (folder / "blobs").exists()
        assert apply(shell, folder, root).code == 0
        assert_is(shell, root, wanted, old, new)


@pytest.mark.parametrize("shell", SHELLS)
def test_only_two_generations_are_kept(shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path) -> None:
    """A third generation removes the first: its folder, and every blob that no kept generation needs."""
    third = Manifest(files=(file(PROGRAM, AGREES, "0755"), file(CONFIG, b"third\n")))
    for n, wanted in enumerate((old, new, third)):
        assert deploy(shell, root, wanted, tmp_path / f"in{n}").code == 0
    facts = probe(shell, root)
    assert facts.store == {f.sha256 for f in (*new.files, *third.files)}
    assert {p.name for p in (state_of(root) / "generations").iterdir()} == {new.id, third.id}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_ledger_spares_the_probe_the_hashing(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """After a deploy the ledger has every file's sum, and the next probe hashes none of them."""
    deploy(shell, root, old, tmp_path / "in")
    ledger = state_of(root) / "sums"
    ledger.write_text(ledger.read_text().replace(old.files[0].sha256, "f" * 64))
    assert ledger.read_text().count("\n") == len(old.files)
    assert probe(shell, root, PROGRAM).files[PROGRAM].sha256 == "f" * 64


@pytest.mark.parametrize("shell", SHELLS)
def test_the_history_says_who(shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path) -> None:
    """Each change leaves one line: when, which generation, who and what."""
    deploy(shell, root, old, tmp_path / "in1")
    deploy(shell, root, new, tmp_path / "in2")
    rows = [line.split(" ", 2) for line in (state_of(root) / "history").read_text().splitlines()]
    assert [row[1:] for row in rows] == [[old.id, "op@laptop deploy"], [new.id, "op@laptop deploy"]]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_foreign_file_is_kept(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """A file that is not ours, at a path that we take over, is kept beside the generation; a step names the copy."""
    place = root / CONFIG.lstrip("/")
    place.parent.mkdir()
    place.write_bytes(b"someone's own\n")
    done = deploy(shell, root, old, tmp_path / "in")
    assert done.code == 0
    assert_is(shell, root, old)
    [copy] = done.every("step keep")
    assert Path(copy).read_bytes() == b"someone's own\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_drifted_file_is_put_back(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """A deploy of the same generation undoes an edit and a changed mode, and puts a removed file back."""
    deploy(shell, root, old, tmp_path / "in1")
    (root / CONFIG.lstrip("/")).write_bytes(b"edited\n")
    (root / IDENTITY.lstrip("/")).chmod(0o666)
    (root / "etc/nexus/leaves").unlink()
    assert deploy(shell, root, old, tmp_path / "in2").code == 0
    assert_is(shell, root, old)


# Verified blobs may stay in the store, each under its sum. Every apply opens the lock.
MAY_DIFFER = ("var/lib/nexus/store", "var/lib/nexus/.apply.lock")


def refused(shell: str, root: Path, folder: Path, env: Mapping[str, str] | None = None) -> Outcome:
    """Applies a payload that must be refused, and checks that the host did not change."""
    before = tree(root, MAY_DIFFER)
    done = apply(shell, folder, root, env=env)
    assert done.code != 0
    assert tree(root, MAY_DIFFER) == before
    for blob in (state_of(root) / "store").glob("*"):
        assert sha(blob.read_bytes()) == blob.name
    assert not folder.exists()
    return done


@pytest.mark.parametrize("shell", SHELLS)
def test_another_base_is_refused(shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path) -> None:
    """A plan made against another generation is refused before anything changes; the message names the host's own."""
    stale = plan_for(shell, root, new)
    deploy(shell, root, old, tmp_path / "in1")
    done = refused(shell, root, unpack(stale, tmp_path / "in2"))
    assert old.id in done.failed
    assert "deploy again" in done.failed


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("which", ["plain", "gzip", "wrong sum in gzip", "absent"])
def test_a_damaged_blob_is_refused(
    shell: str, which: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path
) -> None:
    """A blob that is damaged or missing leaves all files as they were."""
    deploy(shell, root, old, tmp_path / "in1")
    folder = unpack(plan_for(shell, root, new), tmp_path / "in2")
    sums = {f.path: f.sha256 for f in new.files}
    if which == "plain":
        (folder / "blobs" / sums[CONFIG]).write_bytes(b"evil\n")
    elif which == "gzip":
        blob = folder / "blobs" / f"{sums[BIG]}.gz"
        blob.write_bytes(blob.read_bytes()[:-20])
    elif which == "wrong sum in gzip":
        (folder / "blobs" / f"{sums[BIG]}.gz").write_bytes(gzip.compress(b"evil\n"))
    else:
        (folder / "blobs" / sums[CONFIG]).unlink()
    assert refused(shell, root, folder).failed


@pytest.mark.parametrize("shell", SHELLS)
def test_a_truncated_payload_is_refused(
    shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path
) -> None:
    """An action list that is absent, or cut anywhere before its end mark, changes nothing."""
    deploy(shell, root, old, tmp_path / "in1")
    plan = plan_for(shell, root, new)
    text = unpack(plan, tmp_path / "look") / "actions"
    whole = text.read_bytes()
    assert whole.endswith(b"\nend\n")
    for n, cut in enumerate((0, 3, len(whole) // 2, len(whole) - 5, len(whole) - 4, len(whole) - 2)):
        folder = unpack(plan, tmp_path / f"cut{n}")
        (folder / "actions").write_bytes(whole[:cut])
        assert "incomplete" in refused(shell, root, folder).failed
    folder = unpack(plan, tmp_path / "none")
    (folder / "actions").unlink()
    assert "incomplete" in refused(shell, root, folder).failed


@pytest.mark.parametrize("shell", SHELLS)
def test_a_failing_check_is_reported_and_changes_nothing(
    shell: str, root: Path, old: Manifest, tmp_path: Path
) -> None:
    """A program of the payload that refuses its configuration stops the deploy; its output is the log."""
    deploy(shell, root, old, tmp_path / "in1")
    wrong = Manifest(files=(file(PROGRAM, REFUSES, "0755"), file(CONFIG, b"frobnicate = 1\n")))
    done = refused(shell, root, unpack(plan_for(shell, root, wrong), tmp_path / "in2"))
    assert (done.code, done.every("log")) == (3, ["unknown key frobnicate", "line 3"])
    assert os.path.dirname(CONFIG) in done.failed
    assert_is(shell, root, old)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_new_program_checks_the_old_config(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """A changed program checks a configuration that stays: it may no longer know its keys."""
    deploy(shell, root, old, tmp_path / "in1")
    wrong = Manifest(files=(file(PROGRAM, REFUSES, "0755"), *old.files[1:]))
    done = refused(shell, root, unpack(plan_for(shell, root, wrong), tmp_path / "in2"))
    assert done.every("log") == ["unknown key frobnicate", "line 3"]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_refused_check_leaves_the_modes_of_live_files(
    shell: str, root: Path, old: Manifest, tmp_path: Path
) -> None:
    """Files that share the store's inode keep their mode while their copy is checked."""
    deploy(shell, root, old, tmp_path / "in1")
    wrong = Manifest(files=(file(PROGRAM, REFUSES, "0755"), file(CONFIG, b"x\n"), old.files[-1]))
    refused(shell, root, unpack(plan_for(shell, root, wrong), tmp_path / "in2"))
    assert (root / BIG.lstrip("/")).stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("shell", SHELLS)
def test_an_edited_inode_is_never_placed_again(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """An edit in place damages the stored copy that shares the inode: one deploy refuses it, the next uploads it."""
    deploy(shell, root, old, tmp_path / "in1")
    place = root / BIG.lstrip("/")
    assert place.stat().st_nlink == 2
    with place.open("r+b") as program:
        program.write(b"spoiled")
    done = refused(shell, root, unpack(plan_for(shell, root, old), tmp_path / "in2"))
    assert BIG in done.failed
    assert "deploy again" in done.failed
    assert deploy(shell, root, old, tmp_path / "in3").code == 0
    assert_is(shell, root, old)


PLACED = "".join(
    f"file\t/etc/systemd/system/{path}\t0644\troot\troot\tsum\n"
    for path in ("consul.service", "nftables.service.d/nexus-firewall.conf")
)
SHOWN = "Id={}\nLoadState={}\nNeedDaemonReload={}\n"


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("consul", "nftables", "actions", "due"),
    [
        (("loaded", "no"), ("loaded", "no"), "", False),
        (("loaded", "yes"), ("loaded", "no"), "", True),
        (("error", "no"), ("loaded", "no"), "", True),
        (("bad-setting", "no"), ("loaded", "no"), "", True),
        (("not-found", "no"), ("loaded", "no"), "", True),
        (("masked", "no"), ("loaded", "no"), "", False),
        (("loaded", "no"), ("loaded", "yes"), "", True),
        (("loaded", "no"), ("not-found", "no"), "", False),
        (("loaded", "no"), ("loaded", "no"), "drop\t/etc/systemd/system/x.service\n", True),
        (("loaded", "no"), ("loaded", "no"), "drop\t/etc/nexus/x\n", False),
    ],
)
def test_systemd_reads_its_files_again_where_that_is_due(
    shell: str, tmp_path: Path, consul: tuple[str, str], nftables: tuple[str, str], actions: str, due: bool
) -> None:
    """Due are another text than the file's, a unit of ours that systemd takes for broken or gone, and a file that went."""
    (tmp_path / "manifest").write_text(PLACED)
    (tmp_path / "actions").write_text(actions)
    shown = (SHOWN.format("consul.service", *consul), SHOWN.format("nftables.service", *nftables))
    (tmp_path / "states").write_text("\n".join(shown))
    functions = script("apply").removesuffix('main "$@"\n')
    ctl = f'ctl() {{ echo "$*" >>{tmp_path}/asked; if [ "$1" = show ]; then cat {tmp_path}/states; fi; }}'
    text = f"{functions}\n{ctl}\ngeneration={tmp_path} tab=$(printf '\\t')\nreload_systemd\n"
    done = subprocess.run([shell, "-c", text], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    asked = (tmp_path / "asked").read_text() if (tmp_path / "asked").exists() else ""
    assert ("daemon-reload" in asked) == due
    if "-- " in asked:
        assert "-- consul.service nftables.service\n" in asked


@pytest.mark.skipif(shutil.which("flock") is None, reason="flock is not installed")
@pytest.mark.parametrize("shell", SHELLS)
def test_finishing_keeps_out_of_a_running_deploy(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """A deploy's restarts start the recovery: while the deploy runs, `--finish` does nothing and succeeds."""
    deploy(shell, root, old, tmp_path / "in")
    (state_of(root) / "pending").symlink_to(os.readlink(state_of(root) / "current"))
    before = tree(root, MAY_DIFFER)
    with (state_of(root) / ".apply.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert call(shell, state_of(root) / "apply.sh", "--finish", root) == Outcome(0, (), "")
    assert tree(root, MAY_DIFFER) == before


@pytest.mark.parametrize("shell", SHELLS)
def test_a_gone_reader_does_not_stop_a_commit(
    shell: str, root: Path, old: Manifest, new: Manifest, tmp_path: Path
) -> None:
    """When the connection closes during the renames, the host still reaches the whole new generation."""
    deploy(shell, root, old, tmp_path / "in1")
    folder = unpack(plan_for(shell, root, new), tmp_path / "in2")
    running = subprocess.Popen(
        [shell, folder / "apply.sh", folder, root], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stderr is not None
    for line in running.stdout:
        if line.startswith(b"step put"):
            break
    running.stdout.close()
    running.stderr.close()
    running.wait(30)
    assert_is(shell, root, new, old)


@pytest.mark.parametrize("shell", SHELLS)
def test_finishing_nothing_does_nothing(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """Without a journal, `--finish` changes nothing, on a host with a generation or without one."""
    apply_sh = tmp_path / "apply.sh"
    apply_sh.write_text(script("apply"))
    before = tree(root)
    assert call(shell, apply_sh, "--finish", root).code == 0
    assert tree(root) == before
    deploy(shell, root, old, tmp_path / "in1")
    before = tree(root)
    assert call(shell, state_of(root) / "apply.sh", "--finish", root).code == 0
    assert tree(root) == before


@pytest.mark.parametrize("shell", SHELLS)
def test_a_boot_undoes_drills_faults_first(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """Each fault's own script is asked to undo it; one that fails stops neither the others nor the deploy's end."""
    deploy(shell, root, old, tmp_path / "in")
    (state_of(root) / "pending").symlink_to(os.readlink(state_of(root) / "current"))
    for name, code in (("a1", 3), ("b2", 0)):
        folder = state_of(root) / "faults" / name
        folder.mkdir(parents=True)
        # notes how it was called, and whether the deploy was still open
        (folder / "fault.sh").write_text(f'echo "$@" "$(ls -d {state_of(root)}/pending)" >>{tmp_path}/asked; exit {code}\n')
    assert call(shell, state_of(root) / "apply.sh", "--finish", root).code == 0
    pending = f"{state_of(root)}/pending"
    asked = [f"{root} revert {name} --boot {pending}" for name in ("a1", "b2")]
    assert (tmp_path / "asked").read_text().splitlines() == asked
    assert not os.path.lexists(pending)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_payload_and_its_host_have_the_whole_script(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """apply.sh is all parts put together: in the payload, and in the state folder for the recovery at boot."""
    folder = unpack(plan_for(shell, root, old), tmp_path / "in")
    assert (folder / "apply.sh").read_text() == script("apply")
    assert apply(shell, folder, root).code == 0
    assert (state_of(root) / "apply.sh").read_text() == script("apply")


@pytest.mark.parametrize("shell", SHELLS)
def test_the_caller_has_no_say_in_where_programs_are(shell: str, root: Path, old: Manifest, tmp_path: Path) -> None:
    """Under a PATH of programs that all fail, as under one without any, the deploy and its recovery work."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in (*CRASHING, "awk", "flock", "readlink", "sed", "stat"):
        (programs / name).write_text("#!/bin/sh\nexit 1\n")
        (programs / name).chmod(0o755)
    env = {"PATH": str(programs)}
    program = shutil.which(shell) or shell
    assert apply(program, unpack(plan_for(shell, root, old), tmp_path / "in"), root, env=env).code == 0
    assert_is(shell, root, old)
    (state_of(root) / "pending").symlink_to(os.readlink(state_of(root) / "current"))
    assert call(program, state_of(root) / "apply.sh", "--finish", root, env=env).code == 0
    assert_is(shell, root, old)


# --- killed at any moment ------------------------------------------------------------------------------------------

CRASHING = ("mv", "ln", "cp", "install", "rm", "mkdir", "gzip", "sync")
# Counts the commands that change something. At the chosen one it kills the whole process group; a copy is half done then.
SHIM = """#!/bin/sh
case "NAME $*" in $NEXUS_CRASH_ON) ;; *) exec REAL "$@" ;; esac
read -r n <"$NEXUS_CRASH" || :
n=$((n + 1))
printf '%s\\n' "$n" >"$NEXUS_CRASH"
if [ "$n" = "$NEXUS_CRASH_AT" ]; then
  if [ NAME = cp ] || { [ NAME = install ] && [ "$1" != -d ]; }; then
    REAL "$@"
    for last; do :; done
    [ ! -d "$last" ] || last=$last/${1##*/}
    truncate -s 7 "$last"
  fi
  kill -9 0
fi
exec REAL "$@"
"""


class Crashes:
    """A host with the old generation, one copy for each trial, and the plan for the new generation."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.folder = shell, folder
        self.old, self.new = old_generation(folder), new_generation(folder)
        self.seed = make_root(folder / "seed")
        assert deploy(shell, self.seed, self.old, folder / "in").code == 0
        self.plan = plan_for(shell, self.seed, self.new)
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in CRASHING:
            (self.bin / name).write_text(SHIM.replace("NAME", name).replace("REAL", shutil.which(name) or name))
            (self.bin / name).chmod(0o755)

    def start(self, trial: str, at: int = 0, on: str = "*") -> tuple[Path, subprocess.Popen[bytes]]:
        """A deploy on a new copy of the host; see `run`."""
        root = self.folder / f"root-{trial}"
        shutil.copytree(self.seed, root, symlinks=True)
        return root, self.run(root, self.plan, at, on)

    def run(self, root: Path, plan: HostPlan, at: int = 0, on: str = "*") -> subprocess.Popen[bytes]:
        """Kills all before the `at`-th of the commands that match the shell pattern `on`; 0 kills nothing."""
        payload = unpack(plan, root.with_name(f"payload-{root.name}"))
        count = root.with_name(f"count-{root.name}")
        count.write_text("0\n")
        if at:
            prefer_programs(payload, self.bin)
        env = {"NEXUS_CRASH": str(count), "NEXUS_CRASH_AT": str(at), "NEXUS_CRASH_ON": on}
        return subprocess.Popen(
            [self.shell, payload / "apply.sh", payload, root], env={**os.environ, **env}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def crash(self, root: Path, plan: HostPlan, at: int, on: str) -> None:
        assert self.run(root, plan, at, on).wait(30) == -signal.SIGKILL
        shutil.rmtree(root.with_name(f"payload-{root.name}"))

    def finish(self, root: Path) -> None:
        assert call(self.shell, state_of(root) / "apply.sh", "--finish", root).code == 0

    def torn(self) -> Path:
        """A host whose commit was killed after the first rename."""
        root = self.folder / "root-torn"
        shutil.copytree(self.seed, root, symlinks=True)
        self.crash(root, self.plan, 2, "mv -f *.nexus-new-* *")
        assert (state_of(root) / "pending").is_symlink()
        assert list(root.rglob("*.nexus-new-*"))
        return root

    def check(self, root: Path, trial: int) -> None:
        """All files are whole; then `--finish`, or the next deploy, brings the host to one generation.

        Trials take turns; after a kill before the commit, only every sixth runs the slow deploy.
        """
        contents = [{f.path: bytes_of(f) for f in m.files} for m in (self.old, self.new)]
        for path in paths_of(self.old, self.new):
            assert content_of(root, path) in [c.get(path) for c in contents], path
        state = state_of(root)
        swapped = (state / "pending").is_symlink() or os.readlink(state / "current").endswith(self.new.id)
        if trial % (2 if swapped else 6):
            self.finish(root)
            assert not (state / "pending").is_symlink()
        else:
            swapped = True
            plan = plan_for(self.shell, root, self.new, self.old)
            done = apply(self.shell, unpack(plan, root.with_name(f"again-{root.name}")), root)
            assert done.code == 0, done.lines
            assert not list(root.rglob("*.nexus-new-*"))
        for path in paths_of(self.old, self.new):
            assert content_of(root, path) == contents[swapped].get(path), path
        assert os.readlink(state / "current").endswith((self.old, self.new)[swapped].id)
        shutil.rmtree(root)


@pytest.fixture
def crashes(request: pytest.FixtureRequest, tmp_path: Path) -> Crashes:
    return Crashes(request.param, tmp_path)


@pytest.mark.parametrize("crashes", SHELLS[:1], indirect=True)
def test_killed_before_any_command_the_host_is_old_or_new(crashes: Crashes) -> None:
    """A kill before each command in turn, with copies half done, leaves whole files, and the host recovers."""

    def trial(at: int) -> bool:
        root, process = crashes.start(str(at), at)
        if process.wait(30) == 0:
            return False
        assert process.returncode == -signal.SIGKILL
        crashes.check(root, at)
        return True

    with ThreadPoolExecutor(WORKERS) as pool:
        killed = list(pool.map(trial, range(1, COMMANDS + 2)))
    assert killed == [True] * killed.count(True) + [False] * killed.count(False)
    assert 30 <= killed.count(True) <= COMMANDS, "the trials do not reach the end of a deploy"


@pytest.mark.parametrize("crashes", SHELLS, indirect=True)
def test_killed_at_any_moment_the_host_is_old_or_new(crashes: Crashes) -> None:
    """A kill after a random time leaves old or new bytes at each final path, and the host recovers."""
    began = time.monotonic()
    root, process = crashes.start("whole")
    process.wait(30)
    duration = time.monotonic() - began
    crashes.check(root, 0)
    rng = random.Random(7)  # noqa: S311  delays, not secrets
    delays = [rng.uniform(0, duration * 1.2) for _ in range(12)]

    def trial(n: int) -> bool:
        root, process = crashes.start(str(n))
        time.sleep(delays[n])
        os.killpg(process.pid, signal.SIGKILL)
        crashed = process.wait(30) != 0
        crashes.check(root, n)
        return crashed

    with ThreadPoolExecutor(WORKERS) as pool:
        assert any(pool.map(trial, range(len(delays))))


ONE_SHELL = pytest.mark.parametrize("crashes", SHELLS[:1], indirect=True)


@ONE_SHELL
def test_a_torn_commit_is_finished_at_boot(crashes: Crashes) -> None:
    """After the first rename only, `--finish` does the others and removes the journal."""
    root = crashes.torn()
    crashes.finish(root)
    assert_is(crashes.shell, root, crashes.new, crashes.old)


@ONE_SHELL
def test_the_ledger_never_has_the_sum_of_other_bytes(crashes: Crashes) -> None:
    """After a torn commit, a refused deploy and a boot, the probe still reports the true sum of each file."""
    root = crashes.torn()
    stale = replace(crashes.plan, base="another")
    assert apply(crashes.shell, unpack(stale, crashes.folder / "stale"), root).code == 3
    crashes.finish(root)
    facts = probe(crashes.shell, root, *paths_of(crashes.old, crashes.new))
    for path, fact in facts.files.items():
        assert fact.sha256 == sha(content_of(root, path) or b""), path


@ONE_SHELL
def test_a_deploy_over_a_torn_commit_may_be_killed_too(crashes: Crashes) -> None:
    """A kill during a copy, with an older journal set, and a boot: no half file gets into place."""
    root = crashes.torn()
    plan = plan_for(crashes.shell, root, crashes.new, crashes.old)
    crashes.crash(root, plan, 1, "install*.nexus-new-*")
    crashes.finish(root)
    for path in paths_of(crashes.old, crashes.new):
        contents = [bytes_of(f) for m in (crashes.old, crashes.new) for f in m.files if f.path == path]
        assert content_of(root, path) in [None, *contents], path


@ONE_SHELL
def test_a_kept_manifest_is_never_half(crashes: Crashes) -> None:
    """A deploy of the current generation, killed while it writes the manifest, leaves the kept manifest whole."""
    root = crashes.seed
    (root / CONFIG.lstrip("/")).write_bytes(b"edited\n")
    crashes.crash(root, plan_for(crashes.shell, root, crashes.old), 1, "cp */manifest *")
    facts = probe(crashes.shell, root)
    assert facts.manifest.id == facts.current


@ONE_SHELL
@pytest.mark.parametrize("then", ["refused", "killed while copying", "killed before its own journal"])
def test_a_boot_ends_a_torn_commit_whatever_came_between(crashes: Crashes, then: str) -> None:
    """After a torn commit and a later deploy that ends before its commit, a boot leaves one generation, no mix."""
    root = crashes.torn()
    plan = plan_for(crashes.shell, root, crashes.new, crashes.old)
    if then == "refused":
        payload = unpack(plan, crashes.folder / "again")
        (payload / "blobs").mkdir(exist_ok=True)
        (payload / "blobs" / ("0" * 64)).write_bytes(b"damaged")
        assert apply(crashes.shell, payload, root).code == 3
    elif then == "killed while copying":
        crashes.crash(root, plan, 1, "install *.nexus-new-*")
    else:
        third = Manifest(files=(crashes.old.files[0], file(CONFIG, b"third\n")))
        crashes.crash(root, plan_for(crashes.shell, root, third, crashes.old, crashes.new), 1, "ln -s* *pending.*")
    crashes.finish(root)
    for item in crashes.new.files:
        assert content_of(root, item.path) == bytes_of(item), item.path


# --- a full disk ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A root on its own disk of 4 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m,mode=755", "nexus-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        pytest.skip("a small disk can be mounted by root only, and not in every container")
    try:
        yield make_root(folder / "root")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("kind", ["packed", "plain"])
def test_no_room_for_what_arrives(shell: str, kind: str, small: Path, old: Manifest, tmp_path: Path) -> None:
    """A file that is larger than the disk is refused with the cause, and the old generation stays whole."""
    assert deploy(shell, small, old, tmp_path / "in1").code == 0
    content = bytes(6_000_000)
    extra = packed_file("/usr/local/bin/vast", content, tmp_path) if kind == "packed" else file("/etc/vast", content)
    wanted = Manifest(files=(*old.files, extra))
    done = refused(shell, small, unpack(plan_for(shell, small, wanted), tmp_path / "in2"))
    assert done.failed.startswith("no room")
    assert_is(shell, small, old)


@pytest.mark.parametrize("shell", SHELLS)
def test_no_room_beside_the_old_files(shell: str, small: Path, old: Manifest, tmp_path: Path) -> None:
    """When the disk fills up while files are staged, nothing is renamed; with room again, the deploy succeeds."""
    assert deploy(shell, small, old, tmp_path / "in1").code == 0
    wanted = Manifest(old.accounts, old.folders, (*old.files, file("/etc/nexus/new", b"n" * 1_000_000)), old.units)
    free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
    filler = small / "filler"
    filler.write_bytes(bytes(free - 1_300_000))
    done = refused(shell, small, unpack(plan_for(shell, small, wanted), tmp_path / "in2"))
    assert "nothing was changed" in done.failed
    assert "No space left" in done.err
    assert_is(shell, small, old)
    filler.unlink()
    assert deploy(shell, small, wanted, tmp_path / "in3").code == 0
    assert_is(shell, small, wanted)
