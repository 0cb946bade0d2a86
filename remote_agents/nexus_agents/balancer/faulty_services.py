"""Which services make Caddy refuse a configuration. Pure, except for the given validation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Validate = Callable[[Sequence[str]], str | None]


def faulty_services(services: Sequence[str], validate: Validate) -> dict[str, str]:
    """{service: Caddy's reason}: without these Caddy accepts the others. Empty where it refuses every configuration.

    `validate(services)`: why Caddy refuses these services together; None when it accepts them. Halving calls it some
    2·log2(n) times for one faulty service among n.
    """
    if validate([]) is not None:
        return {}
    faulty: dict[str, str] = {}
    _split(sorted(services), [], validate, faulty)
    return faulty


def _split(services: Sequence[str], accepted: list[str], validate: Validate, faulty: dict[str, str]) -> None:
    """Adds to `accepted` those of `services` that Caddy accepts together with it, and the others to `faulty`."""
    reason = validate([*accepted, *services]) if services else None
    if reason is None:
        accepted.extend(services)
    elif len(services) == 1:
        faulty[services[0]] = reason
    else:
        half = len(services) // 2
        _split(services[:half], accepted, validate, faulty)
        _split(services[half:], accepted, validate, faulty)
