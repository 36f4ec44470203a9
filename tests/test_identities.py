"""Which number each proxy has in the statistics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.identities import identify
from dsbalance.model import Backend, Bind, Frontend


def frontend(name: str, number: int | None = None) -> Frontend:
    return Frontend(name=name, binds=(Bind(port=80),), backend="b", id=number)


def backend(name: str, number: int | None = None) -> Backend:
    return Backend(name=name, id=number)


def test_who_has_no_number_gets_the_lowest_that_is_free_from_two() -> None:
    found = identify([frontend("f"), frontend("g")], [backend("b"), backend("c")])
    assert found.frontends == {"f": 2, "g": 3}
    assert found.backends == {"b": 4, "c": 5}


def test_both_parts_of_a_listen_have_one_number() -> None:
    found = identify([frontend("f"), frontend("l")], [backend("b"), backend("l")])
    assert found.frontends["l"] == found.backends["l"] == 3
    assert found.backends["b"] == 4


@pytest.mark.parametrize(("front", "back"), [(7, None), (None, 7), (7, 7)])
def test_a_listen_has_the_number_that_either_part_was_given(
    front: int | None, back: int | None
) -> None:
    found = identify([frontend("l", front)], [backend("l", back)])
    assert (found.frontends["l"], found.backends["l"]) == (7, 7)


def test_a_number_that_was_given_is_nobody_elses() -> None:
    found = identify([frontend("f"), frontend("g", 3)], [backend("b", 2), backend("c")])
    assert found.frontends == {"f": 4, "g": 3}
    assert found.backends == {"b": 2, "c": 5}


numbers = st.lists(st.none() | st.integers(2, 12), max_size=6)


@given(numbers, numbers)
def test_no_two_proxies_have_the_same_number(
    fronts: list[int | None], backs: list[int | None]
) -> None:
    given_ones = [number for number in (*fronts, *backs) if number is not None]
    if len(set(given_ones)) < len(given_ones):
        return
    found = identify(
        [frontend(f"f{n}", number) for n, number in enumerate(fronts)],
        [backend(f"b{n}", number) for n, number in enumerate(backs)],
    )
    every = [*found.frontends.values(), *found.backends.values()]
    assert len(every) == len(set(every)) == len(fronts) + len(backs)
    assert min(every, default=2) >= 2
