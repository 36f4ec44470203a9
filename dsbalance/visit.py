"""A request that we answer ourselves once its body has come. All on the loop's thread.

Whoever looks at the statistics, or steers us by them, is answered by the frontend's or backend's
*desk*. It gets the request whole: a body is small here, and one that is not is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.bodies import Body, body_of
from dsbalance.fates import Fate, Leave, Trouble
from dsbalance.http1 import MessageError, RequestHead
from dsbalance.http_answers import Answer, error
from dsbalance.outcome import answer, fail
from dsbalance.relay import Ending, Side
from dsbalance.service import Desk

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

# A form that changes a server has 100 bytes.
_MAX_BODY = 16 * 1024
_TOO_LARGE = 413


class Visit:
    """A request at the desk, while its body comes.

    Args:
        conversation: Whose request it is.
        desk: Who answers.
        request: What is asked.
    """

    __slots__ = ("_body", "_conversation", "_desk", "_pieces", "_request", "_size")

    def __init__(self, conversation: Conversation, desk: Desk, request: RequestHead) -> None:
        self._conversation = conversation
        self._desk = desk
        self._request = request
        self._body: Body | None = body_of(request) if request.length != 0 else None
        self._pieces: list[bytes] = []
        self._size = 0

    @property
    def is_complete(self) -> bool:
        """Whether all of the request has come."""
        return self._body is None or self._body.is_complete

    def invite(self) -> None:
        """Tell a client to send the body, if it waits to be told (RFC 9110, 10.1.1)."""
        said = b",".join(self._request.values(b"expect")).lower()
        if b"100-continue" in said and not (self._request.is_http10 or self._size):
            self._conversation.outlet.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def take(self) -> bool:
        """Take what has come, and answer when that is all; False: more is needed."""
        conversation = self._conversation
        body, intake = self._body, conversation.intake
        if body is not None and intake.held:
            try:
                used, pieces = body.feed(intake.held)
            except MessageError as refusal:
                fail(conversation, Side.CLIENT, Trouble.REFUSED, refusal.problem)
                return True
            intake.use(used)
            self._pieces += map(bytes, pieces)
            self._size += used
        if self._size > _MAX_BODY:
            self._give(error(_TOO_LARGE), Ending.REQUEST_REFUSED)
            return True
        if not self.is_complete:
            return False
        origin = conversation.origin
        assert origin is not None
        said = b"".join(self._pieces)
        self._give(self._desk.answer(self._request, said, origin), Ending.LOCAL)
        return True

    def _give(self, made: Answer, ending: Ending) -> None:
        self._conversation.service.counters.intercepted += 1
        answer(self._conversation, made, Fate(ending, made.status, Leave.STAY))
