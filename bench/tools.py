"""What each tool is asked to do, and how its answer is checked. The peers live in an environment of their own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.files import EndState
from bench.measure import Say, Tool
from bench.targets import Target, ansible_inventory, pyinfra_inventory
from fabfile.core.errors import NexusError

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".nexus" / "bench"
OURS, PYINFRA, ANSIBLE = "Nexus Ops", "pyinfra", "Ansible"
_PEERS = Path(__file__).parent / "peers"
_PINS = Path(__file__).with_name("requirements.txt")
Check = Callable[[int, str], str]


def environment(say: Say) -> Path:
    """The `bin` folder of the peers' environment, made on first use and whenever the pins changed."""
    venv = WORK / "venv"
    stamp = venv / ".stamp"
    if not stamp.exists() or stamp.read_bytes() != _PINS.read_bytes():
        say("bench: installing pyinfra and Ansible into an environment of their own")
        _must([sys.executable, "-m", "venv", "--clear", str(venv)])
        _must([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(_PINS)])
        stamp.write_bytes(_PINS.read_bytes())
    return venv / "bin"


def _must(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NexusError(f"{' '.join(argv[:4])} …: {words[-1]}")
    return done.stdout


def versions(binaries: Path) -> str:
    """`pyinfra 3.10.0, ansible-core 2.19.14, Python 3.11.7`."""
    ask = "from importlib.metadata import version as v; import platform as p; "
    ask += "print(f\"pyinfra {v('pyinfra')}, ansible-core {v('ansible-core')}, Python {p.python_version()}\")"
    return _must([str(binaries / "python"), "-c", ask]).strip()


def inv(name: str, words: Sequence[str], inventory: Path, check: Check, state: Path | None = None) -> Tool:
    """Ours, through the launcher. `state`: the operator's side state folder, where it is not the inventory's own."""
    env = {"NEXUS_STATE": str(state)} if state else {}
    return Tool(name, (str(ROOT / "inv"), *words, "--inventory", str(inventory)), ROOT, check, env)


def pyinfra(found: Sequence[Target], state: EndState, binaries: Path, work: Path, changing: bool) -> Tool:
    """pyinfra's own defaults for parallelism (20 hosts a CPU); -y is its fastest mode: no dry pass before."""
    inventory = work / "pyinfra_inventory.py"
    inventory.write_text(pyinfra_inventory(found, state.binary, state.wanted))
    argv = (str(binaries / "pyinfra"), "-y", str(inventory), str(_PEERS / "pyinfra_deploy.py"))
    due = sum(state.wanted[t.files.name].operations for t in found)
    return Tool(PYINFRA, argv, work, pyinfra_check(due, changing))


def ansible(found: Sequence[Target], state: EndState, binaries: Path, work: Path, sockets: Path, changing: bool) -> Tool:
    """Pipelining, a fork a host, ControlPersist; connections left by the run before are closed first."""
    inventory = work / "ansible_inventory.json"
    inventory.write_text(ansible_inventory(found, state.binary, state.wanted))
    argv = (str(binaries / "ansible-playbook"), "-i", str(inventory), str(_PEERS / "ansible_playbook.yml"))
    env = {
        "ANSIBLE_CONFIG": str(_PEERS / "ansible.cfg"),
        "ANSIBLE_HOME": str(work / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "PATH": f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    check = ansible_check(len(found), changing)
    return Tool(ANSIBLE, argv, work, check, env, before=lambda: _hang_up(sockets))


def _hang_up(sockets: Path) -> None:
    for socket in sockets.iterdir():
        subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], capture_output=True, check=False)


def says(word: str, codes: Sequence[int] = (0,)) -> Check:
    """A check: one of these exit codes, and this in its words."""

    def check(code: int, text: str) -> str:
        if code not in codes:
            return f"exit code {code}: {last_line(text)}"
        return "" if word in text else f"did not say {word!r}: {last_line(text)}"

    return check


def pyinfra_check(due: int, changing: bool) -> Check:
    """All `due` operations were done, and changed something only where they should."""

    def check(code: int, text: str) -> str:
        if code:
            return f"exit code {code}: {last_line(text)}"
        done, changed, failed = pyinfra_totals(text)
        if failed or done != due:
            return f"{done} operations of {due}, {failed} failed"
        return "" if (changed > 0) == changing else f"{changed} operations changed something"

    return check


def pyinfra_totals(text: str) -> tuple[int, int, int]:
    """Operations in all, those that changed something, those that failed, from pyinfra's closing table."""
    found = re.search(r"Grand total +(\S+) +(\S+) +(\S+) +(\S+)", text)
    cells = [0 if cell == "-" else int(cell) for cell in found.groups()] if found else [0, 0, 0, 0]
    return cells[0], cells[1], cells[2]


def ansible_check(hosts: int, changing: bool) -> Check:
    """Every host is in the recap and none failed, and tasks changed something only where they should."""

    def check(code: int, text: str) -> str:
        if code:
            return f"exit code {code}: {last_line(text)}"
        each = [int(n) for n in re.findall(r"ok=\d+ +changed=(\d+)", text)]
        if len(each) != hosts:
            return f"{len(each)} of {hosts} hosts are in its recap"
        changed = sum(each)
        return "" if (changed > 0) == changing else f"{changed} tasks changed something"

    return check


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it said nothing"
