"""What the core has to do, said once more: slowly, plainly, and without a line of its code.

    model                   of                   keeps
    Ring                    hashring.HashRing    every node in one list, walked from end to end
    map_slots, load_slots   hashring             nothing
    Gate                    gate.Gate            a state, and the results in a row against it
    Consistent, MapBased    policy               nothing
    RoundRobin              policy               every turn that there ever was
    LeastConn               policy               the servers as they stand in line
    First                   policy               nothing
    Table                   sticky.StickTable    rows with the time of their last touch
    Relay                   relay.next_step      two streams of bytes, and who has gone how
    Balancer                balancer.Balancer    sessions, in the order in which they came there

Nothing that can be worked out is kept: each question is answered anew from what has happened.

Sources: the HAProxy 2.6 manual, and for what it leaves open what was observed on HAProxy 2.6.12;
RFC 9293 for the relay; where we differ from HAProxy on purpose, the module's docstring.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

M = TypeVar("M", bound=Hashable)

CIRCLE = 2**32


# --- the ring ------------------------------------------------------------------------------------


@cache
def mixed(a: int) -> int:
    """Jenkins's mix as he published it, every step modulo 2^32, and HAProxy's multiplication."""
    a = ((a + 0x7ED55D16) + (a << 12)) % CIRCLE
    a = ((a ^ 0xC761C23C) ^ (a >> 19)) % CIRCLE
    a = ((a + 0x165667B1) + (a << 5)) % CIRCLE
    a = ((a + 0xD3A2646C) ^ (a << 9)) % CIRCLE
    a = ((a + 0xFD7046C5) + (a << 3)) % CIRCLE
    a = ((a ^ 0xB55A4F09) ^ (a >> 16)) % CIRCLE
    return a * 3221225473 % CIRCLE


def source_value(packed: bytes) -> int:
    """The XOR of an address's words of four bytes."""
    value = 0
    for start in range(0, len(packed), 4):
        value ^= int.from_bytes(packed[start : start + 4], "big")
    return value


def nobody(_: object) -> bool:
    return False


class Ring(Generic[M]):
    """Nodes as (place, owner, index), by place; in one place the one that came first is first."""

    def __init__(self) -> None:
        self.weights: dict[M, int] = {}
        self.nodes: list[tuple[int, M, int]] = []

    def resize(self, owner: M, number: int, weight: int) -> None:
        """Give an owner with this id the nodes of its weight; those that it may keep stay."""
        before = self.weights.get(owner, 0)
        self.weights[owner] = weight
        self.nodes = [n for n in self.nodes if n[1] != owner or n[2] < 16 * weight]
        for index in range(16 * before, 16 * weight):
            self.nodes.append((mixed((number * 4096 + index) % CIRCLE), owner, index))
        self.nodes.sort(key=lambda node: node[0])

    def remove(self, owner: M) -> None:
        del self.weights[owner]
        self.nodes = [node for node in self.nodes if node[1] != owner]

    def lookup(
        self, value: int, skip: Callable[[M], bool] = nobody, avoid: Callable[[M], bool] = nobody
    ) -> M | None:
        nodes = [node for node in self.nodes if not skip(node[1])]
        if not nodes:
            return None
        above = next((i for i, node in enumerate(nodes) if node[0] >= value), 0)
        below = above - 1 if above else len(nodes) - 1
        down = (value - nodes[below][0]) % CIRCLE
        up = (nodes[above][0] - value) % CIRCLE
        chosen = below if down <= up else above
        wraps = 0
        while avoid(nodes[chosen][1]):
            chosen += 1
            if chosen == len(nodes):
                wraps += 1
                chosen = 0
            if wraps == 2:
                chosen = len(nodes) - 1
                break
        return nodes[chosen][1]

    def preference(self, value: int) -> list[M]:
        """Who takes over, as those before are lost one after the other."""
        lost: list[M] = []
        while (owner := self.lookup(value, skip=lost.__contains__)) is not None:
            lost.append(owner)
        return lost


def map_slots(weights: Sequence[int], all_weights: Sequence[int]) -> list[int]:
    """Whose slot each is, as an index: it goes to whoever lacks most whole slots of its share."""
    divisor = math.gcd(*all_weights) or 1
    shares = {index: math.ceil(weight / divisor) for index, weight in enumerate(weights) if weight}
    total = sum(shares.values())
    slots: list[int] = []
    for turn in range(1, total + 1):
        lacking = {i: turn * share // total - slots.count(i) for i, share in shares.items()}
        slots.append(max(lacking, key=lambda index: lacking[index]))
    return slots


def load_slots(weights: Sequence[int], served: int, factor: int) -> list[int]:
    """The sessions that each may have: its part of ``factor`` percent of all, as HAProxy counts."""
    if not weights:
        return []
    total = math.ceil(Fraction((served + 1) * factor, 100))
    whole = 16 * sum(weights)
    per, rest = divmod(total, whole)
    slots, below = [], 0
    for weight in (16 * weight for weight in weights):
        share = weight * per + (below + weight) * rest // whole - below * rest // whole
        slots.append(max(1, share))
        below += weight
    return slots


# --- rise and fall -------------------------------------------------------------------------------


@dataclass
class Gate:
    """A state, and the number of results in a row that speak against it."""

    rise: int
    fall: int
    is_up: bool = True
    streak: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def passed(self) -> None:
        self._count(agrees=self.is_up, needed=self.rise)

    def failed(self) -> None:
        self._count(agrees=not self.is_up, needed=self.fall)

    def set_up(self) -> None:
        self.is_up, self.streak = True, 0

    def set_down(self) -> None:
        self.is_up, self.streak = False, 0

    def reset(self) -> None:
        self.is_up, self.streak = True, self.fall - 1

    def _count(self, *, agrees: bool, needed: int) -> None:
        self.streak = 0 if agrees else self.streak + 1
        if self.streak == needed:
            self.is_up, self.streak = not self.is_up, 0

    @property
    def text(self) -> str:
        if self.is_up:
            return f"UP {self.fall - self.streak}/{self.fall}" if self.streak else "UP"
        return f"DOWN {self.streak}/{self.rise}" if self.streak else "DOWN"

    @property
    def pace(self) -> str:
        """Which interval counts: one that is in doubt is looked at more often."""
        if self.streak:
            return "fastinter"
        return "inter" if self.is_up else "downinter"


# --- the policies --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Server:
    """What the models know of a server; ``sessions`` and ``waiting`` are of the moment."""

    name: str
    number: int = 0
    weight: int = 1
    maxconn: int | None = None
    is_backup: bool = False
    is_cleared_when_down: bool = False
    is_stuck_to: bool = True
    admin: str = "ready"
    gate: Gate = field(default_factory=lambda: Gate(1, 1))
    sessions: int = 0
    waiting: int = 0

    @property
    def is_full(self) -> bool:
        return self.maxconn is not None and (self.waiting > 0 or self.sessions >= self.maxconn)

    @property
    def is_running(self) -> bool:
        return self.gate.is_up and self.admin != "maint"

    @property
    def is_usable(self) -> bool:
        return self.is_running and self.admin == "ready" and self.weight > 0

    @property
    def word(self) -> str:
        if self.admin == "maint":
            return "MAINT"
        if not self.gate.is_up:
            return "DOWN"
        return "DRAIN" if self.admin == "drain" else "UP"


class Offer(NamedTuple):
    """Those who may be chosen, in the order of the file, and the file's weights of all."""

    servers: list[Server]
    weights: list[int]

    def fit(self, avoid: str = "") -> list[Server]:
        """Those with room, without ``avoid`` unless there is no other."""
        fit = [server for server in self.servers if not server.is_full]
        return [server for server in fit if server.name != avoid] or fit


class Policy:
    """Chooses a name for a packed address; "" is nobody."""

    reason: ClassVar[str]

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        raise NotImplementedError

    def moved(self, name: str) -> None:
        """Told that a server got or lost a session, or began to take new ones on other terms."""


class Consistent(Policy):
    reason = "hash"

    def __init__(self, *, is_mixed: bool = True) -> None:
        self.is_mixed = is_mixed

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        if len(offer.servers) == 1:
            return offer.servers[0].name
        ring: Ring[str] = Ring()
        for server in offer.servers:
            ring.resize(server.name, server.number, server.weight)
        value = source_value(source)
        return ring.lookup(mixed(value) if self.is_mixed else value, avoid=avoid.__eq__) or ""


class MapBased(Policy):
    reason = "hash"

    def __init__(self, *, is_mixed: bool = False) -> None:
        self.is_mixed = is_mixed

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        slots = map_slots([server.weight for server in offer.servers], offer.weights)
        value = source_value(source)
        value = mixed(value) if self.is_mixed else value
        return offer.servers[slots[value % len(slots)]].name if slots else ""


class RoundRobin(Policy):
    """Each turn owes everybody with room its weight; whoever is owed most gets it, and pays it."""

    reason = "roundrobin"

    def __init__(self) -> None:
        # The weights of those who had room, and who got the turn.
        self.turns: list[tuple[dict[str, int], str]] = []

    def owed(self, name: str) -> int:
        due = sum(weights.get(name, 0) for weights, _ in self.turns)
        return due - sum(sum(weights.values()) for weights, got in self.turns if got == name)

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        weights = {server.name: server.weight for server in offer.fit()}
        if not weights:
            return ""
        names = [server.name for server in offer.fit(avoid)]
        best = max(names, key=lambda name: self.owed(name) + weights[name])
        self.turns.append((weights, best))
        return best


class LeastConn(Policy):
    """The fewest sessions for its weight; among equals whoever has stood in line for longest."""

    reason = "leastconn"

    def __init__(self) -> None:
        self.line: list[str] = []

    def moved(self, name: str) -> None:
        self.line = [other for other in self.line if other != name] + [name]

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        fit = {server.name: server for server in offer.fit(avoid)}
        # Those that never moved are in front, in the order of the file.
        names = [name for name in fit if name not in self.line]
        names += [name for name in self.line if name in fit]
        return min(names, key=lambda name: self.share(fit[name]), default="")

    @staticmethod
    def share(server: Server) -> int:
        """HAProxy counts in 256ths, rounded down, and an idle server is idle at any weight."""
        load = server.sessions + server.waiting
        return 256 * (load + 1) // server.weight if load else 0


class First(Policy):
    reason = "first"

    def choose(self, source: bytes, offer: Offer, avoid: str = "") -> str:
        fit = sorted(offer.fit(avoid), key=lambda server: server.number)
        return fit[0].name if fit else ""


# --- the stick table -----------------------------------------------------------------------------


@dataclass
class Row:
    key: bytes
    server: str
    touched: float


class Table:
    """Rows and the time. What has expired goes at the moment when it does."""

    def __init__(
        self,
        *,
        size: int = 100,
        ttl: float | None = None,
        nopurge: bool = False,
        accepts_ipv6: bool = True,
        now: float = 0.0,
    ) -> None:
        self.size = size
        self.ttl = ttl
        self.nopurge = nopurge
        self.accepts_ipv6 = accepts_ipv6
        self.now = now
        self.rows: list[Row] = []
        self.uses: Counter[bytes] = Counter()

    def key(self, packed: bytes) -> bytes | None:
        """An IPv4 client is the same one whichever socket it came to."""
        if packed[:-4] == bytes(10) + b"\xff\xff":
            packed = packed[-4:]
        return packed if len(packed) == 4 or self.accepts_ipv6 else None

    def go_to(self, now: float) -> None:
        self.now = now
        self.rows = [row for row in self.rows if self.left(row) > 0]

    def left(self, row: Row) -> float:
        if self.ttl is None:
            return math.inf
        return self.ttl if self.uses[row.key] else row.touched + self.ttl - self.now

    def row(self, key: bytes | None) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def peek(self, key: bytes | None) -> str | None:
        row = self.row(key)
        return row.server if row else None

    def match(self, key: bytes | None) -> str | None:
        row = self.row(key)
        if row:
            row.touched = self.now
        return self.peek(key)

    def store(self, key: bytes, server: str, gone: bytes | None = None) -> bool:
        """Write a row. In a full table an idle one that was touched least lately is gone for it."""
        row = self.row(key)
        if row is None and len(self.rows) == self.size:
            idle = [] if self.nopurge else [row for row in self.rows if not self.uses[row.key]]
            if not idle:
                return False
            oldest = min(row.touched for row in idle)
            assert gone in {row.key for row in idle if row.touched == oldest}
            self.remove(gone)
        else:
            assert gone is None, "there was room"
        self.remove(key)
        self.rows.append(Row(key, server, self.now))
        return True

    def hold(self, key: bytes) -> bool:
        if self.row(key) is None:
            return False
        self.uses[key] += 1
        return True

    def release(self, key: bytes) -> None:
        self.uses[key] -= 1
        row = self.row(key)
        if row and not self.uses[key]:
            row.touched = self.now

    def remove(self, key: bytes | None) -> bool:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.key != key]
        return len(self.rows) < before

    def remove_server(self, server: str) -> int:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.server != server]
        return before - len(self.rows)

    def restart(self, now: float, pause: float) -> None:
        """Come back after a pause, on another clock; the sessions are gone."""
        lefts = [(row, self.left(row) - pause) for row in self.rows]
        self.uses.clear()
        self.rows = [row for row, left in lefts if left > 0]
        for row, left in lefts:
            row.touched = now if self.ttl is None else now + left - self.ttl
        self.go_to(now)


# --- the relay -----------------------------------------------------------------------------------


class Relay:
    """Two ends, what each has said, and what the one in the middle has come to know of them.

    An end is *silent* when all that it will ever say has been passed on; it is *gone* when it has
    reset. From these two alone follows what the other one has to be told, and when all is over.
    """

    ends = ("client", "server")

    def __init__(self) -> None:
        self.said = {end: bytearray() for end in self.ends}
        self.heard = {end: bytearray() for end in self.ends}
        self.silent: set[str] = set()
        self.gone: set[str] = set()

    @staticmethod
    def other(end: str) -> str:
        return "server" if end == "client" else "client"

    def is_heard(self, end: str) -> bool:
        """Whether it is still worth while to listen to an end."""
        return end not in self.silent and self.other(end) not in self.gone

    def possible(self) -> list[tuple[str, str]]:
        """What may be learned next of whom: an end, a reset, or that it takes nothing any more."""
        found = []
        for end in self.ends:
            if self.is_heard(end):
                found += [(end, "ended"), (end, "reset"), (end, "refused")]
            elif end not in self.gone:
                found.append((end, "reset"))
        return [] if self.is_over() else found

    def learn(self, source: str, event: str) -> None:
        """Learn by listening to ``source``, or, for "refused", by passing on what it said."""
        if event == "refused":
            self.gone.add(self.other(source))
            return
        self.silent.add(source)
        if event == "reset":
            self.gone.add(source)

    def pass_on(self, source: str, count: int) -> None:
        """Let the other end hear the next bytes."""
        heard = self.heard[self.other(source)]
        heard += self.said[source][len(heard) : len(heard) + count]

    def unheard(self, source: str) -> int:
        return len(self.said[source]) - len(self.heard[self.other(source)])

    def due(self, end: str) -> str:
        """What an end that is there has to have been told by now: nothing, FIN or RST."""
        other = self.other(end)
        if other not in self.silent:
            return ""
        return "RST" if other in self.gone else "FIN"

    def is_over(self) -> bool:
        """Whether nobody is left who could say, or be told, any more."""
        dues = [self.due(end) for end in self.ends]
        return self.gone == set(self.ends) or "RST" in dues or dues == ["FIN", "FIN"]


# --- the balancer --------------------------------------------------------------------------------


@dataclass(eq=False)
class Session:
    """Where a session is: at its server, or queued for it, or for any if it has none."""

    source: bytes
    stage: str = "displaced"
    server: str = ""
    reason: str = ""
    tries: int = 0
    is_persistent: bool = False
    is_holding: bool = False

    @property
    def has_place(self) -> bool:
        return self.stage in {"connecting", "connected"}


class News(NamedTuple):
    """What a change of a server means for the sessions."""

    shutdown: list[Session]
    requeued: list[Session]
    admitted: list[Session]


@dataclass(kw_only=True)
class Balancer:
    """Sessions, and servers in the order of the file; the rest is worked out."""

    policy: Policy
    table: Table = field(default_factory=Table)
    matches: bool = True
    stores: bool = True
    redispatch: int = 0
    retries: int = 3
    allbackups: bool = False
    servers: dict[str, Server] = field(default_factory=dict)
    past: dict[str, Server] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    # In the order in which they came to where they are.
    sessions: list[Session] = field(default_factory=list)

    # -- who is where, and who may be chosen

    def active(self) -> list[Server]:
        return [s for s in self.servers.values() if s.is_usable and not s.is_backup]

    def group(self) -> list[Server]:
        backups = [s for s in self.servers.values() if s.is_usable and s.is_backup]
        return self.active() or (backups if self.allbackups else backups[:1])

    def at(self, name: str) -> list[Session]:
        return [s for s in self.sessions if s.has_place and s.server == name]

    def waiting(self, name: str = "") -> list[Session]:
        return [s for s in self.sessions if s.stage == "queued" and s.server == name]

    def runs(self, name: str | None) -> bool:
        return name in self.servers and self.servers[name].is_running

    def seen(self, server: Server) -> Server:
        name = server.name
        return replace(server, sessions=len(self.at(name)), waiting=len(self.waiting(name)))

    def choice(self, session: Session, avoid: str = "") -> str:
        offer = Offer([self.seen(s) for s in self.group()], list(self.weights.values()))
        return self.policy.choose(session.source, offer, avoid)

    # -- a session

    def arrive(self, source: bytes) -> Session | None:
        session = Session(source)
        stuck = self.table.match(self.table.key(source)) if self.matches else None
        if stuck is not None and self.runs(stuck):
            session.is_persistent = True
            session.reason = "sticky"
            self.go(session, stuck)
            return session
        return session if self.decide(session) else None

    def decide(self, session: Session, avoid: str = "") -> bool:
        if not self.group():
            return False
        name = self.choice(session, avoid)
        session.reason = "backup" if self.group()[0].is_backup else self.policy.reason
        self.go(session, name)
        return True

    def go(self, session: Session, name: str) -> None:
        if not name or self.seen(self.servers[name]).is_full:
            self.put(session, "queued", name)
        else:
            self.put(session, "connecting", name)
            self.policy.moved(name)

    def put(self, session: Session, stage: str, name: str) -> None:
        """Note where a session is now; it came there last of all."""
        session.stage, session.server = stage, name
        self.sessions = [other for other in self.sessions if other is not session] + [session]

    def vacate(self, session: Session) -> list[Session]:
        """Take its place from a session, for whoever has waited for it longest."""
        name = session.server
        session.stage = "displaced"
        self.policy.moved(name)
        names = {name, ""} if name in {server.name for server in self.group()} else {name}
        for heir in self.sessions:
            if heir.stage == "queued" and heir.server in names:
                heir.reason = heir.reason if heir.server else "queue"
                self.put(heir, "connecting", name)
                self.policy.moved(name)
                return [heir]
        return []

    def connect(self, session: Session) -> None:
        session.stage = "connected"
        key = self.table.key(session.source)
        if key is None or not (self.matches or self.stores):
            return
        if self.stores and {**self.past, **self.servers}[session.server].is_stuck_to:
            self.table.store(key, session.server)
        session.is_holding = self.table.hold(key)

    def fail(self, session: Session, cause: str) -> tuple[float, list[Session]] | None:
        """The pause before the next attempt and who got the place; None: there is no next one."""
        if cause == "local":
            return None
        session.tries += 1
        if session.tries > self.retries:
            return None
        is_moving = self.redispatch != 0 and self.is_moving(session)
        is_alone = len(self.active()) < 2
        pause = 1.0 if cause == "refused" and (is_alone or not is_moving) else 0.0
        if not is_moving:
            return pause, []
        if not self.group():
            return None
        before = session.server
        heirs = self.vacate(session)
        session.is_persistent = False
        self.decide(session, avoid=before)
        if session.server != before:
            session.reason = "redispatch"
        return (0.0 if session.stage == "queued" else pause), heirs

    def is_moving(self, session: Session) -> bool:
        """At every Nth retry, or at the Nth before the last; sooner if nothing binds it."""
        last = self.retries + 1
        every = self.redispatch if self.redispatch > 0 else max(1, last + self.redispatch)
        if not self.runs(session.server) or session.tries % every == 0:
            return True
        is_bound = session.is_persistent or self.policy.reason == "hash"
        return not is_bound and len(self.active()) > 1

    def leave(self, session: Session) -> list[Session]:
        if session.is_holding:
            key = self.table.key(session.source)
            assert key is not None
            self.table.release(key)
        heirs = self.vacate(session) if session.has_place else []
        self.sessions.remove(session)
        return heirs

    # -- a server

    def add(self, server: Server) -> News | None:
        used = {other.number for other in self.servers.values()}
        server.number = min(set(range(1, len(used) + 2)) - used)
        self.weights[server.name] = server.weight
        return self.change(server, lambda: self.servers.update({server.name: server}))

    def remove(self, name: str) -> News | None:
        del self.weights[name]
        self.past[name] = self.servers[name]
        return self.change(self.servers[name], lambda: self.servers.pop(name))

    def check(self, name: str, *, is_passed: bool) -> News | None:
        server = self.servers[name]
        if server.admin == "maint":
            return None
        return self.change(server, server.gate.passed if is_passed else server.gate.failed)

    def ask(self, name: str, admin: str) -> News | None:
        server = self.servers[name]

        def act() -> None:
            if server.admin == "maint" != admin:
                server.gate.reset()
            server.admin = admin

        return self.change(server, act)

    def weigh(self, name: str, weight: int) -> News | None:
        server = self.servers[name]
        return self.change(server, lambda: setattr(server, "weight", weight))

    def change(self, server: Server, act: Callable[[], Any]) -> News | None:
        """Do something to a server; None: nobody has to be told."""

        def facts() -> tuple[bool, str, int]:
            return server.name in self.servers, server.word, server.weight

        name, before, was_running = server.name, facts(), self.runs(server.name)
        was_usable = was_running and server.is_usable
        act()
        if facts() == before:
            return None
        is_running, is_there = self.runs(name), name in self.servers
        if is_running and server.is_usable:
            self.policy.moved(name)
        is_drained = was_usable and is_running and server.admin == "drain"
        is_lost = not is_running or (is_drained and self.redispatch != 0)
        requeued = self.waiting(name) if is_lost else []
        for session in requeued:
            session.stage, session.server, session.is_persistent = "displaced", "", False
        is_cleared = was_running and is_there and not is_running and server.is_cleared_when_down
        return News(self.at(name) if is_cleared else [], requeued, self.admit())

    def admit(self) -> list[Session]:
        """Let the policy decide for those who wait for any server, until there is no room."""
        admitted = []
        for session in self.waiting():
            name = self.choice(session) if self.group() else ""
            if not name:
                break
            self.go(session, name)
            session.reason = "queue"
            admitted += [session] if session.has_place else []
        return admitted
