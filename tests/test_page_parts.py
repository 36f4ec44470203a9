"""What states are called, how they look, and how numbers and curves are written."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.history import LENGTH
from dsbalance.page_parts import (
    CURVE_HEIGHT,
    CURVE_WIDTH,
    Clock,
    Mark,
    ago,
    check_words,
    highest,
    mark_of,
    mark_of_backend,
    mark_of_frontend,
    number,
    path,
    reason_words,
    size,
    span,
    state_words,
    trouble_words,
)
from dsbalance.stats import BackendSnapshot, FrontendSnapshot
from pretence import blank, check, server

MINUTE, HOUR, DAY = 60, 3600, 86400


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        ({"status": "UP"}, Mark.UP),
        ({"status": "UP", "throttle": 40}, Mark.WEAK),
        ({"status": "UP 1/3", "check": check()}, Mark.WEAK),
        ({"status": "UP 1/3", "check": check(last=None)}, Mark.UP),
        ({"status": "UP 1/3", "tracked": "be/s1"}, Mark.UP),
        ({"status": "DOWN"}, Mark.DOWN),
        ({"status": "DOWN 1/2"}, Mark.DOWN),
        ({"status": "DRAIN"}, Mark.DRAIN),
        ({"status": "DRAIN 1/3"}, Mark.DRAIN),
        ({"status": "NOLB"}, Mark.DRAIN),
        ({"status": "MAINT"}, Mark.MAINT),
        ({"status": "MAINT (via be/s1)"}, Mark.MAINT),
        ({"status": "no check"}, Mark.UNCHECKED),
    ],
)
def test_each_state_has_its_looks(words: dict[str, Any], mark: Mark) -> None:
    assert mark_of(server("s", 1, **words)) is mark


@pytest.mark.parametrize(
    ("status", "mark"),
    [("OPEN", Mark.UP), ("FULL", Mark.WEAK), ("PAUSED", Mark.MAINT), ("STOP", Mark.MAINT)],
)
def test_a_frontend_looks_as_it_lets_clients_in(status: str, mark: Mark) -> None:
    assert mark_of_frontend(blank(FrontendSnapshot, status=status)) is mark


@pytest.mark.parametrize(
    ("words", "mark"),
    [
        ({"status": "UP", "active": 1}, Mark.UP),
        ({"status": "UP", "backups": 1}, Mark.WEAK),
        ({"status": "DOWN"}, Mark.DOWN),
    ],
)
def test_a_backend_looks_as_its_servers_serve(words: dict[str, Any], mark: Mark) -> None:
    assert mark_of_backend(blank(BackendSnapshot, servers=(server("s", 1),), **words)) is mark


def test_a_backend_without_servers_is_no_trouble() -> None:
    assert mark_of_backend(blank(BackendSnapshot, status="UP")) is Mark.UNCHECKED


def test_a_slow_start_is_told() -> None:
    assert state_words(server("s", 1, status="UP", throttle=40)) == "UP, starting: 40 %"
    assert state_words(server("s", 1, status="UP")) == "UP"


@pytest.mark.parametrize(
    ("reason", "tracked", "words"),
    [
        ("", None, ""),
        ("set to drain", None, "Set to drain"),
        ("via be/s1", "be/s1", ""),
        ("via be/s1", None, "Via be/s1"),
    ],
)
def test_a_reason_begins_as_a_sentence(reason: str, tracked: str | None, words: str) -> None:
    assert reason_words(server("s", 1, reason=reason, tracked=tracked)) == words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({}, "not checked"),
        ({"tracked": "be/s1"}, "as be/s1"),
        ({"check": check(last=None, ended_at=None)}, "no check yet"),
        ({"check": check(ended_at=0.4)}, "L4OK in 1.0 ms, just now"),
        ({"check": check(ended_at=61.0)}, "L4OK in 1.0 ms, 1 min ago"),
        (
            {
                "check": check(
                    last=CheckResult(status=CheckStatus.L4TOUT, port=1, elapsed=2.0), is_paused=True
                )
            },
            "L4TOUT in 2 s, 1 s ago; checks are paused",
        ),
    ],
)
def test_the_last_check_is_told(words: dict[str, Any], said: str) -> None:
    assert check_words(server("s", 1, **words)) == said


def test_what_went_wrong_is_told_and_nothing_else() -> None:
    assert trouble_words(server("s", 1)) == ""
    told = trouble_words(server("s", 1, connect_errors=1, retries=3, server_aborts=2))
    assert told == "1 failed connect, 2 broken off, 3 retries"
    told = trouble_words(server("s", 1, connect_errors=2, response_errors=1, redispatches=1))
    assert told == "2 failed connects, 1 bad response, 1 redispatch"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0, "0"),
        (999, "999"),
        (1000, "1 000"),
        (9_999_999, "9 999 999"),
        (12_345_678, "12.3 M"),
        (98_765_432_100, "98.8 G"),
        (2.4, "2"),
    ],
)
def test_a_count_is_read_easily(value: float | None, text: str) -> None:
    assert number(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9940, "9.9 kB"),
        (9950, "10 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (5e15, "5.0 PB"),
        (5e18, "5000 PB"),
    ],
)
def test_bytes_have_three_digits_at_the_most(value: float, text: str) -> None:
    assert size(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004, "0.4 ms"),
        (0.012, "12 ms"),
        (1.9, "1 s"),
        (59.9, "59 s"),
        (MINUTE, "1 min"),
        (HOUR - 1, "59 min"),
        (HOUR, "1 h"),
        (3 * HOUR + 12 * MINUTE, "3 h 12 min"),
        (DAY, "1 d"),
        (2 * DAY + 3 * HOUR, "2 d 3 h"),
    ],
)
def test_a_duration_has_the_two_units_that_matter(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_when_something_last_happened() -> None:
    moments = (None, 0.5, 90, 3 * HOUR + 90)
    assert [ago(seconds) for seconds in moments] == ["", "now", "1 min", "3 h"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "14:03"), (2 * HOUR, "12:03"), (DAY, "22 Nov 14:03")]
)
def test_the_time_of_day_is_local_and_has_the_day_if_that_was_another(
    seconds: float, text: str
) -> None:
    # 13:03 in UTC.
    assert Clock(1_795_438_980, HOUR).since(seconds) == text


# -- curves


def heights(outline: str) -> list[float]:
    """Return how high an outline is at each reading, 0 where there is none."""
    found = [0.0] * LENGTH
    step = CURVE_WIDTH / LENGTH
    place = float(outline[1:].partition(" ")[0]) / step
    level = 0.0
    for letter, value in re.findall(r"([HV])([\d.]+)", outline):
        if letter == "V":
            level = CURVE_HEIGHT - float(value)
        else:
            until = float(value) / step
            for reading in range(round(place), round(until)):
                found[reading] = level
            place = until
    return found


RATES = st.just(0.0) | st.floats(1e-6, 1e12)


@given(st.lists(st.integers(0, 30) | RATES, max_size=LENGTH))
def test_a_curve_is_as_high_as_its_values(values: list[float]) -> None:
    top = max(values, default=0)
    drawn = heights(path(values, top))
    assert drawn[: LENGTH - len(values)] == [0] * (LENGTH - len(values))
    for height, value in zip(drawn[LENGTH - len(values) :], values, strict=True):
        assert 0 <= height <= CURVE_HEIGHT - 1
        assert (height > 0) == (value > 0)
        if top:
            assert abs(height - value / top * (CURVE_HEIGHT - 1)) <= 1


def test_a_curve_of_nothing_is_flat() -> None:
    assert path([0.0] * 5, 0.0) == f"M110 {CURVE_HEIGHT}H120V{CURVE_HEIGHT}Z"
    assert path([], 0.0) == "M120 24H120V24Z"


def test_the_most_of_several_curves() -> None:
    assert highest([(1.0, 3.0), (), (2.0,)]) == 3
    assert highest([]) == 0
