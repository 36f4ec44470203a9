"""The sections of haproxy.cfg while they are read: what they have said so far. No I/O.

A section starts from a copy of what its ``defaults`` set, its :class:`Settings`, and each statement
changes the copy. What it does not inherit is its own: binds, servers, rules. What a statement needs
from elsewhere is looked up when all files have been read.

Source: HAProxy 2.6 configuration manual, 4.
"""

from __future__ import annotations

import dataclasses
import enum
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from dsbalance.conditions import Look, Term
from dsbalance.door import BackendRule, DoorRule
from dsbalance.haproxy.server_words import ServerLine, ServerWords
from dsbalance.haproxy.statement import Place
from dsbalance.http_options import (
    AddressField,
    HttpConnection,
    Redirect,
    RequestRule,
    ResponseRule,
)
from dsbalance.log_options import LineFormat, LogTarget
from dsbalance.model import Balance, Bind, Config, HashType, StickRule, Table
from dsbalance.stats_options import StatsPage, StatsSocket

# What `balance random` alone says.
DRAWS = 2


class Kind(enum.StrEnum):
    """What a section is. The first letter, as a capital, stands for it in the tables."""

    GLOBAL = "global"
    DEFAULTS = "defaults"
    FRONTEND = "frontend"
    LISTEN = "listen"
    BACKEND = "backend"

    @property
    def letter(self) -> str:
        """How the tables name it."""
        return self[0].upper()


_FRONTENDS = (Kind.FRONTEND, Kind.LISTEN)
_BACKENDS = (Kind.BACKEND, Kind.LISTEN)


class StateSource(enum.StrEnum):
    """Where servers get the state that they begin with: ``load-server-state-from-file``."""

    NONE = "none"
    GLOBAL = "global"
    LOCAL = "local"


class Named(NamedTuple):
    """The name of a backend, and where it was given."""

    name: str
    place: Place


class PlacedPercentage(NamedTuple):
    """The number of a ``bounded-clients`` comment, and where it stands."""

    percent: int
    place: Place


class PlacedRule(NamedTuple):
    """A ``stick`` rule, and where it stands."""

    rule: StickRule
    place: Place


class PlacedDoorRule(NamedTuple):
    """A ``tcp-request connection`` rule, and where it stands."""

    rule: DoorRule
    place: Place


class PlacedRoute(NamedTuple):
    """A ``use_backend`` rule, and where it stands."""

    rule: BackendRule
    place: Place


class PlacedFile(NamedTuple):
    """The path that an ``errorfile`` line names, and where it stands."""

    path: str
    place: Place


class HttpWord(NamedTuple):
    """A keyword that ``mode http`` alone has a use for.

    Attributes:
        keyword: As in the tables.
        place: Where it was given first.
        reason: Why it is refused in that mode; empty: it is used there.
        section: Where the section starts that it stands in.
    """

    keyword: str
    place: Place
    reason: str
    section: Place


class Acl:
    """A named ACL: its tests, until a condition has used it, and then the term that it is."""

    __slots__ = ("term", "tests")

    def __init__(self, term: Term | None = None) -> None:
        self.tests: list[Look] = []
        self.term = term


@dataclass(slots=True)
class GlobalSection:
    """What the ``global`` sections have said so far, and where ``maxconn`` and sockets stand."""

    maxconn: int | None = None
    maxconn_place: Place | None = None
    hard_stop_after: float | None = None
    logs: tuple[LogTarget, ...] = ()
    log_tag: str = Config().log_tag
    log_hostname: str | None = None
    node: str | None = None
    description: str = ""
    sockets: dict[StatsSocket, Place] = dataclasses.field(default_factory=dict)
    timeout_stats: float | None = Config().timeout_stats
    maxconn_stats: int = Config().maxconn_stats
    state_file: str | None = None
    state_base: str | None = None


@dataclass(slots=True)
class HttpSettings:
    """What a section inherits of ``mode http``. Durations: None is no limit.

    Attributes:
        stats: What the ``stats`` words have said, if there was one.
        error_files: By status.
        words: Keyword -> where it was given first.
    """

    is_on: bool = False
    connection: HttpConnection | None = None
    forwardfor: AddressField | None = None
    originalto: AddressField | None = None
    timeout_request: float | None = None
    timeout_keep_alive: float | None = None
    monitor_uri: str | None = None
    stats: StatsPage | None = None
    error_files: dict[int, PlacedFile] = dataclasses.field(default_factory=dict)
    words: dict[str, HttpWord] = dataclasses.field(default_factory=dict)

    def copy(self) -> HttpSettings:
        """Return what a section starts from that takes these as its defaults."""
        return replace(self, error_files=dict(self.error_files), words=dict(self.words))


# Most sections are in mode tcp and say nothing of the other. Nobody changes what is shared.
_NO_HTTP = HttpSettings()


class Rules:
    """What a section says of who may come in, who goes where, and what becomes of heads."""

    __slots__ = (
        *("acls", "counted", "door", "paths", "routes"),
        *("metrics", "redirects", "request_rules", "response_rules"),
    )

    def __init__(self) -> None:
        self.acls: dict[str, Acl] = {}
        # The ACLs that test the path of a request, which only `use-service` may do.
        self.paths: dict[str, list[str]] = {}
        # The backends whose servers a condition counts.
        self.counted: list[Named] = []
        self.door: list[PlacedDoorRule] = []
        self.routes: list[PlacedRoute] = []
        self.request_rules: list[RequestRule] = []
        # Those of `redirect` lines: they come after all `http-request` rules.
        self.redirects: list[Redirect] = []
        self.response_rules: list[ResponseRule] = []
        # The paths at which Prometheus is answered.
        self.metrics: list[str] = []

    @property
    def has_http(self) -> bool:
        """Whether there is one that is run for each request or response."""
        found = self.request_rules or self.redirects or self.response_rules or self.metrics
        return bool(found)


@dataclass(slots=True)
class Settings:
    """What a section inherits from its ``defaults``. Durations: None is no limit."""

    is_disabled: bool = False
    default_backend: Named | None = None
    maxconn: int | None = None
    timeout_client: float | None = None
    timeout_client_fin: float | None = None
    has_client_keepalive: bool = False
    client_idle: int | None = None
    client_interval: int | None = None
    client_count: int | None = None

    http: HttpSettings = dataclasses.field(default_factory=lambda: _NO_HTTP)

    log_targets: tuple[LogTarget, ...] = ()
    has_global_logs: bool = False
    log_line: LineFormat = LineFormat.CONNECT
    log_line_place: Place | None = None
    log_tag: str | None = None
    logs_no_null: bool = False
    logs_no_normal: bool = False
    logs_errors_apart: bool = False
    logs_checks: bool = False
    counts_listeners: bool = False

    balance: Balance = Balance.ROUNDROBIN
    random_draws: int = DRAWS
    hash_balance_factor: int = 0
    fullconn: int | None = None
    persist: bool = False
    hash_type: HashType = dataclasses.field(default_factory=HashType)
    retries: int = 3
    redispatch: int = 0
    allbackups: bool = False
    timeout_connect: float | None = None
    timeout_server: float | None = None
    timeout_server_fin: float | None = None
    timeout_tunnel: float | None = None
    timeout_queue: float | None = None
    timeout_check: float | None = None
    has_server_keepalive: bool = False
    server_idle: int | None = None
    server_interval: int | None = None
    server_count: int | None = None
    has_tcp_check: bool = False
    check_ports: tuple[int | None, ...] = ()
    checks_send_proxy: bool = False
    default_server: ServerWords = dataclasses.field(default_factory=ServerWords)
    state_source: StateSource = StateSource.NONE
    state_file_name: str | None = None

    def inherited(self) -> Settings:
        """Return what a section starts from that takes these as its defaults."""
        # Several times faster than `dataclasses.replace`, for files of thousands of sections.
        copy = Settings(*_all_settings(self))
        if not copy.has_tcp_check:
            # Observed on HAProxy 2.6.12: the rules pass on only together with the option.
            copy.check_ports = ()
        return copy


_all_settings: Callable[[Settings], tuple[Any, ...]] = operator.attrgetter(
    *(field.name for field in dataclasses.fields(Settings))
)


class Section:
    """One section of a proxy, or one ``defaults``, while it is read."""

    __slots__ = (
        "_has_own_http",
        "bind_places",
        "binds",
        "bounded_clients",
        "description",
        "has_own_checks",
        "has_own_stats",
        "id",
        "is_backend",
        "is_frontend",
        "kind",
        "name",
        "place",
        "policy",
        "process",
        "rules",
        "seen",
        "servers",
        "settings",
        "stick",
        "table",
    )

    def __init__(
        self,
        kind: Kind,
        name: str,
        place: Place,
        settings: Settings,
        process: GlobalSection | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.place = place
        self.settings = settings
        # What `global` has said so far.
        self.process = process or GlobalSection()
        self.id: int | None = None
        self.description = ""
        # Whether clients may connect to it, and whether it may have servers.
        self.is_frontend = kind in _FRONTENDS
        self.is_backend = kind in _BACKENDS
        self.binds: list[Bind] = []
        self.bind_places: list[Place] = []
        self.servers: dict[str, ServerLine] = {}
        self.stick: list[PlacedRule] = []
        self.table: Table | None = None
        self.policy: str | None = None
        self.bounded_clients: PlacedPercentage | None = None
        self.has_own_checks = False
        self.has_own_stats = False
        # None: it says nothing of the kind, as most sections.
        self.rules: Rules | None = None
        self._has_own_http = False
        # The keywords met so far that are not made to be repeated.
        self.seen: set[str] = set()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}".rstrip()

    @property
    def takes_clients(self) -> bool:
        """Whether it is a frontend, or one that has nothing to listen on, which is a mistake."""
        return self.is_frontend and bool(self.binds or not self.is_backend)

    def own_rules(self) -> Rules:
        """Return its rules, to add to them."""
        if self.rules is None:
            self.rules = Rules()
        return self.rules

    def own_http(self) -> HttpSettings:
        """Return what it says of mode http, to change it: a copy of what it has inherited."""
        if not self._has_own_http:
            self._has_own_http = True
            self.settings.http = self.settings.http.copy()
        return self.settings.http

    def says_http(self, keyword: str, place: Place, reason: str) -> None:
        """Note a keyword that is for ``mode http``, the first time that this section has it."""
        words = self.own_http().words
        # One that is inherited stands above the section, or in another file.
        if keyword not in words or words[keyword].section is not self.place:
            words[keyword] = HttpWord(keyword, place, reason, self.place)
