"""What becomes of a conversation in HTTP when something goes wrong. No I/O.

    stage       what has happened
    FRESH       the client has connected and sent nothing
    IDLE        a response has been sent, and nothing of the next request has come
    HEAD        a part of a request's head has come, or of the body of one that we answer ourselves
    PLACING     the request waits for a server
    ASKING      it goes to the server, and nothing of the response has gone to the client
    ANSWERING   the response goes to the client
    TUNNEL      both have left HTTP behind
    LEAVING     the last response is on its way, and nothing more is taken from the client

The table says, for each stage, what the end, a reset, silence or nonsense of either side leads to:
how the session is logged, what we answer ourselves, and how the client is left. A client that ends
behind a whole request is no trouble: it gets its response.

Source: HAProxy 2.6 configuration manual, 8.5 (session state at disconnection); what is answered,
and who is closed, was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from dsbalance.http1 import RequestHead
from dsbalance.relay import Ending, Side


class Stage(enum.Enum):
    """How far a conversation has come; see the module."""

    FRESH = enum.auto()
    IDLE = enum.auto()
    HEAD = enum.auto()
    PLACING = enum.auto()
    ASKING = enum.auto()
    ANSWERING = enum.auto()
    TUNNEL = enum.auto()
    LEAVING = enum.auto()
    CLOSED = enum.auto()


class Trouble(enum.Enum):
    """What one side does that ends a request before its time."""

    __hash__ = object.__hash__  # an Enum hashes its name, in Python

    ENDED = enum.auto()
    RESET = enum.auto()
    SILENT = enum.auto()
    REFUSED = enum.auto()  # what it sent is no HTTP that we let pass


class Leave(enum.Enum):
    """How the client is left."""

    STAY = enum.auto()  # its connection is used for the next request, if this one came whole
    CLOSE = enum.auto()  # closed behind the last byte
    RESET = enum.auto()  # reset: what it has got is not the whole response


@dataclass(frozen=True, slots=True)
class Fate:
    """What a trouble leads to.

    Attributes:
        ending: As the log says it.
        status: Of the answer that we give; None: none.
        leave: What becomes of the client's connection.
    """

    ending: Ending
    status: int | None = None
    leave: Leave = Leave.CLOSE


_CLIENT, _SERVER = Side
_FRESH, _IDLE, _HEAD, _PLACING, _ASKING, _ANSWERING, _TUNNEL, _LEAVING, _CLOSED = Stage
_ENDED, _RESET, _SILENT, _REFUSED = Trouble

_FATES: dict[tuple[Stage, Side, Trouble], Fate] = {
    (_FRESH, _CLIENT, _ENDED): Fate(Ending.REQUEST_ABORTED, 400),
    (_FRESH, _CLIENT, _RESET): Fate(Ending.REQUEST_ABORTED),
    (_FRESH, _CLIENT, _SILENT): Fate(Ending.REQUEST_TIMEOUT, 408),
    (_FRESH, _CLIENT, _REFUSED): Fate(Ending.REQUEST_REFUSED, 400),
    (_IDLE, _CLIENT, _ENDED): Fate(Ending.NORMAL),
    (_IDLE, _CLIENT, _RESET): Fate(Ending.NORMAL),
    (_IDLE, _CLIENT, _SILENT): Fate(Ending.NORMAL),
    (_IDLE, _CLIENT, _REFUSED): Fate(Ending.REQUEST_REFUSED, 400),
    (_HEAD, _CLIENT, _ENDED): Fate(Ending.REQUEST_ABORTED, 400),
    (_HEAD, _CLIENT, _RESET): Fate(Ending.REQUEST_ABORTED),
    (_HEAD, _CLIENT, _SILENT): Fate(Ending.REQUEST_TIMEOUT, 408),
    (_HEAD, _CLIENT, _REFUSED): Fate(Ending.REQUEST_REFUSED, 400),
    (_PLACING, _CLIENT, _RESET): Fate(Ending.CONNECT_ABORTED),
    (_ASKING, _CLIENT, _ENDED): Fate(Ending.CLIENT_RESET),
    (_ASKING, _CLIENT, _RESET): Fate(Ending.CLIENT_RESET),
    (_ASKING, _CLIENT, _SILENT): Fate(Ending.CLIENT_SILENT, 408),
    (_ASKING, _CLIENT, _REFUSED): Fate(Ending.RESPONSE_REFUSED, 400),
    (_ASKING, _SERVER, _ENDED): Fate(Ending.SERVER_ABORTED, 502, Leave.STAY),
    (_ASKING, _SERVER, _RESET): Fate(Ending.SERVER_ABORTED, 502, Leave.STAY),
    (_ASKING, _SERVER, _SILENT): Fate(Ending.SERVER_SILENT, 504, Leave.STAY),
    (_ASKING, _SERVER, _REFUSED): Fate(Ending.RESPONSE_REFUSED, 502, Leave.STAY),
    (_ANSWERING, _CLIENT, _ENDED): Fate(Ending.CLIENT_RESET),
    (_ANSWERING, _CLIENT, _RESET): Fate(Ending.CLIENT_RESET),
    (_ANSWERING, _CLIENT, _SILENT): Fate(Ending.CLIENT_TIMEOUT, leave=Leave.RESET),
    (_ANSWERING, _CLIENT, _REFUSED): Fate(Ending.BODY_REFUSED),
    (_ANSWERING, _SERVER, _ENDED): Fate(Ending.SERVER_RESET),
    (_ANSWERING, _SERVER, _RESET): Fate(Ending.SERVER_RESET),
    (_ANSWERING, _SERVER, _SILENT): Fate(Ending.SERVER_TIMEOUT),
    (_ANSWERING, _SERVER, _REFUSED): Fate(Ending.BODY_REFUSED),
}

LAPSED = Fate(Ending.SERVER_ABORTED)
"""What the end of a kept connection leads to from which no whole head of a response has come: the
client may ask once more on another connection (RFC 9112, 9.3.1)."""

BROKEN_OFF = Fate(Ending.SERVER_RESET)
"""What the reset of a server leads to that has not taken all of a request's body."""

UNREAD = Fate(Ending.CLIENT_TIMEOUT)
"""What the silence of a client leads to that has the whole response, and still owes its body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What besides the stage decides on a fate.

    Attributes:
        is_reused: Whether the server's connection was kept from an earlier request, and has not
            even given an interim response to this one.
        is_uploading: Whether a part of the request's body is still to come.
        is_answered: Whether all of the response has gone to the client.
        is_endless: Whether nothing but its connection's end would have ended the response.
    """

    is_reused: bool = False
    is_uploading: bool = False
    is_answered: bool = False
    is_endless: bool = False


_USUAL = Circumstances()


def fate(stage: Stage, side: Side, trouble: Trouble, case: Circumstances = _USUAL) -> Fate:
    """Return what ``trouble`` on one side leads to.

    Raises:
        KeyError: It cannot happen in this stage.
    """
    is_gone = trouble is _ENDED or trouble is _RESET
    if stage is _ASKING and side is _SERVER and is_gone:
        if case.is_reused:
            return LAPSED
        if case.is_uploading and trouble is _RESET:
            return BROKEN_OFF
    if stage is _ANSWERING:
        if case.is_answered and trouble is _SILENT:
            return UNREAD
        if case.is_endless:
            # A clean end in the place of the rest would make half of it look like all of it.
            end = _FATES[stage, side, trouble]
            return replace(end, leave=Leave.RESET)
    return _FATES[stage, side, trouble]


def wants_to_stay(request: RequestHead) -> bool:
    """Return whether the client is going to use its connection again."""
    said = request.connection
    if request.is_http10:
        return b"keep-alive" in said and b"close" not in said
    return not said or b"close" not in said
