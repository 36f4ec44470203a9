"""What an operator does to a proxy at work, with real clients and servers."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from typing import Any, TypeVar

import pytest

from actors import (
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
    Backend,
    Bind,
    Check,
    Config,
    ConfigError,
    Frontend,
    Proxy,
    Server,
    StickRule,
    Table,
)
from dsbalance.balancer import AdminState, Health
from dsbalance.http_options import HttpOptions
from dsbalance.operations import Operations, split
from dsbalance.steering import Steering

T = TypeVar("T")
FAST = Check(interval=0.05, fast_interval=0.05, down_interval=0.05)


def steer(proxy: Proxy, act: Callable[[Steering], T]) -> T:
    """Return what an act on the loop's thread came to."""
    return proxy._loop.ask(lambda: act(proxy._engine.operations))


def is_refused(address: tuple[str, int]) -> bool:
    try:
        connect(address).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, and nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


# -- servers


def test_states_and_weights_are_set(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(*map(server, greeters))) as proxy:
        steer(proxy, lambda s: s.set_admin("back/a", AdminState.DRAIN))
        assert {greeted_by(front(proxy)) for _ in range(3)} == {"b"}
        steer(proxy, lambda s: s.set_admin("back/a", AdminState.READY))
        steer(proxy, lambda s: s.set_health("back/b", Health.DOWN))
        assert {greeted_by(front(proxy)) for _ in range(3)} == {"a"}
        steer(proxy, lambda s: s.set_weight("back/a", 7))
        assert state(proxy, "a").weight == 7


def test_who_waits_is_let_in_by_a_higher_limit() -> None:
    with contextlib.closing(Stub()) as stub:
        config = one_backend(Server(name="a", host=stub.host, port=stub.port, maxconn=1))
        with (
            Proxy(config) as proxy,
            connect(front(proxy)) as first,
            stub.accept() as held,
            connect(front(proxy)) as second,
        ):
            until(lambda: proxy.snapshot().backends[0].queued == 1)
            steer(proxy, lambda s: s.set_server_maxconn("back/a", 2))
            with stub.accept() as late:
                late.say(b"come in")
                second.hear(b"come in")
            held.say(b"still here")
            first.hear(b"still here")
            assert state(proxy, "a").maxconn == 2


def test_new_connections_go_to_the_new_address_and_open_ones_stay(
    greeters: list[Greeter],
) -> None:
    a, b = greeters
    with Proxy(one_backend(server(a))) as proxy, connect(front(proxy)) as old:
        assert old.take(16).strip() == b"a"
        steer(proxy, lambda s: s.set_address("back/a", b.host, b.port))
        assert greeted_by(front(proxy)) == "b"
        old.say(b"hello").hear(b"hello")
        seen = state(proxy, "a")
        assert (seen.port, seen.address) == (b.port, f"127.0.0.1:{b.port}")
        steer(proxy, lambda s: s.set_address("back/a", None, a.port))
        assert greeted_by(front(proxy)) == "a"


def test_checks_follow_the_address_and_the_port(greeters: list[Greeter], closed_port: int) -> None:
    a, b = greeters
    with Proxy(one_backend(server(a, check=FAST))) as proxy:
        until(lambda: state(proxy, "a").last_check.startswith("Layer4 check passed"))
        steer(proxy, lambda s: s.set_address("back/a", None, closed_port))
        until(lambda: state(proxy, "a").status == "DOWN")
        steer(proxy, lambda s: s.set_address("back/a", None, b.port))
        until(lambda: state(proxy, "a").status == "UP")
        steer(proxy, lambda s: s.set_check_port("back/a", closed_port))
        until(lambda: state(proxy, "a").status == "DOWN")
        check = state(proxy, "a").check
        assert check is not None
        assert check.port == closed_port


def test_checks_that_have_an_address_of_their_own_stay_there(
    greeters: list[Greeter], closed_port: int
) -> None:
    a, _ = greeters
    apart = replace(FAST, host=a.host, ports=(a.port,))
    with Proxy(one_backend(server(a, check=apart))) as proxy:
        until(lambda: state(proxy, "a").last_check != "")
        steer(proxy, lambda s: s.set_address("back/a", "127.0.0.2", closed_port))
        checks = state(proxy, "a").last_check
        assert checks == f"Layer4 check passed at port {a.port}"
        assert state(proxy, "a").address == f"127.0.0.2:{closed_port}"
        assert proxy._engine._watching.targets["back", "a"].host == a.host


def test_an_address_that_is_a_name_is_refused_and_nothing_changes(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        with pytest.raises(ConfigError, match="'localhost' is no IP address"):
            steer(proxy, lambda s: s.set_address("back/a", "localhost", 9))
        assert greeted_by(front(proxy)) == "a"


def test_an_address_may_be_of_the_other_family(greeters: list[Greeter]) -> None:
    try:
        other = Stub("::1")
    except OSError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    with contextlib.closing(other), Proxy(one_backend(server(greeters[0]))) as proxy:
        steer(proxy, lambda s: s.set_address("back/a", "::1", other.port))
        with connect(front(proxy)) as client, other.accept() as peer:
            peer.say(b"six")
            client.hear(b"six")
        assert state(proxy, "a").address == f"[::1]:{other.port}"


def test_what_is_set_before_the_start_holds_from_the_start(
    greeters: list[Greeter], closed_port: int
) -> None:
    a, b = greeters
    proxy = Proxy(one_backend(server(a, check=FAST), server(b, check=FAST)))
    steer(proxy, lambda s: s.set_address("back/a", None, closed_port))
    steer(proxy, lambda s: s.set_checks("back/b", is_on=False))
    with proxy:
        until(lambda: state(proxy, "a").status == "DOWN")
        with pytest.raises(AssertionError, match="never"):
            _never(lambda: state(proxy, "b").last_check != "")
        assert state(proxy, "b").status == "no check"


def test_stopped_checks_and_maintenance_do_not_end_each_other(greeters: list[Greeter]) -> None:
    a, _ = greeters
    with Proxy(one_backend(server(a, check=FAST))) as proxy:
        until(lambda: state(proxy, "a").status == "UP")
        steer(proxy, lambda s: s.set_checks("back/a", is_on=False))
        assert state(proxy, "a").status == "no check"
        steer(proxy, lambda s: s.set_admin("back/a", AdminState.MAINT))
        steer(proxy, lambda s: s.set_checks("back/a", is_on=True))
        check = state(proxy, "a").check
        assert check is not None
        assert check.is_paused
        steer(proxy, lambda s: s.set_checks("back/a", is_on=False))
        steer(proxy, lambda s: s.set_admin("back/a", AdminState.READY))
        assert state(proxy, "a").status == "no check"
        a.close()
        # Nobody asks for it any more, so nobody finds out.
        with pytest.raises(AssertionError, match="never"):
            _never(lambda: state(proxy, "a").status == "DOWN")
        steer(proxy, lambda s: s.set_checks("back/a", is_on=True))
        until(lambda: state(proxy, "a").status == "DOWN")


def _never(fact: Callable[[], bool]) -> None:
    """Demand a fact that does not come true while many checks would be made."""
    ticks = iter(range(40))
    until(lambda: fact() or next(ticks, None) is None)
    if not fact():
        raise AssertionError("never")


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda s: s.set_admin("a", AdminState.MAINT), "named BACKEND/SERVER, not 'a'"),
        (lambda s: s.set_weight("back/z", 1), "there is no server 'z'"),
        (lambda s: s.set_health("zz/a", Health.UP), "there is no backend 'zz'"),
        (lambda s: s.set_address("back/z", None, 1), "there is no server 'z'"),
        (lambda s: s.set_check_port("back/a", 1), "it has no checks"),
        (lambda s: s.shutdown_sessions("back/z"), "there is no server 'z'"),
        (lambda s: s.set_frontend("zz", is_open=False), "there is no frontend 'zz'"),
        (lambda s: s.set_frontend_maxconn("front", 0), "maxconn must be at least 1"),
        (lambda s: s.set_maxconn(0), "maxconn must be at least 1"),
        (lambda s: s.set_maxconn(10**9), "descriptors are left for"),
        (lambda s: s.find_entry("back", b"1234"), "there is no stick-table 'back'"),
    ],
)
def test_what_cannot_be_done_is_refused(act: Callable[[Steering], object], sentence: str) -> None:
    proxy = Proxy(one_backend(Server(name="a", host="127.0.0.1", port=9)))
    with pytest.raises(ConfigError, match=sentence):
        steer(proxy, act)
    proxy.stop()


def test_a_path_has_a_slash() -> None:
    assert split("back/a") == ("back", "a")
    with pytest.raises(ConfigError, match="BACKEND/SERVER"):
        split("back")


# -- sessions


def test_one_session_is_ended_by_its_number(greeters: list[Greeter]) -> None:
    with (
        Proxy(one_backend(*map(server, greeters))) as proxy,
        connect(front(proxy)) as first,
        connect(front(proxy)) as second,
    ):
        first.take(16)
        second.take(16)
        numbers = {each.client_port: each.id for each in proxy.sessions()}
        number = numbers[first.sock.getsockname()[1]]
        assert steer(proxy, lambda s: s.shutdown_session(number))
        first.hear_gone()
        second.say(b"hello").hear(b"hello")
        assert not steer(proxy, lambda s: s.shutdown_session(number))


def test_the_sessions_of_a_server_are_ended_and_those_of_others_go_on(
    greeters: list[Greeter],
) -> None:
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Proxy(one_backend(*map(server, greeters))))
        clients = [stack.enter_context(connect(front(proxy))) for _ in range(4)]
        names = [client.take(16).strip() for client in clients]
        assert proxy.shutdown_sessions("back/a") == names.count(b"a") == 2
        for name, client in zip(names, clients, strict=True):
            if name == b"a":
                client.hear_gone()
            else:
                client.say(b"hello").hear(b"hello")
        seen = state(proxy, "a")
        assert (seen.current, seen.client_aborts, seen.server_aborts) == (0, 0, 0)


def test_who_waits_for_a_server_moves_up_when_its_sessions_are_ended() -> None:
    with contextlib.closing(Stub()) as stub:
        config = one_backend(Server(name="a", host=stub.host, port=stub.port, maxconn=1))
        with Proxy(config) as proxy, connect(front(proxy)) as first, stub.accept():
            with connect(front(proxy)) as second:
                until(lambda: proxy.snapshot().backends[0].queued == 1)
                assert proxy.shutdown_sessions("back/a") == 1
                first.hear_gone()
                with stub.accept() as peer:
                    peer.say(b"next")
                    second.hear(b"next")


def test_who_has_not_said_its_header_can_be_ended_too() -> None:
    config = one_backend(Server(name="a", host="127.0.0.1", port=9))
    door = Bind(host="127.0.0.1", port=0, accept_proxy=True)
    config = replace(config, frontends=(replace(config.frontends[0], binds=(door,)),))
    with Proxy(config) as proxy, connect(front(proxy)) as client:
        until(lambda: len(proxy.sessions()) == 1)
        (seen,) = proxy.sessions()
        assert (seen.stage, seen.server, seen.backend) == ("greeting", None, None)
        assert steer(proxy, lambda s: s.shutdown_session(seen.id))
        client.hear_gone()
        until(lambda: proxy.snapshot().process.current == 0)


# -- frontends


def test_a_paused_frontend_refuses_and_its_sessions_go_on(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        address = front(proxy)
        assert steer(proxy, lambda s: s.set_frontend("front", is_open=False))
        assert not steer(proxy, lambda s: s.set_frontend("front", is_open=False))
        assert is_refused(address)
        client.say(b"hello").hear(b"hello")
        assert proxy.snapshot().frontends[0].status == "PAUSED"
        assert steer(proxy, lambda s: s.set_frontend("front", is_open=True))
        assert not steer(proxy, lambda s: s.set_frontend("front", is_open=True))
        assert greeted_by(address) == "a"
        assert proxy.snapshot().frontends[0].status == "OPEN"


def test_a_frontend_that_was_shut_down_stays_so(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        address = front(proxy)
        steer(proxy, lambda s: s.shutdown_frontend("front"))
        assert is_refused(address)
        client.say(b"hello").hear(b"hello")
        assert proxy.snapshot().frontends[0].status == "STOP"
        with pytest.raises(ConfigError, match="it was closed for good"):
            steer(proxy, lambda s: s.set_frontend("front", is_open=True))
        with pytest.raises(ConfigError, match="it was closed for good"):
            steer(proxy, lambda s: s.set_frontend("front", is_open=False))


def test_limits_of_a_frontend_and_of_the_process_let_in_who_waits(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0]))
    config = replace(config, frontends=(replace(config.frontends[0], maxconn=1),), maxconn=5)
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(Proxy(config))
        first, second, third = (stack.enter_context(connect(front(proxy))) for _ in range(3))
        first.take(16)
        proxy.set_maxconn("front", 2)
        second.take(16)
        steer(proxy, lambda s: s.set_maxconn(2))
        proxy.set_maxconn("front", None)
        assert proxy.snapshot().process.current == 2
        steer(proxy, lambda s: s.set_maxconn(None))
        third.take(16)
        seen = proxy.snapshot()
        assert (seen.process.maxconn, seen.frontends[0].maxconn) == (5, None)


def test_a_server_gets_its_limit_by_its_path(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        proxy.set_maxconn("back/a", 3)
        assert state(proxy, "a").maxconn == 3


# -- counts and tables


def test_counters_are_cleared_and_the_totals_of_the_process_stay(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        assert greeted_by(front(proxy)) == "a"
        until(lambda: proxy.snapshot().frontends[0].current == 1)
        steer(proxy, lambda s: s.clear_counters(is_all=False))
        seen = proxy.snapshot()
        assert (seen.frontends[0].peak, seen.backends[0].peak, state(proxy, "a").peak) == (0, 0, 0)
        assert (seen.process.peak, seen.frontends[0].total) == (0, 2)
        steer(proxy, lambda s: s.clear_counters(is_all=True))
        seen = proxy.snapshot()
        assert (seen.frontends[0].total, seen.frontends[0].current) == (0, 1)
        assert (state(proxy, "a").total, state(proxy, "a").bytes_out) == (0, 0)
        assert seen.process.total == 2
        assert greeted_by(front(proxy)) == "a"
        until(lambda: proxy.snapshot().process.total == 3)
        assert proxy.snapshot().frontends[0].total == 1


def sticky(*servers: Server) -> Config:
    return one_backend(*servers, table=Table(size=10, expire=60.0), stick=(StickRule(),))


def test_entries_are_read_written_and_removed(greeters: list[Greeter]) -> None:
    a, b = map(server, greeters)
    key, other = (ip_address(text).packed for text in ("127.0.0.1", "192.0.2.1"))
    with Proxy(sticky(a, b)) as proxy:
        steer(proxy, lambda s: s.set_entry("back", key, "b"))
        assert greeted_by(front(proxy)) == "b"
        until(lambda: state(proxy, "b").current == 0)
        steer(proxy, lambda s: s.set_entry("back", other, "a"))
        steer(proxy, lambda s: s.set_entry("back", other, None))
        entries = steer(proxy, lambda s: list(s.entries("back")))
        assert {(entry.key, entry.server) for entry in entries} == {(key, "b"), (other, "a")}
        assert proxy.snapshot().tables[0].counts == (("b", 1), ("a", 1))
        found = steer(proxy, lambda s: s.find_entry("back", other))
        assert found is not None
        assert found.remaining is not None
        assert 0 < found.remaining <= 60.0
        assert steer(proxy, lambda s: s.clear_entries("back", [other])) == 0
        assert steer(proxy, lambda s: s.find_entry("back", other)) is None
        with pytest.raises(ConfigError, match="there is no such entry"):
            steer(proxy, lambda s: s.set_entry("back", other, None))


def test_an_entry_in_use_is_not_removed(greeters: list[Greeter]) -> None:
    key = ip_address("127.0.0.1").packed
    with Proxy(sticky(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        assert steer(proxy, lambda s: s.clear_entries("back", [key, b"\0" * 4])) == 1
        found = steer(proxy, lambda s: s.find_entry("back", key))
        assert found is not None
        assert found.uses == 1


def test_entries_may_be_read_over_many_turns(greeters: list[Greeter]) -> None:
    config = one_backend(
        server(greeters[0]), table=Table(size=10_000, expire=60.0), stick=(StickRule(),)
    )
    keys = [(0x0A000000 + number).to_bytes(4, "big") for number in range(9_000)]
    with Proxy(config) as proxy:
        for key in keys:
            proxy._engine._backends.table("back").store(key, "a", proxy._loop.now)
        entries = steer(proxy, lambda s: s.entries("back"))
        first = steer(proxy, lambda _: next(entries))
        steer(proxy, lambda s: s.clear_entries("back", keys[:10]))
        seen = [first.key, *(entry.key for entry in steer(proxy, lambda _: list(entries)))]
        assert len(seen) == len(set(seen))
        assert set(keys[10:]) <= set(seen) <= set(keys)


# -- snapshots


def test_operations_are_a_steering(greeters: list[Greeter]) -> None:
    def takes(steering: Steering) -> Steering:
        return steering

    with Proxy(one_backend(server(greeters[0]))) as proxy:
        assert isinstance(takes(proxy._engine.operations), Operations)


def test_a_change_shows_in_the_same_turn(greeters: list[Greeter]) -> None:
    def act(steering: Steering) -> tuple[Any, ...]:
        before, again = steering.snapshot(), steering.snapshot()
        steering.set_weight("back/a", 9)
        return before, again, steering.snapshot()

    with Proxy(one_backend(server(greeters[0]))) as proxy:
        before, again, after = steer(proxy, act)
        assert before is again
        assert after.backends[0].servers[0].weight == 9


def test_conversations_are_listed_and_ended_like_sessions() -> None:
    with contextlib.closing(Stub()) as stub:
        front_door = Frontend(
            name="front",
            binds=(Bind(host="127.0.0.1", port=0),),
            backend="back",
            http=HttpOptions(),
        )
        back = Backend(
            name="back",
            servers=(Server(name="a", host=stub.host, port=stub.port),),
            http=HttpOptions(),
        )
        config = Config(frontends=(front_door,), backends=(back,))
        with Proxy(config) as proxy, connect(front(proxy)) as client:
            client.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            with stub.accept() as peer:
                peer.take_head()
                (seen,) = proxy.sessions()
                assert (seen.is_http, seen.server, seen.stage) == (True, "a", "asking")
                assert seen.bytes_in > 0
                assert proxy.shutdown_sessions("back/a") == 1
                # Whatever it is told, it is not a response of that server.
                assert b" 200 " not in client.take(1 << 16)
            until(lambda: proxy.sessions() == [])
