"""What sessions and requests came to, added to the counters. All on the loop's thread.

    what                       is counted by the frontend, and by
    bytes                      its server; the backend, where it has none
    what the client was told   the backend, if it was asked
    what its server said       the server
    an error of a client       nobody else, before there is a request; else its server
    an end                     its server alone: who broke it off, and how long the parts took of
                               what was connected, or answered in HTTP mode

What happened to a server is in the sums of its backend, so it is not counted there once more.

Source: the HAProxy 2.6 management guide, 9.1; what is counted when was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.approach import Approach
from dsbalance.counters import ServerCounters
from dsbalance.fates import Stage
from dsbalance.relay import Ending

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation
    from dsbalance.http_answers import Answer
    from dsbalance.service import Service

_NORMAL, _KEPT_BACK = Ending.NORMAL, Ending.RESPONSE_REFUSED
# The backend of a request has been asked.
_BEHIND = (Stage.ANSWERING, Stage.ASKING, Stage.PLACING, Stage.TUNNEL)
# Tuples, because an Enum hashes in Python: identity finds the first one for nothing.
_BY_CLIENT = (
    *(Ending.CLIENT_RESET, Ending.CLIENT_TIMEOUT, Ending.CLIENT_SILENT, Ending.CONNECT_ABORTED),
)
_BY_SERVER = (Ending.SERVER_RESET, Ending.SERVER_TIMEOUT)
_BAD_RESPONSES = (
    *(Ending.SERVER_RESET, Ending.SERVER_ABORTED, Ending.SERVER_SILENT),
    *(Ending.RESPONSE_REFUSED, Ending.BODY_REFUSED),
)


def count_bytes(approach: Approach, taken: int, given: int) -> None:
    """Count bytes that came from the client, and that it got."""
    service = approach.service
    counters = service.counters
    counters.bytes_in += taken
    counters.bytes_out += given
    placement = approach.placement
    state = None if placement is None else placement.server
    # A server's and a backend's counters have the same names for bytes.
    deeper = service.balancer.counters if state is None else state.counters
    deeper.bytes_in += taken
    deeper.bytes_out += given


def count_misfit(approach: Approach) -> None:
    """Count a response whose head is whole, and that is none to its request."""
    placement = approach.placement
    assert placement is not None
    assert placement.server is not None
    placement.server.counters.response_errors += 1


def count_progress(conversation: Conversation) -> None:
    """Count what a request has moved since the last time."""
    journal, intake = conversation.journal, conversation.intake
    taken = intake.taken - len(intake.held) - journal.taken
    given = conversation.outlet.sent - journal.sent
    if conversation.bridge is not None:
        taken += conversation.bridge.up.moved
        given += conversation.bridge.down.moved
    before, journal.counted = journal.counted or (0, 0), (taken, given)
    count_bytes(conversation.approach, taken - before[0], given - before[1])


def count_session(approach: Approach, ending: Ending, began: float) -> None:
    """Count a session that was connected, and ends: who broke it off, how long its parts took."""
    placement = approach.placement
    assert placement is not None
    assert placement.server is not None
    placed, connected = approach.placed_at, approach.connected_at
    now = approach.service.loop.now
    counters = placement.server.counters
    counters.timing.add(placed - began, connected - placed, 0.0, now - began)
    if ending is not _NORMAL:
        _blame(counters, ending)


def count_answer(service: Service, made: Answer) -> None:
    """Count what a rule has said to a request, before anybody was asked."""
    is_denied = made.is_denial
    service.counters.requests_denied += is_denied
    if made.is_behind:
        backend = service.balancer.counters
        backend.enter()
        backend.current -= 1
        backend.requests_denied += is_denied
    elif not is_denied:
        service.counters.intercepted += 1


def count_denial(approach: Approach, status: int) -> None:
    """Count a response with this status, which a rule keeps from its client."""
    approach.service.counters.responses_denied += 1
    placement = approach.placement
    assert placement is not None
    assert placement.server is not None
    counters = placement.server.counters
    counters.responses_denied += 1
    counters.responses[_hundred(status)] += 1


def count_request(conversation: Conversation, ending: Ending, made: Answer | None) -> None:
    """Count a request that ends, while it still has its placement.

    All in one and without a detour, for this is what is counted most often.

    Args:
        conversation: Whose request it is.
        ending: What it came to.
        made: What we have answered ourselves; None: the server did, or nobody.
    """
    journal, intake, service = conversation.journal, conversation.intake, conversation.service
    taken = intake.taken - journal.taken
    if journal.asked_at:
        # What is behind a request is another one's; what is no request is all that came.
        taken -= len(intake.held)
    given = conversation.outlet.sent - journal.sent
    if journal.counted is not None:
        taken -= journal.counted[0]
        given -= journal.counted[1]
    counters = service.counters
    counters.bytes_in += taken
    counters.bytes_out += given
    status = journal.status
    hundred = status // 100 if status is not None and status < 600 else 0
    counters.responses[hundred] += 1
    if conversation.stage not in _BEHIND and (made is None or not made.is_behind):
        counters.request_errors += not journal.asked_at
        return
    backend = service.balancer.counters
    backend.responses[hundred] += 1
    approach = conversation.approach
    placement = approach.placement
    if placement is None or placement.server is None:
        backend.bytes_in += taken
        backend.bytes_out += given
        return
    server = placement.server.counters
    server.bytes_in += taken
    server.bytes_out += given
    if made is None and status is not None:
        server.responses[hundred] += 1
    answered = journal.answered_at
    if answered:
        placed, connected = approach.placed_at, approach.connected_at
        server.timing.add(
            placed - journal.asked_at,
            connected - placed,
            answered - connected,
            conversation.loop.now - journal.began_at,
        )
    # A response whose head came whole is no error of its server if a rule keeps it back; if it
    # does not fit, that is counted already.
    if ending is not _NORMAL and not (ending is _KEPT_BACK and answered):
        _blame(server, ending)


def _blame(counters: ServerCounters, ending: Ending) -> None:
    """Count whose fault an end is."""
    counters.client_aborts += ending in _BY_CLIENT
    counters.server_aborts += ending in _BY_SERVER
    counters.response_errors += ending in _BAD_RESPONSES


def _hundred(status: int) -> int:
    return status // 100 if status < 600 else 0
