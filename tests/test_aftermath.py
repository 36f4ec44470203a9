"""What a change of a server means for those who are there, and for those who wait."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.balancer import AdminState, Balancer, Failure, Health
from dsbalance.model import Balance, Check, Observe, OnError, StickRule
from dsbalance.placement import Placement
from routing import connect, make, name_of, place, requeue, server, where

READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
REFUSED = Failure.REFUSED
STICKY = (StickRule(),)


def full(**settings: Any) -> tuple[Balancer, Placement, Placement]:
    """Return a balancer whose server a has a session, and another one that waits for it."""
    servers = [server("a", maxconn=1), server("b", maxconn=1)]
    balancer = make(servers, stick=STICKY, **settings)
    holder, waiter = connect(balancer), place(balancer)
    assert where(holder, waiter) == "aA"
    return balancer, holder, waiter


# --- those who wait for a server that leaves -----------------------------------------------------


@pytest.mark.parametrize("redispatch", [0, -1])
def test_who_waits_for_a_server_that_goes_down_is_decided_anew(redispatch: int) -> None:
    balancer, holder, waiter = full(redispatch=redispatch)
    (change,) = balancer.check_failed("a", 1.0)
    assert (change.requeued, change.shutdown) == ((waiter,), ())
    requeue(balancer, [change])
    assert where(holder, waiter) == "ab"


@pytest.mark.parametrize("is_weightless", [False, True])
@pytest.mark.parametrize("redispatch", [0, -1])
def test_who_waits_for_a_server_that_is_drained_may_go_if_a_redispatch_is_allowed(
    redispatch: int, is_weightless: bool
) -> None:
    balancer, _, waiter = full(redispatch=redispatch)
    if is_weightless:
        (change,) = balancer.set_weight("a", 0, 0.0)
        assert change.requeued == ()
    (change,) = balancer.set_admin("a", DRAIN, 1.0)
    assert change.requeued == ((waiter,) if redispatch else ())


def test_who_waits_for_a_server_that_is_stopping_may_go_too() -> None:
    balancer, _, waiter = full(redispatch=-1)
    (change,) = balancer.set_health("a", Health.STOPPING, 1.0)
    assert change.requeued == (waiter,)


def test_who_waits_stays_where_servers_are_used_though_they_are_down() -> None:
    balancer, holder, waiter = full(redispatch=-1, persist=True)
    (change,) = balancer.check_failed("a", 1.0)
    assert change.requeued == ()
    assert balancer.release(holder, 2.0) == [waiter]
    balancer.release(waiter, 3.0)
    assert where(place(balancer)) == "a"


def test_who_waits_for_a_server_that_is_removed_is_decided_anew_in_any_case() -> None:
    balancer, _, waiter = full(persist=True)
    (change,) = balancer.remove_server("a", 1.0)
    assert change.requeued == (waiter,)


# --- those who wait for any ----------------------------------------------------------------------


@pytest.mark.parametrize("admin", [MAINT, DRAIN])
def test_a_server_that_comes_back_takes_in_those_who_wait(admin: AdminState) -> None:
    balancer = make([server("a", maxconn=1), server("b", maxconn=2)])
    balancer.set_admin("b", admin, 0.0)
    visits = [place(balancer) for _ in range(4)]
    assert where(*visits) == "a---"
    (change,) = balancer.set_admin("b", READY, 1.0)
    assert change.admitted == tuple(visits[1:3])
    assert where(*visits) == "abb-"


def test_backups_take_in_those_who_wait_when_the_last_active_server_leaves() -> None:
    balancer = make([server("a", maxconn=1), server("b", backup=True)])
    visits = [place(balancer) for _ in range(3)]
    (change,) = balancer.set_admin("a", DRAIN, 1.0)
    assert change.admitted == tuple(visits[1:])
    assert where(*visits) == "abb"


# --- sessions that end ---------------------------------------------------------------------------


def test_sessions_end_with_their_server_if_that_is_wanted() -> None:
    balancer = make([server("a", shutdown_on_down=True), server("b")])
    visit = connect(balancer)
    (change,) = balancer.check_failed("a", 1.0)
    assert (name_of(visit), change.shutdown, change.is_down) == ("a", (visit,), True)


@pytest.mark.parametrize(
    ("way", "is_ended"),
    [("health", True), ("stopping", True), ("maint", True), ("drain", False), ("weight", False)],
)
def test_sessions_of_backups_end_when_a_server_is_up_that_wants_it(
    way: str, is_ended: bool
) -> None:
    active = server("a", shutdown_backups_on_up=True)
    balancer = make([active, server("b", backup=True), server("c", backup=True)], allbackups=True)
    leave, come = {
        "health": (("set_health", Health.DOWN), ("set_health", Health.UP)),
        "stopping": (("set_health", Health.STOPPING), ("set_health", Health.UP)),
        "maint": (("set_admin", MAINT), ("set_admin", READY)),
        "drain": (("set_admin", DRAIN), ("set_admin", READY)),
        "weight": (("set_weight", 0), ("set_weight", 1)),
    }[way]
    getattr(balancer, leave[0])("a", leave[1], 0.0)
    visits = {connect(balancer), connect(balancer)}
    (change,) = getattr(balancer, come[0])("a", come[1], 1.0)
    assert set(change.shutdown) == (visits if is_ended else set())
    assert not change.is_down


def test_nobody_ends_for_a_backup_that_comes_up() -> None:
    pool = [server(n, backup=True, shutdown_backups_on_up=True) for n in "bc"]
    balancer = make([server("a", disabled=True), *pool])
    balancer.check_failed("c", 0.0)
    connect(balancer)
    (change,) = balancer.check_passed("c", 1.0)
    assert change.shutdown == ()


def test_nobody_ends_for_a_server_that_takes_nobody() -> None:
    active = server("a", shutdown_backups_on_up=True, weight=0)
    balancer = make([active, server("b", backup=True, shutdown_backups_on_up=True)])
    balancer.check_failed("a", 0.0)
    connect(balancer)
    (change,) = balancer.check_passed("a", 1.0)
    assert change.shutdown == ()


# --- traffic that is observed --------------------------------------------------------------------

WATCHED = Check(rise=3, fall=4)


def observed(on_error: OnError, **settings: Any) -> Balancer:
    """Return a balancer of two servers, the first of which is fully up and observed."""
    first = server(
        "a", check=WATCHED, observe=Observe(error_limit=3, on_error=on_error), **settings
    )
    balancer = make([first, server("b")], balance=Balance.FIRST, redispatch=0)
    balancer.check_passed("a", 0.0)
    return balancer


def refuse(balancer: Balancer, count: int) -> None:
    placement = place(balancer)
    for _ in range(count):
        assert balancer.failed(placement, REFUSED, 1.0) is not None
    balancer.release(placement, 1.0)


# Observed on HAProxy 2.6.12, rise 3 and fall 4.
@pytest.mark.parametrize(
    ("on_error", "status"),
    [
        (OnError.FASTINTER, "UP"),
        (OnError.FAIL_CHECK, "UP 3/4"),
        (OnError.SUDDEN_DEATH, "UP 1/4"),
        (OnError.MARK_DOWN, "DOWN"),
    ],
)
def test_as_many_failures_as_are_allowed_have_the_consequence_that_is_asked_for(
    on_error: OnError, status: str
) -> None:
    balancer = observed(on_error)
    refuse(balancer, 2)
    assert balancer.take_alarm(1.0) is None
    refuse(balancer, 1)
    alarm = balancer.take_alarm(1.0)
    assert alarm is not None
    assert alarm.servers == ("a",)
    assert balancer.states["a"].status == status
    assert [c.new for c in alarm.changes] == (["DOWN"] if status == "DOWN" else [])
    assert balancer.take_alarm(1.0) is None
    if status == "DOWN":
        assert alarm.changes[0].reason == "3 failed connects in a row"
        assert where(place(balancer)) == "b"


def test_a_success_begins_the_count_anew_and_so_does_a_passed_check() -> None:
    balancer = observed(OnError.MARK_DOWN)
    refuse(balancer, 2)
    connect(balancer)
    refuse(balancer, 2)
    balancer.check_passed("a", 1.0)
    refuse(balancer, 2)
    assert balancer.take_alarm(1.0) is None
    refuse(balancer, 1)
    assert balancer.take_alarm(1.0) is not None


def test_the_session_that_fails_finds_its_server_down_already() -> None:
    first = server("a", observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN))
    balancer = make([first, server("b"), server("c")], balance=Balance.FIRST, redispatch=-1)
    placement = place(balancer)
    retry = balancer.failed(placement, REFUSED, 1.0)
    assert retry is not None
    assert (retry.delay, name_of(placement)) == (0.0, "b")
    alarm = balancer.take_alarm(1.0)
    assert alarm is not None
    # It has left, so it is not among those who end with the server.
    assert [(c.server, c.new, c.shutdown) for c in alarm.changes] == [("a", "DOWN", ())]


def test_who_fails_at_a_server_that_is_down_alarms_nobody() -> None:
    balancer = observed(OnError.MARK_DOWN)
    placement = place(balancer)
    balancer.check_failed("a", 0.0)
    for _ in range(3):
        balancer.check_failed("a", 0.0)
    assert not balancer.states["a"].is_running
    for _ in range(3):
        balancer.failed(placement, REFUSED, 1.0)
    assert balancer.take_alarm(1.0) is None
