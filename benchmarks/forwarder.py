"""A forwarder as everybody writes it with asyncio: one connection there, two copying tasks.

A rival for the benchmarks, not an example: it closes both sides when one of them ends.
Command: ``python benchmarks/forwarder.py asyncio|uvloop PORT SERVER_PORT...``
"""

import asyncio
import importlib
import itertools
import sys
from asyncio import StreamReader, StreamWriter


async def copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def forward(port: int, servers: list[int]) -> None:
    turns = itertools.cycle(servers)

    async def serve(reader: StreamReader, writer: StreamWriter) -> None:
        try:
            remote_reader, remote_writer = await asyncio.open_connection("127.0.0.1", next(turns))
        except OSError:
            writer.close()
            return
        await asyncio.gather(copy(reader, remote_writer), copy(remote_reader, writer))

    listener = await asyncio.start_server(serve, "127.0.0.1", port)
    await listener.serve_forever()


def main() -> None:
    loop, port, *servers = sys.argv[1:]
    factory = importlib.import_module("uvloop").new_event_loop if loop == "uvloop" else None
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(forward(int(port), [int(server) for server in servers]))


if __name__ == "__main__":
    main()
