"""One request after the other at the server, each with its response. All on the loop's thread.

    the server's side    ends with                     then
    (begin)              the request is on its way     asking
    asking               the response's head           answering, or a tunnel
    answering            the response's last byte      the conversation settles it
    kept                 whatever happens to it        the connection is closed: nobody asked

What goes wrong is told to the conversation, which knows what becomes of it.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from dsbalance.accounting import count_denial, count_misfit
from dsbalance.bodies import Body, Endless, Measured, body_of
from dsbalance.chunked import Chunked
from dsbalance.conduit import Intake, Outlet, carry
from dsbalance.fates import Fate, Leave, Stage, Trouble, wants_to_stay
from dsbalance.http1 import (
    Framing,
    MessageError,
    RequestHead,
    ResponseHead,
    accepts_upgrade,
    response_end,
)
from dsbalance.outcome import answer, fail
from dsbalance.poller import QUIET, WRITABLE
from dsbalance.relay import Ending, Progress, Side
from dsbalance.tunnel import open_tunnel
from dsbalance.usual import pass_on
from dsbalance.waiting import want

if TYPE_CHECKING:
    from dsbalance.approach import Approach
    from dsbalance.conversation import Conversation

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress
_ASKING, _ANSWERING = Stage.ASKING, Stage.ANSWERING
_BUSY = (_ASKING, _ANSWERING)
_NONE, _LENGTH, _CHUNKED, _CLOSE, _TUNNEL = Framing
# Interim responses in one turn before the others have theirs.
_ROUNDS = 16
_CLIENT, _SERVER = Side
_TROUBLES = {_ENDED: Trouble.ENDED, _RESET: Trouble.RESET, _REFUSED: Trouble.RESET}


class Exchange:
    """The server's side of a conversation, as the loop's watcher of its socket.

    Args:
        conversation: Whose it is.

    Attributes:
        request: The one that is under way.
        response: Its response, once the head is there.
        from_server: What the server sends; of the last connection.
        to_server: What it gets.
        up: What is still to come of the request's body; None: it is complete.
        has_interim: Whether an interim response to it has come (1xx).
    """

    __slots__ = (
        "_conversation",
        "_down",
        "_has_met",
        "from_server",
        "has_interim",
        "request",
        "response",
        "to_server",
        "up",
    )

    from_server: Intake
    to_server: Outlet
    request: RequestHead

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.response: ResponseHead | None = None
        self.has_interim = False
        self.up: Body | None = None
        self._down: Body | None = None
        self._has_met = False

    def drop(self) -> None:
        """Forget what was kept for the server: its connection is not used any more."""
        if self._has_met:
            self.to_server.drop()

    def begin(self, request: RequestHead, head: bytes, events: int) -> None:
        """Send a request whose server is connected; ``events`` came with the news."""
        conversation = self._conversation
        if not conversation.approach.is_reused:
            self._meet()
        self.request = request
        conversation.active_at = conversation.loop.now
        self.response = None
        self._down = None
        self.has_interim = False
        progress = self.to_server.send(head)
        if progress is not _DRAINED:
            self._after_up(progress)
        elif self.up is not None:
            self.pump_up()
        if events & ~WRITABLE and conversation.stage is _ASKING:
            self.on_events(events)

    def on_events(self, events: int) -> None:
        """See what the server sends, or takes. The loop tells it of the server's socket."""
        conversation = self._conversation
        if conversation.stage not in _BUSY:
            _look_at_kept(conversation.approach)
            return
        if not conversation.outlet.is_blocked or (events & WRITABLE and self.to_server.is_blocked):
            conversation.active_at = conversation.loop.now
        if events != WRITABLE:
            intake = self.from_server
            intake.is_drained = False
            if events not in QUIET:
                intake.is_closing = True
            if conversation.stage is _ANSWERING or intake.held or conversation.outlet.is_blocked:
                self.pump_down()
            elif (progress := intake.fill()) is not _MORE:
                self.after_down(progress)
            elif not pass_on(conversation, intake):
                self.pump_down()
        if events & WRITABLE and self.to_server.is_blocked and conversation.stage in _BUSY:
            self.pump_up()
        if not conversation.loop.poller.is_edge:
            want(conversation)

    def on_crash(self, error: Exception) -> None:  # noqa: D102 - as in Watcher
        self._conversation.on_crash(error)

    def pump_up(self) -> None:
        """Move what there is of the request's body, and what was kept of the request."""
        conversation = self._conversation
        body = self.up
        if body is None:
            progress = self.to_server.flush()
            self.to_server.give_back()
        else:
            try:
                progress = carry(body, conversation.intake, self.to_server)
            except MessageError as error:
                fail(conversation, _CLIENT, Trouble.REFUSED, error.problem)
                return
            if body.is_complete:
                self.up = None
        self._after_up(progress)

    def pump_down(self) -> None:
        """Move what there is of the response."""
        conversation = self._conversation
        outlet = conversation.outlet
        if outlet.is_blocked and (progress := outlet.flush()) is not _DRAINED:
            self.after_down(progress)
            return
        try:
            if self.response is None:
                progress = self._read_head()
            elif self._down is not None and not self._down.is_complete:
                progress = carry(self._down, self.from_server, outlet)
            else:
                # What comes behind the response was not asked for.
                progress = _DRAINED
        except MessageError as error:
            fail(conversation, _SERVER, Trouble.REFUSED, error.problem)
            return
        self.after_down(progress)

    def is_waiting_for_client(self) -> bool:
        """Return whether it is the client's turn, and not the server's."""
        is_taken = not self._has_met or not self.to_server.is_blocked
        is_sending = self.up is not None and is_taken
        return is_sending or self._conversation.outlet.is_blocked

    def is_endless(self) -> bool:
        """Return whether nothing but the end of its connection ends the response."""
        return isinstance(self._down, Endless)

    def may_go_on(self) -> bool:
        """Return whether the server's connection may have another request after this one."""
        response, intake = self.response, self.from_server
        assert response is not None
        said = response.connection
        if response.is_http10:
            stays = b"keep-alive" in said and b"close" not in said
        else:
            stays = not said or b"close" not in said
        return (
            stays
            and response.framing is not _CLOSE
            and self.up is None
            and not self.to_server.is_blocked
            # Whatever came behind the response would be taken for the next one.
            and not intake.held
            and (intake.is_drained or intake.fill() is _DRAINED)
        )

    # -- to the server

    def _meet(self) -> None:
        """Take a new connection."""
        conversation = self._conversation
        sock = conversation.approach.server_sock
        assert sock is not None
        self.drop()
        self._has_met = True
        self.from_server = Intake(sock, conversation.service.buffer)
        self.to_server = Outlet(sock, conversation.service.pool)
        conversation.loop.hand_over(sock, self)

    def load(self, request: RequestHead, head: bytes) -> bytes:
        """Return what a server is sent first of a request with a body: what has come of both.

        Raises:
            MessageError: The body is not what it should be made of.
        """
        intake = self._conversation.intake
        self.up = body = body_of(request, self._conversation.service.rewriting.added)
        if not intake.held:
            return head
        used, pieces = body.feed(intake.held)
        intake.use(used)
        if body.is_complete:
            self.up = None
        return b"".join((head, *pieces))

    def _after_up(self, progress: Progress) -> None:
        conversation = self._conversation
        if progress is _MORE:
            conversation.loop.again(conversation.sock)
        elif progress is _BLOCKED:
            want(conversation)
        elif progress is _REFUSED:
            # It has gone, but may have answered before. Nothing more goes there.
            self.to_server.drop()
            conversation.must_leave = True
        elif progress is not _DRAINED:
            fail(conversation, _CLIENT, _TROUBLES[progress])
            return
        if self._is_sent() and self.is_answered() and not conversation.outlet.is_blocked:
            conversation.settle()

    def _is_sent(self) -> bool:
        """Return whether the server has got all of the request that it is going to take."""
        outlet = self.to_server
        return outlet.is_broken or (self.up is None and not outlet.is_blocked)

    def _read_head(self) -> Progress:
        """Read until the response's head is there, and pass it on."""
        intake = self.from_server
        conversation = self._conversation
        for _ in range(_ROUNDS):
            held = intake.held
            end = response_end(held) if held else 0
            if end:
                response = ResponseHead(intake.use(end), self.request.method)
                if response.status >= 200 or response.is_final:
                    return self._pass_on(response)
                self.has_interim = True
                if self.request.is_http10:
                    # It knows none of these, and would take it for the answer (RFC 9110, 15.2).
                    continue
                progress = conversation.outlet.send(_interim(conversation, self.request, response))
                if progress is not _DRAINED:
                    return progress
                continue
            if intake.is_drained:
                return _DRAINED
            progress = intake.fill()
            if progress is not _MORE:
                return progress
        return _MORE

    def _pass_on(self, response: ResponseHead) -> Progress:
        conversation = self._conversation
        head = _accept(conversation, self.request, response)
        if head is None:
            return _DRAINED
        self.response = response
        framing = response.framing
        if framing is _TUNNEL:
            open_tunnel(conversation, head)
            return _DRAINED
        outlet = conversation.outlet
        intake = self.from_server
        if framing is _NONE or (framing is _LENGTH and len(intake.held) == response.length):
            # All of it has come: the usual case.
            self._down = None
            conversation.stage = _ANSWERING
            if framing is _LENGTH:
                head += intake.held
                intake.held = b""
            return outlet.send(head)
        body: Body
        if framing is _LENGTH:
            assert response.length
            body = Measured(response.length)
        else:
            body = Chunked() if framing is _CHUNKED else Endless()
        self._down = body
        if intake.held:
            used, pieces = body.feed(intake.held)
            intake.use(used)
            head = b"".join((head, *pieces))
        conversation.stage = _ANSWERING
        progress = outlet.send(head)
        if progress is not _DRAINED or body.is_complete or intake.is_drained:
            return progress
        return carry(body, intake, outlet)

    def after_down(self, progress: Progress) -> None:
        """Act on what moving the response came to."""
        conversation = self._conversation
        if conversation.stage not in _BUSY:
            return
        if progress is _DRAINED and self.is_answered():
            conversation.outlet.give_back()
            if self._is_sent():
                conversation.settle()
        elif progress is _MORE:
            conversation.loop.again(self.from_server.sock)
        elif progress is _BLOCKED:
            want(conversation)
        elif progress is _ENDED and self.is_endless():
            conversation.settle()
        elif progress is _REFUSED:
            fail(conversation, _CLIENT, Trouble.RESET)
        elif progress is not _DRAINED:
            fail(conversation, _SERVER, _TROUBLES[progress])

    def is_answered(self) -> bool:
        """Return whether all of the response has gone on, or is kept for the client."""
        body = self._down
        return self.response is not None and (body is None or body.is_complete)


def _accept(
    conversation: Conversation, request: RequestHead, response: ResponseHead
) -> bytes | None:
    """Return the head that the client gets; None: it gets something else, and it is over."""
    conversation.journal.answered_at = conversation.loop.now
    if response.status == 101 and not accepts_upgrade(request, response):
        count_misfit(conversation.approach)
        fail(conversation, _SERVER, Trouble.REFUSED, "another protocol than was asked for")
        return None
    rewriting = conversation.service.rewriting
    conversation.keeps_client = keeps = (
        rewriting.is_client_kept
        and not conversation.must_leave
        and response.framing is not _CLOSE
        and wants_to_stay(request)
    )
    assert conversation.origin is not None
    made = rewriting.response(response, request, conversation.origin, keeps_client=keeps)
    if isinstance(made, bytes):
        conversation.journal.status = response.status
        return made
    count_denial(conversation.approach, response.status)
    answer(conversation, made, Fate(Ending.RESPONSE_REFUSED, made.status, Leave.STAY))
    return None


def _interim(conversation: Conversation, request: RequestHead, response: ResponseHead) -> bytes:
    """Return the head that the client gets of a response that is not the last one."""
    assert conversation.origin is not None
    made = conversation.service.rewriting.response(
        response, request, conversation.origin, keeps_client=True
    )
    assert isinstance(made, bytes)
    return made


def _look_at_kept(approach: Approach) -> None:
    """See what happened to the connection that was kept: it is good for nothing, mostly."""
    if approach.kept is None:
        return
    try:
        approach.kept.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        # An edge of what was read before, or room in a buffer that had been full.
        return
    except OSError:
        pass
    # It has ended, or says what nobody asked for. What is unread makes the close a reset.
    approach.drop_kept()
