"""The proxy's clock in the hands of a case."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest


class Clock:
    """What the loop of a proxy reads instead of the system's clock: it stands until it leaps.

    So a minute of checks takes no time, no machine is too slow for a timeout, and whoever pauses
    where he must not pauses for ever.

    Args:
        settle: Returns when the proxy has seen all that has happened by now.
    """

    def __init__(self, settle: Callable[[], None]) -> None:
        self._settle = settle
        self._now = time.monotonic()
        self._goes_since: float | None = None
        self._place = pytest.MonkeyPatch()
        self._place.setattr("dsbalance.loop.monotonic", self.monotonic)

    def monotonic(self) -> float:
        """Return the time, as :func:`time.monotonic` does."""
        if self._goes_since is None:
            return self._now
        return self._now + time.monotonic() - self._goes_since

    def leap(self, seconds: float) -> None:
        """Let ``seconds`` pass at one stroke, and what is due by then happen.

        What has happened before has happened at the old time. The timers of the proxy are up to a
        32nd of a second late, a second if they were set more than a minute ahead.
        """
        self._settle()
        self._now += seconds
        self._settle()

    def let_go(self) -> None:
        """Go on from here by itself."""
        self._goes_since = time.monotonic()

    def give_back(self) -> None:
        """Let loops read the system's clock again: those that begin after this."""
        self._place.undo()
