"""Who owns a point of a ring or a map: ``balance source`` and ``balance random``. No I/O.

    balance   hash-type     policy             the point is
    source    consistent    SourceConsistent   the hash of the client's address, on the ring
    source    map-based     SourceMap          the hash of the client's address, among the slots
    random                  Random             a number of a fixed sequence, on the ring

On the ring the owner may be passed over, and whoever is next upwards takes the client:

    by                   whoever has more
    hash-balance-factor  sessions than so many percent of its share of all sessions
    bounded-clients      clients in the stick table than so many percent of its share of those

``hash-key`` says where the nodes of a server begin; see :func:`node_start`.

Sources: the HAProxy 2.6 manual, ``balance``, ``hash-type`` and ``hash-balance-factor``, and that of
3.4 for ``hash-key``; what they leave open was observed on HAProxy 2.6.12 and 3.5-dev5.
``bounded-clients`` is ours: a hash over few clients is uneven.
"""

from __future__ import annotations

import ipaddress
from typing import ClassVar
from zlib import crc32

from dsbalance.candidates import SHARES_PER_WEIGHT, Candidates, Client, Reason
from dsbalance.hashmap import HashMap
from dsbalance.hashring import (
    NUMBERS_PER_ID,
    HashRing,
    avalanche,
    load_slots,
    source_hash,
)
from dsbalance.model import HashKey, Server
from dsbalance.xxh32 import xxh32

# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_HASH, _BOUNDED = Reason.HASH, Reason.BOUNDED


def node_start(server: Server, number: int) -> int:
    """Return the number that a server's nodes are counted from, by its ``hash-key``.

    Args:
        server: A host that is a name has no address here, and is placed by its id.
        number: HAProxy's id.
    """
    key = server.hash_key
    if key is HashKey.ID32:
        return avalanche(int.from_bytes(number.to_bytes(4, "little"), "big"))
    if key is HashKey.GUID and server.guid is not None:
        return xxh32(server.guid.encode())
    if key in {HashKey.ADDR, HashKey.ADDR_PORT}:
        seed = avalanche(server.port or 0) if key is HashKey.ADDR_PORT else 0
        try:
            packed = ipaddress.ip_address(server.host).packed
        except ValueError:
            pass
        else:
            if len(packed) == 4:
                return avalanche(seed + int.from_bytes(packed, "little") & 0xFFFF_FFFF)
            return xxh32(packed, seed)
    return number * NUMBERS_PER_ID


class _Circle:
    """The ring of those who may be chosen. It is kept while servers come and go.

    For a server that comes back stands behind those that have a node in the same place. So does one
    whose weight is raised above all that it ever had: HAProxy makes room for its nodes anew.
    """

    __slots__ = ("_most", "_starts", "is_mixed", "ring")

    def __init__(self, *, is_mixed: bool) -> None:
        self.is_mixed = is_mixed
        self._most: dict[str, int] = {}
        self._starts: dict[str, int] = {}
        self.ring: HashRing[str] = HashRing()

    def adapt(self, servers: Candidates) -> None:
        """Apply to the ring what is different since the last call."""
        starts = {s.name: node_start(s, servers.ids[s.name]) for s in servers}
        for name in list(self.ring):
            if starts.get(name) != self._starts[name]:
                self.ring.remove(name)
        self._starts = starts
        shares = servers.shares
        if not self.ring:
            # At once, since each change of a ring costs as much as all of it.
            self.ring = HashRing(shares, start=self._start, avalanche=self.is_mixed, nodes=1)
        for name, share in shares.items():
            if name in self.ring and share > self._most.get(name, share):
                self.ring.remove(name)
            if name not in self.ring:
                self.ring.add(name, share)
            elif self.ring.weights[name] != share:
                self.ring.reweight(name, share)
        most = {name: most for name, most in self._most.items() if servers.is_known(name)}
        for server in servers:
            most[server.name] = max(most.get(server.name, 0), SHARES_PER_WEIGHT * server.weight)
        self._most = most

    def _start(self, name: str) -> int:
        return self._starts[name]


class SourceConsistent:
    """``balance source`` with ``hash-type consistent``.

    A full server is chosen all the same: its clients are its clients. O(log n) for n nodes, and
    O(servers) where one may be passed over.

    Attributes:
        reason: HASH, or BOUNDED if somebody was passed over for having too much.
        factor: ``hash-balance-factor``; 0: nobody is passed over for his sessions.
        bound: ``bounded-clients``; None: nobody is passed over for his clients.
    """

    __slots__ = ("_candidates", "_circle", "_is_bounded", "_only", "bound", "factor", "reason")

    def __init__(self, *, is_mixed: bool = True, factor: int = 0, bound: int | None = None) -> None:
        """Make the policy; ``is_mixed``: whether addresses go through the avalanche."""
        self._candidates: Candidates | None = None
        self._circle = _Circle(is_mixed=is_mixed)
        self._only: Server | None = None
        self._is_bounded = bool(factor or bound)
        self.factor = factor
        self.bound = bound
        self.reason = Reason.HASH

    @property
    def ring(self) -> HashRing[str]:
        """The names of those who were offered last, with a weight of sixteenths."""
        return self._circle.ring

    def hash_of(self, client: Client) -> int:
        """Return where a client is on the ring."""
        value = source_hash(client.packed)
        return avalanche(value) if self._circle.is_mixed else value

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the owner of the client, or whoever is next on the ring after ``avoid``."""
        if servers is not self._candidates:
            self.adapt(servers)
        self.reason = _HASH
        # HAProxy does not hash when there is nobody to choose from, and so ignores `avoid` too.
        if len(servers.servers) < 2:
            return self._only
        circle = self._circle
        value = source_hash(client.packed)
        owner = circle.ring.lookup_hash(avalanche(value) if circle.is_mixed else value)
        assert owner is not None
        if avoid is None and not self._is_bounded:
            return servers.get(owner)
        refused = self.refused(servers, avoid)
        name = circle.ring.lookup(value, avoid=refused.__contains__)
        assert name is not None
        if name != owner and (avoid is None or owner != avoid.name):
            self.reason = _BOUNDED
        return servers.get(name)

    def adapt(self, servers: Candidates) -> None:
        """Apply to the ring what is different since it was last used."""
        self._candidates = servers
        self._only = servers.servers[0] if len(servers) == 1 else None
        self._circle.adapt(servers)

    def refused(self, servers: Candidates, avoid: Server | None = None) -> set[str]:
        """Return the names of those who are passed over now: ``avoid``, and who has too much."""
        names = loaded(servers, self.factor)
        if avoid is not None:
            names.add(avoid.name)
        if self.bound is not None:
            every = names | crowded(servers, self.bound)
            # Better a server that has many clients than the one that has just failed.
            names = names if every.issuperset(servers.shares) else every
        return names

    def check(self) -> None:
        """Assert that the ring holds those who were offered last. O(members)."""
        offered = self._candidates
        assert self.ring.weights == ({} if offered is None else offered.shares)


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

    @property
    def slots(self) -> list[str]:
        """The names of those who were offered last, as often as they have slots."""
        return self._map.slots

    def hash_of(self, client: Client) -> int:
        """Return the number of a client, whose remainder is that of its slot."""
        value = source_hash(client.packed)
        return avalanche(value) if self._is_mixed else value

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return whose slot it is."""
        if servers is not self._candidates:
            self.adapt(servers)
        name = self._map.lookup_hash(self.hash_of(client))
        return None if name is None else servers.get(name)

    def adapt(self, servers: Candidates) -> None:
        """Fill the slots anew."""
        self._candidates = servers
        self._map = HashMap([(s.name, s.weight) for s in servers], servers.weights)


class Random:
    """``balance random(N)``: the least loaded of N that are drawn by their weights.

    The draws are of a fixed sequence, which is as even as one by chance and can be repeated.
    O(N log n) for n nodes.

    Attributes:
        draws: How many are drawn for each session.
        factor: ``hash-balance-factor``; 0: nobody is passed over.
    """

    __slots__ = ("_candidates", "_circle", "_last", "draws", "factor")
    reason: ClassVar[Reason] = Reason.RANDOM

    def __init__(self, draws: int = 2, *, factor: int = 0, seed: str = "") -> None:
        """Make the policy; ``seed`` says where in the sequence it begins."""
        self._candidates: Candidates | None = None
        self._circle = _Circle(is_mixed=False)
        self._last = crc32(seed.encode())
        self.draws = draws
        self.factor = factor

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return the winner, or None if it is full; ``avoid`` only if nobody else is drawn."""
        if servers is not self._candidates:
            self.adapt(servers)
        if not servers.servers:
            return None
        refused = loaded(servers, self.factor)
        if avoid is not None:
            refused.add(avoid.name)
        best = self._draw(servers, refused)
        for _ in range(self.draws - 1):
            other = self._draw(servers, refused)
            # As HAProxy compares them, without a division; the later one wins a tie.
            mine = servers.served(other) * servers.shares[best.name]
            if mine <= servers.served(best) * servers.shares[other.name]:
                best = other
        return None if servers.is_full(best) else best

    def adapt(self, servers: Candidates) -> None:
        """Apply to the ring what is different since it was last used."""
        self._candidates = servers
        self._circle.adapt(servers)

    def _draw(self, servers: Candidates, refused: set[str]) -> Server:
        self._last = (self._last + 1) & 0xFFFF_FFFF
        name = self._circle.ring.lookup(avalanche(self._last), avoid=refused.__contains__)
        assert name is not None
        return servers.get(name)


def loaded(servers: Candidates, factor: int) -> set[str]:
    """Return who has as many sessions as ``hash-balance-factor`` allows it; 0: nobody."""
    if not factor:
        return set()
    shares = [servers.shares[server.name] for server in servers]
    before = map(servers.before, servers)
    slots = load_slots(shares, servers.all_served(), factor, before)
    return {
        server.name
        for server, most in zip(servers, slots, strict=True)
        if servers.served(server) >= most
    }


def crowded(servers: Candidates, bound: int) -> set[str]:
    """Return who has more clients in the stick table than ``bound`` percent of its share.

    A share is by weight, of the clients of all that are offered. Somebody always has no more than
    his share, so these are never all.
    """
    clients = {server.name: servers.clients(server) for server in servers}
    total, whole = sum(clients.values()), sum(servers.shares[name] for name in clients)
    return {
        name
        for name, count in clients.items()
        if count * 100 * whole > bound * total * servers.shares[name]
    }
