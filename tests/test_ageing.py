"""The ranking by example, and beside a list that is searched from end to end."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.ageing import Ranking


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


def touch(ranking: Ranking, number: int, instant: float) -> None:
    """Put an entry at the end, wherever it was before; its server is its own number."""
    shard = ranking.shard(key(number))
    shard.idle.pop(key(number), None)
    ranking.append(shard, key(number), complex(instant, number))


def filled(count: int, numbers: Iterable[int]) -> Ranking:
    """Return so many shards with these entries, each touched a second after the one before."""
    ranking = Ranking(count)
    for instant, number in enumerate(numbers):
        touch(ranking, number, float(instant))
    return ranking


def take_all(ranking: Ranking, until: float) -> list[int]:
    """Return what was touched until then, in the order in which it comes."""
    taken: list[complex] = []
    while ranking.bound <= until:
        taken += ranking.take(min(until, ranking.bound), 1)
    return [int(entry.imag) for entry in taken]


@pytest.mark.parametrize("shards", [1, 2, 7])
def test_what_was_touched_longest_ago_comes_first(shards: int) -> None:
    ranking = filled(shards, range(10))
    for instant, number in enumerate((0, 4, 1), start=10):
        touch(ranking, number, float(instant))
    ranking.check(12.0)
    assert take_all(ranking, 7.0) == [2, 3, 5, 6, 7]
    assert take_all(ranking, 12.0) == [8, 9, 0, 4, 1]
    assert ranking.bound == math.inf
    assert not any(shard.is_ranked for shard in ranking.shards)


def test_one_look_takes_as_many_as_it_may_and_none_that_is_younger() -> None:
    ranking = filled(1, range(6))
    assert ranking.take(4.0, limit=2) == [complex(0, 0), complex(1, 1)]
    assert ranking.bound == 2.0
    assert ranking.take(3.0, limit=9) == [complex(2, 2), complex(3, 3)]
    assert ranking.take(3.5, limit=9) == []
    assert ranking.bound == 4.0


def test_a_touch_leaves_the_bound_for_a_look_to_correct() -> None:
    ranking = filled(1, range(2))
    touch(ranking, 0, 9.0)
    assert ranking.bound == 0.0
    ranking.check(9.0)
    assert ranking.take(0.0, limit=1) == []
    assert ranking.bound == 1.0


def test_a_shard_that_was_emptied_by_others_loses_its_record_at_a_look() -> None:
    ranking = filled(1, [5])
    ranking.shards[0].idle.clear()
    assert ranking.take(100.0, limit=1) == []
    assert ranking.bound == math.inf
    touch(ranking, 6, 7.0)
    assert ranking.bound == 7.0


@pytest.mark.parametrize("shards", [1, 3, 40])
def test_what_came_in_any_order_can_be_sorted(shards: int) -> None:
    ranking = Ranking(shards)
    for number, instant in enumerate([5.0, 2.0, 9.0, 0.0, 7.0]):
        touch(ranking, number, instant)
    ranking.sort()
    ranking.check(9.0)
    assert take_all(ranking, 9.0) == [3, 1, 0, 4, 2]


def test_a_key_is_always_in_the_same_shard_and_all_shards_are_used() -> None:
    ranking = Ranking(5)
    found = {id(ranking.shard(key(number))) for number in range(200)}
    assert found == set(map(id, ranking.shards))
    assert ranking.shard(key(1)) is ranking.shard(bytes([0, 0, 0, 1]))


@given(
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), max_size=40),
)
def test_it_gives_the_order_that_a_plain_list_gives(
    shards: int, touches: list[tuple[int, int]]
) -> None:
    ranking, plain, now = Ranking(shards), dict[int, float](), 0.0
    for number, pause in touches:
        now += pause
        touch(ranking, number, now)
        plain.pop(number, None)
        plain[number] = now
        ranking.check(now)
    taken = take_all(ranking, now)
    assert sorted(taken) == sorted(plain)
    assert [plain[number] for number in taken] == sorted(plain.values())


@pytest.mark.parametrize("wrong", ["order", "bound", "record", "both", "uses", "place"])
def test_the_invariants_are_watched(wrong: str) -> None:
    ranking = filled(2, range(20))
    shard = ranking.shards[0]
    first = next(iter(shard.idle))
    if wrong == "order":
        shard.idle[first] = complex(0, 0)
        shard.idle[first] = shard.idle.pop(first)
    elif wrong == "bound":
        ranking.heap[:] = [(bound + 1, index) for bound, index in ranking.heap]
    elif wrong == "record":
        ranking.heap.append(ranking.heap[0])
    elif wrong == "both":
        shard.uses[first] = 1
    elif wrong == "uses":
        shard.uses[b"gone"] = 0
    else:
        ranking.shards.reverse()
    with pytest.raises(AssertionError):
        ranking.check(20.0)


def test_an_entry_is_a_complex_number_since_that_is_small() -> None:
    assert sys.getsizeof(complex(1, 1)) <= 32
