"""The policies that ship against HAProxy's answers and their promises; a user's own, guarded."""

from __future__ import annotations

import json
import sys
import types
from collections import Counter
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import models
from dsbalance.errors import ConfigError
from dsbalance.hashring import HashRing
from dsbalance.model import Backend, Balance, HashKind, HashType, Server
from dsbalance.policy import (
    Candidates,
    Client,
    First,
    Guarded,
    LeastConn,
    Policy,
    Reason,
    RoundRobin,
    SourceConsistent,
    SourceMap,
    built_in,
    guarded,
    load_policy,
    make_policy,
)

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "haproxy-balance-source.json").read_text(encoding="utf-8"))
SEQUENCES = json.loads((DATA / "haproxy-sequences.json").read_text(encoding="utf-8"))


class FakeLoad:
    """So many sessions and so many who wait."""

    def __init__(self, sessions: int = 0, waiting: int = 0, moved: int = 0) -> None:
        self.placements = [None] * sessions
        self.queue = [None] * waiting
        self.moved = moved


def client(address: str = "10.0.0.1") -> Client:
    return Client(address, ip_address(address).packed, 5022)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **settings)


def offer(*servers: Server, **loads: FakeLoad) -> Candidates:
    found = {each.name: loads.get(each.name, FakeLoad()) for each in servers}
    return Candidates(servers, loads=found)


def name_of(chosen: Server | None) -> str | None:
    return None if chosen is None else chosen.name


names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
pools = st.dictionaries(names, st.integers(1, 5), min_size=1).map(
    lambda weights: tuple(server(name, weight=weight) for name, weight in weights.items())
)


# --- candidates ----------------------------------------------------------------------------------


def test_candidates_are_the_servers_in_their_order_and_know_what_they_carry() -> None:
    a, b = server("a", maxconn=2), server("b", weight=3)
    offered = offer(a, b, a=FakeLoad(sessions=1, moved=7))
    assert list(offered) == [a, b]
    assert len(offered) == 2
    assert offered.get("b") is b
    assert offered.weights == (1, 3)
    assert offered.ids == {"a": 1, "b": 2}
    assert (offered.load(a), offered.load(b)) == (1, 0)
    assert offered.moved(a) == 7
    assert "a" in offered
    assert server("a", weight=9) in offered
    assert server("z") not in offered
    assert 7 not in offered
    assert repr(offered) == "<Candidates active: a, b>"
    assert repr(Candidates((), is_backup=True)) == "<Candidates backups: nobody>"
    with pytest.raises(KeyError):
        offered.get("z")


@pytest.mark.parametrize(
    ("maxconn", "sessions", "waiting", "is_full"),
    [(None, 99, 0, False), (2, 1, 0, False), (2, 2, 0, True), (2, 1, 1, True)],
)
def test_a_server_is_full_at_its_maxconn_or_when_somebody_waits_for_it(
    maxconn: int | None, sessions: int, waiting: int, is_full: bool
) -> None:
    a = server("a", maxconn=maxconn)
    offered = offer(a, a=FakeLoad(sessions, waiting))
    assert offered.is_full(a) is is_full
    assert offered.load(a) == sessions + waiting


def test_candidates_of_which_nothing_is_known_carry_nothing() -> None:
    a = server("a", maxconn=1)
    offered = Candidates([a])
    assert (offered.load(a), offered.is_full(a), offered.moved(a)) == (0, False, 0)


# --- source --------------------------------------------------------------------------------------


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


# --- the others ----------------------------------------------------------------------------------


@given(pools)
def test_round_robin_gives_each_its_share_in_every_round(pool: tuple[Server, ...]) -> None:
    policy = RoundRobin()
    offered = Candidates(pool)
    total = sum(s.weight for s in pool)
    for _ in range(3):
        turns = Counter(name_of(policy.choose(client(), offered, None)) for _ in range(total))
        assert turns == {s.name: s.weight for s in pool}


def test_round_robin_of_equal_servers_takes_them_in_their_order() -> None:
    policy = RoundRobin()
    offered = Candidates([server("a"), server("b"), server("c")])
    turns = "".join(str(name_of(policy.choose(client(), offered, None))) for _ in range(9))
    assert turns == "abcabcabc"


def test_round_robin_spreads_the_turns_of_a_heavy_server() -> None:
    policy = RoundRobin()
    offered = Candidates([server("a", weight=5), server("b"), server("c")])
    turns = "".join(str(name_of(policy.choose(client(), offered, None))) for _ in range(7))
    assert turns == "aabacaa"


@pytest.mark.parametrize("policy", [RoundRobin(), LeastConn(), First()])
def test_a_full_server_is_passed_over_and_the_one_to_avoid_is_the_last_resort(
    policy: Policy,
) -> None:
    a, b, c = (server(name, maxconn=1) for name in "abc")
    full = FakeLoad(sessions=1)
    assert policy.choose(client(), offer(a, b, c, a=full, b=full), None) is c
    assert policy.choose(client(), offer(a, b, c, a=full), b) is c
    assert policy.choose(client(), offer(a, b, c, a=full, c=full), b) is b
    assert policy.choose(client(), offer(a, b, c, a=full, b=full, c=full), None) is None
    assert policy.choose(client(), Candidates([]), None) is None


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


# --- making one ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "reason"),
    [
        ({"balance": Balance.ROUNDROBIN}, RoundRobin, Reason.ROUNDROBIN),
        ({"balance": Balance.LEASTCONN}, LeastConn, Reason.LEASTCONN),
        ({"balance": Balance.FIRST}, First, Reason.FIRST),
        ({"balance": Balance.SOURCE}, SourceMap, Reason.HASH),
        (
            {"balance": Balance.SOURCE, "hash_type": HashType(kind=HashKind.CONSISTENT)},
            SourceConsistent,
            Reason.HASH,
        ),
    ],
)
def test_balance_names_the_policy(settings: dict[str, Any], kind: type, reason: Reason) -> None:
    backend = Backend(name="x", **settings)
    policy = make_policy(backend)
    assert type(policy) is kind
    assert built_in(backend).reason is reason
    assert guarded(policy, backend) is policy


class Last:
    """A policy of a user's own."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.servers[-1]


class Given:
    """Returns, or raises, whatever it was given."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> str:
    module = types.ModuleType("plugin_of_a_test")
    vars(module).update(Last=Last, answer=42, Plain=object, nested=types.SimpleNamespace(Last=Last))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.__name__


def test_a_policy_is_loaded_by_its_name(plugin: str) -> None:
    assert isinstance(load_policy(f"{plugin}:Last"), Last)
    assert isinstance(load_policy(f"{plugin}:nested.Last"), Last)
    assert isinstance(make_policy(Backend(name="x", policy=f"{plugin}:Last")), Last)


def test_a_policy_may_be_an_object() -> None:
    policy = Last()
    assert make_policy(Backend(name="x", policy=policy)) is policy


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("no_colon", "policy wants PACKAGE.MODULE:NAME, not 'no_colon'"),
        (":Name", "policy wants"),
        ("module:", "policy wants"),
        ("no.such.module:Name", "ModuleNotFoundError: No module named 'no'"),
        ("plugin_of_a_test:Nobody", "AttributeError"),
        ("plugin_of_a_test:answer", "TypeError"),
        ("plugin_of_a_test:Plain", "there is no method choose"),
    ],
)
def test_a_policy_that_cannot_be_loaded_is_refused_with_a_sentence(
    plugin: str, spec: str, words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        load_policy(spec)
    with pytest.raises(ConfigError, match=f"^backend x: .*{words}"):
        make_policy(Backend(name="x", policy=spec))


def test_an_object_without_choose_is_refused() -> None:
    with pytest.raises(ConfigError, match="backend x: policy 42: there is no method choose"):
        make_policy(Backend(name="x", policy=42))


# --- guarding one --------------------------------------------------------------------------------


def guard(answer: object) -> Guarded:
    policy = guarded(Given(answer), Backend(name="x", balance=Balance.FIRST))
    assert isinstance(policy, Guarded)
    return policy


def test_a_policy_that_behaves_decides_with_its_own_reason() -> None:
    offered = Candidates([server("a"), server("b")])
    policy = guard(offered.get("b"))
    assert name_of(policy.choose(client(), offered, None)) == "b"
    assert policy.reason is Reason.POLICY
    assert guard(None).choose(client(), offered, None) is None
    assert policy.take_complaint() is None


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (ValueError("no idea"), "raised ValueError: no idea"),
        (server("gone"), "chose gone, which is not among <Candidates active: a, b>"),
        ("a", "chose 'a', which is not among"),
        ([], "chose [], which"),
    ],
)
def test_when_a_policy_fails_balance_decides_and_it_is_told_once(
    answer: object, words: str
) -> None:
    offered = Candidates([server("a"), server("b")])
    policy = guard(answer)
    assert name_of(policy.choose(client(), offered, None)) == "a"
    assert policy.reason is Reason.FIRST
    complaint = policy.take_complaint()
    assert complaint is not None
    assert complaint.startswith(f"policy {Given.__module__}.Given {words}")
    assert policy.take_complaint() is None


def test_many_failures_make_one_complaint() -> None:
    policy = guard(KeyError("x"))
    for _ in range(2):
        policy.choose(client(), Candidates([server("a")]), None)
    assert str(policy.take_complaint()).endswith(" raised KeyError: 'x' (2 times)")


def test_a_policy_derived_from_one_that_ships_is_guarded_too() -> None:
    class Mine(LeastConn):
        pass

    assert isinstance(guarded(Mine(), Backend(name="x")), Guarded)


def test_a_policy_that_would_end_the_program_is_refused() -> None:
    with pytest.raises(ConfigError, match="policy sys:exit: SystemExit"):
        load_policy("sys:exit")
