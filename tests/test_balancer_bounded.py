"""``bounded-clients``: few printers on many servers, as the suite's files have them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import Balancer
from dsbalance.model import Balance, HashKind, HashType, Server, StickRule
from dsbalance.policy import Reason
from dsbalance.sticky import StickTable
from dsbalance.words import SrvKey
from routing import client, connect, make, name_of, place

networks = st.integers(0, 2**24 - 1).map(lambda n: f"{n >> 16}.{n >> 8 & 255}.{n & 255}")
printers = st.lists(st.integers(1, 254), min_size=6, max_size=6, unique=True)


def bounded(names: str = "abc", **settings: Any) -> Balancer:
    return make(
        names,
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        stick=(StickRule(),),
        bounded_clients=125,
        **settings,
    )


def spread(balancer: Balancer, sources: list[str]) -> Counter[str]:
    """Return how many clients each server has when all have come and gone."""
    found = Counter(dict.fromkeys(balancer.states, 0))
    for source in sources:
        placement = connect(balancer, client(source))
        found[name_of(placement)] += 1
        balancer.release(placement, 0.0)
    return found


@given(networks, printers)
def test_six_printers_of_one_network_leave_none_of_three_servers_without_a_client(
    network: str, last: list[int]
) -> None:
    assert min(spread(bounded(), [f"{network}.{n}" for n in last]).values()) >= 1


@given(networks, printers)
def test_a_printer_stays_where_it_is_however_many_come(network: str, last: list[int]) -> None:
    balancer = bounded()
    sources = [f"{network}.{n}" for n in last]
    before = {source: name_of(connect(balancer, client(source))) for source in sources}
    for source, name in before.items():
        again = place(balancer, client(source))
        assert (name_of(again), again.reason) == (name, Reason.STICKY)


@given(networks, printers)
def test_a_server_that_comes_back_gets_the_next_new_printers(network: str, last: list[int]) -> None:
    balancer = bounded()
    balancer.check_failed("b", 0.0)
    assert spread(balancer, [f"{network}.{n}" for n in last[:4]])["b"] == 0
    balancer.check_passed("b", 1.0)
    # All others have more than their share.
    assert spread(balancer, [f"{network}.{last[4]}"]) == {"a": 0, "b": 1, "c": 0}


def test_without_the_bound_a_server_may_have_none() -> None:
    sources = [f"10.1.0.{n}" for n in range(1, 7)]
    unbounded = make(balance=Balance.SOURCE, hash_type=HashType(kind=HashKind.CONSISTENT))
    assert max(spread(unbounded, sources).values()) >= 3
    assert max(spread(bounded(), sources).values()) <= 3


@pytest.mark.parametrize("srvkey", SrvKey)
def test_clients_are_counted_by_whatever_the_table_calls_a_server(srvkey: SrvKey) -> None:
    table = StickTable(size=100, srvkey=srvkey)
    pool = [
        Server(name=name, host=f"192.0.2.{number}", port=9) for number, name in enumerate("abc", 1)
    ]
    balancer = make(
        pool,
        table=table,
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        stick=(StickRule(),),
        bounded_clients=125,
    )
    assert min(spread(balancer, [f"10.1.0.{n}" for n in range(1, 7)]).values()) >= 1


def test_who_is_passed_over_says_so() -> None:
    balancer = bounded("ab")
    reasons = set()
    for last in range(1, 20):
        placement = connect(balancer, client(f"10.1.0.{last}"))
        assert placement.reason is balancer.policy.reason
        reasons.add(placement.reason)
    assert reasons == {Reason.HASH, Reason.BOUNDED}
