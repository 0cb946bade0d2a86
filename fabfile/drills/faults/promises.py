"""The table of promises, collected from the faults; the promise for one target; an operator's tighter numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from ...core.config.fault import shown
from ...core.config.schema import nearest
from ...core.errors import InputError
from ...core.model.cluster import Cluster
from ..verdict.record import Promise
from .catalogue import FAULTS
from .model import Condition, Detection, Fault, Recovery
from .targets import Target

# recover_s and detect_s: seconds from the fault on (recover_s of `steady_after`: from its undo on). failed_requests:
# through the balancer; None: not promised.
PROMISES: Mapping[str, Promise] = {
    key: promise
    for fault in FAULTS.values()
    for key, promise in (
        (fault.promise_key(), fault.promise),
        *((fault.promise_key(case), case.promise) for case in fault.special_cases),
    )
}
_NUMBERS = tuple(f.name for f in fields(Promise) if f.name != "text")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a drill waits for and what is promised, for a fault on its target. key: of the promise."""

    detection: Detection
    recovery: Recovery
    key: str
    promise: Promise


def expectation_for(
    fault: Fault, target: Target, cluster: Cluster, primary: str | None, table: Mapping[str, Promise] = PROMISES,
    values: Mapping[str, str] | None = None,
) -> Expectation:  # fmt: skip
    """Of the last special case that applies; without one, the fault's ordinary expectation."""
    key = fault.promise_key()
    expectation = Expectation(fault.detection, fault.recovery, key, table[key])
    for case in fault.special_cases:
        if _applies(case.condition, target, cluster, primary, values or {}):
            key = fault.promise_key(case)
            expectation = Expectation(case.detection, case.recovery, key, table[key])
    return expectation


def _applies(
    condition: Condition, target: Target, cluster: Cluster, primary: str | None, values: Mapping[str, str]
) -> bool:
    if condition == "on_primary":
        return primary in target.hosts
    if condition == "breaks_quorum":
        managers = {h.name for h in cluster.having("manager")}
        return len(managers - set(target.hosts)) <= len(managers) // 2
    argument, value = condition
    return values.get(argument) == value


def tightened(table: Mapping[str, Promise], overrides: Mapping[str, Mapping[str, float | None]]) -> dict[str, Promise]:
    """The table with an operator's own numbers, {key: {"recover_s" | "detect_s" | "failed_requests": number}}.

    InputError, with all faults at once, for unknown keys and for numbers that are invalid or looser than ours.
    """
    errors: list[str] = []
    result = dict(table)
    for key, numbers in overrides.items():
        if key not in table:
            near = nearest(key, table) or "inv chaos.list"
            errors.append(f"promises.{shown(key)}: nothing is promised of that; {near}")
            continue
        errors += [error for name, value in numbers.items() if (error := _refusal(table[key], key, name, value))]
        if not errors:
            result[key] = _noted(replace(table[key], **numbers), tuple(numbers))  # type: ignore[arg-type]
    if errors:
        raise InputError(errors, "a promise can only be made tighter")
    return result


def _refusal(promise: Promise, key: str, name: str, value: float | None) -> str | None:
    path = f"promises.{key}.{shown(name)}"
    if name not in _NUMBERS:
        return f"{path}: unknown key; {nearest(name, _NUMBERS) or 'known are ' + ', '.join(_NUMBERS)}"
    ours: float | None = getattr(promise, name)
    whole = name == "failed_requests"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 <= value < 1e6:
        return f"{path}: {shown(value)} is not a {'whole ' if whole else ''}number from 0 on"
    if not whole and value == 0:
        return f"{path}: 0 s cannot be kept by anybody"
    if ours is not None and value > ours:
        return f"{path}: {value:g} is looser than {ours:g}, which is promised"
    return None


def _noted(promise: Promise, names: tuple[str, ...]) -> Promise:
    """The promise whose sentence names the numbers that the operator tightened."""
    numbers = ", ".join(f"{name} {getattr(promise, name):g}" for name in names)
    return replace(promise, text=f"{promise.text} (tightened: {numbers})") if numbers else promise
