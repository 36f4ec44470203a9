"""What a balancer knows of a server and of a session, and what it tells of them. No I/O, no clock.

A :class:`Placement` is one session's hold on a backend, from its first decision to its end:

    stage        holds                            ends with
    QUEUED       a turn in one of two queues      a place: CONNECTING; its server lost: DISPLACED
    CONNECTING   a place at its server            CONNECTED; a redispatch: CONNECTING or QUEUED
    CONNECTED    the place, its stick entries     RELEASED
    DISPLACED    nothing                          another decision: CONNECTING or QUEUED
    RELEASED     nothing                          -

Any stage ends with RELEASED when the session does. A :class:`ServerState` has what the balancer
keeps for one server; its two predicates come from three facts:

    health   admin, its own or its leader's   weight   is_running   is_usable
    up       ready                            > 0      yes          yes
    up       drain                            any      yes          no
    up       ready                            0        yes          no
    up       maint                            any      no           no
    down     any                              any      no           no

A server that is running keeps the clients that stick to it; one that is usable gets new ones too.

Sources: the HAProxy 2.6 manual, ``track`` and ``disabled``, and its management guide, ``set server
state`` and ``show stat``; the words of a status were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from dsbalance.gate import Gate
from dsbalance.model import Check, Server
from dsbalance.policy import Client, Reason
from dsbalance.stats import ServerCounters, ServerSnapshot
from dsbalance.sticky import StickTable


class AdminState(enum.StrEnum):
    """What was asked of a server, in the words of ``set server ... state``.

    DRAIN: no new clients but those that stick to it. MAINT: none, and no checks.
    """

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Failure(enum.Enum):
    """Why an attempt to connect failed.

    REFUSED is any answer or error that came before the time was up. LOCAL: our own system lacks
    something, such as a descriptor or a port; the server had no part in it.
    """

    REFUSED = enum.auto()
    TIMEOUT = enum.auto()
    LOCAL = enum.auto()


class Stage(enum.Enum):
    """Where a placement stands; see the table of this module."""

    QUEUED = enum.auto()
    CONNECTING = enum.auto()
    CONNECTED = enum.auto()
    DISPLACED = enum.auto()
    RELEASED = enum.auto()


# Looked up once: through its class a member takes ten times as long on Python 3.11.
_QUEUED, _DISPLACED = Stage.QUEUED, Stage.DISPLACED
_POLICY = Reason.POLICY


class Placement:
    """One session's hold on a backend. Made by ``route``, changed by its balancer alone.

    Attributes:
        client: Whose session it is.
        server: Where it was sent last; None: nowhere yet, or its place there was taken back.
        reason: Why it was sent there; while it waits, why it waits.
        stage: See the table of this module.
        tries: How many attempts have failed.
        is_persistent: Whether a stick entry decided.
        held: The stick entries that it keeps from expiring: table and key.
        ticket: Its turn among those that wait; lower is earlier.
        owner: For whoever routed it: the session that it belongs to. Not looked at.
    """

    __slots__ = (
        "client",
        "held",
        "is_persistent",
        "owner",
        "reason",
        "server",
        "stage",
        "ticket",
        "tries",
    )

    def __init__(self, client: Client) -> None:
        self.client = client
        self.server: ServerState | None = None
        self.reason = _POLICY
        self.stage = _DISPLACED
        self.tries = 0
        self.is_persistent = False
        self.held: tuple[tuple[StickTable, bytes], ...] = ()
        self.ticket = 0
        self.owner: object | None = None

    @property
    def is_queued(self) -> bool:
        """Whether it waits for a place, and so must not connect yet."""
        return self.stage is _QUEUED

    def __repr__(self) -> str:
        where = self.server.name if self.server else "nowhere"
        return f"<Placement of {self.client.address}: {self.stage.name} {where}, {self.reason}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """What to do after a failed attempt.

    Attributes:
        placement: The same object, moved to another server or not. When it is queued now, it waits
            like any other, and ``delay`` is 0.
        delay: Seconds to wait before the next attempt.
        admitted: Others that have got the place it left, and may connect now.
    """

    placement: Placement
    delay: float
    admitted: tuple[Placement, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something about a server that has changed, and what the shell has to carry out.

    Attributes:
        backend: Its backend's name.
        server: Its name.
        old: HAProxy's word for its state before, without counts: ``UP``, ``DOWN``, ``DRAIN``,
            ``MAINT``, ``MAINT (via paragon/primary-1)``, ``no check``. Empty: it was added.
        new: The same for its state now; empty: it was removed. Equal to ``old`` when its weight
            changed.
        reason: Why, in words for a log line.
        now: When, as it was given.
        shutdown: Sessions to close, because the server is marked down and wants that.
        requeued: Sessions that waited for it and for it alone: to be given to ``reroute``.
        admitted: Sessions that have got a place by it, and may connect now.
        active: Usable servers that are left and no backups.
        backups: Usable backups that are left.
        sessions: Sessions that hold a place at it.
        queued: Sessions that still wait in the backend, for this server or for none.
        is_outage: Whether the backend has lost its last usable server by it.
    """

    backend: str
    server: str
    old: str
    new: str
    reason: str
    now: float
    shutdown: tuple[Placement, ...] = ()
    requeued: tuple[Placement, ...] = ()
    admitted: tuple[Placement, ...] = ()
    active: int
    backups: int
    sessions: int
    queued: int
    is_outage: bool = False


class ServerState:
    """One server of one backend, as it is now. For others than its balancer it is to be read.

    Attributes:
        server: Its configuration, with the weight that is in force.
        name: Its name, which never changes.
        id: HAProxy's id.
        initial_weight: The weight of the configuration.
        maxconn: Its limit of sessions; None: there is none.
        gate: Its health; one object for a server and those that track it.
        leader: The server that it tracks; None: nobody.
        admin: What was asked of itself.
        inherited: What was asked of its leader; READY without one.
        is_checked: Whether its health is watched, by its own checks or its leader's.
        is_running: See the table of this module.
        is_usable: See the table of this module.
        word: The state as it was last settled; see :attr:`Change.old`.
        since: When its word last changed, or the start.
        placements: The sessions that hold a place.
        queue: Those that wait for one, the oldest first.
        moved: When it last got or lost a session, as a count of such events in its backend.
        counters: What happened.
    """

    __slots__ = (
        "admin",
        "counters",
        "gate",
        "id",
        "inherited",
        "initial_weight",
        "is_checked",
        "is_running",
        "is_usable",
        "leader",
        "maxconn",
        "moved",
        "name",
        "placements",
        "queue",
        "server",
        "since",
        "word",
    )

    def __init__(self, server: Server, number: int, now: float) -> None:
        """Make the state of a server with id ``number``, as it is before its first check."""
        check = server.check or Check()
        self.server = server
        self.name = server.name
        self.id = number
        self.initial_weight = server.weight
        self.maxconn = server.maxconn
        self.gate = Gate(check.rise, check.fall)
        self.leader: ServerState | None = None
        self.admin = AdminState.MAINT if server.disabled else AdminState.READY
        self.inherited = AdminState.READY
        self.is_checked = server.check is not None or server.track is not None
        self.is_running = self.is_usable = False
        self.since = now
        self.placements: set[Placement] = set()
        self.queue: deque[Placement] = deque()
        self.moved = 0
        self.counters = ServerCounters()
        self.word = ""
        self.settle()

    @property
    def is_in_maintenance(self) -> bool:
        """Whether it, or the server that it tracks, is in maintenance."""
        return AdminState.MAINT in (self.admin, self.inherited)

    @property
    def status(self) -> str:
        """HAProxy's word for its state, with the count of checks where it is in doubt."""
        word = self._word()
        if not self.is_checked or self.is_in_maintenance:
            return word
        text = self.gate.text
        return text.replace("UP", "DRAIN", 1) if word == "DRAIN" else text

    def settle(self) -> None:
        """Work out what follows from health, admin and weight."""
        is_ready = self.admin is self.inherited is AdminState.READY
        self.is_running = self.gate.is_up and not self.is_in_maintenance
        self.is_usable = self.is_running and is_ready and self.server.weight > 0
        self.word = self._word()

    def follow(self, leader: ServerState) -> None:
        """Share the health of ``leader`` from now on, and what is asked of it."""
        self.leader = leader
        self.gate = leader.gate
        self.inherited = leader.admin
        self.settle()

    def retire(self) -> None:
        """Take it out of use for good; it stays what its last sessions know."""
        self.is_running = self.is_usable = False
        self.word = ""

    def snapshot(self, now: float) -> ServerSnapshot:
        """Return what there is to know at ``now``."""
        server, counters = self.server, self.counters
        return ServerSnapshot(
            name=self.name,
            id=self.id,
            host=server.host,
            port=server.port,
            status=self.status,
            admin=self.admin,
            is_usable=self.is_usable,
            is_backup=server.backup,
            tracked=server.track,
            weight=server.weight,
            initial_weight=self.initial_weight,
            maxconn=self.maxconn,
            current=len(self.placements),
            queued=len(self.queue),
            seconds_in_state=now - self.since,
            **{name: getattr(counters, name) for name in ServerCounters.__slots__},
        )

    def check(self) -> None:
        """Assert what has to be true of its sessions between two calls."""
        holding = {Stage.CONNECTING, Stage.CONNECTED}
        assert all(p.server is self and p.stage in holding for p in self.placements)
        assert all(p.server is self and p.is_queued for p in self.queue)
        tickets = [placement.ticket for placement in self.queue]
        assert tickets == sorted(set(tickets)), "the oldest is the first"
        assert self.maxconn is None or len(self.placements) <= self.maxconn
        assert not self.queue or (self.is_running and len(self.placements) == self.maxconn)

    def _word(self) -> str:
        if self.inherited is AdminState.MAINT:
            return f"MAINT (via {self.server.track})"
        if self.admin is AdminState.MAINT:
            return "MAINT"
        if not self.gate.is_up:
            return "DOWN"
        if AdminState.DRAIN in (self.admin, self.inherited):
            return "DRAIN"
        return "UP" if self.is_checked else "no check"

    def __repr__(self) -> str:
        return f"<ServerState {self.name}: {self.status}, {len(self.placements)} sessions>"
