"""One client connection with its server connection: system calls around the balancer and the relay.

    phase       ends with                       then
    (start)     the balancer's answer           QUEUED, CONNECTING or CLOSED
    QUEUED      a place / timeout queue         CONNECTING / CLOSED
    CONNECTING  connected / failed, timed out   RELAYING / PAUSED, CONNECTING, QUEUED, CLOSED
    PAUSED      the pause is over               CONNECTING
    RELAYING    the bridge's word               CLOSED

The client is not read before the server is connected: what it sent early waits in the kernel.
Everything here runs on the loop's thread.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from functools import partial
from socket import IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY
from typing import Any

from dsbalance.balancer import Failure, Placement, Stage
from dsbalance.bridge import Bridge
from dsbalance.errors import NoServerError
from dsbalance.loop import Loop
from dsbalance.policy import Client
from dsbalance.poller import CLOSING, FAILED, WRITABLE
from dsbalance.relay import Ending, Phase
from dsbalance.service import Service
from dsbalance.sockets import PENDING, STARVED, Stream, open_stream, set_keepalive, words

_log = logging.getLogger("dsbalance.session")


# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_QUEUED, _PAUSED, _CONNECTING, _RELAYING, _CLOSED = Phase
_NORMAL = Ending.NORMAL
_DISPLACED = Stage.DISPLACED
# Tuples, because an Enum hashes in Python: identity finds the first one for nothing.
_WAITING = (_QUEUED, _PAUSED)


class Session:
    """A client, from its acceptance to the end of both connections.

    Args:
        service: What it shares with the frontend's other sessions.
        sock: The client's connection, non-blocking; the session's from here on.
        client: Who it is.

    Attributes:
        due_tick: The property of the loop's timers.
        placement: Its hold on the backend; None before it has asked.
        ending: Why it ended, once it has.
        phase: Where it is on its way.
    """

    __slots__ = (
        "_bridge",
        "client",
        "client_sock",
        "due_tick",
        "ending",
        "opened_at",
        "phase",
        "placement",
        "server_sock",
        "service",
    )

    def __init__(self, service: Service, sock: Stream, client: Client) -> None:
        self.service = service
        self.client = client
        self.client_sock = sock
        self.server_sock: Stream | None = None
        self.placement: Placement | None = None
        self.phase = _QUEUED
        self.ending = _NORMAL
        self.opened_at = service.loop.now
        self.due_tick = 0
        self._bridge: Bridge | None = None

    def open(self) -> None:
        """Ask the balancer for a server, and go to it."""
        service = self.service
        service.sessions.add(self)
        service.counters.total += 1
        try:
            placement = service.balancer.route(self.client, service.loop.now)
        except NoServerError as error:
            self.close(Ending.QUEUE_FULL if error.is_full else Ending.CONNECT_FAILED)
            return
        placement.owner = self
        self.placement = placement
        self._connect(placement)

    def proceed(self) -> None:
        """Connect to the server that the placement names, or wait in its queue."""
        placement = self.placement
        if placement is None or self.phase not in _WAITING:
            # It ended, or went elsewhere, between the moment that a place was free and now.
            return
        self._connect(placement)

    def close(self, ending: Ending) -> None:
        """End both connections and free the place, once; later calls do nothing."""
        if self.phase is _CLOSED:
            return
        self.phase = _CLOSED
        self.ending = ending
        service = self.service
        loop = service.loop
        loop.timers.cancel(self)
        loop.close(self.client_sock)
        if self.server_sock is not None:
            loop.close(self.server_sock)
        service.sessions.discard(self)
        if self._bridge is not None:
            self._account(self._bridge)
            self._bridge.close()
        if _log.isEnabledFor(logging.INFO):
            # Now, for a handler that writes later would find the session empty.
            _log.info("%s", str(self))
        # They refer to the session: without that it is freed now, not by the next collection.
        self._bridge = None
        if self.placement is not None:
            self.placement.owner = None
            heirs = service.balancer.release(self.placement, loop.now)
            if heirs:
                resume(loop, heirs)
        service.on_left(service)

    def reroute(self) -> None:
        """Ask the balancer again: it has left its server, or the server's queue is gone."""
        placement = self.placement
        assert placement is not None
        try:
            self.service.balancer.reroute(placement, self.service.loop.now)
        except NoServerError as error:
            self.close(Ending.QUEUE_FULL if error.is_full else Ending.CONNECT_FAILED)
            return
        self.proceed()

    def lose_server(self, ending: Ending = Ending.SERVER_DOWN) -> None:
        """Its server is marked down, or a backup that is needed no more, and its sessions end.

        Who is still on the way there goes to another one. HAProxy ends that session too; but its
        server has heard nothing of it, so nothing could be done twice.
        """
        if self._bridge is None:
            self._attempt_failed(Failure.TIMEOUT)
        else:
            self.kill(ending)

    def kill(self, ending: Ending) -> None:
        """End it from outside; who has not got everything that we took is reset, not closed."""
        if self._bridge is not None:
            self._bridge.break_off()
        self.close(ending)

    def on_events(self, events: int) -> None:
        """See how the attempt to connect went. The loop tells it of the server's socket."""
        sock = self.server_sock
        assert sock is not None
        # A poller that tells of failures tells of one here; others only say that it is decided.
        if events & FAILED or not self.service.loop.poller.is_edge:
            error = sock.getsockopt(SOL_SOCKET, SO_ERROR)
            if error:
                self._attempt_failed(_failure(error))
                return
        if events & (WRITABLE | CLOSING):
            self._connected(events)

    def on_due(self, now: float) -> None:
        """Act on the phase's deadline, unless there was activity since it was set."""
        if self._bridge is not None:
            self._bridge.on_due(now)
        elif self.phase is _CONNECTING:
            self._attempt_failed(Failure.TIMEOUT)
        elif self.phase is _PAUSED and self._is_displaced():
            self.reroute()
        elif self.phase is _PAUSED:
            self.proceed()
        else:
            self.close(Ending.QUEUE_TIMEOUT)

    def _is_displaced(self) -> bool:
        return self.placement is not None and self.placement.stage is _DISPLACED

    def on_crash(self, error: Exception) -> None:
        """End it: something of ours raised, and was logged."""
        self.close(Ending.CRASHED)

    def __str__(self) -> str:
        placement = self.placement
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

    # -- connecting

    def _connect(self, placement: Placement) -> None:
        """Start attempts until one is under way, waits, or all have failed."""
        while not placement.is_queued:
            cause = self._attempt(placement)
            if cause is None:
                return
            if not self._retry(cause):
                return
        self.phase = _QUEUED
        self._set_timer(self.service.timeout_queue)

    def _attempt(self, placement: Placement) -> Failure | None:
        """Start to connect; None: it is under way."""
        service = self.service
        assert placement.server is not None
        server = placement.server.server
        target = service.targets[server.name]
        try:
            sock = open_stream(target.family)
        except OSError as error:
            return _lacking(error.errno or errno.EMFILE)
        self.server_sock = sock
        sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        if service.keepalive is not None:
            set_keepalive(sock, service.keepalive)
        port = self.client.port if server.port is None else server.port
        code = sock.connect_ex(target.address(port))
        if code not in PENDING:
            self._drop_server()
            return _lacking(code) if code in STARVED else _failure(code)
        self.phase = _CONNECTING
        service.loop.watch_stream(sock, self)
        self._set_timer(service.timeout_connect)
        return None

    def _attempt_failed(self, cause: Failure) -> None:
        self._drop_server()
        if self._retry(cause):
            assert self.placement is not None
            self._connect(self.placement)

    def _retry(self, cause: Failure) -> bool:
        """Ask the balancer what now; True: connect at once, or queue, as the placement says."""
        placement = self.placement
        assert placement is not None
        service = self.service
        retry = service.balancer.failed(placement, cause, service.loop.now)
        # At the end of this turn: what follows may end sessions at the server, and this one is only
        # now about to leave it.
        service.loop.soon(partial(service.on_failed, service.balancer))
        if retry is None:
            self.close(_GAVE_UP[cause])
            return False
        resume(service.loop, retry.admitted)
        if retry.delay:
            self.phase = _PAUSED
            self._set_timer(retry.delay)
            return False
        return True

    def _drop_server(self) -> None:
        if self.server_sock is not None:
            self.service.loop.close(self.server_sock)
            self.server_sock = None

    def _connected(self, events: int) -> None:
        service = self.service
        loop = service.loop
        assert self.placement is not None
        assert self.server_sock is not None
        self.phase = _RELAYING
        service.balancer.connected(self.placement, loop.now)
        self._bridge = bridge = Bridge(self, service, self.client_sock, self.server_sock)
        limit = service.silence[0]
        if limit is None:
            loop.timers.cancel(self)
        else:
            # An attempt has mostly less time than a session: then its timer looks in time.
            loop.timers.bring_forward(self, loop.now + limit, loop.now)
        bridge.open(events)

    def _account(self, bridge: Bridge) -> None:
        """Count what went to and fro, and who broke it off."""
        assert self.placement is not None
        assert self.placement.server is not None
        taken, given = bridge.up.moved, bridge.down.moved
        frontend, server = self.service.counters, self.placement.server.counters
        frontend.bytes_in += taken
        frontend.bytes_out += given
        server.bytes_in += taken
        server.bytes_out += given
        if self.ending in _BY_CLIENT:
            server.client_aborts += 1
        elif self.ending in _BY_SERVER:
            server.server_aborts += 1

    def _set_timer(self, timeout: float | None) -> None:
        loop = self.service.loop
        if timeout is None:
            loop.timers.cancel(self)
        else:
            loop.timers.set(self, loop.now + timeout, loop.now)


_BY_CLIENT = (Ending.CLIENT_RESET, Ending.CLIENT_TIMEOUT)
_BY_SERVER = (Ending.SERVER_RESET, Ending.SERVER_TIMEOUT)
_GAVE_UP = {
    Failure.REFUSED: Ending.CONNECT_FAILED,
    Failure.TIMEOUT: Ending.CONNECT_TIMEOUT,
    Failure.LOCAL: Ending.NO_RESOURCES,
}


def resume(loop: Loop, placements: Iterable[Placement]) -> None:
    """Let the sessions go on whose placements have got a place, at the end of this turn.

    Not at once: each may fail at once and free its place for the next one, and so on.
    """
    for placement in placements:
        owner: Any = placement.owner
        if owner is not None:
            loop.soon(owner.proceed)


def _failure(error: int) -> Failure:
    return Failure.TIMEOUT if error == errno.ETIMEDOUT else Failure.REFUSED


def _lacking(error: int) -> Failure:
    """Say what our own system lacks: the server has no part in it."""
    _log.warning("cannot connect: %s", words(error))
    return Failure.LOCAL
