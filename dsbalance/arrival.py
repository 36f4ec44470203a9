"""A request arrives: from what a client sends to a request on its way. On the loop's thread.

what has come               then
a part of a head            the rest is waited for
a head that is none         400
a head, and a rule says so  an answer of our own
a head for a desk of ours   an answer of our own, once its body has come
any other                   the way to a server
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.accounting import count_answer
from dsbalance.conduit import Intake
from dsbalance.fates import Fate, Leave, Stage, Trouble
from dsbalance.http1 import MessageError, RequestHead, request_end
from dsbalance.http_answers import Answer
from dsbalance.http_fields import Origin
from dsbalance.outcome import answer, fail
from dsbalance.relay import Ending, Progress, Side
from dsbalance.visit import Visit

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _MORE, _ENDED = Progress.DRAINED, Progress.MORE, Progress.ENDED
_IDLE, _HEAD, _PLACING = Stage.IDLE, Stage.HEAD, Stage.PLACING
_END = b"\r\n\r\n"


def listen(conversation: Conversation) -> None:
    """Read until there is a request's head, or nothing more for now."""
    intake = conversation.intake
    while True:
        if conversation.visit is not None:
            if conversation.visit.take():
                return
        elif intake.held:
            try:
                request = _next_request(intake)
            except MessageError as error:
                fail(conversation, Side.CLIENT, Trouble.REFUSED, error.problem)
                return
            if request is not None:
                _take(conversation, request)
                return
            if conversation.stage is not _HEAD:
                _begin_head(conversation)
        if intake.is_drained:
            return
        progress = intake.fill()
        if progress is _DRAINED:
            return
        if progress is not _MORE:
            trouble = Trouble.ENDED if progress is _ENDED else Trouble.RESET
            fail(conversation, Side.CLIENT, trouble)
            return


def proceed(conversation: Conversation, request: RequestHead, made: bytes | Answer) -> None:
    """Go to a server with what was ``made`` of a request, or give that as the answer."""
    if not isinstance(made, bytes):
        ending = Ending.REQUEST_REFUSED if made.is_denial else Ending.LOCAL
        count_answer(conversation.service, made)
        answer(conversation, made, Fate(ending, made.status, Leave.STAY))
        return
    desk = conversation.service.desk
    if desk is not None and desk.takes(request):
        conversation.stage = _HEAD
        conversation.visit = Visit(conversation, desk, request)
        if not conversation.visit.take():
            conversation.visit.invite()
            conversation.loop.again(conversation.sock)
        return
    if request.length != 0:
        try:
            made = conversation.exchange.load(request, made)
        except MessageError as error:
            fail(conversation, Side.CLIENT, Trouble.REFUSED, error.problem)
            return
    conversation.head = made
    conversation.stage = _PLACING
    conversation.approach.start()


def _next_request(intake: Intake) -> RequestHead | None:
    """Take the request whose head the intake holds; None: more is needed.

    Raises:
        MessageError: What it holds is no head, and cannot become one.
    """
    held = intake.held
    if held[-4:] == _END and held[:1] != b"\r":
        try:
            request = RequestHead(held)
        except MessageError:
            # It may be more than a head: two of them, or one with a body.
            pass
        else:
            intake.held = b""
            return request
    end = request_end(held)
    return RequestHead(intake.use(end)) if end else None


def _begin_head(conversation: Conversation) -> None:
    """The first bytes of a head have come: the rest may take so long."""
    journal = conversation.journal
    if conversation.stage is _IDLE:
        journal.begin(conversation.loop.now, journal.taken, conversation.outlet.sent)
    conversation.stage = _HEAD


def _take(conversation: Conversation, request: RequestHead) -> None:
    """Go to a server with a request, or answer it."""
    now = conversation.loop.now
    if conversation.stage is _IDLE:
        conversation.journal.began_at = now
    conversation.request = request
    conversation.journal.asked_at = now
    if conversation.service.is_routed:
        service = conversation.service.reception.choose(conversation.client)
        conversation.service = service
        conversation.approach.turn_to(service)
    origin = conversation.origin or _find_origin(conversation)
    proceed(conversation, request, conversation.service.rewriting.request(request, origin))


def _find_origin(conversation: Conversation) -> Origin:
    """Find out, at the first request, who asks and where."""
    client = conversation.client
    header = client.greeting
    if header is not None and header.destination:
        destination, port = header.destination, header.destination_port
    else:
        destination, port = conversation.sock.getsockname()[:2]
    conversation.origin = origin = Origin(
        source=client.address,
        source_port=client.source_port,
        destination=destination,
        destination_port=port,
        facts=conversation.service.reception.facts(client),
    )
    return origin
