"""Asks the operator's own ssh what its configuration says of a host: `ssh -G`, which knows every rule of ssh_config.

A process a host is asked for only where a file says something that matters here. Most operators' machines have a system
file that does not.
"""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
from functools import lru_cache
from pathlib import Path

from ...core.config.ssh_settings import Operator, SshSettings, read_settings
from ...core.errors import InputError, NexusError
from ...core.model.cluster import SshDefaults
from ..disk.paths import read_fault

TIME_LIMIT = 10.0  # seconds: `Match exec` runs a program, and may ask a network
_SYSTEM = Path("/etc/ssh/ssh_config")
_HINT = "mend the line (`ssh -G HOST` shows what ssh makes of it), or name another file: defaults.ssh_config"
_DEPTH = 16  # files that include each other, as in ssh
# Keywords that change nothing here; a file of them alone needs no process.
_WORDS = """
host sendenv setenv hashknownhosts addkeystoagent forwardagent forwardx11 forwardx11trusted serveraliveinterval
serveralivecountmax tcpkeepalive compression loglevel visualhostkey controlmaster controlpath controlpersist
gssapiauthentication gssapidelegatecredentials gssapikeyexchange stricthostkeychecking batchmode escapechar
passwordauthentication updatehostkeys checkhostip permitlocalcommand usekeychain ignoreunknown
"""
_WITHOUT_EFFECT = frozenset(_WORDS.split())
_AT_LINE = re.compile(r"^(?P<file>.+?):? line (?P<line>\d+): (?P<what>.*)", re.MULTILINE)


class NotSaid(NexusError):
    """ssh could not say how one host is reached; it knows of the others."""


def settings_of(ssh: SshDefaults, name: str, user: str | None, port: int | None) -> SshSettings:
    """What the configuration in force says of `name`. User and port of hosts.yml go first, as on ssh's command line.

    InputError: the file cannot be used, whatever the host, or it needs a program that is not there. NotSaid: of this host.
    """
    file = _file(ssh)
    if file is None:
        return SshSettings(name, user or "", port or 22)
    return _ask(file, name, user, port, (os.environ.get("HOME"), _state(file)))


def _file(ssh: SshDefaults) -> Path | str | None:
    """The file to ask of: "" for ssh's own choice; None where none says anything."""
    if not ssh.use_config:
        return None
    if ssh.config:
        _check_readable(ssh.config)
        return ssh.config if matters(ssh.config) else None
    home = Path("~").expanduser()
    own = home / ".ssh/config"
    files = [file for file in (own, _SYSTEM) if matters(file)]
    if not files:
        return None
    # ssh looks into the home of the password file, whatever $HOME says
    return "" if home == Path(pwd.getpwuid(os.getuid()).pw_dir) else files[0]


def _state(file: Path | str) -> tuple[object, ...]:
    """What changes with the file, for what is remembered of it."""
    files = [Path(file)] if file else [Path("~/.ssh/config").expanduser(), _SYSTEM]
    return tuple((found.stat().st_mtime_ns, found.stat().st_size) for found in files if found.is_file())


def _check_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        why, remedy = read_fault(file, error)
        raise InputError([f"{file}: {why}"], remedy or _HINT) from None


def matters(file: Path, depth: int = 0) -> bool:
    """Whether the file, or one that it includes, says anything that changes how a host is reached."""
    try:
        lines = file.read_bytes().decode("utf-8", "replace").splitlines()
    except OSError:
        return False
    for line in lines:
        word = re.match(r"\s*([^\s=\"#]+)[\s=]*(.*)", line)
        if word is None or line.count('"') % 2:
            if line.strip() and not line.lstrip().startswith("#"):
                return True
            continue
        keyword = word[1].lower()
        if keyword == "include":
            if depth >= _DEPTH or any(matters(found, depth + 1) for found in _included(file, word[2])):
                return True
        elif keyword not in _WITHOUT_EFFECT or not word[2]:
            return True
    return False


def _included(file: Path, words: str) -> list[Path]:
    base = _SYSTEM.parent if file.is_relative_to(_SYSTEM.parent) else Path("~/.ssh").expanduser()
    patterns = [os.path.expanduser(word.strip('"')) for word in words.split()]
    return [Path(found) for pattern in patterns for found in glob.glob(str(base / pattern))]


@lru_cache(maxsize=4096)
def _ask(file: Path | str, name: str, user: str | None, port: int | None, _state: object) -> SshSettings:
    """Once a host. A failure is not kept."""
    program = shutil.which("ssh")
    if program is None:
        where = file or "~/.ssh/config"
        what = f"{where}: only ssh itself can say what it means, and there is no `ssh` on this machine"
        raise InputError([what], "install OpenSSH's client, or do without such a file: `ssh_config: none` under defaults")
    argv = [program, "-G", *(["-F", str(file)] if file else []), *(["-l", user] if user else [])]
    argv += ["-p", str(port)] if port else []
    code, out, err = _run([*argv, "--", name], name)
    if code and "jumphost loop" in err:  # a jump host that `Host *` sends over itself: it is reached without
        code, out, err = _run([*argv, "-o", "ProxyJump=none", "--", name], name)
    if code:
        raise _fault(name, err)
    try:
        return read_settings(name, out, _operator())
    except ValueError as error:
        raise NotSaid(f"`ssh -G {name}` cannot be read: {error}", "which ssh is it? ssh -V") from error


def _run(argv: list[str], name: str) -> tuple[int, str, str]:
    """Exit code and output. What `Match exec` started ends with it."""
    with subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            out, err = process.communicate(timeout=TIME_LIMIT)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                what = f"`ssh -G {name}` did not end within {TIME_LIMIT:.0f} s"
                raise NotSaid(what, "does a `Match exec` of ssh_config hang?") from None
            raise
    return process.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


def _fault(name: str, err: str) -> NexusError:
    """The lines that ssh names are faults of the file; anything else is of this host."""
    faults = [f"{found['file']}:{found['line']}: {found['what']}" for found in _AT_LINE.finditer(err)]
    if faults:
        return InputError(faults, _HINT)
    last = next((line for line in reversed(err.strip().splitlines()) if "terminating" not in line), "no reason given")
    if "permissions" in last.lower() or "bad owner" in last.lower():
        return InputError([last], _HINT)
    return NotSaid(f"what ssh_config says of {name} cannot be used: {last}", f"`ssh -G {name}` shows what applies")


def _operator() -> Operator:
    home = str(Path("~").expanduser())
    return Operator(home, getpass.getuser(), os.getuid(), socket.gethostname(), dict(os.environ))
