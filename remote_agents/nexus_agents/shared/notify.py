"""Words to systemd and to the journal."""

from __future__ import annotations

import os
import socket
import threading
import traceback


def log(text: str) -> None:
    """One line in the journal."""
    print(" ".join(text.splitlines()), flush=True)


# Taken out of the environment: systemctl, our child, would speak to it as well.
_SOCKET = os.environ.pop("NOTIFY_SOCKET", "")


def notify(text: str) -> None:
    """`READY=1`, `WATCHDOG=1`, `STATUS=...` to systemd; nothing where the unit does not listen."""
    path = _SOCKET
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + path[1:] if path.startswith("@") else path)
        channel.sendall(text.encode())


def exit_on_thread_failure() -> None:
    """A thread that dies of a fault of ours takes the process with it: systemd starts it anew, and nothing goes on half."""

    def end(args: threading.ExceptHookArgs) -> None:
        traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
        os._exit(1)

    threading.excepthook = end


def token(path: str) -> str:
    """The agent's own Consul token: in a file that is its user's alone, never in argv or environment."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()
