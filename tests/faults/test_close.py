"""How a session ends: every byte first, then what the other side did, and nothing is left."""

from __future__ import annotations

import os
import socket

import pytest

from actors import Peer, state
from faults.clock import Clock
from faults.stage import Stage, configured, until_sent

REQUEST = os.urandom(100_000)
ANSWER = REQUEST[::-1]
DOCUMENT = REQUEST[:10_000]

# Longer than any test may take: what ends within the test was not ended by this.
PATIENT = {"timeout_client": 900, "timeout_server": 900}
# A timer may be a second late.
A_BIT_MORE_THAN_30 = 32


def last_ending(stage: Stage) -> str:
    """Return how the session ended that has just done so, as the log says it."""
    stage.until_empty()
    line = stage.book.lines(r"^\S+ \[\S+\] front back/a ")[-1]
    return line.split()[6]


# -- ends


def test_a_half_closed_client_gets_its_whole_answer(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 1: who half-closes behind 100 kB gets the whole answer, then both are closed."""
    client.say(REQUEST).finish()
    server.hear(REQUEST).hear_end()
    server.say(ANSWER).close()
    client.hear(ANSWER).hear_end()
    assert last_ending(stage) == "--"


def test_a_half_closed_server_hears_the_client_out(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 2: a server that greets and half-closes gets all that the client sends then."""
    server.say(b"ready").finish()
    client.hear(b"ready").hear_end()
    client.say(DOCUMENT).close()
    server.hear(DOCUMENT).hear_end()
    assert last_ending(stage) == "--"


def test_both_may_half_close_one_after_the_other(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 3: when both have half-closed the session is over, though nobody closes."""
    client.say(DOCUMENT).finish()
    server.hear(DOCUMENT).hear_end().say(ANSWER).finish()
    client.hear(ANSWER).hear_end()
    assert last_ending(stage) == "--"


def test_both_may_half_close_at_once(stage: Stage, client: Peer, server: Peer) -> None:
    """Case 3: two half-closes that are seen in one turn hang nothing."""
    client.say(b"?")
    server.hear(b"?")
    with stage.frozen():
        client.say(DOCUMENT).finish()
        server.say(ANSWER).finish()
        until_sent(client)
        until_sent(server)
    client.hear(ANSWER).hear_end()
    server.hear(DOCUMENT).hear_end()
    assert last_ending(stage) == "--"


@configured(timeout_server_fin=30, **PATIENT)
def test_half_closed_silence_of_a_server_has_its_own_limit(
    clock: Clock, stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 4: a server that falls silent behind a half-close is left after its limit."""
    client.say(REQUEST).finish()
    server.hear(REQUEST).hear_end()
    for _ in range(3):
        clock.leap(29)
        server.say(b"wait")
        client.hear(b"wait")
    clock.leap(A_BIT_MORE_THAN_30)
    client.hear_end()
    server.hear_end()
    assert last_ending(stage) == "sD"


@configured(timeout_client_fin=30, **PATIENT)
def test_half_closed_silence_of_a_client_has_its_own_limit(
    clock: Clock, stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 4: a client that falls silent behind a half-close is left after its limit."""
    server.say(ANSWER).finish()
    client.hear(ANSWER).hear_end()
    for _ in range(3):
        clock.leap(29)
        client.say(b"wait")
        server.hear(b"wait")
    clock.leap(A_BIT_MORE_THAN_30)
    server.hear_end()
    assert last_ending(stage) == "cD"


@configured(timeout_client_fin=30, timeout_server_fin=30, **PATIENT)
def test_the_limit_of_half_closed_silence_is_no_other_sessions(
    clock: Clock, client: Peer, server: Peer
) -> None:
    """Case 4: who has not half-closed may be silent for longer."""
    for _ in range(3):
        clock.leap(600)
        client.say(b"?")
        server.hear(b"?").say(b"!")
        client.hear(b"!")


# -- resets


def test_a_reset_in_mid_answer_comes_behind_what_was_received(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 6: what a server said before its reset arrives, then ECONNRESET, not a clean end."""
    server.say(ANSWER)
    client.hear(ANSWER)
    server.reset()
    client.hear_reset()
    assert last_ending(stage) == "SD"
    assert state(stage.proxy, "a").server_aborts == 1


def test_a_reset_that_comes_with_the_bytes_does_not_overtake_them(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 6: the same when bytes and reset are seen at once."""
    client.say(b"?")
    server.hear(b"?")
    with stage.frozen():
        server.say(DOCUMENT)
        until_sent(server)
        server.reset()
    client.hear(DOCUMENT).hear_reset()
    assert last_ending(stage) == "SD"


@configured(**PATIENT)
def test_a_reset_waits_for_a_client_that_reads_late(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 6: the same when the client has not begun to read."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    server.say(ANSWER * 5)
    until_sent(server)
    server.reset()
    stage.settle()
    client.hear(ANSWER * 5).hear_reset()
    assert last_ending(stage) == "SD"


@configured(**PATIENT)
def test_a_client_that_resets_in_mid_request_is_gone_for_its_server_too(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 7: the server sees a reset, not a clean end, nor nothing until a timeout."""
    client.say(DOCUMENT)
    server.hear(DOCUMENT)
    client.reset()
    server.hear_reset()
    assert last_ending(stage) == "CD"
    assert state(stage.proxy, "a").client_aborts == 1


@configured(**PATIENT)
def test_a_reset_of_the_client_is_passed_on_at_once(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 7: a reset is there before another session has said ten words to and fro."""
    other, its_server = stage.talk()
    client.say(DOCUMENT)
    # The answer confirms the request: who is reset gets every byte first.
    server.hear(DOCUMENT).say(b"well?")
    client.hear(b"well?")
    client.reset()
    for _ in range(10):
        other.say(b"ping")
        its_server.hear(b"ping").say(b"pong")
        other.hear(b"pong")
    server.sock.setblocking(False)
    server.hear_reset()


def test_a_client_that_resets_behind_its_half_close_has_reset(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 7: a client that half-closed and then died does not let the server answer for ever."""
    client.say(DOCUMENT).finish()
    server.hear(DOCUMENT).hear_end()
    client.reset()
    with pytest.raises(ConnectionError):
        while True:
            server.say(ANSWER)
    assert last_ending(stage) == "CD"


def test_what_a_server_answered_before_its_reset_arrives(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 8: a server that closes with bytes unread resets; what it had answered arrives."""
    client.say(REQUEST * 2)
    server.take(1)
    server.say(b"413 too much").close()
    client.hear(b"413 too much").hear_reset()
    assert last_ending(stage) == "SD"


def test_what_it_answered_arrives_while_the_client_still_speaks(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 8: the same when the proxy finds the reset while it writes to the server."""
    client.say(DOCUMENT)
    server.take(1)
    with stage.frozen():
        client.say(DOCUMENT)
        server.say(b"413 too much")
        until_sent(server)
        server.close()
    client.hear(b"413 too much").hear_reset()
    assert last_ending(stage) == "SD"


# -- servers that will not talk


def test_a_server_that_accepts_and_closes_ends_the_client_cleanly(stage: Stage) -> None:
    """Case 9: the client sees the end at once; it is no connect failure, and nobody else's turn."""
    a = stage.server("a")
    stage.server("b", backup=True)
    stage.open(retries=3, redispatch=1)
    client = stage.client()
    a.accept().close()
    client.hear_end().close()
    assert_it_was_served_once(stage, "--", server_aborts=0)


def test_a_server_that_accepts_and_resets_resets_the_client(
    stage: Stage, client: Peer, server: Peer
) -> None:
    """Case 9: the same with a reset."""
    client.say(b"?")
    server.hear(b"?").reset()
    client.hear_reset()
    assert_it_was_served_once(stage, "SD", server_aborts=1)


def test_a_connect_failure_is_counted_apart(stage: Stage) -> None:
    """Case 9: what a server that refuses is counted as, for comparison."""
    stage.server("a").refuse()
    stage.open(retries=0)
    stage.client().hear_end()
    assert last_ending(stage) == "SC"
    assert state(stage.proxy, "a").connect_errors == 1
    assert state(stage.proxy, "a").server_aborts == 0


def assert_it_was_served_once(stage: Stage, ending: str, *, server_aborts: int) -> None:
    """Demand that the only session was one of server ``a``, whose connect did not fail."""
    assert last_ending(stage) == ending
    a = state(stage.proxy, "a")
    assert (a.total, a.connect_errors, a.retries, a.redispatches) == (1, 0, 0, 0)
    assert a.server_aborts == server_aborts
