"""The containers on a drill's hosts that are not the cluster's: whoever stops Docker stops them, too. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from ...core.errors import HostError
from ...core.judge.service_health import UNIT_PREFIX
from ...edge.ssh.connection import Remote

_LIST = ["docker", "ps", "--format", "{{.Names}}"]


def other_containers(remotes: Sequence[Remote]) -> tuple[str, ...]:
    """Those that run, as `NAME on HOST`. HostError where Docker does not tell: what is not known is not risked."""
    return tuple(f"{name} on {remote.host.name}" for remote in remotes for name in _names(remote))


def _names(remote: Remote) -> list[str]:
    done = remote.run(_LIST, timeout=30)
    if done.code != 0:
        reason = done.err.strip() or f"exit code {done.code}"
        raise HostError(remote.host.name, f"Docker does not say which containers run: {reason}", "nothing was injected")
    names = done.out.decode("utf-8", "replace").split()
    return sorted(name for name in names if not name.startswith(UNIT_PREFIX))
