"""Where a server stands on the ring by its hash-key, and what its share there is."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from dsbalance.candidates import Candidates
from dsbalance.hashing import SourceConsistent, SourceMap, node_start
from dsbalance.hashring import avalanche, source_hash
from dsbalance.model import HashKey, Server
from offers import FakeLoad, addresses, client, name_of, offer, pools, server

# The avalanche of 0, 1 and 0x7f000001, as HAProxy has them.
MIXED_0, MIXED_1, MIXED_7F000001 = 0xAB4ED927, 0x348681B6, 0x8A1B584B


def at(host: str, **settings: Any) -> Server:
    return Server(name="s", host=host, **settings)


@pytest.mark.parametrize(
    ("placed", "number", "start"),
    [
        (at("1.0.0.127"), 3, 3 * 4096),
        (at("1.0.0.127", hash_key=HashKey.ID), 3, 3 * 4096),
        # Of an id the bytes are turned round, of an address too.
        (at("1.0.0.127", hash_key=HashKey.ID32), 0x0100_0000, MIXED_1),
        (at("1.0.0.127", hash_key=HashKey.ADDR), 3, MIXED_7F000001),
        (at("1.0.0.127", port=9, hash_key=HashKey.ADDR), 3, MIXED_7F000001),
        (at("0.0.0.0", port=1, hash_key=HashKey.ADDR_PORT), 3, avalanche(MIXED_1)),
        (at("1.0.0.0", port=1, hash_key=HashKey.ADDR_PORT), 3, avalanche(MIXED_1 + 1)),
        (at("0.0.0.0", hash_key=HashKey.ADDR_PORT), 3, avalanche(MIXED_0)),
        # The sum is of 32 bits.
        (at("255.255.255.255", port=1, hash_key=HashKey.ADDR_PORT), 3, avalanche(MIXED_1 - 1)),
        (at("::", hash_key=HashKey.ADDR), 3, 0x8E02_2B3A),
        (at("::", port=1, hash_key=HashKey.ADDR_PORT), 3, models.xxh32(bytes(16), MIXED_1)),
        (at("1.0.0.127", hash_key=HashKey.GUID, guid="g-a"), 3, 0x32F3_5409),
        # What is not there is not hashed.
        (at("1.0.0.127", hash_key=HashKey.GUID), 3, 3 * 4096),
        (at("app.example", hash_key=HashKey.ADDR), 3, 3 * 4096),
        (at("app.example", port=9, hash_key=HashKey.ADDR_PORT), 3, 3 * 4096),
    ],
)
def test_the_key_says_where_the_nodes_of_a_server_begin(
    placed: Server, number: int, start: int
) -> None:
    assert node_start(placed, number) == start


@given(addresses, st.integers(1, 65535), st.integers(1, 2**31 - 1), st.sampled_from(list(HashKey)))
def test_where_the_nodes_begin_is_the_models(host: str, port: int, number: int, key: str) -> None:
    placed = at(host, port=port, hash_key=HashKey(key), guid="some-guid")
    expected = models.base_of(key, number, ip_address(host), port, "some-guid")
    assert node_start(placed, number) % 2**32 == expected


def test_servers_are_placed_by_their_keys_and_not_by_their_order() -> None:
    hosts = {"a": "192.0.2.1", "b": "192.0.2.2", "c": "192.0.2.3"}
    pool = [Server(name=n, host=host, hash_key=HashKey.ADDR) for n, host in hosts.items()]
    sources = [client(f"10.0.0.{n}") for n in range(100)]

    def owners(servers: list[Server]) -> list[str | None]:
        policy, offered = SourceConsistent(), Candidates(servers)
        return [name_of(policy.choose(source, offered, None)) for source in sources]

    assert owners(pool) == owners(pool[::-1])
    assert owners(pool) != owners([server(name) for name in hosts])


def test_a_server_that_gets_another_address_is_placed_anew() -> None:
    pool = [at("192.0.2.1", hash_key=HashKey.ADDR), server("t")]
    moved = [at("192.0.2.7", hash_key=HashKey.ADDR), server("t")]
    policy, other = SourceConsistent(), SourceConsistent()
    for offered in (Candidates(pool), Candidates(moved)):
        policy.adapt(offered)
        policy.check()
    other.adapt(Candidates(moved))
    assert [policy.ring.preference(key) for key in range(50)] == [
        other.ring.preference(key) for key in range(50)
    ]


# --- what a policy shows -------------------------------------------------------------------------


@given(addresses, st.booleans())
def test_a_client_is_where_the_policy_says_that_its_hash_is(source: str, is_mixed: bool) -> None:
    offered = offer(server("a", weight=2), server("b"), server("c"))
    who = client(source)
    value = source_hash(who.packed)
    for policy in (SourceConsistent(is_mixed=is_mixed), SourceMap(is_mixed=is_mixed)):
        assert policy.hash_of(who) == (avalanche(value) if is_mixed else value)
        chosen = name_of(policy.choose(who, offered, None))
        if isinstance(policy, SourceConsistent):
            assert chosen == policy.ring.lookup_hash(policy.hash_of(who))
        else:
            assert chosen == policy.slots[policy.hash_of(who) % len(policy.slots)]


def test_a_map_that_loses_a_server_is_filled_anew() -> None:
    policy = SourceMap()
    a, b, c = server("a", weight=2), server("b", weight=4), server("c", weight=2)
    policy.adapt(Candidates([a, b, c]))
    assert sorted(policy.slots) == list("abbc")
    policy.adapt(Candidates([a, c], weights=[2, 4, 2]))
    assert sorted(policy.slots) == list("ac")


# --- parts of a weight ---------------------------------------------------------------------------


@given(pools, st.integers(1, 79), st.lists(addresses, min_size=1, max_size=20))
def test_a_share_moves_clients_in_its_own_direction_only(
    pool: tuple[Server, ...], share: int, sources: list[str]
) -> None:
    first = pool[0]
    slow = FakeLoad()
    slow.share = share
    policy = SourceConsistent()
    whole, partly = offer(*pool), offer(*pool, **{first.name: slow})
    clients = [client(source) for source in sources]
    before = [name_of(policy.choose(who, whole, None)) for who in clients]
    now = [name_of(policy.choose(who, partly, None)) for who in clients]
    policy.check()
    assert policy.ring.weights[first.name] == share
    grows = share > 16 * first.weight
    for old, new in zip(before, now, strict=True):
        assert old == new or (new if grows else old) == first.name
    assert [name_of(policy.choose(who, whole, None)) for who in clients] == before
