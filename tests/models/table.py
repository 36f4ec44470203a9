"""The stick table: rows, and the time of their last touch."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass


@dataclass
class Row:
    key: bytes
    server: str
    touched: float
    number: int = 0


class Table:
    """Rows and the time. What has expired goes at the moment when it does."""

    def __init__(
        self,
        *,
        size: int = 100,
        ttl: float | None = None,
        nopurge: bool = False,
        accepts_ipv6: bool = True,
        srvkey: str = "name",
        now: float = 0.0,
    ) -> None:
        self.size = size
        self.ttl = ttl
        self.nopurge = nopurge
        self.accepts_ipv6 = accepts_ipv6
        self.srvkey = srvkey
        self.now = now
        self.rows: list[Row] = []
        self.uses: Counter[bytes] = Counter()

    def key(self, packed: bytes) -> bytes | None:
        """An IPv4 client is the same one whichever socket it came to."""
        if packed[:-4] == bytes(10) + b"\xff\xff":
            packed = packed[-4:]
        return packed if len(packed) == 4 or self.accepts_ipv6 else None

    def go_to(self, now: float) -> None:
        self.now = now
        self.rows = [row for row in self.rows if self.left(row) > 0]

    def left(self, row: Row) -> float:
        if self.ttl is None:
            return math.inf
        return self.ttl if self.uses[row.key] else row.touched + self.ttl - self.now

    def row(self, key: bytes | None) -> Row | None:
        return next((row for row in self.rows if row.key == key), None)

    def count(self, server: str) -> int:
        return len([row for row in self.rows if row.server == server])

    def peek(self, key: bytes | None) -> str | None:
        row = self.row(key)
        return row.server if row else None

    def match(self, key: bytes | None) -> str | None:
        row = self.row(key)
        if row:
            row.touched = self.now
        return self.peek(key)

    def store(self, key: bytes, server: str, gone: bytes | None = None, *, number: int = 0) -> bool:
        """Write a row. In a full table an idle one that was touched least lately is gone for it.

        ``number`` is the id that the server has in the backend that stores.
        """
        row = self.row(key)
        if row is None and len(self.rows) == self.size:
            idle = [] if self.nopurge else [row for row in self.rows if not self.uses[row.key]]
            if not idle:
                return False
            oldest = min(row.touched for row in idle)
            assert gone in {row.key for row in idle if row.touched == oldest}
            self.remove(gone)
        else:
            assert gone is None, "there was room"
        self.remove(key)
        self.rows.append(Row(key, server, self.now, number))
        return True

    def hold(self, key: bytes) -> bool:
        if self.row(key) is None:
            return False
        self.uses[key] += 1
        return True

    def release(self, key: bytes) -> None:
        self.uses[key] -= 1
        row = self.row(key)
        if row and not self.uses[key]:
            row.touched = self.now

    def remove(self, key: bytes | None) -> bool:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.key != key]
        return len(self.rows) < before

    def remove_server(self, server: str) -> int:
        before = len(self.rows)
        self.rows = [row for row in self.rows if row.server != server]
        return before - len(self.rows)

    def restart(self, now: float, pause: float) -> None:
        """Come back after a pause, on another clock; the sessions are gone."""
        lefts = [(row, self.left(row) - pause) for row in self.rows]
        self.uses.clear()
        self.rows = [row for row, left in lefts if left > 0]
        for row, left in lefts:
            row.touched = now if self.ttl is None else now + left - self.ttl
        self.go_to(now)
