"""nexus-balancer: Caddy's upstreams follow Consul's healthy instances. It runs as Caddy's own user.

Caddy gets only what a quorum of Consul's servers has confirmed (`?consistent`). A server that has just started may
answer a stale query with 200 and an empty list, and without upstreams every service would be down.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..shared import kv_schema
from ..shared.atomic_files import write_atomically
from ..shared.blocking_query import Watch
from ..shared.clock import now
from ..shared.consul_api import Consul, ConsulError
from ..shared.notify import alive, log, notify
from .caddy_admin import Caddy
from .publisher import BalancerInput, Publisher
from .upstreams import parse_instances

POLL_INTERVAL = 1.0  # seconds: how soon a Caddy that lost its configuration is noticed
BURST_DELAY = 0.1  # seconds to wait for more changes, as they come in bursts
REFRESH_INTERVAL = 30.0  # seconds, in case a change was missed


class NoRoutes(Exception):
    """Consul answered, but holds no routes."""


def fetch_input(consul: Consul) -> BalancerInput:
    """Routes and instances, all from the leader and confirmed by a quorum. ConsulError, NoRoutes."""
    _, value = consul.read(kv_schema.ROUTES, consistent=True)
    routes = value.get("routes") if isinstance(value, dict) else None
    if not isinstance(routes, list):
        raise NoRoutes("it holds no routes that could be read")
    instances = {}
    for service in BalancerInput.services(routes):
        notify("WATCHDOG=1")
        _, entries = consul.get(f"/v1/health/service/{service}?consistent")
        try:
            instances[service] = parse_instances(entries)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConsulError(f"/v1/health/service/{service}: an answer of another form ({error!r})") from error
    return BalancerInput(routes, instances)


class LastGoodInput:
    """The last input that Caddy ran, on disk."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "last.json"
        self._text = ""  # last written

    def load(self) -> BalancerInput | None:
        """None for a missing or damaged file."""
        try:
            return BalancerInput.from_json(json.loads(self._file.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            log(f"{self._file} is damaged and not used: {error!r}")
            return None

    def save(self, good: BalancerInput) -> None:
        """Writes it where it has changed; a failure is only logged."""
        text = json.dumps(good.to_json(), sort_keys=True)
        if text == self._text:
            return
        try:
            write_atomically(self._file, text, 0o600)
            self._text = text
        except OSError as error:
            log(f"The last good input could not be kept in {self._file}: {error}")


class Balancer:
    """A turn fetches the input where it is due, and makes Caddy serve it. It never raises and never waits for long."""

    def __init__(self, consul: Consul, publisher: Publisher, last_good: LastGoodInput) -> None:
        self._consul, self._publisher, self._last_good = consul, publisher, last_good
        self._input: BalancerInput | None = None
        self._fetch_at = 0.0  # when to ask Consul, at the latest
        self._last_error: str | None = None  # type of Consul's error; None while it answers

    def restore(self) -> None:
        """Gives Caddy the last good input, without waiting for Consul."""
        if (last := self._last_good.load()) is not None:
            log("From disk: the last good routes and instances")
            self._input = last
            self._publisher.publish(last, now())

    def turn(self, changed: bool) -> None:
        """`changed`: whether Consul has news."""
        at = now()
        if changed or at >= self._fetch_at:
            self._fetch(at)
        if self._input is not None and (good := self._publisher.publish(self._input, at)) is not None:
            self._last_good.save(good)

    def _fetch(self, at: float) -> None:
        try:
            self._input = fetch_input(self._consul)
        except (ConsulError, NoRoutes) as error:
            self._fetch_at = at  # again in the next turn
            text = str(error) if isinstance(error, NoRoutes) else f"it does not answer as it should: {error}"
            if type(error).__name__ != self._last_error:
                log(f"Consul: {text}; Caddy keeps what it has")
            self._last_error = type(error).__name__
            return
        self._fetch_at = at + REFRESH_INTERVAL
        if self._last_error:
            log("Consul answers again")
        self._last_error = None


def main(settings: Mapping[str, Any], token: str | None) -> int:
    """settings: those of `caddy_config.build_config`, {"state": folder, "admin": socket} and optionally
    {"caddy": binary, "consul": address}."""
    consul = Consul(token, settings.get("consul", "127.0.0.1:8500"))
    caddy = Caddy(settings["admin"], **({"binary": settings["caddy"]} if "caddy" in settings else {}))
    publisher = Publisher(caddy, {**settings, "listen": f"unix/{settings['admin']}"})
    balancer = Balancer(consul, publisher, LastGoodInput(Path(settings["state"])))
    balancer.restore()
    changed = threading.Event()
    for path in ("/v1/health/state/any", f"/v1/kv/{kv_schema.ROUTES}"):
        Watch(consul, path, lambda _: changed.set()).start()
    notify("READY=1")
    pause = threading.Event()
    while True:
        if woken := changed.wait(POLL_INTERVAL):
            pause.wait(BURST_DELAY)
            changed.clear()  # only if it was set: a change that comes just after a timeout is for the next turn
        alive(consul.liveness.sentence())
        balancer.turn(woken)
