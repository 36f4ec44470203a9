"""A client in HTTP mode and its requests, one after the other: what it gets, and from whom."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, until
from dsbalance.http_options import Deny, HttpConnection

Opened = Callable[..., HttpStage]


def exchange(client: Peer, server: Peer, target: str = "/") -> None:
    """Ask and answer once on connections that are there."""
    client.say(get(target))
    server.hear_request(b"GET " + target.encode())
    server.say(OK)
    client.hear_answer(200, b"ok")


# -- one after the other


def test_both_connections_are_used_again(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        for number in range(5):
            exchange(client, server, f"/{number}")


def test_five_hundred_requests_in_one_write_are_answered_in_their_order(stage: HttpStage) -> None:
    client, server = stage.talk(b"".join(get(f"/{number}") for number in range(500)))
    with client, server:
        for number in range(500):
            server.hear_request(b"GET /%d" % number)
            server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n%03d" % number)
        for number in range(500):
            client.hear_answer(200, b"%03d" % number)


def test_the_next_request_waits_for_the_response_before(stage: HttpStage) -> None:
    client, server = stage.talk(get("/1") + get("/2"))
    with client, server:
        server.hear_request(b"GET /1")
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        client.take_head()
        client.hear(b"o")
        server.sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.sock.recv(1)
        server.sock.settimeout(20)
        server.say(b"k")
        server.hear_request(b"GET /2")


def test_a_bad_request_behind_a_good_one_is_refused_when_its_turn_comes(stage: HttpStage) -> None:
    client, server = stage.talk(get("/1") + b"GET /2 HTTP/1.1\nHost: h\r\n\r\n" + get("/3"))
    with client, server:
        server.hear_request(b"GET /1")
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.hear_answer(400)
        client.hear_end()
        server.hear_gone()


@pytest.mark.parametrize("rest", [b"", b"GET /3 HT"])
def test_all_whole_requests_before_the_end_are_answered(stage: HttpStage, rest: bytes) -> None:
    client, server = stage.talk(get("/1") + get("/2") + rest)
    with client, server:
        client.finish()
        for target in (b"/1", b"/2"):
            server.hear_request(b"GET " + target)
            server.say(OK)
            client.hear_answer(200, b"ok")
        if rest:
            client.hear_answer(400)
        client.hear_end()


def test_bodies_and_requests_may_come_in_one_write(stage: HttpStage) -> None:
    client, server = stage.talk(post("/1", b"abc") + post("/2", b"defg") + get("/3"))
    with client, server:
        for line, body in ((b"POST /1", b"abc"), (b"POST /2", b"defg"), (b"GET /3", b"")):
            server.hear_request(line)
            server.hear(body)
            server.say(OK)
            client.hear_answer(200, b"ok")


def test_empty_lines_between_two_requests_are_no_request(stage: HttpStage) -> None:
    client, server = stage.talk(b"\r\n\r\n" + get("/1") + b"\r\n" + get("/2"))
    with client, server:
        for target in (b"/1", b"/2"):
            server.hear_request(b"GET " + target)
            server.say(OK)
            client.hear_answer(200, b"ok")


# -- who stays


@pytest.mark.parametrize(
    "request_", [get("/", "Connection: close"), get(version="1.0")], ids=["close", "1.0"]
)
def test_a_client_that_does_not_stay_is_left_behind_its_response(
    stage: HttpStage, request_: bytes
) -> None:
    client, server = stage.talk(request_ + get("/ignored"))
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        assert b"connection: close" in client.hear_answer(200, b"ok").lower()
        client.hear_end()
        server.hear_gone()
    until(lambda: stage.clients() == 0)


def test_a_client_of_http_10_may_stay_if_it_says_so(stage: HttpStage) -> None:
    client, server = stage.talk(get("/", "Connection: keep-alive", version="1.0"))
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        assert b"connection: keep-alive" in client.hear_answer(200, b"ok").lower()
        exchange(client, server)


def test_httpclose_closes_both_behind_each_response(way: Path, opened: Opened) -> None:
    stage = opened(way, connection=HttpConnection.CLOSE)
    client, server = stage.talk()
    with client, server:
        assert b"connection: close" in server.hear_request(b"GET /").lower()
        server.say(OK)
        assert b"connection: close" in client.hear_answer(200, b"ok").lower()
        client.hear_end()
        server.hear_gone()


def test_http_server_close_closes_the_server_alone(way: Path, opened: Opened) -> None:
    stage = opened(way, connection=HttpConnection.SERVER_CLOSE)
    client, server = stage.talk()
    with client:
        for target in (b"/1", b"/2"):
            with server:
                server.take_head()
                server.say(OK)
                assert b"connection" not in client.hear_answer(200, b"ok").lower()
                server.hear_gone()
            client.say(get(target.decode()))
            server = stage.stub.accept()
        server.close()


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["close", "1.0"],
)
def test_a_server_that_does_not_stay_costs_the_client_nothing(
    stage: HttpStage, response: bytes
) -> None:
    client, server = stage.talk()
    with client:
        with server:
            server.hear_request(b"GET /")
            server.say(response)
            head = client.hear_answer(200, b"ok").lower()
            assert b"connection: close" not in head
            server.hear_gone()
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            another.say(OK)
            client.hear_answer(200, b"ok")


def test_a_server_of_http_10_may_stay_if_it_says_so(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        client.hear_answer(200, b"ok")
        exchange(client, server)


# -- responses without a body


@pytest.mark.parametrize(
    ("method", "response"),
    [
        (b"HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
        (b"HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (b"GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n"),
        (b"GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["HEAD", "HEAD chunked", "204", "304", "empty"],
)
def test_a_response_without_a_body_is_complete_at_once(
    stage: HttpStage, method: bytes, response: bytes
) -> None:
    client, server = stage.talk(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
    with client, server:
        server.hear_request(method + b" /")
        server.say(response)
        assert client.take_head().startswith(response[:12])
        exchange(client, server)


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified", b"200 OK"])
def test_bytes_behind_a_response_reach_nobody(stage: HttpStage, status: bytes) -> None:
    client, server = stage.talk()
    with client:
        with server:
            server.hear_request(b"GET /")
            length = b"Content-Length: 0\r\n" if status == b"200 OK" else b""
            server.say(b"HTTP/1.1 " + status + b"\r\n" + length + b"\r\nsurplus" + OK)
            client.take_head()
            # What it says next would be taken for another response.
            server.hear_gone()
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")
            another.say(OK)
            client.hear_answer(200, b"ok")


# -- what we answer ourselves


def test_a_denied_request_reaches_no_server_and_the_client_stays(way: Path, opened: Opened) -> None:
    stage = opened(way, request_rules=(Deny(status=403),))
    with stage.connect() as client:
        for _ in range(3):
            client.say(get())
            client.hear_answer(403)
        client.say(post("/", b"whole"))
        client.hear_answer(403)
        client.say(get())
        client.hear_answer(403)
        client.say(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhalf")
        assert b"connection: close" in client.hear_answer(403).lower()
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_pipeline_of_what_we_answer_ourselves_is_answered_whole(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, monitor_uri="/alive")
    with stage.connect() as client:
        client.say(get("/alive") * 500)
        for _ in range(500):
            client.hear_answer(200)


@pytest.mark.parametrize(
    "words",
    [
        b"GET / HTTP/1.1\nHost: h\n\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["LF", "space", "TLS", "CL+TE"],
)
def test_what_is_no_request_is_refused_and_the_client_left(stage: HttpStage, words: bytes) -> None:
    with stage.connect() as client:
        client.say(words)
        client.hear_answer(400)
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_refused_client_gets_its_answer_although_it_goes_on_sending(stage: HttpStage) -> None:
    with stage.connect() as client:
        client.say(b"GET / HTTP/1.1\nHost: h\n\n")
        client.say(b"x" * 100_000)
        client.hear_answer(400)
        client.hear_end()


# -- other protocols


def test_ipv6_is_served_alike(opened: Opened, way: Path) -> None:
    six = Path(way.poller, way.pipes, "::1")
    if six.lack:
        pytest.skip(six.lack)
    stage = opened(six)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")


def test_an_urgent_byte_disturbs_nothing(stage: HttpStage) -> None:
    client, server = stage.talk(post("/", b"12345")[:-3])
    with client, server:
        client.sock.send(b"!", socket.MSG_OOB)
        client.say(b"345")
        server.hear_request(b"POST /")
        server.hear(b"12345")
        server.say(OK)
        client.hear_answer(200, b"ok")
