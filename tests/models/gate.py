"""Rise and fall, what the traffic says of a server, and how it starts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Gate:
    """A state, and the number of results in a row that speak against it."""

    rise: int
    fall: int
    is_up: bool = True
    streak: int = 0
    init: str = "up"
    is_stopping: bool = False

    def __post_init__(self) -> None:
        self.reset()

    def passed(self) -> None:
        self._count(agrees=self.is_up, needed=self.rise)
        self.is_stopping = False

    def failed(self) -> None:
        self._count(agrees=not self.is_up, needed=self.fall)
        self.is_stopping = self.is_stopping and self.is_up

    def set_up(self) -> None:
        self.is_up, self.streak, self.is_stopping = True, 0, False

    def set_stopping(self) -> None:
        self.is_up, self.streak, self.is_stopping = True, 0, True

    def set_down(self) -> None:
        self.is_up, self.streak, self.is_stopping = False, 0, False

    def reset(self) -> None:
        """Begin, and begin anew on leaving maintenance: one failure away from down if up."""
        self.is_up, self.streak, self.is_stopping = True, self.fall - 1, False
        if self.init == "fully-up":
            self.set_up()
        if self.init == "down":
            self.is_up, self.streak = False, self.rise - 1
        if self.init == "fully-down":
            self.set_down()

    def _count(self, *, agrees: bool, needed: int) -> None:
        self.streak = 0 if agrees else self.streak + 1
        if self.streak == needed:
            self.is_up, self.streak = not self.is_up, 0

    @property
    def text(self) -> str:
        if self.is_up:
            word = "NOLB" if self.is_stopping else "UP"
            return f"{word} {self.fall - self.streak}/{self.fall}" if self.streak else word
        return f"DOWN {self.streak}/{self.rise}" if self.streak else "DOWN"

    @property
    def pace(self) -> str:
        """Which interval counts: one that is in doubt is looked at more often."""
        if self.streak:
            return "fastinter"
        return "inter" if self.is_up else "downinter"


@dataclass
class Watch:
    """``observe layer4``: so many failed connects in a row count like something at the gate."""

    gate: Gate
    limit: int = 10
    on_error: str = "fail-check"
    failures: int = 0

    def count(self) -> bool:
        """Take in a connect that failed; return whether that was one too many."""
        self.failures += 1
        return self.failures >= self.limit and self.gate.is_up

    def forgive(self) -> None:
        """Take in a connect or a check that passed."""
        self.failures = 0

    def act(self) -> None:
        """Let the failures count."""
        self.failures = 0
        gate = self.gate
        if self.on_error == "fail-check":
            gate.failed()
        elif self.on_error == "mark-down":
            gate.set_down()
        elif self.on_error == "sudden-death":
            # It is left with one failure; if it had no more than that, with none.
            if gate.is_up and gate.streak < gate.fall - 1:
                gate.streak = gate.fall - 1
            else:
                gate.failed()
