"""The inputs of a command: the checked inventory, the services beside it, the selected hosts."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ...core.errors import InputError
from ...core.model.cluster import Cluster, Host
from ...edge.disk.paths import home_folder
from .output import say, show_errors

if TYPE_CHECKING:  # most commands need no services: the modules that check them load only on use
    from ...core.model.service import Services


def check_home() -> bool:
    """Whether the home folder can be one; tells why not. Invoke reads its own settings there before any command runs."""
    try:
        home_folder(os.environ)
    except InputError as error:
        show_errors(error)
        return False
    return True


def load_inventory(path: str | None) -> Cluster:
    """The checked cluster. Prints warnings."""
    from ...edge.disk.inventory import load

    return _with_warnings(*load(path, os.environ, Path.cwd()))


def load_with_services(path: str | None, warn: bool = True) -> tuple[Cluster, Services]:
    """The checked cluster and the services beside it, for commands that deploy or inspect services.

    One error shows the faults of both files, before any connection. `warn`: whether to print warnings.
    """
    from ...edge.disk.services import load_both

    cluster, warnings, services = load_both(path, os.environ, Path.cwd())
    return _with_warnings(cluster, warnings if warn else ()), services


def _with_warnings(cluster: Cluster, warnings: Sequence[str]) -> Cluster:
    from ...edge.disk.rights import close_to_others

    for warning in (*close_to_others(cluster.state), *warnings):
        say(f"warning: {warning}")
    return cluster


def select_hosts(cluster: Cluster, hosts: str) -> tuple[Host, ...]:
    from ...core.config.selectors import select

    return select(cluster, hosts)
