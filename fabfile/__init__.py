"""The operator's side. Also Fabric's door: `fab --list` shows the tasks that `inv --list` shows."""

from typing import Any


def __getattr__(name: str) -> Any:
    """`ns` on demand: the agents' tests and other importers of a room need no task tree."""
    if name in ("ns", "namespace"):
        from .cli.namespace import namespace

        return namespace()
    raise AttributeError(name)
