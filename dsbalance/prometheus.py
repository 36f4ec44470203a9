"""``/metrics``: a snapshot as Prometheus and its kin read it, by the names of HAProxy's. No I/O.

    scope        metrics                 labels             one sample for each
    global       haproxy_process_...     none               process
    frontend     haproxy_frontend_...    proxy              frontend
    listener     haproxy_listener_...    proxy, listener    listener, with ``option socket-stats``
    backend      haproxy_backend_...     proxy              backend
    server       haproxy_server_...      proxy, server      server
    sticktable   haproxy_sticktable_...  name, type         stick table

A state is a sample for each that there might be (label ``state``), 1 at the one it is; responses
have a sample for each hundred of their status (label ``code``). What has no value, such as a limit
that is not set, is NaN. Two formats are spoken, and who asks chooses: the text format 0.0.4, which
is what HAProxy writes, and OpenMetrics 1.0, where the name of a counter's family ends before
``_total`` and a last line says that nothing is missing.

Sources: the HAProxy 2.6 exporter, whose names, labels, order and query were observed on HAProxy
2.6.12; Prometheus' text format 0.0.4; OpenMetrics 1.0. The help texts are ours. We differ in this:
the pipes in use and free, which come and go, are gauges, not counters; mean times are over as many
sessions as there were, not over 1024 where there were fewer; times have parts of a millisecond; and
there is nothing about zlib.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from dsbalance.haproxy.show_info import FACTS, Fact
from dsbalance.haproxy.show_stat import Question, lines
from dsbalance.haproxy.stat_columns import COLUMNS, TEXTS, Column, Kind, Line, last_check
from dsbalance.stats import BackendSnapshot, Snapshot, TableSnapshot

TEXT = "text/plain; version=0.0.4"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

SCOPES = ("global", "frontend", "listener", "backend", "server", "sticktable")

_STATES = {
    Kind.FRONTEND: ("DOWN", "UP"),
    Kind.LISTENER: ("WAITING", "OPEN", "FULL"),
    Kind.BACKEND: ("DOWN", "UP"),
    Kind.SERVER: ("DOWN", "UP", "MAINT", "DRAIN", "NOLB"),
}
_CHECK_STATES = (
    *("HANA", "SOCKERR", "L4OK", "L4TOUT", "L4CON", "L6OK", "L6TOUT", "L6RSP"),
    *("L7TOUT", "L7RSP", "L7OK", "L7OKC", "L7STS", "PROCERR", "PROCTOUT", "PROCOK"),
)

_ESCAPED = re.compile("%([0-9A-Fa-f]{2})")

# What HAProxy's exporter leaves out of the columns of servers.
_NOT_OF_SERVERS = frozenset({"act", "bck", "req_tot"})
# Its counters that may fall, and so are none.
_GAUGES = frozenset({"haproxy_process_pipes_used_total", "haproxy_process_pipes_free_total"})


class Wanted(NamedTuple):
    """What a query asks for.

    Attributes:
        scopes: Those of :data:`SCOPES` that are wanted.
        hides_maintenance: Whether servers in maintenance are left out.
    """

    scopes: frozenset[str] = frozenset(SCOPES)
    hides_maintenance: bool = False


def read_query(query: str) -> Wanted:
    """Read what stands behind the ``?``: ``scope=NAME`` as often as wanted, and ``no-maint``.

    A scope of ``*`` stands for all, an empty one forgets those before it. What nothing knows is
    passed over.

    Raises:
        ValueError: There is no such scope; HAProxy answers 400.
    """
    scopes: set[str] | None = None
    hides_maintenance = False
    for part in query.split("&"):
        name, is_given, value = _ESCAPED.sub(_octet, part).partition("=")
        if name == "no-maint":
            hides_maintenance = True
        elif name == "scope":
            if not is_given or value not in {"", "*", *SCOPES}:
                raise ValueError(f"no such scope: {value!r}")
            scopes = scopes or set()
            if not value:
                scopes.clear()
            scopes.update(SCOPES if value == "*" else {value} - {""})
    return Wanted(frozenset(SCOPES if scopes is None else scopes), hides_maintenance)


def _octet(found: re.Match[str]) -> str:
    return chr(int(found[1], 16))


def is_openmetrics_wanted(accept: str) -> bool:
    """Return whether a field ``Accept`` asks for OpenMetrics, and for nothing of ours more.

    Stars are no such wish: a browser, and whoever sends nothing, gets the text format. A part that
    is not understood is passed over.
    """
    text = openmetrics = 0.0
    for part in accept.lower().split(","):
        media, *parameters = (each.strip() for each in part.split(";"))
        words = dict(each.partition("=")[::2] for each in parameters)
        try:
            quality = float(words.get("q", "1"))
        except ValueError:
            continue
        if media == "application/openmetrics-text":
            if words.get("version", "1.0.0") in {"1.0.0", "0.0.1"}:
                openmetrics = max(openmetrics, quality)
        elif media in {"text/plain", "text/*", "*/*"}:
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def exposition(
    snapshot: Snapshot, wanted: Wanted | None = None, *, is_openmetrics: bool = False
) -> Iterator[str]:
    """Yield the metrics, in pieces of a few lines each. O(servers) pieces of less than 2 kB."""
    scopes, hides_maintenance = wanted or Wanted()
    if "global" in scopes:
        for family, value in _PROCESS:
            yield _head(family, is_openmetrics=is_openmetrics) + value(snapshot)
    for kind in (Kind.FRONTEND, Kind.LISTENER, Kind.BACKEND, Kind.SERVER):
        if kind.name.lower() in scopes:
            question = Question(kinds=1 << kind, hides_maintenance=hides_maintenance)
            rows = [_Row(line, _labels(line)) for line in lines(snapshot, question)]
            for family, write in _SERVICES[kind]:
                yield from _samples(family, write, rows, is_openmetrics=is_openmetrics)
    if "sticktable" in scopes:
        yield from _tables(snapshot.tables, is_openmetrics=is_openmetrics)
    if is_openmetrics:
        yield "# EOF\n"


def escaped(text: str) -> str:
    """Return a text as it may stand in a label's quotes."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


# --- families ------------------------------------------------------------------------------------


class _Family(NamedTuple):
    """Samples of one name.

    Attributes:
        name: That of the samples.
        text: What they say.
        is_http: Whether only sections in HTTP mode have them.
    """

    name: str
    text: str
    is_http: bool = False

    @property
    def is_counter(self) -> bool:
        """Whether its samples only rise."""
        return self.name.endswith("_total") and self.name not in _GAUGES


class _Row(NamedTuple):
    """A line of the statistics, and its labels as they are written, without the last brace."""

    line: Line
    labels: str


# Writes the samples of one row; nothing, if it has none.
_Write = Callable[[str, _Row], str]


def _head(family: _Family, *, is_openmetrics: bool) -> str:
    name = family.name
    if is_openmetrics and family.is_counter:
        name = name.removesuffix("_total")
    kind = "counter" if family.is_counter else "gauge"
    return f"# HELP {name} {family.text}\n# TYPE {name} {kind}\n"


def _samples(
    family: _Family, write: _Write, rows: list[_Row], *, is_openmetrics: bool
) -> Iterator[str]:
    """Yield the samples of a family, its head before the first one."""
    head = _head(family, is_openmetrics=is_openmetrics)
    # OpenMetrics 1.0: the value of a counter is never NaN.
    is_number = is_openmetrics and family.is_counter
    for row in rows:
        if family.is_http and not row.line.proxy.is_http:
            continue
        written = write(family.name, row)
        if written and not (is_number and written.endswith("NaN\n")):
            yield head + written
            head = ""


def _labels(line: Line) -> str:
    labels = f'{{proxy="{escaped(line.proxy.name)}"'
    if line.kind in (Kind.SERVER, Kind.LISTENER):
        labels += f',{line.kind.name.lower()}="{escaped(line.of.name)}"'
    return labels


def _plain(measure: Callable[[Line], float | str | None], empty: str = "NaN") -> _Write:
    """Return what writes one number, or ``empty`` where there is none."""

    def write(name: str, row: _Row) -> str:
        value = measure(row.line)
        if value is None:
            return empty and f"{name}{row.labels}}} {empty}\n"
        if value.__class__ is float:
            value = f"{value:.6f}"
        return f"{name}{row.labels}}} {value}\n"

    return write


def _spread(
    label: str, words: Iterable[str], numbers: Callable[[Line], Iterable[object] | None]
) -> _Write:
    """Return what writes a number for each of some words; nothing where there are none."""
    endings = [f',{label}="{word}"}} ' for word in words]

    def write(name: str, row: _Row) -> str:
        found = numbers(row.line)
        if found is None:
            return ""
        start = f"{name}{row.labels}"
        pairs = zip(endings, found, strict=True)
        return "".join([f"{start}{ending}{number}\n" for ending, number in pairs])

    return write


# --- states, which are a sample for each that there might be -------------------------------------


def _one_of(words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    return {word: tuple(int(word == each) for each in words) for word in words}


_IS = {kind: _one_of(words) for kind, words in _STATES.items()}
_CHECK_IS = _one_of(_CHECK_STATES)
_UNKNOWN = (0,) * len(_CHECK_STATES)


def _state(line: Line) -> tuple[int, ...]:
    return _IS[line.kind][_word(line.kind, line.of.status)]


def _word(kind: Kind, status: str) -> str:
    """Return a status as one of the exporter's words: without its step or what it is by."""
    word = status.partition(" ")[0]
    if kind is Kind.FRONTEND:
        return "DOWN" if word == "STOP" else "UP"
    # A server that is not checked is taken to be up.
    return word if word in _IS[kind] else _STATES[kind][1]


def _check_state(line: Line) -> tuple[int, ...] | None:
    check = last_check(line.of)
    if check is None:
        return None
    return _UNKNOWN if check.last is None else _CHECK_IS[check.last.status]


def _counted(words: Sequence[str], states: Callable[[BackendSnapshot], Iterable[str]]) -> _Write:
    """Return what writes how many servers of a backend are in each state."""

    def numbers(line: Line) -> list[int] | None:
        if not line.of.servers:
            return None
        counts = Counter(states(line.of))
        return [counts[word] for word in words]

    return _spread("state", words, numbers)


def _server_states(backend: BackendSnapshot) -> Iterable[str]:
    return (_word(Kind.SERVER, server.status) for server in backend.servers)


def _check_states(backend: BackendSnapshot) -> Iterable[str]:
    checks = [server.check.last for server in backend.servers if server.check is not None]
    return (last.status for last in checks if last is not None)


# --- the tables ----------------------------------------------------------------------------------


def _writer(kind: Kind, columns: Sequence[Column]) -> _Write:
    """Return what writes the samples that are made from these columns in lines of this kind."""
    name = columns[0].name
    measures = [column.fields[kind, True].measure for column in columns]
    match name:
        case "status":
            return _spread("state", _STATES[kind], _state)
        case "check_status":
            return _spread("state", _CHECK_STATES, _check_state)
        case "agg_check_status":
            return _counted(_CHECK_STATES, _check_states)
        case "agg_server_status" | "agg_server_check_status":
            return _counted(_STATES[Kind.SERVER], _server_states)
        case "check_code" | "check_duration":
            return _plain(measures[0], empty="")
    if len(columns) > 1:
        codes = [column.name.removeprefix("hrsp_") for column in columns]
        return _spread("code", codes, lambda line: [measure(line) for measure in measures])
    return _plain(measures[0])


def _services(kind: Kind) -> Iterator[tuple[_Family, _Write]]:
    """Yield the families of one kind of line, in the order of the columns."""
    metrics: dict[str, list[Column]] = {}
    for column in COLUMNS:
        is_left_out = kind is Kind.SERVER and column.name in _NOT_OF_SERVERS
        if column.metric and (kind, True) in column.fields and not is_left_out:
            metrics.setdefault(column.metric, []).append(column)
    for metric, columns in metrics.items():
        name = f"haproxy_{kind.name.lower()}_{metric}"
        is_http = metric.startswith("http_") or (kind, False) not in columns[0].fields
        text = "Responses so far, by their status" if len(columns) > 1 else TEXTS[columns[0].name]
        yield _Family(name, text, is_http), _writer(kind, columns)


def _process() -> Iterator[tuple[_Family, Callable[[Snapshot], str]]]:
    for fact in FACTS:
        if fact.metric:
            name = f"haproxy_process_{fact.metric}"
            yield _Family(name, fact.text), partial(_process_sample, name, fact)


def _process_sample(name: str, fact: Fact, snapshot: Snapshot) -> str:
    value = fact.get(snapshot)
    if isinstance(value, str):
        return f'{name}{{version="{escaped(value)}"}} 1\n'
    return f"{name} {value}\n"


_SERVICES = {kind: tuple(_services(kind)) for kind in Kind}
_PROCESS = tuple(_process())
_TABLES = (
    (_Family("haproxy_sticktable_size", "Entries that the table may have"), attrgetter("size")),
    (_Family("haproxy_sticktable_used", "Entries that the table has"), attrgetter("used")),
)


def _tables(tables: Iterable[TableSnapshot], *, is_openmetrics: bool) -> Iterator[str]:
    for family, get in _TABLES:
        head = _head(family, is_openmetrics=is_openmetrics)
        for table in tables:
            labels = f'{{name="{escaped(table.name)}",type="{escaped(table.type)}"}}'
            yield f"{head}{family.name}{labels} {get(table)}\n"
            head = ""
