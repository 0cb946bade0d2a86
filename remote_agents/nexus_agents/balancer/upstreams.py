"""Which instances of a service Caddy should know, from what Consul says of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Instance = tuple[str, int]  # IP address, port

LINGER = 60.0  # seconds that a failing instance stays known while another one passes
HOLD = 0.0  # seconds that the last instances stay known with none passing: then requests wait for them, before 503


def seen(entries: Any) -> dict[Instance, bool]:
    """{instance: whether all its checks pass}, from /v1/health/service/NAME. One in maintenance counts as gone.

    TypeError, KeyError, ValueError or AttributeError for what is no such answer.
    """
    if not isinstance(entries, list):
        raise TypeError("no list of instances")
    found: dict[Instance, bool] = {}
    for entry in entries:
        checks = entry.get("Checks") or []
        if any(str(c.get("CheckID", "")).startswith(("_node_maintenance", "_service_maintenance")) for c in checks):
            continue
        service = entry["Service"]
        place = (str(service.get("Address") or entry["Node"]["Address"]), int(service["Port"]))
        found[place] = all(c.get("Status") == "passing" for c in checks)
    return found


def wanted(
    found: Mapping[Instance, bool], published: Iterable[Instance], since: Mapping[Instance, float], now: float, checked: bool
) -> list[Instance]:
    """What Caddy should be told: all that pass and, of those it knows (`published`), the ones that may be back in a moment.

    A reload is not free: connections that are just being made may be cut. Where Caddy's own check keeps requests off a
    failing instance (`checked`) and another one passes, none is needed for one that dies and comes back. `since`: when
    each failing one was first seen so.
    """
    passing = {instance for instance, passes in found.items() if passes}
    patience = HOLD if not passing else LINGER if checked else 0.0
    return sorted(passing | {i for i in published if i in found and now < since.get(i, now) + patience})
