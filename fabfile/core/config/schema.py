"""How a checked YAML document is reported: every fault at once, with its path, the value and what was due.

A check is a function that voluptuous calls with a value (`value_checks`, `service_values`, `service_texts`, `ssh_values`).
It returns the value in its one normal form, or raises one of
    Invalid      `is not a port (1-65535)`: follows the value
    WantsText    YAML read something else than text: the report says what, and how to write it
    WantsNumber  the same, for numbers
    Bare         the message stands without the value
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from voluptuous import DictInvalid, Invalid, MultipleInvalid, RequiredFieldInvalid, Schema

from ..errors import InputError
from .fault import Fault, Path, shown
from .yaml_tree import Misread, Tree, parse, reading

Validator = Callable[[object], Any]


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


def name_of_entry(checked: Validator) -> Validator:
    """A check of a mapping's keys. The report does not show the value, which is not at fault."""

    def accept(value: object) -> Any:
        try:
            return checked(value)
        except Invalid as e:
            raise Bare(f"the name {e.msg}") from None

    return accept


def nearest(word: str, known: Iterable[str]) -> str:
    """`did you mean port?`, or an empty string when nothing is near."""
    from difflib import SequenceMatcher  # imported here: it costs 5 ms, which only a fault has to pay

    ratios = {name: SequenceMatcher(None, name, word[:100]).ratio() for name in known}
    best = max(ratios.values(), default=0.0)
    near = [name for name, ratio in ratios.items() if ratio == best][:3]
    return f"did you mean {' or '.join(near)}?" if best >= 0.5 else ""


def check(schema: Schema, tree: Tree) -> tuple[Any, list[Fault]]:
    """The normal form of the tree (None when there are faults), and every fault in the file's order."""
    try:
        normal, faults = schema(tree.value), list(tree.faults)
    except MultipleInvalid as e:
        # Missing keys go last, by name: voluptuous reports them in the order of a set.
        errors = sorted(e.errors, key=lambda e: str(e.path[-1]) if isinstance(e, RequiredFieldInvalid) else "")
        normal, faults = None, [*tree.faults, *(_fault(error, tree) for error in errors)]
    return (None if faults else normal), faults


def refuse(faults: Iterable[Fault], source: str, hint: str) -> None:
    """InputError with all faults, in the file's order, each reported once. Nothing where there are none."""
    if ordered := sorted(faults, key=lambda f: f.line or 0):
        raise InputError(list(dict.fromkeys(f.render(source) for f in ordered)), hint)


def kind(value: object) -> str:
    """`a list`, `a mapping`, … for messages."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    return names.get(type(value), "a number")


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
    """The message for a key without a value, or with null: what was due."""
    if isinstance(error, WantsText):
        return "is empty; text is due" + (f", in quotes where the word itself is meant: {json.dumps(text)}" if text else "")
    if isinstance(error, DictInvalid):
        return "is empty; a mapping is due"
    due = error.msg.removeprefix("is not ")
    plain = due != error.msg and not {";", ":"} & set(due)
    return f"is empty; {due} is due" if plain else f"is empty, and {error.msg}"


def _message(error: Invalid, value: object, text: str | None) -> str:
    """`text`: the scalar as it stands in the file, where YAML read something else."""
    if value is None:
        return _empty(error, text)
    if isinstance(value, (dict, list)) or isinstance(error, DictInvalid):
        due = _KINDS.get(type(error))
        return f"{kind(value)} where {due} is due" if due else f"{kind(value)} {error.msg}"
    if text is not None and isinstance(error, WantsText):
        return f"YAML reads {_cut(text)} as {_reading(value)}; write it in quotes: {json.dumps(_cut(text))}"
    if isinstance(value, Misread):
        plain = "; write it in plain digits" if isinstance(error, WantsNumber) else f", which {error.msg}"
        return f"YAML reads {_cut(text or '')} as {value.reading}{plain}"
    digits = isinstance(value, str) and value.isdecimal() and isinstance(error, WantsNumber)
    quoted = isinstance(value, str) and _was_quoted(value)
    display = json.dumps(_cut(str(value))) if quoted else shown(value if text is None else text)
    return f"{display} {error.msg}" + ("; leave out the quotes" if digits else "")


def _was_quoted(value: str) -> bool:
    """True where the text stood in quotes: without them YAML reads something else."""
    return value.isprintable() and not isinstance(parse(value).value, str)


def _reading(value: object) -> str:
    return value.reading if isinstance(value, Misread) else reading(value)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else text[:60] + "…"
