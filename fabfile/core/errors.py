"""One error tree. `cli` turns each into one line, a hint and an exit code; nothing else prints.

NexusError                what the operator can act on: a message (what, where) and a hint (what next)
├── InputError            bad input, found before anything was touched; may hold many faults
│   └── Several           errors of several files or hosts, each with its own way out
├── HostError             one host said no or could not be reached; bears the host's name
│   └── HostKeyError      its key is unknown or changed; bears the fingerprint
├── Busy                  another deploy or drill holds the cluster
├── Refused               what was asked would do harm (foreign primary, foreign cluster, …)
├── ArtifactError         a binary could not be had, or is not what its pin says
└── ApplyError            a host did not reach its desired state; bears the log's last lines
"""

from __future__ import annotations

from collections.abc import Sequence


class NexusError(Exception):
    """What went wrong in one line, and what to do next (`hint`, may be empty)."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(NexusError):
    """All faults of one input at once, each `path: value is not …`."""

    def __init__(self, faults: Sequence[str], hint: str = "") -> None:
        super().__init__("\n".join(faults), hint)
        self.faults = tuple(faults)


class Several(InputError):
    """Errors of several files or hosts at once: `errors` has each with its own way out."""

    def __init__(self, errors: Sequence[NexusError]) -> None:
        super().__init__([line for error in errors for line in error.message.splitlines()], errors[0].hint)
        self.errors = tuple(errors)


class HostError(NexusError):
    """One host failed; the others' results stand."""

    def __init__(self, host: str, message: str, hint: str = "") -> None:
        super().__init__(f"{host}: {message}", hint)
        self.host = host


class HostKeyError(HostError):
    """The host's SSH key is unknown or not the pinned one."""


class Busy(NexusError):
    """Somebody else holds the cluster's lock."""


class Refused(NexusError):
    """Going on would do harm, so nothing was changed."""


class ArtifactError(NexusError):
    """A binary could not be fetched or verified."""


class ApplyError(HostError):
    """A host did not come to its desired state."""

    def __init__(self, host: str, message: str, hint: str = "", log: str = "") -> None:
        super().__init__(host, message, hint)
        self.log = log
