"""What traffic, an operator and a slow start do to a proxy's servers and sessions."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from ipaddress import ip_address

import pytest

from actors import (
    PATIENCE,
    Greeter,
    Stub,
    connect,
    front,
    greeted_by,
    one_backend,
    server,
    state,
    until,
)
from dsbalance import (
    Balance,
    Check,
    ConfigError,
    HashKind,
    HashType,
    Proxy,
    Server,
    StickRule,
    Table,
)
from dsbalance.model import Observe, OnError

# It notices nothing by itself in the time of a test.
BLIND = Check(interval=3600.0)


@pytest.fixture
def refusing() -> Server:
    """A server whose port nobody listens on any more."""
    stub = Stub()
    stub.close()
    return Server(name="dead", host=stub.host, port=stub.port)


# -- traffic that is observed


def test_a_server_that_refuses_clients_is_marked_down_before_a_check_comes(
    greeters: list[Greeter], refusing: Server
) -> None:
    observed = replace(
        refusing,
        # Its own port refuses, the one that is checked accepts.
        check=replace(BLIND, ports=(greeters[0].port,)),
        observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN),
    )
    config = one_backend(observed, server(greeters[0]), balance=Balance.FIRST, redispatch=1)
    with Proxy(config) as proxy:
        until(lambda: state(proxy, "dead").status == "UP")
        assert greeted_by(front(proxy)) == "a"
        dead = state(proxy, "dead")
        assert (dead.status, dead.downs, dead.redispatches) == ("DOWN", 1, 1)
        # Nobody else is sent there.
        assert greeted_by(front(proxy)) == "a"
        assert state(proxy, "dead").total == 1


def test_a_check_follows_soon_after_failed_clients(
    greeters: list[Greeter], refusing: Server
) -> None:
    observed = replace(
        refusing,
        check=replace(BLIND, ports=(greeters[0].port,), fast_interval=0.05, rise=1),
        observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN),
    )
    config = one_backend(observed, server(greeters[0]), balance=Balance.FIRST, redispatch=1)
    with Proxy(config) as proxy:
        until(lambda: state(proxy, "dead").status == "UP")
        assert greeted_by(front(proxy)) == "a"
        # The next one would have come in an hour.
        until(lambda: state(proxy, "dead").status == "UP")
        assert state(proxy, "dead").downs == 1


def test_who_takes_its_own_server_down_is_given_up_once(refusing: Server) -> None:
    observed = replace(
        refusing,
        check=replace(BLIND, ports=(9,)),
        observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN),
        # The session that fails is one of those that end with the server.
        shutdown_on_down=True,
    )
    with Proxy(one_backend(observed, retries=0)) as proxy:
        proxy.set_health("back/dead", "up")
        with connect(front(proxy)) as client:
            client.hear_end()
        until(lambda: state(proxy, "dead").downs == 1)
        dead = state(proxy, "dead")
        assert (dead.connect_errors, dead.total, dead.current) == (1, 1, 0)


# -- what is asked for


def test_sessions_of_a_backup_end_when_a_server_is_up_that_wants_it(
    greeters: list[Greeter],
) -> None:
    active = server(greeters[0], shutdown_backups_on_up=True)
    with Proxy(one_backend(active, server(greeters[1], backup=True))) as proxy:
        proxy.set_health("back/a", "down")
        with connect(front(proxy)) as client:
            assert client.take(16).startswith(b"b")
            proxy.set_health("back/a", "up")
            client.hear_end()
        assert greeted_by(front(proxy)) == "a"


def test_a_server_that_is_stopping_keeps_its_clients_and_gets_no_others(
    greeters: list[Greeter],
) -> None:
    config = one_backend(
        *map(server, greeters[:2]),
        balance=Balance.FIRST,
        table=Table(size=10),
        stick=(StickRule(),),
    )
    with Proxy(config) as proxy:
        assert greeted_by(front(proxy)) == "a"
        proxy.set_health("back/a", "stopping")
        assert greeted_by(front(proxy)) == "a"
        assert greeted_by(front(proxy), "127.0.0.9") == "b"
        entries = {str(ip_address(e.key)): e.server for e in proxy.stick_entries("back")}
        assert entries == {"127.0.0.1": "a", "127.0.0.9": "b"}
        with pytest.raises(ValueError, match="'sleepy'"):
            proxy.set_health("back/a", "sleepy")
        with pytest.raises(ConfigError, match="no server 'z'"):
            proxy.set_health("back/z", "up")
        with pytest.raises(ConfigError, match="no stick-table 'front'"):
            proxy.stick_entries("front")


def test_a_server_that_is_up_again_starts_slowly(greeters: list[Greeter]) -> None:
    slow = server(greeters[0], weight=16, slowstart=1.0)
    with Proxy(one_backend(slow, server(greeters[1]))) as proxy:
        assert state(proxy, "a").weight == 16
        proxy.set_health("back/a", "down")
        proxy.set_health("back/a", "up")
        assert state(proxy, "a").weight == 1
        until(lambda: state(proxy, "a").weight == 16)


# -- queues


def has_queued(proxy: Proxy, number: int) -> bool:
    return proxy.snapshot().backends[0].queued == number


def test_who_finds_the_queue_of_its_server_full_is_closed_at_once(greeters: list[Greeter]) -> None:
    busy = server(greeters[0], maxconn=1, maxqueue=1)
    config = one_backend(
        busy,
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        timeout_queue=PATIENCE,
    )
    with Proxy(config) as proxy:
        with connect(front(proxy)) as first:
            first.take(16)
            with connect(front(proxy)) as second:
                until(lambda: state(proxy, "a").queued == 1)
                with connect(front(proxy)) as third:
                    third.hear_end()
                assert state(proxy, "a").connect_errors == 1
                first.close()
                assert second.take(16).startswith(b"a")


def test_more_are_let_in_while_the_backend_is_busier(greeters: list[Greeter]) -> None:
    growing = server(greeters[0], minconn=1, maxconn=2)
    config = one_backend(growing, fullconn=4, timeout_queue=PATIENCE)
    with Proxy(config) as proxy, ExitStack() as on:
        clients = [on.enter_context(connect(front(proxy)))]
        clients[0].take(16)
        for number in (1, 2, 3):
            clients.append(on.enter_context(connect(front(proxy))))
            until(partial(has_queued, proxy, number))
        # Of four sessions, the one that leaves counted in, two may be there.
        clients[0].close()
        clients[1].take(16)
        clients[2].take(16)
        assert proxy.snapshot().backends[0].queued == 1


# -- why


def test_it_tells_why_a_client_would_go_where_it_would_go(greeters: list[Greeter]) -> None:
    config = one_backend(
        *map(server, greeters[:2]),
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        table=Table(size=10),
        stick=(StickRule(),),
    )
    with Proxy(config) as proxy:
        before = proxy.explain("back", "127.0.0.1")
        assert [step.topic for step in before][:2] == ["entry", "servers"]
        name = greeted_by(front(proxy))
        assert before[-1].facts["servers"] == [name, "b" if name == "a" else "a"]
        (entry,) = proxy.explain("back", "127.0.0.1")
        assert str(entry) == f"A stick entry says {name}, and so it goes there."
        proxy.maint(f"back/{name}")
        entry, *others = proxy.explain("back", "127.0.0.1")
        assert str(entry) == f"A stick entry says {name}, which is MAINT."
        assert others[-1].topic == "only"
        with pytest.raises(ConfigError, match="no backend 'nowhere'"):
            proxy.explain("nowhere", "127.0.0.1")
        with pytest.raises(ValueError, match="'printer'"):
            proxy.explain("back", "printer")
