"""Counting connections by source: beside a model, beside HAProxy, and at the limits."""

from __future__ import annotations

from collections import Counter
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dsbalance import Table
from dsbalance.tracking import Track, Tracking
from dsbalance.words import TableType

A, B, C, D = (ip_address(f"10.0.0.{n}").packed for n in range(1, 5))
V6 = ip_address("2001:db8::1").packed


def tracking(size: int = 10, rate: float | None = 2.0, **words: Any) -> Tracking:
    words = {"expire": 20.0, "stores_conn_cur": True} | words
    return Tracking(Table(size=size, conn_rate_period=rate, **words))


def come(table: Tracking, source: bytes, now: float, count: int = 1) -> list[Track]:
    """Open some connections of a source that there is room for."""
    tracks = [table.track(source, now) for _ in range(count)]
    assert None not in tracks
    return [track for track in tracks if track is not None]


def visit(table: Tracking, source: bytes, now: float, count: int = 1) -> Track:
    """Open some connections of a source, one after the other, and close them."""
    for _ in range(count):
        (track,) = come(table, source, now)
        track.release(now)
    return track


# -- what is counted


def test_all_connections_of_a_source_are_counted_together() -> None:
    table = tracking()
    first, second = come(table, A, 0.0, 2)
    (other,) = come(table, B, 0.0)
    assert first is second
    assert (first.conn_cur, other.conn_cur) == (2, 1)
    assert (first.conn_rate(0.0), other.conn_rate(0.0)) == (2, 1)
    first.release(1.0)
    assert (first.conn_cur, first.conn_rate(1.0)) == (1, 2)


def test_what_the_table_does_not_store_is_not_known() -> None:
    (track,) = come(tracking(rate=None), A, 0.0)
    assert (track.conn_cur, track.conn_rate(0.0)) == (1, None)
    (track,) = come(tracking(stores_conn_cur=False), A, 0.0)
    assert (track.conn_cur, track.conn_rate(0.0)) == (None, 1)


def test_an_ipv4_client_is_the_same_one_whichever_socket_accepted_it() -> None:
    table = tracking()
    (track,) = come(table, A, 0.0)
    assert table.track(ip_address(f"::ffff:{ip_address(A)}").packed, 0.0) is track


def test_ipv6_is_counted_in_a_table_that_takes_it_and_in_no_other() -> None:
    assert tracking().track(V6, 0.0) is None
    (track,) = come(tracking(type=TableType.IPV6), V6, 0.0)
    assert track.conn_cur == 1


# -- the rate

# Connections of one source, and what `show table` of HAProxy 2.6.12 then said of its conn_rate(2s):
# (seconds, how many came) and (seconds, the rate).
OBSERVED: list[tuple[list[tuple[float, int]], list[tuple[float, int]]]] = [
    (
        [(0.004, 10), (1.020, 7), (1.539, 3)],
        [(2.015, 19), (2.118, 18), (2.221, 17), (2.324, 16), (2.428, 15), (2.531, 14)],
    ),
    (
        [(0.004, 10), (1.020, 7), (1.539, 3), (2.553, 6)],
        [
            *((2.555, 20), (2.617, 19), (2.823, 17), (3.029, 15), (3.525, 10), (3.916, 6)),
            *((4.019, 5), (4.349, 4), (4.683, 3), (5.033, 2), (5.362, 1), (5.691, 0)),
        ],
    ),
    ([(7.069, 5)], [(7.071, 5), (9.050, 5), (9.090, 4), (9.501, 3), (9.892, 2)]),
    ([(7.069, 5), (9.975, 4)], [(9.977, 6), (10.285, 5), (10.697, 4), (11.087, 3)]),
    ([(11.514, 2)], [(11.515, 2), (13.500, 2), (13.525, 1), (14.500, 1), (14.530, 0)]),
    # One alone counts until the end of the period after its own.
    ([(0.001, 1)], [(0.003, 1), (3.990, 1), (4.005, 0)]),
    ([(5.008, 1), (7.510, 1)], [(7.515, 1), (9.500, 1), (10.990, 1), (11.012, 0)]),
]


@pytest.mark.parametrize(("comings", "rates"), OBSERVED)
def test_a_rate_is_the_one_that_haproxy_shows(
    comings: list[tuple[float, int]], rates: list[tuple[float, int]]
) -> None:
    table = tracking()
    for now, count in comings:
        track = visit(table, A, 1000.0 + now, count)
    assert [(now, track.conn_rate(1000.0 + now)) for now, _ in rates] == rates


def test_a_period_below_a_millisecond_is_one() -> None:
    table = tracking(rate=1e-9)
    assert table.period == 1
    assert visit(table, A, 5.0, 3).conn_rate(5.0) == 3


def test_a_period_begins_anew_with_an_event_two_periods_after_the_last_one_began() -> None:
    table = tracking()
    come(table, A, 0.0, 3)
    (track, _) = come(table, A, 4.0, 2)
    assert track.conn_rate(5.999) == 2
    (track, _) = come(table, B, 0.0, 2)
    (track, _) = come(table, B, 2.0, 2)
    assert [track.conn_rate(now) for now in (2.0, 3.001, 4.0)] == [4, 2, 2]


def modelled_rate(events: list[int], now: int, period: int) -> int:
    """Return the rate by its definition; all in milliseconds."""
    began = events[0]
    for event in events:
        if event >= began + 2 * period:
            began = event
        elif event >= began + period:
            began += period
    while began + period <= now:
        began += period
    this = sum(began <= event for event in events)
    before = sum(began - period <= event < began for event in events)
    if not this and before == 1:
        return 1
    return this + before * (began + period - now) // period


@given(st.lists(st.integers(0, 2500), min_size=1, max_size=30), st.integers(0, 5000))
def test_a_rate_is_what_its_definition_says(pauses: list[int], silence: int) -> None:
    table = tracking(rate=1.0, expire=None)
    now, events = 1_000_000, []
    for pause in pauses:
        now += pause
        events.append(now)
        track = visit(table, A, now / 1000 + 1e-6)
    now += silence
    assert track.conn_rate(now / 1000 + 1e-6) == modelled_rate(events, now, 1000)
    track.check(now / 1000 + 1)


# -- room


def test_the_oldest_idle_source_gives_way() -> None:
    table = tracking(size=3)
    for now, source in enumerate((A, B, C, A)):
        visit(table, source, now / 10)
    visit(table, D, 0.5)
    assert len(table) == 3
    # B was forgotten, A was not.
    assert visit(table, A, 0.6).conn_rate(0.6) == 3
    assert visit(table, B, 0.7).conn_rate(0.7) == 1


def test_a_source_with_connections_never_gives_way_though_it_is_the_oldest() -> None:
    table = tracking(size=2)
    (track,) = come(table, A, 0.0)
    visit(table, B, 1.0)
    visit(table, C, 1.1)
    visit(table, D, 1.2)
    assert come(table, A, 1.3)[0] is track
    assert track.conn_cur == 2


def test_nobody_is_counted_when_all_entries_are_in_use() -> None:
    table = tracking(size=2)
    held = come(table, A, 0.0) + come(table, B, 0.0)
    assert table.track(C, 0.0) is None
    # Who is there already is counted on.
    assert table.track(A, 0.0) is held[0]
    held[1].release(0.1)
    assert table.track(C, 0.1) is not None


def test_a_table_without_purge_refuses_new_sources_until_old_ones_lapse() -> None:
    table = tracking(size=2, nopurge=True)
    visit(table, A, 0.0)
    visit(table, B, 0.5)
    assert table.track(C, 1.0) is None
    assert visit(table, A, 1.0).conn_rate(1.0) == 2
    # B counts nothing any more after two periods.
    assert table.track(C, 4.499) is None
    assert table.track(C, 4.5) is not None


# -- time


def test_an_idle_source_is_forgotten_after_expire() -> None:
    table = tracking(rate=60.0, expire=1.0)
    visit(table, A, 0.0, 5)
    visit(table, B, 0.0, 5)
    assert visit(table, A, 0.999).conn_rate(0.999) == 6
    assert visit(table, B, 1.0).conn_rate(1.0) == 1


def test_an_entry_that_has_lapsed_counts_nothing_though_nobody_has_removed_it() -> None:
    table = tracking(rate=60.0, expire=1.0)
    for source in (A, B, C, D):
        visit(table, source, 0.0)
    assert visit(table, D, 1.0).conn_rate(1.0) == 1


def test_time_starts_again_when_a_connection_ends_and_stands_still_while_one_is_open() -> None:
    table = tracking(rate=60.0, expire=1.0)
    (track,) = come(table, A, 0.0)
    table.sweep(50.0)
    assert len(table) == 1
    assert come(table, A, 50.0)[0] is track
    assert track.conn_rate(50.0) == 2
    track.release(50.0)
    track.release(51.0)
    assert come(table, A, 51.9)[0] is track


def test_who_counts_nothing_any_more_takes_no_room() -> None:
    table = tracking(expire=None)
    visit(table, A, 0.0)
    table.sweep(3.999)
    assert len(table) == 1
    table.sweep(4.0)
    assert len(table) == 0
    table = tracking(rate=None)
    visit(table, A, 0.0)
    assert len(table) == 0


def test_what_has_lapsed_runs_out_with_the_traffic() -> None:
    table = tracking(size=1000)
    for number in range(100):
        visit(table, bytes((10, 1, 0, number)), 0.0)
    for _ in range(60):
        visit(table, A, 100.0)
    assert len(table) == 1


def test_it_shows_what_it_has() -> None:
    table = tracking()
    (track,) = come(table, A, 0.0)
    visit(table, B, 0.0)
    assert repr(table) == "<Tracking 2 of 10, 1 in use>"
    assert repr(track) == "<Track 0a000001: 1 open>"


# -- the model


class AnyTraffic(RuleBasedStateMachine):
    """Sources come and go at a small table. The model keeps a list of instants for each source."""

    size, period, expire, nopurge = 3, 1000, 1500, False

    def __init__(self) -> None:
        super().__init__()
        self.now = 5_000_000
        self.table = tracking(
            self.size, self.period / 1000, expire=self.expire / 1000, nopurge=self.nopurge
        )
        self.events: dict[bytes, list[int]] = {}
        self.touched: dict[bytes, int] = {}
        self.open: Counter[bytes] = Counter()
        self.held: dict[bytes, Track] = {}

    @property
    def instant(self) -> float:
        # Not on the edge of a millisecond, where a float may fall to either side.
        return self.now / 1000 + 1e-5

    def lapse(self) -> None:
        """Let the model forget what has expired."""
        for source, touched in [*self.touched.items()]:
            if not self.open[source] and touched + self.expire <= self.now:
                del self.touched[source], self.events[source]

    def give_way(self) -> bool:
        """Let the model make room for another source; return whether there is some."""
        if len(self.touched) < self.size:
            return True
        idle = [source for source in self.touched if not self.open[source]]
        if self.nopurge or not idle:
            return False
        oldest = min(idle, key=lambda source: self.touched[source])
        del self.touched[oldest], self.events[oldest]
        return True

    @rule(source=st.sampled_from([A, B, C, D, V6]))
    def come(self, source: bytes) -> None:
        self.now += 1  # so that no two have the same age
        self.lapse()
        track = self.table.track(source, self.instant)
        if source == V6 or not (source in self.touched or self.give_way()):
            assert track is None
            return
        assert track is not None
        assert track.key == source
        self.touched[source] = self.now
        self.events.setdefault(source, []).append(self.now)
        self.open[source] += 1
        assert self.held.setdefault(source, track) is track
        assert track.conn_cur == self.open[source]

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        self.now += 1
        source = data.draw(st.sampled_from(sorted(self.held)))
        self.held[source].release(self.instant)
        self.open[source] -= 1
        self.touched[source] = self.now
        if not self.open[source]:
            del self.held[source]

    @rule(pause=st.integers(1, 4000))
    def wait(self, pause: int) -> None:
        self.now += pause

    @rule()
    def sweep(self) -> None:
        self.table.sweep(self.instant)
        self.lapse()
        assert len(self.table) == len(self.touched)

    @invariant()
    def it_counts_as_the_model_does(self) -> None:
        self.table._check(self.instant)
        for source, track in self.held.items():
            assert track.conn_cur == self.open[source]
            expected = modelled_rate(self.events[source], self.now, self.period)
            assert track.conn_rate(self.instant) == expected


class TrafficWithoutPurge(AnyTraffic):
    """The same at a table whose entries do not give way, and lapse with what they count."""

    expire, nopurge = 2000, True


limits = settings(max_examples=60, stateful_step_count=40, deadline=None)
AnyTraffic.TestCase.settings = limits
TrafficWithoutPurge.TestCase.settings = limits
TestAnyTraffic = AnyTraffic.TestCase
TestTrafficWithoutPurge = TrafficWithoutPurge.TestCase
