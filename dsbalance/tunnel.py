"""From a conversation in HTTP to a tunnel: behind 101, and behind 2xx to CONNECT."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.bridge import Bridge
from dsbalance.fates import Stage

if TYPE_CHECKING:
    from dsbalance.conversation import Conversation


def open_tunnel(conversation: Conversation, head: bytes) -> None:
    """Let bytes pass as they are from here on, behind the response's ``head``.

    What either side has said early goes first. Source: RFC 9110, 7.8 and 9.3.6.
    """
    exchange, loop = conversation.exchange, conversation.loop
    server_sock = conversation.approach.server_sock
    assert server_sock is not None
    to_client = head + exchange.from_server.held
    to_server = conversation.intake.use(len(conversation.intake.held))
    conversation.outlet.sent += len(to_client)
    exchange.to_server.sent += len(to_server)
    to_client = conversation.outlet.take_kept() + to_client
    to_server = exchange.to_server.take_kept() + to_server
    bridge = Bridge(conversation, conversation.service, conversation.sock, server_sock)
    conversation.stage = Stage.TUNNEL
    conversation.bridge = bridge
    limit = bridge.silence()[0]
    if limit is None:
        loop.timers.cancel(conversation)
    else:
        loop.timers.bring_forward(conversation, loop.now + limit, loop.now)
    bridge.take_over(to_server, to_client)
