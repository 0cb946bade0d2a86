"""Validation of routes: a valid route can neither break Caddy's configuration nor contain Caddy's placeholders. Pure.

Caddy replaces placeholders such as `{env.HOME}` in the strings of its configuration. So domains and paths allow no
braces, and braces in header values are escaped (`caddy_handlers.escape_braces`).
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_TIMEOUT = 24 * 3600.0  # seconds; more is a typing error
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOSTNAME = re.compile(rf"(?=.{{1,253}}\Z)(?:{_LABEL}\.)*{_LABEL}")
_SERVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
# without `*?[\` (globs to Caddy), `%` (makes Caddy match escaped paths) and braces (placeholders)
_PATH = re.compile(r"(?:/[a-z0-9._~!$&'()+,;=:@-]+)*")
_CHECK_PATH = re.compile(r"/[\x21\x22\x24-\x7e]*")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_VALUE = re.compile(r"[\t\x20-\x7e]{0,8192}")  # what services.yml may say (fabfile: service_texts.header_value)
_FORBIDDEN_HEADERS = {"Connection", "Content-Length", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}


@dataclass(frozen=True, slots=True)
class Route:
    """A valid route: domain and path in lower case, path without a final slash (so `/` is ""), timeout in seconds."""

    service: str
    domain: str
    path: str
    check_path: str | None
    headers: tuple[tuple[str, str | None], ...]  # canonical name -> value; None: removed from every response
    timeout: float


class InvalidRoute(ValueError):
    """The reason why a route cannot be published."""


def validate_routes(routes: Iterable[Any]) -> tuple[list[Route], list[tuple[str, str]]]:
    """(valid routes, longest path first within a domain; [(service, why its route is left out)]), for any input.

    Of two routes for one domain and path, that of the service whose name comes first is published.
    """
    valid: dict[tuple[str, str], Route] = {}
    faults: list[tuple[str, str]] = []
    for raw in sorted(routes, key=repr):
        try:
            route = _parse_route(raw)
        except InvalidRoute as why:
            faults.append((_service_of(raw), str(why)))
            continue
        key = (route.domain, route.path)
        first, second = sorted((valid.get(key, route), route), key=lambda r: r.service)
        valid[key] = first
        if first != second:
            faults.append((second.service, f"{route.domain}{route.path or '/'} belongs to {first.service} already"))
    return sorted(valid.values(), key=lambda r: (r.domain, -len(r.path), r.path)), sorted(set(faults))


def ip_address(value: object) -> str | None:
    """An IP address as in `ADDRESS:PORT`, so with brackets for IPv6. None for all else, such as host names and
    `unix//run/caddy/admin.sock`."""
    try:
        parsed = ipaddress.ip_address(value) if isinstance(value, str) and "%" not in value else None
    except ValueError:
        return None
    return None if parsed is None else f"[{parsed}]" if parsed.version == 6 else str(parsed)


def _parse_route(raw: Any) -> Route:
    if not isinstance(raw, Mapping):
        raise InvalidRoute("a route must be a mapping")
    if not _matches(raw.get("service"), _SERVICE):
        raise InvalidRoute(f"{_shortened(raw.get('service'))} is no service name")
    timeout = raw.get("timeout")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout <= MAX_TIMEOUT:
        raise InvalidRoute(f"timeout: {_shortened(timeout)} is not between 0 and {MAX_TIMEOUT:.0f} seconds")
    check = raw.get("check_path")
    if check is not None and not _matches(check, _CHECK_PATH):
        raise InvalidRoute(f"check_path: {_shortened(check)} is no path")
    return Route(raw["service"], _domain(raw.get("domain")), _path(raw.get("path")), check, _headers(raw.get("headers")),
                 max(math.ceil(timeout * 1000), 1) / 1000)  # fmt: skip


def _domain(value: Any) -> str:
    name = value.lower() if isinstance(value, str) else value
    if (ip := ip_address(name)) is not None:
        return ip.strip("[]")
    if not _matches(name, _HOSTNAME):
        raise InvalidRoute(f"domain: {_shortened(value)} is no host name")
    return str(name)


def _path(value: Any) -> str:
    path = value.lower().rstrip("/") if isinstance(value, str) and value.startswith("/") else None
    if not _matches(path, _PATH) or {".", ".."} & set(str(path).split("/")):
        raise InvalidRoute(f"path: {_shortened(value)} is no path of plain characters")
    return str(path)


def _headers(value: Any) -> tuple[tuple[str, str | None], ...]:
    if not isinstance(value or {}, Mapping):
        raise InvalidRoute("headers: must be a mapping")
    headers: dict[str, str | None] = {}
    for name, text in sorted((value or {}).items(), key=repr):
        if not _matches(name, _HEADER) or canonical_header(name) in _FORBIDDEN_HEADERS:
            raise InvalidRoute(f"headers: {_shortened(name)} is no header that may be set")
        headers[canonical_header(name)] = None if text is None else _header_value(name, text)
    return tuple(sorted(headers.items()))


def _header_value(name: str, value: Any) -> str:
    text = str(value) if type(value) is int else value
    # Caddy's versions differ in whether they remove a backslash before a brace
    if not _matches(text, _VALUE) or r"\{" in text or r"\}" in text:
        raise InvalidRoute(f"headers: the value of {name} is no line of plain text")
    return str(text)


def canonical_header(name: str) -> str:
    """`x-frame-options` -> `X-Frame-Options`"""
    return "-".join(part.capitalize() for part in name.split("-"))


def _matches(value: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _service_of(raw: Any) -> str:
    name = raw.get("service") if isinstance(raw, Mapping) else None
    return str(name) if _matches(name, _SERVICE) else "?"


def _shortened(value: Any) -> str:
    return repr(value)[:80]
