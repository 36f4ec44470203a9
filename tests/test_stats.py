"""Pictures of what happens: that none of what is counted is forgotten, and that they stay."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.counters import BackendCounters, FrontendCounters, ServerCounters
from dsbalance.proxy import Proxy
from dsbalance.quick import quick
from dsbalance.stats import BackendSnapshot, FrontendSnapshot, ServerSnapshot, Snapshot

# What a snapshot says in other words: rates, means, sums.
_PARTS = {"pace", "request_pace", "timing", "used_at"}


def fields(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    config = quick(listen=["127.0.0.1:0"], servers=["127.0.0.1:9"])
    proxy = Proxy(config)
    try:
        return proxy.snapshot()
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    ("counters", "kind"),
    [
        (ServerCounters, ServerSnapshot),
        (BackendCounters, BackendSnapshot),
        (FrontendCounters, FrontendSnapshot),
    ],
)
def test_whatever_is_counted_is_in_the_snapshot(counters: type, kind: type) -> None:
    slots: tuple[str, ...] = counters.__slots__  # type: ignore[attr-defined]
    assert set(slots) - _PARTS <= fields(kind)


def test_a_snapshot_cannot_be_changed(snapshot: Snapshot) -> None:
    for value in (snapshot, snapshot.process, snapshot.frontends[0], snapshot.backends[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)


def test_a_server_says_in_words_what_its_last_check_came_to(snapshot: Snapshot) -> None:
    server = snapshot.backends[0].servers[0]
    assert server.last_check == ""
    result = CheckResult(status=CheckStatus.L4CON, port=9, detail="Connection refused")
    assert server.check is not None
    checked = dataclasses.replace(server, check=dataclasses.replace(server.check, last=result))
    assert checked.last_check == "Layer4 connection problem at port 9 (Connection refused)"
    assert dataclasses.replace(server, check=None).last_check == ""
