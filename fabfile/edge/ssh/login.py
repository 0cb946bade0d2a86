"""Logs in with keys, in ssh's manner: named ones first, then the agent's others, then ssh's usual files.

paramiko offers whatever the agent has before it looks at anything else, and goes on when sshd has hung up.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from paramiko import AuthenticationException, BadAuthenticationType, PKey, SSHException, Transport
from paramiko.agent import Agent, AgentKey, AgentSSH
from paramiko.ssh_exception import PasswordRequiredException

_MOST = 20  # keys: sshd ends the login after 6 (MaxAuthTries) unless told otherwise
_AGENT_TIMEOUT = 10.0  # seconds; an agent answers at once, or is gone
_USUAL = ("id_rsa", "id_ecdsa", "id_ed25519")


class TooManyKeys(SSHException):
    """The server ended the login, or we did, after this many keys."""

    def __init__(self, offered: int) -> None:
        super().__init__(f"{offered} keys")
        self.offered = offered


class NoKeyAccepted(AuthenticationException):
    """offered: how many keys the server refused; skipped: those that could not be offered, and why."""

    def __init__(self, offered: int, skipped: Sequence[str]) -> None:
        super().__init__("no key was accepted")
        self.offered, self.skipped = offered, tuple(skipped)


class KeyLogin:
    """One login: `authenticate` is what paramiko calls an auth strategy.

    required: of hosts.yml, and must be there; named: of ssh_config, each may be missing; only: no others are offered;
    agent: its socket, "" for none, None for that of SSH_AUTH_SOCK
    """

    def __init__(
        self, user: str, required: Path | None, named: Sequence[Path], only: bool, agent: str | None
    ) -> None:
        self._user, self._required, self._only = user, required, only
        self._named = [*([required] if required else []), *named]
        self._agent = os.environ.get("SSH_AUTH_SOCK", "") if agent is None else agent
        self._skipped: list[str] = []

    def authenticate(self, transport: Transport) -> None:
        """AuthenticationException when no key was accepted; FileNotFoundError for the required one."""
        if self._required and not self._required.exists() and not _public_part(self._required):
            raise FileNotFoundError(2, "no such key file", str(self._required))
        offered = 0
        agent = _open_agent(self._agent)
        try:
            for key in self._keys(agent.get_keys() if agent else ()):
                if offered == _MOST:
                    raise TooManyKeys(offered)
                offered += 1
                if self._accepts(transport, key):
                    return
                if not transport.is_active():
                    raise TooManyKeys(offered)
        finally:
            if agent:
                agent.close()
        raise NoKeyAccepted(offered, self._skipped)

    def _accepts(self, transport: Transport, key: PKey) -> bool:
        try:
            more = transport.auth_publickey(self._user, key)
        except BadAuthenticationType:
            raise
        except AuthenticationException as error:
            if "timeout" in str(error):
                raise
            return False
        except SSHException:  # no signature that both sides know
            return False
        if more:
            raise AuthenticationException(f"it wants more than a key: {', '.join(more)}")
        return True

    def _keys(self, held: Sequence[AgentKey]) -> Iterator[PKey]:
        """The keys to offer, each once."""
        by_blob = {key.asbytes(): key for key in held}
        public = {file: _public_part(file) for file in self._named}
        done: set[bytes] = set()

        def new(key: PKey | None) -> Iterator[PKey]:
            if key is not None and key.asbytes() not in done:
                done.add(key.asbytes())
                yield key

        for file in self._named:
            key = by_blob.get(public[file] or b"")
            yield from new(key if key is not None else self._loaded(file))
        if not self._only:
            for key in held:
                yield from new(key)
        if not self._named:
            for file in (Path("~/.ssh").expanduser() / name for name in _USUAL):
                blob = _public_part(file)
                if blob in by_blob:
                    yield from new(by_blob[blob])
                elif blob is None or blob not in done:
                    yield from new(self._loaded(file))

    def _loaded(self, file: Path) -> PKey | None:
        """None for one that cannot be used: it is noted why, but for a file that is not there."""
        if not file.exists():
            return None
        try:
            return PKey.from_path(str(file))
        except (PasswordRequiredException, TypeError):  # cryptography's word for it
            self._skipped.append(f"{file} has a passphrase: ssh-add {file}")
        except OSError as error:
            self._skipped.append(f"{file} cannot be read: {(error.strerror or str(error)).lower()}")
        except Exception as error:  # paramiko and its libraries raise many kinds
            self._skipped.append(f"{file} is no key that can be used here ({type(error).__name__})")
        return None


def _public_part(file: Path) -> bytes | None:
    """The public key beside a private one, or in the file itself."""
    for candidate in (file.with_name(f"{file.name}.pub"), file):
        with suppress(Exception):
            kind, base64 = candidate.read_text().split(None, 2)[:2]
            if kind.startswith(("ssh-", "ecdsa-", "sk-")):
                import binascii

                return binascii.a2b_base64(base64)
    return None


def _open_agent(path: str) -> Agent | None:
    """The agent at the socket, with its keys read; None where none answers."""
    if not path:
        return None
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(_AGENT_TIMEOUT)
        sock.connect(os.path.expanduser(path))
        return _AgentAt(sock)
    except (OSError, SSHException):
        sock.close()
        return None


class _AgentAt(Agent):
    """paramiko's agent, at a socket of our own choice."""

    def __init__(self, sock: Any) -> None:
        AgentSSH.__init__(self)
        self._connect(sock)  # type: ignore[attr-defined]  # the stubs leave it out
        sock.settimeout(None)  # a key may have to be touched
