"""What becomes of a session when one of its ends closes, resets or falls silent. No I/O.

A session has two directions, each from a *source* to a *sink*: ``up`` from the client to the
server, ``down`` from the server to the client. A direction is read only when nothing of it is left
to write, so the end of a source is seen behind its last byte, and nothing is ever lost by passing
the end on.

    state  other       event    then  the shell must
    OPEN   OPEN        ENDED    SHUT  SHUT_SINK: half-close the sink
    OPEN   SHUT        ENDED    SHUT  CLOSE both
    OPEN   DEAD        ENDED    SHUT  RESET_SINK: the source had reset, this was its last byte
    OPEN   any         RESET    SHUT  RESET_SINK
    SHUT   OPEN        RESET    SHUT  RESET_SINK: it ended first and reset then
    OPEN   OPEN        REFUSED  DEAD  DRAIN the other direction: its source has reset
    OPEN   SHUT        REFUSED  DEAD  RESET_SOURCE
    OPEN   DEAD        REFUSED  DEAD  CLOSE both: both ends have reset
    DEAD   OPEN        RESET    DEAD  CLOSE both: as above

A reset is passed on as a reset, because a clean end in its place would make a truncated answer look
complete. Source: RFC 9293, 3.6 (half-close) and 3.10.7 (reset); tcp(7).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Phase(enum.Enum):
    """Where a session is on its way.

    QUEUED -> CONNECTING -> RELAYING -> CLOSED; PAUSED lies between two attempts at the same server,
    and each phase may end in CLOSED.
    """

    QUEUED = enum.auto()
    PAUSED = enum.auto()
    CONNECTING = enum.auto()
    RELAYING = enum.auto()
    CLOSED = enum.auto()


class Flow(enum.Enum):
    """The state of one direction."""

    # An Enum hashes its name, in Python; identity is as good and costs a tenth.
    __hash__ = object.__hash__

    OPEN = enum.auto()
    SHUT = enum.auto()
    DEAD = enum.auto()


class Progress(enum.Enum):
    """What an attempt to move bytes came to. The last three are events of the table above."""

    __hash__ = object.__hash__  # as above

    DRAINED = enum.auto()  # the source has no more for now
    BLOCKED = enum.auto()  # the sink takes no more for now
    MORE = enum.auto()  # there is more, but others want their turn
    ENDED = enum.auto()  # the source ended, everything of it is written
    RESET = enum.auto()  # the source reset or broke, everything before is written
    REFUSED = enum.auto()  # the sink reset or broke


class Step(enum.Enum):
    """What the shell must do, seen from the direction that had the event."""

    SHUT_SINK = enum.auto()
    RESET_SINK = enum.auto()
    RESET_SOURCE = enum.auto()
    DRAIN = enum.auto()
    CLOSE = enum.auto()


class Ending(enum.StrEnum):
    """Why a session ended, in HAProxy's termination letters: who, and in which phase.

    C, S: the client or the server ended it abnormally; c, s: its timeout did; P: we refused it;
    L: we answered it ourselves; R: we lacked something; D: its server went down; U: it was at a
    backup, and its server is up again; K: an operator ended it; I: an error of our own. Then the
    phase, R, Q, C, H, D: request's head, queue, connect, response's head, data.
    """

    NORMAL = "--"
    LOCAL = "LR"
    REQUEST_ABORTED = "CR"
    REQUEST_TIMEOUT = "cR"
    REQUEST_REFUSED = "PR"
    CONNECT_ABORTED = "CC"
    CLIENT_SILENT = "cH"
    SERVER_ABORTED = "SH"
    SERVER_SILENT = "sH"
    RESPONSE_REFUSED = "PH"
    BODY_REFUSED = "PD"
    CLIENT_RESET = "CD"
    SERVER_RESET = "SD"
    CLIENT_TIMEOUT = "cD"
    SERVER_TIMEOUT = "sD"
    CONNECT_FAILED = "SC"
    CONNECT_TIMEOUT = "sC"
    QUEUE_TIMEOUT = "sQ"
    QUEUE_FULL = "SQ"
    NO_RESOURCES = "RC"
    SERVER_DOWN = "DD"
    SERVER_UP = "UD"
    KILLED = "KD"
    CRASHED = "ID"


_STEPS: dict[tuple[Flow, Flow, Progress], tuple[Flow, Step]] = {
    (Flow.OPEN, Flow.OPEN, Progress.ENDED): (Flow.SHUT, Step.SHUT_SINK),
    (Flow.OPEN, Flow.SHUT, Progress.ENDED): (Flow.SHUT, Step.CLOSE),
    (Flow.OPEN, Flow.DEAD, Progress.ENDED): (Flow.SHUT, Step.RESET_SINK),
    (Flow.OPEN, Flow.OPEN, Progress.RESET): (Flow.SHUT, Step.RESET_SINK),
    (Flow.OPEN, Flow.SHUT, Progress.RESET): (Flow.SHUT, Step.RESET_SINK),
    (Flow.OPEN, Flow.DEAD, Progress.RESET): (Flow.SHUT, Step.RESET_SINK),
    (Flow.SHUT, Flow.OPEN, Progress.RESET): (Flow.SHUT, Step.RESET_SINK),
    (Flow.OPEN, Flow.OPEN, Progress.REFUSED): (Flow.DEAD, Step.DRAIN),
    (Flow.OPEN, Flow.SHUT, Progress.REFUSED): (Flow.DEAD, Step.RESET_SOURCE),
    (Flow.OPEN, Flow.DEAD, Progress.REFUSED): (Flow.DEAD, Step.CLOSE),
    (Flow.DEAD, Flow.OPEN, Progress.RESET): (Flow.DEAD, Step.CLOSE),
}


def next_step(own: Flow, other: Flow, event: Progress) -> tuple[Flow, Step]:
    """Return the direction's new state and what to do about ``event``.

    Raises:
        KeyError: The event cannot happen in these states.
    """
    return _STEPS[own, other, event]


def _check(up: Flow, down: Flow) -> None:
    """Assert that a session that goes on in these states can end, whatever comes next. O(1)."""
    assert Flow.OPEN in (up, down), "nobody is left who could end it"
    for own, other in ((up, down), (down, up)):
        # What is not read any more can only turn out to have been reset.
        events = list(Progress)[-3:] if own is Flow.OPEN else [Progress.RESET]
        assert all((own, other, event) in _STEPS for event in events), (own, other)


class Side(enum.Enum):
    """One end of a session."""

    CLIENT = enum.auto()
    SERVER = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a relayed session may be silent, in seconds; None: for ever.

    Attributes:
        client: ``timeout client``.
        server: ``timeout server``.
        tunnel: ``timeout tunnel``, which replaces both of them in TCP mode.
        client_fin: ``timeout client-fin``: the client's, once one direction has ended.
        server_fin: ``timeout server-fin``: the server's, once one direction has ended.
    """

    client: float | None = None
    server: float | None = None
    tunnel: float | None = None
    client_fin: float | None = None
    server_fin: float | None = None

    def silence(self, *, is_half_closed: bool) -> tuple[float | None, Side]:
        """Return the limit that ends a silent session first, and whose it is."""
        client = self.tunnel or self.client
        server = self.tunnel or self.server
        if is_half_closed:
            client = self.client_fin or client
            server = self.server_fin or server
        if server is None or (client is not None and client <= server):
            return client, Side.CLIENT
        return server, Side.SERVER
