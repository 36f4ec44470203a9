"""A server that starts slowly: what it carries at each second, and what begins it anew.

The numbers are those of HAProxy 2.6.12.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.counters import BackendCounters
from dsbalance.model import Check, Server
from dsbalance.pictures import picture_server
from dsbalance.placement import AdminState, Crowd, OpState, ServerState

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
BEGIN = 100.5


def make(*, is_static: bool = False, fullconn: int = 1, **settings: Any) -> ServerState:
    """Return a server that was down and is coming up at BEGIN."""
    settings = {"slowstart": 10.0, "check": Check(rise=1, fall=1), **settings}
    crowd = Crowd(BackendCounters(), fullconn, is_static=is_static)
    state = ServerState(Server(name="s", host="192.0.2.1", port=9, **settings), 1, 10.0, crowd)
    state.gate.set_down()
    state.settle(BEGIN)
    come_up(state, BEGIN)
    return state


def come_up(state: ServerState, now: float) -> None:
    state.gate.set_up()
    state.settle(now)


def each_second(state: ServerState, count: int) -> list[int]:
    """Return the weight that is shown at each second, from the one that it came up in."""
    weights = [picture_server(state, BEGIN).weight]
    for second in range(1, count):
        state.step(BEGIN + second)
        weights.append(picture_server(state, BEGIN + second).weight)
    return weights


@pytest.mark.parametrize(
    ("slowstart", "weight", "weights"),
    [
        (10.0, 100, [7, 13, 25, 32, 44, 57, 63, 75, 82, 94, 100]),
        (10.0, 20, [2, 3, 5, 7, 9, 12, 13, 15, 17, 19, 20]),
        (10.0, 1, [1] * 11),
        (3.0, 256, [16, 96, 176, 256]),
        (1.0, 20, [2, 20]),
        # Parts of a second are a whole one.
        (1.5, 256, [16, 144, 256]),
    ],
)
def test_the_weight_grows_each_second(slowstart: float, weight: int, weights: list[int]) -> None:
    state = make(slowstart=slowstart, weight=weight)
    assert state.op.name == "STARTING"
    assert each_second(state, len(weights)) == weights
    assert state.op.name == "RUNNING"
    assert state.share == 16 * weight


def test_a_weight_of_a_minute_grows_each_second_too() -> None:
    weights = each_second(make(slowstart=60.0, weight=100), 61)
    seen = {second: weights[second] for second in (0, 3, 4, 8, 12, 15, 19, 23, 53, 57, 60)}
    expected = (7, 7, 13, 19, 25, 32, 38, 44, 94, 100, 100)
    assert tuple(seen.values()) == expected


@pytest.mark.parametrize(
    ("settings", "limits"),
    [
        ({"slowstart": 7.0, "maxconn": 7}, [1, 1, 1, 2, 3, 4, 5, 7]),
        ({"slowstart": 10.0, "maxconn": 10}, [1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ({"slowstart": 7.0, "maxconn": 100}, [1, 14, 28, 42, 57, 71, 85, 100]),
    ],
)
@pytest.mark.parametrize("is_static", [False, True])
def test_the_limit_grows_each_second_whatever_the_policy(
    settings: dict[str, Any], limits: list[int], is_static: bool
) -> None:
    state = make(is_static=is_static, **settings)
    found = []
    for second in range(len(limits)):
        state.step(BEGIN + second)
        found.append(state.limit)
    assert found == limits


def test_minconn_does_not_protect_from_a_slow_start() -> None:
    state = make(minconn=8, maxconn=20, fullconn=20)
    state._crowd.counters.current = 12
    found = []
    for second in range(11):
        state.step(BEGIN + second)
        found.append(state.limit)
    assert found == [1, 1, 2, 3, 4, 6, 7, 8, 9, 10, 12]


def test_without_maxconn_there_is_no_limit_to_grow() -> None:
    assert make().limit is None


def test_a_policy_that_knows_no_parts_of_a_weight_gives_it_all_at_once() -> None:
    state = make(is_static=True, weight=20)
    assert state.op.name == "STARTING"
    assert each_second(state, 11) == [20] * 11
    assert state.op.name == "RUNNING"


@pytest.mark.parametrize("how", ["up", "stopping", "maint"])
def test_whoever_is_up_again_starts_slowly(how: str) -> None:
    state = ServerState(
        Server(name="s", host="192.0.2.1", slowstart=9.0), 1, 0.0, Crowd(BackendCounters())
    )
    assert state.op.name == "RUNNING"
    if how == "up":
        state.gate.set_down()
    elif how == "stopping":
        state.gate.set_stopping()
    else:
        state.admin = MAINT
    state.settle(1.0)
    assert state.op is (OpState.STOPPING if how == "stopping" else OpState.STOPPED)
    state.admin = READY
    come_up(state, 2.0)
    assert state.op.name == "STARTING"
    assert (state.is_running, state.is_usable, state.share) == (True, True, 1)


def test_a_server_that_is_disabled_at_the_start_starts_slowly_when_it_is_enabled() -> None:
    state = ServerState(
        Server(name="s", host="192.0.2.1", slowstart=9.0, disabled=True),
        1,
        0.0,
        Crowd(BackendCounters()),
    )
    state.admin = READY
    state.settle(5.0)
    assert (state.op, state.share) == (OpState.STARTING, 1)


def test_neither_a_drain_nor_a_weight_of_0_makes_a_server_start_slowly() -> None:
    state = make(weight=20)
    state.step(BEGIN + 10)
    for admin, weight in ((DRAIN, 20), (READY, 20), (READY, 0), (READY, 20)):
        state.admin = admin
        state.server = replace(state.server, weight=weight)
        state.begin_again(BEGIN + 20)
        state.settle(BEGIN + 20)
        assert state.op.name == "RUNNING"
    assert state.share == 320


def test_one_that_goes_down_meanwhile_starts_from_the_beginning() -> None:
    state = make(weight=100)
    state.step(BEGIN + 7)
    assert picture_server(state, 0.0).weight == 75
    state.gate.set_down()
    state.settle(BEGIN + 8)
    assert state.op.name == "STOPPED"
    assert picture_server(state, 0.0).weight == 100
    come_up(state, BEGIN + 20)
    assert picture_server(state, 0.0).weight == 7
    state.step(BEGIN + 21)
    assert picture_server(state, 0.0).weight == 13


def test_another_weight_meanwhile_is_shared_out_at_once() -> None:
    state = make(weight=20, slowstart=8.0)
    state.step(BEGIN + 4)
    for weight, share in ((10, 90), (0, 0), (20, 180)):
        state.server = replace(state.server, weight=weight)
        state.settle(BEGIN + 4)
        assert (state.share, state.op) == (share, OpState.STARTING)
        assert state.is_usable is (weight > 0)
        state.check()


def test_what_is_asked_of_it_meanwhile_begins_the_start_anew() -> None:
    state = make(weight=100)
    state.step(BEGIN + 5)
    for admin in (DRAIN, READY):
        state.admin = admin
        state.begin_again(BEGIN + 6)
        state.settle(BEGIN + 6)
        assert state.share == 100
    state.step(BEGIN + 8)
    assert picture_server(state, 0.0).weight == 25


def test_a_start_that_is_over_under_a_drain_is_over() -> None:
    state = make(weight=100)
    state.admin = DRAIN
    state.begin_again(BEGIN)
    state.settle(BEGIN)
    assert (state.is_running, state.is_usable) == (True, False)
    state.step(BEGIN + 10)
    state.admin = READY
    state.begin_again(BEGIN + 11)
    state.settle(BEGIN + 11)
    assert (state.op, state.share) == (OpState.RUNNING, 1600)


def test_a_step_says_whether_the_share_has_changed() -> None:
    state = make(weight=1, slowstart=60.0)
    assert [state.step(BEGIN + second) for second in range(9)].count(True) == 2
    assert make(is_static=True).step(BEGIN + 5) is False


@given(st.integers(1, 256), st.floats(0.1, 90.0), st.integers(1, 300), st.data())
def test_a_share_and_a_limit_only_grow_and_come_to_their_whole(
    weight: int, slowstart: float, maxconn: int, data: st.DataObject
) -> None:
    state = make(weight=weight, slowstart=slowstart, maxconn=maxconn)
    now, share, limit = BEGIN, state.share, state.limit
    assert share >= 1
    while state.op is OpState.STARTING:
        now += data.draw(st.floats(0.5, 20.0))
        state.step(now)
        state.check()
        assert state.share >= share
        assert limit is not None
        assert state.limit is not None
        assert state.limit >= limit
        share, limit = state.share, state.limit
    assert (state.share, state.limit) == (16 * weight, maxconn)
