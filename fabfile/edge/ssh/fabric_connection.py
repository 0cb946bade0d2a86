"""Fabric's Connection, as many threads may make it at once with one configuration."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _kind() -> Any:
    from fabric import Connection

    class Link(Connection):  # type: ignore[misc]
        # A real attribute, as Fabric has for all others: else each new connection would write it into the configuration,
        # which is merged anew for it, and empty for whoever reads it in that moment.
        inline_ssh_env = None

    return Link


def link(host: str, **settings: Any) -> Any:
    """An unopened connection; `settings` as Fabric takes them."""
    return _kind()(host, **settings)
