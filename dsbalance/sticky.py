"""Which server a source was sent to, for as long as that counts. No I/O, no clock.

    state   event                                   then
    absent  stored                                  idle; in use if a session still holds the source
    idle    matched or stored                       idle, its TTL starts again
    idle    TTL over; or oldest when room is needed absent
    idle    held                                    in use
    in use  matched, stored, held                   in use
    in use  released by its last session            idle, its TTL starts again
    any     removed                                 absent

An entry in use never expires and is never evicted. An entry answers nobody from the moment when
its time is over, and leaves memory later, a few with each call: every call does a bounded amount of
work, except those that say O(n).

Source: HAProxy configuration manual 2.6, ``stick-table`` and ``stick``. On purpose different from
what was observed on HAProxy 2.6.12: there an entry lapses under an open session, a full table drops
``size / 256 + 1`` entries at a time, and it does so for a source that it knows already.
"""

from __future__ import annotations

import ipaddress
import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass

from dsbalance.ageing import Ranking
from dsbalance.errors import ConfigError
from dsbalance.words import SrvKey

Source = bytes | str | ipaddress.IPv4Address | ipaddress.IPv6Address

_MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2
# Expired entries that a store or a release removes: more than it adds, so that they run out.
_SWEEP = 2
# Shards that are looked at for the oldest entry. A look costs 7 us if the whole shard was touched
# since the last one, so without a limit one unlucky call would take 3 ms in a table of 1e6.
_LOOKS = 40
# Entries of a shard when the table is full: just below the 2,730 that CPython copies into a dict of
# 8,192 slots, so a full table uses its memory best.
_SHARD_SIZE = 2_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry as it stood at some instant.

    Attributes:
        key: The source as :meth:`StickTable.normalise` gives it.
        server: The server's name.
        remaining: Seconds until it expires, above 0; the whole TTL while it is in use; None: never.
        uses: Sessions that hold it; 0: it is idle.
    """

    key: bytes
    server: str
    remaining: float | None = None
    uses: int = 0


class _Census:
    """The servers that have entries: how many, and the number that stands for the name.

    Attributes:
        counts: Name -> entries, above 0.
        numbers: Name -> number, for the same names.
        names: Number -> name.
        total: All entries.
    """

    __slots__ = ("_last", "counts", "names", "numbers", "total")

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.numbers: dict[str, float] = {}
        self.names: dict[float, str] = {}
        self.total = 0
        self._last = 0.0

    def join(self, server: str) -> None:
        """Count an entry for ``server``, which gets a number if it is its first."""
        self.total += 1
        if server in self.counts:
            self.counts[server] += 1
            return
        self.counts[server] = 1
        self._last += 1
        self.numbers[server] = self._last
        self.names[self._last] = server

    def leave(self, server: str) -> None:
        """Take an entry off ``server``, which has one; its number goes with the last."""
        self.total -= 1
        self.counts[server] -= 1
        if not self.counts[server]:
            del self.counts[server], self.names[self.numbers.pop(server)]

    def check(self, found: Counter[str]) -> None:
        """Assert the invariants, for the entries that were found."""
        assert found == self.counts
        assert found.total() == self.total
        assert found.keys() == self.numbers.keys()
        assert self.names == {number: name for name, number in self.numbers.items()}


_SETTINGS = ("accepts_ipv6", "ids", "nopurge", "size", "srvkey", "ttl")


class StickTable:
    """Source address -> server name, with a TTL and a bound on its size. Loop thread only.

    Keys are what :meth:`normalise` returns. ``now`` is in seconds of a clock that never goes back.

    Args:
        size: Entries at the most, at least 1.
        ttl: Seconds from the last touch to expiry, above 0; None: entries stay until evicted.
        accepts_ipv6: Whether it takes IPv6 sources besides IPv4 ones.
        nopurge: Whether a full table refuses new sources instead of evicting the oldest idle entry.
        srvkey: What a server is called in it. The table itself looks neither at this nor at ids.

    Attributes:
        ids: Server -> HAProxy's id; kept by who stores, for who knows it by another name.

    Raises:
        ConfigError: ``size`` or ``ttl`` is out of range.
    """

    __slots__ = ("_census", "_ranking", "_shards", "_ttl", *_SETTINGS)

    def __init__(
        self,
        *,
        size: int,
        ttl: float | None = None,
        accepts_ipv6: bool = False,
        nopurge: bool = False,
        srvkey: SrvKey = SrvKey.NAME,
    ) -> None:
        if size < 1:
            raise ConfigError(f"size must be at least 1, not {size}")
        if ttl is not None and not 0 < ttl < math.inf:
            raise ConfigError(f"ttl must be above 0 and finite, not {ttl}")
        self.size = size
        self.ttl = ttl
        self.accepts_ipv6 = accepts_ipv6
        self.nopurge = nopurge
        self.srvkey = srvkey
        self.ids: dict[str, int] = {}
        self._ttl = math.inf if ttl is None else ttl  # spares every look-up a comparison
        self._ranking = Ranking(math.ceil(size / _SHARD_SIZE))
        self._census = _Census()
        self._shards = self._ranking.shards

    def __len__(self) -> int:
        """Return the number of entries, with those that expired and have not been removed yet."""
        return self._census.total

    def __repr__(self) -> str:
        return f"<StickTable {len(self)} of {self.size}, {self.busy} in use>"

    @property
    def busy(self) -> int:
        """The number of entries in use. O(size / 2,500)."""
        return sum(len(shard.busy) for shard in self._shards)

    def count(self, server: str) -> int:
        """Return the number of entries of ``server``, counted as ``len`` counts."""
        return self._census.counts.get(server, 0)

    def counts(self) -> dict[str, int]:
        """Return the number of entries of each server that has any."""
        return dict(self._census.counts)

    def uses(self, key: bytes) -> int:
        """Return how many sessions hold ``key``, even if its entry was removed under them."""
        return self._ranking.shard(key).uses.get(key, 0)

    def normalise(self, source: Source) -> bytes | None:
        """Return the key of a source, or None if it is IPv6 and the table takes IPv4 alone.

        An IPv4-mapped IPv6 address (``::ffff:192.0.2.1``) is the IPv4 address in it, so that a
        client is the same one whichever socket accepted it.

        Args:
            source: 4 or 16 bytes in network order, an address as text, or an address object.

        Raises:
            ValueError: It is not an IP address.
        """
        packed = _pack(source)
        return packed if len(packed) == 4 or self.accepts_ipv6 else None

    def match(self, key: bytes, now: float) -> str | None:
        """Return the server of ``key`` and start its TTL again; None if there is no live entry."""
        shard = self._shards[hash(key) % len(self._shards)]
        idle = shard.idle
        # Out and in again is what moves it to the end of the order.
        entry = idle.pop(key, None)
        if entry is None:
            return shard.busy.get(key)
        touched = entry.real
        server = self._census.names[entry.imag]
        if touched <= now - self._ttl:
            self._census.leave(server)
            return None
        idle[key] = entry - touched + now
        return server

    def peek(self, key: bytes, now: float) -> str | None:
        """Return the server of ``key`` and change nothing; None if there is no live entry."""
        shard = self._shards[hash(key) % len(self._shards)]
        entry = shard.idle.get(key)
        if entry is None:
            return shard.busy.get(key)
        return None if entry.real <= now - self._ttl else self._census.names[entry.imag]

    def store(self, key: bytes, server: str, now: float) -> bool:
        """Insert or rewrite the entry of ``key`` and start its TTL again.

        A known key is rewritten even in a full table, at nobody's expense. For a new one in a full
        table the oldest idle entry gives way; one of the oldest 1 % in a table of more than 100,000
        if nearly all were touched since one gave way last.

        Returns:
            False if there was no room: all entries are in use, or the table does not purge.

        Raises:
            ValueError: ``key`` is not a key of this table; see :meth:`normalise`.
        """
        self.sweep(now, _SWEEP)
        if not self.remove(key):
            if self.normalise(key) != key:
                raise ValueError(f"{key!r} is not a key of this table")
            if len(self) == self.size and not self._make_room(now):
                return False
        self._insert(key, server, now)
        return True

    def hold(self, key: bytes) -> bool:
        """Count a session that uses the entry, which neither expires nor gives way from now on.

        It has no clock: call it with the :meth:`store` or :meth:`match` that gave the entry.
        False: there is no entry. Nothing is held then, and nothing is to be released.
        """
        shard = self._ranking.shard(key)
        entry = shard.idle.pop(key, None)
        if entry is not None:
            shard.busy[key] = self._census.names[entry.imag]
        elif key not in shard.busy:
            return False
        shard.uses[key] = shard.uses.get(key, 0) + 1
        return True

    def keep(self, key: bytes, server: str, now: float) -> bool:
        """Do as :meth:`store` and :meth:`hold`: one step for who comes back to the same server."""
        shard = self._shards[hash(key) % len(self._shards)]
        if shard.busy.get(key) != server:
            entry = shard.idle.get(key)
            if entry is None or self._census.names[entry.imag] != server:
                return self.store(key, server, now) and self.hold(key)
            del shard.idle[key]
            shard.busy[key] = server
        shard.uses[key] = shard.uses.get(key, 0) + 1
        return True

    def release(self, key: bytes, now: float) -> None:
        """Undo one :meth:`hold`, or raise KeyError; with the last one the TTL starts again."""
        shard = self._shards[hash(key) % len(self._shards)]
        uses = shard.uses.pop(key)
        if uses > 1:
            shard.uses[key] = uses - 1
        elif key in shard.busy:
            number = self._census.numbers[shard.busy.pop(key)]
            self._ranking.append(shard, key, complex(now, number))
        heap = self._ranking.heap
        if heap and heap[0][0] <= now - self._ttl:
            self.sweep(now, _SWEEP)

    def remove(self, key: bytes) -> bool:
        """Remove the entry of ``key``, even one in use, and return whether there was one.

        Its sessions are to be released all the same; what is stored before that is in use at once.
        """
        shard = self._ranking.shard(key)
        entry = shard.idle.pop(key, None)
        server = shard.busy.pop(key, None) if entry is None else self._census.names[entry.imag]
        if server is not None:
            self._census.leave(server)
        return server is not None

    def remove_server(self, server: str) -> int:
        """Remove every entry of ``server``, as :meth:`remove` does, and return how many. O(n)."""
        number = self._census.numbers.get(server)
        keys = [k for shard in self._shards for k, e in shard.idle.items() if e.imag == number]
        keys += [k for shard in self._shards for k, name in shard.busy.items() if name == server]
        return sum(map(self.remove, keys))

    def sweep(self, now: float, limit: int = 100) -> int:
        """Remove up to ``limit`` expired entries and return how many; a few leave without it."""
        removed = 0
        for _ in range(limit):
            if removed == limit or self._ranking.bound > now - self._ttl:
                break
            removed += self._take(now - self._ttl, limit - removed)
        return removed

    def find(self, key: bytes, now: float) -> Entry | None:
        """Return the live entry of ``key`` and change nothing; None: there is none."""
        server = self.peek(key, now)
        touched = self._ranking.shard(key).idle.get(key, complex(now)).real
        left = None if self.ttl is None else touched - now + self.ttl
        if server is None:
            return None
        return Entry(key=key, server=server, remaining=left, uses=self.uses(key))

    @property
    def parts(self) -> int:
        """How many parts there are for :meth:`part`."""
        return len(self._shards)

    def part(self, index: int, now: float) -> list[Entry]:
        """Return the live entries of one part of it: a bounded amount of work."""
        expired, shard = now - self._ttl, self._shards[index]
        names, ttl = self._census.names, self.ttl
        rows = [(k, names[e.imag], e.real - expired, 0) for k, e in shard.idle.items()]
        rows += [(k, name, self._ttl, shard.uses[k]) for k, name in shard.busy.items()]
        return [
            Entry(key=key, server=name, remaining=left if ttl else None, uses=uses)
            for key, name, left, uses in rows
            if left > 0
        ]

    def entries(self, now: float) -> Iterator[Entry]:
        """Yield the live entries, a part after the other.

        What is in the table all the time is yielded exactly once, whatever else changes.
        """
        return (entry for index in range(self.parts) for entry in self.part(index, now))

    def export(self, now: float) -> list[Entry]:
        """Return the live entries, those that expire first in front. O(n log n)."""
        return sorted(self.entries(now), key=lambda entry: entry.remaining or 0.0)

    def load(
        self, entries: Iterable[Entry], now: float, servers: Container[str] | None = None
    ) -> int:
        """Add entries with what remains of their TTL, and return how many were added. O(n log n).

        Skipped are sources that this table cannot hold or has already, servers not among
        ``servers``, and what has expired. If there is no room for all, those with the most time
        left are taken, and nothing gives way to them. They are idle, whatever ``uses`` says.

        Args:
            entries: In any order. Whoever kept them has subtracted the time that passed meanwhile
                from ``remaining``. If a source comes twice, the one with the most left counts.
            now: The present instant.
            servers: The names that exist; None: all do.

        Raises:
            ValueError: A key is not an IP address. Nothing was added then.
        """
        self._ranking.sort()
        self.sweep(now, limit=len(self))
        known = (entry for entry in entries if servers is None or entry.server in servers)
        found = _newest(self, known, now)
        by_age = sorted(found.items(), key=lambda item: item[1][0])
        chosen = by_age[max(0, len(self) + len(found) - self.size) :]
        for key, (touched, server) in chosen:
            self._insert(key, server, touched)
        self._ranking.sort()
        return len(chosen)

    def _insert(self, key: bytes, server: str, touched: float) -> None:
        """Add an entry where it belongs: in use if sessions hold its key, else idle."""
        self._census.join(server)
        shard = self._ranking.shard(key)
        if key in shard.uses:
            shard.busy[key] = server
        else:
            self._ranking.append(shard, key, complex(touched, self._census.numbers[server]))

    def _make_room(self, now: float) -> bool:
        """Remove what has expired, or else the oldest idle entry; return whether that helped."""
        removed = self.sweep(now, _LOOKS)
        looks = 0
        while not removed and self._ranking.heap and not self.nopurge:
            looks += 1
            removed = self._take(self._ranking.bound if looks <= _LOOKS else now, 1)
        return removed > 0

    def _take(self, until: float, limit: int) -> int:
        """Remove old entries of the shard on top, and return how many."""
        entries = self._ranking.take(until, limit)
        for entry in entries:
            self._census.leave(self._census.names[entry.imag])
        return len(entries)

    def _check(self, now: float) -> None:
        """Assert every invariant. O(n)."""
        self._ranking.check(now)
        found: Counter[str] = Counter()
        for shard in self._shards:
            found.update(self._census.names[entry.imag] for entry in shard.idle.values())
            found.update(shard.busy.values())
            assert all(self.normalise(key) == key for key in [*shard.idle, *shard.uses])
        self._census.check(found)
        assert len(self) <= self.size


def _newest(
    table: StickTable, entries: Iterable[Entry], now: float
) -> dict[bytes, tuple[float, str]]:
    """Return when those that ``table`` may take were touched last, and their servers."""
    found: dict[bytes, tuple[float, str]] = {}
    for entry in entries:
        key = table.normalise(entry.key)
        left = math.inf if entry.remaining is None else entry.remaining
        touched = now if table.ttl is None else min(now, now - table.ttl + left)
        if key is None or not left > 0 or touched <= found.get(key, (-math.inf,))[0]:
            continue
        if table.peek(key, now) is None:
            found[key] = touched, entry.server
    return found


def _pack(source: Source) -> bytes:
    """Return 4 bytes for IPv4, mapped or not, 16 for IPv6; raise ValueError for anything else."""
    packed = source if isinstance(source, bytes) else ipaddress.ip_address(source).packed
    if len(packed) not in (4, 16):
        raise ValueError(f"a packed address has 4 or 16 bytes, not {len(packed)}")
    return packed[12:] if packed.startswith(_MAPPED) else packed
