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
from dataclasses import replace
from typing import NamedTuple

from dsbalance.errors import ConfigError, Problem
from dsbalance.hashring import assign_ids
from dsbalance.model import Backend, Server
from dsbalance.placement import AdminState, ServerState
from dsbalance.policy import Candidates
from dsbalance.stats import BackendCounters, BackendSnapshot

# What a backend sums up from its servers.
_SUMMED = (
    "bytes_in",
    "bytes_out",
    "chosen",
    "client_aborts",
    "connect_errors",
    "redispatches",
    "retries",
    "server_aborts",
)


class Shift(NamedTuple):
    """What a server was before something changed; its state says what it is now.

    Attributes:
        state: The server's.
        reason: Why, in words.
        old: Its word; see :class:`dsbalance.placement.Change`.
        was_running: Whether it was running.
        was_usable: Whether it was usable.
    """

    state: ServerState
    reason: str
    old: str
    was_running: bool
    was_usable: bool


class Roster:
    """The servers of one backend. For the loop's thread alone.

    The methods that change a server return None when that makes no difference to anybody, and
    raise ConfigError for a name that is not there. Each costs O(servers).

    Attributes:
        backend: The configuration, with the servers that there are now.
        states: Name -> state, in the order of the configuration; always the same dict.
        candidates: Who is chosen from.
        active: How many usable servers are no backups.
        backups: How many are.
        counters: The backend's.
    """

    __slots__ = (
        "_past",
        "_removed",
        "_since",
        "active",
        "backend",
        "backups",
        "candidates",
        "counters",
        "states",
    )

    def __init__(self, backend: Backend, counters: BackendCounters, now: float) -> None:
        """Begin with the servers of the configuration."""
        self.backend = backend
        self.counters = counters
        ids = assign_ids([server.id for server in backend.servers])
        self.states = {
            server.name: ServerState(server, number, now)
            for server, number in zip(backend.servers, ids, strict=True)
        }
        self._removed: list[ServerState] = []
        self._past = dict.fromkeys(_SUMMED, 0)
        self._since = now
        self.active = self.backups = 0
        self.candidates = Candidates(())
        self._regroup(None)

    # -- changes

    def check_passed(self, name: str, now: float, reason: str) -> Shift | None:
        """Count a passed check, unless the server is gone or in maintenance."""
        state = self.states.get(name)
        if state is None or state.is_in_maintenance:
            return None
        state.counters.last_check = reason
        return self._settle(state, reason, now) if state.gate.passed() else None

    def check_failed(self, name: str, now: float, reason: str) -> Shift | None:
        """Count a failed check, unless the server is gone or in maintenance."""
        state = self.states.get(name)
        if state is None or state.is_in_maintenance:
            return None
        state.counters.last_check = reason
        state.counters.check_failures += state.gate.is_up
        return self._settle(state, reason, now) if state.gate.failed() else None

    def set_health(self, name: str, is_up: bool, now: float) -> Shift | None:
        """Take a server that tracks nobody to be up, or down."""
        state = self._state(name)
        if state.leader is not None:
            raise ConfigError(self._problem(name, f"its health is that of {state.server.track}"))
        is_changed = state.gate.set_up() if is_up else state.gate.set_down()
        reason = f"health set to {'up' if is_up else 'down'}"
        return self._settle(state, reason, now) if is_changed else None

    def set_admin(self, name: str, admin: AdminState, now: float) -> Shift | None:
        """Ask something of a server; one that leaves maintenance is up."""
        state = self._state(name)
        if AdminState.MAINT is state.admin is not admin and state.leader is None:
            state.gate.reset()
        state.admin = admin
        return self._settle(state, f"set to {admin}", now)

    def set_weight(self, name: str, weight: int, now: float) -> Shift | None:
        """Give a server another weight."""
        state = self._state(name)
        before = state.server.weight
        if weight == before:
            return None
        state.server = replace(state.server, weight=weight)
        return self._settle(state, f"weight {before} -> {weight}", now, is_told=True)

    def add(self, server: Server, now: float, leader: ServerState | None) -> Shift:
        """Add a server behind the others."""
        backend = replace(self.backend, servers=(*self.backend.servers, server))
        used = {state.id for state in self.states.values()}
        if server.id in used:
            raise ConfigError(self._problem(server.name, f"id {server.id} is taken"))
        number = server.id or next(n for n in range(1, len(used) + 2) if n not in used)
        self.backend = backend
        state = self.states[server.name] = ServerState(server, number, now)
        if leader is not None:
            state.follow(leader)
        self._regroup(now)
        return Shift(state, "added", "", was_running=False, was_usable=False)

    def remove(self, name: str, now: float) -> Shift:
        """Forget a server, whose counters still count for the backend."""
        state = self._state(name)
        del self.states[name]
        servers = tuple(server for server in self.backend.servers if server.name != name)
        self.backend = replace(self.backend, servers=servers)
        self._fold()
        self._removed.append(state)
        shift = Shift(state, "removed", state.word, state.is_running, state.is_usable)
        state.retire()
        self._regroup(now)
        return shift

    def follow(self, name: str, leader: ServerState) -> None:
        """Let a server track another one from the start."""
        self._state(name).follow(leader)
        self._regroup(None)

    def leader_changed(self, name: str, now: float) -> Shift | None:
        """Take over what changed at the server that it tracks."""
        state = self._state(name)
        assert state.leader is not None
        state.inherited = state.leader.admin
        return self._settle(state, f"via {state.server.track}", now)

    # -- what there is to know

    def complaint(self) -> str:
        """Return why nobody is chosen from, in words for a log line."""
        if not self.states:
            return "there is no server"
        words = Counter(
            state.word if state.server.weight or not state.is_running else "of weight 0"
            for state in self.states.values()
        )
        return "no server is usable: " + ", ".join(f"{n} {word}" for word, n in words.items())

    def snapshot(self, queued: int, now: float) -> BackendSnapshot:
        """Return what there is to know at ``now``, when ``queued`` wait for no server."""
        counters = self.counters
        sums = self._past.copy()
        for state in (*self.states.values(), *self._removed):
            _add(sums, state)
        sums["connect_errors"] += counters.connect_errors
        return BackendSnapshot(
            name=self.backend.name,
            status="UP" if self.candidates.servers or not self.states else "DOWN",
            active=self.active,
            backups=self.backups,
            weight=sum(server.weight for server in self.candidates),
            current=counters.current,
            peak=counters.peak,
            total=counters.total,
            queued=queued,
            queued_peak=counters.queued_peak,
            downs=counters.downs,
            seconds_in_state=now - self._since,
            servers=tuple(state.snapshot(now) for state in self.states.values()),
            **sums,
        )

    def check(self) -> None:
        """Assert what has to be true of the servers between two calls."""
        active, backups, group = self._groups()
        assert (len(active), len(backups)) == (self.active, self.backups)
        assert self.candidates.servers == tuple(group)
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
        shift = Shift(state, reason, state.word, state.is_running, state.is_usable)
        state.settle()
        if state.word == shift.old and not is_told:
            return None
        if state.word != shift.old:
            state.since = now
        if shift.was_running and not state.is_running:
            state.counters.downs += 1
        self._regroup(now)
        return shift

    def _regroup(self, now: float | None) -> None:
        """Choose anew who is chosen from; None: it is before the start, where nothing is lost."""
        usable = [state for state in self.states.values() if state.is_usable]
        active, backups, group = self._groups()
        self.active, self.backups = len(active), len(backups)
        weights = tuple(state.initial_weight for state in self.states.values())
        old = self.candidates
        # Policies work from an object for as long as it is the same one.
        if tuple(group) != old.servers or weights != old.weights:
            self.candidates = Candidates(
                group,
                ids={state.name: state.id for state in usable},
                loads={state.name: state for state in usable},
                weights=weights,
                is_backup=bool(backups) and not active,
            )
        if now is not None and bool(group) is not bool(old.servers):
            self._since = now
            self.counters.downs += not group

    def _groups(self) -> tuple[list[Server], list[Server], list[Server]]:
        """Return the usable active servers, the usable backups, and those to choose from."""
        usable = [state.server for state in self.states.values() if state.is_usable]
        active = [server for server in usable if not server.backup]
        backups = [server for server in usable if server.backup]
        return active, backups, active or (backups if self.backend.allbackups else backups[:1])

    def _fold(self) -> None:
        """Drop those that were removed and whose last session has ended; their counts stay."""
        for state in self._removed:
            if not state.placements:
                _add(self._past, state)
        self._removed = [state for state in self._removed if state.placements]

    def _state(self, name: str) -> ServerState:
        state = self.states.get(name)
        if state is None:
            message = f"there is no server {name!r}"
            raise ConfigError(Problem(message, subject=f"backend {self.backend.name}"))
        return state

    def _problem(self, name: str, message: str) -> Problem:
        return Problem(message, subject=f"backend {self.backend.name}, server {name}")


def _add(sums: dict[str, int], state: ServerState) -> None:
    for word in _SUMMED:
        sums[word] += getattr(state.counters, word)
