"""A TCP forwarder that offers one SSH port at many addresses: `forward.py PORT COUNT TO_HOST TO_PORT`.

Standard library only. Listens on 127.0.8.1 … 127.0.8.COUNT (never on all addresses) and forwards each connection.
Prints `ready` on stdout. Ends when its stdin closes, and so with the benchmark that started it.
"""

import asyncio
import contextlib
import sys

_CHUNK = 1 << 16


def address(number: int) -> str:
    """The number-th endpoint's address, from 1 to 250."""
    return f"127.0.8.{number}"


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side reset the connection: the other must get an end of file, or its session stays open for ever
    finally:
        with contextlib.suppress(OSError):
            writer.write_eof()


async def _forward(host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    upstream = None
    try:
        answers, upstream = await asyncio.open_connection(host, port)
        await asyncio.gather(_copy(reader, upstream), _copy(answers, writer))
    except OSError as fault:
        print(f"forward: {fault}", file=sys.stderr, flush=True)
    finally:
        for side in (writer, upstream):
            if side is not None:
                side.close()


async def main(port: int, count: int, to_host: str, to_port: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # at the end asyncio would log each open connection as an error
        with contextlib.suppress(asyncio.CancelledError):
            await _forward(to_host, to_port, reader, writer)

    servers = [await asyncio.start_server(serve, address(n), port, backlog=256) for n in range(1, count + 1)]
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for server in servers:
        server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
