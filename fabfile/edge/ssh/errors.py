"""Why a connection failed, in one line that an operator can act on."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from ...core.errors import HostError, HostKeyError
from ...core.model.cluster import Host
from .exec_channel import GaveUp
from .known_hosts import ChangedKey, KeyRefused, RevokedKey, UnknownKey, fingerprint


@dataclass(frozen=True, slots=True)
class _Server:
    """The SSH server that failed: the host, or a jump host on the way to it."""

    host: Host
    name: str
    port: int
    user: str
    jump: bool

    def __str__(self) -> str:
        return f"{'the jump host ' if self.jump else ''}{_place(self)}"

    @property
    def address_key(self) -> str:
        """The setting that holds its address, for a hint."""
        if not self.jump:
            return f"`ssh:` of hosts.{self.host.name}"
        return f"`gateway:` of hosts.{self.host.name}" if self.host.gateway else "ProxyJump in ssh_config"

    @property
    def login_keys(self) -> str:
        """The settings that hold user and key, for a hint."""
        if not self.jump:
            return f"`user:` and `key:` of hosts.{self.host.name}"
        if self.host.gateway:
            return f"`gateway: USER@{self.name}` and `key:` of hosts.{self.host.name}"
        return f"User and IdentityFile of {self.name} in ssh_config"


def _place(server: Any) -> str:
    return f"[{server.name}]:{server.port}" if ":" in server.name else f"{server.name}:{server.port}"


def _server(host: Host, at: Any, jump: bool) -> _Server:
    if at is None:
        return _Server(host, host.ssh, host.port or 22, host.user or "", jump)
    return _Server(host, at.host, at.port, at.user if jump else host.user or "", jump)


def explain(host: Host, error: BaseException, at: Any = None, jump: bool = False) -> HostError:
    """Turns any error of connecting or running into a HostError with a hint.

    at: Fabric's connection that failed, where it is known; jump: whether that one goes to a jump host
    """
    from paramiko import AuthenticationException, ChannelException, SSHException

    from .login import TooManyKeys

    if isinstance(error, HostError):
        return error
    server = _server(host, at, jump)
    if isinstance(error, KeyRefused):
        return _key_fault(host, error, server)
    if isinstance(error, GaveUp):
        return HostError(host.name, f"what was run there {error}; it was given up",
                         f"is the host hung, or does its login shell print by itself? ssh {server.name} true")  # fmt: skip
    if isinstance(error, TooManyKeys):
        return _too_many_keys(host, error.offered, server)
    if isinstance(error, AuthenticationException):
        return _login_fault(host, error, server)
    if isinstance(error, ChannelException) and at is not None and at.gateway:
        return _jump_fault(host, error, server, _server(host, at.gateway, jump=True))
    return _network(host, error, server) or HostError(
        host.name, f"{server}: {str(error) or type(error).__name__}",
        "" if isinstance(error, SSHException) else "the connection was lost; run the command again",
    )  # fmt: skip


def _login_fault(host: Host, error: BaseException, server: _Server) -> HostError:
    skipped = getattr(error, "skipped", ())
    why = str(error).lower().rstrip(".") or "no key was accepted"
    if getattr(error, "offered", 1) == 0:
        why = "there was no key to offer"
    hint = f"set {server.login_keys}, or load the key into your agent; try: ssh {server.user or 'USER'}@{server.name}"
    if skipped:
        hint = f"{'; '.join(skipped)}; or set {server.login_keys}"
    return HostError(host.name, f"{server} refused {server.user or 'your user'} ({why})", hint)


def _too_many_keys(host: Host, offered: int, server: _Server) -> HostError:
    if offered == 1:
        hint = f"are you shut out there (fail2ban, MaxAuthTries)? Else set {server.login_keys}"
        return HostError(host.name, f"{server} ended the login after one key", hint)
    who = server.user or "your user"
    what = f"{server} ended the login of {who} after {offered} keys: too many keys were offered"
    where = f"`key:` of hosts.{host.name}" if not server.jump or host.gateway else "IdentityFile in ssh_config"
    return HostError(host.name, what, f"name one with {where}; it is offered first")


def _key_fault(host: Host, error: KeyRefused, server: _Server) -> HostKeyError:
    whose = f"{'jump host: ' if server.jump else ''}the SSH key of {error.hostname}"
    offered = f"{error.key.get_name()} {fingerprint(error.key)}"
    if isinstance(error, RevokedKey):
        return HostKeyError(host.name, f"{whose} is refused: {error.where} ({offered})",
                            "give the host a new key; where it was revoked by mistake, mend that file")  # fmt: skip
    if isinstance(error, ChangedKey):
        return HostKeyError(
            host.name, f"{whose} has CHANGED: pinned {error.expected}, offered {fingerprint(error.key)}",
            f"somebody may be in between. If the host was reinstalled: inv trust --hosts {host.name} --replace",
        )  # fmt: skip
    hint = f"compare the fingerprint with the host's console, then pin it: inv trust --hosts {host.name}"
    if isinstance(error, UnknownKey) and error.by_authority:
        hint = f"certificates of hosts (@cert-authority) are not read here; {hint}"
    if isinstance(error, UnknownKey) and error.unreadable:
        hint = f"{error.unreadable} names it, with a key that cannot be read; {hint}"
    return HostKeyError(host.name, f"{whose} is unknown ({offered})", hint)


def _jump_fault(host: Host, error: Any, server: _Server, jump_host: _Server) -> HostError:
    """The jump host answers, but opens no connection to the next server."""
    if error.code == 1:  # administratively prohibited (RFC 4254, 5.1)
        hint = "its sshd needs: AllowTcpForwarding yes"
        return HostError(host.name, f"{jump_host} forbids to go on to {server}", hint)
    return HostError(
        host.name, f"{jump_host} cannot reach {server} ({error.text.lower()})",
        f"is it up, and sshd running there? The jump host itself must reach what {server.address_key} says",
    )  # fmt: skip


def _network(host: Host, error: BaseException, server: _Server) -> HostError | None:
    at = server.address_key
    if isinstance(error, socket.gaierror):
        return HostError(host.name, f"the name {server.name} cannot be resolved", f"check {at}")
    if "banner" in str(error) or "No existing session" in str(error):
        port = at if server.jump else f"`port:` of hosts.{host.name}"
        # since OpenSSH 9.8 sshd says in its banner's place: Not allowed at this time
        return HostError(host.name, f"{server} accepts connections but does not speak SSH",
                         f"is sshd on another port ({port}), or is the host hung? After failed logins an sshd of Debian 13 "
                         "and the like turns your address away for a while: then wait half a minute")  # fmt: skip
    if isinstance(error, ConnectionRefusedError) or "Unable to connect to port" in str(error):
        hint = "is the host up, and sshd running there?"
        return HostError(host.name, f"{server} is closed or cannot be reached", hint)
    if isinstance(error, TimeoutError) or "Timeout opening channel" in str(error):
        return HostError(host.name, f"{server} did not answer in time", "is the host up, and is a firewall in the way?")
    if isinstance(error, OSError) and error.errno in (101, 113):  # ENETUNREACH, EHOSTUNREACH
        check = at if server.jump else f"`ssh:` and `gateway:` of hosts.{host.name}"
        return HostError(host.name, f"there is no route to {server}", f"check {check}")
    if isinstance(error, FileNotFoundError):
        return _missing_file(host, str(error.filename))
    return None


def _missing_file(host: Host, file: str) -> HostError:
    if file == str(host.key):
        return HostError(host.name, f"{file}: no such key file", f"check `key:` of hosts.{host.name}")
    return HostError(host.name, f"{file}: no such file", "check IdentityFile and ProxyCommand in ssh_config")
