"""From acceptance to a connected server: retries, redispatch, queues, and giving up."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import socket

import pytest

from actors import Greeter, Stub, connect, front, greeted_by, one_backend, server, state, until
from dsbalance import (
    Balance,
    Keepalive,
    Proxy,
    Server,
    StickRule,
    Table,
)
from dsbalance.poller import EpollPoller, SelectorPoller
from dsbalance.session import Session
from dsbalance.sockets import Stream, open_stream


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


def test_those_who_wait_for_a_server_that_is_lost_go_to_another_one(
    greeters: list[Greeter],
) -> None:
    config = one_backend(
        server(greeters[0], maxconn=1), server(greeters[1], backup=True), timeout_queue=60.0
    )
    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)) as second:
            until(lambda: proxy.snapshot().frontends[0].current == 2)
            proxy.maint("back/a")
            proxy.ready("back/a")
            first.close()
            assert second.take(16).strip() in {b"a", b"b"}


def test_those_who_wait_for_their_own_server_are_decided_anew_when_it_is_lost(
    greeters: list[Greeter],
) -> None:
    config = one_backend(
        *(server(greeter, maxconn=1) for greeter in greeters),
        balance=Balance.FIRST,
        table=Table(size=10),
        stick=(StickRule(),),
        timeout_queue=60.0,
    )
    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)) as stuck:
            until(lambda: state(proxy, "a").queued == 1)
            proxy.maint("back/a")
            assert stuck.take(16).strip() == b"b"


def test_those_who_wait_are_closed_when_nobody_is_left(greeters: list[Greeter]) -> None:
    config = one_backend(
        server(greeters[0], maxconn=1),
        balance=Balance.SOURCE,
        table=Table(size=10),
        stick=(StickRule(),),
        timeout_queue=60.0,
    )
    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)) as second:
            until(lambda: state(proxy, "a").queued == 1)
            proxy.maint("back/a")
            second.hear_end()
        first.say(b"still")
        first.hear(b"still")


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_without_a_descriptor_for_the_server_the_client_is_closed_and_the_next_one_is_served(
    greeters: list[Greeter], error: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [OSError(error, os.strerror(error))]

    def failing(family: socket.AddressFamily) -> Stream:
        if failures:
            raise failures.pop()
        return open_stream(family)

    monkeypatch.setattr("dsbalance.approach.open_stream", failing)
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        with connect(front(proxy)) as client:
            client.hear_end()
        assert greeted_by(front(proxy)) == "a"
        assert state(proxy, "a").connect_errors == 0
        until(lambda: proxy.snapshot().frontends[0].current == 0)


def test_a_server_without_a_route_is_left_for_another_one(greeters: list[Greeter]) -> None:
    # Linux has no route to the broadcast address for TCP: connect says so at once.
    unreachable = Server(name="gone", host="255.255.255.255", port=9)
    config = one_backend(unreachable, server(greeters[0]), redispatch=1)
    with Proxy(config) as proxy:
        assert {greeted_by(front(proxy)) for _ in range(4)} == {"a"}


def test_a_session_that_pauses_survives_the_removal_of_its_server(
    greeters: list[Greeter],
) -> None:
    dead = Stub()
    gone = Server(name="gone", host=dead.host, port=dead.port)
    dead.close()
    # The only usable server is tried again after a pause, even with a redispatch at each retry.
    config = one_backend(gone, server(greeters[0], weight=0), redispatch=-1, retries=2)
    with Proxy(config) as proxy:
        with connect(front(proxy)) as client:
            until(lambda: state(proxy, "gone").retries == 1)
            proxy.set_weight("back/a", 1)
            proxy.remove_server("back/gone")
            assert client.take(16).strip() == b"a"


def test_the_connection_to_the_server_is_kept_alive_as_configured() -> None:
    stub = Stub()
    config = one_backend(
        Server(name="a", host=stub.host, port=stub.port), keepalive=Keepalive(idle=77)
    )
    seen: list[int] = []

    with Proxy(config) as proxy, connect(front(proxy)) as client, stub.accept() as peer:
        peer.say(b"hello")
        client.hear(b"hello")
        (session,) = proxy._engine._entrances.find("front").sessions
        assert isinstance(session, Session)
        sock = session.approach.server_sock
        assert sock is not None
        seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
    assert seen == [77]
    stub.close()


def test_every_session_is_told_of_with_its_reason_if_somebody_listens(
    greeters: list[Greeter], caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.INFO, "dsbalance.session"),
        Proxy(one_backend(server(greeters[0]))) as proxy,
    ):
        with connect(front(proxy)) as client:
            client.say(b"12345")
            client.take(21)
        until(lambda: proxy.snapshot().frontends[0].current == 0)
    (line,) = (r.getMessage() for r in caplog.records if r.name == "dsbalance.session")
    assert re.fullmatch(
        r"127\.0\.0\.1:\d+ \[[^]]+\] front back/a \d+/\d+/\d+ 21 -- 1/1/0/0/0 0/0 roundrobin", line
    )
