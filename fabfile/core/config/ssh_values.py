"""Checks of SSH destinations: a host, and a jump host before it. How a check reports: see `schema`."""

from __future__ import annotations

import re

from voluptuous import Invalid

from . import value_checks as v
from .checks import described

_DUE = "an address, DNS name or ssh_config alias"
_alias = v.matching(r"[A-Za-z0-9_][A-Za-z0-9._-]*", _DUE, 253)
_GATEWAY = re.compile(r"(?:([^@]*)@)?(\[[0-9A-Fa-f:.]+\]|[^@:\[\]]+)(?::([0-9]{1,5}))?")


@described(v.TEXT, "an IP address, a DNS name, or an alias of ssh_config")
def ssh_name(value: object) -> str:
    """Where ssh goes: an IP address in its normal form (without brackets), a DNS name or an alias of ssh_config."""
    text = v.text(value)
    if re.fullmatch(r"\[[^\[\]]*\]", text):
        text = text[1:-1]
        if v.ip(text) is None or ":" not in text:
            raise Invalid("is not an IPv6 address, which alone stands in brackets")
    ip = v.ip(text)
    if ip is None and re.fullmatch(r"[0-9.]+", text):
        raise Invalid("is not an IP address")  # nor can it be a name: resolvers read 10.1 as 10.0.0.1
    if ip is None and (more := _more(text)):
        raise Invalid(f"is not {_DUE} alone: {more}")
    return ip or str(_alias(text))


def _more(text: str) -> str | None:
    """What else the text holds besides the host, and which key that belongs in."""
    if text != text.strip():
        return "take away the space around it"
    if "://" in text:
        return "write the host without the scheme; `user` and `port` are keys of their own"
    user, _, rest = text.rpartition("@")
    port = re.fullmatch(r"(?:\[[^\[\]]*\]|[^:]*):([0-9]+)", rest)
    keys = [f"`{key}: {value}`" for key, value in (("user", user), ("port", port[1] if port else "")) if value]
    return f"write {' and '.join(keys)} as {'keys of their' if len(keys) > 1 else 'a key of its'} own" if keys else None


@described(v.TEXT, "`[user@]host[:port]`; `none` for none")
def gateway(value: object) -> str:
    """One jump host, `[user@]host[:port]`; an IPv6 address stands in brackets."""
    text = v.text(value)
    if "," in text:
        raise Invalid("names several jump hosts; one is supported (chains: ProxyJump in ssh_config)")
    host = text.rpartition("@")[2]
    if ":" in host and v.ip(host):
        raise Invalid(f"is not [user@]host[:port]: an IPv6 address stands in brackets, [{host}]")
    if not _GATEWAY.fullmatch(text):
        raise Invalid("is not [user@]host[:port]")
    try:
        name, _, number = split_gateway(text)
        name is None or v.user(name)
        number is None or v.port(number)
    except Invalid as e:
        raise Invalid(f"is not [user@]host[:port]: a part {e.msg}") from None
    return text


def split_gateway(text: str) -> tuple[str | None, str, int | None]:
    """User, host (an IPv6 address without its brackets) and port of a checked gateway. Invalid where the host is none."""
    parts = _GATEWAY.fullmatch(text)
    assert parts is not None  # noqa: S101  gateway() has seen it
    return parts[1], ssh_name(parts[2]), int(parts[3]) if parts[3] else None
