"""What the clients of one frontend share on their way to one backend. Made once, read by each."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dsbalance.balancer import Balancer
from dsbalance.candidates import Client
from dsbalance.conditions import Facts
from dsbalance.counters import FrontendCounters
from dsbalance.http1 import RequestHead
from dsbalance.http_answers import Answer
from dsbalance.http_fields import Origin
from dsbalance.http_options import HttpOptions
from dsbalance.http_rules import Rewriting
from dsbalance.log_options import FrontendLog
from dsbalance.loop import Loop
from dsbalance.model import Backend, Frontend
from dsbalance.relay import Ending, Limits
from dsbalance.resolve import Target
from dsbalance.splice import PipePool

if TYPE_CHECKING:
    from dsbalance.logs import Pen


class Guest(Protocol):
    """A client's connection, in TCP mode or in HTTP mode."""

    def open(self) -> None:
        """Begin."""

    def kill(self, ending: Ending) -> None:
        """End it from outside, at once."""

    def dismiss(self, ending: Ending) -> None:
        """End it from outside; a client that waits for a response is told that there is none."""

    def retire(self) -> None:
        """End it as soon as nothing is under way that could be lost."""

    def count(self) -> None:
        """Count what it has moved since the last time, and the connection that it keeps."""

    def on_crash(self, error: Exception) -> None:
        """End it: something of ours raised, and was logged."""


class Reception(Protocol):
    """A frontend at work, as its clients know it.

    Attributes:
        sessions: The clients that are there.
        counters: What happened.
    """

    sessions: set[Guest]
    counters: FrontendCounters

    def choose(self, client: Client) -> Service:
        """Return the way to the backend that a client, or a request of its, gets."""

    def facts(self, client: Client) -> Facts:
        """Return what conditions see of a client, at whatever moment they look."""

    def on_left(self, service: Service, client: Client) -> None:
        """A client's connection has ended."""


class Desk(Protocol):
    """Who answers what is asked about the proxy itself: its page, its numbers, its health."""

    def takes(self, request: RequestHead) -> bool:
        """Return whether this request is answered here, and goes to no server."""

    def answer(self, request: RequestHead, body: bytes, origin: Origin) -> Answer:
        """Return what the client gets, without waiting for anything.

        Args:
            request: Which was taken.
            body: All of its body, which is short: a longer one gets no further.
            origin: Where it comes from.
        """


DeskMaker = Callable[[Frontend, Backend], "Desk | None"]
"""Makes the desk of the way from a frontend to a backend; None: neither of them has one."""


class Tools(NamedTuple):
    """What everybody on a loop shares.

    Attributes:
        loop: Where everything runs.
        buffer: To read into; what is in it does not outlive a call.
        pool: Pipes for streams.
        on_failed: Called in the turn in which an attempt to connect failed, once it is decided.
        pages: What is in the files of ``errorfile``, by status and path.
        make_desk: Makes the desks; by default there are none.
        open_log: Returns what writes to the log targets of a frontend; None: it has none.
        present: Returns how many client connections the process has.
    """

    loop: Loop
    buffer: memoryview
    pool: PipePool
    on_failed: Callable[[Balancer], None]
    pages: Mapping[tuple[int, str], Answer] = MappingProxyType({})
    make_desk: DeskMaker = lambda frontend, backend: None
    open_log: Callable[[Frontend], Pen | None] = lambda frontend: None
    present: Callable[[], int] = lambda: 0


class Service:
    """The way from a frontend to a backend.

    Args:
        frontend: Where the clients come in.
        balancer: Of the backend.
        targets: Where each server of the backend is, by name; kept up to date by the proxy.
        tools: What everybody shares.
        reception: What the clients of the frontend share, whatever backend they go to.

    Attributes:
        name: The frontend's.
        is_http: Whether its bytes are looked at.
        is_routed: Whether the frontend has more than one backend.
        desk: Who answers what is asked about the proxy itself; None: nobody.
        is_straight: Whether each request goes to the one backend: neither of both.
        log: What writes to the log targets of the frontend; None: it has none.
        log_options: What is logged there, and how.
        present: Returns how many client connections the process has.
        limits: How long either side may be silent.
        silence: The limit of silence while both directions are open, and whose it is.
        silence_half_closed: The same once one has ended.
        shortened: That limit, if it may end a session earlier than the other one.
        timeout_connect: Of one attempt, seconds; None: the system's.
        timeout_queue: Of waiting for a place, seconds; None: for ever.
        timeout_request: Of a request's head.
        timeout_keep_alive: Of silence between two requests.
        patience: The least of all limits of a conversation.
        keepalive: Towards the servers.
        rewriting: What heads look like on the other side; of no use in TCP mode.
    """

    __slots__ = (
        "balancer",
        "buffer",
        "counters",
        "desk",
        "is_http",
        "is_routed",
        "is_straight",
        "keepalive",
        "limits",
        "log",
        "log_options",
        "loop",
        "name",
        "on_failed",
        "on_left",
        "patience",
        "pool",
        "present",
        "reception",
        "rewriting",
        "sessions",
        "shortened",
        "silence",
        "silence_half_closed",
        "targets",
        "timeout_connect",
        "timeout_keep_alive",
        "timeout_queue",
        "timeout_request",
    )

    def __init__(
        self,
        frontend: Frontend,
        balancer: Balancer,
        targets: dict[str, Target],
        tools: Tools,
        reception: Reception,
    ) -> None:
        backend = balancer.backend
        self.name = frontend.name
        self.balancer = balancer
        self.targets = targets
        self.loop, self.buffer, self.pool, self.on_failed, pages, make_desk, _, _ = tools
        self.log = tools.open_log(frontend)
        self.log_options = frontend.log or FrontendLog()
        self.present = tools.present
        self.reception = reception
        self.sessions = reception.sessions
        self.counters = reception.counters
        self.on_left = reception.on_left
        self.limits = Limits(
            client=frontend.timeout_client,
            server=backend.timeout_server,
            tunnel=backend.timeout_tunnel,
            client_fin=frontend.timeout_client_fin,
            server_fin=backend.timeout_server_fin,
        )
        self.silence = self.limits.silence(is_half_closed=False)
        self.silence_half_closed = self.limits.silence(is_half_closed=True)
        whole, half = self.silence[0], self.silence_half_closed[0]
        self.shortened = None if half is None or (whole or math.inf) <= half else half
        self.timeout_connect = backend.timeout_connect
        self.timeout_queue = backend.timeout_queue or backend.timeout_connect
        self.is_routed = bool(frontend.routes)
        self.desk = make_desk(frontend, backend) if frontend.http is not None else None
        self.is_straight = not self.is_routed and self.desk is None
        self.is_http = frontend.http is not None
        http = frontend.http or HttpOptions()
        client = frontend.timeout_client
        self.timeout_request = _shorter(http.timeout_request, client)
        self.timeout_keep_alive = _shorter(http.timeout_keep_alive or http.timeout_request, client)
        limits = client, backend.timeout_server, self.timeout_request, self.timeout_keep_alive
        self.patience = min((limit for limit in limits if limit is not None), default=None)
        self.keepalive = backend.keepalive
        self.rewriting = Rewriting(http, backend.http or HttpOptions(), pages)


def _shorter(one: float | None, other: float | None) -> float | None:
    """Return the shorter of two limits; None is no limit."""
    return min((limit for limit in (one, other) if limit is not None), default=None)
