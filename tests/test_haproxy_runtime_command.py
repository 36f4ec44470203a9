"""What commands of the runtime API share: numbers, names, pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.runtime_command import (
    Call,
    RefusedError,
    Visit,
    bounded_number,
    command,
    find_backend,
    find_frontend,
    find_path,
    find_server,
    in_pieces,
    leading_number,
    whole_number,
)
from dsbalance.stats_options import Level
from pretence import Steered


def call(*words: str) -> Call:
    return Call(words, Visit(Level.ADMIN), Steered())


@pytest.mark.parametrize(
    ("text", "number", "rest"),
    [
        ("5", 5, ""),
        ("+5", 5, ""),
        ("-5", -5, ""),
        ("50%", 50, "%"),
        ("0x10", 0, "x10"),
        ("5 ", 5, " "),
        ("", None, ""),
        ("x5", None, "x5"),
        ("-", None, "-"),
        ("--5", None, "--5"),
        (" 5", None, " 5"),
        ("\u0665", None, "\u0665"),
    ],
)
def test_a_number_is_what_a_text_begins_with(text: str, number: int | None, rest: str) -> None:
    assert leading_number(text) == (number, rest)


@given(st.integers(min_value=-(10**17), max_value=10**17))
def test_every_number_that_something_here_has_is_read(number: int) -> None:
    assert whole_number(str(number)) == number


@pytest.mark.parametrize("digits", [19, 5000, 16000])
def test_a_number_that_is_too_long_is_a_great_one(digits: int) -> None:
    assert whole_number("9" * digits) == 10**18
    assert whole_number("-" + "9" * digits) == -(10**18)


def test_a_limit_of_zero_is_none_and_one_below_is_refused() -> None:
    assert bounded_number("0", "wrong\n") is None
    assert bounded_number("7", "wrong\n") == 7
    with pytest.raises(RefusedError, match=r"^wrong\n$"):
        bounded_number("7x", "wrong\n")
    with pytest.raises(RefusedError, match=r"^Value out of range\.\n$"):
        bounded_number("-1", "wrong\n")


@pytest.mark.parametrize("word", ["be/s1", "#4/s1", "be/#1", "#4/#1"])
def test_a_server_is_found_by_names_and_by_numbers(word: str) -> None:
    backend, server = find_server(call(word))
    assert (backend.name, server.name) == ("be", "s1")
    assert find_path(call(word)) == "be/s1"


@pytest.mark.parametrize(
    ("word", "answer"),
    [
        ("", "Require 'backend/server'."),
        ("be", "Require 'backend/server'."),
        ("be/", "Require 'backend/server'."),
        ("/", "Require 'backend/server'."),
        ("/s1", "No such backend."),
        ("fe/s1", "No such backend."),
        ("#x/s1", "No such backend."),
        ("#/s1", "No such backend."),
        ("be/zz", "No such server."),
        ("be/s1/x", "No such server."),
        ("be/#9", "No such server."),
    ],
)
def test_who_names_no_server_is_told_so(word: str, answer: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find_server(call(word))
    assert str(caught.value) == f"{answer}\n"


def test_a_frontend_is_found_by_its_name_or_number() -> None:
    assert find_frontend(call("fe")).id == 2
    assert find_frontend(call("#2")).name == "fe"
    with pytest.raises(RefusedError, match=r"^A frontend name is expected\.\n$"):
        find_frontend(call())
    with pytest.raises(RefusedError, match=r"^No such frontend\.\n$"):
        find_frontend(call("be"))


def test_a_backend_is_found_or_not() -> None:
    found = find_backend(call(), "be")
    assert found is not None
    assert found.id == 4
    assert find_backend(call(), "fe") is None


def test_lines_are_put_together_and_none_is_lost() -> None:
    lines = [f"{number}\n" for number in range(7)]
    assert [*in_pieces(lines, 3)] == ["0\n1\n2\n", "3\n4\n5\n", "6\n"]
    assert [*in_pieces(lines[:6], 3)] == ["0\n1\n2\n", "3\n4\n5\n"]
    assert [*in_pieces([], 3)] == []


def test_a_word_that_is_not_there_is_empty() -> None:
    assert [call("a").word(place) for place in (0, 1)] == ["a", ""]


def test_the_usage_of_a_command_is_its_words_and_what_may_follow() -> None:
    found = command("get weight", Level.USER, lambda _call: "", "what for", takes="<server>")
    assert (found.words, found.usage) == (("get", "weight"), "get weight <server>")
    assert command("quit", Level.USER, lambda _call: "", "").usage == "quit"
