"""One error tree. `cli` turns each error into one line, a hint and an exit code; nothing else prints errors.

NexusError                what the operator can act on: a message (what, where) and a hint (what next)
├── InputError            bad input, found before anything was changed; may hold many faults
│   └── Several           errors of several files or hosts, each with its own hint
├── HostError             one host failed or could not be reached; has the host's name
│   ├── HostKeyError      its SSH key is unknown or changed
│   └── ApplyError        it did not reach its wanted state; has the log's last lines
├── Busy                  another deploy or drill holds the cluster's lock
├── Refused               the command would do harm (foreign primary, foreign cluster, …)
└── ArtifactError         a binary could not be fetched, or does not match its pinned sum
"""

from __future__ import annotations

from collections.abc import Sequence


class NexusError(Exception):
    """message: what went wrong, in one line; hint: what to do next, may be empty."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    @property
    def first_line(self) -> str:
        """The message's first line; never empty."""
        return next(iter(self.message.splitlines()), "") or type(self).__name__


class InputError(NexusError):
    """All faults of one input at once. faults: a line each, `path: value is not …`."""

    def __init__(self, faults: Sequence[str], hint: str = "") -> None:
        super().__init__("\n".join(faults), hint)
        self.faults = tuple(faults)


class Several(InputError):
    """Errors of several files or hosts at once. errors: each with its own hint."""

    def __init__(self, errors: Sequence[NexusError]) -> None:
        super().__init__([line for error in errors for line in error.message.splitlines()], errors[0].hint)
        self.errors = tuple(errors)


class HostError(NexusError):
    """One host failed; the results of the others are valid."""

    def __init__(self, host: str, message: str, hint: str = "") -> None:
        super().__init__(f"{host}: {message}", hint)
        self.host = host


class HostKeyError(HostError):
    """The host's SSH key is unknown or not the pinned one."""


class Busy(NexusError):
    """Somebody else holds the cluster's lock."""


class Refused(NexusError):
    """Going on would do harm; nothing was changed."""


class ArtifactError(NexusError):
    """A binary could not be fetched or verified."""


class ApplyError(HostError):
    """A host did not reach its wanted state. log: the last lines of what failed there."""

    def __init__(self, host: str, message: str, hint: str = "", log: str = "") -> None:
        super().__init__(host, message, hint)
        self.log = log
