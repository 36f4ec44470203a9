"""Whether a retry goes elsewhere, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.counters import BackendCounters
from dsbalance.model import Backend, Server
from dsbalance.placement import Crowd, Failure, OpState, Placement, ServerState
from dsbalance.policy import Client
from dsbalance.retrying import RetryRule

REFUSED, TIMEOUT = Failure.REFUSED, Failure.TIMEOUT


def rule(*, is_hash: bool = True, retries: int = 3, redispatch: int = -1) -> RetryRule:
    return RetryRule(Backend(name="x", retries=retries, redispatch=redispatch), is_hash=is_hash)


def failed(tries: int, *, is_persistent: bool = False) -> Placement:
    placement = Placement(Client("10.0.0.1", bytes([10, 0, 0, 1]), 5022))
    placement.tries = tries
    placement.is_persistent = is_persistent
    return placement


def state(op: OpState = OpState.RUNNING) -> ServerState:
    made = ServerState(Server(name="s", host="192.0.2.1"), 1, 0.0, Crowd(BackendCounters()))
    made.op = op
    return made


def moving(rule: RetryRule, usable: int = 3) -> str:
    """Return which retries go elsewhere: their numbers."""
    tries = range(1, rule.limit + 1)
    return "".join(str(n) for n in tries if rule.is_moving(failed(n), state(), usable))


# As observed on HAProxy 2.6.12, where that of -4 divides by 0 and ends the program.
@pytest.mark.parametrize(
    ("retries", "redispatch", "moves"),
    [
        (3, 0, ""),
        (3, -1, "3"),
        (3, 1, "123"),
        (3, 2, "2"),
        (4, 2, "24"),
        (4, -2, "3"),
        (4, -1, "4"),
        (3, -3, "123"),
        (3, -4, "123"),
        (3, -5, "123"),
        (3, -6, "2"),
        (3, 2**31 - 1, ""),
        (0, -1, ""),
    ],
)
def test_the_interval_says_which_retries_go_elsewhere(
    retries: int, redispatch: int, moves: str
) -> None:
    assert moving(rule(retries=retries, redispatch=redispatch)) == moves


@pytest.mark.parametrize(
    ("is_hash", "is_persistent", "usable", "is_moving"),
    [
        (False, False, 2, True),
        (False, False, 1, False),
        (False, True, 2, False),
        (True, False, 2, False),
    ],
)
def test_a_policy_without_a_hash_moves_at_once_whom_no_entry_sent_there(
    is_hash: bool, is_persistent: bool, usable: int, is_moving: bool
) -> None:
    placement = failed(1, is_persistent=is_persistent)
    assert rule(is_hash=is_hash).is_moving(placement, state(), usable) is is_moving


@pytest.mark.parametrize(
    ("op", "is_moving"),
    [
        (OpState.RUNNING, False),
        (OpState.STOPPING, False),
        (OpState.STARTING, True),
        (OpState.STOPPED, True),
    ],
)
def test_a_server_that_is_down_or_starts_slowly_is_left_at_once(
    op: OpState, is_moving: bool
) -> None:
    assert rule().is_moving(failed(1, is_persistent=True), state(op), 1) is is_moving
    assert not rule(redispatch=0).is_moving(failed(1), state(op), 3)


@pytest.mark.parametrize(
    ("cause", "is_moving", "usable", "delay"),
    [
        (REFUSED, False, 3, 1.0),
        (REFUSED, True, 1, 1.0),
        (REFUSED, True, 2, 0.0),
        (TIMEOUT, False, 3, 0.0),
        (TIMEOUT, True, 1, 0.0),
    ],
)
def test_there_is_a_pause_unless_there_was_one_or_others_are_left(
    cause: Failure, is_moving: bool, usable: int, delay: float
) -> None:
    assert rule().delay(cause, is_moving, usable) == delay


@pytest.mark.parametrize(("timeout", "pause"), [(0.4, 0.4), (1.0, 1.0), (5.0, 1.0), (None, 1.0)])
def test_a_pause_is_a_second_or_the_timeout_of_a_connect(
    timeout: float | None, pause: float
) -> None:
    rule = RetryRule(Backend(name="x", timeout_connect=timeout), is_hash=True)
    assert rule.delay(REFUSED, False, 1) == pause


@given(st.integers(0, 9), st.integers(-20, 20), st.booleans(), st.integers(0, 4))
def test_there_is_a_rule_for_any_numbers(
    retries: int, redispatch: int, is_hash: bool, usable: int
) -> None:
    made = rule(is_hash=is_hash, retries=retries, redispatch=redispatch)
    moves = moving(made, usable)
    if not redispatch:
        assert moves == ""
    elif not is_hash and usable > 1:
        assert len(moves) == retries
    else:
        assert len(moves) <= retries
