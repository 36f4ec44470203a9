"""An application server and how its health is watched, as frozen values. No I/O.

Each value is validated once, where it is made; :mod:`dsbalance.model` has them too.
"""

from __future__ import annotations

from dataclasses import dataclass

from dsbalance.hashring import MAX_WEIGHT
from dsbalance.validation import choose, demand, durations, identifier, whole
from dsbalance.words import HashKey, InitState, OnError, SendProxy

# HAProxy keeps ids in a signed 32-bit integer.
MAX_ID = 2**31 - 1
MAX_PORT = 65535
# HAProxy 3.0 manual, `guid`.
_MAX_GUID = 127


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
        demand(
            *(whole("check port", port, 1, MAX_PORT) for port in self.ports),
            *durations(self, "interval", "fast_interval", "down_interval", "timeout"),
            whole("rise", self.rise, 1),
            whole("fall", self.fall, 1),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Observe:
    """How traffic counts for a server's health besides its checks: HAProxy's ``observe layer4``.

    Attributes:
        error_limit: Failed connects in a row, at least 1, that have a consequence.
        on_error: The consequence: ``fastinter`` hastens the next check, the others do so too and
            take one step down, all steps but one, or all of them.
    """

    error_limit: int = 10
    on_error: OnError = OnError.FAIL_CHECK

    def __post_init__(self) -> None:
        choose(self, "on_error", OnError)
        demand(whole("error_limit", self.error_limit, 1, MAX_ID))


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
        slowstart: How long its share grows once it is up again; HAProxy counts whole seconds, a
            part of one as one. None: it takes its full share at once.
        minconn: Sessions at a time while the backend has few; the limit grows to ``maxconn``, which
            it needs, until the backend has ``fullconn``. None: the limit is always ``maxconn``.
        maxqueue: Sessions that may wait in its queue. Whom a hash sends there beyond that is
            refused, whom an entry sends goes elsewhere if ``redispatch`` is on. None: no limit.
        observe: How traffic counts for its health, besides the check that it needs; None: not.
        shutdown_backups_on_up: Whether the sessions on the backend's backups end when it comes up
            (``on-marked-up shutdown-backup-sessions``).
        init_state: How it starts, and comes out of *maint*; anything but ``up`` needs a check.
        hash_key: What places it on the hash ring; without what is named it is the id.
        guid: A name that no other server of the whole configuration has, up to 127 characters.
        send_proxy: The PROXY header that its connections start with; None: they start with none.
        check_send_proxy: Whether each connect of its check starts with one too: that of
            ``send_proxy``, or else version 1.
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
    slowstart: float | None = None
    minconn: int | None = None
    maxqueue: int | None = None
    observe: Observe | None = None
    shutdown_backups_on_up: bool = False
    init_state: InitState = InitState.UP
    hash_key: HashKey = HashKey.ID
    guid: str | None = None
    send_proxy: SendProxy | None = None
    check_send_proxy: bool = False

    def __post_init__(self) -> None:
        choose(self, "init_state", InitState)
        choose(self, "hash_key", HashKey)
        if self.send_proxy is not None:
            choose(self, "send_proxy", SendProxy)
        demand(
            identifier(self.name),
            None if self.host and isinstance(self.host, str) else "an address is missing",
            whole("port", self.port, 1, MAX_PORT, is_optional=True),
            whole("weight", self.weight, 0, MAX_WEIGHT),
            whole("id", self.id, 1, MAX_ID, is_optional=True),
            whole("maxconn", self.maxconn, 1, is_optional=True),
            whole("maxqueue", self.maxqueue, 1, is_optional=True),
            *durations(self, "slowstart"),
            None if self.guid is None else identifier(self.guid, "a guid", _MAX_GUID),
            "minconn needs a maxconn"
            if self.minconn is not None and self.maxconn is None
            else None,
            "it can be checked or track another server, not both"
            if self.check and self.track
            else None,
            "it has neither a port nor a check port, so it cannot be checked"
            if self.check and self.port is None and not self.check.ports
            else None,
            f"track wants BACKEND/SERVER, not {self.track!r}"
            if self.track is not None and self.track.count("/") != 1
            else None,
            "it is not checked, so it can neither be observed nor start but up"
            if not self.check and (self.observe or self.init_state is not InitState.UP)
            else None,
            "it is not checked, so no check can start with a PROXY header"
            if self.check_send_proxy and not self.check
            else None,
            subject="server",
            name=self.name,
        )
        if self.minconn is not None:
            wrong = whole("minconn", self.minconn, 1, self.maxconn)
            demand(wrong, subject="server", name=self.name)
