"""What a check came to, and when the first ones are due. No I/O.

Source: the HAProxy 2.6 manual, 9.3, on ``check_status``, and the spread observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass


class CheckStatus(enum.StrEnum):
    """What a check came to, in the words of HAProxy's statistics."""

    L4OK = "L4OK"
    L4CON = "L4CON"
    L4TOUT = "L4TOUT"
    SOCKERR = "SOCKERR"


_REASONS = {
    CheckStatus.L4OK: "Layer4 check passed",
    CheckStatus.L4CON: "Layer4 connection problem",
    CheckStatus.L4TOUT: "Layer4 timeout",
    CheckStatus.SOCKERR: "Socket error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """What one check came to.

    Attributes:
        status: Passed, failed, or neither.
        port: The port that decided: the one that failed, or the last one.
        detail: The system's words such as ``Connection refused``; empty when it has none.
        elapsed: Seconds from its start to its end, all ports together.
    """

    status: CheckStatus
    port: int
    detail: str = ""
    elapsed: float = 0.0

    @property
    def reason(self) -> str:
        """HAProxy's words for the status, such as ``Layer4 timeout``."""
        return _REASONS[self.status]

    @property
    def summary(self) -> str:
        """All of it in words, for a log line: ``Layer4 timeout at port 5022 (...)``."""
        text = f"{self.reason} at port {self.port}"
        return f"{text} ({self.detail})" if self.detail else text

    @property
    def is_passed(self) -> bool:
        """Whether every port accepted."""
        return self.status is CheckStatus.L4OK

    @property
    def is_local(self) -> bool:
        """Whether this machine could not check: that says nothing about the server."""
        return self.status is CheckStatus.SOCKERR


def first_delays(intervals: Sequence[float]) -> list[float]:
    """Return when the first check of each server is due, from their intervals, all in seconds.

    HAProxy's rule: server k of n waits k/n of the shortest interval of all that is not below a
    second, or of its own interval if that is longer.
    """
    shortest = min((i for i in intervals if i >= 1.0), default=0.0)
    return [max(shortest, each) * k / len(intervals) for k, each in enumerate(intervals)]
