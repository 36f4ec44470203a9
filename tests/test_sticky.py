"""The stick table by example: what it keeps, what gives way, and how much work that is."""

from __future__ import annotations

import gc
import math
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import sticky
from dsbalance.errors import ConfigError
from dsbalance.sticky import Entry, Source, StickTable
from dsbalance.words import SrvKey

TTL = 1800.0


def key(number: int) -> bytes:
    """Return the key of the client 10.x.y.z that has this number."""
    return (0x0A000000 + number).to_bytes(4, "big")


def filled(count: int, *, size: int, ttl: float | None = TTL, nopurge: bool = False) -> StickTable:
    """Return a table with the clients 0 to count - 1, each stored a second after the one before."""
    table = StickTable(size=size, ttl=ttl, nopurge=nopurge)
    for number in range(count):
        assert table.store(key(number), "a", float(number))
    return table


def servers_of(table: StickTable, numbers: Iterable[int], now: float) -> list[str | None]:
    return [table.peek(key(number), now) for number in numbers]


@pytest.fixture(params=[1, 3, 2_500])
def shard_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a test with shards so small that an ordinary table has several."""
    size: int = request.param
    monkeypatch.setattr(sticky, "_SHARD_SIZE", size)
    return size


# --- a source stays where it is ------------------------------------------------------------------


def test_a_source_is_remembered() -> None:
    table = StickTable(size=10, ttl=TTL)
    assert table.match(key(1), 0.0) is None
    assert table.store(key(1), "a", 0.0)
    assert table.match(key(1), 1.0) == "a"
    assert table.match(key(2), 1.0) is None


def test_an_entry_lives_one_ttl_from_its_last_match() -> None:
    table = filled(1, size=10)
    assert table.match(key(0), TTL - 1) == "a"
    assert table.match(key(0), 2 * TTL - 2) == "a"
    assert table.match(key(0), 3 * TTL - 2) is None


def test_a_look_does_not_prolong_an_entry() -> None:
    table = filled(1, size=10)
    assert table.peek(key(0), TTL - 1) == "a"
    assert table.peek(key(0), TTL) is None
    assert table.match(key(0), TTL) is None


def test_an_entry_without_ttl_lives_until_it_is_evicted() -> None:
    table = filled(2, size=2, ttl=None)
    assert table.ttl is None
    assert table.match(key(0), 1e9) == "a"
    assert table.sweep(1e9) == 0
    table.store(key(2), "b", 1e9)
    assert servers_of(table, range(3), 1e9) == ["a", None, "b"]


def test_an_expired_entry_can_be_stored_again() -> None:
    table = filled(1, size=1, nopurge=True)
    assert table.store(key(0), "b", TTL)
    assert table.match(key(0), 2 * TTL - 1) == "b"
    table._check(2 * TTL)


def test_a_rewritten_entry_counts_for_the_new_server() -> None:
    table = filled(3, size=3)
    table.store(key(1), "b", 5.0)
    table.hold(key(2))
    table.store(key(2), "b", 5.0)
    assert table.counts() == {"a": 1, "b": 2}
    assert (table.count("a"), table.count("b"), table.count("c")) == (1, 2, 0)
    assert servers_of(table, range(3), 5.0) == ["a", "b", "b"]


# --- an entry in use -----------------------------------------------------------------------------


def test_an_entry_in_use_never_expires() -> None:
    table = filled(1, size=10)
    assert table.hold(key(0))
    assert table.match(key(0), 100 * TTL) == "a"
    assert table.peek(key(0), 100 * TTL) == "a"
    assert table.sweep(100 * TTL) == 0
    assert [entry.remaining for entry in table.entries(100 * TTL)] == [TTL]


def test_the_ttl_starts_again_when_the_last_session_ends() -> None:
    table = filled(1, size=10)
    assert table.hold(key(0))
    assert table.hold(key(0))
    assert table.uses(key(0)) == 2
    table.release(key(0), 5 * TTL)
    assert table.peek(key(0), 9 * TTL) == "a"
    table.release(key(0), 10 * TTL)
    assert table.busy == table.uses(key(0)) == 0
    assert table.peek(key(0), 11 * TTL - 1) == "a"
    assert table.peek(key(0), 11 * TTL) is None


def test_entries_in_use_are_not_evicted_and_fill_the_table(shard_size: int) -> None:
    table = filled(5, size=5)
    for number in (0, 1, 3, 4):
        assert table.hold(key(number))
    assert table.store(key(5), "b", 5.0)
    assert table.peek(key(2), 5.0) is None
    assert table.hold(key(5))
    assert not table.store(key(6), "b", 6.0)
    assert table.busy == len(table) == 5
    assert table.store(key(0), "b", 6.0), "a known source needs no room"
    table._check(6.0)


@pytest.mark.parametrize("server", ["a", "b"])
def test_who_comes_back_is_stored_and_held_in_one_step(server: str) -> None:
    table = filled(2, size=2, nopurge=True)
    for uses in (1, 2):
        assert table.keep(key(0), server, 5.0)
        table._check(5.0)
        assert (table.peek(key(0), 9 * TTL), table.uses(key(0))) == (server, uses)
    assert not table.keep(key(2), server, 5.0), "the table is full"
    assert table.uses(key(2)) == 0
    assert table.keep(key(1), server, 9 * TTL), "it has expired, and is there again"
    assert table.peek(key(1), 99 * TTL) == server


def test_only_what_is_there_can_be_held_and_only_what_is_held_released() -> None:
    table = filled(1, size=10)
    assert not table.hold(key(1))
    with pytest.raises(KeyError):
        table.release(key(1), 0.0)
    with pytest.raises(KeyError):
        table.release(key(0), 0.0)
    assert table.peek(key(0), 0.0) == "a"


def test_sessions_outlive_an_entry_that_is_removed_under_them() -> None:
    table = filled(1, size=10)
    table.hold(key(0))
    assert table.remove(key(0))
    assert not table.remove(key(0))
    assert not table.hold(key(0)), "there is nothing to hold"
    assert (len(table), table.uses(key(0))) == (0, 1)
    table.store(key(0), "b", 1.0)
    assert table.hold(key(0))
    table.release(key(0), 2.0)
    assert table.busy == 1, "the session that came later is still open"
    table.release(key(0), 3.0)
    assert [(e.server, e.remaining) for e in table.entries(3.0)] == [("b", TTL)]


def test_the_end_of_a_session_whose_entry_was_removed_leaves_nothing() -> None:
    table = filled(1, size=10)
    table.hold(key(0))
    table.remove(key(0))
    table.release(key(0), 1.0)
    assert (len(table), table.uses(key(0))) == (0, 0)
    table._check(1.0)


# --- a full table --------------------------------------------------------------------------------


def test_the_oldest_idle_entry_gives_way(shard_size: int) -> None:
    table = filled(6, size=6)
    table.match(key(0), 6.0)
    table.hold(key(1))
    table.hold(key(3))
    table.release(key(3), 7.0)
    for newcomer, gone in ((10, 2), (11, 4), (12, 5), (13, 0), (14, 3)):
        assert table.store(key(newcomer), "b", 8.0 + newcomer)
        table._check(8.0 + newcomer)
        assert table.peek(key(gone), 8.0 + newcomer) is None
        assert len(table) == 6
    assert table.counts() == {"a": 1, "b": 5}


def test_a_known_source_costs_nobody_an_entry() -> None:
    table = filled(4, size=4)
    for number in (3, 2, 1, 0):
        assert table.store(key(number), "b", 5.0)
    assert table.counts() == {"b": 4}


def test_a_table_that_does_not_purge_refuses_new_sources_and_serves_the_known(
    shard_size: int,
) -> None:
    table = filled(4, size=4, nopurge=True)
    assert not table.store(key(4), "b", 4.0)
    assert servers_of(table, range(5), 4.0) == ["a", "a", "a", "a", None]
    assert table.store(key(3), "b", 5.0)
    assert table.store(key(4), "b", TTL), "the first one has expired"
    assert table.peek(key(0), TTL) is None


def test_a_table_that_does_not_purge_finds_the_one_that_expired(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sticky, "_SHARD_SIZE", 1)
    table = filled(30, size=30, nopurge=True)
    for number in range(29):
        table.match(key(number), 100.0)
    assert table.store(key(30), "b", TTL + 29)
    assert table.peek(key(29), TTL + 29) is None
    assert not table.store(key(31), "b", TTL + 29)


def test_expired_entries_give_way_before_live_ones(shard_size: int) -> None:
    table = filled(10, size=10)
    table.match(key(0), 20.0)
    assert table.store(key(10), "b", TTL + 5)
    assert servers_of(table, (0, 6, 7, 8, 9), TTL + 5) == ["a"] * 5


# --- bounded work --------------------------------------------------------------------------------


def test_after_a_mass_expiry_each_call_removes_a_few(shard_size: int) -> None:
    table = filled(60, size=100)
    table.hold(key(0))
    late = 2 * TTL
    assert table.match(key(1), late) is None
    assert len(table) == 59
    table.release(key(0), late)
    assert len(table) >= 57
    shrank = []
    for number in range(100, 160):
        before = len(table)
        table.store(key(number), "b", late)
        shrank.append(before - len(table))
        table._check(late)
    assert max(shrank) <= 1, "two left, one came"
    assert table.count("a") == 1, "two leave for each that comes, so they run out"


def test_the_end_of_a_session_removes_a_few_that_expired(shard_size: int) -> None:
    table = filled(5, size=5)
    table.hold(key(4))
    table.release(key(4), 2 * TTL)
    assert len(table) == 3


def test_a_sweep_removes_as_many_as_it_may(shard_size: int) -> None:
    table = filled(30, size=30)
    table.match(key(0), 100.0)
    assert table.sweep(TTL + 20) == 20
    assert [table.sweep(2 * TTL, limit) for limit in (0, 1, 3, 100, 100)] == [0, 1, 3, 6, 0]
    assert len(table) == 0
    assert table.counts() == {}
    table._check(2 * TTL)


def test_the_search_for_the_oldest_ends_even_if_all_were_touched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sticky, "_SHARD_SIZE", 1)
    table = filled(400, size=400)
    for number in range(400):
        table.match(key(number), 1000.0 + number)
    before = set(table._ranking.heap)
    assert table.store(key(400), "b", 1500.0)
    table._check(1500.0)
    assert 1 < len(before - set(table._ranking.heap)) <= sticky._LOOKS + 1
    assert Counter(servers_of(table, range(401), 1500.0)) == {"a": 399, "b": 1, None: 1}


def test_no_call_copies_more_than_a_small_dict() -> None:
    # An insertion that finds a dict full copies it: 35 ms if all of a large table were in one.
    table = filled(30_000, size=30_000)
    table._check(30_000.0)
    assert max(sys.getsizeof(shard.idle) for shard in table._shards) < 400_000


def test_idle_entries_are_no_work_for_the_garbage_collector() -> None:
    table = filled(10, size=10)
    values = [entry for shard in table._shards for entry in shard.idle.values()]
    assert not any(map(gc.is_tracked, values))


# --- keys ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("192.0.2.1", "c0000201"),
        (b"\xc0\0\x02\x01", "c0000201"),
        (IPv4Address("192.0.2.1"), "c0000201"),
        ("::ffff:192.0.2.1", "c0000201"),
        (IPv6Address("::ffff:192.0.2.1"), "c0000201"),
        (bytes(10) + b"\xff\xff\xc0\0\x02\x01", "c0000201"),
        ("2001:db8::1", "20010db8000000000000000000000001"),
        (IPv6Address("2001:db8::1"), "20010db8000000000000000000000001"),
        ("fe80::1%eth0", "fe800000000000000000000000000001"),
        ("::192.0.2.1", "000000000000000000000000c0000201"),
    ],
)
def test_sources_are_normalised(source: Source, expected: str) -> None:
    wanted = bytes.fromhex(expected)
    assert StickTable(size=1, accepts_ipv6=True).normalise(source) == wanted
    assert StickTable(size=1).normalise(source) == (wanted if len(wanted) == 4 else None)


@given(st.ip_addresses())
def test_every_way_to_write_a_source_gives_one_key(address: IPv4Address | IPv6Address) -> None:
    table = StickTable(size=1, accepts_ipv6=True)
    made = table.normalise(address)
    assert made is not None
    assert table.normalise(str(address)) == table.normalise(address.packed) == made
    assert table.normalise(made) == made
    if isinstance(address, IPv4Address):
        assert table.normalise(f"::ffff:{address}") == made
    assert ip_address(made) == (getattr(address, "ipv4_mapped", None) or address)


@pytest.mark.parametrize("source", [b"", b"abc", bytes(15), bytes(17), "", "printer", "10.0.0.256"])
def test_what_is_no_address_is_refused(source: Source) -> None:
    table = StickTable(size=1, accepts_ipv6=True)
    with pytest.raises(ValueError, match="address"):
        table.normalise(source)


@pytest.mark.parametrize("wrong", [b"\0" * 16, bytes(10) + b"\xff\xff\x0a\0\0\1"])
def test_a_key_of_another_kind_of_table_cannot_be_stored(wrong: bytes) -> None:
    table = StickTable(size=1)
    with pytest.raises(ValueError, match="not a key"):
        table.store(wrong, "a", 0.0)
    assert len(table) == 0


@pytest.mark.parametrize(
    ("size", "ttl"), [(0, 1.0), (-1, None), (1, 0.0), (1, -5.0), (1, math.inf), (1, math.nan)]
)
def test_a_size_or_a_ttl_out_of_range_is_refused(size: int, ttl: float | None) -> None:
    with pytest.raises(ConfigError, match=r"size|ttl"):
        StickTable(size=size, ttl=ttl)


@pytest.mark.parametrize("ttl", [0.01, 1.0, 1e9])
def test_any_time_above_nothing_is_a_ttl(ttl: float) -> None:
    table = filled(1, size=1, ttl=ttl)
    assert table.peek(key(0), ttl * 0.99) == "a"
    assert table.peek(key(0), ttl) is None


# --- servers -------------------------------------------------------------------------------------


def test_the_entries_of_a_server_can_be_removed(shard_size: int) -> None:
    table = filled(6, size=10)
    for number in (1, 2, 4):
        table.store(key(number), "b", 6.0)
    table.hold(key(2))
    assert table.remove_server("b") == 3
    assert table.remove_server("b") == 0
    assert servers_of(table, range(6), 6.0) == ["a", None, None, "a", None, "a"]
    assert table.counts() == {"a": 3}
    table.release(key(2), 7.0)
    table._check(7.0)


def test_a_table_keeps_for_its_users_what_servers_are_called_and_their_ids() -> None:
    table, other = StickTable(size=2), StickTable(size=2, srvkey=SrvKey.ADDR)
    assert (table.srvkey, other.srvkey) == (SrvKey.NAME, SrvKey.ADDR)
    other.ids["192.0.2.1:80"] = 7
    assert (table.ids, other.ids) == ({}, {"192.0.2.1:80": 7})


def test_a_table_shows_how_full_it_is() -> None:
    table = filled(3, size=10)
    table.hold(key(0))
    assert repr(table) == "<StickTable 3 of 10, 1 in use>"


# --- out and in ----------------------------------------------------------------------------------


def test_entries_are_exported_with_what_remains_of_their_ttl() -> None:
    table = filled(3, size=10)
    table.hold(key(0))
    table.store(key(2), "b", 50.0)
    assert table.export(100.0) == [
        Entry(key=key(1), server="a", remaining=TTL - 99),
        Entry(key=key(2), server="b", remaining=TTL - 50),
        Entry(key=key(0), server="a", remaining=TTL, uses=1),
    ]
    assert [entry.key for entry in table.export(TTL + 1)] == [key(2), key(0)]


def test_an_export_survives_a_restart(shard_size: int) -> None:
    old = filled(5, size=10)
    old.hold(key(3))
    exported = old.export(100.0)
    new = StickTable(size=10, ttl=TTL)
    assert new.load(reversed(exported), 7.0) == 5
    new._check(7.0)
    assert [replace(entry, uses=0) for entry in exported] == new.export(7.0)
    assert new.peek(key(0), 7.0 + TTL - 101) == "a"
    assert new.peek(key(0), 7.0 + TTL - 100) is None
    assert new.busy == 0, "no session survives"


def test_an_export_without_ttl_survives_a_restart_in_its_order() -> None:
    exported = filled(4, size=4, ttl=None).export(5.0)
    assert [entry.remaining for entry in exported] == [None] * 4
    new = StickTable(size=4)
    assert new.load(exported, 0.0) == 4
    new.store(key(9), "b", 1.0)
    assert servers_of(new, range(4), 1.0) == [None, "a", "a", "a"]


def test_loading_skips_what_does_not_belong_here() -> None:
    table = filled(2, size=10)
    table.hold(key(1))
    late = TTL + 1
    v6 = bytes(15) + b"\1"
    given_entries = [
        Entry(key=key(0), server="b", remaining=5.0),
        Entry(key=key(1), server="b", remaining=5.0),
        Entry(key=v6, server="b", remaining=5.0),
        Entry(key=key(2), server="gone", remaining=5.0),
        Entry(key=key(3), server="b", remaining=0.0),
        Entry(key=key(4), server="b", remaining=-1.0),
        Entry(key=key(5), server="b", remaining=math.nan),
        Entry(key=key(6), server="b", remaining=5.0),
        Entry(key=bytes(10) + b"\xff\xff" + key(6), server="c", remaining=6.0),
        Entry(key=key(6), server="b", remaining=4.0),
        Entry(key=key(7), server="b", remaining=10 * TTL),
        Entry(key=key(8), server="c"),
    ]
    assert table.load(given_entries, late, servers={"a", "b", "c"}) == 4
    table._check(late)
    assert [(e.key, e.server, e.remaining, e.uses) for e in table.export(late)] == [
        (key(0), "b", 5.0, 0),
        (key(6), "c", 6.0, 0),
        (key(7), "b", TTL, 0),
        (key(8), "c", TTL, 0),
        (key(1), "a", TTL, 1),
    ]


def test_loading_takes_the_newest_and_costs_nobody_an_entry(shard_size: int) -> None:
    table = filled(2, size=4)
    offered = [Entry(key=key(n), server="b", remaining=100.0 + n) for n in range(10, 20)]
    assert table.load(offered, 2.0) == 2
    table._check(2.0)
    assert {entry.key for entry in table.entries(2.0)} == set(map(key, (0, 1, 18, 19)))
    assert table.load(offered, 2.0) == 0
    table._check(2.0)


def test_loading_what_a_session_still_holds_makes_it_an_entry_in_use() -> None:
    table = filled(1, size=4)
    table.hold(key(0))
    table.remove(key(0))
    assert table.load([Entry(key=key(0), server="b", remaining=5.0)], 1.0) == 1
    assert table.peek(key(0), 9 * TTL) == "b"
    table.release(key(0), 9 * TTL)
    table._check(9 * TTL)


def test_loading_replaces_what_expired(shard_size: int) -> None:
    table = filled(10, size=10)
    for number in range(9):
        table.remove(key(number))
    assert table.load([Entry(key=key(9), server="b", remaining=5.0)], 2 * TTL) == 1
    table._check(2 * TTL)
    assert table.counts() == {"b": 1}


def test_loading_no_address_adds_nothing() -> None:
    table = StickTable(size=4)
    with pytest.raises(ValueError, match="address"):
        table.load([Entry(key=key(0), server="a"), Entry(key=b"?", server="a")], 0.0)
    assert len(table) == 0


def test_a_table_may_change_while_it_is_written_out(shard_size: int) -> None:
    table = filled(30, size=60)
    seen = []
    for step, entry in enumerate(table.entries(30.0)):
        seen.append(entry.key)
        table.match(key(step), 30.0 + step)
        table.hold(key(29 - step))
        table.store(key(30 + step), "b", 30.0 + step)
    found = Counter(seen)
    assert all(found[key(number)] == 1 for number in range(30))
    table._check(100.0)


# --- a look at what there is ---------------------------------------------------------------------


def test_a_look_at_an_entry_does_not_touch_it(shard_size: int) -> None:
    table = filled(5, size=10)
    assert table.find(key(1), 11.0) == Entry(key=key(1), server="a", remaining=TTL - 10.0)
    assert table.find(key(1), TTL + 1.0) is None
    assert table.find(key(7), 11.0) is None
    assert table.hold(key(2))
    assert table.find(key(2), 50.0) == Entry(key=key(2), server="a", remaining=TTL, uses=1)
    assert table.match(key(1), TTL + 1.0) is None


def test_without_a_ttl_an_entry_has_no_time_left_to_tell() -> None:
    table = filled(1, size=10, ttl=None)
    assert table.find(key(0), 1e9) == Entry(key=key(0), server="a")


def test_parts_are_read_one_by_one_while_the_table_changes(shard_size: int) -> None:
    table = filled(12, size=12)
    seen: list[Entry] = []
    for index in range(table.parts):
        seen += table.part(index, 12.0)
        # Who comes and goes meanwhile may be there or not; who stays is there once.
        table.remove(key(11))
        table.store(key(11), "b", 12.0)
        assert table.match(key(3), 12.0) == "a"
    found = Counter(entry.key for entry in seen)
    assert [found[key(number)] for number in range(11)] == [1] * 11
    assert table.parts == math.ceil(12 / shard_size)
    assert {entry.key for entry in table.entries(12.0)} == set(map(key, range(12)))
