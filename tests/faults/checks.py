"""Checks that come when a case says so."""

from __future__ import annotations

from dsbalance import Check
from faults.clock import Clock
from faults.stage import Stage

SLOW = Check(interval=0.5, rise=3, fall=3)
QUICK = Check(interval=0.5, rise=1, fall=1)
# Every server is due once in this time, and none is late enough to be taken for suspended.
ROUND = 1.0


class Round:
    """One check of every server, each time that it is called.

    Args:
        stage: Its servers are checked as :data:`SLOW` and :data:`QUICK` are, or more often.
        clock: The proxy's.
    """

    def __init__(self, stage: Stage, clock: Clock) -> None:
        self._stage = stage
        self._clock = clock

    def __call__(self, **results: str) -> None:
        """Begin the checks; wait until those servers that are named are so: ``a="DOWN 1/3"``."""
        self._clock.leap(ROUND)
        for server, status in results.items():
            self._stage.until_it_is(server, status)
