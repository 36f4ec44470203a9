"""Who looks a key up while the ring changes sees the ring before it or the ring after it."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import pytest

from dsbalance import hashring
from dsbalance.hashring import HashRing
from models import nobody


def interrupted(act: Callable[[], object], between: Callable[[int], object]) -> int:
    """Run ``act``, and ``between`` before each instruction of the ring's own code.

    So a test sees what another thread could see or do, at every moment and without a race.

    Returns:
        How many instructions there were; ``between`` is told their number, from 1.
    """
    passed = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed
        if frame.f_code.co_filename != hashring.__file__:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            between(passed)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        act()
    finally:
        sys.settrace(before)
    return passed


SMALL, LARGE = {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 3}


@pytest.mark.parametrize("pool", [SMALL, LARGE], ids=["growing", "shrinking"])
@pytest.mark.parametrize(
    "look_up",
    [
        lambda ring: ring.lookup_hash(0x5C54_BB6F),
        lambda ring: ring.lookup("client"),
        lambda ring: ring.lookup("client", skip={"c"}.__contains__),
        lambda ring: ring.lookup("client", avoid={"c"}.__contains__),
        lambda ring: ring.preference("client"),
        lambda ring: ring.bounded("client", {"a": 5, "b": 5, "c": 9}.__getitem__, 125),
        sorted,
    ],
    ids=["hash", "lookup", "skip", "avoid", "preference", "bounded", "iter"],
)
def test_a_change_at_any_moment_of_a_look_up_is_seen_whole_or_not_at_all(
    pool: dict[str, int], look_up: Callable[[HashRing[str]], object]
) -> None:
    possible = [look_up(HashRing(SMALL)), look_up(HashRing(LARGE))]
    untouched = HashRing(pool)
    instructions = interrupted(lambda: look_up(untouched), nobody)
    for at in range(1, instructions + 1):
        ring = HashRing(pool)
        change = partial(ring.add, "c", 3) if pool is SMALL else partial(ring.remove, "c")
        seen: list[object] = []
        interrupted(
            lambda: seen.append(look_up(ring)),  # noqa: B023 -- called in this very turn
            lambda passed: passed == at and change(),  # noqa: B023
        )
        assert seen[0] in possible


def everything(ring: HashRing[str]) -> list[object]:
    return [[ring.preference(number), ring.lookup(number)] for number in range(8)] + [ring.weights]


@pytest.mark.parametrize(
    "change",
    [
        lambda ring: ring.add("d", 2),
        lambda ring: ring.remove("c"),
        lambda ring: ring.reweight("c", 1),
        lambda ring: ring.reweight("c", 4),
    ],
    ids=["add", "remove", "lighter", "heavier"],
)
def test_a_look_up_at_any_moment_of_a_change_sees_it_whole_or_not_at_all(
    change: Callable[[HashRing[str]], object],
) -> None:
    ring, after = HashRing(LARGE), HashRing(LARGE)
    change(after)
    seen: list[list[object]] = []
    interrupted(lambda: change(ring), lambda _: seen.append(everything(ring)))
    old = seen.count(everything(HashRing(LARGE)))
    assert old > 50
    assert seen == seen[:1] * old + [everything(after)] * (len(seen) - old)


@contextmanager
def frequent_switches() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_look_ups_during_changes_see_a_whole_ring() -> None:
    """One thread goes round four rings; whatever the others see is one of the four."""
    rings = [
        HashRing(pool)
        for pool in (
            {"a": 1, "b": 1, "c": 1},
            {"a": 1, "c": 1},
            {"a": 1, "c": 9},
            {"a": 1, "c": 9, "b": 1},
        )
    ]
    clients = [f"client-{number}" for number in range(50)]
    orders = {key: [ring.preference(key) for ring in rings] for key in clients}
    ring = HashRing(rings[0].weights)
    start = threading.Barrier(4)

    def change() -> None:
        start.wait()
        for _ in range(100):
            ring.remove("b")
            ring.reweight("c", 9)
            ring.add("b")
            ring.reweight("c", 1)

    def look_up() -> None:
        start.wait()
        for _ in range(15):
            for key, possible in orders.items():
                assert ring.lookup(key) in [order[0] for order in possible]
                assert ring.preference(key) in possible
                down = {"a"}
                assert ring.lookup(key, skip=down.__contains__) in [
                    next(name for name in order if name != "a") for order in possible
                ]
                assert ring.weights in [known.weights for known in rings]

    with frequent_switches(), ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(change), *(threads.submit(look_up) for _ in range(3))]
        for future in futures:
            future.result()
    ring._check()
