"""What there is to tell of a request in HTTP mode: when its parts came, and what it came to."""

from __future__ import annotations

import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING

from dsbalance.candidates import Reason
from dsbalance.haproxy.log import HttpRecord, http_line
from dsbalance.relay import Ending

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

_log = logging.getLogger("dsbalance.conversation")


class Journal:
    """The moments of one request after the other, by the loop's clock; 0: not yet.

    Attributes:
        began_at: Its first byte came.
        asked_at: Its head was whole.
        connected_at: A server was connected.
        answered_at: The response's head was whole.
        status: What the client was told; None: nothing.
        sent: Bytes that had gone to the client before.
    """

    __slots__ = (
        "answered_at",
        "asked_at",
        "began_at",
        "connected_at",
        "sent",
        "status",
    )

    def __init__(self, now: float) -> None:
        self.began_at = now
        self.asked_at = self.connected_at = self.answered_at = 0.0
        self.sent = 0
        self.status: int | None = None

    def begin(self, now: float, sent: int) -> None:
        """Forget the last request."""
        self.began_at = now
        self.asked_at = self.connected_at = self.answered_at = 0.0
        self.sent = sent
        self.status = None

    def times(self, now: float, placed_at: float) -> tuple[int, int, int, int, int]:
        """Return the times of ``option httplog``, in milliseconds.

        Args:
            now: The end.
            placed_at: When there was a place for it; 0: never.
        """
        return (
            _span(self.began_at, self.asked_at),
            _span(self.asked_at, placed_at),
            _span(placed_at, self.connected_at),
            _span(self.connected_at, self.answered_at),
            _span(self.began_at, now),
        )


def _span(start: float, end: float) -> int:
    return round((end - start) * 1000) if start and end else -1


def is_heard() -> bool:
    """Return whether somebody listens."""
    return _log.isEnabledFor(logging.INFO)


def tell(conversation: Conversation, ending: Ending) -> None:
    """Log a request that has ended, while its place is not free yet.

    Who only asks whether we are there (``monitor-uri``) is not told of.
    """
    service, journal = conversation.service, conversation.journal
    if ending is Ending.LOCAL and journal.status == 200:
        return
    now = conversation.loop.now
    placed_at = conversation.approach.placed_at
    if ending is Ending.QUEUE_TIMEOUT:
        placed_at = now
    placement = conversation.approach.placement
    state = placement.server if placement is not None else None
    request = conversation.request
    record = HttpRecord(
        client=(conversation.client.address, conversation.client.source_port),
        # The loop's clock has no date.
        began=datetime.fromtimestamp(time.time() - (now - journal.began_at)),
        frontend=service.name,
        backend=service.balancer.name,
        server=state.name if state is not None else None,
        times=journal.times(now, placed_at),
        status=journal.status,
        sent=conversation.outlet.sent - journal.sent,
        ending=ending,
        sessions=(
            len(service.sessions),
            len(service.sessions),
            service.balancer.counters.current,
            len(state.placements) if state is not None else 0,
        ),
        tries=placement.tries if placement is not None else 0,
        is_redispatched=placement is not None and placement.reason is Reason.REDISPATCH,
        request=request.raw.partition(b"\r\n")[0] if request is not None else b"",
    )
    reason = placement.reason if placement is not None else "-"
    _log.info("%s %s", http_line(record), reason)
