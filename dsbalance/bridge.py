"""Both connections of a session while bytes go between them. All on the loop's thread.

    a channel's progress       then
    DRAINED, BLOCKED           the next event of one of the sockets goes on
    MORE                       the loop tells again in the next turn
    ENDED, RESET, REFUSED      the table of dsbalance.relay says: shut, reset, drain, or close

A reset drops what the peer has not got yet. So before one is passed on, the bridge *lingers* until
the peer's system has confirmed the last byte, or has confirmed nothing for as long as half-closed
silence may last.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from dsbalance.poller import FAILED, QUIET, READABLE, WRITABLE
from dsbalance.relay import Ending, Flow, Progress, Side, Step, next_step
from dsbalance.service import Service
from dsbalance.sockets import Stream, set_reset, shut, unsent
from dsbalance.splice import Channel

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation
    from dsbalance.session import Session

# How long a bridge that lingers sleeps between two looks, in seconds: briefly at first, then an
# eighth of the time that it has waited. And how long it waits for a peer that takes nothing where
# no timeout is configured.
_LINGER_STEPS = (0.03, 1.0)
_LINGER_LIMIT = 30.0
# As in dsbalance.splice: for speed.
_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress
_OPEN, _SHUT, _DEAD = Flow
_SHUT_SINK, _RESET_SINK, _RESET_SOURCE, _DRAIN, _CLOSE = Step
_NORMAL = Ending.NORMAL


class End:
    """One of the two sockets, as the loop's watcher of it."""

    __slots__ = ("_bridge", "_inbound", "_loop", "_outbound")

    def __init__(self, bridge: Bridge, inbound: Channel, outbound: Channel) -> None:
        self._bridge = bridge
        self._loop = bridge.loop
        self._inbound = inbound
        self._outbound = outbound

    def on_events(self, events: int) -> None:
        """Read from this end what the other takes, and write to it what was kept for it."""
        bridge = self._bridge
        bridge.active_at = self._loop.now
        # Tests of identity and order, because Python 3.11 takes ten times as long for `&`.
        if events != WRITABLE:
            inbound = self._inbound
            if events not in QUIET:
                inbound.is_closing = True
            if inbound.state is _OPEN:
                if not inbound.is_blocked:
                    progress = inbound.pump()
                    if progress is not _DRAINED:
                        bridge.progressed(inbound, progress)
            elif events & FAILED:
                bridge.source_failed(inbound)
        outbound = self._outbound
        if outbound.is_blocked and events & WRITABLE:
            bridge.progressed(outbound, outbound.pump())

    def on_crash(self, error: Exception) -> None:  # noqa: D102 - as in Watcher
        self._bridge.session.on_crash(error)


class Bridge:
    """The two channels of a session, and what becomes of them.

    Args:
        session: Whose it is; it owns the sockets and is told how all ends.
        service: What the session shares with others.
        client: Its client's connection.
        server: Its server's.

    Attributes:
        active_at: When something last happened at one of the sockets.
        up: From the client to the server.
        down: From the server to the client.
    """

    __slots__ = (
        "_ending",
        "_left",
        "_lingering",
        "active_at",
        "down",
        "loop",
        "service",
        "session",
        "up",
    )

    def __init__(
        self, session: Session | Conversation, service: Service, client: Stream, server: Stream
    ) -> None:
        self.session = session
        self.service = service
        self.loop = loop = service.loop
        buffer, pool = service.buffer, service.pool
        self.up = Channel(client, server, buffer, pool)
        self.down = Channel(server, client, buffer, pool)
        self.active_at = loop.now
        self._ending = _NORMAL
        self._lingering: Stream | None = None
        self._left = 0

    def open(self, events: int) -> None:
        """Begin to move bytes; ``events`` came with the news that the server is connected."""
        loop, up, down = self.loop, self.up, self.down
        end = End(self, down, up)
        loop.hand_over(up.sink, end)
        loop.watch_stream(up.source, End(self, up, down), READABLE)
        # The client has mostly spoken by now, and its bytes wait: do not spend a turn to learn it.
        progress = up.pump()
        if progress is not _DRAINED:
            self.progressed(up, progress)
        elif not loop.poller.is_edge:
            self._want()
        if events != WRITABLE:
            end.on_events(events)

    def take_over(self, to_server: bytes, to_client: bytes) -> None:
        """Begin to move bytes where both sockets are watched already.

        Args:
            to_server: What the client has sent so far, and the server has not got.
            to_client: The same the other way round.
        """
        loop, up, down = self.loop, self.up, self.down
        loop.hand_over(up.sink, End(self, down, up))
        loop.hand_over(up.source, End(self, up, down))
        up.put(to_server)
        down.put(to_client)
        for channel in (up, down):
            if channel.state is _OPEN:
                self.progressed(channel, channel.pump())

    def progressed(self, channel: Channel, progress: Progress) -> None:
        """Act on what a channel's ``pump`` came to."""
        if progress is _MORE:
            self.loop.again(channel.source)
        elif progress is not _DRAINED and progress is not _BLOCKED:
            self._step(channel, progress)
        if progress is _BLOCKED or not self.loop.poller.is_edge:
            self._want()

    def source_failed(self, channel: Channel) -> None:
        """Look whether a source was reset that is not read any more."""
        if self._is_moving() and channel.source.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._step(channel, _RESET)

    def on_due(self, now: float) -> None:
        """Act on the session's deadline, unless there was activity since it was set."""
        if self._lingering is not None:
            self._linger(self._lingering, now)
            return
        limit, side = self.silence()
        if limit is None:
            return
        deadline = self.active_at + limit
        if deadline > now:
            self.loop.timers.set(self.session, deadline, now)
        else:
            self.break_off()
            is_client = side is Side.CLIENT
            self.session.close(Ending.CLIENT_TIMEOUT if is_client else Ending.SERVER_TIMEOUT)

    def silence(self) -> tuple[float | None, Side]:
        """Return how long the session may be silent now, and whose limit that is."""
        is_open = self.up.state is _OPEN and self.down.state is _OPEN
        return self.service.silence if is_open else self.service.silence_half_closed

    def break_off(self) -> None:
        """Let the coming close reset whoever has not got everything that we took for it."""
        for channel in (self.up, self.down):
            if channel.is_blocked:
                set_reset(channel.sink)

    def close(self) -> None:
        """Move nothing any more; the sockets are the session's to close."""
        for channel in (self.up, self.down):
            channel.drop()
            channel.state = _SHUT

    def _is_moving(self) -> bool:
        return _OPEN in (self.up.state, self.down.state)

    def _step(self, channel: Channel, event: Progress) -> None:
        """Carry out what the relay's table says of ``event``."""
        other = self.down if channel is self.up else self.up
        channel.state, step = next_step(channel.state, other.state, event)
        if event is not _ENDED and self._ending is _NORMAL:
            is_client = (channel is self.up) is (event is _RESET)
            self._ending = Ending.CLIENT_RESET if is_client else Ending.SERVER_RESET
        if step is _SHUT_SINK:
            if not shut(channel.sink):
                # It has reset meanwhile; its own event says so.
                other.is_closing = True
            self._shorten()
        elif step is _DRAIN:
            channel.drop()
            other.is_closing = True
            if not other.is_blocked:
                self.progressed(other, other.pump())
        elif step is _RESET_SINK:
            self._reset(channel.sink)
        elif step is _RESET_SOURCE:
            self._reset(channel.source)
        else:
            self.session.close(self._ending)

    def _shorten(self) -> None:
        """A direction has ended: the session may be silent for a shorter time now."""
        limit = self.service.shortened
        if limit is not None:
            now = self.loop.now
            self.loop.timers.bring_forward(self.session, now + limit, now)

    def _reset(self, sock: Stream) -> None:
        """Reset ``sock``, but only behind the last byte that was written to it."""
        self.close()
        loop = self.loop
        loop.unwatch(self.up.source)
        loop.unwatch(self.up.sink)
        self.active_at = loop.now
        self._lingering = sock
        set_reset(sock)
        self._linger(sock, loop.now)

    def _linger(self, sock: Stream, now: float) -> None:
        """Close as soon as the side that is going to be reset has everything."""
        limit, _ = self.service.silence_half_closed
        left = unsent(sock)
        if left != self._left:
            # It takes something, however slowly: that is no silence.
            self._left = left
            self.active_at = now
        waited = now - self.active_at
        if left and waited < (_LINGER_LIMIT if limit is None else limit):
            low, high = _LINGER_STEPS
            step = max(low, min(high, waited / 8))
            self.loop.timers.set(self.session, now + step, now)
        else:
            self.session.close(self._ending)

    def _want(self) -> None:
        """Tell the poller what each end waits for."""
        if not self._is_moving():
            return
        want = self.loop.poller.want
        for inbound, outbound in ((self.up, self.down), (self.down, self.up)):
            is_reading = inbound.state is _OPEN and not inbound.is_blocked
            want(
                inbound.source.fileno(),
                (READABLE if is_reading else 0) | (WRITABLE if outbound.is_blocked else 0),
            )
