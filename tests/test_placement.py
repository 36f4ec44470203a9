"""A server's state as one word and two predicates, from health, what is asked of it, and weight."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.counters import BackendCounters
from dsbalance.model import Check, InitState, Server
from dsbalance.pictures import picture_server
from dsbalance.placement import (
    AdminState,
    Change,
    Crowd,
    OpState,
    Placement,
    ServerState,
    Stage,
)
from dsbalance.policy import Client

CLIENT = Client("10.0.0.1", bytes([10, 0, 0, 1]), 5022)
UP, DRAIN, MAINT = AdminState.READY, AdminState.DRAIN, AdminState.MAINT


def make(**settings: Any) -> ServerState:
    settings = {"check": Check(rise=2, fall=3), **settings}
    crowd = Crowd(BackendCounters())
    return ServerState(Server(name="s", host="192.0.2.1", port=9, **settings), 1, 10.0, crowd)


@pytest.mark.parametrize(
    ("is_up", "admin", "inherited", "weight", "word", "follows"),
    [
        (True, UP, UP, 1, "UP", (True, True)),
        (True, UP, UP, 0, "UP", (True, False)),
        (True, DRAIN, UP, 1, "DRAIN", (True, False)),
        (True, UP, DRAIN, 1, "DRAIN", (True, False)),
        (True, DRAIN, DRAIN, 0, "DRAIN", (True, False)),
        (True, MAINT, UP, 1, "MAINT", (False, False)),
        (True, UP, MAINT, 1, "MAINT (via b/s)", (False, False)),
        (True, MAINT, MAINT, 1, "MAINT (via b/s)", (False, False)),
        (True, DRAIN, MAINT, 1, "MAINT (via b/s)", (False, False)),
        (False, UP, UP, 1, "DOWN", (False, False)),
        (False, DRAIN, UP, 1, "DOWN", (False, False)),
        (False, MAINT, UP, 1, "MAINT", (False, False)),
    ],
)
def test_a_state_follows_from_health_and_what_is_asked_and_weight(
    is_up: bool,
    admin: AdminState,
    inherited: AdminState,
    weight: int,
    word: str,
    follows: tuple[bool, bool],
) -> None:
    state = make(weight=weight, check=None, track="b/s")
    state.admin = admin
    state.inherited = inherited
    if not is_up:
        state.gate.set_down()
    state.settle(20.0)
    assert (state.word, state.is_running, state.is_usable) == (word, *follows)
    state.check()
    assert state.is_in_maintenance is word.startswith("MAINT")


@pytest.mark.parametrize(
    ("admin", "word", "status", "op", "follows"),
    [
        (UP, "NOLB", "NOLB", OpState.STOPPING, (True, False)),
        # As observed on HAProxy 2.6.12.
        (DRAIN, "NOLB", "NOLB", OpState.STOPPING, (True, False)),
        (MAINT, "MAINT", "MAINT", OpState.STOPPED, (False, False)),
    ],
)
def test_a_server_that_is_stopping_keeps_its_clients_and_gets_no_new_ones(
    admin: AdminState, word: str, status: str, op: OpState, follows: tuple[bool, bool]
) -> None:
    state = make()
    state.gate.set_stopping()
    state.admin = admin
    state.settle(20.0)
    assert (state.word, state.status, state.op) == (word, status, op)
    assert (state.is_running, state.is_usable) == follows
    assert not state.op.is_up


def test_a_server_begins_as_its_init_state_says() -> None:
    state = make(init_state=InitState.DOWN)
    assert (state.word, state.status, state.op) == ("DOWN", "DOWN 1/2", OpState.STOPPED)
    assert make(init_state=InitState.FULLY_UP).status == "UP"


@pytest.mark.parametrize(
    ("new", "is_down"),
    [("DOWN", True), ("MAINT", True), ("MAINT (via b/s)", True), ("", True)]
    + [(word, False) for word in ("UP", "DRAIN", "NOLB", "no check")],
)
def test_a_change_says_whether_the_server_takes_clients(new: str, is_down: bool) -> None:
    change = Change(
        backend="b",
        server="s",
        old="UP",
        new=new,
        reason="",
        now=0.0,
        active=0,
        backups=0,
        sessions=0,
        queued=0,
    )
    assert change.is_down is is_down


def test_a_status_counts_the_checks_while_it_is_in_doubt() -> None:
    state = make()
    assert (state.word, state.status) == ("UP", "UP 1/3")
    state.gate.passed()
    assert state.status == "UP"
    state.gate.failed()
    state.admin = DRAIN
    assert state.status == "DRAIN 2/3"
    state.gate.set_down()
    state.gate.passed()
    assert state.status == "DOWN 1/2"
    state.admin = MAINT
    assert state.status == "MAINT"


def test_a_server_that_is_not_checked_says_so_unless_it_is_down_or_out_of_service() -> None:
    state = make(check=None)
    assert state.status == "no check"
    state.admin = DRAIN
    assert state.status == "DRAIN"
    state.gate.set_down()
    assert state.status == "DOWN"


def test_a_disabled_server_begins_in_maintenance() -> None:
    assert make(disabled=True).word == "MAINT"


def test_a_follower_shares_the_health_and_inherits_what_is_asked() -> None:
    leader = make()
    leader.admin = DRAIN
    follower = make(check=None, track="b/s")
    follower.follow(leader, 10.0)
    assert follower.leader is leader
    assert follower.gate is leader.gate
    assert follower.status == "DRAIN 1/3"
    assert (follower.word, follower.is_running, follower.is_usable) == ("DRAIN", True, False)
    assert follower.admin is UP


def test_a_snapshot_says_what_there_is() -> None:
    state = make(weight=3, maxconn=5, backup=True)
    state.server = replace(state.server, weight=2)
    state.counters.bytes_in = 7
    state.last_check = CheckResult(status=CheckStatus.L4TOUT, port=9)
    state.checked_at = 14.0
    state.placements.add(Placement(CLIENT))
    picture = picture_server(state, 15.0)
    assert (picture.name, picture.id, picture.host, picture.port) == ("s", 1, "192.0.2.1", 9)
    assert (picture.status, picture.admin, picture.is_usable) == ("UP 1/3", "ready", True)
    assert (picture.weight, picture.initial_weight, picture.maxconn) == (2, 3, 5)
    assert (picture.current, picture.queued, picture.bytes_in) == (1, 0, 7)
    assert (picture.is_backup, picture.tracked) == (True, None)
    assert picture.last_check == "Layer4 timeout at port 9"
    assert picture.check is not None
    assert (picture.check.last, picture.check.ended_at) == (state.last_check, 1.0)
    assert picture.seconds_in_state == 5.0


def test_a_server_taken_out_of_use_is_neither_running_nor_usable() -> None:
    state = make()
    state.retire()
    assert (state.is_running, state.is_usable, state.word) == (False, False, "")


def test_a_session_begins_with_nothing() -> None:
    placement = Placement(CLIENT)
    assert (placement.stage, placement.server, placement.held) == (Stage.DISPLACED, None, ())
    assert (placement.tries, placement.is_persistent, placement.owner) == (0, False, None)


def test_reprs_say_what_matters() -> None:
    state = make()
    placement = Placement(CLIENT)
    assert repr(placement) == "<Placement of 10.0.0.1: DISPLACED nowhere, policy>"
    placement.server = state
    placement.stage = Stage.QUEUED
    assert repr(placement) == "<Placement of 10.0.0.1: QUEUED s, policy>"
    assert placement.is_queued
    assert repr(state) == "<ServerState s: UP 1/3, 0 sessions>"


def test_a_server_whose_checks_were_stopped_is_not_checked_while_it_is_up() -> None:
    state = make()
    state.is_check_paused = True
    assert (state.status, state.word) == ("no check", "UP")
    state.gate.set_down()
    state.settle(11.0)
    assert state.status == "DOWN"


def test_who_has_a_place_keeps_it_under_a_lower_limit() -> None:
    state = make(maxconn=5, minconn=3)
    for _ in range(4):
        placement = Placement(CLIENT)
        placement.server, placement.stage = state, Stage.CONNECTED
        state.placements.add(placement)
    state.resize(2)
    state.check()
    assert (state.limit, state.server.minconn, state.server.maxconn) == (2, 2, 2)
    state.resize(None)
    state.check()
    assert (state.limit, state.server.minconn) == (None, None)


def test_downtime_is_what_went_by_while_it_was_not_running() -> None:
    state = make()
    for now, change in ((20.0, state.gate.set_down), (25.0, state.gate.set_up)):
        change()
        state.settle(now)
    assert (state.downtime(30.0), state.down_since) == (5.0, None)
    state.gate.set_down()
    state.settle(40.0)
    assert state.downtime(42.0) == 7.0
