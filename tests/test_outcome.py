"""Requests that end without a server's response: what is answered, and who may stay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath

import pytest

from actors import OK, HttpStage, Path, get, post, until
from dsbalance.http_options import Deny, HttpConnection

Opened = Callable[..., HttpStage]

CHUNKED = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def denying(way: Path, opened: Opened) -> HttpStage:
    """A proxy that denies every request."""
    return opened(way, request_rules=(Deny(status=403),))


@pytest.mark.parametrize(
    "request_",
    [
        get(),
        post(body=b"whole"),
        post(body=b"\r\n\r\n"),
        post(body=get("/smuggled")),
        CHUNKED + b"5\r\nwhole\r\n0\r\n\r\n",
        CHUNKED + b"0\r\nX-Trailer: y\r\n\r\n",
    ],
    ids=["GET", "length", "empty lines", "request", "chunked", "trailer"],
)
def test_who_has_said_all_of_it_may_stay(denying: HttpStage, request_: bytes) -> None:
    with denying.connect() as client:
        client.say(request_ * 3)
        for _ in range(3):
            assert b"connection" not in client.hear_answer(403).lower()
        client.finish()
        client.hear_end()


@pytest.mark.parametrize(
    "request_",
    [
        post(body=b"half", length=8),
        CHUNKED + b"5\r\nha",
        CHUNKED + b"5\r\nwhole\r\n",
        CHUNKED + b"nonsense\r\n",
        get("/", "Connection: close"),
        get(version="1.0"),
    ],
    ids=["length", "chunk", "no last chunk", "bad chunk", "close", "1.0"],
)
def test_who_has_not_or_does_not_want_to_is_left(denying: HttpStage, request_: bytes) -> None:
    with denying.connect() as client:
        client.say(request_)
        assert b"connection: close" in client.take_head().lower()
        client.sock.settimeout(20)
        while client.sock.recv(1 << 16):
            pass
    until(lambda: denying.clients() == 0)


def test_a_frontend_that_closes_leaves_everybody(way: Path, opened: Opened) -> None:
    stage = opened(way, request_rules=(Deny(status=403),), connection=HttpConnection.CLOSE)
    with stage.connect() as client:
        client.say(get() * 2)
        client.hear_answer(403)
        client.hear_end()


def test_an_answer_to_head_has_no_body(denying: HttpStage) -> None:
    with denying.connect() as client:
        client.say(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" * 2)
        for _ in range(2):
            assert client.take_head().startswith(b"HTTP/1.1 403")
        client.finish()
        client.hear_end()


def test_a_response_that_is_denied_reaches_nobody(way: Path, opened: Opened) -> None:
    stage = opened(way, response_rules=(Deny(status=502),))
    client, server = stage.talk()
    with client:
        with server:
            server.hear_request(b"GET /")
            server.say(OK)
            client.hear_answer(502)
            server.hear_gone()
        client.say(get("/2"))
        with stage.stub.accept() as another:
            another.hear_request(b"GET /2")


@pytest.mark.parametrize("size", [0, 10, 700_000])
def test_a_page_of_ones_own_is_sent_from_its_file(
    way: Path, opened: Opened, tmp_path: FilePath, size: int
) -> None:
    page = tmp_path / "503.http"
    body = b"x" * size
    page.write_bytes(b"HTTP/1.1 503 Gone Fishing\r\nContent-Length: %d\r\n\r\n" % size + body)
    stage = opened(way, error_files=((503, str(page)),))
    stage.proxy.maint("back/a")
    with stage.connect() as client:
        for _ in range(3):
            client.say(get())
            assert client.hear_answer(503, body).startswith(b"HTTP/1.1 503 Gone Fishing")
        client.say(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.take_head()
        client.finish()
        client.hear_end()


def test_what_was_refused_is_told_to_the_log(
    stage: HttpStage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "dsbalance.conversation")
    with stage.connect() as client:
        client.say(b"GET / HTTP/1.1\r\nHost : h\r\n\r\n")
        client.hear_answer(400)
    assert any("127.0.0.1 front: refused: " in r.getMessage() for r in caplog.records)


def test_a_response_that_came_whole_is_not_taken_back_from_a_client_that_stops(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, timeout_client=0.2)
    client, server = stage.talk(post(body=b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + b"x" * 50_000)
        # It is not read before the client is left.
        until(lambda: stage.proxy.snapshot().backends[0].current == 0)
        client.hear_answer(200, b"x" * 50_000)
        client.hear_end()


def test_a_client_that_has_gone_when_it_is_answered_is_forgotten(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=0.2)
    first, server = stage.talk()
    with first, server:
        server.hear_request(b"GET /")
        second = stage.connect().say(get("/2"))
        until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
        second.reset()
        until(lambda: stage.clients() == 1)


def test_a_server_that_ends_before_it_has_all_of_a_request_is_told_of(stage: HttpStage) -> None:
    client, server = stage.talk(post(body=b"half", length=8))
    with client:
        server.hear_request(b"POST /")
        server.hear(b"half")
        server.close()
        assert b"connection: close" in client.hear_answer(502).lower()
        client.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_server_that_resets_before_it_has_all_of_a_request_ends_it(stage: HttpStage) -> None:
    client, server = stage.talk(post(body=b"half", length=8))
    with client:
        server.hear_request(b"POST /")
        server.hear(b"half")
        server.reset()
        client.hear_gone()
    until(lambda: stage.clients() == 0)
