"""The policies that ask what the servers carry."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import models
from dsbalance.candidates import Candidates, Policy
from dsbalance.loads import First, LeastConn
from offers import FakeLoad, answers, assert_fit, client, name_of, offer, server, situations


@pytest.mark.parametrize("policy", [LeastConn(), First()])
@given(situations)
def test_somebody_with_room_is_chosen_and_the_one_to_avoid_is_the_last_resort(
    policy: Policy, history: list[tuple[set[str], set[str], str]]
) -> None:
    assert_fit(policy, history)


@pytest.mark.parametrize("policy", [LeastConn(), First()])
def test_nobody_is_chosen_from_nobody_and_nothing_is_kept(policy: LeastConn | First) -> None:
    nobody = Candidates([])
    assert policy.choose(client(), nobody, None) is None
    policy.adapt(nobody)
    assert answers(policy, offer(server("a"), server("b")), 1) == "a"


@pytest.mark.parametrize("policy", [LeastConn(), First()])
def test_a_server_is_full_at_the_limit_of_the_moment(policy: Policy) -> None:
    # Of 9 sessions it may have 2 now: it starts slowly, or the backend has few.
    a, b = server("a", maxconn=9), server("b", maxconn=9)
    loads = {"a": FakeLoad(2, limit=2), "b": FakeLoad(3, limit=4)}
    assert answers(policy, offer(a, b, **loads), 1) == "b"


@pytest.mark.parametrize(
    ("maxqueue", "waiting", "chosen"),
    [(None, 0, "b"), (2, 0, "a"), (2, 1, "a"), (2, 2, "b"), (1, 1, "b")],
)
def test_least_conn_takes_a_full_server_until_its_queue_is_full_too(
    maxqueue: int | None, waiting: int, chosen: str
) -> None:
    # Observed on HAProxy 2.6.12; the others do not look at `maxqueue`.
    a, b = server("a", maxconn=1, maxqueue=maxqueue), server("b")
    full = FakeLoad(1, waiting)
    full.moved_load = 1
    offered = offer(a, b, a=full, b=FakeLoad(2))
    assert answers(LeastConn(), offered, 1) == chosen
    assert answers(First(), offered, 1) == "b"


@pytest.mark.parametrize(
    ("a", "b", "chosen"),
    [
        (FakeLoad(1), FakeLoad(0), "b"),
        (FakeLoad(3), FakeLoad(9), "a"),
        (FakeLoad(2), FakeLoad(5), "a"),
        (FakeLoad(2), FakeLoad(3), "b"),
        (FakeLoad(0, moved=5), FakeLoad(0, moved=4), "b"),
        (FakeLoad(0, moved=4), FakeLoad(0, moved=4), "a"),
        (FakeLoad(1), FakeLoad(0, waiting=4), "a"),
    ],
)
def test_least_conn_weighs_sessions_and_takes_equals_in_turn(
    a: FakeLoad, b: FakeLoad, chosen: str
) -> None:
    offered = offer(server("a"), server("b", weight=2), a=a, b=b)
    assert name_of(LeastConn().choose(client(), offered, None)) == chosen


@given(st.lists(st.tuples(st.integers(1, 256), st.integers(0, 300)), min_size=2, max_size=4))
# 254 for each unit of weight, rounded down, are fewer than 255.
@example([(255, 253), (256, 254)])
def test_least_conn_rounds_as_haproxy_does(weights_and_loads: list[tuple[int, int]]) -> None:
    model = models.LeastConn()
    seen, offered, loads = [], [], {}
    for name, (weight, load) in zip("abcd", weights_and_loads, strict=False):
        seen.append(models.Server(name=name, weight=weight, sessions=load))
        offered.append(server(name, weight=weight))
        # The last one is the first in line.
        loads[name] = FakeLoad(load, moved=-ord(name))
        model.line.insert(0, name)
    expected = model.choose(client().packed, models.Offer(seen, []))
    assert name_of(LeastConn().choose(client(), offer(*offered, **loads), None)) == expected


def test_first_goes_by_the_id_and_not_by_the_place() -> None:
    offered = Candidates([server("a", id=9), server("b", id=2), server("c", id=5)])
    assert name_of(First().choose(client(), offered, None)) == "b"
