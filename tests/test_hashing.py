"""The policies that hash against HAProxy's answers, and what they promise."""

from __future__ import annotations

import json
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import models
from dsbalance.candidates import Candidates
from dsbalance.hashing import SourceConsistent, SourceMap
from dsbalance.hashring import HashRing
from dsbalance.model import Backend, Balance, HashKind, HashType, Server
from dsbalance.policy import built_in
from offers import addresses, client, name_of, pools, server

GOLDEN = json.loads(
    (Path(__file__).parent / "data" / "haproxy-balance-source.json").read_text(encoding="utf-8")
)


@pytest.mark.parametrize("scenario", GOLDEN["scenarios"], ids=lambda scenario: scenario["title"])
def test_source_chooses_what_haproxy_chooses(scenario: dict[str, Any]) -> None:
    servers = [
        server(s["name"], id=s["id"], weight=s["weight"], backup=s["backup"])
        for s in scenario["servers"]
    ]
    ids = Candidates(servers).ids
    usable = [s for s in servers if s.name not in scenario["down"] and s.weight]
    active = [s for s in usable if not s.backup]
    backups = usable if scenario["allbackups"] else usable[:1]
    kind, _, function = scenario["hash_type"].partition(" ")
    policy = built_in(
        Backend(
            name="x",
            balance=Balance.SOURCE,
            hash_type=HashType(kind=HashKind(kind), avalanche=False if function else None),
        )
    )
    offered = Candidates(
        active or backups,
        ids=ids,
        weights=[s.weight for s in servers],
        is_backup=not active,
    )
    picks = {
        source: name_of(policy.choose(client(source), offered, None))
        for source in scenario["picks"]
    }
    assert picks == scenario["picks"]


@given(pools, st.lists(addresses, min_size=1, max_size=20), st.data())
def test_losing_a_server_moves_its_clients_and_no_others(
    pool: tuple[Server, ...], sources: list[str], data: st.DataObject
) -> None:
    policy = SourceConsistent()
    lost = data.draw(st.sampled_from(pool))
    whole = Candidates(pool)
    rest = Candidates([s for s in pool if s != lost], ids=whole.ids)
    before = {source: policy.choose(client(source), whole, None) for source in sources}
    for source, owner in before.items():
        now = policy.choose(client(source), rest, None)
        assert now != lost if owner == lost else now == owner
    assert before == {source: policy.choose(client(source), whole, None) for source in sources}


def test_a_server_that_comes_back_with_another_id_is_placed_anew() -> None:
    pool = [server("a"), server("b"), server("c")]
    policy = SourceConsistent()
    sources = [f"10.0.0.{n}" for n in range(200)]
    for ids in ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 7, "c": 3}):
        ring = HashRing(ids.keys(), identify=ids.__getitem__)
        offered = Candidates(pool, ids=ids)
        for source in sources:
            owner = ring.lookup(ip_address(source))
            assert name_of(policy.choose(client(source), offered, None)) == owner


@pytest.mark.parametrize("names", ["abc", "ab"])
def test_a_server_that_comes_back_stands_behind_those_who_share_its_places(names: str) -> None:
    # Ids that are equal modulo 2^20 have the same nodes.
    ids = {"a": 1, "b": 1 + 2**20, "c": 2}
    pool = [server(name, id=ids[name]) for name in names]
    policy = SourceConsistent(is_mixed=False)
    shared = client(str(IPv4Address(models.mixed(4096))))
    owners = [
        name_of(policy.choose(shared, Candidates(usable, ids=ids), None))
        for usable in (pool, pool[1:], pool)
    ]
    assert owners == ["a", "b", "b"]


def test_a_server_whose_weight_is_above_all_before_stands_behind_those_who_share_its_places() -> (
    None
):
    # Observed on HAProxy 2.6.12.
    ids = {"a": 1, "b": 1 + 2**20, "c": 2}
    policy = SourceConsistent(is_mixed=False)
    shared = client(str(IPv4Address(models.mixed(4096))))

    def owner(weight: int) -> str | None:
        pool = [server("a", weight=weight), server("b"), server("c")]
        return name_of(policy.choose(shared, Candidates(pool, ids=ids), None))

    assert [owner(3), owner(1), owner(3)] == ["a", "a", "a"]
    assert [owner(4), owner(1)] == ["b", "b"]


def test_a_redispatch_over_the_ring_goes_to_another_server_and_back() -> None:
    offered = Candidates([server("a"), server("b"), server("c")])
    policy = SourceConsistent()
    first = policy.choose(client(), offered, None)
    second = policy.choose(client(), offered, first)
    assert first != second
    # Only the last server is remembered, so that two dead servers are tried in turn.
    assert policy.choose(client(), offered, second) == first


def test_source_chooses_the_only_server_even_to_avoid_it_and_none_from_nobody() -> None:
    only = server("a")
    policy = SourceConsistent()
    assert policy.choose(client(), Candidates([only]), only) is only
    assert policy.choose(client(), Candidates([]), None) is None
    assert SourceMap().choose(client(), Candidates([]), None) is None


def test_a_map_gives_the_same_server_to_avoid_it_or_not() -> None:
    offered = Candidates([server("a"), server("b")])
    policy = SourceMap(is_mixed=True)
    chosen = policy.choose(client(), offered, None)
    assert policy.choose(client(), offered, chosen) is chosen
