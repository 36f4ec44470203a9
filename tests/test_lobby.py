"""Where clients are let in: the way each goes, and which lobby counts it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actors import Greeter, Peer, connect, one_backend, server, until
from dsbalance import Backend, Bind, Config, Frontend, Proxy
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import BackendRule
from dsbalance.stats import ListenerSnapshot

LOCAL = Bind(host="127.0.0.1", port=0)
ANNOUNCED = replace(LOCAL, accept_proxy=True)
# Who came to port 443, as a proxy says, goes elsewhere.
ELSEWHERE = BackendRule(
    backend="other",
    condition=Condition(
        alternatives=((Term(tests=(Look(fetch=Fetch.DST_PORT, ranges=((443, 443),)),)),),)
    ),
)


def config(greeters: list[Greeter]) -> Config:
    """Return a frontend with a plain port and one behind a proxy, each counting for itself."""
    a, b = map(server, greeters)
    door = Frontend(
        name="front",
        binds=(LOCAL, ANNOUNCED),
        backend="back",
        routes=(ELSEWHERE,),
        counts_listeners=True,
        timeout_client=60.0,
    )
    backends = (*one_backend(a).backends, Backend(name="other", servers=(b,)))
    return Config(frontends=(door,), backends=backends)


@pytest.fixture
def proxy(greeters: list[Greeter]) -> Iterator[Proxy]:
    with Proxy(config(greeters)) as proxy:
        yield proxy


def listeners(proxy: Proxy) -> tuple[ListenerSnapshot, ...]:
    return proxy.snapshot().frontends[0].listeners


def announced(proxy: Proxy, port: int) -> Peer:
    client = connect(proxy.addresses("front")[1])
    return client.say(b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 %d\r\n" % port)


def test_a_client_counts_where_it_came_in_whatever_way_it_goes(proxy: Proxy) -> None:
    with connect(proxy.addresses("front")[0]) as plain, announced(proxy, 443) as other:
        assert plain.take(16).strip() == b"a"
        assert other.take(16).strip() == b"b"
        assert [(each.current, each.total) for each in listeners(proxy)] == [(1, 1), (1, 1)]
    until(lambda: [each.current for each in listeners(proxy)] == [0, 0])


def test_who_has_not_said_its_header_takes_room_where_it_came_in(proxy: Proxy) -> None:
    with connect(proxy.addresses("front")[1]) as silent:
        until(lambda: [each.current for each in listeners(proxy)] == [0, 1])
        assert [each.total for each in listeners(proxy)] == [0, 0]
        silent.say(b"nonsense\r\n")
        silent.hear_gone()
    until(lambda: [each.current for each in listeners(proxy)] == [0, 0])
    assert proxy.snapshot().process.current == 0


def test_a_proxy_that_ends_waits_for_nobodys_header(greeters: list[Greeter]) -> None:
    with Proxy(config(greeters)) as proxy, connect(proxy.addresses("front")[1]) as silent:
        until(lambda: len(proxy.sessions()) == 1)
        proxy.stop()
        proxy.join()
        silent.hear_gone()
        assert proxy.sessions() == []
        assert [each.current for each in listeners(proxy)] == [0, 0]


def test_who_comes_late_to_a_proxy_that_drains_is_served(greeters: list[Greeter]) -> None:
    with Proxy(config(greeters)) as proxy, connect(proxy.addresses("front")[1]) as client:
        until(lambda: len(proxy.sessions()) == 1)
        proxy.soft_stop()
        until(lambda: proxy.snapshot().process.is_stopping)
        client.say(b"PROXY UNKNOWN\r\n")
        assert client.take(16).strip() == b"a"
