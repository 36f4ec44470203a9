"""Bugs of the gate."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/gate.py",
    tests=("tests/test_gate.py",),
    mutants=(
        Mutant(
            bug="a server is down one failure too early",
            old="is_up = lowered >= self.rise",
            new="is_up = lowered > self.rise",
        ),
        Mutant(
            bug="a passed check takes back one failure, and not all of them",
            old="self._become(self._full if raised >= self.rise else raised)",
            new="self._become(self._full if raised == self.rise else min(raised, self._full))",
        ),
        Mutant(
            bug="a failed check on the way up takes back one success, and not all of them",
            old="return self._become(lowered if is_up else 0, is_stopping",
            new="lowered = 0 if self.is_up and not is_up else max(0, lowered)\n"
            "        return self._become(lowered, is_stopping",
        ),
        Mutant(
            bug="a server begins fully up, so one that is dead is trusted for `fall` checks",
            old="self._health = self._start",
            new="self._health = rise + fall - 1",
        ),
        Mutant(
            bug="a server that comes out of maintenance is trusted as if it had been checked",
            old="return self._become(self._start)",
            new="return self._become(self._full)",
        ),
        Mutant(
            bug="each result of a server that is down is told as a change",
            old="return before != (self.is_up, is_stopping)",
            new="return before != (self.is_up, is_stopping) or not health",
        ),
        Mutant(
            bug="a server that is down is looked at as often as one that is coming up",
            old="check.fast_interval if self._health else check.down_interval",
            new="check.fast_interval or check.down_interval",
        ),
        Mutant(
            bug="a sudden death leaves a server two failures, and not one",
            old="self._health = self.rise + 1",
            new="self._health = self.rise + 2",
        ),
        Mutant(
            bug="traffic that marks a server down takes one step, as a check does",
            old="elif on_error is OnError.MARK_DOWN and self.is_up:",
            new="elif on_error is OnError.MARK_DOWN and not self.is_up:",
        ),
        Mutant(
            bug="a failed check ends the stopping of a server that stays up",
            old="is_stopping=is_up and self._is_stopping",
            new="is_stopping=False",
        ),
    ),
)
