"""Those who choose by the client's address, by the load, by the id, or by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from .ring import CIRCLE, Ring, base_of, map_slots, mixed, share_slots, source_value
from .servers import Offer, Server


class Policy:
    """Chooses a name for a packed address; "" is nobody."""

    reason: str

    def adapt(self, servers: Sequence[Server]) -> None:
        """Told of those who may be chosen from now on, at each change of one of them."""

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        raise NotImplementedError

    def moved(self, server: Server) -> None:
        """Told that a server got or lost a session."""


def ring_of(offer: Offer) -> Ring[str]:
    ring: Ring[str] = Ring()
    for server in offer.servers:
        base = base_of("id", server.number) if server.base is None else server.base
        ring.spread(server.name, base, server.share)
    return ring


def loaded(offer: Offer, factor: int) -> set[str]:
    """Who has all the sessions that a factor of the mean allows; 0 allows any number."""
    if not factor:
        return set()
    shares = [server.share for server in offer.servers]
    befores = [server.before for server in offer.servers]
    slots = share_slots(shares, offer.served, factor, befores)
    pairs = zip(offer.servers, slots, strict=True)
    return {server.name for server, slot in pairs if server.sessions >= slot}


def crowded(offer: Offer, bound: int | None) -> set[str]:
    """Who has more than a percentage of its share of those clients that the servers have."""
    if bound is None:
        return set()
    clients = {server.name: offer.clients.get(server.name, 0) for server in offer.servers}
    fair = Fraction(sum(clients.values()) * bound, sum(s.share for s in offer.servers) * 100)
    return {server.name for server in offer.servers if clients[server.name] > fair * server.share}


class Consistent(Policy):
    def __init__(self, *, is_mixed: bool = True, factor: int = 0, bound: int | None = None) -> None:
        self.is_mixed = is_mixed
        self.factor = factor
        self.bound = bound
        self.reason = "hash"

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        self.reason = "hash"
        if len(offer.servers) < 2:
            return "".join(server.name for server in offer.servers)
        value = source_value(source)
        place = mixed(value) if self.is_mixed else value
        ring = ring_of(offer)
        refused = self.refused(offer, avoid)
        owner, chosen = (ring.lookup(place, avoid=who.__contains__) for who in (set(), refused))
        if chosen != owner != avoid:
            self.reason = "bounded"
        return chosen or ""

    def refused(self, offer: Offer, avoid: str) -> set[str]:
        """Who is passed over. Who has many clients is still better than the one to avoid."""
        refused = loaded(offer, self.factor) | {avoid}
        every = refused | crowded(offer, self.bound)
        return every if {server.name for server in offer.servers} - every else refused


class MapBased(Policy):
    reason = "hash"

    def __init__(self, *, is_mixed: bool = False) -> None:
        self.is_mixed = is_mixed

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        slots = map_slots([server.weight for server in offer.servers], offer.weights)
        value = source_value(source)
        value = mixed(value) if self.is_mixed else value
        return offer.servers[slots[value % len(slots)]].name if slots else ""


class LeastConn(Policy):
    """The fewest sessions for its weight; among equals whoever has stood in line for longest.

    A server is weighed when a session comes to it or leaves it, not when one begins to wait.
    """

    reason = "leastconn"

    def __init__(self) -> None:
        self.line: list[str] = []
        self.weighed: dict[str, int] = {}
        self.shares: dict[str, int] = {}

    def adapt(self, servers: Sequence[Server]) -> None:
        shares = {server.name: server.share for server in servers}
        self.line = [name for name in self.line if shares.get(name) == self.shares[name]]
        self.weighed = {name: self.weighed[name] for name in self.line}
        self.shares = shares
        for server in servers:
            if server.name not in self.line:
                self.moved(server)

    def moved(self, server: Server) -> None:
        """Weigh a server anew; if it weighs something else now, it goes to the end of the line."""
        share = self.share(server)
        if self.weighed.get(server.name) != share:
            self.line = [other for other in self.line if other != server.name] + [server.name]
        self.weighed[server.name] = share

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        fit = {server.name: server for server in offer.servers if not self.is_packed(server)}
        names = [name for name in self.line if name in fit]
        names = [name for name in names if name != avoid] or names
        return min(
            names, key=lambda name: self.weighed.get(name, self.share(fit[name])), default=""
        )

    @staticmethod
    def is_packed(server: Server) -> bool:
        """Whether it is at its limit, counting those who may wait."""
        if server.maxconn is None:
            return False
        return server.sessions + server.waiting >= server.maxconn + (server.maxqueue or 0)

    @staticmethod
    def share(server: Server) -> int:
        """HAProxy counts in 4096ths, rounded down, and an idle server is idle at any weight."""
        load = server.sessions + server.waiting
        return 4096 * (load + 1) // server.share if load and server.share else 0


class First(Policy):
    reason = "first"

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        fit = sorted(offer.fit(avoid), key=lambda server: server.number)
        return fit[0].name if fit else ""


class Random(Policy):
    """Some places on the ring by lot; of their owners, whoever has the fewest for its weight."""

    reason = "random"

    def __init__(self, draw: Callable[[], int], *, draws: int = 2, factor: int = 0) -> None:
        self.draw = draw
        self.draws = draws
        self.factor = factor

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        servers = {server.name: server for server in offer.servers}
        drawn = [servers[name] for name in self.drawn(offer, avoid)]
        if not drawn:
            return ""
        best = drawn[0]
        for other in drawn[1:]:
            if other.sessions * best.share <= best.sessions * other.share:
                best = other
        return "" if best.is_full else best.name

    def drawn(self, offer: Offer, avoid: str) -> list[str]:
        """Who was drawn, in order; nobody if there is nobody."""
        passed_over = (loaded(offer, self.factor) | {avoid}).__contains__
        ring = ring_of(offer)
        places = [self.draw() % CIRCLE for _ in range(self.draws if offer.servers else 0)]
        return [ring.lookup(place, avoid=passed_over) or "" for place in places]
