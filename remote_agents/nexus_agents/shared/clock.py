"""The one clock by which agents measure: it never jumps, and it counts the time that the machine slept."""

from __future__ import annotations

import time


def now() -> float:
    """Seconds since boot."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
