"""Counters: rates are counts of whole seconds, means are of the last ones, and nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.counters import (
    BackendCounters,
    FrontendCounters,
    Pace,
    ServerCounters,
    Times,
    Timing,
    clear,
    mean,
)

# Sums of these are exact, so a mean is too.
spans = st.integers(0, 2**20).map(float)


@pytest.mark.parametrize("kind", [ServerCounters, BackendCounters, FrontendCounters])
def test_counters_begin_with_nothing(kind: Any) -> None:
    counters = kind()
    parts = {"pace", "request_pace", "timing", "responses"}
    assert {getattr(counters, name) for name in {*kind.__slots__} - parts} <= {0, None}
    assert counters.responses == [0] * 6
    assert not hasattr(counters, "__dict__")


# -- rates


def test_a_rate_is_the_count_of_the_last_whole_second() -> None:
    pace = Pace()
    pace.step(7, 1.0)
    assert (pace.rate(7), pace.most(7)) == (7, 7)
    pace.step(9, 1.0)
    assert (pace.rate(9), pace.most(9)) == (2, 7)
    pace.step(9, 1.0)
    assert (pace.rate(9), pace.most(9)) == (0, 7)


def test_more_in_this_second_than_in_the_last_one_is_said_at_once() -> None:
    pace = Pace()
    pace.step(3, 1.0)
    assert (pace.rate(8), pace.most(8)) == (5, 5)
    assert (pace.rate(4), pace.most(4)) == (3, 3)


def test_a_look_that_comes_late_does_not_make_a_burst() -> None:
    pace = Pace()
    pace.step(1000, 10.0)
    assert (pace.last, pace.peak) == (100, 100)


def test_a_look_that_comes_a_little_early_counts_what_there_was() -> None:
    pace = Pace()
    pace.step(30, 0.97)
    assert pace.last == 30


@given(st.lists(st.integers(0, 50), max_size=30))
def test_the_seconds_add_up_to_the_total(counts: list[int]) -> None:
    pace, total, seen = Pace(), 0, 0
    for count in counts:
        total += count
        pace.step(total, 1.0)
        seen += pace.last
    assert seen == total
    assert pace.peak == max(counts, default=0)


# -- times


def test_sums_and_the_longest_of_each_part_are_kept() -> None:
    timing = Timing()
    timing.add(0.5, 0.0, 2.0, 4.0)
    timing.add(0.25, 1.0, 1.0, 8.0)
    assert timing.count == 2
    assert timing.recent() == (2, Times(0.75, 1.0, 3.0, 12.0))
    assert timing.longest() == Times(0.5, 1.0, 2.0, 8.0)


def test_nothing_has_no_mean() -> None:
    assert mean((Timing().recent(),)) == Times()
    assert mean(()) == Times()


def test_a_mean_is_of_the_last_1024() -> None:
    timing = Timing()
    for _ in range(5000):
        timing.add(0.0, 0.0, 0.0, 100.0)
    timing.step()
    for _ in range(1024):
        timing.add(0.0, 0.0, 0.0, 1.0)
    timing.step()
    assert timing.recent() == (1024, Times(total=1024.0))
    assert mean((timing.recent(),)) == Times(total=1.0)
    assert timing.longest().total == 100.0


def test_the_mean_of_several_is_weighted_by_their_numbers() -> None:
    one, other = Timing(), Timing()
    one.add(0.0, 0.0, 0.0, 4.0)
    for _ in range(3):
        other.add(0.0, 0.0, 0.0, 8.0)
    assert mean((one.recent(), other.recent())).total == 7.0


@given(st.lists(st.lists(spans, max_size=700), max_size=12))
def test_a_mean_is_of_1024_at_least_and_of_no_whole_second_more(seconds: list[list[float]]) -> None:
    timing, all_of_them = Timing(), list[float]()
    for second in seconds:
        for span in second:
            timing.add(span, span, span, span)
        all_of_them += second
        timing.step()
        count, sums = timing.recent()
        assert count >= min(1024, len(all_of_them))
        assert count < 1024 + 700
        assert sums.total == sum(all_of_them[len(all_of_them) - count :])
        assert len(timing.marks) <= 1 + 1024


# -- who looks once a second


def test_a_server_knows_when_a_session_last_came() -> None:
    server = ServerCounters()
    server.step(10.0, 1.0)
    assert server.used_at is None
    server.total += 1
    server.timing.add(0.0, 0.0, 0.0, 1.0)
    server.step(11.0, 1.0)
    server.step(12.0, 1.0)
    assert server.used_at == 11.0
    assert server.pace.peak == 1
    assert server.timing.marks[-1][0] == 1


@pytest.mark.parametrize("kind", [ServerCounters, BackendCounters])
def test_requests_are_counted_by_what_was_said_to_them(kind: Any) -> None:
    counters = kind()
    counters.responses[2] += 3
    counters.responses[5] += 1
    assert counters.requests == 4


def test_what_was_no_new_connection_and_no_failure_of_ours_was_kept() -> None:
    server = ServerCounters()
    server.total, server.connects, server.errors = 10, 3, 1
    assert server.reuses == 6


def test_who_enters_a_backend_is_counted_and_the_most_at_a_time_are_kept() -> None:
    counters = BackendCounters()
    counters.enter()
    counters.enter()
    counters.current -= 1
    counters.enter()
    assert (counters.total, counters.current, counters.peak) == (3, 2, 2)


def test_a_backend_looks_at_its_total() -> None:
    counters = BackendCounters()
    counters.enter()
    counters.step(5.0, 1.0)
    assert (counters.used_at, counters.pace.last) == (5.0, 1)
    counters.step(6.0, 1.0)
    assert (counters.used_at, counters.pace.last) == (5.0, 0)


def test_a_request_that_was_not_answered_is_one_too() -> None:
    counters = FrontendCounters()
    counters.responses[2] += 3
    counters.responses[5] += 1
    counters.responses[0] += 1
    counters.total += 2
    counters.step(1.0)
    assert counters.requests == 5
    assert (counters.request_pace.last, counters.pace.last) == (5, 2)


# --- what is cleared -----------------------------------------------------------------------------


def busy_server() -> ServerCounters:
    counters = ServerCounters()
    counters.peak, counters.total, counters.queued_peak, counters.downs = 3, 10, 2, 1
    counters.responses[2] = 4
    counters.timing.add(1.0, 1.0, 1.0, 4.0)
    counters.step(9.0, 1.0)
    return counters


def test_clearing_forgets_the_highest_values_alone() -> None:
    counters = busy_server()
    clear(counters, is_all=False)
    assert (counters.peak, counters.queued_peak, counters.pace.peak) == (0, 0, 0)
    assert counters.timing.longest() == Times()
    assert (counters.total, counters.downs, counters.requests) == (10, 1, 4)
    assert (counters.pace.last, counters.used_at) == (10, 9.0)
    assert counters.timing.recent()[0] == 1


def test_clearing_all_forgets_what_was_counted() -> None:
    counters = busy_server()
    clear(counters, is_all=True)
    fresh = ServerCounters()
    for word in {*ServerCounters.__slots__} - {"pace", "timing"}:
        assert getattr(counters, word) == getattr(fresh, word), word
    assert (counters.pace.last, counters.pace.rate(0), counters.pace.most(0)) == (0, 0, 0)
    assert counters.timing.recent() == (0, Times())
    counters.total += 1
    assert counters.pace.rate(1) == 1


def test_clearing_leaves_what_is_now_and_how_often_a_backend_was_lost() -> None:
    counters = BackendCounters()
    counters.enter()
    counters.downs = 2
    clear(counters, is_all=True)
    assert (counters.current, counters.downs, counters.total, counters.peak) == (1, 2, 0, 0)


def test_clearing_a_frontend_forgets_its_rates() -> None:
    counters = FrontendCounters()
    counters.total = counters.responses[2] = 5
    counters.step(1.0)
    clear(counters, is_all=False)
    assert (counters.pace.peak, counters.request_pace.peak, counters.pace.last) == (0, 0, 5)
    clear(counters, is_all=True)
    assert (counters.total, counters.requests, counters.pace.last) == (0, 0, 0)
