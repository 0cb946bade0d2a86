"""What ssh_config says of one host: the answer of `ssh -G`, as a value with ssh's tokens filled in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

KNOWN_HOSTS = ("~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts")
_DEFAULT_KEYS = re.compile(r"~/\.ssh/id_[a-z0-9_]+")


@dataclass(frozen=True, slots=True)
class Operator:
    """The operator's machine: home, user, uid and host name, for tokens; env: for ${NAME}."""

    home: str
    user: str
    uid: int
    machine: str
    env: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SshSettings:
    """How one host is reached. Empty or None: ssh_config does not say.

    jumps: the jump hosts in the order of the way; keys: named ones, without ssh's defaults; only_keys: no others are
    offered; agent: the agent's socket, "" for no agent; known_hosts, revoked: files; alias: its name in known_hosts
    """

    hostname: str
    user: str = ""
    port: int = 22
    jumps: tuple[str, ...] = ()
    proxy_command: str = ""
    keys: tuple[Path, ...] = ()
    only_keys: bool = False
    agent: str | None = None
    connect_timeout: int | None = None
    known_hosts: tuple[Path, ...] = tuple(Path(name).expanduser() for name in KNOWN_HOSTS)
    revoked: Path | None = None
    alias: str = ""


def read_settings(name: str, text: str, operator: Operator) -> SshSettings:
    """The settings of `name` from what `ssh -G` printed. ValueError: it is not that."""
    given: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        given.setdefault(key.lower(), []).append(value.strip())
    if "hostname" not in given:
        raise ValueError("ssh -G told no hostname")

    def first(key: str) -> str:
        value = given.get(key, [""])[0]
        return "" if value.lower() == "none" else value

    tokens = _tokens(name, first("hostname"), first("port") or "22", first("user"), first("hostkeyalias"), operator)

    def path(value: str) -> Path:
        return Path(_expanded(value, tokens, operator))

    named = given.get("identityfile", [])
    defaults = len(named) > 1 and all(_DEFAULT_KEYS.fullmatch(value) for value in named)
    known = [path(word) for key in ("userknownhostsfile", "globalknownhostsfile") for word in first(key).split()]
    jumps = [] if not first("proxyjump") else [hop.strip() for hop in first("proxyjump").split(",")]
    return SshSettings(
        first("hostname"), first("user"), int(first("port") or 22), tuple(jumps), _filled(first("proxycommand"), tokens),
        () if defaults else tuple(path(value) for value in named if value.lower() != "none"),
        first("identitiesonly") == "yes", _agent(given, tokens, operator),
        int(first("connecttimeout")) if first("connecttimeout").isdigit() else None,
        tuple(known), path(first("revokedhostkeys")) if first("revokedhostkeys") else None, first("hostkeyalias"),
    )  # fmt: skip


def split_jump(text: str) -> tuple[str | None, str, int | None]:
    """User, host and port of one jump host as `ssh -G` writes it, which may bracket any host. ValueError: it is none."""
    found = re.fullmatch(r"(?:ssh://)?(?:(.+)@)?(\[[^\[\]]+\]|[^@:\[\]]+|[0-9A-Fa-f:.]+)(?::([0-9]+))?/?", text)
    if found is None:
        raise ValueError(f"ProxyJump {text} is not [user@]host[:port]")
    return found[1], found[2].strip("[]"), int(found[3]) if found[3] else None


def _agent(given: Mapping[str, list[str]], tokens: Mapping[str, str], operator: Operator) -> str | None:
    value = given.get("identityagent", [""])[0]
    if value.lower() == "none":
        return ""
    if value in ("", "SSH_AUTH_SOCK"):
        return None
    if re.fullmatch(r"\$[A-Za-z_][A-Za-z0-9_]*", value):
        return operator.env.get(value[1:], "")
    return _expanded(value, tokens, operator)


def _tokens(name: str, hostname: str, port: str, user: str, alias: str, operator: Operator) -> dict[str, str]:
    """ssh_config(5), TOKENS: those that stand for something before the connection is made."""
    connection = hashlib.sha1(f"{operator.machine}{hostname}{port}{user}".encode(), usedforsecurity=False).hexdigest()
    return {
        "%": "%", "C": connection, "d": operator.home, "h": hostname, "i": str(operator.uid), "j": "",
        "k": alias or name, "L": operator.machine.partition(".")[0], "l": operator.machine, "n": name, "p": port,
        "r": user, "u": operator.user,
    }  # fmt: skip


def _filled(text: str, tokens: Mapping[str, str]) -> str:
    return re.sub(r"%(.)", lambda found: tokens.get(found[1], found[0]), text)


def _expanded(text: str, tokens: Mapping[str, str], operator: Operator) -> str:
    """A path of ssh_config: `~`, tokens, ${NAME}; a variable that is not set is left as it is, and no such file is there."""
    if text == "~" or text.startswith("~/"):
        text = operator.home.replace("%", "%%") + text[1:]
    text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", lambda found: operator.env.get(found[1], found[0]), text)
    return _filled(text, tokens)
