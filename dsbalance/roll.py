"""Who is there: single clients' connections, for whoever asks. Nothing here is on the data path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.balancer import Placement
from dsbalance.candidates import Client
from dsbalance.conversation import Conversation
from dsbalance.relay import Phase
from dsbalance.service import Guest
from dsbalance.session import Session
from dsbalance.stats import SessionSnapshot

if TYPE_CHECKING:
    from dsbalance.greeting import Greeting

# What a way to a server is called while it is gone.
_WORDS = {
    Phase.QUEUED: "queued",
    Phase.PAUSED: "retrying",
    Phase.CONNECTING: "connecting",
    Phase.RELAYING: "relaying",
}


def placement_of(guest: Guest) -> Placement | None:
    """Return the hold of a client on its backend; None: it has none at the moment."""
    assert isinstance(guest, Session | Conversation)
    return guest.approach.placement


def picture_guest(guest: Guest, frontend: str, now: float) -> SessionSnapshot:
    """Return what there is to know of a client that is served at ``frontend``.

    In HTTP mode its age is that of its request, or of the silence behind the last one.
    """
    assert isinstance(guest, Session | Conversation)
    placement, bridge = guest.approach.placement, guest.bridge
    server = None if placement is None else placement.server
    way = _WORDS.get(guest.approach.phase, "")
    if isinstance(guest, Session):
        began, stage, moved = guest.opened_at, way, (0, 0)
        active = began if bridge is None else bridge.active_at
    else:
        began, stage = guest.journal.began_at, guest.stage.name.lower()
        stage = way if stage == "placing" else stage
        moved = guest.intake.taken, guest.outlet.sent
        active = guest.active_at if bridge is None else bridge.active_at
    if bridge is not None:
        moved = moved[0] + bridge.up.moved, moved[1] + bridge.down.moved
    return SessionSnapshot(
        id=id(guest),
        client=guest.client.address,
        client_port=guest.client.source_port,
        frontend=frontend,
        backend=guest.service.balancer.name,
        server=None if server is None else server.name,
        is_http=isinstance(guest, Conversation),
        stage=stage,
        reason="" if server is None or placement is None else str(placement.reason),
        age=now - began,
        idle=now - max(began, active),
        bytes_in=moved[0],
        bytes_out=moved[1],
    )


def picture_greeting(
    greeting: Greeting, client: Client, frontend: str, now: float, *, is_http: bool
) -> SessionSnapshot:
    """Return what there is to know of a connection whose PROXY header is awaited."""
    age = now - greeting.opened_at
    return SessionSnapshot(
        id=id(greeting),
        client=client.address,
        client_port=client.source_port,
        frontend=frontend,
        backend=None,
        server=None,
        is_http=is_http,
        stage="greeting",
        reason="",
        age=age,
        idle=age,
        bytes_in=0,
        bytes_out=0,
    )
