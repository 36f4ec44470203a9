"""How conversations end: each side ends, resets, falls silent, and we stop."""

from __future__ import annotations

import contextlib
import select
import socket
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, state, until

Opened = Callable[..., HttpStage]

LONG_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


def is_over(stage: HttpStage) -> bool:
    """Return whether nobody is left, on either side."""
    return stage.clients() == 0 and state(stage.proxy, "a").current == 0


def flood(peer: Peer) -> None:
    """Say something until every buffer on the way is full, and go on until that ends."""
    peer.sock.setblocking(False)
    block = b"x" * (1 << 20)
    with pytest.raises(ConnectionError):
        while True:
            try:
                peer.sock.send(block)
            except BlockingIOError:
                select.select([], [peer.sock], [], 0.05)


# -- the client's end


def test_a_client_that_says_nothing_and_goes_is_forgotten(stage: HttpStage) -> None:
    stage.connect().close()
    stage.connect().reset()
    until(lambda: is_over(stage) and stage.proxy.snapshot().frontends[0].total == 2)


@pytest.mark.parametrize("words", [b"", b"\r\n", b"GET / HT"], ids=["nothing", "CRLF", "half"])
def test_a_client_that_half_closes_before_its_request_is_whole_is_told(
    stage: HttpStage, words: bytes
) -> None:
    with stage.connect() as client:
        client.say(words)
        client.finish()
        client.hear_answer(400)
        client.hear_end()
    until(lambda: is_over(stage))


def test_a_client_that_half_closes_behind_its_request_gets_the_response(stage: HttpStage) -> None:
    client, server = stage.talk(post("/", b"body"))
    with client, server:
        client.finish()
        server.hear_request(b"POST /")
        server.hear(b"body")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.hear_end()
    until(lambda: is_over(stage))


def test_a_client_that_half_closes_between_two_requests_is_closed(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.finish()
        client.hear_end()
        server.hear_gone()
    until(lambda: is_over(stage))


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
def test_a_client_that_ends_within_its_body_takes_the_request_with_it(
    stage: HttpStage, is_reset: bool
) -> None:
    client, server = stage.talk(post("/", b"half", length=8))
    with server:
        server.hear_request(b"POST /")
        server.hear(b"half")
        if is_reset:
            client.reset()
        else:
            client.finish()
        # Not a byte more, and no whole body.
        server.hear_gone()
    client.close()
    until(lambda: is_over(stage))
    assert stage.proxy.snapshot().backends[0].client_aborts == 1


def test_a_client_that_resets_while_it_is_answered_frees_the_place(stage: HttpStage) -> None:
    client, server = stage.talk()
    with server:
        server.hear_request(b"GET /")
        server.say(LONG_OK + b"x" * 100)
        client.take_head()
        client.reset()
        flood(server)
    until(lambda: is_over(stage))
    assert stage.proxy.snapshot().backends[0].client_aborts == 1


def test_a_client_that_resets_while_its_server_thinks_frees_the_place(
    way: Path, opened: Opened
) -> None:
    stage = opened(way)
    client, server = stage.talk()
    with server:
        server.hear_request(b"GET /")
        client.reset()
        # Who is level-triggered and does not read learns it when it writes.
        server.sock.setblocking(True)
        server.sock.settimeout(20)
        if way.poller().is_edge:
            with pytest.raises((ConnectionResetError, AssertionError)):
                server.take_head()
        else:
            server.say(LONG_OK)
            flood(server)
    until(lambda: is_over(stage))


# -- the server's end


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 2", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_server_that_goes_before_its_response_is_told_of(
    stage: HttpStage, words: bytes, is_reset: bool
) -> None:
    client, server = stage.talk()
    with client:
        server.hear_request(b"GET /")
        server.say(words)
        if words.endswith(b"\n"):
            client.take_head()
        if is_reset:
            server.reset()
        else:
            server.close()
        client.hear_answer(502)
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            another.say(OK)
            client.hear_answer(200, b"ok")
    until(lambda: is_over(stage))
    assert stage.proxy.snapshot().backends[0].response_errors == 1


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
def test_a_response_that_is_cut_off_ends_the_conversation(stage: HttpStage, is_reset: bool) -> None:
    client, server = stage.talk()
    with client:
        server.hear_request(b"GET /")
        server.say(LONG_OK + b"half")
        client.take_head()
        client.hear(b"half")
        if is_reset:
            server.reset()
        else:
            server.close()
        client.hear_end()
    until(lambda: is_over(stage))
    assert stage.proxy.snapshot().backends[0].server_aborts == 1


def test_what_came_before_the_cut_is_delivered_to_a_slow_client(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client:
        server.hear_request(b"GET /")
        server.say(LONG_OK + b"x" * 3_000_000)
        server.close()
        client.take_head()
        assert client.take(4_000_000) == b"x" * 3_000_000
    until(lambda: is_over(stage))


# -- silence


@pytest.mark.parametrize(
    "words", [b"", b"\r\n", b"GET / HTTP/1.1\r\nHost"], ids=["nothing", "CRLF", "half"]
)
@pytest.mark.parametrize("limit", ["timeout_client", "timeout_request"])
def test_a_request_that_does_not_come_is_waited_for_so_long(
    way: Path, opened: Opened, words: bytes, limit: str
) -> None:
    stage = opened(way, **{"timeout_client": 60.0, limit: 0.1})
    with stage.connect() as client:
        client.say(words)
        client.hear_answer(408)
        client.hear_end()
    until(lambda: is_over(stage))


def test_a_head_that_comes_by_drops_is_waited_for_no_longer(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_request=0.3)
    with stage.connect() as client:
        client.sock.setblocking(False)
        with pytest.raises((ConnectionError, StopIteration)):
            while True:
                client.sock.send(b"GET / HTTP/1.1\r\nX: "[:1] if False else b"G")
                if select.select([client.sock], [], [], 0.02)[0]:
                    raise StopIteration
        client.sock.settimeout(20)
        client.hear_answer(408)
    until(lambda: is_over(stage))


@pytest.mark.parametrize(
    "limits",
    [
        {"timeout_client": 0.1},
        {"timeout_client": 60.0, "timeout_keep_alive": 0.1},
        {"timeout_client": 60.0, "timeout_request": 0.1},
    ],
    ids=["client", "keep-alive", "request"],
)
def test_a_client_that_asks_nothing_more_is_closed_without_a_word(
    way: Path, opened: Opened, limits: dict[str, float]
) -> None:
    stage = opened(way, **limits)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.hear_end()
        server.hear_gone()
    until(lambda: is_over(stage))


def test_a_second_request_that_stops_in_its_head_is_told(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_request=0.1, timeout_keep_alive=60.0)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(b"GET / HT")
        client.hear_answer(408)
        client.hear_end()


@pytest.mark.parametrize("words", [b"", b"HTTP/1.1 200"], ids=["nothing", "half"])
def test_a_server_that_says_nothing_is_told_of_and_the_client_stays(
    way: Path, opened: Opened, words: bytes
) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=0.1)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(words)
        client.hear_answer(504)
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            another.say(OK)
            client.hear_answer(200, b"ok")


def test_a_server_that_stops_within_its_response_ends_it(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=0.1)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(LONG_OK + b"half")
        client.take_head()
        client.hear(b"half")
        assert client.take(1) == b""
    until(lambda: is_over(stage))


def test_a_body_that_does_not_come_is_waited_for_so_long(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=0.2, timeout_server=60.0)
    client, server = stage.talk(post("/", b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        client.hear_answer(408)
        client.hear_end()
    until(lambda: is_over(stage))


def test_a_server_that_is_silent_from_the_bodys_last_byte_on_is_told_of(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=0.3)
    client, server = stage.talk(post("/", b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        client.say(b"half")
        server.hear(b"halfhalf")
        client.hear_answer(504)


@pytest.mark.parametrize("server_limit", [60.0, None])
def test_a_client_that_takes_nothing_is_waited_for_so_long(
    way: Path, opened: Opened, server_limit: float | None
) -> None:
    stage = opened(way, timeout_client=0.3, timeout_server=server_limit, timeout_connect=60.0)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(LONG_OK)
        flood(server)
        # It has not got everything, and that is said.
        with pytest.raises(ConnectionResetError):
            while client.sock.recv(1 << 20):
                pass
    until(lambda: is_over(stage))


def test_a_server_that_takes_nothing_is_waited_for_so_long(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=0.3, timeout_connect=60.0)
    client, server = stage.talk(post("/", length=1_000_000_000))
    with client, server:
        server.hear_request(b"POST /")
        flood(client)
    until(lambda: is_over(stage))


def test_a_response_that_is_ended_waits_for_a_client_that_reads_late(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, timeout_client=60.0)
    client, server = stage.talk(get("/", "Connection: close"))
    body = b"x" * 6_000_000
    with client:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        client.hear_answer(200, body)
        client.hear_end()
    server.close()
    until(lambda: is_over(stage))


# -- we stop


def test_a_soft_stop_closes_who_is_idle_and_lets_the_others_finish(stage: HttpStage) -> None:
    fresh = stage.connect()
    idle, its = stage.talk()
    its.take_head()
    its.say(OK)
    idle.hear_answer(200, b"ok")
    busy, server = stage.talk()
    answering, another = stage.talk()
    with fresh, idle, its, busy, server, answering, another:
        server.hear_request(b"GET /")
        another.hear_request(b"GET /")
        another.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        answering.take_head()
        until(lambda: stage.clients() == 4)
        stage.proxy.soft_stop()
        idle.hear_end()
        server.say(OK)
        assert b"connection: close" in busy.hear_answer(200, b"ok").lower()
        busy.hear_end()
        another.say(b"k")
        answering.hear(b"ok")
        answering.hear_end()
        # Who has come for one request still gets it.
        fresh.say(get("/fresh"))
        with stage.stub.accept() as its_server:
            its_server.hear_request(b"GET /fresh")
            its_server.say(OK)
            assert b"connection: close" in fresh.hear_answer(200, b"ok").lower()
        fresh.hear_end()
        stage.proxy.join()


def test_a_soft_stop_lets_a_head_that_has_begun_be_finished(stage: HttpStage) -> None:
    with stage.connect() as client:
        client.say(b"GET / HTTP/1.1\r\nHo")
        until(lambda: stage.clients() == 1)
        # Somebody else is served behind it, so its bytes have been read.
        other, server = stage.talk()
        server.take_head()
        stage.proxy.soft_stop()
        client.say(b"st: h\r\n\r\n")
        with other, server, stage.stub.accept() as its:
            its.hear_request(b"GET /")
            its.say(OK)
            assert b"connection: close" in client.hear_answer(200, b"ok").lower()
            client.hear_end()
            server.say(OK)
            other.hear_answer(200, b"ok")
            other.hear_end()
        stage.proxy.join()


def test_a_stop_resets_who_has_not_got_everything(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(LONG_OK + b"half")
        client.take_head()
        client.hear(b"half")
        stage.proxy.stop()
        client.hear_reset()


@pytest.mark.parametrize("words", [b"", b"GET / HT"], ids=["nothing", "half"])
def test_a_stop_ends_whoever_asks_nothing(stage: HttpStage, words: bytes) -> None:
    with stage.connect() as client:
        client.say(words)
        until(lambda: stage.clients() == 1)
        stage.proxy.stop()
        with pytest.raises(ConnectionResetError):
            assert client.sock.recv(1) == b""
            raise ConnectionResetError


def test_the_systems_error_on_the_clients_socket_ends_it(stage: HttpStage) -> None:
    client, server = stage.talk()
    with server:
        server.hear_request(b"GET /")
        client.finish()
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.close()
        server.say(LONG_OK)
        flood(server)
    until(lambda: is_over(stage))


def test_bytes_that_nobody_reads_buy_no_time(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=0.3, timeout_server=600.0)
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(LONG_OK)
        server.sock.setblocking(False)
        # It reads nothing of what it gets, and goes on talking until it is cut off.
        with pytest.raises(ConnectionError):
            while True:
                client.sock.send(b"x")
                with contextlib.suppress(BlockingIOError):
                    server.sock.send(bytes(1 << 20))
                select.select([], [], [], 0.02)
    until(lambda: stage.clients() == 0)
