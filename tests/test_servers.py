"""What may be said of a server and of its check, and what each refusal says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dsbalance import model, servers
from dsbalance.errors import ConfigError
from dsbalance.servers import Check, Observe, Server
from dsbalance.words import HashKey, InitState, OnError, SendProxy


def server(**said: object) -> Server:
    return Server(**({"name": "a", "host": "h", "port": 80} | said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Check(ports=(5022, 0)), "check port must be 1 to 65535, not 0"),
        (lambda: Check(interval=0), "interval must be above 0"),
        (lambda: Check(fast_interval=-1.0), "fast_interval must be above 0"),
        (lambda: Check(down_interval=1e9), "down_interval must be above 0 and below 2147484 s"),
        (lambda: Check(timeout=float("nan")), "timeout must be above 0"),
        (lambda: Check(rise=0), "rise must be at least 1, not 0"),
        (lambda: Check(fall=-1), "fall must be at least 1, not -1"),
        (lambda: server(name="a b"), "server a b: a name is made of"),
        (lambda: server(name=""), "a name is made of"),
        (lambda: server(host=""), "an address is missing"),
        (lambda: server(port=65536), "port must be 1 to 65535, not 65536"),
        (lambda: server(weight=257), "weight must be 0 to 256, not 257"),
        (lambda: server(weight=-1), "weight must be 0 to 256, not -1"),
        (lambda: server(id=0), "id must be 1 to"),
        (lambda: server(maxconn=0), "maxconn must be at least 1, not 0"),
        (lambda: server(check=Check(), track="b/a"), "not both"),
        (lambda: server(check=Check(), port=None), "neither a port nor a check port"),
        (lambda: server(track="a"), "track wants BACKEND/SERVER, not 'a'"),
        (lambda: server(weight=1.5), "weight must be a whole number, not 1.5"),
        (lambda: server(weight="5"), "weight must be a whole number, not '5'"),
        (lambda: server(weight=True), "weight must be a whole number, not True"),
        (lambda: server(name=7), "a name is made of"),
        (lambda: Check(rise=1.5), "rise must be a whole number"),  # type: ignore[arg-type]
        (lambda: Check(interval="5s"), "interval must be a number of seconds"),  # type: ignore[arg-type]
        (lambda: server(weight=10**5000), "weight must not have so many digits"),
        (lambda: Check(rise=-(10**5000)), "rise must not have so many digits"),
        (lambda: Check(interval=10**5000), "interval must not have so many digits"),
        (lambda: Observe(error_limit=0), "error_limit must be 1 to 2147483647, not 0"),
        (lambda: Observe(on_error="die"), "on_error must be one of fastinter, fail-check"),  # type: ignore[arg-type]
        (lambda: server(slowstart=0), "slowstart must be above 0"),
        (lambda: server(minconn=5), "server a: minconn needs a maxconn"),
        (lambda: server(minconn=6, maxconn=5), "server a: minconn must be 1 to 5, not 6"),
        (lambda: server(minconn=0, maxconn=5), "minconn must be 1 to 5, not 0"),
        (lambda: server(maxqueue=0), "maxqueue must be at least 1, not 0"),
        (lambda: server(observe=Observe()), "it is not checked, so it can neither be observed"),
        (lambda: server(init_state="down"), "it is not checked, so it can neither be observed"),
        (lambda: server(init_state="none"), "init_state must be one of fully-up, up, down"),
        (lambda: server(hash_key="name"), "hash_key must be one of id, addr, addr-port, id32"),
        (lambda: server(guid=""), "a guid is made of up to 127 letters, digits and '-_.:', not ''"),
        (lambda: server(guid="x" * 128), "a guid is made of up to 127 letters"),
        (lambda: server(send_proxy="v3"), "send_proxy must be one of send-proxy, send-proxy-v2"),
        (
            lambda: server(send_proxy="send-proxy", check_send_proxy=True),
            "it is not checked, so no check can start with a PROXY header",
        ),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_made(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_every_problem_of_a_server_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        server(weight=300, port=0, maxconn=0)
    assert len(caught.value.problems) == 3


def test_what_is_at_the_edge_is_taken() -> None:
    edges = server(minconn=5, maxconn=5, maxqueue=1, slowstart=0.001, guid="x" * 127)
    observed = server(check=Check(), observe=Observe(error_limit=1), init_state="fully-down")
    assert (edges.minconn, observed.init_state) == (5, InitState.FULLY_DOWN)


def test_what_is_not_said_changes_nothing() -> None:
    plain = server()
    assert (plain.slowstart, plain.minconn, plain.maxqueue, plain.observe) == (None,) * 4
    assert (plain.shutdown_backups_on_up, plain.guid) == (False, None)
    assert (plain.init_state, plain.hash_key) == (InitState.UP, HashKey.ID)
    assert (plain.send_proxy, plain.check_send_proxy) == (None, False)
    assert Observe() == Observe(error_limit=10, on_error=OnError.FAIL_CHECK)


def test_a_word_stands_for_what_it_names() -> None:
    assert server(hash_key="addr-port").hash_key is HashKey.ADDR_PORT
    assert Observe(on_error="mark-down").on_error is OnError.MARK_DOWN  # type: ignore[arg-type]
    made = server(send_proxy="send-proxy-v2", check=Check(), check_send_proxy=True)
    assert made.send_proxy is SendProxy.V2


def test_the_model_has_them_too() -> None:
    for name in ("Check", "Observe", "Server"):
        assert getattr(model, name) is getattr(servers, name)
