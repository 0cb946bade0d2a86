"""Which services cannot live on which worker: their port is taken there, their image is not to be had, the disk is full.

Pure: the times are arguments. Such a pairing is remembered for a while, in the KV store so that a new primary knows it, and
the placement prefers every other worker to that one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .placement_model import DesiredService, Instance, Observed
from .service_placement import is_up

FAILURES = 5  # ends of the process without a pass in between, by the worker's report
PATIENCE = 60.0  # seconds that an instance is not up, by the primary's own clock
REMEMBERED = 600.0  # seconds
MOST = 2  # workers on which one revision is given up: failing on a third as well, the service itself is to blame
MOST_IN_ALL = 200  # so that all fit into one transaction
NO_COUNT = ("pulling",)  # states that take as long as they take
Pairing = tuple[str, str]  # service, host


@dataclass(frozen=True, slots=True)
class Misfit:
    """until: unix time in seconds, so that the next primary can go on; why: for people"""

    revision: str
    until: float
    why: str


class Misfits:
    """`update` in each cycle; `reasons` for the placement; `dump` into kv_schema.MISFITS when `update` says so."""

    def __init__(self) -> None:
        self._found: dict[Pairing, Misfit] = {}
        self._down_since: dict[tuple[str, str, str], float] = {}  # (service, host, revision) -> by our own clock

    def load(self, stored: Any) -> None:
        """From the value of MISFITS; what is damaged is left out."""
        self._found = {}
        for service, hosts in stored.items() if isinstance(stored, dict) else ():
            for host, fields in hosts.items() if isinstance(hosts, dict) else ():
                try:
                    self._found[service, host] = Misfit(str(fields["revision"]), float(fields["until"]), str(fields["why"]))
                except (KeyError, TypeError, ValueError):
                    continue

    def dump(self) -> dict[str, dict[str, dict[str, Any]]]:
        """The value for MISFITS: service -> host -> {"revision", "until", "why"}."""
        value: dict[str, dict[str, dict[str, Any]]] = {}
        for (service, host), misfit in sorted(self._found.items()):
            fields = {"revision": misfit.revision, "until": round(misfit.until), "why": misfit.why}
            value.setdefault(service, {})[host] = fields
        return value

    def reasons(self) -> dict[Pairing, str]:
        """Why a service is kept off a host."""
        return {pairing: misfit.why for pairing, misfit in self._found.items()}

    def update(self, observed: Observed, desired: Mapping[str, DesiredService], now: float, unix_now: float) -> bool:
        """Takes in one look at the cluster. Whether anything that `dump` gives has changed."""
        before = dict(self._found)
        self._found = {
            (service, host): misfit for (service, host), misfit in self._found.items()
            if misfit.until > unix_now and service in desired and desired[service].revision == misfit.revision
        }  # fmt: skip
        down_since: dict[tuple[str, str, str], float] = {}
        down: list[tuple[DesiredService, str, Instance | None]] = []
        for host, orders in sorted(observed.orders.items()):
            for name in sorted(orders):
                service = desired.get(name)
                worker = observed.workers.get(host)
                if service is None or service.revision != orders[name] or worker is None or not worker.alive:
                    continue
                instance = observed.instances.get((name, host))
                if is_up(instance, service.revision):
                    self._found.pop((name, host), None)
                elif service.count is not None and not (instance and instance.state in NO_COUNT):
                    key = (name, host, service.revision)
                    down_since[key] = self._down_since.get(key, now)
                    down.append((service, host, instance))
        self._down_since = down_since
        late = {host for (_, host, _), since in down_since.items() if now - since >= PATIENCE}
        # most workers at once: then none of them is to blame, and a move would not help; lost tokens, for instance
        widespread = len(late) > 1 and 2 * len(late) > sum(w.alive for w in observed.workers.values())
        for service, host, instance in down:
            seconds = now - down_since[service.name, host, service.revision]
            self._judge(service, host, instance, 0.0 if widespread else seconds, unix_now)
        return self._found != before

    def _judge(self, service: DesiredService, host: str, instance: Instance | None, down: float, unix_now: float) -> None:
        """`down`: seconds for which it has not been up."""
        mine = instance if instance and instance.revision == service.revision else None
        failures = mine.failures if mine else 0
        if (service.name, host) in self._found or (failures < FAILURES and down < PATIENCE):
            return
        if sum(name == service.name for name, _ in self._found) >= MOST or len(self._found) >= MOST_IN_ALL:
            return
        state = "its worker does not report it" if mine is None else f"it is {mine.state}"
        why = mine.note if mine and mine.note else "its check does not pass" if state == "it is running" else state
        if down >= PATIENCE:
            why = f"not up for {down:.0f} s: {why}"
        self._found[service.name, host] = Misfit(service.revision, unix_now + REMEMBERED, why)
