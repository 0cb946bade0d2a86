"""From routes and instances to a Caddy that serves them: built, compared, loaded; what Caddy refuses is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..shared.notify import log, notify
from . import upstreams as instances
from .caddy_admin import Caddy, Refused, Unreachable
from .caddy_config import config, encoded, validation_config, with_id
from .caddy_routes import sift
from .faulty_services import faulty_services
from .upstreams import Instance

REFUSAL_PAUSE = 10.0  # seconds before Caddy is asked again for what it refused for no reason that a service gives


@dataclass(frozen=True, slots=True)
class BalancerInput:
    """routes: as they stand in Consul, `wire.ROUTES`; seen: {service: {instance: passes}}."""

    routes: list[Any]
    seen: Mapping[str, Mapping[Instance, bool]]

    @staticmethod
    def services(routes: Iterable[Any]) -> list[str]:
        """The names of all services with a sound route."""
        return sorted({r.service for r in sift(routes)[0]})

    def written(self) -> dict[str, Any]:
        passing = {s: sorted([*i] for i, passes in found.items() if passes) for s, found in self.seen.items()}
        return {"routes": self.routes, "upstreams": passing}

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> BalancerInput:
        found = {str(s): {(str(host), int(port)): True for host, port in pairs} for s, pairs in value["upstreams"].items()}
        return cls(list(value["routes"]), found)


class Publisher:
    def __init__(self, caddy: Caddy, settings: Mapping[str, Any]) -> None:
        self._caddy, self._settings = caddy, settings
        self._mark, self._body = "", b""  # of what Caddy took last
        self._live: dict[str, list[Instance]] = {}  # the instances in it
        self._since: dict[tuple[str, Instance], float] = {}  # when an instance was first seen failing
        self._refused: dict[str, tuple[bytes, str]] = {}  # service -> (its routes, Caddy's reason)
        self._paused = ("", 0.0)  # the id that Caddy refused, until when
        self._said: dict[str, str] = {}

    def publish(self, wanted: BalancerInput, at: float) -> BalancerInput | None:
        """Brings Caddy in step. The input without what was left out, once Caddy runs it; None when it does not."""
        routes = self._valid_routes(wanted.routes)
        live = self._instances(wanted, routes, at)
        mark, body = with_id(config(routes, live, self._settings))
        if mark == self._paused[0] and at < self._paused[1]:
            return None
        try:
            if mark != self._mark or not self._caddy.holds(mark):
                self._load(mark, body, live)
        except Unreachable as error:
            self._log_once("caddy", f"Caddy does not answer: {error}")
            return None
        except Refused as why:
            self._end_reloading_state()
            if self._exclude_faulty(routes, live, str(why)):
                return self.publish(wanted, at)
            self._log_once("caddy", f"Caddy refuses the configuration and keeps the one before: {why}")
            self._paused = (mark, at + REFUSAL_PAUSE)
            return None
        self._log_once("caddy", "")
        return BalancerInput(routes, wanted.seen)

    def _valid_routes(self, routes: Sequence[Any]) -> list[Any]:
        """The routes without those at fault; each fault is said once."""
        sound, faults = sift(routes)
        self._log_once("faults", "; ".join(f"{service} is left out: {why}" for service, why in faults))
        names = {r.service for r in sound}
        self._refused = {s: kept for s, kept in self._refused.items() if s in names and kept[0] == _own(routes, s)}
        return [r for r in routes if isinstance(r, Mapping) and r.get("service") in names - self._refused.keys()]

    def _instances(self, wanted: BalancerInput, routes: Sequence[Any], at: float) -> dict[str, list[Instance]]:
        sound = sift(routes)[0]
        failing = {(s, i) for s, found in wanted.seen.items() for i, passes in found.items() if not passes}
        self._since = {key: self._since.get(key, at) for key in failing}
        live = {}
        for service in {r.service for r in sound}:
            checked = all(r.check_path for r in sound if r.service == service)
            since = {i: self._since[s, i] for s, i in failing if s == service}
            live[service] = instances.wanted(wanted.seen.get(service, {}), self._live.get(service, ()), since, at, checked)
        return live

    def _load(self, mark: str, body: bytes, live: dict[str, list[Instance]]) -> None:
        self._caddy.load(body)
        if mark == self._mark:
            log("Caddy had lost its configuration; it has it again")
        for service in sorted(live.keys() | self._live.keys()):
            if live.get(service) != self._live.get(service):
                log(_told(service, live.get(service)))
        self._mark, self._body, self._live, self._paused = mark, body, live, ("", 0.0)

    def _exclude_faulty(self, routes: Sequence[Any], live: Mapping[str, list[Instance]], why: str) -> bool:
        """Leaves out the services to blame for Caddy's refusal, and says so. Whether there are any. Unreachable."""

        def rejection(services: Sequence[str]) -> str | None:
            notify("WATCHDOG=1")
            alone = [r for r in routes if r["service"] in services]
            return self._caddy.rejection(lambda folder: validation_config(alone, live, folder))

        try:
            found = faulty_services(sorted(live), rejection)
        except Unreachable as error:
            self._log_once("trial", f"Caddy refused a configuration ({why}) and cannot be asked which part: {error}")
            return False
        for service, reason in sorted(found.items()):
            log(f"{service} is left out, for Caddy refuses it: {reason}")
            self._refused[service] = (_own(routes, service), reason)
        return bool(found)

    def _end_reloading_state(self) -> None:
        """To systemd, Caddy 2.6.2 is `reloading` from a refusal on until it is asked for something that it takes."""
        with contextlib.suppress(Refused, Unreachable):
            if self._body:
                self._caddy.load(self._body)

    def _log_once(self, topic: str, sentence: str) -> None:
        """Says it when it is not what was said last on this topic; "" ends the topic."""
        if sentence and self._said.get(topic) != sentence:
            log(sentence)
        self._said[topic] = sentence


def _own(routes: Sequence[Any], service: str) -> bytes:
    return encoded({"": [r for r in routes if isinstance(r, Mapping) and r.get("service") == service]})


def _told(service: str, live: Sequence[Instance] | None) -> str:
    if live is None:
        return f"{service} is no longer published"
    if not live:
        return f"{service} has no healthy instance; Caddy answers 503 for it"
    return f"Caddy sends {service} to " + ", ".join(f"{host}:{port}" for host, port in live)
