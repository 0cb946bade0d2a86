"""The programs `inv` (a checkout's launcher) and `nexus` (an installed copy): the same commands, from any folder.

Nothing of the current folder is run. Invoke's own configuration files, which may be Python, and its variables are not read:
no command needs a setting of Invoke's, and a broken ~/.invoke.yaml must not keep a deploy from starting. A PYTHONPATH counts
for `nexus`, where Python reads it before any line of ours; `inv` passes it over.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any

from invoke.config import Config
from invoke.parser.argument import Argument
from invoke.program import Program

from ..core.version import VERSION
from .console import inputs, output
from .console.closed_pipes import end_quietly
from .console.terminal import guard_output
from .flows import sudo_password
from .namespace import namespace

_OPTIONS = frozenset(
    ("complete", "debug", "help", "list", "list-depth", "list-format", "print-completion-script", "version", "write-pyc")
)


class _Defaults(Config):
    """Invoke's defaults, and nothing from files or variables."""

    def load_system(self, merge: bool = True) -> None:
        """/etc/invoke.{yaml,yml,json,py}"""

    def load_user(self, merge: bool = True) -> None:
        """~/.invoke.{yaml,yml,json,py}"""

    def load_project(self, merge: bool = True) -> None:
        """invoke.{yaml,yml,json,py} beside tasks.py"""

    def load_runtime(self, merge: bool = True) -> None:
        """$INVOKE_RUNTIME_CONFIG"""

    def load_shell_env(self) -> None:
        """$INVOKE_…"""


class _Program(Program):
    """Invoke's program without the options that set what no command reads (`--dry`, `--echo`, `--config`, …)."""

    def core_args(self) -> list[Argument]:
        kept = [argument for argument in super().core_args() if argument.name in _OPTIONS]
        return [*kept, Argument(names=("ask-sudo-pass",), kind=bool, default=False, help=sudo_password.MEANING)]

    def execute(self) -> None:
        """Runs the commands; asks for sudo's password before."""
        if self.args["ask-sudo-pass"].value:
            sudo_password.ask()
        super().execute()

    def update_config(self, merge: bool = True) -> None:
        """The options that would change it are not there."""


def main(name: str = "nexus") -> None:
    """The entry point. Without arguments it lists the commands."""
    output.program = name
    words: dict[str, Any] = {"name": "Nexus Ops", "binary": name, "binary_names": [name], "version": VERSION}
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that has no arrow is no reason to stop
    guard_output()
    if not inputs.check_home():
        sys.exit(1)
    program = _Program(namespace=namespace(), config_class=_Defaults, **words)
    try:
        program.run(sys.argv if len(sys.argv) > 1 else [*sys.argv, "--list"])
    finally:
        end_quietly()


if __name__ == "__main__":
    main()
