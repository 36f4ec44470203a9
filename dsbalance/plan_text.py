"""What a plan looks like: a picture for a terminal, JSON, CSV. No I/O.

    form       for              one of it is
    picture    people           a table with bars for each backend, and who moves
    as_json    programs         the sums; its keys are documented in docs/plan.md and stay
    as_csv     spreadsheets     a line for each client and backend

A picture is as wide as it is told, but not narrower than :data:`MIN_WIDTH`. Colours repeat what is
said in words; :func:`painted` adds them to a line that is done.
"""

from __future__ import annotations

import csv
import io
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from dsbalance.client_list import text_of
from dsbalance.foresight import (
    REFUSED,
    WAITING,
    BackendOutlook,
    Moment,
    Move,
    Plan,
    Seat,
    ServerOutlook,
)
from dsbalance.haproxy.lexer import format_time
from dsbalance.model import Backend, Balance, StickAction

MIN_WIDTH = 60
# So many moves are read at a glance; the others are summed up.
_MAX_MOVES = 8
_NAME_WIDTH = 22
# An eighth of a character at a time.
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
# What a terminal has to know for it.
BAR_CHARACTERS = _EIGHTHS + _FULL

_RESET = "\x1b[0m"
# What a word is painted in: SGR codes, ECMA-48 8.3.117.
_PAINT = (
    (re.compile(rf"([{_EIGHTHS[1:]}{_FULL}]+)"), "\x1b[36m"),
    (re.compile(r"\b(not yet|none yet|is added)\b"), "\x1b[32m"),
    (re.compile(r"\b(DOWN|MAINT|DRAIN|is lost)\b"), "\x1b[31m"),
    (re.compile(r"(^! .*|\bNO CLIENT\b|\((?:refused|waiting)\))"), "\x1b[1;31m"),
    (re.compile(r"^([\w.:-]+(?: and [\w.:-]+)*:)$"), "\x1b[1m"),
)


class Style(NamedTuple):
    """How a picture is drawn.

    Attributes:
        width: Columns.
        is_ascii: Whether bars are made of ``#``, for whoever cannot show blocks.
    """

    width: int = 80
    is_ascii: bool = False

    def bar(self, value: int, most: int, size: int) -> str:
        """Return a bar of ``size`` characters, blanks included; whoever has any shows some."""
        if self.is_ascii:
            length = max(round(size * value / most), 1) if value else 0
            return ("#" * length).ljust(size)
        eighths = max(round(8 * size * value / most), 1) if value else 0
        full, rest = divmod(eighths, 8)
        return (_FULL * full + (_EIGHTHS[rest] if rest else "")).ljust(size)


def picture(plan: Plan, style: Style = Style()) -> list[str]:  # noqa: B008 -- it is frozen
    """Return the lines of a plan for people."""
    style = style._replace(width=max(style.width, MIN_WIDTH))
    clients = len(plan.clients)
    change = f": {plan.scenario}" if plan.scenario else ""
    lines = _wrapped(f"{clients:,} client{'s' * (clients != 1)}{change}.", style, "  ")
    for outlook in plan.backends:
        lines += ["", *_backend(outlook, plan, style)]
    return lines


def painted(line: str) -> str:
    """Return a line of a picture with colours, as ANSI sequences."""
    for pattern, colour in _PAINT:
        line = pattern.sub(rf"{colour}\1{_RESET}", line)
    return line


def policy_words(backend: Backend) -> str:
    """Return how a backend chooses, in the words of its file.

    >>> policy_words(Backend(name="b", balance=Balance.SOURCE))
    'balance source, hash-type map-based'
    """
    if backend.policy is not None:
        return "a policy of its own"
    words = [f"balance {backend.balance}"]
    if backend.balance is Balance.SOURCE:
        words.append(f"hash-type {backend.hash_type.kind}")
    if backend.hash_balance_factor:
        words.append(f"hash-balance-factor {backend.hash_balance_factor}")
    if backend.bounded_clients is not None:
        words.append(f"bounded-clients {backend.bounded_clients}")
    words += (f"stick {rule.action}" for rule in backend.stick[:1])
    return ", ".join(words)


# -- the picture


def _backend(outlook: BackendOutlook, plan: Plan, style: Style) -> Iterator[str]:
    yield from _wrapped(f"{' and '.join([outlook.name, *outlook.fellows])}:", style, "")
    yield from _wrapped(f"  {policy_words(outlook.backend)}", style, "  ")
    if plan.scenario and Moment.AFTER not in outlook.seats:
        yield "  The change does not concern it."
    yield ""
    yield from _table(outlook, style)
    for moment in list(outlook.seats)[1:]:
        yield ""
        yield from _moves(outlook, moment, style)
    remarks = [*_warnings(outlook), *(f"- {note[0].upper()}{note[1:]}." for note in outlook.notes)]
    if remarks:
        yield ""
    for remark in remarks:
        yield from _wrapped(remark, style, "  ")


class _Columns(NamedTuple):
    """The widths of a table."""

    name: int
    weight: int
    bar: int
    number: int
    has_percent: bool

    @property
    def moment(self) -> int:
        """Bar, count and percent."""
        return self.bar + 1 + self.number + 7 * self.has_percent


def _table(outlook: BackendOutlook, style: Style) -> Iterator[str]:
    moments = list(outlook.seats)
    columns = _columns(outlook, style)
    head = f"{'server':<{columns.name}}  {'weight':>{columns.weight}}"
    yield head + "".join(f"  {moment.value:<{columns.moment}}" for moment in moments).rstrip()
    counts = {moment: outlook.counts(moment) for moment in moments}
    most = max(max(count.values()) for count in counts.values())
    for server in outlook.servers:
        cells = (
            _cell(
                counts[moment][server.name],
                "" if counts[moment][server.name] else _emptiness(server, moment, outlook),
                (most, len(outlook.clients)),
                columns,
                style,
            )
            for moment in moments
        )
        yield _row(server.name, _weight(server), cells, columns)
    for word in (WAITING, REFUSED):
        nowhere = [_nowhere(outlook, moment, word) for moment in moments]
        if any(nowhere):
            cells = (
                _cell(count, "", (most, len(outlook.clients)), columns, style) for count in nowhere
            )
            yield _row(f"({word})", "", cells, columns)
    yield _row("busiest", "", (_busiest(outlook, moment, columns) for moment in moments), columns)


def _columns(outlook: BackendOutlook, style: Style) -> _Columns:
    widest = max(len(server.name) for server in outlook.servers)
    name = min(max(9, widest), style.width // 4, _NAME_WIDTH)
    weight = max(6, *(len(_weight(server)) for server in outlook.servers))
    count = max(4, len(f"{len(outlook.clients):,}"))
    share = (style.width - name - weight - 2) // len(outlook.seats) - 2
    has_percent = share >= 32
    bar = min(share - count - 1 - 7 * has_percent, 40)
    return _Columns(name, weight, bar, count, has_percent)


def _row(name: str, weight: str, cells: Iterable[str], columns: _Columns) -> str:
    head = f"{_cut(name, columns.name):<{columns.name}}  {weight:>{columns.weight}}"
    return "  ".join([head, *cells]).rstrip()


def _cell(count: int, word: str, scale: tuple[int, int], columns: _Columns, style: Style) -> str:
    """Return bar and count, or a word in the place of a bar; ``scale``: most of a row, and all."""
    most, everybody = scale
    if len(word) > columns.bar:
        # Its number is 0 anyway.
        return word[: columns.moment].ljust(columns.moment)
    bar = word.ljust(columns.bar) if word else style.bar(count, most, columns.bar)
    percent = f" {count / everybody:6.1%}" if columns.has_percent else ""
    return f"{bar} {count:>{columns.number},}{percent}"


def _weight(server: ServerOutlook) -> str:
    old, new = server.weights
    return f"{new}" if old in {None, new} else f"{old}->{new}"


def _emptiness(server: ServerOutlook, moment: Moment, outlook: BackendOutlook) -> str:
    """Return why a server has nobody, in a word or two."""
    index = moment is not Moment.NOW
    word, weight = server.states[index], server.weights[index]
    if word is None:
        return "not yet"
    if not server.is_open(moment):
        return word if weight or word not in {"UP", "no check"} else "weight 0"
    if server.name not in outlook.idle(moment):
        return "backup"
    return "none yet" if _is_new(server, moment) else "NO CLIENT"


def _is_new(server: ServerOutlook, moment: Moment) -> bool:
    """Whether a server has just been added: whoever has an entry stays where it is."""
    return server.weights[0] is None and moment is Moment.AFTER


def _nowhere(outlook: BackendOutlook, moment: Moment, word: str) -> int:
    seats = outlook.seats[moment]
    return sum(1 for seat in seats if seat.server is None and seat.reason == word)


def _busiest(outlook: BackendOutlook, moment: Moment, columns: _Columns) -> str:
    found = outlook.busiest(moment)
    if found is None:
        return " " * columns.moment
    name, share = found
    number = f"{share:.1%}"
    room = columns.moment - len(number) - 1
    return f"{_cut(name, room):<{room}} {number}"


def _moves(outlook: BackendOutlook, moment: Moment, style: Style) -> Iterator[str]:
    moves = outlook.moves(moment)
    yield from _wrapped(_headline(outlook, moment), style, "")
    if not moves:
        return
    shown = moves if len(moves) <= _MAX_MOVES + 1 else moves[:_MAX_MOVES]
    names = [f"{_place(move.origin)} -> {_place(move.goal)}" for move in shown]
    widest = max(map(len, names))
    count = len(f"{moves[0].clients:,}")
    size = min(style.width - widest - count - 5, 40)
    for name, move in zip(names, shown, strict=True):
        bar = style.bar(move.clients, moves[0].clients, size)
        yield f"  {name:<{widest}}  {move.clients:>{count},} {bar}".rstrip()
    if rest := moves[len(shown) :]:
        yield f"  and {sum(m.clients for m in rest):,} by {len(rest)} other ways"


def _headline(outlook: BackendOutlook, moment: Moment) -> str:
    """Return the sentence above the moves of a moment."""
    moved, total = outlook.moved(moment), len(outlook.clients)
    if moment is Moment.AFTER:
        who = f"{moved:,} of {total:,} clients move ({moved / total:.1%}):"
        return f"At once {who if moved else 'nobody moves.'}"
    table = outlook.backend.table
    idle = ""
    if table is not None and table.expire is not None:
        idle = f" (after {format_time(table.expire)} without a session)"
    is_sticky = any(rule.action is not StickAction.STORE_REQUEST for rule in outlook.backend.stick)
    when = f"When the stick entries have expired{idle}" if is_sticky else "Begun anew"
    who = f"{moved:,} more move ({moved / total:.1%}):"
    return f"{when}, {who if moved else 'nobody else moves.'}"


def _place(name: str | None) -> str:
    return "(nowhere)" if name is None else _cut(name, _NAME_WIDTH)


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 2]}.."


def _warnings(outlook: BackendOutlook) -> Iterator[str]:
    """Yield what is wrong with what was found."""
    for moment in outlook.seats:
        idle = outlook.idle(moment)
        for server in outlook.servers:
            if server.name in idle and not _is_new(server, moment):
                yield f"! {server.name} has no client ({moment.value})."
        for reason, count in outlook.unserved(moment).items():
            are = "are refused" if reason == REFUSED else "wait for a place"
            yield f"! {count:,} clients {are} ({moment.value})."


def _wrapped(text: str, style: Style, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        style.width,
        subsequent_indent=indent,
        break_on_hyphens=False,
    )


# -- for programs


def as_json(plan: Plan) -> str:
    """Return the sums of a plan; see docs/plan.md for the keys."""
    scenario = plan.scenario
    return json.dumps(
        {
            "change": {
                "lose": list(scenario.lose),
                "add": dict(scenario.add),
                "weights": dict(scenario.weights),
            },
            "backends": [_backend_facts(outlook) for outlook in plan.backends],
        },
        indent=2,
    )


def _backend_facts(outlook: BackendOutlook) -> dict[str, object]:
    moments = list(outlook.seats)
    counts = {moment: outlook.counts(moment) for moment in moments}
    unserved = {moment: outlook.unserved(moment) for moment in moments}
    return {
        "name": outlook.name,
        "fellows": list(outlook.fellows),
        "policy": policy_words(outlook.backend),
        "clients": len(outlook.clients),
        "moments": [moment.value for moment in moments],
        "servers": [
            {
                "name": server.name,
                "address": server.address,
                "backup": server.is_backup,
                "weight": server.weights[1],
                "weight_before": server.weights[0],
                "state": server.states[1],
                "state_before": server.states[0],
                "clients": {m.value: counts[m][server.name] for m in moments},
            }
            for server in outlook.servers
        ],
        "busiest": {m.value: _busiest_facts(outlook, m) for m in moments},
        "without_client": {m.value: list(outlook.idle(m)) for m in moments},
        "waiting": {m.value: unserved[m][WAITING] for m in moments},
        "refused": {m.value: unserved[m][REFUSED] for m in moments},
        "moved": {m.value: outlook.moved(m) for m in moments[1:]},
        "moves": {m.value: [_move_facts(move) for move in outlook.moves(m)] for m in moments[1:]},
        "notes": list(outlook.notes),
    }


def _busiest_facts(outlook: BackendOutlook, moment: Moment) -> dict[str, object] | None:
    found = outlook.busiest(moment)
    return None if found is None else {"server": found[0], "share": round(found[1], 6)}


def _move_facts(move: Move) -> dict[str, object]:
    return {"from": move.origin, "to": move.goal, "clients": move.clients}


_HEAD = (
    *("client", "backend", "now", "now_reason"),
    *("after", "after_reason", "settled", "settled_reason"),
)


def as_csv(plan: Plan) -> str:
    """Return a line for each client and backend, below a line with the names of the columns.

    Who is nowhere has an empty server. Without a change for a backend, what would come after it is
    empty too.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEAD)
    for outlook in plan.backends:
        nowhen = [Seat(None, "")] * (len(Moment) - len(outlook.seats))
        moments = zip(*outlook.seats.values(), strict=True)
        for client, seats in zip(outlook.clients, moments, strict=True):
            cells = [cell for seat in (*seats, *nowhen) for cell in seat]
            writer.writerow([text_of(client), outlook.name, *cells])
    return text.getvalue()
