"""The curves of the last minutes: what is read, what is kept, what leaves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dsbalance.history import INTERVAL, LENGTH, MAX_ROWS, History, readings
from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ProcessSnapshot, Snapshot
from pretence import blank, server, stage

KEY = ("server", "be", "s1")


def one_server(*, is_http: bool = False, **counts: Any) -> Snapshot:
    """Return a snapshot with one backend, one server and no frontend."""
    backend = blank(
        BackendSnapshot, name="be", is_http=is_http, servers=(server("s1", 1, **counts),)
    )
    return Snapshot(uptime=0.0, process=blank(ProcessSnapshot), backends=(backend,))


def read(*snapshots: Snapshot, interval: float = INTERVAL) -> History:
    """Return what is kept of some readings, which come one interval after the other."""
    history = History()
    for place, snapshot in enumerate(snapshots):
        history.add(snapshot, place * interval)
    return history


def test_each_row_has_curves_of_its_own() -> None:
    keys = [reading.key for reading in readings(stage())]
    assert keys == [
        ("frontend", "fe"),
        ("frontend", "shut"),
        ("backend", "be"),
        ("server", "be", "s1"),
        ("server", "be", "s2"),
        ("server", "be", "s3"),
        ("backend", "static"),
        ("server", "static", "h1"),
        ("server", "static", "t1"),
    ]
    history = read(stage(), stage())
    assert all(history.find(key) is not None for key in keys)
    assert history.find(("server", "be", "other")) is None


def test_open_sessions_are_kept_as_they_are_and_bytes_as_a_rate() -> None:
    first = one_server(current=3, total=9, bytes_in=100, bytes_out=1000)
    second = one_server(current=5, total=99, bytes_in=200, bytes_out=2000)
    track = read(first, second, second).find(KEY)
    assert track is not None
    assert [*track.sessions] == [5, 5]
    assert [*track.rates] == [1100 / INTERVAL, 0]


def test_in_http_mode_the_sessions_are_requests_a_second() -> None:
    snapshots = [one_server(is_http=True, current=7, total=total) for total in (0, 50, 60)]
    track = read(*snapshots).find(KEY)
    assert track is not None
    assert [*track.sessions] == [50 / INTERVAL, 10 / INTERVAL]


def test_a_frontend_in_http_mode_counts_requests_not_connections() -> None:
    frontend = blank(FrontendSnapshot, name="fe", is_http=True, total=1, requests=30)
    snapshot = Snapshot(uptime=0.0, process=blank(ProcessSnapshot), frontends=(frontend,))
    assert [reading.total for reading in readings(snapshot)] == [30]


def test_the_first_reading_draws_nothing() -> None:
    track = read(one_server(total=1_000_000)).find(KEY)
    assert track is not None
    assert not track.sessions
    assert not track.rates


def test_cleared_counters_are_no_negative_rate() -> None:
    track = read(one_server(bytes_in=500), one_server(bytes_in=10)).find(KEY)
    assert track is not None
    assert [*track.rates] == [0]


@given(st.integers(1, 3 * LENGTH))
def test_the_last_readings_are_kept_and_no_others(number: int) -> None:
    counts = range(number)
    track = read(*(one_server(current=count) for count in counts)).find(KEY)
    assert track is not None
    assert [*track.sessions] == [*counts[1:][-LENGTH:]]
    assert len(track.rates) == len(track.sessions)


def test_who_was_removed_is_forgotten() -> None:
    snapshot = one_server()
    without = replace(snapshot, backends=(replace(snapshot.backends[0], servers=()),))
    assert read(snapshot, snapshot, without).find(KEY) is None


def test_a_reading_is_due_after_the_interval() -> None:
    history = History()
    history.add(stage(), 100.0)
    assert not history.is_due(100.0 + INTERVAL - 0.5)
    assert history.is_due(100.0 + INTERVAL)


def test_of_too_many_rows_nothing_is_kept() -> None:
    servers = tuple(server(f"s{number}", number) for number in range(MAX_ROWS))
    backend = blank(BackendSnapshot, name="be", servers=servers)
    snapshot = replace(one_server(), backends=(backend,))
    history = read(one_server(), snapshot)
    assert history.is_full
    assert history.find(("server", "be", "s1")) is None
    assert not history.is_due(1e9)
