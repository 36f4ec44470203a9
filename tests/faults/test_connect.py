"""The way to a server: one that refuses, one that drops, one that accepts and hangs, and none left.

The clock stands in these plays: who pauses where he must not never goes on, and a timeout is over
when the play says so.
"""

from __future__ import annotations

import logging

import pytest

from actors import connect, state, until
from dsbalance import Balance, Check
from faults.clock import Clock
from faults.stage import PlayedServer, Stage

TIMEOUT = 30.0
# Longer than the timeout, so that no check comes in between.
CHECK = Check(interval=60.0, fall=3)
# What is due is at most so late.
LATE = 1.0


def attempts(stage: Stage) -> dict[str, int]:
    """Return how often each server was tried."""
    return {server.name: server.total for server in stage.proxy.snapshot().backends[0].servers}


def sessions_told(stage: Stage) -> list[str]:
    """Return the log's lines about sessions, each with its two letters for the end behind bytes."""
    return [
        record.getMessage() for record in stage.book.records if record.name == "dsbalance.session"
    ]


# -- one server fails


def test_who_is_refused_is_with_the_next_server_at_once(stage: Stage, clock: Clock) -> None:
    """Case 16: the first server refuses; the client notices nothing, ten times out of ten."""
    a, b = stage.server("a"), stage.server("b")
    a.refuse()
    stage.open(balance=Balance.FIRST, redispatch=1)
    for _ in range(10):
        stage.meet(b)
    assert attempts(stage) == {"a": 10, "b": 10}
    assert state(stage.proxy, "a").redispatches == 10


def test_what_was_said_before_the_refusal_is_heard_by_the_next_server(
    stage: Stage, clock: Clock
) -> None:
    """Case 16: nor does a client that has said everything before anybody was found for it."""
    a, b = stage.server("a"), stage.server("b")
    a.refuse()
    stage.open(balance=Balance.FIRST, redispatch=1)
    address = stage.address
    with stage.frozen():
        client = connect(address).say(b"print this").finish()
    with client:
        b.accept().hear(b"print this").hear_end().say(b"done").close()
        client.hear(b"done").hear_end()


def test_a_server_that_drops_every_syn_costs_a_timeout_until_its_checks_have_failed(
    stage: Stage, clock: Clock
) -> None:
    """Case 17: the next one after the connect timeout; after ``fall`` checks at once."""
    a, b = stage.server("a", check=CHECK), stage.server("b")
    stage.open(balance=Balance.FIRST, redispatch=1, timeout_connect=TIMEOUT)
    clock.leap(LATE)
    stage.until_it_is("a", "UP")
    a.drop()

    client = stage.client()
    until(lambda: attempts(stage) == {"a": 1, "b": 0})
    clock.leap(TIMEOUT - LATE)
    assert attempts(stage) == {"a": 1, "b": 0}
    clock.leap(2 * LATE)
    b.accept().say(b"at last")
    client.hear(b"at last")

    for status in ("UP 2/3", "UP 1/3", "DOWN"):
        # It begins, and an interval later it has failed.
        clock.leap(CHECK.interval + LATE)
        clock.leap(CHECK.interval + LATE)
        stage.until_it_is("a", status)
    for _ in range(5):
        stage.meet(b)
    assert attempts(stage) == {"a": 1, "b": 6}


# -- a server accepts and fails then


@pytest.fixture
def hopeful(stage: Stage, clock: Clock) -> PlayedServer:
    """A second server, which would be glad to take over what the first one has begun."""
    stage.server("a")
    hopeful = stage.server("hopeful")
    stage.open(balance=Balance.FIRST, redispatch=1, timeout_server=TIMEOUT)
    return hopeful


def assert_not_replayed(stage: Stage, hopeful: PlayedServer, ending: str) -> None:
    """Demand that the only session ended as said, and that nobody has heard of it but ``a``."""
    stage.until_empty()
    (line,) = sessions_told(stage)
    assert line.split()[6] == ending
    assert hopeful.is_untouched
    assert attempts(stage) == {"a": 1, "hopeful": 0}


def test_who_is_left_without_an_answer_is_closed_after_the_timeout_and_not_replayed(
    stage: Stage, clock: Clock, hopeful: PlayedServer
) -> None:
    """Case 18: what the hanging server has got it may have acted on; nobody else gets it."""
    client, server = stage.talk()
    client.say(b"print this")
    server.hear(b"print this")
    clock.leap(TIMEOUT - LATE)
    assert stage.sessions() == 1
    clock.leap(2 * LATE)
    client.hear_end()
    server.hear_end()
    assert_not_replayed(stage, hopeful, "sD")


def test_the_same_when_the_server_has_never_looked(
    stage: Stage, clock: Clock, hopeful: PlayedServer
) -> None:
    """Case 18: a program that hangs does not accept either; its system has done so for it."""
    client = stage.client().say(b"print this")
    until(lambda: state(stage.proxy, "a").current == 1)
    stage.settle()
    clock.leap(TIMEOUT + LATE)
    client.hear_end()
    assert_not_replayed(stage, hopeful, "sD")


def test_the_same_in_the_middle_of_a_stream(
    stage: Stage, clock: Clock, hopeful: PlayedServer
) -> None:
    """Case 18: a server that stops reading ends a stream with a reset: it has not got it all."""
    client, server = stage.talk()
    said = stage.flood(client)

    def is_over() -> bool:
        # A segment that the server's system had no room for is sent again after 0.2 s, and may be
        # taken then. If that is just now, the time starts once more.
        clock.leap(TIMEOUT + LATE)
        return stage.sessions() == 0

    until(is_over)
    client.hear_reset()
    with pytest.raises(ConnectionResetError):
        server.take(said)
    assert_not_replayed(stage, hopeful, "sD")


def test_a_server_that_resets_what_it_was_asked_is_not_replaced_by_another(
    stage: Stage, hopeful: PlayedServer
) -> None:
    """Case 18: nor is a request repeated whose server died of it."""
    client, server = stage.talk()
    client.say(b"print this")
    server.hear(b"print this").reset()
    client.hear_reset()
    assert_not_replayed(stage, hopeful, "SD")


# -- all servers fail


def test_who_is_refused_by_all_is_closed_after_so_many_tries(stage: Stage, clock: Clock) -> None:
    """Case 19: at once, for there is nothing to wait for; one line in the log, one counter."""
    for name in "ab":
        stage.server(name).refuse()
    stage.open(redispatch=1, retries=3)
    client = stage.client()
    client.hear_end()
    assert_given_up(stage, clock, "SC")


def test_who_is_dropped_by_all_is_closed_after_so_many_timeouts(stage: Stage, clock: Clock) -> None:
    """Case 19: after the connect timeout times the tries."""
    for name in "ab":
        stage.server(name).drop()
    stage.open(redispatch=1, retries=3, timeout_connect=TIMEOUT)
    client = stage.client()
    for tries in (1, 2, 3, 4):
        until_tried(stage, tries)
        clock.leap(TIMEOUT + LATE)
    client.hear_end()
    assert_given_up(stage, clock, "sC")


def test_the_only_server_is_tried_again_after_a_pause_and_not_for_ever(
    stage: Stage, clock: Clock
) -> None:
    """Case 19: with nobody else to ask, a refusal is followed by a second of rest."""
    stage.server("a").refuse()
    stage.open(redispatch=1, retries=3, timeout_connect=TIMEOUT)
    client = stage.client()
    until_tried(stage, 1)

    def has_rested() -> bool:
        # Where it goes is decided after each rest, and counted then.
        clock.leap(1 + LATE)
        return sum(attempts(stage).values()) == 4

    until(has_rested)
    client.hear_end()
    assert_given_up(stage, clock, "SC")


def until_tried(stage: Stage, tries: int) -> None:
    until(lambda: sum(attempts(stage).values()) == tries)


def assert_given_up(stage: Stage, clock: Clock, ending: str) -> None:
    """Demand four tries for one session, told once and counted once, and none in the next hour."""
    stage.until_empty()
    clock.leap(3600)
    (line,) = sessions_told(stage)
    assert line.split()[6] == ending
    assert stage.book.lines(level=logging.WARNING) == []
    assert stage.proxy.snapshot().backends[0].connect_errors == 1
    assert sum(attempts(stage).values()) == 4
