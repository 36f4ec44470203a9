"""What a check makes of a server: ports that flap, that answer late or never, and our own troubles.

The clock stands in these plays; a check comes when the play says so.
"""

from __future__ import annotations

import errno
import os
import socket
from dataclasses import replace

import pytest

from actors import connect, state, until
from dsbalance import Balance, Change, Server
from faults.checks import QUICK, SLOW, Round
from faults.clock import Clock
from faults.island import NEIGHBOUR, NOWHERE, local_ports, no_descriptors, on_an_island
from faults.stage import ON_ONE_PATH, Stage, open_sockets

# -- results in a row


@pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
def test_a_server_that_flaps_at_each_check_stays_what_it_is(
    stage: Stage, check: Round, is_up: bool
) -> None:
    """Case 21: results count in a row; a dozen that take turns change nothing."""
    a = stage.server("a", check=SLOW)
    b = stage.server("b")
    stage.open(balance=Balance.FIRST)
    if not is_up:
        a.refuse()
    check(a="UP" if is_up else "DOWN")
    changes: list[Change] = []
    stage.proxy.subscribe(changes.append)
    for _ in range(12):
        a.refuse()
        check(a="UP 2/3" if is_up else "DOWN")
        a.listen()
        check(a="UP" if is_up else "DOWN 1/3")
        stage.meet(a if is_up else b)
    assert changes == []
    assert state(stage.proxy, "a").downs == (0 if is_up else 1)


# -- checks that take long


def test_a_check_that_is_slower_than_its_interval_has_failed_and_has_no_other_beside_it(
    stage: Stage, clock: Clock, check: Round
) -> None:
    """Case 22: a server that drops every SYN has one check at a time, and is down after three."""
    a = stage.server("a", check=SLOW)
    stage.server("b")
    stage.open()
    check(a="UP")
    a.drop()
    quiet = open_sockets()
    under_way = set()
    for _ in range(40):
        clock.leap(SLOW.interval / 4)
        under_way.add(open_sockets() - quiet)
    assert under_way == {0, 1}
    found = state(stage.proxy, "a")
    assert (found.status, found.check_failures) == ("DOWN", 3)
    assert found.last_check == f"Layer4 timeout at port {a.port}"


def test_an_answer_that_comes_when_the_check_has_failed_is_heard_by_nobody(
    stage: Stage, check: Round
) -> None:
    """Case 22: the old check has let go of its connection, and the next one counts for itself."""
    a = stage.server("a", check=SLOW)
    stage.server("b")
    a.drop()
    stage.open()
    quiet = open_sockets()
    check(a="UP 1/3")
    assert open_sockets() == quiet + 1
    check(a="DOWN")
    assert open_sockets() == quiet
    a.listen()
    for status in ("DOWN 1/3", "DOWN 2/3", "UP"):
        check(a=status)


# -- what the application notices


def test_the_application_accepts_clients_and_no_checks(stage: Stage, check: Round) -> None:
    """Case 23: twenty checks pass, and the first one to be accepted is a client."""
    a = stage.server("a", check=replace(SLOW, rise=20))
    stage.server("b")
    a.refuse()
    stage.open(balance=Balance.FIRST)
    check(a="DOWN")
    a.listen()
    for passed in range(1, 20):
        check(a=f"DOWN {passed}/20")
    check(a="UP")
    assert a.is_untouched
    stage.meet(a)


def test_the_application_accepts_no_checks_that_it_made_fail(stage: Stage, check: Round) -> None:
    """Case 23: nor does it hear of one that was refused or dropped."""
    a = stage.server("a", check=QUICK)
    stage.server("b")
    stage.open()
    check(a="UP")
    a.refuse()
    check(a="DOWN")
    reason = f"Layer4 connection problem at port {a.port} ({os.strerror(errno.ECONNREFUSED)})"
    assert state(stage.proxy, "a").last_check == reason
    a.listen()
    check(a="UP")
    a.drop()
    # It begins in one round and has failed in the next.
    check(a="UP")
    check(a="DOWN")
    assert state(stage.proxy, "a").last_check == f"Layer4 timeout at port {a.port}"
    a.listen()
    check(a="UP")
    assert a.is_untouched


@on_an_island
def test_a_server_that_is_switched_off_is_unreachable_for_checks_and_clients(
    stage: Stage, clock: Clock
) -> None:
    """Case 23: nobody answers for its address; its check has failed, its clients go elsewhere."""
    off = Server(name="off", host=NEIGHBOUR[stage.path.host], port=9100, check=QUICK)
    b = stage.server("b")
    open_with(stage, off)
    stage.meet(b)
    assert state(stage.proxy, "off").redispatches == 1
    Round(stage, clock)(off="DOWN")
    reason = f"Layer4 connection problem at port 9100 ({os.strerror(errno.EHOSTUNREACH)})"
    assert state(stage.proxy, "off").last_check == reason


def open_with(stage: Stage, first: Server) -> None:
    """Open the stage with one more server, at an address that is not its own."""
    config = stage.config(balance=Balance.FIRST, redispatch=1)
    (back,) = config.backends
    back = replace(back, servers=(first, *back.servers))
    stage.open(replace(config, backends=(back,)))


# -- what is this machine's own fault


def two_checks_that_cannot_be_made(stage: Stage, check: Round, code: int) -> None:
    """Demand that they change nothing, and that one line says what this machine lacks."""
    before = state(stage.proxy, "a")
    check()
    check()
    after = state(stage.proxy, "a")
    assert (after.status, after.check_failures) == (before.status, before.check_failures)
    assert after.last_check.startswith("Socket error at port ")
    assert after.last_check.endswith(f" ({os.strerror(code)})")
    (line,) = stage.book.lines("cannot be checked")
    assert line.endswith(f" keeps its state: {os.strerror(code)}")


def a_check_that_can_be_made_again(stage: Stage, check: Round) -> None:
    """Demand that it passes, and that one line says that there was something."""
    check()
    until(lambda: len(stage.book.lines("can be checked again")) == 1)
    assert stage.book.lines("^Server back/a is ") == []


@on_an_island
def test_without_descriptors_no_server_goes_down(stage: Stage, clock: Clock) -> None:
    """Case 24: EMFILE is not a failure of the server."""
    check = Round(stage, clock)
    stage.server("a", check=QUICK)
    stage.open()
    check(a="UP")
    with no_descriptors():
        two_checks_that_cannot_be_made(stage, check, errno.EMFILE)
    a_check_that_can_be_made_again(stage, check)


@on_an_island
def test_without_a_port_of_our_own_no_server_goes_down(stage: Stage, clock: Clock) -> None:
    """Case 24: nor is EADDRNOTAVAIL; and a client goes to where there is still a port for it."""
    check = Round(stage, clock)
    a, b = stage.server("a", check=QUICK), stage.server("b")
    stage.open(balance=Balance.FIRST, redispatch=1)
    check(a="UP")
    with local_ports(2), connect((a.host, a.port)), connect((a.host, a.port)):
        two_checks_that_cannot_be_made(stage, check, errno.EADDRNOTAVAIL)
        stage.meet(b)
    a_check_that_can_be_made_again(stage, check)


@on_an_island
def test_without_a_way_to_its_network_no_server_goes_down(stage: Stage, clock: Clock) -> None:
    """Case 24: nor ENETUNREACH, when it is our own system that knows no way."""
    stage.server("b")
    open_with(stage, Server(name="a", host=NOWHERE[stage.path.host], port=9100, check=QUICK))
    two_checks_that_cannot_be_made(stage, Round(stage, clock), errno.ENETUNREACH)


class Unplugged(socket.socket):
    """A socket of a machine whose network is down, which no test can take down for real."""

    def connect_ex(self, address: object) -> int:
        return errno.ENETDOWN


def test_while_our_network_is_down_no_server_goes_down(
    stage: Stage, check: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 24: nor ENETDOWN."""
    stage.server("a", check=QUICK)
    stage.open()
    check(a="UP")
    with monkeypatch.context() as ours:
        ours.setattr("dsbalance.health.open_stream", Unplugged)
        two_checks_that_cannot_be_made(stage, check, errno.ENETDOWN)
    a_check_that_can_be_made_again(stage, check)


def test_a_server_that_is_down_is_not_up_because_it_cannot_be_checked(
    stage: Stage, check: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 24: an error of our own is no success either, and does not end a row of them."""
    a = stage.server("a", check=SLOW)
    stage.server("b")
    a.refuse()
    stage.open()
    check(a="DOWN")
    a.listen()
    check(a="DOWN 1/3")
    with monkeypatch.context() as ours:
        ours.setattr("dsbalance.health.open_stream", Unplugged)
        two_checks_that_cannot_be_made(stage, check, errno.ENETDOWN)
    check(a="DOWN 2/3")


@ON_ONE_PATH
def test_what_cannot_be_checked_is_called_as_everywhere_else(
    stage: Stage, check: Round, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 24: the log names backend and server as its other lines do."""
    stage.server("a", check=QUICK)
    monkeypatch.setattr("dsbalance.health.open_stream", Unplugged)
    stage.open()
    check()
    assert len(stage.book.lines("^server back/a cannot be checked")) == 1
