"""The live table of the terminal: what a runtime API says, drawn every second.

    output                                        what is written
    a terminal that understands ANSI sequences    the table, drawn over itself, and what has changed
    anything else, or TERM=dumb                   what has changed and the table, again and again
    anything, if it is wanted once                the table

A balancer that is stopped, or started anew, is waited for. States are words; a mark before the name
and a colour only repeat them: ``!`` nobody gets there, ``-`` somebody wants it so, ``~`` on its way
up or down.
"""

from __future__ import annotations

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TextIO

from dsbalance.haproxy.lexer import printable
from dsbalance.remote import RefusedError, Remote, RemoteError, StatRow
from dsbalance.terminal import RESET, Drawing, can_draw, reading_keys

# Of a table in a file, which has no width of its own.
PLAIN_WIDTH = 160
# Names are clipped where there is no room, but not to less.
_SHORTEST_NAME = 8
# With so much room behind the columns the reasons stand there, else each below its row.
_REASON_ROOM = 30
_EVENTS = 100

# What a mark and a state are painted in: SGR codes, ECMA-48 8.3.117. Who sees no red sees that it
# is inverse.
_PAINT = {"!": "\x1b[1;7;31m", "-": "\x1b[33m", "~": "\x1b[1;33m", " ": "\x1b[32m"}
_WORDS = "UP|OPEN|no check|DOWN|STOP|PAUSED|FULL|WAITING|NOLB|DRAIN|MAINT"
_WORD = re.compile(_WORDS)
# In a line of the table: the mark, the name, the state behind two spaces.
_ROW = re.compile(rf"([-!~ ])( +\S+ * )((?:{_WORDS})\b(?: \d+/\d+)?)")


class Look(NamedTuple):
    """What a balancer says of itself at one moment.

    Attributes:
        info: What ``show info`` says.
        rows: What ``show stat`` says.
        taken_at: The instant, monotonic.
    """

    info: Mapping[str, str]
    rows: tuple[StatRow, ...]
    taken_at: float


def top(
    remote: Remote, screen: Screen, source: TextIO | None, interval: float, proxies: Sequence[str]
) -> None:
    """Show how a balancer is until ``q`` is typed, or once if the screen wants no more.

    Args:
        remote: Where it is asked.
        screen: Where it is shown.
        source: Where keys are typed; None: nowhere.
        interval: Seconds from one look to the next.
        proxies: Those to show; none: all of them.

    Raises:
        RefusedError: There is no proxy of such a name.
        RemoteError: It cannot be asked at first. Later that is only shown.
    """
    watch = Watch(look(remote, proxies))
    screen.show(watch)
    if screen.is_once:
        return
    with reading_keys(source if screen.is_live else None) as keys:
        while keys.wait(interval) not in ("q", "Q"):
            try:
                watch.take(look(remote, proxies))
            except RemoteError as error:
                watch.lose(error)
            screen.show(watch)


def look(remote: Remote, proxies: Collection[str] = ()) -> Look:
    """Ask a balancer how it is; of these proxies, or of all.

    Raises:
        RefusedError: There is no proxy of such a name.
        RemoteError: It cannot be asked.
    """
    rows = remote.stat()
    if missing := sorted(set(proxies).difference(row["pxname"] for row in rows)):
        raise RefusedError(remote.address, f"{missing[0]}: there is no proxy of this name")
    wanted = (row for row in rows if not proxies or row["pxname"] in proxies)
    return Look(remote.info(), tuple(wanted), time.monotonic())


class Screen:
    """Where it is shown.

    Args:
        out: What is written to.
        environ: The environment: TERM, NO_COLOR.
        is_once: Whether one table is all that is wanted.

    Attributes:
        is_once: As above.
    """

    def __init__(self, out: TextIO, environ: Mapping[str, str], *, is_once: bool = False) -> None:
        self.is_once = is_once
        self._out = out
        self._events: deque[str] = deque(maxlen=_EVENTS)
        self._drawing: Drawing | None = None
        if not is_once and can_draw(out, environ):
            self._drawing = Drawing(out, str if environ.get("NO_COLOR") else painted)

    @property
    def is_live(self) -> bool:
        """Whether the table is drawn over itself."""
        return self._drawing is not None

    def show(self, watch: Watch) -> None:
        """Show how things are."""
        if self._drawing is not None:
            self._draw(self._drawing, watch)
            return
        # A line that fills the last column makes some terminals begin another.
        width = shutil.get_terminal_size().columns - 1 if self._out.isatty() else PLAIN_WIDTH
        lines = [*watch.news(), *picture(watch, width), *([] if self.is_once else [""])]
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()

    def _draw(self, drawing: Drawing, watch: Watch) -> None:
        self._events += watch.news()
        size = shutil.get_terminal_size()
        # One less of both: see above, and nothing may scroll.
        width, height = size.columns - 1, size.lines - 1
        lines = picture(watch, width)
        lines[0] = f"{lines[0]}; q ends"
        if len(lines) > height:
            lines[height - 1 :] = [f"  ... and {len(lines) - height + 1} lines more"]
        elif self._events and (room := height - len(lines) - 1) > 0:
            lines += ["", *tuple(self._events)[-room:]]
        drawing.draw(lines[:height], width)


# -- what is known


class Watch:
    """What is known of a balancer: how it is, how it was before, and what has changed since.

    Args:
        now: The first look at it.

    Attributes:
        now: The last look at it.
        before: The one before that; None: there was none since it was started.
        trouble: Why it cannot be looked at; empty: it can.
    """

    def __init__(self, now: Look) -> None:
        self.now = now
        self.before: Look | None = None
        self.trouble = ""
        self._news: list[str] = []

    def take(self, now: Look) -> None:
        """Take in how it is now."""
        if self.trouble:
            self._tell("it answers again")
            self.trouble = ""
        self.before, self.now = self.now, now
        for text in changes(self.before, now):
            self._tell(text)
        if _is_anew(self.before, now):
            self._tell(f"it was started anew, as process {now.info.get('Pid', '?')}")
            self.before = None

    def lose(self, error: RemoteError) -> None:
        """Take in that it does not answer."""
        if not self.trouble:
            self._tell(error.reason)
        self.trouble = error.reason

    def news(self) -> list[str]:
        """Return what has changed since this was last asked, each behind the time of the day."""
        news, self._news = self._news, []
        return news

    def _tell(self, text: str) -> None:
        self._news.append(f"{time.strftime('%H:%M:%S')} {printable(text)}")


def _is_anew(before: Look, now: Look) -> bool:
    if before.info.get("Pid") != now.info.get("Pid"):
        return True
    then, since = (seen.info.get("Uptime_sec", "") for seen in (before, now))
    return then.isdecimal() and since.isdecimal() and int(since) < int(then)


def changes(before: Look, now: Look) -> Iterator[str]:
    """Yield a line for each state that is another one now; the counts of checks are none."""
    states = {row.path: word(row) for row in before.rows}
    for row in now.rows:
        state = word(row)
        if (old := states.get(row.path, state)) != state:
            yield ": ".join(filter(None, (f"{row.path}: {old} -> {state}", reason(row))))


# -- the words of a row


def word(row: StatRow) -> str:
    """Return the state without counts: ``UP``, ``DOWN``, ``no check`` ..."""
    match = _WORD.match(row["status"])
    return match[0] if match else row["status"]


def mark(row: StatRow) -> str:
    """Return what stands before the name; see the module."""
    match word(row):
        case "DOWN" | "STOP":
            return "!"
        case "MAINT" | "DRAIN" | "NOLB" | "PAUSED":
            return "-"
        case "UP" if row["status"] != "UP":
            return "~"
    return " "


def reason(row: StatRow) -> str:
    """Return why a server is in its state, as far as there is something to say."""
    status, parts = row["status"], []
    if match := re.search(r"\((.*)\)", status):
        parts.append(match[1])
    elif row["tracked"] and status != "UP":
        parts.append(f"via {row['tracked']}")
    if status.startswith(("DOWN", "UP ", "NOLB")):
        parts += filter(None, (row["check_desc"], row["last_chk"]))
    if row.is_server and row["weight"] == "0" and word(row) == "UP":
        parts.append("weight 0")
    if row["throttle"]:
        parts.append(f"slow start, {row['throttle']} %")
    return ": ".join(parts)


def amount(number: int | None, limit: int = 10_000) -> str:
    """Return a number in four characters; below ``limit`` as it is; None: as nothing.

    >>> amount(9_999), amount(12_345), amount(1_250, 1000), amount(987_654_321)
    ('9999', '12k', '1.2k', '988M')
    """
    if number is None or number < limit:
        return "" if number is None else str(number)
    value = float(number)
    for unit in "kMGTPE":
        value /= 1000
        if value < 9.95:
            return f"{value:.1f}{unit}"
        if value < 999.5:
            break
    return f"{value:.0f}{unit}"


def span(seconds: int | None) -> str:
    """Return a duration in five characters; None: as nothing.

    >>> span(59), span(3599), span(86_399), span(400 * 86_400)
    ('59s', '59m', '23h59', '400d')
    """
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    if seconds < 86_400:
        return f"{seconds // 3600}h{seconds // 60 % 60:02}"
    return f"{seconds // 86_400}d"


# -- the table


class Column(NamedTuple):
    """A column of figures.

    Attributes:
        head: What stands above it.
        width: In characters, the gap before it included.
        text: From a row, and the bytes per second of all rows, to what stands there.
    """

    head: str
    width: int
    text: Callable[[StatRow, Mapping[str, int]], str]


_COLUMNS = (
    Column("queue", 6, lambda row, _: amount(row.number("qcur"))),
    Column("cur", 5, lambda row, _: amount(row.number("scur"))),
    Column("max", 5, lambda row, _: amount(row.number("smax"))),
    Column("limit", 6, lambda row, _: amount(row.number("slim")) or "-"),
    Column("rate", 5, lambda row, _: amount(row.number("rate"))),
    Column("bytes/s", 8, lambda row, flows: amount(flows.get(row.path), 1000)),
    Column("check", 7, lambda row, _: row["check_status"].removeprefix("* ")),
    Column("since", 6, lambda row, _: span(row.number("lastchg"))),
)
_FIGURES = sum(column.width for column in _COLUMNS)
# As wide as "DOWN 11/12", with a gap of two before it.
_STATE = 12


def picture(watch: Watch, width: int) -> list[str]:
    """Return two lines about the process, and the table of its proxies.

    Args:
        watch: What is known of it.
        width: Characters of a line at the most.
    """
    rows = _ordered(watch.now.rows)
    names = _names(rows)
    flows = _flows(watch.before, watch.now)
    room = min(max(map(len, names), default=0), width - 2 - _STATE - _FIGURES)
    room = max(_SHORTEST_NAME, room)
    heads = "".join(f"{column.head:>{column.width}}" for column in _COLUMNS)
    lines = [*_process(watch, flows), "", f"  {'':{room}}  {'state':<{_STATE - 2}}{heads}"]
    for row, name in zip(rows, names, strict=True):
        label = name if len(name) <= room else f"{name[: room - 1]}~"
        state = row["status"].partition(" (")[0]
        figures = "".join(f"{column.text(row, flows):>{column.width}}" for column in _COLUMNS)
        lines.append(f"{mark(row)} {label:{room}}  {state:<{_STATE - 2}}{figures}")
        if why := reason(row):
            if width - len(lines[-1]) >= _REASON_ROOM:
                lines[-1] += f"  {why}"
            else:
                lines.append(f"      {why}")
    return [printable(line.rstrip(), width) for line in lines]


def painted(line: str) -> str:
    """Return a line of the picture in colours."""
    if not (match := _ROW.match(line)):
        return line
    colour = _PAINT[match[1]]
    return f"{colour}{match[1]}{RESET}{match[2]}{colour}{match[3]}{RESET}{line[match.end() :]}"


def _process(watch: Watch, flows: Mapping[str, int]) -> list[str]:
    """Return what there is to say of the process as a whole."""
    info, rows = watch.now.info, watch.now.rows
    name, version, pid = (info.get(key, "?") for key in ("Name", "Version", "Pid"))
    node = f" on {info['node']}" if info.get("node") else ""
    first = f"{name} {version}{node}, process {pid}, up {info.get('Uptime', '?')}"
    if watch.trouble:
        return [first, f"NO ANSWER: {watch.trouble}"]
    sessions, most, rate = (info.get(key, "?") for key in ("CurrConns", "Maxconn", "SessRate"))
    second = f"{sessions} of {most} connections, {rate} sessions/s"
    passing = [flows[row.path] for row in rows if row.is_frontend and row.path in flows]
    return [first, second + (f", {amount(sum(passing), 1000)} bytes/s" if passing else "")]


def _ordered(rows: Iterable[StatRow]) -> list[StatRow]:
    """Return the rows proxy by proxy: the frontend, its listeners, the backend, its servers."""
    places: dict[str, int] = {}
    kinds = {"0": 0, "3": 1, "1": 2, "2": 3}
    return sorted(
        rows,
        key=lambda row: (places.setdefault(row["pxname"], len(places)), kinds.get(row["type"], 4)),
    )


def _names(rows: Iterable[StatRow]) -> list[str]:
    """Return what to call each row; what belongs to a proxy is indented below it."""
    names, seen = [], set()
    for row in rows:
        proxy = row["pxname"]
        if proxy in seen:
            names.append("  backend" if row.is_backend else f"  {row['svname']}")
        else:
            names.append(proxy)
        seen.add(proxy)
    return names


def _flows(before: Look | None, now: Look) -> dict[str, int]:
    """Return the bytes per second of each row that was there before."""
    if before is None or (elapsed := now.taken_at - before.taken_at) <= 0:
        return {}
    totals = {row.path: _bytes(row) for row in before.rows}
    # Fewer than before: they were cleared.
    return {
        row.path: max(0, round((_bytes(row) - totals[row.path]) / elapsed))
        for row in now.rows
        if row.path in totals
    }


def _bytes(row: StatRow) -> int:
    return (row.number("bin") or 0) + (row.number("bout") or 0)
