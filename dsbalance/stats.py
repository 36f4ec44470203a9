"""Frozen pictures of what happens and of what was counted. No I/O, no clock.

    of              is a                made by
    a listener      ListenerSnapshot    its frontend, with ``option socket-stats``
    a frontend      FrontendSnapshot    dsbalance.entrances
    a server        ServerSnapshot      dsbalance.placement
    a backend       BackendSnapshot     dsbalance.roster, with its servers'
    a session       SessionSnapshot     dsbalance.entrances
    the process     Snapshot            dsbalance.engine, with all but the sessions

A snapshot may be read on any thread. Its words are HAProxy's where it has plain ones; its column in
``show stat`` stands in brackets (the HAProxy 2.6 management guide, section 9.1). What is counted is
said at :mod:`dsbalance.counters`. All durations are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from dsbalance.checks import CheckResult
from dsbalance.counters import Times


class Responses(NamedTuple):
    """Responses in HTTP mode, by the hundreds of their status.

    Attributes:
        other: 0, or 600 and more.
        informational: 1xx. The others likewise, 2xx to 5xx.
    """

    other: int = 0
    informational: int = 0
    successful: int = 0
    redirection: int = 0
    client_error: int = 0
    server_error: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSnapshot:
    """The checks of a server at one moment.

    Attributes:
        last: What the last one came to; None: there was none yet.
        ended_at: Seconds since it ended; None: as above.
        is_running: Whether one is under way.
        is_paused: Whether there are none for now, for an operator said so or it is in maintenance.
        rise: Passed checks in a row that bring it up (``check_rise``).
        fall: Failed ones that bring it down (``check_fall``).
        health: HAProxy's counter, 0 to ``rise + fall - 1``; up from ``rise`` on (``check_health``).
        host: Where it goes, if not to the server's address; None: there.
        port: The one port that it goes to, if not to the server's; None: there, or to several.
    """

    last: CheckResult | None
    ended_at: float | None
    is_running: bool
    is_paused: bool
    rise: int
    fall: int
    health: int
    host: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSnapshot:
    """One server at one moment; what is counted, see :class:`dsbalance.counters.ServerCounters`.

    Attributes:
        name: Its name in its backend.
        id: HAProxy's id, from 1 (``sid``).
        host: Its address, as configured, or as an operator has set it.
        port: Its port; None: the one that the client came to.
        address: Host and port as its connections go there: an address, not a name (``addr``).
        status: HAProxy's word, such as ``UP 1/3``, ``DRAIN``, ``no check`` or
            ``MAINT (via paragon/primary-1)``.
        op: What it does, 0 to 3; see :class:`dsbalance.placement.OpState`.
        reason: Why its state is what it is, in words; empty: it was so from the start.
        admin: What was asked of it itself: ``ready``, ``drain`` or ``maint``.
        inherited: What was asked of the server that it tracks; ``ready`` without one.
        is_disabled: Whether the configuration says ``disabled``, whatever was asked for since.
        is_usable: Whether new clients may be sent there by a policy.
        is_backup: Whether it is a backup (``bck``).
        tracked: ``backend/server`` whose health it shares; None: it tracks nobody.
        check: Its checks; None: it has none of its own.
        weight: The one in force (``weight``).
        asked_weight: The one that was asked for last, whatever a slow start makes of it
            (``uweight``).
        initial_weight: The one that is configured.
        throttle: Percent that a slow start lets it carry; None: it does not start slowly.
        maxconn: Its limit of sessions (``slim``); None: there is none.
        maxqueue: Its limit of sessions that wait for it (``qlimit``); None: there is none.
        current: Sessions that hold a place at it (``scur``).
        queued: Sessions that wait for a place at it (``qcur``).
        kept: Connections to it that rest between two requests.
        rate: Sessions of the last second (``rate``).
        rate_peak: The most in a second (``rate_max``).
        since_used: Seconds since a session last came (``lastsess``); None: none did.
        seconds_in_state: How long its state is what it is, counts aside (``lastchg``).
        downtime: Seconds that it was not running, all in all (``downtime``).
        means: Of the last 1024 sessions or requests (``qtime``, ``ctime``, ``rtime``, ``ttime``).
        longest: Of all of them.
    """

    name: str
    id: int
    host: str
    port: int | None
    address: str
    status: str
    op: int
    reason: str
    admin: str
    inherited: str
    is_disabled: bool
    is_usable: bool
    is_backup: bool
    tracked: str | None
    check: CheckSnapshot | None
    weight: int
    asked_weight: int
    initial_weight: int
    throttle: int | None
    maxconn: int | None
    maxqueue: int | None
    current: int
    peak: int
    total: int
    chosen: int
    queued: int
    queued_peak: int
    kept: int
    rate: int
    rate_peak: int
    since_used: float | None
    connect_errors: int
    response_errors: int
    responses_denied: int
    retries: int
    redispatches: int
    connects: int
    reuses: int
    requests: int
    responses: Responses
    bytes_in: int
    bytes_out: int
    check_failures: int
    alarms: int
    downs: int
    client_aborts: int
    server_aborts: int
    errors: int
    seconds_in_state: float
    downtime: float
    means: Times
    longest: Times

    @property
    def last_check(self) -> str:
        """What the last check came to, in words; empty before the first."""
        result = self.check.last if self.check is not None else None
        return "" if result is None else result.summary


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSnapshot:
    """One backend at one moment. What happened at its servers, removed ones too, is summed up.

    What is not said here is said at :class:`dsbalance.counters.BackendCounters` and at
    :class:`ServerSnapshot`.

    Attributes:
        name: Its name.
        id: HAProxy's id of the proxy (``iid``), the frontend's of a ``listen``; from 2.
        is_http: Whether it is in ``mode http``.
        balance: The words of its ``balance`` (``algo``).
        is_static: Whether its policy knows no parts of a weight.
        status: ``UP`` if a server is usable or there is none at all, else ``DOWN``.
        active: Servers that are usable and no backups (``act``).
        backups: Backups that are usable (``bck``).
        weight: The sum of the weights of those that a policy chooses from now (``weight``).
        asked_weight: The same of the weights that were asked for (``uweight``).
        fullconn: Sessions that make it full (``slim``).
        queued: Sessions that wait for no server in particular (``qcur``).
        seconds_in_state: How long ``status`` is what it is (``lastchg``).
        downtime: Seconds that it was ``DOWN``, all in all (``downtime``).
        servers: Its servers, in the order of the configuration.
    """

    name: str
    id: int
    is_http: bool
    balance: str
    is_static: bool
    status: str
    active: int
    backups: int
    weight: int
    asked_weight: int
    fullconn: int
    current: int
    peak: int
    total: int
    chosen: int
    queued: int
    queued_peak: int
    rate: int
    rate_peak: int
    since_used: float | None
    connect_errors: int
    response_errors: int
    requests_denied: int
    responses_denied: int
    retries: int
    redispatches: int
    connects: int
    reuses: int
    requests: int
    responses: Responses
    bytes_in: int
    bytes_out: int
    downs: int
    client_aborts: int
    server_aborts: int
    errors: int
    seconds_in_state: float
    downtime: float
    means: Times
    longest: Times
    servers: tuple[ServerSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSnapshot:
    """One listening socket that counts for itself (``option socket-stats``).

    What is counted is what :class:`dsbalance.counters.FrontendCounters` has.

    Attributes:
        name: That of its ``bind``, or ``sock-N``.
        id: From 1, in its frontend (``sid``).
        address: ``host:port`` that it listens on (``addr``).
        status: ``OPEN``, ``WAITING`` while its frontend may not accept, or ``FULL``.
        maxconn: As its frontend's.
        current: Client connections that came in here.
        peak: Most of them at a time.
    """

    name: str
    id: int
    address: str
    status: str
    maxconn: int | None
    current: int
    peak: int
    total: int
    denied: int
    requests_denied: int
    responses_denied: int
    request_errors: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSnapshot:
    """One frontend at one moment; see :class:`dsbalance.counters.FrontendCounters`.

    Attributes:
        name: Its name.
        id: HAProxy's id of the proxy (``iid``), from 2.
        is_http: Whether it is in ``mode http``.
        status: HAProxy's word: ``OPEN``, ``FULL``, ``PAUSED`` or ``STOP``.
        addresses: ``host:port`` of each listening socket.
        backend: Where its clients go; None: nowhere, it answers them itself.
        maxconn: Its limit of sessions (``slim``); None: there is none of its own.
        current: Open client connections (``scur``).
        peak: Most of them at a time (``smax``).
        rate: Client connections of the last second (``rate``).
        rate_peak: The most in a second (``rate_max``).
        request_rate: Requests of the last second (``req_rate``).
        request_rate_peak: The most in a second (``req_rate_max``).
        listeners: Its listening sockets, if they count for themselves.
    """

    name: str
    id: int
    is_http: bool
    status: str
    addresses: tuple[str, ...]
    backend: str | None
    maxconn: int | None
    current: int
    peak: int
    total: int
    denied: int
    rate: int
    rate_peak: int
    requests: int
    request_rate: int
    request_rate_peak: int
    requests_denied: int
    responses_denied: int
    request_errors: int
    intercepted: int
    responses: Responses
    bytes_in: int
    bytes_out: int
    listeners: tuple[ListenerSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSnapshot:
    """One stick table at one moment.

    Attributes:
        name: Of the section that owns it.
        type: ``ip`` or ``ipv6``.
        size: Entries at the most.
        used: Entries now.
        expire: How long an idle entry is kept; None: for ever.
        counts: Servers and how many entries each has.
    """

    name: str
    type: str
    size: int
    used: int
    expire: float | None
    counts: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSnapshot:
    """One client's connection at one moment.

    Attributes:
        id: Its own as long as it lasts.
        client: Its address.
        client_port: The port that it came from.
        frontend: Where it came in.
        backend: Where it goes; None: nowhere yet.
        server: Who has it; None: nobody, yet or at the moment.
        is_http: Whether it is in HTTP mode.
        stage: What it does, in a word such as ``queued``, ``connecting``, ``relaying``, ``idle``.
        reason: Why it is at its server; empty: it has none.
        age: Since it was accepted.
        idle: Since something last happened to it.
        bytes_in: From the client so far.
        bytes_out: To the client so far.
    """

    id: int
    client: str
    client_port: int
    frontend: str
    backend: str | None
    server: str | None
    is_http: bool
    stage: str
    reason: str
    age: float
    idle: float
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSnapshot:
    """What concerns the process as a whole (``show info``).

    Attributes:
        pid: Its number.
        node: Name of the machine, or what ``node`` says.
        description: What ``description`` says; empty: nothing.
        started_at: When it started, as seconds since 1970.
        maxconn: Its limit of sessions; None: none.
        descriptors: How many it may open; None: unknown.
        current: Client connections now.
        peak: Most of them at a time.
        total: Client connections so far.
        requests: Requests so far.
        rate: Client connections of the last second.
        rate_peak: The most in a second.
        bytes_out: To clients so far.
        bytes_out_rate: Of the last second.
        pipes: Pipes of the splicing path at the most.
        pipes_used: In use.
        pipes_free: Made, and not in use.
        listeners: Listening sockets.
        is_stopping: Whether it only waits for its last sessions.
        idle: Percent of the last second that the loop had nothing to do, 0 to 100.
        logs_dropped: Log lines that nobody took.
    """

    pid: int
    node: str
    description: str
    started_at: float
    maxconn: int | None
    descriptors: int | None
    current: int
    peak: int
    total: int
    requests: int
    rate: int
    rate_peak: int
    bytes_out: int
    bytes_out_rate: int
    pipes: int
    pipes_used: int
    pipes_free: int
    listeners: int
    is_stopping: bool
    idle: int
    logs_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment, but for single sessions and entries.

    Attributes:
        uptime: Seconds since the start.
        process: What concerns all of it.
        frontends: In the order of the configuration.
        backends: In the order of the configuration.
        tables: The stick tables, in the order of the configuration.
    """

    uptime: float
    process: ProcessSnapshot
    frontends: tuple[FrontendSnapshot, ...] = ()
    backends: tuple[BackendSnapshot, ...] = ()
    tables: tuple[TableSnapshot, ...] = ()
