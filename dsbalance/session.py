"""One client connection in TCP mode, with its server connection. All on the loop's thread.

    stage         ends with                     then
    approaching   connected / it is stranded    bridged / closed
    bridged       the bridge's word             closed

The client is not read before the server is connected: what it sent early waits in the kernel.
"""

from __future__ import annotations

from dsbalance.accounting import count_bytes, count_session
from dsbalance.approach import Approach
from dsbalance.bridge import Bridge
from dsbalance.journal import is_followed, tell_arrival, tell_session
from dsbalance.policy import Client
from dsbalance.relay import Ending, Phase
from dsbalance.service import Service
from dsbalance.sockets import Stream

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_CLOSED = Phase.CLOSED
_NORMAL = Ending.NORMAL
# Bytes to the server and back.
_NOTHING = (0, 0)


class Session:
    """A client, from its acceptance to the end of both connections.

    Args:
        service: What it shares with the frontend's other sessions.
        sock: The client's connection, non-blocking; the session's from here on.
        client: Who it is.

    Attributes:
        approach: Its way to the server, and its hold on the backend.
        due_tick: The property of the loop's timers.
        ending: Why it ended, once it has.
    """

    __slots__ = (
        "_bridge",
        "_counted",
        "approach",
        "client",
        "due_tick",
        "ending",
        "opened_at",
        "service",
        "sock",
    )

    def __init__(self, service: Service, sock: Stream, client: Client) -> None:
        self.service = service
        self.client = client
        self.sock = sock
        self.approach = Approach(self, service, client)
        self.ending = _NORMAL
        self.opened_at = service.loop.now
        self.due_tick = 0
        self._bridge: Bridge | None = None
        self._counted = _NOTHING

    @property
    def bridge(self) -> Bridge | None:
        """Both connections, once bytes go between them; None: not yet."""
        return self._bridge

    def open(self) -> None:
        """Go to a server."""
        service = self.service
        service.sessions.add(self)
        service.counters.total += 1
        if service.log is not None:
            tell_arrival(service, self.sock, self.client)
        self.approach.start()

    def close(self, ending: Ending) -> None:
        """End both connections and free the place, once; later calls do nothing."""
        approach = self.approach
        if approach.phase is _CLOSED:
            return
        self.ending = ending
        service = self.service
        loop = service.loop
        loop.timers.cancel(self)
        loop.close(self.sock)
        service.sessions.discard(self)
        if self._bridge is not None:
            self.count()
            count_session(approach, ending, self.opened_at)
            self._bridge.close()
        if service.log is not None or is_followed():
            tell_session(self)
        # They refer to the session: without that it is freed now, not by the next collection.
        self._bridge = None
        approach.close()
        service.on_left(service, self.client)

    def count(self) -> None:
        """Count what has moved since the last time."""
        bridge = self._bridge
        if bridge is not None:
            taken, given = self._counted
            self._counted = up, down = bridge.up.moved, bridge.down.moved
            count_bytes(self.approach, up - taken, down - given)

    def kill(self, ending: Ending) -> None:
        """End it from outside; who has not got everything that we took is reset, not closed."""
        if self._bridge is not None:
            self._bridge.break_off()
        self.close(ending)

    def dismiss(self, ending: Ending) -> None:
        """End it from outside: there is nothing that the client could be told."""
        self.kill(ending)

    def retire(self) -> None:
        """Go on: what is in between two bytes, nobody can know."""

    def on_connected(self, events: int) -> None:
        """Let bytes go to and fro."""
        service = self.service
        loop = service.loop
        server_sock = self.approach.server_sock
        assert server_sock is not None
        self._bridge = bridge = Bridge(self, service, self.sock, server_sock)
        limit = service.silence[0]
        if limit is None:
            loop.timers.cancel(self)
        else:
            # An attempt has mostly less time than a session: then its timer looks in time.
            loop.timers.bring_forward(self, loop.now + limit, loop.now)
        bridge.open(events)

    def on_stranded(self, ending: Ending) -> None:
        """End it: no server takes it."""
        self.close(ending)

    def on_due(self, now: float) -> None:
        """Act on the deadline, unless there was activity since it was set."""
        if self._bridge is not None:
            self._bridge.on_due(now)
        else:
            self.approach.on_due()

    def on_crash(self, error: Exception) -> None:
        """End it: something of ours raised, and was logged."""
        self.close(Ending.CRASHED)
