"""Which services make Caddy refuse a configuration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

Objection = Callable[[Sequence[str]], str | None]


def culprits(services: Sequence[str], objection: Objection) -> dict[str, str]:
    """{service: Caddy's reason}: without these Caddy takes the rest. Nothing, where it takes all of them, or not even none.

    `objection(services)`: why Caddy refuses these together, None when it takes them. Halving asks it some 2·log2(n)
    times for one culprit among n.
    """
    if objection([]) is not None:
        return {}
    found: dict[str, str] = {}
    _split(sorted(services), [], objection, found)
    return found


def _split(services: Sequence[str], good: list[str], objection: Objection, found: dict[str, str]) -> None:
    """Adds to `good` all of `services` that Caddy takes beside them, to `found` the others."""
    reason = objection([*good, *services]) if services else None
    if reason is None:
        good.extend(services)
    elif len(services) == 1:
        found[services[0]] = reason
    else:
        half = len(services) // 2
        _split(services[:half], good, objection, found)
        _split(services[half:], good, objection, found)
