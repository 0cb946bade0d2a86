"""Which instances of a service Caddy should have as upstreams, from Consul's health checks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Instance = tuple[str, int]  # IP address, port

LINGER = 60.0  # seconds that a failing instance stays an upstream while another one passes
HOLD = 0.0  # seconds that the last instances stay upstreams with none passing: then requests wait for them, before 503


def parse_instances(entries: Any) -> dict[Instance, bool]:
    """{instance: whether all its checks pass}, from /v1/health/service/NAME. One in maintenance is left out.

    TypeError, KeyError, ValueError or AttributeError for an answer of another form.
    """
    if not isinstance(entries, list):
        raise TypeError("no list of instances")
    instances: dict[Instance, bool] = {}
    for entry in entries:
        checks = entry.get("Checks") or []
        if any(str(c.get("CheckID", "")).startswith(("_node_maintenance", "_service_maintenance")) for c in checks):
            continue
        service = entry["Service"]
        instance = (str(service.get("Address") or entry["Node"]["Address"]), int(service["Port"]))
        instances[instance] = all(c.get("Status") == "passing" for c in checks)
    return instances


def choose_upstreams(
    instances: Mapping[Instance, bool],
    published: Iterable[Instance],
    failing_since: Mapping[Instance, float],
    now: float,
    checked: bool,
) -> list[Instance]:
    """All instances that pass and, of the `published` ones, those failing ones that may be back in a moment.

    A reload is not free: it may cut connections that are just being made. Where Caddy's own check keeps requests off a
    failing instance (`checked`) and another one passes, an instance that dies and comes back needs no reload.
    """
    passing = {instance for instance, passes in instances.items() if passes}
    delay = HOLD if not passing else LINGER if checked else 0.0
    return sorted(passing | {i for i in published if i in instances and now < failing_since.get(i, now) + delay})
