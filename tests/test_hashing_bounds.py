"""Whoever has more than its share is passed over: of sessions, or of clients."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.candidates import Candidates, Reason
from dsbalance.hashing import SourceConsistent, crowded, loaded
from dsbalance.hashring import source_hash
from dsbalance.model import Server
from offers import FakeLoad, addresses, client, name_of, offer, server

POOL = (server("a"), server("b"), server("c"))
numbers_of_three = st.lists(st.integers(0, 12), min_size=3, max_size=3)
weights_of_three = st.lists(st.integers(1, 5), min_size=3, max_size=3)


def carrying(sessions: list[int], weights: tuple[int, ...] | list[int] = (1, 1, 1)) -> Candidates:
    pool = [server(name, weight=weight) for name, weight in zip("abc", weights, strict=True)]
    return offer(*pool, **dict(zip("abc", map(FakeLoad, sessions), strict=True)))


def remembering(clients: Mapping[str, int], *pool: Server) -> Candidates:
    loads = {each.name: FakeLoad() for each in pool}
    for each in pool:
        loads[each.name].share = 16 * each.weight
    return Candidates(pool, loads=loads, clients=clients.__getitem__)


# --- sessions: hash-balance-factor ---------------------------------------------------------------


@given(addresses, numbers_of_three, weights_of_three, st.integers(101, 300))
def test_the_next_server_upwards_that_is_not_overloaded_takes_the_client(
    source: str, sessions: list[int], weights: list[int], factor: int
) -> None:
    offered = carrying(sessions, weights)
    policy, plain = SourceConsistent(factor=factor), SourceConsistent()
    owner = name_of(plain.choose(client(source), offered, None))
    chosen = name_of(policy.choose(client(source), offered, None))
    refused = policy.refused(offered)
    assert refused == loaded(offered, factor)
    assert chosen not in refused
    if owner in refused:
        assert str(policy.reason) == "bounded"
        unmixed = source_hash(client(source).packed)
        assert chosen == policy.ring.lookup(unmixed, avoid=refused.__contains__)
    else:
        assert (chosen, policy.reason) == (owner, Reason.HASH)


@given(numbers_of_three, weights_of_three, st.integers(101, 300))
def test_somebody_always_has_room(sessions: list[int], weights: list[int], factor: int) -> None:
    assert len(loaded(carrying(sessions, weights), factor)) < 3


def test_the_reason_is_the_hash_again_when_nobody_is_passed_over() -> None:
    policy = SourceConsistent(factor=125)
    idle = carrying([0, 0, 0])
    owner = name_of(policy.choose(client(), idle, None))
    assert str(policy.reason) == "hash"
    busy = carrying([9 * (name == owner) for name in "abc"])
    assert name_of(policy.choose(client(), busy, None)) != owner
    assert str(policy.reason) == "bounded"
    assert name_of(policy.choose(client(), idle, None)) == owner
    assert str(policy.reason) == "hash"


def test_a_redispatch_says_whether_it_passed_over_somebody_else_than_the_failed_server() -> None:
    policy = SourceConsistent(factor=125)
    first = policy.choose(client(), carrying([0, 0, 0]), None)
    second = policy.choose(client(), carrying([0, 0, 0]), first)
    assert first is not None
    assert second not in (None, first)
    assert str(policy.reason) == "hash"
    # The owner failed, whatever it has.
    busy = carrying([9 * (name == first.name) for name in "abc"])
    assert policy.choose(client(), busy, first) == second
    assert str(policy.reason) == "hash"
    # The owner has too much, and whoever was chosen in its place failed.
    third = policy.choose(client(), busy, second)
    assert third not in (first, second)
    assert str(policy.reason) == "bounded"


def test_a_part_of_a_session_is_shared_out_by_the_sums_of_the_start() -> None:
    # Observed on HAProxy 2.6.12: what stood before a server is not counted anew when one goes.
    _, b, c = POOL
    now, start = offer(b, c, b=FakeLoad(1), c=FakeLoad(2)), {"b": 16, "c": 32}
    assert loaded(now, 125) == set()
    loads = {"b": FakeLoad(1), "c": FakeLoad(2)}
    for name, load in loads.items():
        load.share, load.before = 16, start[name]
    assert loaded(Candidates([b, c], loads=loads), 125) == {"c"}


def test_sessions_at_servers_that_nobody_may_choose_count() -> None:
    a, b, c = POOL
    loads = {"a": FakeLoad(7), "b": FakeLoad(2), "c": FakeLoad(0)}
    for load in loads.values():
        load.share = 16
    assert loaded(Candidates([b, c], loads={n: loads[n] for n in "bc"}), 125) == {"b"}
    assert loaded(Candidates([b, c], loads=loads), 125) == set()
    assert a.name in loads


def test_one_server_alone_is_chosen_whatever_it_has() -> None:
    policy = SourceConsistent(factor=101)
    offered = offer(server("a"), a=FakeLoad(99))
    assert name_of(policy.choose(client(), offered, None)) == "a"
    assert str(policy.reason) == "hash"


def test_where_nobody_else_is_left_the_highest_node_decides_as_in_haproxy() -> None:
    policy = SourceConsistent(factor=125)
    offered = offer(server("a"), server("b"), a=FakeLoad(9), b=FakeLoad(0))
    policy.adapt(offered)
    highest = policy.ring.neighbours(0)[0].member
    for last in range(20):
        # One has too much, and the other one has just failed.
        chosen = policy.choose(client(f"10.0.0.{last}"), offered, server("b"))
        assert name_of(chosen) == highest


# --- clients: bounded-clients --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clients", "weights", "bound", "names"),
    [
        ((0, 0, 0), (1, 1, 1), 125, ""),
        ((1, 0, 0), (1, 1, 1), 125, "a"),
        ((1, 1, 0), (1, 1, 1), 125, "ab"),
        ((1, 1, 1), (1, 1, 1), 125, ""),
        ((2, 1, 1), (1, 1, 1), 125, "a"),
        ((2, 1, 1), (1, 1, 1), 150, ""),
        ((2, 1, 1), (2, 1, 1), 101, ""),
        ((3, 1, 1), (2, 1, 1), 101, "a"),
    ],
)
def test_whoever_has_more_clients_than_its_share_allows_is_crowded(
    clients: tuple[int, ...], weights: tuple[int, ...], bound: int, names: str
) -> None:
    pool = [server(n, weight=w) for n, w in zip("abc", weights, strict=True)]
    offered = remembering(dict(zip("abc", clients, strict=True)), *pool)
    assert crowded(offered, bound) == set(names)


@given(numbers_of_three, weights_of_three, st.integers(101, 300))
def test_not_all_are_crowded(clients: list[int], weights: list[int], bound: int) -> None:
    pool = [server(n, weight=w) for n, w in zip("abc", weights, strict=True)]
    assert len(crowded(remembering(dict(zip("abc", clients, strict=True)), *pool), bound)) < 3


@given(st.lists(addresses, min_size=3, max_size=40, unique=True), st.integers(101, 149))
def test_nobody_is_left_without_a_client(sources: list[str], bound: int) -> None:
    clients = {"a": 0, "b": 0, "c": 0}
    offered = remembering(clients, *POOL)
    policy, plain = SourceConsistent(bound=bound), SourceConsistent()
    for count, source in enumerate(sources):
        name = name_of(policy.choose(client(source), offered, None))
        assert name is not None
        passed_over = name != name_of(plain.choose(client(source), offered, None))
        assert (policy.reason is Reason.BOUNDED) is passed_over
        clients[name] += 1
        assert clients[name] <= bound * count / 100 / 3 + 1
    assert min(clients.values()) >= 1


def test_both_bounds_hold_together() -> None:
    clients = {"a": 9, "b": 0, "c": 0}
    loads = {"a": FakeLoad(0), "b": FakeLoad(9), "c": FakeLoad(0)}
    for load in loads.values():
        load.share = 16
    offered = Candidates(POOL, loads=loads, clients=clients.__getitem__)
    policy = SourceConsistent(factor=125, bound=125)
    assert policy.refused(offered) == {"a", "b"}
    for last in range(20):
        assert name_of(policy.choose(client(f"10.0.0.{last}"), offered, None)) == "c"


def test_a_crowded_server_is_better_than_one_that_has_just_failed() -> None:
    offered = remembering({"a": 9, "b": 0}, server("a"), server("b"))
    policy = SourceConsistent(bound=125)
    for last in range(20):
        who = client(f"10.0.0.{last}")
        assert name_of(policy.choose(who, offered, None)) == "b"
        assert name_of(policy.choose(who, offered, server("b"))) == "a"
    assert policy.refused(offered) == {"a"}
    assert policy.refused(offered, server("b")) == {"b"}
