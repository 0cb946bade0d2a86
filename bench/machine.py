"""The size of the machine that measures, for the head of each table. Results are labelled by machine, not by date."""

from __future__ import annotations

import os
import platform


def size() -> str:
    """`2 cores (x86_64), 23.5 GiB memory, Linux 6.1.0`."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{cores} cores ({platform.machine()}), {memory:.1f} GiB memory, {platform.system()} {platform.release()}"
