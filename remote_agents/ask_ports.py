"""Asks many ports at once, over TCP, whether they answer this host. Sent on stdin, and nothing of it stays on the host.

A line `main([("198.51.100.7", 8300), …])` is put below. Prints a JSON list: for each port why it does not answer, or "".
"""

from __future__ import annotations

import asyncio
import json
import os

TIMEOUT = 2.0  # seconds for one connection
AT_ONCE = 200  # a process may usually have 1024 files open
PAUSE = 0.5  # seconds; an instance that was just being replaced is back then


async def ask(gate: asyncio.Semaphore, address: str, port: int) -> str:
    async with gate:
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), TIMEOUT)
        except asyncio.TimeoutError:  # another class than TimeoutError before Python 3.11
            return f"no answer in {TIMEOUT:.0f} s"
        except OSError as error:
            return os.strerror(error.errno) if error.errno else str(error)
        writer.close()
        return ""


async def ask_all(targets: list[tuple[str, int]]) -> list[str]:
    """Those that do not answer are asked once more."""
    gate = asyncio.Semaphore(AT_ONCE)
    answers = await asyncio.gather(*(ask(gate, *target) for target in targets))
    again = [n for n, answer in enumerate(answers) if answer]
    if again:
        await asyncio.sleep(PAUSE)
        later = await asyncio.gather(*(ask(gate, *targets[n]) for n in again))
        for place, n in enumerate(again):
            answers[n] = later[place]
    return answers


def main(targets: list[tuple[str, int]]) -> None:
    print(json.dumps(asyncio.run(ask_all(targets))))
