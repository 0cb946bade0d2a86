"""Caddy's JSON configuration from routes and healthy instances. Pure; equal input gives equal bytes.

Caddy 2.6.2 (Debian's) and 2.11.2 understand all of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .caddy_handlers import (
    Json,
    drain_route,
    error_route,
    hide_server_header,
    not_found_route,
    retry_route,
    service_route,
    text_response,
)
from .caddy_routes import ip_address, validate_routes

Upstreams = Mapping[str, Iterable[tuple[str, int]]]  # service -> (IP address, port)

ADMIN = "unix//run/caddy/admin.sock"
# No public CA signs certificates for these.
PRIVATE_SUFFIXES = (".test", ".internal", ".local", ".lan", ".localhost", ".home.arpa", ".example", ".invalid")


def build_config(routes: Iterable[Any], upstreams: Upstreams, settings: Mapping[str, Any]) -> Json:
    """Caddy's whole configuration; invalid routes are left out, and do not affect the others.

    settings: {"email": str | None, "internal": bool | None, "http_port", "https_port", "access_log": path} and
    optionally {"listen": network address of Caddy's API, "bind": IP address to listen on, "runtime": folder of the
    drain's marker, "stream_close_delay": how long streams outlive a reload, as Caddy writes it (2.7 or newer)}.
    """
    valid, _ = validate_routes(routes)
    drain = [drain_route(settings["runtime"])] if settings.get("runtime") else []
    streams = settings.get("stream_close_delay")
    domains = sorted({r.domain for r in valid})
    bind = settings.get("bind") or ""
    servers = {"http": _server(f"{bind}:{settings['http_port']}", [*drain, *_http_routes(domains)])}
    ports = {name: settings[name] for name in ("http_port", "https_port")}
    apps: Json = {"http": {**ports, "grace_period": "10s", "servers": servers}}
    if domains:
        dials = {r.service: _dial_addresses(upstreams.get(r.service, ())) for r in valid}
        routed = [*drain, *(service_route(r, dials[r.service], streams) for r in valid), not_found_route()]
        https = _server(f"{bind}:{settings['https_port']}", routed)
        retried = [retry_route(r, dials[r.service]) for r in valid if dials[r.service]]
        https["errors"] = {"routes": [*retried, error_route()]}
        servers["https"] = https
        apps["tls"] = _tls(domains, settings)
        # Clients fetch the root certificate; Caddy must not change its host's trust store.
        apps["pki"] = {"certificate_authorities": {"local": {"install_trust": False}}}
    admin = {"listen": settings.get("listen") or ADMIN, "config": {"persist": False}}
    return {"admin": admin, "logging": _logging(settings["access_log"]), "apps": apps}


def build_validation_config(routes: Iterable[Any], upstreams: Upstreams, folder: str) -> Json:
    """For `caddy validate`: these routes alone, with logs and certificates in `folder`, and without ACME."""
    settings = {"http_port": 80, "https_port": 443, "access_log": f"{folder}/access.log", "internal": True}
    return {**build_config(routes, upstreams, settings), "storage": {"module": "file_system", "root": folder}}


def with_id(config: Json) -> tuple[str, bytes]:
    """(id, bytes to load). `GET /id/ID` at Caddy's API then tells whether it runs exactly this configuration."""
    config_id = "nexus-" + hashlib.sha256(encode(config)).hexdigest()[:24]
    return config_id, encode({**config, "admin": {"@id": config_id, **config["admin"]}})


def encode(value: Json) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def is_private(domain: str) -> bool:
    """Whether no public CA signs a certificate for it."""
    return "." not in domain or domain.endswith(PRIVATE_SUFFIXES) or ip_address(domain) is not None


def _dial_addresses(instances: Iterable[tuple[str, int]]) -> list[str]:
    """ADDRESS:PORT of each instance with a valid IP address and port."""
    addresses = {(ip_address(host), port) for host, port in instances}
    return sorted(f"{host}:{port}" for host, port in addresses if host and type(port) is int and 0 < port < 65536)


def _server(listen: str, routes: Sequence[Json]) -> Json:
    # Without HTTP/3: a reload closes its connections at once, while those of HTTP/1 and 2 may finish their requests.
    return {"listen": [listen], "protocols": ["h1", "h2"], "read_header_timeout": "10s", "idle_timeout": "2m",
            "logs": {"default_logger_name": "nexus"}, "routes": list(routes)}  # fmt: skip


def _http_routes(domains: list[str]) -> list[Json]:
    """Plain HTTP. Caddy puts its redirects after the last route with a host; our routes without one come later."""
    known = [{"match": [{"host": domains}], "handle": [hide_server_header()]}] if domains else []
    health = {"match": [{"path": ["/health"]}], "handle": [hide_server_header(), text_response(200, "ok")], "terminal": True}
    return [*known, health, not_found_route()]


def _tls(domains: list[str], settings: Mapping[str, Any]) -> Json:
    """A certificate must be ready as soon as a reload opens the new listener, which is before Caddy manages its names.

    `on_demand` looks in the storage during a handshake; as it is bound to subjects, no client can request other names.
    `automate` obtains certificates at the start, which may be too late. ACME uses it all the same: Caddy then retries
    after a CA's refusal without a visitor. For an IP address it is the only way, as no handshake contains one.
    """
    private = [d for d in domains if settings.get("internal") or is_private(d)]
    acme = {"module": "acme", **({"email": settings["email"]} if settings.get("email") else {})}
    policies: list[Json] = [
        {"subjects": [d for d in private if ip_address(d) is None], "issuers": [{"module": "internal"}], "on_demand": True},
        {"subjects": [d for d in private if ip_address(d)], "issuers": [{"module": "internal"}]},
        {"subjects": [d for d in domains if d not in private], "issuers": [acme]},
    ]
    managed = sorted(d for policy in policies[1:] for d in policy["subjects"])
    return {"automation": {"policies": [p for p in policies if p["subjects"]]}, "certificates": {"automate": managed}}


def _logging(access_log: str) -> Json:
    writer = {"output": "file", "filename": access_log, "roll_size_mb": 50, "roll_keep": 8, "roll_keep_days": 30}
    access = {"writer": writer, "encoder": {"format": "json"}, "include": ["http.log.access.nexus"]}
    # The balancer calls the API every second, and each call would be a line; so would each check of a dead instance.
    excluded = ["admin.api", "http.handlers.reverse_proxy.health_checker.active", "http.log.access.nexus"]
    return {"logs": {"access": access, "default": {"exclude": excluded}}}
