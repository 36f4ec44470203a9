"""What a command of the runtime API is, who gives it, and what it is given to. No I/O.

A function of a command returns its text, or pieces of it; each piece costs a bounded amount of work
and the next one is asked for when somebody has taken it, so that a long answer holds nobody up. It
looks at everything it was told before it changes anything, and refuses by :class:`RefusedError`.

Sources: the HAProxy 2.6 management guide, 9.3; answers to what is wrong were observed on HAProxy
2.6.12.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot
from dsbalance.stats_options import Level, StatsSocket
from dsbalance.steering import Steering

# More digits than any number of ours has; what is longer stands for the greatest.
_MAX_DIGITS = 18
_GREATEST = 10**_MAX_DIGITS
_NUMBER = re.compile(r"([+-]?)([0-9]+)", re.ASCII)

Part = TypeVar("Part", FrontendSnapshot, BackendSnapshot, ServerSnapshot)


class RefusedError(Exception):
    """A command cannot be done; its text is the answer.

    A text with a newline at its end is followed by an empty line, as all answers are. HAProxy has
    forgotten it in some, and programs have learnt to read them so.
    """


class Visit:
    """One who gives commands, from the first to the last.

    Args:
        level: What he may do at first.
        timeout: How long he may be silent at first.
        sockets: Where else one may ask.
        environ: The environment of the process, for who may see it.

    Attributes:
        level: What he may do; it can be lowered, and never rises again.
        timeout: Seconds of silence after which he is left; None: any time.
        is_prompting: Whether he is asked for more after each answer.
        is_over: Whether he wants to go.
    """

    __slots__ = ("environ", "is_over", "is_prompting", "level", "sockets", "timeout")

    def __init__(
        self,
        level: Level,
        timeout: float | None = None,
        sockets: tuple[StatsSocket, ...] = (),
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.level = level
        self.timeout = timeout
        self.sockets = sockets
        self.environ = environ
        self.is_prompting = False
        self.is_over = False


@dataclass(frozen=True, slots=True)
class Call:
    """One command as it was given.

    Attributes:
        words: Those behind the words of the command itself.
        visit: Who gave it.
        steering: What it is given to.
    """

    words: tuple[str, ...]
    visit: Visit
    steering: Steering

    def word(self, place: int) -> str:
        """Return a word by its place, from 0; empty if there is none."""
        return self.words[place] if place < len(self.words) else ""


class Command(NamedTuple):
    """What can be asked for.

    Attributes:
        words: What it begins with.
        level: Who may ask.
        usage: Its words and what may follow, for the list of commands.
        help: What it does, likewise.
        run: Does it; returns the text of the answer, empty if there is nothing to say.
        is_change: Whether something is different behind it.
    """

    words: tuple[str, ...]
    level: Level
    usage: str
    help: str
    run: Callable[[Call], str | Iterable[str]]
    is_change: bool = False


def command(
    words: str,
    level: Level,
    run: Callable[[Call], str | Iterable[str]],
    about: str,
    *,
    takes: str = "",
    is_change: bool = False,
) -> Command:
    """Return a command; ``takes``: what may follow its words, as a list of commands says it."""
    return Command(tuple(words.split()), level, f"{words} {takes}".strip(), about, run, is_change)


def leading_number(text: str) -> tuple[int | None, str]:
    """Return the whole number that a text begins with, and what follows it.

    >>> leading_number("50%"), leading_number("-3"), leading_number("x")
    ((50, '%'), (-3, ''), (None, 'x'))
    """
    found = _NUMBER.match(text)
    if found is None:
        return None, text
    sign, digits = found.groups()
    number = int(digits) if len(digits) <= _MAX_DIGITS else _GREATEST
    return (-number if sign == "-" else number), text[found.end() :]


def whole_number(text: str) -> int | None:
    """Return a text as a whole number; None: it is none."""
    number, rest = leading_number(text)
    return None if rest else number


def bounded_number(text: str, error: str) -> int | None:
    """Return a limit, from 0, which is none; or refuse with ``error``."""
    number = whole_number(text)
    if number is None:
        raise RefusedError(error)
    if number < 0:
        raise RefusedError("Value out of range.\n")
    return number or None


def find_backend(call: Call, name: str) -> BackendSnapshot | None:
    """Return the backend of this name, or of this number behind a ``#``."""
    return _named(call.steering.snapshot().backends, name)


def find_server(call: Call, place: int = 0) -> tuple[BackendSnapshot, ServerSnapshot]:
    """Return what the word ``backend/server`` at this place names, or refuse."""
    backend_name, _, server_name = call.word(place).partition("/")
    if not server_name:
        raise RefusedError("Require 'backend/server'.\n")
    backend = find_backend(call, backend_name)
    if backend is None:
        raise RefusedError("No such backend.\n")
    server = _named(backend.servers, server_name)
    if server is None:
        raise RefusedError("No such server.\n")
    return backend, server


def find_path(call: Call, place: int = 0) -> str:
    """Return the ``backend/server`` that the word at this place names, by names, or refuse."""
    backend, server = find_server(call, place)
    return f"{backend.name}/{server.name}"


def find_frontend(call: Call, place: int = 0) -> FrontendSnapshot:
    """Return what the word at this place names, or refuse."""
    name = call.word(place)
    if not name:
        raise RefusedError("A frontend name is expected.\n")
    frontend = _named(call.steering.snapshot().frontends, name)
    if frontend is None:
        raise RefusedError("No such frontend.\n")
    return frontend


def in_pieces(lines: Iterable[str], size: int) -> Iterator[str]:
    """Join every ``size`` lines into one piece."""
    piece: list[str] = []
    for line in lines:
        piece.append(line)
        if len(piece) == size:
            yield "".join(piece)
            piece.clear()
    if piece:
        yield "".join(piece)


def _named(parts: Iterable[Part], name: str) -> Part | None:
    number = whole_number(name[1:]) if name.startswith("#") else None
    for part in parts:
        if part.name == name or part.id == number:
            return part
    return None
