"""The door for records: JSON in, the fields of a Record out, or every fault with its path. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voluptuous import REMOVE_EXTRA, Invalid, MultipleInvalid, Optional, Required, Schema

from ...core.errors import InputError
from .record import KINDS, VERDICTS, Moment, Primary, Promise, Record, Requests, Sample

_FAR = 1e12  # no second and no millisecond of a drill is larger, and no arithmetic on less overflows
_MOST = 10  # faults told at once: a file that is no record at all would fill the screen


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid("is not a number")
    if not math.isfinite(value) or abs(value) > _FAR:
        raise Invalid("is no finite number below 1e12")
    return float(value)


def count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _FAR:
        raise Invalid("is not a count")
    return value


def truth(value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid("is neither true nor false")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Invalid("is not text")
    return value


def among(words: Sequence[str], instead: str | None = None) -> Callable[[object], str]:
    """One of `words`; another text becomes `instead`, where there is one."""

    def pick(value: object) -> str:
        if text(value) not in words and instead is None:
            raise Invalid(f"is none of {', '.join(words)}")
        return text(value) if value in words else str(instead)

    return pick


def maybe(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else check(value)


def many(check: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """A list of such; the path of a fault has the number of the item."""

    def each(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise Invalid("is not a list")
        found, faults = [], []
        for number_, item in enumerate(value):
            try:
                found.append(check(item))
            except MultipleInvalid as error:
                faults += [Invalid(e.msg, [number_, *e.path]) for e in error.errors]
            except Invalid as error:
                faults.append(Invalid(error.msg, [number_, *error.path]))
        if faults:
            raise MultipleInvalid(faults)
        return tuple(found)

    return each


def sample(value: object) -> Sample:
    if not isinstance(value, (list, tuple)) or len(value) != 3 or value[2] not in (0, 1):
        raise Invalid("is not [at_s, ms, 0 or 1]")
    return Sample(number(value[0]), max(0.0, number(value[1])), bool(value[2]))


def _mapping(due: Mapping[Any, Any]) -> Callable[[object], Any]:
    schema = Schema(due, extra=REMOVE_EXTRA)

    def take(value: object) -> Any:
        if not isinstance(value, dict):
            raise Invalid("is not a mapping")
        return schema(value)

    return take


_PROMISE = {
    Optional("text"): text, Optional("recover_s"): maybe(number), Optional("detect_s"): maybe(number),
    Optional("failed_requests"): maybe(count),
}  # fmt: skip
_REQUESTS = {
    **{Optional(key): count for key in ("sent", "failed", "slow")},
    **{Optional(key): maybe(number) for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "slow_ms")},
}
_RECORD = _mapping({
    Required("drill"): text, Required("verdict"): among(VERDICTS), Required("began"): number,
    **{Optional(key): text for key in ("target", "cluster", "why", "version")},
    **{Optional(key): maybe(number) for key in ("detected_s", "recovered_s", "fault_at_s", "healed_at_s")},
    Optional("hosts"): many(text), Optional("error_s"): number, Optional("ttl_s"): number,
    Optional("promise", default=dict): _mapping(_PROMISE), Optional("requests", default=dict): _mapping(_REQUESTS),
    Optional("primaries", default=list): many(
        _mapping({Required("host"): text, Required("epoch"): count, Required("at_s"): number})),
    Optional("two_primaries"): maybe(many(text)),
    Optional("timeline", default=list): many(
        _mapping({Required("at_s"): number, Required("kind"): among(KINDS, "note"), Required("text"): text})),
    Optional("samples"): many(sample), Optional("forced"): maybe(text),
    Optional("since_undo"): truth,
})  # fmt: skip


def read_record(value: object) -> Record:
    """The record in parsed JSON of any version: a missing key has its default, an unknown one is left out.

    InputError names every fault.
    """
    made = _checked(value)
    made["promise"], made["requests"] = Promise(**made["promise"]), Requests(**made["requests"])
    made["primaries"] = tuple(Primary(**p) for p in made["primaries"])
    made["timeline"] = tuple(Moment(**m) for m in made["timeline"])
    return Record(**made)


def _checked(value: object) -> dict[str, Any]:
    """The fields of a Record, lists as tuples; a kind of moment that a newer version invented is a note."""
    try:
        made: dict[str, Any] = _RECORD(value)
    except MultipleInvalid as error:
        told = sorted(f"{_path(e)}: {e.msg}" for e in error.errors)
    except Invalid as error:
        told = [f"{_path(error)}: {error.msg}"]
    else:
        return made
    rest = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
    raise InputError([*told[:_MOST], *rest], "this is no record of a drill, or a damaged one")


def _path(error: Invalid) -> str:
    """`record.timeline[3].at_s`"""
    return "record" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.path)
