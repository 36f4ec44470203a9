"""What is counted, and frozen pictures of it. No I/O, no clock.

    counted by            in                  pictured as
    balancer and proxy    ServerCounters      ServerSnapshot
    balancer and proxy    BackendCounters     BackendSnapshot, which has its servers'
    proxy                 FrontendCounters    FrontendSnapshot
                                              Snapshot, which has them all

Counters are plain attributes that whoever counts adds to, on the loop's thread: a method call would
cost more than the addition. They never go back. A snapshot may be read on any thread.

The words are HAProxy's where it has plain ones; its column in ``show stat`` stands in brackets
(the HAProxy 2.6 management guide, section 9.1).
"""

from __future__ import annotations

from dataclasses import dataclass


class ServerCounters:
    """What happened at one server since the start.

    Attributes:
        peak: Most sessions at a time (``smax``).
        total: Attempts to connect, each retry anew (``stot``).
        chosen: How often the policy, or the queue, sent it a session (``lbtot``).
        queued_peak: Most sessions that waited for it at a time (``qmax``).
        connect_errors: Sessions given up after its last attempt failed (``econ``).
        retries: Attempts that followed a failed one at the same server (``wretr``).
        redispatches: Sessions that left it unconnected for another server (``wredis``).
        bytes_in: From clients to it (``bin``).
        bytes_out: From it to clients (``bout``).
        check_failures: Checks that failed while it was up (``chkfail``).
        downs: How often it stopped running: marked down or put in maintenance (``chkdown``).
        last_check: What the last check came to, in words; empty before the first (``last_chk``).
        client_aborts: Transfers that the client broke off (``cli_abrt``).
        server_aborts: Transfers that the server broke off (``srv_abrt``).
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "check_failures",
        "chosen",
        "client_aborts",
        "connect_errors",
        "downs",
        "last_check",
        "peak",
        "queued_peak",
        "redispatches",
        "retries",
        "server_aborts",
        "total",
    )

    def __init__(self) -> None:
        self.peak = 0
        self.total = 0
        self.chosen = 0
        self.queued_peak = 0
        self.connect_errors = 0
        self.retries = 0
        self.redispatches = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.check_failures = 0
        self.downs = 0
        self.last_check = ""
        self.client_aborts = 0
        self.server_aborts = 0


class BackendCounters:
    """What happened at a backend and at no server of it since the start.

    What happened at its servers is in their counters: :class:`BackendSnapshot` has the sums.

    Attributes:
        current: Sessions that were routed and not yet released, with those that wait (``scur``).
        peak: Most of them at a time (``smax``).
        total: Clients that asked for a server, those refused among them (``stot``).
        queued_peak: Most that waited for no server in particular (``qmax``).
        connect_errors: Clients for whom nothing was usable, or given up for a local reason.
        downs: How often its last usable server was lost (``chkdown``).
    """

    __slots__ = (
        "connect_errors",
        "current",
        "downs",
        "peak",
        "queued_peak",
        "total",
    )

    def __init__(self) -> None:
        self.current = 0
        self.peak = 0
        self.total = 0
        self.queued_peak = 0
        self.connect_errors = 0
        self.downs = 0

    def enter(self) -> None:
        """Count one more that asked for a server, and is there."""
        self.total += 1
        self.current = current = self.current + 1
        if current > self.peak:  # noqa: PLR1730 -- max() takes three times as long
            self.peak = current


class FrontendCounters:
    """What happened at a frontend since the start; how many sessions there are, its room counts.

    Attributes:
        total: Client connections accepted (``stot``).
        denied: Client connections rejected by a rule, which are not in ``total`` (``dcon``).
        bytes_in: From clients (``bin``).
        bytes_out: To clients (``bout``).
    """

    __slots__ = ("bytes_in", "bytes_out", "denied", "total")

    def __init__(self) -> None:
        self.total = 0
        self.denied = 0
        self.bytes_in = 0
        self.bytes_out = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSnapshot:
    """One server at one moment. What is not said here is said at :class:`ServerCounters`.

    Attributes:
        name: Its name in its backend.
        id: HAProxy's id, from 1 (``sid``).
        host: Its address, as configured.
        port: Its port; None: the one that the client came to.
        status: HAProxy's word, such as ``UP 1/3``, ``DRAIN``, ``no check`` or
            ``MAINT (via paragon/primary-1)``.
        admin: What was asked of it itself: ``ready``, ``drain`` or ``maint``.
        is_usable: Whether new clients may be sent there by a policy.
        is_backup: Whether it is a backup (``bck``).
        tracked: ``backend/server`` whose health it shares; None: it tracks nobody.
        weight: The one in force (``weight``).
        initial_weight: The one that is configured.
        maxconn: Its limit of sessions (``slim``); None: there is none.
        current: Sessions that hold a place at it (``scur``).
        queued: Sessions that wait for a place at it (``qcur``).
        seconds_in_state: How long its state is what it is, counts aside (``lastchg``).
    """

    name: str
    id: int
    host: str
    port: int | None
    status: str
    admin: str
    is_usable: bool
    is_backup: bool
    tracked: str | None
    weight: int
    initial_weight: int
    maxconn: int | None
    current: int
    peak: int
    total: int
    chosen: int
    queued: int
    queued_peak: int
    connect_errors: int
    retries: int
    redispatches: int
    bytes_in: int
    bytes_out: int
    check_failures: int
    downs: int
    last_check: str
    client_aborts: int
    server_aborts: int
    seconds_in_state: float


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendSnapshot:
    """One backend at one moment. What happened at its servers, removed ones too, is summed up.

    What is not said here is said at :class:`BackendCounters` and :class:`ServerCounters`.

    Attributes:
        name: Its name.
        status: ``UP`` if a server is usable or there is none at all, else ``DOWN``.
        active: Servers that are usable and no backups (``act``).
        backups: Backups that are usable (``bck``).
        weight: The sum of the weights of those that a policy chooses from now (``weight``).
        queued: Sessions that wait for no server in particular (``qcur``).
        seconds_in_state: How long ``status`` is what it is (``lastchg``).
        servers: Its servers, in the order of the configuration.
    """

    name: str
    status: str
    active: int
    backups: int
    weight: int
    current: int
    peak: int
    total: int
    chosen: int
    queued: int
    queued_peak: int
    connect_errors: int
    retries: int
    redispatches: int
    bytes_in: int
    bytes_out: int
    downs: int
    client_aborts: int
    server_aborts: int
    seconds_in_state: float
    servers: tuple[ServerSnapshot, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendSnapshot:
    """One frontend at one moment. What is not said here is said at :class:`FrontendCounters`.

    Attributes:
        name: Its name.
        status: HAProxy's word: ``OPEN`` or ``FULL``.
        maxconn: Its limit of sessions (``slim``); None: there is none of its own.
        current: Open client connections (``scur``).
        peak: Most of them at a time (``smax``).
    """

    name: str
    status: str
    maxconn: int | None
    current: int
    peak: int
    total: int
    denied: int
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        uptime: Seconds since the start.
        frontends: In the order of the configuration.
        backends: In the order of the configuration.
    """

    uptime: float
    frontends: tuple[FrontendSnapshot, ...] = ()
    backends: tuple[BackendSnapshot, ...] = ()
