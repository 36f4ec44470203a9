"""The usual request and the usual answer, read and passed on in one go. On the loop's thread.

Most requests are all that their client has sent. Most answers come whole in one read, say in
HTTP/1.1 how long they are and of the connection nothing, and are passed on as they came: then
nothing is left to wait for, so no state is needed. :func:`pass_on` does in one step what exchange
and conversation do in ten, for a third of the time. It looks before it acts, and whatever is not
usual it leaves to them as it found it, with what was read held by the intake.

    what                 is usual if
    the request          it says HTTP/1.1 and nothing of the connection, wants a body in the answer,
                         and has been sent
    the configuration    keeps both connections and has no rules for responses
    the answer           says HTTP/1.1, Content-Length and nothing of the connection; is final, may
                         have a body, and is all that has come
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.arrival import proceed
from dsbalance.conduit import Intake
from dsbalance.fates import Stage
from dsbalance.http1 import MessageError, RequestHead, ResponseHead
from dsbalance.http1_grammar import USUAL_RESPONSE
from dsbalance.relay import Ending, Progress

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _MORE = Progress.DRAINED, Progress.MORE
_ASKING, _ANSWERING = Stage.ASKING, Stage.ANSWERING
_NORMAL = Ending.NORMAL
_END = b"\r\n\r\n"
# A head of more bytes may be too long if it has many fields.
_LONGEST = 8192
# To these there is no body, whatever length is said.
_BARE_METHODS = (b"HEAD", b"CONNECT")
# Final ones that have a body: a look-up takes a third of the time of int().
_STATUSES = {b"%d" % status: status for status in range(200, 1000) if status not in (204, 304)}


def ask(conversation: Conversation, intake: Intake) -> bool:
    """Read a request, and take it to the server that had the last one.

    Args:
        conversation: Idle, with a server's connection that was kept.
        intake: Its own; something may have come.

    Returns:
        False: something is not usual, and all that was done is that the intake has read.
    """
    service = conversation.service
    if intake.held or not service.is_straight or intake.fill() is not _MORE:
        return False
    data = intake.held
    if data[-4:] != _END:
        return False
    try:
        request = RequestHead(data)
    except MessageError:
        # Or it is more than a head.
        return False
    origin = conversation.origin
    assert origin is not None
    intake.held = b""
    journal = conversation.journal
    journal.began_at = journal.asked_at = conversation.loop.now
    conversation.request = request
    made = service.rewriting.request(request, origin)
    if request.length == 0 and isinstance(made, bytes) and conversation.approach.resume():
        conversation.stage = _ASKING
        conversation.exchange.up = None
        conversation.exchange.begin(request, made, 0)
    else:
        proceed(conversation, request, made)
    return True


def pass_on(conversation: Conversation, intake: Intake) -> bool:
    """Pass on the answer that ``intake`` holds, and go on with the next request.

    Returns:
        False: something is not usual, and nothing was done.
    """
    exchange = conversation.exchange
    request = exchange.request
    if (
        request.connection
        or request.is_http10
        or (request.method != b"GET" and request.method in _BARE_METHODS)
        or conversation.must_leave
        or exchange.up is not None
        or exchange.to_server.is_blocked
        or not intake.is_drained
        or not conversation.service.rewriting.is_silent
    ):
        return False
    data = intake.held
    match = USUAL_RESPONSE.match(data)
    if match is None:
        return False
    version, digits, length, _, connection = match.groups()
    status = _STATUSES.get(digits)
    end = match.end()
    if (
        length is None
        or connection is not None
        or version != b"1.1"
        or status is None
        or end + int(length) != len(data)
        or end > _LONGEST
    ):
        return False
    intake.held = b""
    journal = conversation.journal
    journal.answered_at = conversation.loop.now
    journal.status = status
    conversation.stage = _ANSWERING
    conversation.keeps_client = True
    progress = conversation.outlet.send(data)
    if progress is _DRAINED:
        # As Conversation.settle where both sides go on.
        conversation.account(_NORMAL)
        conversation.approach.pause()
        conversation.wait()
    else:
        exchange.response = ResponseHead(data[:end], request.method)
        exchange.after_down(progress)
    return True
