"""What the sessions of one frontend share: the way to a backend. Made once, read by each."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from dsbalance.balancer import Balancer
from dsbalance.loop import Loop
from dsbalance.model import Keepalive
from dsbalance.relay import Limits
from dsbalance.resolve import Target
from dsbalance.splice import PipePool
from dsbalance.stats import FrontendCounters

if TYPE_CHECKING:
    from dsbalance.session import Session


class Service:
    """What the sessions of one frontend share.

    Attributes:
        name: The frontend's.
        loop: Where everything runs.
        balancer: Of the backend that the frontend names.
        targets: Where each server of the backend is, by name; kept up to date by the proxy.
        sessions: Those that are open.
        counters: What happened.
        silence: The limit of silence while both directions are open, and whose it is.
        silence_half_closed: The same once one has ended.
        shortened: That limit, if it may end a session earlier than the other one.
        timeout_connect: Of one attempt, seconds; None: the system's.
        timeout_queue: Of waiting for a place, seconds; None: for ever.
        keepalive: Towards the servers.
        on_left: Called when a session has ended.
        on_failed: Called in the turn in which an attempt to connect failed, once it is decided.
    """

    __slots__ = (
        "balancer",
        "buffer",
        "counters",
        "keepalive",
        "loop",
        "name",
        "on_failed",
        "on_left",
        "pool",
        "sessions",
        "shortened",
        "silence",
        "silence_half_closed",
        "targets",
        "timeout_connect",
        "timeout_queue",
    )

    def __init__(  # noqa: PLR0913 - a record of what sessions share
        self,
        *,
        name: str,
        loop: Loop,
        balancer: Balancer,
        targets: dict[str, Target],
        buffer: memoryview,
        pool: PipePool,
        limits: Limits,
        timeout_connect: float | None,
        timeout_queue: float | None,
        keepalive: Keepalive | None,
        on_left: Callable[[Service], None],
        on_failed: Callable[[Balancer], None],
    ) -> None:
        self.name = name
        self.loop = loop
        self.balancer = balancer
        self.targets = targets
        self.buffer = buffer
        self.pool = pool
        self.silence = limits.silence(is_half_closed=False)
        self.silence_half_closed = limits.silence(is_half_closed=True)
        whole, half = self.silence[0], self.silence_half_closed[0]
        self.shortened = None if half is None or (whole or math.inf) <= half else half
        self.timeout_connect = timeout_connect
        self.timeout_queue = timeout_queue
        self.keepalive = keepalive
        self.on_left = on_left
        self.on_failed = on_failed
        self.sessions: set[Session] = set()
        self.counters = FrontendCounters()
