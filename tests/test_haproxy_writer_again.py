"""Whatever a configuration says, it reads back as it was written, and HAProxy takes it."""

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
from dsbalance.log_options import LogTarget
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
def frontends(
    draw: Draw, name: str, backends: list[Backend], logs: list[LogTarget], is_new: bool
) -> Frontend:
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
            ruled = replace(rules, request_rules=http.request_rules, stats=http.stats)
            http = draw(st.sampled_from([rules, ruled]))
    is_alone = http is not None and (http.stats or http.metrics or http.monitor_uri)
    log = draw(st.none() | drafts.frontend_logs(logs, is_http=http is not None))
    if log and target.log and draw(st.booleans()):
        log = replace(log, targets=target.log.targets, tag=target.log.tag)
    alike = [b.name for b in backends if (b.http is None) is (http is None)]
    return Frontend(
        name=name,
        binds=tuple(draw(st.lists(binds(), min_size=1, max_size=2))),
        backend=None if is_alone and draw(st.booleans()) else target.name,
        maxconn=draw(st.none() | counts),
        description=draw(st.just(target.description) | drafts.words),
        log=log,
        counts_listeners=draw(st.booleans()),
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
        description=draw(st.just("") | drafts.words),
        **draw(
            st.sampled_from([{}, {"loads_state": True}])
            | drafts.words.map(lambda path: {"state_file": path})
        ),
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
    logs = draw(st.lists(drafts.log_targets(), max_size=2))
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
        log = draw(st.none() | drafts.backend_logs(logs))
        said = replace(backend, http=http, stick=tuple(stick), servers=tuple(own), log=log)
        made[number] = bounded(said, draw)
    # Half of the frontends have the name of a backend, not always in the same order.
    candidates = [backend.name for backend in draw(st.permutations(made))]
    candidates += draw(st.lists(names, max_size=2)) if made else []
    chosen = draw(st.lists(st.sampled_from(candidates), unique=True)) if candidates else []
    config = Config(
        frontends=tuple(draw(frontends(name, made, logs, is_new)) for name in chosen),
        backends=tuple(made),
        maxconn=draw(st.none() | counts),
        hard_stop_after=draw(st.none() | durations),
        logs=tuple(logs),
        log_tag=draw(st.just("haproxy") | drafts.words),
        log_hostname=draw(st.none() | st.just("") | drafts.words),
        node=draw(st.none() | drafts.nodes),
        description=draw(st.just("") | drafts.words),
        sockets=tuple(draw(drafts.sockets())),
        timeout_stats=draw(st.just(10.0) | durations),
        maxconn_stats=draw(st.just(10) | counts),
        state_file=draw(st.just("/state") | drafts.words),
    )
    return numbered(draw, config) if draw(st.booleans()) else config


def numbered(draw: Draw, config: Config) -> Config:
    """Return ``config`` with an id of its own for each section that it is written as."""
    listens = {line.split()[1] for line in write(config).splitlines() if line[:7] == "listen "}
    sections = [("f", frontend.name) for frontend in config.frontends]
    sections += (("b", b.name) for b in config.backends if b.name not in listens)
    size = len(sections)
    ids = dict(zip(sections, draw(st.lists(counts, unique=True, min_size=size)), strict=False))
    return replace(
        config,
        frontends=tuple(replace(f, id=ids["f", f.name]) for f in config.frontends),
        backends=tuple(
            replace(b, id=ids["f" if b.name in listens else "b", b.name]) for b in config.backends
        ),
    )


@given(configs())
@example(Config())
@example(Config(maxconn=5))
def test_what_is_written_reads_back_as_it_was(config: Config) -> None:
    text = write(config)
    reading = read([("x.cfg", text)])
    found = reading.config
    sides: list[Frontend | Backend] = [*config.frontends, *config.backends]
    if not any(side.id for side in sides):
        found = drafts.unnumbered(found)
    assert found == config
    # A line that HAProxy would cut, or a word that nothing needs, would be said here.
    usual = ("waits without limit", "has no effect without a consistent hash", "other machines")
    assert [n.message for n in reading.notices if not any(map(n.message.count, usual))] == []
    assert write(found) == text


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
