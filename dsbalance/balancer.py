"""Who gets which server: one backend's decisions, from a client's arrival to its end. No I/O.

    called when                   decides
    route: a client came          where it goes: stick entry, policy, backups, or a queue
    failed: an attempt failed     what follows: the same server again, another one, or nothing
    connected: one succeeded      what the stick tables remember
    release: a session ended      who gets the place: whoever waited longest
    check_passed and the others:  what follows for the sessions: closed, decided anew, let in
      a server changed

A backend has two kinds of queue. Who must go to one server, because an entry or a hash says so,
waits in that server's queue when it is full. Who may go to any waits in the backend's queue when
all are full. A place that becomes free goes to whoever came first of the two.

Each decision carries its reason. What the methods return has to be carried out by the caller; they
start and close nothing themselves. All of them are for the loop's thread alone.

Sources: the HAProxy 2.6 manual, ``stick match``, ``retries``, ``option redispatch``, ``maxconn``,
``option allbackups``; what it leaves open was observed on HAProxy 2.6.12. In one thing we differ:
HAProxy lets those who wait for a server that went down wait on unless ``option redispatch`` is
given; here they are always decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from dsbalance.errors import ConfigError, NoServerError, Problem
from dsbalance.model import Backend, Server, StickAction
from dsbalance.placement import (
    AdminState,
    Change,
    Failure,
    Placement,
    Retry,
    ServerState,
    Stage,
)
from dsbalance.policy import (
    Candidates,
    Client,
    Guarded,
    Policy,
    Reason,
    SourceConsistent,
    SourceMap,
    guarded,
)
from dsbalance.queueing import Places
from dsbalance.roster import Roster, Shift
from dsbalance.stats import BackendCounters, BackendSnapshot
from dsbalance.sticky import StickTable

__all__ = [
    "AdminState",
    "Balancer",
    "Change",
    "Failure",
    "Placement",
    "Retry",
    "ServerState",
    "Stage",
]

# HAProxy waits this long before it tries the same server again, or `timeout connect` if shorter.
_TURN_AROUND = 1.0
# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_QUEUED, _CONNECTING, _CONNECTED, _DISPLACED, _RELEASED = Stage
_STICKY = Reason.STICKY


class Balancer:
    """The decisions of one backend. For the loop's thread alone.

    Every placement that :meth:`route` returns is given to :meth:`release` once, whatever became of
    it; until then it counts as a session. A method that takes a name raises ConfigError for one
    that is no server's, except for the result of a check, which may come late.

    Attributes:
        name: The backend's name.
        counters: What happened at no server.
        states: Name -> state of a server, in the order of the configuration; to be read only.
    """

    __slots__ = ("_memory", "_places", "_policy", "_retry", "_roster", "counters", "name", "states")

    def __init__(
        self,
        backend: Backend,
        tables: Mapping[str, StickTable],
        policy: Policy,
        now: float = 0.0,
    ) -> None:
        """Make the balancer of a backend.

        A server that tracks another one is up until :meth:`follow` says whom.

        Args:
            backend: Its configuration.
            tables: Name of a backend -> its stick table, for those that ``stick`` names.
            policy: What :func:`dsbalance.policy.make_policy` gives, or any other.
            now: Monotonic seconds at the start.

        Raises:
            ConfigError: A ``stick`` rule names a table that is not there.
        """
        self.name = backend.name
        self.counters = BackendCounters()
        self._roster = Roster(backend, self.counters, now)
        self._places = Places(self.counters)
        self.states: Mapping[str, ServerState] = self._roster.states
        self._policy = guarded(policy, backend)
        self._memory = _Memory(backend, tables)
        is_hash = isinstance(self._policy, SourceConsistent | SourceMap)
        self._retry = _RetryRule(backend, is_hash=is_hash)

    @property
    def backend(self) -> Backend:
        """The configuration, with the servers that there are now."""
        return self._roster.backend

    @property
    def candidates(self) -> Candidates:
        """Those that the policy chooses from now."""
        return self._roster.candidates

    # -- a session, from its arrival to its end

    def route(self, client: Client, now: float) -> Placement:
        """Decide where a new session goes; it may connect now, unless it ``is_queued``.

        Raises:
            NoServerError: Nothing is usable. There is no placement then, so nothing to release.
        """
        counters, placement = self.counters, Placement(client)
        counters.total += 1
        state = self._memory.recall(client, self.states, now)
        if state is None:
            self._place(placement, None)
        else:
            placement.is_persistent = True
            placement.reason = _STICKY
            self._places.assign(placement, state)
        counters.current += 1
        if counters.current > counters.peak:  # noqa: PLR1730 -- max() takes three times as long
            counters.peak = counters.current
        return placement

    def failed(self, placement: Placement, cause: Failure, now: float) -> Retry | None:
        """Decide what follows a failed attempt.

        The same server is tried again after a pause, unless ``option redispatch`` sends the
        session elsewhere: when its server stopped running, at every Nth retry, and at once when a
        policy that does not hash chose among several servers. After a timeout there is no pause,
        after a LOCAL failure no retry.

        Args:
            placement: It was connecting.
            cause: Why it failed.
            now: Monotonic seconds.

        Returns:
            None: it is given up. It keeps its place until the caller releases it.
        """
        state = placement.server
        assert state is not None
        assert placement.stage is _CONNECTING
        if cause is Failure.LOCAL:
            self.counters.connect_errors += 1
            return None
        placement.tries += 1
        rule, active = self._retry, self._roster.active
        if placement.tries > rule.limit:
            state.counters.connect_errors += 1
            return None
        is_moving = rule.is_moving(placement, state, active)
        delay = rule.delay(cause, is_moving, active)
        if is_moving:
            return self._redispatch(placement, state, delay)
        state.counters.retries += 1
        state.counters.total += 1
        return Retry(placement=placement, delay=delay)

    def connected(self, placement: Placement, now: float) -> None:
        """Remember where a client went, and keep its entries from expiring until it is released."""
        placement.stage = _CONNECTED
        self._memory.keep(placement, now)

    def release(self, placement: Placement, now: float) -> list[Placement]:
        """Free what a session holds; a second call does nothing.

        O(those before it) for one that waits.

        Returns:
            Whoever has got its place, and may connect now: one session or none.
        """
        stage = placement.stage
        if stage is _RELEASED:
            return []
        self.counters.current -= 1
        if stage is _QUEUED:
            self._places.withdraw(placement)
        placement.stage = _RELEASED
        for table, key in placement.held:
            table.release(key, now)
        state = placement.server
        if state is None or placement not in state.placements:
            return []
        return [*self._places.vacate(placement, state, self._roster.candidates)]

    def reroute(self, placement: Placement, now: float) -> None:
        """Decide anew for one of :attr:`Change.requeued`, as :meth:`route` does without a table.

        Raises:
            NoServerError: Nothing is usable; the placement is still to be released.
        """
        assert placement.stage is _DISPLACED
        self._place(placement, None)

    # -- a server, as the outside sees it

    def check_passed(self, name: str, now: float, reason: str = "") -> list[Change]:
        """Take in a passed check, unless the server is gone or in maintenance.

        ``reason`` is what the check came to, in words.
        """
        return self._carry_out(self._roster.check_passed(name, now, reason), now)

    def check_failed(self, name: str, now: float, reason: str = "") -> list[Change]:
        """Take in a failed check, likewise."""
        return self._carry_out(self._roster.check_failed(name, now, reason), now)

    def set_health(self, name: str, *, is_up: bool, now: float) -> list[Change]:
        """Take a server to be up or down until its checks say otherwise.

        Raises:
            ConfigError: It tracks another one.
        """
        return self._carry_out(self._roster.set_health(name, is_up, now), now)

    def set_admin(self, name: str, admin: AdminState, now: float) -> list[Change]:
        """Make a server ready, drain it, or take it into maintenance.

        One that leaves maintenance is up, and a single failed check takes it down.
        """
        return self._carry_out(self._roster.set_admin(name, admin, now), now)

    def set_weight(self, name: str, weight: int, now: float) -> list[Change]:
        """Give a server another weight; at 0 it keeps the clients that stick to it.

        Raises:
            ConfigError: The weight is not from 0 to 256.
        """
        return self._carry_out(self._roster.set_weight(name, weight, now), now)

    def add_server(
        self, server: Server, now: float, leader: ServerState | None = None
    ) -> list[Change]:
        """Add a server behind the others; without an ``id`` it gets the lowest that is free.

        ``leader`` is what it tracks; see :meth:`follow`.

        Raises:
            ConfigError: Its name or id is taken.
        """
        return self._carry_out(self._roster.add(server, now, leader), now)

    def remove_server(self, name: str, now: float) -> list[Change]:
        """Remove a server; the sessions that have a place there go on until they end."""
        return self._carry_out(self._roster.remove(name, now), now)

    def follow(self, name: str, leader: ServerState) -> None:
        """Let a server with ``track`` share the health of its leader, and what is asked of that.

        To be called before the first session. :meth:`leader_changed` is to be called for each
        change of the leader.
        """
        self._roster.follow(name, leader)

    def leader_changed(self, name: str, now: float) -> list[Change]:
        """Take in that the health of a server's leader changed, or what is asked of it."""
        return self._carry_out(self._roster.leader_changed(name, now), now)

    # -- what there is to know

    def take_complaint(self) -> str | None:
        """Return what went wrong last with a policy of the user's own; None: nothing since."""
        return self._policy.take_complaint() if isinstance(self._policy, Guarded) else None

    def snapshot(self, now: float) -> BackendSnapshot:
        """Return what there is to know at ``now``."""
        return self._roster.snapshot(len(self._places.shared), now)

    def _check(self) -> None:
        """Assert everything that has to be true between two calls."""
        self._roster.check()
        self._places.check()
        known = sum(len(s.placements) + len(s.queue) for s in self.states.values())
        assert known + len(self._places.shared) <= self.counters.current <= self.counters.peak

    # -- decisions

    def _place(self, placement: Placement, avoid: Server | None) -> None:
        """Let the policy decide, and give the session a place or a turn accordingly."""
        candidates = self._roster.candidates
        if not candidates.servers:
            self.counters.connect_errors += 1
            raise NoServerError(self.name, self._roster.complaint())
        policy = self._policy
        server = policy.choose(placement.client, candidates, avoid)
        placement.reason = Reason.BACKUP if candidates.is_backup else policy.reason
        if server is None:
            self._places.wait(placement)
            return
        state = self.states[server.name]
        if state is not placement.server:
            state.counters.chosen += 1
        self._places.assign(placement, state)

    def _redispatch(self, placement: Placement, state: ServerState, delay: float) -> Retry | None:
        """Let the policy decide once more; None: there is nobody to choose from."""
        if not self._roster.candidates.servers:
            self.counters.connect_errors += 1
            return None
        # First those who wait for this server; whoever left it stands behind them.
        admitted = self._places.vacate(placement, state, self._roster.candidates)
        placement.is_persistent = False
        self._place(placement, state.server)
        # A policy may insist on the same server; HAProxy counts that as a retry, and so do we.
        if placement.server is state:
            state.counters.retries += 1
        else:
            state.counters.redispatches += 1
            placement.reason = Reason.REDISPATCH
        delay = 0.0 if placement.is_queued else delay
        return Retry(placement=placement, delay=delay, admitted=admitted)

    def _carry_out(self, shift: Shift | None, now: float) -> list[Change]:
        """Decide what a change of a server means for the sessions."""
        if shift is None:
            return []
        state = shift.state
        places = self._places
        if state.is_usable:
            places.touch(state)
        is_dissolved = _is_dissolved(shift, self.backend.redispatch)
        requeued = places.dissolve(state) if is_dissolved else ()
        admitted = tuple(places.admit(self._policy, self._roster.candidates, self.states))
        return [
            Change(
                backend=self.name,
                server=state.name,
                old=shift.old,
                new=state.word,
                reason=shift.reason,
                now=now,
                shutdown=_shutdown(shift),
                requeued=requeued,
                admitted=admitted,
                active=self._roster.active,
                backups=self._roster.backups,
                sessions=len(state.placements),
                queued=len(places.shared) + len(state.queue),
                is_outage=shift.was_usable and not self._roster.candidates.servers,
            )
        ]


class _Memory:
    """The ``stick`` rules of a backend, on the tables that they name.

    A second rule for a table adds nothing: it would match the same entry, or store the same server.
    """

    __slots__ = ("_held", "_matched")

    def __init__(self, backend: Backend, tables: Mapping[str, StickTable]) -> None:
        matched: dict[StickTable, None] = {}
        held: dict[StickTable, bool] = {}
        for rule in backend.stick:
            name = backend.name if rule.table is None else rule.table
            if name not in tables:
                message = f"stick: {name!r} has no stick-table"
                raise ConfigError(Problem(message, subject=f"backend {backend.name}"))
            table = tables[name]
            if rule.action is not StickAction.STORE_REQUEST:
                matched[table] = None
            held[table] = held.get(table, False) or rule.action is not StickAction.MATCH
        self._matched = tuple(matched)
        self._held = tuple(held.items())

    def recall(
        self, client: Client, states: Mapping[str, ServerState], now: float
    ) -> ServerState | None:
        """Return the server of the first entry whose server may take the client; None: decide."""
        for table in self._matched:
            packed = client.packed
            key = packed if len(packed) == 4 else table.normalise(packed)
            name = None if key is None else table.match(key, now)
            state = None if name is None else states.get(name)
            if state is not None and state.is_running:
                return state
        return None

    def keep(self, placement: Placement, now: float) -> None:
        """Store where a session went, and hold its entries until it is released."""
        packed = placement.client.packed
        assert placement.server is not None
        server = placement.server.server
        for table, is_stored in self._held:
            key = packed if len(packed) == 4 else table.normalise(packed)
            if key is None:
                continue
            is_written = is_stored and not server.non_stick
            name = server.name if is_written else table.peek(key, now)
            if name is not None and table.keep(key, name, now):
                placement.held += ((table, key),)


class _RetryRule:
    """``retries`` and ``option redispatch``.

    Attributes:
        limit: Retries at the most.
    """

    __slots__ = ("_is_hash", "_is_on", "_pause", "_step", "limit")

    def __init__(self, backend: Backend, *, is_hash: bool) -> None:
        self.limit = backend.retries
        self._is_hash = is_hash
        self._is_on = backend.redispatch != 0
        self._pause = min(_TURN_AROUND, backend.timeout_connect or _TURN_AROUND)
        # A negative interval counts back from the last retry; beyond the first, it is every one.
        step = backend.redispatch if backend.redispatch > 0 else self.limit + 1 + backend.redispatch
        self._step = max(1, step)

    def is_moving(self, placement: Placement, state: ServerState, active: int) -> bool:
        """Whether the next retry goes elsewhere; ``tries`` is its number, from 1."""
        if not self._is_on:
            return False
        if not state.is_running or placement.tries % self._step == 0:
            return True
        return not (placement.is_persistent or self._is_hash) and active > 1

    def delay(self, cause: Failure, is_moving: bool, active: int) -> float:
        """Return the pause before it: none after a timeout, which was one, nor if others remain."""
        is_waiting = cause is Failure.REFUSED and not (is_moving and active > 1)
        return self._pause if is_waiting else 0.0


def _is_dissolved(shift: Shift, redispatch: int) -> bool:
    """Whether those who wait for the server are to be decided anew."""
    state = shift.state
    # HAProxy lets those go who wait for a server that is drained, if a redispatch is allowed.
    is_drained = shift.was_usable and not state.is_usable and state.word == "DRAIN"
    return not state.is_running or (is_drained and redispatch != 0)


def _shutdown(shift: Shift) -> tuple[Placement, ...]:
    """Return the sessions to close; a server that was removed keeps its own."""
    state = shift.state
    is_marked_down = shift.was_running and not state.is_running and state.word
    return tuple(state.placements) if is_marked_down and state.server.shutdown_on_down else ()
