"""Places and queues of a backend: who waits where, and who is let in."""

from __future__ import annotations

import pytest

from dsbalance.balancer import AdminState, Stage
from dsbalance.errors import NoServerError
from dsbalance.model import Balance, HashKind, HashType, StickRule
from dsbalance.policy import Reason
from routing import connect, make, name_of, place, server

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
CONSISTENT = HashType(kind=HashKind.CONSISTENT)
STICKY = (StickRule(),)


# --- places and queues ---------------------------------------------------------------------------


def test_all_full_is_a_turn_in_the_backends_queue_and_a_place_for_the_oldest() -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=1)])
    a, b, first, second = (place(balancer) for _ in range(4))
    assert first.is_queued
    assert first.server is None
    assert balancer.snapshot(0.0).queued == 2
    assert balancer.release(b, 1.0) == [first]
    assert (name_of(first), first.reason, first.stage) == ("b", Reason.QUEUE, Stage.CONNECTING)
    assert balancer.release(second, 1.0) == []
    assert balancer.release(a, 1.0) == []
    balancer._check()


def test_a_stuck_client_waits_for_its_full_server_and_for_no_other() -> None:
    balancer = make([server("a", maxconn=1), server("b")], stick=STICKY)
    holder = connect(balancer)
    stuck = place(balancer)
    assert stuck.is_queued
    assert name_of(stuck) == "a"
    assert balancer.snapshot(0.0).servers[0].queued == 1
    assert balancer.release(holder, 1.0) == [stuck]
    assert stuck.reason is Reason.STICKY


def test_a_session_that_is_released_twice_frees_its_place_once() -> None:
    balancer = make([server("a", maxconn=1)])
    holder, first, second = place(balancer), place(balancer), place(balancer)
    assert balancer.release(holder, 1.0) == [first]
    assert balancer.release(holder, 1.0) == []
    assert second.is_queued
    assert balancer.counters.current == 2


@pytest.mark.parametrize("method", ["check_failed", "set_admin", "remove_server"])
def test_those_who_wait_for_a_lost_server_are_decided_anew(method: str) -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=9)], stick=STICKY)
    connect(balancer)
    waiting = [place(balancer), place(balancer)]
    args = (MAINT, 1.0) if method == "set_admin" else (1.0,)
    (change,) = getattr(balancer, method)("a", *args)
    balancer._check()
    assert change.requeued == tuple(waiting)
    assert change.sessions == 1
    for placement in waiting:
        assert placement.stage is Stage.DISPLACED
        balancer.reroute(placement, 1.0)
        assert (name_of(placement), placement.reason) == ("b", Reason.ROUNDROBIN)
    assert balancer.snapshot(2.0).redispatches == 2


def test_those_who_wait_are_still_to_be_released_when_there_is_no_other_server() -> None:
    balancer = make([server("a", maxconn=1)], balance=Balance.SOURCE)
    holder, waiter = place(balancer), place(balancer)
    (change,) = balancer.check_failed("a", 1.0)
    assert change.requeued == (waiter,)
    with pytest.raises(NoServerError):
        balancer.reroute(waiter, 1.0)
    assert balancer.release(waiter, 1.0) == []
    assert balancer.release(holder, 1.0) == []
    assert balancer.counters.current == 0


@pytest.mark.parametrize(("redispatch", "requeued"), [(0, 0), (-1, 1)])
def test_those_who_wait_for_a_drained_server_may_go_if_a_redispatch_is_allowed(
    redispatch: int, requeued: int
) -> None:
    balancer = make([server("a", maxconn=1), server("b")], stick=STICKY, redispatch=redispatch)
    connect(balancer)
    place(balancer)
    (change,) = balancer.set_admin("a", DRAIN, 1.0)
    balancer._check()
    assert len(change.requeued) == requeued
    assert change.queued == 1 - requeued


def test_a_server_that_comes_up_takes_in_those_who_wait() -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=2)])
    balancer.check_failed("b", 0.0)
    _, *waiting = (place(balancer) for _ in range(4))
    (change,) = balancer.check_passed("b", 1.0)
    balancer._check()
    assert change.admitted == tuple(waiting[:2])
    assert [name_of(p) for p in change.admitted] == ["b", "b"]
    assert change.queued == 1
    (change,) = balancer.add_server(server("c"), 2.0)
    assert change.admitted == tuple(waiting[2:])
    assert (change.old, change.new, change.reason) == ("", "UP", "added")


def test_those_who_wait_for_any_server_wait_on_when_all_are_lost_as_in_haproxy() -> None:
    balancer = make([server("a", maxconn=1)])
    holder, waiter = place(balancer), place(balancer)
    (change,) = balancer.check_failed("a", 1.0)
    assert change.requeued == ()
    assert waiter.is_queued
    assert balancer.release(holder, 2.0) == []
    (change,) = balancer.check_passed("a", 3.0)
    assert change.admitted == (waiter,)
