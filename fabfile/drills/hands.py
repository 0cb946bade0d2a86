"""What a drill does to hosts: arm, inject, undo. fault.sh does it there; in the lab, the engine has the power."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ..core.errors import HostError
from ..edge.fleet import SCRIPTS
from ..edge.ssh import Remote

# A file, since a copy of it must stay on the host for the undo.
_RUN = 'set -eu; umask 077; f=$(mktemp); trap \'rm -f "$f"\' EXIT; cat >"$f"; sh "$f" "$@"'


class Power(Protocol):
    """Takes a host's power away and gives it back; `arm` sees to the latter even when this process is gone."""

    def arm(self, host: str, seconds: int) -> None: ...
    def off(self, host: str) -> None: ...
    def on(self, host: str) -> None: ...


def fault(remote: Remote, *words: str) -> list[str]:
    """`fault.sh "" WORDS` on the host; its lines. HostError with its own reason when it refuses or fails."""
    done = remote.run(["sh", "-c", _RUN, "fault", "", *words], [(SCRIPTS / "fault.sh").read_bytes()], timeout=120)
    said = done.out.decode("utf-8", "replace").splitlines()
    bad = [line for line in said if line.startswith(("refused ", "failed "))]
    if bad or done.code != 0:
        why = bad[-1].partition(" ")[2] if bad else (done.err.strip() or f"exit code {done.code}")
        raise HostError(remote.host.name, why, "inv chaos.heal undoes what was left anywhere")
    return said


class Hands:
    """One fault on some hosts. `id`: its folder's name there."""

    def __init__(self, id_: str, name: str, ttl: int, power: Power | None = None) -> None:
        self._id, self._name, self._ttl, self._power = id_, name, ttl, power

    def arm(self, remote: Remote, words: Sequence[str]) -> None:
        """The host's own timer will undo it, whatever becomes of us."""
        if self._power:
            self._power.arm(remote.host.name, self._ttl)
        elif "armed" not in fault(remote, "arm", self._id, self._name, str(self._ttl), *words):
            raise HostError(remote.host.name, "the undo is not armed; nothing was injected")

    def inject(self, remote: Remote) -> None:
        if self._power:
            self._power.off(remote.host.name)
        else:
            fault(remote, "inject", self._id)

    def revert(self, remote: Remote) -> None:
        """However often it is said."""
        if self._power:
            self._power.on(remote.host.name)
            remote.close()
        else:
            fault(remote, "revert", self._id)
