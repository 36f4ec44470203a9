"""Rise/fall hysteresis: from check results to up and down. No I/O, no clock.

One counter, ``health``, runs from 0 to ``rise + fall - 1``; a server is up from ``rise`` on:

    health               text         passed                      failed
    0                    DOWN         1, or fully up if rise = 1  0
    1 .. rise-1          DOWN n/rise  +1; fully up at rise        0
    rise                 UP 1/fall    fully up                    0: down
    rise+1 .. rise+fall-2  UP n/fall  fully up                    -1
    rise+fall-1          UP           the same                    -1; 0: down if fall = 1

So ``fall`` failures in a row bring a server down and ``rise`` successes in a row bring it up; one
result that disagrees starts the count again. A gate begins up, one failure away from down: there
is no delay at the start, and no trust either.

Source: HAProxy configuration manual 2.6, ``rise``, ``fall``, ``inter``, ``fastinter`` and
``downinter``; management manual, ``set server``; the start value observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from dsbalance.errors import ConfigError
from dsbalance.model import Check


class Gate:
    """Rise/fall state of one server, shared by the servers that track it. Loop thread only.

    Args:
        rise: Passed checks in a row that bring it up, at least 1.
        fall: Failed checks in a row that bring it down, at least 1.

    Raises:
        ConfigError: ``rise`` or ``fall`` is below 1.
    """

    __slots__ = ("_health", "fall", "rise")

    def __init__(self, rise: int, fall: int) -> None:
        if rise < 1 or fall < 1:
            raise ConfigError(f"rise and fall must be at least 1, not {rise} and {fall}")
        self.rise = rise
        self.fall = fall
        self._health = rise

    def __repr__(self) -> str:
        return f"<Gate {self.text}, rise {self.rise}, fall {self.fall}>"

    @property
    def health(self) -> int:
        """HAProxy's counter, 0 to ``rise + fall - 1``; up from ``rise`` on."""
        return self._health

    @property
    def is_up(self) -> bool:
        """Whether the checks allow the server to be used."""
        return self._health >= self.rise

    @property
    def is_certain(self) -> bool:
        """Whether no result is outstanding: fully up, or down without a success since."""
        return self._health in (0, self._full)

    @property
    def text(self) -> str:
        """The state as HAProxy's statistics write it: UP, UP n/fall, DOWN n/rise or DOWN."""
        if self._health == self._full:
            return "UP"
        if self.is_up:
            return f"UP {self._health - self.rise + 1}/{self.fall}"
        return f"DOWN {self._health}/{self.rise}" if self._health else "DOWN"

    def passed(self) -> bool:
        """Count a passed check.

        Returns:
            Whether it brought the server up.
        """
        raised = self._health + 1
        return self._become(self._full if raised >= self.rise else raised)

    def failed(self) -> bool:
        """Count a failed check.

        Returns:
            Whether it brought the server down.
        """
        lowered = self._health - 1
        return self._become(lowered if lowered >= self.rise else 0)

    def set_up(self) -> bool:
        """Make it fully up, whatever the checks said (``set server health up``).

        Returns:
            Whether it was down.
        """
        return self._become(self._full)

    def set_down(self) -> bool:
        """Make it down, whatever the checks said (``set server health down``).

        Returns:
            Whether it was up.
        """
        return self._become(0)

    def reset(self) -> bool:
        """Go back to the start, up and one failure away from down, as on leaving *maint*.

        Returns:
            Whether it was down.
        """
        return self._become(self.rise)

    def next_interval(self, check: Check) -> float:
        """Return the seconds from the end of a check to the next one.

        Only the intervals of ``check`` count here; its rise and fall went into the gate.
        """
        if self._health == self._full:
            return check.interval
        special = check.fast_interval if self._health else check.down_interval
        return check.interval if special is None else special

    @property
    def _full(self) -> int:
        return self.rise + self.fall - 1

    def _become(self, health: int) -> bool:
        """Set the counter; return whether that crossed the line between up and down."""
        was_up = self.is_up
        self._health = health
        return self.is_up is not was_up

    def _check(self) -> None:
        """Assert the invariants. O(1)."""
        assert 0 <= self._health <= self._full, self._health
        assert self.is_up is self.text.startswith("UP"), self.text
