"""Caddy's JSON routes and handlers: proxy a request, retry it after a failure, or answer it with a fixed text. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .caddy_routes import Route
from .connection_drain import MARKER

Json = dict[str, Any]

# Added to a response that lacks them. Chosen so that no ordinary site breaks: the policy limits neither scripts nor
# styles nor images, only who may frame the page, plug-ins, and <base>.
DEFAULT_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'self'; object-src 'none'; base-uri 'self'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Strict-Transport-Security": "max-age=31536000",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
RETRY_WINDOW = 5.0  # seconds in which a request may be retried, beyond the route's own timeout
RETRY_INTERVAL = 0.1  # seconds; the number of retries is limited, in case a GET crashes each instance that gets it
SAFE_METHODS = ["GET", "HEAD", "OPTIONS"]
RETRY_AFTER = {"Retry-After": ["5"]}
_TEXT = {"Content-Type": ["text/plain; charset=utf-8"], "Cache-Control": ["no-store"]}
_LEAST_CONN = {"selection_policy": {"policy": "least_conn"}}


def escape_braces(text: str) -> str:
    """`text` for Caddy's configuration, so that Caddy takes no part of it as a placeholder."""
    return text.replace("{", r"\{").replace("}", r"\}") if "{" in text else text


def service_route(route: Route, dials: list[str], stream_close_delay: str | None = None) -> Json:
    """Sends the route's requests to the upstreams `dials` (ADDRESS:PORT); without any it answers 503.

    `stream_close_delay`: how long a WebSocket outlives a reload; None for a Caddy that does not know the setting.
    """
    streams = {"stream_close_delay": stream_close_delay} if stream_close_delay else {}
    last = _proxy(route, dials, streams) if dials else text_response(
        503, f"The service {escape_braces(route.service)} has no healthy instance just now; try again in a few seconds.\n",
        RETRY_AFTER)  # fmt: skip
    return {"match": [_matcher(route)], "handle": [hide_server_header(), *_response_headers(route), last], "terminal": True}


def retry_route(route: Route, dials: list[str]) -> Json:
    """An error route: retries a safe request that a reload has interrupted.

    Caddy binds the wait between two tries to the configuration with which the request came in, so after a reload the
    first failed try is the last. The expression recognizes such a request: its time is not used up. The retries here
    have no wait, so a reload cannot interrupt them.
    """
    spent, code = "{http.reverse_proxy.duration_ms}", "{http.error.status_code}"
    interrupted = (
        f"{spent} < {RETRY_WINDOW * 1000:.1f} || ({code} == 504 && {spent} < {(route.timeout + RETRY_WINDOW) * 1000:.1f})"
    )
    match = {**_matcher(route), "method": SAFE_METHODS, "vars": {code: ["502", "503", "504"]}, "expression": interrupted}
    proxy = {**_transport(route, dials), "load_balancing": {"selection_policy": {"policy": "random"}, "retries": 10}}
    second = {"handler": "subroute", "routes": [{"handle": [proxy]}], "errors": {"routes": [error_route()]}}
    return {"match": [match], "handle": [hide_server_header(), *_response_headers(route), second], "terminal": True}


def drain_route(folder: str) -> Json:
    """Ends kept connections with their next response, while the marker file is in `folder`; see `connection_drain`.

    Not for a request to upgrade: its `Connection` header belongs to the protocol that follows.
    """
    marked = {"file": {"root": folder, "try_files": [f"/{MARKER}"]}, "not": [{"header": {"Upgrade": ["*"]}}]}
    close = {"handler": "headers", "response": {"deferred": True, "set": {"Connection": ["close"]}}}
    return {"match": [marked], "handle": [close]}


def not_found_route() -> Json:
    return {"handle": [hide_server_header(), text_response(404, "No service is published under this name.\n")]}


def error_route() -> Json:
    body = "The service did not answer: {http.error.status_code} {http.error.status_text}.\n"
    return {
        "handle": [
            hide_server_header(),
            *_set_defaults(DEFAULT_HEADERS),
            text_response("{http.error.status_code}", body, RETRY_AFTER),
        ]
    }


def text_response(status: int | str, body: str, headers: Mapping[str, list[str]] | None = None) -> Json:
    return {"handler": "static_response", "status_code": status, "headers": {**_TEXT, **(headers or {})}, "body": body}


def hide_server_header() -> Json:
    """Removes Caddy's name at once and not only at the end, so that errors lose it too."""
    return {"handler": "headers", "response": {"delete": ["Server"]}}


def _matcher(route: Route) -> Json:
    paths = {"path": [route.path, f"{route.path}/*"]} if route.path else {}
    return {"host": [route.domain], **paths}


def _response_headers(route: Route) -> list[Json]:
    own = dict(route.headers)
    values = {name: [escape_braces(value)] for name, value in own.items() if value is not None}
    deleted = {"Server", "Via", *own} - set(values)
    operations: Json = {
        "deferred": True, **({"delete": sorted(deleted)} if deleted else {}), **({"set": values} if values else {})
    }  # fmt: skip
    defaults = {name: value for name, value in DEFAULT_HEADERS.items() if name not in own}
    return [*_set_defaults(defaults), {"handler": "headers", "response": operations}]


def _set_defaults(headers: Mapping[str, str]) -> list[Json]:
    """Sets each header only where the response lacks it: `null` requires its absence; `require` defers the check."""
    return [{"handler": "headers", "response": {"require": {"headers": {name: None}}, "set": {name: [value]}}}
            for name, value in sorted(headers.items())]  # fmt: skip


def _proxy(route: Route, dials: list[str], streams: Json) -> Json:
    """`streams`: settings for both proxies. A proxy with retries for safe methods, and one without for the others.

    By default Caddy retries any request after a failed dial and, once a request was sent, a GET only. 2.6.2 also closes
    the request's body after a failed dial, so that the retry fails too and counts against a healthy instance.
    """
    tries = {
        "try_duration": _milliseconds(route.timeout + RETRY_WINDOW),
        "try_interval": _milliseconds(RETRY_INTERVAL),
        "retries": round(RETRY_WINDOW / RETRY_INTERVAL),
    }
    both = {**_transport(route, dials), **_health_checks(route, dials), **streams}
    safe = {**both, "load_balancing": {**_LEAST_CONN, **tries}}
    once = {**both, "load_balancing": _LEAST_CONN}
    return {"handler": "subroute", "routes": [{"match": [{"method": SAFE_METHODS}], "handle": [safe]}, {"handle": [once]}]}


def _health_checks(route: Route, dials: list[str]) -> Json:
    """A single instance gets none: there is no other to choose, and the dial is retried until it is back.

    Passive: an instance that refuses connections has the fewest, so under load it would get all requests. But each
    failed try counts, whatever its cause: a few requests for one slow page take all instances out. So only for 1 s.
    """
    if len(dials) < 2:
        return {}
    passive = {"fail_duration": "1s", "max_fails": 1}
    headers = {"Host": [route.domain], "X-Forwarded-Proto": ["https"]}  # as the requests have them
    active = {"uri": route.check_path, "interval": "1s", "timeout": "1s", "headers": headers}
    return {"health_checks": {"passive": passive, **({"active": active} if route.check_path else {})}}


def _transport(route: Route, dials: list[str]) -> Json:
    # An idle connection to a host that lost power hangs; a new dial fails fast, and can be retried safely.
    transport = {"protocol": "http", "dial_timeout": "1s", "response_header_timeout": _milliseconds(route.timeout),
                 "keep_alive": {"enabled": False}}  # fmt: skip
    return {"handler": "reverse_proxy", "upstreams": [{"dial": d} for d in dials], "transport": transport}


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
