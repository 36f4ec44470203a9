"""The way to a server, once for each request: what is kept in between, and what comes first."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, state, until
from dsbalance import Balance, StickRule, Table
from dsbalance.words import SendProxy

Opened = Callable[..., HttpStage]


def answered(client: Peer, server: Peer, target: str = "/") -> None:
    """Ask, and let the server answer, on connections that are there."""
    client.say(get(target))
    server.hear_request(b"GET " + target.encode())
    server.say(OK)
    client.hear_answer(200, b"ok")


@pytest.fixture
def sticky(way: Path, opened: Opened) -> HttpStage:
    """Two servers, and clients that stick to theirs for a moment."""
    return opened(
        way,
        servers=2,
        balance=Balance.FIRST,
        table=Table(size=9, expire=0.2),
        stick=(StickRule(),),
    )


def test_a_client_sticks_as_long_as_it_is_connected(sticky: HttpStage) -> None:
    with sticky.connect() as client:
        client.say(get())
        with sticky.stub.accept() as server:
            server.take_head()
            server.say(OK)
            client.hear_answer(200, b"ok")
            # Its place is free, and its entry is held: it does not expire while it rests.
            until(lambda: state(sticky.proxy, "a").current == 0)
            (entry,) = sticky.proxy.stick_entries("back")
            assert entry.uses == 1
            for _ in range(3):
                answered(client, server)
            (entry,) = sticky.proxy.stick_entries("back")
            assert entry.uses == 1
    until(lambda: not sticky.proxy.stick_entries("back"))


@pytest.mark.parametrize("health", ["down", "maint"])
def test_a_client_that_sticks_to_a_lost_server_goes_elsewhere(
    sticky: HttpStage, health: str
) -> None:
    with sticky.connect() as client:
        client.say(get("/1"))
        with sticky.stub.accept() as server:
            server.take_head()
            server.say(OK)
            client.hear_answer(200, b"ok")
            if health == "down":
                sticky.proxy.set_health("back/a", "down")
            else:
                sticky.proxy.maint("back/a")
            client.say(get("/2"))
            with sticky.stubs[1].accept() as another:
                another.hear_request(b"GET /2")
                another.say(OK)
                client.hear_answer(200, b"ok")
                # Its new server is its own from here on, also when the old one is back.
                sticky.proxy.set_health("back/a", "up")
                sticky.proxy.ready("back/a")
                answered(client, another, "/3")


def test_each_request_counts_as_a_session_of_its_server(sticky: HttpStage) -> None:
    with sticky.connect() as client:
        client.say(get())
        with sticky.stub.accept() as server:
            server.take_head()
            server.say(OK)
            client.hear_answer(200, b"ok")
            for _ in range(4):
                answered(client, server)
            snapshot = sticky.proxy.snapshot()
            assert state(sticky.proxy, "a").total == 5
            assert snapshot.backends[0].total == 5
            assert snapshot.frontends[0].total == 1


def test_bytes_of_all_requests_are_counted(stage: HttpStage) -> None:
    client, server = stage.talk()
    taken = given = 0
    with client, server:
        for number in range(3):
            if number:
                client.say(get())
            taken += len(server.take_head())
            server.say(OK)
            given += len(client.hear_answer(200, b"ok")) + 2
    until(lambda: stage.clients() == 0)
    counted = state(stage.proxy, "a")
    assert (counted.bytes_in, counted.bytes_out) == (taken, given)
    door = stage.proxy.snapshot().frontends[0]
    assert (door.bytes_in, door.bytes_out) == (taken, given)


def is_waited(stage: HttpStage) -> bool:
    """Return whether somebody waits, for the server or for any."""
    return bool(state(stage.proxy, "a").queued or stage.proxy.snapshot().backends[0].queued)


def test_who_waits_gets_the_place_of_one_that_rests(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=60.0, table=Table(size=9), stick=(StickRule(),))
    first, its = stage.talk(get("/1"))
    with first, its, stage.connect() as second:
        its.hear_request(b"GET /1")
        second.say(get("/2"))
        until(lambda: is_waited(stage))
        its.say(OK)
        first.hear_answer(200, b"ok")
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            # And waits itself when it asks again meanwhile.
            first.say(get("/3"))
            until(lambda: is_waited(stage))
            another.say(OK)
            second.hear_answer(200, b"ok")
            its.hear_request(b"GET /3")
            its.say(OK)
            first.hear_answer(200, b"ok")


def test_the_servers_connection_begins_with_a_header_and_has_no_other(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, send_proxy=SendProxy.V1)
    client, server = stage.talk(get("/1"))
    with client, server:
        host, port = client.sock.getsockname()
        their = client.sock.getpeername()
        server.hear(f"PROXY TCP4 {host} {their[0]} {port} {their[1]}\r\n".encode())
        server.hear_request(b"GET /1")
        server.say(OK)
        client.hear_answer(200, b"ok")
        answered(client, server, "/2")


def test_a_binary_header_comes_first_too(way: Path, opened: Opened) -> None:
    stage = opened(way, send_proxy=SendProxy.V2)
    client, server = stage.talk(get("/1"))
    with client, server:
        server.hear(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c")
        server.take(12)
        server.hear_request(b"GET /1")
