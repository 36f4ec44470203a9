"""Leaving a client in HTTP mode so that it gets its last response. All on the loop's thread.

    the client            then
    takes not all of it   wait until it does, as long as ``timeout client``
    has all, said all     close
    may still send        half-close, and discard what comes until its end, or for a moment

To close while bytes come in is to reset, and a reset takes away what the client has not read yet.

Source: RFC 9112, 9.6.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from dsbalance.conduit import Intake, Outlet
from dsbalance.fates import Stage, wants_to_stay
from dsbalance.loop import Loop
from dsbalance.poller import READABLE, WRITABLE
from dsbalance.relay import Ending, Progress
from dsbalance.sockets import set_reset, shut

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation

_DRAINED, _BLOCKED, _MORE, _ENDED, _RESET, _REFUSED = Progress
# How long a client that was told to leave may go on, in seconds.
_LINGER_LIMIT = 2.0
# Buffers discarded in a turn before the others have theirs.
_ROUNDS = 16


def leave(conversation: Conversation) -> None:
    """Close a client's connection behind the last byte."""
    request, intake = conversation.request, conversation.intake
    is_over = (
        # Who wanted to stay may have said the next request by now.
        request is not None
        and not wants_to_stay(request)
        and intake.is_drained
        and not intake.held
        and conversation.exchange.up is None
    )
    close = partial(conversation.close, Ending.NORMAL)
    if is_over and not conversation.outlet.is_blocked:
        # Whatever it says in this moment, it has got the end before the reset.
        shut(conversation.sock)
        close()
        return
    conversation.stage = Stage.LEAVING
    conversation.approach.forget()
    loop = conversation.loop
    loop.timers.cancel(conversation)
    limit = conversation.service.limits.client
    conversation.farewell = Farewell(loop, intake, conversation.outlet, limit, close)
    conversation.farewell.begin()


class Farewell:
    """A client's connection from the last response that it is sent to its end.

    Args:
        loop: Where it is watched; this is its watcher from here on.
        intake: What comes from the client.
        outlet: What goes to it.
        limit: How long it may take nothing, in seconds; None: for ever.
        on_over: Called once, when the socket may be closed; perhaps by :meth:`begin` already.

    Attributes:
        due_tick: The property of the loop's timers.
    """

    __slots__ = ("_intake", "_is_shut", "_limit", "_loop", "_on_over", "_outlet", "due_tick")

    def __init__(
        self,
        loop: Loop,
        intake: Intake,
        outlet: Outlet,
        limit: float | None,
        on_over: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._intake = intake
        self._outlet = outlet
        self._limit = limit
        self._on_over = on_over
        self._is_shut = False
        self.due_tick = 0

    def begin(self) -> None:
        """Take over."""
        self._loop.hand_over(self._intake.sock, self)
        self._go_on()

    def stop(self) -> None:
        """Forget the deadline: the socket is being closed."""
        self._loop.timers.cancel(self)

    def on_events(self, events: int) -> None:
        """Go on: the client takes something, or sends something, or has gone."""
        if self._outlet.is_blocked and not events & WRITABLE:
            # Bytes that nobody reads buy no time.
            return
        if events != WRITABLE:
            self._intake.is_drained = False
        self._go_on()

    def on_due(self, now: float) -> None:
        """Wait no longer."""
        if self._outlet.is_blocked:
            # It has not got everything, and should know.
            set_reset(self._outlet.sock)
        self._on_over()

    def on_crash(self, error: Exception) -> None:  # noqa: D102 - as in Watcher
        self._on_over()

    def _go_on(self) -> None:
        outlet = self._outlet
        if outlet.is_blocked:
            progress = outlet.flush()
            if progress is _REFUSED:
                self._on_over()
                return
            if progress is _BLOCKED:
                self._wait(self._limit, WRITABLE)
                return
        if not self._is_shut:
            self._is_shut = True
            if not shut(outlet.sock):
                self._on_over()
                return
            self._wait(_LINGER_LIMIT, READABLE)
        self._discard()

    def _discard(self) -> None:
        intake = self._intake
        for _ in range(_ROUNDS):
            intake.held = b""
            progress = intake.fill()
            if progress is _DRAINED:
                return
            if progress is not _MORE:
                self._on_over()
                return
        self._loop.again(intake.sock)

    def _wait(self, limit: float | None, events: int) -> None:
        loop = self._loop
        loop.poller.want(self._outlet.sock.fileno(), events)
        if limit is None:
            loop.timers.cancel(self)
        else:
            loop.timers.set(self, loop.now + limit, loop.now)
