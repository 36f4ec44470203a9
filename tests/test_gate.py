"""Rise and fall: tables of examples, and a model that counts results in a row."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from dsbalance.errors import ConfigError
from dsbalance.gate import Gate
from dsbalance.model import Check, InitState, OnError

# `rise`, `fall`, results (+ passed, - failed), status after each: the rules of the manual, from the
# start observed on HAProxy 2.6.12.
OBSERVED = [
    (2, 3, "+", "UP"),
    (2, 3, "-", "DOWN"),
    (2, 3, "-++", "DOWN|DOWN 1/2|UP"),
    (2, 3, "-+-++", "DOWN|DOWN 1/2|DOWN|DOWN 1/2|UP"),
    (2, 3, "+---", "UP|UP 2/3|UP 1/3|DOWN"),
    (2, 3, "+--+---", "UP|UP 2/3|UP 1/3|UP|UP 2/3|UP 1/3|DOWN"),
    (1, 1, "+-+-", "UP|DOWN|UP|DOWN"),
    (1, 2, "+-+--+", "UP|UP 1/2|UP|UP 1/2|DOWN|UP"),
    (3, 1, "-+++-", "DOWN|DOWN 1/3|DOWN 2/3|UP|DOWN"),
]

PACES = Check(interval=2.0, fast_interval=0.5, down_interval=7.0)
PACE_OF = {"inter": 2.0, "fastinter": 0.5, "downinter": 7.0}

counts = st.integers(1, 4)
events = st.sampled_from(["passed", "failed"] * 4 + ["set_up", "set_down", "set_stopping", "reset"])


@pytest.mark.parametrize("kind", [Gate, models.Gate], ids=["gate", "model"])
@pytest.mark.parametrize(("rise", "fall", "results", "expected"), OBSERVED)
def test_the_status_follows_the_results_as_in_haproxy(
    kind: type[Gate | models.Gate], rise: int, fall: int, results: str, expected: str
) -> None:
    gate = kind(rise, fall)
    seen = []
    for result in results:
        gate.passed() if result == "+" else gate.failed()
        seen.append(gate.text)
    assert "|".join(seen) == expected


@given(counts, counts, st.lists(events, min_size=20, max_size=40))
def test_the_counter_equals_results_in_a_row(rise: int, fall: int, steps: list[str]) -> None:
    gate, model = Gate(rise, fall), models.Gate(rise, fall)
    for step in steps:
        before = model.is_up, model.is_stopping
        getattr(model, step)()
        assert getattr(gate, step)() is ((model.is_up, model.is_stopping) != before)
        gate._check()
        assert (gate.is_up, gate.is_stopping) == (model.is_up, model.is_stopping)
        assert gate.text == model.text
        assert gate.is_certain is (model.streak == 0)
        assert gate.health == (rise + fall - 1 - model.streak if model.is_up else model.streak)
        assert gate.next_interval(PACES) == PACE_OF[model.pace]


def test_a_gate_begins_up_and_one_failure_away_from_down() -> None:
    gate = Gate(2, 3)
    assert gate.is_up
    assert gate.text == "UP 1/3"
    assert not gate.is_certain
    assert gate.failed()
    assert not gate.is_up


def test_a_server_that_flaps_at_each_check_does_not_change_its_state() -> None:
    up, down = Gate(2, 2), Gate(2, 2)
    up.set_up()
    down.set_down()
    for _ in range(10):
        assert not any([up.failed(), up.passed(), down.passed(), down.failed()])
    assert up.is_up
    assert not down.is_up


def test_a_change_is_reported_once() -> None:
    gate = Gate(1, 1)
    assert gate.failed()
    assert not gate.failed()
    assert not gate.set_down()
    assert gate.passed()
    assert not gate.set_up()
    assert not gate.reset()


def test_leaving_maintenance_brings_a_server_up_on_trial() -> None:
    gate = Gate(3, 2)
    gate.set_down()
    assert gate.reset()
    assert gate.text == "UP 1/2"


@pytest.mark.parametrize(
    ("results", "special", "plain"),
    [("", 0.5, 2.0), ("+", 2.0, 2.0), ("+-", 0.5, 2.0), ("-", 7.0, 2.0), ("-+", 0.5, 2.0)],
)
def test_the_pause_depends_on_how_certain_the_state_is(
    results: str, special: float, plain: float
) -> None:
    gate = Gate(2, 3)
    for result in results:
        _ = gate.passed() if result == "+" else gate.failed()
    assert gate.next_interval(PACES) == special
    assert gate.next_interval(Check(interval=2.0)) == plain


@pytest.mark.parametrize(("rise", "fall"), [(0, 1), (1, 0), (-1, 3)])
def test_rise_and_fall_of_less_than_one_are_refused(rise: int, fall: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Gate(rise, fall)


def test_a_gate_shows_its_state() -> None:
    assert repr(Gate(2, 3)) == "<Gate UP 1/3, rise 2, fall 3>"


# --- how it starts -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "text", "then"),
    [
        (InitState.FULLY_UP, "UP", "UP 2/3"),
        (InitState.UP, "UP 1/3", "DOWN"),
        (InitState.DOWN, "DOWN 1/2", "DOWN"),
        (InitState.FULLY_DOWN, "DOWN", "DOWN"),
    ],
)
def test_a_gate_starts_as_it_is_told_and_goes_back_there(
    start: InitState, text: str, then: str
) -> None:
    gate = Gate(2, 3, start)
    assert gate.text == text
    gate.failed()
    assert gate.text == then
    gate.set_up()
    gate.reset()
    assert gate.text == text
    gate._check()


def test_a_server_that_starts_down_wants_one_check_and_one_that_starts_fully_down_all() -> None:
    assert Gate(3, 3, InitState.DOWN).passed()
    gate = Gate(3, 3, InitState.FULLY_DOWN)
    assert [gate.passed() for _ in range(3)] == [False, False, True]


# --- stopping ------------------------------------------------------------------------------------


def test_a_server_that_is_stopping_is_up_until_its_next_check_has_passed() -> None:
    gate = Gate(2, 3)
    assert gate.set_stopping()
    assert (gate.is_up, gate.is_stopping, gate.text) == (True, True, "NOLB")
    assert not gate.set_stopping()
    assert not gate.failed()
    assert (gate.is_stopping, gate.text) == (True, "NOLB 2/3")
    gate._check()
    assert gate.passed()
    assert (gate.is_stopping, gate.text) == (False, "UP")


@pytest.mark.parametrize("act", ["set_up", "set_down", "reset", "failed"])
def test_what_says_anything_else_of_a_server_ends_its_stopping(act: str) -> None:
    gate = Gate(1, 1)
    gate.set_stopping()
    assert getattr(gate, act)()
    assert not gate.is_stopping
    gate._check()


# --- traffic that failed -------------------------------------------------------------------------


# Observed on HAProxy 2.6.12 with rise 3 and fall 4.
@pytest.mark.parametrize(
    ("on_error", "texts"),
    [
        (OnError.FASTINTER, "UP|UP|UP"),
        (OnError.FAIL_CHECK, "UP 3/4|UP 2/4|UP 1/4|DOWN"),
        (OnError.SUDDEN_DEATH, "UP 1/4|DOWN|DOWN"),
        (OnError.MARK_DOWN, "DOWN|DOWN"),
    ],
)
def test_each_alarm_takes_a_server_as_far_down_as_it_is_told_to(
    on_error: OnError, texts: str
) -> None:
    gate = Gate(3, 4)
    gate.set_up()
    for text in texts.split("|"):
        before = gate.is_up
        assert gate.alarmed(on_error) is (before and text == "DOWN")
        assert gate.text == text
        gate._check()


@pytest.mark.parametrize("on_error", [OnError.FAIL_CHECK, OnError.SUDDEN_DEATH])
def test_one_passed_check_makes_up_for_an_alarm(on_error: OnError) -> None:
    gate = Gate(3, 4)
    gate.set_up()
    gate.alarmed(on_error)
    assert not gate.passed()
    assert gate.text == "UP"


@pytest.mark.parametrize("on_error", OnError)
def test_an_alarm_brings_no_server_up(on_error: OnError) -> None:
    gate = Gate(2, 3)
    gate.set_down()
    gate.passed()
    assert not gate.alarmed(on_error)
    assert not gate.is_up
