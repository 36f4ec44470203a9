"""From a Config to the text of a haproxy.cfg that HAProxy 2.6 accepts and that reads back. No I/O.

    said by                                     written in
    all frontends, or all backends, alike       defaults
    a frontend and a backend of its name        listen, where their order and their words allow it
    all servers of a backend alike              default-server
    the rest                                    its own section or server line

All sections start from the one ``defaults``, so a line stands there only if every section that it
applies to would have it.

Durations are written to the microsecond, the smallest unit of the language. Where a server has a
``hash-key``, a ``guid`` or an ``init-state`` of its own, the file needs a later HAProxy.

Source: HAProxy 2.6 configuration manual, 4 and 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from dsbalance.errors import ConfigError
from dsbalance.haproxy.http_writer import backend_lines, frontend_lines
from dsbalance.haproxy.lexer import (
    MAX_INTEGER,
    MAX_SIZE,
    Address,
    format_size,
    format_time,
    parse_address,
    quote,
)
from dsbalance.haproxy.stats_writer import (
    are_one_log,
    backend_log_lines,
    frontend_log_lines,
    log_lines,
    process_lines,
)
from dsbalance.log_options import BackendLog, FrontendLog
from dsbalance.model import (
    Backend,
    Balance,
    Bind,
    Check,
    Config,
    Frontend,
    HashKey,
    HashType,
    InitState,
    Keepalive,
    Observe,
    OnError,
    Server,
    SrvKey,
    Table,
)

# What the comment holds that names a policy: no spaces, and the shape that reading asks for.
_POLICY = re.compile(r"[\w.]+:[\w.]+")
# What `balance random` alone says.
_DRAWS = 2


def write(config: Config) -> str:
    """Return the text of a file that says what ``config`` says.

    HAProxy resolves names while it reads, and refuses a file whose names do not resolve.

    Raises:
        ConfigError: The language cannot say it: a policy that is an object, a bind on port 0, an
            address of another kind, checks of one backend that differ in how many ports they try
            or in their timeout, a number beyond HAProxy's.
    """
    is_all_http = all(f.http for f in config.frontends) and all(b.http for b in config.backends)
    shared = [
        "mode http" if is_all_http else "mode tcp",
        *_shared_log([log_lines(log, config) for log in _logs(config)]),
        *_common([_client_lines(frontend) for frontend in config.frontends]),
        *_common([_server_side_lines(backend) for backend in config.backends]),
    ]
    sections = [
        _section(config, frontend, backend, shared) for frontend, backend in _paired(config)
    ]
    process = [
        *_number("maxconn", config.maxconn),
        *_time("hard-stop-after", config.hard_stop_after),
        *process_lines(config),
    ]
    if process:
        sections.insert(0, ["global", *process])
    if config.frontends or config.backends:
        sections.insert(bool(process), ["defaults", *shared])
    return "\n".join(
        "".join(f"{'    ' if number else ''}{line}\n" for number, line in enumerate(section))
        for section in sections
    )


def _common(sections: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines that all sections have, in the order of the first one."""
    first = sections[0] if sections else ()
    return [line for line in first if all(line in section for section in sections)]


def _logs(config: Config) -> Iterator[FrontendLog | BackendLog | None]:
    yield from (frontend.log for frontend in config.frontends)
    yield from (backend.log for backend in config.backends)


def _shared_log(logs: Sequence[list[str]]) -> list[str]:
    """Return the lines of a log that is that of all sections: what one says, it says of more."""
    return logs[0] if logs and all(log == logs[0] for log in logs) else []


def _paired(config: Config) -> Iterator[tuple[Frontend | None, Backend | None]]:
    """Yield the sections in an order that gives frontends and backends theirs.

    A frontend and the backend of its name are one section unless a section before it has used a
    later backend, or they say something that a ``listen`` cannot.
    """
    backends = config.backends
    index = {backend.name: number for number, backend in enumerate(backends)}
    used = 0
    for frontend in config.frontends:
        own = index.get(frontend.name, -1) if frontend.backend == frontend.name else -1
        if own < used or not _is_one(frontend, backends[own], config.frontends):
            yield frontend, None
            continue
        for backend in backends[used:own]:
            yield None, backend
        yield frontend, backends[own]
        used = own + 1
    for backend in backends[used:]:
        yield None, backend


def _is_one(frontend: Frontend, backend: Backend, frontends: Iterable[Frontend]) -> bool:
    """Return whether a ``listen`` can say both.

    It has one table, one log, one id and one description, says once what it does with heads, and is
    no backend for itself. Its rules are run once, by its frontend; if it has any, nobody else may
    send clients to its backend.
    """
    names = {route.backend for route in frontend.routes}
    if frontend.table is not None or backend.name in names:
        return False
    told = (frontend.id, frontend.description) == (backend.id, backend.description)
    if not told or not are_one_log(frontend, backend):
        return False
    if frontend.http is None:
        return True
    rules = frontend.http.request_rules or frontend.http.response_rules or frontend.http.metrics
    bare = replace(frontend.http, request_rules=(), response_rules=(), metrics=())
    if replace(bare, monitor_uri=None, stats=None) != backend.http:
        return False
    others = (other for other in frontends if other is not frontend)
    return not rules or not any(backend.name in other.ways for other in others)


def _section(
    config: Config, frontend: Frontend | None, backend: Backend | None, shared: Sequence[str]
) -> list[str]:
    """Return the lines of one section, the first one its name."""
    header = ""
    side = frontend or backend
    assert side
    lines = [*_flag("mode http", side.http is not None and "mode http" not in shared)]
    lines += _number("id", side.id)
    lines += [f"description {quote(side.description)}"] if side.description else []
    lines += (line for line in log_lines(side.log, config) if line not in shared)
    if frontend:
        header = f"frontend {frontend.name}"
        lines += map(_bind_line, frontend.binds)
        lines += _number("maxconn", frontend.maxconn)
        lines += (line for line in _client_lines(frontend) if line not in shared)
        if frontend.table:
            lines.append(_table_line(frontend.table, header))
        lines += frontend_lines(frontend)
        if not backend and frontend.backend is not None:
            lines.append(f"default_backend {frontend.backend}")
    if backend:
        header = f"{'listen' if frontend else 'backend'} {backend.name}"
        lines += (line for line in _server_side_lines(backend) if line not in shared)
        lines += [] if frontend else backend_lines(backend)
        lines += _choice_lines(backend)
        lines += _server_lines(backend)
    return [header, *lines]


def _client_lines(frontend: Frontend) -> list[str]:
    """Return the lines of a frontend that may stand in ``defaults``."""
    return [
        *_time("timeout client", frontend.timeout_client),
        *_time("timeout client-fin", frontend.timeout_client_fin),
        *_keepalive("clitcpka", frontend.keepalive),
        *frontend_log_lines(frontend),
    ]


def _server_side_lines(backend: Backend) -> list[str]:
    """Return the lines of a backend that may stand in ``defaults``."""
    redispatch = []
    if backend.redispatch:
        # HAProxy's own default of the option is the last retry alone.
        interval = "" if backend.redispatch == -1 else f" {_integer(backend.redispatch)}"
        redispatch.append(f"option redispatch{interval}")
    return [
        *_time("timeout connect", backend.timeout_connect),
        *_time("timeout server", backend.timeout_server),
        *_time("timeout server-fin", backend.timeout_server_fin),
        *_time("timeout tunnel", backend.timeout_tunnel),
        *_time("timeout queue", backend.timeout_queue),
        *_keepalive("srvtcpka", backend.keepalive),
        f"retries {_integer(backend.retries)}",
        *redispatch,
        *_flag("option persist", backend.persist),
        *_number("fullconn", backend.fullconn),
        *backend_log_lines(backend),
    ]


def _choice_lines(backend: Backend) -> Iterator[str]:
    """Yield what chooses a server and what remembers it."""
    draws = "" if backend.random_draws == _DRAWS else f"({backend.random_draws})"
    yield f"balance {backend.balance}{draws if backend.balance is Balance.RANDOM else ''}"
    if backend.hash_type != HashType():
        yield f"hash-type {backend.hash_type.kind}{_function(backend.hash_type)}"
    if backend.hash_balance_factor:
        yield f"hash-balance-factor {backend.hash_balance_factor}"
    if backend.bounded_clients is not None:
        yield f"# dsbalance: bounded-clients {backend.bounded_clients}"
    if backend.policy is not None:
        if not isinstance(backend.policy, str) or not _POLICY.fullmatch(backend.policy):
            raise ConfigError(
                f"backend {backend.name}: a policy is written as PACKAGE.MODULE:NAME, "
                f"{backend.policy!r} cannot be"
            )
        yield f"# dsbalance: policy {backend.policy}"
    yield from _flag("option allbackups", backend.allbackups)
    if backend.table:
        yield _table_line(backend.table, f"backend {backend.name}")
    for rule in backend.stick:
        table = "" if rule.table is None else f" table {rule.table}"
        yield f"stick {rule.action} src{table}"


def _function(hash_type: HashType) -> str:
    """Return what stands after the kind: only with a function can the avalanche be said."""
    return {None: "", False: " sdbm", True: " sdbm avalanche"}[hash_type.avalanche]


def _table_line(table: Table, owner: str) -> str:
    if table.size > MAX_SIZE:
        raise ConfigError(f"{owner}: a table has at most {MAX_SIZE} entries")
    expire = "" if table.expire is None else f" expire {format_time(table.expire)}"
    nopurge = " nopurge" if table.nopurge else ""
    srvkey = "" if table.srvkey is SrvKey.NAME else f" srvkey {table.srvkey}"
    size = format_size(table.size)
    counters = ["conn_cur"] if table.stores_conn_cur else []
    if table.conn_rate_period is not None:
        counters.append(f"conn_rate({format_time(table.conn_rate_period)})")
    store = f" store {','.join(counters)}" if counters else ""
    return f"stick-table type {table.type} size {size}{expire}{nopurge}{srvkey}{store}"


def _server_lines(backend: Backend) -> Iterator[str]:
    """Yield the check rules and the servers."""
    checks = [server.check for server in backend.servers if server.check]
    if len({check.timeout for check in checks}) > 1:
        raise ConfigError(f"backend {backend.name}: its checks have one timeout, not several")
    for check in checks[:1]:
        yield from _time("timeout check", check.timeout)
    rules = _rules(backend)
    if rules:
        yield "option tcp-check"
        word = _rules_word(backend)
    for port in rules:
        yield "tcp-check connect" + ("" if port is None else f" port {port}") + word
    words = [list(_words(server, rules)) for server in backend.servers]
    checked = [w for w, server in zip(words, backend.servers, strict=True) if server.check]
    shared = [*_shared(checked, _OF_CHECKS), *_shared(words, _OF_SERVERS)]
    if shared:
        yield " ".join(("default-server", *shared))
    for server, own in zip(backend.servers, words, strict=True):
        own_words = (word for word in own if word not in shared)
        yield " ".join(("server", server.name, _server_address(server), *own_words))


# What may stand in `default-server`, if all servers that are checked have it, or all servers. The
# other words say what one server is, and are looked for on its line.
_OF_CHECKS = (
    *("port ", "addr ", "inter ", "fastinter ", "downinter ", "fall ", "rise "),
    *("observe ", "error-limit ", "on-error ", "init-state "),
)
_OF_SERVERS = (
    *("weight ", "slowstart ", "minconn ", "maxconn ", "maxqueue "),
    *("on-marked-down ", "on-marked-up ", "hash-key "),
    *("send-proxy", "check-send-proxy"),
)


def _shared(servers: Sequence[Sequence[str]], prefixes: tuple[str, ...]) -> list[str]:
    if len(servers) < 2:
        return []
    return [word for word in _common(servers) if word.startswith(prefixes)]


def _rules(backend: Backend) -> list[int | None]:
    """Return the port of each ``tcp-check connect``; None: the ``port`` of the server, or its own.

    Nothing when the words of the servers alone can say it.
    """
    checks = [server.check for server in backend.servers if server.check]
    lengths = {len(check.ports) for check in checks}
    if lengths <= {0, 1}:
        if any(map(_is_silent, backend.servers)):
            return [None]
        said = {(s.check.ports, s.check_send_proxy) for s in backend.servers if s.check}
        return list(checks[0].ports) if len(said) == 1 else []
    if len(lengths) > 1:
        message = "its checks try one number of ports, not several"
        raise ConfigError(f"backend {backend.name}: {message}")
    rules = [
        ports[0] if len(set(ports)) == 1 else None
        for ports in zip(*(check.ports for check in checks), strict=True)
    ]
    if any(len(_own_ports(check, rules)) > 1 for check in checks):
        raise ConfigError(f"backend {backend.name}: its checks differ in more than one port")
    return rules


def _is_silent(server: Server) -> bool:
    """Return whether connections start with a header and checks at the same place do not.

    Only a rule can say that.
    """
    check = server.check
    if check is None or server.send_proxy is None or server.check_send_proxy:
        return False
    return not check.ports and check.host is None


def _rules_word(backend: Backend) -> str:
    """Return what ends each rule: all checks of a backend start with a header, or none does."""
    said = {server.check_send_proxy for server in backend.servers if server.check}
    if len(said) > 1:
        message = "its checks start with a PROXY header, or not, all alike"
        raise ConfigError(f"backend {backend.name}: {message}")
    return " send-proxy" if True in said else ""


def _own_ports(check: Check, rules: Sequence[int | None]) -> set[int]:
    """Return the ports that the server has to name because no rule does."""
    if len(rules) != len(check.ports):
        return set(check.ports)
    return {port for port, rule in zip(check.ports, rules, strict=True) if rule is None}


def _words(server: Server, rules: Sequence[int | None]) -> Iterator[str]:
    """Yield what stands after the address, a word with its argument at a time."""
    if server.check:
        yield "check"
        yield from (f"port {port}" for port in _own_ports(server.check, rules))
        yield from _check_words(server.check)
    if server.observe:
        yield from _observe_words(server.observe)
    if server.init_state is not InitState.UP:
        yield f"init-state {server.init_state}"
    if server.track is not None:
        yield f"track {server.track}"
    if server.weight != 1:
        yield f"weight {server.weight}"
    yield from _time("slowstart", server.slowstart)
    yield from _number("minconn", server.minconn)
    yield from _number("maxconn", server.maxconn)
    yield from _number("maxqueue", server.maxqueue)
    yield from _flag("backup", server.backup)
    yield from _flag("non-stick", server.non_stick)
    yield from _number("id", server.id)
    yield from _flag("disabled", server.disabled)
    yield from _flag("on-marked-down shutdown-sessions", server.shutdown_on_down)
    yield from _flag("on-marked-up shutdown-backup-sessions", server.shutdown_backups_on_up)
    if server.send_proxy is not None:
        yield server.send_proxy
    yield from _flag("check-send-proxy", server.check_send_proxy and not rules)
    if server.hash_key is not HashKey.ID:
        yield f"hash-key {server.hash_key}"
    if server.guid is not None:
        yield f"guid {server.guid}"


def _check_words(check: Check) -> Iterator[str]:
    if check.host is not None:
        yield f"addr {_address(check.host)}"
    yield from _time("inter", check.interval)
    yield from _time("fastinter", check.fast_interval)
    yield from _time("downinter", check.down_interval)
    yield from _number("fall", check.fall)
    yield from _number("rise", check.rise)


def _observe_words(observe: Observe) -> Iterator[str]:
    yield "observe layer4"
    if observe.error_limit != Observe().error_limit:
        yield f"error-limit {observe.error_limit}"
    if observe.on_error is not OnError.FAIL_CHECK:
        yield f"on-error {observe.on_error}"


def _server_address(server: Server) -> str:
    return _address(server.host, server.port)


def _address(host: str, port: int | None = None) -> str:
    """Return an address that reads back as it is."""
    text = f"[{host}]" if ":" in host else host
    if port is not None:
        text += f":{port}"
    if parse_address(text) != Address(host, port):
        raise ConfigError(f"{host!r} is not an address that a file can have")
    return text


def _bind_line(bind: Bind) -> str:
    if parse_address(str(bind)) != Address(bind.host, bind.port, bind.last_port) or not bind.port:
        raise ConfigError(f"bind {bind}: HAProxy cannot listen there")
    words = ["bind", str(bind)]
    if bind.name:
        words += ["name", quote(bind.name)]
    words += _number("id", bind.id)
    if bind.v6only is not None:
        words.append("v6only" if bind.v6only else "v4v6")
    words += _flag("accept-proxy", bind.accept_proxy)
    return " ".join(words)


def _keepalive(word: str, keepalive: Keepalive | None) -> Iterator[str]:
    if keepalive:
        yield f"option {word}"
        for end, seconds in (("idle", keepalive.idle), ("intvl", keepalive.interval)):
            if seconds is not None:
                yield f"{word}-{end} {seconds}s"
        yield from _number(f"{word}-cnt", keepalive.count)


def _time(word: str, seconds: float | None) -> Iterable[str]:
    return () if seconds is None else (f"{word} {format_time(seconds)}",)


def _flag(word: str, is_said: bool) -> Iterable[str]:
    return (word,) if is_said else ()


def _number(word: str, number: int | None) -> Iterable[str]:
    return () if number is None else (f"{word} {_integer(number)}",)


def _integer(number: int) -> int:
    if abs(number) > MAX_INTEGER:
        raise ConfigError(f"{number} is beyond HAProxy's numbers, which end at {MAX_INTEGER}")
    return number
