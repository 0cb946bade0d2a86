"""`--ask-sudo-pass`: one question before the command, for all hosts."""

from __future__ import annotations

import getpass
import sys

from ...core.errors import InputError
from ...edge.ssh import sudo
from ..console.output import show_errors

MEANING = f"ask for the password that sudo wants on the hosts; for scripts: {sudo.FILE}=FILE"


def ask() -> None:
    """Keeps what the operator types, unseen, for this run. Ends the program where nothing can be typed, or was."""
    if not sys.stdin.isatty():
        show_errors(InputError(["there is no terminal to ask for a password"], f"give it in a file: {sudo.FILE}=FILE"))
        sys.exit(1)
    try:
        password = getpass.getpass("sudo's password on the hosts: ")
    except (EOFError, KeyboardInterrupt):
        password = ""
    if not password:
        show_errors(InputError(["no password was typed"], "nothing was done"))
        sys.exit(1)
    sudo.use(password)
