"""The door for routes: what passes here can neither break Caddy's configuration nor speak to Caddy's placeholders. Pure.

Caddy replaces `{env.HOME}` and its like wherever a string of its configuration is used; so domains and paths have an
alphabet without braces, and in header values braces are escaped (`caddy.literal`).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

LONGEST = 24 * 3600.0  # seconds; more is a slip of the pen
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# no `*?[\` (globs to Caddy), no `%` (turns on matching of escaped paths), no braces
_PATH = re.compile(r"(?:/[a-z0-9._~!$&'()+,;=:@-]+)*")
_CHECK_PATH = re.compile(r"/[\x21\x22\x24-\x7e]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_VALUE = re.compile(r"[\t\x20-\x7e]{0,8000}")
_FRAMING = {"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}


@dataclass(frozen=True, slots=True)
class Route:
    """A sound route: domain and path in lower case, path without a final slash (so `/` is ""), timeout in seconds."""

    service: str
    domain: str
    path: str
    check_path: str | None
    headers: tuple[tuple[str, str | None], ...]  # names as HTTP writes them; None: the header never goes out
    timeout: float


class InvalidRoute(ValueError):
    """Why a route cannot be published."""


def sift(routes: Iterable[Any]) -> tuple[list[Route], list[tuple[str, str]]]:
    """(sound routes, longest path first within a domain; [(service, why its route is left out)]), whatever comes in.

    Of two routes for one domain and path, that of the service whose name comes first is published.
    """
    found: dict[tuple[str, str], Route] = {}
    faults: list[tuple[str, str]] = []
    for raw in sorted(routes, key=repr):
        try:
            route = _sound(raw)
        except InvalidRoute as why:
            faults.append((_named(raw), str(why)))
            continue
        place = (route.domain, route.path)
        first, second = sorted((found.get(place, route), route), key=lambda r: r.service)
        found[place] = first
        if first != second:
            faults.append((second.service, f"{route.domain}{route.path or '/'} belongs to {first.service} already"))
    return sorted(found.values(), key=lambda r: (r.domain, -len(r.path), r.path)), sorted(set(faults))


def address(value: object) -> str | None:
    """An IP address as it stands in `ADDRESS:PORT`; None for all else, names and `unix//run/caddy/admin.sock` above all."""
    try:
        parsed = ipaddress.ip_address(value) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None
    return None if parsed is None else f"[{parsed}]" if parsed.version == 6 else str(parsed)


def _sound(raw: Any) -> Route:
    if not isinstance(raw, Mapping):
        raise InvalidRoute("a route must be a mapping")
    if not _is(raw.get("service"), _SERVICE):
        raise InvalidRoute(f"{_short(raw.get('service'))} is no service name")
    timeout = raw.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= LONGEST:
        raise InvalidRoute(f"timeout: {_short(timeout)} is not between 0 and {LONGEST:.0f} seconds")
    check = raw.get("check_path")
    if check is not None and not _is(check, _CHECK_PATH):
        raise InvalidRoute(f"check_path: {_short(check)} is no path")
    return Route(raw["service"], _domain(raw.get("domain")), _path(raw.get("path")), check, _headers(raw.get("headers")),
                 max(math.ceil(timeout * 1000), 1) / 1000)  # fmt: skip


def _domain(value: Any) -> str:
    name = value.lower() if isinstance(value, str) else value
    if (ip := address(name)) is not None:
        return ip.strip("[]")
    if not _is(name, _HOSTNAME):
        raise InvalidRoute(f"domain: {_short(value)} is no host name")
    return str(name)


def _path(value: Any) -> str:
    path = value.lower().rstrip("/") if isinstance(value, str) and value.startswith("/") else None
    if not _is(path, _PATH) or {".", ".."} & set(str(path).split("/")):
        raise InvalidRoute(f"path: {_short(value)} is no path of plain characters")
    return str(path)


def _headers(value: Any) -> tuple[tuple[str, str | None], ...]:
    if not isinstance(value or {}, Mapping):
        raise InvalidRoute("headers: must be a mapping")
    found: dict[str, str | None] = {}
    for name, text in sorted((value or {}).items(), key=repr):
        if not _is(name, _HEADER) or canonical(name) in _FRAMING:
            raise InvalidRoute(f"headers: {_short(name)} is no header that may be set")
        found[canonical(name)] = None if text is None else _text(name, text)
    return tuple(sorted(found.items()))


def _text(name: str, value: Any) -> str:
    text = str(value) if type(value) is int else value
    # Caddy's versions differ on whether they take a backslash before a brace away
    if not _is(text, _VALUE) or r"\{" in text or r"\}" in text:
        raise InvalidRoute(f"headers: the value of {name} is no line of plain text")
    return str(text)


def canonical(name: str) -> str:
    """`x-frame-options` -> `X-Frame-Options`"""
    return "-".join(part.capitalize() for part in name.split("-"))


def _is(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _named(raw: Any) -> str:
    name = raw.get("service") if isinstance(raw, Mapping) else None
    return str(name) if _is(name, _SERVICE) else "?"


def _short(value: Any) -> str:
    return repr(value)[:80]
