"""A server: what it may have, what it has, and what the statistics say of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from .gate import Gate, Watch

FULL = 16


@dataclass(kw_only=True)
class Server:
    """What the models know of a server; ``sessions`` and ``waiting`` are of the moment.

    ``warmth`` is how many sixteenths of its weight count: fewer while it starts slowly, which it
    has done ``since`` then. ``before`` is how many those of its group had who stood before it at
    the start.
    """

    name: str
    number: int = 0
    weight: int = 1
    maxconn: int | None = None
    minconn: int | None = None
    maxqueue: int | None = None
    slowstart: float | None = None
    base: int | None = None
    address: str = ""
    is_backup: bool = False
    is_cleared_when_down: bool = False
    is_clearing_backups: bool = False
    is_stuck_to: bool = True
    is_checked: bool = True
    admin: str = "ready"
    gate: Gate = field(default_factory=lambda: Gate(1, 1))
    watch: Watch | None = None
    sessions: int = 0
    waiting: int = 0
    warmth: int = FULL
    since: float | None = None
    before: int = 0

    @property
    def share(self) -> int:
        """The weight that counts, in sixteenths."""
        return self.weight * self.warmth

    @property
    def is_full(self) -> bool:
        return self.maxconn is not None and (self.waiting > 0 or self.sessions >= self.maxconn)

    @property
    def is_crammed(self) -> bool:
        """Whether nobody may even wait for it any more."""
        return bool(self.maxqueue) and self.waiting >= (self.maxqueue or 0)

    @property
    def is_running(self) -> bool:
        return self.gate.is_up and self.admin != "maint"

    @property
    def is_usable(self) -> bool:
        is_ready = self.admin == "ready" and not self.gate.is_stopping
        return self.is_running and is_ready and self.weight > 0

    @property
    def word(self) -> str:
        if self.admin == "maint":
            return "MAINT"
        if not self.gate.is_up:
            return "DOWN"
        if self.gate.is_stopping:
            return "NOLB"
        if self.admin == "drain":
            return "DRAIN"
        return "UP" if self.is_checked else "no check"

    def limit(self, present: int, fullconn: int | None, now: float) -> int | None:
        """How many sessions it takes when the backend has ``present``: few while that has few."""
        limit = self.maxconn
        if limit is None:
            return None
        if self.minconn is not None and fullconn is not None and present < fullconn:
            limit = max(self.minconn, present * limit // fullconn)
        if self.since is not None and self.slowstart:
            percent = max(1, 100 * int(now - self.since) // math.ceil(self.slowstart))
            limit = max(1, limit * percent // 100)
        return limit

    def start(self, now: float, *, is_slow: bool) -> None:
        """Be up from now on, and take little at first if it is to start slowly."""
        self.since = now if is_slow and self.slowstart else None

    def warm(self, now: float, *, is_whole: bool) -> None:
        """Have as much of the weight as is due, or all of it."""
        elapsed = 0.0 if self.since is None else now - self.since
        if self.since is not None and elapsed >= math.ceil(self.slowstart or 0.0):
            self.since = None
        is_cold = self.since is not None and self.slowstart and not is_whole
        self.warmth = warmth_after(elapsed, self.slowstart or 0.0) if is_cold else FULL


def warmth_after(elapsed: float, slowstart: float) -> int:
    """How many sixteenths count so long after a server came up: one, and more by the second."""
    whole = math.ceil(slowstart)
    return min(FULL, (FULL * int(elapsed) + whole) // whole)


def throttle(share: int, weight: int) -> int:
    """The percentage of its weight that counts, as ``show stat`` has it."""
    return (100 * share + 15) // (16 * weight)


class Offer(NamedTuple):
    """Those who may be chosen, in the order of the file, and the file's weights of all.

    ``served`` are the sessions that have a place anywhere in the backend; ``clients`` are those
    that the stick table has for a name.
    """

    servers: list[Server]
    weights: list[int]
    served: int = 0
    clients: Mapping[str, int] = MappingProxyType({})

    def fit(self, avoid: str = "") -> list[Server]:
        """Those with room, without ``avoid`` unless there is no other."""
        fit = [server for server in self.servers if not server.is_full]
        return [server for server in fit if server.name != avoid] or fit
