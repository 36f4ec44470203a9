"""Claim: a short connection costs us at most 1.25 x the CPU that it costs HAProxy.

Unit: connect, 100 bytes, their echo, close; one after the other, with source hash, stick table
and statistics on.
Command: ``.venv/bin/python benchmarks/short_connections.py``
"""

import argparse
import socket

from rig import compare


def work(port: int, args: argparse.Namespace) -> float:
    count: int = args.count or 2000
    words = b"x" * 100
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(words)
            got = 0
            while got < len(words):
                got += len(sock.recv(100))
    return count


if __name__ == "__main__":
    compare("short connections", "connection", work)
