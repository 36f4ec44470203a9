"""Bugs of the gate."""

from __future__ import annotations

from .planting import Mutant, Part

PART = Part(
    file="dsbalance/gate.py",
    tests=("tests/test_gate.py",),
    mutants=(
        Mutant(
            bug="a server is down one failure too early",
            old="self._become(lowered if lowered >= self.rise else 0)",
            new="self._become(lowered if lowered > self.rise else 0)",
        ),
        Mutant(
            bug="a passed check takes back one failure, and not all of them",
            old="self._become(self._full if raised >= self.rise else raised)",
            new="self._become(self._full if raised == self.rise else min(raised, self._full))",
        ),
        Mutant(
            bug="a failed check on the way up takes back one success, and not all of them",
            old="self._become(lowered if lowered >= self.rise else 0)",
            new="self._become(0 if lowered < self.rise <= self._health else max(0, lowered))",
        ),
        Mutant(
            bug="a server begins fully up, so one that is dead is trusted for `fall` checks",
            old="self._health = rise",
            new="self._health = rise + fall - 1",
        ),
        Mutant(
            bug="a server that comes out of maintenance is trusted as if it had been checked",
            old="return self._become(self.rise)",
            new="return self._become(self._full)",
        ),
        Mutant(
            bug="each result of a server that is down is told as a change",
            old="return self.is_up is not was_up",
            new="return self.is_up is not was_up or not health",
        ),
        Mutant(
            bug="a server that is down is looked at as often as one that is coming up",
            old="check.fast_interval if self._health else check.down_interval",
            new="check.fast_interval or check.down_interval",
        ),
    ),
)
