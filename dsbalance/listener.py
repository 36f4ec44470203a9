"""Where clients come in: listening sockets, and how many sessions there may be.

    a listener accepts while    its frontend and the process have room, and there are descriptors

A listener that may not accept is not watched, so clients wait in the kernel's backlog and nothing
spins. One client is accepted each time the poller finds one: with level-triggered readiness, asking
a listener that has nobody costs more than asking the poller.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import errno
import logging
import math
import socket
import sys
from collections.abc import Callable

from dsbalance.candidates import Client
from dsbalance.errors import ConnectError
from dsbalance.loop import Loop
from dsbalance.model import Bind, Keepalive
from dsbalance.resolve import resolve
from dsbalance.sockets import Door, Stream, set_keepalive

_log = logging.getLogger("dsbalance.listener")

# accept(2): one client's bad luck, network errors of its connection among them. Everything else,
# such as no descriptors, would happen again at once.
_PASSING = frozenset(
    {
        *(errno.ECONNABORTED, errno.EPROTO, errno.EINTR, errno.EAGAIN, errno.ENETDOWN),
        *(errno.ENOPROTOOPT, errno.EHOSTUNREACH, errno.EOPNOTSUPP, errno.ENETUNREACH),
        *(errno.ECONNRESET, errno.ETIMEDOUT, getattr(errno, "EHOSTDOWN", errno.EHOSTUNREACH)),
    }
)
# How long accepting rests when there are no descriptors, in seconds; a session that ends may free
# some earlier, but they need not be ours to wait for.
_REST = 0.1
# Linux gives a client's connection the options of its listener (tcp(7)); nobody else promises it.
_INHERITS = sys.platform.startswith("linux")
# listen(2): the kernel cuts it to net.core.somaxconn.
_BACKLOG = 4096


class Room:
    """How many sessions there are, and may be, at a time.

    Attributes:
        limit: None: no limit.
        used: Sessions now.
        most: The most there were at a time.
    """

    __slots__ = ("_limit", "limit", "most", "used")

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self._limit = math.inf if limit is None else limit
        self.used = 0
        self.most = 0

    def set_limit(self, limit: int | None) -> None:
        """Have another limit; whoever is there stays. See :meth:`Hall.resize`."""
        self.limit = limit
        self._limit = math.inf if limit is None else limit

    def is_full(self) -> bool:
        """Return whether nobody else may come in."""
        return self.used >= self._limit

    def enter(self) -> bool:
        """Count one more; return whether it is full now."""
        self.used = used = self.used + 1
        if used > self.most:  # noqa: PLR1730 -- max() takes three times as long
            self.most = used
        return used >= self._limit

    def leave(self) -> bool:
        """Count one less; return whether it was full before."""
        used = self.used
        self.used = used - 1
        return used >= self._limit


class Annex(Room):
    """A room of which everybody is in a larger room too, whose limit it is."""

    __slots__ = ("_whole",)

    def __init__(self, whole: Room) -> None:
        super().__init__(None)
        self._whole = whole

    def enter(self) -> bool:
        """Count one more in both; return whether the larger one is full now."""
        super().enter()
        return self._whole.enter()

    def leave(self) -> bool:
        """Count one less in both; return whether the larger one was full before."""
        super().leave()
        return self._whole.leave()


class Hall:
    """What all listeners of a process share: its room, and the rest when descriptors run out.

    Attributes:
        loop: Where the listeners wait.
        room: Of the whole process.
        due_tick: The property of the loop's timers.
    """

    __slots__ = ("_is_resting", "_listeners", "due_tick", "loop", "room")

    def __init__(self, loop: Loop, maxconn: int | None) -> None:
        self.loop = loop
        self.room = Room(maxconn)
        self.due_tick = 0
        self._listeners: list[Listener] = []
        self._is_resting = False

    @property
    def is_closed(self) -> bool:
        """Whether nobody may come in at the moment, wherever."""
        return self._is_resting or self.room.is_full()

    def enter(self, room: Room) -> None:
        """Count a client more, in ``room`` and in the whole process."""
        is_full = room.enter()
        if self.room.enter() or is_full:
            self.look()

    def leave(self, room: Room) -> None:
        """Count a client less, and let those in who waited for that."""
        was_full = room.leave()
        if self.room.leave() or was_full:
            self.look()

    def resize(self, room: Room, limit: int | None) -> None:
        """Give ``room``, or the whole process, another limit; None: none. Who waits is let in."""
        room.set_limit(limit)
        self.look()

    def add(self, listener: Listener) -> None:
        """Let ``listener`` accept as long as there is room."""
        self._listeners.append(listener)
        listener.look()

    def remove(self, listener: Listener) -> None:
        """Let ``listener`` accept no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def look(self) -> None:
        """Let every listener see whether it may accept."""
        for listener in self._listeners:
            listener.look()

    def rest(self, reason: str) -> None:
        """Accept nobody for a moment: there are no descriptors."""
        if not self._is_resting:
            _log.warning("accepting rests for %g s: %s", _REST, reason)
            self._is_resting = True
            self.loop.timers.set(self, self.loop.now + _REST, self.loop.now)
            self.look()

    def on_due(self, now: float) -> None:
        """Try again."""
        self._is_resting = False
        self.look()

    def on_crash(self, error: Exception) -> None:
        """Try again all the same: as in Timed."""
        self._is_resting = False


class Listener:
    """One listening socket of a frontend.

    Args:
        sock: Listening; the listener's from here on.
        room: Of its frontend.
        hall: Of the process.
        receive: Takes over each client's connection, non-blocking, and who it is.
    """

    __slots__ = ("_hall", "_is_watched", "_make_packed", "_receive", "_room", "port", "sock")

    def __init__(
        self, sock: Door, room: Room, hall: Hall, receive: Callable[[Stream, Client], None]
    ) -> None:
        self.sock = sock
        self.port: int = sock.getsockname()[1]
        self._room = room
        self._hall = hall
        self._receive = receive
        self._is_watched = False
        self._make_packed: Callable[[str], bytes] = (
            socket.inet_aton if sock.family == socket.AF_INET else _pack_ipv6
        )

    def look(self) -> None:
        """Watch the socket if, and only if, a client may come in."""
        may_accept = not (self._hall.is_closed or self._room.is_full())
        if may_accept is not self._is_watched:
            self._is_watched = may_accept
            if may_accept:
                self._hall.loop.watch_listener(self.sock, self)
            else:
                self._hall.loop.unwatch(self.sock)

    def on_events(self, events: int) -> None:
        """Accept one client."""
        try:
            sock, address = self.sock.admit()
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in _PASSING:
                self._hall.rest(str(error))
            return
        if not _INHERITS:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = address[0]
        self._receive(sock, Client(host, self._make_packed(host), self.port, address[1]))

    def on_crash(self, error: Exception) -> None:
        """Go on: whose client it was has ended that."""

    def close(self) -> None:
        """Close the port; sessions go on."""
        self._hall.remove(self)
        # Not left to close(): a child of this program may hold the socket, and would be told of.
        self._hall.loop.unwatch(self.sock)
        self._hall.loop.close(self.sock)


def listen(bind: Bind, keepalive: Keepalive | None, subject: str) -> list[Door]:
    """Return a listening socket for each port of ``bind``, or none of them.

    What a client's connection inherits is set here, once.

    Raises:
        ConnectError: The address is not this machine's, or is in use, or a port may not be bound.
    """
    socks: list[Door] = []
    try:
        for port in bind.ports:
            socks.append(_listen(bind, port, keepalive, subject))
    except ConnectError:
        for sock in socks:
            sock.close()
        raise
    return socks


def _listen(bind: Bind, port: int, keepalive: Keepalive | None, subject: str) -> Door:
    target = resolve(bind.host, subject, passive=True)
    sock: Door | None = None
    try:
        sock = Door(target.family)
        if sys.platform != "win32":
            # There it would let two processes share a port, here it only skips TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if target.family == socket.AF_INET6 and bind.v6only is not None:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, bind.v6only)
        if keepalive is not None:
            set_keepalive(sock, keepalive)
        sock.bind(target.address(port))
        sock.listen(_BACKLOG)
    except OSError as error:
        if sock is not None:
            sock.close()
        host = f"[{target.host}]" if target.family == socket.AF_INET6 else target.host
        reason = error.strerror or str(error)
        raise ConnectError(f"{host}:{port}", f"cannot listen: {reason}", subject) from error
    return sock


def _pack_ipv6(host: str) -> bytes:
    # A link-local address carries its interface: fe80::1%eth0.
    return socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
