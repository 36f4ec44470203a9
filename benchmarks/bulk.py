"""Claim: a stream through us costs no more CPU per GB than through best-tuned HAProxy.

Unit: one megabyte (10^6 bytes) to the server, which echoes it. ``rate`` is MB/s.
Command: ``.venv/bin/python benchmarks/bulk.py``
"""

import argparse
import socket
import threading

from rig import compare


def work(port: int, args: argparse.Namespace) -> float:
    size = (args.count or 1000) * 1_000_000
    block = b"x" * (1 << 20)
    with socket.create_connection(("127.0.0.1", port)) as sock:

        def send() -> None:
            left = size
            while left:
                left -= sock.send(block[:left])
            sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=send)
        thread.start()
        buffer = memoryview(bytearray(1 << 20))
        got = 0
        while count := sock.recv_into(buffer):
            got += count
        thread.join()
    if got != size:
        raise ValueError(f"{got} bytes came back of {size}")
    return size / 1e6


if __name__ == "__main__":
    compare("bulk", "MB", work)
