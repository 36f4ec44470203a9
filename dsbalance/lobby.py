"""Where the clients of a frontend are let in, and which way each of them goes.

    a client is accepted      the rules of the door    rejected: RST, and nothing is kept of it
    it is let in              its PROXY header         lost: the connection ends
    it is known               use_backend              a session, or a conversation in HTTP mode
    its connection ends                                its place is free, its source counts less

A frontend has one lobby, or one for each listening socket that counts for itself. Everything here
runs on the loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

from dsbalance.candidates import Client
from dsbalance.conditions import Facts
from dsbalance.conversation import Conversation
from dsbalance.counters import FrontendCounters
from dsbalance.door import Doorkeeper, Verdict, Visitor, World
from dsbalance.listener import Hall, Room
from dsbalance.loop import Loop
from dsbalance.model import Bind, Frontend
from dsbalance.service import Guest, Reception, Service
from dsbalance.session import Session
from dsbalance.sockets import Stream, set_reset
from dsbalance.tracking import Tracking

if TYPE_CHECKING:
    from dsbalance.greeting import Greeting
    from dsbalance.haproxy.proxy_protocol import Header

_log = logging.getLogger("dsbalance.lobby")


class House(World, Protocol):
    """What all lobbies of a process share.

    Attributes:
        hall: Of the process.
        loop: Where everything runs.
    """

    hall: Hall
    loop: Loop

    def service(self, frontend: Frontend, backend: str | None, reception: Reception) -> Service:
        """Return the way from a frontend to a backend; None: to nobody."""

    def table(self, frontend: Frontend, name: str | None) -> Tracking:
        """Return what counts in the stick-table of a section; None: that of the frontend."""

    def left(self, party: Party) -> None:
        """A client of a frontend has left."""


class Party:
    """Who is there of a frontend's clients.

    Attributes:
        sessions: Those that are served.
        greetings: Those whose PROXY header is awaited: where they came in, and who they are.
        is_retiring: Whether they are to go as soon as nothing is under way.
    """

    __slots__ = ("greetings", "is_retiring", "sessions")

    def __init__(self) -> None:
        self.sessions: set[Guest] = set()
        self.greetings: dict[Greeting, tuple[Lobby, Client]] = {}
        self.is_retiring = False

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there."""
        return not self.sessions and not self.greetings


class Lobby:
    """Lets clients in. It is the :class:`dsbalance.service.Reception` of those that it let in.

    Args:
        frontend: Whose it is.
        party: Who is there, here and in the other lobbies of the frontend.
        room: What they take.
        house: What all share.

    Attributes:
        room: As given.
        sessions: The clients that are there.
        counters: What happened.
    """

    __slots__ = (
        *("_doorkeeper", "_frontend", "_house", "_make_guest", "_party", "_routes"),
        *("_service", "counters", "room", "sessions"),
    )

    def __init__(self, frontend: Frontend, party: Party, room: Room, house: House) -> None:
        self.room = room
        self.sessions = party.sessions
        self.counters = FrontendCounters()
        self._frontend = frontend
        self._house = house
        self._party = party
        self._doorkeeper = Doorkeeper(frontend.door, partial(house.table, frontend))
        self._make_guest: Callable[[Service, Stream, Client], Guest] = (
            Session if frontend.http is None else Conversation
        )
        services = {backend: house.service(frontend, backend, self) for backend in frontend.ways}
        if frontend.backend is None:
            self._service = house.service(frontend, None, self)
        else:
            self._service = services[frontend.backend]
        self._routes = [(route.condition, services[route.backend]) for route in frontend.routes]

    def receiver(self, bind: Bind) -> Callable[[Stream, Client], None]:
        """Return what takes over the clients that come by an address."""
        if bind.accept_proxy:
            return partial(self.screen, is_announced=True)
        return self.screen if self._frontend.door or self._routes else self.receive

    def receive(self, sock: Stream, client: Client) -> None:
        """Let a client in and serve it, by the one way that there is."""
        self._house.hall.enter(self.room)
        self._serve(self._service, sock, client)

    def screen(self, sock: Stream, client: Client, *, is_announced: bool = False) -> None:
        """Ask the rules what becomes of a client; ``is_announced``: it says a header first."""
        visitor = Visitor(client.packed, client.port, self._house)
        verdict = self._doorkeeper.judge(visitor)
        if verdict is Verdict.REJECTED:
            # Not a line each at INFO: who floods us would fill the disk too.
            _log.debug("%s %s: rejected", client.address, self._frontend.name)
            self.counters.denied += 1
            set_reset(sock)
            sock.close()
            return
        client = client._replace(track=visitor.track)
        self._house.hall.enter(self.room)
        if is_announced or verdict is Verdict.ANNOUNCED:
            self._greet(sock, client)
        else:
            self._serve(self.choose(client), sock, client)

    def choose(self, client: Client) -> Service:
        """Return the way that a client, or a request of its, goes now."""
        if self._routes:
            facts = self.facts(client)
            for condition, service in self._routes:
                if condition is None or condition.holds(facts):
                    return service
        return self._service

    def facts(self, client: Client) -> Facts:
        """Return what conditions see of a client, at whatever moment they look."""
        return Visitor(client.packed, client.port, self._house, client.track)

    def on_left(self, service: Service, client: Client) -> None:
        """Count a client less: its connection has ended."""
        house = self._house
        if client.track is not None:
            client.track.release(house.loop.now)
        house.hall.leave(self.room)
        house.left(self._party)

    def dismiss(self, greeting: Greeting) -> None:
        """End a client's connection whose header is awaited."""
        greeting.close()
        self._forget(greeting)

    def _greet(self, sock: Stream, client: Client) -> None:
        # Loaded when it is used: few are behind a proxy that says so.
        from dsbalance.greeting import Greeting  # noqa: PLC0415

        greeting = Greeting(
            self._house.loop,
            sock,
            timeout=self._frontend.timeout_client,
            on_greeted=self._greeted,
            on_lost=self._lost,
        )
        self._party.greetings[greeting] = self, client
        greeting.open()

    def _greeted(self, greeting: Greeting, header: Header) -> None:
        _, client = self._party.greetings.pop(greeting)
        client = client._replace(greeting=header)
        if header.source:
            client = client._replace(
                address=header.source,
                packed=header.packed,
                port=header.destination_port,
                source_port=header.source_port,
            )
        self._serve(self.choose(client), greeting.sock, client)

    def _lost(self, greeting: Greeting, reason: str) -> None:
        client = self._forget(greeting)
        _log.debug("%s %s: no PROXY header: %s", client.address, self._frontend.name, reason)

    def _forget(self, greeting: Greeting) -> Client:
        _, client = self._party.greetings.pop(greeting)
        self.on_left(self._service, client)
        return client

    def _serve(self, service: Service, sock: Stream, client: Client) -> None:
        guest = self._make_guest(service, sock, client)
        try:
            guest.open()
        except Exception as error:
            # Whoever the loop tells of it does not know the client.
            guest.on_crash(error)
            raise
        if self._party.is_retiring:
            guest.retire()
