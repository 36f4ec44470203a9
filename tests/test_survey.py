"""The picture of a proxy at work: what is in it, and how often it is made."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

from actors import Greeter, connect, front, greeted_by, one_backend, server, state, until
from dsbalance import Bind, Frontend, Proxy, Server, Snapshot, StickRule, Table
from dsbalance.limits import descriptor_limit


def test_the_process_says_what_it_is(greeters: list[Greeter]) -> None:
    config = replace(one_backend(server(greeters[0])), node="north", description="the door")
    config = replace(config, maxconn=7)
    with Proxy(config, pipes=3) as proxy:
        process = proxy.snapshot().process
        assert (process.pid, process.node, process.description) == (
            os.getpid(),
            "north",
            "the door",
        )
        assert (process.maxconn, process.descriptors) == (7, descriptor_limit())
        assert (process.listeners, process.is_stopping, process.logs_dropped) == (1, False, 0)
        assert process.pipes in {0, 3}
        assert (process.pipes_used, process.pipes_free) == (0, 0)
        assert process.started_at > 1.7e9
        assert 0 <= process.idle <= 100


def test_a_machine_has_the_name_that_it_has(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        assert proxy.snapshot().process.node == socket.gethostname()


def test_clients_are_counted_over_all_frontends_removed_ones_too(greeters: list[Greeter]) -> None:
    door = Frontend(name="door", binds=(Bind(host="127.0.0.1", port=0),), backend="back")
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        proxy.add_frontend(door)
        with connect(proxy.addresses("door")[0]) as client:
            client.take(16)
            assert greeted_by(front(proxy)) == "a"
            until(lambda: proxy.snapshot().process.current == 1)
            assert proxy.snapshot().process.peak == 2
            proxy.remove_frontend("door")
            assert proxy.snapshot().process.total == 2
        until(lambda: proxy.snapshot().process.current == 0)
        process = proxy.snapshot().process
        assert (process.total, process.bytes_out, process.requests) == (2, 32, 0)
        proxy.remove_frontend("front")
        assert proxy.snapshot().process.total == 2


def test_the_rates_of_the_process_are_its_own(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        assert [greeted_by(front(proxy)) for _ in range(3)] == ["a"] * 3
        until(lambda: proxy.snapshot().process.rate_peak > 0)
        until(lambda: proxy.snapshot().process.rate == 0)
        assert 1 <= proxy.snapshot().process.rate_peak <= 3
        proxy._loop.ask(lambda: proxy._engine.operations.clear_counters(is_all=False))
        assert proxy.snapshot().process.rate_peak == 0


def test_what_an_open_session_has_moved_is_counted_before_it_ends(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        client.say(b"hello").hear(b"hello")
        until(lambda: state(proxy, "a").bytes_in == 5)
        seen = proxy.snapshot()
        assert (seen.frontends[0].bytes_in, seen.frontends[0].bytes_out) == (5, 21)
        assert seen.backends[0].bytes_out == 21
        client.close()
        until(lambda: proxy.snapshot().process.current == 0)
        assert proxy.snapshot().frontends[0].bytes_out == 21


def test_a_picture_is_made_once_a_turn(greeters: list[Greeter]) -> None:
    def twice(proxy: Proxy) -> tuple[Snapshot, Snapshot]:
        steering = proxy._engine.operations
        return steering.snapshot(), steering.snapshot()

    with Proxy(one_backend(server(greeters[0]))) as proxy:
        first, second = proxy._loop.ask(lambda: twice(proxy))
        assert first is second
        assert proxy.snapshot() is not first


def test_before_the_start_too_every_change_shows(greeters: list[Greeter]) -> None:
    a, b = greeters
    proxy = Proxy(one_backend(server(a)))
    assert len(proxy.snapshot().backends[0].servers) == 1
    proxy.add_server("back", server(b))
    assert len(proxy.snapshot().backends[0].servers) == 2
    proxy.drain("back/b")
    assert state(proxy, "b").status == "DRAIN"
    proxy.remove_server("back/b")
    assert len(proxy.snapshot().backends[0].servers) == 1
    proxy.add_backend(replace(one_backend(server(b)).backends[0], name="more"))
    assert len(proxy.snapshot().backends) == 2
    proxy.remove_backend("more")
    assert len(proxy.snapshot().backends) == 1
    door = Frontend(name="door", binds=(Bind(port=80),), backend="back")
    proxy.add_frontend(door)
    assert len(proxy.snapshot().frontends) == 2
    proxy.remove_frontend("door")
    assert len(proxy.snapshot().frontends) == 1
    proxy.stop()


def test_a_table_says_what_it_holds_and_for_whom(greeters: list[Greeter]) -> None:
    table = Table(size=10, expire=60.0)
    config = one_backend(server(greeters[0]), table=table, stick=(StickRule(),))
    with Proxy(config) as proxy:
        assert greeted_by(front(proxy)) == "a"
        (seen,) = proxy.snapshot().tables
        assert (seen.name, seen.type, seen.size, seen.expire) == ("back", "ip", 10, 60.0)
        assert (seen.used, seen.counts) == (1, (("a", 1),))


def test_a_process_that_stops_says_so(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        proxy.soft_stop()
        until(lambda: proxy.snapshot().process.is_stopping)
        assert proxy.snapshot().frontends[0].status == "STOP"
        client.say(b"hello").hear(b"hello")


def test_a_server_without_a_port_of_its_own_has_an_address_without_one(
    greeters: list[Greeter],
) -> None:
    with Proxy(one_backend(replace(server(greeters[0]), port=None))) as proxy:
        assert state(proxy, "a").address == "127.0.0.1"


def test_numbers_of_proxies_are_those_of_the_configuration(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0]))
    config = replace(config, backends=(replace(config.backends[0], id=40),))
    with Proxy(config) as proxy:
        seen = proxy.snapshot()
        assert (seen.frontends[0].id, seen.backends[0].id) == (2, 40)


def test_a_large_picture_is_the_same_for_who_asks_in_the_next_turn() -> None:
    servers = [Server(name=f"s{n}", host="127.0.0.1", port=9) for n in range(2_000)]
    proxy = Proxy(one_backend(*servers))
    first = proxy.snapshot()
    proxy._loop.now += 0.9
    # A check that changes nothing.
    proxy._engine._apply(())
    assert proxy.snapshot() is first
    proxy.drain("back/s7")
    drained = proxy.snapshot()
    assert drained.backends[0].servers[7].status == "DRAIN"
    proxy._loop.now += 1.1
    assert proxy.snapshot() is not drained
    proxy.stop()


def test_a_small_picture_is_of_this_turn() -> None:
    proxy = Proxy(one_backend(Server(name="a", host="127.0.0.1", port=9)))
    first = proxy.snapshot()
    assert proxy.snapshot() is first
    proxy._loop.now += 0.001
    assert proxy.snapshot() is not first
    proxy.stop()
