"""What an operator may set of a server while it has sessions, and what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState, Health
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.errors import ConfigError
from dsbalance.model import Balance, Check, HashKey, HashKind, HashType, Server, StickRule
from dsbalance.policy import Reason
from dsbalance.sticky import StickTable
from dsbalance.words import SrvKey
from routing import client, connect, make, name_of, place, server, where

MAINT, READY = AdminState.MAINT, AdminState.READY
CONSISTENT = HashType(kind=HashKind.CONSISTENT)


# --- the limit of sessions -----------------------------------------------------------------------


def test_a_higher_limit_lets_those_in_who_wait_the_oldest_first() -> None:
    balancer = make([server("a", maxconn=1)])
    first, *waiting = [place(balancer) for _ in range(4)]
    assert where(first, *waiting) == "a---"
    admitted = balancer.settings.set_maxconn("a", 3, 1.0)
    balancer._check()
    assert list(admitted) == waiting[:2]
    assert where(first, *waiting) == "aaa-"


def test_without_a_limit_nobody_waits() -> None:
    balancer = make([server("a", maxconn=1, minconn=1)])
    waiting = [place(balancer) for _ in range(3)][1:]
    assert list(balancer.settings.set_maxconn("a", None, 1.0)) == waiting
    balancer._check()
    assert name_of(place(balancer)) == "a"
    assert (balancer.states["a"].limit, balancer.states["a"].server.minconn) == (None, None)


def test_under_a_lower_limit_everybody_keeps_the_place_and_nobody_else_gets_one() -> None:
    balancer = make([server("a", maxconn=3)])
    placed = [place(balancer) for _ in range(3)]
    assert balancer.settings.set_maxconn("a", 1, 1.0) == ()
    balancer._check()
    waiting = place(balancer)
    assert waiting.is_queued
    for placement in placed[:2]:
        assert balancer.release(placement, 2.0) == []
        balancer._check()
    assert balancer.release(placed[2], 2.0) == [waiting]
    balancer._check()


def test_a_limit_below_the_least_takes_the_least_along() -> None:
    balancer = make([server("a", maxconn=10, minconn=5)], fullconn=100)
    balancer.settings.set_maxconn("a", 2, 1.0)
    assert balancer.states["a"].server.minconn == 2
    assert balancer.states["a"].limit == 2


def test_who_waits_for_a_server_that_is_down_stays_where_it_is() -> None:
    balancer = make([server("a", maxconn=1)], persist=True, stick=(StickRule(),))
    held = connect(balancer)
    waiting = place(balancer)
    assert waiting.is_queued
    balancer.set_health("a", Health.DOWN, 1.0)
    assert balancer.settings.set_maxconn("a", 5, 2.0) == ()
    assert waiting.is_queued
    assert balancer.release(held, 3.0) == [waiting]


@pytest.mark.parametrize("maxconn", [0, -1])
def test_a_limit_that_is_none_is_refused(maxconn: int) -> None:
    balancer = make([server("a", maxconn=3)])
    with pytest.raises(ConfigError, match="maxconn must be at least 1"):
        balancer.settings.set_maxconn("a", maxconn, 1.0)
    assert balancer.states["a"].maxconn == balancer.states["a"].server.maxconn == 3


@given(st.lists(st.sampled_from(["come", "go", 1, 2, 5, None]), max_size=30))
def test_nobody_waits_while_there_is_room_whatever_the_limit_was(acts: list[object]) -> None:
    balancer = make([server("a", maxconn=2), server("b", maxconn=1)])
    placed = []
    for act in acts:
        if act == "come":
            placed.append(place(balancer))
        elif act == "go":
            if placed:
                balancer.release(placed.pop(0), 1.0)
        else:
            assert act is None or isinstance(act, int)
            balancer.settings.set_maxconn("a", act, 1.0)
        balancer._check()
        state = balancer.states["a"]
        has_room = state.maxconn is None or len(state.placements) < state.maxconn
        waiting = [placement for placement in placed if placement.is_queued]
        assert not (has_room and waiting)


# --- the address ---------------------------------------------------------------------------------


def test_a_server_is_where_it_was_put_and_the_policy_goes_on() -> None:
    balancer = make("ab", balance=Balance.ROUNDROBIN)
    before = place(balancer)
    balancer.settings.set_address("b", "192.0.2.77", 7777, 1.0)
    balancer._check()
    moved = balancer.states["b"].server
    assert (moved.host, moved.port) == ("192.0.2.77", 7777)
    assert where(before, place(balancer), place(balancer), place(balancer)) == "abab"


def test_what_is_not_said_of_an_address_stays() -> None:
    balancer = make("a")
    balancer.settings.set_address("a", None, 7, 1.0)
    balancer.settings.set_address("a", "2001:db8::1", None, 2.0)
    moved = balancer.states["a"].server
    assert (moved.host, moved.port) == ("2001:db8::1", 7)


def test_entries_know_a_server_by_its_new_address_and_by_its_id() -> None:
    table = StickTable(size=10, ttl=60.0, srvkey=SrvKey.ADDR)
    servers = [Server(name=name, host=f"192.0.2.{n}", port=9) for n, name in enumerate("ab", 1)]
    balancer = make(servers, table=table, stick=(StickRule(),))
    stuck, other = client("10.0.0.1"), client("10.0.0.2")
    table.store(stuck.packed, "192.0.2.1:9", 0.0)
    table.store(other.packed, "192.0.2.50:9", 0.0)
    assert name_of(place(balancer, stuck)) == "a"
    balancer.settings.set_address("a", "192.0.2.50", None, 2.0)
    moved = place(balancer, other)
    assert (name_of(moved), moved.reason) == ("a", Reason.STICKY)
    # An entry that names nobody's address is that of the server with its id, as in HAProxy.
    assert name_of(place(balancer, stuck)) == "a"
    # Whoever is where it was gets those who were sent there.
    balancer.settings.set_address("b", "192.0.2.1", None, 3.0)
    heir = place(balancer, stuck)
    assert (name_of(heir), heir.reason) == ("b", Reason.STICKY)


def test_of_two_servers_with_one_address_the_other_stays_known_by_it() -> None:
    table = StickTable(size=10, ttl=60.0, srvkey=SrvKey.ADDR)
    balancer = make("ab", table=table, stick=(StickRule(),))
    table.store(client().packed, "192.0.2.1:9", 0.0)
    assert name_of(place(balancer)) == "a"
    balancer.settings.set_address("a", "192.0.2.50", None, 2.0)
    assert name_of(place(balancer)) == "b"


def test_a_ring_made_of_addresses_is_made_anew() -> None:
    servers = [
        Server(name=name, host=f"192.0.2.{number}", port=9, hash_key=HashKey.ADDR)
        for number, name in enumerate("abc", 1)
    ]
    sources = [client(f"10.0.{n}.1") for n in range(200)]
    balancer = make(servers, balance=Balance.SOURCE, hash_type=CONSISTENT)
    before = [name_of(place(balancer, source)) for source in sources]
    balancer.settings.set_address("b", "198.51.100.9", None, 1.0)
    after = [name_of(place(balancer, source)) for source in sources]
    assert before != after
    assert {(old, new) for old, new in zip(before, after, strict=True) if old != new} <= {
        ("a", "b"),
        ("c", "b"),
        ("b", "a"),
        ("b", "c"),
    }


@pytest.mark.parametrize(
    ("host", "port", "sentence"),
    [
        ("somewhere", None, "'somewhere' is no IP address"),
        (None, 70_000, "port must be 1 to 65535"),
    ],
)
def test_what_is_no_address_is_refused_and_changes_nothing(
    host: str | None, port: int | None, sentence: str
) -> None:
    balancer = make("a")
    before = balancer.states["a"].server
    with pytest.raises(ConfigError, match=sentence):
        balancer.settings.set_address("a", host, port, 1.0)
    assert balancer.states["a"].server is before


# --- the checks ----------------------------------------------------------------------------------


def test_the_checks_of_a_server_may_go_to_another_port() -> None:
    balancer = make([server("a", check=Check(ports=(5,)))])
    balancer.settings.set_check_port("a", 6, 1.0)
    check = balancer.states["a"].server.check
    assert check is not None
    assert check.ports == (6,)
    balancer._check()


@pytest.mark.parametrize(
    ("check", "port", "sentence"),
    [
        (None, 6, "server a: it has no checks"),
        (Check(ports=(5, 7)), 6, "server a: its checks have several ports"),
        (Check(ports=(5,)), 0, "check port must be 1 to 65535"),
    ],
)
def test_a_port_that_no_check_could_go_to_is_refused(
    check: Check | None, port: int, sentence: str
) -> None:
    balancer = make([server("a", check=check)])
    with pytest.raises(ConfigError, match=sentence):
        balancer.settings.set_check_port("a", port, 1.0)
    assert balancer.states["a"].server.check == check


def test_a_server_whose_checks_were_stopped_is_not_checked_and_keeps_its_state() -> None:
    balancer = make("ab")
    settings = balancer.settings
    balancer.set_health("b", Health.DOWN, 1.0)
    for name in "ab":
        settings.set_checks(name, is_on=False)
    a, b = balancer.snapshot(2.0).servers
    assert (a.status, a.is_usable, b.status) == ("no check", True, "DOWN")
    assert a.check is not None
    assert a.check.is_paused
    balancer.set_admin("a", MAINT, 3.0)
    assert balancer.snapshot(3.0).servers[0].status == "MAINT"
    balancer.set_admin("a", READY, 4.0)
    assert balancer.snapshot(4.0).servers[0].status == "no check"
    settings.set_checks("a", is_on=True)
    assert balancer.snapshot(4.0).servers[0].status == "UP"


def test_who_tracks_a_server_whose_checks_were_stopped_is_not_checked_either() -> None:
    leader, follower = make("a"), make([server("t", check=None, track="x/a")])
    follower.follow("t", leader.states["a"])
    leader.settings.set_checks("a", is_on=False)
    assert follower.snapshot(0.0).servers[0].status == "no check"


def test_a_server_without_checks_has_none_to_stop() -> None:
    balancer = make([server("a", check=None)])
    balancer.settings.set_checks("a", is_on=False)
    assert not balancer.states["a"].is_check_paused


def test_what_a_check_came_to_is_kept_whatever_follows_from_it() -> None:
    balancer = make("ab")
    result = CheckResult(status=CheckStatus.L4CON, port=9, detail="Connection refused")
    balancer.settings.note_checking("b", is_running=True)
    balancer.settings.note_check("a", 3.0, result)
    a, b = balancer.snapshot(5.0).servers
    assert a.check is not None
    assert (a.check.last, a.check.ended_at, a.check.is_running) == (result, 2.0, False)
    assert a.last_check == "Layer4 connection problem at port 9 (Connection refused)"
    assert b.check is not None
    assert (b.last_check, b.check.is_running) == ("", True)


def test_a_check_of_a_server_that_has_gone_is_nothing_to_keep() -> None:
    settings = make("a").settings
    settings.note_check("gone", 3.0, CheckResult(status=CheckStatus.L4OK, port=9))
    settings.note_checking("gone", is_running=True)


# --- the past ------------------------------------------------------------------------------------


def test_a_state_may_have_lasted_for_some_time() -> None:
    balancer = make("ab")
    balancer.set_health("b", Health.DOWN, 100.0)
    for name in "ab":
        balancer.settings.backdate(name, 30.0, 100.0)
    a, b = balancer.snapshot(105.0).servers
    assert (a.seconds_in_state, a.downtime) == (35.0, 0.0)
    assert (b.seconds_in_state, b.downtime) == (35.0, 35.0)


def test_a_server_that_is_not_there_is_refused() -> None:
    settings = make("a").settings
    for act in (
        lambda: settings.set_maxconn("z", 1, 0.0),
        lambda: settings.set_address("z", None, 1, 0.0),
        lambda: settings.set_check_port("z", 1, 0.0),
        lambda: settings.set_checks("z", is_on=True),
        lambda: settings.find("z"),
    ):
        with pytest.raises(ConfigError, match="there is no server 'z'"):
            act()


# --- what was counted ----------------------------------------------------------------------------


def test_the_highest_values_are_forgotten_and_the_totals_stay() -> None:
    balancer = make([server("a", maxconn=1)])
    first, second = place(balancer), place(balancer)
    balancer.settings.clear(is_all=False)
    whole = balancer.snapshot(1.0)
    (a,) = whole.servers
    assert (whole.peak, whole.queued_peak, a.peak) == (0, 0, 0)
    assert (whole.total, whole.current, a.total, a.current) == (2, 2, 1, 1)
    balancer.release(first, 2.0)
    balancer.release(second, 2.0)
    place(balancer)
    assert balancer.snapshot(3.0).peak == 1


def test_all_that_was_counted_is_forgotten_but_not_what_is_now() -> None:
    balancer = make("ab")
    placed = place(balancer)
    balancer.set_health("a", Health.DOWN, 10.0)
    balancer.set_health("a", Health.UP, 20.0)
    balancer.set_health("b", Health.DOWN, 30.0)
    balancer.remove_server("b", 40.0)
    balancer.settings.clear(is_all=True)
    whole = balancer.snapshot(50.0)
    (a,) = whole.servers
    assert (whole.total, whole.chosen, whole.current) == (0, 0, 1)
    assert (a.total, a.downs, a.downtime, a.since_used) == (0, 0, 0.0, None)
    assert (a.current, a.seconds_in_state, a.status) == (1, 30.0, "UP")
    balancer.release(placed, 51.0)
    balancer._check()
