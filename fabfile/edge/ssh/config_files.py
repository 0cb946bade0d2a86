"""The operator's own SSH files, read as ssh reads them; an error names the file and the broken line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config.fault import shown
from ...core.errors import InputError
from ...core.model.cluster import SshDefaults
from ..disk.paths import read_fault

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import HostKeys

_DEFAULT_FILES = ("~/.ssh/config", "/etc/ssh/ssh_config")
_HINT = "mend the line (`ssh -G HOST` shows what ssh makes of it), or name another file: defaults.ssh_config"


def ssh_config(ssh: SshDefaults) -> Any:
    """Fabric's configuration, with the ssh_config that hosts.yml names. InputError when that is not valid."""
    from fabric import Config
    from paramiko import SSHConfig

    if not ssh.use_config:
        return Config(ssh_config=SSHConfig())
    try:
        return Config(ssh_config=SSHConfig.from_path(str(ssh.config))) if ssh.config else Config()
    except Exception as error:  # paramiko's parser also raises errors of other libraries
        for file in [ssh.config] if ssh.config else [Path(name).expanduser() for name in _DEFAULT_FILES]:
            if ssh.config or file.exists():
                _raise_at_bad_line(file, lambda lines: SSHConfig.from_text("\n".join(lines)), _HINT)
        what = f"the configuration of SSH or Fabric cannot be read: {error}"
        raise InputError([what], "look into ~/.ssh/config and ~/.fabric.*") from error


def host_keys(file: Path) -> HostKeys:
    """The keys of a known_hosts file; no keys when there is no such file. InputError for a line that is not valid."""
    from paramiko import HostKeys, SSHException
    from paramiko.hostkeys import HostKeyEntry

    def parse(lines: list[str]) -> None:
        if not lines[-1].startswith("#"):
            with suppress(SSHException):  # HostKeys skips these lines itself
                HostKeyEntry.from_line(lines[-1])

    try:
        return HostKeys(str(file)) if file.is_file() else HostKeys()
    except Exception as error:  # as above
        hint = "mend or delete the line; inv trust pins the key of a host anew"
        _raise_at_bad_line(file, parse, hint)
        raise InputError([f"{file}: {error}"], hint) from error


def _raise_at_bad_line(file: Path, parse: Callable[[list[str]], object], hint: str) -> None:
    """InputError with the number of the first line at which `parse` fails; returns when all of the file is valid.

    `parse` gets the lines up to and including the one in question.
    """
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        why, remedy = read_fault(file, error)
        raise InputError([f"{file}: {why}"], remedy or hint) from None
    read: list[str] = []
    for number, line in enumerate(lines, 1):
        try:
            read.append(line.decode().strip())
            parse(read)
        except UnicodeError:
            raise InputError([f"{file}:{number}: is not UTF-8 text"], hint) from None
        except Exception:
            raise InputError([f"{file}:{number}: cannot be read: {shown(read[-1])}"], hint) from None
