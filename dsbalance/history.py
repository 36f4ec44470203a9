"""The last minutes of each frontend, backend and server: what the curves are drawn from. No I/O.

A reading is taken every few seconds, and the oldest leaves when the newest comes. Two curves are
kept of each: bytes a second, and sessions, which means

    in TCP mode     connections that are open: they last for hours
    in HTTP mode    requests a second: each is over before anybody could look

Bytes and requests are differences of totals, so nothing between two readings is lost.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from typing import NamedTuple

from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot, Snapshot

INTERVAL = 5.0
"""How often a reading is due, in seconds."""

LENGTH = 60
"""How many readings are kept: those of five minutes."""

# Two curves of so many rows are 1 MB. A page does not show more.
MAX_ROWS = 1000

Key = tuple[str, ...]
"""Whose it is: kind and name, of a server also its backend's; see :func:`readings`."""


class Reading(NamedTuple):
    """What is read of one row.

    Attributes:
        key: Whose it is.
        is_http: Whether its sessions are requests.
        current: Sessions now.
        total: Sessions so far.
        bytes_moved: Bytes so far, both ways.
    """

    key: Key
    is_http: bool
    current: int
    total: int
    bytes_moved: int


class Track:
    """The curves of one row, the oldest reading first.

    Attributes:
        sessions: Open, or a second.
        rates: Bytes a second.
    """

    __slots__ = ("_bytes_moved", "_total", "rates", "sessions")

    def __init__(self, reading: Reading) -> None:
        self.sessions = array("d")
        self.rates = array("d")
        self._total = reading.total
        self._bytes_moved = reading.bytes_moved

    def add(self, reading: Reading, elapsed: float) -> None:
        """Take a reading, so many seconds after the last one."""
        # Whoever clears the counters makes a total less than it was.
        came = max(0, reading.total - self._total) / elapsed
        moved = max(0, reading.bytes_moved - self._bytes_moved) / elapsed
        self._total, self._bytes_moved = reading.total, reading.bytes_moved
        for curve, value in (
            (self.sessions, came if reading.is_http else float(reading.current)),
            (self.rates, moved),
        ):
            curve.append(value)
            if len(curve) > LENGTH:
                del curve[0]


class History:
    """The curves of all rows, as long as there are not too many.

    Attributes:
        is_full: Whether there are more rows than curves are kept of: then there are none.
    """

    __slots__ = ("_read_at", "_tracks", "is_full")

    def __init__(self) -> None:
        self.is_full = False
        self._tracks: dict[Key, Track] = {}
        self._read_at = 0.0

    def is_due(self, now: float) -> bool:
        """Return whether the next reading is due."""
        return not self.is_full and now - self._read_at >= INTERVAL

    def add(self, snapshot: Snapshot, now: float) -> None:
        """Take a reading of everything. O(rows), about 2 us for each."""
        elapsed, self._read_at = now - self._read_at, now
        tracks: dict[Key, Track] = {}
        for reading in readings(snapshot):
            if len(tracks) == MAX_ROWS:
                self.is_full = True
                self._tracks = {}
                return
            track = self._tracks.get(reading.key)
            if track is None:
                track = Track(reading)
            else:
                track.add(reading, elapsed)
            tracks[reading.key] = track
        # Those of rows that were removed go with the old table.
        self._tracks = tracks

    def find(self, key: Key) -> Track | None:
        """Return the curves of a row; None: there are none yet, or no more."""
        return self._tracks.get(key)


def readings(snapshot: Snapshot) -> Iterator[Reading]:
    """Yield what is read of each row."""
    for frontend in snapshot.frontends:
        yield _read(("frontend", frontend.name), frontend, is_http=frontend.is_http)
    for backend in snapshot.backends:
        is_http = backend.is_http
        yield _read(("backend", backend.name), backend, is_http=is_http)
        for server in backend.servers:
            yield _read(("server", backend.name, server.name), server, is_http=is_http)


def _read(
    key: Key, row: FrontendSnapshot | BackendSnapshot | ServerSnapshot, *, is_http: bool
) -> Reading:
    total = row.requests if is_http and isinstance(row, FrontendSnapshot) else row.total
    return Reading(key, is_http, row.current, total, row.bytes_in + row.bytes_out)
