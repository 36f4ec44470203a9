"""How many connections a source has, and how many it has made lately. No I/O, no clock.

    state   event                                   then
    absent  tracked                                 in use, if there is room
    idle    tracked                                 in use
    idle    expired, or counts nothing any more;
            or the oldest when room is needed       absent
    in use  released by its last connection         idle; absent if it counts nothing any more

An entry in use never lapses, whatever ``expire`` says. ``conn_rate(T)`` slides over two periods of
``T``. The first one begins with an event after silence, each next one where the last one ended:

    now in           the rate is
    this period      its events + those of the period before * what is left of this one / T,
                     rounded down; a single event counts as one until the end of the next period

Source: HAProxy 2.6 configuration manual, ``stick-table`` and ``track-sc0``; the rate was observed
on HAProxy 2.6.12. On purpose different from what was observed: there a full table evicts nothing
while its oldest entry is in use, and an entry that counts nothing any more takes up room until it
expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsbalance.words import TableType

if TYPE_CHECKING:
    from dsbalance.model import Table

# Lapsed entries that each call removes: more than it adds, so that they run out.
_SWEEP = 2
_IPV4_SIZE = 4
_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2


class Track:
    """The connections of one source. It is the same object for all of them.

    Attributes:
        key: The source.
        current: Its connections that are open.
        touched: When one came or went last, in milliseconds.
    """

    __slots__ = ("_began", "_events", "_events_before", "_tracking", "current", "key", "touched")

    def __init__(self, tracking: Tracking, key: bytes) -> None:
        self._tracking = tracking
        self.key = key
        self.current = 0
        self.touched = 0
        # Of the rate: when this period began, what happened in it, and in the one before it.
        self._began = 0
        self._events = self._events_before = 0

    def __repr__(self) -> str:
        return f"<Track {self.key.hex()}: {self.current} open>"

    @property
    def conn_cur(self) -> int | None:
        """How many connections are open; None: the table does not store that."""
        return self.current if self._tracking.stores_conn_cur else None

    def conn_rate(self, now: float) -> int | None:
        """Return how many were opened lately; None: the table does not store that."""
        period = self._tracking.period
        if period is None:
            return None
        events, before, elapsed = self._events, self._events_before, _tick(now) - self._began
        if elapsed >= period:
            # Nothing has happened since this period ended.
            events, before, elapsed = 0, events, elapsed - period
        if elapsed >= period:
            return 0
        if not events and before == 1:
            return 1
        return events + before * (period - elapsed) // period

    def release(self, now: float) -> None:
        """Count a connection of it less. Each one that was tracked is released once."""
        self._tracking.release(self, now)

    def count(self, tick: int, period: int) -> None:
        """Count an event for the rate. For the table alone."""
        elapsed = tick - self._began
        if elapsed >= 2 * period:
            self._began, self._events, self._events_before = tick, 0, 0
        elif elapsed >= period:
            self._began, self._events, self._events_before = self._began + period, 0, self._events
        self._events += 1

    def check(self, now: float) -> None:
        """Assert the invariants of an entry at ``now``."""
        assert self.current >= 0
        assert self.touched <= _tick(now)
        assert self._events >= 0 <= self._events_before


class Tracking:
    """The counters of a stick table. For the loop's thread alone; instants are monotonic seconds.

    Each call does a bounded amount of work. The table that remembers servers is another one, of the
    same size, whose entries come and go by themselves: see :mod:`dsbalance.sticky`.

    Args:
        table: What is stored, of how many sources, for how long.

    Attributes:
        stores_conn_cur: Whether open connections are to be known.
        period: Of the rate, in milliseconds; None: there is no rate.
    """

    __slots__ = ("_busy", "_idle", "_table", "_ttl", "period", "stores_conn_cur")

    def __init__(self, table: Table) -> None:
        self._table = table
        self.stores_conn_cur = table.stores_conn_cur
        seconds = table.conn_rate_period
        self.period = None if seconds is None else max(1, round(seconds * 1000))
        # When an idle entry counts nothing any more nobody can tell it from one that is not there.
        lasting = 2 * (self.period or 0)
        self._ttl = lasting if table.expire is None else min(lasting, round(table.expire * 1000))
        self._busy: dict[bytes, Track] = {}
        # In the order of their touch: out and in again is what moves one to the end.
        self._idle: dict[bytes, Track] = {}

    def __len__(self) -> int:
        """Return the number of entries, with those that lapsed and have not been removed yet."""
        return len(self._busy) + len(self._idle)

    def __repr__(self) -> str:
        return f"<Tracking {len(self)} of {self._table.size}, {len(self._busy)} in use>"

    def track(self, source: bytes, now: float) -> Track | None:
        """Count a connection of a source, to be released when it ends.

        None: it cannot be counted. It is IPv6 and the table takes IPv4 alone, or all entries are in
        use, or the table is full and does not purge.
        """
        key = source[12:] if source.startswith(_MAPPED) else source
        tick = _tick(now)
        entry = self._busy.get(key)
        if entry is None:
            entry = self._begin(key, tick)
            if entry is None:
                return None
        entry.current += 1
        entry.touched = tick
        if self.period is not None:
            entry.count(tick, self.period)
        return entry

    def release(self, entry: Track, now: float) -> None:
        """Count a connection of an entry less: see :meth:`Track.release`."""
        assert entry.current > 0
        entry.current -= 1
        entry.touched = tick = _tick(now)
        if not entry.current:
            del self._busy[entry.key]
            self._idle[entry.key] = entry
        self._sweep(tick, _SWEEP)

    def sweep(self, now: float) -> None:
        """Remove what has lapsed. O(entries that have)."""
        self._sweep(_tick(now), len(self._idle))

    def _begin(self, key: bytes, tick: int) -> Track | None:
        """Return the entry of a source that has no connection, in use from now on."""
        self._sweep(tick, _SWEEP)
        entry = self._idle.pop(key, None)
        if entry is None or entry.touched + self._ttl <= tick:
            is_foreign = len(key) > _IPV4_SIZE and self._table.type is TableType.IP
            if is_foreign or not self._has_room():
                return None
            entry = Track(self, key)
        self._busy[key] = entry
        return entry

    def _has_room(self) -> bool:
        if len(self) >= self._table.size:
            if self._table.nopurge or not self._idle:
                return False
            del self._idle[next(iter(self._idle))]
        return True

    def _sweep(self, tick: int, limit: int) -> None:
        idle = self._idle
        for _ in range(min(limit, len(idle))):
            key = next(iter(idle))
            if idle[key].touched + self._ttl > tick:
                return
            del idle[key]

    def _check(self, now: float) -> None:
        """Assert every invariant. O(n)."""
        touches = [entry.touched for entry in self._idle.values()]
        assert touches == sorted(touches), "idle entries are in the order of their touch"
        assert len(self) <= self._table.size
        assert not self._busy.keys() & self._idle.keys()
        for entries, is_busy in ((self._busy, True), (self._idle, False)):
            for key, entry in entries.items():
                assert entry.key == key
                assert bool(entry.current) is is_busy
                entry.check(now)


def _tick(now: float) -> int:
    # HAProxy counts in milliseconds, and so do the periods of its rates.
    return int(now * 1000)
