"""One client connection in TCP mode, with its server connection. All on the loop's thread.

    stage         ends with                     then
    approaching   connected / it is stranded    bridged / closed
    bridged       the bridge's word             closed

The client is not read before the server is connected: what it sent early waits in the kernel.
"""

from __future__ import annotations

import logging

from dsbalance.approach import Approach, count_transfer
from dsbalance.bridge import Bridge
from dsbalance.policy import Client
from dsbalance.relay import Ending, Phase
from dsbalance.service import Service
from dsbalance.sockets import Stream

_log = logging.getLogger("dsbalance.session")

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_CLOSED = Phase.CLOSED
_NORMAL = Ending.NORMAL


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

    def open(self) -> None:
        """Go to a server."""
        self.service.sessions.add(self)
        self.service.counters.total += 1
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
            count_transfer(approach, ending, self._bridge.up.moved, self._bridge.down.moved)
            self._bridge.close()
        if _log.isEnabledFor(logging.INFO):
            # Now, for a handler that writes later would find the session empty.
            _log.info("%s", str(self))
        # They refer to the session: without that it is freed now, not by the next collection.
        self._bridge = None
        approach.close()
        service.on_left(service, self.client)

    def kill(self, ending: Ending) -> None:
        """End it from outside; who has not got everything that we took is reset, not closed."""
        if self._bridge is not None:
            self._bridge.break_off()
        self.close(ending)

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

    def __str__(self) -> str:
        placement = self.approach.placement
        server = placement.server if placement is not None else None
        bridge = self._bridge
        moved = (0, 0) if bridge is None else (bridge.up.moved, bridge.down.moved)
        return (
            f"{self.client.address} {self.service.name}"
            f" {self.service.balancer.name}/{server.name if server is not None else '<NOSRV>'}"
            f" {placement.reason if placement is not None else '-'}"
            f" {moved[0]}/{moved[1]} bytes"
            f" {(self.service.loop.now - self.opened_at) * 1000:.0f} ms {self.ending}"
        )
