"""Who gets which server: one backend's decisions, from a client's arrival to its end. No I/O.

    called when                   decides
    route: a client came          where it goes: stick entry, policy, backups, or a queue
    failed: an attempt failed     what follows: the same server again, another one, or nothing
    connected: one succeeded      what the stick tables remember
    release: a session ended      who gets the place: whoever waited longest
    check_passed and the others:  what follows for the sessions: closed, decided anew, let in
      a server changed
    step: a second went by        what those may carry that start slowly

A backend has two kinds of queue. Who must go to one server, because an entry or a hash says so,
waits in that server's queue when it is full. Who may go to any waits in the backend's queue when
all are full. A place that becomes free goes to whoever came first of the two.

Each decision carries its reason. What the methods return has to be carried out by the caller; they
start and close nothing themselves. All of them are for the loop's thread alone.

Sources: the HAProxy 2.6 manual, ``stick match``, ``retries``, ``option redispatch``, ``maxconn``,
``maxqueue``, ``option allbackups``, ``observe`` and ``on-marked-up``; what it leaves open was
observed on HAProxy 2.6.12. In one thing we differ: HAProxy lets those who wait for a server that
went down wait on unless ``option redispatch`` is given; here they are always decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping

from dsbalance.aftermath import Aftermath, Alarm
from dsbalance.candidates import Candidates, Client, Policy, Reason
from dsbalance.choosing import Chooser, make_policies
from dsbalance.counters import BackendCounters
from dsbalance.errors import NoServerError
from dsbalance.hashing import SourceConsistent, SourceMap
from dsbalance.memory import Memory
from dsbalance.model import Backend, Server
from dsbalance.pictures import NOWHERE, picture_backend
from dsbalance.placement import (
    AdminState,
    Change,
    Crowd,
    Failure,
    Health,
    Placement,
    Retry,
    ServerState,
    Stage,
)
from dsbalance.policy import BuiltIn, Guarded
from dsbalance.queueing import Places
from dsbalance.resting import Rest
from dsbalance.retrying import RetryRule
from dsbalance.roster import Roster
from dsbalance.settings import Settings
from dsbalance.stats import BackendSnapshot
from dsbalance.sticky import StickTable
from dsbalance.turns import StaticRoundRobin

__all__ = [
    "AdminState",
    "Balancer",
    "Change",
    "Failure",
    "Health",
    "Placement",
    "Retry",
    "ServerState",
    "Stage",
]

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_QUEUED, _CONNECTING, _CONNECTED, _RESTING, _DISPLACED, _RELEASED = Stage
_STICKY = Reason.STICKY


class Balancer:
    """The decisions of one backend. For the loop's thread alone.

    Every placement that :meth:`route` returns is given to :meth:`release` once, whatever became of
    it; until then it counts as a session. A method that takes a name raises ConfigError for one
    that is no server's, except for the result of a check, which may come late.

    Attributes:
        name: The backend's name.
        counters: What happened at no server.
        memory: What the stick tables know; to be read only.
        rest: For sessions with nothing to do for now.
        settings: What an operator may set besides states and weights.
        states: Name -> state of a server, in the order of the configuration; to be read only.
    """

    __slots__ = (
        *("_aftermath", "_chooser", "_places", "_retry", "_roster"),
        *("counters", "memory", "name", "rest", "settings", "states"),
    )

    def __init__(
        self,
        backend: Backend,
        tables: Mapping[str, StickTable],
        policy: Policy | None = None,
        now: float = 0.0,
        fullconn: int = 1,
    ) -> None:
        """Make the balancer of a backend.

        A server that tracks another one is up until :meth:`follow` says whom.

        Args:
            backend: Its configuration.
            tables: Name of a backend -> its stick table, for those that ``stick`` names.
            policy: One of the user's own; None: what ``balance`` says.
            now: Monotonic seconds at the start.
            fullconn: That of the backend where it has none itself; see ``minconn``.

        Raises:
            ConfigError: A ``stick`` rule names a table that is not there.
        """
        self.name = backend.name
        self.counters = BackendCounters()
        policies = make_policies(backend, policy)
        is_static = isinstance(policies[0], SourceMap | StaticRoundRobin)
        crowd = Crowd(self.counters, backend.fullconn or fullconn, is_static=is_static)
        self.memory = Memory(backend, tables)
        self._roster = Roster(backend, crowd, now, self.memory.count)
        self._places = Places(self.counters)
        self.states: Mapping[str, ServerState] = self._roster.states
        self.memory.register(self.states.values())
        self.rest = Rest(self.memory, self._places, self._roster, self.counters)
        self._chooser = Chooser(policies, self._roster, self._places)
        self.settings = Settings(self._roster, self._places, self.memory)
        is_hash = isinstance(policies[0], SourceConsistent | SourceMap)
        self._retry = RetryRule(backend, is_hash=is_hash)
        self._aftermath = Aftermath(self._roster, self._places, self._chooser)
        self._chooser.adapt()

    @property
    def backend(self) -> Backend:
        """The configuration, with the servers that there are now."""
        return self._roster.backend

    @property
    def candidates(self) -> Candidates:
        """Those that the policy chooses from now."""
        return self._roster.candidates

    @property
    def policy(self) -> BuiltIn | Guarded:
        """What would choose now."""
        return self._chooser.policies[self.candidates.is_backup]

    # -- a session, from its arrival to its end

    def route(self, client: Client, now: float) -> Placement:
        """Decide where a new session goes; it may connect now, unless it ``is_queued``.

        Raises:
            NoServerError: Nothing is usable. There is no placement then, so nothing to release.
        """
        counters, placement = self.counters, Placement(client)
        # Before the decision, which may depend on how many there are.
        counters.enter()
        state = self.memory.recall(client, now)
        try:
            if state is None:
                self._chooser.place(placement, None)
            else:
                placement.is_persistent = True
                placement.reason = _STICKY
                if not self._places.assign(placement, state):
                    self._chooser.overflow(placement, state)
        except NoServerError:
            counters.current -= 1
            raise
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
        if state.server.observe is not None:
            self._aftermath.observe(state, now)
        rule, usable = self._retry, len(self._roster.candidates)
        if placement.tries > rule.limit:
            state.counters.connect_errors += 1
            return None
        is_moving = rule.is_moving(placement, state, usable)
        delay = rule.delay(cause, is_moving, usable)
        if is_moving:
            return self._chooser.redispatch(placement, state, delay)
        state.counters.retries += 1
        state.counters.total += 1
        return Retry(placement=placement, delay=delay)

    def connected(self, placement: Placement, now: float) -> None:
        """Remember where a client went, and keep its entries from expiring until it is released."""
        placement.stage = _CONNECTED
        assert placement.server is not None
        placement.server.errors = 0
        self.memory.keep(placement, now)

    def release(self, placement: Placement, now: float) -> list[Placement]:
        """Free what a session holds; a second call does nothing.

        O(those before it) for one that waits.

        Returns:
            Whoever has got its place, and may connect now: one session or none, or several if the
            server may carry more than before.
        """
        stage = placement.stage
        if stage is _RELEASED:
            return []
        placement.stage = _RELEASED
        for table, key in placement.held:
            table.release(key, now)
        heirs = placement.heirs
        places, state = self._places, placement.server
        if state is not None and placement in state.placements:
            # Whoever leaves counts still, as in HAProxy, where a limit depends on their number.
            heirs = places.vacate(placement, state, self._roster.candidates)
        if stage is not _RESTING:
            self.counters.current -= 1
        if stage is _QUEUED:
            places.withdraw(placement)
            heirs = () if state is None else places.admit(state, self._roster.candidates)
        return [*heirs]

    def reroute(self, placement: Placement, now: float) -> None:
        """Decide anew for a placement that is DISPLACED, as :meth:`route` does without a table.

        It is one of :attr:`Change.requeued`, or of a :class:`Retry` whose delay is over.

        Raises:
            NoServerError: Nothing is usable; the placement is still to be released.
        """
        assert placement.stage is _DISPLACED
        self._chooser.move(placement)

    # -- a server, as the outside sees it

    def check_passed(self, name: str, now: float, reason: str = "") -> list[Change]:
        """Take in a passed check, unless the server is gone or in maintenance.

        ``reason`` is what the check came to, in words.
        """
        return self._aftermath.of(self._roster.check_passed(name, now, reason), now)

    def check_failed(self, name: str, now: float, reason: str = "") -> list[Change]:
        """Take in a failed check, likewise."""
        return self._aftermath.of(self._roster.check_failed(name, now, reason), now)

    def take_alarm(self, now: float) -> Alarm | None:
        """Return what failed attempts have come to since the last call; None: nothing.

        To be called after each :meth:`failed`: by then the session has been decided, for which its
        server may have gone down already.
        """
        return self._aftermath.take_alarm(now)

    def set_health(self, name: str, health: Health, now: float) -> list[Change]:
        """Take a server to be up, stopping or down until its checks say otherwise.

        Raises:
            ConfigError: It tracks another one.
        """
        return self._aftermath.of(self._roster.set_health(name, health, now), now)

    def set_admin(self, name: str, admin: AdminState, now: float) -> list[Change]:
        """Make a server ready, drain it, or take it into maintenance.

        One that leaves maintenance is up, and a single failed check takes it down.
        """
        return self._aftermath.of(self._roster.set_admin(name, admin, now), now)

    def set_weight(self, name: str, weight: int, now: float) -> list[Change]:
        """Give a server another weight; at 0 it keeps the clients that stick to it.

        Raises:
            ConfigError: The weight is not from 0 to 256.
        """
        return self._aftermath.of(self._roster.set_weight(name, weight, now), now)

    def step(self, now: float, elapsed: float = 1.0) -> tuple[Placement, ...]:
        """Look at all totals, and let those that start slowly carry more: once a second.

        Args:
            now: Monotonic seconds.
            elapsed: Since the last time.

        Returns:
            Sessions that have got a place by it, and may connect now.
        """
        self._roster.look(now, elapsed)
        slow = self._roster.step(now)
        if not slow:
            return ()
        for state, is_grown in slow.items():
            if is_grown and state.is_usable:
                self._places.touch(state)
        self._chooser.adapt()
        candidates = self._roster.candidates
        return tuple(heir for state in slow for heir in self._places.admit(state, candidates))

    def add_server(
        self, server: Server, now: float, leader: ServerState | None = None
    ) -> list[Change]:
        """Add a server behind the others; without an ``id`` it gets the lowest that is free.

        ``leader`` is what it tracks; see :meth:`follow`.

        Raises:
            ConfigError: Its name or id is taken.
        """
        shift = self._roster.add(server, now, leader)
        self.memory.register([shift.state])
        return self._aftermath.of(shift, now)

    def remove_server(self, name: str, now: float) -> list[Change]:
        """Remove a server; the sessions that have a place there go on until they end."""
        shift = self._roster.remove(name, now)
        self.memory.forget(shift.state)
        return self._aftermath.of(shift, now)

    def follow(self, name: str, leader: ServerState) -> None:
        """Let a server with ``track`` share the health of its leader, and what is asked of that.

        To be called before the first session. :meth:`leader_changed` is to be called for each
        change of the leader.
        """
        self._roster.follow(name, leader)
        self._chooser.adapt()

    def leader_changed(self, name: str, now: float) -> list[Change]:
        """Take in that the health of a server's leader changed, or what is asked of it."""
        return self._aftermath.of(self._roster.leader_changed(name, now), now)

    # -- what there is to know

    def take_complaint(self) -> str | None:
        """Return what went wrong last with a policy of the user's own; None: nothing since."""
        return self._chooser.take_complaint()

    def snapshot(
        self, now: float, number: int = 0, addresses: Mapping[str, str] = NOWHERE
    ) -> BackendSnapshot:
        """Return what there is to know; see :func:`dsbalance.pictures.picture_backend`."""
        return picture_backend(self._roster, len(self._places.shared), now, number, addresses)

    def _check(self) -> None:
        """Assert everything that has to be true between two calls."""
        self._roster.check()
        self._places.check()
        self._chooser.check()
        known = sum(len(s.placements) + len(s.queue) for s in self.states.values())
        assert known + len(self._places.shared) <= self.counters.current
