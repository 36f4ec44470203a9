"""Which servers a backend has, and which of them take new clients. No I/O, no clock.

    usable servers                         those who are chosen from (``option allbackups``)
    one or more that are no backups        they alone
    backups alone                          the first of them (all of them)
    none                                   nobody

Whoever changes a server here learns by a :class:`Shift` what it was before; what follows for the
sessions is the balancer's to decide.

Source: the HAProxy 2.6 manual, server ``backup`` and ``option allbackups``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import NamedTuple

from dsbalance.candidates import Candidates
from dsbalance.counters import BackendCounters, clear
from dsbalance.errors import ConfigError, Problem
from dsbalance.hashring import assign_ids
from dsbalance.model import Backend, Server
from dsbalance.placement import AdminState, Crowd, Health, OpState, ServerState

# What a backend sums up from its servers.
_SUMMED = (
    "bytes_in",
    "bytes_out",
    "chosen",
    "client_aborts",
    "connect_errors",
    "connects",
    "errors",
    "redispatches",
    "response_errors",
    "responses_denied",
    "retries",
    "reuses",
    "server_aborts",
)
# Of these the backend counts those that happened at no server.
_ADDED = ("bytes_in", "bytes_out", "connect_errors")


class Shift(NamedTuple):
    """What a server was before something changed; its state says what it is now.

    Attributes:
        state: The server's.
        reason: Why, in words.
        old: Its word; see :class:`dsbalance.placement.Change`.
        op: What it did.
        was_usable: Whether it was usable.
    """

    state: ServerState
    reason: str
    old: str
    op: OpState
    was_usable: bool

    @property
    def was_running(self) -> bool:
        """Whether it took the clients that stick to it."""
        return self.op is not OpState.STOPPED


class Roster:
    """The servers of one backend. For the loop's thread alone.

    The methods that change a server return None when that makes no difference to anybody, and
    raise ConfigError for a name that is not there. Each costs O(servers).

    Attributes:
        backend: The configuration, with the servers that there are now.
        states: Name -> state, in the order of the configuration; always the same dict.
        pools: The usable servers that are no backups, and those that are.
        candidates: Who is chosen from: one of the pools, or the first backup alone.
        active: How many usable servers are no backups.
        backups: How many are.
        counters: The backend's.
        crowd: What the limits of all servers depend on.
        since: When the backend last went up or down, or the start.
    """

    __slots__ = (
        *("_clients", "_past", "_past_downtime", "_removed", "active", "backend"),
        *("backups", "candidates", "counters", "crowd", "pools", "since", "states"),
    )

    def __init__(
        self, backend: Backend, crowd: Crowd, now: float, clients: Callable[[str], int]
    ) -> None:
        """Begin with the servers of the configuration.

        ``clients`` is what :meth:`dsbalance.candidates.Candidates.clients` asks.
        """
        self.backend = backend
        self.counters: BackendCounters = crowd.counters
        self.crowd = crowd
        self._clients = clients
        ids = assign_ids([server.id for server in backend.servers])
        self.states = {
            server.name: ServerState(server, number, now, crowd)
            for server, number in zip(backend.servers, ids, strict=True)
        }
        self._removed: list[ServerState] = []
        self._past = dict.fromkeys(_SUMMED, 0)
        self._past_downtime = 0.0
        self.since = now
        self.active = self.backups = 0
        self.pools = (Candidates(()), Candidates((), is_backup=True))
        self.candidates = self.pools[0]
        self._begin()

    # -- changes

    def check_passed(self, name: str, now: float, reason: str) -> Shift | None:
        """Count a passed check, unless the server is gone or in maintenance."""
        state = self.states.get(name)
        if state is None or state.is_in_maintenance:
            return None
        state.errors = 0
        return self._settle(state, reason, now) if state.gate.passed() else None

    def check_failed(self, name: str, now: float, reason: str) -> Shift | None:
        """Count a failed check, unless the server is gone or in maintenance."""
        state = self.states.get(name)
        if state is None or state.is_in_maintenance:
            return None
        state.counters.check_failures += state.gate.is_up
        return self._settle(state, reason, now) if state.gate.failed() else None

    def attempt_failed(self, state: ServerState, now: float) -> tuple[bool, Shift | None]:
        """Count a failed attempt to connect of a server that is observed.

        Returns:
            Whether there were so many that it has to be checked soon, and what follows at once.
        """
        observe = state.server.observe
        assert observe is not None
        state.errors += 1
        if state.errors < observe.error_limit or not state.is_running:
            return False, None
        state.errors = 0
        state.counters.alarms += 1
        reason = f"{observe.error_limit} failed connects in a row"
        is_changed = state.gate.alarmed(observe.on_error)
        return True, self._settle(state, reason, now) if is_changed else None

    def set_health(self, name: str, health: Health, now: float) -> Shift | None:
        """Take a server that tracks nobody to be up, stopping, or down."""
        state = self.find(name)
        if state.leader is not None:
            raise ConfigError(self.problem(name, f"its health is that of {state.server.track}"))
        gate = state.gate
        change = {
            Health.UP: gate.set_up,
            Health.STOPPING: gate.set_stopping,
            Health.DOWN: gate.set_down,
        }[health]
        return self._settle(state, f"health set to {health}", now) if change() else None

    def set_admin(self, name: str, admin: AdminState, now: float) -> Shift | None:
        """Ask something of a server; one that leaves maintenance is up."""
        state = self.find(name)
        if AdminState.MAINT is state.admin is not admin and state.leader is None:
            state.gate.reset()
        if state.admin is not admin:
            state.admin = admin
            state.begin_again(now)
        return self._settle(state, f"set to {admin}", now)

    def set_weight(self, name: str, weight: int, now: float) -> Shift | None:
        """Give a server another weight."""
        state = self.find(name)
        before = state.server.weight
        if weight == before:
            return None
        state.server = replace(state.server, weight=weight)
        return self._settle(state, f"weight {before} -> {weight}", now, is_told=True)

    def step(self, now: float) -> dict[ServerState, bool]:
        """Let those that start slowly carry more; return whether the share of each has changed."""
        slow = [state for state in self.states.values() if state.op is OpState.STARTING]
        grown = {state: state.step(now) for state in slow}
        if any(grown.values()):
            self.regroup(now)
        return grown

    def add(self, server: Server, now: float, leader: ServerState | None) -> Shift:
        """Add a server behind the others."""
        backend = replace(self.backend, servers=(*self.backend.servers, server))
        used = {state.id for state in self.states.values()}
        if server.id in used:
            raise ConfigError(self.problem(server.name, f"id {server.id} is taken"))
        number = server.id or next(n for n in range(1, len(used) + 2) if n not in used)
        self.backend = backend
        state = self.states[server.name] = ServerState(server, number, now, self.crowd)
        if leader is not None:
            state.follow(leader, now)
        self.regroup(now)
        return Shift(state, "added", "", OpState.STOPPED, was_usable=False)

    def remove(self, name: str, now: float) -> Shift:
        """Forget a server, whose counters still count for the backend."""
        state = self.find(name)
        del self.states[name]
        servers = tuple(server for server in self.backend.servers if server.name != name)
        self.backend = replace(self.backend, servers=servers)
        self._fold()
        self._removed.append(state)
        shift = Shift(state, "removed", state.word, state.op, state.is_usable)
        state.retire()
        self.regroup(now)
        return shift

    def follow(self, name: str, leader: ServerState) -> None:
        """Let a server track another one from the start."""
        state = self.find(name)
        state.follow(leader, state.since)
        self._begin()

    def leader_changed(self, name: str, now: float) -> Shift | None:
        """Take over what changed at the server that it tracks."""
        state = self.find(name)
        assert state.leader is not None
        if state.inherited is not state.leader.admin:
            state.inherited = state.leader.admin
            state.begin_again(now)
        return self._settle(state, f"via {state.server.track}", now)

    # -- what there is to know

    def find(self, name: str) -> ServerState:
        """Return a server."""
        state = self.states.get(name)
        if state is None:
            message = f"there is no server {name!r}"
            raise ConfigError(Problem(message, subject=f"backend {self.backend.name}"))
        return state

    def problem(self, name: str, message: str) -> Problem:
        """Return what is wrong with a server, for an error."""
        return Problem(message, subject=f"backend {self.backend.name}, server {name}")

    @property
    def is_up(self) -> bool:
        """Whether somebody may be chosen from, or nobody ever could."""
        return bool(self.candidates.servers or not self.states)

    def downtime(self, now: float) -> float:
        """Return how many seconds it was not up until ``now``, all in all."""
        return self._past_downtime + (0.0 if self.is_up else now - self.since)

    def sums(self) -> dict[str, int]:
        """Return what happened at all servers, removed ones too, and at none. O(servers)."""
        sums = self._past.copy()
        for state in (*self.states.values(), *self._removed):
            _add(sums, state)
        for word in _ADDED:
            sums[word] += getattr(self.counters, word)
        return sums

    def clear(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""
        clear(self.counters, is_all=is_all)
        for state in (*self.states.values(), *self._removed):
            clear(state.counters, is_all=is_all)
            state.past_downtime *= not is_all
        if is_all:
            self._past = dict.fromkeys(_SUMMED, 0)
            self._past_downtime = 0.0

    def look(self, now: float, elapsed: float) -> None:
        """Look at all totals; to be called once a second."""
        self.counters.step(now, elapsed)
        for state in self.states.values():
            state.counters.step(now, elapsed)

    def check(self) -> None:
        """Assert what has to be true of the servers between two calls."""
        usable = [state.server for state in self.states.values() if state.is_usable]
        for pool, is_backup in zip(self.pools, (False, True), strict=True):
            assert pool.servers == tuple(s for s in usable if s.backup is is_backup)
            assert pool.shares == {s.name: self.states[s.name].share for s in pool}
        assert (self.active, self.backups) == tuple(map(len, self.pools))
        active, backups = (pool.servers for pool in self.pools)
        rest = backups if self.backend.allbackups else backups[:1]
        assert self.candidates.servers == (active or rest)
        assert self.candidates.is_backup is (bool(backups) and not active)
        assert list(self.states) == [server.name for server in self.backend.servers]
        assert len({state.id for state in self.states.values()}) == len(self.states)
        for state in (*self.states.values(), *self._removed):
            state.check()

    # -- how it follows

    def _settle(
        self, state: ServerState, reason: str, now: float, *, is_told: bool = False
    ) -> Shift | None:
        """Work out what follows from a change; ``is_told``: even if the word stays the same."""
        shift = Shift(state, reason, state.word, state.op, state.is_usable)
        state.settle(now)
        if state.word == shift.old and not is_told:
            return None
        if state.word != shift.old:
            state.since = now
            state.reason = reason
        if shift.was_running and not state.is_running:
            state.counters.downs += 1
        self.regroup(now)
        return shift

    def _begin(self) -> None:
        """Work out what follows from the servers as they are before the first session."""
        self.regroup(None)
        for pool in self.pools:
            starts = accumulate(pool.shares.values(), initial=0)
            for name, before in zip(pool.shares, starts, strict=False):
                self.states[name].before = before

    def regroup(self, now: float | None) -> None:
        """Choose anew who is chosen from; None: it is before the start, where nothing is lost."""
        usable = [state for state in self.states.values() if state.is_usable]
        active, backups = self.pools
        active = self._renewed(active, [state for state in usable if not state.server.backup])
        backups = self._renewed(backups, [state for state in usable if state.server.backup])
        self.pools = active, backups
        self.active, self.backups = len(active), len(backups)
        old = self.candidates
        if active.servers or not backups.servers:
            self.candidates = active
        elif self.backend.allbackups:
            self.candidates = backups
        else:
            first = self.states[backups.servers[0].name]
            self.candidates = self._renewed(old if old.is_backup else backups, [first])
        if now is not None and bool(old.servers) is not bool(self.candidates.servers):
            self._past_downtime += 0.0 if old.servers else now - self.since
            self.since = now
            self.counters.downs += bool(old.servers)

    def _renewed(self, pool: Candidates, states: Sequence[ServerState]) -> Candidates:
        """Return ``pool`` if it offers these servers as they are, else one that does."""
        servers = tuple(state.server for state in states)
        shares = {state.name: state.share for state in states}
        weights = tuple(state.initial_weight for state in self.states.values())
        # Policies work from an object for as long as it is the same one.
        if (servers, shares, weights) == (pool.servers, pool.shares, pool.weights):
            return pool
        return Candidates(
            servers,
            ids={state.name: state.id for state in states},
            loads=self.states,
            weights=weights,
            clients=self._clients,
            is_backup=pool.is_backup,
        )

    def _fold(self) -> None:
        """Drop those that were removed and whose last session has ended; their counts stay."""
        for state in self._removed:
            if not state.placements:
                _add(self._past, state)
        self._removed = [state for state in self._removed if state.placements]


def complaint(states: Iterable[ServerState]) -> str:
    """Return why none of these servers is chosen from, in words for a log line."""
    words = Counter(
        state.word if state.server.weight or not state.is_running else "of weight 0"
        for state in states
    )
    if not words:
        return "there is no server"
    return "no server is usable: " + ", ".join(f"{n} {word}" for word, n in words.items())


def _add(sums: dict[str, int], state: ServerState) -> None:
    for word in _SUMMED:
        sums[word] += getattr(state.counters, word)
