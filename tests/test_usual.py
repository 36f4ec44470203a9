"""The usual request and its answer go through in one step, and nothing unusual does.

Each test says what the general way does, too: the usual one must not be told from it.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, until
from dsbalance import ServerSnapshot, usual
from dsbalance.conduit import Intake
from dsbalance.conversation import Conversation
from dsbalance.http_options import AddressField, HttpConnection
from dsbalance.model import StickRule, Table

Opened = Callable[..., HttpStage]
STICKY = {"stick": (StickRule(),), "table": Table(size=100)}


class Book:
    """How often each step was asked for, and how often all was usual."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[bool] = []
        self.passed: list[bool] = []
        for name, book in (("ask", self.asked), ("pass_on", self.passed)):
            self._note(monkeypatch, name, book)

    @staticmethod
    def _note(monkeypatch: pytest.MonkeyPatch, name: str, book: list[bool]) -> None:
        step: Callable[..., bool] = getattr(usual, name)

        def noted(*args: object) -> bool:
            is_usual = step(*args)
            book.append(is_usual)
            return is_usual

        where = "conversation" if name == "ask" else "exchange"
        monkeypatch.setattr(f"dsbalance.{where}.{name}", noted)


@pytest.fixture
def book(monkeypatch: pytest.MonkeyPatch) -> Book:
    return Book(monkeypatch)


@pytest.fixture
def sticky(way: Path, opened: Opened) -> HttpStage:
    return opened(way, **STICKY)


def exchange(client: Peer, server: Peer, target: str = "/", answer: bytes = OK) -> None:
    client.say(get(target))
    server.hear_request(b"GET " + target.encode())
    server.say(answer)
    client.hear_answer(200, b"ok")


def over(stage: HttpStage, steps: list[bool]) -> list[bool]:
    """Return what became of all steps; the question waits until the last one is over."""
    stage.proxy.snapshot()
    return steps


def counters(stage: HttpStage) -> ServerSnapshot:
    return stage.proxy.snapshot().backends[0].servers[0]


def begin(stage: HttpStage) -> tuple[Peer, Peer]:
    """Have one request answered, so that the next one may be usual."""
    client, server = stage.talk()
    server.hear_request(b"GET /")
    server.say(OK)
    client.hear_answer(200, b"ok")
    return client, server


def test_usual_requests_take_one_step_each_way(sticky: HttpStage, book: Book) -> None:
    client, server = begin(sticky)
    with client, server:
        for number in range(3):
            exchange(client, server, f"/{number}")
    assert over(sticky, book.asked)[:3] == [True] * 3
    assert over(sticky, book.passed) == [True] * 4


def test_without_a_stick_table_each_request_is_placed_anew(stage: HttpStage, book: Book) -> None:
    client, server = begin(stage)
    with client, server:
        exchange(client, server)
    assert over(stage, book.asked)[:1] == [True]
    assert counters(stage).total == 2


# What is asked, and what is said to it; the usual and the unusual in turns.
PLAY = (
    (get("/1"), OK),
    (get("/2"), OK),
    (b"HEAD /3 HTTP/1.1\r\nHost: h\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    (get("/4"), b"HTTP/1.1 404 Not Found\r\nDate: now\r\nContent-Length: 4\r\nETag: 1\r\n\r\ngone"),
    (post("/5", b"abc"), OK),
    (get("/6"), b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"),
    (get("/7"), b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    (get("/8"), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", OK),
    (b"GET /9 HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n", OK),
    (get("/10"), b"HTTP/1.1 200 OK\r\nConnection: X\r\nX: y\r\nContent-Length: 2\r\n\r\nok"),
    (get("/11"), OK),
)
# Port, date and times differ each time.
VARYING = re.compile(r":\d+ \[[^]]*\]|(?<= )(?:-?\d+/){4}\+?\d+(?= \d{3} )")


def heard(stage: HttpStage, caplog: pytest.LogCaptureFixture) -> object:
    """Play it, and return what both ends have heard, what was counted and what was told."""
    caplog.clear()
    client, server = stage.talk()
    words = []
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        for asked, said in PLAY:
            client.say(asked)
            head = server.take_head()
            body = server.take(3 if head.startswith(b"POST") else 0)
            server.say(said)
            rest = len(said.partition(b"\r\n\r\n")[2])
            words.append((head, body, client.take_head(), client.take(rest)))
    until(lambda: stage.clients() == 0)
    one = counters(stage)
    front = stage.proxy.snapshot().frontends[0]
    counted = (one.total, one.peak, one.current, one.bytes_in, one.bytes_out)
    lines = [record.getMessage() for record in caplog.records]
    assert not any("/-1" in line for line in lines), "every moment is known"
    told = [VARYING.sub("", line) for line in lines]
    return words, counted, (front.bytes_in, front.bytes_out), told


def test_nobody_can_tell_the_usual_way_from_the_general_one(
    way: Path,
    opened: Opened,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "dsbalance.conversation")
    address = AddressField()
    short = heard(opened(way, **STICKY, forwardfor=address), caplog)
    for name in ("conversation.ask", "exchange.pass_on"):
        monkeypatch.setattr(f"dsbalance.{name}", lambda *_: False)
    assert heard(opened(way, **STICKY, forwardfor=address), caplog) == short


@pytest.mark.parametrize(
    "said",
    [
        get("/1") + get("/2"),
        post("/1", b"abc") + get("/2"),
        b"\r\n" + get("/1") + get("/2"),
    ],
)
def test_more_than_one_head_is_not_usual(sticky: HttpStage, book: Book, said: bytes) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(said)
        for target in (b"/1", b"/2"):
            head = server.take_head()
            assert b" " + target + b" " in head
            if head.startswith(b"POST"):
                server.hear(b"abc")
            server.say(OK)
            client.hear_answer(200, b"ok")
    assert over(sticky, book.asked)[0] is False


@pytest.mark.parametrize("cut", [1, 10, -4, -1])
def test_half_a_head_waits_for_the_rest(sticky: HttpStage, book: Book, cut: int) -> None:
    client, server = begin(sticky)
    said = get("/1")
    with client, server:
        client.say(said[:cut])
        until(lambda: bool(book.asked))
        client.say(said[cut:])
        server.hear_request(b"GET /1")
        server.say(OK)
        client.hear_answer(200, b"ok")
    assert over(sticky, book.asked)[0] is False


def test_a_refused_request_is_refused_as_ever(sticky: HttpStage) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(b"GET / HTTP/1.1\r\nHost : h\r\n\r\n")
        client.hear_answer(400)
        client.hear_end()


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", 204, b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n", 304, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 100, None),
        (b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
    ],
)
def test_an_unusual_answer_takes_the_general_way(
    sticky: HttpStage, book: Book, answer: bytes, status: int, body: bytes | None
) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(get())
        server.hear_request(b"GET /")
        server.say(answer)
        if body is None:
            head = client.take_head()
            assert head.startswith(b"HTTP/1.1 %d" % status)
        else:
            assert client.take_head().startswith(b"HTTP/1.1 %d" % status)
            client.hear(body)
    assert over(sticky, book.passed)[0] is True
    assert True not in over(sticky, book.passed)[1:]


@pytest.mark.parametrize(
    ("method", "status"), [(b"HEAD", b"200 OK"), (b"GET", b"304 Not Modified")]
)
def test_what_is_said_behind_an_answer_without_a_body_goes_nowhere(
    sticky: HttpStage, book: Book, method: bytes, status: bytes
) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
        server.hear_request(method + b" /")
        server.say(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\nok")
        assert status in client.take_head()
        # The next thing that it hears is the next answer, from another connection.
        client.say(get())
        with sticky.stub.accept() as other:
            other.hear_request(b"GET /")
            other.say(OK)
            client.hear_answer(200, b"ok")
    assert over(sticky, book.passed) == [True, False, True]


def test_an_answer_in_two_parts_is_waited_for(sticky: HttpStage) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(get("/1"))
        server.hear_request(b"GET /1")
        server.say(OK[:-1])
        client.take_head()
        client.hear(b"o")
        server.say(b"k")
        client.hear(b"k")
        exchange(client, server, "/2")


def test_what_is_said_behind_an_answer_is_not_the_next_one(sticky: HttpStage) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(get("/1"))
        server.hear_request(b"GET /1")
        server.say(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged")
        client.hear_answer(200, b"ok")
        client.say(get("/2"))
        with sticky.stub.accept() as other:
            other.hear_request(b"GET /2")
            other.say(OK)
            client.hear_answer(200, b"ok")


def test_who_wants_to_leave_is_told_so(sticky: HttpStage, book: Book) -> None:
    client, server = begin(sticky)
    with client, server:
        client.say(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        server.hear_request(b"GET /")
        server.say(OK)
        assert b"connection: close" in client.take_head().lower()
        client.hear(b"ok")
        client.hear_end()
    assert over(sticky, book.passed)[-1] is False


def test_nothing_is_usual_where_connections_are_closed(
    way: Path, opened: Opened, book: Book
) -> None:
    stage = opened(way, **STICKY, connection=HttpConnection.SERVER_CLOSE)
    client, server = begin(stage)
    with client, server:
        pass
    assert True not in over(stage, book.passed)


def test_what_the_client_does_not_take_at_once_it_gets_later(
    sticky: HttpStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_blocked = threading.Event()

    def noted(conversation: Conversation, intake: Intake) -> bool:
        is_usual = usual.pass_on(conversation, intake)
        if is_usual and conversation.outlet.is_blocked:
            is_blocked.set()
        return is_usual

    monkeypatch.setattr("dsbalance.exchange.pass_on", noted)
    client, server = begin(sticky)
    count, page = 400, b"x" * 50_000

    def serve() -> None:
        for _ in range(count):
            server.hear_request(b"GET /")
            server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 50000\r\n\r\n" + page)

    with client, server:
        thread = threading.Thread(target=serve)
        thread.start()
        client.say(get() * count)
        assert is_blocked.wait(20)
        for _ in range(count):
            client.hear_answer(200, page)
        thread.join()
