"""The container engine, on hosts that may be given a container, before anything else is changed there."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import HostError, Several
from ...core.state.scripts import script
from ..ssh.connection import Remote
from ..ssh.exec_channel import Result
from ..ssh.fanout import for_each_host
from .progress import ProgressListener

LIMIT = 900.0  # seconds: packages over a slow line, and waiting for another apt


def install(remotes: Sequence[Remote], progress: ProgressListener) -> None:
    """Installs what is missing from each host's own package sources. Several when it fails on some; the others keep it."""
    progress.wave("container engine (Docker and its client)", [r.host.name for r in remotes])

    def done(remote: Remote, result: Result | HostError) -> None:
        if isinstance(result, HostError):
            progress.failed(remote.host.name, result.message)
        else:
            progress.done(remote.host.name, "installed")

    _, faults = for_each_host(remotes, lambda r: r.script(script("install-docker"), "", timeout=LIMIT), done)
    if faults:
        raise Several(faults)
