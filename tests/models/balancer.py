"""One backend: sessions, in the order in which they came to where they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from .policies import Consistent, First, MapBased, Policy, Random
from .servers import Offer, Server
from .table import Table
from .turns import RoundRobin, StaticRoundRobin


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
    heirs: list[Session] = field(default_factory=list)

    @property
    def has_place(self) -> bool:
        return self.stage in {"connecting", "connected"}


class News(NamedTuple):
    """What a change of a server means for the sessions."""

    shutdown: list[Session]
    requeued: list[Session]
    admitted: list[Session]


class Shift(NamedTuple):
    """What a server was before it changed."""

    server: Server
    old: str
    was_running: bool
    is_back: bool


@dataclass(kw_only=True)
class Balancer:
    """Sessions, and servers in the order of the file; the rest is worked out.

    Each of the two groups, active servers and backups, has a policy that ``make`` makes.
    """

    make: Callable[[], Policy]
    table: Table = field(default_factory=Table)
    matches: bool = True
    stores: bool = True
    persists: bool = False
    redispatch: int = 0
    retries: int = 3
    allbackups: bool = False
    fullconn: int | None = None
    servers: dict[str, Server] = field(default_factory=dict)
    past: dict[str, Server] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    sessions: list[Session] = field(default_factory=list)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.policies = {False: self.make(), True: self.make()}
        if isinstance(self.policies[False], StaticRoundRobin):
            # One walk, in whatever map there is.
            self.policies[True] = self.policies[False]
        # Whose failed connects have become too many, and what follows from that.
        self.alarmed: list[str] = []
        self.shifts: list[Shift | None] = []
        # Whether a session that has come or is about to go is one too few in the list.
        self.extra = 0

    def begin(self, servers: Sequence[Server]) -> None:
        """Begin with the servers of the file. Each line without an id takes the next one free."""
        taken = {server.number for server in servers if server.number}
        candidate = 0
        for server in servers:
            candidate += 1
            if not server.number:
                while candidate in taken:
                    candidate += 1
                server.number = candidate
                taken.add(candidate)
            self.servers[server.name] = server
            self.weights[server.name] = server.weight
            if server.is_usable:
                group = self.usable(is_backup=server.is_backup)
                server.before = sum(other.share for other in group) - server.share
        self.adapt()

    # -- who is where, and who may be chosen

    @property
    def is_static(self) -> bool:
        """Whether parts of a weight are unknown to the policy."""
        return isinstance(self.policies[False], StaticRoundRobin | MapBased)

    def usable(self, *, is_backup: bool) -> list[Server]:
        return [s for s in self.servers.values() if s.is_usable and s.is_backup is is_backup]

    def group(self) -> list[Server]:
        backups = self.usable(is_backup=True)
        return self.usable(is_backup=False) or (backups if self.allbackups else backups[:1])

    def at(self, name: str) -> list[Session]:
        return [s for s in self.sessions if s.has_place and s.server == name]

    def waiting(self, name: str = "") -> list[Session]:
        return [s for s in self.sessions if s.stage == "queued" and s.server == name]

    def runs(self, name: str | None) -> bool:
        return name in self.servers and self.servers[name].is_running

    def seen(self, server: Server) -> Server:
        """A server with what it carries now, and with the limit that it has now."""
        return replace(
            server,
            sessions=len(self.at(server.name)),
            waiting=len(self.waiting(server.name)),
            maxconn=server.limit(len(self.sessions) + self.extra, self.fullconn, self.now),
        )

    def adapt(self) -> None:
        for is_backup, policy in self.policies.items():
            policy.adapt([self.seen(s) for s in self.usable(is_backup=is_backup)])

    def moved(self, name: str) -> None:
        server = self.servers.get(name)
        if server and server.is_usable:
            self.policies[server.is_backup].moved(self.seen(server))

    def choice(self, session: Session, avoid: str = "") -> str:
        group = self.group()
        policy = self.policies[group[0].is_backup]
        looks = isinstance(policy, StaticRoundRobin | Random)
        if group[0].is_backup and not self.allbackups and not looks:
            return group[0].name
        served = sum(len(self.at(name)) for name in self.servers)
        clients = {s.name: self.table.count(self.mark(s)) for s in group}
        offer = Offer([self.seen(s) for s in group], list(self.weights.values()), served, clients)
        return policy.choose(session.source, offer, avoid)

    def is_crowded(self) -> bool:
        """Whether who comes joins those who wait for any without a look at the servers."""
        is_asking = isinstance(self.policies[False], RoundRobin | StaticRoundRobin | First)
        return is_asking and bool(self.waiting())

    # -- a session

    def arrive(self, source: bytes) -> Session | None:
        session = Session(source)
        self.extra = 1
        try:
            return session if self.enter(session) else None
        finally:
            self.extra = 0

    def enter(self, session: Session) -> bool:
        stuck = self.remembered(session.source)
        if stuck is None or not (stuck.is_running or self.persists):
            return self.decide(session)
        if not self.seen(stuck).is_crammed:
            session.is_persistent = True
            session.reason = "sticky"
            return self.go(session, stuck.name)
        if self.redispatch == 0 or not self.decide(session, avoid=stuck.name):
            return False
        session.reason = "redispatch"
        return True

    def remembered(self, source: bytes) -> Server | None:
        """Whom the table names for a client: by what it calls a server, else by the id."""
        key = self.table.key(source)
        if not self.matches or self.table.match(key) is None:
            return None
        row = self.table.row(key)
        servers = self.servers.values()
        named = [server for server in servers if row and self.mark(server) == row.server]
        named += [server for server in servers if row and server.number == row.number]
        return named[0] if named else None

    def mark(self, server: Server) -> str:
        """What a server is called in the table."""
        return server.name if self.table.srvkey == "name" else server.address

    def decide(self, session: Session, avoid: str = "") -> bool:
        if not self.group():
            return False
        name = "" if self.is_crowded() else self.choice(session, avoid)
        is_backup = self.group()[0].is_backup
        session.reason = "backup" if is_backup else self.policies[False].reason
        return self.go(session, name)

    def go(self, session: Session, name: str) -> bool:
        """Go to a server, or wait for it, or for any; False if that queue is full."""
        server = self.seen(self.servers[name]) if name else None
        if server is None:
            self.put(session, "queued", "")
        elif not server.is_full:
            self.put(session, "connecting", name)
            self.moved(name)
        elif server.is_crammed:
            return False
        else:
            self.put(session, "queued", name)
        return True

    def put(self, session: Session, stage: str, name: str) -> None:
        """Note where a session is now; it came there last of all."""
        session.stage, session.server = stage, name
        self.sessions = [other for other in self.sessions if other is not session] + [session]
        self.extra = 0

    def vacate(self, session: Session) -> list[Session]:
        """Take its place from a session, for those who have waited for it longest."""
        name = session.server
        session.stage = "displaced"
        self.moved(name)
        return self.let_in(name)

    def let_in(self, name: str) -> list[Session]:
        """Give the places of a server that are free to those who wait for it or for any."""
        names = {name, ""} if name in {server.name for server in self.group()} else {name}
        admitted = []
        while name in self.servers or name in self.past:
            heirs = [s for s in self.sessions if s.stage == "queued" and s.server in names]
            server = self.seen({**self.past, **self.servers}[name])
            if not heirs or (server.maxconn is not None and server.sessions >= server.maxconn):
                break
            heir = heirs[0]
            heir.reason = heir.reason if heir.server else "queue"
            self.put(heir, "connecting", name)
            self.moved(name)
            admitted.append(heir)
        return admitted

    def connect(self, session: Session) -> None:
        session.stage = "connected"
        server = {**self.past, **self.servers}[session.server]
        if server.watch:
            server.watch.forgive()
        key = self.table.key(session.source)
        if key is None or not (self.matches or self.stores):
            return
        if self.stores and server.is_stuck_to:
            self.table.store(key, self.mark(server), number=server.number)
        session.is_holding = self.table.hold(key)

    def fail(self, session: Session, cause: str) -> tuple[float, list[Session]] | None:
        """The pause before the next attempt and who got the place; None: there is no next one."""
        if cause == "local":
            return None
        session.tries += 1
        self.count_failure(session.server)
        if session.tries > self.retries:
            return None
        is_moving = self.redispatch != 0 and self.is_moving(session)
        is_alone = len(self.group()) < 2
        pause = 1.0 if cause == "refused" and (is_alone or not is_moving) else 0.0
        if not is_moving:
            return pause, []
        heirs = self.vacate(session)
        session.is_persistent = False
        if not pause and not self.decide_anew(session):
            session.heirs = heirs
            return None
        return pause, heirs

    def decide_anew(self, session: Session) -> bool:
        """Decide for one that has lost its place or its turn, or left its place to pause."""
        left = session.server
        if not self.decide(session, avoid=left):
            return False
        if left not in {"", session.server}:
            session.reason = "redispatch"
        return True

    def count_failure(self, name: str) -> None:
        """Let a failed connect tell on its server, at once; :meth:`alarm` says what it means."""
        server = self.servers.get(name)
        if server and server.watch and server.watch.count() and server.is_running:
            self.alarmed.append(name)
            self.shifts.append(self.shift(server, server.watch.act))

    def alarm(self) -> tuple[list[str], list[News]]:
        """Who is to be checked soon, and what failed connects mean for the sessions."""
        names, shifts = self.alarmed, self.shifts
        self.alarmed, self.shifts = [], []
        return names, [self.news(shift) for shift in shifts if shift]

    def is_moving(self, session: Session) -> bool:
        """At every Nth retry, or at the Nth before the last; sooner if nothing binds it.

        A server that has yet to get warm counts like one that is lost.
        """
        last = self.retries + 1
        every = self.redispatch if self.redispatch > 0 else abs(last + self.redispatch) or 1
        is_sound = self.runs(session.server) and self.servers[session.server].since is None
        if not is_sound or session.tries % every == 0:
            return True
        is_hash = isinstance(self.policies[False], Consistent | MapBased)
        is_bound = session.is_persistent or is_hash
        return not is_bound and len(self.group()) > 1

    def leave(self, session: Session) -> list[Session]:
        if session.is_holding:
            key = self.table.key(session.source)
            assert key is not None
            self.table.release(key)
        stage, heirs = session.stage, session.heirs
        if session.has_place:
            heirs = self.vacate(session)
        self.sessions.remove(session)
        if stage == "queued":
            heirs = self.let_in(session.server) if session.server else []
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
        if server.watch and is_passed:
            server.watch.forgive()
        return self.change(server, server.gate.passed if is_passed else server.gate.failed)

    def ask(self, name: str, admin: str) -> News | None:
        server = self.servers[name]

        def act() -> None:
            if server.admin == "maint" != admin:
                server.gate.reset()
            if server.admin != admin and server.since is not None:
                server.start(self.now, is_slow=True)
                server.warm(self.now, is_whole=self.is_static)
            server.admin = admin

        return self.change(server, act)

    def take_for(self, name: str, health: str) -> News | None:
        """Take a server for up, stopping or down until its checks say otherwise."""
        gate = self.servers[name].gate
        acts = {"up": gate.set_up, "stopping": gate.set_stopping, "down": gate.set_down}
        return self.change(self.servers[name], acts[health])

    def weigh(self, name: str, weight: int) -> News | None:
        server = self.servers[name]
        return self.change(server, lambda: setattr(server, "weight", weight))

    def warm(self) -> list[Session]:
        """Let those that start slowly have what is theirs by now."""
        warmer = [server for server in self.servers.values() if server.since is not None]
        for server in warmer:
            server.warm(self.now, is_whole=self.is_static)
        self.adapt()
        return [heir for server in warmer for heir in self.let_in(server.name)]

    def change(self, server: Server, act: Callable[[], Any]) -> News | None:
        """Do something to a server; None: nobody has to be told."""
        shift = self.shift(server, act)
        return self.news(shift) if shift else None

    def shift(self, server: Server, act: Callable[[], Any]) -> Shift | None:
        """Do it, and leave open what it means for the sessions."""

        def facts() -> tuple[bool, str, int]:
            return server.name in self.servers, server.word, server.weight

        before, was_running = facts(), self.runs(server.name)
        act()
        if facts() == before:
            return None
        is_open = self.runs(server.name) and server.word != "NOLB"
        was_open = was_running and before[1] != "NOLB"
        is_back = is_open and not was_open
        if is_open is not was_open and before[0]:
            server.start(self.now, is_slow=is_open)
            server.warm(self.now, is_whole=self.is_static)
        self.adapt()
        return Shift(server, before[1], was_running, is_back)

    def news(self, shift: Shift) -> News:
        server, name = shift.server, shift.server.name
        is_running, is_there = self.runs(name), name in self.servers
        is_drained = shift.old != server.word and server.word in {"DRAIN", "NOLB"}
        is_lost = not is_running or (is_drained and self.redispatch != 0)
        if self.persists:
            is_lost = not is_there
        requeued = self.waiting(name) if is_lost else []
        for session in requeued:
            session.stage, session.server, session.is_persistent = "displaced", "", False
        admitted = self.admit(name)
        shutdown = []
        if shift.was_running and is_there and not is_running and server.is_cleared_when_down:
            shutdown = self.at(name)
        if shift.is_back and server.is_clearing_backups and server.weight and not server.is_backup:
            shutdown = [session for session in self.sessions if self.is_at_backup(session)]
        return News(shutdown, requeued, admitted)

    def is_at_backup(self, session: Session) -> bool:
        server = self.servers.get(session.server)
        return session.has_place and server is not None and server.is_backup

    def admit(self, name: str) -> list[Session]:
        """Let in those who wait, to the server that changed and then to any: none waits in vain."""
        admitted = self.let_in(name) if self.runs(name) else []
        for server in self.group():
            if self.waiting():
                admitted += self.let_in(server.name)
        return admitted
