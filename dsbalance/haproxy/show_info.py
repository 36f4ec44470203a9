"""``show info``: what concerns the whole process, as HAProxy's text, typed lines or JSON. No I/O.

One table, :data:`FACTS`, has every line; the metrics of the process are made from it too. What this
project does not have (TLS, compression, peers) is 0, as it is in a HAProxy that does not use it.

Programs that read this want the name HAProxy, and tell by the version what they may ask for: it is
that of the HAProxy whose answers ours are, and behind a dash our own.

Source: HAProxy 2.6 management guide, 9.3 (``show info``); the lines, their tags and types were
observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from dsbalance.haproxy.show_stat import json_head, one_line
from dsbalance.stats import Snapshot
from dsbalance.version import VERSION

NAME = "HAProxy"
HAPROXY_VERSION = f"2.6.12-dsbalance-{VERSION}"
RELEASE_DATE = "2026/11/23"

_Value = str | int | float


class InfoForm(enum.Enum):
    """How the answer is written."""

    TEXT = enum.auto()
    TYPED = enum.auto()
    JSON = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoQuestion:
    """In which form the answer is wanted.

    Attributes:
        form: How it is written.
        is_described: Whether each value is explained; not in JSON.
        is_exact: Whether times and rates have fractions.
    """

    form: InfoForm = InfoForm.TEXT
    is_described: bool = False
    is_exact: bool = False


class Fact(NamedTuple):
    """One line of ``show info``.

    Attributes:
        place: Its number; those between are of what HAProxy has only when it is built in.
        name: Its name.
        tags: Origin, nature and scope, as in :mod:`dsbalance.haproxy.stat_columns`.
        type: ``str``, ``u32`` or ``u64``.
        get: Gives its value.
        metric: Its name as a metric, without what stands before it; empty: it is none.
        text: What it says, in our words.
        is_fraction: Whether it may have a fraction.
    """

    place: int
    name: str
    tags: str
    type: str
    get: Callable[[Snapshot], _Value]
    metric: str
    text: str
    is_fraction: bool


def read_question(words: Sequence[str]) -> InfoQuestion:
    """Read what follows ``show info``: ``[desc|json|typed|float]...``; the last form counts."""
    forms = {"typed": InfoForm.TYPED, "json": InfoForm.JSON}
    return InfoQuestion(
        form=next((forms[word] for word in reversed(words) if word in forms), InfoForm.TEXT),
        is_described="desc" in words,
        is_exact="float" in words,
    )


def show_info(snapshot: Snapshot, question: InfoQuestion | None = None) -> Iterator[str]:
    """Yield the answer to ``show info``, without the empty line that ends it on a socket."""
    question = question or InfoQuestion()
    if question.form is InfoForm.JSON:
        yield _json(snapshot, question)
        return
    for fact, value in facts(snapshot, is_exact=question.is_exact):
        text = f':"{fact.text}"' if question.is_described else ""
        head = f"{fact.name}: "
        if question.form is InfoForm.TYPED:
            head = f"{fact.place}.{fact.name}.1:{fact.tags}:{_type(fact, question)}:"
        yield f"{head}{one_line(value)}{text}\n"


def facts(snapshot: Snapshot, *, is_exact: bool = False) -> Iterator[tuple[Fact, str | int]]:
    """Yield each line and its value; a fraction is written out if it is wanted, else cut off."""
    for fact in FACTS:
        value = fact.get(snapshot)
        if value == "" and fact.name == "description":
            continue
        if isinstance(value, float):
            value = f"{value:.6f}".rstrip("0").rstrip(".") if is_exact else int(value)
        yield fact, value


def _type(fact: Fact, question: InfoQuestion) -> str:
    return "flt" if question.is_exact and fact.is_fraction else fact.type


def _json(snapshot: Snapshot, question: InfoQuestion) -> str:
    cells = []
    for fact, value in facts(snapshot, is_exact=question.is_exact):
        kind = _type(fact, question)
        written = json.dumps(value) if kind == "str" else value
        cells.append(f"{{{json_head(fact.place, fact.name, fact.tags, kind)}{written}}}}}")
    return f"[{','.join(cells)}]\n"


# --- the table -----------------------------------------------------------------------------------


def _uptime(snapshot: Snapshot) -> str:
    minutes, seconds = divmod(int(snapshot.uptime), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}d {hours}h{minutes:02d}m{seconds:02d}s"


def _maxconn(snapshot: Snapshot) -> int:
    return snapshot.process.maxconn or 0


def _descriptors(snapshot: Snapshot) -> int:
    return snapshot.process.descriptors or 0


def _jobs(snapshot: Snapshot) -> int:
    return snapshot.process.current + snapshot.process.listeners


def _is_stopping(snapshot: Snapshot) -> int:
    return int(snapshot.process.is_stopping)


# An attribute of the snapshot, a function, or the value itself.
_Source = str | int | Callable[[Snapshot], _Value]


def _getter(source: _Source) -> Callable[[Snapshot], _Value]:
    if isinstance(source, int):
        return lambda _: source
    return attrgetter(source) if isinstance(source, str) else source


# Place, name, tags and type (a * after it: with a fraction), where it is found, metric.
_ROWS: tuple[tuple[int, str, str, _Source, str], ...] = (
    (0, "Name", "POS str", lambda _: NAME, ""),
    (1, "Version", "POS str", lambda _: HAPROXY_VERSION, ""),
    (2, "Release_date", "POS str", lambda _: RELEASE_DATE, ""),
    (3, "Nbthread", "CGS u32", 1, "nbthread"),
    (4, "Nbproc", "CGS u32", 1, "nbproc"),
    (5, "Process_num", "KGP u32", 1, "relative_process_id"),
    (6, "Pid", "SGP u32", "process.pid", ""),
    (7, "Uptime", "MDP str", _uptime, ""),
    (8, "Uptime_sec", "MDP u32*", "uptime", "uptime_seconds"),
    (9, "Memmax_MB", "CLP u32", 0, ""),
    (10, "PoolAlloc_MB", "MGP u32", 0, ""),
    (11, "PoolUsed_MB", "MGP u32", 0, ""),
    (12, "PoolFailed", "MCP u32", 0, "pool_failures_total"),
    (13, "Ulimit-n", "CLP u32", _descriptors, "max_fds"),
    (14, "Maxsock", "CLP u32", _descriptors, "max_sockets"),
    (15, "Maxconn", "CLP u32", _maxconn, "max_connections"),
    (16, "Hard_maxconn", "CLP u32", _maxconn, "hard_max_connections"),
    (17, "CurrConns", "MGP u32", "process.current", "current_connections"),
    (18, "CumConns", "MCP u32", "process.total", "connections_total"),
    (19, "CumReq", "MCP u32", "process.requests", "requests_total"),
    (20, "MaxSslConns", "MMP u32", 0, "max_ssl_connections"),
    (21, "CurrSslConns", "MGP u32", 0, "current_ssl_connections"),
    (22, "CumSslConns", "MCP u32", 0, "ssl_connections_total"),
    (23, "Maxpipes", "CLP u32", "process.pipes", "max_pipes"),
    (24, "PipesUsed", "MGP u32", "process.pipes_used", "pipes_used_total"),
    (25, "PipesFree", "MGP u32", "process.pipes_free", "pipes_free_total"),
    (26, "ConnRate", "MRP u32*", "process.rate", "current_connection_rate"),
    (27, "ConnRateLimit", "CLP u32", 0, "limit_connection_rate"),
    (28, "MaxConnRate", "MMP u32", "process.rate_peak", "max_connection_rate"),
    (29, "SessRate", "MRP u32*", "process.rate", "current_session_rate"),
    (30, "SessRateLimit", "CLP u32", 0, "limit_session_rate"),
    (31, "MaxSessRate", "MRP u32", "process.rate_peak", "max_session_rate"),
    (32, "SslRate", "MRP u32*", 0, "current_ssl_rate"),
    (33, "SslRateLimit", "CLP u32", 0, "limit_ssl_rate"),
    (34, "MaxSslRate", "MMP u32", 0, "max_ssl_rate"),
    (35, "SslFrontendKeyRate", "MGP u32*", 0, "current_frontend_ssl_key_rate"),
    (36, "SslFrontendMaxKeyRate", "MMP u32", 0, "max_frontend_ssl_key_rate"),
    (37, "SslFrontendSessionReuse_pct", "MGP u32*", 0, "frontend_ssl_reuse"),
    (38, "SslBackendKeyRate", "MRP u32*", 0, "current_backend_ssl_key_rate"),
    (39, "SslBackendMaxKeyRate", "MMP u32", 0, "max_backend_ssl_key_rate"),
    (40, "SslCacheLookups", "MCP u32", 0, "ssl_cache_lookups_total"),
    (41, "SslCacheMisses", "MCP u32", 0, "ssl_cache_misses_total"),
    (42, "CompressBpsIn", "MRP u32*", 0, "http_comp_bytes_in_total"),
    (43, "CompressBpsOut", "MRP u32*", 0, "http_comp_bytes_out_total"),
    (44, "CompressBpsRateLim", "CLP u32", 0, "limit_http_comp"),
    (47, "Tasks", "MGP u32", _jobs, "current_tasks"),
    (48, "Run_queue", "MGP u32", 0, "current_run_queue"),
    (49, "Idle_pct", "MaP u32", "process.idle", "idle_time_percent"),
    (50, "node", "COS str", "process.node", ""),
    (51, "description", "COS str", "process.description", ""),
    (52, "Stopping", "MGP u32", _is_stopping, "stopping"),
    (53, "Jobs", "MGP u32", _jobs, "jobs"),
    (54, "Unstoppable Jobs", "MGP u32", 0, "unstoppable_jobs"),
    (55, "Listeners", "MGP u32", "process.listeners", "listeners"),
    (56, "ActivePeers", "MGP u32", 0, "active_peers"),
    (57, "ConnectedPeers", "MGP u32", 0, "connected_peers"),
    (58, "DroppedLogs", "MGP u32", "process.logs_dropped", "dropped_logs_total"),
    (59, "BusyPolling", "MGP u32", 0, "busy_polling_enabled"),
    (60, "FailedResolutions", "MGP u32", 0, "failed_resolutions"),
    (61, "TotalBytesOut", "MGP u64", "process.bytes_out", "bytes_out_total"),
    (62, "TotalSplicdedBytesOut", "MGP u64", 0, "spliced_bytes_out_total"),
    (63, "BytesOutRate", "MRP u64", "process.bytes_out_rate", "bytes_out_rate"),
    (64, "DebugCommandsIssued", "MGP u32", 0, ""),
    (65, "CumRecvLogs", "MCP u32", 0, "recv_logs_total"),
    (66, "Build info", "POS str", lambda _: HAPROXY_VERSION, "build_info"),
    (67, "Memmax_bytes", "CLP u32", 0, "max_memory_bytes"),
    (68, "PoolAlloc_bytes", "MGP u64", 0, "pool_allocated_bytes"),
    (69, "PoolUsed_bytes", "MGP u64", 0, "pool_used_bytes"),
    (70, "Start_time_sec", "MDP u32*", "process.started_at", "start_time_seconds"),
    (71, "Tainted", "SGP str", lambda _: "0", ""),
)

# Name to what it says, for who asks for descriptions; HELP of the metrics.
_TEXTS = """
Name                        What we say we are, for the programs that ask
Version                     Version of the HAProxy that we answer like, and our own
Release_date                Day of our version
Nbthread                    Threads that serve clients
Nbproc                      Processes that serve clients
Process_num                 Number of this process among them
Pid                         Number of the process in the system
Uptime                      How long it has run
Uptime_sec                  Seconds that it has run
Memmax_MB                   Limit of memory in MB; 0: none
PoolAlloc_MB                Not measured here: 0
PoolUsed_MB                 Not measured here: 0
PoolFailed                  Not counted here: 0
Ulimit-n                    Descriptors that it may open
Maxsock                     Sockets that it may open
Maxconn                     Connections of clients that it takes at a time
Hard_maxconn                Connections of clients that its descriptors allow
CurrConns                   Connections of clients now
CumConns                    Connections of clients so far
CumReq                      Requests so far
MaxSslConns                 TLS is not ended here: 0
CurrSslConns                TLS is not ended here: 0
CumSslConns                 TLS is not ended here: 0
Maxpipes                    Pipes that may be kept for splicing
PipesUsed                   Pipes in use
PipesFree                   Pipes that wait to be used again
ConnRate                    Connections of clients in the last second
ConnRateLimit               Limit of connections in a second; 0: none
MaxConnRate                 Most connections of clients in a second
SessRate                    Sessions of the last second
SessRateLimit               Limit of sessions in a second; 0: none
MaxSessRate                 Most sessions in a second
SslRate                     TLS is not ended here: 0
SslRateLimit                TLS is not ended here: 0
MaxSslRate                  TLS is not ended here: 0
SslFrontendKeyRate          TLS is not ended here: 0
SslFrontendMaxKeyRate       TLS is not ended here: 0
SslFrontendSessionReuse_pct  TLS is not ended here: 0
SslBackendKeyRate           TLS is not ended here: 0
SslBackendMaxKeyRate        TLS is not ended here: 0
SslCacheLookups             TLS is not ended here: 0
SslCacheMisses              TLS is not ended here: 0
CompressBpsIn               Nothing is compressed here: 0
CompressBpsOut              Nothing is compressed here: 0
CompressBpsRateLim          Nothing is compressed here: 0
Tasks                       Connections of clients and listening sockets
Run_queue                   Not measured here: 0
Idle_pct                    Percent of the last second without anything to do
node                        Name of the machine
description                 What the configuration says that this is for
Stopping                    1 while it only waits for its last sessions
Jobs                        Connections of clients and listening sockets
Unstoppable Jobs            Nothing here may not be stopped: 0
Listeners                   Listening sockets
ActivePeers                 There are no peers here: 0
ConnectedPeers              There are no peers here: 0
DroppedLogs                 Log lines that nobody took
BusyPolling                 Nothing here polls busily: 0
FailedResolutions           Not counted here: 0
TotalBytesOut               Bytes sent to clients so far
TotalSplicdedBytesOut       Not counted here: 0
BytesOutRate                Bytes sent to clients in the last second
DebugCommandsIssued         There are no such commands here: 0
CumRecvLogs                 No logs are received here: 0
Build info                  Version of the HAProxy that we answer like, and our own
Memmax_bytes                Limit of memory in bytes; 0: none
PoolAlloc_bytes             Not measured here: 0
PoolUsed_bytes              Not measured here: 0
Start_time_sec              When it started, in seconds since 1970
Tainted                     Nothing here taints: 0
"""


def _facts() -> Iterator[Fact]:
    texts = dict(re.split(r"  +", line) for line in _TEXTS.strip().splitlines())
    for place, name, kind, source, metric in _ROWS:
        tags, value_type = kind.rstrip("*").split()
        is_fraction = kind.endswith("*")
        get = _getter(source)
        yield Fact(place, name, tags, value_type, get, metric, texts[name], is_fraction)


FACTS = tuple(_facts())
