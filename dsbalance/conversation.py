"""One client connection in HTTP mode: requests, one after the other. All on the loop's thread.

    stage                what the loop tells of       then
    FRESH, IDLE, HEAD    a request's head             PLACING, or an answer of our own
    PLACING              a server, or none            ASKING, or 503
    ASKING, ANSWERING    the exchange's progress      settled: IDLE, or the client is left
    TUNNEL               the bridge's word            CLOSED
    LEAVING              the farewell's end           CLOSED

Each request asks the balancer anew, and holds a place as long as it lasts. The server's connection
is kept for the client's next request, and for nobody else's. What becomes of the client in trouble
is said in :mod:`dsbalance.fates`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dsbalance.accounting import count_progress, count_request
from dsbalance.approach import Approach
from dsbalance.arrival import listen
from dsbalance.bridge import Bridge
from dsbalance.conduit import Intake, Outlet
from dsbalance.exchange import Exchange
from dsbalance.farewell import Farewell, leave
from dsbalance.fates import Fate, Leave, Stage, Trouble
from dsbalance.http1 import Framing, RequestHead
from dsbalance.http_answers import Answer
from dsbalance.http_fields import Origin
from dsbalance.journal import Journal, is_heard, tell
from dsbalance.outcome import conclude, fail
from dsbalance.policy import Client
from dsbalance.poller import FAILED, HUNG_UP, QUIET, READABLE, WRITABLE
from dsbalance.relay import Ending, Progress, Side
from dsbalance.sockets import Stream, set_reset
from dsbalance.usual import ask
from dsbalance.visit import Visit
from dsbalance.waiting import arm, deadline, want

if TYPE_CHECKING:
    from dsbalance.service import Service

_log = logging.getLogger("dsbalance.conversation")

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress
_FRESH, _IDLE, _HEAD, _PLACING, _ASKING, _ANSWERING, _TUNNEL, _LEAVING, _CLOSED = Stage
# Tuples, because an Enum hashes in Python: identity finds the first one for nothing.
_LISTENING = (_IDLE, _FRESH, _HEAD)
_EXCHANGING = (_ASKING, _ANSWERING)
_REQUESTING = (_PLACING, _ASKING, _ANSWERING, _TUNNEL)
_MOVING = (_ASKING, _ANSWERING, _TUNNEL)
_CLIENT, _SERVER = Side
_CLOSE = Framing.CLOSE
_GONE = (Trouble.ENDED, Trouble.RESET)
_NORMAL = Ending.NORMAL


class Conversation:
    """A client, from its acceptance to the end of its connection.

    Args:
        service: What it shares with the frontend's other clients.
        sock: The client's connection, non-blocking; the conversation's from here on.
        client: Who it is.

    Attributes:
        loop: Where it runs.
        sock: The client's connection.
        stage: How far it has come.
        request: The one that is under way; None between two of them.
        head: What its server is sent first, until it is connected.
        origin: Who asks, and where; None before the first request.
        intake: What the client sends.
        outlet: What it gets.
        approach: The way to the server.
        exchange: What happens there.
        journal: What there is to tell of the request.
        keeps_client: Whether the client's connection outlives the response, as it was told.
        active_at: When one of the sockets last did what it was waited for. Bytes that nobody reads
            at the moment are no activity: they would keep up who does not take what it gets.
        armed_tick: Its ``due_tick`` when the deadline was last armed.
        bridge: Once both sides have left HTTP behind.
        farewell: Once the client is being left.
        visit: Once its request has turned out to be for ourselves.
        must_leave: Whether the client is left after this response, whatever it asked for.
        due_tick: The property of the loop's timers.
    """

    __slots__ = (
        "active_at",
        "approach",
        "armed_tick",
        "bridge",
        "client",
        "due_tick",
        "exchange",
        "farewell",
        "head",
        "intake",
        "journal",
        "keeps_client",
        "loop",
        "must_leave",
        "origin",
        "outlet",
        "request",
        "service",
        "sock",
        "stage",
        "visit",
    )

    def __init__(self, service: Service, sock: Stream, client: Client) -> None:
        self.service = service
        self.loop = loop = service.loop
        self.sock = sock
        self.client = client
        self.stage = _FRESH
        self.intake = Intake(sock, service.buffer)
        self.outlet = Outlet(sock, service.pool)
        self.approach = Approach(self, service, client)
        self.exchange = Exchange(self)
        self.journal = Journal(loop.now)
        self.request: RequestHead | None = None
        self.must_leave = False
        self.active_at = loop.now
        self.due_tick = self.armed_tick = 0
        self.head = b""
        self.keeps_client = False
        self.origin: Origin | None = None
        self.bridge: Bridge | None = None
        self.farewell: Farewell | None = None
        self.visit: Visit | None = None

    # -- life

    def open(self) -> None:
        """Wait for the first request."""
        service = self.service
        service.sessions.add(self)
        service.counters.total += 1
        self.loop.watch_stream(self.sock, self, READABLE)
        arm(self)

    def close(self, ending: Ending) -> None:
        """End everything, once; later calls do nothing."""
        if self.stage is _CLOSED:
            return
        bridge, self.bridge = self.bridge, None
        if bridge is not None:
            bridge.close()
            self.outlet.sent += bridge.down.moved
            self.intake.taken += bridge.up.moved
            self.account(ending)
        if self.farewell is not None:
            self.farewell.stop()
            self.farewell = None
        self.stage = _CLOSED
        service = self.service
        self.loop.timers.cancel(self)
        self.loop.close(self.sock)
        self.outlet.drop()
        self.exchange.drop()
        service.sessions.discard(self)
        self.approach.close()
        # It refers to this: without that both are freed now, not by the next collection.
        del self.exchange
        service.on_left(service, self.client)

    def kill(self, ending: Ending) -> None:
        """End it from outside; who has not got everything is reset, not closed."""
        if self.bridge is not None:
            self.bridge.break_off()
        elif self.stage in _EXCHANGING or self.outlet.is_blocked:
            set_reset(self.sock)
        if self.stage in _REQUESTING:
            self.account(ending)
        self.close(ending)

    def dismiss(self, ending: Ending) -> None:
        """End it from outside; a client that waits for a response is told that there is none."""
        if self.stage is _ASKING and not self.exchange.has_interim:
            conclude(self, Fate(ending, 502))
        else:
            self.kill(ending)

    def retire(self) -> None:
        """Let it end behind the request that is under way, or the one that it came for."""
        self.must_leave = True
        if self.stage is _IDLE:
            leave(self)

    # -- events

    def on_events(self, events: int) -> None:
        """See what the client sends, or takes. The loop tells it of the client's socket."""
        stage = self.stage
        if events != WRITABLE:
            intake = self.intake
            intake.is_drained = False
            if events not in QUIET:
                intake.is_closing = True
            if stage is _IDLE and self.approach.kept is not None and ask(self, intake):
                pass
            elif stage in _LISTENING:
                listen(self)
            elif events & (FAILED | HUNG_UP):
                fail(self, _CLIENT, Trouble.RESET)
            elif self.exchange.up is not None and stage in _EXCHANGING:
                if not self.exchange.to_server.is_blocked:
                    self.active_at = self.loop.now
                self.exchange.pump_up()
        if events & WRITABLE and self.outlet.is_blocked and self.stage in _EXCHANGING:
            self.active_at = self.loop.now
            self.exchange.pump_down()
        if not self.loop.poller.is_edge:
            want(self)

    def on_due(self, now: float) -> None:
        """Act on the deadline, unless there was activity since it was set."""
        if self.bridge is not None:
            self.bridge.on_due(now)
            return
        if self.stage is _PLACING:
            self.approach.on_due()
        else:
            due_at, side = deadline(self)
            if due_at is None or due_at > now:
                arm(self)
            else:
                fail(self, side, Trouble.SILENT)
        if not self.loop.poller.is_edge:
            want(self)

    def on_crash(self, error: Exception) -> None:
        """End it: something of ours raised, and was logged."""
        self.close(Ending.CRASHED)

    def on_connected(self, events: int) -> None:
        """Send the request to the server."""
        self.stage = _ASKING
        assert self.request is not None
        if self.due_tick != self.armed_tick:
            # The way here had deadlines of its own.
            arm(self)
        # Up to a buffer of a body is with it, which is not to be kept for long.
        head, self.head = self.head, b""
        self.exchange.begin(self.request, head, events)
        if not self.loop.poller.is_edge:
            want(self)

    def on_stranded(self, ending: Ending) -> None:
        """Tell the client that no server takes its request."""
        conclude(self, Fate(ending, 503, Leave.STAY))

    # -- what the exchange tells

    def settle(self) -> None:
        """Request and response are complete: go on with the next request, or leave."""
        self.account(_NORMAL)
        stays = self.keeps_client and not self.must_leave
        is_kept = self.service.rewriting.is_server_kept and self.exchange.may_go_on()
        if is_kept and stays:
            self.approach.pause()
        elif is_kept:
            # The server may think that it goes on: a reset would be an error in its log.
            self.approach.release()
        else:
            self.release()
        if stays:
            self.wait()
        else:
            leave(self)

    # -- requests

    def wait(self) -> None:
        """Wait for the next request, which may be there already."""
        self.stage = _IDLE
        self.request = self.visit = None
        intake = self.intake
        self.journal.begin(self.loop.now, intake.taken - len(intake.held), self.outlet.sent)
        if self.due_tick != self.armed_tick:
            arm(self)
        if intake.held or not intake.is_drained:
            self.loop.again(self.sock)
        if not self.loop.poller.is_edge:
            want(self)

    # -- ends

    def release(self) -> None:
        """Let the server go."""
        sock = self.approach.server_sock
        is_open = self.stage in _EXCHANGING and not self.exchange.from_server.is_closing
        if sock is not None and is_open:
            # As HAProxy does: nothing is lost by it, and no port of ours waits for a last word.
            set_reset(sock)
        self.exchange.drop()
        self.approach.release()

    def account(self, ending: Ending, made: Answer | None = None) -> None:
        """Count what a request came to, and tell of it, while it still has its place.

        Args:
            ending: How it ended.
            made: What we have answered ourselves; None: the server did, or nobody.
        """
        count_request(self, ending, made)
        if is_heard(self.service):
            tell(self, ending)

    def count(self) -> None:
        """Count what has moved since the last time, or the connection that is kept."""
        if self.stage in _MOVING:
            count_progress(self)
        elif self.approach.kept is not None and self.approach.keeper is not None:
            self.approach.keeper.kept += 1
