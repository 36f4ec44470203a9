"""Who may come in: ``tcp-request connection`` rules, before anything is read. No I/O.

    rule            when its condition holds
    accept          the client comes in, and no other rule is asked
    reject          it does not, and no other rule is asked
    track-sc0       its source is counted, by the first rule that can; the next rule is asked
    expect-proxy    it has to say a PROXY header before it comes in; the next rule is asked
    (the end)       the client comes in

They see the connection as it is, whatever a PROXY header says later: so ``src`` is the address of
the proxy in front of us, and that is what is tracked. A client that is rejected counts in the rate
of its source all the same.

Source: HAProxy 2.6 configuration manual, 4.2, ``tcp-request connection``; what the rules see, and
that a rule which cannot count leaves it to the next one, were observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from dsbalance.conditions import Condition
from dsbalance.tracking import Track, Tracking
from dsbalance.validation import choose, demand


class DoorAction(enum.StrEnum):
    """What a rule does; ACCEPT and REJECT are the last word, the others let the next rule speak."""

    ACCEPT = "accept"
    REJECT = "reject"
    TRACK = "track-sc0"
    EXPECT_PROXY = "expect-proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRule:
    """One ``tcp-request connection`` line.

    Attributes:
        action: What it does.
        condition: When; None: always.
        table: Of ``track-sc0``: the section whose table counts; None: the frontend's own.
    """

    action: DoorAction
    condition: Condition | None = None
    table: str | None = None

    def __post_init__(self) -> None:
        choose(self, "action", DoorAction)
        is_wrong = self.table is not None and self.action is not DoorAction.TRACK
        demand(f"{self.action} does not name a table" if is_wrong else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRule:
    """One ``use_backend`` line: where clients go for whom the condition holds; None: all."""

    backend: str
    condition: Condition | None = None


class World(Protocol):
    """What there is to know besides the client."""

    @property
    def now(self) -> float:
        """Monotonic seconds, at the moment of asking."""

    def nbsrv(self, backend: str | None) -> int | None:
        """Return how many servers of a backend may be chosen; None: there is no such backend."""


class Visitor:
    """A client as conditions see it: these are :class:`dsbalance.conditions.Facts`.

    Attributes:
        source: Its address, packed.
        dst_port: The port that it came to.
        track: What counts the connections of its source; None: nothing does.
    """

    __slots__ = ("_world", "dst_port", "source", "track")

    def __init__(
        self, source: bytes, dst_port: int, world: World, track: Track | None = None
    ) -> None:
        self.source = source
        self.dst_port = dst_port
        self.track = track
        self._world = world

    def __repr__(self) -> str:
        return f"<Visitor {self.source.hex()} at {self.dst_port}, {self.track!r}>"

    @property
    def sc0_conn_cur(self) -> int | None:
        """How many connections its source has now; None: that is not known."""
        return None if self.track is None else self.track.conn_cur

    @property
    def sc0_conn_rate(self) -> int | None:
        """How many its source has made lately; None: that is not known."""
        return None if self.track is None else self.track.conn_rate(self._world.now)

    def nbsrv(self, backend: str | None) -> int | None:
        """Return how many servers of a backend may be chosen; None: there is no such backend."""
        return self._world.nbsrv(backend)

    def begin_track(self, tracking: Tracking) -> None:
        """Be counted in a table from now on, if that takes it and none counts it yet."""
        if self.track is None:
            self.track = tracking.track(self.source, self._world.now)

    def end_track(self) -> None:
        """Be counted no more."""
        if self.track is not None:
            self.track.release(self._world.now)
            self.track = None


class Verdict(enum.Enum):
    """What becomes of a client. ANNOUNCED: it comes in behind a PROXY header."""

    ACCEPTED = enum.auto()
    ANNOUNCED = enum.auto()
    REJECTED = enum.auto()


class Doorkeeper:
    """The rules of one frontend, ready to be asked.

    Args:
        rules: In the order of the file.
        find_table: From the ``table`` of a rule to what counts there.
    """

    __slots__ = ("_rules",)

    def __init__(
        self, rules: Iterable[DoorRule], find_table: Callable[[str | None], Tracking]
    ) -> None:
        self._rules = [
            (
                rule.action,
                rule.condition,
                find_table(rule.table) if rule.action is DoorAction.TRACK else None,
            )
            for rule in rules
        ]

    def judge(self, visitor: Visitor) -> Verdict:
        """Return what becomes of a client that has just come.

        ``visitor.track`` is what counts it from now on, to be released when it leaves. Of one that
        is rejected nothing is left to be released.
        """
        verdict = Verdict.ACCEPTED
        for action, condition, tracking in self._rules:
            if condition is not None and not condition.holds(visitor):
                continue
            if tracking is not None:
                visitor.begin_track(tracking)
            elif action is DoorAction.EXPECT_PROXY:
                verdict = Verdict.ANNOUNCED
            elif action is DoorAction.REJECT:
                visitor.end_track()
                return Verdict.REJECTED
            else:
                break
        return verdict
