"""A client whose connection has to begin with a PROXY header: it is read, and nothing behind it.

    event                          then
    a part of a header             it is taken, and more is awaited
    the end of a header            that is taken, and the client is greeted
    anything else                  it is lost: reset
    the connection ends, resets    it is lost
    timeout                        it is lost

Bytes are looked at before they are taken, so that what comes behind the header stays in the kernel.
Everything here runs on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from socket import MSG_PEEK

from dsbalance.haproxy.proxy_protocol import Header, ProxyHeaderError, header_end, parse_header
from dsbalance.loop import Loop
from dsbalance.poller import READABLE
from dsbalance.sockets import Stream, set_reset

# How many bytes are looked at in a call: more than any header that has no TLVs.
_GLANCE = 512


class Greeting:
    """Read the header of one connection. It ends in one of its two callbacks, or in :meth:`close`.

    Args:
        loop: Where it runs.
        sock: Accepted, non-blocking, not watched.
        timeout: How long the header may take, in seconds; None: for ever.
        on_greeted: Told what the header says. The connection is the callee's and is not watched.
        on_lost: Told why there is no header. The connection is closed.

    Attributes:
        sock: The connection.
        opened_at: When it was accepted.
        due_tick: The property of the loop's timers.
    """

    __slots__ = (
        *("_data", "_is_over", "_loop", "_on_greeted", "_on_lost", "_timeout"),
        *("due_tick", "opened_at", "sock"),
    )

    def __init__(
        self,
        loop: Loop,
        sock: Stream,
        *,
        timeout: float | None,
        on_greeted: Callable[[Greeting, Header], None],
        on_lost: Callable[[Greeting, str], None],
    ) -> None:
        self.sock = sock
        self.due_tick = 0
        self.opened_at = loop.now
        self._loop = loop
        self._timeout = timeout
        self._on_greeted = on_greeted
        self._on_lost = on_lost
        # What was taken: never more than a header and a glance.
        self._data = bytearray()
        self._is_over = False

    def open(self) -> None:
        """Begin. What is there already is read at once, and may be all."""
        self._read()
        if self._is_over:
            return
        loop = self._loop
        loop.watch_stream(self.sock, self, READABLE)
        if self._timeout is not None:
            loop.timers.set(self, loop.now + self._timeout, loop.now)

    def close(self) -> None:
        """Close the connection, if it is still waited for; nobody is told."""
        if not self._is_over:
            self._end()
            self._loop.close(self.sock)

    def on_events(self, events: int) -> None:
        """Read on."""
        self._read()

    def on_due(self, now: float) -> None:
        """Give up."""
        self._lose("it took too long")

    def on_crash(self, error: Exception) -> None:
        """Give up: something of ours raised, and was logged."""
        if not self._is_over:
            self._lose(str(error))

    def _read(self) -> None:
        """Take what belongs to the header until it is whole, or no more is there."""
        while not self._is_over:
            try:
                seen = self.sock.recv(_GLANCE, MSG_PEEK)
                header = self._take(seen)
            except BlockingIOError:
                return
            except ProxyHeaderError as error:
                self._lose(error.problem)
                return
            except OSError as error:
                self._lose(error.strerror or str(error))
                return
            if not seen:
                self._lose("the connection ended")
            elif header is not None:
                self._end()
                self._loop.unwatch(self.sock)
                self._on_greeted(self, header)

    def _take(self, seen: bytes) -> Header | None:
        """Take the header's part of what was seen; return the header once it is whole."""
        data = self._data
        known = len(data)
        data += seen
        end = header_end(data)
        if end:
            header = parse_header(data[:end])
            self.sock.recv(end - known)
            return header
        if seen:
            # All of it belongs to the header. It has to go, or a poller that tells of readiness
            # as long as it lasts would tell of it for ever.
            self.sock.recv(len(seen))
        return None

    def _lose(self, reason: str) -> None:
        self._end()
        if self._data:
            # As HAProxy does: who said something wrong is told so, who said nothing is not.
            set_reset(self.sock)
        self._loop.close(self.sock)
        self._on_lost(self, reason)

    def _end(self) -> None:
        self._is_over = True
        self._loop.timers.cancel(self)
