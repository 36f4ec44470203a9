"""The words of defaults, frontend, listen and backend sections that are used. No I/O.

Those of ``mode http`` are in ``http_words``, those that say who may come in, and who goes where, in
``access_words``, those of logs and statistics in ``log_words`` and ``stats_words``. Each changes
the draft of its section.

Source: HAProxy 2.6 configuration manual, 4.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import ACCESS_WORDS, Counters
from dsbalance.haproxy.http_words import HTTP_WORDS
from dsbalance.haproxy.idle_words import IDLE_PROXY_WORDS
from dsbalance.haproxy.keywords import Keyword
from dsbalance.haproxy.lexer import (
    MAX_INTEGER,
    parse_choice,
    parse_integer,
    parse_size,
    parse_time,
    quoted,
)
from dsbalance.haproxy.log_words import LOG_WORDS
from dsbalance.haproxy.sections import DRAWS, Named, PlacedRule, Section
from dsbalance.haproxy.server_words import read_binds, read_default_server, read_server
from dsbalance.haproxy.statement import Arguments
from dsbalance.haproxy.stats_words import STATS_WORDS
from dsbalance.model import (
    MAX_DRAWS,
    MAX_PERCENT,
    Balance,
    HashKind,
    HashType,
    SrvKey,
    StickAction,
    StickRule,
    Table,
    TableType,
)

# The functions that `hash-type` may name. None of them is used for `balance source`.
HASH_FUNCTIONS = ("sdbm", "djb2", "wt6", "crc32")

# `random(N)`; N may be left out, observed on HAProxy 2.6.12.
_RANDOM = re.compile(r"random\((.*)\)")

# A check makes its connects one after the other, for each server. HAProxy sets no limit.
MAX_CHECKS = 64


def _balance(section: Section, args: Arguments) -> None:
    word = args.only(f"one of {', '.join(Balance)}")
    draws = DRAWS
    if match := _RANDOM.fullmatch(word):
        word = Balance.RANDOM
        draws = parse_integer(match[1], 1, MAX_DRAWS) if match[1] else DRAWS
    section.settings.balance = parse_choice(word, Balance)
    section.settings.random_draws = draws


def _bind(section: Section, args: Arguments) -> None:
    binds = read_binds(args)
    section.binds += binds
    section.bind_places += [args.place] * len(binds)


def _default_backend(section: Section, args: Arguments) -> None:
    section.settings.default_backend = Named(args.only("the name of a backend"), args.place)


def _default_server(section: Section, args: Arguments) -> None:
    section.settings.default_server = read_default_server(args, section.settings.default_server)


def _hash_balance_factor(section: Section, args: Arguments) -> None:
    factor = parse_integer(args.only("a percentage above 100, or 0"), 0, MAX_PERCENT)
    if 0 < factor <= 100:
        raise ConfigError(f"expects a percentage above 100, or 0, not '{factor}'")
    section.settings.hash_balance_factor = factor


def _hash_type(section: Section, args: Arguments) -> None:
    kind = parse_choice(args.take(" or ".join(HashKind)), HashKind)
    avalanche = None
    if args:
        function = args.take("a function")
        if function not in HASH_FUNCTIONS:
            raise ConfigError(f"expects one of {', '.join(HASH_FUNCTIONS)}, not {quoted(function)}")
        avalanche = bool(args)
        if args and (modifier := args.take("a modifier")) != "avalanche":
            raise ConfigError(f"expects avalanche or nothing, not {quoted(modifier)}")
    args.end()
    section.settings.hash_type = HashType(kind=kind, avalanche=avalanche)


def _maxconn(section: Section, args: Arguments) -> None:
    section.settings.maxconn = parse_integer(args.only("a number of sessions")) or None


def _mode(section: Section, args: Arguments) -> None:
    if (word := args.only("tcp or http")) not in {"tcp", "http"}:
        raise ConfigError(f"expects tcp or http, not {quoted(word)}")
    section.own_http().is_on = word == "http"


def _redispatch(section: Section, args: Arguments) -> None:
    interval = 0 if args.is_negated else -1
    if args and not args.is_negated:
        # 0 is on, but no retry goes elsewhere for its number's sake.
        interval = parse_integer(args.take("an interval"), -MAX_INTEGER) or MAX_INTEGER
    args.end()
    section.settings.redispatch = interval


def _retries(section: Section, args: Arguments) -> None:
    section.settings.retries = parse_integer(args.only("a number of retries"))


def _server(section: Section, args: Arguments) -> None:
    line = read_server(args, section.settings.default_server)
    if line.name in section.servers:
        before = section.servers[line.name].place
        raise ConfigError(f"the name is taken by the server of {before.file}:{before.line}")
    section.servers[line.name] = line


def _stick(action: StickAction) -> Callable[[Section, Arguments], None]:
    def parse(section: Section, args: Arguments) -> None:
        if (pattern := args.take("src")) != "src":
            raise ConfigError(f"expects src, the client's address, not {quoted(pattern)}")
        table = None
        while args:
            word = args.take("table")
            if word in {"if", "unless"}:
                raise ConfigError(f"{word} is refused: this version sticks every client")
            if word != "table":
                raise ConfigError(f"expects table or nothing, not {quoted(word)}")
            table = args.take("the name of a backend")
        section.stick.append(PlacedRule(StickRule(action=action, table=table), args.place))

    return parse


def _stick_table(section: Section, args: Arguments) -> None:
    if section.table is not None:
        raise ConfigError("the section has a stick-table already")
    kind: TableType | None = None
    size = 0
    expire = None
    nopurge = False
    srvkey = SrvKey.NAME
    counters = Counters()
    while args:
        word = args.take("type")
        if word == "type":
            kind = parse_choice(args.take("ip or ipv6"), TableType)
        elif word == "size":
            size = parse_size(args.take("a size, such as 200k"))
        elif word == "expire":
            expire = parse_time(args.take("a time, such as 30m")) or None
        elif word == "nopurge":
            nopurge = True
        elif word == "srvkey":
            srvkey = parse_choice(args.take("name or addr"), SrvKey)
        elif word == "store":
            counters.read(args.take("conn_cur or conn_rate(PERIOD)"))
        else:
            raise ConfigError(_no_table_word(word))
    if kind is None or not size:
        raise ConfigError("expects type ip size N, such as 'type ip size 200k expire 30m'")
    section.table = Table(
        size=size,
        expire=expire,
        type=kind,
        nopurge=nopurge,
        srvkey=srvkey,
        stores_conn_cur=counters.stores_conn_cur,
        conn_rate_period=counters.conn_rate_period,
    )


def _no_table_word(word: str) -> str:
    if word == "peers":
        return f"{word} is refused: a table is not shared with another process"
    return f"expects type, size, expire, nopurge, srvkey or store, not {quoted(word)}"


def _tcp_check_connect(section: Section, args: Arguments) -> None:
    settings = section.settings
    port = None
    sends_proxy = False
    while args:
        word = args.take("port")
        if word == "port":
            port = parse_integer(args.take("a port"), 1, 65535)
        elif word == "send-proxy":
            sends_proxy = True
        elif word == "comment":
            args.take("a text")
        elif word in {"addr", "alpn", "default", "linger", "proto", "sni", "via-socks4"}:
            raise ConfigError(f"{word} is refused: HAProxy has it, this version does not")
        elif word == "ssl":
            raise ConfigError(f"{word} is refused: a check is a plain TCP connect")
        else:
            raise ConfigError(f"expects port N, send-proxy or nothing, not {quoted(word)}")
    if not section.has_own_checks:
        # The first rule of a section replaces what it inherited.
        section.has_own_checks = True
        settings.check_ports = ()
    if len(settings.check_ports) == MAX_CHECKS:
        raise ConfigError(f"a check makes at most {MAX_CHECKS} connects")
    if settings.check_ports and sends_proxy is not settings.checks_send_proxy:
        raise ConfigError("all connects of a check start with send-proxy, or none of them does")
    settings.check_ports += (port,)
    settings.checks_send_proxy = sends_proxy


def _tcpka(section: Section, args: Arguments) -> None:
    args.end()
    section.settings.has_client_keepalive = True
    section.settings.has_server_keepalive = True


def _switch(field: str, *, value: bool = True) -> Callable[[Section, Arguments], None]:
    """Return what reads a word without arguments, which ``no`` turns round."""

    def parse(section: Section, args: Arguments) -> None:
        args.end()
        setattr(section.settings, field, value is not args.is_negated)

    return parse


def _timeout(field: str) -> Callable[[Section, Arguments], None]:
    """Return what reads a time; 0 is no limit."""

    def parse(section: Section, args: Arguments) -> None:
        setattr(section.settings, field, parse_time(args.only("a time, such as 30s")) or None)

    return parse


def _whole_seconds(field: str) -> Callable[[Section, Arguments], None]:
    """Return what reads a time of whole seconds, as TCP keepalive has; 0 is the system's."""

    def parse(section: Section, args: Arguments) -> None:
        word = args.only("a time, such as 60s")
        seconds = parse_time(word, "s")
        if not seconds.is_integer():
            raise ConfigError(f"expects whole seconds, not {quoted(word)}")
        setattr(section.settings, field, int(seconds) or None)

    return parse


def _count(field: str) -> Callable[[Section, Arguments], None]:
    """Return what reads a number; 0 leaves it to what there is without the line."""

    def parse(section: Section, args: Arguments) -> None:
        setattr(section.settings, field, parse_integer(args.only("a number")) or None)

    return parse


PROXY_WORDS: Mapping[str, Keyword] = {
    **IDLE_PROXY_WORDS,
    **ACCESS_WORDS,
    **HTTP_WORDS,
    **LOG_WORDS,
    **STATS_WORDS,
    "balance": Keyword(sections="DLB", parse=_balance),
    "bind": Keyword(sections="FL", repeats=True, parse=_bind),
    "clitcpka-cnt": Keyword(sections="DFL", parse=_count("client_count")),
    "clitcpka-idle": Keyword(sections="DFL", parse=_whole_seconds("client_idle")),
    "clitcpka-intvl": Keyword(sections="DFL", parse=_whole_seconds("client_interval")),
    "default-server": Keyword(sections="DLB", repeats=True, parse=_default_server),
    "default_backend": Keyword(sections="DFL", parse=_default_backend),
    "disabled": Keyword(sections="DFLB", parse=_switch("is_disabled")),
    "enabled": Keyword(sections="DFLB", parse=_switch("is_disabled", value=False)),
    "fullconn": Keyword(sections="DLB", parse=_count("fullconn")),
    "hash-balance-factor": Keyword(sections="DLB", parse=_hash_balance_factor),
    "hash-type": Keyword(sections="DLB", parse=_hash_type),
    "maxconn": Keyword(sections="DFL", parse=_maxconn),
    "mode": Keyword(sections="DFLB", parse=_mode),
    "option allbackups": Keyword(sections="DLB", is_option=True, parse=_switch("allbackups")),
    "option clitcpka": Keyword(
        sections="DFL", is_option=True, parse=_switch("has_client_keepalive")
    ),
    "option persist": Keyword(sections="DLB", is_option=True, parse=_switch("persist")),
    "option redispatch": Keyword(sections="DLB", is_option=True, parse=_redispatch),
    "option srvtcpka": Keyword(
        sections="DLB", is_option=True, parse=_switch("has_server_keepalive")
    ),
    "option tcp-check": Keyword(sections="DLB", parse=_switch("has_tcp_check")),
    "option tcpka": Keyword(sections="DFLB", parse=_tcpka),
    "retries": Keyword(sections="DLB", parse=_retries),
    "server": Keyword(sections="LB", repeats=True, parse=_server),
    "srvtcpka-cnt": Keyword(sections="DLB", parse=_count("server_count")),
    "srvtcpka-idle": Keyword(sections="DLB", parse=_whole_seconds("server_idle")),
    "srvtcpka-intvl": Keyword(sections="DLB", parse=_whole_seconds("server_interval")),
    "stick match": Keyword(sections="LB", repeats=True, parse=_stick(StickAction.MATCH)),
    "stick on": Keyword(sections="LB", repeats=True, parse=_stick(StickAction.ON)),
    "stick store-request": Keyword(
        sections="LB", repeats=True, parse=_stick(StickAction.STORE_REQUEST)
    ),
    "stick-table": Keyword(sections="FLB", repeats=True, parse=_stick_table),
    "tcp-check connect": Keyword(sections="DLB", repeats=True, parse=_tcp_check_connect),
    "timeout check": Keyword(sections="DLB", parse=_timeout("timeout_check")),
    "timeout client": Keyword(sections="DFL", parse=_timeout("timeout_client")),
    "timeout client-fin": Keyword(sections="DFL", parse=_timeout("timeout_client_fin")),
    "timeout connect": Keyword(sections="DLB", parse=_timeout("timeout_connect")),
    "timeout queue": Keyword(sections="DLB", parse=_timeout("timeout_queue")),
    "timeout server": Keyword(sections="DLB", parse=_timeout("timeout_server")),
    "timeout server-fin": Keyword(sections="DLB", parse=_timeout("timeout_server_fin")),
    "timeout tunnel": Keyword(sections="DLB", parse=_timeout("timeout_tunnel")),
}
