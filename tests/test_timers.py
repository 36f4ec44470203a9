"""Deadlines with instants of the test's own, beside a model that forgets nothing."""

from __future__ import annotations

import math
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dsbalance.timers import Timers


class Owner:
    """What has a deadline."""

    def __init__(self) -> None:
        self.due_tick = 0

    def on_due(self, now: float) -> None:
        raise AssertionError

    def on_crash(self, error: Exception) -> None:
        raise AssertionError


def check_timers(timers: Timers) -> None:
    """Assert that every owner stands in one bucket, and every bucket in the heap once."""
    assert sorted(timers._ticks) == sorted(timers._buckets)
    for place, tick in enumerate(timers._ticks):
        assert timers._ticks[(place - 1) // 2] <= tick or place == 0
    for tick, bucket in timers._buckets.items():
        assert tick > 0
        assert all(owner.due_tick == tick for owner in bucket)


# In 1,024ths, so that sums are exact, and a deadline can hit a tick or the edge of "near" exactly.
instants = st.integers(0, 200 * 1024).map(lambda value: value / 1024)
delays = st.one_of(
    st.integers(-1024, 3 * 1024),
    st.integers(63 * 1024, 66 * 1024),
    st.integers(3600 * 1024, 3601 * 1024),
).map(lambda value: value / 1024)


class TimersModel(RuleBasedStateMachine):
    """Timers beside a table of who is due when."""

    def __init__(self) -> None:
        super().__init__()
        self.timers = Timers()
        self.owners = [Owner() for _ in range(6)]
        # Earliest and latest instant of each.
        self.windows: dict[int, tuple[Fraction, Fraction]] = {}
        self.now = 1000.0

    @rule(number=st.integers(0, 5), delay=delays)
    def set(self, number: int, delay: float) -> None:
        deadline = self.now + delay
        self.timers.set(self.owners[number], deadline, self.now)
        late = Fraction(1) if delay > 64 else Fraction(1, 32)
        self.windows[number] = Fraction(deadline), Fraction(deadline) + late

    @rule(number=st.integers(0, 5))
    def cancel(self, number: int) -> None:
        self.timers.cancel(self.owners[number])
        self.windows.pop(number, None)

    @rule(step=st.one_of(instants, st.integers(0, 64).map(lambda ticks: ticks / 32)))
    def take(self, step: float) -> None:
        self.now += step
        self._take()

    @precondition(lambda self: self.windows)
    @rule()
    def wait_and_take(self) -> None:
        # Once for those who have cancelled, once for who is left.
        for _ in range(2):
            self.now = max(self.now, self.timers.due_at)
            if self._take():
                return
        raise AssertionError("it waited twice, and nobody was due")

    def _take(self) -> list[int]:
        due = [self.owners.index(owner) for owner in self.timers.take(self.now)]  # type: ignore[arg-type]
        assert len(due) == len(set(due)), "somebody was due twice"
        for number in due:
            assert self.windows.pop(number)[0] < self.now, "somebody was due early"
        for _, latest in self.windows.values():
            assert latest > self.now, "somebody was forgotten"
        return due

    @rule(number=st.integers(0, 5), delay=delays)
    def bring_forward(self, number: int, delay: float) -> None:
        owner, deadline = self.owners[number], self.now + delay
        before = owner.due_tick
        self.timers.bring_forward(owner, deadline, self.now)
        late = Fraction(1) if delay > 64 else Fraction(1, 32)
        asked = Fraction(deadline), Fraction(deadline) + late
        assert Fraction(owner.due_tick, 32) <= asked[1], "it looks too late"
        assert not 0 < before < owner.due_tick, "an earlier deadline was put off"
        if owner.due_tick != before:
            self.windows[number] = asked

    @invariant()
    def it_waits_for_the_first(self) -> None:
        check_timers(self.timers)
        if self.windows:
            assert Fraction(self.timers.due_at) <= min(last for _, last in self.windows.values())

    @invariant()
    def an_owner_knows_whether_it_has_a_deadline(self) -> None:
        for number, owner in enumerate(self.owners):
            assert bool(owner.due_tick) is (number in self.windows)


TestTimers = TimersModel.TestCase


def test_whoever_is_due_may_be_set_again_at_once() -> None:
    timers, owner = Timers(), Owner()
    for now in (10.0, 20.0, 30.0):
        timers.set(owner, now - 1, now - 2)
        assert list(timers.take(now)) == [owner]
    assert timers.due_at == math.inf


def test_who_is_cancelled_or_set_again_before_its_turn_is_passed_over() -> None:
    timers, first, cancelled, later = Timers(), Owner(), Owner(), Owner()
    for owner in (first, cancelled, later):
        timers.set(owner, 5.0, 0.0)
    due = timers.take(6.0)
    assert next(due) is first
    timers.cancel(cancelled)
    timers.set(later, 50.0, 6.0)
    assert list(due) == []
    assert list(timers.take(60.0)) == [later]


def test_setting_again_replaces_the_deadline_even_by_an_earlier_one() -> None:
    timers, owner = Timers(), Owner()
    timers.set(owner, 50.0, 0.0)
    timers.set(owner, 5.0, 0.0)
    assert list(timers.take(6.0)) == [owner]
    assert list(timers.take(60.0)) == []


def test_those_who_have_cancelled_are_waited_for_once() -> None:
    timers, left = Timers(), Owner()
    owners = [Owner() for _ in range(100)]
    for seconds, owner in enumerate(owners):
        timers.set(owner, 5.0 + seconds / 10, 0.0)
        timers.cancel(owner)
        timers.cancel(owner)
    timers.set(left, 50.0, 0.0)
    assert timers.due_at < 6.0
    assert list(timers.take(timers.due_at)) == []
    assert timers.due_at >= 50.0
    timers.cancel(left)
    assert list(timers.take(timers.due_at)) == []
    assert timers.due_at == math.inf


@given(st.lists(st.floats(0.0, 3600.0), min_size=1, max_size=200))
def test_the_order_of_deadlines_is_kept_from_tick_to_tick(deadlines: list[float]) -> None:
    timers = Timers()
    owners = {Owner(): deadline for deadline in deadlines}
    for owner, deadline in owners.items():
        timers.set(owner, deadline, deadline)
    taken = [owners[owner] for owner in timers.take(4000.0)]  # type: ignore[index]
    assert sorted(taken) == sorted(deadlines)
    ticks = [int(deadline * 32) for deadline in taken]
    assert ticks == sorted(ticks)


def test_an_hour_of_deadlines_takes_a_bounded_number_of_buckets() -> None:
    timers = Timers()
    for number in range(20_000):
        timers.set(Owner(), number * 0.18, 0.0)
    assert len(timers._buckets) <= 64 * 32 + 3600
    check_timers(timers)
