"""The command line of each tool, and the check of its output. The peers have a virtual environment of their own."""

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
    """The `bin` folder of the peers' environment; created on first use, and again when the pins change."""
    venv = WORK / "venv"
    stamp = venv / ".stamp"
    if not stamp.exists() or stamp.read_bytes() != _PINS.read_bytes():
        say("bench: installing pyinfra and Ansible into an environment of their own")
        _run([sys.executable, "-m", "venv", "--clear", str(venv)])
        _run([str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet", "-r", str(_PINS)])
        stamp.write_bytes(_PINS.read_bytes())
    return venv / "bin"


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise NexusError(f"{' '.join(argv[:4])} …: {lines[-1]}")
    return done.stdout


def versions(binaries: Path) -> str:
    """`pyinfra 3.10.0, ansible-core 2.19.14, Python 3.11.7`."""
    script = "from importlib.metadata import version as v; import platform as p; "
    script += "print(f\"pyinfra {v('pyinfra')}, ansible-core {v('ansible-core')}, Python {p.python_version()}\")"
    return _run([str(binaries / "python"), "-c", script]).strip()


def inv(name: str, arguments: Sequence[str], inventory: Path, check: Check, state: Path | None = None) -> Tool:
    """Ours, through the launcher. `state`: the state folder, where it is not beside the inventory."""
    env = {"NEXUS_STATE": str(state)} if state else {}
    return Tool(name, (str(ROOT / "inv"), *arguments, "--inventory", str(inventory)), ROOT, check, env)


def pyinfra(targets: Sequence[Target], state: EndState, binaries: Path, work: Path, changing: bool) -> Tool:
    """pyinfra's default parallelism (20 hosts for each CPU). -y is its fastest mode: no dry pass first."""
    inventory = work / "pyinfra_inventory.py"
    inventory.write_text(pyinfra_inventory(targets, state.binary, state.host_files))
    argv = (str(binaries / "pyinfra"), "-y", str(inventory), str(_PEERS / "pyinfra_deploy.py"))
    expected = sum(state.host_files[t.files.name].operations for t in targets)
    return Tool(PYINFRA, argv, work, pyinfra_check(expected, changing))


def ansible(
    targets: Sequence[Target], state: EndState, binaries: Path, work: Path, sockets: Path, changing: bool
) -> Tool:
    """Pipelining, a fork for each host, ControlPersist. Connections of the previous run are closed first."""
    inventory = work / "ansible_inventory.json"
    inventory.write_text(ansible_inventory(targets, state.binary, state.host_files))
    argv = (str(binaries / "ansible-playbook"), "-i", str(inventory), str(_PEERS / "ansible_playbook.yml"))
    env = {
        "ANSIBLE_CONFIG": str(_PEERS / "ansible.cfg"),
        "ANSIBLE_HOME": str(work / "ansible"),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(sockets),
        "PATH": f"{binaries}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C.UTF-8",
    }
    check = ansible_check(len(targets), changing)
    return Tool(ANSIBLE, argv, work, check, env, before=lambda: _close_connections(sockets))


def _close_connections(sockets: Path) -> None:
    for socket in sockets.iterdir():
        subprocess.run(["ssh", "-o", f"ControlPath={socket}", "-O", "exit", "x"], capture_output=True, check=False)


def prints(text: str, codes: Sequence[int] = (0,)) -> Check:
    """A check: the tool ends with one of these exit codes, and prints this text."""

    def check(code: int, output: str) -> str:
        if code not in codes:
            return f"exit code {code}: {last_line(output)}"
        return "" if text in output else f"did not print {text!r}: {last_line(output)}"

    return check


def pyinfra_check(expected: int, changing: bool) -> Check:
    """A check: all `expected` operations ran, and some changed something exactly if `changing`."""

    def check(code: int, text: str) -> str:
        if code:
            return f"exit code {code}: {last_line(text)}"
        done, changed, failed = pyinfra_totals(text)
        if failed or done != expected:
            return f"{done} operations of {expected}, {failed} failed"
        return "" if (changed > 0) == changing else f"{changed} operations changed something"

    return check


def pyinfra_totals(text: str) -> tuple[int, int, int]:
    """Numbers of all, changing and failed operations, from pyinfra's closing table."""
    found = re.search(r"Grand total +(\S+) +(\S+) +(\S+) +(\S+)", text)
    cells = [0 if cell == "-" else int(cell) for cell in found.groups()] if found else [0, 0, 0, 0]
    return cells[0], cells[1], cells[2]


def ansible_check(hosts: int, changing: bool) -> Check:
    """A check: the recap has every host, none failed, and some tasks changed something exactly if `changing`."""

    def check(code: int, text: str) -> str:
        if code:
            return f"exit code {code}: {last_line(text)}"
        changes = [int(n) for n in re.findall(r"ok=\d+ +changed=(\d+)", text)]
        if len(changes) != hosts:
            return f"{len(changes)} of {hosts} hosts are in its recap"
        changed = sum(changes)
        return "" if (changed > 0) == changing else f"{changed} tasks changed something"

    return check


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"
