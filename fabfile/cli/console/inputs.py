"""What a command works on: the checked inventory, the services beside it, the hosts that were chosen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.model.cluster import Cluster, Host
from .output import say

if TYPE_CHECKING:  # a command that runs no service need not load what checks them
    from ...core.model.service import Services


def inventory(path: str | None) -> Cluster:
    """The checked cluster; warnings are said."""
    from ...edge.disk.inventory import load

    return _warned(*load(path, os.environ, Path.cwd()))


def with_services(path: str | None, warn: bool = True) -> tuple[Cluster, Services]:
    """The checked cluster and the services beside it, for commands that bring them about or look at them.

    The faults of both files are told together, and before any connection. `warn`: whether the warnings are said.
    """
    from ...edge.disk.services import load_both

    cluster, warnings, offered = load_both(path, os.environ, Path.cwd())
    return _warned(cluster, warnings if warn else ()), offered


def _warned(cluster: Cluster, warnings: Sequence[str]) -> Cluster:
    for warning in warnings:
        say(f"warning: {warning}")
    return cluster


def chosen(cluster: Cluster, hosts: str) -> tuple[Host, ...]:
    from ...core.config.selectors import select

    return select(cluster, hosts)
