"""What is done to one socket, the same for clients, servers and checks."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

from dsbalance.model import Keepalive

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# On Linux and the BSDs a socket is born non-blocking; elsewhere it takes a call of its own.
_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)
_KIND = int(socket.SOCK_STREAM) | _NONBLOCK
# The state in `struct tcp_info` of a connection that is no more (linux/tcp.h, net/tcp_states.h).
_TCP_CLOSE = 7
_RESET = struct.pack("ii", 1, 0)

PENDING = frozenset({0, errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)})
"""What ``connect_ex`` returns when the attempt is under way, or has succeeded at once."""

STARVED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""Errors that say what our own system lacks, whomever we connect to: descriptors, memory."""

LOCAL = STARVED | frozenset(
    {
        *(errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAGAIN, errno.EINVAL),
        *(errno.ENETDOWN, errno.ENETUNREACH, errno.EACCES, errno.EPERM),
    }
)
"""Errors of our own system, when ``connect_ex`` returns them at once: also ports, routes, rights.
What comes later comes from the network, ENETUNREACH too (connect(2), icmp(7)). They do not say that
the server is down; but another server may be reached where this one is not."""


Stream = socket.SocketType
"""A connection as the loop uses it: the class below ``socket.socket``, whose layer in Python would
cost 0.7 us to make and to close."""


def open_stream(family: socket.AddressFamily) -> Stream:
    """Return a non-blocking TCP socket.

    Raises:
        OSError: There is no descriptor or no memory for it.
    """
    sock = Stream(family, _KIND)
    if not _NONBLOCK:
        sock.setblocking(False)
    return sock


class Door(socket.socket):
    """A TCP socket to listen with, non-blocking, that gives clients' connections ready for use."""

    __slots__ = ("_kind",)

    def __init__(self, family: socket.AddressFamily) -> None:
        super().__init__(family, socket.SOCK_STREAM)
        self.setblocking(False)
        self._kind = family, int(socket.SOCK_STREAM), 0

    def admit(self) -> tuple[Stream, tuple[Any, ...]]:
        """Accept a client; return its connection, non-blocking, and its address.

        Raises:
            OSError: As ``accept``; BlockingIOError if nobody is there.
        """
        # What `accept` itself calls, in every CPython 3; its own layer asks two Enums and costs
        # 4 us a client, a tenth of what a short connection may.
        fd, address = self._accept()  # type: ignore[attr-defined]
        sock = Stream(*self._kind, fd)
        sock.setblocking(False)
        return sock, address


def set_keepalive(sock: Stream, keepalive: Keepalive) -> None:
    """Let TCP probe a silent peer, with the numbers that this system can set."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for word, value in (
        ("TCP_KEEPIDLE", keepalive.idle),
        ("TCP_KEEPINTVL", keepalive.interval),
        ("TCP_KEEPCNT", keepalive.count),
    ):
        if value is not None and hasattr(socket, word):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, word), value)


def set_reset(sock: Stream) -> None:
    """Let the coming ``close`` of ``sock`` send RST and drop what the peer has not got yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def shut(sock: Stream) -> bool:
    """Send FIN; return False if the peer has gone altogether."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        return False
    return True


def words(code: int) -> str:
    """Return the system's words for an error of a socket; Windows has a table of its own."""
    table: dict[int, str] = getattr(socket, "errorTab", {})
    return table.get(code, "").rstrip(".") or os.strerror(code)


def _find_unsent() -> Callable[[Stream], int]:
    if fcntl is None or not sys.platform.startswith("linux"):
        return lambda _sock: 0

    def ask(sock: Stream) -> int:
        answer = bytearray(4)
        try:
            if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE:
                # Its peer has reset it: the count stays as it was, and nobody will confirm it.
                return 0
            # SIOCOUTQ has the number of TIOCOUTQ (tcp(7)).
            fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, answer)
        except OSError:
            return 0
        return int.from_bytes(answer, sys.byteorder)

    return ask


unsent = _find_unsent()
"""Return the bytes that the peer's system has not confirmed yet, 0 where nobody can tell."""
