"""The one clock that agents measure time by: it never jumps, and it runs on while the machine sleeps."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
