"""Checks of single values that both YAML files share: names, addresses, ports, paths, versions.

Values that pass reach shell, systemd units, Caddyfiles and HCL later; so each check names what is allowed.
How a check reports: see `schema`.
"""

from __future__ import annotations

import ipaddress
import re

from voluptuous import Invalid

from .checks import Check, described
from .schema import WantsNumber, WantsText

TEXT = {"type": "string"}


def text(value: object) -> str:
    """Any text; refuses what YAML read as something else."""
    if not isinstance(value, str):
        raise WantsText("is not text")
    return value


def matching(pattern: str, due: str, longest: int = 63, range: str = "") -> Check:
    """Text that the whole pattern matches; `due` completes `… is not`. `longest` is in characters."""
    compiled = re.compile(pattern)

    @described({"type": "string", "pattern": f"^({pattern})$", "maxLength": longest}, range)
    def matches(value: object) -> str:
        if len(text(value)) > longest:
            raise Invalid(f"is longer than {longest} characters")
        if not compiled.fullmatch(text(value)):
            raise Invalid(f"is not {due}")
        return text(value)

    return matches


label = matching(
    r"[a-z0-9]([a-z0-9-]*[a-z0-9])?",
    "a host name of lower-case letters a-z, digits and inner hyphens (RFC 1123)",
    range="`a-z 0-9 -`, letter or digit at both ends, at most 63",
)
identifier = matching(
    r"[a-z0-9][a-z0-9_-]*",
    "a name of lower-case letters, digits, - and _ (a letter or digit first)",
    range="`a-z 0-9 - _`, letter or digit first, at most 63",
)
user = matching(
    r"[a-z_][a-z0-9_-]*",
    "a user name (a-z, 0-9, - and _, not beginning with a digit or -)",
    32,
    "`a-z 0-9 - _`, at most 32",
)
tag = matching(
    r"[A-Za-z0-9][A-Za-z0-9._-]*",
    "a label (letters, digits, . _ and -; a letter or digit first)",
    range="letters, digits, `. _ -`; at most 63",
)


def ip(value: str) -> str | None:
    """The address in its normal form; None when it is none. IPv6 zones (`%eth0`) are none."""
    try:
        return None if "%" in value else str(ipaddress.ip_address(value))
    except ValueError:
        return None


@described(TEXT, "an IPv4 address; not loopback, multicast or 0.0.0.0")
def address(value: object) -> str:
    """An IPv4 address that other hosts can reach: the probe and Consul's agents use IPv4 here."""
    normal = ip(text(value).removeprefix("[").removesuffix("]"))
    if normal is None:
        raise Invalid("is not an IPv4 address")
    if ":" in normal:
        raise Invalid("is an IPv6 address; the cluster's own network is IPv4 (ssh may go to an IPv6 address)")
    parsed = ipaddress.ip_address(normal)
    wrong = next((w for w in ("loopback", "unspecified", "multicast") if getattr(parsed, f"is_{w}")), "special")
    if wrong != "special" or normal == "255.255.255.255" or getattr(parsed, "ipv4_mapped", None):
        raise Invalid(f"is of the {wrong} kind; give the address that the other hosts reach")
    return normal


@described({"type": "integer", "minimum": 1, "maximum": 65535}, "1–65535")
def port(value: object) -> int:
    """A TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise WantsNumber("is not a port (1-65535)")
    return value


@described({"type": "boolean"}, "`true` or `false`")
def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Invalid("is not true or false (without quotes)")
    return value


@described({**TEXT, "maxLength": 253}, "two labels or more")
def domain(value: object) -> str:
    """A DNS name of two labels or more, in lower case."""
    labels = text(value).lower().split(".")
    good = all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", part) for part in labels)
    if not good or len(labels) < 2 or len(text(value)) > 253 or labels[-1].isdigit():
        raise Invalid("is not a DNS name such as example.org (umlauts: in xn-- form)")
    return ".".join(labels)


email = matching(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "an e-mail address", 254)


@described({**TEXT, "minLength": 1, "maxLength": 1024}, "a path on your machine; relative ones start at this file's folder")
def path(value: object) -> str:
    """A path on the operator's machine. Neither shell nor ssh may find anything to expand in it."""
    if not text(value) or len(text(value)) > 1024 or text(value).startswith("-"):
        raise Invalid("is not a path (1 to 1024 characters, not beginning with -)")
    if not text(value).isprintable() or re.search(r"[%$;|&<>\"'`{}*?\\]", text(value)):
        raise Invalid("is not a plain path (no control characters, no % $ ; | & < > \" ' ` { } * ? \\)")
    if re.match(r"~[^/]|~$", text(value)):
        raise Invalid("is not a path: only ~/… is expanded")
    return text(value)


@described(path.schema, "as a path; `{arch}` stands for the host's architecture")
def build(value: object) -> str:
    """The path of a binary. `{arch}` in it stands for the host's architecture, and is the only brace allowed."""
    path(text(value).replace("{arch}", "amd64"))
    return text(value)


def version(program: str, oldest: tuple[int, int, int]) -> Check:
    """A released version X.Y.Z of the program that is not older than `oldest`."""
    floor = ".".join(str(n) for n in oldest)

    @described({**TEXT, "pattern": r"^[0-9]+\.[0-9]+\.[0-9]+$"}, f"from {floor} on, in quotes")
    def supported(value: object) -> str:
        if not re.fullmatch(r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){2}", text(value)):
            raise Invalid("is not a version of the form X.Y.Z, such as 1.22.7")
        if tuple(int(n) for n in text(value).split(".")) < oldest:
            raise Invalid(f"is too old: {floor} is the oldest {program} supported")
        return text(value)

    return supported
