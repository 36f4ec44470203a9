"""Counters and their pictures: that none is forgotten, and that a picture stays as it is."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dsbalance.stats import (
    BackendCounters,
    BackendSnapshot,
    FrontendCounters,
    FrontendSnapshot,
    ServerCounters,
    ServerSnapshot,
    Snapshot,
)


def fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize(
    ("counters", "snapshot"),
    [
        (ServerCounters, ServerSnapshot),
        (BackendCounters, BackendSnapshot),
        (FrontendCounters, FrontendSnapshot),
    ],
)
def test_whatever_is_counted_is_in_the_snapshot(counters: type, snapshot: type) -> None:
    slots: tuple[str, ...] = counters.__slots__  # type: ignore[attr-defined]
    assert set(slots) <= fields(snapshot)


@pytest.mark.parametrize("kind", [ServerCounters, BackendCounters, FrontendCounters])
def test_counters_begin_with_nothing(kind: Any) -> None:
    counters = kind()
    assert {getattr(counters, name) for name in kind.__slots__} <= {0, ""}
    assert not hasattr(counters, "__dict__")


def test_a_snapshot_cannot_be_changed() -> None:
    frontend = FrontendSnapshot(
        name="f",
        status="OPEN",
        maxconn=None,
        current=0,
        peak=0,
        total=0,
        denied=0,
        bytes_in=0,
        bytes_out=0,
    )
    snapshot = Snapshot(uptime=1.0, frontends=(frontend,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        snapshot.uptime = 2.0  # type: ignore[misc]
    assert snapshot.backends == ()


def test_who_enters_a_backend_is_counted_and_the_most_at_a_time_are_kept() -> None:
    counters = BackendCounters()
    counters.enter()
    counters.enter()
    counters.current -= 1
    counters.enter()
    assert (counters.total, counters.current, counters.peak) == (3, 2, 2)
