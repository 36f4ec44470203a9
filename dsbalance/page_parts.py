"""The words and pictures of the page: what a state is called, how a number is written. No I/O.

    mark       shape        what HAProxy calls it
    up         disc         UP; OPEN
    weak       half a disc  UP 1/3, its checks begin to fail; UP, while it starts slowly; FULL
    down       cross        DOWN, DOWN 1/2
    drain      triangle     DRAIN, NOLB
    maint      bars         MAINT; PAUSED, STOP
    unchecked  ring         no check

A shape and a word say the same as the colour does, for whoever does not see it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta, timezone
from math import ceil

from dsbalance.history import LENGTH
from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot

CURVE_WIDTH, CURVE_HEIGHT = 120, 24
# Written once: a page has some thousand of them.
_PLACES = [f"{place * CURVE_WIDTH / LENGTH:g}" for place in range(LENGTH + 1)]
# A little less than the highest level, which rounding up must not pass.
_FULL = (CURVE_HEIGHT - 1) * (1 - 1e-9)
_LEVELS = [f"V{CURVE_HEIGHT - height}" for height in range(CURVE_HEIGHT)]
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
# What stands between the digits of a long number: narrow, and no place to break a line.
_THIN = "\u202f"


class Mark(enum.StrEnum):
    """The looks of a state."""

    UP = "up"
    WEAK = "weak"
    DOWN = "down"
    DRAIN = "drain"
    MAINT = "maint"
    UNCHECKED = "unchecked"


GRAVITY = (Mark.DOWN, Mark.WEAK, Mark.MAINT, Mark.DRAIN, Mark.UNCHECKED, Mark.UP)
"""The worst first."""

WELL = (Mark.UP, Mark.UNCHECKED)
"""What is no trouble."""

# The first word of a server's state. UP is looked at more closely.
_BY_WORD = {
    "DOWN": Mark.DOWN,
    "MAINT": Mark.MAINT,
    "DRAIN": Mark.DRAIN,
    "NOLB": Mark.DRAIN,
    "no": Mark.UNCHECKED,
}


def mark_of(server: ServerSnapshot) -> Mark:
    """Return how the state of a server looks."""
    mark = _BY_WORD.get(server.status.partition(" ")[0])
    if mark is not None:
        return mark
    # Before the first check it is UP 1/3, too. Whoever only follows another is no news.
    is_doubted = (
        server.status != "UP" and server.check is not None and server.check.last is not None
    )
    return Mark.WEAK if is_doubted or server.throttle is not None else Mark.UP


def mark_of_frontend(frontend: FrontendSnapshot) -> Mark:
    """Return how the state of a frontend looks."""
    return {"OPEN": Mark.UP, "FULL": Mark.WEAK}.get(frontend.status, Mark.MAINT)


def mark_of_backend(backend: BackendSnapshot) -> Mark:
    """Return how the state of a backend looks; WEAK: its backups serve alone."""
    if not backend.servers:
        return Mark.UNCHECKED
    if backend.status.startswith("DOWN"):
        return Mark.DOWN
    return Mark.UP if backend.active else Mark.WEAK


# -- words


def state_words(server: ServerSnapshot) -> str:
    """Return the state of a server in a word or two."""
    if server.throttle is None:
        return server.status
    return f"{server.status}, starting: {server.throttle} %"


def reason_words(server: ServerSnapshot) -> str:
    """Return why a server is in its state; empty: it was so from the start, or follows another."""
    if server.reason == f"via {server.tracked}":
        return ""
    return server.reason[:1].upper() + server.reason[1:]


def check_words(server: ServerSnapshot) -> str:
    """Return what there is to say of a server's checks."""
    if server.tracked is not None:
        return f"as {server.tracked}"
    check = server.check
    if check is None:
        return "not checked"
    if check.last is None or check.ended_at is None:
        said = "no check yet"
    else:
        when = "just now" if check.ended_at < 1 else f"{span(check.ended_at)} ago"
        said = f"{check.last.status} in {span(check.last.elapsed)}, {when}"
    return f"{said}; checks are paused" if check.is_paused else said


def trouble_words(row: ServerSnapshot) -> str:
    """Return what went wrong at a server so far; empty: nothing."""
    counts = (
        (row.connect_errors, "failed connect", "failed connects"),
        (row.response_errors, "bad response", "bad responses"),
        (row.server_aborts, "broken off", "broken off"),
        (row.retries, "retry", "retries"),
        (row.redispatches, "redispatch", "redispatches"),
    )
    told = (f"{number(n)} {one if n == 1 else many}" for n, one, many in counts if n)
    return ", ".join(told)


# -- numbers


def number(value: float | None) -> str:
    """Return a count as it is read easily, up to seven digits; empty: None, for no limit."""
    if value is None:
        return ""
    for unit, letter in ((1e9, "G"), (1e6, "M")):
        if value >= 10 * unit:
            return f"{value / unit:.1f}{_THIN}{letter}"
    return f"{value:,.0f}".replace(",", _THIN)


def size(value: float) -> str:
    """Return a number of bytes, with three digits at the most."""
    step = 0
    while value >= 999.5 and step < len(_UNITS) - 1:
        value /= 1000
        step += 1
    digits = 1 if step and value < 9.95 else 0
    return f"{value:.{digits}f} {_UNITS[step]}"


def span(seconds: float) -> str:
    """Return a duration in the two units that matter."""
    if seconds < 1:
        return f"{seconds * 1000:.{0 if seconds >= 0.01 else 1}f} ms"
    if seconds < _MINUTE:
        return f"{int(seconds)} s"
    if seconds < _HOUR:
        return f"{int(seconds / _MINUTE)} min"
    if seconds < _DAY:
        hours, minutes = divmod(int(seconds / _MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(int(seconds / _HOUR), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def ago(seconds: float | None) -> str:
    """Return how long ago something was, in one unit; empty: None, for never."""
    if seconds is None:
        return ""
    if seconds < 1:
        return "now"
    amount, unit, *_ = span(seconds).split()
    return f"{amount} {unit}"


class Clock:
    """Tells the time of day of what was so many seconds ago.

    Args:
        now: Seconds since 1970.
        offset: Of the local time from UTC, in seconds.
    """

    __slots__ = ("_now",)

    def __init__(self, now: float, offset: float) -> None:
        self._now = datetime.fromtimestamp(now, timezone(timedelta(seconds=offset)))

    def since(self, seconds: float) -> str:
        """Return the time of day, with the day if that was another one."""
        then = self._now - timedelta(seconds=seconds)
        if then.date() == self._now.date():
            return f"{then:%H:%M}"
        return f"{then.day} {_MONTHS[then.month - 1]} {then:%H:%M}"


# Not of the system's language: the other words of the page are English.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# -- curves


def path(values: Sequence[float], top: float) -> str:
    """Return the outline of a curve as an area in SVG's words, the newest value at the right edge.

    It has steps, as the readings have: each is the mean of its time. Equal neighbours are one line.

    Args:
        values: The oldest first.
        top: The value that is as high as the picture.
    """
    scale = _FULL / top if top > 0 else 0.0
    first = LENGTH - len(values)
    parts = [f"M{_PLACES[first]} {CURVE_HEIGHT}"]
    last = 0
    for place, value in enumerate(values, first):
        # Rounded up: what is more than nothing is seen.
        height = ceil(value * scale)
        if height != last:
            parts += ("H", _PLACES[place], _LEVELS[height])
            last = height
    return f"{''.join(parts)}H{CURVE_WIDTH}V{CURVE_HEIGHT}Z"


def highest(curves: Iterable[Sequence[float]]) -> float:
    """Return the most of several curves; 0: of none."""
    return max((value for curve in curves for value in curve), default=0.0)
