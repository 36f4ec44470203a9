"""How a request ends without the response of a server. All on the loop's thread.

Which answer is given, and what becomes of the client, is said in :mod:`dsbalance.fates`; this
carries it out.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dsbalance.bodies import body_of
from dsbalance.farewell import leave
from dsbalance.fates import Circumstances, Fate, Leave, Stage, Trouble, fate, wants_to_stay
from dsbalance.http1 import MessageError, RequestHead
from dsbalance.http_answers import Answer
from dsbalance.relay import Progress, Side
from dsbalance.sockets import set_reset

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

_log = logging.getLogger("dsbalance.conversation")


def fail(conversation: Conversation, side: Side, trouble: Trouble, problem: str = "") -> None:
    """Act on what ends a request before its time; ``problem`` says what was refused."""
    if problem:
        name = conversation.service.name
        _log.info("%s %s: refused: %s", conversation.client.address, name, problem)
    case = _circumstances(conversation)
    conclude(conversation, fate(conversation.stage, side, trouble, case))


def conclude(conversation: Conversation, end: Fate) -> None:
    """Answer a request that has ended, where that is due, and go on or leave."""
    if end.status is not None:
        answer(conversation, conversation.service.rewriting.error(end.status), end)
        return
    if conversation.stage is not Stage.IDLE:
        conversation.account(end.ending)
    conversation.release()
    if end.leave is Leave.RESET:
        set_reset(conversation.sock)
        conversation.close(end.ending)
    else:
        leave(conversation)


def answer(conversation: Conversation, made: Answer, end: Fate) -> None:
    """Send an answer of our own, and go on or leave."""
    request, outlet = conversation.request, conversation.outlet
    keeps = end.leave is Leave.STAY and not made.closes and _may_stay(conversation)
    progress = outlet.send(made.render(request, keeps_client=keeps))
    part = made.part(request)
    if part is not None and progress is not Progress.REFUSED:
        progress = outlet.send_file(part)
    conversation.journal.status = made.status
    conversation.account(end.ending, made)
    conversation.release()
    if progress is Progress.REFUSED:
        conversation.close(end.ending)
    elif keeps and progress is Progress.DRAINED:
        conversation.wait()
    else:
        leave(conversation)


def _circumstances(conversation: Conversation) -> Circumstances:
    exchange = conversation.exchange
    return Circumstances(
        is_reused=conversation.approach.is_reused and not exchange.has_interim,
        is_uploading=exchange.up is not None,
        is_answered=exchange.is_answered(),
        is_endless=exchange.is_endless(),
    )


def _may_stay(conversation: Conversation) -> bool:
    """Return whether the client may use its connection again after an answer of our own."""
    request = conversation.request
    if request is None or conversation.must_leave or not wants_to_stay(request):
        return False
    if not conversation.service.rewriting.is_client_kept:
        return False
    if conversation.visit is not None:
        return conversation.visit.is_complete
    if conversation.stage in (Stage.PLACING, Stage.ASKING, Stage.ANSWERING):
        return conversation.exchange.up is None
    return _swallow(conversation, request)


def _swallow(conversation: Conversation, request: RequestHead) -> bool:
    """Discard a request's body that nobody reads; False: not all of it has come."""
    if request.length == 0:
        return True
    body = body_of(request)
    try:
        used, _ = body.feed(conversation.intake.held)
    except MessageError:
        return False
    conversation.intake.use(used)
    return body.is_complete
