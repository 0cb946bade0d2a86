"""From routes and instances to a Caddy that serves them: builds its configuration, loads it where it has changed, and
leaves out the services that Caddy refuses."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..shared.notify import log, notify
from .caddy_admin import Caddy, CaddyUnreachable, ConfigRefused
from .caddy_config import build_config, build_validation_config, encode, with_id
from .caddy_routes import validate_routes
from .connection_drain import ConnectionDrain
from .faulty_services import faulty_services
from .upstreams import Instance, choose_upstreams

REFUSAL_PAUSE = 10.0  # seconds until a configuration that Caddy refused, through no fault of a service, is loaded again


@dataclass(frozen=True, slots=True)
class BalancerInput:
    """routes: unchecked, as in kv_schema.ROUTES; instances: {service: {instance: whether it passes}}."""

    routes: list[Any]
    instances: Mapping[str, Mapping[Instance, bool]]

    @staticmethod
    def services(routes: Iterable[Any]) -> list[str]:
        """The names of all services with a valid route."""
        return sorted({r.service for r in validate_routes(routes)[0]})

    def to_json(self) -> dict[str, Any]:
        """{"routes", "upstreams": {service: [[IP address, port]]}}, of the passing instances alone."""
        passing = {s: sorted([*i] for i, passes in found.items() if passes) for s, found in self.instances.items()}
        return {"routes": self.routes, "upstreams": passing}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> BalancerInput:
        """From `to_json`. KeyError, TypeError, ValueError or AttributeError for a value of another form."""
        instances = {
            str(service): {(str(host), int(port)): True for host, port in pairs}
            for service, pairs in value["upstreams"].items()
        }
        return cls(list(value["routes"]), instances)


class Publisher:
    """`settings`: those of `caddy_config.build_config`."""

    def __init__(self, caddy: Caddy, settings: Mapping[str, Any]) -> None:
        self._caddy, self._settings = caddy, settings
        self._drain = ConnectionDrain(Path(settings["runtime"]) if settings.get("runtime") else None)
        self._config_id, self._config = "", b""  # that Caddy accepted last
        self._upstreams: dict[str, list[Instance]] = {}  # in that configuration
        self._failing_since: dict[tuple[str, Instance], float] = {}
        self._refused: dict[str, tuple[bytes, str]] = {}  # service -> (its routes, Caddy's reason)
        self._paused = ("", 0.0)  # the id of a refused configuration, and until when it is not loaded again
        self._last_logged: dict[str, str] = {}  # topic -> sentence

    def publish(self, desired: BalancerInput, now: float) -> BalancerInput | None:
        """Makes Caddy serve this input. Returns it without refused routes once Caddy runs it; None when it does not."""
        routes = self._valid_routes(desired.routes)
        upstreams = self._choose_upstreams(desired, routes, now)
        config_id, config = with_id(build_config(routes, upstreams, self._settings))
        if config_id == self._paused[0] and now < self._paused[1]:
            return None
        try:
            if config_id != self._config_id or not self._caddy.runs(config_id):
                self._load(config_id, config, upstreams)
        except CaddyUnreachable as error:
            self._log_once("caddy", f"Caddy does not answer: {error}")
            return None
        except ConfigRefused as why:
            self._end_reloading_state()
            if self._exclude_faulty(routes, upstreams, str(why)):
                return self.publish(desired, now)
            self._log_once("caddy", f"Caddy refuses the configuration and keeps the one before: {why}")
            self._paused = (config_id, now + REFUSAL_PAUSE)
            return None
        self._log_once("caddy", "")
        return BalancerInput(routes, desired.instances)

    def _valid_routes(self, routes: Sequence[Any]) -> list[Any]:
        """The routes without invalid and refused ones; logs each fault once."""
        valid, faults = validate_routes(routes)
        self._log_once("faults", "; ".join(f"{service} is left out: {why}" for service, why in faults))
        names = {r.service for r in valid}
        # a service whose routes have changed gets another try
        self._refused = {s: r for s, r in self._refused.items() if s in names and r[0] == _encoded_routes(routes, s)}
        return [r for r in routes if isinstance(r, Mapping) and r.get("service") in names - self._refused.keys()]

    def _choose_upstreams(self, desired: BalancerInput, routes: Sequence[Any], now: float) -> dict[str, list[Instance]]:
        valid = validate_routes(routes)[0]
        failing = {(s, i) for s, found in desired.instances.items() for i, passes in found.items() if not passes}
        self._failing_since = {key: self._failing_since.get(key, now) for key in failing}
        upstreams = {}
        for service in {r.service for r in valid}:
            checked = all(r.check_path for r in valid if r.service == service)
            since = {i: self._failing_since[s, i] for s, i in failing if s == service}
            upstreams[service] = choose_upstreams(
                desired.instances.get(service, {}), self._upstreams.get(service, ()), since, now, checked
            )
        return upstreams

    def _load(self, config_id: str, config: bytes, upstreams: dict[str, list[Instance]]) -> None:
        if config_id == self._config_id:
            self._caddy.load(config)  # at once: nobody is served
            log("Caddy had lost its configuration; it has it again")
        else:
            with self._drain.draining():
                self._caddy.load(config)
        for service in sorted(upstreams.keys() | self._upstreams.keys()):
            if upstreams.get(service) != self._upstreams.get(service):
                log(_upstreams_sentence(service, upstreams.get(service)))
        self._config_id, self._config, self._upstreams, self._paused = config_id, config, upstreams, ("", 0.0)

    def _exclude_faulty(self, routes: Sequence[Any], upstreams: Mapping[str, list[Instance]], why: str) -> bool:
        """Finds, logs and excludes the services that make Caddy refuse. Whether there are any."""

        def validate(services: Sequence[str]) -> str | None:
            notify("WATCHDOG=1")
            chosen = [r for r in routes if r["service"] in services]
            return self._caddy.validation_error(lambda folder: build_validation_config(chosen, upstreams, folder))

        try:
            faulty = faulty_services(sorted(upstreams), validate)
        except CaddyUnreachable as error:
            self._log_once("trial", f"Caddy refused a configuration ({why}) and cannot be asked which part: {error}")
            return False
        for service, reason in sorted(faulty.items()):
            log(f"{service} is left out, for Caddy refuses it: {reason}")
            self._refused[service] = (_encoded_routes(routes, service), reason)
        return bool(faulty)

    def _end_reloading_state(self) -> None:
        """After a refusal, Caddy 2.6.2 stays `reloading` for systemd until it has loaded a configuration."""
        with contextlib.suppress(ConfigRefused, CaddyUnreachable):
            if self._config:
                self._caddy.load(self._config)

    def _log_once(self, topic: str, sentence: str) -> None:
        """Logs it where it differs from the last sentence on this topic; "" ends the topic."""
        if sentence and self._last_logged.get(topic) != sentence:
            log(sentence)
        self._last_logged[topic] = sentence


def _encoded_routes(routes: Sequence[Any], service: str) -> bytes:
    """This service's routes, to compare them."""
    return encode({"": [r for r in routes if isinstance(r, Mapping) and r.get("service") == service]})


def _upstreams_sentence(service: str, upstreams: Sequence[Instance] | None) -> str:
    if upstreams is None:
        return f"{service} is no longer published"
    if not upstreams:
        return f"{service} has no healthy instance; Caddy answers 503 for it"
    return f"Caddy sends {service} to " + ", ".join(f"{host}:{port}" for host, port in upstreams)
