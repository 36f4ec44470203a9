"""Frontends at work: who is let in, which way each client goes, and how they come and go.

    a client is accepted      the rules of the door    rejected: RST, and nothing is kept of it
    it is let in              its PROXY header         lost: the connection ends
    it is known               use_backend              a session, or a conversation in HTTP mode
    its connection ends                                its place is free, its source counts less

Everything here runs on the loop's thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dsbalance.backends import Backends
from dsbalance.candidates import Client
from dsbalance.conditions import Facts
from dsbalance.conversation import Conversation
from dsbalance.door import Doorkeeper, Verdict, Visitor
from dsbalance.errors import ConfigError, ConnectError, Problem
from dsbalance.listener import Hall, Listener, Room, listen
from dsbalance.model import Backend, Frontend
from dsbalance.references import counted
from dsbalance.relay import Ending
from dsbalance.resolve import Target
from dsbalance.service import Guest, Service, Tools
from dsbalance.session import Session
from dsbalance.sockets import Door, Stream, set_reset
from dsbalance.stats import FrontendCounters, FrontendSnapshot
from dsbalance.tracking import Tracking

if TYPE_CHECKING:
    from dsbalance.greeting import Greeting
    from dsbalance.haproxy.proxy_protocol import Header

_log = logging.getLogger("dsbalance.entrances")


class Entrance:
    """A frontend at work. It is the :class:`dsbalance.service.Reception` of its clients.

    Args:
        frontend: What it is.
        house: Which it is an entrance of.

    Attributes:
        frontend: As configured.
        room: Its own.
        sessions: The clients that are there.
        counters: What happened.
    """

    __slots__ = (
        "_doorkeeper",
        "_greetings",
        "_house",
        "_is_retiring",
        "_listeners",
        "_make_guest",
        "_routes",
        "_service",
        "counters",
        "frontend",
        "room",
        "sessions",
    )

    def __init__(self, frontend: Frontend, house: Entrances) -> None:
        self.frontend = frontend
        self.room = Room(frontend.maxconn)
        self.sessions: set[Guest] = set()
        self.counters = FrontendCounters()
        self._house = house
        self._is_retiring = False
        self._listeners: list[Listener] = []
        self._greetings: dict[Greeting, Client] = {}
        self._doorkeeper = Doorkeeper(frontend.door, partial(house.table, frontend))
        self._make_guest: Callable[[Service, Stream, Client], Guest] = (
            Session if frontend.http is None else Conversation
        )
        ways = dict.fromkeys((frontend.backend, *(route.backend for route in frontend.routes)))
        services = {backend: house.service(self, backend) for backend in ways}
        self._service = services[frontend.backend]
        self._routes = [(route.condition, services[route.backend]) for route in frontend.routes]

    # -- life

    def open(self) -> None:
        """Listen on every bind, or on none.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        frontend = self.frontend
        opened: list[tuple[Door, Callable[[Stream, Client], None]]] = []
        try:
            for bind in frontend.binds:
                subject = f"frontend {frontend.name}, bind {bind}"
                receive = self.screen if frontend.door or frontend.routes else self.receive
                if bind.accept_proxy:
                    receive = partial(self.screen, is_announced=True)
                opened += [(sock, receive) for sock in listen(bind, frontend.keepalive, subject)]
        except ConnectError:
            for sock, _ in opened:
                sock.close()
            raise
        hall = self._house.hall
        self._listeners = [Listener(sock, self.room, hall, receive) for sock, receive in opened]
        for listener in self._listeners:
            hall.add(listener)

    def close(self) -> None:
        """Close the ports; sessions go on."""
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def retire(self) -> None:
        """Let everybody go who has nothing under way, and who is still at the door after one."""
        self._is_retiring = True
        for guest in [*self.sessions]:
            guest.retire()

    def kill(self) -> None:
        """End everybody who is there."""
        for guest in [*self.sessions]:
            guest.kill(Ending.KILLED)
        greetings, self._greetings = self._greetings, {}
        for greeting, client in greetings.items():
            greeting.close()
            self.on_left(self._service, client)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there."""
        return not self.sessions and not self._greetings

    def addresses(self) -> list[tuple[str, int]]:
        """Return the addresses and ports that it listens on."""
        return [listener.sock.getsockname()[:2] for listener in self._listeners]

    def snapshot(self) -> FrontendSnapshot:
        """Return what there is to know now."""
        room, counters = self.room, self.counters
        return FrontendSnapshot(
            name=self.frontend.name,
            status="FULL" if room.is_full() else "OPEN",
            maxconn=room.limit,
            current=room.used,
            peak=room.most,
            total=counters.total,
            denied=counters.denied,
            bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out,
        )

    # -- clients

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
            _log.debug("%s %s: rejected", client.address, self.frontend.name)
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
        house.left(self)

    def _greet(self, sock: Stream, client: Client) -> None:
        # Loaded when it is used: few are behind a proxy that says so.
        from dsbalance.greeting import Greeting  # noqa: PLC0415

        greeting = Greeting(
            self._house.loop,
            sock,
            timeout=self.frontend.timeout_client,
            on_greeted=self._greeted,
            on_lost=self._lost,
        )
        self._greetings[greeting] = client
        greeting.open()

    def _greeted(self, greeting: Greeting, header: Header) -> None:
        client = self._greetings.pop(greeting)._replace(greeting=header)
        if header.source:
            client = client._replace(
                address=header.source,
                packed=header.packed,
                port=header.destination_port,
                source_port=header.source_port,
            )
        self._serve(self.choose(client), greeting.sock, client)

    def _lost(self, greeting: Greeting, reason: str) -> None:
        client = self._greetings.pop(greeting)
        _log.debug("%s %s: no PROXY header: %s", client.address, self.frontend.name, reason)
        self.on_left(self._service, client)

    def _serve(self, service: Service, sock: Stream, client: Client) -> None:
        guest = self._make_guest(service, sock, client)
        try:
            guest.open()
        except Exception as error:
            # Whoever the loop tells of it does not know the client.
            guest.on_crash(error)
            raise
        if self._is_retiring:
            guest.retire()


class Entrances:
    """All frontends of a configuration, at work. It is the :class:`dsbalance.door.World` of rules.

    Args:
        backends: Where the clients go.
        targets: Where the servers of each backend are, by its name; kept by the engine.
        hall: Of the process.
        tools: Of the loop.
        on_left: Called when a client's connection has ended.

    Attributes:
        hall: Of the process.
        loop: Where everything runs.
    """

    __slots__ = (
        "_backends",
        "_entrances",
        "_leaving",
        "_on_left",
        "_tables",
        "_targets",
        "_tools",
        "hall",
        "loop",
    )

    def __init__(
        self,
        backends: Backends,
        targets: Mapping[str, dict[str, Target]],
        hall: Hall,
        tools: Tools,
        on_left: Callable[[], None],
    ) -> None:
        self.hall = hall
        self.loop = tools.loop
        self._backends = backends
        self._targets = targets
        self._tools = tools
        self._on_left = on_left
        self._entrances: dict[str, Entrance] = {}
        # Those of frontends that were removed, until their last client has left.
        self._leaving: set[Entrance] = set()
        # What counts connections, by the section whose stick-table it is.
        self._tables: dict[str, Tracking] = {}

    def __iter__(self) -> Iterator[Entrance]:
        return iter(self._entrances.values())

    def find(self, name: str) -> Entrance:
        """Return a frontend, or raise ConfigError."""
        if name not in self._entrances:
            raise ConfigError(f"there is no frontend {name!r}")
        return self._entrances[name]

    def begin(self, frontends: Iterable[Frontend]) -> None:
        """Make the frontends of the configuration, which was validated whole."""
        frontends = list(frontends)
        # Each may count in the table of any other.
        for frontend in frontends:
            self._make_table(frontend)
        for frontend in frontends:
            self._entrances[frontend.name] = Entrance(frontend, self)

    def add(self, frontend: Frontend) -> Entrance:
        """Make a frontend, which does not listen yet, or change nothing and raise ConfigError."""
        if frontend.name in self._entrances:
            subject = f"frontend {frontend.name}"
            raise ConfigError(Problem("there is one of this name already", subject=subject))
        self._demand_whole((*(entrance.frontend for entrance in self), frontend))
        self._make_table(frontend)
        entrance = self._entrances[frontend.name] = Entrance(frontend, self)
        return entrance

    def remove(self, name: str) -> None:
        """Close the ports of a frontend and forget it, or raise ConfigError; sessions go on."""
        entrance = self.find(name)
        self._demand_whole(tuple(other.frontend for other in self if other is not entrance))
        del self._entrances[name]
        if entrance.frontend.table is not None:
            self._tables.pop(name, None)
        entrance.close()
        if not entrance.is_empty:
            self._leaving.add(entrance)

    def open(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        try:
            for entrance in self:
                entrance.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all ports; sessions go on."""
        for entrance in self:
            entrance.close()

    def retire(self) -> None:
        """Let everybody go who has nothing under way."""
        for entrance in (*self, *self._leaving):
            entrance.retire()

    def kill(self) -> None:
        """Close all ports and end everybody who is there."""
        self.close()
        for entrance in [*self, *self._leaving]:
            entrance.kill()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, at any frontend."""
        return all(entrance.is_empty for entrance in (*self, *self._leaving))

    def users(self, backend: str) -> list[str]:
        """Return the frontends that need a backend, or have clients that may."""
        frontends = [entrance.frontend for entrance in (*self, *self._leaving)]
        return [frontend.name for frontend in frontends if backend in _needs(frontend)]

    def forget(self, backend: str) -> None:
        """Let the counters of a backend's table go: it was removed."""
        self._tables.pop(backend, None)

    def sweep(self) -> None:
        """Remove what has lapsed in the tables that count connections."""
        for table in self._tables.values():
            table.sweep(self.now)

    # -- what an entrance asks

    @property
    def now(self) -> float:
        """The instant of this turn."""
        return self.loop.now

    def nbsrv(self, backend: str | None) -> int | None:
        """Return how many servers of a backend may be chosen; None: no backend is named."""
        return None if backend is None else len(self._backends.balancer(backend).candidates)

    def service(self, entrance: Entrance, backend: str) -> Service:
        """Return the way from a frontend to a backend."""
        balancer = self._backends.balancer(backend)
        return Service(entrance.frontend, balancer, self._targets[backend], self._tools, entrance)

    def table(self, frontend: Frontend, name: str | None) -> Tracking:
        """Return what counts in the stick-table of a section; None: that of the frontend."""
        owner = frontend.name if name is None else name
        if owner not in self._tables:
            self._make_table(self._backends.balancer(owner).backend)
        return self._tables[owner]

    def left(self, entrance: Entrance) -> None:
        """A client has left."""
        if self._leaving and entrance.is_empty:
            self._leaving.discard(entrance)
        self._on_left()

    def _make_table(self, section: Frontend | Backend) -> None:
        if section.table is not None:
            self._tables[section.name] = Tracking(section.table)

    def _demand_whole(self, frontends: tuple[Frontend, ...]) -> None:
        """Raise ConfigError if ``frontends`` are not all that they and the backends name."""
        replace(self._backends.config, frontends=frontends)


def _needs(frontend: Frontend) -> set[str]:
    """Return the sections that a frontend names."""
    http = frontend.http
    rules = () if http is None else (*http.request_rules, *http.response_rules)
    tables = {rule.table for rule in frontend.door if rule.table is not None}
    ways = {frontend.backend, *(route.backend for route in frontend.routes)}
    return ways | tables | counted((*frontend.door, *frontend.routes, *rules))
