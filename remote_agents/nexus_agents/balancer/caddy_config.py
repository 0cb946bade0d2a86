"""Caddy's JSON configuration from routes and healthy instances. Pure; equal intent gives equal bytes.

Everything here is understood by Caddy 2.6.2 (Debian's) and by 2.11.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .caddy_handlers import Json, error_route, hide_server_header, not_found_route, retry_route, service_route, text
from .caddy_routes import address, sift

Upstreams = Mapping[str, Iterable[tuple[str, int]]]

ADMIN = "unix//run/caddy/admin.sock"
# Names for which no public CA signs.
PRIVATE = (".test", ".internal", ".local", ".lan", ".localhost", ".home.arpa", ".example", ".invalid")


def config(routes: Iterable[Any], upstreams: Upstreams, settings: Mapping[str, Any]) -> Json:
    """Caddy's whole configuration; unsound routes (`caddy_routes.sift`) are left out, the others are not affected.

    settings: {"email": str | None, "internal": bool | None, "http_port", "https_port", "access_log": path} and, where
    it differs from the usual, {"listen": network address of Caddy's API, "bind": IP address to listen on}.
    """
    sound, _ = sift(routes)
    domains = sorted({r.domain for r in sound})
    bind = settings.get("bind") or ""
    servers = {"http": _server(f"{bind}:{settings['http_port']}", _http_routes(domains))}
    ports = {name: settings[name] for name in ("http_port", "https_port")}
    apps: Json = {"http": {**ports, "grace_period": "10s", "servers": servers}}
    if domains:
        dials = {r.service: _upstream_addresses(upstreams.get(r.service, ())) for r in sound}
        https = _server(
            f"{bind}:{settings['https_port']}", [*(service_route(r, dials[r.service]) for r in sound), not_found_route()]
        )
        https["errors"] = {"routes": [*(retry_route(r, dials[r.service]) for r in sound if dials[r.service]), error_route()]}
        servers["https"] = https
        apps["tls"] = _tls(domains, settings)
        # The root is for those who fetch it; Caddy has no business in its host's trust store.
        apps["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    admin = {"listen": settings.get("listen") or ADMIN, "config": {"persist": False}}
    return {"admin": admin, "logging": _logging(settings["access_log"]), "apps": apps}


def validation_config(routes: Iterable[Any], upstreams: Upstreams, folder: str) -> Json:
    """What `caddy validate` is to judge: these routes alone, with logs and certificates in `folder`, and no ACME."""
    settings = {"http_port": 80, "https_port": 443, "access_log": f"{folder}/access.log", "internal": True}
    return {**config(routes, upstreams, settings), "storage": {"module": "file_system", "root": folder}}


def with_id(wanted: Json) -> tuple[str, bytes]:
    """(its id, the bytes to load). Under the id Caddy's API tells whether it runs just this: `GET /id/ID`."""
    mark = "nexus-" + hashlib.sha256(encoded(wanted)).hexdigest()[:24]
    return mark, encoded({**wanted, "admin": {"@id": mark, **wanted["admin"]}})


def encoded(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def is_private(domain: str) -> bool:
    return "." not in domain or domain.endswith(PRIVATE) or address(domain) is not None


def _upstream_addresses(instances: Iterable[tuple[str, int]]) -> list[str]:
    found = {(address(host), port) for host, port in instances}
    return sorted(f"{host}:{port}" for host, port in found if host and type(port) is int and 0 < port < 65536)


def _server(listen: str, routes: Sequence[Json]) -> Json:
    # No HTTP/3: a reload closes its connections at once; those of HTTP/1 and 2 may end what they are at.
    return {"listen": [listen], "protocols": ["h1", "h2"], "read_header_timeout": "10s", "idle_timeout": "2m",
            "logs": {"default_logger_name": "nexus"}, "routes": list(routes)}  # fmt: skip


def _http_routes(domains: list[str]) -> list[Json]:
    """Plain HTTP: Caddy puts its redirects behind the last route with a host, so ours for unknown hosts come after."""
    known = [{"match": [{"host": domains}], "handle": [hide_server_header()]}] if domains else []
    health = {"match": [{"path": ["/health"]}], "handle": [hide_server_header(), text(200, "ok")], "terminal": True}
    return [*known, health, not_found_route()]


def _tls(domains: list[str], settings: Mapping[str, Any]) -> Json:
    """A certificate must be at hand the moment a reload opens the new listener, which is before Caddy manages its names.

    `on_demand` looks in the storage during a handshake; bound to subjects, nobody can ask for other names. `automate`
    does so at start, which may be too late. For ACME it is the lesser evil: what a CA refuses is tried again without a
    visitor. For an IP address it is the only way: a handshake names none.
    """
    private = [d for d in domains if settings.get("internal") or is_private(d)]
    acme = {"module": "acme", **({"email": settings["email"]} if settings.get("email") else {})}
    policies: list[Json] = [
        {"subjects": [d for d in private if address(d) is None], "issuers": [{"module": "internal"}], "on_demand": True},
        {"subjects": [d for d in private if address(d)], "issuers": [{"module": "internal"}]},
        {"subjects": [d for d in domains if d not in private], "issuers": [acme]},
    ]
    managed = sorted(d for policy in policies[1:] for d in policy["subjects"])
    return {"automation": {"policies": [p for p in policies if p["subjects"]]}, "certificates": {"automate": managed}}


def _logging(access_log: str) -> Json:
    writer = {"output": "file", "filename": access_log, "roll_size_mb": 50, "roll_keep": 8, "roll_keep_days": 30}
    access = {"writer": writer, "encoder": {"format": "json"}, "include": ["http.log.access.nexus"]}
    # We ask the API every second, and each answer would be a line; so would each check of a dead instance.
    often = ["admin.api", "http.handlers.reverse_proxy.health_checker.active", "http.log.access.nexus"]
    return {"logs": {"access": access, "default": {"exclude": often}}}
