"""The keywords of proxies: what each makes of a section, and what it refuses."""

from __future__ import annotations

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.lexer import MAX_INTEGER
from dsbalance.haproxy.proxy_words import MAX_CHECKS
from dsbalance.http_options import HttpOptions
from dsbalance.model import (
    Backend,
    Balance,
    Frontend,
    HashKind,
    HashType,
    Keepalive,
    Server,
    SrvKey,
    StickAction,
    StickRule,
    Table,
    TableType,
)

TABLE = "stick-table type ip size 5\n"


def problems(lines: str, kind: str = "listen") -> list[str]:
    """Return what is wrong with the lines of a section, without the places."""
    try:
        read([("x.cfg", f"{kind} a\n{lines}\n")])
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


def backend(lines: str) -> Backend:
    return read([("x.cfg", f"backend a\n{lines}\n")]).config.backends[0]


def frontend(lines: str) -> Frontend:
    return read([("x.cfg", f"listen a\nbind :1\n{lines}\n")]).config.frontends[0]


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("", "balance", Balance.ROUNDROBIN),
        ("balance source", "balance", Balance.SOURCE),
        ("balance leastconn", "balance", Balance.LEASTCONN),
        ("balance first", "balance", Balance.FIRST),
        ("balance static-rr", "balance", Balance.STATIC_RR),
        ("balance random", "balance", Balance.RANDOM),
        ("balance random(3)", "balance", Balance.RANDOM),
        ("", "random_draws", 2),
        ("balance random", "random_draws", 2),
        ("balance random()", "random_draws", 2),
        ("balance random(1)", "random_draws", 1),
        ("balance random(1000)", "random_draws", 1000),
        ("balance random(3)\nbalance random", "random_draws", 2),
        ("", "hash_balance_factor", 0),
        ("hash-balance-factor 101", "hash_balance_factor", 101),
        ("hash-balance-factor 65535", "hash_balance_factor", 65535),
        ("hash-balance-factor 150\nhash-balance-factor 0", "hash_balance_factor", 0),
        ("", "fullconn", None),
        ("fullconn 10000", "fullconn", 10000),
        ("fullconn 5\nfullconn 0", "fullconn", None),
        ("", "persist", False),
        ("option persist", "persist", True),
        ("option persist\nno option persist", "persist", False),
        ("hash-type consistent", "hash_type", HashType(kind=HashKind.CONSISTENT)),
        ("hash-type map-based", "hash_type", HashType()),
        ("hash-type map-based wt6", "hash_type", HashType(avalanche=False)),
        ("hash-type map-based sdbm avalanche", "hash_type", HashType(avalanche=True)),
        (
            "hash-type consistent sdbm",
            "hash_type",
            HashType(kind=HashKind.CONSISTENT, avalanche=False),
        ),
        ("", "retries", 3),
        ("retries 0", "retries", 0),
        ("", "redispatch", 0),
        ("option redispatch", "redispatch", -1),
        ("option redispatch 2", "redispatch", 2),
        ("option redispatch -3", "redispatch", -3),
        ("option redispatch 0", "redispatch", MAX_INTEGER),
        ("option redispatch 1\nno option redispatch", "redispatch", 0),
        ("option redispatch 1\ndefault option redispatch", "redispatch", 0),
        ("option allbackups", "allbackups", True),
        ("option allbackups\nno option allbackups", "allbackups", False),
        ("", "timeout_connect", None),
        ("timeout connect 3s", "timeout_connect", 3.0),
        ("timeout connect 3s\ntimeout connect 0", "timeout_connect", None),
        ("timeout server 1h", "timeout_server", 3600.0),
        ("timeout server-fin 500", "timeout_server_fin", 0.5),
        ("timeout tunnel 1d", "timeout_tunnel", 86400.0),
        ("timeout queue 1m", "timeout_queue", 60.0),
        ("", "keepalive", None),
        ("option srvtcpka", "keepalive", Keepalive()),
        ("option tcpka\nno option srvtcpka", "keepalive", None),
        ("option tcpka\nsrvtcpka-idle 60", "keepalive", Keepalive(idle=60)),
        (
            "option tcpka\nsrvtcpka-idle 1m\nsrvtcpka-intvl 10s\nsrvtcpka-cnt 6",
            "keepalive",
            Keepalive(idle=60, interval=10, count=6),
        ),
        ("option tcpka\nsrvtcpka-idle 0\nsrvtcpka-cnt 0", "keepalive", Keepalive()),
        (TABLE, "table", Table(size=5)),
        (
            "stick-table type ipv6 size 200k expire 30m nopurge srvkey name",
            "table",
            Table(size=204800, expire=1800.0, type=TableType.IPV6, nopurge=True),
        ),
        ("stick-table size 1 type ip expire 0", "table", Table(size=1)),
        ("stick-table type ip size 1 srvkey addr", "table", Table(size=1, srvkey=SrvKey.ADDR)),
        ("stick-table type ip size 1 srvkey addr srvkey name", "table", Table(size=1)),
        (
            "stick-table type ip size 1 store conn_cur store conn_rate(10s)",
            "table",
            Table(size=1, stores_conn_cur=True, conn_rate_period=10.0),
        ),
        (TABLE + "stick on src", "stick", (StickRule(),)),
        (
            TABLE + "stick match src table a\nstick store-request src",
            "stick",
            (
                StickRule(action=StickAction.MATCH, table="a"),
                StickRule(action=StickAction.STORE_REQUEST),
            ),
        ),
        (
            "server s h\ndefault-server weight 5\nserver t h",
            "servers",
            (Server(name="s", host="h"), Server(name="t", host="h", weight=5)),
        ),
        ("mode tcp", "http", None),
        ("mode http", "http", HttpOptions()),
        ("mode http\nmode tcp", "http", None),
        ("load-server-state-from-file none", "name", "a"),
    ],
)
def test_a_backend_is_what_its_lines_say(lines: str, field: str, value: object) -> None:
    assert getattr(backend(lines), field) == value


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("", "maxconn", None),
        ("maxconn 500", "maxconn", 500),
        ("maxconn 0", "maxconn", None),
        ("timeout client 1h", "timeout_client", 3600.0),
        ("timeout client-fin 5s", "timeout_client_fin", 5.0),
        ("", "backend", "a"),
        ("default_backend b\nbackend b", "backend", "b"),
        ("option clitcpka", "keepalive", Keepalive()),
        ("option clitcpka\nclitcpka-cnt 3", "keepalive", Keepalive(count=3)),
        ("option srvtcpka", "keepalive", None),
        ("", "http", None),
        ("mode http", "http", HttpOptions()),
    ],
)
def test_a_frontend_is_what_its_lines_say(lines: str, field: str, value: object) -> None:
    assert getattr(frontend(lines), field) == value


def test_binds_add_up_in_their_order() -> None:
    binds = frontend("bind :2-3\nbind :4,:5").binds
    assert [list(bind.ports) for bind in binds] == [[1], [2, 3], [4], [5]]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("balance", "balance: expects one of roundrobin, static-rr, leastconn, first, source"),
        ("balance uri", "balance: expects one of roundrobin, static-rr, leastconn, first, source"),
        ("balance RANDOM(3)", "first, source, random, not 'RANDOM(3)'"),
        ("balance randomly", "first, source, random, not 'randomly'"),
        ("balance random(3)x", "first, source, random, not 'random(3)x'"),
        ("balance random(3", "first, source, random, not 'random(3'"),
        ("balance random 3", "balance: unexpected word '3'"),
        ("balance random(0)", "balance: expects a whole number of 1 to 1000, not '0'"),
        ("balance random(1001)", "balance: expects a whole number of 1 to 1000, not '1001'"),
        ("balance random(x)", "balance: expects a whole number of 1 to 1000, not 'x'"),
        ("hash-balance-factor", "hash-balance-factor: expects a percentage above 100, or 0"),
        ("hash-balance-factor 50", "expects a percentage above 100, or 0, not '50'"),
        ("hash-balance-factor 100", "expects a percentage above 100, or 0, not '100'"),
        ("hash-balance-factor 65536", "expects a whole number of 0 to 65535, not '65536'"),
        ("hash-balance-factor 150x", "expects a whole number of 0 to 65535, not '150x'"),
        ("hash-balance-factor 150 160", "hash-balance-factor: unexpected word '160'"),
        ("fullconn", "fullconn: expects a number"),
        ("fullconn -1", "fullconn: expects a whole number of 0"),
        ("option persist x", "option persist: unexpected word 'x'"),
        ("force-persist if TRUE", "force-persist: refused: HAProxy has it, this version does not"),
        ("ignore-persist if TRUE", "ignore-persist: refused: HAProxy has it"),
        ("persist rdp-cookie", "persist: refused: HAProxy has it, this version does not"),
        ("balance source x", "balance: unexpected word 'x'"),
        ("hash-type", "hash-type: expects map-based or consistent"),
        ("hash-type foo", "hash-type: expects map-based or consistent, not 'foo'"),
        ("hash-type consistent avalanche", "hash-type: expects one of sdbm, djb2, wt6, crc32"),
        ("hash-type consistent sdbm x", "hash-type: expects avalanche or nothing, not 'x'"),
        ("hash-type consistent sdbm avalanche x", "hash-type: unexpected word 'x'"),
        ("retries x", "retries: expects a whole number"),
        ("retries -1", "retries: expects a whole number"),
        ("retries 3 4", "retries: unexpected word '4'"),
        ("option redispatch x", "option redispatch: expects a whole number"),
        ("option redispatch 1 2", "option redispatch: unexpected word '2'"),
        ("no option redispatch 1", "option redispatch: unexpected word '1'"),
        ("option allbackups x", "option allbackups: unexpected word 'x'"),
        ("option tcpka x", "option tcpka: unexpected word 'x'"),
        ("no option tcpka", "option tcpka: 'no' may not stand before it"),
        ("no retries 3", "retries: 'no' may not stand before it"),
        ("timeout connect", "timeout connect: expects a time, such as 30s"),
        ("timeout connect 1h30m", "timeout connect: a time is a whole number"),
        ("timeout connect 25d", "timeout connect: a time is at most"),
        ("timeout", "unknown keyword 'timeout' in a listen section"),
        ("timeout conect 5s", "did you mean 'timeout connect'?"),
        ("srvtcpka-idle 1500ms", "srvtcpka-idle: expects whole seconds, not '1500ms'"),
        ("srvtcpka-cnt 1s", "srvtcpka-cnt: expects a whole number"),
        ("mode", "mode: expects tcp or http"),
        ("mode health", "mode: expects tcp or http, not 'health'"),
        ("maxconn 5k", "maxconn: expects a whole number"),
        ("stick on dst", "stick on: expects src, the client's address, not 'dst'"),
        ("stick on", "stick on: expects src"),
        ("stick on src if TRUE", "stick on: if is refused: this version sticks every client"),
        ("stick on src table a unless x", "stick on: unless is refused"),
        ("stick on src foo", "stick on: expects table or nothing, not 'foo'"),
        ("stick on src table", "stick on: expects the name of a backend"),
        ("stick foo src", "unknown keyword 'stick foo' in a listen section"),
        ("stick-table", "stick-table: expects type ip size N"),
        ("stick-table type ip", "stick-table: expects type ip size N"),
        ("stick-table size 5", "stick-table: expects type ip size N"),
        ("stick-table type ip size 0", "stick-table: expects type ip size N"),
        ("stick-table type string size 5", "stick-table: expects ip or ipv6, not 'string'"),
        ("stick-table type ip size 5 store gpc0", "store: expects conn_cur or conn_rate(PERIOD)"),
        ("stick-table type ip size 5 store", "stick-table: expects conn_cur or conn_rate(PERIOD)"),
        ("stick-table type ip size 5 peers p", "stick-table: peers is refused"),
        ("stick-table type ip size 5 srvkey", "stick-table: expects name or addr"),
        ("stick-table type ip size 5 srvkey id", "stick-table: expects name or addr, not 'id'"),
        ("stick-table type ip size 5 foo", "stick-table: expects type, size, expire, nopurge, srv"),
        (TABLE + TABLE, "stick-table: the section has a stick-table already"),
        ("tcp-check connect port 0", "tcp-check connect: expects a whole number of 1 to 65535"),
        ("tcp-check connect linger", "tcp-check connect: linger is refused"),
        ("tcp-check connect ssl", "tcp-check connect: ssl is refused"),
        (
            "tcp-check connect\ntcp-check connect send-proxy",
            "all connects of a check start with send-proxy, or none of them does",
        ),
        ("tcp-check connect foo", "tcp-check connect: expects port N, send-proxy or nothing"),
        ("tcp-check connect comment", "tcp-check connect: expects a text"),
        ("tcp-check connect\n" * (MAX_CHECKS + 1), "tcp-check connect: a check makes at most"),
        ("server a 10.0.0.1\nserver a 10.0.0.2", "server a: the name is taken by the server of"),
        ("default_backend", "default_backend: expects the name of a backend"),
    ],
)
def test_a_wrong_line_is_refused_with_what_would_be_accepted(line: str, message: str) -> None:
    (found,) = problems(line)
    assert message in found


def test_a_frontend_owns_a_table_and_a_listen_has_that_of_its_backend() -> None:
    text = f"frontend f\nbind :1\ndefault_backend b\n{TABLE}listen b\nbind :2\n{TABLE}"
    config = read([("x.cfg", text)]).config
    assert [frontend.table for frontend in config.frontends] == [Table(size=5), None]
    assert [backend.table for backend in config.backends] == [Table(size=5)]


def test_the_first_check_of_a_section_replaces_those_of_its_defaults() -> None:
    text = """
defaults
    option tcp-check
    tcp-check connect port 1
    tcp-check connect port 2
backend inherits
    server s 10.0.0.1 check
backend replaces
    tcp-check connect port 3 comment "three"
    tcp-check connect port 4
    server s 10.0.0.1 check
"""
    inherits, replaces = read([("x.cfg", text)]).config.backends
    assert inherits.servers[0].check
    assert inherits.servers[0].check.ports == (1, 2)
    assert replaces.servers[0].check
    assert replaces.servers[0].check.ports == (3, 4)


def test_checks_may_start_with_a_proxy_header() -> None:
    text = """
defaults
    option tcp-check
    tcp-check connect send-proxy
backend inherits
    server s 10.0.0.1:9 check
backend replaces
    tcp-check connect port 3
    server s 10.0.0.1 check
"""
    inherits, replaces = read([("x.cfg", text)]).config.backends
    assert inherits.servers[0].check_send_proxy
    assert not replaces.servers[0].check_send_proxy


def test_checks_pass_on_only_together_with_their_option() -> None:
    text = """
defaults
    tcp-check connect port 1
backend a
    option tcp-check
    server s 10.0.0.1:9 check
"""
    reading = read([("x.cfg", text)])
    check = reading.config.backends[0].servers[0].check
    assert check
    assert check.ports == ()
    assert "no effect without 'option tcp-check'" in reading.notices[0].message


def test_a_line_given_twice_is_noticed_and_the_last_one_counts() -> None:
    text = "backend a\nretries 1\nretries 2\nserver s h\nserver t h\n"
    reading = read([("x.cfg", text)])
    assert reading.config.backends[0].retries == 2
    found = [str(n) for n in reading.notices if "given before" in n.message]
    assert found == ["x.cfg:3: retries: given before, the last one counts"]
