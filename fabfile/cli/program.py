"""`nexus`: the same commands as `inv`, in an installed copy (`pipx install`, `pip install`), from any folder."""

from __future__ import annotations

import sys

from invoke.program import Program

from ..core.version import VERSION
from .console import output
from .namespace import namespace

NAME = "nexus"


def main() -> None:
    """The entry point. Without arguments it lists the commands. It imports nothing from the current folder."""
    output.program = NAME
    program = Program(name="Nexus Ops", binary=NAME, binary_names=[NAME], namespace=namespace(), version=VERSION)
    program.run(sys.argv if len(sys.argv) > 1 else [*sys.argv, "--list"])


if __name__ == "__main__":
    main()
