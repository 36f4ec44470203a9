"""``balance random`` cannot be compared choice by choice: both have to draw from one distribution.

The bounds are those of chi-square at 1 in 10,000,000: a sound pair of programs stays below them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pytest

from dsbalance import HashRing

from .events import Come, Go
from .play import Play, lack
from .story import Setup

pytestmark = pytest.mark.skipif(bool(lack()), reason=lack() or "")

# Degrees of freedom -> the value that is passed once in 10,000,000 times.
BOUND = {1: 28.37, 2: 32.24, 3: 35.41}
DRAWS = 240


def setup(*lines: str, weights: Sequence[int]) -> Setup:
    proxy = "".join(f"    {line}\n" for line in lines)
    servers = "".join(
        f"    server s{number} SERVERS:{20_000 + number} weight {weight}\n"
        for number, weight in enumerate(weights, 1)
    )
    return Setup(f"""# kind: random
global
    nbthread 1
    stats socket SOCKET level admin
defaults
    mode tcp
    timeout connect 1s
    timeout queue 1h
    timeout client 1h
    timeout server 1h
listen alpha
    bind DOOR:21001
{proxy}{servers}""")


def drawn(setup: Setup, *, held: int = 0) -> list[Counter[str]]:
    """Return how often each side chose each server, while ``held`` sessions are open at a time."""
    counts: list[Counter[str]] = [Counter(), Counter()]
    with Play(setup) as play:
        for number in range(1, DRAWS + 1):
            play.perform(Come(number, f"127.8.{number % 250}.1", "alpha"))
            for count, crowd in zip(counts, play.crowds, strict=True):
                count[crowd.fates[number]] += 1
            if number > held:
                play.perform(Go(number - held))
    return counts


def shares(weights: Sequence[int]) -> dict[str, float]:
    """Return which part of the ring each server has: near its weight, but not the same."""
    names = [f"s{number}" for number in range(1, len(weights) + 1)]
    ring = HashRing(dict(zip(names, weights, strict=True)))
    step = 2**18
    found = Counter(ring.lookup_hash(point) for point in range(0, 2**32, step))
    return {name: found[name] * step / 2**32 for name in names}


def distance(count: Counter[str], due: Mapping[str, float]) -> float:
    """Return chi-square of what was counted against the shares that were due."""
    assert {*count} <= {*due}
    expected = {name: DRAWS * share for name, share in due.items()}
    return sum((count[name] - part) ** 2 / part for name, part in expected.items())


def parting(theirs: Counter[str], ours: Counter[str]) -> float:
    """Return chi-square of the two being of one distribution."""
    names = {*theirs, *ours}
    return sum((theirs[n] - ours[n]) ** 2 / (theirs[n] + ours[n]) for n in names)


@pytest.mark.parametrize("weights", [(1, 1, 1), (2, 3, 7), (1, 10)], ids=str)
def test_idle_servers_are_drawn_by_their_part_of_the_ring(weights: tuple[int, ...]) -> None:
    counts = drawn(setup("balance random", weights=weights))
    bound = BOUND[len(weights) - 1]
    for count in counts:
        assert distance(count, shares(weights)) < bound
    assert parting(*counts) < bound


@pytest.mark.parametrize(
    "lines",
    [
        ("balance random",),
        ("balance random(1)",),
        ("balance random(4)",),
        ("balance random", "hash-balance-factor 101"),
    ],
    ids=", ".join,
)
def test_busy_servers_are_drawn_alike(lines: tuple[str, ...]) -> None:
    counts = drawn(setup(*lines, weights=(1, 2, 5)), held=30)
    assert parting(*counts) < BOUND[2]


def test_another_distribution_is_told_apart() -> None:
    due = {"s1": 1 / 6, "s2": 1 / 4, "s3": 7 / 12}
    even, uneven = Counter(s1=80, s2=80, s3=80), Counter(s1=40, s2=60, s3=140)
    assert distance(even, due) > BOUND[2]
    assert parting(even, uneven) > BOUND[2]
    assert distance(uneven, due) < BOUND[2]
    assert parting(uneven, uneven) == 0
