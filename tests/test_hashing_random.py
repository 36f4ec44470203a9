"""Random draws: whoever has least of those who are drawn."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.candidates import Candidates
from dsbalance.hashing import Random, loaded
from offers import FakeLoad, answers, client, offer, server

POOL = (server("a"), server("b"), server("c", weight=2))
loads_of_three = st.lists(st.integers(0, 9), min_size=3, max_size=3)


def carrying(*sessions: int, maxconn: int | None = None) -> Candidates:
    pool = [server(s.name, weight=s.weight, maxconn=maxconn) for s in POOL]
    loads = dict(zip("abc", map(FakeLoad, sessions), strict=True))
    return offer(*pool, **loads)


def held(policy: Random, count: int) -> Counter[str]:
    """Return how many each has when so many sessions came and stay."""
    has = Counter(a=0, b=0, c=0)
    for _ in range(count):
        has[answers(policy, carrying(*has.values()), 1)] += 1
    return has


def max_share(has: Counter[str]) -> float:
    """Return the most that anybody has for a unit of weight."""
    return max(has[s.name] / s.weight for s in POOL)


@pytest.mark.parametrize("draws", [1, 2, 3, 8])
def test_who_is_drawn_is_by_weight(draws: int) -> None:
    # Observed on HAProxy 2.6.12 for N = 1, 2, 3, 8: 65 to 80 for a and b, 146 to 167 for c.
    has = Counter(answers(Random(draws), carrying(0, 0, 0), 300))
    # Two and a half standard deviations of a draw by chance.
    assert all(abs(has[name] - share) <= 21 for name, share in {"a": 75, "b": 75, "c": 150}.items())


@pytest.mark.parametrize("draws", [2, 3, 8])
def test_of_two_draws_sessions_that_stay_are_shared_by_weight(draws: int) -> None:
    # HAProxy 2.6.12 had exactly 15, 15 and 30.
    has = held(Random(draws), 60)
    assert all(abs(has[name] - share) <= 1 for name, share in {"a": 15, "b": 15, "c": 30}.items())


@given(st.integers(1, 6), loads_of_three, st.text(max_size=5))
def test_the_least_for_its_weight_wins_and_of_equals_whoever_was_drawn_later(
    draws: int, sessions: list[int], seed: str
) -> None:
    offered = carrying(*sessions)
    drawn = answers(Random(1, seed=seed), offered, 3 * draws)
    policy = Random(draws, seed=seed)
    for start in range(0, 3 * draws, draws):
        best = drawn[start]
        for name in drawn[start + 1 : start + draws]:
            mine, theirs = (
                offered.served(offered.get(n)) / offered.shares[n] for n in (name, best)
            )
            best = name if mine <= theirs else best
        assert answers(policy, offered, 1) == best


def test_the_best_of_the_draws_may_be_full_though_another_has_room() -> None:
    # Observed on HAProxy 2.6.12: it waits in the backend's queue.
    a, b = server("a", maxconn=1), server("b", maxconn=9)
    offered = offer(a, b, a=FakeLoad(1), b=FakeLoad(8))
    assert set(answers(Random(8), offered, 20)) == {"-"}
    assert set(answers(Random(1), offered, 20)) == {"-", "b"}


def test_whoever_waits_for_a_server_does_not_count_as_its_load() -> None:
    offered = offer(server("a"), server("b"), a=FakeLoad(1), b=FakeLoad(0, waiting=5))
    assert set(answers(Random(8), offered, 20)) == {"b"}


def test_the_one_to_avoid_is_not_drawn_unless_it_is_alone() -> None:
    assert set(answers(Random(2), carrying(0, 5, 5), 50, avoid="a")) == {"b", "c"}
    alone = offer(server("a"))
    assert answers(Random(2), alone, 3, avoid="a") == "aaa"
    assert Random().choose(client(), Candidates([]), None) is None


@given(st.integers(101, 300), loads_of_three, st.integers(1, 3))
def test_a_factor_keeps_those_from_being_drawn_who_have_their_share(
    factor: int, sessions: list[int], draws: int
) -> None:
    offered = carrying(*sessions)
    drawn = set(answers(Random(draws, factor=factor), offered, 20))
    assert not drawn & loaded(offered, factor)


def test_with_a_factor_one_draw_is_enough_to_bound_the_load() -> None:
    # HAProxy 2.6.12 with 110 percent had 15, 12 and 33, and without 13, 9 and 38.
    bounded, free = (max_share(held(Random(1, factor=factor), 60)) for factor in (110, 0))
    assert bounded <= 1.1 * 15 + 1 < free


def test_the_draws_can_be_repeated_and_those_of_another_backend_are_others() -> None:
    offered = carrying(0, 0, 0)
    first = answers(Random(seed="x"), offered, 50)
    assert answers(Random(seed="x"), offered, 50) == first
    assert answers(Random(seed="y"), offered, 50) != first


@given(loads_of_three)
def test_who_comes_and_goes_is_drawn_and_drawn_no_more(sessions: list[int]) -> None:
    policy = Random()
    whole = carrying(*sessions)
    rest = Candidates([POOL[0], POOL[2]], ids=whole.ids)
    assert set(answers(policy, whole, 60)) <= set("abc")
    assert set(answers(policy, rest, 60)) <= set("ac")
    assert answers(policy, carrying(9, 0, 9), 60).count("b") > 10
