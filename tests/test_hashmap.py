"""The map against an independent model, and what it promises."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import models
from dsbalance.hashmap import HashMap

few_weights = st.lists(st.integers(0, 40), max_size=6)


@given(few_weights, few_weights)
def test_a_map_has_as_many_slots_for_each_as_its_weight_says(
    weights: list[int], others: list[int]
) -> None:
    table = HashMap(enumerate(weights), weights + others)
    divisor = math.gcd(*weights, *others) or 1
    shares = {index: weight // divisor for index, weight in enumerate(weights) if weight}
    size = sum(shares.values())
    found = Counter(table.lookup_hash(value) for value in range(size))
    assert found == shares
    assert table.lookup_hash(size + 1) == table.lookup_hash(1)


@given(few_weights, few_weights)
@example([1, 2], [0])
def test_every_slot_of_a_map_is_the_models(weights: list[int], all_weights: list[int]) -> None:
    # The weights of the file need not be those in force.
    slots = models.map_slots(weights, all_weights or weights)
    table = HashMap(enumerate(weights), all_weights)
    assert [table.lookup_hash(value) for value in range(len(slots))] == slots


def test_a_common_divisor_makes_a_map_smaller_and_changes_no_answer() -> None:
    group = [("a", 2), ("b", 4), ("c", 6)]
    small, large = HashMap(group), HashMap(group, [2, 4, 6, 3])
    assert [len(small.slots), len(large.slots)] == [6, 12]
    assert all(small.lookup_hash(value) == large.lookup_hash(value) for value in range(50))


def test_a_weight_that_is_no_multiple_any_more_is_rounded_up() -> None:
    table = HashMap([("a", 3), ("b", 4)], [2, 4])
    assert Counter(table.slots) == {"a": 2, "b": 2}


def test_a_map_of_nobody_answers_nobody() -> None:
    assert HashMap[str]([]).lookup_hash(5) is None
    assert HashMap([("a", 0)]).lookup_hash(5) is None


def test_a_map_refuses_a_weight_out_of_range() -> None:
    with pytest.raises(ValueError, match="weight must be 0 to 256, not 257"):
        HashMap([("a", 257)])
