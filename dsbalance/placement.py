"""What a balancer knows of a server and of a session, and what it tells of them. No I/O, no clock.

A :class:`Placement` is one session's hold on a backend, from its first decision to its end:

    stage        holds                            ends with
    QUEUED       a turn in one of two queues      a place: CONNECTING; its server lost: DISPLACED
    CONNECTING   a place at its server            CONNECTED; a redispatch: CONNECTING or QUEUED,
                                                  or DISPLACED for the length of a pause
    CONNECTED    the place, its stick entries     RELEASED; nothing to do for now: RESTING
    RESTING      its stick entries                something to do: CONNECTED, or RELEASED
    DISPLACED    nothing                          another decision: CONNECTING or QUEUED
    RELEASED     nothing                          -

Any stage ends with RELEASED when the session does. A :class:`ServerState` has what the balancer
keeps for one server; its two predicates come from three facts:

    health     admin, its own or its leader's   weight   op         is_running   is_usable
    up         ready                            > 0      RUNNING    yes          yes
    up again   ready                            > 0      STARTING   yes          yes
    stopping   ready                            any      STOPPING   yes          no
    up         drain                            any      RUNNING    yes          no
    up         ready                            0        RUNNING    yes          no
    up         maint                            any      STOPPED    no           no
    down       any                              any      STOPPED    no           no

A server that is running keeps the clients that stick to it; one that is usable gets new ones too.
STARTING is for servers with ``slowstart`` alone: their share grows each second, and their limit.
A drain begins it anew. For a policy that knows no parts of a weight the share is whole at once.

Sources: the HAProxy 2.6 manual, ``track``, ``disabled``, ``minconn`` and ``slowstart``, and its
management guide, ``set server state`` and ``show stat``; the words of a status and the steps of
``slowstart`` were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from dataclasses import dataclass, replace

from dsbalance.candidates import SHARES_PER_WEIGHT, Client, Reason
from dsbalance.checks import CheckResult
from dsbalance.counters import BackendCounters, ServerCounters
from dsbalance.gate import Gate
from dsbalance.model import Check, Server
from dsbalance.sticky import StickTable


class AdminState(enum.StrEnum):
    """What was asked of a server, in the words of ``set server ... state``.

    DRAIN: no new clients but those that stick to it. MAINT: none, and no checks.
    """

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


class Health(enum.StrEnum):
    """What a server is taken for, in the words of ``set server ... health``.

    STOPPING: up, but for its own clients alone, until its next check has passed.
    """

    UP = "up"
    STOPPING = "stopping"
    DOWN = "down"


class OpState(enum.Enum):
    """What a server does, with HAProxy's numbers; see the table of this module."""

    STOPPED = 0
    STARTING = 1
    RUNNING = 2
    STOPPING = 3

    @property
    def is_up(self) -> bool:
        """Whether it takes new clients, as far as its health is concerned."""
        return self is OpState.STARTING or self is OpState.RUNNING


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
    RESTING = enum.auto()
    DISPLACED = enum.auto()
    RELEASED = enum.auto()


# Looked up once: through its class a member takes ten times as long on Python 3.11.
_QUEUED, _DISPLACED = Stage.QUEUED, Stage.DISPLACED
_POLICY = Reason.POLICY
_NO_TURNS = (0, 0)
_STARTING = OpState.STARTING


class Placement:
    """One session's hold on a backend. Made by ``route``, changed by its balancer alone.

    Attributes:
        client: Whose session it is.
        server: Where it was sent last; None: nowhere yet, or its turn there was taken back.
        reason: Why it was sent there; while it waits, why it waits.
        stage: See the table of this module.
        tries: How many attempts have failed.
        is_persistent: Whether a stick entry decided.
        held: The stick entries that it keeps from expiring: table and key.
        heirs: Who has got the place that it left, if there was none for it elsewhere.
        ticket: Its turn among those that wait; lower is earlier.
        turns: Its place, when it came, in the queue of a server and of the backend, from 1; 0: it
            did not wait there.
        owner: For whoever routed it: the session that it belongs to. Not looked at.
    """

    __slots__ = (
        "client",
        "heirs",
        "held",
        "is_persistent",
        "owner",
        "reason",
        "server",
        "stage",
        "ticket",
        "tries",
        "turns",
    )

    def __init__(self, client: Client) -> None:
        self.client = client
        self.server: ServerState | None = None
        self.reason = _POLICY
        self.stage = _DISPLACED
        self.tries = 0
        self.is_persistent = False
        self.held: tuple[tuple[StickTable, bytes], ...] = ()
        self.heirs: tuple[Placement, ...] = ()
        self.ticket = 0
        self.turns = _NO_TURNS
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
            like any other, and ``delay`` is 0. When it is DISPLACED, it goes elsewhere after the
            delay: give it to ``reroute`` then.
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
        shutdown: Sessions to close: the server's, because it is marked down and wants that; those
            of the backups, because it is up and wants that.
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

    @property
    def is_down(self) -> bool:
        """Whether the server takes no clients now, not even its own."""
        return self.new.startswith(("DOWN", "MAINT")) or not self.new


class Crowd:
    """What the limits of all servers of a backend depend on.

    Attributes:
        counters: The backend's: ``current`` is how many sessions it has.
        fullconn: How many it has when it is full; see :attr:`dsbalance.model.Server.minconn`.
        is_static: Whether its policy knows no parts of a weight.
    """

    __slots__ = ("counters", "fullconn", "is_static")

    def __init__(
        self, counters: BackendCounters, fullconn: int = 1, *, is_static: bool = False
    ) -> None:
        self.counters = counters
        self.fullconn = fullconn
        self.is_static = is_static


class ServerState:
    """One server of one backend, as it is now. For others than its balancer it is to be read.

    Attributes:
        server: Its configuration, with the weight that was asked for last.
        name: Its name, which never changes.
        id: HAProxy's id.
        initial_weight: The weight of the configuration.
        maxconn: Its limit of sessions; None: there is none. See :attr:`limit`.
        share: The weight in force, in sixteenths: 0 to 4096.
        before: Those of the usable servers that stood before it at the start.
        gate: Its health; one object for a server and those that track it.
        leader: The server that it tracks; None: nobody.
        admin: What was asked of itself.
        inherited: What was asked of its leader; READY without one.
        is_checked: Whether its health is watched, by its own checks or its leader's.
        op, is_running, is_usable: See the table of this module.
        word: The state as it was last settled; see :attr:`Change.old`.
        reason: Why it is that, in words; empty: it was so from the start.
        since: When its word last changed, or the start.
        down_since: When it stopped running; None: it is running.
        past_downtime: Seconds that it was not running before that.
        last_check: What its last check came to; None: there was none.
        checked_at: When that ended.
        is_checking: Whether a check is under way.
        is_check_paused: Whether an operator has stopped its checks.
        kept: Connections to it that rest between two requests.
        placements: The sessions that hold a place.
        queue: Those that wait for one, the oldest first.
        moved: When it last got or lost a session, as a count of such events in its backend.
        moved_load: How many sessions it had then, with those that waited for it.
        errors: Failed attempts to connect since one succeeded, or a check did.
        counters: What happened.
    """

    __slots__ = (
        *("_crowd", "_percent", "_sixteenths", "_surplus", "_up_at", "admin", "before"),
        *("checked_at", "counters", "down_since", "errors", "gate", "id", "inherited"),
        *("initial_weight", "is_check_paused", "is_checked", "is_checking"),
        *("is_running", "is_usable", "kept", "last_check", "leader", "maxconn", "moved"),
        *("moved_load", "name", "op", "past_downtime", "placements", "queue", "reason", "server"),
        *("share", "since", "word"),
    )

    def __init__(self, server: Server, number: int, now: float, crowd: Crowd) -> None:
        """Make the state of a server with id ``number``, as it is before its first check."""
        check = server.check or Check()
        self.server = server
        self.name = server.name
        self.id = number
        self.initial_weight = server.weight
        self.maxconn = server.maxconn
        self.gate = Gate(check.rise, check.fall, server.init_state)
        self.leader: ServerState | None = None
        self.admin = AdminState.MAINT if server.disabled else AdminState.READY
        self.inherited = AdminState.READY
        self.is_checked = server.check is not None or server.track is not None
        self.is_running = self.is_usable = False
        self.share = self.before = 0
        self.since = now
        self.placements: set[Placement] = set()
        self.queue: deque[Placement] = deque()
        self.moved = self.moved_load = 0
        self.errors = 0
        self.counters = ServerCounters()
        self.word = self.reason = ""
        self.down_since: float | None = None
        self.past_downtime = 0.0
        self.last_check: CheckResult | None = None
        self.checked_at = now
        self.is_checking = self.is_check_paused = False
        self.kept = 0
        self._crowd = crowd
        # Who has a place keeps it when the limit is lowered.
        self._surplus = 0
        self._up_at = now
        self._sixteenths = SHARES_PER_WEIGHT
        self._percent = 100
        # Who is up at the start is not up *again*.
        self.op = OpState.RUNNING
        self.settle(now)

    @property
    def is_in_maintenance(self) -> bool:
        """Whether it, or the server that it tracks, is in maintenance."""
        return AdminState.MAINT in (self.admin, self.inherited)

    @property
    def throttle(self) -> int | None:
        """Percent that a slow start lets it carry; None: it does not start slowly."""
        return self._percent if self.op is _STARTING else None

    @property
    def limit(self) -> int | None:
        """How many sessions may hold a place now; None: any number.

        It is below ``maxconn`` while a server with ``minconn`` is in a backend that is not full, or
        while it starts slowly; but at least 1.
        """
        limit = self.maxconn
        if limit is None:
            return None
        least, crowd = self.server.minconn, self._crowd
        if least is not None and crowd.counters.current < crowd.fullconn:
            limit = max(least, crowd.counters.current * limit // crowd.fullconn)
        return limit if self._percent == 100 else max(1, limit * self._percent // 100)

    @property
    def status(self) -> str:
        """HAProxy's word for its state, with the count of checks where it is in doubt.

        What is up and whose checks an operator has stopped is not checked, as HAProxy has it.
        """
        word = self._word()
        if not self.is_checked or self.is_in_maintenance:
            return word
        if word == "UP" and (self.leader or self).is_check_paused:
            return "no check"
        text = self.gate.text
        return text.replace("UP", "DRAIN", 1) if word == "DRAIN" else text

    def settle(self, now: float) -> None:
        """Work out what follows from health, admin and weight."""
        before, self.op = self.op, self._next_op()
        if self.op is OpState.STOPPED:
            self.down_since = now if self.down_since is None else self.down_since
        elif self.down_since is not None:
            self.past_downtime += now - self.down_since
            self.down_since = None
        if self.op is not _STARTING:
            self._sixteenths, self._percent = SHARES_PER_WEIGHT, 100
        elif before is not _STARTING:
            self._climb(now, now)
        self.share = self.server.weight * self._sixteenths
        is_ready = self.admin is self.inherited is AdminState.READY
        self.is_running = self.op is not OpState.STOPPED
        self.is_usable = self.op.is_up and is_ready and self.share > 0
        self.word = self._word()

    def step(self, now: float) -> bool:
        """Let a server that starts slowly carry more, and return whether its share has changed."""
        before = self.share
        self._climb(self._up_at, now)
        self.settle(now)
        return self.share != before

    def begin_again(self, now: float) -> None:
        """Let a server that starts slowly start anew."""
        if self.op is _STARTING:
            self._climb(now, now)

    def follow(self, leader: ServerState, now: float) -> None:
        """Share the health of ``leader`` from now on, and what is asked of it."""
        self.leader = leader
        self.gate = leader.gate
        self.inherited = leader.admin
        self.settle(now)

    def resize(self, maxconn: int | None) -> None:
        """Have another limit of sessions, None: none; ``minconn`` is never above it."""
        least = self.server.minconn
        least = None if least is None or maxconn is None else min(least, maxconn)
        self.server = replace(self.server, maxconn=maxconn, minconn=least)
        self.maxconn = maxconn
        self._surplus = len(self.placements)

    def retire(self) -> None:
        """Take it out of use for good; it stays what its last sessions know."""
        self.op = OpState.STOPPED
        self.is_running = self.is_usable = False
        self.word = ""

    def downtime(self, now: float) -> float:
        """Return how many seconds it was not running until ``now``, all in all."""
        return self.past_downtime + (0.0 if self.down_since is None else now - self.down_since)

    def check(self) -> None:
        """Assert what has to be true of its sessions between two calls."""
        holding = {Stage.CONNECTING, Stage.CONNECTED}
        assert all(p.server is self and p.stage in holding for p in self.placements)
        assert all(p.server is self and p.is_queued for p in self.queue)
        tickets = [placement.ticket for placement in self.queue]
        assert tickets == sorted(set(tickets)), "the oldest is the first"
        most = math.inf if self.maxconn is None else max(self.maxconn, self._surplus)
        assert len(self.placements) <= most
        assert not self.queue or (self.maxconn is not None and self.placements)
        assert 0 <= self.share <= SHARES_PER_WEIGHT * self.server.weight

    def _next_op(self) -> OpState:
        if not self.gate.is_up or self.is_in_maintenance:
            return OpState.STOPPED
        if self.gate.is_stopping:
            return OpState.STOPPING
        if self.op is OpState.RUNNING or self.server.slowstart is None:
            return OpState.RUNNING
        return _STARTING

    def _climb(self, start: float, now: float) -> None:
        """Carry what is due so long after the start; whole seconds count, as in HAProxy."""
        self._up_at = start
        gone, whole = int(now - start), math.ceil(self.server.slowstart or 0)
        if gone >= whole:
            self.op = OpState.RUNNING
            return
        self._percent = max(1, 100 * gone // whole)
        if not self._crowd.is_static:
            self._sixteenths = (SHARES_PER_WEIGHT * gone + whole) // whole

    def _word(self) -> str:
        if self.inherited is AdminState.MAINT:
            return f"MAINT (via {self.server.track})"
        if self.admin is AdminState.MAINT:
            return "MAINT"
        if not self.gate.is_up:
            return "DOWN"
        if self.gate.is_stopping:
            return "NOLB"
        if AdminState.DRAIN in (self.admin, self.inherited):
            return "DRAIN"
        return "UP" if self.is_checked else "no check"

    def __repr__(self) -> str:
        return f"<ServerState {self.name}: {self.status}, {len(self.placements)} sessions>"
