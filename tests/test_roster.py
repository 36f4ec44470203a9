"""Which servers take new clients, and what is told of each change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dsbalance.counters import BackendCounters
from dsbalance.errors import ConfigError
from dsbalance.model import Backend, Check, Observe, OnError, Server
from dsbalance.pictures import picture_backend
from dsbalance.placement import AdminState, Crowd, Health, OpState, Placement
from dsbalance.policy import Client
from dsbalance.roster import Roster, complaint

CLIENT = Client("10.0.0.1", bytes([10, 0, 0, 1]), 5022)
READY, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT
WATCHED = Check(rise=2, fall=2)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **{"check": WATCHED, **settings})


def make(*servers: Server, **settings: Any) -> Roster:
    crowd = Crowd(BackendCounters())
    return Roster(Backend(name="x", servers=servers, **settings), crowd, 0.0, lambda _: 0)


def chosen_from(roster: Roster) -> str:
    roster.check()
    return "".join(each.name for each in roster.candidates)


@pytest.fixture
def roster() -> Iterator[Roster]:
    roster = make(server("a"), server("b"), server("c", backup=True), server("d", backup=True))
    yield roster
    roster.check()


# --- who is chosen from --------------------------------------------------------------------------


def test_backups_serve_while_no_active_server_can_and_the_first_of_them_alone(
    roster: Roster,
) -> None:
    assert chosen_from(roster) == "ab"
    roster.set_admin("a", MAINT, 1.0)
    assert chosen_from(roster) == "b"
    roster.set_admin("b", DRAIN, 2.0)
    assert chosen_from(roster) == "c"
    assert roster.candidates.is_backup
    roster.set_health("c", Health.DOWN, 3.0)
    assert chosen_from(roster) == "d"
    roster.set_health("c", Health.UP, 4.0)
    assert chosen_from(roster) == "c"
    roster.set_weight("b", 0, 5.0)
    roster.set_admin("b", READY, 6.0)
    assert chosen_from(roster) == "c"
    roster.set_weight("b", 5, 7.0)
    assert chosen_from(roster) == "b"
    assert not roster.candidates.is_backup


def test_all_backups_share_where_the_backend_says_so() -> None:
    roster = make(server("a"), *(server(n, backup=True) for n in "bc"), allbackups=True)
    roster.set_health("a", Health.DOWN, 1.0)
    assert chosen_from(roster) == "bc"


def test_candidates_are_the_same_object_until_they_change(roster: Roster) -> None:
    before = roster.candidates
    roster.check_passed("a", 1.0, "fine")
    roster.set_admin("d", MAINT, 2.0)
    assert roster.candidates is before
    roster.set_weight("a", 2, 3.0)
    assert roster.candidates is not before
    assert roster.candidates.get("a").weight == 2
    assert roster.candidates.weights == (1, 1, 1, 1)
    roster.add(server("e", weight=0), 4.0, None)
    # A map is made from the weights of all.
    assert list(roster.candidates.weights) == [1, 1, 1, 1, 0]


def test_the_backend_is_down_while_nobody_is_chosen_from() -> None:
    roster = make(server("a"), server("b"))
    roster.set_health("b", Health.DOWN, 1.0)
    assert picture_backend(roster, 0, 5.0).seconds_in_state == 5.0
    roster.set_health("a", Health.DOWN, 6.0)
    picture = picture_backend(roster, 2, 10.0)
    assert (picture.status, picture.downs, picture.seconds_in_state) == ("DOWN", 1, 4.0)
    assert (picture.active, picture.backups, picture.weight, picture.queued) == (0, 0, 0, 2)
    roster.set_health("a", Health.UP, 11.0)
    picture = picture_backend(roster, 0, 12.0)
    assert (picture.status, picture.downs, picture.seconds_in_state) == ("UP", 1, 1.0)
    assert picture_backend(make(), 0, 0.0).status == "UP"


def test_the_complaint_says_what_state_they_are_in() -> None:
    roster = make(
        server("a"), server("b", weight=0), server("c", disabled=True), server("d", weight=0)
    )
    roster.set_health("a", Health.DOWN, 1.0)
    roster.set_health("b", Health.DOWN, 1.0)
    assert (
        complaint(roster.states.values()) == "no server is usable: 2 DOWN, 1 MAINT, 1 of weight 0"
    )
    assert complaint([]) == "there is no server"


# --- what is told --------------------------------------------------------------------------------


def test_a_shift_says_what_the_server_was(roster: Roster) -> None:
    shift = roster.check_failed("a", 1.0, "refused")
    assert shift is not None
    assert shift[1:] == ("refused", "UP", OpState.RUNNING, True)
    assert shift.was_running
    assert (shift.state.word, shift.state.since) == ("DOWN", 1.0)
    assert shift.state.counters.downs == 1


def test_checks_that_change_nothing_are_counted_and_not_told(roster: Roster) -> None:
    counters = roster.states["a"].counters
    assert roster.check_passed("a", 1.0, "fine") is None
    assert counters.check_failures == 0
    assert roster.check_failed("a", 2.0, "late") is None
    assert counters.check_failures == 1
    assert roster.check_failed("a", 3.0, "late") is not None
    assert roster.check_failed("a", 4.0, "late") is None
    # HAProxy's `chkfail` counts those that failed while the server was up.
    assert counters.check_failures == 2


@pytest.mark.parametrize("name", ["a", "gone"])
def test_a_check_that_comes_late_does_not_count(roster: Roster, name: str) -> None:
    roster.set_admin("a", MAINT, 1.0)
    assert roster.check_failed(name, 2.0, "refused") is None
    assert roster.check_passed(name, 2.0, "fine") is None
    assert roster.states["a"].counters.check_failures == 0


def test_a_server_that_leaves_maintenance_is_up_and_one_failure_from_down(roster: Roster) -> None:
    roster.set_health("a", Health.DOWN, 1.0)
    roster.set_admin("a", MAINT, 2.0)
    assert roster.states["a"].counters.downs == 1
    roster.set_admin("a", DRAIN, 3.0)
    assert roster.states["a"].status == "DRAIN 1/2"
    roster.set_admin("a", READY, 4.0)
    assert roster.states["a"].status == "UP 1/2"


def test_asking_for_what_is_so_already_is_not_told(roster: Roster) -> None:
    assert roster.set_admin("a", READY, 1.0) is None
    assert roster.set_weight("a", 1, 1.0) is None
    assert roster.set_health("a", Health.UP, 1.0) is None
    assert roster.states["a"].since == 0.0


def test_a_new_weight_is_told_although_the_word_stays(roster: Roster) -> None:
    shift = roster.set_weight("a", 3, 1.0)
    assert shift is not None
    assert (shift.reason, shift.old, shift.state.word) == ("weight 1 -> 3", "UP", "UP")
    assert shift.state.since == 0.0
    with pytest.raises(ConfigError, match="weight must be 0 to 256, not 257"):
        roster.set_weight("a", 257, 2.0)
    assert roster.states["a"].server.weight == 3


# --- who comes and goes --------------------------------------------------------------------------


def test_a_server_that_is_added_stands_last_and_gets_the_lowest_free_id() -> None:
    roster = make(server("a", id=1), server("b", id=3))
    shift = roster.add(server("c"), 1.0, None)
    assert (shift.old, shift.state.word, shift.state.id) == ("", "UP", 2)
    assert (shift.was_running, shift.was_usable) == (False, False)
    assert roster.add(server("d", id=9), 2.0, None).state.id == 9
    assert chosen_from(roster) == "abcd"
    assert [each.name for each in roster.backend.servers] == ["a", "b", "c", "d"]
    roster.remove("a", 3.0)
    assert roster.add(server("e"), 4.0, None).state.id == 1


def test_a_name_or_an_id_that_is_taken_is_refused_and_nothing_changes() -> None:
    roster = make(server("a"), server("b"))
    with pytest.raises(ConfigError, match="server 'a' is given 2 times"):
        roster.add(server("a"), 1.0, None)
    with pytest.raises(ConfigError, match="backend x, server c: id 2 is taken"):
        roster.add(server("c", id=2), 1.0, None)
    assert chosen_from(roster) == "ab"


def test_a_follower_that_is_added_is_what_its_leader_is() -> None:
    roster = make(server("a"))
    roster.set_admin("a", MAINT, 1.0)
    roster.add(server("b", check=None, track="x/a"), 2.0, roster.states["a"])
    assert roster.states["b"].word == "MAINT (via x/a)"
    roster.set_admin("a", READY, 3.0)
    shift = roster.leader_changed("b", 3.0)
    assert shift is not None
    assert (shift.reason, shift.state.word) == ("via x/a", "UP")
    with pytest.raises(ConfigError, match="server b: its health is that of x/a"):
        roster.set_health("b", Health.DOWN, 4.0)
    # A follower has no health of its own that leaving maintenance could renew.
    roster.set_health("a", Health.DOWN, 5.0)
    roster.set_admin("b", MAINT, 6.0)
    roster.set_admin("b", READY, 7.0)
    assert roster.states["b"].word == "DOWN"


def test_a_server_follows_another_one_from_the_start() -> None:
    roster = make(server("a", disabled=True), server("b", check=None, track="x/a"))
    assert chosen_from(roster) == "b"
    roster.follow("b", roster.states["a"])
    assert chosen_from(roster) == ""
    assert roster.counters.downs == 0


def test_what_a_removed_server_counted_still_counts() -> None:
    roster = make(server("a"), server("b"), server("c"))
    session = Placement(CLIENT)
    first, second, third = roster.states.values()
    first.counters.bytes_in = 5
    first.placements.add(session)
    session.server = first
    session.stage = session.stage.CONNECTED
    assert roster.remove("a", 1.0)[2:] == ("UP", OpState.RUNNING, True)
    assert (first.word, first.is_running, first.is_usable) == ("", False, False)
    first.counters.bytes_in += 2
    second.counters.bytes_in = 10
    roster.remove("b", 2.0)
    assert chosen_from(roster) == "c"
    assert picture_backend(roster, 0, 3.0).bytes_in == 17
    first.placements.clear()
    roster.remove("c", 4.0)
    assert picture_backend(roster, 0, 5.0).bytes_in == 17
    assert picture_backend(roster, 0, 5.0).servers == ()
    # Those without a session are kept as sums, or a long life would pile them up.
    assert roster._removed == [third]


def test_a_name_that_is_not_there_is_refused(roster: Roster) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: roster.set_admin("z", READY, 1.0),
        lambda: roster.set_weight("z", 1, 1.0),
        lambda: roster.set_health("z", Health.UP, 1.0),
        lambda: roster.remove("z", 1.0),
        lambda: roster.follow("z", roster.states["a"]),
        lambda: roster.leader_changed("z", 1.0),
    ]
    for act in attempts:
        with pytest.raises(ConfigError, match="backend x: there is no server 'z'"):
            act()


# --- traffic, and slow starts --------------------------------------------------------------------


def test_failed_attempts_are_counted_until_there_are_too_many() -> None:
    observe = Observe(error_limit=2, on_error=OnError.MARK_DOWN)
    roster = make(server("a", observe=observe), server("b"))
    a = roster.states["a"]
    assert roster.attempt_failed(a, 1.0) == (False, None)
    is_alarmed, shift = roster.attempt_failed(a, 2.0)
    assert is_alarmed
    assert shift is not None
    assert (shift.old, a.word, shift.reason) == ("UP", "DOWN", "2 failed connects in a row")
    assert chosen_from(roster) == "b"
    # One that is down already alarms nobody.
    assert [roster.attempt_failed(a, 3.0) for _ in range(3)] == [(False, None)] * 3


def test_a_failed_attempt_may_do_no_more_than_hasten_a_check() -> None:
    roster = make(server("a", observe=Observe(error_limit=1, on_error=OnError.FASTINTER)))
    assert roster.attempt_failed(roster.states["a"], 1.0) == (True, None)


def test_after_so_many_failed_attempts_the_count_begins_anew() -> None:
    roster = make(server("a", observe=Observe(error_limit=2, on_error=OnError.FASTINTER)))
    alarms = [roster.attempt_failed(roster.states["a"], 1.0)[0] for _ in range(5)]
    assert alarms == [False, True, False, True, False]
    roster.check_passed("a", 2.0, "fine")
    assert roster.attempt_failed(roster.states["a"], 3.0) == (False, None)


def test_those_who_start_slowly_grow_each_second() -> None:
    roster = make(server("a", weight=10, slowstart=4.0), server("b"))
    a = roster.states["a"]
    assert roster.step(1.0) == {}
    roster.set_health("a", Health.DOWN, 1.0)
    roster.set_health("a", Health.UP, 2.0)
    offered = roster.candidates
    assert offered.shares == {"a": 10, "b": 16}
    assert roster.step(2.5) == {a: False}
    assert roster.candidates is offered
    assert roster.step(3.0) == {a: True}
    assert roster.candidates.shares == {"a": 50, "b": 16}
    assert roster.step(6.0) == {a: True}
    assert roster.candidates.shares == {"a": 160, "b": 16}
    assert roster.step(7.0) == {}


@pytest.mark.parametrize("way", ["own", "leader"])
def test_what_is_asked_of_a_server_lets_it_start_slowly_anew(way: str) -> None:
    leader = make(server("l")).states["l"]
    roster = make(server("a", check=None, track="x/l", weight=10, slowstart=4.0), server("b"))
    roster.follow("a", leader)
    a = roster.states["a"]
    leader.gate.set_down()
    roster.leader_changed("a", 0.0)
    leader.gate.set_up()
    roster.leader_changed("a", 1.0)
    assert roster.step(3.0) == {a: True}
    assert a.share == 90
    for admin, now in ((AdminState.DRAIN, 3.5), (AdminState.READY, 3.6)):
        if way == "own":
            roster.set_admin("a", admin, now)
        else:
            leader.admin = admin
            roster.leader_changed("a", now)
    assert a.share == 10
    assert roster.candidates.shares["a"] == 10


# --- what is cleared -----------------------------------------------------------------------------


def test_clearing_forgets_the_highest_values_of_all_servers(roster: Roster) -> None:
    a, b = roster.states["a"], roster.states["b"]
    a.counters.peak = b.counters.peak = a.counters.retries = 3
    roster.clear(is_all=False)
    assert (a.counters.peak, b.counters.peak, a.counters.retries) == (0, 0, 3)


def test_clearing_all_forgets_those_who_have_gone_too(roster: Roster) -> None:
    for name in "ab":
        roster.states[name].counters.retries = 3
        roster.set_health(name, Health.DOWN, 1.0)
        roster.set_health(name, Health.UP, 3.0)
    roster.remove("a", 4.0)
    roster.remove("b", 5.0)
    assert roster.sums()["retries"] == 6
    for name in "cd":
        roster.set_health(name, Health.DOWN, 6.0)
        roster.set_health(name, Health.UP, 8.0)
    roster.clear(is_all=True)
    assert roster.sums()["retries"] == 0
    assert (roster.downtime(9.0), roster.states["c"].downtime(9.0)) == (0.0, 0.0)
    roster.remove("c", 10.0)
    assert roster.sums()["retries"] == 0


def test_downtime_goes_on_while_nobody_is_chosen_from() -> None:
    roster = make(server("a"))
    roster.set_health("a", Health.DOWN, 10.0)
    roster.clear(is_all=True)
    assert roster.downtime(15.0) == 5.0
    roster.set_health("a", Health.UP, 16.0)
    assert (roster.downtime(20.0), roster.since) == (6.0, 16.0)


def test_a_look_is_at_the_totals_of_the_backend_and_its_servers(roster: Roster) -> None:
    roster.counters.total, roster.states["a"].counters.total = 4, 3
    roster.look(5.0, 1.0)
    assert (roster.counters.pace.last, roster.states["a"].counters.pace.last) == (4, 3)
    assert (roster.states["a"].counters.used_at, roster.states["b"].counters.used_at) == (5.0, None)
