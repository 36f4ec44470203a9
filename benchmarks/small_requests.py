"""Claim: a kept-alive small request costs us no more CPU than HAProxy, 64 connections at a time.

Unit: 100 bytes to the server and back.
Command: ``.venv/bin/python benchmarks/small_requests.py``
"""

import argparse
import select
import socket

from rig import compare

CONNECTIONS = 64


def work(port: int, args: argparse.Namespace) -> float:
    count: int = args.count or 20_000
    words = b"x" * 100
    socks = {}
    with select.epoll() as poll:
        for _ in range(CONNECTIONS):
            sock = socket.create_connection(("127.0.0.1", port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            socks[sock.fileno()] = sock
            poll.register(sock.fileno(), select.EPOLLIN)
            sock.sendall(words)
        done = 0
        while done < count:
            for fd, _ in poll.poll():
                socks[fd].recv(1000)
                socks[fd].sendall(words)
                done += 1
    for sock in socks.values():
        sock.close()
    return done


if __name__ == "__main__":
    compare("kept-alive small requests", "request", work)
