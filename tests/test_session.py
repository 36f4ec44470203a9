"""From acceptance to a connected server: retries, redispatch, queues, and giving up."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from actors import Greeter, Stub, connect, front, greeted_by, one_backend, until
from dsbalance import Proxy, Server, ServerSnapshot
from dsbalance.poller import EpollPoller, SelectorPoller


@pytest.fixture
def greeters() -> Iterator[list[Greeter]]:
    greeters = [Greeter("a"), Greeter("b")]
    yield greeters
    for greeter in greeters:
        greeter.close()


def server(greeter: Greeter, **words: object) -> Server:
    return Server(name=greeter.name, host=greeter.host, port=greeter.port, **words)  # type: ignore[arg-type]


def state(proxy: Proxy, name: str) -> ServerSnapshot:
    (found,) = (s for b in proxy.snapshot().backends for s in b.servers if s.name == name)
    return found


def test_a_server_that_refuses_is_left_within_the_same_connection(
    greeters: list[Greeter],
) -> None:
    dead = Stub()
    gone = Server(name="gone", host=dead.host, port=dead.port)
    dead.close()
    config = one_backend(gone, server(greeters[0]), redispatch=1)
    with Proxy(config) as proxy:
        assert [greeted_by(front(proxy)) for _ in range(10)] == ["a"] * 10
        assert state(proxy, "gone").redispatches >= 5


def test_a_client_is_closed_when_all_have_refused() -> None:
    dead = Stub()
    servers = [Server(name=name, host=dead.host, port=dead.port) for name in "ab"]
    dead.close()
    with Proxy(one_backend(*servers, redispatch=1, retries=2)) as proxy:
        with connect(front(proxy)) as client:
            client.hear_end()
        until(lambda: proxy.snapshot().frontends[0].current == 0)
        assert proxy.snapshot().backends[0].connect_errors == 1


def test_the_same_server_is_tried_again_after_a_pause() -> None:
    dead = Stub()
    only = Server(name="a", host=dead.host, port=dead.port)
    dead.close()
    with Proxy(one_backend(only, timeout_connect=0.05, retries=3)) as proxy:
        with connect(front(proxy)) as client:
            client.hear_end()
        assert state(proxy, "a").retries == 3


def test_a_server_that_drops_connects_is_left_after_the_limit(greeters: list[Greeter]) -> None:
    with contextlib.ExitStack() as cleanup:
        full = Stub(backlog=0)
        cleanup.callback(full.close)
        # Linux queues backlog + 1 connections and drops the SYN of the next one.
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((full.host, full.port))
            cleanup.callback(sock.close)
        config = one_backend(
            Server(name="full", host=full.host, port=full.port, weight=256),
            server(greeters[0]),
            redispatch=1,
            timeout_connect=0.2,
        )
        with Proxy(config) as proxy:
            assert greeted_by(front(proxy)) == "a"


def test_nobody_left_closes_the_client_at_once(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        proxy.maint("back/a")
        with connect(front(proxy)) as client:
            client.hear_end()


@pytest.mark.parametrize("poller", [EpollPoller, SelectorPoller])
def test_a_full_server_lets_the_next_one_wait(
    greeters: list[Greeter], poller: type[EpollPoller | SelectorPoller]
) -> None:
    config = one_backend(server(greeters[0], maxconn=1), timeout_queue=60.0)
    with Proxy(config, poller=poller()) as proxy:
        with connect(front(proxy)) as first, connect(front(proxy)) as second:
            first.take(16)
            until(lambda: proxy.snapshot().backends[0].current == 2)
            assert proxy.snapshot().backends[0].servers[0].current == 1
            first.close()
            assert second.take(16).strip() == b"a"


def test_waiting_for_a_place_has_a_limit(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0], maxconn=1), timeout_queue=0.1)
    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)) as second:
            second.hear_end()


def test_a_long_queue_before_a_server_that_refuses_is_worked_off() -> None:
    # Deeper than Python's recursion limit would allow, if each let the next one in by a call.
    stub = Stub()
    config = one_backend(
        Server(name="a", host=stub.host, port=stub.port, maxconn=1),
        retries=0,
        timeout_queue=60.0,
    )
    with Proxy(config) as proxy:
        clients = [connect(front(proxy))]
        first = stub.accept()
        clients += [connect(front(proxy)) for _ in range(450)]
        until(lambda: proxy.snapshot().frontends[0].current == 451)
        stub.close()
        first.close()
        for client in clients:
            client.hear_end()
            client.close()
        until(lambda: proxy.snapshot().frontends[0].current == 0)
