"""The way of a client to a server: system calls around what the balancer says.

    phase       ends with                       then
    (start)     the balancer's answer           QUEUED, CONNECTING, or RELAYING on what was kept
    QUEUED      a place / timeout queue         CONNECTING / it is stranded
    CONNECTING  connected / failed, timed out   RELAYING / PAUSED, CONNECTING, QUEUED, stranded
    PAUSED      the pause is over               CONNECTING
    RELAYING    the owner's word                CLOSED: the place is free
    CLOSED      a next start                    as above

A session takes one such way. A conversation takes one for each request, and may keep the connection
of the last one for the case that the next one goes to the same server.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from functools import partial
from socket import IPPROTO_TCP, SO_ERROR, SOL_SOCKET, TCP_NODELAY
from typing import Any, Protocol

from dsbalance.balancer import Failure, Placement, Stage
from dsbalance.errors import NoServerError
from dsbalance.loop import Loop
from dsbalance.model import Server
from dsbalance.placement import ServerState
from dsbalance.policy import Client
from dsbalance.poller import CLOSING, FAILED, WRITABLE
from dsbalance.relay import Ending, Phase
from dsbalance.service import Service
from dsbalance.sockets import PENDING, STARVED, Stream, open_stream, set_keepalive, words
from dsbalance.timers import Timed
from dsbalance.words import SendProxy

_log = logging.getLogger("dsbalance.approach")

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_QUEUED, _PAUSED, _CONNECTING, _RELAYING, _CLOSED = Phase
_DISPLACED = Stage.DISPLACED
# Tuples, because an Enum hashes in Python: identity finds the first one for nothing.
_WAITING = (_QUEUED, _PAUSED)


class Traveller(Timed, Protocol):
    """Whose way it is. Its one deadline is the approach's until it is connected.

    Attributes:
        sock: The client's connection.
    """

    sock: Stream

    def on_connected(self, events: int) -> None:
        """Use the server's connection; ``events``: what came with the news, 0: it was kept."""

    def on_stranded(self, ending: Ending) -> None:
        """Give up: no server takes it. The place is not free before :meth:`Approach.release`."""

    def dismiss(self, ending: Ending) -> None:
        """End it from outside, while it is connected."""


class Approach:
    """The way to a server, once or once for each request.

    Args:
        owner: Whose way it is.
        service: What it shares with the frontend's other clients.
        client: Who it is.

    Attributes:
        placement: Its hold on the backend; None before it has asked, and when that was refused.
        phase: Where it is on its way.
        placed_at: When there was a place for it; 0: not yet.
        connected_at: When the server was connected, or found connected; 0: not yet.
        server_sock: The connection that is being made, or is made.
        kept: A connection that is left over from the last way; the next one uses or closes it. The
            placement of that way rests.
        keeper: Whose connection was kept last.
        is_reused: Whether the connection had been kept: its server may have ended it meanwhile.
    """

    __slots__ = (
        "_owner",
        "_resting",
        "client",
        "connected_at",
        "is_reused",
        "keeper",
        "kept",
        "phase",
        "placed_at",
        "placement",
        "server_sock",
        "service",
    )

    def __init__(self, owner: Traveller, service: Service, client: Client) -> None:
        self._owner = owner
        self.service = service
        self.client = client
        self.placement: Placement | None = None
        self.phase = _QUEUED
        self.placed_at = self.connected_at = 0.0
        self.server_sock: Stream | None = None
        self.kept: Stream | None = None
        self.keeper: ServerState | None = None
        self._resting: Placement | None = None
        self.is_reused = False

    def start(self) -> None:
        """Ask the balancer for a server, and go to it."""
        if self._resting is not None:
            if self.resume():
                self._owner.on_connected(0)
                return
            self._wake()
        service = self.service
        self.phase = _QUEUED
        try:
            placement = service.balancer.route(self.client, service.loop.now)
        except NoServerError as error:
            self._owner.on_stranded(_refusal(error))
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

    def reroute(self) -> None:
        """Ask the balancer again: it has left its server, or the server's queue is gone."""
        placement = self.placement
        assert placement is not None
        try:
            self.service.balancer.reroute(placement, self.service.loop.now)
        except NoServerError as error:
            self._owner.on_stranded(_refusal(error))
            return
        self.proceed()

    def lose_server(self, ending: Ending) -> None:
        """Its server is marked down, or a backup that is needed no more, and its sessions end.

        Who is still on the way there goes to another one. HAProxy ends that session too; but its
        server has heard nothing of it, so nothing could be done twice.
        """
        if self.phase is _RELAYING:
            self._owner.dismiss(ending)
        else:
            self._attempt_failed(Failure.TIMEOUT)

    def resume(self) -> bool:
        """Go the last way again, if it was kept and is right; False: nothing has changed."""
        resting, kept = self._resting, self.kept
        if resting is None or kept is None:
            return False
        service = self.service
        now = service.loop.now
        if not service.balancer.rest.resume(resting, now):
            return False
        self.placement = resting
        self.server_sock = kept
        self._resting = self.kept = None
        self.is_reused = True
        self.phase = _RELAYING
        self.placed_at = self.connected_at = now
        return True

    def pause(self) -> None:
        """Free the place, and keep the connection and the stick entries for the next way."""
        placement = self.placement
        assert placement is not None
        service = self.service
        self.phase = _CLOSED
        self.placed_at = self.connected_at = 0.0
        self.kept, self.keeper = self.server_sock, placement.server
        self._resting = placement
        self.server_sock = self.placement = None
        heirs = service.balancer.rest.pause(placement)
        if heirs:
            call_up(service.loop, heirs)

    def drop_kept(self) -> None:
        """Close the connection that was kept, if there is one; a reset if bytes wait unread."""
        if self.kept is not None:
            self.service.loop.close(self.kept)
            self.kept = None

    def forget(self) -> None:
        """Keep nothing for a next way: there will be none."""
        self._wake()
        self.drop_kept()

    def _wake(self) -> None:
        """Release the placement that rests; the connection is kept for another one there."""
        resting = self._resting
        if resting is not None:
            self._resting = resting.owner = None
            self.service.balancer.release(resting, self.service.loop.now)

    def turn_to(self, service: Service) -> None:
        """Take the next way to the backend of this service."""
        if service is not self.service:
            self._wake()
            self.service = service

    def release(self) -> None:
        """Close the connection and free the place; the way may be gone once more."""
        self.phase = _CLOSED
        self.placed_at = self.connected_at = 0.0
        loop = self.service.loop
        if self.server_sock is not None:
            loop.close(self.server_sock)
            self.server_sock = None
        placement = self.placement
        if placement is not None:
            self.placement = placement.owner = None
            heirs = self.service.balancer.release(placement, loop.now)
            if heirs:
                call_up(loop, heirs)

    def close(self) -> None:
        """Release everything for ever."""
        self.release()
        if self._resting is not None or self.kept is not None:
            self.forget()
        # It refers to this: without that both are freed now, not by the next collection.
        del self._owner

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
            self._connected(sock, events)

    def on_due(self) -> None:
        """Act on the phase's deadline. Called by the owner, whose timer it is."""
        if self.phase is _CONNECTING:
            self._attempt_failed(Failure.TIMEOUT)
        elif self.phase is _PAUSED:
            placement = self.placement
            if placement is not None and placement.stage is _DISPLACED:
                self.reroute()
            else:
                self.proceed()
        else:
            # Not an error of the server's for which it may have waited.
            self.service.balancer.counters.connect_errors += 1
            self._owner.on_stranded(Ending.QUEUE_TIMEOUT)

    def on_crash(self, error: Exception) -> None:  # noqa: D102 - as in Watcher
        self._owner.on_crash(error)

    def _connect(self, placement: Placement) -> None:
        """Start attempts until one is under way, waits, or all have failed."""
        while not placement.is_queued:
            if not self.placed_at:
                self.placed_at = self.service.loop.now
            cause = self._attempt(placement)
            if cause is None:
                return
            if not self._retry(cause):
                return
        self.phase = _QUEUED
        self._set_timer(self.service.timeout_queue)

    def _attempt(self, placement: Placement) -> Failure | None:
        """Start to connect, or use the connection that was kept; None: it is under way."""
        service = self.service
        state = placement.server
        assert state is not None
        if self.kept is not None and self._use_kept(state):
            return None
        made = _open(service, state.server, self.client.port)
        if not isinstance(made, Stream):
            state.counters.errors += made is Failure.LOCAL
            return made
        state.counters.connects += 1
        self.server_sock = sock = made
        self.phase = _CONNECTING
        self.is_reused = False
        service.loop.watch_stream(sock, self)
        self._set_timer(service.timeout_connect)
        return None

    def _use_kept(self, state: ServerState) -> bool:
        if self.keeper is not state:
            self.drop_kept()
            return False
        self.server_sock, self.kept = self.kept, None
        self.is_reused = True
        self._arrived(0)
        return True

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
            self._owner.on_stranded(_GAVE_UP[cause])
            return False
        call_up(service.loop, retry.admitted)
        if retry.delay:
            self.phase = _PAUSED
            self._set_timer(retry.delay)
            return False
        return True

    def _drop_server(self) -> None:
        if self.server_sock is not None:
            self.service.loop.close(self.server_sock)
            self.server_sock = None

    def _connected(self, sock: Stream, events: int) -> None:
        placement = self.placement
        assert placement is not None
        assert placement.server is not None
        kind = placement.server.server.send_proxy
        if kind is not None and not _introduce(sock, kind, self.client, self._owner.sock):
            self._attempt_failed(Failure.REFUSED)
            return
        self._arrived(events)

    def _arrived(self, events: int) -> None:
        assert self.placement is not None
        service = self.service
        self.phase = _RELAYING
        self.connected_at = now = service.loop.now
        service.balancer.connected(self.placement, now)
        self._owner.on_connected(events)

    def _set_timer(self, timeout: float | None) -> None:
        loop = self.service.loop
        if timeout is None:
            loop.timers.cancel(self._owner)
        else:
            loop.timers.set(self._owner, loop.now + timeout, loop.now)


_GAVE_UP = {
    Failure.REFUSED: Ending.CONNECT_FAILED,
    Failure.TIMEOUT: Ending.CONNECT_TIMEOUT,
    Failure.LOCAL: Ending.NO_RESOURCES,
}


def call_up(loop: Loop, placements: Iterable[Placement]) -> None:
    """Let those go on whose placements have got a place, at the end of this turn.

    Not at once: each may fail at once and free its place for the next one, and so on.
    """
    for placement in placements:
        owner: Any = placement.owner
        if owner is not None:
            loop.soon(owner.proceed)


def _open(service: Service, server: Server, client_port: int) -> Stream | Failure:
    """Return a connection to ``server`` that is being made, or why there is none."""
    target = service.targets[server.name]
    try:
        sock = open_stream(target.family)
    except OSError as error:
        return _lacking(error.errno or errno.EMFILE)
    sock.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    if service.keepalive is not None:
        set_keepalive(sock, service.keepalive)
    code = sock.connect_ex(target.address(client_port if server.port is None else server.port))
    if code in PENDING:
        return sock
    # Nobody watches it yet.
    sock.close()
    return _lacking(code) if code in STARVED else _failure(code)


def _introduce(sock: Stream, kind: SendProxy, client: Client, client_sock: Stream) -> bool:
    """Tell the server in a PROXY header whose connection this is; False: it has gone."""
    # Loaded when it is used: few servers want it.
    from dsbalance.haproxy.proxy_protocol import introduction  # noqa: PLC0415

    try:
        said = introduction(kind, client, client_sock.getsockname()[0])
        # A new connection takes what is shorter than its buffer, as every header is, at once.
        return sock.send(said) == len(said)
    except OSError:
        return False


def _refusal(error: NoServerError) -> Ending:
    return Ending.QUEUE_FULL if error.is_full else Ending.CONNECT_FAILED


def _failure(error: int) -> Failure:
    return Failure.TIMEOUT if error == errno.ETIMEDOUT else Failure.REFUSED


def _lacking(error: int) -> Failure:
    """Say what our own system lacks: the server has no part in it."""
    _log.warning("cannot connect: %s", words(error))
    return Failure.LOCAL
