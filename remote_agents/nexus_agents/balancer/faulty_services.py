"""Which services make Caddy refuse a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Rejection = Callable[[Sequence[str]], str | None]


def faulty_services(services: Sequence[str], rejection: Rejection) -> dict[str, str]:
    """{service: Caddy's reason}: without these Caddy takes the rest. NoRoutes, where it takes all of them, or not even none.

    `objection(services)`: why Caddy refuses these together, None when it takes them. Halving asks it some 2·log2(n)
    times for one culprit among n.
    """
    if rejection([]) is not None:
        return {}
    found: dict[str, str] = {}
    _split(sorted(services), [], rejection, found)
    return found


def _split(services: Sequence[str], good: list[str], rejection: Rejection, found: dict[str, str]) -> None:
    """Adds to `good` all of `services` that Caddy takes beside them, to `found` the others."""
    reason = rejection([*good, *services]) if services else None
    if reason is None:
        good.extend(services)
    elif len(services) == 1:
        found[services[0]] = reason
    else:
        half = len(services) // 2
        _split(services[:half], good, rejection, found)
        _split(services[half:], good, rejection, found)
