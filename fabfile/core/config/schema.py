"""Checks of single values, and one way to report them: all at once, with path, value and what was due.

A check is a voluptuous validator: it returns the value in its one normal form, or raises one of
    Invalid      `is not a port (1-65535)`: follows the value
    WantsText    YAML made something else of it: the report says what, and how to write it
    WantsNumber  the same, for numbers
    Bare         stands without the value
Values that pass later reach shell, systemd units, Caddyfiles and HCL; so each check names what is allowed.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from voluptuous import DictInvalid, Invalid, MultipleInvalid, RequiredFieldInvalid, Schema

from ..errors import InputError
from .yaml_tree import Fault, Misread, Path, Tree, parse, reading, shown

Check = Callable[[object], Any]


class WantsText(Invalid):
    """Text was due."""


class WantsNumber(Invalid):
    """A number in plain decimal digits was due."""


class Bare(Invalid):
    """The message stands alone."""


def mapping(fields: Mapping[Any, Any]) -> dict[Any, Any]:
    """A voluptuous mapping whose unknown keys are faults that name the nearest known one."""
    names = [str(key.schema) for key in fields]

    def unknown(key: object) -> object:
        raise Bare(f"unknown key; {nearest(str(key), names) or 'known are ' + ', '.join(names)}")

    return {**fields, unknown: object}


def key(checked: Check) -> Check:
    """A check of a mapping's keys: the report then does not show the value, which is not at fault."""

    def accept(value: object) -> Any:
        try:
            return checked(value)
        except Invalid as e:
            raise Bare(f"the name {e.msg}") from None

    return accept


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean port?`, or an empty string when nothing is near."""
    from difflib import SequenceMatcher  # here, since 5 ms are not paid unless there is a fault

    ratios = {name: SequenceMatcher(None, name, word[:100]).ratio() for name in known}
    best = max(ratios.values(), default=0.0)
    near = [name for name, ratio in ratios.items() if ratio == best][:3]
    return f"did you mean {' or '.join(near)}?" if best >= 0.5 else ""


def check(schema: Schema, tree: Tree) -> tuple[Any, list[Fault]]:
    """The normal form of the tree (None when there are faults), and every fault in the file's order."""
    try:
        made, faults = schema(tree.value), list(tree.faults)
    except MultipleInvalid as e:
        # What is missing goes last, by name: voluptuous tells it in the order of a set.
        errors = sorted(e.errors, key=lambda e: str(e.path[-1]) if isinstance(e, RequiredFieldInvalid) else "")
        made, faults = None, [*tree.faults, *(_fault(error, tree) for error in errors)]
    return (None if faults else made), faults


def refuse(faults: Iterable[Fault], source: str, hint: str) -> None:
    """InputError with all faults, in the file's order, each told once; nothing where there are none."""
    if told := sorted(faults, key=lambda f: f.line or 0):
        raise InputError(list(dict.fromkeys(f.render(source) for f in told)), hint)


def _fault(error: Invalid, tree: Tree) -> Fault:
    path: Path = tuple(p if isinstance(p, int) else str(p) for p in error.path)  # markers print as their key
    if isinstance(error, (Bare, RequiredFieldInvalid)):
        return tree.fault(path, error.msg)
    value = tree.value
    for part in path:
        value = value[part]
    return tree.fault(path, _message(error, value, tree.texts.get(path)))


_KINDS: Mapping[type[Invalid], str] = {DictInvalid: "a mapping", WantsNumber: "a number", WantsText: "text"}


def _empty(error: Invalid, text: str | None) -> str:
    """Of a key without a value, or with null: what was due."""
    if isinstance(error, WantsText):
        return "is empty; text is due" + (f", in quotes where the word itself is meant: {json.dumps(text)}" if text else "")
    if isinstance(error, DictInvalid):
        return "is empty; a mapping is due"
    due = error.msg.removeprefix("is not ")
    plain = due != error.msg and not {";", ":"} & set(due)
    return f"is empty; {due} is due" if plain else f"is empty, and {error.msg}"


def _message(error: Invalid, value: object, text: str | None) -> str:
    if value is None:
        return _empty(error, text)
    if isinstance(value, (dict, list)) or isinstance(error, DictInvalid):
        due = _KINDS.get(type(error))
        return f"{kind(value)} where {due} is due" if due else f"{kind(value)} {error.msg}"
    if text is not None and isinstance(error, WantsText):
        return f"YAML reads {_cut(text)} as {_said(value)}; write it in quotes: {json.dumps(_cut(text))}"
    if isinstance(value, Misread):
        plain = "; write it in plain digits" if isinstance(error, WantsNumber) else f", which {error.msg}"
        return f"YAML reads {_cut(text or '')} as {value.reading}{plain}"
    digits = isinstance(value, str) and value.isdecimal() and isinstance(error, WantsNumber)
    said = (
        json.dumps(_cut(value)) if isinstance(value, str) and _was_quoted(value) else shown(value if text is None else text)
    )
    return f"{said} {error.msg}" + ("; leave out the quotes" if digits else "")


def _was_quoted(value: str) -> bool:
    """Whether this text can only have stood in quotes, since without them YAML reads something else."""
    return value.isprintable() and not isinstance(parse(value).value, str)


def _said(value: object) -> str:
    return value.reading if isinstance(value, Misread) else reading(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"


def kind(value: object) -> str:
    """`a list`, `a mapping`, … for messages."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


def text(value: object) -> str:
    """Any text; refuses what YAML made into something else."""
    if not isinstance(value, str):
        raise WantsText("is not text")
    return value


def matching(pattern: str, due: str, longest: int = 63) -> Check:
    """Text that the whole pattern matches; `due` completes `… is not`. `longest` is in characters."""
    compiled = re.compile(pattern)

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
)
identifier = matching(r"[a-z0-9][a-z0-9_-]*", "a name of lower-case letters, digits, - and _ (a letter or digit first)")
user = matching(r"[a-z_][a-z0-9_-]*", "a user name (a-z, 0-9, - and _, not beginning with a digit or -)", 32)
tag = matching(r"[A-Za-z0-9][A-Za-z0-9._-]*", "a label (letters, digits, . _ and -; a letter or digit first)")


def ip(value: str) -> str | None:
    """The address in its normal form; None when it is none. IPv6 zones (`%eth0`) are none."""
    try:
        return None if "%" in value else str(ipaddress.ip_address(value))
    except ValueError:
        return None


def address(value: object) -> str:
    """An IPv4 address that other hosts can reach: what the probe finds and Consul's agents talk here."""
    due = ip(text(value).removeprefix("[").removesuffix("]"))
    if due is None:
        raise Invalid("is not an IPv4 address")
    if ":" in due:
        raise Invalid("is an IPv6 address; the cluster's own network is IPv4 (ssh may go to an IPv6 address)")
    made = ipaddress.ip_address(due)
    wrong = next((w for w in ("loopback", "unspecified", "multicast") if getattr(made, f"is_{w}")), "special")
    if wrong != "special" or due == "255.255.255.255" or getattr(made, "ipv4_mapped", None):
        raise Invalid(f"is of the {wrong} kind; give the address that the other hosts reach")
    return due


def port(value: object) -> int:
    """A TCP port."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 65535:
        raise WantsNumber("is not a port (1-65535)")
    return value


def flag(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise Invalid("is not true or false (without quotes)")
    return value


def domain(value: object) -> str:
    """A DNS name of two labels or more, in lower case."""
    labels = text(value).lower().split(".")
    good = all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", part) for part in labels)
    if not good or len(labels) < 2 or len(text(value)) > 253 or labels[-1].isdigit():
        raise Invalid("is not a DNS name such as example.org (umlauts: in xn-- form)")
    return ".".join(labels)


email = matching(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", "an e-mail address", 254)


def path(value: object) -> str:
    """A path on the operator's machine. Neither shell nor ssh may find anything to expand in it."""
    if not text(value) or len(text(value)) > 1024 or text(value).startswith("-"):
        raise Invalid("is not a path (1 to 1024 characters, not beginning with -)")
    if not text(value).isprintable() or re.search(r"[%$;|&<>\"'`{}*?\\]", text(value)):
        raise Invalid("is not a plain path (no control characters, no % $ ; | & < > \" ' ` { } * ? \\)")
    if re.match(r"~[^/]|~$", text(value)):
        raise Invalid("is not a path: only ~/… is expanded")
    return text(value)


def build(value: object) -> str:
    """The path of a binary; `{arch}` in it stands for the host's architecture, and is the only brace allowed."""
    path(text(value).replace("{arch}", "amd64"))
    return text(value)


def version(program: str, oldest: tuple[int, int, int]) -> Check:
    """A released version X.Y.Z of the program that is not older than `oldest`."""

    def supported(value: object) -> str:
        if not re.fullmatch(r"(0|[1-9][0-9]{0,3})(\.(0|[1-9][0-9]{0,3})){2}", text(value)):
            raise Invalid("is not a version of the form X.Y.Z, such as 1.22.7")
        if tuple(int(n) for n in text(value).split(".")) < oldest:
            floor = ".".join(str(n) for n in oldest)
            raise Invalid(f"is too old: {floor} is the oldest {program} supported")
        return text(value)

    return supported
