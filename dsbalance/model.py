"""What a configuration says, as frozen values. No I/O.

Each value is validated once, where it is made, and raises :class:`ConfigError` with every problem
that it has. The words are HAProxy's (https://docs.haproxy.org/2.6/configuration.html): a
:class:`Frontend` accepts clients on its binds and names a :class:`Backend`, whose servers a policy
chooses from. A ``listen`` section is a frontend and a backend of one name.

All durations are seconds; ``None`` where a duration may be left out means *no limit*.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsbalance.door import BackendRule, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.http_options import HttpOptions
from dsbalance.log_options import BackendLog, FrontendLog, LogTarget
from dsbalance.references import ambiguous, dangling
from dsbalance.servers import MAX_ID, MAX_PORT, Check, Observe, Server
from dsbalance.stats_options import StatsSocket, node_name
from dsbalance.validation import (
    choose,
    demand,
    durations,
    identifier,
    repeated,
    text_line,
    whole,
)
from dsbalance.words import (
    Balance,
    HashKey,
    HashKind,
    InitState,
    OnError,
    SendProxy,
    SrvKey,
    StickAction,
    TableType,
)

__all__ = [
    "Backend",
    "Balance",
    "Bind",
    "Check",
    "Config",
    "Frontend",
    "HashKey",
    "HashKind",
    "HashType",
    "InitState",
    "Keepalive",
    "Observe",
    "OnError",
    "SendProxy",
    "Server",
    "SrvKey",
    "StickAction",
    "StickRule",
    "Table",
    "TableType",
]

MAX_PERCENT = 65535
# Each draw costs a look-up; two are nearly as good as all of them (Mitzenmacher 2001).
MAX_DRAWS = 1000


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
        choose(self, "kind", HashKind)

    @property
    def is_mixed(self) -> bool:
        """Whether a client's address goes through the avalanche before it is looked up."""
        return self.kind is HashKind.CONSISTENT if self.avalanche is None else self.avalanche


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A stick table: source address -> server, and how many connections the source has or makes.

    Attributes:
        size: Entries at the most; the oldest idle one gives way to a new one.
        expire: How long an idle entry is kept; None: until it is evicted.
        type: What it takes as a key.
        nopurge: Whether a full table refuses new entries instead of evicting old ones.
        srvkey: By what an entry finds its server in another backend or after a change.
        stores_conn_cur: Whether it counts the connections that a tracked source has
            (``store conn_cur``).
        conn_rate_period: Over how long it counts those that one has made
            (``store conn_rate(PERIOD)``); None: it does not.
    """

    size: int
    expire: float | None = None
    type: TableType = TableType.IP
    nopurge: bool = False
    srvkey: SrvKey = SrvKey.NAME
    stores_conn_cur: bool = False
    conn_rate_period: float | None = None

    def __post_init__(self) -> None:
        choose(self, "type", TableType)
        choose(self, "srvkey", SrvKey)
        demand(whole("size", self.size, 1), *durations(self, "expire", "conn_rate_period"))

    @property
    def counts_connections(self) -> bool:
        """Whether there is something in it to track a source for."""
        return self.stores_conn_cur or self.conn_rate_period is not None


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
        choose(self, "action", StickAction)


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
        demand(
            whole("keepalive idle", self.idle, 1, 32767, is_optional=True),
            whole("keepalive interval", self.interval, 1, 32767, is_optional=True),
            whole("keepalive count", self.count, 1, 127, is_optional=True),
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
        random_draws: How many servers ``balance random`` draws, 1 to 1000, to take the least busy.
        hash_balance_factor: Sessions in percent of the mean, 101 to 65535, from which a server is
            passed over on the ring, by ``source`` and ``random``; 0: off.
        fullconn: Sessions of the backend from which ``minconn`` plays no part; None: a tenth of
            what its frontends may have together, rounded up.
        persist: Whether a stick entry holds for a server that is down or in maint too.
        bounded_clients: Table entries in percent of the mean, 101 to 65535, from which a server is
            passed over by a client without an entry; None: off. It needs ``balance source``,
            ``hash-type consistent`` and a rule that stores.
        http: What ``mode http`` does on the servers' side; None: bytes pass as they are.
        id: HAProxy's id of the proxy in the statistics, from 1; None: the next that is free, from
            2. A ``listen`` has one for both.
        description: What to show of it (``description``).
        log: What is logged of its servers; None: nothing.
        loads_state: Whether its servers begin as :attr:`Config.state_file` has them
            (``load-server-state-from-file global``).
        state_file: A file of its own that they begin as (``load-server-state-from-file local``);
            None: there is none.
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
    random_draws: int = 2
    hash_balance_factor: int = 0
    fullconn: int | None = None
    persist: bool = False
    bounded_clients: int | None = None
    http: HttpOptions | None = None
    id: int | None = None
    description: str = ""
    log: BackendLog | None = None
    loads_state: bool = False
    state_file: str | None = None

    def __post_init__(self) -> None:
        choose(self, "balance", Balance)
        demand(
            identifier(self.name),
            whole("retries", self.retries, 0),
            whole("redispatch", self.redispatch, -MAX_ID - 1, MAX_ID),
            whole("random_draws", self.random_draws, 1, MAX_DRAWS),
            whole("hash_balance_factor", self.hash_balance_factor, 0, MAX_PERCENT),
            "hash_balance_factor must be 0, which is off, or above 100"
            if self.hash_balance_factor in range(1, 101)
            else None,
            whole("fullconn", self.fullconn, 1, is_optional=True),
            whole("bounded_clients", self.bounded_clients, 101, MAX_PERCENT, is_optional=True),
            "bounded_clients needs balance source, hash-type consistent and a rule that stores"
            if self.bounded_clients is not None and not self._counts_entries
            else None,
            *durations(
                self,
                "timeout_connect",
                "timeout_server",
                "timeout_server_fin",
                "timeout_tunnel",
                "timeout_queue",
            ),
            *repeated("server", [server.name for server in self.servers]),
            *repeated("id", [str(server.id) for server in self.servers if server.id]),
            "a monitor_uri is answered by a frontend"
            if self.http is not None and self.http.monitor_uri is not None
            else None,
            whole("id", self.id, 1, MAX_ID, is_optional=True),
            text_line("the description", self.description or None),
            text_line("the state file", self.state_file),
            "its servers begin as one file has them, the process's or its own"
            if self.loads_state and self.state_file is not None
            else None,
            subject="backend",
            name=self.name,
        )

    @property
    def _counts_entries(self) -> bool:
        """Whether a ring decides, so that there is a next server, and entries are written."""
        is_ring = self.balance is Balance.SOURCE and self.hash_type.kind is HashKind.CONSISTENT
        is_stored = any(rule.action is not StickAction.MATCH for rule in self.stick)
        return self.policy is None and is_ring and is_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """One listening address, or one address with a range of ports.

    Attributes:
        host: An IPv4 or IPv6 address; empty: every IPv4 address, ``::``: every IPv6 address.
        port: First port, 0 to 65535; 0 lets the system choose.
        last_port: Last port of the range; None: there is one port.
        name: For the logs and the statistics.
        id: In the statistics; None: the next that is free.
        v6only: For an IPv6 address: whether IPv4 clients are kept out; None: as the system does.
        accept_proxy: Whether every connection has to start with a PROXY header, which says where
            it comes from.
    """

    host: str = ""
    port: int
    last_port: int | None = None
    name: str = ""
    id: int | None = None
    v6only: bool | None = None
    accept_proxy: bool = False

    def __post_init__(self) -> None:
        last = self.last_port
        demand(
            whole("port", self.port, 0, MAX_PORT),
            whole("last port", last, 0, MAX_PORT, is_optional=True),
            whole("id", self.id, 1, MAX_ID, is_optional=True),
            "an id is that of one port"
            if self.id is not None and last not in (None, self.port)
            else None,
            subject="bind",
            name=self.host or "*",
        )
        if last is not None and last < self.port:
            demand(f"the port range {self.port}-{last} is empty", subject="bind", name=self)

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
        backend: The backend that serves its clients (``default_backend``), but for ``routes``.
            None: there is none; it answers in ``mode http`` what it answers itself, and 503.
        maxconn: Sessions at a time; more wait in the kernel's backlog; None: the process's limit.
        timeout_client: Limit of silence on the client's side.
        timeout_client_fin: The same once one direction has ended; None: as before.
        keepalive: TCP keepalive towards the clients; None: off.
        http: What ``mode http`` does on the clients' side; None: bytes pass as they are. The
            backends that it names have to be of the same mode.
        door: Who may come in, in the order of the file (``tcp-request connection``).
        routes: Who goes elsewhere than to ``backend``, the first that holds (``use_backend``).
        table: The stick table that it owns, to track its clients in.
        id: As that of a :class:`Backend`.
        description: Likewise.
        log: What is logged of its clients; None: nothing.
        counts_listeners: Whether each listening socket is counted by itself
            (``option socket-stats``).
    """

    name: str
    binds: tuple[Bind, ...]
    backend: str | None
    maxconn: int | None = None
    timeout_client: float | None = None
    timeout_client_fin: float | None = None
    keepalive: Keepalive | None = None
    http: HttpOptions | None = None
    door: tuple[DoorRule, ...] = ()
    routes: tuple[BackendRule, ...] = ()
    table: Table | None = None
    id: int | None = None
    description: str = ""
    log: FrontendLog | None = None
    counts_listeners: bool = False

    def __post_init__(self) -> None:
        demand(
            identifier(self.name),
            None if self.binds else "it has no bind, so nobody could reach it",
            "it has no backend, so it has nothing for anybody; in mode http it could answer itself"
            if self.backend is None and self.http is None
            else None,
            whole("maxconn", self.maxconn, 1, is_optional=True),
            *durations(self, "timeout_client", "timeout_client_fin"),
            whole("id", self.id, 1, MAX_ID, is_optional=True),
            *repeated("bind id", [str(bind.id) for bind in self.binds if bind.id is not None]),
            text_line("the description", self.description or None),
            subject="frontend",
            name=self.name,
        )

    @property
    def ways(self) -> tuple[str, ...]:
        """The backends that its clients may go to, each once."""
        ways = dict.fromkeys((self.backend, *(route.backend for route in self.routes)))
        return tuple(way for way in ways if way is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that one process runs.

    Attributes:
        frontends: In the order of the file.
        backends: In the order of the file.
        maxconn: Sessions of the whole process at a time; None: what the descriptors allow.
        hard_stop_after: Limit of a drain (SIGUSR1) before the sessions that are left are closed.
        logs: Where is logged what concerns no section (``log`` of ``global``).
        log_tag: What stands for the program's name in the logs (``log-tag``).
        log_hostname: What stands for the machine's name in them (``log-send-hostname``); None:
            nothing does in RFC 3164, empty: the machine's own name.
        node: The name to show of this machine (``node``); None: its own.
        description: What to show of it (``description``).
        sockets: Where the runtime API is spoken (``stats socket``).
        timeout_stats: Limit of silence there (``stats timeout``).
        maxconn_stats: Connections there at a time (``stats maxconn``).
        state_file: How servers are to begin (``server-state-file``).
    """

    frontends: tuple[Frontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    maxconn: int | None = None
    hard_stop_after: float | None = None
    logs: tuple[LogTarget, ...] = ()
    log_tag: str = "haproxy"
    log_hostname: str | None = None
    node: str | None = None
    description: str = ""
    sockets: tuple[StatsSocket, ...] = ()
    timeout_stats: float | None = 10.0
    maxconn_stats: int = 10
    state_file: str | None = None

    def __post_init__(self) -> None:
        demand(
            whole("maxconn", self.maxconn, 1, is_optional=True),
            whole("maxconn_stats", self.maxconn_stats, 1),
            *durations(self, "hard_stop_after", "timeout_stats"),
            text_line("log_tag", self.log_tag),
            text_line("log_hostname", self.log_hostname or None),
            text_line("node", self.node),
            node_name(self.node or ""),
            text_line("the description", self.description or None),
            text_line("state_file", self.state_file),
            *repeated("stats socket", [str(s) for s in self.sockets if s.port != 0]),
        )
        if problems := [*ambiguous(self), *dangling(self)]:
            raise ConfigError(*problems)
