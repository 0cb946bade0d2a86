"""What a drill does to hosts: arm, inject, undo. fault.sh does it there; in the lab, the engine has the power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ...core.errors import HostError
from ...core.state.scripts import script
from ...edge.ssh.connection import Remote
from . import fault_protocol
from .fault_protocol import Answer


class Power(Protocol):
    """Takes a host's power away and gives it back; `arm` sees to the latter even when this process is gone."""

    def arm(self, host: str, seconds: int) -> None: ...
    def off(self, host: str) -> None: ...
    def on(self, host: str) -> None: ...

    def left(self) -> Mapping[str, float]:
        """Hosts without power, or that may still lose it -> seconds until they get it back."""
        ...


class FaultUnsupported(HostError):
    """The host itself says that the fault cannot be done there; nothing was touched."""


def fault(remote: Remote, argv: Sequence[str]) -> Answer:
    """fault.sh on the host, by words of `onhost`; its answer. HostError with its own reason when it refuses or fails."""
    done = remote.run(argv, [script("fault").encode()], timeout=120)
    said = fault_protocol.answer(done.out)
    if said.word == "refused":
        raise FaultUnsupported(remote.host.name, said.why, "nothing was injected; inv chaos.list says what each drill needs")
    if said.bad or done.code != 0:
        raise HostError(remote.host.name, said.why or done.err.strip(), "inv chaos.heal undoes what was left anywhere")
    return said


class FaultDriver:
    """One fault on some hosts. `id`: its folder's name there."""

    def __init__(self, id_: str, name: str, ttl: int, power: Power | None = None) -> None:
        self._id, self._name, self._ttl, self._power = id_, name, ttl, power

    def arm(self, remote: Remote, words: Sequence[str]) -> None:
        """The host's own timer will undo it, whatever becomes of us."""
        if self._power:
            self._power.arm(remote.host.name, self._ttl)
        elif fault(remote, fault_protocol.arm_argv(self._id, self._name, self._ttl, words)).word != "armed":
            raise HostError(remote.host.name, "the undo is not armed; nothing was injected")

    def inject(self, remote: Remote) -> None:
        if self._power:
            self._power.off(remote.host.name)
        else:
            fault(remote, fault_protocol.argv("inject", self._id))

    def revert(self, remote: Remote) -> None:
        """However often it is said."""
        if self._power:
            self._power.on(remote.host.name)
            remote.close()
        else:
            fault(remote, fault_protocol.argv("revert", self._id))
