"""What Caddy does with a request, as its JSON routes: pass it on, once more if need be, or answer itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .caddy_routes import Route

Json = dict[str, Any]

# What a response gets when the service is silent about it. Chosen so that no ordinary site breaks: the policy limits
# neither scripts nor styles nor images, only who may frame the page, plug-ins, and <base>.
HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
RETRY_WINDOW = 5.0  # seconds in which a request may look for another instance, beyond the service's own time
PAUSE = 0.1  # seconds between tries; their number has a limit, for the sake of a GET that kills whom it asks
SAFE = ["GET", "HEAD", "OPTIONS"]
RETRY_AFTER = {"Retry-After": ["5"]}
_TEXT = {"Content-Type": ["text/plain; charset=utf-8"], "Cache-Control": ["no-store"]}
_LEAST_CONN = {"selection_policy": {"policy": "least_conn"}}


def literal(text: str) -> str:
    """`text` as Caddy must read it to say just `text`, braces and all."""
    return text.replace("{", r"\{").replace("}", r"\}") if "{" in text else text


def service_route(route: Route, dials: list[str]) -> Json:
    """The route's requests go to `dials` (ADDRESS:PORT); with none to go to, 503."""
    last = _proxy(route, dials) if dials else text(
        503, f"The service {literal(route.service)} has no healthy instance just now; try again in a few seconds.\n",
        RETRY_AFTER)  # fmt: skip
    return {"match": [_match(route)], "handle": [hide_server_header(), *_headers(route), last], "terminal": True}


def retry_route(route: Route, dials: list[str]) -> Json:
    """An error route: one more round for a GET that a reload cut off.

    Caddy binds the waiting between tries to the configuration that a request came in under; after a reload the first
    failed try is the last. Such a request is known by its time, which is not used up. Without a wait nothing is bound.
    """
    spent, code = "{http.reverse_proxy.duration_ms}", "{http.error.status_code}"
    cut_off = (
        f"{spent} < {RETRY_WINDOW * 1000:.1f} || ({code} == 504 && {spent} < {(route.timeout + RETRY_WINDOW) * 1000:.1f})"
    )
    match = {**_match(route), "method": SAFE, "vars": {code: ["502", "503", "504"]}, "expression": cut_off}
    proxy = {**_transport(route, dials), "load_balancing": {"selection_policy": {"policy": "random"}, "retries": 10}}
    second = {"handler": "subroute", "routes": [{"handle": [proxy]}], "errors": {"routes": [error_route()]}}
    return {"match": [match], "handle": [hide_server_header(), *_headers(route), second], "terminal": True}


def not_found_route() -> Json:
    return {"handle": [hide_server_header(), text(404, "No service is published under this name.\n")]}


def error_route() -> Json:
    words = "The service did not answer: {http.error.status_code} {http.error.status_text}.\n"
    return {"handle": [hide_server_header(), *_defaults(HEADERS), text("{http.error.status_code}", words, RETRY_AFTER)]}


def text(status: int | str, body: str, headers: Mapping[str, list[str]] | None = None) -> Json:
    return {"handler": "static_response", "status_code": status, "headers": {**_TEXT, **(headers or {})}, "body": body}


def hide_server_header() -> Json:
    """Takes Caddy's own name off at once, so also from errors."""
    return {"handler": "headers", "response": {"delete": ["Server"]}}


def _match(route: Route) -> Json:
    paths = {"path": [route.path, f"{route.path}/*"]} if route.path else {}
    return {"host": [route.domain], **paths}


def _headers(route: Route) -> list[Json]:
    own = dict(route.headers)
    texts = {name: [literal(value)] for name, value in own.items() if value is not None}
    gone = {"Server", "Via", *own} - set(texts)
    operations: Json = {"deferred": True, **({"delete": sorted(gone)} if gone else {}), **({"set": texts} if texts else {})}
    silent = {name: value for name, value in HEADERS.items() if name not in own}
    return [*_defaults(silent), {"handler": "headers", "response": operations}]


def _defaults(headers: Mapping[str, str]) -> list[Json]:
    """Sets each only where the response comes without it: `null` asks for its absence, and `require` defers."""
    return [{"handler": "headers", "response": {"require": {"headers": {name: None}}, "set": {name: [value]}}}
            for name, value in sorted(headers.items())]  # fmt: skip


def _proxy(route: Route, dials: list[str]) -> Json:
    """Requests that may be tried again, and the others.

    Caddy itself tries any request again after a failed dial but, once a request was sent, a GET only. 2.6.2 also closes
    the body with the failed dial, so that the next try fails too and counts against an instance that is well.
    """
    tries = {
        "try_duration": _ms(route.timeout + RETRY_WINDOW),
        "try_interval": _ms(PAUSE),
        "retries": round(RETRY_WINDOW / PAUSE),
    }
    safe = {**_transport(route, dials), "load_balancing": {**_LEAST_CONN, **tries}, **_checks(route, dials)}
    once = {**_transport(route, dials), "load_balancing": _LEAST_CONN, **_checks(route, dials)}
    return {"handler": "subroute", "routes": [{"match": [{"method": SAFE}], "handle": [safe]}, {"handle": [once]}]}


def _checks(route: Route, dials: list[str]) -> Json:
    """A single instance gets none: there is no other to choose, and a dial is tried again until it is back.

    Passive: an instance that refuses has the fewest connections, so under load all would go there. But each failed try
    counts, whoever is to blame; a few requests for one slow page take all instances out. So not for long.
    """
    if len(dials) < 2:
        return {}
    passive = {"fail_duration": "1s", "max_fails": 1}
    active = {"uri": route.check_path, "interval": "1s", "timeout": "1s"}
    return {"health_checks": {"passive": passive, **({"active": active} if route.check_path else {})}}


def _transport(route: Route, dials: list[str]) -> Json:
    # An idle connection to a host that lost power is a black hole; a new dial fails fast and is safely tried again.
    transport = {"protocol": "http", "dial_timeout": "1s", "response_header_timeout": _ms(route.timeout),
                 "keep_alive": {"enabled": False}}  # fmt: skip
    return {"handler": "reverse_proxy", "upstreams": [{"dial": d} for d in dials], "transport": transport}


def _ms(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
