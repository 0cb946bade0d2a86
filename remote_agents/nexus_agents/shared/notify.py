"""Messages to systemd and to the journal, and what every agent does at its start."""

from __future__ import annotations

import os
import socket
import threading
import traceback

# Taken out of the environment: otherwise our child systemctl would notify systemd too.
_SOCKET = os.environ.pop("NOTIFY_SOCKET", "")


def log(text: str) -> None:
    """One line in the journal."""
    print(" ".join(text.splitlines()), flush=True)


def notify(text: str) -> None:
    """`READY=1`, `WATCHDOG=1`, `STATUS=...` to systemd; does nothing where the unit has no notify socket."""
    path = _SOCKET
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + path[1:] if path.startswith("@") else path)
        channel.sendall(text.encode())


def alive(sentence: str) -> None:
    """The watchdog's ping, with a sentence for `systemctl status` and the operator's probe."""
    notify(f"WATCHDOG=1\nSTATUS={' '.join(sentence.split())[:500]}")


def exit_on_thread_failure() -> None:
    """An uncaught exception in any thread ends the process: systemd restarts it, so no agent runs with a thread less."""

    def end(args: threading.ExceptHookArgs) -> None:
        traceback.print_exception(args.exc_type, args.exc_value, args.exc_traceback)
        os._exit(1)

    threading.excepthook = end


def read_token(path: str) -> str:
    """The agent's Consul token: from a file that only its user can read, never from argv or the environment."""
    with open(path, encoding="ascii") as file:
        return file.read().strip()
