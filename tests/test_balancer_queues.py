"""Places and queues of a backend: who waits where, and who is let in."""

from __future__ import annotations

import pytest

from dsbalance.balancer import AdminState, Failure, Stage
from dsbalance.errors import NoServerError
from dsbalance.model import Balance, HashKind, HashType, StickRule
from dsbalance.policy import Reason
from routing import client, connect, make, name_of, place, requeue, server, where

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


# --- who is first --------------------------------------------------------------------------------


@pytest.mark.parametrize("balance", [Balance.ROUNDROBIN, Balance.LEASTCONN])
def test_a_place_goes_to_whoever_came_first_to_either_queue(balance: Balance) -> None:
    # Observed on HAProxy 2.6.12.
    balancer = make(
        [server(name, maxconn=1) for name in "ab"], stick=STICKY, balance=balance, redispatch=-1
    )
    stuck = client("10.0.0.1")
    holder = connect(balancer, stuck)
    connect(balancer, client("10.0.0.2"))
    order = [place(balancer, who) for who in (stuck, client("10.0.0.3"), stuck, client("10.0.0.4"))]
    assert where(*order) == "A-A-"
    for following in order:
        assert balancer.release(holder, 0.0) == [following]
        assert name_of(following) == "a"
        holder = following
    assert balancer.release(holder, 0.0) == []


def test_who_is_decided_anew_and_finds_no_room_stands_behind_those_who_wait() -> None:
    balancer = make([server(name, maxconn=1) for name in "ab"], stick=STICKY, redispatch=-1)
    stuck = client("10.0.0.1")
    connect(balancer, stuck)
    holder = connect(balancer, client("10.0.0.2"))
    own, shared = place(balancer, stuck), place(balancer, client("10.0.0.3"))
    requeue(balancer, balancer.set_admin("a", MAINT, 0.0))
    assert where(own, shared) == "--"
    assert balancer.release(holder, 0.0) == [shared]
    assert balancer.release(shared, 0.0) == [own]


def test_who_comes_out_of_the_backends_queue_takes_no_turn_of_the_policy() -> None:
    balancer = make([server(name, maxconn=1) for name in "abc"])
    holders = [place(balancer) for _ in range(3)]
    waiter = place(balancer)
    assert balancer.release(holders[1], 0.0) == [waiter]
    assert where(waiter) == "b"
    counted = [s.chosen for s in balancer.snapshot(0.0).servers]
    assert counted == [1, 1, 1]


# --- limits that move ----------------------------------------------------------------------------


# Observed on HAProxy 2.6.12: of n sessions the first ends, and so many of the others are let in.
@pytest.mark.parametrize(("count", "admitted"), [(3, 1), (4, 2), (5, 2), (6, 3), (8, 4), (9, 4)])
def test_an_end_lets_in_as_many_as_the_limit_allows_with_whoever_ends(
    count: int, admitted: int
) -> None:
    balancer = make([server("a", minconn=1, maxconn=10)], fullconn=20)
    holder, *waiting = (place(balancer) for _ in range(count))
    assert where(*waiting) == "-" * len(waiting)
    assert balancer.release(holder, 0.0) == waiting[:admitted]
    balancer._check()


def test_a_server_that_starts_slowly_lets_in_more_each_second() -> None:
    balancer = make([server("a", maxconn=4, slowstart=4.0)])
    balancer.check_failed("a", 0.0)
    assert balancer.check_passed("a", 10.0)[0].new == "UP"
    visits = [place(balancer, now=10.0) for _ in range(5)]
    assert where(*visits) == "a----"
    for second, admitted in ((1, 0), (2, 1), (3, 1), (4, 1), (5, 0)):
        assert len(balancer.step(10.0 + second)) == admitted
        balancer._check()
    assert where(*visits) == "aaaa-"


def test_only_with_minconn_or_a_slow_start_a_place_lets_in_several() -> None:
    balancer = make([server("a", maxconn=4)])
    visits = [place(balancer) for _ in range(8)]
    for index in range(4):
        assert balancer.release(visits[index], 0.0) == [visits[4 + index]]
    assert balancer.step(1.0) == ()


# --- a queue that is full ------------------------------------------------------------------------


def test_the_balances_look_at_maxqueue_as_in_haproxy() -> None:
    pool = [server(name, maxconn=1, maxqueue=1) for name in "ab"]
    expected = {
        Balance.LEASTCONN: "abAB--",
        Balance.ROUNDROBIN: "ab----",
        Balance.STATIC_RR: "ab----",
        Balance.FIRST: "ab----",
    }
    for balance, found in expected.items():
        balancer = make(pool, balance=balance)
        assert where(*(place(balancer) for _ in range(6))) == found


@pytest.mark.parametrize("hash_type", [CONSISTENT, HashType()])
def test_a_hashed_client_is_refused_though_others_have_room(hash_type: HashType) -> None:
    pool = [server(name, maxconn=1, maxqueue=1) for name in "abc"]
    balancer = make(pool, balance=Balance.SOURCE, hash_type=hash_type, redispatch=1)
    first, second = place(balancer), place(balancer)
    assert where(first, second) in {"aA", "bB", "cC"}
    before = balancer.counters.current
    with pytest.raises(NoServerError) as refusal:
        balancer.route(client(), 0.0)
    assert refusal.value.is_full
    assert balancer.counters.current == before
    assert balancer.release(first, 0.0) == [second]


def test_a_stuck_client_whose_second_server_is_full_too_is_refused() -> None:
    pool = [server(name, maxconn=1, maxqueue=1) for name in "ab"]
    balancer = make(pool, balance=Balance.SOURCE, hash_type=CONSISTENT, stick=STICKY, redispatch=-1)
    taken = [connect(balancer), place(balancer), connect(balancer), place(balancer)]
    assert where(*taken) in {"aAbB", "bBaA"}
    with pytest.raises(NoServerError):
        balancer.route(client(), 0.0)
    balancer._check()
    counted = {s.name: (s.redispatches, s.connect_errors) for s in balancer.snapshot(0.0).servers}
    # The last one looked at is at fault.
    second, first = name_of(taken[0]), name_of(taken[2])
    assert counted[first][0] == 1
    assert counted[second][1] == 1


# --- servers that are used although they are down -------------------------------------------------


@pytest.mark.parametrize(("persist", "name"), [(False, "b"), (True, "a")])
@pytest.mark.parametrize("act", ["check_failed", "maint"])
def test_a_stuck_client_goes_to_a_server_that_is_down_if_the_backend_persists(
    persist: bool, name: str, act: str
) -> None:
    balancer = make("ab", stick=STICKY, persist=persist)
    assert name_of(connect(balancer)) == "a"
    if act == "maint":
        balancer.set_admin("a", MAINT, 0.0)
    else:
        balancer.check_failed("a", 0.0)
    again = connect(balancer)
    assert name_of(again) == name
    # Nobody else does.
    assert name_of(place(balancer, client("10.0.0.2"))) == "b"


def test_a_server_that_is_down_and_refuses_is_left_at_once_and_forgotten() -> None:
    balancer = make("abc", stick=STICKY, persist=True, redispatch=-1)
    connect(balancer)
    balancer.check_failed("a", 0.0)
    stuck = place(balancer)
    assert name_of(stuck) == "a"
    retry = balancer.failed(stuck, Failure.REFUSED, 0.0)
    assert retry is not None
    assert (retry.delay, name_of(stuck)) == (0.0, "b")
    balancer.connected(stuck, 0.0)
    assert name_of(place(balancer)) == "b"
