"""What follows a failed attempt, and failed attempts."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.balancer import AdminState, Failure, Stage
from dsbalance.errors import NoServerError
from dsbalance.model import Balance, HashKind, HashType, Observe, OnError, StickRule
from dsbalance.policy import Reason
from routing import attempts, connect, make, name_of, place, server, where

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
REFUSED, TIMEOUT, LOCAL = Failure.REFUSED, Failure.TIMEOUT, Failure.LOCAL
CONSISTENT = HashType(kind=HashKind.CONSISTENT)
STICKY = (StickRule(),)


# --- retries and redispatch ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "a@0 a@1 a@2 a@3"),
        ({"retries": 0}, "a@0"),
        ({"timeout_connect": 0.5}, "a@0 a@0.5 a@1 a@1.5"),
        ({"timeout_connect": None}, "a@0 a@1 a@2 a@3"),
        ({"redispatch": -1}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": 1}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": -1, "balance": Balance.LEASTCONN}, "a@0 b@0 c@0 a@0"),
        ({"redispatch": -1, "balance": Balance.FIRST}, "a@0 b@0 a@0 b@0"),
    ],
)
def test_a_dead_server_is_tried_again_as_configured(
    settings: dict[str, Any], expected: str
) -> None:
    balancer = make(**settings)
    assert attempts(balancer, place(balancer)) == expected


# Observed on HAProxy 2.6.12 for 10.0.0.1, which belongs to a, and after it to b.
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"redispatch": -1}, "a@0 a@1 a@2 b@2"),
        ({"redispatch": 1}, "a@0 b@0 a@0 b@0"),
        ({"redispatch": 2}, "a@0 a@1 b@1 b@2"),
        ({"redispatch": -2, "retries": 4}, "a@0 a@1 a@2 b@2 b@3"),
        ({"redispatch": -4}, "a@0 b@0 a@0 b@0"),
        ({"redispatch": -5}, "a@0 b@0 a@0 b@0"),
        # Beyond the first one it counts forwards again.
        ({"redispatch": -9}, "a@0 a@1 a@2 a@3"),
        ({"redispatch": -6}, "a@0 a@1 b@1 b@2"),
        ({"hash_type": HashType(), "redispatch": 1}, "c@0 c@0 c@0 c@0"),
    ],
)
def test_a_hashed_client_waits_for_its_server_before_it_is_sent_elsewhere(
    settings: dict[str, Any], expected: str
) -> None:
    balancer = make(**{"balance": Balance.SOURCE, "hash_type": CONSISTENT, **settings})
    assert attempts(balancer, place(balancer)) == expected


def test_a_stuck_client_waits_for_its_server_until_the_last_retry() -> None:
    balancer = make(stick=STICKY, redispatch=-1)
    connect(balancer)
    stuck = place(balancer)
    assert attempts(balancer, stuck) == "a@0 a@1 a@2 b@2"
    assert stuck.reason is Reason.REDISPATCH
    assert not stuck.is_persistent


def test_after_a_timeout_nobody_waits_once_more() -> None:
    balancer = make(retries=2)
    assert attempts(balancer, place(balancer), TIMEOUT) == "a@0 a@0.7 a@1.4"


def test_a_redispatch_waits_when_there_is_nobody_else_to_choose_from() -> None:
    alone = make("a", redispatch=1)
    assert attempts(alone, place(alone)) == "a@0 a@1 a@2 a@3"
    pool = [server("a"), server("b", backup=True), server("c", backup=True)]
    backups = make(pool, redispatch=1)
    backups.check_failed("a", 0.0)
    assert attempts(backups, place(backups)) == "b@0 b@1 b@2 b@3"
    together = make(pool, redispatch=1, allbackups=True)
    together.check_failed("a", 0.0)
    assert attempts(together, place(together)) == "b@0 c@0 b@0 c@0"


def test_a_server_that_stopped_running_meanwhile_is_left_at_once() -> None:
    balancer = make(balance=Balance.SOURCE, hash_type=CONSISTENT, redispatch=-1)
    placement = place(balancer)
    balancer.check_failed("a", 0.0)
    assert attempts(balancer, placement) == "a@0 c@0 c@1 b@1"


def test_a_session_is_given_up_when_nothing_is_left_to_go_to() -> None:
    balancer = make("a", redispatch=-1)
    placement = place(balancer)
    balancer.check_failed("a", 0.0)
    # Somebody may come back during the pause.
    retry = balancer.failed(placement, REFUSED, 1.0)
    assert retry is not None
    assert (retry.delay, placement.stage) == (1.0, Stage.DISPLACED)
    with pytest.raises(NoServerError):
        balancer.reroute(placement, 2.0)
    assert balancer.release(placement, 2.0) == []
    picture = balancer.snapshot(2.0)
    assert (picture.connect_errors, picture.redispatches) == (1, 1)
    assert picture.servers[0].connect_errors == 0


def test_a_local_failure_is_not_the_servers_and_not_tried_again() -> None:
    balancer = make(redispatch=1)
    placement = place(balancer)
    assert balancer.failed(placement, LOCAL, 0.0) is None
    balancer.release(placement, 0.0)
    picture = balancer.snapshot(1.0)
    assert (picture.connect_errors, picture.retries, picture.redispatches) == (1, 0, 0)
    assert picture.servers[0].connect_errors == 0


# What HAProxy 2.6.12 counts for 10.0.0.1: stot, lbtot, wretr, wredis, econ of a, b and c.
@pytest.mark.parametrize(
    ("settings", "counted"),
    [
        ({"redispatch": 1}, "2 2 0 2 0, 2 2 0 1 1, 0 0 0 0 0"),
        ({"redispatch": 2}, "2 1 1 1 0, 2 1 1 0 1, 0 0 0 0 0"),
        ({"redispatch": -2, "retries": 4}, "3 1 2 1 0, 2 1 1 0 1, 0 0 0 0 0"),
        ({"redispatch": 1, "hash_type": HashType()}, "0 0 0 0 0, 0 0 0 0 0, 4 1 3 0 1"),
        ({"redispatch": -1, "balance": Balance.FIRST}, "2 2 0 2 0, 2 2 0 1 1, 0 0 0 0 0"),
        ({"redispatch": -1, "balance": Balance.ROUNDROBIN}, "2 2 0 1 1, 1 1 0 1 0, 1 1 0 1 0"),
    ],
)
def test_attempts_and_what_became_of_them_are_counted_as_haproxy_does(
    settings: dict[str, Any], counted: str
) -> None:
    balancer = make(**{"balance": Balance.SOURCE, "hash_type": CONSISTENT, **settings})
    attempts(balancer, place(balancer))
    whole = balancer.snapshot(9.0)
    parts = whole.servers
    rows = [(s.total, s.chosen, s.retries, s.redispatches, s.connect_errors) for s in parts]
    assert ", ".join(" ".join(map(str, row)) for row in rows) == counted
    sums = [sum(column) for column in zip(*rows, strict=True)]
    assert [whole.chosen, whole.retries, whole.redispatches, whole.connect_errors] == sums[1:]
    assert whole.total == 1


def test_after_a_redispatch_the_entry_names_the_server_that_took_the_client() -> None:
    balancer = make(stick=STICKY, redispatch=1)
    connect(balancer)
    moved = place(balancer)
    balancer.failed(moved, REFUSED, 0.0)
    balancer.connected(moved, 0.0)
    assert name_of(moved) == "b"
    assert name_of(place(balancer)) == "b"


def test_a_redispatch_hands_its_place_on_before_it_looks_for_another() -> None:
    balancer = make([server(name, maxconn=1) for name in "ab"], redispatch=1)
    mover, _, waiter, other = (place(balancer) for _ in range(4))
    retry = balancer.failed(mover, REFUSED, 0.0)
    balancer._check()
    assert retry is not None
    assert retry.admitted == (waiter,)
    assert (mover.is_queued, retry.delay, mover.reason) == (True, 0.0, Reason.REDISPATCH)
    assert where(waiter, other, mover) == "a--"


def test_who_is_to_move_after_a_pause_holds_no_place_in_it() -> None:
    balancer = make([server("a", maxconn=1)], redispatch=1)
    mover, waiter = place(balancer), place(balancer)
    retry = balancer.failed(mover, REFUSED, 0.0)
    balancer._check()
    assert retry is not None
    assert (retry.delay, retry.admitted, mover.stage) == (1.0, (waiter,), Stage.DISPLACED)
    assert place(balancer).is_queued
    balancer.reroute(mover, 1.0)
    balancer._check()
    assert (where(mover), mover.is_queued) == ("-", True)


def test_who_is_to_move_is_decided_for_by_what_there_is_after_the_pause() -> None:
    balancer = make([server("a"), server("b", backup=True)], redispatch=1)
    balancer.check_failed("a", 0.0)
    mover = place(balancer)
    assert name_of(mover) == "b"
    assert balancer.failed(mover, REFUSED, 0.0) is not None
    balancer.check_passed("a", 0.5)
    balancer.reroute(mover, 1.0)
    assert (name_of(mover), mover.reason) == ("a", Reason.REDISPATCH)
    whole = balancer.snapshot(2.0)
    assert (whole.redispatches, whole.retries) == (1, 0)


def test_who_leaves_in_the_pause_leaves_nothing_behind() -> None:
    balancer = make([server("a", maxconn=1)], redispatch=1)
    mover = place(balancer)
    balancer.failed(mover, REFUSED, 0.0)
    assert balancer.release(mover, 0.5) == []
    assert balancer.counters.current == 0
    assert not place(balancer).is_queued


def test_a_session_that_is_connected_ends_the_count_of_failed_attempts() -> None:
    balancer = make([server("a", observe=Observe(error_limit=2, on_error=OnError.MARK_DOWN))])
    for _ in range(3):
        placement = place(balancer)
        balancer.failed(placement, REFUSED, 0.0)
        balancer.connected(placement, 0.0)
        balancer.release(placement, 0.0)
    assert balancer.take_alarm(0.0) is None
    balancer.failed(place(balancer), REFUSED, 0.0)
    balancer.failed(place(balancer), REFUSED, 0.0)
    alarm = balancer.take_alarm(0.0)
    assert alarm is not None
    assert [change.new for change in alarm.changes] == ["DOWN"]
