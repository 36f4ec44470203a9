"""A request and its response on their way: in whatever pieces, both at once, cut off, unasked."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import socket
import threading
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, until
from dsbalance.sockets import unsent

Opened = Callable[..., HttpStage]

CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LONG = 50 << 20


def spelled(peer: Peer, words: bytes) -> None:
    """Say each byte in a packet of its own."""
    for number in range(len(words)):
        peer.say(words[number : number + 1])


def said_behind(peer: Peer, words: bytes) -> threading.Thread:
    """Say all of it while the test goes on."""
    thread = threading.Thread(target=peer.say, args=(words,))
    thread.start()
    return thread


# -- in pieces


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_request_may_come_byte_by_byte(stage: HttpStage, is_chunked: bool) -> None:
    body = b"5\r\nhello\r\n0\r\n\r\n" if is_chunked else b"hello"
    words = CHUNKED + body if is_chunked else post(body=body)
    with stage.connect() as client:
        spelled(client, words)
        with stage.stub.accept() as server:
            server.hear_request(b"POST /")
            if is_chunked:
                assert unchunked(server) == b"hello"
            else:
                server.hear(b"hello")
            server.say(OK)
            client.hear_answer(200, b"ok")


def unchunked(peer: Peer) -> bytes:
    """Return a chunked body, taken to its end."""
    body = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += peer.take(1)
        size = int(line, 16)
        body += peer.take(size)
        peer.hear(b"\r\n")
        if not size:
            return body


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_response_may_come_byte_by_byte(stage: HttpStage, is_chunked: bool) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        spelled(server, CHUNKED_OK + b"2\r\nok\r\n0\r\n\r\n" if is_chunked else OK)
        if is_chunked:
            client.take_head()
            assert unchunked(client) == b"ok"
        else:
            client.hear_answer(200, b"ok")
        client.say(get("/2"))
        server.hear_request(b"GET /2")


def test_a_request_may_be_split_anywhere(stage: HttpStage) -> None:
    words = post("/", b"body")
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        for place in range(1, len(words)):
            server.say(OK)
            client.hear_answer(200, b"ok")
            client.say(words[:place])
            # It arrives by itself: a whole other client is served in between.
            client.say(words[place:])
            server.hear_request(b"POST /")
            server.hear(b"body")


def test_a_body_is_passed_on_as_it_comes(stage: HttpStage) -> None:
    client, server = stage.talk(post(length=6))
    with client, server:
        server.hear_request(b"POST /")
        for part in (b"ab", b"cd", b"ef"):
            client.say(part)
            server.hear(part)
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        client.take_head()
        for part in (b"ab", b"cd", b"ef"):
            server.say(part)
            client.hear(part)


def test_trailers_and_the_next_request_stay_apart(stage: HttpStage) -> None:
    client, server = stage.talk(CHUNKED + b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n" + get("/2"))
    with client, server:
        server.hear_request(b"POST /")
        server.hear(b"1\r\na\r\n0\r\n")
        assert server.take_head().lower() == b"x-sum: 1\r\n\r\n"
        server.say(OK)
        client.hear_answer(200, b"ok")
        server.hear_request(b"GET /2")


# -- long bodies


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_fifty_megabytes_to_a_slow_client_are_whole(
    long_way: Path, opened: Opened, framing: str
) -> None:
    stage = opened(long_way)
    client, server = stage.talk()
    block = os.urandom(1 << 20)
    with client, server:
        server.hear_request(b"GET /")

        def send() -> None:
            if framing == "length":
                server.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LONG)
            else:
                server.say(CHUNKED_OK if framing == "chunked" else b"HTTP/1.1 200 OK\r\n\r\n")
            for _ in range(50):
                server.say(b"100000\r\n" + block + b"\r\n" if framing == "chunked" else block)
            if framing == "chunked":
                server.say(b"0\r\n\r\n")
            elif framing == "close":
                server.finish()

        thread = threading.Thread(target=send)
        thread.start()
        client.take_head()
        got = hashlib.sha256()
        if framing == "chunked":
            got.update(unchunked(client))
        else:
            for _ in range(800):
                got.update(client.take(LONG // 800))
        thread.join()
        assert got.digest() == hashlib.sha256(block * 50).digest()
        if framing == "close":
            client.hear_end()
        else:
            client.say(get("/2"))
            server.hear_request(b"GET /2")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_fifty_megabytes_to_a_slow_server_are_whole(
    long_way: Path, opened: Opened, is_chunked: bool
) -> None:
    stage = opened(long_way)
    client, server = stage.talk(CHUNKED if is_chunked else post(length=LONG))
    block = os.urandom(1 << 20)
    with client, server:

        def send() -> None:
            for _ in range(50):
                client.say(b"100000\r\n" + block + b"\r\n" if is_chunked else block)
            if is_chunked:
                client.say(b"0\r\n\r\n")

        thread = threading.Thread(target=send)
        thread.start()
        server.hear_request(b"POST /")
        got = hashlib.sha256()
        if is_chunked:
            got.update(unchunked(server))
        else:
            for _ in range(800):
                got.update(server.take(LONG // 800))
        thread.join()
        assert got.digest() == hashlib.sha256(block * 50).digest()
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(get("/2"))
        server.hear_request(b"GET /2")


def test_long_bodies_of_several_requests_follow_each_other(long_way: Path, opened: Opened) -> None:
    stage = opened(long_way)
    body = os.urandom(3 << 20)
    client, server = stage.talk(get("/1"))
    with client, server:
        server.hear_request(b"GET /1")
        for _ in range(4):
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
            saying = said_behind(server, head + body)
            client.hear_answer(200, body)
            saying.join()
            asking = said_behind(client, post("/", body))
            server.hear_request(b"POST /")
            server.hear(body)
            asking.join()


def test_both_directions_go_at_once(long_way: Path, opened: Opened) -> None:
    # A server that answers while it is asked, as one that echoes does.
    stage = opened(long_way)
    body = os.urandom(8 << 20)
    client, server = stage.talk(post(length=len(body)))
    with client, server:
        server.hear_request(b"POST /")
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
        threads = [said_behind(client, body), said_behind(server, body[::-1])]
        heard: list[bytes] = []
        threads.append(threading.Thread(target=lambda: heard.append(server.take(len(body)))))
        threads[-1].start()
        client.hear_answer(200, body[::-1])
        for thread in threads:
            thread.join()
        assert heard == [body]
        client.say(get("/2"))
        server.hear_request(b"GET /2")


def test_the_tail_of_a_body_is_not_lost_behind_an_early_response(
    long_way: Path, opened: Opened
) -> None:
    stage = opened(long_way)
    # For some of the sizes the server's buffers are full when the body's last byte has been read.
    for size in range(3 << 20, 8 << 20, 300_000):
        body = os.urandom(size)
        client, server = stage.talk(post(length=size))
        with client, server:
            server.hear_request(b"POST /")
            server.say(OK)
            client.hear_answer(200, b"ok")
            thread = said_behind(client, body)
            while is_moving(client.sock):
                pass
            stage.proxy.snapshot()
            server.hear(body)
            thread.join()


def is_moving(sock: socket.socket) -> bool:
    """Return whether anything of what is on its way was taken in the last moment."""
    left = unsent(sock)
    select.select([sock], [], [], 0.03)
    return unsent(sock) != left


# -- early and interim responses


def test_interim_responses_are_passed_on(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 3 + OK)
        for _ in range(3):
            assert client.take_head().startswith(b"HTTP/1.1 103")
        client.hear_answer(200, b"ok")


def test_a_client_that_waits_for_100_gets_it(stage: HttpStage) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    client, server = stage.talk(head)
    with client, server:
        assert b"expect: 100-continue" in server.hear_request(b"POST /").lower()
        server.say(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.take_head().startswith(b"HTTP/1.1 100")
        client.say(b"body")
        server.hear(b"body")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(get("/2"))
        server.hear_request(b"GET /2")


def test_a_client_whose_expectation_fails_may_leave_its_body_out(stage: HttpStage) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    client, server = stage.talk(head)
    with client, server:
        server.hear_request(b"POST /")
        server.say(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        client.hear_answer(417)
        client.finish()
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_server_that_never_stops_saying_100_holds_nobody_else_up(stage: HttpStage) -> None:
    client, server = stage.talk()
    is_over = threading.Event()

    def flood() -> None:
        try:
            while not is_over.is_set():
                server.say(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    with client, server:
        server.hear_request(b"GET /")
        thread.start()
        for _ in range(10):
            other, its_server = stage.talk()
            with other, its_server:
                its_server.hear_request(b"GET /")
                its_server.say(OK)
                other.hear_answer(200, b"ok")
        is_over.set()
        client.reset()
        thread.join()
    until(lambda: stage.clients() == 0)


def test_an_early_response_does_not_end_the_request(stage: HttpStage) -> None:
    client, server = stage.talk(post(length=4))
    with client, server:
        server.hear_request(b"POST /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(b"body")
        server.hear(b"body")
        client.say(get("/2"))
        server.hear_request(b"GET /2")


@pytest.mark.parametrize("is_reset", [False, True], ids=["end", "reset"])
def test_an_early_response_of_a_server_that_goes_is_delivered(
    stage: HttpStage, is_reset: bool
) -> None:
    client, server = stage.talk(post(length=5_000_000))
    with client:
        server.hear_request(b"POST /")
        server.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        client.hear_answer(413, b"no!")
        if is_reset:
            server.reset()
        else:
            server.close()
        with contextlib.suppress(ConnectionError):
            client.say(b"x" * 5_000_000)
    until(lambda: stage.clients() == 0)


def test_a_client_that_sends_on_gets_the_response_before_the_servers_reset(
    stage: HttpStage,
) -> None:
    client, server = stage.talk(post(length=500_000) + b"x" * 200_000)
    with client:
        server.take(1)
        server.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        # Bytes of the client are unread, so this close is a reset.
        server.close()
        client.hear_answer(413, b"no!")
    until(lambda: stage.clients() == 0)


# -- close-delimited


def test_a_response_without_a_length_ends_with_its_connection(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 200 OK\r\n\r\nall of")
        assert b"connection: close" in client.take_head().lower()
        client.hear(b"all of")
        server.say(b" it")
        server.finish()
        client.hear(b" it")
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_response_without_a_length_that_is_cut_off_does_not_look_whole(
    stage: HttpStage,
) -> None:
    client, server = stage.talk()
    with client:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        client.take_head()
        client.hear(b"half")
        server.reset()
        client.hear_reset()


# -- what is no response


@pytest.mark.parametrize(
    "words",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
    ids=["ssh", "LF", "two lengths", "CL+TE", "101 unasked", "endless head"],
)
def test_what_is_no_response_is_not_passed_on_and_the_client_stays(
    stage: HttpStage, words: bytes
) -> None:
    client, server = stage.talk()
    with client:
        with server:
            server.hear_request(b"GET /")
            server.say(words)
            client.hear_answer(502)
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            another.say(OK)
            client.hear_answer(200, b"ok")


def test_a_bad_chunk_of_a_response_ends_it(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(CHUNKED_OK + b"2\r\nok\r\n")
        client.take_head()
        client.hear(b"2\r\nok\r\n")
        server.say(b"-1\r\n")
        assert client.take(1) == b""
    until(lambda: stage.clients() == 0)


def test_a_bad_chunk_of_a_request_is_refused_and_reaches_no_server(stage: HttpStage) -> None:
    client, server = stage.talk(CHUNKED + b"2\r\nok\r\n")
    with client, server:
        server.hear_request(b"POST /")
        server.hear(b"2\r\nok\r\n")
        client.say(b"+3\r\nbad\r\n")
        client.hear_answer(400)
        client.hear_end()
        # It is not ended cleanly by a last chunk: either end will do, more bytes will not.
        server.hear_gone()
    until(lambda: stage.clients() == 0)


def test_the_tail_of_a_body_reaches_a_server_that_takes_it_in_sips(
    long_way: Path, opened: Opened
) -> None:
    # The last bytes are in our hands long before the server has room for them.
    stage = opened(long_way)
    stage.stub.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    for size in range(1 << 20, 3 << 20, 300_001):
        body = os.urandom(size)
        client, server = stage.talk(post(length=size))
        with client, server:
            server.hear_request(b"POST /")
            sender = said_behind(client, body)
            got = bytearray()
            while len(got) < size:
                part = server.take(min(20_000, size - len(got)))
                assert part, f"{size - len(got)} bytes are missing"
                got += part
            sender.join()
            assert got == body
            server.say(OK)
            client.hear_answer(200, b"ok")
