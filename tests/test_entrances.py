"""Frontends at work: who is let in, which way each client goes, what is counted meanwhile."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest

from actors import (
    OK,
    Greeter,
    Peer,
    Stub,
    connect,
    front,
    get,
    greeted_by,
    one_backend,
    server,
    until,
)
from dsbalance import (
    Backend,
    Bind,
    Config,
    ConfigError,
    ConnectError,
    Frontend,
    FrontendSnapshot,
    Proxy,
    Server,
    Table,
)
from dsbalance.balancer import Balancer
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.http_options import HttpOptions
from dsbalance.poller import EpollPoller, Poller, SelectorPoller

ACCEPT, REJECT, TRACK, EXPECT_PROXY = DoorAction
HOUR = 3600.0
COUNTS = Table(size=100, expire=HOUR, stores_conn_cur=True, conn_rate_period=HOUR)


@pytest.fixture(params=[EpollPoller, SelectorPoller])
def poller(request: pytest.FixtureRequest) -> Poller:
    if request.param is EpollPoller and not hasattr(select, "epoll"):
        pytest.skip("there is no epoll here")
    made: Poller = request.param()
    return made


def src(*networks: str) -> Condition:
    return _when(Look(fetch=Fetch.SRC, networks=tuple(map(ip_network, networks))))


def above(fetch: Fetch, number: int, backend: str | None = None) -> Condition:
    return _when(Look(fetch=fetch, ranges=((number + 1, None),), backend=backend))


def _when(look: Look) -> Condition:
    return Condition(alternatives=((Term(tests=(look,)),),))


def rule(action: DoorAction, when: Condition | None = None, table: str | None = None) -> DoorRule:
    return DoorRule(action=action, condition=when, table=table)


def config(*servers: Server, table: Table | None = None, **words: Any) -> Config:
    """Return a frontend with these words, which owns ``table``, before a backend."""
    made = one_backend(*servers)
    return replace(made, frontends=(replace(made.frontends[0], table=table, **words),))


def two_backends(a: Greeter, b: Greeter, **words: Any) -> Config:
    """Return a frontend with these words before two backends, ``back`` by default."""
    made = one_backend(server(a))
    frontend = replace(made.frontends[0], **words)
    other = Backend(name="other", servers=(server(b),))
    return replace(made, frontends=(frontend,), backends=(*made.backends, other))


def is_rejected(address: tuple[str, int], source: str | None = None) -> bool:
    """Return whether a client that says something is reset; else it is greeted."""
    try:
        with connect(address, source) as client:
            return not client.say(b"hello").take(16)
    except ConnectionResetError:
        return True


def is_refused(address: tuple[str, int]) -> bool:
    """Return whether nobody listens; a port that is closed meanwhile resets who waited there."""
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass
    return False


def picture(proxy: Proxy) -> FrontendSnapshot:
    return proxy.snapshot().frontends[0]


def nobody_is_left(proxy: Proxy) -> None:
    until(lambda: picture(proxy).current == 0)


# -- the door


def test_who_is_rejected_is_reset_and_counted_and_the_others_are_served(
    greeters: list[Greeter],
    poller: Poller,
    loopback: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = loopback()
    made = config(server(greeters[0]), door=(rule(REJECT, src(bad)),))
    with caplog.at_level(logging.DEBUG, "dsbalance"), Proxy(made, poller=poller) as proxy:
        for _ in range(3):
            assert is_rejected(front(proxy), bad)
        assert greeted_by(front(proxy), loopback()) == "a"
        nobody_is_left(proxy)
        seen = picture(proxy)
        assert (seen.denied, seen.total, seen.peak) == (3, 1, 1)
    lines = [r for r in caplog.records if r.name == "dsbalance.lobby"]
    assert [line.getMessage() for line in lines] == [f"{bad} front: rejected"] * 3
    assert {line.levelno for line in lines} == {logging.DEBUG}


def test_who_is_rejected_is_reset_though_it_says_nothing(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    bad = loopback()
    with Proxy(config(server(greeters[0]), door=(rule(REJECT, src(bad)),))) as proxy:
        # It may hear of it before it knows that it is connected.
        with pytest.raises(ConnectionResetError), connect(front(proxy), bad) as client:
            client.take(1)


def test_who_is_rejected_takes_no_room(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    bad = loopback()
    made = config(server(greeters[0]), door=(rule(REJECT, src(bad)),), maxconn=1)
    with Proxy(made) as proxy:
        for _ in range(3):
            assert is_rejected(front(proxy), bad)
        assert picture(proxy).status == "OPEN"
        assert greeted_by(front(proxy), loopback()) == "a"


def test_a_source_may_have_so_many_connections_until_one_ends(
    greeters: list[Greeter], poller: Poller, loopback: Callable[[], str]
) -> None:
    door = (rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 2)))
    one, other = loopback(), loopback()
    with Proxy(config(server(greeters[0]), door=door, table=COUNTS), poller=poller) as proxy:
        address = front(proxy)
        clients = [connect(address, one) for _ in range(2)]
        for client in clients:
            client.take(16)
        assert is_rejected(address, one)
        assert greeted_by(address, other) == "a"
        clients.pop().close()
        until(lambda: not is_rejected(address, one))
        clients.pop().close()
        nobody_is_left(proxy)


def test_a_source_may_come_so_often(greeters: list[Greeter], loopback: Callable[[], str]) -> None:
    door = (rule(TRACK, table="back"), rule(REJECT, above(Fetch.SC0_CONN_RATE, 3)))
    one, other = loopback(), loopback()
    made = one_backend(server(greeters[0]), table=COUNTS)
    made = replace(made, frontends=(replace(made.frontends[0], door=door),))
    with Proxy(made) as proxy:
        found = [is_rejected(front(proxy), one) for _ in range(5)]
        assert found == [False] * 3 + [True] * 2
        assert not is_rejected(front(proxy), other)


def test_a_session_that_cannot_be_opened_counts_no_more(
    greeters: list[Greeter], monkeypatch: pytest.MonkeyPatch
) -> None:
    route = Balancer.route
    failures = [ZeroDivisionError()]

    def failing(self: Balancer, *args: Any) -> Any:
        if failures:
            raise failures.pop()
        return route(self, *args)

    door = (rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 1)))
    with Proxy(config(server(greeters[0]), door=door, table=COUNTS)) as proxy:
        monkeypatch.setattr(Balancer, "route", failing)
        with connect(front(proxy)) as client:
            client.hear_end()
        assert greeted_by(front(proxy)) == "a"
        nobody_is_left(proxy)


def test_one_frontend_may_count_in_the_table_of_another(greeters: list[Greeter]) -> None:
    door = (rule(TRACK, table="second"), rule(REJECT, above(Fetch.SC0_CONN_CUR, 1)))
    made = one_backend(server(greeters[0]))
    first = replace(made.frontends[0], door=door)
    made = replace(made, frontends=(first, replace(first, name="second", table=COUNTS)))
    with Proxy(made) as proxy, connect(front(proxy)) as client:
        client.take(16)
        assert is_rejected(proxy.addresses("second")[0])
        with pytest.raises(ConfigError, match="track-sc0: 'second' has no stick-table"):
            proxy.remove_frontend("second")
        proxy.remove_frontend("front")
        proxy.remove_frontend("second")


def test_what_has_lapsed_in_a_table_goes_by_itself(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    short = replace(COUNTS, expire=0.01)
    with Proxy(config(server(greeters[0]), door=(rule(TRACK),), table=short)) as proxy:
        assert greeted_by(front(proxy), loopback()) == "a"
        tables = proxy._engine._entrances._tables
        until(lambda: not len(tables["front"]))


# -- the ways


def test_a_client_goes_where_the_first_rule_that_holds_sends_it(
    greeters: list[Greeter], poller: Poller, loopback: Callable[[], str]
) -> None:
    one, other = loopback(), loopback()
    routes = (BackendRule(backend="other", condition=src(one)), BackendRule(backend="back"))
    with Proxy(two_backends(*greeters, routes=routes), poller=poller) as proxy:
        assert greeted_by(front(proxy), one) == "b"
        assert greeted_by(front(proxy), other) == "a"
        nobody_is_left(proxy)
        assert (picture(proxy).total, picture(proxy).denied) == (2, 0)
        assert [backend.total for backend in proxy.snapshot().backends] == [1, 1]


def test_without_a_rule_that_holds_it_goes_to_the_default(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    routes = (BackendRule(backend="other", condition=src(loopback())),)
    with Proxy(two_backends(*greeters, routes=routes)) as proxy:
        assert greeted_by(front(proxy), loopback()) == "a"


def test_the_port_that_it_came_to_decides(greeters: list[Greeter]) -> None:
    binds = (Bind(host="127.0.0.1", port=0), Bind(host="127.0.0.1", port=0))
    with Proxy(two_backends(*greeters, binds=binds)) as proxy:
        low, high = sorted(port for _, port in proxy.addresses("front"))
        routes = (BackendRule(backend="other", condition=above(Fetch.DST_PORT, low)),)
        made = replace(two_backends(*greeters).frontends[0], name="again", routes=routes)
        proxy.remove_frontend("front")
        binds = (Bind(host="127.0.0.1", port=low), Bind(host="127.0.0.1", port=high))
        proxy.add_frontend(replace(made, binds=binds))
        assert greeted_by(("127.0.0.1", low)) == "a"
        assert greeted_by(("127.0.0.1", high)) == "b"


def test_how_many_servers_are_usable_decides(greeters: list[Greeter]) -> None:
    routes = (BackendRule(backend="other", condition=above(Fetch.NBSRV, 0, "other")),)
    with Proxy(two_backends(*greeters, routes=routes)) as proxy:
        assert greeted_by(front(proxy)) == "b"
        proxy.maint("other/b")
        assert greeted_by(front(proxy)) == "a"
        proxy.ready("other/b")
        assert greeted_by(front(proxy)) == "b"


def test_how_many_connections_it_has_decides(greeters: list[Greeter]) -> None:
    routes = (BackendRule(backend="other", condition=above(Fetch.SC0_CONN_CUR, 1)),)
    made = two_backends(*greeters, routes=routes, door=(rule(TRACK),), table=COUNTS)
    with Proxy(made) as proxy, connect(front(proxy)) as client:
        assert client.take(16).strip() == b"a"
        assert greeted_by(front(proxy)) == "b"


def test_in_http_mode_each_request_is_asked_anew_where_it_goes() -> None:
    stubs = [Stub(), Stub()]
    binds, http = (Bind(host="127.0.0.1", port=0),), HttpOptions()
    routes = (BackendRule(backend="other", condition=above(Fetch.NBSRV, 0, "other")),)
    backends = tuple(
        Backend(name=name, servers=(Server(name="s", host=s.host, port=s.port),), http=http)
        for name, s in zip(("back", "other"), stubs, strict=True)
    )
    frontend = Frontend(name="front", binds=binds, backend="back", routes=routes, http=http)
    with Proxy(Config(frontends=(frontend,), backends=backends)) as proxy:
        with connect(front(proxy)) as client:
            for owner, ask in ((1, None), (0, proxy.maint), (1, proxy.ready)):
                if ask is not None:
                    ask("other/s")
                client.say(get())
                with stubs[owner].accept() as peer:
                    peer.hear_request(b"GET /")
                    peer.say(OK)
                    client.hear_answer(200, b"ok")
        nobody_is_left(proxy)
        assert picture(proxy).total == 1
    for stub in stubs:
        stub.close()


def test_nobody_is_usable_where_no_backend_is_named(greeters: list[Greeter]) -> None:
    routes = (BackendRule(backend="other", condition=above(Fetch.NBSRV, -1)),)
    with Proxy(two_backends(*greeters, routes=routes)) as proxy:
        assert greeted_by(front(proxy)) == "a"


# -- PROXY headers

HEADER = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 5014\r\n"


def accepting(**words: Any) -> dict[str, Any]:
    return {"binds": (Bind(host="127.0.0.1", port=0, accept_proxy=True),)} | words


@contextlib.contextmanager
def announced(proxy: Proxy, header: bytes) -> Iterator[Peer]:
    with connect(front(proxy)) as client:
        yield client.say(header)


def test_the_header_says_who_the_client_is_and_where_it_came_to(
    greeters: list[Greeter], poller: Poller
) -> None:
    routes = (BackendRule(backend="other", condition=src("192.0.2.7")),)
    with Proxy(two_backends(*greeters, **accepting(routes=routes)), poller=poller) as proxy:
        with announced(proxy, HEADER + b"hello") as client:
            assert client.take(16).strip() == b"b"
            client.hear(b"hello")
            assert picture(proxy).current == 1
            (guest,) = proxy._engine._entrances.find("front").sessions
            who = guest.client  # type: ignore[attr-defined]
            assert who[:4] == ("192.0.2.7", bytes((192, 0, 2, 7)), 5014, 40000)
            assert who.greeting.destination == "198.51.100.1"
        with announced(proxy, HEADER.replace(b".7", b".8")) as client:
            assert client.take(16).strip() == b"a"
        nobody_is_left(proxy)


def test_a_header_that_says_nothing_leaves_the_client_what_it_is(greeters: list[Greeter]) -> None:
    routes = (BackendRule(backend="other", condition=src("127.0.0.0/8")),)
    made = two_backends(*greeters, **accepting(routes=routes))
    with Proxy(made) as proxy, announced(proxy, b"PROXY UNKNOWN\r\n") as client:
        assert client.take(16).strip() == b"b"


def test_the_rules_at_the_door_see_the_proxy_and_not_whom_it_speaks_for(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    known, stranger = loopback(), loopback()
    door = (
        rule(EXPECT_PROXY, src(known)),
        rule(REJECT, src("192.0.2.7")),
        rule(TRACK),
        rule(REJECT, above(Fetch.SC0_CONN_CUR, 1)),
    )
    with Proxy(config(server(greeters[0]), door=door, table=COUNTS)) as proxy:
        with connect(front(proxy), known) as client:
            assert client.say(HEADER + b"hello").take(16).strip() == b"a"
            client.hear(b"hello")
            assert is_rejected(front(proxy), known)
        # Whose header is not expected, has none: the server hears it all.
        with connect(front(proxy), stranger) as client:
            assert client.say(HEADER).take(16).strip() == b"a"
            client.hear(HEADER)
        nobody_is_left(proxy)


def test_who_says_no_header_is_lost_and_its_place_is_free(
    greeters: list[Greeter], poller: Poller, caplog: pytest.LogCaptureFixture
) -> None:
    door = (rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 1)))
    made = config(server(greeters[0]), **accepting(door=door, table=COUNTS, maxconn=1))
    with caplog.at_level(logging.DEBUG, "dsbalance"), Proxy(made, poller=poller) as proxy:
        with announced(proxy, b"GET / HTTP/1.1\r\n\r\n") as client:
            client.hear_reset()
        nobody_is_left(proxy)
        with announced(proxy, HEADER) as client:
            assert client.take(16).strip() == b"a"
        nobody_is_left(proxy)
        assert picture(proxy).total == 1
    assert "127.0.0.1 front: no PROXY header: " in caplog.text


def test_who_has_not_said_its_header_takes_room_until_its_time_is_over(
    greeters: list[Greeter],
) -> None:
    made = config(server(greeters[0]), **accepting(maxconn=1, timeout_client=0.2))
    with Proxy(made) as proxy, announced(proxy, HEADER[:9]) as slow:
        until(lambda: picture(proxy).current == 1)
        with announced(proxy, HEADER) as client:
            assert client.take(16).strip() == b"a"
        slow.hear_reset()


def test_a_stop_ends_those_who_have_not_said_their_header(greeters: list[Greeter]) -> None:
    proxy = Proxy(config(server(greeters[0]), **accepting()))
    proxy.start()
    with announced(proxy, HEADER[:9]) as client:
        until(lambda: picture(proxy).current == 1)
        proxy.stop()
        proxy.join()
        client.hear_end()


def test_a_soft_stop_waits_for_them(greeters: list[Greeter]) -> None:
    proxy = Proxy(config(server(greeters[0]), **accepting()))
    proxy.start()
    with announced(proxy, HEADER[:9]) as client:
        until(lambda: picture(proxy).current == 1)
        address = front(proxy)
        proxy.soft_stop()
        until(lambda: is_refused(address))
        client.say(HEADER[9:])
        assert client.take(16).strip() == b"a"
    proxy.join()


# -- frontends that come and go


def test_a_backend_that_a_frontend_may_use_is_not_removed(greeters: list[Greeter]) -> None:
    routes = (BackendRule(backend="other", condition=src("192.0.2.1")),)
    counting = (BackendRule(backend="back", condition=above(Fetch.NBSRV, 0, "other")),)
    for words in (
        {"routes": routes},
        {"routes": counting},
        {"door": (rule(TRACK, table="other"),)},
        {"backend": "other"},
    ):
        made = two_backends(*greeters)
        other = replace(made.backends[1], table=COUNTS)
        frontend = replace(made.frontends[0], **words)
        made = replace(made, frontends=(frontend,), backends=(made.backends[0], other))
        with Proxy(made) as proxy:
            with pytest.raises(ConfigError, match="backend other: frontend front uses it"):
                proxy.remove_backend("other")
            proxy.remove_frontend("front")
            proxy.remove_backend("other")


def test_a_frontend_that_was_removed_keeps_its_backends_until_its_last_client_leaves(
    greeters: list[Greeter],
) -> None:
    made = two_backends(*greeters, routes=(BackendRule(backend="other"),))
    with Proxy(made) as proxy:
        with connect(front(proxy)) as client:
            assert client.take(16).strip() == b"b"
            proxy.remove_frontend("front")
            for backend in ("back", "other"):
                with pytest.raises(ConfigError, match="front uses it"):
                    proxy.remove_backend(backend)
            client.say(b"still")
            client.hear(b"still")
        until(lambda: not proxy._engine._entrances.users("other"))
        proxy.remove_backend("other")


def test_stopping_ends_the_clients_of_removed_frontends(greeters: list[Greeter]) -> None:
    with Proxy(config(server(greeters[0]))) as proxy:
        client = connect(front(proxy))
        client.take(16)
        proxy.remove_frontend("front")
    client.hear_end()
    client.close()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ({"routes": (BackendRule(backend="nothing"),)}, "there is no backend 'nothing'"),
        ({"door": (rule(TRACK, table="back"),)}, "'back' has no stick-table"),
        ({"door": (rule(REJECT, above(Fetch.NBSRV, 0, "nothing")),)}, "no backend 'nothing'"),
    ],
)
def test_a_frontend_that_names_what_is_not_there_is_not_added(
    greeters: list[Greeter], words: dict[str, Any], problem: str
) -> None:
    made = config(server(greeters[0]))
    with Proxy(made) as proxy:
        with pytest.raises(ConfigError, match=problem):
            proxy.add_frontend(replace(made.frontends[0], name="more", **words))
        assert [each.name for each in proxy.snapshot().frontends] == ["front"]


def test_a_table_that_comes_again_counts_anew(greeters: list[Greeter]) -> None:
    door = (rule(TRACK, table="other"), rule(REJECT, above(Fetch.SC0_CONN_RATE, 1)))
    made = two_backends(*greeters)
    other = Backend(name="other", table=COUNTS)
    with Proxy(replace(made, backends=(made.backends[0], other), frontends=())) as proxy:
        for _ in range(2):
            proxy.add_frontend(replace(made.frontends[0], door=door))
            assert [is_rejected(front(proxy)) for _ in range(2)] == [False, True]
            proxy.remove_frontend("front")
            until(lambda: not proxy._engine._entrances.users("other"))
            proxy.remove_backend("other")
            proxy.add_backend(other)


def test_the_table_of_a_frontend_goes_with_it(greeters: list[Greeter]) -> None:
    door = (rule(TRACK, table="other"), rule(REJECT, above(Fetch.SC0_CONN_RATE, 1)))
    made = config(server(greeters[0]))
    more = replace(made.frontends[0], name="other", table=COUNTS)
    with Proxy(made) as proxy:
        proxy.add_frontend(replace(more, door=door))
        assert [is_rejected(proxy.addresses("other")[0]) for _ in range(2)] == [False, True]
        proxy.remove_frontend("other")
        proxy.add_backend(Backend(name="other", table=COUNTS))
        proxy.add_frontend(replace(more, name="again", table=None, door=door))
        assert [is_rejected(proxy.addresses("again")[0]) for _ in range(2)] == [False, True]


def test_of_several_binds_all_are_listened_on_or_none(greeters: list[Greeter]) -> None:
    taken = Bind(host="127.0.0.1", port=greeters[0].port)
    free = Stub()
    port = free.port
    free.close()
    made = config(server(greeters[0]), binds=(Bind(host="127.0.0.1", port=port), taken))
    with pytest.raises(ConnectError, match="cannot listen"):
        Proxy(made).start()
    again = Stub(port=port)
    again.close()


def test_an_error_of_ours_behind_a_header_ends_that_session(
    greeters: list[Greeter], monkeypatch: pytest.MonkeyPatch
) -> None:
    route = Balancer.route
    failures = [ZeroDivisionError()]

    def failing(self: Balancer, *args: Any) -> Any:
        if failures:
            raise failures.pop()
        return route(self, *args)

    with Proxy(config(server(greeters[0]), **accepting())) as proxy:
        monkeypatch.setattr(Balancer, "route", failing)
        with announced(proxy, HEADER) as client:
            client.hear_end()
        with announced(proxy, HEADER) as client:
            assert client.take(16).strip() == b"a"
        nobody_is_left(proxy)


def test_many_sources_at_once_are_counted_apart(
    greeters: list[Greeter], loopback: Callable[[], str]
) -> None:
    door = (rule(TRACK), rule(REJECT, above(Fetch.SC0_CONN_CUR, 3)))
    sources = [loopback() for _ in range(4)]
    found: dict[str, list[bool]] = {}
    with Proxy(config(server(greeters[0]), door=door, table=COUNTS)) as proxy:
        together = threading.Barrier(len(sources))

        def visit(source: str) -> None:
            together.wait()
            clients = [connect(front(proxy), source) for _ in range(3)]
            for client in clients:
                client.take(16)
            found[source] = [is_rejected(front(proxy), source) for _ in range(2)]
            for client in clients:
                client.close()

        threads = [threading.Thread(target=visit, args=(source,)) for source in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {source: [True, True] for source in sources}
        nobody_is_left(proxy)


def test_a_frontend_without_rules_asks_nobody(greeters: list[Greeter]) -> None:
    frontend = Frontend(name="more", binds=(Bind(host="127.0.0.1", port=0),), backend="back")
    with Proxy(config(server(greeters[0]))) as proxy:
        proxy.add_frontend(frontend)
        assert greeted_by(proxy.addresses("more")[0]) == "a"
        with pytest.raises(ConfigError, match="there is one of this name already"):
            proxy.add_frontend(frontend)
