"""The operator's own SSH files, read as ssh reads them; what is broken in one is told with its file and line."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from ...core.model.cluster import SshDefaults
from ..disk.paths import why_unread

if TYPE_CHECKING:  # paramiko costs 80 ms, which bad input need not wait for
    from paramiko import HostKeys

_USUAL = ("~/.ssh/config", "/etc/ssh/ssh_config")
_MEND = "mend the line (`ssh -G HOST` shows what ssh makes of it), or name another file: defaults.ssh_config"


def ssh_config(ssh: SshDefaults) -> Any:
    """Fabric's configuration with the files that hosts.yml wants. InputError for what is no ssh_config."""
    from fabric import Config
    from paramiko import SSHConfig

    if not ssh.use_config:
        return Config(ssh_config=SSHConfig())
    try:
        return Config(ssh_config=SSHConfig.from_path(str(ssh.config))) if ssh.config else Config()
    except Exception as error:  # paramiko's parser lets other errors than its own out, too
        for file in [ssh.config] if ssh.config else [Path(name).expanduser() for name in _USUAL]:
            if ssh.config or file.exists():
                _refuse(file, lambda lines: SSHConfig.from_text("\n".join(lines)), _MEND)
        what = f"the configuration of SSH or Fabric cannot be read: {error}"
        raise InputError([what], "look into ~/.ssh/config and ~/.fabric.*") from error


def host_keys(file: Path) -> HostKeys:
    """A known_hosts file, none where there is none. InputError for a line that holds no key where one should be."""
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
        _refuse(file, parse, hint)
        raise InputError([f"{file}: {error}"], hint) from error


def _refuse(file: Path, parse: Callable[[list[str]], object], hint: str) -> None:
    """InputError that names the first line up to which the file cannot be read; none where all of it can."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        why, remedy = why_unread(file, error)
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
