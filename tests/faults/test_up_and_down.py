"""Servers go down and come back: who serves whom then, what becomes of sessions, what is said.

The clock stands in these plays; a check comes when the play says so.
"""

from __future__ import annotations

import logging
from typing import Any

import pytest

from actors import state, until
from dsbalance import Balance, StickRule, Table, TableType
from faults.checks import QUICK, SLOW, Round
from faults.stage import PlayedServer, Stage

STICKY: dict[str, Any] = {"table": Table(size=10, type=TableType.IPV6), "stick": (StickRule(),)}


def lose(server: PlayedServer, check: Round) -> None:
    """Let a server refuse that was up, until it is down."""
    server.refuse()
    for status in ("UP 2/3", "UP 1/3", "DOWN"):
        check(**{server.name: status})


def regain(server: PlayedServer, check: Round) -> None:
    """Let a server listen that was down, until it is up."""
    server.listen()
    for status in ("DOWN 1/3", "DOWN 2/3", "UP"):
        check(**{server.name: status})


# -- a server comes back


def test_a_server_that_is_back_is_used_when_enough_checks_in_a_row_have_passed(
    stage: Stage, check: Round
) -> None:
    """Case 20: not before ``rise`` successes, and a failure makes them count from 0."""
    a, b = stage.server("a", check=SLOW), stage.server("b")
    a.refuse()
    stage.open(balance=Balance.FIRST)
    check(a="DOWN")
    for _ in range(2):
        a.listen()
        for status in ("DOWN 1/3", "DOWN 2/3"):
            check(a=status)
            stage.meet(b)
        a.refuse()
        check(a="DOWN")
    regain(a, check)
    assert state(stage.proxy, "a").total == 0
    stage.meet(a)


def test_clients_return_to_their_server_when_nothing_is_remembered(
    stage: Stage, check: Round
) -> None:
    """Case 20: without a stick table the policy decides as it did before."""
    a, b = stage.server("a", check=SLOW), stage.server("b")
    stage.open(balance=Balance.FIRST)
    check(a="UP")
    stage.meet(a)
    lose(a, check)
    stage.meet(b)
    regain(a, check)
    stage.meet(a)


def test_clients_stay_where_they_went_when_that_is_remembered(stage: Stage, check: Round) -> None:
    """Case 20: who has a stick entry elsewhere by now does not return."""
    a, b = stage.server("a", check=SLOW), stage.server("b", check=SLOW)
    stage.open(balance=Balance.FIRST, **STICKY)
    check(a="UP", b="UP")
    stage.meet(a)
    lose(a, check)
    stage.meet(b)
    regain(a, check)
    stage.meet(b)
    lose(b, check)
    stage.meet(a)


# -- the sessions of a server that goes down


def test_sessions_go_on_when_their_server_goes_down(stage: Stage, check: Round) -> None:
    """Case 25: unless something else is asked for; only new clients go elsewhere."""
    a, b = stage.server("a", check=QUICK), stage.server("b")
    stage.open(balance=Balance.FIRST)
    check(a="UP")
    client, server = stage.meet(a)
    a.refuse()
    check(a="DOWN")
    stage.meet(b)
    client.say(b"still there?").finish()
    server.hear(b"still there?").hear_end().say(b"yes").close()
    client.hear(b"yes").hear_end()


def test_sessions_end_with_their_server_when_that_is_asked_for(stage: Stage, check: Round) -> None:
    """Case 25: ``on-marked-down shutdown-sessions`` ends those of this server, and no others."""
    a, b = stage.server("a", check=QUICK, shutdown_on_down=True), stage.server("b")
    stage.open(balance=Balance.ROUNDROBIN)
    check(a="UP")
    client, server = stage.meet(a)
    other, its_server = stage.meet(b)
    a.refuse()
    check(a="DOWN")
    client.hear_end()
    server.hear_end()
    assert len(stage.book.lines(" back/a .* D- ")) == 1
    other.say(b"still there?")
    its_server.hear(b"still there?")


def test_what_is_cut_off_then_does_not_look_complete(stage: Stage, check: Round) -> None:
    """Case 25: a client that has not got everything that was taken for it is reset."""
    a = stage.server("a", check=QUICK, shutdown_on_down=True)
    stage.expect_error("no server available")
    stage.open()
    check(a="UP")
    client, server = stage.meet(a)
    said = stage.flood(server)
    a.refuse()
    check(a="DOWN")
    with pytest.raises(ConnectionResetError):
        client.take(said)


def test_a_client_on_its_way_to_it_goes_to_another_server_then(stage: Stage, check: Round) -> None:
    """Case 25: the server has heard nothing of it, so nothing could be done twice."""
    a, b = stage.server("a", check=QUICK, shutdown_on_down=True), stage.server("b")
    stage.open(balance=Balance.FIRST, redispatch=1, timeout_connect=3600.0)
    check(a="UP")
    a.drop()
    client = stage.client()
    until(lambda: state(stage.proxy, "a").current == 1)
    # The check begins in one round and has failed in the next.
    check(a="UP")
    check(a="DOWN")
    b.accept().say(b"here")
    client.hear(b"here")


# -- all down


def told(stage: Stage) -> list[str]:
    """Return what the log says of servers and backends, without the reasons."""
    lines = stage.book.lines("^Server |^backend ")
    return [line.partition(" (")[0] for line in lines]


def test_that_all_are_down_is_said_when_it_happens_and_not_for_every_client(
    stage: Stage, check: Round
) -> None:
    """Case 27: clients are refused at once; the log has a line for each change of state."""
    a, b = stage.server("a", check=QUICK), stage.server("b", check=QUICK)
    stage.expect_error("no server available")
    stage.open(timeout_queue=3600.0)
    check(a="UP", b="UP")
    a.refuse()
    check(a="DOWN")
    b.refuse()
    check(b="DOWN")
    for _ in range(50):
        stage.client().hear_end()
    # The same result once more is no change.
    check(a="DOWN", b="DOWN")
    assert told(stage) == [
        "Server back/a is DOWN",
        "Server back/b is DOWN",
        "backend back has no server available!",
    ]
    assert stage.book.lines(level=logging.WARNING) == stage.book.lines("^Server |^backend ")
    backend = stage.proxy.snapshot().backends[0]
    assert (backend.connect_errors, [each.total for each in backend.servers]) == (50, [0, 0])
    b.listen()
    check(b="UP")
    stage.meet(b)
    assert told(stage)[3:] == ["Server back/b is UP"]


def test_that_all_are_down_is_said_once_although_an_operator_takes_one_out(
    stage: Stage, check: Round
) -> None:
    """Case 27: what is down already is not lost once more."""
    for name in "ab":
        stage.server(name, check=QUICK).refuse()
    stage.expect_error("no server available")
    stage.open()
    check(a="DOWN", b="DOWN")
    stage.proxy.maint("back/a")
    assert told(stage).count("backend back has no server available!") == 1


# -- backups


def test_a_backup_serves_only_while_all_others_are_down(stage: Stage, check: Round) -> None:
    """Case 28: and keeps its sessions, but gets no new ones, when one of the others is back."""
    a, b = stage.server("a", check=QUICK), stage.server("b", check=QUICK)
    spare = stage.server("spare", backup=True)
    stage.open()
    check(a="UP", b="UP")
    for primary in (a, b, a, b):
        stage.meet(primary)
    a.refuse()
    check(a="DOWN")
    for _ in range(3):
        stage.meet(b)
    assert spare.is_untouched
    b.refuse()
    check(b="DOWN")
    client, server = stage.meet(spare)
    b.listen()
    check(b="UP")
    for _ in range(3):
        stage.meet(b)
    client.say(b"still there?")
    server.hear(b"still there?")
    assert state(stage.proxy, "spare").total == 1


@pytest.mark.parametrize("non_stick", [False, True], ids=["stick", "non-stick"])
def test_a_client_stays_with_the_backup_only_if_that_is_remembered(
    stage: Stage, check: Round, non_stick: bool
) -> None:
    """Case 28: a stick entry keeps it there; ``non-stick`` keeps the entry from being made."""
    a = stage.server("a", check=QUICK)
    spare = stage.server("spare", backup=True, non_stick=non_stick)
    a.refuse()
    stage.open(**STICKY)
    check(a="DOWN")
    stage.meet(spare)
    a.listen()
    check(a="UP")
    stage.meet(a if non_stick else spare)
