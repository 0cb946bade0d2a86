"""The script of remote_agents/fault/, run for real under each shell: processes, signals, files and a waiting timer.

tests/support/fault_host.py makes the host.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fabfile.core.resources import SCRIPTS
from fabfile.core.state.scripts import script
from fabfile.drills.course import fault_protocol
from fabfile.drills.faults.catalogue import FAULTS, argument_values, script_arguments
from tests.support.fault_host import FaultyHost, faulty_host, state_of_process, until
from tests.support.script_host import SHELLS, call, state_of, tree

NEEDED = ("flock", "setsid", "timeout", "fallocate")
pytestmark = [
    pytest.mark.parametrize("shell", SHELLS),
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc is Linux'"),
    pytest.mark.skipif(any(shutil.which(n) is None for n in NEEDED), reason=f"needs {', '.join(NEEDED)}"),
]
WEB = "nexus-svc-web.service"
ORCHESTRATOR = "nexus-orchestrator.service"
CONFIG = "/etc/consul.d/consul.hcl"
EVIL = ["a b", "$(touch x)", "`id`", "a;b", "a\nb", "ä", "a'b", 'a"b', "*", "a|b", "", "\\"]


@pytest.fixture
def host(shell: str, tmp_path: Path) -> Iterator[FaultyHost]:
    with faulty_host(shell, tmp_path) as made:
        yield made


def config(host: FaultyHost, mode: int = 0o640) -> Path:
    path = host.root / CONFIG[1:]
    path.parent.mkdir()
    path.write_bytes(b"node_name = \"w1\"\n\xff")
    path.chmod(mode)
    host.unit("consul.service")
    return path


# --- families ----------------------------------------------------------------------------------------------------------

_CLAIMS = """
refuse() { exit 3; }
for family in $families; do
  for function in claims check inject took seen undo; do
    if ! has "${family}_$function"; then say "missing ${family}_$function"; fi
  done
  for fault in "$@"; do
    code=0
    ("${family}_claims") || code=$?
    if [ "$code" != 1 ]; then say "$fault $family"; fi
  done
done
"""


def test_each_fault_belongs_to_one_family(shell: str) -> None:
    """One family claims it, by the name of its file; a family has all functions; a fault that is not known has none."""
    text = script("fault").removesuffix('main "$@"\n') + _CLAIMS
    found = call(shell, "-c", text, shell, *FAULTS, "no-such")
    assert found.err == ""
    rows = [line.split() for line in found.lines]
    assert sorted(fault for fault, _ in rows) == sorted(FAULTS)
    files = {p.stem for p in (SCRIPTS / "fault").glob("*.sh") if "\n# faults: " in p.read_text()}
    assert {family for _, family in rows} == files


# --- arming ------------------------------------------------------------------------------------------------------------


def test_arming_leaves_all_that_the_undo_needs(host: FaultyHost) -> None:
    """After `armed` a private folder holds the fault, the script, and a timer that calls that copy's revert."""
    host.unit(WEB)
    assert host.arm("kill-service", "web", ttl=90).lines == ("armed",)
    assert host.folder.stat().st_mode & 0o777 == 0o700
    assert (host.folder / "fault.sh").read_bytes() == host.script.read_bytes()
    what = dict(line.split(" ", 1) for line in (host.folder / "what").read_text().splitlines() if " " in line)
    assert (what["fault"], what["words"], what["ttl"]) == ("kill-service", "web", "90")
    timer = next(line for line in host.log if line.startswith("systemd-run"))
    assert "--on-active=90 --timer-property=AccuracySec=100ms --property=Restart=on-failure" in timer
    assert timer.endswith(f"/bin/sh {host.folder}/fault.sh {host.root} revert {host.id} --timer")


def test_arming_touches_nothing_but_its_folder(host: FaultyHost) -> None:
    """Armed and reverted without an injection, the host is as it was, to the second."""
    config(host)
    before = tree(host.root)
    assert host.arm("corrupt-config", CONFIG).lines == ("armed",)
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)
    assert tree(host.root) == before
    assert list((host.fake / "timers").iterdir()) == []


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_of_the_catalogue_is_known_here(host: FaultyHost, name: str) -> None:
    """With its defaults, each fault is armed or refused for the host's sake, never for its words."""
    fault = FAULTS[name]
    for unit in (WEB, ORCHESTRATOR, "nexus-worker.service", "caddy.service", "consul.service", "docker.service"):
        host.unit(unit)
    config(host)
    words = script_arguments(fault, argument_values(fault, {}), "web", ["198.18.9.2"] if fault.peers != "none" else [])
    said = host.arm(name, *words)
    assert said.lines == ("armed",) or said.lines[0].startswith(
        ("refused nft", "refused tc", "refused the kernel", "refused unshare", "refused this host", "refused no way back")
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("kill-service", "gone"), "nexus-svc-gone.service does not run here"),
        (("kill-service",), "nothing is not the name of a service"),
        (("kill-service", "../x"), "../x is not the name of a service"),
        (("kill-agent", "sshd"), "sshd is none of nexus-worker"),
        (("no-such",), "there is no fault no-such"),
        (("fill-disk", "0"), "leave: 0 is not a whole number from 1"),
        (("fill-disk", "999999"), "MB are free"),
        (("burn-cpu", "1000"), "cores: 1000 is not a whole number from 1 to 256"),
        (("eat-memory", "999999"), "MB of memory are free"),
        (("eat-memory", "010"), "mb: 010 is not a whole number"),
        (("corrupt-config", "/etc/passwd"), "/etc/passwd is none of"),
        (("corrupt-config", CONFIG), "there is no file"),
        (("partition", "sideways", "198.18.9.2"), "sideways is not a way"),
        (("packet-loss", "0", "198.18.9.2"), "percent: 0 is not"),
        (("stop-host", "none"), "no way back was named"),
        (("stop-docker",), "docker.service does not run here"),
        (("skew-clock", "0"), "0 is not a whole number from 1 to 86400"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_and_leaves_nothing(host: FaultyHost, words: tuple[str, ...], why: str) -> None:
    """A refusal says why in one line, ends with 3, and leaves neither file nor timer."""
    before = tree(host.root)
    said = host.arm(*words)
    assert said.code == 3
    assert len(said.lines) == 1
    assert said.lines[0].startswith("refused ")
    assert why in said.lines[0]
    assert tree(host.root, without=["var/lib/nexus"]) == {k: v for k, v in before.items() if k != "var/lib/nexus"}
    assert not (state_of(host.root) / "faults").exists()
    assert list((host.fake / "timers").iterdir()) == []


@pytest.mark.parametrize("peer", ["127.0.0.1", "0.0.0.0", "10.0.0", "10.0.0.256", "::1", "10.0.0.1/8", "010.0.0.1", "x"])
@pytest.mark.skipif(shutil.which("nft") is None, reason="nft is not installed")
def test_a_peer_is_an_address_of_another_host(host: FaultyHost, peer: str) -> None:
    """Neither networks nor the loopback can be cut off."""
    assert f"{peer} is not an IPv4 address" in host.arm("partition", "both", peer).lines[0]


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_hostile_words_stop_at_the_door(host: FaultyHost, place: int, evil: str) -> None:
    """Nothing but A-Z a-z 0-9 . _ : / - gets in, wherever it stands, and nothing of it is run."""
    words: list[object] = ["kill-service", 60, "web"]
    words[place] = evil
    before = tree(host.root)
    assert host.say("arm", host.id, *words).lines == ("refused a word holds what is none of A-Z a-z 0-9 . _ : / -",)
    assert tree(host.root) == before


@pytest.mark.parametrize("evil", [*EVIL, "../x", "A1", "a" * 33, "a-b", "."])
@pytest.mark.parametrize("verb", ["arm", "inject", "revert", "observe"])
def test_an_id_cannot_leave_its_folder(host: FaultyHost, verb: str, evil: str) -> None:
    """An id is letters and digits, whatever the verb."""
    assert host.say(verb, evil, "burn-cpu", 60, 1).lines == ("refused an ID is 1 to 32 of a-z and 0-9",)


def test_an_undo_that_cannot_be_armed_leaves_nothing(host: FaultyHost) -> None:
    """Where systemd-run fails, or its timer does not run, nothing is armed and nothing is left."""
    (host.fake / "broken").touch()
    said = host.arm("burn-cpu", 1).lines
    assert said == ("refused the undo could not be armed: Failed to connect to bus",)
    (host.fake / "broken").unlink()
    (host.fake / "deaf").touch()
    assert host.arm("burn-cpu", 1).lines == ("refused the undo is not armed: its timer does not run",)
    assert not host.folder.parent.exists()


def test_an_id_is_used_once_at_a_time(host: FaultyHost) -> None:
    """A second fault of the same id is refused, and the first stays armed."""
    assert host.arm("burn-cpu", 1).lines == ("armed",)
    assert host.arm("burn-cpu", 2).lines[0].startswith(f"refused a fault {host.id} is on this host already")
    assert host.say("list").lines[0].startswith(f"left {host.id} burn-cpu armed ")


def test_a_script_that_is_not_whole_cannot_arm(host: FaultyHost, shell: str, tmp_path: Path) -> None:
    """What was read from a pipe, or broke off, could not be kept for the undo."""
    piped = subprocess.run([shell, "-s", "--", host.root, "arm", host.id, "burn-cpu", "60", "1"],
                           input=host.script.read_bytes(), capture_output=True, check=False,
                           env={**os.environ, **host.env})  # fmt: skip
    assert piped.stdout == b"refused arm must be run from the whole script, as a file\n"


def test_the_receiving_end_arms(host: FaultyHost, tmp_path: Path) -> None:
    """The words that the operator's side sends arm the fault on a host that has no script yet."""
    host.unit(WEB)
    argv = fault_protocol.arm_argv(host.id, "kill-service", 60, ["web"])
    argv[4] = str(host.root)
    done = subprocess.run(argv, input=host.script.read_bytes(), capture_output=True, check=False,
                          env={**os.environ, **host.env, "TMPDIR": str(tmp_path)})  # fmt: skip
    assert fault_protocol.parse_answer(done.stdout) == fault_protocol.Answer("armed")
    assert (host.folder / "fault.sh").read_bytes() == host.script.read_bytes()
    assert not list(tmp_path.glob("tmp.*"))


# --- the course of each verb -------------------------------------------------------------------------------------------


def test_nothing_is_injected_unarmed(host: FaultyHost) -> None:
    """Without an armed undo there is no fault: not before arm, not when its timer is gone, not twice."""
    assert host.say("inject", host.id).lines == (f"refused the fault {host.id} is not armed on this host",)
    pid = host.unit(WEB)
    host.arm("kill-service", "web")
    (host.fake / f"timers/nexus-fault-{host.id}.timer").unlink()
    assert host.say("inject", host.id).lines == (f"refused the undo of the fault {host.id} is not armed",)
    assert state_of_process(pid) == "S"


def test_a_fault_is_injected_once(host: FaultyHost) -> None:
    """A second injection is refused."""
    host.injected("burn-cpu", 1)
    assert host.say("inject", host.id).lines == (f"refused the fault {host.id} has been injected already",)


def test_reverting_what_never_was_is_no_fault(host: FaultyHost) -> None:
    """A revert on a bare host succeeds, and again."""
    assert host.revert() == ("reverted",)
    assert host.revert() == ("reverted",)


def test_the_host_undoes_it_by_itself(host: FaultyHost) -> None:
    """When nobody comes back, the fault is gone at its time, and so is every trace of it."""
    path = config(host)
    before, began = tree(host.root), time.monotonic()
    host.injected("corrupt-config", CONFIG, ttl=3)
    assert b"this is no configuration" in path.read_bytes()
    assert until(lambda: not host.folder.parent.exists())  # the last thing that the undo removes
    assert time.monotonic() - began < 3 + 2
    after = tree(host.root)
    assert after == before
    assert until(lambda: (host.fake / "timed").read_text() == "reverted\n")


def test_an_undo_that_fails_says_so_and_keeps_its_folder(host: FaultyHost) -> None:
    """What could not be undone is told, listed, and finished by a later revert."""
    host.unit(ORCHESTRATOR)
    host.injected("stop-primary")
    host.reap()
    systemctl = (host.fake / "bin/systemctl").read_text()
    host.program("systemctl", '#!/bin/sh\necho "no way" >&2\nexit 1\n')
    said = host.say("revert", host.id)
    assert said.lines == ("failed stop-primary is still there: no way",)
    assert said.code == 3
    host.program("systemctl", systemctl)
    assert host.say("list").lines[0].startswith(f"left {host.id} stop-primary injected ")
    assert host.revert() == ("reverted",)
    assert host.say("list").lines == ()


def test_list_tells_what_is_left(host: FaultyHost) -> None:
    """Armed, injected, half-made and orphaned faults are all found, with the seconds until their undo."""
    host.unit(WEB)
    other = f"b{host.id}"
    host.arm("kill-service", "web", ttl=50)
    host.say("arm", other, "burn-cpu", 40, 1)
    host.say("inject", other)
    (host.folder.parent / "c3").mkdir()
    (host.fake / "timers/nexus-fault-d4.timer").touch()
    found = fault_protocol.parse_leftovers("\n".join(host.say("list").lines).encode())
    assert {(x.id, x.fault, x.state) for x in found} == {
        (host.id, "kill-service", "armed"), (other, "burn-cpu", "injected"), ("c3", "-", "half"), ("d4", "-", "orphan"),
    }  # fmt: skip
    seconds = {x.id: x.seconds for x in found}
    assert 47 <= seconds[host.id] <= 50
    assert 37 <= seconds[other] <= 40
    for each in found:
        assert host.say("revert", each.id).lines == ("reverted",)
    assert host.say("list").lines == ()
    assert not host.folder.parent.exists()


def test_after_a_restart_only_files_are_left_and_found(host: FaultyHost) -> None:
    """A fault of an earlier boot is listed, is absent where no file keeps it up, and is taken away."""
    host.injected("fill-disk", free_mb(host) - 50)  # MB; others write to this disk, too
    restart(host)
    assert host.say("list").lines == (f"left {host.id} fill-disk lost 0",)
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert not host.folder.exists()


def restart(host: FaultyHost) -> None:
    """As after a boot: the timers are gone, and the boot is another one."""
    noted(host, boot="other")
    for timer in (host.fake / "timers").iterdir():
        timer.unlink()


@contextmanager
def at_work(host: FaultyHost) -> Iterator[None]:
    """As while a verb is at work on the fault."""
    lock = os.open(host.folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def noted(host: FaultyHost, **values: object) -> None:
    """Changes these lines of the fault's `what`."""
    what = host.folder / "what"
    kept = dict(line.partition(" ")[::2] for line in what.read_text().splitlines())
    what.write_text("".join(f"{key} {value}".strip() + "\n" for key, value in {**kept, **values}.items()))


def test_a_boot_undoes_what_its_timer_no_longer_can(host: FaultyHost) -> None:
    """The undo of a boot leaves a fault of this boot alone, whoever holds it, and takes an older one's files back."""
    path = config(host)
    before = tree(host.root)
    host.injected("corrupt-config", CONFIG)
    broken = path.read_bytes()
    with at_work(host):
        assert host.say("revert", host.id, "--boot").lines == ("armed",)
    assert path.read_bytes() == broken
    restart(host)
    assert host.say("revert", host.id, "--boot").lines == ("reverted",)
    assert tree(host.root) == before


def test_a_boot_waits_for_no_unit_that_waits_for_it(host: FaultyHost) -> None:
    """The units start after the recovery: it starts them without waiting."""
    host.unit(ORCHESTRATOR)
    host.injected("stop-primary")
    restart(host)
    assert host.say("revert", host.id, "--boot").lines == ("reverted",)
    assert f"systemctl start --no-block {ORCHESTRATOR}" in host.log


def test_a_timer_that_was_stopped_is_told_and_made_good(host: FaultyHost) -> None:
    """Without its timer a fault is listed as lost; a minute after its time the next recovery undoes it."""
    path = config(host)
    before = path.read_bytes()
    host.injected("corrupt-config", CONFIG, ttl=50)
    (host.fake / f"timers/nexus-fault-{host.id}.timer").unlink()
    assert host.say("list").lines[0].startswith(f"left {host.id} corrupt-config lost ")
    assert host.say("revert", host.id, "--boot").lines == ("armed",)
    noted(host, since=int(float(Path("/proc/uptime").read_text().split()[0])) - 50 - 70)
    assert host.say("revert", host.id, "--boot").lines == ("reverted",)
    assert path.read_bytes() == before


def test_an_undo_amid_the_injection_comes_again(host: FaultyHost, shell: str) -> None:
    """While another verb is at work the undo is done, and its folder is kept for the next try: the fault may still come."""
    path = config(host)
    before = path.read_bytes()
    host.injected("corrupt-config", CONFIG)
    impatient = host.script.read_text().replace("lock_folder 20", "lock_folder 0.2")
    host.script.write_text(impatient)
    with at_work(host):
        said = host.say("revert", host.id)
        assert said.code == 3
        assert said.lines[0].endswith("but another verb is at work on it")
        assert path.read_bytes() == before
        assert host.folder.exists()
    assert host.revert() == ("reverted",)
    assert not host.folder.exists()


def test_two_reverts_at_once_both_succeed(host: FaultyHost, shell: str) -> None:
    """The timer and the operator may come at the same moment."""
    config(host)
    host.injected("corrupt-config", CONFIG)
    argv = [shell, str(host.script), str(host.root), "revert", host.id]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, env={**os.environ, **host.env}) for _ in range(8)]
    assert {process.communicate(timeout=30)[0] for process in running} == {b"reverted\n"}


# --- processes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words", "unit"),
    [
        ("kill-service", ["web"], WEB), ("kill-agent", ["nexus-worker"], "nexus-worker.service"),
        ("kill-consul", [], "consul.service"), ("kill-primary", [], ORCHESTRATOR), ("kill-balancer", [], "caddy.service"),
    ],
)  # fmt: skip
def test_a_killed_process_is_there_until_another_stands_in(
    host: FaultyHost, fault: str, words: list[str], unit: str
) -> None:
    """The main process dies of SIGKILL; the fault is present until the unit has a new one."""
    pid = host.unit(unit)
    host.injected(fault, *words)
    assert host.spawned[0].wait(5) == -signal.SIGKILL
    assert host.observe() == "present"
    host.unit(unit)
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)
    assert host.pid(unit) != pid
    assert not [line for line in host.log if line.startswith("systemctl start")]


def test_what_does_not_come_back_is_started(host: FaultyHost) -> None:
    """A killed unit that systemd does not bring back is started by the undo."""
    host.unit(WEB)
    host.injected("kill-service", "web")
    host.reap()
    assert host.revert() == ("reverted",)
    assert f"systemctl start --no-block {WEB}" in host.log
    assert state_of_process(host.pid(WEB)) == "S"


def test_an_instance_that_moved_away_needs_no_undo(host: FaultyHost) -> None:
    """Where the orchestrator has taken the unit from this host, nothing is left to come back."""
    host.unit(WEB)
    host.injected("kill-service", "web")
    host.reap()
    (host.fake / "units" / WEB).unlink()
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)


@pytest.mark.parametrize(("fault", "words", "unit"), [("hang-service", ["web"], WEB), ("freeze-primary", [], ORCHESTRATOR)])
def test_a_hung_process_stands_still_and_goes_on(host: FaultyHost, fault: str, words: list[str], unit: str) -> None:
    """SIGSTOP stops it; the undo wakes the very same process, once and again."""
    pid = host.unit(unit)
    host.injected(fault, *words)
    assert state_of_process(pid) == "T"
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert state_of_process(pid) == "S"
    assert host.revert() == ("reverted",)


def test_a_hung_process_is_woken_though_systemd_lost_it(host: FaultyHost) -> None:
    """The undo goes by the processes that it stopped, too."""
    pid = host.unit(WEB)
    host.injected("hang-service", "web")
    (host.fake / "units" / WEB).unlink()
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert state_of_process(pid) == "S"


def test_a_hung_process_that_was_replaced_is_over(host: FaultyHost) -> None:
    """Once the stopped process is killed, the fault is absent, and its successor is left alone."""
    pid = host.unit(WEB)
    host.injected("hang-service", "web")
    os.kill(pid, signal.SIGKILL)
    host.spawned[0].wait(5)
    new = host.unit(WEB)
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)
    assert state_of_process(new) == "S"


def test_a_stopped_orchestrator_is_started_again(host: FaultyHost) -> None:
    """stop-primary stops as systemctl does, and its undo starts."""
    host.unit(ORCHESTRATOR)
    host.injected("stop-primary")
    host.reap()
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert state_of_process(host.pid(ORCHESTRATOR)) == "S"


# --- containers --------------------------------------------------------------------------------------------------------


def contained(host: FaultyHost) -> None:
    unit = host.root / "run/systemd/system" / WEB
    unit.parent.mkdir(parents=True)
    unit.write_text('[Service]\nExecStart=:"/usr/bin/docker" "run" "--name" "nexus-svc-web" "x"\n')
    pid = host.unit(WEB)
    (host.fake / "container").write_text(f"{pid}\n")


def test_a_container_is_killed_by_its_engine(host: FaultyHost) -> None:
    """Killing the client would leave the container: `docker kill` is what is said."""
    contained(host)
    host.injected("kill-service", "web")
    assert "docker kill nexus-svc-web" in host.log


def test_a_container_is_paused_by_its_engine(host: FaultyHost) -> None:
    """Stopping the client would hang nothing: the container is paused, and goes on."""
    contained(host)
    host.injected("hang-service", "web")
    assert (host.fake / "paused").exists()
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert not (host.fake / "paused").exists()


def test_docker_is_stopped_and_started_as_it_was(host: FaultyHost) -> None:
    """Only what ran is started again: here the daemon, not its socket."""
    host.unit("docker.service")
    host.injected("stop-docker")
    host.reap()
    assert "systemctl stop docker.socket docker.service" in host.log
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert [x for x in host.log if x.startswith("systemctl start")] == ["systemctl start docker.service"]


def test_others_containers_are_started_again(host: FaultyHost) -> None:
    """They end with Docker. Each is started once: one that then ends by itself is its owner's affair."""
    host.unit("docker.service")
    host.container("a1", "theirs")
    host.container("b2", "job")
    host.injected("stop-docker")
    host.reap()
    assert host.up == set()
    assert host.observe() == "present"
    (host.fake / "others" / "b2").unlink()  # somebody has removed it meanwhile
    assert host.revert() == ("reverted",)
    assert host.up == {"a1"}
    assert [x for x in host.log if x.startswith("docker start")] == ["docker start a1"]


def test_a_container_of_others_keeps_the_fault_there_until_it_is_started(host: FaultyHost) -> None:
    """Docker itself may be back by then: our own services want it."""
    host.unit("docker.service")
    host.container("a1", "theirs")
    host.injected("stop-docker")
    host.unit("docker.service")
    assert host.observe() == "present"
    host.program("docker", (host.fake / "bin/docker").read_text().replace("start) :", "start) echo no port; exit 1; :"))
    [said] = host.revert()
    why = "the container theirs, not the cluster's, does not start again: no port"
    assert said == f"failed stop-docker is still there: {why}"
    host.program("docker", (host.fake / "bin/docker").read_text().replace("echo no port; exit 1; ", ""))
    assert host.revert() == ("reverted",)
    assert host.up == {"a1"}


@pytest.mark.parametrize(("how", "why"), [
    ({"remove": True}, "theirs is not the cluster's, and was started with --rm"),
    ({"paused": True}, "theirs is not the cluster's, and is paused")])  # fmt: skip
def test_what_could_not_come_back_as_it_was_is_no_target(host: FaultyHost, how: dict[str, bool], why: str) -> None:
    host.unit("docker.service")
    host.container("a1", "theirs", **how)
    [said] = host.arm("stop-docker").lines
    assert said.startswith("refused ")
    assert why in said
    assert host.up == {"a1"}
    assert not host.folder.exists()


# --- files -------------------------------------------------------------------------------------------------------------


def free_mb(host: FaultyHost) -> int:
    where = os.statvfs(host.root)
    return where.f_bavail * where.f_frsize >> 20


def test_a_disk_is_filled_but_for_what_is_left(host: FaultyHost) -> None:
    """So many MB stay free (here nearly all, to spare this machine), and all are free again afterwards."""
    leave = free_mb(host) - 50
    host.injected("fill-disk", leave)
    filled = (host.folder / "fill").stat().st_blocks * 512 >> 20
    assert 20 <= filled <= 80
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert not host.folder.parent.exists()


def test_a_broken_file_comes_back_byte_for_byte(host: FaultyHost) -> None:
    """The file grows a line that no parser takes, under its old mode and owner; bytes, mode, owner and time come back."""
    path = config(host)
    before = tree(host.root)
    host.injected("corrupt-config", CONFIG)
    assert path.read_bytes().startswith(b"node_name")
    assert path.read_bytes().endswith(f"}}}}{{{{ nexus fault {host.id}: this is no configuration\n".encode())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert tree(host.root) == before
    assert host.revert() == ("reverted",)
    assert tree(host.root) == before


def test_what_a_deploy_has_mended_stays(host: FaultyHost) -> None:
    """The undo takes back its own damage only, never what was put there since."""
    path = config(host)
    host.injected("corrupt-config", CONFIG)
    path.write_text("new = 1\n")
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)
    assert path.read_text() == "new = 1\n"


def test_consul_reads_a_broken_file_and_goes_on(host: FaultyHost) -> None:
    """It is reloaded, and again once the file is whole; its process is the same all the while."""
    config(host)
    pid = host.pid("consul.service")
    host.injected("corrupt-config", CONFIG)
    assert host.told.startswith("consul.service was reloaded and goes on with what it had")
    assert host.revert() == ("reverted",)
    assert [line for line in host.log if " reload " in line] == ["systemctl reload consul.service"] * 2
    assert host.pid("consul.service") == pid
    assert not [line for line in host.log if " restart " in line]


def test_a_program_that_dies_of_the_file_is_told_and_brought_back(host: FaultyHost) -> None:
    config(host)
    (host.fake / "fragile").touch()
    assert host.arm("corrupt-config", CONFIG).lines == ("armed",)
    reaper = threading.Timer(0.5, host.reap)  # a zombie is still there for `kill -0`
    reaper.start()
    assert host.say("inject", host.id).lines == ("injected consul.service did not survive the reload",)
    assert host.revert() == ("reverted",)
    assert "systemctl restart --no-block consul.service" in host.log
    assert state_of_process(host.pid("consul.service")) == "S"


@pytest.mark.parametrize("agent", ["worker", "orchestrator", "balancer"])
def test_an_agent_meets_its_broken_file_at_a_start(host: FaultyHost, agent: str) -> None:
    """It reads it then only. It stays down, and is up at once when the file is whole."""
    path = host.root / f"etc/nexus/{agent}.json"
    path.parent.mkdir()
    path.write_text('{"host": "w1"}\n')
    unit = f"nexus-{agent}.service"
    host.unit(unit)
    assert host.arm("corrupt-config", f"/etc/nexus/{agent}.json").lines == ("armed",)
    reaper = threading.Timer(0.5, host.reap)
    reaper.start()
    [said] = host.say("inject", host.id).lines
    assert said == f"injected {unit} was restarted and cannot start with this file; systemd tries again and again"
    assert host.pid(unit) == 0
    assert host.revert() == ("reverted",)
    assert path.read_text() == '{"host": "w1"}\n'
    assert state_of_process(host.pid(unit)) == "S"


def test_a_file_that_nobody_would_read_is_no_drill(host: FaultyHost) -> None:
    config(host)
    (host.fake / "units/consul.service").write_text("0\n")
    assert host.arm("corrupt-config", CONFIG).lines == (
        "refused consul.service does not run here: nobody would read the file",)  # fmt: skip


# --- load and clock ----------------------------------------------------------------------------------------------------


def test_busy_loops_run_in_a_unit_of_their_own(host: FaultyHost) -> None:
    """So many loops burn, within a time limit of their own, and end with the undo."""
    host.injected("burn-cpu", 2)
    assert host.observe() == "present"
    line = next(x for x in host.log if f"nexus-fault-{host.id}-load" in x)
    assert "--property=RuntimeMaxSec=75" in line
    main = host.pid(f"nexus-fault-{host.id}-load.service")
    assert until(lambda: [state_of_process(p) for p in children(main)] == ["R", "R"])
    assert host.revert() == ("reverted",)
    assert state_of_process(main) in ("", "Z")
    assert host.observe() == "absent"


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_memory_is_really_taken_and_bounded(host: FaultyHost) -> None:
    """The pages are touched, and systemd is told never to let it have more, nor to spare it."""
    host.injected("eat-memory", 48)
    line = next(x for x in host.log if f"nexus-fault-{host.id}-load" in x)
    assert "--property=MemoryMax=112M --property=MemorySwapMax=0 --property=OOMScoreAdjust=1000" in line
    pid = host.pid(f"nexus-fault-{host.id}-load.service")
    assert until(lambda: rss_mb(pid) >= 48)
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert host.observe() == "absent"


def rss_mb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS")), 0)


def test_a_container_does_not_fill_its_machine(host: FaultyHost) -> None:
    """A container shares its machine's disk, so nothing is armed there, but for a tmpfs, which has a size of its own."""
    (host.fake / "container-host").touch()
    host.program("stat", "#!/bin/sh\necho overlayfs\n")
    assert host.arm("fill-disk", 20).lines == (
        "refused this host is a container: its disk is the machine's, and all on it would be hit",
    )
    host.program("stat", "#!/bin/sh\necho tmpfs\n")
    assert host.arm("fill-disk", 20).lines == ("armed",)


def test_a_container_keeps_its_clock(host: FaultyHost) -> None:
    """A container shares its machine's clock, so nothing is armed there."""
    (host.fake / "container-host").touch()
    assert host.arm("skew-clock", 60).lines == (
        "refused this host is a container: its clock is the machine's, and all on it would be hit",
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may set a clock")
@pytest.mark.parametrize("seconds", [90, -3600])
def test_a_clock_is_set_and_set_right(host: FaultyHost, seconds: int) -> None:
    """The clock goes off by so much and comes back by the uptime; a clock that was mended meanwhile is left alone."""
    host.with_clock()
    host.injected("skew-clock", seconds)
    offset = host.fake / "offset"
    assert abs(int(offset.read_text()) - seconds * 1000) < 500
    assert host.observe() == "present"
    assert host.revert() == ("reverted",)
    assert abs(int(offset.read_text())) < 500
    host.injected("skew-clock", seconds)
    offset.write_text("3\n")
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)
    assert offset.read_text() == "3\n"


# --- the host itself -----------------------------------------------------------------------------------------------------


def test_a_host_goes_down_only_with_a_way_back(host: FaultyHost) -> None:
    """With a restart named and sshd enabled, the kernel is asked for one, a second after the answer."""
    trigger = host.root / "proc/sysrq-trigger"
    trigger.parent.mkdir()
    trigger.touch()
    assert "sshd is not enabled" in host.arm("stop-host", "reboot").lines[0]
    (host.fake / "enabled/ssh.service").touch()
    host.program("sync", "#!/bin/sh\n")
    host.injected("stop-host", "reboot")
    assert trigger.read_text() == ""
    assert host.observe() == "present"
    assert until(lambda: trigger.read_text() == "b\n")
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)


def test_a_container_is_not_brought_down_from_within(host: FaultyHost) -> None:
    """What runs the container must stop it: the script would hit the machine."""
    (host.fake / "container-host").touch()
    assert host.arm("stop-host", "reboot").lines[0].startswith("refused this host is a container")


# --- queues: this needs a kernel with netem, so `tc` is a stand-in ---------------------------------------------------------

_TC = """#!/bin/sh
echo "tc $*" >>"$FAKE/log"
case "$*" in
  "qdisc show dev eth9") cat "$FAKE/queue" ;;
  "qdisc add dev eth9 root handle 1fa0: "*) echo "qdisc prio 1fa0: root refcnt 2" >"$FAKE/queue" ;;
  "qdisc add dev eth9 parent"*) [ ! -e "$FAKE/no-child" ] ;;
  "qdisc del dev eth9 root") echo "qdisc pfifo_fast 0: root refcnt 2" >"$FAKE/queue" ;;
esac
"""


def with_netem(host: FaultyHost, queue: str = "qdisc pfifo_fast 0: root refcnt 2") -> None:
    host.program("tc", _TC)
    host.program("unshare", '#!/bin/sh\nshift\nexec "$@"\n')
    host.program("ip", '#!/bin/sh\necho "198.18.9.2 via 198.18.0.1 dev eth9 src 198.18.9.1 uid 0"\n')
    (host.fake / "queue").write_text(f"{queue}\n")


def test_packets_to_the_peers_wait_and_ssh_does_not(host: FaultyHost) -> None:
    """One queue for each device that leads to a peer; its slow band is for the peers, and SSH is sorted out before."""
    with_netem(host)
    host.injected("latency", 150, "198.18.9.2", "198.18.9.3")
    said = [x for x in host.log if x.startswith("tc") and " eth9 " in x and " show " not in x]
    assert said[1] == "tc qdisc add dev eth9 parent 1fa0:4 handle 1fa1: netem delay 150ms"
    ssh = "tc filter add dev eth9 parent 1fa0: protocol ip prio 1 u32 match ip protocol 6 0xff match ip"
    peer = "tc filter add dev eth9 parent 1fa0: protocol ip prio 2 u32 match ip dst"
    assert f"{ssh} dport 22 0xffff flowid 1fa0:1" in said
    assert f"{ssh} sport 22 0xffff flowid 1fa0:1" in said
    assert said[-2:] == [f"{peer} 198.18.9.2/32 flowid 1fa0:4", f"{peer} 198.18.9.3/32 flowid 1fa0:4"]
    assert host.observe() == "present"
    for _ in range(2):
        assert host.revert() == ("reverted",)
    assert [x for x in host.log if " del " in x] == ["tc qdisc del dev eth9 root"]


def test_a_queue_that_was_begun_is_taken_back(host: FaultyHost) -> None:
    """An injection that fails half way undoes itself and says so; the timer stays, and list knows of it."""
    with_netem(host)
    (host.fake / "no-child").touch()
    assert host.arm("latency", 150, "198.18.9.2").lines == ("armed",)
    said = host.say("inject", host.id)
    assert (said.code, said.lines) == (3, ("failed latency did not take; what there was of it is undone",))
    assert host.observe() == "absent"
    assert host.revert() == ("reverted",)


def test_a_queue_of_somebody_else_is_not_replaced(host: FaultyHost) -> None:
    """A device with a queue that an administrator made is left alone: it could not be put back."""
    with_netem(host, "qdisc htb 1: root refcnt 2 r2q 10")
    assert "eth9 has a queue of somebody else's" in host.arm("latency", 150, "198.18.9.2").lines[0]
