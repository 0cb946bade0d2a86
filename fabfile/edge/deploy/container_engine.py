"""The container engine on hosts that may be given a container, before anything else is changed there."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from ...core.errors import HostError, Several
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.exec_channel import Result
from ..ssh.fanout import each

LIMIT = 900.0  # seconds: packages over a slow line, and another apt that is waited for


class Screen(Protocol):
    """As `rollout.Screen`, which has more."""

    def wave(self, title: str, hosts: Collection[str]) -> None: ...
    def done(self, host: str, text: str) -> None: ...
    def failed(self, host: str, text: str) -> None: ...


def install(remotes: Sequence[Remote], screen: Screen) -> None:
    """Several: it failed on some; for it needs the hosts' own package sources. What others got stays."""
    screen.wave("container engine (package docker.io)", [r.host.name for r in remotes])

    def done(remote: Remote, result: Result | HostError) -> None:
        if isinstance(result, HostError):
            screen.failed(remote.host.name, result.message)
        else:
            screen.done(remote.host.name, "installed")

    _, faults = each(remotes, lambda r: r.script(script("install-docker"), "", timeout=LIMIT), done)
    if faults:
        raise Several(faults)
