"""Checks of the numbers, names, paths and choices of services.yml, each by a strict pattern.

How a check reports: see `schema`. Free text (commands, environment, headers) is in `service_texts`.
"""

from __future__ import annotations

import re

from voluptuous import Invalid, MultipleInvalid, Schema

from ..model.service import Check, CheckKind, Replicas
from . import checks, keys
from . import schema as s
from . import value_checks as v
from .checks import described
from .fault import shown

MOST_REPLICAS = 1000
_KINDS: tuple[CheckKind, ...] = ("http", "tcp", "ttl")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_TAKEN = {
    22: "SSH's", 80: "the load balancer's (HTTP)", 443: "the load balancer's (HTTPS)", 2019: "Caddy's (admin API)",
    8300: "Consul's (server RPC)", 8301: "Consul's (gossip)", 8302: "Consul's (gossip between datacenters)",
    8500: "Consul's (HTTP API)", 8600: "Consul's (DNS)",
}  # fmt: skip
_IMAGE = (
    r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"  # registry
    r"[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|__?|-+)[a-z0-9]+)*)*"  # repository
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)

name = v.matching(
    r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", "a service name of lower-case letters a-z, digits and inner hyphens", 40,
    "`a-z 0-9 _ -`, letter or digit at both ends, at most 40; not `consul`, not `nexus-…`",
)  # fmt: skip
image = v.matching(_IMAGE, "an image such as nginx:1.27 or registry.example.org/app@sha256:…", 400)


@described(
    v.port.schema,
    "1–65535; not 22, 80, 443, 2019, 8300–8302, 8500, 8600, nor the SSH port of a worker; one service a port",
)
def port(value: object) -> int:
    """A TCP port on which nothing of the cluster itself listens."""
    number = int(v.port(value))
    if number in _TAKEN:
        raise Invalid(f"is {_TAKEN[number]} port on the hosts; choose another")
    return number


_USER = v.matching(
    r"([a-z_][a-z0-9_-]*|[0-9]{1,10})(:([a-z_][a-z0-9_-]*|[0-9]{1,10}))?",
    "a user name (a-z, 0-9, - and _, not beginning with a digit or -); an image also takes a number, and a group behind it",
    65,
)


@described({"anyOf": [_USER.schema, {"type": "integer", "minimum": 0}]})
def user(value: object) -> str:
    """A user's name. Of an image also `1000`, `1000:1000`, `app:app` (`services` refuses these for a command)."""
    return str(_USER(str(value) if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else value))


def duration(low: float, high: float) -> checks.Check:
    """Seconds, as a number or as text with a unit (`500ms`, `10s`, `1m`, `1h`), to the millisecond."""
    written = {"type": "string", "pattern": r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h)$"}
    due = f"a duration from {_spoken(low)} to {_spoken(high)}: seconds, or text such as 500ms, 10s, 1m"

    @described({"anyOf": [{"type": "number", "minimum": low, "maximum": high}, written]}, f"{_words(low)} – {_words(high)}")
    def seconds(value: object) -> float:
        parts = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)", value) if isinstance(value, str) else None
        found = float(parts[1]) * _UNITS[parts[2]] if parts else value
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not low <= found <= high:
            raise Invalid(f"is not {due}")
        return round(float(found), 3)

    return seconds


def _spoken(seconds: float) -> str:
    unit = next((u for u in ("h", "m", "s") if seconds >= _UNITS[u] and seconds % _UNITS[u] == 0), "ms")
    return f"{round(seconds / _UNITS[unit])}{unit}"


def _words(seconds: float) -> str:
    """`100 ms`, `5 min`, for documentation."""
    text = _spoken(seconds)
    amount, unit = re.fullmatch(r"(\d+)(\w+)", text).groups()  # type: ignore[union-attr]
    return f"{amount} {'min' if unit == 'm' else unit}"


def number(low: float, high: float, due: str, whole: bool = True, range: str = "") -> checks.Check:
    """A number from low to high; `due` completes `… is not`."""

    @described({"type": "integer" if whole else "number", "minimum": low, "maximum": high}, range or f"{low:g}–{high:g}")
    def within(value: object) -> int | float:
        kinds = (int,) if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise s.WantsNumber(f"is not {due}")
        return value if whole else float(value)

    return within


@described(
    {"anyOf": [{"type": "integer", "minimum": 6, "maximum": 1 << 24}, {"type": "string", "pattern": "^[0-9]{1,8}[MG]$"}]},
    "from 6M; `256M`, `1G`, or a number of M",
)
def memory(value: object) -> int:
    """MiB, from a whole number of them or text with the unit M or G. Docker takes no less than 6."""
    parts = re.fullmatch(r"([0-9]{1,8})([MG])", value) if isinstance(value, str) else None
    found = int(parts[1]) * {"M": 1, "G": 1024}[parts[2]] if parts else value
    if isinstance(found, bool) or not isinstance(found, int) or not 6 <= found <= 1 << 24:
        raise Invalid("is not an amount of memory from 6M on, such as 256M, 1G, or a number of M")
    return found


_PATH = v.matching(r"/[A-Za-z0-9._~/-]*", "a path such as /api (/ first; letters, digits, . _ ~ - and /)", 255)


@described(_PATH.schema, "letters, digits, `. _ ~ - /`; at most 255")
def path(value: object) -> str:
    """A URL's path, in the form without a slash at its end."""
    text = str(_PATH(value))
    if ".." in text or "//" in text or "." in text.split("/"):
        raise Invalid("is not a plain path: it holds .., //, or a part that is only a dot")
    return text.rstrip("/") or "/"


def _check_path(value: object) -> str:
    """A URL's path, kept as it is, with an optional query."""
    text = v.text(value)
    head, mark, query = text.partition("?")
    path(head)
    if mark and not re.fullmatch(r"[A-Za-z0-9._~/=&-]{0,255}", query):
        raise Invalid("is not a path and a plain query such as /health?deep=1")
    return text


def _chosen(value: object) -> bool:
    if value is not True:
        raise Invalid("is not true; leave the key out for no such check")
    return True


CHECK_KEYS = (
    keys.Key("http", _check_path, "the path that must answer 2xx", schema=v.TEXT),
    keys.Key("tcp", _chosen, "it takes a connection", schema={"const": True}),
    keys.Key("ttl", _chosen, "its process is there, says the worker agent", schema={"const": True}),
    # Consul runs no check more often than once a second (agent/checks: MinInterval)
    keys.Key("interval", duration(1, 3600), "from one check to the next", "2 s"),
    keys.Key("timeout", duration(0.1, 300), "of one check", "1 s"),
)
_CHECK = Schema(keys.fields(CHECK_KEYS))


@described({"anyOf": [{"enum": ["tcp", "ttl"]}, {"type": "string", "pattern": "^/"}]})
def check(value: object) -> Check:
    """A mapping with exactly one of http, tcp and ttl, or a short form: `/health`, `tcp`, `ttl`."""
    if isinstance(value, str):
        if value.startswith("/"):
            return Check("http", _check_path(value))
        if value in ("tcp", "ttl"):
            return Check("tcp" if value == "tcp" else "ttl")
    if not isinstance(value, dict):
        raise Invalid("is not a check: a path such as /health, tcp, ttl, or a mapping with http, tcp or ttl")
    kinds = [kind for kind in _KINDS if kind in value]
    faults: list[Invalid] = []
    if len(kinds) != 1:
        faults.append(s.Bare(f"names {' and '.join(kinds)}; one of them" if kinds else "names no http, tcp or ttl"))
    try:
        made = _CHECK(value)
    except MultipleInvalid as e:
        faults += e.errors
    if faults:
        raise MultipleInvalid(faults)
    times = {key: made[key] for key in ("interval", "timeout") if key in made}
    return Check(kinds[0], made.get("http", ""), **times)


def _bound(due: str) -> checks.Check:
    return number(1, MOST_REPLICAS, f"{due} number of instances (1-{MOST_REPLICAS})")


SCALE_KEYS = (
    keys.Key("min", _bound("the least"), "the least number of instances", "required",
             "is missing: the least number of instances"),
    keys.Key("max", _bound("the greatest"), "the greatest number of instances", "required",
             "is missing: the greatest number of instances"),
    keys.Key("cpu", number(1, 10_000, "a percentage of one core (1-10000)"),
             "percent of one core that an instance is to use", "required",
             "is missing: percent of one core that an instance is to use, such as 60"),
)  # fmt: skip
_SCALED = Schema(keys.fields(SCALE_KEYS))


@described({"anyOf": [{"const": "all"}, {"type": "integer", "minimum": 0, "maximum": MOST_REPLICAS}]})
def replicas(value: object) -> Replicas:
    """A number, `all`, or the bounds between which the number follows the CPU. Nothing is measured at 0 instances."""
    if value == "all":
        return Replicas(all=True, min=0, max=0)
    if isinstance(value, dict):
        made = _SCALED(value)
        if made["min"] > made["max"]:
            raise s.Bare(f"min {made['min']} is more than max {made['max']}")
        return Replicas(**made)
    due = f"a number of instances (0-{MOST_REPLICAS}), all, or {{min, max, cpu}}"
    count = int(number(0, MOST_REPLICAS, due)(value))
    return Replicas(min=count, max=count)


def hint_for(bad: str) -> str:
    """`; write hello-world`, where that would be a name."""
    better = re.sub(r"[^a-z0-9]+", "-", bad.lower()).strip("-")[:40].strip("-")
    return f"; write {shown(better)}" if better and better != bad else ""
