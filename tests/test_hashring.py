"""The ring against HAProxy's own answers, an independent model, and what it promises."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import models
from dsbalance import hashring
from dsbalance.hashring import (
    HashRing,
    assign_ids,
    avalanche,
    load_slots,
    source_hash,
)
from models import CIRCLE, nobody

GOLDEN = json.loads(
    (Path(__file__).parent / "data" / "haproxy-balance-source.json").read_text(encoding="utf-8")
)["scenarios"]

Scenario = dict[str, Any]

names = st.text(min_size=1, max_size=8)
pools = st.dictionaries(names, st.integers(1, 4), min_size=1, max_size=6)
keys = st.one_of(
    st.integers(0, 2**130), st.text(), st.binary(), st.ip_addresses(v=4), st.ip_addresses(v=6)
)
many_keys = st.lists(keys, min_size=1, max_size=30)


# HAProxy's answers.


@pytest.mark.parametrize(
    ("value", "result"),
    [(0, 0xAB4ED927), (1, 0x348681B6), (0x7F000001, 0x8A1B584B), (CIRCLE + 1, 0x348681B6)],
)
def test_avalanche_has_haproxys_values(value: int, result: int) -> None:
    assert avalanche(value) == result


@given(st.integers(0, CIRCLE - 1))
def test_avalanche_is_jenkins_mix(value: int) -> None:
    assert avalanche(value) == models.mixed(value)


@pytest.mark.parametrize(
    ("number", "places"),
    [
        (1, [0x49C2008B, 0xA4972C87, 0xB5417C4A, 0x2654BA86]),
        (2, [0x405AFE73, 0x18B66546, 0xB397C57C]),
        (3, [0x4E477B4E, 0x6EEB9E3B, 0x700375C8]),
    ],
)
def test_nodes_are_where_haproxy_has_them(number: int, places: list[int]) -> None:
    assert HashRing[int]()._points(number, 1)[: len(places)] == places


@given(st.integers(0, CIRCLE - 1), st.integers(0, 256))
def test_mixing_many_at_once_is_mixing_each(base: int, weight: int) -> None:
    points = hashring._points(base, 16 * weight)
    assert points == [avalanche(base + i) for i in range(16 * weight)]


def picker(ids: dict[str, int], down: set[str]) -> Callable[[str], str | None]:
    ring = HashRing(ids.keys(), identify=ids.__getitem__)
    return lambda source: ring.lookup(ip_address(source), skip=down.__contains__)


@pytest.mark.parametrize(
    ("source", "value", "answers"),
    [
        ("127.0.0.1", 0x8A1B584B, "s2 s4 s3 s3"),
        ("10.0.0.1", 0x2AA26E52, "s1 s4 s2 s1"),
        ("192.168.1.10", 0xBAA25D4E, "s2 s4 s3 s1"),
        ("8.8.8.8", 0xE40539AD, "s3 s5 s3 s3"),
        ("::1", 0x348681B6, "s3 s3 s3 s3"),
        ("2001:db8::1", 0x626CB2A8, "s1 s1 s3 s1"),
        ("::ffff:127.0.0.1", 0xA664251B, "s1 s5 s3 s1"),
    ],
)
def test_a_source_goes_where_haproxy_sends_it(source: str, value: int, answers: str) -> None:
    ids = {f"s{number}": number for number in range(1, 6)}
    three = {name: ids[name] for name in ("s1", "s2", "s3")}
    weighted = HashRing({"s1": 1, "s2": 10, "s3": 100}, identify=ids.__getitem__)
    key = ip_address(source)
    assert weighted.hash_of(key) == avalanche(source_hash(key.packed)) == value
    assert answers.split() == [
        picker(three, set())(source),
        picker(ids, set())(source),
        weighted.lookup(key),
        picker(three, {"s2"})(source),
    ]


def ring_of(scenario: Scenario, *, backups: bool) -> HashRing[str]:
    """A ring of the active servers or of the backups, whether they are up or down."""
    servers = scenario["servers"]
    numbers = assign_ids([server["id"] for server in servers])
    ids = {server["name"]: number for server, number in zip(servers, numbers, strict=True)}
    return HashRing(
        {server["name"]: server["weight"] for server in servers if server["backup"] is backups},
        identify=ids.__getitem__,
        avalanche=scenario["hash_type"] == "consistent",
    )


def group(scenario: Scenario) -> list[tuple[str, int]]:
    """The servers that share the load, in the order of the file."""
    usable = [
        server
        for server in scenario["servers"]
        if server["weight"] and server["name"] not in scenario["down"]
    ]
    active = [server for server in usable if not server["backup"]]
    chosen = active or (usable if scenario["allbackups"] else usable[:1])
    return [(server["name"], server["weight"]) for server in chosen]


def scenarios(*hash_types: str) -> list[Any]:
    chosen = [one for one in GOLDEN if one["hash_type"] in hash_types]
    return [pytest.param(one, id=one["title"]) for one in chosen]


def test_no_scenario_is_left_out() -> None:
    assert len(scenarios("consistent", "consistent sdbm", "map-based")) == len(GOLDEN) == 12


@pytest.mark.parametrize("scenario", scenarios("consistent", "consistent sdbm"))
@pytest.mark.parametrize("way", ["skip", "remove"])
def test_consistent_picks_are_haproxys(scenario: Scenario, way: str) -> None:
    down = set(scenario["down"])
    rings = [ring_of(scenario, backups=False), ring_of(scenario, backups=True)]
    skip = down.__contains__ if way == "skip" else None
    if way == "remove":
        for ring in rings:
            for name in down.intersection(ring):
                ring.remove(name)
    if not scenario["allbackups"]:
        spare = [name for name in rings[1] if rings[1].weights[name] and name not in down]
        for name in set(rings[1]) - set(spare[:1]):
            rings[1].remove(name)
    for ring in rings:
        ring._check()
    for source, server in scenario["picks"].items():
        key = ip_address(source)
        answers = [ring.lookup(key, skip=skip) for ring in rings]
        assert (answers[0] or answers[1]) == server, source


@pytest.mark.parametrize("scenario", scenarios("consistent", "consistent sdbm", "map-based"))
def test_the_models_picks_are_haproxys_too(scenario: Scenario) -> None:
    servers, usable = scenario["servers"], group(scenario)
    ids = assign_ids([server["id"] for server in servers])
    numbers = {server["name"]: number for server, number in zip(servers, ids, strict=True)}
    ring: models.Ring[str] = models.Ring()
    for name, weight in usable:
        ring.resize(name, numbers[name], weight)
    slots = models.map_slots(
        [weight for _, weight in usable], [server["weight"] for server in servers]
    )
    for source, server in scenario["picks"].items():
        value = models.source_value(ip_address(source).packed)
        if scenario["hash_type"] == "map-based":
            assert usable[slots[value % len(slots)]][0] == server, source
        else:
            is_mixed = scenario["hash_type"] == "consistent"
            assert ring.lookup(models.mixed(value) if is_mixed else value) == server, source


# The model's answers.

# Ids that are equal modulo 2^20 have the same nodes, which chance would hardly find.
NUMBERS = [0, 1, 2, 3, 1 + 2**20, 2 + 2**20, 2 + 2**21, 2**31 - 1]


@given(st.dictionaries(st.sampled_from(NUMBERS), st.integers(0, 2)), st.data())
def test_every_look_up_is_the_models(pool: dict[int, int], data: st.DataObject) -> None:
    ring: HashRing[int] = HashRing(pool, avalanche=False)
    model: models.Ring[int] = models.Ring()
    for number, weight in pool.items():
        model.resize(number, number, weight)
    members = st.sets(st.sampled_from(sorted(pool))) if pool else st.just(set[int]())
    skip, avoid = data.draw(members).__contains__, data.draw(members).__contains__
    load = {number: data.draw(st.integers(0, 3)) for number in pool}
    factor = data.draw(st.integers(101, 200))
    usable = [number for number, weight in pool.items() if weight and not skip(number)]
    slots = models.load_slots(
        [pool[number] for number in usable], sum(load[number] for number in usable), factor
    )
    full = {number for number, most in zip(usable, slots, strict=True) if load[number] >= most}
    places = data.draw(st.lists(st.integers(0, CIRCLE - 1), max_size=10))
    # On a node, half-way to the next, and beside both, is where a rule can be misread.
    for index in data.draw(st.sets(st.integers(0, len(model.nodes)), max_size=3)):
        for (low, *_), (high, *_) in pairwise((model.nodes * 2)[index : index + 2]):
            middle = low + (high - low) % CIRCLE // 2
            places += [(place + step) % CIRCLE for place in (low, middle) for step in (-1, 0, 1)]
    for value in places:
        assert ring.lookup_hash(value) == ring.lookup(value) == model.lookup(value)
        assert ring.lookup(value, skip=skip) == model.lookup(value, skip)
        assert ring.lookup(value, avoid=avoid) == model.lookup(value, nobody, avoid)
        assert ring.lookup(value, skip=skip, avoid=avoid) == model.lookup(value, skip, avoid)
        assert ring.preference(value) == model.preference(value)
        bounded = ring.bounded(value, load.__getitem__, factor, skip=skip, avoid=avoid)
        assert bounded == model.lookup(value, skip, lambda number: number in full or avoid(number))


class RingIsTheModel(RuleBasedStateMachine):
    """Whatever is done to a ring, it has the nodes that the model has, in the same order."""

    numbers = st.sampled_from(NUMBERS)
    weights = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        self.ring: HashRing[int] = HashRing()
        self.model: models.Ring[int] = models.Ring()

    @rule(number=numbers, weight=weights)
    def change(self, number: int, weight: int) -> None:
        if number in self.ring:
            assert self.ring.reweight(number, weight) == self.model.weights[number]
        else:
            self.ring.add(number, weight)
        self.model.resize(number, number, weight)

    @rule(number=numbers)
    def remove(self, number: int) -> None:
        if number in self.ring:
            assert self.ring.remove(number) == self.model.weights[number]
            self.model.remove(number)

    @invariant()
    def holds(self) -> None:
        self.ring._check()
        nodes = zip(self.ring._layout.keys, self.ring._layout.holders, strict=True)
        assert list(nodes) == [node[:2] for node in self.model.nodes]
        assert self.ring.weights == self.model.weights
        assert list(self.ring) == list(self.model.weights)
        assert len(self.ring) == len(self.model.weights)


RingIsTheModel.TestCase.settings = settings(max_examples=40, stateful_step_count=12, deadline=None)
TestRingIsTheModel = RingIsTheModel.TestCase


@given(st.lists(st.none() | st.integers(1, 12), max_size=10, unique_by=lambda n: n or object()))
def test_ids_are_unique_and_those_that_are_forced_stay(forced: list[int | None]) -> None:
    ids = assign_ids(forced)
    assert len(set(ids)) == len(ids) == len(forced)
    assert all(number in (None, got) for number, got in zip(forced, ids, strict=True))
    free = [got for number, got in zip(forced, ids, strict=True) if number is None]
    assert free == sorted(free)


@pytest.mark.parametrize(
    ("forced", "ids"),
    [
        ([], []),
        ([None, None, None], [1, 2, 3]),
        ([1000, 42, None], [1000, 42, 3]),
        ([None, 3, None, None], [1, 3, 4, 5]),
        ([None, None, 1], [2, 3, 1]),
        ([3, None, None], [3, 2, 4]),
    ],
)
def test_a_server_is_numbered_by_its_place(forced: list[int | None], ids: list[int]) -> None:
    assert assign_ids(forced) == ids


def test_servers_whose_ids_collide_share_the_arcs_by_their_order() -> None:
    first, last = 7, 7 + 2**20
    ring = HashRing([first, 7 + 2**21, last])
    node = ring._points(7, 1)[0]
    assert [ring.lookup_hash(node - 1), ring.lookup_hash(node)] == [first, first]
    assert ring.lookup_hash(node + 1) == last
    ring.remove(first)
    ring.add(first)
    ring._check()
    assert ring.lookup_hash(node) == 7 + 2**21
    assert ring.lookup_hash(node + 1) == first


# What the ring promises.


@given(pools, many_keys, st.data())
def test_losing_a_server_moves_its_clients_and_no_others(
    pool: dict[str, int], wanted: list[hashring.Key], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from(sorted(pool)))
    ring = HashRing(pool)
    before = {key: ring.lookup(key) for key in wanted}
    ring.remove(lost)
    ring._check()
    for key, owner in before.items():
        now = ring.lookup(key)
        assert now != lost if owner == lost else now == owner


@given(pools, many_keys, st.data())
def test_a_new_server_takes_clients_and_moves_no_others(
    pool: dict[str, int], wanted: list[hashring.Key], data: st.DataObject
) -> None:
    name = data.draw(names.filter(lambda name: name not in pool))
    ring = HashRing(pool)
    before = {key: ring.lookup(key) for key in wanted}
    ring.add(name, data.draw(st.integers(0, 4)))
    ring._check()
    for key, owner in before.items():
        assert ring.lookup(key) in (owner, name)


@given(pools, many_keys, st.data())
def test_a_weight_moves_clients_in_its_own_direction_only(
    pool: dict[str, int], wanted: list[hashring.Key], data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(sorted(pool)))
    weight = data.draw(st.integers(0, 6))
    ring = HashRing(pool)
    before = {key: ring.lookup(key) for key in wanted}
    assert ring.reweight(name, weight) == pool[name]
    ring._check()
    gainer, loser = (name, None) if weight >= pool[name] else (None, name)
    for key, owner in before.items():
        now = ring.lookup(key)
        assert now in (owner, gainer) or owner == loser


@given(pools, many_keys, st.data())
def test_skipping_servers_is_removing_them(
    pool: dict[str, int], wanted: list[hashring.Key], data: st.DataObject
) -> None:
    down = data.draw(st.sets(st.sampled_from(sorted(pool))))
    ring = HashRing(pool)
    skipped = [ring.lookup(key, skip=down.__contains__) for key in wanted]
    for name in sorted(down):
        ring.remove(name)
        ring._check()
    assert skipped == [ring.lookup(key) for key in wanted]


@given(pools, many_keys)
def test_preference_is_the_order_in_which_servers_take_over(
    pool: dict[str, int], wanted: list[hashring.Key]
) -> None:
    ring = HashRing({**pool, "\N{BULLET} weightless": 0})
    for key in wanted:
        order = ring.preference(key)
        assert sorted(order) == sorted(pool)
        assert ring.preference(key, 2) == order[:2]
        assert ring.preference(key, 0) == []
        for lost in range(len(order) + 1):
            gone = set(order[:lost])
            assert ring.lookup(key, skip=gone.__contains__) == next(iter(order[lost:]), None)


@given(pools, st.randoms(use_true_random=False), many_keys)
def test_the_order_and_the_history_of_servers_do_not_matter(
    pool: dict[str, int], random: Any, wanted: list[hashring.Key]
) -> None:
    shuffled = sorted(pool)
    random.shuffle(shuffled)
    grown: HashRing[str] = HashRing()
    for name in shuffled:
        grown.add(name, 2)
        grown.reweight(name, pool[name])
    grown.add("\N{BULLET} passing")
    grown.remove("\N{BULLET} passing")
    grown._check()
    ring = HashRing(pool)
    assert [grown.lookup(key) for key in wanted] == [ring.lookup(key) for key in wanted]


def test_a_server_that_lost_weight_and_left_keeps_nothing() -> None:
    ring = HashRing({"a": 10, "b": 1})
    ring.reweight("a", 1)
    ring.remove("a")
    ring._check()
    assert {ring.lookup(f"client-{number}") for number in range(1000)} == {"b"}


def test_clients_are_shared_by_weight() -> None:
    ring = HashRing({"small": 32, "middle": 64, "large": 128})
    shares = Counter(ring.lookup(number) for number in range(7000))
    for name, weight in ring.weights.items():
        assert shares[name] == pytest.approx(7000 * weight / 224, rel=0.15)


def test_a_failed_server_is_avoided_while_there_is_another() -> None:
    ring = HashRing(["a", "b"])
    owner = ring.lookup("client")
    other = ring.lookup("client", avoid=lambda member: member == owner)
    assert {owner, other} == {"a", "b"}
    assert ring.lookup("client", skip={other}.__contains__, avoid={owner}.__contains__) == owner


def test_nobody_is_the_answer_only_when_nobody_is_left() -> None:
    ring: HashRing[str] = HashRing()
    ring._check()
    assert ring.lookup("client") is None
    assert ring.lookup("client", skip=nobody, avoid=nobody) is None
    assert ring.lookup_hash(0) is None
    assert ring.preference("client") == []
    assert ring.bounded("client", len, 125) is None
    ring.add("a", 0)
    ring._check()
    assert ring.lookup("client") is None
    ring.reweight("a", 1)
    assert ring.lookup("client") == "a"
    assert ring.lookup("client", avoid=lambda _: True) == "a"
    assert ring.lookup("client", skip=lambda _: True) is None
    assert ring.lookup("client", skip=lambda _: True, avoid=lambda _: True) is None
    assert ring.bounded("client", len, 125, skip=lambda _: True) is None


@pytest.mark.parametrize("key", range(8))
def test_each_server_is_asked_once_however_many_nodes_it_has(key: int) -> None:
    ring = HashRing({"a": 256, "b": 2, "c": 256})
    asked: list[str] = []

    def is_down(member: str) -> bool:
        asked.append(member)
        return True

    assert ring.lookup(key, skip=is_down) is None
    # The owner is asked first, on the way that needs no search.
    assert asked == asked[:1] + ring.preference(key)


def test_weights_are_those_of_one_moment() -> None:
    ring = HashRing({"a": 1, "b": 2})
    before = ring.weights
    ring.remove("a")
    assert before == {"a": 1, "b": 2}
    assert ring.weights == {"b": 2}
    assert "a" not in ring


# Bounded load.


@given(
    st.lists(st.integers(1, 256), min_size=1, max_size=8),
    st.integers(0, 10_000),
    st.integers(101, 1000),
)
def test_slots_are_haproxys(weights: list[int], served: int, factor: int) -> None:
    expected = models.load_slots(weights, served, factor)
    assert load_slots(weights, served, factor) == expected
    assert sum(expected) > served


@given(pools, st.integers(101, 300), st.data())
def test_bounded_load_gives_nobody_more_than_its_slots(
    pool: dict[str, int], factor: int, data: st.DataObject
) -> None:
    ring = HashRing({**pool, "\N{BULLET} weightless": 0})
    down = data.draw(st.sets(st.sampled_from(sorted(pool))))
    up = {name: weight for name, weight in pool.items() if name not in down}
    load = {name: data.draw(st.integers(0, 9)) for name in ring}
    for key in data.draw(many_keys):
        served = sum(load[name] for name in up)
        slots = dict(zip(up, load_slots(list(up.values()), served, factor), strict=True))
        chosen = ring.bounded(key, load.__getitem__, factor, skip=down.__contains__)
        if chosen is None:
            assert not up
        else:
            load[chosen] += 1
            assert load[chosen] <= slots[chosen]


def test_connections_that_stay_fill_the_servers_evenly() -> None:
    ring = HashRing({"a": 1, "b": 2, "c": 1, "down": 9})
    load = Counter({"down": 500})
    moved = 0
    for key in range(300):
        full = {
            name
            for name, most in zip("abc", load_slots([1, 2, 1], key, 101), strict=True)
            if load[name] == most
        }
        chosen = ring.bounded(key, load.__getitem__, 101, skip="down".__eq__)
        assert chosen is not None
        assert chosen not in full
        owner = ring.lookup(key, skip="down".__eq__)
        assert chosen == owner or owner in full
        moved += chosen != owner
        load[chosen] += 1
    assert moved > 10


def test_a_factor_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(ValueError, match="factor must be above 100, not 100"):
        load_slots([1], 0, 100)
