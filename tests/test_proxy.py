"""The proxy that people embed: its life, its operation, its parts that come and go."""

from __future__ import annotations

import socket
import threading
from dataclasses import replace

import pytest

from actors import Greeter, Stub, connect, front, greeted_by, one_backend, server, state, until
from dsbalance import (
    Backend,
    Balance,
    Bind,
    Candidates,
    Change,
    Check,
    Client,
    Config,
    ConfigError,
    ConnectError,
    Frontend,
    Proxy,
    Server,
    StickRule,
    Table,
)

FAST = Check(interval=0.05, rise=2, fall=2)


# -- its life


def test_it_runs_in_the_background_until_the_with_ends(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        address = front(proxy)
        assert greeted_by(address) == "a"
    with pytest.raises(ConnectionRefusedError):
        connect(address)


def test_it_runs_in_the_foreground_until_it_is_stopped(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))
    thread = threading.Thread(target=proxy.run)
    thread.start()
    until(lambda: bool(proxy.addresses("front")))
    assert greeted_by(front(proxy)) == "a"
    proxy.stop()
    thread.join()
    proxy.stop()


def test_stopping_ends_every_session(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))
    proxy.start()
    with connect(front(proxy)) as client:
        client.take(16)
        proxy.stop()
        proxy.join()
        client.hear_end()


def test_a_soft_stop_lets_sessions_finish(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))
    proxy.start()
    address = front(proxy)
    with connect(address) as client:
        client.take(16)
        proxy.soft_stop()
        until(lambda: not _is_open(address))
        client.say(b"still here")
        client.hear(b"still here")
    proxy.join()


def test_a_soft_stop_without_sessions_is_a_stop(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))
    proxy.start()
    proxy.soft_stop()
    proxy.join()


def test_a_soft_stop_has_a_limit(greeters: list[Greeter]) -> None:
    proxy = Proxy(replace(one_backend(server(greeters[0])), hard_stop_after=0.1))
    proxy.start()
    with connect(front(proxy)) as client:
        client.take(16)
        proxy.soft_stop()
        proxy.join()
        client.hear_end()


def _is_open(address: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(address) == 0


def test_it_starts_once(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        with pytest.raises(RuntimeError, match="running"):
            proxy.start()
    with pytest.raises(RuntimeError, match="stopped"):
        proxy.run()


def test_it_may_be_stopped_before_it_starts(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))
    proxy.soft_stop()
    proxy.stop()
    proxy.start()
    proxy.run()
    proxy.join()
    assert proxy.addresses("front") == []


def test_a_port_in_use_is_an_error_and_no_other_port_stays_open() -> None:
    stub = Stub()
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    binds = (Bind(host="127.0.0.1", port=port), Bind(host="127.0.0.1", port=stub.port))
    config = Config(
        frontends=(Frontend(name="f", binds=binds, backend="b"),),
        backends=(Backend(name="b", servers=(Server(name="s", host="127.0.0.1", port=1),)),),
    )
    proxy = Proxy(config)
    with pytest.raises(ConnectError, match=rf"127\.0\.0\.1:{stub.port}: cannot listen: Address"):
        proxy.start()
    assert not _is_open(("127.0.0.1", port))
    with pytest.raises(RuntimeError, match="stopped"):
        proxy.start()
    stub.close()


def test_a_name_that_does_not_resolve_is_an_error() -> None:
    config = one_backend(Server(name="s", host="nowhere.invalid", port=1))
    with pytest.raises(ConnectError, match=r"backend back, server s: nowhere\.invalid"):
        Proxy(config)


def test_a_maxconn_that_does_not_fit_is_an_error() -> None:
    config = replace(one_backend(Server(name="s", host="127.0.0.1", port=1)), maxconn=10**9)
    with pytest.raises(ConfigError, match="maxconn 1000000000 needs"):
        Proxy(config)


def test_a_policy_that_cannot_be_made_is_an_error() -> None:
    config = one_backend(Server(name="s", host="127.0.0.1", port=1), policy="no.such:Thing")
    with pytest.raises(ConfigError, match=r"no\.such"):
        Proxy(config)


def test_what_is_asked_before_the_start_holds_from_the_start(greeters: list[Greeter]) -> None:
    a, b = greeters
    proxy = Proxy(one_backend(server(a, check=FAST)))
    proxy.add_server("back", server(b, check=FAST))
    proxy.add_frontend(
        Frontend(name="door", binds=(Bind(host="127.0.0.1", port=0),), backend="back")
    )
    proxy.maint("back/a")
    proxy.add_backend(Backend(name="more", servers=(replace(server(b, check=FAST), name="c"),)))
    proxy.remove_backend("more")
    with proxy:
        assert {greeted_by(proxy.addresses(name)[0]) for name in ("front", "door")} == {"b"}
        assert state(proxy, "a").status == "MAINT"
        proxy.ready("back/a")
        until(lambda: state(proxy, "a").last_check != "")
    proxy.drain("back/a")
    with pytest.raises(RuntimeError, match="has ended"):
        proxy.add_frontend(Frontend(name="late", binds=(Bind(port=0),), backend="back"))


def test_an_interrupt_in_the_foreground_closes_everything(greeters: list[Greeter]) -> None:
    proxy = Proxy(one_backend(server(greeters[0])))

    def interrupt() -> None:
        raise KeyboardInterrupt

    found: list[tuple[str, int]] = []

    def serve() -> None:
        with pytest.raises(KeyboardInterrupt):
            proxy.run()

    thread = threading.Thread(target=serve)
    thread.start()
    until(lambda: bool(proxy.addresses("front")))
    found += proxy.addresses("front")
    with connect(found[0]) as client:
        client.take(16)
        # As from a signal: through the guard of the loop, which ends sessions, not the program.
        proxy.subscribe(lambda _change: interrupt())
        with pytest.raises(KeyboardInterrupt):
            proxy.drain("back/a")
        proxy._loop.call(interrupt)
        thread.join()
        client.hear_end()
    assert not _is_open(found[0])


def test_a_callback_may_undo_what_it_is_told_of(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0], maxconn=1), timeout_queue=60.0)
    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)):
            until(lambda: proxy.snapshot().backends[0].current == 2)
            proxy.maint("back/a")
            proxy.subscribe(lambda change: proxy.maint("back/a") if change.new != "MAINT" else None)
            proxy.ready("back/a")
            assert state(proxy, "a").admin == "maint"


def test_who_is_admitted_to_a_server_that_is_taken_away_at_once_goes_on(
    greeters: list[Greeter],
) -> None:
    a, b = greeters
    config = one_backend(
        server(a, maxconn=1),
        server(b, maxconn=1, disabled=True, check=FAST, shutdown_on_down=True),
        timeout_queue=60.0,
        redispatch=1,
    )
    told: list[str] = []

    def take_away(change: Change) -> None:
        if not told:
            told.append(change.server)
            proxy.maint("back/b")

    with Proxy(config) as proxy, connect(front(proxy)) as first:
        first.take(16)
        with connect(front(proxy)) as second:
            until(lambda: waiting(proxy) == 1)
            proxy.subscribe(take_away)
            proxy.ready("back/b")
            until(lambda: waiting(proxy) == 1)
            first.close()
            assert second.take(16).strip() == b"a"


def waiting(proxy: Proxy) -> int:
    """Return how many wait, for one server or for any."""
    (backend,) = proxy.snapshot().backends
    return backend.queued + sum(server.queued for server in backend.servers)


# -- failure


def test_a_server_goes_down_and_comes_back(greeters: list[Greeter]) -> None:
    a, b = greeters
    changes: list[tuple[str, str]] = []
    config = one_backend(server(a, check=FAST), server(b, check=FAST), redispatch=1)
    with Proxy(config) as proxy:
        proxy.subscribe(lambda change: changes.append((change.server, change.new)))
        a.close()
        until(lambda: ("a", "DOWN") in changes)
        assert {greeted_by(front(proxy)) for _ in range(4)} == {"b"}
        again = Greeter("a", port=a.port)
        try:
            until(lambda: ("a", "UP") in changes)
            assert {greeted_by(front(proxy)) for _ in range(4)} == {"a", "b"}
        finally:
            again.close()


@pytest.mark.parametrize("is_ended", [True, False])
def test_sessions_of_a_server_that_is_marked_down_end_if_that_is_wanted(is_ended: bool) -> None:
    talking, checked = Stub(), Greeter("check")
    check = replace(FAST, ports=(checked.port,))
    config = one_backend(
        Server(
            name="a",
            host=talking.host,
            port=talking.port,
            check=check,
            shutdown_on_down=is_ended,
        )
    )
    downs: list[Change] = []
    with Proxy(config) as proxy:
        proxy.subscribe(downs.append)
        with connect(front(proxy)) as client, talking.accept() as peer:
            peer.say(b"hello")
            client.hear(b"hello")
            checked.close()
            until(lambda: any(change.new == "DOWN" for change in downs))
            if is_ended:
                client.hear_end()
            else:
                peer.say(b"still")
                client.hear(b"still")
    talking.close()


def test_a_backup_serves_while_nobody_else_can(greeters: list[Greeter]) -> None:
    a, b = greeters
    with Proxy(one_backend(server(a), server(b, backup=True))) as proxy:
        assert greeted_by(front(proxy)) == "a"
        proxy.maint("back/a")
        assert greeted_by(front(proxy)) == "b"
        proxy.ready("back/a")
        assert greeted_by(front(proxy)) == "a"


# -- operation


def test_a_drained_server_keeps_its_clients_and_gets_no_new_ones(
    greeters: list[Greeter], loopback: object
) -> None:
    assert callable(loopback)
    config = one_backend(
        *map(server, greeters), table=Table(size=100, expire=1800.0), stick=(StickRule(),)
    )
    with Proxy(config) as proxy:
        address = front(proxy)
        first, second = loopback(), loopback()
        owner = greeted_by(address, first)
        proxy.drain(f"back/{owner}")
        assert state(proxy, owner).status == "DRAIN"
        assert greeted_by(address, first) == owner
        assert greeted_by(address, second) != owner
        proxy.ready(f"back/{owner}")
        assert state(proxy, owner).status == "no check"


def test_a_weight_of_zero_takes_no_new_clients(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(*map(server, greeters))) as proxy:
        proxy.set_weight("back/a", 0)
        assert {greeted_by(front(proxy)) for _ in range(4)} == {"b"}
        with pytest.raises(ConfigError, match="0 to 256"):
            proxy.set_weight("back/a", 257)


@pytest.mark.parametrize("path", ["back/z", "z/a", "a", ""])
def test_a_server_that_is_not_there_is_an_error(greeters: list[Greeter], path: str) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy:
        for act in (proxy.drain, proxy.ready, proxy.maint, proxy.remove_server):
            with pytest.raises(ConfigError):
                act(path)
        with pytest.raises(ConfigError):
            proxy.addresses("z")
        with pytest.raises(ConfigError):
            proxy.remove_frontend("z")


def test_a_callback_that_raises_does_no_harm(
    greeters: list[Greeter], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_change: Change) -> None:
        raise ZeroDivisionError

    with Proxy(one_backend(server(greeters[0]))) as proxy:
        proxy.subscribe(fail)
        proxy.drain("back/a")
        assert state(proxy, "a").admin == "drain"
    assert "a callback raised" in caplog.text


def test_a_callback_may_steer_the_proxy(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(*map(server, greeters))) as proxy:
        proxy.subscribe(lambda change: proxy.drain("back/b") if change.server == "a" else None)
        proxy.drain("back/a")
        assert state(proxy, "b").admin == "drain"


def test_every_thread_may_ask(greeters: list[Greeter]) -> None:
    failures: list[Exception] = []
    with Proxy(one_backend(*map(server, greeters))) as proxy:

        def ask() -> None:
            try:
                for _ in range(50):
                    proxy.drain("back/a")
                    proxy.ready("back/a")
                    proxy.snapshot()
            except Exception as error:  # noqa: BLE001 - the test shows it
                failures.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures


# -- limits


def test_a_frontend_that_is_full_lets_the_next_one_wait(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0]))
    config = replace(config, frontends=(replace(config.frontends[0], maxconn=2),))
    _fills_up(Proxy(config), 2)


def test_a_process_that_is_full_lets_the_next_one_wait(greeters: list[Greeter]) -> None:
    _fills_up(Proxy(replace(one_backend(server(greeters[0])), maxconn=3)), 3)


def _fills_up(proxy: Proxy, limit: int) -> None:
    with proxy:
        clients = []
        for _ in range(limit):
            client = connect(front(proxy))
            client.take(16)
            clients.append(client)
        late = connect(front(proxy))
        assert proxy.snapshot().frontends[0].current == limit
        clients.pop().close()
        assert late.take(16).strip() == b"a"
        for client in (*clients, late):
            client.close()
        until(lambda: proxy.snapshot().frontends[0].current == 0)
        assert proxy.snapshot().frontends[0].peak == limit


# -- parts that come and go


def test_parts_may_come_while_it_runs(greeters: list[Greeter]) -> None:
    a, b = greeters
    with Proxy(one_backend(server(a))) as proxy:
        proxy.add_backend(Backend(name="more", servers=(server(b, check=FAST),)))
        proxy.add_frontend(
            Frontend(name="door", binds=(Bind(host="127.0.0.1", port=0),), backend="more")
        )
        assert greeted_by(proxy.addresses("door")[0]) == "b"
        proxy.add_server("back", replace(server(b), name="b2"))
        assert {greeted_by(front(proxy)) for _ in range(4)} == {"a", "b"}


def test_parts_may_go_while_it_runs_and_sessions_go_on(greeters: list[Greeter]) -> None:
    a, b = greeters
    config = one_backend(server(a, check=FAST), server(b), balance=Balance.FIRST)
    with Proxy(config) as proxy:
        address = front(proxy)
        with connect(address) as client:
            assert client.take(16).strip() == b"a"
            proxy.remove_server("back/a")
            assert greeted_by(address) == "b"
            with pytest.raises(ConfigError, match="front uses it"):
                proxy.remove_backend("back")
            proxy.remove_frontend("front")
            assert not _is_open(address)
            with pytest.raises(ConfigError, match="front uses it"):
                proxy.remove_backend("back")
            client.say(b"still")
            client.hear(b"still")
        until(lambda: _is_removed(proxy, "back"))
        assert proxy.snapshot().backends == ()


def _is_removed(proxy: Proxy, backend: str) -> bool:
    try:
        proxy.remove_backend(backend)
    except ConfigError:
        return False
    return True


def test_what_cannot_come_changes_nothing(greeters: list[Greeter]) -> None:
    config = one_backend(server(greeters[0]))
    taken = Bind(host="127.0.0.1", port=greeters[0].port)
    with Proxy(config) as proxy:
        before = len(proxy.snapshot().frontends)
        with pytest.raises(ConfigError, match="this name"):
            proxy.add_frontend(config.frontends[0])
        with pytest.raises(ConfigError, match="no backend 'nothing'"):
            proxy.add_frontend(Frontend(name="x", binds=(taken,), backend="nothing"))
        with pytest.raises(ConnectError, match="cannot listen"):
            proxy.add_frontend(Frontend(name="x", binds=(taken,), backend="back"))
        with pytest.raises(ConfigError):
            proxy.add_backend(config.backends[0])
        with pytest.raises(ConfigError):
            proxy.add_server("back", server(greeters[0]))
        assert len(proxy.snapshot().frontends) == before
        assert greeted_by(front(proxy)) == "a"


# -- policies


class Broken:
    """A policy that never works."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        raise ZeroDivisionError("no floor")


class ByPort:
    """One that works: the port of the frontend decides."""

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        return servers.servers[client.port % len(servers)]


def test_a_policy_of_the_users_own_decides(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(*map(server, greeters), policy=ByPort())) as proxy:
        owner = greeters[front(proxy)[1] % 2].name
        assert {greeted_by(front(proxy)) for _ in range(4)} == {owner}


def test_a_policy_that_fails_is_told_of_and_balance_decides(
    greeters: list[Greeter], caplog: pytest.LogCaptureFixture
) -> None:
    with Proxy(one_backend(*map(server, greeters), policy=Broken())) as proxy:
        assert {greeted_by(front(proxy)) for _ in range(4)} == {"a", "b"}
        until(lambda: "its balance decides" in caplog.text)
    assert caplog.text.count("its balance decides") == 1
    assert "no floor" in caplog.text
