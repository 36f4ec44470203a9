"""What a conversation waits for at the moment, and until when. All on the loop's thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.fates import Stage
from dsbalance.poller import READABLE, WRITABLE
from dsbalance.relay import Side

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation


def want(conversation: Conversation) -> None:
    """Tell the poller what each socket waits for."""
    stage = conversation.stage
    if stage in (Stage.CLOSED, Stage.TUNNEL, Stage.LEAVING):
        return
    poller, exchange = conversation.loop.poller, conversation.exchange
    is_reading = stage in (Stage.FRESH, Stage.IDLE, Stage.HEAD)
    if stage in (Stage.ASKING, Stage.ANSWERING):
        is_reading = exchange.up is not None and not exchange.to_server.is_blocked
        is_listening = not conversation.outlet.is_blocked and not exchange.is_answered()
        poller.want(
            exchange.from_server.sock.fileno(),
            (READABLE if is_listening else 0) | (WRITABLE if exchange.to_server.is_blocked else 0),
        )
    elif conversation.approach.kept is not None:
        poller.want(conversation.approach.kept.fileno(), READABLE)
    poller.want(
        conversation.sock.fileno(),
        (READABLE if is_reading else 0) | (WRITABLE if conversation.outlet.is_blocked else 0),
    )


def deadline(conversation: Conversation) -> tuple[float | None, Side]:
    """Return until when something has to happen now, and who has to do it."""
    service, stage = conversation.service, conversation.stage
    since, side = conversation.journal.began_at, Side.CLIENT
    if stage is Stage.IDLE:
        limit = service.timeout_keep_alive
    elif stage is Stage.FRESH or stage is Stage.HEAD:
        limit = service.timeout_request
    else:
        since = conversation.active_at
        limit, other = service.limits.client, service.limits.server
        # As long as a request comes and no answer, both are silent to each other.
        is_shorter = other is not None and (limit is None or other < limit)
        if not conversation.exchange.is_waiting_for_client() or (
            stage is Stage.ASKING and is_shorter
        ):
            side, limit = Side.SERVER, other
    return (None if limit is None else since + limit), side


def arm(conversation: Conversation) -> None:
    """See to it that this stage's deadline is looked at in time, and those of the next ones.

    The timer is never further ahead than the least of all limits: so no change of stage or turn has
    to touch it.
    """
    patience = conversation.service.patience
    if patience is not None:
        loop = conversation.loop
        soonest = loop.now + patience
        due_at, _ = deadline(conversation)
        if due_at is not None and due_at < soonest:
            soonest = due_at
        loop.timers.set(conversation, soonest, loop.now)
        conversation.armed_tick = conversation.due_tick
