"""Who is chosen, and what becomes of a session that finds no room."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.balancer import AdminState, Failure
from dsbalance.choosing import make_policies
from dsbalance.errors import NoServerError
from dsbalance.hashing import SourceConsistent
from dsbalance.model import Backend, Balance, HashKind, HashType, Server, StickRule
from dsbalance.policy import Candidates, Client, Guarded, Reason
from routing import client, connect, make, name_of, place, server, where

CONSISTENT: dict[str, Any] = {
    "balance": Balance.SOURCE,
    "hash_type": HashType(kind=HashKind.CONSISTENT),
}
STICKY = (StickRule(),)


class Stubborn:
    """A policy of a user's own that knows one server alone."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.get("a")


# --- which policy --------------------------------------------------------------------------------


def test_active_servers_and_backups_have_policies_of_their_own() -> None:
    active, backups = make_policies(Backend(name="x", **CONSISTENT), None)
    assert isinstance(active, SourceConsistent)
    assert type(backups) is type(active)
    assert backups is not active


def test_the_walk_of_static_rr_goes_on_in_the_other_group() -> None:
    backend = Backend(name="x", balance=Balance.STATIC_RR)
    active, backups = make_policies(backend, None)
    assert backups is active


def test_a_policy_of_the_users_own_is_guarded_in_both_groups() -> None:
    guards = make_policies(Backend(name="x"), Stubborn())
    assert all(isinstance(guard, Guarded) for guard in guards)


def test_what_a_policy_of_the_users_own_did_wrong_is_told_for_either_group() -> None:
    spare = server("b", backup=True)
    balancer = make([server("a"), spare], policy=Stubborn(), allbackups=True)
    assert name_of(place(balancer)) == "a"
    assert balancer.take_complaint() is None
    balancer.check_failed("a", 0.0)
    assert name_of(place(balancer)) == "b"
    complaint = balancer.take_complaint()
    assert complaint is not None
    assert "raised KeyError" in complaint


# --- the only backup -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"balance": Balance.ROUNDROBIN}, "bB"),
        ({"balance": Balance.LEASTCONN}, "bB"),
        ({"balance": Balance.FIRST}, "bB"),
        (CONSISTENT, "bB"),
        ({"balance": Balance.SOURCE}, "bB"),
        ({"balance": Balance.STATIC_RR}, "b-"),
        ({"balance": Balance.RANDOM}, "b-"),
        ({"balance": Balance.ROUNDROBIN, "allbackups": True}, "b-"),
    ],
)
def test_the_only_backup_is_taken_though_it_is_full_by_those_who_do_not_look(
    settings: dict[str, Any], found: str
) -> None:
    backup = server("b", backup=True, maxconn=1)
    balancer = make([server("a", disabled=True), backup], **settings)
    visits = [place(balancer) for _ in range(2)]
    assert where(*visits) == found
    assert visits[1].is_queued
    assert {visit.reason for visit in visits} == {Reason.BACKUP}


def test_backups_take_turns_of_their_own() -> None:
    names = [server(name, backup=name in "cd") for name in "abcd"]
    balancer = make(names, allbackups=True)
    assert where(*(place(balancer) for _ in range(3))) == "aba"
    for name in "ab":
        balancer.set_admin(name, AdminState.DRAIN, 0.0)
    assert where(*(place(balancer) for _ in range(3))) == "cdc"
    for name in "ab":
        balancer.set_admin(name, AdminState.READY, 0.0)
    balancer.set_admin("a", AdminState.DRAIN, 0.0)
    balancer.set_admin("b", AdminState.DRAIN, 0.0)
    assert where(place(balancer)) == "d", "they go on where they were"


# --- who overtakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balance", "last"),
    [
        (Balance.ROUNDROBIN, "-"),
        (Balance.STATIC_RR, "-"),
        (Balance.FIRST, "-"),
        # These look at the servers, and not at who waits.
        (Balance.LEASTCONN, "a"),
    ],
)
def test_nobody_overtakes_who_waits_where_servers_take_turns(balance: Balance, last: str) -> None:
    growing = server("a", minconn=1, maxconn=2)
    balancer = make([growing], balance=balance, fullconn=4)
    visits = [place(balancer) for _ in range(4)]
    # With the fourth session there is room for a second one.
    assert where(*visits) == f"a--{last}"


# --- a queue that is full ------------------------------------------------------------------------


def test_who_finds_the_queue_of_its_server_full_is_refused() -> None:
    balancer = make([server("a", maxconn=1, maxqueue=1)], **CONSISTENT)
    visits = [place(balancer) for _ in range(2)]
    assert where(*visits) == "aA"
    with pytest.raises(NoServerError, match="x: the queue of a is full") as refusal:
        balancer.route(client(), 0.0)
    assert refusal.value.is_full
    balancer._check()
    assert balancer.counters.current == 2
    assert balancer.snapshot(0.0).servers[0].connect_errors == 1


def test_who_is_stuck_to_a_server_with_a_full_queue_is_decided_anew_if_that_is_allowed() -> None:
    names = [server(name, maxconn=1, maxqueue=1) for name in "ab"]
    balancer = make(names, balance=Balance.LEASTCONN, stick=STICKY, redispatch=-1)
    assert where(connect(balancer), place(balancer)) == "aA"
    moved = connect(balancer)
    assert (where(moved), moved.reason, moved.is_persistent) == ("b", Reason.REDISPATCH, False)
    assert balancer.snapshot(0.0).servers[0].redispatches == 1
    # From now on the entry says so.
    assert where(place(balancer)) == "B"


def test_who_is_stuck_to_a_server_with_a_full_queue_is_refused_if_it_is_not() -> None:
    names = [server(name, maxconn=1, maxqueue=1) for name in "ab"]
    balancer = make(names, stick=STICKY)
    assert where(connect(balancer), place(balancer)) == "aA"
    with pytest.raises(NoServerError, match="the queue of a is full"):
        balancer.route(client(), 0.0)


def test_a_redispatch_that_finds_a_queue_full_ends_the_session_and_frees_its_place() -> None:
    names = [server("a", maxconn=1), server("b", maxconn=1, maxqueue=1)]
    balancer = make(names, redispatch=1, **CONSISTENT)
    mover, waiter = place(balancer), place(balancer)
    assert where(mover, waiter) == "aA"
    # Of the other addresses, so many belong to b that its queue is full.
    others = (client(f"10.0.0.{number}") for number in range(2, 100))
    while not balancer.states["b"].queue:
        other = place(balancer, next(others))
        if name_of(other) == "a":
            balancer.release(other, 0.0)
    assert balancer.failed(mover, Failure.REFUSED, 0.0) is None
    balancer._check()
    counted = {s.name: (s.redispatches, s.connect_errors) for s in balancer.snapshot(0.0).servers}
    assert counted == {"a": (1, 0), "b": (0, 1)}
    # Whoever waited has the place, and is told of it now.
    assert balancer.release(mover, 0.0) == [waiter]
    assert where(waiter) == "a"


# --- nobody, or the same one ---------------------------------------------------------------------


def test_who_finds_nobody_is_refused_and_counted_at_the_backend() -> None:
    balancer = make("a")
    balancer.set_admin("a", AdminState.DRAIN, 0.0)
    with pytest.raises(NoServerError, match="x: no server is usable: 1 DRAIN") as refusal:
        balancer.route(client(), 0.0)
    assert not refusal.value.is_full
    assert balancer.counters.connect_errors == 1


def test_a_redispatch_that_comes_back_to_the_same_server_is_a_retry() -> None:
    balancer = make("ab", policy=Stubborn(), redispatch=1)
    mover = place(balancer)
    retry = balancer.failed(mover, Failure.REFUSED, 0.0)
    balancer._check()
    assert retry is not None
    assert (retry.delay, where(mover), mover.reason) == (0.0, "a", Reason.POLICY)
    a, _ = balancer.snapshot(0.0).servers
    assert (a.retries, a.redispatches, a.chosen, a.total) == (1, 0, 1, 2)


def test_a_redispatch_for_which_nobody_is_left_is_refused_after_its_pause() -> None:
    balancer = make([server("a", maxconn=1)], redispatch=1)
    mover, waiter = place(balancer), place(balancer)
    balancer.check_failed("a", 0.0)
    retry = balancer.failed(mover, Failure.REFUSED, 0.0)
    assert retry is not None
    assert (retry.delay, retry.admitted) == (1.0, ())
    with pytest.raises(NoServerError):
        balancer.reroute(mover, 1.0)
    assert balancer.release(mover, 1.0) == []
    balancer._check()
    assert waiter.is_queued
    # HAProxy counts it at the server that was left, though there was nowhere to go.
    assert balancer.snapshot(1.0).redispatches == 1


def test_who_goes_elsewhere_after_the_pause_counts_as_redispatched() -> None:
    balancer = make([server("a"), server("b", backup=True)], redispatch=1)
    mover = place(balancer)
    assert balancer.failed(mover, Failure.REFUSED, 0.0) is not None
    balancer.check_failed("a", 0.5)
    balancer.reroute(mover, 1.0)
    assert (where(mover), mover.reason) == ("b", Reason.REDISPATCH)
    counted = [(s.retries, s.redispatches, s.chosen) for s in balancer.snapshot(1.0).servers]
    assert counted == [(0, 1, 1), (0, 0, 1)]


def test_who_lost_its_turn_is_decided_anew_and_avoids_nobody() -> None:
    balancer = make([server("a", maxconn=1), server("b", disabled=True)], **CONSISTENT)
    holder, waiter = place(balancer), place(balancer)
    (change,) = balancer.check_failed("a", 0.0)
    assert change.requeued == (waiter,)
    balancer.check_passed("a", 1.0)
    balancer.reroute(waiter, 1.0)
    assert (where(holder, waiter), waiter.reason) == ("aA", Reason.HASH)
    assert balancer.snapshot(1.0).redispatches == 1, "when it lost its turn, and not again"
