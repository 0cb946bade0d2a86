"""Runs one command and writes its wall time, CPU time and peak memory: `timed.py REPORT LOG CWD ARGV...`.

Standard library only. It is a program of its own because a child's peak memory starts at that of the process that forks
it: here a bare interpreter's 10 MB, and not the benchmark's.
"""

import json
import os
import sys
import time


def main(report: str, log: str, cwd: str, argv: list[str]) -> None:
    os.chdir(cwd)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    redirections = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out, 1), (os.POSIX_SPAWN_DUP2, out, 2)]
    began = time.monotonic()
    child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=redirections)
    _, status, usage = os.wait4(child, 0)
    wall = time.monotonic() - began
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, KiB on Linux
    result = {
        "code": os.waitstatus_to_exitcode(status),
        "sample": {
            "wall": wall,
            "cpu": usage.ru_utime + usage.ru_stime,
            "user": usage.ru_utime,
            "memory": usage.ru_maxrss * unit / 1e6,
        },
    }
    with open(report, "w", encoding="utf-8") as file:
        json.dump(result, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:])
