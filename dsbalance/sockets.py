"""What is done to one socket, the same for clients, servers and checks."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from collections.abc import Callable

from dsbalance.model import Keepalive

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# On Linux and the BSDs a socket is born non-blocking; elsewhere it takes a call of its own.
_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)
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


def open_stream(family: socket.AddressFamily) -> socket.socket:
    """Return a non-blocking TCP socket.

    Raises:
        OSError: There is no descriptor or no memory for it.
    """
    sock = socket.socket(family, socket.SOCK_STREAM | _NONBLOCK)
    if not _NONBLOCK:
        sock.setblocking(False)
    return sock


def set_keepalive(sock: socket.socket, keepalive: Keepalive) -> None:
    """Let TCP probe a silent peer, with the numbers that this system can set."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for word, value in (
        ("TCP_KEEPIDLE", keepalive.idle),
        ("TCP_KEEPINTVL", keepalive.interval),
        ("TCP_KEEPCNT", keepalive.count),
    ):
        if value is not None and hasattr(socket, word):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, word), value)


def set_reset(sock: socket.socket) -> None:
    """Let the coming ``close`` of ``sock`` send RST and drop what the peer has not got yet."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def shut(sock: socket.socket) -> bool:
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


def _find_unsent() -> Callable[[socket.socket], int]:
    if fcntl is None or not sys.platform.startswith("linux"):
        return lambda _sock: 0

    def ask(sock: socket.socket) -> int:
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
