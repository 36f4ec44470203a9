"""What a conversation waits for: nobody spins, whatever the poller, and nobody waits too long."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, until
from dsbalance.poller import SelectorPoller

Opened = Callable[..., HttpStage]

LONG_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"


class CountingPoller(SelectorPoller):
    """One that tells as long as something lasts, and counts how often."""

    polls = 0

    @property
    def poll(self) -> Callable[[float | None], list[tuple[int, int]]]:
        """What waits, and counts."""
        wait = super().poll

        def count(timeout: float | None) -> list[tuple[int, int]]:
            type(self).polls += 1
            return wait(timeout)

        return count


@pytest.fixture
def counting(opened: Opened) -> HttpStage:
    """A proxy whose loop is counted; a head has half a second."""
    return opened(Path(CountingPoller, 0, "127.0.0.1"), timeout_client=60.0, timeout_request=0.5)


def assert_calm(stage: HttpStage) -> None:
    """Demand that the loop sleeps until somebody else's time is up."""
    with stage.connect() as other:
        until(lambda: stage.clients() >= 2)
        before = CountingPoller.polls
        assert before, "nobody counts"
        other.hear_answer(408)
        # The timeout, the answer, the end: a loop that spins turns some thousand times.
        assert CountingPoller.polls - before < 50


def stuffed(peer: Peer) -> None:
    """Say something until every buffer on the way is full."""
    peer.sock.setblocking(False)
    while select.select([], [peer.sock], [], 0.2)[1]:
        peer.sock.send(b"x" * (1 << 20))


def test_a_server_that_thinks(counting: HttpStage) -> None:
    client, server = counting.talk(get("/1") + get("/2"))
    with client, server:
        server.hear_request(b"GET /1")
        assert_calm(counting)


def test_a_client_that_half_closed_and_waits(counting: HttpStage) -> None:
    client, server = counting.talk()
    with client, server:
        client.finish()
        server.hear_request(b"GET /")
        assert_calm(counting)


def test_a_client_that_does_not_read(counting: HttpStage) -> None:
    client, server = counting.talk(get("/1") + get("/2"))
    with client, server:
        server.hear_request(b"GET /1")
        server.say(LONG_OK)
        stuffed(server)
        assert_calm(counting)


def test_a_server_that_does_not_read(counting: HttpStage) -> None:
    client, server = counting.talk(post(length=1_000_000_000))
    with client, server:
        server.hear_request(b"POST /")
        stuffed(client)
        assert_calm(counting)


def test_a_server_that_answered_early_and_has_ended(counting: HttpStage) -> None:
    client, server = counting.talk(post("/", b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        server.say(OK)
        server.finish()
        client.hear_answer(200, b"ok")
        assert_calm(counting)


def test_a_server_that_says_more_than_it_was_asked(counting: HttpStage) -> None:
    client, server = counting.talk(post("/", b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        server.say(b"more")
        assert_calm(counting)


def test_a_client_between_two_requests(counting: HttpStage) -> None:
    client, server = counting.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200, b"ok")
        with counting.connect() as other:
            other.hear_answer(408)


def test_a_request_in_a_queue(opened: Opened) -> None:
    stage = opened(
        Path(CountingPoller, 0, "127.0.0.1"),
        timeout_client=60.0,
        timeout_request=0.5,
        timeout_queue=60.0,
        maxconn=1,
    )
    first, server = stage.talk()
    with first, server, stage.connect() as second:
        server.hear_request(b"GET /")
        second.say(get("/2") + get("/3"))
        until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
        second.finish()
        assert_calm(stage)


def test_a_client_that_is_left_and_does_not_read(opened: Opened) -> None:
    stage = opened(Path(CountingPoller, 0, "127.0.0.1"), timeout_client=60.0, timeout_request=0.5)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 200 OK\r\n\r\n")
        stuffed(server)
        server.finish()
        assert_calm(stage)


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        ({"timeout_client": 0.1, "timeout_server": 60.0}, 408),
        ({"timeout_client": 60.0, "timeout_server": 0.1}, 504),
        ({"timeout_server": 0.1}, 504),
        ({"timeout_client": 0.1}, 408),
    ],
)
def test_whose_limit_is_the_shorter_one_is_to_blame_for_a_silent_body(
    way: Path, opened: Opened, limits: dict[str, float], status: int
) -> None:
    stage = opened(way, **limits)
    client, server = stage.talk(post("/", b"half", length=8))
    with client, server:
        server.hear_request(b"POST /")
        client.hear_answer(status)


def test_a_request_after_a_long_one_has_limits_of_its_own(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=0.3)
    client, server = stage.talk()
    with client, server:
        for _ in range(3):
            server.hear_request(b"GET /")
            for part in (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", b"a", b"b", b"c"):
                # Activity, just before it would be too late, and more than the limit in all.
                select.select([client.sock], [], [], 0.1)
                server.say(part)
            client.hear_answer(200, b"abc")
            client.say(get())
        server.hear_request(b"GET /")
        client.hear_answer(504)
