"""Arms, injects and undoes one fault on hosts: by the fault script over SSH or, in the lab, by the power switch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from ...core.errors import HostError
from ...core.state.scripts import script
from ...edge.ssh.connection import Remote
from . import fault_protocol
from .fault_protocol import Answer


class Power(Protocol):
    """Cuts a host's power and restores it; `arm` makes sure of the latter even when this process is gone."""

    def arm(self, host: str, seconds: int) -> None: ...
    def off(self, host: str) -> None: ...
    def on(self, host: str) -> None: ...

    def left(self) -> Mapping[str, float]:
        """Hosts without power, or that may still lose it -> seconds until they get it back."""
        ...


class FaultUnsupported(HostError):
    """The host itself says that the fault cannot be done there; nothing was touched."""


def run_fault_script(remote: Remote, argv: Sequence[str], repeat: bool = False) -> Answer:
    """The script's answer on the host. HostError with the host's own reason when it refuses or fails.

    repeat: it may be run again when the connection is lost in the midst of it
    """
    done = remote.run(argv, [script("fault").encode()], timeout=120, repeat=repeat)
    answer = fault_protocol.parse_answer(done.out)
    if answer.status == "refused":
        hint = "nothing was injected; inv chaos.list says what each drill needs"
        raise FaultUnsupported(remote.host.name, answer.reason, hint)
    if answer.is_error or done.code != 0:
        reason = answer.reason or done.err.strip()
        raise HostError(remote.host.name, reason, "inv chaos.heal undoes what was left anywhere")
    return answer


class FaultDriver:
    """One fault on some hosts. `id_`: the name of its folder there."""

    def __init__(self, id_: str, name: str, ttl: int, power: Power | None = None) -> None:
        self._id, self._name, self._ttl, self._power = id_, name, ttl, power

    def arm(self, remote: Remote, arguments: Sequence[str]) -> None:
        """From here on the host's own timer undoes the fault, whatever happens to this process."""
        if self._power:
            self._power.arm(remote.host.name, self._ttl)
            return
        argv = fault_protocol.arm_argv(self._id, self._name, self._ttl, arguments)
        if run_fault_script(remote, argv).status != "armed":
            raise HostError(remote.host.name, "the undo is not armed; nothing was injected")

    def inject(self, remote: Remote) -> str:
        """What the host saw of the consequences; often empty."""
        if self._power:
            self._power.off(remote.host.name)
            return ""
        return run_fault_script(remote, fault_protocol.argv("inject", self._id)).reason

    def revert(self, remote: Remote) -> None:
        """Idempotent."""
        if self._power:
            self._power.on(remote.host.name)
            remote.reset()
        else:
            run_fault_script(remote, fault_protocol.argv("revert", self._id), repeat=True)
