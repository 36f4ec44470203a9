"""What a configuration says, as frozen values. No I/O.

Each value is validated once, where it is made, and raises :class:`ConfigError` with every problem
that it has. The words are HAProxy's (https://docs.haproxy.org/2.6/configuration.html): a
:class:`Frontend` accepts clients on its binds and names a :class:`Backend`, whose servers a policy
chooses from. A ``listen`` section is a frontend and a backend of one name.

All durations are seconds; ``None`` where a duration may be left out means *no limit*.
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsbalance.errors import ConfigError, Problem
from dsbalance.hashring import MAX_WEIGHT

# Names may stand in statistics, logs and the runtime API: HAProxy allows letters, digits, `-_.:`.
_NAME = re.compile(r"[A-Za-z0-9_.:-]+")
# HAProxy keeps ids in a signed 32-bit integer.
_MAX_ID = 2**31 - 1
_MAX_PORT = 65535
# What no number of a configuration reaches; Python refuses to write one of 4,300 digits.
_MAX_BITS = 64
# HAProxy refuses timers of 2^31 ms and more (24.8 days).
_MAX_SECONDS = 2**31 / 1000


class Balance(enum.StrEnum):
    """How a backend chooses among its servers, in the words of ``balance``."""

    ROUNDROBIN = "roundrobin"
    LEASTCONN = "leastconn"
    FIRST = "first"
    SOURCE = "source"


class HashKind(enum.StrEnum):
    """How ``balance source`` turns a hash into a server, in the words of ``hash-type``."""

    MAP_BASED = "map-based"
    CONSISTENT = "consistent"


class StickAction(enum.StrEnum):
    """What a ``stick`` rule does with the table."""

    ON = "on"
    MATCH = "match"
    STORE_REQUEST = "store-request"


class TableType(enum.StrEnum):
    """What a stick table takes as a key. ``ip`` has no place for an IPv6 source."""

    IP = "ip"
    IPV6 = "ipv6"


def _choose(value: object, name: str, kind: type[enum.StrEnum]) -> None:
    """Let a word stand for the member of ``kind`` that it is the value of."""
    word = getattr(value, name)
    if isinstance(word, kind):
        return
    try:
        # The only way to set what is frozen; it is not shared with anybody yet.
        object.__setattr__(value, name, kind(word))
    except ValueError:
        raise ConfigError(f"{name} must be one of {', '.join(kind)}, not {word!r}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """How a server's health is watched: TCP connects, each ended by RST.

    Attributes:
        ports: All of them must accept; empty means the server's own port.
        host: The address to check, where it is not the server's.
        interval: From the end of a check to the next one, while the server is fully up (``inter``).
        fast_interval: The same while the state is in doubt (``fastinter``); None: ``interval``.
        down_interval: The same while the server is down (``downinter``); None: ``interval``.
        rise: Passed checks in a row that bring a server up, at least 1.
        fall: Failed checks in a row that bring a server down, at least 1.
        timeout: Limit of a check once it is connected (``timeout check``); None: ``interval``
            limits the whole check.
    """

    ports: tuple[int, ...] = ()
    host: str | None = None
    interval: float = 2.0
    fast_interval: float | None = None
    down_interval: float | None = None
    rise: int = 2
    fall: int = 3
    timeout: float | None = None

    def __post_init__(self) -> None:
        _demand(
            *(_whole("check port", port, 1, _MAX_PORT) for port in self.ports),
            *_durations(self, "interval", "fast_interval", "down_interval", "timeout"),
            _whole("rise", self.rise, 1),
            _whole("fall", self.fall, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One application server.

    Attributes:
        name: Its identifier, unique in the backend.
        host: An IPv4 or IPv6 address, or a name that is resolved once, at the start.
        port: TCP port, or None: the port that the client came to.
        weight: Share of new clients relative to the others, 0 to 256; 0 takes no new ones.
        backup: Whether it serves only while no other server can.
        id: HAProxy's ``id``, which places it on the hash ring; None: by its place in the backend.
        disabled: Whether it starts in the state *maint*.
        check: How it is watched; None: it is taken to be up.
        track: ``backend/server`` whose health it shares instead of being checked.
        shutdown_on_down: Whether its sessions end when it is marked down
            (``on-marked-down shutdown-sessions``).
        maxconn: Sessions at a time, the others wait in its queue; None: no limit.
        non_stick: Whether no client is stuck to it: for a backup that clients are to leave as soon
            as their own server is back.
    """

    name: str
    host: str
    port: int | None = None
    weight: int = 1
    backup: bool = False
    id: int | None = None
    disabled: bool = False
    check: Check | None = None
    track: str | None = None
    shutdown_on_down: bool = False
    maxconn: int | None = None
    non_stick: bool = False

    def __post_init__(self) -> None:
        _demand(
            _name(self.name),
            None if self.host and isinstance(self.host, str) else "an address is missing",
            _whole("port", self.port, 1, _MAX_PORT, is_optional=True),
            _whole("weight", self.weight, 0, MAX_WEIGHT),
            _whole("id", self.id, 1, _MAX_ID, is_optional=True),
            _whole("maxconn", self.maxconn, 1, is_optional=True),
            "it can be checked or track another server, not both"
            if self.check and self.track
            else None,
            "it has neither a port nor a check port, so it cannot be checked"
            if self.check and self.port is None and not self.check.ports
            else None,
            f"track wants BACKEND/SERVER, not {self.track!r}"
            if self.track is not None and self.track.count("/") != 1
            else None,
            subject="server",
            name=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HashType:
    """HAProxy's ``hash-type``.

    Attributes:
        kind: ``map-based`` moves most clients when a server is lost, ``consistent`` only its own.
        avalanche: Whether the client's hash is mixed once more; None: HAProxy's default, which is
            to mix for ``consistent`` and not to mix for ``map-based``.
    """

    kind: HashKind = HashKind.MAP_BASED
    avalanche: bool | None = None

    def __post_init__(self) -> None:
        _choose(self, "kind", HashKind)

    @property
    def is_mixed(self) -> bool:
        """Whether a client's address goes through the avalanche before it is looked up."""
        return self.kind is HashKind.CONSISTENT if self.avalanche is None else self.avalanche


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The stick table that a backend owns: source address -> server.

    Attributes:
        size: Entries at the most; the oldest idle one gives way to a new one.
        expire: How long an idle entry is kept; None: until it is evicted.
        type: What it takes as a key.
        nopurge: Whether a full table refuses new entries instead of evicting old ones.
    """

    size: int
    expire: float | None = None
    type: TableType = TableType.IP
    nopurge: bool = False

    def __post_init__(self) -> None:
        _choose(self, "type", TableType)
        _demand(_whole("size", self.size, 1), *_durations(self, "expire"))


@dataclass(frozen=True, slots=True, kw_only=True)
class StickRule:
    """One ``stick`` line: match the table, store into it, or both.

    Attributes:
        action: ``on`` is ``match`` and ``store-request`` together.
        table: The backend whose table is meant; None: the backend's own.
    """

    action: StickAction = StickAction.ON
    table: str | None = None

    def __post_init__(self) -> None:
        _choose(self, "action", StickAction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """TCP keepalive on one side; None leaves a number to the system.

    Attributes:
        idle: Whole seconds of silence before the first probe, at most 32767 (tcp(7)).
        interval: Whole seconds between probes, at most 32767.
        count: Unanswered probes that end the connection, at most 127.
    """

    idle: int | None = None
    interval: int | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        _demand(
            _whole("keepalive idle", self.idle, 1, 32767, is_optional=True),
            _whole("keepalive interval", self.interval, 1, 32767, is_optional=True),
            _whole("keepalive count", self.count, 1, 127, is_optional=True),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A set of servers, with what chooses among them and what remembers the choice.

    Attributes:
        name: Unique among the backends.
        servers: In the order of the file, which decides ties, backups and ids.
        balance: The policy that ships; not looked at when ``policy`` is given.
        hash_type: For ``balance source``.
        policy: A policy of the user's own: an object with ``choose``, or ``package.module:Name``
            of something that makes one when it is called without arguments.
        table: The stick table that this backend owns.
        stick: The rules, in the order of the file.
        retries: Attempts after the first one has failed, 0 or more.
        redispatch: 0: a retry goes to the same server. N > 0: every Nth retry goes to another one.
            N < 0: counted from the last retry, so -1 is the last alone (``option redispatch``).
        allbackups: Whether all backups share the load, or the first usable one takes it.
        timeout_connect: Limit of one attempt.
        timeout_server: Limit of silence on the server's side.
        timeout_server_fin: The same once one direction has ended; None: as before.
        timeout_tunnel: Replaces the client's and the server's limit once both are connected.
        timeout_queue: Limit of waiting for a free place; None: ``timeout_connect``.
        keepalive: TCP keepalive towards the servers; None: off.
    """

    name: str
    servers: tuple[Server, ...] = ()
    balance: Balance = Balance.ROUNDROBIN
    hash_type: HashType = HashType()
    policy: object | None = None
    table: Table | None = None
    stick: tuple[StickRule, ...] = ()
    retries: int = 3
    redispatch: int = 0
    allbackups: bool = False
    timeout_connect: float | None = 5.0
    timeout_server: float | None = None
    timeout_server_fin: float | None = None
    timeout_tunnel: float | None = None
    timeout_queue: float | None = None
    keepalive: Keepalive | None = None

    def __post_init__(self) -> None:
        _choose(self, "balance", Balance)
        _demand(
            _name(self.name),
            _whole("retries", self.retries, 0),
            _whole("redispatch", self.redispatch, -_MAX_ID - 1, _MAX_ID),
            *_durations(
                self,
                "timeout_connect",
                "timeout_server",
                "timeout_server_fin",
                "timeout_tunnel",
                "timeout_queue",
            ),
            *_repeated("server", [server.name for server in self.servers]),
            *_repeated("id", [str(server.id) for server in self.servers if server.id]),
            subject="backend",
            name=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """One listening address, or one address with a range of ports.

    Attributes:
        host: An IPv4 or IPv6 address; empty: every IPv4 address, ``::``: every IPv6 address.
        port: First port, 0 to 65535; 0 lets the system choose.
        last_port: Last port of the range; None: there is one port.
        name: For the logs and the statistics.
        v6only: For an IPv6 address: whether IPv4 clients are kept out; None: as the system does.
    """

    host: str = ""
    port: int
    last_port: int | None = None
    name: str = ""
    v6only: bool | None = None

    def __post_init__(self) -> None:
        last = self.last_port
        _demand(
            _whole("port", self.port, 0, _MAX_PORT),
            _whole("last port", last, 0, _MAX_PORT, is_optional=True),
            subject="bind",
            name=self.host or "*",
        )
        if last is not None and last < self.port:
            _demand(f"the port range {self.port}-{last} is empty", subject="bind", name=self)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        ports = str(self.port) if self.last_port is None else f"{self.port}-{self.last_port}"
        return f"{host}:{ports}"

    @property
    def ports(self) -> range:
        """The ports that it listens on."""
        return range(self.port, (self.port if self.last_port is None else self.last_port) + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontend:
    """Where clients connect.

    Attributes:
        name: Unique among the frontends; a backend may have the same one (``listen``).
        binds: At least one.
        backend: The backend that serves its clients (``default_backend``).
        maxconn: Sessions at a time; more wait in the kernel's backlog; None: the process's limit.
        timeout_client: Limit of silence on the client's side.
        timeout_client_fin: The same once one direction has ended; None: as before.
        keepalive: TCP keepalive towards the clients; None: off.
    """

    name: str
    binds: tuple[Bind, ...]
    backend: str
    maxconn: int | None = None
    timeout_client: float | None = None
    timeout_client_fin: float | None = None
    keepalive: Keepalive | None = None

    def __post_init__(self) -> None:
        _demand(
            _name(self.name),
            None if self.binds else "it has no bind, so nobody could reach it",
            _whole("maxconn", self.maxconn, 1, is_optional=True),
            *_durations(self, "timeout_client", "timeout_client_fin"),
            subject="frontend",
            name=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that one process runs.

    Attributes:
        frontends: In the order of the file.
        backends: In the order of the file.
        maxconn: Sessions of the whole process at a time; None: what the descriptors allow.
        hard_stop_after: Limit of a drain (SIGUSR1) before the sessions that are left are closed.
    """

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    maxconn: int | None = None
    hard_stop_after: float | None = None

    def __post_init__(self) -> None:
        problems = [
            *(Problem(text) for text in _repeated("frontend", [f.name for f in self.frontends])),
            *(Problem(text) for text in _repeated("backend", [b.name for b in self.backends])),
            *_dangling(self),
        ]
        _demand(
            _whole("maxconn", self.maxconn, 1, is_optional=True),
            *_durations(self, "hard_stop_after"),
        )
        if problems:
            raise ConfigError(*problems)


def _dangling(config: Config) -> Iterator[Problem]:
    """Yield a problem for each name that nothing answers to."""
    tables = {backend.name: backend.table for backend in config.backends}
    for frontend in config.frontends:
        if frontend.backend not in tables:
            yield Problem(
                f"there is no backend {frontend.backend!r}", subject=f"frontend {frontend.name}"
            )
    for backend in config.backends:
        for rule in backend.stick:
            owner = backend.name if rule.table is None else rule.table
            if tables.get(owner) is None:
                yield Problem(
                    f"stick: {owner!r} has no stick-table", subject=f"backend {backend.name}"
                )
    pairs = [(backend.name, server) for backend in config.backends for server in backend.servers]
    tracking = [(name, server.name, server.track) for name, server in pairs if server.track]
    servers = {f"{name}/{server.name}": server for name, server in pairs} if tracking else {}
    for backend_name, server_name, track in tracking:
        subject = f"backend {backend_name}, server {server_name}"
        other = servers.get(track)
        if other is None:
            yield Problem(f"track: there is no server {track!r}", subject=subject)
        elif other.track is not None:
            yield Problem(f"track: {track} tracks another server itself", subject=subject)
        elif other.check is None:
            yield Problem(f"track: {track} is not checked", subject=subject)


def _demand(*findings: str | None, subject: str = "", name: object = "") -> None:
    """Raise ConfigError, about ``subject`` of that name, if any finding is a sentence."""
    if any(findings):
        subject = f"{subject} {name}".strip()
        raise ConfigError(*(Problem(text, subject=subject) for text in findings if text))


def _name(name: object) -> str | None:
    if isinstance(name, str) and _NAME.fullmatch(name):
        return None
    return f"a name is made of letters, digits and '-_.:', not {name!r}"


def _whole(
    word: str, number: object, low: int, high: int | None = None, *, is_optional: bool = False
) -> str | None:
    """Return what is wrong with a number: a share of 1.5 would fail later, in front of a client."""
    if number is None and is_optional:
        return None
    if not isinstance(number, int) or isinstance(number, bool):
        return f"{word} must be a whole number, not {number!r}"
    if number.bit_length() > _MAX_BITS:
        return f"{word} must not have so many digits"
    if number < low or (high is not None and number > high):
        bounds = f"at least {low}" if high is None else f"{low} to {high}"
        return f"{word} must be {bounds}, not {number}"
    return None


def _durations(value: object, *names: str) -> list[str]:
    found = []
    for name in names:
        seconds = getattr(value, name)
        if seconds is None:
            continue
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            found.append(f"{name} must be a number of seconds, not {seconds!r}")
        elif isinstance(seconds, int) and seconds.bit_length() > _MAX_BITS:
            found.append(f"{name} must not have so many digits")
        elif not 0 < seconds < _MAX_SECONDS:
            found.append(f"{name} must be above 0 and below {_MAX_SECONDS:.0f} s, not {seconds}")
    return found


def _repeated(word: str, names: Sequence[str]) -> list[str]:
    # Mostly nothing is, and a Counter takes many times as long as a set.
    if len(set(names)) == len(names):
        return []
    return [f"{word} {name!r} is given {n} times" for name, n in Counter(names).items() if n > 1]
