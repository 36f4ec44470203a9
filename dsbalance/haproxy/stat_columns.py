"""The columns of ``show stat``, as one table that CSV, typed, JSON and Prometheus all read. No I/O.

Each row of the statistics is a :class:`Line`: a frontend, one of its listeners, a server or a
backend. A column says of which of them it has a value, where in a snapshot that is found, what kind
of value it is, and what it is called as a metric. What this project does not have (compression, a
cache, rewritten fields) is 0, as it is in a HAProxy that does not use it; columns of agents and
cookies are empty.

A column's tags are three letters, as HAProxy has them:

    letter   says           it is one of
    first    where from     Metric, Status, Key, Config, Product
    second   what it is     Age, Counter, Duration, Gauge, Limit, Max, Name, Output, Rate, average
    third    whose          Process, Service, Cluster, System

Source: HAProxy 2.6 management guide, 9.1 (columns) and 9.2 (typed output); which rows have which
column, the tags and types, and what is empty when, were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

from dsbalance.checks import CheckResult
from dsbalance.stats import (
    BackendSnapshot,
    CheckSnapshot,
    FrontendSnapshot,
    ServerSnapshot,
    Snapshot,
)

Value = str | int | None


class Kind(enum.IntEnum):
    """What a line is of, with HAProxy's numbers; ``1 << kind`` is its bit in a question."""

    FRONTEND = 0
    BACKEND = 1
    SERVER = 2
    LISTENER = 3

    @property
    def letter(self) -> str:
        """The first one of its name."""
        return self.name[0]


class Line(NamedTuple):
    """One row of the statistics.

    Attributes:
        kind: What it is of.
        of: The snapshot of that.
        proxy: The frontend or backend that it belongs to, or is.
        snapshot: The one that both are from.
    """

    kind: Kind
    of: Any
    proxy: FrontendSnapshot | BackendSnapshot
    snapshot: Snapshot


class Field(NamedTuple):
    """A column, as it is in the lines of one kind.

    Attributes:
        get: Gives its value; None: it is empty there.
        measure: The same for a metric: in seconds where ``get`` has milliseconds.
        tags: Origin, nature and scope.
    """

    get: Callable[[Line], Value]
    measure: Callable[[Line], float | str | None]
    tags: str


class Column(NamedTuple):
    """One column.

    Attributes:
        name: In the head of the CSV.
        type: ``str``, ``u32``, ``s32`` or ``u64``.
        metric: Its name at HAProxy's exporter, without what stands before it; empty: it has none.
        fields: By the kind of line, and whether its proxy is in HTTP mode; the others are empty.
    """

    name: str
    type: str
    metric: str
    fields: dict[tuple[Kind, bool], Field]


# --- what takes more than a look at one attribute ------------------------------------------------


def is_in_maintenance(server: ServerSnapshot) -> bool:
    """Return whether a server is in maintenance, by itself or by the one that it tracks."""
    return server.status.startswith("MAINT")


def is_down(server: ServerSnapshot) -> bool:
    """Return whether a server runs no more, in maintenance or by its checks."""
    return server.op == 0 or is_in_maintenance(server)


def is_checked(server: ServerSnapshot) -> bool:
    """Return whether a server has checks that no operator has stopped, maintenance aside."""
    return server.check is not None and (not server.check.is_paused or is_in_maintenance(server))


def last_check(server: ServerSnapshot) -> CheckSnapshot | None:
    """Return the checks of a server, as far as HAProxy tells of them: not while they pause."""
    return None if server.check is None or server.check.is_paused else server.check


def _if_checked(path: str) -> Callable[[Line], Value]:
    get = attrgetter(path)
    return lambda line: int(get(line.of)) if is_checked(line.of) else None


def _of_check(get: Callable[[CheckSnapshot], Value]) -> Callable[[Line], Value]:
    def found(line: Line) -> Value:
        check = last_check(line.of)
        return None if check is None else get(check)

    return found


def _check_status(check: CheckSnapshot) -> str:
    status = "INI" if check.last is None else check.last.status.value
    return f"* {status}" if check.is_running else status


def _check_reason(check: CheckSnapshot) -> str:
    return "Initializing" if check.last is None else check.last.reason


def _check_seconds(line: Line) -> float | None:
    check = last_check(line.of)
    return None if check is None or check.last is None else check.last.elapsed


def _last_error(line: Line) -> str | None:
    server: ServerSnapshot = line.of
    check = last_check(server)
    if check is None:
        return None
    return "" if check.last is None else _error(check.last, check.port or server.port)


def _error(result: CheckResult, port: int | None) -> str:
    """Return what went wrong, and where, if there are several ports that it might have been at."""
    if result.is_passed or result.port == port:
        return result.detail
    return f"{result.detail} at port {result.port}".lstrip()


def _frontend_limit(line: Line) -> int | None:
    frontend: FrontendSnapshot = line.of
    return frontend.maxconn or line.snapshot.process.maxconn


def _all_connections(line: Line) -> int:
    frontend: FrontendSnapshot = line.of
    return frontend.total + frontend.denied


def _backend_downtime(line: Line) -> int | None:
    backend: BackendSnapshot = line.of
    return int(backend.downtime) if backend.servers else None


def _since_used(line: Line) -> int:
    since: float | None = line.of.since_used
    return -1 if since is None else int(since)


def _used_connections(line: Line) -> int:
    # HAProxy counts those that might be used again.
    server: ServerSnapshot = line.of
    return server.current if line.proxy.is_http else 0


def _needed_connections(line: Line) -> int:
    server: ServerSnapshot = line.of
    return _used_connections(line) + server.kept


def _alarms(line: Line) -> int | None:
    # Who does not watch traffic has none, and nothing here tells of who does.
    server: ServerSnapshot = line.of
    return server.alarms or None


def _algorithm(line: Line) -> str:
    backend: BackendSnapshot = line.of
    return backend.balance.partition("(")[0].partition(" ")[0]


def _mode(line: Line) -> str:
    return "http" if line.proxy.is_http else "tcp"


def _state_age(line: Line) -> int:
    return int(line.of.seconds_in_state)


def _nothing(_: Line) -> None:
    return None


def _text(value: str) -> Callable[[Line], Value]:
    return lambda _: value


def _milliseconds(measure: Callable[[Line], float | None]) -> Callable[[Line], Value]:
    def rounded(line: Line) -> Value:
        seconds = measure(line)
        return None if seconds is None else round(seconds * 1000)

    return rounded


# --- the table -----------------------------------------------------------------------------------

_Get = Callable[[Line], Value]
# Where a value is found: an attribute of the snapshot, a function, the number itself, or one place
# for the columns and one for the metrics.
_Source = str | int | _Get | tuple[_Get, Callable[[Line], float | str | None]]

# Letters to a place. A small letter: only in HTTP mode.
_Places = Mapping[str, _Source]


def _getter(source: str | int | _Get) -> _Get:
    if isinstance(source, str):
        return attrgetter(source if source.startswith("proxy.") else f"of.{source}")
    return (lambda _: source) if isinstance(source, int) else source


def _column(name: str, kind: str, places: _Places, metric: str = "") -> Column:
    """Return a column.

    Args:
        name: Its name.
        kind: Its tags and its type; ``SGP/MGP``: the second ones are those of backends.
        places: Where its value is found, by the letters of the lines that have it.
        metric: Its name as a metric; empty: it is none.
    """
    tags, value_type = kind.split()
    tag, _, tag_of_backends = tags.partition("/")
    fields = {}
    for letters, source in places.items():
        get, measure = source if isinstance(source, tuple) else (_getter(source),) * 2
        for letter in letters:
            line_kind = next(each for each in Kind if each.letter == letter.upper())
            is_other = line_kind is Kind.BACKEND and tag_of_backends
            field = Field(get, measure, tag_of_backends if is_other else tag)
            fields[line_kind, True] = field
            if letter.isupper():
                fields[line_kind, False] = field
    return Column(name, value_type, metric, fields)


def _time(path: str) -> _Source:
    measure = attrgetter(f"of.{path}")
    return _milliseconds(measure), measure


_LIMITS: _Places = {"F": _frontend_limit, "L": 0, "S": "maxconn", "B": "fullconn"}
_ACTIVE: _Places = {"S": lambda line: int(not line.of.is_backup), "B": "active"}
_BACKUP: _Places = {"S": lambda line: int(line.of.is_backup), "B": "backups"}
_DOWNTIMES: _Places = {"S": _if_checked("downtime"), "B": _backend_downtime}
# Connecting gives no code; HAProxy's exporter says 0 where its CSV has nothing.
_CHECK_CODE: _Source = _nothing, _of_check(lambda _: 0)
_CHECK_TIME: _Source = _milliseconds(_check_seconds), _check_seconds

COLUMNS: tuple[Column, ...] = (
    _column("pxname", "KNS str", {"FLSB": "proxy.name"}),
    _column("svname", "KNS str", {"F": _text("FRONTEND"), "LS": "name", "B": _text("BACKEND")}),
    _column("qcur", "MGP u32", {"SB": "queued"}, "current_queue"),
    _column("qmax", "MMP u32", {"SB": "queued_peak"}, "max_queue"),
    _column("scur", "MGP u32", {"FLSB": "current"}, "current_sessions"),
    _column("smax", "MMP u32", {"FLSB": "peak"}, "max_sessions"),
    _column("slim", "CLP u32", _LIMITS, "limit_sessions"),
    _column("stot", "MCP u64", {"FLSB": "total"}, "sessions_total"),
    _column("bin", "MCP u64", {"FLSB": "bytes_in"}, "bytes_in_total"),
    _column("bout", "MCP u64", {"FLSB": "bytes_out"}, "bytes_out_total"),
    _column("dreq", "MCP u64", {"FLB": "requests_denied"}, "requests_denied_total"),
    _column("dresp", "MCP u64", {"FLSB": "responses_denied"}, "responses_denied_total"),
    _column("ereq", "MCP u64", {"FL": "request_errors"}, "request_errors_total"),
    _column("econ", "MCP u64", {"SB": "connect_errors"}, "connection_errors_total"),
    _column("eresp", "MCP u64", {"SB": "response_errors"}, "response_errors_total"),
    _column("wretr", "MCP u64", {"SB": "retries"}, "retry_warnings_total"),
    _column("wredis", "MCP u64", {"SB": "redispatches"}, "redispatch_warnings_total"),
    _column("status", "SGP str", {"FLSB": "status"}, "status"),
    _column("weight", "MaP u32", {"SB": "weight"}, "weight"),
    _column("act", "SGP/MGP u32", _ACTIVE, "active_servers"),
    _column("bck", "SGP/MGP u32", _BACKUP, "backup_servers"),
    _column("chkfail", "MCP u64", {"S": _if_checked("check_failures")}, "check_failures_total"),
    _column("chkdown", "MCP u64", {"S": _if_checked("downs"), "B": "downs"}, "check_up_down_total"),
    _column("lastchg", "MAP u32", {"SB": _state_age}, "check_last_change_seconds"),
    _column("downtime", "MCP u32", _DOWNTIMES, "downtime_seconds_total"),
    _column("qlimit", "CGS u32", {"S": "maxqueue"}, "queue_limit"),
    _column("pid", "KGP u32", {"FLSB": 1}),
    _column("iid", "KGS u32", {"FLSB": "proxy.id"}),
    _column("sid", "KGS u32", {"LS": "id", "FB": 0}),
    _column("throttle", "MaP u32", {"S": "throttle"}, "current_throttle"),
    _column("lbtot", "MCP u64", {"SB": "chosen"}, "loadbalanced_total"),
    _column("tracked", "CNS str", {"S": "tracked"}),
    _column("type", "CGS u32", {"F": 0, "B": 1, "S": 2, "L": 3}),
    _column("rate", "MRP/MGP u32", {"FSB": "rate"}),
    _column("rate_lim", "CLP u32", {"F": 0}, "limit_session_rate"),
    _column("rate_max", "MMP/MGP u32", {"FSB": "rate_peak"}, "max_session_rate"),
    _column("check_status", "MOP str", {"S": _of_check(_check_status)}, "check_status"),
    _column("check_code", "MOP u32", {"S": _CHECK_CODE}, "check_code"),
    _column("check_duration", "MDP u64", {"S": _CHECK_TIME}, "check_duration_seconds"),
    _column("hrsp_1xx", "MCP u64", {"fsb": "responses.informational"}, "http_responses_total"),
    _column("hrsp_2xx", "MCP u64", {"fsb": "responses.successful"}, "http_responses_total"),
    _column("hrsp_3xx", "MCP u64", {"fsb": "responses.redirection"}, "http_responses_total"),
    _column("hrsp_4xx", "MCP u64", {"fsb": "responses.client_error"}, "http_responses_total"),
    _column("hrsp_5xx", "MCP u64", {"fsb": "responses.server_error"}, "http_responses_total"),
    _column("hrsp_other", "MCP u64", {"fsb": "responses.other"}, "http_responses_total"),
    _column("hanafail", "MCP u64", {"S": _alarms}),
    _column("req_rate", "MRP u32", {"F": "request_rate"}),
    _column("req_rate_max", "MMP u32", {"F": "request_rate_peak"}, "http_requests_rate_max"),
    _column("req_tot", "MCP u64", {"Fsb": "requests"}, "http_requests_total"),
    _column("cli_abrt", "MCP u64", {"SB": "client_aborts"}, "client_aborts_total"),
    _column("srv_abrt", "MCP u64", {"SB": "server_aborts"}, "server_aborts_total"),
    _column("comp_in", "MCP u64", {"FB": 0}, "http_comp_bytes_in_total"),
    _column("comp_out", "MCP u64", {"FB": 0}, "http_comp_bytes_out_total"),
    _column("comp_byp", "MCP u64", {"FB": 0}, "http_comp_bytes_bypassed_total"),
    _column("comp_rsp", "MCP u64", {"FB": 0}, "http_comp_responses_total"),
    _column("lastsess", "MAP s32", {"SB": _since_used}, "last_session_seconds"),
    _column("last_chk", "MOP str", {"S": _last_error}),
    _column("last_agt", "MOP str", {}),
    _column("qtime", "MaP u32", {"SB": _time("means.queue")}, "queue_time_average_seconds"),
    _column("ctime", "MaP u32", {"SB": _time("means.connect")}, "connect_time_average_seconds"),
    _column("rtime", "MaP u32", {"SB": _time("means.response")}, "response_time_average_seconds"),
    _column("ttime", "MaP u32", {"SB": _time("means.total")}, "total_time_average_seconds"),
    _column("agent_status", "MOP str", {}),
    _column("agent_code", "MOP u32", {}),
    _column("agent_duration", "MDP u64", {}),
    _column("check_desc", "MOP str", {"S": _of_check(_check_reason)}),
    _column("agent_desc", "MOP str", {}),
    _column("check_rise", "CGS u32", {"S": _of_check(attrgetter("rise"))}),
    _column("check_fall", "CGS u32", {"S": _of_check(attrgetter("fall"))}),
    _column("check_health", "CGS u32", {"S": _of_check(attrgetter("health"))}),
    _column("agent_rise", "CGS u32", {}),
    _column("agent_fall", "CGS u32", {}),
    _column("agent_health", "CGS u32", {}),
    _column("addr", "CGS str", {"LS": "address"}),
    _column("cookie", "CNS str", {}),
    _column("mode", "CGS str", {"FLSB": _mode}),
    _column("algo", "CGS str", {"B": _algorithm}),
    _column("conn_rate", "MRP u32", {"F": "rate"}),
    _column("conn_rate_max", "MMP u32", {"F": "rate_peak"}, "connections_rate_max"),
    _column("conn_tot", "MCP u64", {"F": _all_connections}, "connections_total"),
    _column("intercepted", "MCP u64", {"f": "intercepted"}, "intercepted_requests_total"),
    _column("dcon", "MCP u64", {"FL": "denied"}, "denied_connections_total"),
    _column("dses", "MCP u64", {"FL": 0}, "denied_sessions_total"),
    _column("wrew", "MCP u64", {"FLSB": 0}, "failed_header_rewriting_total"),
    _column("connect", "MCP u64", {"SB": "connects"}, "connection_attempts_total"),
    _column("reuse", "MCP u64", {"SB": "reuses"}, "connection_reuses_total"),
    _column("cache_lookups", "MCP u64", {"fb": 0}, "http_cache_lookups_total"),
    _column("cache_hits", "MCP u64", {"fb": 0}, "http_cache_hits_total"),
    _column("srv_icur", "MGP u32", {"S": "kept"}, "idle_connections_current"),
    _column("src_ilim", "CLP u32", {"S": _nothing}, "idle_connections_limit"),
    _column("qtime_max", "MMP u32", {"SB": _time("longest.queue")}, "max_queue_time_seconds"),
    _column("ctime_max", "MMP u32", {"SB": _time("longest.connect")}, "max_connect_time_seconds"),
    _column("rtime_max", "MMP u32", {"SB": _time("longest.response")}, "max_response_time_seconds"),
    _column("ttime_max", "MMP u32", {"SB": _time("longest.total")}, "max_total_time_seconds"),
    _column("eint", "MCP u64", {"SB": "errors", "FL": 0}, "internal_errors_total"),
    _column("idle_conn_cur", "MGP u32", {"S": "kept"}, "unsafe_idle_connections_current"),
    _column("safe_conn_cur", "MGP u32", {"S": 0}, "safe_idle_connections_current"),
    _column("used_conn_cur", "MGP u32", {"S": _used_connections}, "used_connections_current"),
    _column("need_conn_est", "MGP u32", {"S": _needed_connections}, "need_connections_current"),
    _column("uweight", "MaP u32", {"SB": "asked_weight"}, "uweight"),
    _column("agg_server_status", "MGP u32", {"B": 0}, "agg_server_status"),
    _column("agg_server_check_status", "MGP u32", {"B": 0}, "agg_server_check_status"),
    _column("agg_check_status", "MGP u32", {"B": 0}, "agg_check_status"),
)


# Column to what it says, for who asks for descriptions; HELP of the metrics.
_TEXTS = """
pxname                  Name of the section
svname                  Name of the server or listener, or which side of the section it is
qcur                    Sessions that wait
qmax                    Most that waited at a time
scur                    Sessions now
smax                    Most sessions at a time
slim                    Sessions that may be at a time; of a backend: that make it full
stot                    Sessions so far; of a server: attempts to connect, too
bin                     Bytes from clients
bout                    Bytes to clients
dreq                    Requests, or sessions in TCP mode, that a rule refused
dresp                   Responses that a rule refused
ereq                    Requests that were not valid or broke off
econ                    Sessions that were given up unconnected
eresp                   Responses that were not valid or broke off
wretr                   Attempts that followed a failed one at the same server
wredis                  Sessions that left a server unconnected for another
status                  State; 1 at the one that it is in
weight                  Weight in force
act                     Usable servers that are no backups; of a server: whether it is none
bck                     Usable backups; of a server: whether it is one
chkfail                 Checks that failed while the server was up
chkdown                 How often it went down
lastchg                 Seconds since it last went up or down
downtime                Seconds that it was down
qlimit                  Sessions that may wait
pid                     Number of the process, from 1
iid                     Number of the section
sid                     Number of the server or listener
throttle                Percent of its load that a slowly starting server carries
lbtot                   How often the policy chose it
tracked                 The server whose health it shares
type                    What the line is of
rate                    Sessions of the last second
rate_lim                Sessions that a second may have
rate_max                Most sessions in a second
check_status            What the last check came to; 1 at that
check_code              Status code that the last check got
check_duration          How long the last check took
hrsp_1xx                Responses with a status of 100 to 199
hrsp_2xx                Responses with a status of 200 to 299
hrsp_3xx                Responses with a status of 300 to 399
hrsp_4xx                Responses with a status of 400 to 499
hrsp_5xx                Responses with a status of 500 to 599
hrsp_other              Responses with any other status
hanafail                How often traffic raised the alarm
req_rate                Requests of the last second
req_rate_max            Most requests in a second
req_tot                 Requests so far
cli_abrt                Transfers that the client broke off
srv_abrt                Transfers that the server broke off
comp_in                 Not counted here: 0
comp_out                Not counted here: 0
comp_byp                Not counted here: 0
comp_rsp                Not counted here: 0
lastsess                Seconds since a session last came; -1: none did
last_chk                What was wrong at the last check
last_agt                What the agent said
qtime                   Mean time in queues
ctime                   Mean time until connected
rtime                   Mean time until the response began
ttime                   Mean time of sessions or requests
agent_status            What the last check by an agent came to
agent_code              Code that the agent gave
agent_duration          How long the last check by an agent took
check_desc              What the last check came to, in words
agent_desc              What the last check by an agent came to, in words
check_rise              Passed checks in a row that bring it up
check_fall              Failed checks in a row that bring it down
check_health            Where its checks have brought it; up from the rise on
agent_rise              Passed checks by an agent that bring it up
agent_fall              Failed checks by an agent that bring it down
agent_health            Where the checks by an agent have brought it
addr                    Address and port
cookie                  Its cookie
mode                    Mode of the section: tcp or http
algo                    Its policy
conn_rate               Connections of the last second
conn_rate_max           Most connections in a second
conn_tot                Connections so far, those refused by a rule among them
intercepted             Requests that were answered right here
dcon                    Connections that a rule refused
dses                    Not counted here: 0
wrew                    Not counted here: 0
connect                 Connections that were begun
reuse                   Requests that found a connection which had been kept
cache_lookups           Not counted here: 0
cache_hits              Not counted here: 0
srv_icur                Connections kept
src_ilim                Connections that may be kept
qtime_max               Longest time in queues
ctime_max               Longest time until connected
rtime_max               Longest time until the response began
ttime_max               Longest time of a session or request
eint                    What could not be done for want of our own
idle_conn_cur           Connections kept that have served one client only
safe_conn_cur           Connections kept that have served several clients
used_conn_cur           Connections in use
need_conn_est           Connections that are needed
uweight                 Weight that was asked for
agg_server_status       How many servers are in each state
agg_server_check_status How many servers are in each state, under its older name
agg_check_status        How many servers had their last check come to each
"""

TEXTS = dict(line.split(maxsplit=1) for line in _TEXTS.strip().splitlines())
