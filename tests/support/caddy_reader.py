"""Reads a Caddy configuration as Caddy does: where a request goes, and what replaces the placeholders in texts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from remote_agents.nexus_agents.balancer.caddy_config import build_config

SETTINGS = {"email": None, "internal": None, "http_port": 80, "https_port": 443, "access_log": "/var/log/caddy/access.log"}
UP = [("10.0.0.1", 8080), ("10.0.0.2", 8080)]
# The placeholders in our own texts.
PLACEHOLDERS = {"http.error.status_code", "http.error.status_text"}


def route(service: str = "web", **keys: Any) -> dict[str, Any]:
    defaults = {"domain": "web.test", "path": "/", "check_path": "/health", "headers": {}, "timeout": 30}
    return {"service": service, **defaults, **keys}


def config_of(*routes: Any, live: dict[str, list[tuple[str, int]]] | None = None, **settings: Any) -> dict[str, Any]:
    return build_config(routes, {"web": UP} if live is None else live, {**SETTINGS, **settings})


def https_routes(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    return list(configuration["apps"]["http"]["servers"]["https"]["routes"])


def route_for(configuration: dict[str, Any], domain: str, path: str) -> dict[str, Any]:
    """The route that Caddy takes for a request: the first one whose matchers match."""
    return next(r for r in https_routes(configuration) if not r.get("match") or _matches(r["match"][0], domain, path))


def _matches(match: dict[str, Any], domain: str, path: str) -> bool:
    patterns = match.get("path", ["/*"])
    return domain in match["host"] and any(path == p or (p.endswith("*") and path.startswith(p[:-1])) for p in patterns)


def walk(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its value, at every depth; the items of a list have the key of the list."""
    for name, item in (
        value.items() if isinstance(value, dict) else ((key, i) for i in value) if isinstance(value, list) else ()
    ):
        yield name, item
        yield from walk(item, name)


def handlers(configuration: Any, kind: str) -> list[dict[str, Any]]:
    return [v for _, v in walk(configuration) if isinstance(v, dict) and v.get("handler") == kind]


def answer_of(configuration: dict[str, Any], domain: str = "web.test", path: str = "/") -> str:
    """Where a request goes: ADDRESS:PORT of the upstreams, joined by commas, or the text of a fixed answer."""
    matched = route_for(configuration, domain, path)
    dials = {u["dial"] for p in handlers(matched, "reverse_proxy") for u in p["upstreams"]}
    return ",".join(sorted(dials)) or str(handlers(matched, "static_response")[0]["body"])


def replace_placeholders(text: str, newer: bool, looked_up: set[str]) -> str:
    """Caddy's replacer, of 2.6.2 or a `newer` version. Every placeholder becomes HOLE; its name goes into `looked_up`."""
    if "{" not in text and not (newer and "}" in text):
        return text
    out, cursor, i = "", 0, 0
    while i < len(text):
        if i and text[i - 1] == "\\" and text[i] in "{}":
            out, cursor = out + text[cursor : i - 1], i
        elif text[i] == "{" and (end := text.find("}", i)) >= 0:
            while 0 < end < len(text) - 1 and text[end - 1] == "\\" and (more := text.find("}", end + 1)) >= 0:
                end = more
            looked_up.add(text[i + 1 : end])
            out, cursor, i = out + text[cursor:i] + "HOLE", end + 1, end
        i += 1
    return out + text[cursor:]
