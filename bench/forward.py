"""One SSH port at many addresses: `forward.py PORT COUNT TO_HOST TO_PORT`. Standard library only.

Listens on 127.0.8.1 … 127.0.8.COUNT (never on all addresses) and passes each connection on. Says `ready` on
stdout, and ends when its stdin does: with the benchmark that started it, however that one ends.
"""

import asyncio
import contextlib
import sys

_CHUNK = 1 << 16


def address(number: int) -> str:
    """The number-th endpoint's address, from 1 to 250."""
    return f"127.0.8.{number}"


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # reset by one side: the other must hear of it all the same, or its session stays for ever
    finally:
        with contextlib.suppress(OSError):
            writer.write_eof()


async def _pass_on(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    inner = None
    try:
        answers, inner = await asyncio.open_connection(host, port)
        await asyncio.gather(_pour(reader, inner), _pour(answers, writer))
    except OSError as fault:
        print(f"forward: {fault}", file=sys.stderr, flush=True)
    finally:
        for end in (writer, inner):
            if end is not None:
                end.close()


async def main(port: int, count: int, to_host: str, to_port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the end: streams would log each one as a fault
            await _pass_on(to_host, to_port, reader, writer)

    servers = [await asyncio.start_server(serve, address(n), port, backlog=256) for n in range(1, count + 1)]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
