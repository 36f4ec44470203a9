"""What a configuration may say, and what each refusal says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dsbalance import words
from dsbalance.door import BackendRule
from dsbalance.errors import ConfigError
from dsbalance.http_options import HttpOptions
from dsbalance.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Config,
    Frontend,
    HashKey,
    HashKind,
    HashType,
    InitState,
    Keepalive,
    OnError,
    SendProxy,
    Server,
    SrvKey,
    StickAction,
    StickRule,
    Table,
    TableType,
)
from dsbalance.stats_options import StatsSocket

SERVER = Server(name="a", host="10.0.0.1", port=80)
CHECKED = Server(name="a", host="10.0.0.1", port=80, check=Check())
BACKEND = Backend(name="b", servers=(SERVER,))
SOCKET = StatsSocket(path="/x")
FRONTEND = Frontend(name="f", binds=(Bind(port=80),), backend="b")


def server(**said: object) -> Server:
    return Server(**({"name": "a", "host": "h", "port": 80} | said))  # type: ignore[arg-type]


def backend(**said: object) -> Backend:
    return Backend(**({"name": "b"} | said))  # type: ignore[arg-type]


def bounded(**said: object) -> Backend:
    """Return a backend that counts table entries, but for what is said."""
    ring = {"balance": "source", "hash_type": HashType(kind=HashKind.CONSISTENT)}
    return backend(**({"stick": (StickRule(),), "bounded_clients": 125} | ring | said))


def frontend(**said: object) -> Frontend:
    return Frontend(**({"name": "f", "binds": (Bind(port=1),), "backend": "b"} | said))  # type: ignore[arg-type]


def tracking(track: str, *others: Backend) -> Config:
    return Config(backends=(*others, backend(name="t", servers=(server(name="s", track=track),))))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table(size=0), "size must be at least 1"),
        (lambda: Table(size=1, expire=0.0), "expire must be above 0"),
        (lambda: Table(size=1, conn_rate_period=0), "conn_rate_period must be above 0"),
        (
            lambda: backend(http=HttpOptions(monitor_uri="/x")),
            "backend b: a monitor_uri is answered by a frontend",
        ),
        (lambda: Keepalive(idle=0), "keepalive idle must be 1 to 32767, not 0"),
        (lambda: Keepalive(count=128), "keepalive count must be 1 to 127, not 128"),
        (lambda: backend(name="é"), "a name is made of"),
        (lambda: backend(retries=-1), "retries must be at least 0, not -1"),
        (lambda: backend(timeout_queue=0.0), "timeout_queue must be above 0"),
        (lambda: backend(servers=(SERVER, SERVER)), "server 'a' is given 2 times"),
        (
            lambda: backend(servers=(server(id=7), server(name="c", id=7))),
            "backend b: id '7' is given 2 times",
        ),
        (lambda: Bind(port=-1), "port must be 0 to 65535, not -1"),
        (lambda: Bind(port=9, last_port=8), "the port range 9-8 is empty"),
        (lambda: Bind(port=9, last_port=70000), "last port must be 0 to 65535, not 70000"),
        (lambda: frontend(binds=()), "frontend f: it has no bind"),
        (lambda: frontend(maxconn=0), "maxconn must be at least 1"),
        (lambda: frontend(timeout_client=0.0), "timeout_client must be above 0"),
        (lambda: Config(frontends=(FRONTEND,)), "frontend f: there is no backend 'b'"),
        (lambda: Config(backends=(BACKEND, BACKEND)), "backend 'b' is given 2 times"),
        (
            lambda: Config(frontends=(FRONTEND, FRONTEND), backends=(BACKEND,)),
            "frontend 'f' is given 2 times",
        ),
        (lambda: Config(maxconn=0), "maxconn must be at least 1"),
        (lambda: Config(maxconn_stats=0), "maxconn_stats must be at least 1, not 0"),
        (lambda: Config(timeout_stats=0), "timeout_stats must be above 0"),
        (lambda: Config(log_tag=""), "log_tag is empty"),
        (lambda: Config(log_hostname="a\nb"), "log_hostname has the control character"),
        (lambda: Config(node=""), "node is empty"),
        (lambda: Config(node="a b"), "a node is made of letters, digits and '-_.', not 'a b'"),
        (lambda: Config(description="a\nb"), "the description has the control character"),
        (lambda: Config(state_file=""), "state_file is empty"),
        (lambda: Config(sockets=(SOCKET, SOCKET)), "stats socket '/x' is given 2 times"),
        (
            lambda: Config(
                frontends=(frontend(id=5), frontend(name="g", id=5)), backends=(BACKEND,)
            ),
            "frontend g: id 5 is that of f already",
        ),
        (lambda: backend(id=0), "backend b: id must be 1 to 2147483647, not 0"),
        (lambda: backend(description="a\nb"), "the description has the control character"),
        (lambda: backend(state_file=""), "backend b: the state file is empty"),
        (
            lambda: backend(loads_state=True, state_file="/x"),
            "backend b: its servers begin as one file has them, the process's or its own",
        ),
        (lambda: frontend(id=2**31), "frontend f: id must be 1 to 2147483647, not 2147483648"),
        (lambda: frontend(description="a\nb"), "the description has the control character"),
        (lambda: frontend(backend=None), "frontend f: it has no backend, so it has nothing for"),
        (
            lambda: frontend(binds=(Bind(port=1, id=3), Bind(port=2, id=3))),
            "frontend f: bind id '3' is given 2 times",
        ),
        (lambda: Bind(port=1, id=0), "bind *: id must be 1 to 2147483647, not 0"),
        (lambda: Bind(port=1, last_port=2, id=1), "bind *: an id is that of one port"),
        (lambda: Config(hard_stop_after=0.0), "hard_stop_after must be above 0"),
        (lambda: Config(backends=(backend(stick=(StickRule(),)),)), "'b' has no stick-table"),
        (
            lambda: Config(backends=(backend(stick=(StickRule(table="x"),)),)),
            "'x' has no stick-table",
        ),
        (lambda: tracking("b/z", BACKEND), "backend t, server s: track: there is no server 'b/z'"),
        (lambda: tracking("b/a", BACKEND), "b/a is not checked"),
        (lambda: tracking("t/s"), "t/s tracks another server itself"),
        (lambda: HashType(kind="round"), "kind must be one of map-based, consistent"),  # type: ignore[arg-type]
        (lambda: Table(size=1, type="mac"), "type must be one of ip, ipv6"),  # type: ignore[arg-type]
        (lambda: Table(size=2**64), "size must not have so many digits"),
        (lambda: backend(balance="fair"), "balance must be one of roundrobin"),
        (lambda: Table(size=1, srvkey="id"), "srvkey must be one of name, addr, not 'id'"),  # type: ignore[arg-type]
        (
            lambda: Config(
                backends=[backend(name=n, servers=(server(guid="g"),)) for n in ("b", "c")]  # type: ignore[arg-type]
            ),
            "guid 'g' is given 2 times",
        ),
        (lambda: backend(random_draws=0), "random_draws must be 1 to 1000, not 0"),
        (lambda: backend(random_draws=1001), "random_draws must be 1 to 1000, not 1001"),
        (lambda: backend(hash_balance_factor=-1), "hash_balance_factor must be 0 to 65535, not -1"),
        (lambda: backend(hash_balance_factor=1), "must be 0, which is off, or above 100"),
        (lambda: backend(hash_balance_factor=100), "must be 0, which is off, or above 100"),
        (lambda: backend(hash_balance_factor=65536), "must be 0 to 65535, not 65536"),
        (lambda: backend(fullconn=0), "fullconn must be at least 1, not 0"),
        (lambda: bounded(bounded_clients=100), "bounded_clients must be 101 to 65535, not 100"),
        (lambda: bounded(balance="leastconn"), "backend b: bounded_clients needs balance source"),
        (lambda: bounded(hash_type=HashType()), "bounded_clients needs balance source"),
        (lambda: bounded(stick=()), "bounded_clients needs balance source"),
        (lambda: bounded(stick=(StickRule(action=StickAction.MATCH),)), "and a rule that stores"),
        (lambda: bounded(policy="package.module:Name"), "bounded_clients needs balance source"),
    ],
)
def test_what_is_wrong_is_refused_where_it_is_made(
    make: Callable[[], object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert message in str(caught.value)


def test_every_problem_of_a_value_is_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        backend(name="a b", retries=-1, fullconn=0)
    assert len(caught.value.problems) == 3


def test_a_whole_configuration_is_taken() -> None:
    shared = backend(name="shared", table=Table(size=10, expire=1800.0), servers=(CHECKED,))
    follower = backend(
        stick=(StickRule(table="shared"),), servers=(server(track="shared/a", port=None),)
    )
    config = Config(
        frontends=(frontend(backend="shared"),), backends=(shared, follower), maxconn=10
    )
    assert config.backends == (shared, follower)


def test_what_is_at_the_edge_is_taken() -> None:
    for factor in (0, 101, 65535):
        assert backend(hash_balance_factor=factor).hash_balance_factor == factor
    for draws in (1, 1000):
        assert backend(random_draws=draws, fullconn=1).random_draws == draws
    for action in (StickAction.ON, StickAction.STORE_REQUEST):
        made = bounded(bounded_clients=101, stick=(StickRule(action=action),))
        assert made.bounded_clients == 101


def test_what_is_not_said_changes_nothing() -> None:
    made = backend()
    assert (made.hash_balance_factor, made.bounded_clients, made.fullconn) == (0, None, None)
    assert (made.persist, made.random_draws) == (False, 2)
    assert Table(size=1).srvkey is SrvKey.NAME
    assert not Table(size=1).counts_connections
    plain = frontend()
    assert (made.http, plain.http, plain.table, plain.door, plain.routes) == (None,) * 3 + ((),) * 2
    assert not Bind(port=1).accept_proxy


def test_a_table_counts_connections_in_one_way_or_the_other() -> None:
    assert Table(size=1, stores_conn_cur=True).counts_connections
    assert Table(size=1, conn_rate_period=10.0).counts_connections


def test_the_model_has_every_word() -> None:
    kinds = {kind for kind in vars(words).values() if isinstance(kind, type)}
    assert kinds == {
        *(Balance, HashKey, HashKind, InitState, OnError, SendProxy, SrvKey, StickAction, TableType)
    }


def test_a_word_stands_for_what_it_names() -> None:
    assert HashType(kind="consistent").kind is HashKind.CONSISTENT  # type: ignore[arg-type]
    assert Table(size=1, type="ipv6").type is TableType.IPV6  # type: ignore[arg-type]
    assert StickRule(action="match").action is StickAction.MATCH  # type: ignore[arg-type]
    assert backend(balance="source").balance is Balance.SOURCE
    assert backend(balance="static-rr").balance is Balance.STATIC_RR
    assert backend(balance="random").balance is Balance.RANDOM
    assert Table(size=1, srvkey="addr").srvkey is SrvKey.ADDR  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bind", "text", "ports"),
    [
        (Bind(port=5022), ":5022", [5022]),
        (Bind(host="::1", port=5014, last_port=5016), "[::1]:5014-5016", [5014, 5015, 5016]),
        (Bind(host="127.0.0.1", port=0), "127.0.0.1:0", [0]),
        (Bind(port=65535), ":65535", [65535]),
    ],
)
def test_a_bind_is_written_as_haproxy_writes_it(bind: Bind, text: str, ports: list[int]) -> None:
    assert str(bind) == text
    assert list(bind.ports) == ports


@pytest.mark.parametrize(
    ("hash_type", "is_mixed"),
    [
        (HashType(), False),
        (HashType(kind=HashKind.CONSISTENT), True),
        (HashType(kind=HashKind.CONSISTENT, avalanche=False), False),
        (HashType(avalanche=True), True),
    ],
)
def test_the_hash_is_mixed_as_haproxy_mixes_it(hash_type: HashType, is_mixed: bool) -> None:
    assert hash_type.is_mixed is is_mixed


def test_a_frontend_names_each_way_of_its_clients_once() -> None:
    route = BackendRule(backend="c")
    assert frontend().ways == ("b",)
    assert frontend(routes=(route, BackendRule(backend="b"), route)).ways == ("b", "c")
    assert frontend(backend=None, http=HttpOptions(), routes=(route,)).ways == ("c",)
    assert frontend(backend=None, http=HttpOptions()).ways == ()


def test_what_has_no_place_may_be_there_twice() -> None:
    anywhere = StatsSocket(port=0)
    assert Config(sockets=(anywhere, anywhere, SOCKET)).sockets
    assert Bind(port=1, last_port=1, id=3).id == 3
