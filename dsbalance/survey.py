"""What there is to know of a proxy at work, as one frozen picture. All on the loop's thread.

Within a turn of the loop the picture is the same object, for however many ask, until something is
changed in that turn. A large one is kept for longer, so that not more than a twentieth of the
loop's time goes into it. Sessions that are still open count with what they have moved so far, as of
a second ago at the most.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from dsbalance.backends import Backends
from dsbalance.balancer import Balancer, Change
from dsbalance.counters import Pace
from dsbalance.entrances import Entrances
from dsbalance.gazette import Gazette
from dsbalance.identities import identify
from dsbalance.limits import Budget, descriptor_limit
from dsbalance.loop import Loop
from dsbalance.model import Config
from dsbalance.resolve import Target
from dsbalance.splice import PipePool
from dsbalance.stats import ProcessSnapshot, Snapshot, TableSnapshot
from dsbalance.watching import Watching

# From so many servers on a picture is kept for a moment, in seconds for each: a server takes 25 us.
_LARGE = 100
_KEPT_FOR = 0.0005
# What is under way is counted at most this often, in seconds: a little less than whoever looks once
# a second waits, who would else find every other look empty.
_COUNTING = 0.9


class Parts(NamedTuple):
    """What an engine consists of.

    Attributes:
        config: As it began.
        budget: What it may use.
        loop: Where it runs.
        backends: Where clients go.
        entrances: Where they come in.
        watching: The checks.
        targets: Where the servers of each backend are, by its name.
        pool: The pipes.
        apply: Carries out what follows from changes.
        gazette: Tells the logs of it.
    """

    config: Config
    budget: Budget
    loop: Loop
    backends: Backends
    entrances: Entrances
    watching: Watching
    targets: dict[str, dict[str, Target]]
    pool: PipePool
    apply: Callable[[Iterable[Change]], None]
    gazette: Gazette


class Survey:
    """The pictures of an engine.

    Attributes:
        is_stopping: Whether the process only waits for its last sessions.
        drops: Says how many log lines nobody took.
    """

    __slots__ = (
        *("_began", "_bytes", "_counted_at", "_cpu", "_idle", "_parts", "_picture", "_sessions"),
        *("_kept_until", "_started_at", "drops", "is_stopping"),
    )

    def __init__(self, parts: Parts) -> None:
        self.is_stopping = False
        self.drops: Callable[[], int] = lambda: 0
        self._parts = parts
        self._began = time.time()
        self._started_at = self._counted_at = parts.loop.now
        self._picture: Snapshot | None = None
        self._kept_until = 0.0
        self._sessions, self._bytes = Pace(), Pace()
        self._cpu = time.thread_time()
        self._idle = 100

    def look(self, elapsed: float) -> None:
        """Look at the totals, so many seconds after the last time: once a second."""
        for entrance in self._parts.entrances:
            entrance.look(elapsed)
        totals = self._parts.entrances.totals()
        self._sessions.step(totals.sessions, elapsed)
        self._bytes.step(totals.bytes_out, elapsed)
        # What the loop's thread did not compute, it waited: no clock is read for it in between.
        before, self._cpu = self._cpu, time.thread_time()
        self._idle = max(0, min(100, round(100 - 100 * (self._cpu - before) / max(1.0, elapsed))))

    def forget(self) -> None:
        """Make a new picture next time: something was changed."""
        self._picture = None

    def clear(self) -> None:
        """Forget the highest rates. The totals of the process stay: as observed on HAProxy."""
        self._sessions.peak = self._bytes.peak = 0

    def snapshot(self) -> Snapshot:
        """Return what there is to know now. O(servers), once a second O(sessions)."""
        now = self._parts.loop.now
        if self._picture is None or now > self._kept_until:
            if now - self._counted_at >= _COUNTING:
                self.settle()
            self._picture = self._make(now)
            servers = sum(len(balancer.states) for balancer in self._parts.backends)
            self._kept_until = now + _KEPT_FOR * servers
            if servers < _LARGE:
                self._parts.loop.soon(self.forget)
        return self._picture

    def settle(self) -> None:
        """Let the counters know what sessions that are open have moved, and what they keep."""
        self._counted_at = self._parts.loop.now
        for balancer in self._parts.backends:
            for state in balancer.states.values():
                state.kept = 0
        for entrance in self._parts.entrances.all():
            for guest in entrance.sessions:
                guest.count()

    def _make(self, now: float) -> Snapshot:
        backends, entrances = self._parts.backends, [*self._parts.entrances]
        ids = identify(
            [entrance.frontend for entrance in entrances],
            [balancer.backend for balancer in backends],
        )
        return Snapshot(
            uptime=now - self._started_at,
            process=self._process(),
            frontends=tuple(each.snapshot(ids.frontends[each.frontend.name]) for each in entrances),
            backends=tuple(
                balancer.snapshot(now, ids.backends[balancer.name], self._addresses(balancer))
                for balancer in backends
            ),
            tables=tuple(
                TableSnapshot(
                    name=name,
                    type="ipv6" if table.accepts_ipv6 else "ip",
                    size=table.size,
                    used=len(table),
                    expire=table.ttl,
                    counts=tuple(table.counts().items()),
                )
                for name, table in backends.tables.items()
            ),
        )

    def _process(self) -> ProcessSnapshot:
        config, pool, entrances = self._parts.config, self._parts.pool, self._parts.entrances
        room, totals = entrances.hall.room, entrances.totals()
        return ProcessSnapshot(
            pid=os.getpid(),
            node=socket.gethostname() if config.node is None else config.node,
            description=config.description,
            started_at=self._began,
            maxconn=room.limit,
            descriptors=descriptor_limit(),
            current=room.used,
            peak=room.most,
            total=totals.sessions,
            requests=totals.requests,
            rate=self._sessions.rate(totals.sessions),
            rate_peak=self._sessions.most(totals.sessions),
            bytes_out=totals.bytes_out,
            bytes_out_rate=self._bytes.rate(totals.bytes_out),
            pipes=pool.limit,
            pipes_used=pool.lent,
            pipes_free=pool.free,
            listeners=sum(len(entrance.addresses()) for entrance in entrances),
            is_stopping=self.is_stopping,
            idle=self._idle,
            logs_dropped=self.drops(),
        )

    def _addresses(self, balancer: Balancer) -> dict[str, str]:
        """Return where the connections of each server of a backend go."""
        targets = self._parts.targets[balancer.name]
        found = {}
        for name, state in balancer.states.items():
            host = targets[name].host
            host = f"[{host}]" if ":" in host else host
            found[name] = host if state.server.port is None else f"{host}:{state.server.port}"
        return found
