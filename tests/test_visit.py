"""Requests that we answer ourselves: their bodies, and what comes behind them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, get, post, until
from dsbalance.stats_options import StatsPage

Opened = Callable[..., HttpStage]

FORM = b"s=a&action=drain&b=back"
CHUNKED = b"POST /s HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def stage(way: Path, opened: Opened) -> HttpStage:
    """A proxy with a page at /s that nobody may change anything at."""
    return opened(way, stats=StatsPage(uri="/s"))


def test_what_is_for_us_goes_to_no_server_and_the_rest_does(stage: HttpStage) -> None:
    with stage.connect().say(get("/s")) as client:
        assert b"text/html" in client.hear_answer(200)
        client.say(get("/t"))
        with stage.stub.accept() as server:
            server.hear_request(b"GET /t")
            server.say(OK)
            client.hear_answer(200, b"ok")
            client.say(get("/s;csv"))
            assert b"text/plain" in client.hear_answer(200)
            client.say(get("/u"))
            server.hear_request(b"GET /u")


def test_a_form_may_come_in_parts_and_something_behind_it(stage: HttpStage) -> None:
    head, body = post("/s", FORM)[: -len(FORM)], FORM
    with stage.connect() as client:
        client.say(head[:20])
        until(lambda: stage.clients() == 1)
        client.say(head[20:] + body[:5])
        client.say(body[5:] + get("/s;csv"))
        answers = [client.hear_answer(303), client.hear_answer(200)]
        assert b"text/plain" in answers[1]
    assert stage.proxy.snapshot().backends[0].servers[0].admin == "ready"


def test_a_form_may_come_in_chunks(stage: HttpStage) -> None:
    chunk = b"%x\r\n%b\r\n" % (len(FORM), FORM)
    with stage.connect().say(CHUNKED + chunk) as client:
        client.say(b"0\r\n\r\n" + get("/s;csv"))
        client.hear_answer(303)
        client.hear_answer(200)


def test_a_chunk_that_is_none_is_refused(stage: HttpStage) -> None:
    with stage.connect().say(CHUNKED + b"zz\r\n") as client:
        client.hear_answer(400)
        client.hear_gone()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_body_that_is_no_form_is_not_read_to_its_end(stage: HttpStage, is_chunked: bool) -> None:
    long = b"x" * 20_000
    said = CHUNKED + b"100000\r\n" + long if is_chunked else post("/s", long, length=1 << 30)
    with stage.connect().say(said) as client:
        client.hear_answer(413)
        client.hear_gone()
    until(lambda: stage.clients() == 0)


def test_who_says_only_a_part_of_a_form_is_told_when_its_time_is_over(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, stats=StatsPage(uri="/s"), timeout_request=0.1)
    with stage.connect().say(post("/s", b"s=a", length=100)) as client:
        client.hear_answer(408)


def test_who_leaves_within_a_form_has_changed_nothing(stage: HttpStage) -> None:
    with stage.connect().say(post("/s", b"s=a", length=100)) as client:
        client.finish()
        client.hear_answer(400)
    until(lambda: stage.clients() == 0)
    assert stage.proxy.snapshot().backends[0].servers[0].admin == "ready"


def test_requests_for_us_are_intercepted_and_the_backend_knows_nothing(stage: HttpStage) -> None:
    with stage.connect() as client:
        for _ in range(3):
            client.say(get("/s")).hear_answer(200)
    until(lambda: stage.clients() == 0)
    snapshot = stage.proxy.snapshot()
    assert snapshot.frontends[0].intercepted == snapshot.frontends[0].requests == 3
    backend = snapshot.backends[0]
    assert (backend.total, backend.requests, backend.bytes_out) == (0, 0, 0)
    assert snapshot.frontends[0].request_errors == 0


def test_a_client_that_waits_to_be_told_is_told_to_send_its_body(stage: HttpStage) -> None:
    head = post("/s", FORM)[: -len(FORM)].replace(b"Host: h", b"Host: h\r\nExpect: 100-continue")
    with stage.connect().say(head) as client:
        assert client.take_head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.say(FORM)
        client.hear_answer(303)


def test_who_has_sent_its_body_needs_no_invitation(stage: HttpStage) -> None:
    said = post("/s", FORM).replace(b"Host: h", b"Host: h\r\nExpect: 100-continue")
    with stage.connect().say(said) as client:
        client.hear_answer(303)
