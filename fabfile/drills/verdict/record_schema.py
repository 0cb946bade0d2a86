"""Reads records: parsed JSON in, a Record out, or an InputError that names every fault with its path. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from voluptuous import REMOVE_EXTRA, Invalid, MultipleInvalid, Optional, Required, Schema

from ...core.errors import InputError
from .record import MOMENT_KINDS, VERDICTS, Moment, Primary, Promise, Record, Requests, Sample

_MAX_NUMBER = 1e12  # no second and no millisecond of a drill is larger, and arithmetic below it does not overflow
_MAX_FAULTS = 10  # shown at once: a file that is no record at all would fill the screen


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise Invalid("is not a number")
    if not math.isfinite(value) or abs(value) > _MAX_NUMBER:
        raise Invalid("is no finite number below 1e12")
    return float(value)


def count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MAX_NUMBER:
        raise Invalid("is not a count")
    return value


def boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise Invalid("is neither true nor false")
    return value


def text(value: object) -> str:
    if not isinstance(value, str):
        raise Invalid("is not text")
    return value


def one_of(choices: Sequence[str], fallback: str | None = None) -> Callable[[object], str]:
    """One of `choices`; any other text becomes `fallback`, if there is one."""

    def check(value: object) -> str:
        if text(value) not in choices and fallback is None:
            raise Invalid(f"is none of {', '.join(choices)}")
        return text(value) if value in choices else str(fallback)

    return check


def nullable(check: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else check(value)


def list_of(check: Callable[[object], Any]) -> Callable[[object], tuple[Any, ...]]:
    """A list whose items all pass `check`; the path of a fault has the item's number."""

    def check_items(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)):
            raise Invalid("is not a list")
        items, faults = [], []
        for index, item in enumerate(value):
            try:
                items.append(check(item))
            except MultipleInvalid as error:
                faults += [Invalid(e.msg, [index, *e.path]) for e in error.errors]
            except Invalid as error:
                faults.append(Invalid(error.msg, [index, *error.path]))
        if faults:
            raise MultipleInvalid(faults)
        return tuple(items)

    return check_items


def sample(value: object) -> Sample:
    if not isinstance(value, (list, tuple)) or len(value) != 3 or value[2] not in (0, 1):
        raise Invalid("is not [at_s, ms, 0 or 1]")
    return Sample(number(value[0]), max(0.0, number(value[1])), bool(value[2]))


def _mapping(keys: Mapping[Any, Any]) -> Callable[[object], Any]:
    schema = Schema(keys, extra=REMOVE_EXTRA)

    def check(value: object) -> Any:
        if not isinstance(value, dict):
            raise Invalid("is not a mapping")
        return schema(value)

    return check


_PROMISE = {
    Optional("text"): text, Optional("recover_s"): nullable(number), Optional("detect_s"): nullable(number),
    Optional("failed_requests"): nullable(count),
}  # fmt: skip
_REQUESTS = {
    **{Optional(key): count for key in ("sent", "failed", "slow")},
    **{Optional(key): nullable(number) for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms", "slow_ms")},
}
_RECORD = _mapping({
    Required("drill"): text, Required("verdict"): one_of(VERDICTS), Required("began"): number,
    **{Optional(key): text for key in ("target", "cluster", "why", "version")},
    **{Optional(key): nullable(number) for key in ("detected_s", "recovered_s", "fault_at_s", "healed_at_s")},
    Optional("hosts"): list_of(text), Optional("error_s"): number, Optional("ttl_s"): number,
    Optional("promise", default=dict): _mapping(_PROMISE), Optional("requests", default=dict): _mapping(_REQUESTS),
    Optional("primaries", default=list): list_of(
        _mapping({Required("host"): text, Required("epoch"): count, Required("at_s"): number})),
    Optional("two_primaries"): nullable(list_of(text)),
    Optional("timeline", default=list): list_of(
        _mapping({Required("at_s"): number, Required("kind"): one_of(MOMENT_KINDS, "note"), Required("text"): text})),
    Optional("samples"): list_of(sample), Optional("forced"): nullable(text),
    Optional("since_undo"): boolean,
})  # fmt: skip


def read_record(value: object) -> Record:
    """The record in parsed JSON of any version: a missing key gets its default, an unknown one is left out.

    InputError names every fault.
    """
    values = _checked(value)
    values["promise"], values["requests"] = Promise(**values["promise"]), Requests(**values["requests"])
    values["primaries"] = tuple(Primary(**p) for p in values["primaries"])
    values["timeline"] = tuple(Moment(**m) for m in values["timeline"])
    return Record(**values)


def _checked(value: object) -> dict[str, Any]:
    """The fields of a Record, lists as tuples; a kind of moment that a newer version added becomes a note."""
    try:
        values: dict[str, Any] = _RECORD(value)
    except MultipleInvalid as error:
        faults = sorted(f"{_path(e)}: {e.msg}" for e in error.errors)
    except Invalid as error:
        faults = [f"{_path(error)}: {error.msg}"]
    else:
        return values
    rest = [f"and {len(faults) - _MAX_FAULTS} more"] if len(faults) > _MAX_FAULTS else []
    raise InputError([*faults[:_MAX_FAULTS], *rest], "this is no record of a drill, or a damaged one")


def _path(error: Invalid) -> str:
    """`record.timeline[3].at_s`"""
    return "record" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.path)
