"""Fabric's Connection, safe to make in many threads at once with one configuration."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def _connection_class() -> Any:
    from fabric import Connection

    class ThreadSafeConnection(Connection):  # type: ignore[misc]
        # A real attribute, as Fabric has for all others. Without it, each new connection would write the value into the
        # configuration, which then merges itself again and is empty for any thread that reads it in that moment.
        inline_ssh_env = None
        settings = None  # what ssh_config says of it: core.config.ssh_settings

    return ThreadSafeConnection


def new_fabric_connection(host: str, **settings: Any) -> Any:
    """An unopened connection; `settings` as Fabric takes them."""
    return _connection_class()(host, **settings)
