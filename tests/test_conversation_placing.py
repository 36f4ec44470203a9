"""Where the requests of a conversation go: each is placed anew, and its server may be lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, state, until
from dsbalance import Balance, StickRule, Table

Opened = Callable[..., HttpStage]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def answered(client: Peer, server: Peer, target: bytes = b"/") -> None:
    """Let the server answer a request that the client has sent."""
    server.hear_request(b"GET " + target)
    server.say(OK)
    client.hear_answer(200, b"ok")


def test_each_request_is_placed_anew(way: Path, opened: Opened, closing: ExitStack) -> None:
    stage = opened(way, servers=2)
    client = closing.enter_context(stage.connect())
    for number in range(6):
        client.say(get(f"/{number}"))
        with stage.stubs[number % 2].accept() as server:
            answered(client, server, b"/%d" % number)
    assert [state(stage.proxy, name).total for name in "ab"] == [3, 3]


def test_a_place_is_held_as_long_as_the_request_lasts(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        for _ in range(3):
            server.hear_request(b"GET /")
            assert state(stage.proxy, "a").current == 1
            server.say(OK)
            client.hear_answer(200, b"ok")
            until(lambda: state(stage.proxy, "a").current == 0)
            client.say(get())
        server.hear_request(b"GET /")


def test_two_who_keep_their_connections_share_one_place(
    way: Path, opened: Opened, closing: ExitStack
) -> None:
    stage = opened(way, maxconn=1, timeout_queue=60.0)
    first, second = (closing.enter_context(stage.connect()) for _ in range(2))
    first.say(get("/first"))
    servers = {first: closing.enter_context(stage.stub.accept())}
    servers[first].hear_request(b"GET /first")
    second.say(get("/second"))
    until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
    servers[first].say(OK)
    first.hear_answer(200, b"ok")
    servers[second] = closing.enter_context(stage.stub.accept())
    answered(second, servers[second], b"/second")
    # Both are connected to the server now; the place is whose request is under way.
    for client in (first, second, second, first):
        client.say(get("/again"))
        answered(client, servers[client], b"/again")


def test_a_servers_connection_is_never_anothers(stage: HttpStage) -> None:
    first, its = stage.talk(get("/1"))
    with first, its:
        answered(first, its, b"/1")
        second, another = stage.talk(get("/2"))
        with second, another:
            answered(second, another, b"/2")
            first.say(get("/3"))
            answered(first, its, b"/3")
        its.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            its.sock.recv(1)


def test_a_kept_connection_ends_with_its_client(stage: HttpStage) -> None:
    client, server = stage.talk()
    with server:
        answered(client, server)
        client.close()
        server.hear_gone()
    until(lambda: stage.clients() == 0)


# -- what a kept connection may do


@pytest.mark.parametrize("act", ["close", "reset", "speak"])
def test_a_kept_connection_that_does_anything_is_not_used_again(stage: HttpStage, act: str) -> None:
    client, server = stage.talk(get("/1"))
    with client:
        answered(client, server, b"/1")
        if act == "speak":
            server.say(OK)
            server.hear_gone()
        getattr(server, "reset" if act == "reset" else "close")()
        client.say(get("/2"))
        with stage.stub.accept() as another:
            answered(client, another, b"/2")


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("body", [b"", b"body"], ids=["GET", "POST"])
def test_a_reused_connection_that_ends_unanswered_leaves_it_to_the_client(
    stage: HttpStage, body: bytes, is_reset: bool
) -> None:
    client, server = stage.talk(get("/1"))
    with client:
        answered(client, server, b"/1")
        client.say(post("/2", body) if body else get("/2"))
        server.take_head()
        server.take(len(body))
        if is_reset:
            server.reset()
        else:
            server.close()
        # Whether it was carried out nobody knows: the client may decide to ask again.
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_fresh_connection_that_ends_unanswered_is_told_of(stage: HttpStage) -> None:
    client, server = stage.talk(get("/1"))
    with client:
        server.hear_request(b"GET /1")
        server.close()
        client.hear_answer(502)
        client.say(get("/2"))
        with stage.stub.accept() as another:
            answered(client, another, b"/2")


# -- nobody takes it


def test_nobody_there_is_told_of_and_the_client_stays(stage: HttpStage) -> None:
    stage.proxy.maint("back/a")
    with stage.connect() as client:
        for _ in range(3):
            client.say(get())
            client.hear_answer(503)
        stage.proxy.ready("back/a")
        client.say(get())
        with stage.stub.accept() as server:
            answered(client, server)


def test_the_body_of_a_request_that_nobody_took_is_no_request(stage: HttpStage) -> None:
    stage.proxy.maint("back/a")
    with stage.connect() as client:
        client.say(post("/", get("/smuggled")))
        client.hear_answer(503)
        client.say(get("/next"))
        client.hear_answer(503)
        client.finish()
        client.hear_end()


def test_half_a_body_that_nobody_takes_ends_the_conversation(stage: HttpStage) -> None:
    stage.proxy.maint("back/a")
    with stage.connect() as client:
        client.say(post("/", b"half", length=8))
        assert b"connection: close" in client.hear_answer(503).lower()
        client.hear_end()


def test_a_server_that_refuses_is_told_of_and_the_client_stays(way: Path, opened: Opened) -> None:
    stage = opened(way, retries=0)
    stage.stub.close()
    with stage.connect() as client:
        for body in (b"", b"body", b""):
            client.say(post("/", body) if body else get())
            client.hear_answer(503)


def test_waiting_for_a_place_has_a_limit(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=0.1)
    first, server = stage.talk()
    with first, server, stage.connect() as second:
        server.hear_request(b"GET /")
        for _ in range(2):
            second.say(get())
            second.hear_answer(503)
        server.say(OK)
        first.hear_answer(200, b"ok")


def test_who_resets_while_it_waits_gives_its_turn_to_the_next(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=60.0)
    first, server = stage.talk(get("/1"))
    with first, server:
        server.hear_request(b"GET /1")
        gone = stage.connect().say(get("/gone"))
        until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
        with stage.connect() as last:
            last.say(get("/last"))
            until(lambda: stage.proxy.snapshot().backends[0].queued == 2)
            gone.reset()
            server.say(OK)
            first.hear_answer(200, b"ok")
            with stage.stub.accept() as another:
                line = another.take_head().split(b" HTTP")[0]
                another.say(OK)
                if line == b"GET /gone":
                    # Who is not told of a reset while it waits finds it out when it answers.
                    with stage.stub.accept() as next_one:
                        next_one.hear_request(b"GET /last")
                        next_one.say(OK)
                last.hear_answer(200, b"ok")


@pytest.mark.parametrize(
    "request_",
    [get("/"), post("/", b"body"), post("/", b"half", length=8)],
    ids=["GET", "whole body", "half a body"],
)
def test_a_server_that_refuses_is_left_within_the_request(
    way: Path, opened: Opened, request_: bytes
) -> None:
    stage = opened(way, servers=2, redispatch=1, balance=Balance.FIRST)
    stage.stub.close()
    client = stage.connect().say(request_)
    with client, stage.stubs[1].accept() as server:
        server.take_head()
        if b"half" in request_:
            client.say(b"half")
        server.hear(request_.partition(b"\r\n\r\n")[2])
        server.say(OK)
        client.hear_answer(200, b"ok")


# -- servers that come and go


def test_a_server_in_maintenance_finishes_its_request_and_gets_no_other(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, servers=2, balance=Balance.FIRST)
    client, server = stage.talk(get("/1"))
    with client, server:
        server.hear_request(b"GET /1")
        stage.proxy.maint("back/a")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(get("/2"))
        with stage.stubs[1].accept() as another:
            answered(client, another, b"/2")


@pytest.mark.parametrize("word", ["maint", "drain"])
def test_a_kept_connection_to_a_server_that_was_taken_out_is_not_used(
    way: Path, opened: Opened, word: str
) -> None:
    stage = opened(way, servers=2, balance=Balance.FIRST)
    client, server = stage.talk(get("/1"))
    with client, server:
        answered(client, server, b"/1")
        getattr(stage.proxy, word)("back/a")
        client.say(get("/2"))
        with stage.stubs[1].accept() as another:
            answered(client, another, b"/2")


def test_a_server_in_drain_keeps_the_clients_that_stick_to_it(way: Path, opened: Opened) -> None:
    stage = opened(way, servers=2, balance=Balance.FIRST, table=Table(size=9), stick=(StickRule(),))
    client, server = stage.talk(get("/1"))
    with client, server:
        answered(client, server, b"/1")
        stage.proxy.drain("back/a")
        client.say(get("/2"))
        answered(client, server, b"/2")


def test_a_server_that_is_removed_is_not_asked_again(way: Path, opened: Opened) -> None:
    stage = opened(way, servers=2, balance=Balance.FIRST)
    client, server = stage.talk(get("/1"))
    with client, server:
        answered(client, server, b"/1")
        stage.proxy.maint("back/a")
        stage.proxy.remove_server("back/a")
        client.say(get("/2"))
        with stage.stubs[1].accept() as another:
            answered(client, another, b"/2")


def test_requests_end_with_a_server_that_is_marked_down_if_they_are_to(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, servers=2, balance=Balance.FIRST, shutdown_on_down=True)
    client, server = stage.talk(get("/1"))
    idle, its = stage.talk(get("/idle"))
    with client, server, idle, its:
        server.hear_request(b"GET /1")
        answered(idle, its, b"/idle")
        stage.proxy.set_health("back/a", "down")
        client.hear_answer(502)
        client.hear_end()
        # Who has nothing under way goes on, elsewhere.
        idle.say(get("/2"))
        with stage.stubs[1].accept() as another:
            answered(idle, another, b"/2")
