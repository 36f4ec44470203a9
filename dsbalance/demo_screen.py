"""What the demo shows: a table that is redrawn in place, or plain lines.

    output                                        screen
    a terminal that understands ANSI sequences    LiveScreen: the whole picture, some times a second
    anything else, or TERM=dumb                   PlainScreen: events, and the sums now and then

Everything is ASCII, at most 80 columns wide, and said in words; colours only repeat the words, and
are left out where NO_COLOR is set (https://no-color.org).
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from dsbalance.terminal import RESET, Drawing, can_draw

WIDTH = 80
# The plain screen repeats the sums after so many seconds without a word.
_SILENCE = 1.0

_TITLE = "dsbalance demo: a server dies and comes back"
# What a word is painted in: SGR codes, ECMA-48 8.3.117.
_PAINT = (
    (re.compile(r"\b(UP|running|0 failed)\b"), "\x1b[32m"),
    (re.compile(r"\b(DRAIN|starting)\b"), "\x1b[33m"),
    (re.compile(r"\b(DOWN|KILLED|[1-9]\d* failed|WRONG)\b"), "\x1b[1;31m"),
    (re.compile(r"(\d\*)"), "\x1b[1;33m"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """One server at one moment.

    Attributes:
        name: Its name, which ends in its number.
        address: Where it listens.
        process: What its process does, such as ``running 4711`` or ``KILLED``.
        states: What the balancer takes it for, in each group.
        answers: How many requests it has answered.
    """

    name: str
    address: str
    process: str
    states: tuple[str, ...]
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrinterColumn:
    """One printer at one moment.

    Attributes:
        number: From 1.
        servers: The name of the one that serves it, in each group; None: nobody yet.
        has_moved: Whether it was served by another one before, in each group.
    """

    number: int
    servers: tuple[str | None, ...]
    has_moved: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All there is to see at one moment.

    Attributes:
        elapsed: Seconds since the beginning.
        groups: What the parts of the suite are called.
        servers: A row each.
        printers: A column each.
        answered: Requests that got an answer.
        failed: Requests that got none.
        slowest: The longest wait for an answer, seconds.
    """

    elapsed: float
    groups: tuple[str, ...]
    servers: tuple[ServerRow, ...]
    printers: tuple[PrinterColumn, ...]
    answered: int
    failed: int
    slowest: float


class Screen(Protocol):
    """Where the demo shows itself. Called on one thread."""

    def event(self, elapsed: float, text: str) -> None:
        """Show that something happened ``elapsed`` seconds after the beginning."""

    def update(self, view: View) -> None:
        """Show how things are; called often."""

    def close(self, text: str) -> None:
        """Leave what is shown, and write ``text`` below it."""


def make_screen(out: TextIO, environ: Mapping[str, str]) -> Screen:
    """Return the screen that suits ``out`` and the environment."""
    if not can_draw(out, environ):
        return PlainScreen(out)
    return LiveScreen(out, is_coloured=not environ.get("NO_COLOR"))


class PlainScreen:
    """A line for each event, and one for the sums when nothing else was said for a second."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._spoke_at = -_SILENCE
        self._shares = ""

    def event(self, elapsed: float, text: str) -> None:
        """Write an event."""
        self._spoke_at = elapsed
        self._write(event_lines(elapsed, text))

    def update(self, view: View) -> None:
        """Write the sums if nothing was written for a second; who serves whom, if it changed."""
        if view.elapsed - self._spoke_at < _SILENCE or not view.printers:
            return
        self._spoke_at = view.elapsed
        text = f"  {view.answered} answered, {view.failed} failed"
        if self._shares != (now := shares(view)):
            self._shares = now
            text += f". Who serves whom: {now}"
        self._write(event_lines(view.elapsed, text))

    def close(self, text: str) -> None:
        """Write the last words."""
        self._write(["", *text.splitlines()])

    def _write(self, lines: Sequence[str]) -> None:
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()


class LiveScreen:
    """A picture that is drawn over itself, and the latest events below it."""

    def __init__(self, out: TextIO, *, is_coloured: bool) -> None:
        self._drawing = Drawing(out, _painted if is_coloured else str)
        self._events: list[str] = []
        self._view: View | None = None

    def event(self, elapsed: float, text: str) -> None:
        """Add an event below the tables."""
        self._events += event_lines(elapsed, text)
        if self._view is not None:
            self.update(self._view)

    def update(self, view: View) -> None:
        """Draw the picture anew."""
        self._view = view
        size = shutil.get_terminal_size((WIDTH, 24))
        lines = picture(view)
        # Nothing may scroll: the next picture would begin too far up.
        room = max(0, size.lines - 1 - len(lines))
        lines += self._events[len(self._events) - room if len(self._events) > room else 0 :]
        self._drawing.draw(lines[: size.lines - 1], min(WIDTH, size.columns) - 1)

    def close(self, text: str) -> None:
        """Show every event once more, in full, and the last words."""
        lines = [
            *(picture(self._view) if self._view else ()),
            *self._events,
            "",
            *text.splitlines(),
        ]
        self._drawing.draw(lines, WIDTH)
        self._drawing.leave()


def _painted(line: str) -> str:
    for pattern, colour in _PAINT:
        line = pattern.sub(rf"{colour}\1{RESET}", line)
    return line


def picture(view: View) -> list[str]:
    """Return the tables and the sums, as lines."""
    rule = "-" * (WIDTH - 2)
    heads = "".join(f"{group:<11}" for group in view.groups)
    lines = [
        f" {_TITLE}{view.elapsed:>{WIDTH - len(_TITLE) - 4}.1f} s",
        f" {rule}",
        f" {'server':<11}{'address':<15}{'process':<17}{heads}{'answers':>9}",
    ]
    for row in view.servers:
        states = "".join(f"{state:<11}" for state in row.states)
        lines.append(f" {row.name:<11}{row.address:<15}{row.process:<17}{states}{row.answers:>9}")
    lines += ["", f" {'printer':<11}" + "".join(f"{p.number:>3} " for p in view.printers)]
    for index, group in enumerate(view.groups):
        cells = "".join(_cell(printer, index) for printer in view.printers)
        lines.append(f" {group:<11}{cells}")
    lines += [
        " The numbers of the servers that serve them; * is one that has moved.",
        "",
        f" {sums(view)}",
        f" {rule}",
    ]
    return lines


def _cell(printer: PrinterColumn, index: int) -> str:
    server = printer.servers[index]
    number = "." if server is None else server.rpartition("-")[2]
    return f"{number:>3}{'*' if printer.has_moved[index] else ' '}"


def sums(view: View) -> str:
    """Return the sums, in words."""
    slowest = f", slowest {in_words(view.slowest)}" if view.answered else ""
    return f"{view.answered} answered, {view.failed} failed{slowest}"


def shares(view: View) -> str:
    """Return which printers each server has in the first group, in words."""
    words = []
    for row in view.servers:
        served = [str(p.number) for p in view.printers if p.servers[0] == row.name]
        words.append(f"{row.name}: {' '.join(served) or 'nobody'}")
    return ", ".join(words)


def in_words(duration: float) -> str:
    """Return a duration in the unit that suits it.

    >>> in_words(0.0312), in_words(2.25)
    ('31 ms', '2.2 s')
    """
    return f"{duration * 1000:.0f} ms" if duration < 1 else f"{duration:.1f} s"


def event_lines(elapsed: float, text: str) -> list[str]:
    """Return an event as lines, its time in front and the rest indented below."""
    head = f"{elapsed:6.1f} s  "
    return textwrap.wrap(
        text,
        WIDTH - 2,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )
