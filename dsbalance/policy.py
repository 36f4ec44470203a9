"""Which server takes a new session: what a user plugs in, and the policies that ship. No I/O.

    balance      hash-type     policy             chooses
    source       consistent    SourceConsistent   the owner of the client's address on the ring
    source       map-based     SourceMap          the owner of the client's slot in a table
    roundrobin                 RoundRobin         each in turn, the heavier ones more often
    leastconn                  LeastConn          the fewest sessions for its weight
    first                      First              the lowest id that has room

A policy sees :class:`Candidates`: the servers that may be chosen now, and what each of them
carries. It knows nothing of health, of stick tables or of queues, which are the balancer's.

A policy of the user's own is an object with ``choose``. It cannot stop traffic: when it raises, or
chooses somebody who was not offered, :class:`Guarded` lets the backend's ``balance`` decide.

Sources: the HAProxy 2.6 manual, ``balance`` and ``hash-type``; what it leaves open was observed on
HAProxy 2.6.12. ``roundrobin`` keeps the weights' shares, not HAProxy's order of turns.
"""

from __future__ import annotations

import enum
import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, ClassVar, NamedTuple, Protocol, TypeAlias

from dsbalance.errors import ConfigError, Problem
from dsbalance.hashring import HashMap, HashRing, assign_ids, avalanche, source_hash
from dsbalance.model import Backend, Balance, HashKind, Server


class Client(NamedTuple):
    """Who wants a server.

    Attributes:
        address: Its source address as text, without a port.
        packed: The same as 4 or 16 bytes in network order.
        port: The port that it came to.
    """

    address: str
    packed: bytes
    port: int


class Reason(enum.StrEnum):
    """Why a session went where it went, as the log says it.

    All but STICKY, BACKUP, REDISPATCH and QUEUE name the policy that chose among the active
    servers; POLICY is one of the user's own. QUEUE: the first place that became free.
    """

    STICKY = "sticky"
    HASH = "hash"
    ROUNDROBIN = "roundrobin"
    LEASTCONN = "leastconn"
    FIRST = "first"
    POLICY = "policy"
    BACKUP = "backup"
    REDISPATCH = "redispatch"
    QUEUE = "queue"


class Load(Protocol):
    """What one server carries at the moment."""

    @property
    def placements(self) -> Sized:
        """The sessions that hold a place at it."""

    @property
    def queue(self) -> Sized:
        """Those that wait for a place at it, and at no other."""

    @property
    def moved(self) -> int:
        """When it last got or lost a session: a count of such events in its backend."""


class _Idle:
    """The load of a server of which nothing is known."""

    placements: ClassVar[Sized] = ()
    queue: ClassVar[Sized] = ()
    moved: ClassVar[int] = 0


_IDLE = _Idle()


class Candidates:
    """The servers that may be chosen: in the order of the configuration, each of a weight above 0.

    It never changes itself: when a server comes, goes or gets another weight, the balancer makes a
    new one. So a policy may keep what it works out from one for as long as it is given the same
    object (``is``). What the servers carry, by contrast, is that of the moment of asking.

    Iterating and ``in`` are over the servers; ``in`` compares names, and a name itself will do.

    Attributes:
        servers: The servers, whose ``weight`` is the one in force.
        ids: Name -> HAProxy's id.
        weights: What the configuration says for every server of the backend, usable or not.
        is_backup: Whether these are backups, because no active server is usable.
    """

    __slots__ = ("_by_name", "_loads", "ids", "is_backup", "servers", "weights")

    def __init__(
        self,
        servers: Iterable[Server],
        *,
        ids: Mapping[str, int] | None = None,
        loads: Mapping[str, Load] | None = None,
        weights: Sequence[int] | None = None,
        is_backup: bool = False,
    ) -> None:
        """Offer servers.

        Args:
            servers: In the order of the configuration, names differ.
            ids: Name -> id, for these at least; None: as HAProxy numbers them.
            loads: Name -> load, for these at least; None: nobody carries anything.
            weights: See the attribute; None: those of ``servers``.
            is_backup: See the attribute.
        """
        self.servers = tuple(servers)
        self._by_name = {server.name: server for server in self.servers}
        if ids is None:
            numbers = assign_ids([server.id for server in self.servers])
            ids = dict(zip(self._by_name, numbers, strict=True))
        self.ids = ids
        self._loads = dict.fromkeys(self._by_name, _IDLE) if loads is None else loads
        self.weights = (
            tuple(server.weight for server in self.servers) if weights is None else tuple(weights)
        )
        self.is_backup = is_backup

    def __len__(self) -> int:
        return len(self.servers)

    def __iter__(self) -> Iterator[Server]:
        return iter(self.servers)

    def __contains__(self, server: object) -> bool:
        return (server.name if isinstance(server, Server) else server) in self._by_name

    def __repr__(self) -> str:
        group = "backups" if self.is_backup else "active"
        return f"<{type(self).__name__} {group}: {', '.join(self._by_name) or 'nobody'}>"

    def get(self, name: str) -> Server:
        """Return the server of that name.

        Raises:
            KeyError: It is not among these.
        """
        return self._by_name[name]

    def load(self, server: Server) -> int:
        """Return how many sessions a server has, with those that wait for it and no other."""
        load = self._loads[server.name]
        return len(load.placements) + len(load.queue)

    def is_full(self, server: Server) -> bool:
        """Whether a server is at its ``maxconn``, or somebody waits for it: a new one would too."""
        if server.maxconn is None:
            return False
        load = self._loads[server.name]
        return bool(load.queue) or len(load.placements) >= server.maxconn

    def moved(self, server: Server) -> int:
        """Return when a server's load last changed, as a number that grows with each change."""
        return self._loads[server.name].moved


class Policy(Protocol):
    """Choose a server. Called once for each new session, on the loop's thread.

    Must not block. Returns None if, and only if, nothing offered is acceptable: the session then
    waits in the backend's queue. A server that is full may be chosen, and the session waits for it.
    """

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return one of ``servers``; ``avoid`` is the one that just failed."""


class SourceConsistent:
    """``balance source`` with ``hash-type consistent``: a ring for each of the two groups.

    A ring is kept while servers come and go, because a server that comes back stands behind those
    that have a node in the same place. A full server is chosen all the same: its clients are its
    clients. O(log n) for n nodes.
    """

    __slots__ = ("_candidates", "_ids", "_is_mixed", "_only", "_ring", "_rings")
    reason: ClassVar[Reason] = Reason.HASH

    def __init__(self, *, is_mixed: bool = True) -> None:
        """Make the policy; ``is_mixed``: whether addresses go through the avalanche."""
        self._is_mixed = is_mixed
        self._candidates: Candidates | None = None
        self._only: Server | None = None
        self._ids: dict[bool, dict[str, int]] = {True: {}, False: {}}
        self._rings: dict[bool, HashRing[str]] = {True: HashRing(), False: HashRing()}
        self._ring = self._rings[False]

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the owner of the client, or whoever is next on the ring after ``avoid``."""
        if servers is not self._candidates:
            self._adopt(servers)
        # HAProxy does not hash when there is nobody to choose from, and so ignores `avoid` too.
        if len(servers.servers) < 2:
            return self._only
        value = source_hash(client.packed)
        if avoid is None:
            name = self._ring.lookup_hash(avalanche(value) if self._is_mixed else value)
        else:
            name = self._ring.lookup(value, avoid=avoid.name.__eq__)
        assert name is not None
        return servers.get(name)

    def _adopt(self, servers: Candidates) -> None:
        """Apply to the group's ring what is different since it was last used."""
        self._candidates = servers
        self._only = servers.servers[0] if len(servers) == 1 else None
        wanted = {server.name: server.weight for server in servers}
        ids = self._ids[servers.is_backup]
        ring = self._rings[servers.is_backup]
        for name in list(ring):
            if name not in wanted or servers.ids[name] != ids[name]:
                ring.remove(name)
        ids.update((name, servers.ids[name]) for name in wanted)
        if not ring:
            # At once, since each change of a ring costs as much as all of it.
            ring = HashRing(wanted, identify=ids.__getitem__, avalanche=self._is_mixed)
            self._rings[servers.is_backup] = ring
        present = ring.weights
        for name, weight in wanted.items():
            if name not in present:
                ring.add(name, weight)
            elif present[name] != weight:
                ring.reweight(name, weight)
        self._ring = ring

    def _check(self) -> None:
        """Assert that the ring holds those who were offered last. O(members)."""
        offered = self._candidates or ()
        assert self._ring.weights == {server.name: server.weight for server in offered}


class SourceMap:
    """``balance source`` with ``hash-type map-based``: exact shares, but a loss moves most clients.

    The same server is chosen again when it has just failed, as HAProxy does. O(1); O(slots) once
    after a change.
    """

    __slots__ = ("_candidates", "_is_mixed", "_map")
    reason: ClassVar[Reason] = Reason.HASH

    def __init__(self, *, is_mixed: bool = False) -> None:
        """Make the policy; ``is_mixed``: whether addresses go through the avalanche."""
        self._is_mixed = is_mixed
        self._candidates: Candidates | None = None
        self._map: HashMap[str] = HashMap([])

    def choose(
        self,
        client: Client,
        servers: Candidates,
        avoid: Server | None,
    ) -> Server | None:
        """Return whose slot it is."""
        if servers is not self._candidates:
            self._candidates = servers
            self._map = HashMap([(s.name, s.weight) for s in servers], servers.weights)
        value = source_hash(client.packed)
        name = self._map.lookup_hash(avalanche(value) if self._is_mixed else value)
        return None if name is None else servers.get(name)


class RoundRobin:
    """``balance roundrobin``: turns in proportion to the weights, spread out evenly.

    At each choice everybody who has room gains its weight in credit; whoever has the most credit,
    the first among equals, takes the session and pays the sum. O(servers).
    """

    __slots__ = ("_credit",)
    reason: ClassVar[Reason] = Reason.ROUNDROBIN

    def __init__(self) -> None:
        self._credit: dict[str, int] = {}

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return whose turn it is among those with room; ``avoid`` only if there is no other."""
        fit = _with_room(servers, None)
        if not fit:
            return None
        credit = self._credit
        for server in fit:
            credit[server.name] = credit.get(server.name, 0) + server.weight
        # The one to avoid gains too, so that its turn comes when the others have had theirs.
        best = max(_without(fit, avoid), key=lambda server: credit[server.name])
        credit[best.name] -= sum(server.weight for server in fit)
        return best

    def _check(self) -> None:
        """Assert that what was gained was paid. O(servers)."""
        assert sum(self._credit.values()) == 0


class LeastConn:
    """``balance leastconn``: the fewest sessions for its weight. O(servers).

    Among equals, whoever has been so for longest, which for idle servers means in turn.
    """

    __slots__ = ()
    reason: ClassVar[Reason] = Reason.LEASTCONN

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the least loaded with room; ``avoid`` only if there is no other."""

        def rank(server: Server) -> tuple[int, int]:
            # HAProxy's integers: 4096 keeps the fraction, 16 is what a unit of weight counts.
            load = servers.load(server)
            share = (load + 1) * 4096 // (16 * server.weight) if load else 0
            return share, servers.moved(server)

        return min(_with_room(servers, avoid), key=rank, default=None)


class First:
    """``balance first``: the lowest id that has room, so that the others may sleep. O(servers)."""

    __slots__ = ()
    reason: ClassVar[Reason] = Reason.FIRST

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the lowest with room; ``avoid`` only if there is no other."""
        ids = servers.ids
        return min(_with_room(servers, avoid), key=lambda server: ids[server.name], default=None)


BuiltIn: TypeAlias = SourceConsistent | SourceMap | RoundRobin | LeastConn | First


class Guarded:
    """A policy of the user's own, with the backend's ``balance`` to decide when it fails.

    Attributes:
        reason: Who made the last choice: POLICY, or the ``balance`` that stood in.
    """

    __slots__ = ("_complaint", "_count", "_policy", "_substitute", "reason")

    def __init__(self, policy: Policy, substitute: BuiltIn) -> None:
        self._policy = policy
        self._substitute = substitute
        self._complaint = ""
        self._count = 0
        self.reason = Reason.POLICY

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return what the policy chooses if it was offered, else what the substitute chooses."""
        try:
            server = self._policy.choose(client, servers, avoid)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- the client gets a server
            self._complain(f"raised {type(error).__name__}: {error}")
        else:
            if server is None or (isinstance(server, Server) and server in servers):
                self.reason = Reason.POLICY
                return server
            name = server.name if isinstance(server, Server) else repr(server)
            self._complain(f"chose {name}, which is not among {servers!r}")
        self.reason = self._substitute.reason
        return self._substitute.choose(client, servers, avoid)

    def take_complaint(self) -> str | None:
        """Return what went wrong last, and how often since the last call; None: nothing did."""
        if not self._count:
            return None
        times = f" ({self._count} times)" if self._count > 1 else ""
        self._count = 0
        kind = type(self._policy)
        return f"policy {kind.__module__}.{kind.__qualname__} {self._complaint}{times}"

    def _complain(self, complaint: str) -> None:
        self._complaint = complaint
        self._count += 1


def make_policy(backend: Backend) -> Policy:
    """Return the policy that a backend asks for, a new one at each call unless it is an object.

    Raises:
        ConfigError: The backend's own policy cannot be loaded, or is none; see
            :func:`load_policy`.
    """
    policy = backend.policy
    if policy is None:
        return built_in(backend)
    try:
        return load_policy(policy) if isinstance(policy, str) else _checked(policy, repr(policy))
    except ConfigError as error:
        subject = f"backend {backend.name}"
        raise ConfigError(*(Problem(p.message, subject) for p in error.problems)) from error


def load_policy(spec: str) -> Policy:
    """Import ``package.module:Name``, call it without arguments, and return what that gives.

    Raises:
        ConfigError: ``spec`` has another shape, the import or the call fails, whatever they raise,
            or the result has no method ``choose``.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(f"policy wants PACKAGE.MODULE:NAME, not {spec!r}")
    try:
        maker: Any = importlib.import_module(module_name)
        for part in name.split("."):
            maker = getattr(maker, part)
        policy = maker()
    except (Exception, SystemExit) as error:  # a module of the user's own may raise anything
        raise ConfigError(f"policy {spec}: {type(error).__name__}: {error}") from error
    return _checked(policy, spec)


def built_in(backend: Backend) -> BuiltIn:
    """Return a new policy of the kind that ``balance`` and ``hash-type`` name."""
    if backend.balance is Balance.SOURCE:
        is_mixed = backend.hash_type.is_mixed
        if backend.hash_type.kind is HashKind.CONSISTENT:
            return SourceConsistent(is_mixed=is_mixed)
        return SourceMap(is_mixed=is_mixed)
    return _SIMPLE[backend.balance]()


_SIMPLE: Mapping[Balance, type[RoundRobin | LeastConn | First]] = {
    Balance.ROUNDROBIN: RoundRobin,
    Balance.LEASTCONN: LeastConn,
    Balance.FIRST: First,
}


def guarded(policy: Policy, backend: Backend) -> BuiltIn | Guarded:
    """Return a policy that ships as it is, and any other one with a substitute behind it."""
    if isinstance(policy, BuiltIn) and type(policy).__module__ == __name__:
        return policy
    return Guarded(policy, built_in(backend))


def _with_room(servers: Candidates, avoid: Server | None) -> Sequence[Server]:
    """Return those that are not full, without ``avoid`` unless it is the only one."""
    return _without([server for server in servers if not servers.is_full(server)], avoid)


def _without(servers: Sequence[Server], avoid: Server | None) -> Sequence[Server]:
    """Return ``servers`` without ``avoid``, unless it is the only one."""
    if avoid is None or len(servers) == 1:
        return servers
    return [server for server in servers if server.name != avoid.name]


def _checked(policy: object, spec: str) -> Policy:
    if not callable(getattr(policy, "choose", None)):
        raise ConfigError(f"policy {spec}: there is no method choose")
    return policy  # type: ignore[return-value]  # Python cannot check more of it than that
