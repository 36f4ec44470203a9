"""What is written reads back as it was, and HAProxy takes it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import drafts
from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.lexer import MAX_INTEGER, MAX_SIZE
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
    Keepalive,
    Observe,
    OnError,
    SendProxy,
    Server,
    SrvKey,
    StickAction,
    StickRule,
    Table,
    TableType,
)

HAPROXY = shutil.which("haproxy")
# Each example starts a process.
FEW = min((settings.default.max_examples if settings.default else 50) // 2, 300)
Draw = Callable[[st.SearchStrategy[Any]], Any]

names = st.from_regex(r"[A-Za-z0-9_.:-]{1,8}", fullmatch=True)
ports = st.integers(1, 65535)
counts = st.integers(1, 1000) | st.just(MAX_INTEGER)
addresses = st.ip_addresses().map(str)
# As exact as the language is: microseconds, and up to HAProxy's longest timer.
durations = st.builds(
    lambda number, unit: number * unit / 1_000_000,
    st.integers(1, 1_000),
    st.sampled_from([1, 1_000, 1_000_000, 60_000_000]),
) | st.just((2**31 - 1) / 1000)
observed = st.builds(Observe, error_limit=st.just(10) | counts, on_error=st.sampled_from(OnError))
percentages = st.integers(101, 65535)
keepalives = st.builds(
    Keepalive,
    idle=st.none() | st.integers(1, 32767),
    count=st.none() | st.integers(1, 127),
)


@st.composite
def binds(draw: Draw) -> Bind:
    port = draw(ports)
    return Bind(
        host=draw(st.just("") | addresses),
        port=port,
        last_port=draw(st.none() | st.integers(port, min(port + 20, 65535))),
        name=draw(st.just("") | st.text(st.sampled_from(" \t\r\n\"'#\\${}abé"), max_size=5)),
        v6only=draw(st.none() | st.booleans()),
        accept_proxy=draw(st.booleans()),
    )


@st.composite
def frontends(draw: Draw, name: str, backends: list[Backend], is_new: bool) -> Frontend:
    own = [backend for backend in backends if backend.name == name]
    target = draw(st.sampled_from(own or backends))
    counting: list[str | None] = [
        each.name for each in backends if each.table and each.table.counts_connections
    ]
    table = None
    if not own or own[0].table is None:
        table = draw(st.none() | tables())
    if table is not None and table.counts_connections:
        counting += [name, None]
    terms = draw(drafts.terms([backend.name for backend in backends]))
    http = None
    if target.http is not None:
        http = draw(drafts.http_options(terms, paths(is_new), is_frontend=True))
        if draw(st.booleans()):
            # As a listen has it, but for the rules.
            rules = replace(target.http, request_rules=(), response_rules=())
            http = draw(st.sampled_from([rules, replace(rules, request_rules=http.request_rules)]))
    alike = [b.name for b in backends if (b.http is None) is (http is None)]
    return Frontend(
        name=name,
        binds=tuple(draw(st.lists(binds(), min_size=1, max_size=2))),
        backend=target.name,
        maxconn=draw(st.none() | counts),
        timeout_client=draw(st.none() | durations),
        timeout_client_fin=draw(st.none() | durations),
        keepalive=draw(st.none() | keepalives),
        http=http,
        door=tuple(draw(st.lists(drafts.doors(terms, counting), max_size=3))),
        routes=tuple(draw(st.lists(drafts.routes(terms, alike), max_size=2))),
        table=table,
    )


def paths(is_new: bool) -> st.SearchStrategy[str]:
    """Return paths of pages; HAProxy opens them."""
    return drafts.words if is_new else st.just("/dev/null")


def tables() -> st.SearchStrategy[Table]:
    return st.builds(
        Table,
        size=st.integers(1, MAX_SIZE) | st.sampled_from([1024, 204800]),
        expire=st.none() | durations,
        type=st.sampled_from(TableType),
        nopurge=st.booleans(),
        srvkey=st.sampled_from(SrvKey),
        stores_conn_cur=st.booleans(),
        conn_rate_period=st.none() | durations,
    )


@st.composite
def port_lists(draw: Draw, size: int) -> list[tuple[int, ...]]:
    """Draw the check ports of ``size`` servers, as one HAProxy backend can have them."""
    common = draw(st.lists(ports, max_size=3))
    if draw(st.booleans()):
        return [tuple(common)] * size
    if len(common) < 2:
        return [tuple(draw(st.lists(ports, max_size=1))) for _ in range(size)]
    # All alike but for one port, which may be asked more than once.
    own = draw(st.sets(st.integers(0, len(common) - 1), min_size=1))
    found = []
    for _ in range(size):
        port = draw(ports)
        found.append(tuple(port if n in own else p for n, p in enumerate(common)))
    return found


@st.composite
def servers(draw: Draw, name: str, check: Check, id_: int, is_new: bool, greets: bool) -> Server:
    """Draw a server, checked or not; one that is new has words that HAProxy 2.6 does not know."""
    is_checked = draw(st.booleans())
    maxconn = draw(st.none() | counts)
    return Server(
        name=name,
        host=draw(addresses),
        port=draw(ports) if not check.ports else draw(st.none() | ports),
        weight=draw(st.sampled_from([1, 1, 0, 5, 256])),
        backup=draw(st.booleans()),
        id=draw(st.sampled_from([None, id_])),
        disabled=draw(st.booleans()),
        check=check if is_checked else None,
        shutdown_on_down=draw(st.booleans()),
        maxconn=maxconn,
        non_stick=draw(st.booleans()),
        slowstart=draw(st.none() | durations),
        minconn=draw(st.none() | st.integers(1, maxconn)) if maxconn else None,
        maxqueue=draw(st.none() | counts),
        observe=draw(st.none() | observed) if is_checked else None,
        shutdown_backups_on_up=draw(st.booleans()),
        init_state=draw(st.sampled_from(InitState)) if is_checked and is_new else InitState.UP,
        hash_key=draw(st.sampled_from(HashKey)) if is_new else HashKey.ID,
        send_proxy=draw(st.none() | st.sampled_from(SendProxy)),
        check_send_proxy=is_checked and greets,
    )


@st.composite
def backends(draw: Draw, name: str, is_new: bool = True) -> Backend:
    server_names = draw(st.lists(names, unique=True, max_size=3))
    check_ports = draw(port_lists(len(server_names)))
    timeout = draw(st.none() | durations)
    ids = draw(st.lists(counts, unique=True, min_size=3, max_size=3))
    same = draw(st.booleans())
    greets = draw(st.booleans())
    check = Check(interval=draw(durations), rise=draw(counts))
    made = []
    for server_name, id_, port_list in zip(server_names, ids, check_ports, strict=False):
        if not same:
            check = Check(
                host=draw(st.none() | addresses),
                interval=draw(durations),
                fast_interval=draw(st.none() | durations),
                down_interval=draw(st.none() | durations),
                rise=draw(counts),
                fall=draw(counts),
            )
        own = replace(check, ports=port_list, timeout=timeout)
        made.append(draw(servers(server_name, own, id_, is_new, greets)))
    balance = draw(st.sampled_from(Balance))
    return Backend(
        name=name,
        servers=tuple(made),
        balance=balance,
        hash_type=HashType(
            kind=draw(st.sampled_from(HashKind)), avalanche=draw(st.none() | st.booleans())
        ),
        policy=draw(st.sampled_from([None, None, "dsbalance.policy:First"])),
        table=draw(st.none() | tables()),
        retries=draw(st.just(3) | counts),
        redispatch=draw(st.sampled_from([0, -1, 1, -MAX_INTEGER, 5])),
        allbackups=draw(st.booleans()),
        timeout_connect=draw(st.none() | durations),
        timeout_server=draw(st.none() | durations),
        timeout_server_fin=draw(st.none() | durations),
        timeout_tunnel=draw(st.none() | durations),
        timeout_queue=draw(st.none() | durations),
        keepalive=draw(st.none() | keepalives),
        random_draws=draw(st.integers(1, 1000)) if balance is Balance.RANDOM else 2,
        hash_balance_factor=draw(st.just(0) | percentages),
        fullconn=draw(st.none() | counts),
        persist=draw(st.booleans()),
    )


def bounded(backend: Backend, draw: Draw) -> Backend:
    """Return ``backend`` with a bound of clients, if it may have one."""
    percent = draw(st.none() | percentages)
    try:
        return replace(backend, bounded_clients=percent)
    except ConfigError:
        return backend


@st.composite
def configs(draw: Draw, is_new: bool = True) -> Config:
    """Draw a configuration whose names find what they name."""
    mode = draw(st.sampled_from(["tcp", "http", "mixed"]))
    made = [draw(backends(name, is_new)) for name in draw(st.lists(names, unique=True, max_size=3))]
    owning = [backend.name for backend in made if backend.table]
    checked = [f"{b.name}/{s.name}" for b in made for s in b.servers if s.check]
    for number, backend in enumerate(made):
        owners = [*owning, None] if backend.table else owning
        stick = [
            StickRule(
                action=draw(st.sampled_from(StickAction)), table=draw(st.sampled_from(owners))
            )
            for _ in range(draw(st.integers(0, 2)) if owners else 0)
        ]
        own = [
            replace(server, track=draw(st.none() | st.sampled_from(checked)))
            if checked and not server.check
            else server
            for server in backend.servers
        ]
        if is_new:
            own = [
                replace(server, guid=draw(st.sampled_from([None, f"{number}.{server.name}"])))
                for server in own
            ]
        http = None
        if mode == "http" or (mode == "mixed" and draw(st.booleans())):
            terms = draw(drafts.terms([each.name for each in made]))
            http = draw(drafts.http_options(terms, paths(is_new), is_frontend=False))
        said = replace(backend, http=http, stick=tuple(stick), servers=tuple(own))
        made[number] = bounded(said, draw)
    # Half of the frontends have the name of a backend, not always in the same order.
    candidates = [backend.name for backend in draw(st.permutations(made))]
    candidates += draw(st.lists(names, max_size=2)) if made else []
    chosen = draw(st.lists(st.sampled_from(candidates), unique=True)) if candidates else []
    return Config(
        frontends=tuple(draw(frontends(name, made, is_new)) for name in chosen),
        backends=tuple(made),
        maxconn=draw(st.none() | counts),
        hard_stop_after=draw(st.none() | durations),
    )


@given(configs())
@example(Config())
@example(Config(maxconn=5))
def test_what_is_written_reads_back_as_it_was(config: Config) -> None:
    text = write(config)
    reading = read([("x.cfg", text)])
    assert reading.config == config
    # A line that HAProxy would cut, or a word that nothing needs, would be said here.
    usual = ("waits without limit", "has no effect without a consistent hash")
    assert [n.message for n in reading.notices if not any(map(n.message.count, usual))] == []
    assert write(reading.config) == text


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@settings(max_examples=FEW)
@given(configs(is_new=False))
def test_haproxy_takes_what_is_written(config: Config) -> None:
    text = write(config)
    command = [HAPROXY or "", "-c", "-f", "/dev/stdin"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    # 2: it has no error and nothing to listen on.
    assert done.returncode == 0 or (done.returncode == 2 and not config.frontends), (
        f"{text}\n{done.stderr}"
    )


# --- the form ------------------------------------------------------------------------------------


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


def test_pairs_in_another_order_are_written_apart() -> None:
    bind = Bind(port=1)
    config = Config(
        frontends=tuple(Frontend(name=name, binds=(bind,), backend=name) for name in ("b", "a")),
        backends=(Backend(name="a"), Backend(name="b")),
    )
    headers = [line for line in write(config).splitlines() if line and line[0] != " "]
    assert headers == ["defaults", "backend a", "listen b", "frontend a"]
    assert read([("x", write(config))]).config == config


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
