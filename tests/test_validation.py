"""Each check says what was found and what was expected, and nothing of what is right."""

from __future__ import annotations

import enum
from types import SimpleNamespace

import pytest

from dsbalance.errors import ConfigError, Problem
from dsbalance.validation import (
    choose,
    demand,
    durations,
    identifier,
    repeated,
    text_line,
    whole,
)


class Fruit(enum.StrEnum):
    APPLE = "apple"
    PEAR = "pear"


def test_a_word_becomes_the_member_that_it_names() -> None:
    value = SimpleNamespace(fruit="pear")
    choose(value, "fruit", Fruit)
    assert value.fruit is Fruit.PEAR
    choose(value, "fruit", Fruit)
    assert value.fruit is Fruit.PEAR


@pytest.mark.parametrize("word", ["plum", None, 1, ["pear"]])
def test_a_word_that_names_no_member_is_told_with_all_that_would(word: object) -> None:
    with pytest.raises(ConfigError, match="fruit must be one of apple, pear, not"):
        choose(SimpleNamespace(fruit=word), "fruit", Fruit)


def test_all_that_is_found_is_raised_at_once_with_the_subject() -> None:
    with pytest.raises(ConfigError) as caught:
        demand("one", None, "two", subject="server", name="a")
    assert caught.value.problems == (
        Problem("one", subject="server a"),
        Problem("two", subject="server a"),
    )


def test_where_nothing_is_found_nothing_is_raised() -> None:
    demand()
    demand(None, None, subject="server", name="a")


@pytest.mark.parametrize("name", ["a", "A-1_b.c:d", "0", "x" * 1000])
def test_a_name_may_have_letters_digits_and_four_signs(name: str) -> None:
    assert identifier(name) is None


@pytest.mark.parametrize("name", ["", "a b", "é", "a\n", "a/b", 7, None])
def test_another_name_is_refused(name: object) -> None:
    assert identifier(name) == f"a name is made of letters, digits and '-_.:', not {name!r}"


def test_a_word_that_is_made_like_a_name_may_have_a_length() -> None:
    assert identifier("abc", "a guid", 3) is None
    found = identifier("abcd", "a guid", 3)
    assert found == "a guid is made of up to 3 letters, digits and '-_.:', not 'abcd'"


@pytest.mark.parametrize(
    ("number", "low", "high", "found"),
    [
        (1, 1, None, None),
        (0, 1, None, "it must be at least 1, not 0"),
        (9, 1, 9, None),
        (10, 1, 9, "it must be 1 to 9, not 10"),
        (0, 1, 9, "it must be 1 to 9, not 0"),
        (-1, 0, 9, "it must be 0 to 9, not -1"),
        (None, 0, 9, "it must be a whole number, not None"),
        (True, 0, 9, "it must be a whole number, not True"),
        (1.0, 0, 9, "it must be a whole number, not 1.0"),
        ("1", 0, 9, "it must be a whole number, not '1'"),
        (2**64 - 1, 0, None, None),
        (2**64, 0, None, "it must not have so many digits"),
        (-(2**64), 0, 9, "it must not have so many digits"),
    ],
)
def test_a_number_is_whole_and_in_its_range(
    number: object, low: int, high: int | None, found: str | None
) -> None:
    assert whole("it", number, low, high) == found


def test_a_number_may_be_left_out_where_that_is_said() -> None:
    assert whole("it", None, 1, is_optional=True) is None
    assert whole("it", 0, 1, is_optional=True) == "it must be at least 1, not 0"


@pytest.mark.parametrize(
    ("seconds", "found"),
    [
        (None, []),
        (1, []),
        (0.000001, []),
        (2147483.647, []),
        (0, ["t must be above 0 and below 2147484 s, not 0"]),
        (-1.0, ["t must be above 0 and below 2147484 s, not -1.0"]),
        (2147483.648, ["t must be above 0 and below 2147484 s, not 2147483.648"]),
        (float("nan"), ["t must be above 0 and below 2147484 s, not nan"]),
        (2**64, ["t must not have so many digits"]),
        (True, ["t must be a number of seconds, not True"]),
        ("5s", ["t must be a number of seconds, not '5s'"]),
    ],
)
def test_a_duration_is_seconds_that_haproxy_could_have(seconds: object, found: list[str]) -> None:
    assert durations(SimpleNamespace(t=seconds), "t") == found


def test_every_duration_is_looked_at() -> None:
    value = SimpleNamespace(a=0, b=None, c="x")
    assert len(durations(value, "a", "b", "c")) == 2


def test_what_is_given_again_is_told_once_with_how_often() -> None:
    assert repeated("id", []) == []
    assert repeated("id", ["1", "2"]) == []
    assert repeated("id", ["1", "2", "1", "3", "3", "1"]) == [
        "id '1' is given 3 times",
        "id '3' is given 2 times",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (None, None),
        ("a b é", None),
        ("", "it is empty"),
        ("a\nb", "it has the control character '\\n'"),
        ("\x7f", "it has the control character '\\x7f'"),
        ("\ud800", "it is no text"),
    ],
)
def test_a_text_does_not_end_the_line_that_it_goes_into(
    text: str | None, found: str | None
) -> None:
    assert text_line("it", text) == found
