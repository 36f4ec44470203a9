"""The runtime API: from what is asked for at a ``stats socket`` to the answer. No I/O.

    a command    is found by its first words in the table of commands, and asks for a level
    its answer   is a text and an empty line; to what only does something, the empty line
    prompting    behind each answer stand "> ", and more may be asked; otherwise it is over when all
                 that came has been answered

An answer comes in pieces, each of a bounded amount of work, so that a table of a million entries
goes out over many turns. Commands act through a :class:`dsbalance.steering.Steering` alone.

Source: the HAProxy 2.6 management guide, 9.3; the answers were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator

from dsbalance.errors import DsbalanceError
from dsbalance.haproxy import (
    runtime_frontends,
    runtime_servers,
    runtime_shows,
    runtime_statistics,
    runtime_tables,
)
from dsbalance.haproxy.runtime_command import (
    Call,
    Command,
    RefusedError,
    Visit,
    command,
    whole_number,
)
from dsbalance.haproxy.runtime_lines import Lines, words
from dsbalance.stats_options import Level
from dsbalance.steering import Steering

# What HAProxy 2.6 has besides, by its first words.
_LACKING = tuple(
    tuple(line.split())
    for line in """\
abort ssl
add acl
add map
add server
add ssl
clear acl
clear map
commit acl
commit map
commit ssl
del acl
del map
del server
del ssl
disable dynamic-cookie
enable dynamic-cookie
expert-mode
get acl
get map
get var
new ssl
prepare acl
prepare map
set dynamic-cookie-key
set map
set profiling
set severity-output
set ssl
show acl
show activity
show cache
show events
show fd
show libs
show map
show pools
show profiling
show resolvers
show schema
show ssl
show startup-logs
show tasks
show threads
show tls-keys
show trace
trace""".splitlines()
)
# Longest timeout that HAProxy takes, in seconds: 2^31 milliseconds.
_MAX_TIMEOUT = 2_147_483
# Letters of an unknown command that are compared with those there are.
_MAX_COMPARED = 60


# The end of the first line of a request in HTTP.
_REQUEST_LINE = re.compile(r" HTTP/\d(?:\.\d)?\s*$")


class Dialogue:
    """What one client of the runtime API says and hears, as bytes.

    Args:
        visit: Who it is.
        steering: What his commands are given to.
        on_change: Told of each command that has changed something.

    Attributes:
        visit: Who it is.
    """

    __slots__ = ("_has_answered", "_lines", "_on_change", "_pieces", "_steering", "visit")

    def __init__(self, visit: Visit, steering: Steering, on_change: Callable[[str], None]) -> None:
        self.visit = visit
        self._steering = steering
        self._on_change = on_change
        self._lines = Lines()
        self._pieces: Iterator[str] | None = None
        self._has_answered = False

    @property
    def is_over(self) -> bool:
        """Whether he is to be left: nothing is to be said any more, and nothing to be heard."""
        return self._pieces is None and (self.visit.is_over or self._lines.is_too_long)

    @property
    def is_answered(self) -> bool:
        """Whether he is to be left unless there is more to be heard at once."""
        return self._has_answered and not self.visit.is_prompting

    def hear(self, data: bytes) -> None:
        """Take what he says. To be called when :meth:`say` has returned None."""
        self._lines.feed(data)

    def say(self) -> bytes | None:
        """Return the next piece of the answers, perhaps empty; None: there is nothing to say."""
        if self._pieces is None:
            line = None if self.visit.is_over else self._lines.take()
            if line is None:
                return None
            self._pieces = self._answer(line)
        piece = next(self._pieces, None)
        if piece is None:
            self._pieces = None
            piece = ""
        return piece.encode("utf-8", "surrogateescape")

    def _answer(self, line: str) -> Iterator[str]:
        self._has_answered = True
        yield from answer(line, self.visit, self._steering, self._on_change)
        if self.visit.is_prompting and not self.visit.is_over:
            yield "> "


def answer(
    line: str, visit: Visit, steering: Steering, on_change: Callable[[str], None]
) -> Iterator[str]:
    """Do one command and yield the answer, in pieces that may be empty.

    Args:
        line: The command, without the end of its line.
        visit: Who asks.
        steering: What it is about.
        on_change: Told of the command when it has changed something.
    """
    said = words(line)
    found = _find(said)
    try:
        if found is None and _REQUEST_LINE.search(line):
            # Any page that a browser shows may send a form to a port of this machine: what stands
            # in it is not to be taken for commands.
            visit.is_over = True
            yield "This is no web server.\n"
        elif found is None:
            yield _unknown(said)
        elif visit.level < found.level:
            yield "Permission denied\n"
        else:
            call = Call(said[len(found.words) :], visit, steering)
            text = found.run(call)
            yield from (text,) if isinstance(text, str) else text
            if found.is_change:
                on_change(line)
    except RefusedError as error:
        yield str(error)
    except DsbalanceError as error:
        yield f"{'; '.join(str(error).splitlines())}\n"
    if not visit.is_over:
        yield "\n"


def _find(said: tuple[str, ...]) -> Command | None:
    """Return the command that begins with the most of these words."""
    for length in range(min(len(said), _LONGEST), 0, -1):
        if (found := _TABLE.get(said[:length])) is not None:
            return found
    return None


def _unknown(said: tuple[str, ...]) -> str:
    for lacking in _LACKING:
        if said[: len(lacking)] == lacking:
            return f"HAProxy's '{' '.join(lacking)}' does not exist here.\n"
    meant = _matching(said)
    if meant:
        return "Unknown command, but maybe one of the following ones is a better match:\n" + _list(
            meant
        )
    return "Unknown command. Please enter one of the following commands only:\n" + _list(COMMANDS)


def _matching(said: tuple[str, ...]) -> list[Command]:
    """Return the commands that have the most first words in common with ``said``, or look alike."""
    for length in range(len(said), 0, -1):
        if found := [each for each in COMMANDS if each.words[:length] == said[:length]]:
            return found
    phrases = {" ".join(each.words): each for each in COMMANDS}
    close = difflib.get_close_matches(" ".join(said)[:_MAX_COMPARED].lower(), phrases, 5)
    return [phrases[phrase] for phrase in sorted(close)]


def _list(commands: Iterable[Command]) -> str:
    """Return a line for each, and for those that help who is lost."""
    return "".join(f"  {each.usage:<40}: {each.help}\n" for each in (*commands, *_BASICS))


def _help(call: Call) -> str:
    meant = _matching(call.words)
    return "The following commands are valid at this level:\n" + _list(meant or COMMANDS)


def _prompt(call: Call) -> str:
    call.visit.is_prompting = not call.visit.is_prompting
    return ""


def _quit(call: Call) -> str:
    call.visit.is_over = True
    return ""


def _operator(call: Call) -> str:
    call.visit.level = Level.OPERATOR
    return ""


def _user(call: Call) -> str:
    call.visit.level = Level.USER
    return ""


def _set_timeout(call: Call) -> str:
    if call.word(0) != "cli":
        raise RefusedError("'set timeout' only supports 'cli'.\n")
    if not call.word(1):
        raise RefusedError("Expects an integer value.\n")
    seconds = _seconds(call.word(1))
    if seconds is None or not 0 < seconds <= _MAX_TIMEOUT:
        raise RefusedError("Invalid timeout value.\n")
    call.visit.timeout = seconds
    return ""


def _seconds(text: str) -> float | None:
    """Return a duration, in seconds if nothing else is said; None: it is none."""
    for unit, scale in (("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400)):
        if text.endswith(unit):
            number = whole_number(text.removesuffix(unit))
            return None if number is None else number * scale
    return whole_number(text)


_BASICS = (
    command(
        "help", Level.USER, _help, "the commands there are, or those of a kind", takes="[<words>]"
    ),
    command(
        "prompt", Level.USER, _prompt, "ask for the next command behind each answer, or no more"
    ),
    command("quit", Level.USER, _quit, "leave"),
)

COMMANDS: tuple[Command, ...] = tuple(
    sorted(
        (
            command("operator", Level.OPERATOR, _operator, "be an operator from now on"),
            command(
                "set timeout",
                Level.USER,
                _set_timeout,
                "after how many seconds of silence you are left",
                takes="cli <seconds>",
            ),
            command("user", Level.USER, _user, "be a user from now on"),
            *runtime_frontends.COMMANDS,
            *runtime_servers.COMMANDS,
            *runtime_shows.COMMANDS,
            *runtime_statistics.COMMANDS,
            *runtime_tables.COMMANDS,
        ),
        key=lambda each: each.words,
    )
)
"""Every command but those that help who is lost, in the order of their words."""

_TABLE = {each.words: each for each in (*COMMANDS, *_BASICS)}
_LONGEST = max(map(len, _TABLE))
