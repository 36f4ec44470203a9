"""What is counted of sessions and requests, where, and that each byte is counted once.

What each case counts was observed on HAProxy 2.6.12; docs/differences.md says where we differ.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from actors import OK, HttpStage, Path, Stub, connect, front, get, one_backend, post, until
from dsbalance import Frontend, Proxy, Server
from dsbalance.http_options import Deny, HttpOptions, Redirect
from dsbalance.model import Backend, Bind, Config
from dsbalance.stats import Responses

Opened = Callable[..., HttpStage]

# What is counted apart from sessions, bytes and times.
FAULTS = (
    *("connect_errors", "response_errors", "client_aborts", "server_aborts"),
    *("requests_denied", "responses_denied", "request_errors", "intercepted", "errors"),
    *("retries", "redispatches"),
)


def is_over(proxy: Proxy) -> bool:
    return proxy.snapshot().frontends[0].current == 0


def moved(proxy: Proxy) -> tuple[int, int]:
    frontend = proxy.snapshot().frontends[0]
    return frontend.bytes_in, frontend.bytes_out


def faults(part: Any) -> dict[str, int]:
    """Return what a snapshot has counted of what went wrong, without zeros."""
    return {word: n for word in FAULTS if (n := getattr(part, word, 0))}


def told(proxy: Proxy) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Return the faults of the frontend, the backend, and the first server."""
    until(lambda: is_over(proxy))
    snapshot = proxy.snapshot()
    backend = snapshot.backends[0]
    return faults(snapshot.frontends[0]), faults(backend), faults(backend.servers[0])


def responses(proxy: Proxy) -> tuple[Responses, Responses, Responses]:
    """Return how many of each hundred the frontend, the backend and the first server had."""
    snapshot = proxy.snapshot()
    backend = snapshot.backends[0]
    return snapshot.frontends[0].responses, backend.responses, backend.servers[0].responses


# -- bytes


def test_every_byte_of_requests_and_responses_is_counted_once(stage: HttpStage) -> None:
    asked = [get("/1"), post("/2", b"x" * 3000), get("/3")]
    client, server = stage.talk(asked[0])
    with client, server:
        server.hear_request(b"GET /1")
        server.say(OK)
        client.hear_answer(200)
        client.say(asked[1] + asked[2])
        server.hear_request(b"POST /2")
        server.hear(b"x" * 3000)
        server.say(OK)
        client.hear_answer(200)
        server.hear_request(b"GET /3")
        server.say(OK)
        client.hear_answer(200)
    until(lambda: is_over(stage.proxy))
    snapshot = stage.proxy.snapshot()
    for part in (snapshot.frontends[0], snapshot.backends[0], snapshot.backends[0].servers[0]):
        assert part.bytes_in == sum(map(len, asked))
        assert part.bytes_out == 3 * len(OK)


def test_bytes_of_a_response_that_is_under_way_are_counted_in_time(stage: HttpStage) -> None:
    client, server = stage.talk()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
    with client, server:
        server.hear_request(b"GET /")
        server.say(head + b"y" * 400)
        client.take_head()
        client.hear(b"y" * 400)
        until(lambda: stage.proxy.snapshot().frontends[0].bytes_out == len(head) + 400)
        assert stage.proxy.snapshot().backends[0].servers[0].bytes_in == len(get())
        server.say(b"y" * 600)
        client.hear(b"y" * 600)
    until(lambda: is_over(stage.proxy))
    seen = stage.proxy.snapshot()
    assert seen.frontends[0].bytes_out == seen.backends[0].bytes_out == len(head) + 1000
    assert seen.frontends[0].bytes_in == len(get())


def test_who_has_asked_nothing_yet_has_moved_nothing(stage: HttpStage) -> None:
    with stage.connect().say(b"GET / HTTP/1.1\r\nHo") as client:
        until(lambda: stage.clients() == 1)
        for _ in range(3):
            backend = stage.proxy.snapshot().backends[0]
            assert (backend.bytes_in, backend.bytes_out) == (0, 0)
        client.finish()
        client.hear_answer(400)
    until(lambda: is_over(stage.proxy))
    seen = stage.proxy.snapshot()
    assert seen.frontends[0].bytes_in == len(b"GET / HTTP/1.1\r\nHo")
    assert seen.backends[0].bytes_in == 0


def test_bytes_of_an_open_session_are_counted_in_time() -> None:
    stub = Stub()
    config = one_backend(Server(name="a", host=stub.host, port=stub.port))
    with Proxy(config) as proxy, connect(front(proxy)) as client, stub.accept() as server:
        for number in range(1, 4):
            client.say(b"12345")
            server.hear(b"12345")
            server.say(b"123")
            client.hear(b"123")
            until(lambda: moved(proxy) == (5 * number, 3 * number))  # noqa: B023 - it waits here
        client.close()
        server.hear_end()
        server.close()
        until(lambda: is_over(proxy))
        backend = proxy.snapshot().backends[0]
        assert (backend.bytes_in, backend.bytes_out) == (15, 9)
    stub.close()


# -- requests and responses


def test_requests_are_counted_at_each_of_the_three(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        for number, status in enumerate((200, 304, 404, 503)):
            if number:
                client.say(get())
            server.hear_request(b"GET /")
            server.say(b"HTTP/1.1 %d Any\r\nContent-Length: 0\r\n\r\n" % status)
            client.hear_answer(status)
    assert told(stage.proxy) == ({}, {}, {})
    expected = Responses(successful=1, redirection=1, client_error=1, server_error=1)
    assert responses(stage.proxy) == (expected, expected, expected)
    snapshot = stage.proxy.snapshot()
    server_snapshot = snapshot.backends[0].servers[0]
    assert snapshot.frontends[0].requests == snapshot.backends[0].requests == 4
    assert snapshot.frontends[0].total == 1
    assert (server_snapshot.total, server_snapshot.connects, server_snapshot.reuses) == (4, 1, 3)


def test_a_status_of_no_hundred_is_another(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 600 Any\r\nContent-Length: 0\r\n\r\n")
        client.hear_answer(600)
    until(lambda: is_over(stage.proxy))
    assert responses(stage.proxy) == (Responses(other=1),) * 3


@pytest.mark.parametrize(
    ("said", "status"),
    [(b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400), (b"GET / HT", None), (b"", None)],
    ids=["nonsense", "a part of a head", "nothing"],
)
def test_what_is_no_request_is_an_error_at_the_frontend_alone(
    stage: HttpStage, said: bytes, status: int | None
) -> None:
    with stage.connect().say(said) as client:
        if status is None:
            client.finish()
        client.hear_answer(400)
    assert told(stage.proxy) == ({"request_errors": 1}, {}, {})
    frontend, backend, server = responses(stage.proxy)
    assert frontend == Responses(client_error=1)
    assert backend == server == Responses()


def test_who_leaves_between_two_requests_is_no_error(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200)
    assert told(stage.proxy) == ({}, {}, {})
    assert stage.proxy.snapshot().frontends[0].requests == 1


def test_no_server_is_an_error_of_the_backend(way: Path, opened: Opened) -> None:
    stage = opened(way)
    stage.proxy.maint("back/a")
    with stage.connect().say(get()) as client:
        client.hear_answer(503)
    assert told(stage.proxy) == ({}, {"connect_errors": 1}, {})
    frontend, backend, server = responses(stage.proxy)
    assert frontend == backend == Responses(server_error=1)
    assert server == Responses()
    assert stage.proxy.snapshot().backends[0].bytes_in == len(get())


def test_a_server_that_refuses_is_told_of_and_has_answered_nothing(
    way: Path, opened: Opened
) -> None:
    stage = opened(way, retries=0)
    stage.stub.close()
    with stage.connect().say(get()) as client:
        client.hear_answer(503)
    assert told(stage.proxy) == ({}, {"connect_errors": 1}, {"connect_errors": 1})
    assert responses(stage.proxy)[2] == Responses()


def test_who_waits_too_long_is_an_error_of_the_backend(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=0.1)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        with stage.connect().say(get("/2")) as second:
            second.hear_answer(503)
        server.say(OK)
        client.hear_answer(200)
    assert told(stage.proxy) == ({}, {"connect_errors": 1}, {})


def test_who_waits_for_a_response_is_told_when_an_operator_ends_that(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        assert stage.proxy.shutdown_sessions("back/a") == 1
        client.hear_answer(502)
        client.hear_end()
    assert told(stage.proxy) == ({}, {}, {})
    assert responses(stage.proxy)[0] == Responses(server_error=1)


@pytest.mark.parametrize(
    ("words", "counted"),
    [
        (b"", {"response_errors": 1}),
        (b"nonsense\r\n\r\n", {"response_errors": 1}),
        (OK[:-1], {"response_errors": 1, "server_aborts": 1}),
    ],
    ids=["nothing", "nonsense", "a part of a body"],
)
def test_a_response_that_is_none_is_an_error_of_its_server(
    stage: HttpStage, words: bytes, counted: dict[str, int]
) -> None:
    client, server = stage.talk()
    with client:
        server.hear_request(b"GET /")
        server.say(words)
        server.close()
        client.take_head()
        client.finish()
    assert told(stage.proxy) == ({}, counted, counted)


# -- rules


def behind(*rules: Any) -> Config:
    """Return a proxy whose backend has rules of its own."""
    frontend = Frontend(
        name="front",
        binds=(Bind(host="127.0.0.1", port=0),),
        backend="back",
        http=HttpOptions(),
    )
    backend = Backend(
        name="back",
        servers=(Server(name="a", host="127.0.0.1", port=9),),
        http=HttpOptions(request_rules=rules),
    )
    return Config(frontends=(frontend,), backends=(backend,))


def test_what_the_frontend_denies_is_not_the_backends(way: Path, opened: Opened) -> None:
    stage = opened(way, request_rules=(Deny(status=403),))
    with stage.connect().say(get()) as client:
        client.hear_answer(403)
    assert told(stage.proxy) == ({"requests_denied": 1}, {}, {})
    assert responses(stage.proxy)[1] == Responses()
    assert stage.proxy.snapshot().backends[0].total == 0


def test_a_redirect_of_the_frontend_is_intercepted(way: Path, opened: Opened) -> None:
    stage = opened(way, request_rules=(Redirect(scheme="https"),))
    with stage.connect().say(get()) as client:
        client.hear_answer(302)
    assert told(stage.proxy) == ({"intercepted": 1}, {}, {})


@pytest.mark.parametrize(
    ("rule", "status", "counted"),
    [(Deny(status=403), 403, {"requests_denied": 1}), (Redirect(scheme="https"), 302, {})],
    ids=["deny", "redirect"],
)
def test_a_rule_of_the_backend_is_counted_there(
    rule: Any, status: int, counted: dict[str, int]
) -> None:
    with Proxy(behind(rule)) as proxy:
        with connect(front(proxy)) as client:
            client.say(get()).hear_answer(status)
        assert told(proxy) == (counted, counted, {})
        frontend, backend, _ = responses(proxy)
        assert frontend == backend
        assert proxy.snapshot().backends[0].total == 1


def test_a_response_that_is_kept_back_was_one_of_its_server(way: Path, opened: Opened) -> None:
    stage = opened(way, response_rules=(Deny(status=502),))
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(502)
    counted = {"responses_denied": 1}
    assert told(stage.proxy) == (counted, counted, counted)
    frontend, backend, one = responses(stage.proxy)
    assert frontend == backend == Responses(server_error=1)
    assert one == Responses(successful=1)


# -- times


def test_a_request_has_times_and_one_without_a_server_has_none(stage: HttpStage) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(OK)
        client.hear_answer(200)
    until(lambda: is_over(stage.proxy))
    times = stage.proxy.snapshot().backends[0].servers[0].longest
    assert times.total >= times.response >= 0
    assert times.queue == 0
    before = stage.proxy.snapshot().backends[0].means
    stage.proxy.maint("back/a")
    with stage.connect().say(get()) as client:
        client.hear_answer(503)
    until(lambda: is_over(stage.proxy))
    assert stage.proxy.snapshot().backends[0].means == before
