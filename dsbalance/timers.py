"""Deadlines, however many there are. No I/O; the time is told.

Activity is not told here: whoever is due looks at when it was last active, and sets itself again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from typing import Protocol

# Deadlines are kept to a 32nd of a second while they are near and to a second when they are far:
# no timeout of a balancer needs more, and it bounds the buckets of an hour to 3,600.
_TICKS = 32
_NEAR = 64.0

# The tick of whoever is due and was not told yet.
_DUE = -1


class Timed(Protocol):
    """What waits for a deadline; ``due_tick`` belongs to :class:`Timers` and starts at 0."""

    due_tick: int

    def on_due(self, now: float) -> None:
        """Act on the deadline, which may have moved: look, then act or set it again."""

    def on_crash(self, error: Exception) -> None:
        """End whatever this is: ``on_due`` raised ``error``, already logged."""


class Timers:
    """Deadlines in buckets: setting and cancelling cost the same however many there are.

    A deadline is never early and at most a 32nd of a second late, a second if it was set more
    than a minute ahead. Activity is not told here: whoever is due looks at when it was last active,
    and sets itself again.

    Attributes:
        due_at: When to call :meth:`take` next; math.inf: never. It may turn out that nobody is due,
            because all who would have been have cancelled.
    """

    __slots__ = ("_buckets", "_ticks", "due_at")

    def __init__(self) -> None:
        self.due_at = math.inf
        self._buckets: dict[int, dict[Timed, None]] = {}
        self._ticks: list[int] = []

    def set(self, owner: Timed, deadline: float, now: float) -> None:
        """Call ``owner.on_due`` after ``deadline``; it replaces the owner's earlier deadline."""
        if owner.due_tick:
            self.cancel(owner)
        tick = int(deadline * _TICKS) + 1
        if deadline - now > _NEAR:
            tick += -tick % _TICKS
        bucket = self._buckets.get(tick)
        if bucket is None:
            bucket = self._buckets[tick] = {}
            heapq.heappush(self._ticks, tick)
            self.due_at = self._ticks[0] / _TICKS
        bucket[owner] = None
        owner.due_tick = tick

    def cancel(self, owner: Timed) -> None:
        """Forget the owner's deadline, if it has one."""
        if owner.due_tick > 0:
            # The bucket stays, empty: it is as likely to be used again as not. Its table goes.
            bucket = self._buckets[owner.due_tick]
            bucket.pop(owner, None)
            if not bucket:
                bucket.clear()
        owner.due_tick = 0

    def bring_forward(self, owner: Timed, deadline: float, now: float) -> None:
        """As :meth:`set`, but an earlier deadline stays: the owner is going to look in time."""
        if not 0 < owner.due_tick <= int(deadline * _TICKS) + 1:
            self.set(owner, deadline, now)

    def take(self, now: float) -> Iterator[Timed]:
        """Yield those who are due, one by one, without their deadlines.

        Until its turn comes, each of them may still be cancelled or set again by another.
        """
        limit = now * _TICKS
        ticks, buckets = self._ticks, self._buckets
        due: list[Timed] = []
        while ticks and (ticks[0] <= limit or not buckets[ticks[0]]):
            due.extend(buckets.pop(heapq.heappop(ticks)))
        self.due_at = ticks[0] / _TICKS if ticks else math.inf
        for owner in due:
            owner.due_tick = _DUE
        for owner in due:
            if owner.due_tick == _DUE:
                owner.due_tick = 0
                yield owner
