"""The ports of a frontend: opened, paused, closed; and what each of them counts for itself."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from actors import Greeter, connect, greeted_by, one_backend, server, until
from dsbalance import Backend, Bind, Config, ConnectError, Frontend, FrontendSnapshot, Proxy
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import DoorAction, DoorRule
from dsbalance.entrance import Entrance
from dsbalance.http_options import HttpOptions

NOBODY = Condition(
    alternatives=((Term(tests=(Look(fetch=Fetch.DST_PORT, ranges=((1, None),)),)),),)
)
LOCAL = Bind(host="127.0.0.1", port=0)


def config(greeter: Greeter, *binds: Bind, **words: Any) -> Config:
    made = one_backend(server(greeter))
    door = Frontend(name="front", binds=binds or (LOCAL,), backend="back", **words)
    return replace(made, frontends=(door,))


def picture(proxy: Proxy) -> FrontendSnapshot:
    return proxy.snapshot().frontends[0]


def entrance(proxy: Proxy) -> Entrance:
    return proxy._engine._entrances.find("front")


def set_open(proxy: Proxy, *, is_open: bool) -> bool:
    return proxy._loop.ask(lambda: proxy._engine.operations.set_frontend("front", is_open=is_open))


# -- ports


def test_the_ports_that_the_system_chose_are_the_same_after_a_pause(
    greeters: list[Greeter],
) -> None:
    with Proxy(config(greeters[0], LOCAL, LOCAL)) as proxy:
        before = proxy.addresses("front")
        assert len(set(before)) == 2
        assert set_open(proxy, is_open=False)
        assert proxy.addresses("front") == []
        assert picture(proxy).addresses == tuple(f"127.0.0.1:{port}" for _, port in before)
        assert set_open(proxy, is_open=True)
        assert proxy.addresses("front") == before
        assert {greeted_by(address) for address in before} == {"a"}


def test_a_port_that_another_took_meanwhile_leaves_the_frontend_paused(
    greeters: list[Greeter],
) -> None:
    with Proxy(config(greeters[0], LOCAL, LOCAL)) as proxy:
        before = proxy.addresses("front")
        set_open(proxy, is_open=False)
        with socket.create_server(before[1]):
            with pytest.raises(ConnectError, match="cannot listen"):
                set_open(proxy, is_open=True)
            assert picture(proxy).status == "PAUSED"
        assert set_open(proxy, is_open=True)
        assert greeted_by(before[0]) == "a"


def test_a_frontend_that_is_paused_before_the_start_opens_when_it_is_resumed(
    greeters: list[Greeter],
) -> None:
    proxy = Proxy(config(greeters[0]))
    assert set_open(proxy, is_open=False)
    with proxy:
        assert (picture(proxy).status, proxy.addresses("front")) == ("PAUSED", [])
        assert set_open(proxy, is_open=True)
        assert greeted_by(proxy.addresses("front")[0]) == "a"


def test_a_frontend_that_is_resumed_before_the_start_opens_with_it(
    greeters: list[Greeter],
) -> None:
    proxy = Proxy(config(greeters[0]))
    set_open(proxy, is_open=False)
    set_open(proxy, is_open=True)
    assert proxy.addresses("front") == []
    with proxy:
        assert greeted_by(proxy.addresses("front")[0]) == "a"


def test_an_address_of_ipv6_is_told_in_brackets(greeters: list[Greeter]) -> None:
    try:
        proxy = Proxy(config(greeters[0], Bind(host="::1", port=0)))
        proxy.start()
    except ConnectError as error:
        pytest.skip(f"there is no IPv6 here: {error}")
    (address,) = picture(proxy).addresses
    assert address == f"[::1]:{proxy.addresses('front')[0][1]}"
    proxy.stop()
    proxy.join()


# -- listeners that count for themselves


def test_listeners_count_for_themselves_if_that_is_wanted(greeters: list[Greeter]) -> None:
    made = config(greeters[0], replace(LOCAL, name="one"), LOCAL, counts_listeners=True)
    with Proxy(made) as proxy:
        first, second = proxy.addresses("front")
        with connect(first) as client, connect(second) as other:
            client.take(16)
            other.take(16)
            assert greeted_by(second) == "a"
            until(lambda: picture(proxy).current == 2)
            seen = picture(proxy)
            one, two = seen.listeners
            assert (one.name, one.id, one.address) == ("one", 1, f"127.0.0.1:{first[1]}")
            assert (two.name, two.id) == ("sock-2", 2)
            assert (one.current, one.total, two.current, two.total) == (1, 1, 1, 2)
            assert (seen.total, seen.peak) == (3, 3)
            assert (one.peak, two.peak) == (1, 2)
        until(lambda: picture(proxy).current == 0)
        seen = picture(proxy)
        assert [each.bytes_out for each in seen.listeners] == [16, 32]
        assert (seen.bytes_out, seen.bytes_in) == (48, 0)


def test_listeners_have_the_ids_that_they_were_given_or_the_lowest_that_are_free(
    greeters: list[Greeter],
) -> None:
    binds = (Bind(port=80), Bind(port=81, id=2, name="two"), Bind(port=5014, last_port=5015))
    proxy = Proxy(config(greeters[0], *binds, counts_listeners=True))
    seen = [(each.id, each.name) for each in picture(proxy).listeners]
    assert seen == [(1, "sock-1"), (2, "two"), (3, "sock-3"), (4, "sock-4")]
    proxy.stop()


def test_without_that_a_frontend_has_no_listeners_to_tell_of(greeters: list[Greeter]) -> None:
    with Proxy(config(greeters[0], LOCAL, LOCAL)) as proxy:
        assert picture(proxy).listeners == ()


def test_the_rates_of_a_frontend_are_of_all_its_listeners(greeters: list[Greeter]) -> None:
    with Proxy(config(greeters[0], LOCAL, LOCAL, counts_listeners=True)) as proxy:
        for address in proxy.addresses("front") * 2:
            assert greeted_by(address) == "a"
        until(lambda: picture(proxy).rate_peak > 0 and picture(proxy).rate == 0)
        assert picture(proxy).total == 4
        assert picture(proxy).rate_peak <= 4


def test_listeners_wait_while_their_frontend_is_full(greeters: list[Greeter]) -> None:
    made = config(greeters[0], LOCAL, LOCAL, counts_listeners=True, maxconn=1)
    with Proxy(made) as proxy, connect(proxy.addresses("front")[0]) as client:
        assert {each.status for each in picture(proxy).listeners} <= {"OPEN", "WAITING"}
        client.take(16)
        seen = picture(proxy)
        assert [each.status for each in seen.listeners] == ["WAITING", "WAITING"]
        assert (seen.status, {each.maxconn for each in seen.listeners}) == ("OPEN", {1})
        with connect(proxy.addresses("front")[1]) as late:
            client.close()
            late.take(16)
        until(lambda: picture(proxy).current == 0)
        assert [each.status for each in picture(proxy).listeners] == ["OPEN", "OPEN"]


def test_a_paused_frontend_still_tells_of_its_listeners(greeters: list[Greeter]) -> None:
    with Proxy(config(greeters[0], LOCAL, counts_listeners=True)) as proxy:
        (address,) = picture(proxy).addresses
        set_open(proxy, is_open=False)
        (listener,) = picture(proxy).listeners
        assert (listener.status, listener.address) == ("OPEN", address)


def test_listeners_of_a_frontend_that_never_opened_have_their_binds(
    greeters: list[Greeter],
) -> None:
    proxy = Proxy(config(greeters[0], Bind(port=80, last_port=81), counts_listeners=True))
    assert [each.address for each in picture(proxy).listeners] == [":80", ":81"]
    proxy.stop()


def test_who_is_rejected_came_to_the_listener_and_not_to_the_frontend(
    greeters: list[Greeter],
) -> None:
    rule = DoorRule(action=DoorAction.REJECT, condition=NOBODY)
    made = config(greeters[0], LOCAL, counts_listeners=True, door=(rule,))
    with Proxy(made) as proxy:
        # Who is quick enough to be connected is reset.
        with contextlib.suppress(ConnectionResetError):
            with connect(proxy.addresses("front")[0]) as client:
                client.hear_gone()
        until(lambda: picture(proxy).denied == 1)
        seen = picture(proxy)
        (listener,) = seen.listeners
        assert (listener.total, listener.denied, listener.current) == (1, 1, 0)
        assert (seen.total, seen.denied) == (0, 1)


def test_requests_are_summed_up_too() -> None:
    back = Backend(name="back", http=HttpOptions())
    door = Frontend(
        name="front",
        binds=(LOCAL, LOCAL),
        backend="back",
        counts_listeners=True,
        http=HttpOptions(),
    )
    with Proxy(Config(frontends=(door,), backends=(back,))) as proxy:
        for address in proxy.addresses("front"):
            with connect(address) as client:
                client.say(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").hear_answer(503)
        until(lambda: picture(proxy).requests == 2)
        assert picture(proxy).responses.server_error == 2


def test_clearing_forgets_what_listeners_counted(greeters: list[Greeter]) -> None:
    def clear(*, is_all: bool) -> Callable[[], None]:
        return lambda: proxy._engine.operations.clear_counters(is_all=is_all)

    with Proxy(config(greeters[0], LOCAL, counts_listeners=True)) as proxy:
        assert greeted_by(proxy.addresses("front")[0]) == "a"
        until(lambda: picture(proxy).current == 0)
        proxy._loop.ask(clear(is_all=False))
        (listener,) = picture(proxy).listeners
        assert (listener.peak, listener.total) == (0, 1)
        proxy._loop.ask(clear(is_all=True))
        (listener,) = picture(proxy).listeners
        assert (listener.total, picture(proxy).total) == (0, 0)
