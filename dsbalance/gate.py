"""Rise/fall hysteresis: from check results to up and down. No I/O, no clock.

One counter, ``health``, runs from 0 to ``rise + fall - 1``; a server is up from ``rise`` on:

    health               text         passed                      failed
    0                    DOWN         1, or fully up if rise = 1  0
    1 .. rise-1          DOWN n/rise  +1; fully up at rise        0
    rise                 UP 1/fall    fully up                    0: down
    rise+1 .. rise+fall-2  UP n/fall  fully up                    -1
    rise+fall-1          UP           the same                    -1; 0: down if fall = 1

So ``fall`` failures in a row bring a server down and ``rise`` successes in a row bring it up; one
result that disagrees starts the count again. A gate begins up, one failure away from down, unless
``init-state`` says otherwise: there is no delay at the start, and no trust either.

A server that is up may be *stopping*: it keeps its clients and wants no new ones, and its text says
NOLB for UP. That ends with the next passed check.

Source: HAProxy configuration manual 2.6, ``rise``, ``fall``, ``inter``, ``fastinter``,
``downinter`` and ``on-error``, that of 3.1 for ``init-state``; management manual, ``set server``;
the start value and what follows from ``on-error`` were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

from dsbalance.errors import ConfigError
from dsbalance.model import Check, InitState, OnError


class Gate:
    """Rise/fall state of one server, shared by the servers that track it. Loop thread only.

    Args:
        rise: Passed checks in a row that bring it up, at least 1.
        fall: Failed checks in a row that bring it down, at least 1.
        start: Where it begins, and goes back to on leaving *maint*.

    Raises:
        ConfigError: ``rise`` or ``fall`` is below 1.
    """

    __slots__ = ("_health", "_is_stopping", "_start", "fall", "rise")

    def __init__(self, rise: int, fall: int, start: InitState = InitState.UP) -> None:
        if rise < 1 or fall < 1:
            raise ConfigError(f"rise and fall must be at least 1, not {rise} and {fall}")
        self.rise = rise
        self.fall = fall
        self._start = {
            InitState.FULLY_UP: rise + fall - 1,
            InitState.UP: rise,
            InitState.DOWN: rise - 1,
            InitState.FULLY_DOWN: 0,
        }[start]
        self._health = self._start
        self._is_stopping = False

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
    def is_stopping(self) -> bool:
        """Whether it is up and wants no new clients."""
        return self._is_stopping

    @property
    def is_certain(self) -> bool:
        """Whether no result is outstanding: fully up, or down without a success since."""
        return self._health in (0, self._full)

    @property
    def text(self) -> str:
        """The state as HAProxy's statistics write it: UP, UP n/fall, DOWN n/rise or DOWN.

        NOLB stands for the UP of one that is stopping.
        """
        word = "NOLB" if self._is_stopping else "UP"
        if self._health == self._full:
            return word
        if self.is_up:
            return f"{word} {self._health - self.rise + 1}/{self.fall}"
        return f"DOWN {self._health}/{self.rise}" if self._health else "DOWN"

    def passed(self) -> bool:
        """Count a passed check.

        Returns:
            Whether it brought the server up, or ended its stopping.
        """
        raised = self._health + 1
        return self._become(self._full if raised >= self.rise else raised)

    def failed(self) -> bool:
        """Count a failed check.

        Returns:
            Whether it brought the server down.
        """
        lowered = self._health - 1
        is_up = lowered >= self.rise
        return self._become(lowered if is_up else 0, is_stopping=is_up and self._is_stopping)

    def alarmed(self, on_error: OnError) -> bool:
        """Take in that traffic failed as often as ``error-limit`` allows.

        Returns:
            Whether it brought the server down.
        """
        if on_error is OnError.FASTINTER:
            return False
        if on_error is OnError.SUDDEN_DEATH and self._health > self.rise:
            self._health = self.rise + 1
        elif on_error is OnError.MARK_DOWN and self.is_up:
            self._health = self.rise
        return self.failed()

    def set_up(self) -> bool:
        """Make it fully up, whatever the checks said (``set server health up``).

        Returns:
            Whether it was down, or stopping.
        """
        return self._become(self._full)

    def set_stopping(self) -> bool:
        """Make it fully up, but without new clients (``set server health stopping``).

        Returns:
            Whether it was down, or not stopping.
        """
        return self._become(self._full, is_stopping=True)

    def set_down(self) -> bool:
        """Make it down, whatever the checks said (``set server health down``).

        Returns:
            Whether it was up.
        """
        return self._become(0)

    def reset(self) -> bool:
        """Go back to the start, as on leaving *maint*.

        Returns:
            Whether it was down before and is up now, or the other way round.
        """
        return self._become(self._start)

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

    def _become(self, health: int, *, is_stopping: bool = False) -> bool:
        """Set the counter; return whether the server is used otherwise now."""
        before = self.is_up, self._is_stopping
        self._health = health
        self._is_stopping = is_stopping
        return before != (self.is_up, is_stopping)

    def _check(self) -> None:
        """Assert the invariants. O(1)."""
        assert 0 <= self._health <= self._full, self._health
        assert self.is_up is self.text.startswith(("UP", "NOLB")), self.text
        assert self.is_up or not self._is_stopping
