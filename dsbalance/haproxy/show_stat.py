"""``show stat``: a snapshot as HAProxy's CSV, typed lines or JSON. No I/O, no clock.

    form    a line of it
    CSV     paragon,primary-1,0,0,2,5,,17,...
    TYPED   S.2.1.4.scur.1:MGP:u32:2
    JSON    {"objType":"Server","proxyId":2,"id":1,"field":{"pos":4,"name":"scur"},...

What is rendered comes in pieces of at most one row of the statistics, each made when it is asked
for, so that a large answer can be written over many turns of the loop. The sections come in the
order of their numbers, each as FRONTEND, listeners, servers, BACKEND.

Source: HAProxy 2.6 management guide, 9.1, 9.2 and 9.3; how its words are read, what each leaves
out, and the forms were observed on HAProxy 2.6.12. We end at the column 102, ``agg_check_status``:
what HAProxy has behind it is about its TLS, HTTP/2 and HTTP/1 layers.
"""

from __future__ import annotations

import enum
import functools
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dsbalance.haproxy.stat_columns import (
    COLUMNS,
    TEXTS,
    Kind,
    Line,
    Value,
    is_down,
    is_in_maintenance,
)
from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot, Snapshot

# What only operators and admins see, and pages with ``stats show-legends``.
_LEGENDS = frozenset({"addr", "cookie", "algo"})
_QUOTED = re.compile(r'[",\r\n]')
# An f-string of Python 3.11 may have no backslash within braces.
_END = "\n"
# No number of ours has more digits, and what follows one is passed over.
_NUMBER = re.compile(r"\s*([+-]?[0-9]{1,9})")

# The letters of a tag, in words.
_ORIGINS = {"M": "Metric", "S": "Status", "K": "Key", "C": "Config", "P": "Product"}
_NATURES = ("Age", "Counter", "Duration", "Gauge", "Limit", "Max", "Name", "Output", "Rate")
_NATURE = {"a": "Avg"} | {word[0]: word for word in _NATURES}
_SCOPES = {"P": "Process", "S": "Service"}


class Form(enum.Enum):
    """How an answer is written."""

    CSV = enum.auto()
    TYPED = enum.auto()
    JSON = enum.auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What of the statistics is asked for, and in which form.

    Attributes:
        form: How it is written.
        is_described: Whether each value is explained; in TYPED only.
        proxy: Number of the only section; None: all of them.
        kinds: The sum of ``1 << kind`` of the kinds of line; -1: all of them.
        service: Number of the only server and listener; None: all of them.
        hides_down: Whether servers that run no more are left out.
        hides_maintenance: Whether those in maintenance are.
        shows_legends: Whether addresses and policies are told.
        scope: Names of the only sections; None: all of them.
    """

    form: Form = Form.CSV
    is_described: bool = False
    proxy: int | None = None
    kinds: int = -1
    service: int | None = None
    hides_down: bool = False
    hides_maintenance: bool = False
    shows_legends: bool = True
    scope: Collection[str] | None = None


def read_question(
    words: Sequence[str], snapshot: Snapshot, *, shows_legends: bool = True
) -> Question:
    """Read what follows ``show stat``: ``[proxy kind service] [typed|json|desc|up|no-maint]...``.

    Of three words or more, the first three are the filter, whatever they are: numbers, of which -1
    stands for all, or the name of a section for the first. Words that nothing knows are passed
    over. HAProxy does both.

    Raises:
        LookupError: No section has that name.
    """
    proxy, kinds, service = None, -1, None
    if len(words) >= 3:
        proxy = _proxy(words[0], snapshot)
        kinds = _leading_number(words[1])
        number = _leading_number(words[2])
        service = None if number == -1 else number
        words = words[3:]
    forms = {"typed": Form.TYPED, "json": Form.JSON}
    return Question(
        form=next((forms[word] for word in reversed(words) if word in forms), Form.CSV),
        is_described="desc" in words,
        proxy=proxy,
        kinds=kinds,
        service=service,
        hides_down="up" in words,
        hides_maintenance="no-maint" in words,
        shows_legends=shows_legends,
    )


def show_stat(snapshot: Snapshot, question: Question | None = None) -> Iterator[str]:
    """Yield the answer to ``show stat``, without the empty line that ends it on a socket."""
    question = question or Question()
    return _WRITERS[question.form](lines(snapshot, question), question)


def lines(snapshot: Snapshot, question: Question | None = None) -> Iterator[Line]:
    """Yield the rows that are asked for, in HAProxy's order."""
    question = question or Question()
    for proxy in sorted(_proxies(snapshot), key=lambda proxy: proxy.id):
        if question.proxy is not None and question.proxy != proxy.id:
            continue
        if question.scope is not None and proxy.name not in question.scope:
            continue
        parts = (
            _frontend_lines(proxy, snapshot)
            if isinstance(proxy, FrontendSnapshot)
            else _backend_lines(proxy, snapshot, question)
        )
        for line in parts:
            if question.kinds & 1 << line.kind and _is_asked_for(line, question):
                yield line


def _proxies(snapshot: Snapshot) -> list[FrontendSnapshot | BackendSnapshot]:
    return [*snapshot.frontends, *snapshot.backends]


def _frontend_lines(frontend: FrontendSnapshot, snapshot: Snapshot) -> Iterator[Line]:
    yield Line(Kind.FRONTEND, frontend, frontend, snapshot)
    for listener in frontend.listeners:
        yield Line(Kind.LISTENER, listener, frontend, snapshot)


def _backend_lines(
    backend: BackendSnapshot, snapshot: Snapshot, question: Question
) -> Iterator[Line]:
    for server in backend.servers:
        yield Line(Kind.SERVER, server, backend, snapshot)
    shown = backend
    if question.hides_down or question.hides_maintenance:
        # Where servers are missing, HAProxy says how many of how many run.
        running = sum(not is_down(server) for server in backend.servers)
        shown = replace(backend, status=f"{backend.status} ({running}/{len(backend.servers)})")
    yield Line(Kind.BACKEND, shown, backend, snapshot)


def _is_asked_for(line: Line, question: Question) -> bool:
    if line.kind in (Kind.FRONTEND, Kind.BACKEND):
        return True
    if question.service is not None and question.service != line.of.id:
        return False
    if line.kind is Kind.LISTENER:
        return True
    server: ServerSnapshot = line.of
    return not (
        (question.hides_down and is_down(server))
        or (question.hides_maintenance and is_in_maintenance(server))
    )


def _proxy(word: str, snapshot: Snapshot) -> int | None:
    number = _leading_number(word.removeprefix("#"))
    if number:
        return None if number == -1 else number
    for proxy in _proxies(snapshot):
        if proxy.name == word:
            return proxy.id
    raise LookupError(word)


def _leading_number(word: str) -> int:
    """Return the number that a word begins with; 0 if it does not begin with one."""
    found = _NUMBER.match(word)
    return int(found[1]) if found else 0


# --- the forms -----------------------------------------------------------------------------------


class _Cell(NamedTuple):
    """A column of one kind of line: how its value is got, and what stands around it.

    Attributes:
        place: Its number in a row.
        get: Gives its value.
        typed: What stands before it in a typed line, behind the line's own words.
        text: What may stand after it there: what it says.
        json: What stands before it in JSON, behind the line's own words.
    """

    place: int
    get: Callable[[Line], Value]
    typed: str
    text: str
    json: str


@functools.cache
def _cells(kind: Kind, *, is_http: bool, shows_legends: bool) -> tuple[_Cell, ...]:
    """Return the columns that may have a value in lines of this kind."""
    cells = []
    for index, column in enumerate(COLUMNS):
        field = column.fields.get((kind, is_http))
        if field is not None and (shows_legends or column.name not in _LEGENDS):
            typed = f"{index}.{column.name}.1:{field.tags}:{column.type}:"
            head = json_head(index, column.name, field.tags, column.type)
            cells.append(_Cell(index, field.get, typed, f':"{TEXTS[column.name]}"\n', head))
    return tuple(cells)


def _cells_of(line: Line, question: Question) -> tuple[_Cell, ...]:
    return _cells(line.kind, is_http=line.proxy.is_http, shows_legends=question.shows_legends)


def _number(line: Line) -> int:
    """Return the ``sid``."""
    return 0 if line.kind in (Kind.FRONTEND, Kind.BACKEND) else line.of.id


def _csv(rows: Iterator[Line], question: Question) -> Iterator[str]:
    yield f"# {','.join(column.name for column in COLUMNS)},\n"
    empty = [""] * len(COLUMNS)
    for line in rows:
        row = empty.copy()
        for cell in _cells_of(line, question):
            value = cell.get(line)
            if value.__class__ is int:
                row[cell.place] = str(value)
            elif value is not None:
                row[cell.place] = quoted(str(value))
        yield f"{','.join(row)},\n"


def quoted(text: str) -> str:
    """Return a text as it may stand in CSV: in quotes, where it has a comma, quote or line end."""
    if not _QUOTED.search(text):
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _typed(rows: Iterator[Line], question: Question) -> Iterator[str]:
    for line in rows:
        head = f"{line.kind.letter}.{line.proxy.id}.{_number(line)}."
        yield "".join(
            [
                f"{head}{cell.typed}{value if value.__class__ is int else one_line(value)}"
                f"{cell.text if question.is_described else _END}"
                for cell in _cells_of(line, question)
                if (value := cell.get(line)) is not None
            ]
        )


def one_line(value: Value) -> str:
    """Return a text as it may stand in a typed line, which has no quotes: without line ends."""
    return " ".join(str(value).splitlines())


def _json(rows: Iterator[Line], question: Question) -> Iterator[str]:
    opening = "["
    for line in rows:
        head = (
            f'{{"objType":"{line.kind.name.capitalize()}","proxyId":{line.proxy.id},'
            f'"id":{_number(line)},'
        )
        cells = [
            f"{head}{cell.json}{value if value.__class__ is int else json.dumps(value)}}}}}"
            for cell in _cells_of(line, question)
            if (value := cell.get(line)) is not None
        ]
        yield f"{opening}[{','.join(cells)}]"
        opening = ","
    yield "]\n" if opening == "," else "[]\n"


def json_head(index: int, name: str, tags: str, value_type: str) -> str:
    """Return what stands before a value in HAProxy's JSON; two braces close it."""
    words = {
        "origin": _ORIGINS[tags[0]],
        "nature": _NATURE[tags[1]],
        "scope": _SCOPES[tags[2]],
    }
    return (
        f'"field":{{"pos":{index},"name":"{name}"}},"processNum":1,'
        f'"tags":{json.dumps(words, separators=(",", ":"))},'
        f'"value":{{"type":"{value_type}","value":'
    )


_WRITERS = {Form.CSV: _csv, Form.TYPED: _typed, Form.JSON: _json}
