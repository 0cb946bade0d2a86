"""The agent `nexus-balancer`: Caddy's upstreams follow Consul's healthy instances. It runs as Caddy's own user.

NoRoutes goes from here to Caddy but what a quorum of Consul's servers said (`?consistent`): a server that just started
may answer a stale question with 200 and an empty list, and upstreams that vanish would take every service down.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write
from ..shared.blocking_query import Watch
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import log, notify
from .caddy_admin import Caddy
from .publisher import BalancerInput, Publisher
from .upstreams import seen

POLL = 1.0  # seconds: how soon a Caddy that lost its configuration is noticed
GATHER = 0.1  # seconds, for changes that come in a burst
REFRESH = 30.0  # seconds, in case a change was missed


class NoRoutes(Exception):
    """Consul answered, but holds no routes."""


def fetch(consul: Consul) -> BalancerInput:
    """Routes and instances, all from the leader and confirmed by a quorum. ConsulError, NoRoutes."""
    _, value = consul.read(kv_schema.ROUTES, consistent=True)
    routes = value.get("routes") if isinstance(value, dict) else None
    if not isinstance(routes, list):
        raise NoRoutes("it holds no routes that could be read")
    found = {}
    for service in BalancerInput.services(routes):
        notify("WATCHDOG=1")
        _, entries = consul.get(f"/v1/health/service/{service}?consistent")
        try:
            found[service] = seen(entries)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConsulError(f"/v1/health/service/{service}: an answer of another form ({error!r})") from error
    return BalancerInput(routes, found)


class LastGoodInput:
    """The last good input, on disk."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "last.json"
        self._text = ""

    def recall(self) -> BalancerInput | None:
        try:
            return BalancerInput.read(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log(f"{self._file} is damaged and not used: {error!r}")
            return None

    def keep(self, good: BalancerInput) -> None:
        text = json.dumps(good.written(), sort_keys=True)
        if text == self._text:
            return
        try:
            write(self._file, text, 0o600)
            self._text = text
        except OSError as error:
            log(f"The last good input could not be kept in {self._file}: {error}")


class Balancer:
    """One turn looks at what changed, and brings Caddy in step; it never raises and never waits for long."""

    def __init__(self, consul: Consul, publisher: Publisher, memory: LastGoodInput) -> None:
        self._consul, self._publisher, self._memory = consul, publisher, memory
        self._input: BalancerInput | None = None
        self._due = 0.0  # when Consul is to be asked
        self._trouble: str | None = None

    def restore(self) -> None:
        """Caddy gets the last good input before Consul has answered."""
        if (last := self._memory.recall()) is not None:
            log("From disk: the last good routes and instances")
            self._input = last
            self._publisher.publish(last, now())

    def turn(self, changed: bool) -> None:
        at = now()
        if changed or at >= self._due:
            self._look(at)
        if self._input is not None and (good := self._publisher.publish(self._input, at)) is not None:
            self._memory.keep(good)

    def _look(self, at: float) -> None:
        try:
            self._input = fetch(self._consul)
        except (ConsulError, NoRoutes) as error:
            self._due = at  # again in the next turn
            what = str(error) if isinstance(error, NoRoutes) else f"it does not answer as it should: {error}"
            if type(error).__name__ != self._trouble:
                log(f"Consul: {what}; Caddy keeps what it has")
            self._trouble = type(error).__name__
            return
        self._due = at + REFRESH
        if self._trouble:
            log("Consul answers again")
        self._trouble = None


def main(settings: Mapping[str, Any], token: str | None) -> int:
    """settings: those of `caddy.config`, {"state": folder, "admin": socket}; perhaps {"caddy": file, "consul": address}."""
    consul = Consul(token, settings.get("consul", "127.0.0.1:8500"))
    caddy = Caddy(settings["admin"], **({"binary": settings["caddy"]} if "caddy" in settings else {}))
    publisher = Publisher(caddy, {**settings, "listen": f"unix/{settings['admin']}"})
    balancer = Balancer(consul, publisher, LastGoodInput(Path(settings["state"])))
    balancer.restore()
    changed = threading.Event()
    for path in ("/v1/health/state/any", f"/v1/kv/{kv_schema.ROUTES}"):
        Watch(consul, path, lambda _: changed.set()).start()
    notify("READY=1")
    rest = threading.Event()
    while True:
        if woken := changed.wait(POLL):
            rest.wait(GATHER)
            changed.clear()  # only then: what comes after a wait in vain is for the next turn
        notify("WATCHDOG=1")
        balancer.turn(woken)
