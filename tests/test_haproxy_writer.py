"""The form of what is written; that it reads back whole is in test_haproxy_writer_again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import drafts
from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.writer import write
from dsbalance.http_options import Deny, HttpOptions
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
    Observe,
    OnError,
    SendProxy,
    Server,
    SrvKey,
    StickRule,
    Table,
)
from dsbalance.stats_options import StatsPage


def backend(*servers: Server, **settings: Any) -> Backend:
    return Backend(name="be", servers=servers, **settings)


def lines(config: Config) -> list[str]:
    return [line.strip() for line in write(config).splitlines() if line.strip()]


def test_what_all_sections_say_stands_once_in_defaults() -> None:
    common = Backend(name="a", timeout_connect=3.0, timeout_server=60.0, retries=2)
    other = replace(common, name="b", timeout_server=90.0)
    assert lines(Config(backends=(common, other))) == [
        *("defaults", "mode tcp", "timeout connect 3s", "retries 2"),
        *("backend a", "timeout server 1m", "balance roundrobin"),
        *("backend b", "timeout server 90s", "balance roundrobin"),
    ]


def test_a_frontend_and_the_backend_of_its_name_are_one_listen() -> None:
    bind = Bind(port=1)
    config = Config(
        frontends=tuple(Frontend(name=name, binds=(bind,), backend="a") for name in ("x", "a")),
        backends=(Backend(name="b"), Backend(name="a")),
    )
    headers = [line for line in write(config).splitlines() if line and line[0] != " "]
    assert headers == ["defaults", "frontend x", "backend b", "listen a"]


@pytest.mark.parametrize(
    ("near", "far", "is_one"),
    [
        (HttpOptions(), HttpOptions(), True),
        (HttpOptions(stats=StatsPage(), metrics=("/m",)), HttpOptions(), True),
        (HttpOptions(stats=StatsPage()), HttpOptions(stats=StatsPage()), False),
        (HttpOptions(timeout_request=1.0), HttpOptions(), False),
    ],
)
def test_a_listen_says_once_what_it_shows(
    near: HttpOptions, far: HttpOptions, is_one: bool
) -> None:
    frontend = Frontend(name="a", binds=(Bind(port=1),), backend="a", http=near)
    text = write(Config(frontends=(frontend,), backends=(Backend(name="a", http=far),)))
    assert ("listen a" in text) is is_one


def test_metrics_of_a_listen_are_not_for_who_comes_from_elsewhere() -> None:
    http = HttpOptions(metrics=("/m",))
    one = Frontend(name="a", binds=(Bind(port=1),), backend="a", http=http)
    other = Frontend(name="b", binds=(Bind(port=2),), backend="a", http=HttpOptions())
    text = write(Config(frontends=(one, other), backends=(Backend(name="a", http=HttpOptions()),)))
    assert "listen a" not in text


def test_a_frontend_without_a_backend_names_none() -> None:
    frontend = Frontend(
        name="a", binds=(Bind(port=1),), backend=None, http=HttpOptions(stats=StatsPage())
    )
    config = Config(frontends=(frontend,))
    assert "default_backend" not in write(config)
    assert read([("x.cfg", write(config))]).config == config


def test_pairs_in_another_order_are_written_apart() -> None:
    bind = Bind(port=1)
    config = Config(
        frontends=tuple(Frontend(name=name, binds=(bind,), backend=name) for name in ("b", "a")),
        backends=(Backend(name="a"), Backend(name="b")),
    )
    headers = [line for line in write(config).splitlines() if line and line[0] != " "]
    assert headers == ["defaults", "backend a", "listen b", "frontend a"]
    assert drafts.unnumbered(read([("x", write(config))]).config) == config


def test_what_all_servers_say_stands_once_in_default_server() -> None:
    check = Check(ports=(5022, 5555), interval=5.0, rise=12)
    servers = [
        Server(name=f"s{n}", host=f"10.0.0.{n}", check=check, weight=5, shutdown_on_down=True)
        for n in (1, 2)
    ]
    found = lines(Config(backends=(backend(*servers, replace(servers[0], name="x", check=None)),)))
    assert found[found.index("balance roundrobin") + 1 :] == [
        "option tcp-check",
        "tcp-check connect port 5022",
        "tcp-check connect port 5555",
        "default-server inter 5s fall 3 rise 12 weight 5 on-marked-down shutdown-sessions",
        "server s1 10.0.0.1 check",
        "server s2 10.0.0.2 check",
        "server x 10.0.0.1",
    ]


def test_checks_of_one_port_name_it_on_their_lines() -> None:
    ports = [(), (7,), (8,)]
    checks = [Check(ports=port, interval=n) for n, port in enumerate(ports, 1)]
    servers = [
        Server(name=f"s{n}", host="h", port=1, check=check) for n, check in enumerate(checks)
    ]
    config = Config(backends=(backend(*servers),))
    assert lines(config)[-4:] == [
        "default-server fall 3 rise 2",
        "server s0 h:1 check inter 1s",
        "server s1 h:1 check port 7 inter 2s",
        "server s2 h:1 check port 8 inter 3s",
    ]
    assert read([("x.cfg", write(config))]).config == config


def test_checks_that_differ_in_one_port_name_it_on_their_lines() -> None:
    checks = [Check(ports=(5022, port, port)) for port in (7, 8)]
    servers = [Server(name=f"s{n}", host="h", check=check) for n, check in enumerate(checks)]
    config = Config(backends=(backend(*servers),))
    assert lines(config)[-6:] == [
        *("tcp-check connect port 5022", "tcp-check connect", "tcp-check connect"),
        "default-server inter 2s fall 3 rise 2",
        "server s0 h check port 7",
        "server s1 h check port 8",
    ]
    assert read([("x.cfg", write(config))]).config == config


def test_a_single_server_has_all_its_words_on_its_line() -> None:
    server = Server(name="s", host="::1", port=1, check=Check(ports=(7,), host="::2"), id=9)
    found = lines(Config(backends=(backend(server),)))
    assert found[-2:] == [
        "tcp-check connect port 7",
        "server s [::1]:1 check addr [::2] inter 2s fall 3 rise 2 id 9",
    ]


def greeted(name: str, *check_ports: int, is_sent: bool, host: str | None = None) -> Server:
    check = Check(ports=check_ports, host=host)
    made = Server(name=name, host="h", port=1, check=check, send_proxy=SendProxy.V2)
    return replace(made, check_send_proxy=is_sent)


TIMES = "inter 2s fall 3 rise 2"


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (
            [greeted("s", is_sent=True)],
            [f"server s h:1 check {TIMES} send-proxy-v2 check-send-proxy"],
        ),
        # Where a check goes elsewhere, it has to be told to start as connections do.
        (
            [greeted("s", is_sent=False, host="::1")],
            [f"server s h:1 check addr [::1] {TIMES} send-proxy-v2"],
        ),
        (
            [greeted("s", 7, is_sent=True), greeted("t", 7, is_sent=False)],
            [
                f"default-server port 7 {TIMES} send-proxy-v2",
                *("server s h:1 check check-send-proxy", "server t h:1 check"),
            ],
        ),
        # Where it goes to the same place, only a rule can tell it not to.
        (
            [greeted("s", is_sent=False), greeted("t", 7, is_sent=False)],
            [
                *("option tcp-check", "tcp-check connect"),
                f"default-server {TIMES} send-proxy-v2",
                *("server s h:1 check", "server t h:1 check port 7"),
            ],
        ),
        (
            [greeted("s", 7, 8, is_sent=True)],
            [
                *("option tcp-check", "tcp-check connect port 7 send-proxy"),
                "tcp-check connect port 8 send-proxy",
                f"server s h:1 check {TIMES} send-proxy-v2",
            ],
        ),
    ],
)
def test_whether_checks_start_with_a_header_is_written_where_it_can_be(
    servers: list[Server], expected: list[str]
) -> None:
    config = Config(backends=(backend(*servers),))
    found = lines(config)
    assert found[found.index("balance roundrobin") + 1 :] == expected
    assert read([("x.cfg", write(config))]).config == config


def test_a_listen_is_written_where_it_can_say_both() -> None:
    http = HttpOptions(monitor_uri="/x")
    ruled = replace(http, response_rules=(Deny(status=502),))
    target = backend(http=HttpOptions())
    for said, others, expected in (
        (http, (), ["listen be"]),
        (http, ("f",), ["listen be", "frontend f"]),
        (ruled, (), ["listen be"]),
        (ruled, ("f",), ["frontend be", "frontend f", "backend be"]),
    ):
        front = Frontend(name="be", binds=(Bind(port=1),), backend="be", http=said)
        fronts = (front, *(replace(front, name=name, http=http) for name in others))
        text = write(Config(frontends=fronts, backends=(target,)))
        assert [line for line in text.splitlines() if line and line[0] != " "][1:] == expected


def test_what_chooses_a_server_is_written_with_what_it_needs() -> None:
    ring = HashType(kind=HashKind.CONSISTENT)
    first = backend(balance=Balance.RANDOM, random_draws=5, hash_balance_factor=150, persist=True)
    second = Backend(
        name="b",
        balance=Balance.SOURCE,
        hash_type=ring,
        random_draws=5,
        fullconn=9,
        table=Table(size=1, srvkey=SrvKey.ADDR),
        stick=(StickRule(),),
        bounded_clients=125,
    )
    assert lines(Config(backends=(first, second))) == [
        *("defaults", "mode tcp", "timeout connect 5s", "retries 3"),
        *("backend be", "option persist", "balance random(5)", "hash-balance-factor 150"),
        *("backend b", "fullconn 9", "balance source", "hash-type consistent"),
        "# dsbalance: bounded-clients 125",
        "stick-table type ip size 1 srvkey addr",
        "stick on src",
    ]


def test_every_word_of_a_server_is_written() -> None:
    server = Server(
        name="s",
        host="h",
        port=1,
        check=Check(),
        observe=Observe(error_limit=5, on_error=OnError.MARK_DOWN),
        slowstart=10.0,
        minconn=3,
        maxconn=7,
        maxqueue=9,
        shutdown_backups_on_up=True,
        init_state=InitState.DOWN,
        hash_key=HashKey.GUID,
        guid="x",
    )
    plain = replace(server, name="t", observe=Observe(), guid=None, maxqueue=None)
    found = lines(Config(backends=(backend(server, plain),)))
    shared = (
        "inter 2s fall 3 rise 2 observe layer4 init-state down slowstart 10s minconn 3 maxconn 7"
    )
    assert found[-3:] == [
        f"default-server {shared} on-marked-up shutdown-backup-sessions hash-key guid",
        "server s h:1 check error-limit 5 on-error mark-down maxqueue 9 guid x",
        "server t h:1 check",
    ]


# --- what the language cannot say ----------------------------------------------------------------


def checked(name: str, *check_ports: int, timeout: float | None = None) -> Server:
    return Server(name=name, host="h", port=1, check=Check(ports=check_ports, timeout=timeout))


class Own:
    """A policy of somebody's own."""


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (backend(policy=Own()), "a policy is written as PACKAGE.MODULE:NAME"),
        (backend(policy="x y"), "a policy is written as PACKAGE.MODULE:NAME"),
        (backend(policy="x:y\nserver"), "a policy is written as PACKAGE.MODULE:NAME"),
        (backend(table=Table(size=2**32)), "a table has at most"),
        (backend(retries=2**31), "beyond HAProxy's numbers"),
        (backend(redispatch=-(2**31)), "beyond HAProxy's numbers"),
        (backend(fullconn=2**31), "beyond HAProxy's numbers"),
        (backend(Server(name="s", host="h", maxqueue=2**31)), "beyond HAProxy's numbers"),
        (backend(Server(name="s", host="a b")), "neither an address nor a host name"),
        (backend(Server(name="s", host="*")), "not an address that a file can have"),
        (backend(checked("s"), checked("t", 1, 2)), "one number of ports"),
        (backend(checked("s", 1, 2), checked("t", 3, 4)), "differ in more than one port"),
        (backend(checked("s", timeout=1.0), checked("t")), "one timeout"),
        (
            backend(greeted("s", is_sent=True), greeted("t", is_sent=False)),
            "its checks start with a PROXY header, or not, all alike",
        ),
    ],
)
def test_a_backend_that_the_language_cannot_say_is_refused(made: Backend, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        write(Config(backends=(made,)))


@pytest.mark.parametrize(
    "bind", [Bind(port=0), Bind(host="*", port=1), Bind(host="a", port=1, name="\0")]
)
def test_a_bind_that_haproxy_does_not_have_is_refused(bind: Bind) -> None:
    frontend = Frontend(name="f", binds=(bind,), backend="be")
    with pytest.raises(ConfigError):
        write(Config(frontends=(frontend,), backends=(backend(),)))
