"""A host in a temporary folder for the script `fault`: real processes, files and signals; systemd and Docker are small
stand-ins.

The stand-ins keep a unit's main process id in FAKE/units/UNIT, a timer in FAKE/timers/UNIT, and each call in FAKE/log.
A timer really waits and really runs its command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.script_host import Outcome, call, make_root, state_of
from tests.support.stand_ins import script_file

_SYSTEMCTL = """#!/bin/sh
echo "systemctl $*" >>"$FAKE/log"
verb=$1; shift
alive() { pid=$(cat "$FAKE/units/$1" 2>/dev/null) && [ "$pid" != 0 ] && kill -0 "$pid" 2>/dev/null; }
for unit in "$@"; do :; done
case "$verb" in
  show)
    case "$1" in
      --property=LoadState) if [ -f "$FAKE/units/$unit" ]; then echo loaded; else echo not-found; fi ;;
      --property=ActiveState) if alive "$unit"; then echo active; else echo inactive; fi ;;
      --property=Result) cat "$FAKE/result" 2>/dev/null || echo success ;;
      --property=MainPID) cat "$FAKE/units/$unit" 2>/dev/null || echo 0 ;;
      *) echo ;;
    esac ;;
  is-active) [ -f "$FAKE/timers/$unit" ] || alive "$unit" ;;
  is-enabled) [ -f "$FAKE/enabled/$unit" ] ;;
  kill) kill "-${1#--signal=}" "$(cat "$FAKE/units/$unit")" ;;
  reload) [ ! -e "$FAKE/fragile" ] || kill -s KILL -- "-$(cat "$FAKE/units/$unit")" ;;
  restart)
    if alive "$unit"; then kill -s KILL -- "-$pid"; fi
    if grep -qs "this is no configuration" "$FAKE/../root/etc/nexus/"*.json; then
      echo 0 >"$FAKE/units/$unit"; echo exit-code >"$FAKE/result"
    else
      rm -f "$FAKE/result"
      setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >"$FAKE/units/$unit"
    fi ;;
  start) setsid sleep 300 </dev/null >/dev/null 2>&1 & echo $! >"$FAKE/units/$unit" ;;
  stop)
    for unit in "$@"; do
      case "$unit" in docker.service) rm -f "$FAKE"/up/* ;; esac
      rm -f "$FAKE/timers/$unit"
      if alive "$unit"; then kill -s KILL -- "-$pid"; echo 0 >"$FAKE/units/$unit"; fi
    done ;;
  list-units) ls "$FAKE/timers" | sed 's/$/ loaded active waiting/' ;;
esac
"""
_SYSTEMD_RUN = """#!/bin/sh
echo "systemd-run $*" >>"$FAKE/log"
[ ! -e "$FAKE/broken" ] || { echo "Failed to connect to bus" >&2; exit 1; }
after= unit=
while :; do
  case "$1" in
    --on-active=*) after=${1#*=} ;;
    --unit=*) unit=${1#*=} ;;
    --*) ;;
    *) break ;;
  esac
  shift
done
if [ -n "$after" ]; then
  [ -e "$FAKE/deaf" ] || : >"$FAKE/timers/$unit.timer"
  setsid sh -c 'n=$1; f=$2; shift 2; sleep "$n"; if [ -e "$f" ]; then rm "$f"; exec "$@"; fi' x \\
    "$after" "$FAKE/timers/$unit.timer" "$@" </dev/null >>"$FAKE/timed" 2>&1 &
else
  setsid "$@" </dev/null >/dev/null 2>&1 & echo $! >"$FAKE/units/$unit.service"
fi
"""
# FAKE/others has a file for each container of somebody else's: its name, AutoRemove, Paused; FAKE/up one for each that runs.
_DOCKER = """#!/bin/sh
echo "docker $*" >>"$FAKE/log"
pid=$(cat "$FAKE/container" 2>/dev/null)
for last in "$@"; do :; done
case "$1" in
  ps)
    echo "0 nexus-svc-web"
    for up in "$FAKE"/up/*; do
      [ -e "$up" ] && read -r name _ <"$FAKE/others/${up##*/}" && echo "${up##*/} $name"
    done
    exit 0 ;;
  start) : >"$FAKE/up/$last"; exit ;;
  container)
    if [ -e "$FAKE/others/$last" ]; then
      read -r _ remove paused <"$FAKE/others/$last"
      case "$4" in
        *AutoRemove*) echo "$remove $paused" ;;
        *) if [ -e "$FAKE/up/$last" ]; then echo true; else echo false; fi ;;
      esac
      exit
    fi
    case "$last" in nexus-svc-*) ;; *) echo "No such container: $last" >&2; exit 1 ;; esac ;;
esac
case "$1" in
  container)
    case "$3" in
      -f) case "$4" in *Running*) [ -n "$pid" ] && echo true || echo false ;;
            *) [ -e "$FAKE/paused" ] && echo true || echo false ;; esac ;;
      *Running*) [ -n "$pid" ] && echo true || echo false ;;
    esac ;;
  kill) kill -KILL "$pid" ;;
  pause) : >"$FAKE/paused" ;;
  unpause) rm -f "$FAKE/paused" ;;
  version) [ "$(cat "$FAKE/units/docker.service")" != 0 ] ;;
esac
"""
_DATE = """#!/bin/sh
off=$(cat "$FAKE/offset" 2>/dev/null || echo 0)
if [ "$1" = -s ]; then
  to=${2#@}
  echo $((${to%.*} * 1000 + 1${to#*.} - 1000 - $(/bin/date +%s%3N))) >"$FAKE/offset"
else
  echo $(($(/bin/date +%s%3N) + off))
fi
"""
_DETECT = '#!/bin/sh\ntest -e "$FAKE/container-host"\n'


class FaultyHost:
    """`say` runs the script under one shell on this host. script: the file, which finds the stand-ins first.

    told: what the last injection said of its consequences.
    """

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell, self.root, self.fake = shell, make_root(folder / "root"), folder / "fake"
        state_of(self.root).mkdir(mode=0o700, parents=True)
        for name in ("bin", "units", "timers", "enabled", "others", "up"):
            (self.fake / name).mkdir(parents=True)
        stand_ins = {"systemctl": _SYSTEMCTL, "systemd-run": _SYSTEMD_RUN, "docker": _DOCKER,
                     "systemd-detect-virt": _DETECT}  # fmt: skip
        for name, text in stand_ins.items():
            self.program(name, text)
        self.script = script_file("fault", folder, self.fake / "bin")
        self.env = {"FAKE": str(self.fake)}
        self.id = uuid.uuid4().hex[:12]  # what burns and eats is known by it, machine-wide
        self.spawned: list[subprocess.Popen[bytes]] = []
        self.told = ""

    def program(self, name: str, text: str) -> None:
        path = self.fake / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def with_clock(self) -> None:
        self.program("date", _DATE)

    def say(self, *words: object) -> Outcome:
        return call(self.shell, self.script, self.root, *words, env=self.env)

    def arm(self, fault: str, *words: object, ttl: int = 60) -> Outcome:
        return self.say("arm", self.id, fault, ttl, *words)

    def injected(self, fault: str, *words: object, ttl: int = 60) -> None:
        """Armed and injected, or the test ends here."""
        assert self.arm(fault, *words, ttl=ttl).lines == ("armed",)
        [said] = self.say("inject", self.id).lines
        assert said.split(" ", 1)[0] == "injected"
        self.told = said.removeprefix("injected").strip()

    def observe(self) -> str:
        return self.say("observe", self.id).lines[0]

    def revert(self) -> tuple[str, ...]:
        return self.say("revert", self.id).lines

    def unit(self, name: str, *argv: str) -> int:
        """Starts a process (300 s of sleep) as the main process of the unit."""
        process = subprocess.Popen([*argv] or ["sleep", "300"], start_new_session=True)
        self.spawned.append(process)
        (self.fake / "units" / name).write_text(f"{process.pid}\n")
        return process.pid

    def container(self, id_: str, name: str, remove: bool = False, paused: bool = False) -> None:
        """A container of somebody else's, which runs."""
        (self.fake / "others" / id_).write_text(f"{name} {remove} {paused}\n".lower())
        (self.fake / "up" / id_).touch()

    @property
    def up(self) -> set[str]:
        """The ids of the others' containers that run."""
        return {path.name for path in (self.fake / "up").iterdir()}

    def pid(self, unit: str) -> int:
        return int((self.fake / "units" / unit).read_text())

    def reap(self) -> None:
        for process in self.spawned:
            process.poll()

    @property
    def folder(self) -> Path:
        return state_of(self.root) / "faults" / self.id

    @property
    def log(self) -> list[str]:
        path = self.fake / "log"
        return path.read_text().splitlines() if path.exists() else []

    def end(self) -> None:
        for timer in (self.fake / "timers").iterdir():
            timer.unlink()
        pids = [p.pid for p in self.spawned if p.poll() is None]
        pids += [int(u.read_text()) for u in (self.fake / "units").iterdir()]
        for pid in {p for p in pids if p > 1 and _is_ours(p, self)}:
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        for process in self.spawned:
            process.wait()


def _is_ours(pid: int, host: FaultyHost) -> bool:
    """Not a pid that was given away since: a child of ours, or a stand-in's `sleep` or fault.sh."""
    with suppress(OSError):
        argv = Path(f"/proc/{pid}/cmdline").read_bytes()
        return pid in {p.pid for p in host.spawned} or b"sleep\x00300" in argv or str(host.root).encode() in argv
    return False


def state_of_process(pid: int) -> str:
    """R, S, T, …; empty where there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return ""


def until(holds: object, seconds: float = 5.0) -> bool:
    """Whether the callable comes true in time."""
    assert callable(holds)
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def faulty_host(shell: str, folder: Path) -> Iterator[FaultyHost]:
    host = FaultyHost(shell, folder)
    try:
        yield host
    finally:
        host.end()
