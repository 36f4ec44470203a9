"""What a policy is offered: a client, servers that may be chosen, and what each of them carries.

A policy sees :class:`Candidates` and nothing else. It knows nothing of health, of stick tables or
of queues, which are the balancer's. No I/O.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dsbalance.hashring import NODES_PER_WEIGHT, assign_ids
from dsbalance.model import Server

if TYPE_CHECKING:
    from dsbalance.haproxy.proxy_protocol import Header
    from dsbalance.tracking import Track

SHARES_PER_WEIGHT = NODES_PER_WEIGHT
"""What a unit of weight counts: a server that starts slowly has parts of it."""


class Client(NamedTuple):
    """Who wants a server.

    Attributes:
        address: Its source address as text, without a port.
        packed: The same as 4 or 16 bytes in network order.
        port: The port that it came to.
        source_port: The port that it comes from; 0: not known.
        greeting: The PROXY header that it came with, which names all of these; None: it had none.
        track: What counts its source's connections, and this one with them; None: nothing does.
    """

    address: str
    packed: bytes
    port: int
    source_port: int = 0
    greeting: Header | None = None
    track: Track | None = None


class Reason(enum.StrEnum):
    """Why a session went where it went, as the log says it.

    All but STICKY, BACKUP, REDISPATCH and QUEUE name the policy that chose among the active
    servers; POLICY is one of the user's own. BOUNDED: a hash, which passed over somebody who has
    more than its share. QUEUE: the first place that became free.
    """

    STICKY = "sticky"
    HASH = "hash"
    BOUNDED = "bounded"
    ROUNDROBIN = "roundrobin"
    STATIC_RR = "static-rr"
    LEASTCONN = "leastconn"
    FIRST = "first"
    RANDOM = "random"
    POLICY = "policy"
    BACKUP = "backup"
    REDISPATCH = "redispatch"
    QUEUE = "queue"


class Load(Protocol):
    """What one server carries at the moment, and what it may carry."""

    @property
    def placements(self) -> Sized:
        """The sessions that hold a place at it."""

    @property
    def queue(self) -> Sized:
        """Those that wait for a place at it, and at no other."""

    @property
    def limit(self) -> int | None:
        """How many sessions may hold a place at it now; None: there is no limit."""

    @property
    def share(self) -> int:
        """The weight that is in force, in sixteenths: less than usual while it starts slowly."""

    @property
    def before(self) -> int:
        """The sixteenths of the usable servers that stood before it at the start."""

    @property
    def moved(self) -> int:
        """When it last got or lost a session: a count of such events in its backend."""

    @property
    def moved_load(self) -> int:
        """How many sessions it had then, with those that waited for it."""


class _Idle:
    """The load of a server of which nothing is known but its weight."""

    __slots__ = ("before", "limit", "share")
    placements: Sized = ()
    queue: Sized = ()
    moved = moved_load = 0

    def __init__(self, server: Server, before: int) -> None:
        self.before = before
        self.limit = server.maxconn
        self.share = SHARES_PER_WEIGHT * server.weight


def _idle(servers: Iterable[Server]) -> dict[str, _Idle]:
    """Return loads of servers as they are at the start."""
    loads: dict[str, _Idle] = {}
    before = 0
    for server in servers:
        loads[server.name] = _Idle(server, before)
        before += loads[server.name].share
    return loads


def _no_clients(_: str) -> int:
    return 0


class Candidates:
    """The servers that may be chosen: in the order of the configuration, each of a weight above 0.

    It never changes itself: when a server comes, goes or gets another weight, the balancer makes a
    new one. So a policy may keep what it works out from one for as long as it is given the same
    object (``is``). What the servers carry, by contrast, is that of the moment of asking.

    Iterating and ``in`` are over the servers; ``in`` compares names, and a name itself will do.

    Attributes:
        servers: The servers, whose ``weight`` is the one that was asked for last.
        ids: Name -> HAProxy's id.
        shares: Name -> the weight in force in sixteenths, 1 to 4096.
        weights: What the configuration says for every server of the backend, usable or not.
        is_backup: Whether these are backups, because no active server is usable.
    """

    __slots__ = (
        "_by_name",
        "_clients",
        "_loads",
        "ids",
        "is_backup",
        "servers",
        "shares",
        "weights",
    )

    def __init__(
        self,
        servers: Iterable[Server],
        *,
        ids: Mapping[str, int] | None = None,
        loads: Mapping[str, Load] | None = None,
        weights: Sequence[int] | None = None,
        clients: Callable[[str], int] = _no_clients,
        is_backup: bool = False,
    ) -> None:
        """Offer servers.

        Args:
            servers: In the order of the configuration, names differ.
            ids: Name -> id, for these at least; None: as HAProxy numbers them.
            loads: Name -> load, for these at least, and for the backend's others too if their
                sessions are to count; None: nobody carries anything.
            weights: See the attribute; None: those of ``servers``.
            clients: See :meth:`clients`.
            is_backup: See the attribute.
        """
        self.servers = tuple(servers)
        self._by_name = {server.name: server for server in self.servers}
        if ids is None:
            numbers = assign_ids([server.id for server in self.servers])
            ids = dict(zip(self._by_name, numbers, strict=True))
        self.ids = ids
        self._loads: Mapping[str, Load] = _idle(self.servers) if loads is None else loads
        self.shares = {name: self._loads[name].share for name in self._by_name}
        self.weights = (
            tuple(server.weight for server in self.servers) if weights is None else tuple(weights)
        )
        self._clients = clients
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

    def is_known(self, name: str) -> bool:
        """Whether the backend has a server of that name, which may be one of these or not."""
        return name in self._loads

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

    def served(self, server: Server) -> int:
        """Return how many sessions hold a place at a server."""
        return len(self._loads[server.name].placements)

    def all_served(self) -> int:
        """Return how many sessions hold a place at any server of the backend. O(servers)."""
        return sum(len(load.placements) for load in self._loads.values())

    def before(self, server: Server) -> int:
        """Return the sixteenths of those who stood before a server at the start, usable then."""
        return self._loads[server.name].before

    def limit(self, server: Server) -> int | None:
        """Return how many sessions may hold a place at a server now; None: there is no limit."""
        return self._loads[server.name].limit

    def is_full(self, server: Server) -> bool:
        """Whether a server is at its limit, or somebody waits for it: a new one would too."""
        if server.maxconn is None:
            return False
        load = self._loads[server.name]
        limit = load.limit
        return bool(load.queue) or (limit is not None and len(load.placements) >= limit)

    def clients(self, server: Server) -> int:
        """Return how many entries of the backend's stick table name a server; 0 without a table."""
        return self._clients(server.name)

    def standing(self, server: Server) -> tuple[int, int]:
        """Return a server's load for its share when it last got or lost a session, and when.

        The first is in HAProxy's integers, where 4096 keeps the fraction; the second is a number
        that grows with each such event of the backend. Together they are the order of
        ``leastconn``. Who has begun to wait for the server since does not count.
        """
        load = self._loads[server.name]
        carried = load.moved_load
        return (carried + 1) * 4096 // load.share if carried else 0, load.moved


class Policy(Protocol):
    """Choose a server. Called once for each new session, on the loop's thread.

    Must not block. Returns None if, and only if, nothing offered is acceptable: the session then
    waits in the backend's queue. A server that is full may be chosen, and the session waits for it.
    Not called for the one backup that serves without ``option allbackups``.
    """

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return one of ``servers``; ``avoid`` is the one that just failed."""
