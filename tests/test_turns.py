"""The policies that take turns: their shares and their order."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.candidates import Candidates
from dsbalance.model import Server
from dsbalance.turns import RoundRobin, StaticRoundRobin
from offers import (
    FakeLoad,
    answers,
    assert_fit,
    client,
    names,
    offer,
    pools,
    server,
    situations,
)

# --- roundrobin ----------------------------------------------------------------------------------


@given(pools)
@example((server("a", weight=11), server("b", weight=7), server("c", weight=4), server("d")))
def test_round_robin_gives_each_its_share_of_a_round_but_for_one(pool: tuple[Server, ...]) -> None:
    policy = RoundRobin()
    offered = Candidates(pool)
    # A round has a turn for each sixteenth of weight. HAProxy, too, gives some servers one turn
    # more or less than that, the same ones in each round.
    for _ in range(2):
        turns = Counter(answers(policy, offered, 16 * sum(s.weight for s in pool)))
        policy.check()
        assert all(abs(turns[s.name] - 16 * s.weight) <= 1 for s in pool)


@pytest.mark.parametrize(
    ("weights", "turns"),
    [
        # The first two as observed on HAProxy 2.6.12; the shares of the others are the manual's.
        ((1, 1, 1), "abcabcabc"),
        ((2, 3, 7), "ccbcacbcccba" * 2),
        ((5, 1, 1), "aaabaac"),
    ],
)
def test_round_robin_spreads_the_turns_of_a_heavy_server(
    weights: tuple[int, ...], turns: str
) -> None:
    offered = offer(*(server(n, weight=w) for n, w in zip("abc", weights, strict=True)))
    assert answers(RoundRobin(), offered, len(turns)) == turns


@given(situations)
def test_round_robin_chooses_whoever_fits(
    history: list[tuple[set[str], set[str], str]],
) -> None:
    policy = RoundRobin()
    assert_fit(policy, history)
    policy.check()


def test_a_full_server_loses_its_turn() -> None:
    policy = RoundRobin()
    pool = [server(name, maxconn=1) for name in "abc"]
    idle, busy = offer(*pool), FakeLoad(sessions=1)
    assert answers(policy, idle, 4) == "abca"
    assert answers(policy, offer(*pool, b=busy), 3) == "cac"
    # Who was passed over twice is not owed two turns.
    assert answers(policy, idle, 6) == "abcabc"


@pytest.mark.parametrize(("looks", "turns"), [("", "cabcab"), ("-", "bacbac")])
def test_who_finds_nobody_with_room_has_moved_the_turns_on(looks: str, turns: str) -> None:
    pool = [server(name, maxconn=1) for name in "abc"]
    policy = RoundRobin()
    idle, full = offer(*pool), offer(*pool, **{name: FakeLoad(sessions=1) for name in "abc"})
    assert answers(policy, idle, 2) == "ab"
    assert answers(policy, full, len(looks)) == looks
    policy.check()
    assert answers(policy, idle, 6) == turns


def test_the_server_to_avoid_is_taken_if_all_others_are_full() -> None:
    a, b, c = (server(name, maxconn=1) for name in "abc")
    busy = FakeLoad(sessions=1)
    policy = RoundRobin()
    assert answers(policy, offer(a, b, c), 2, avoid="a") == "bc"
    assert answers(policy, offer(a, b, c, a=busy, c=busy), 1, avoid="b") == "b"
    assert answers(policy, offer(a, b, c, a=busy, b=busy, c=busy), 1, avoid="b") == "-"


def test_round_robin_begins_when_the_first_server_comes() -> None:
    policy = RoundRobin()
    nobody = Candidates([])
    policy.adapt(nobody)
    assert policy.choose(client(), nobody, None) is None
    assert answers(policy, offer(server("a")), 2) == "aa"
    assert answers(policy, nobody, 1) == "-"
    policy.check()
    assert sorted(answers(policy, offer(server("a"), server("b")), 4)) == list("aabb")


def test_a_weight_counts_from_the_next_turn_on() -> None:
    policy = RoundRobin()
    a, b = server("a"), server("b")
    assert answers(policy, offer(a, b), 3) == "aba"
    turns = answers(policy, offer(a, server("b", weight=3)), 64)
    policy.check()
    assert abs(turns.count("b") - 48) <= 1
    turns = answers(policy, offer(a, b), 32)
    policy.check()
    assert abs(turns.count("b") - 16) <= 1


def test_a_server_that_starts_slowly_has_parts_of_a_turn() -> None:
    policy = RoundRobin()
    starting = FakeLoad()
    starting.share = 4
    offered = offer(server("a"), server("b"), b=starting)
    turns = answers(policy, offered, 2 * (16 + 4))
    assert turns.count("b") == 8
    starting.share = 16
    turns = answers(policy, offer(server("a"), server("b"), b=starting), 32)
    policy.check()
    assert abs(turns.count("b") - 16) <= 1


def test_a_server_that_goes_and_comes_back_goes_on_with_what_was_left_over() -> None:
    a, b, c = (server(n, weight=w) for n, w in zip("abc", (3, 5, 7), strict=True))
    whole = offer(a, b, c)
    loads = {name: FakeLoad() for name in "abc"}
    for each in (a, b, c):
        loads[each.name].share = 16 * each.weight
    known, unknown = Candidates([a, b], loads=loads), offer(a, b)
    orders = set()
    for rest in (known, unknown):
        policy = RoundRobin()
        orders.add(
            answers(policy, whole, 10) + answers(policy, rest, 3) + answers(policy, whole, 30)
        )
        policy.check()
    # A server that was removed, unlike one that went down, begins anew under its name.
    assert len(orders) == 2


@given(
    st.lists(st.tuples(st.dictionaries(names, st.integers(1, 40), max_size=4), st.integers(1, 20)))
)
def test_round_robin_survives_whatever_comes_and_goes(
    history: list[tuple[dict[str, int], int]],
) -> None:
    policy = RoundRobin()
    for weights, count in history:
        offered = offer(*(server(name, weight=weight) for name, weight in weights.items()))
        policy.adapt(offered)
        policy.check()
        assert set(answers(policy, offered, count)) <= set(weights or "-")
        policy.check()


# --- static-rr -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "turns"),
    [((1, 1, 1), "abcabc"), ((2, 3, 7), "acbcbccacbcc"), ((2, 2, 2), "abcabc")],
)
def test_static_round_robin_walks_through_the_slots(weights: tuple[int, ...], turns: str) -> None:
    offered = offer(*(server(n, weight=w) for n, w in zip("abc", weights, strict=True)))
    assert answers(StaticRoundRobin(), offered, len(turns)) == turns


@given(pools)
def test_static_round_robin_gives_each_its_share_in_every_round(pool: tuple[Server, ...]) -> None:
    policy = StaticRoundRobin()
    total = sum(s.weight for s in pool)
    for _ in range(3):
        turns = Counter(answers(policy, Candidates(pool), total))
        assert turns == {s.name: s.weight for s in pool}


@given(situations)
def test_static_round_robin_chooses_whoever_fits(
    history: list[tuple[set[str], set[str], str]],
) -> None:
    assert_fit(StaticRoundRobin(), history)


def test_the_walk_goes_on_behind_whoever_was_chosen() -> None:
    pool = [server(name, maxconn=1) for name in "abcd"]
    policy = StaticRoundRobin()
    busy = FakeLoad(sessions=1)
    assert answers(policy, offer(*pool, a=busy), 2) == "bc"
    assert answers(policy, offer(*pool), 2, avoid="d") == "ab"
    assert answers(policy, offer(*pool, a=busy, b=busy, d=busy), 1, avoid="c") == "c"
    assert answers(policy, offer(*pool), 2) == "da"


def test_the_walk_goes_on_where_it_was_when_the_table_is_filled_anew() -> None:
    policy = StaticRoundRobin()
    pool = [server(name) for name in "abcd"]
    assert answers(policy, offer(*pool), 2) == "ab"
    # The third slot is another one's now.
    assert answers(policy, offer(*pool[1:]), 1) == "d"
    assert answers(policy, offer(*pool), 2) == "da"
    # It is behind the end of a table that has become shorter.
    assert answers(policy, offer(*pool), 2) == "bc"
    assert answers(policy, offer(*pool[:2]), 3) == "aba"


@pytest.mark.parametrize(("looks", "chosen"), [("", "c"), ("-", "b")])
def test_who_finds_nobody_at_the_end_of_the_table_has_brought_the_walk_to_its_beginning(
    looks: str, chosen: str
) -> None:
    # Observed on HAProxy 2.6.12; it shows when the table is longer the next time.
    policy = StaticRoundRobin()
    a, b, c = (server(name, maxconn=1) for name in "abc")
    full = FakeLoad(sessions=1)
    assert answers(policy, offer(a, b), 2) == "ab"
    assert answers(policy, offer(a, b, a=full, b=full), len(looks)) == looks
    assert answers(policy, offer(a, b, c, a=full), 1) == chosen


def test_nobody_has_no_slot() -> None:
    assert StaticRoundRobin().choose(client(), Candidates([]), None) is None


def test_who_is_away_while_others_come_and_go_is_one_who_comes_back() -> None:
    policy = RoundRobin()
    servers = [server("a", weight=3), server("b", weight=2), server("c")]
    loads = {each.name: FakeLoad() for each in servers}
    for each in servers:
        loads[each.name].share = 16 * each.weight
    for present in ("abc", "bc", "b", "abc"):
        offered = Candidates([s for s in servers if s.name in present], loads=loads)
        policy.adapt(offered)
        policy.check()
        for _ in range(4):
            chosen = policy.choose(client(), offered, None)
            assert chosen in offered
            policy.check()
