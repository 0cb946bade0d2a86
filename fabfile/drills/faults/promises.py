"""What we promise of each fault: the one table, and what of it a target is held to. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

from ...core.config.schema import nearest
from ...core.config.yaml_tree import shown
from ...core.errors import InputError
from ...core.model.cluster import Cluster
from ..verdict.record import Promise
from .model import Detection, Fault, Recovery
from .targets import Target

_AFTER = "what runs goes on; all is steady within {:g} s of the undo"


def _after(seconds: float, failed: int | None = None) -> Promise:
    return Promise(_AFTER.format(seconds), seconds, failed_requests=failed)


# recover_s and detect_s: seconds from the fault on (recover_s of `steady_after`: from its undo on). failed_requests:
# through the balancer; None: not promised. Numbers: the design's "we promise"; where it has none, ours, and marked so.
PROMISES: Mapping[str, Promise] = {
    "kill-service": Promise("back and passing in 10 s", 10),
    "hang-service": Promise("back and passing in 30 s", 30),
    "kill-agent": Promise("no service stops; the agent is back in 10 s", 10, failed_requests=0),
    "kill-balancer": Promise("the balancer is back in 10 s", 10),  # ours
    "kill-consul": Promise("no service stops; Consul's agent is back in 10 s", 10, failed_requests=0),
    "stop-primary": Promise("a standby acts in 2 s", 2),
    "kill-primary": Promise("a primary acts again in 5 s", 5),
    "freeze-primary": Promise("a standby acts in 10 s, and on waking the old primary does nothing", 10),
    "stop-host": Promise("no failed request through the balancer; replicas elsewhere in 30 s", 30, failed_requests=0),
    "stop-host-primary": Promise(
        "a standby acts in 15 s; no failed request through the balancer; replicas elsewhere in 30 s", 30, 15, 0
    ),
    # the 60 is ours
    "stop-host-quorum": Promise("workers go on; all recovers unattended within 60 s of a majority's return", 60),
    # a cut looks like a dead host from outside, so it is held to the same times; these are ours
    "partition": Promise("the cut-off side never acts; replicas on the other side in 30 s", 30),
    "partition-primary": Promise("the cut-off side never acts; a standby acts in 15 s; replicas elsewhere in 30 s", 30, 15),
    "partition-quorum": Promise("workers go on; no two primaries; all recovers unattended within 60 s of the undo", 60),
    # gossip that gets no answer by UDP asks by TCP, so nobody is dead; ours
    "partition-udp": _after(30),
    # all of these are ours
    "packet-loss": _after(30),
    "latency": _after(30),
    "fill-disk": _after(30),
    "burn-cpu": _after(30),
    "eat-memory": _after(30),
    "skew-clock": _after(30),
    "stop-docker": Promise("services in containers are back and passing in 30 s", 30),
    "corrupt-config": _after(10, failed=0),
}
_NUMBERS = tuple(f.name for f in fields(Promise) if f.name != "text")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is waited for, and what is promised, of a fault on its target. key: of the promise."""

    detection: Detection
    recovery: Recovery
    key: str
    promise: Promise


def expectation_for(
    fault: Fault, target: Target, cluster: Cluster, primary: str | None, table: Mapping[str, Promise] = PROMISES,
    values: Mapping[str, str] | None = None,
) -> Expectation:  # fmt: skip
    """A host that is lost with the primary on it, or with the managers' majority, is another matter than any host; so is
    one that is lost to gossip alone.
    """
    if (values or {}).get("way") == "udp":
        key = f"{fault.promise}-udp"
        return Expectation("none", "steady_after", key, table[key])
    managers = {h.name for h in cluster.having("manager")}
    if f"{fault.promise}-quorum" in table and len(managers - set(target.hosts)) <= len(managers) // 2:
        key = f"{fault.promise}-quorum"
        return Expectation("member_failed", "steady_after", key, table[key])
    if f"{fault.promise}-primary" in table and primary in target.hosts:
        key = f"{fault.promise}-primary"
        return Expectation("primary_changed", fault.recovery, key, table[key])
    return Expectation(fault.detection, fault.recovery, fault.promise, table[fault.promise])


def tightened(table: Mapping[str, Promise], overrides: Mapping[str, Mapping[str, float | None]]) -> dict[str, Promise]:
    """The table with an operator's own numbers, {key: {"recover_s" | "detect_s" | "failed_requests": number}}.

    InputError, all faults at once, for keys that are not known and for numbers that are none or looser than ours.
    """
    faults: list[str] = []
    made = dict(table)
    for key, numbers in overrides.items():
        if key not in table:
            faults.append(f"promises.{shown(key)}: nothing is promised of that; {nearest(key, table) or 'inv chaos.list'}")
            continue
        faults += [fault for name, value in numbers.items() if (fault := _refusal(table[key], key, name, value))]
        if not faults:
            made[key] = _told(replace(table[key], **numbers), tuple(numbers))  # type: ignore[arg-type]
    if faults:
        raise InputError(faults, "a promise can only be made tighter")
    return made


def _refusal(promise: Promise, key: str, name: str, value: float | None) -> str | None:
    at = f"promises.{key}.{shown(name)}"
    if name not in _NUMBERS:
        return f"{at}: unknown key; {nearest(name, _NUMBERS) or 'known are ' + ', '.join(_NUMBERS)}"
    ours: float | None = getattr(promise, name)
    whole = name == "failed_requests"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not 0 <= value < 1e6:
        return f"{at}: {shown(value)} is not a {'whole ' if whole else ''}number from 0 on"
    if not whole and value == 0:
        return f"{at}: 0 s cannot be kept by anybody"
    if ours is not None and value > ours:
        return f"{at}: {value:g} is looser than {ours:g}, which is promised"
    return None


def _told(promise: Promise, names: tuple[str, ...]) -> Promise:
    """The sentence says what the operator made of it."""
    own = ", ".join(f"{name} {getattr(promise, name):g}" for name in names)
    return replace(promise, text=f"{promise.text} (tightened: {own})") if own else promise
