"""What there is to tell of a session, or of a request in HTTP mode, and telling it.

A line is written once what it tells of has ended, while its place is not free yet. It goes to the
log targets of its frontend, as their options say, and to whoever listens to the loggers
``dsbalance.session`` and ``dsbalance.conversation``: always at INFO, with all there is.
"""

from __future__ import annotations

import logging
import time
from datetime import datetime
from socket import MSG_PEEK
from typing import TYPE_CHECKING, Any

from dsbalance.candidates import Client, Reason
from dsbalance.haproxy.log import Record, connect_line, letters, line, severity
from dsbalance.log_options import LineFormat, Severity
from dsbalance.relay import Ending
from dsbalance.service import Service
from dsbalance.sockets import Stream

if TYPE_CHECKING:
    from dsbalance.approach import Approach
    from dsbalance.conversation import Conversation
    from dsbalance.session import Session

# What only follows from an attempt, if there was a server to try.
_GIVEN_UP = (Ending.CONNECT_FAILED, Ending.CONNECT_TIMEOUT)
_requests = logging.getLogger("dsbalance.conversation")
_sessions = logging.getLogger("dsbalance.session")


class Journal:
    """The moments of one request after the other, by the loop's clock; 0: not yet.

    Attributes:
        began_at: Its first byte came.
        asked_at: Its head was whole.
        answered_at: The response's head was whole.
        status: What the client was told; None: nothing.
        taken: Bytes that had come from the client before.
        sent: Bytes that had gone to the client before.
        counted: Those of this request that are counted already: up and down; None: none.
    """

    __slots__ = (
        "answered_at",
        "asked_at",
        "began_at",
        "counted",
        "sent",
        "status",
        "taken",
    )

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.asked_at = self.answered_at = 0.0
        self.taken = self.sent = 0
        self.counted: tuple[int, int] | None = None
        self.status: int | None = None

    def begin(self, now: float, taken: int, sent: int) -> None:
        """Forget the last request."""
        self.began_at = now
        self.asked_at = self.answered_at = 0.0
        self.taken = taken
        self.sent = sent
        self.counted = None
        self.status = None

    def times(
        self, now: float, placed_at: float, connected_at: float
    ) -> tuple[int, int, int, int, int]:
        """Return the times of ``option httplog``, in milliseconds.

        Args:
            now: The end.
            placed_at: When there was a place for it; 0: never.
            connected_at: When its server was connected; 0: never.
        """
        return (
            _span(self.began_at, self.asked_at),
            _span(self.asked_at, placed_at),
            _span(placed_at, connected_at),
            _span(connected_at, self.answered_at),
            _span(self.began_at, now),
        )


def _span(start: float, end: float) -> int:
    return round((end - start) * 1000) if start and end else -1


def is_heard(service: Service) -> bool:
    """Return whether somebody wants to know of the requests of a frontend."""
    return service.log is not None or _requests.isEnabledFor(logging.INFO)


def is_followed() -> bool:
    """Return whether somebody listens to what the program itself says of sessions."""
    return _sessions.isEnabledFor(logging.INFO)


def tell_arrival(service: Service, sock: Stream, client: Client) -> None:
    """Log that a client is there, where the frontend has no option that tells of its end."""
    if service.log is not None and service.log_options.line is LineFormat.CONNECT:
        door: tuple[str, int] = sock.getsockname()[:2]
        header = client.greeting
        if header is not None and header.destination:
            door = header.destination, header.destination_port
        source = client.address, client.source_port
        service.log.write(
            Severity.INFO, connect_line(source, door, service.name, is_http=service.is_http)
        )


def tell_session(session: Session) -> None:
    """Log a session that has ended, while its place is not free yet."""
    service, approach, bridge = session.service, session.approach, session.bridge
    now, began, options = service.loop.now, session.opened_at, service.log_options
    placed = now if session.ending is Ending.QUEUE_TIMEOUT else approach.placed_at
    waiting, connecting = _span(began, placed), _span(placed, approach.connected_at)
    wall = time.time()
    record = Record(
        client=(session.client.address, session.client.source_port),
        began=datetime.fromtimestamp(wall - (now - began)),
        frontend=service.name,
        backend=service.balancer.name,
        times=(-1, waiting, connecting, -1, _span(began, now)),
        sent=0 if bridge is None else bridge.down.moved,
        ending=letters(session.ending, approach.phase),
        is_null=options.skips_null
        and not (bridge.up.moved if bridge else _has_spoken(session.sock)),
        # It has left already, but for its place.
        **_circumstances(approach, session.ending, len(service.sessions) + 1),
    )
    _write(service, record, _sessions, wall)


def _has_spoken(sock: Stream) -> bool:
    """Return whether something of the client waits unread: no server has got it."""
    try:
        return bool(sock.recv(1, MSG_PEEK))
    except OSError:
        return False


def tell(conversation: Conversation, ending: Ending) -> None:
    """Log a request that has ended, while its place is not free yet.

    Who only asks whether we are there (``monitor-uri``) is not told of.
    """
    service, journal = conversation.service, conversation.journal
    if ending is Ending.LOCAL and journal.status == 200 and conversation.visit is None:
        return
    approach, request = conversation.approach, conversation.request
    now, wall = conversation.loop.now, time.time()
    placed = now if ending is Ending.QUEUE_TIMEOUT else approach.placed_at
    phase = None if approach.placement is None else approach.phase
    record = Record(
        client=(conversation.client.address, conversation.client.source_port),
        began=datetime.fromtimestamp(wall - (now - journal.began_at)),
        frontend=service.name,
        backend=service.balancer.name,
        times=journal.times(now, placed, approach.connected_at),
        status=journal.status,
        sent=conversation.outlet.sent - journal.sent,
        ending=letters(ending, phase, is_http=True, has_head=journal.answered_at > 0),
        request=b"" if request is None else request.raw.partition(b"\r\n")[0],
        is_null=request is None and conversation.intake.taken == journal.taken,
        **_circumstances(approach, ending, len(service.sessions)),
    )
    if request is not None and service.log is not None:
        tell_arrival(service, conversation.sock, conversation.client)
    _write(service, record, _requests, wall)


def _circumstances(approach: Approach, ending: Ending, present: int) -> dict[str, Any]:
    """Return what a record says of who else was there, and of the decision."""
    service, placement = approach.service, approach.placement
    balancer = service.balancer
    if placement is None:
        return {
            "server": None,
            "sessions": (service.present(), present, balancer.counters.current, 0),
        }
    state = placement.server
    # HAProxy counts it neither at the backend nor at the server any more.
    others = 0 if state is None else len(state.placements) - (placement in state.placements)
    return {
        "server": None if state is None else state.name,
        "sessions": (service.present(), present, balancer.counters.current - 1, others),
        # A last attempt that failed was followed by none.
        "retries": placement.tries - (ending in _GIVEN_UP and state is not None),
        "is_redispatched": placement.reason is Reason.REDISPATCH,
        "queues": placement.turns,
        "reason": placement.reason,
    }


def _write(service: Service, record: Record, log: logging.Logger, wall: float) -> None:
    """Write a record to the targets of its frontend, and to the program's own log."""
    pen, options = service.log, service.log_options
    if pen is not None and options.line is not LineFormat.CONNECT:
        grave = severity(record, options)
        if grave is not None:
            pen.write(grave, line(record, options.line), wall)
    if log.isEnabledFor(logging.INFO):
        style = LineFormat.TCPLOG if log is _sessions else LineFormat.HTTPLOG
        log.info("%s", line(record, style))
