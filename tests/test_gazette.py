"""What the log targets of a proxy at work get: sessions, requests, servers, sections."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from actors import OK, PATIENCE, Greeter, Stub, connect, get, greeted_by, server, until
from dsbalance import Backend, Bind, Check, Config, Frontend, Proxy, Server
from dsbalance.http_options import HttpOptions
from dsbalance.log_options import BackendLog, FrontendLog, LineFormat, LogFormat, LogTarget
from dsbalance.servers import Observe
from dsbalance.words import OnError


class Ear:
    """A syslogd over UDP."""

    def __init__(self) -> None:
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.settimeout(PATIENCE)
        host, port = self.sock.getsockname()
        self.targets = (LogTarget(address=f"{host}:{port}", format=LogFormat.SHORT),)

    def hear(self) -> str:
        """Return the next line, without its end."""
        return self.sock.recv(1 << 16).decode().rstrip("\n")

    def hear_until(self, pattern: str) -> list[str]:
        """Return the lines up to one that has ``pattern`` in it."""
        lines = [self.hear()]
        while not re.search(pattern, lines[-1]):
            lines.append(self.hear())
        return lines


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    with ear.sock:
        yield ear


def config(ear: Ear, *servers: Server, checks: bool = False, **words: Any) -> Config:
    """Return a frontend and a backend that both log to ``ear``."""
    http = words.pop("http", None)
    backend = {word: words.pop(word) for word in ("retries", "redispatch") if word in words}
    frontend = Frontend(
        name="front",
        binds=(Bind(host="127.0.0.1", port=0),),
        backend="back",
        http=http,
        log=FrontendLog(targets=ear.targets, **words),
    )
    log = BackendLog(targets=ear.targets, tells_checks=checks)
    options = None if http is None else HttpOptions()
    back = Backend(name="back", servers=servers, log=log, http=options, **backend)
    return Config(frontends=(frontend,), backends=(back,))


def door(proxy: Proxy) -> tuple[str, int]:
    return proxy.addresses("front")[0]


DATE = r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d{3}\]"


def test_a_session_is_told_of_when_it_ends(ear: Ear, greeters: list[Greeter]) -> None:
    with Proxy(config(ear, server(greeters[0]), line=LineFormat.TCPLOG)) as proxy:
        assert greeted_by(door(proxy)) == "a"
        line = ear.hear()
    pattern = rf"<6>127\.0\.0\.1:\d+ {DATE} front back/a \d+/\d+/\d+ 16 -- 1/1/0/0/0 0/0 roundrobin"
    assert re.fullmatch(pattern, line)


def test_others_that_are_there_are_counted(ear: Ear, greeters: list[Greeter]) -> None:
    with Proxy(config(ear, server(greeters[0]), line=LineFormat.TCPLOG)) as proxy:
        with connect(door(proxy)) as other:
            other.take(16)
            assert greeted_by(door(proxy)) == "a"
            assert " 2/2/1/1/0 0/0 " in ear.hear()


def test_a_frontend_without_an_option_tells_of_who_comes(ear: Ear, greeters: list[Greeter]) -> None:
    with Proxy(config(ear, server(greeters[0]))) as proxy, connect(door(proxy)) as client:
        host, port = client.sock.getsockname()
        line = ear.hear()
        assert line == f"<6>Connect from {host}:{port} to {host}:{door(proxy)[1]} (front/TCP)"


def test_a_frontend_in_http_mode_without_an_option_tells_of_each_request(ear: Ear) -> None:
    stub = Stub()
    configured = config(ear, Server(name="a", host=stub.host, port=stub.port), http=HttpOptions())
    with contextlib.closing(stub), Proxy(configured) as proxy, connect(door(proxy)) as client:
        client.say(get())
        with stub.accept() as peer:
            for _ in range(2):
                peer.take_head()
                peer.say(OK)
                client.hear_answer(200, b"ok")
                assert ear.hear().endswith(" (front/HTTP)")
                client.say(get())


@pytest.mark.parametrize("style", [LineFormat.HTTPLOG, LineFormat.TCPLOG])
def test_a_request_is_told_of_when_it_ends(ear: Ear, style: LineFormat) -> None:
    stub = Stub()
    configured = config(
        ear, Server(name="a", host=stub.host, port=stub.port), http=HttpOptions(), line=style
    )
    with contextlib.closing(stub), Proxy(configured) as proxy, connect(door(proxy)) as client:
        client.say(get("/x"))
        with stub.accept() as peer:
            peer.take_head()
            peer.say(OK)
            client.hear_answer(200, b"ok")
            line = ear.hear()
    size = len(OK)
    tail = {
        LineFormat.HTTPLOG: rf"(-?\d+/){{4}}\d+ 200 {size} - - ---- 1/1/0/0/0 0/0"
        r' \{\|roundrobin\} "GET /x HTTP/1\.1"',
        LineFormat.TCPLOG: rf"\d+/\d+/\d+ {size} -- 1/1/0/0/0 0/0 roundrobin",
    }
    assert re.fullmatch(rf"<6>127\.0\.0\.1:\d+ {DATE} front back/a {tail[style]}", line)


def test_a_client_that_said_nothing_is_left_out_if_asked_for(
    ear: Ear, greeters: list[Greeter]
) -> None:
    words: dict[str, Any] = {"line": LineFormat.TCPLOG, "skips_null": True}
    with Proxy(config(ear, server(greeters[0]), **words)) as proxy:
        assert greeted_by(door(proxy)) == "a"
        with connect(door(proxy)) as client:
            client.say(b"x").take(17)
        # The first one of two.
        assert " 17 -- " in ear.hear()


def test_a_client_that_no_server_heard_has_still_said_something(ear: Ear) -> None:
    stub = Stub()
    refusing = Server(name="a", host=stub.host, port=stub.port)
    stub.close()
    words: dict[str, Any] = {"line": LineFormat.TCPLOG, "skips_null": True, "retries": 1}
    with Proxy(config(ear, refusing, **words)) as proxy:
        with connect(door(proxy)) as silent, connect(door(proxy)) as client:
            client.say(b"x")
            silent.hear_end()
            client.hear_gone()
            port = client.sock.getsockname()[1]
        assert ear.hear().startswith(f"<6>127.0.0.1:{port} ")
        until(lambda: proxy.snapshot().frontends[0].current == 0)


def test_what_went_well_is_left_out_and_what_went_wrong_is_an_error_if_asked_for(
    ear: Ear, greeters: list[Greeter]
) -> None:
    words: dict[str, Any] = {"line": LineFormat.TCPLOG, "skips_normal": True, "raises_errors": True}
    with Proxy(config(ear, server(greeters[0]), **words)) as proxy:
        assert greeted_by(door(proxy)) == "a"
        client = connect(door(proxy))
        client.take(16)
        client.reset()
        line = ear.hear()
    assert line.startswith("<3>")
    assert " 16 CD " in line


def test_a_session_that_had_to_wait_has_its_place_in_the_queue(
    ear: Ear, greeters: list[Greeter]
) -> None:
    only = server(greeters[0], maxconn=1)
    with Proxy(config(ear, only, line=LineFormat.TCPLOG)) as proxy:
        with connect(door(proxy)) as first:
            first.take(16)
            second = connect(door(proxy))
            until(lambda: proxy.snapshot().backends[0].queued == 1)
        second.take(16)
        second.close()
        assert " 0/0 roundrobin" in ear.hear()
        assert " 0/1 queue" in ear.hear()


def test_what_an_operator_asks_of_a_server_is_told(ear: Ear, greeters: list[Greeter]) -> None:
    with Proxy(config(ear, *map(server, greeters))) as proxy:
        proxy.drain("back/a")
        left = "1 active and 0 backup servers"
        assert ear.hear().startswith(f"<5>Server back/a enters drain state. {left} online.")
        proxy.ready("back/a")
        assert ear.hear() == "<5>Server back/a is UP (leaving forced drain)."
        proxy.maint("back/a")
        assert ear.hear().startswith(f"<1>Server back/a is going DOWN for maintenance. {left} left")
        proxy.maint("back/b")
        assert ear.hear().startswith("<1>Server back/b is going DOWN")
        assert ear.hear() == "<0>backend back has no server available!"


@pytest.mark.parametrize("checks", [False, True])
def test_what_checks_come_to_is_told(ear: Ear, greeters: list[Greeter], checks: bool) -> None:
    words: dict[str, Any] = {"check": Check(interval=0.05, rise=1, fall=2)}
    with Proxy(config(ear, server(greeters[0], **words), checks=checks)) as proxy:
        if checks:
            assert re.fullmatch(
                r"<5>Health check for server back/a succeeded, reason: Layer4 check passed,"
                r" check duration: \d+ms, status: 2/2 UP\.",
                ear.hear(),
            )
        ages: list[float] = []

        def is_checked_again() -> bool:
            check = proxy.snapshot().backends[0].servers[0].check
            assert check is not None
            ages.append(check.ended_at or 0.0)
            return any(later < sooner for sooner, later in pairwise(ages))

        # Nothing is said of one that came to the same.
        until(is_checked_again)
        greeters[0].close()
        lines = ear.hear_until("no server available")
    failed = [line for line in lines if "Health check" in line]
    assert [line.rpartition("status: ")[2] for line in failed] == (
        ["1/2 UP.", "0/1 DOWN."] if checks else []
    )
    why = r"" if checks else r', reason: Layer4 [^,]+, info: "[^"]+", check duration: \d+ms'
    assert re.match(rf"<1>Server back/a is DOWN{why}\. 0 active", lines[-2])


def test_a_server_that_clients_do_not_reach_is_told_of(ear: Ear) -> None:
    stub = Stub()
    dead = Stub()
    observed = Server(
        name="a",
        host=dead.host,
        port=dead.port,
        check=Check(ports=(stub.port,), interval=60.0),
        observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN),
    )
    dead.close()
    with contextlib.closing(stub), Proxy(config(ear, observed, retries=0)) as proxy:
        with connect(door(proxy)) as client:
            client.hear_gone()
        lines = ear.hear_until("no server available")
    assert "Detected 1 consecutive errors" in lines[-2]


def test_a_drain_of_the_whole_is_told_of_with_counts(ear: Ear, greeters: list[Greeter]) -> None:
    configured = config(ear, server(greeters[0]), line=LineFormat.TCPLOG)
    with Proxy(configured) as proxy:
        assert greeted_by(door(proxy)) == "a"
        ear.hear()
        proxy.soft_stop()
        told = {ear.hear(), ear.hear()}
    assert told == {
        "<4>Proxy front stopped (cumulated conns: FE: 1, BE: 0).",
        "<4>Proxy back stopped (cumulated conns: FE: 0, BE: 1).",
    }


def test_a_frontend_that_pauses_is_told_of(ear: Ear, greeters: list[Greeter]) -> None:
    with Proxy(config(ear, server(greeters[0]))) as proxy:
        operations = proxy._engine.operations
        ask: Callable[[Callable[[], object]], object] = proxy._loop.ask
        ask(lambda: operations.set_frontend("front", is_open=False))
        assert ear.hear() == "<4>Paused frontend front."
        ask(lambda: operations.set_frontend("front", is_open=True))
        assert ear.hear() == "<4>Resumed frontend front."
        ask(lambda: operations.shutdown_frontend("front"))
        assert ear.hear() == "<4>Proxy front stopped (cumulated conns: FE: 0, BE: 0)."


def test_parts_that_come_later_log_too_until_they_go(ear: Ear, greeters: list[Greeter]) -> None:
    configured = config(ear, server(greeters[0]), line=LineFormat.TCPLOG)
    with Proxy(Config()) as proxy:
        for backend in configured.backends:
            proxy.add_backend(replace(backend, name="front"))
        for frontend in configured.frontends:
            proxy.add_frontend(replace(frontend, backend="front"))
        assert greeted_by(door(proxy)) == "a"
        assert " front/a " in ear.hear()
        proxy.maint("front/a")
        ear.hear()
        # Both together are a `listen`.
        assert ear.hear() == "<0>proxy front has no server available!"
        proxy.remove_frontend("front")
        proxy.remove_backend("front")
        # One of the same name has not got its log.
        silent = replace(configured.backends[0], name="front", log=None)
        proxy.add_backend(silent)
        proxy.maint("front/a")
        proxy.add_backend(replace(configured.backends[0], name="again"))
        proxy.maint("again/a")
        assert ear.hear().startswith("<1>Server again/a ")


def plain(greeter: Greeter, *targets: LogTarget) -> Config:
    """Return a configuration whose frontend alone logs, if there are targets."""
    log = FrontendLog(targets=targets) if targets else None
    doors = (Bind(host="127.0.0.1", port=0),)
    return Config(
        frontends=(Frontend(name="front", binds=doors, backend="back", log=log),),
        backends=(Backend(name="back", servers=(server(greeter),)),),
    )


def test_who_logs_nowhere_has_no_log(greeters: list[Greeter]) -> None:
    with Proxy(plain(greeters[0])) as proxy:
        assert greeted_by(door(proxy)) == "a"
        proxy.maint("back/a")
        assert proxy.snapshot().process.logs_dropped == 0


def test_lines_that_nobody_took_are_in_the_snapshot(greeters: list[Greeter]) -> None:
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here")
    with Proxy(plain(greeters[0], LogTarget(address="/nowhere/to/log"))) as proxy:
        assert greeted_by(door(proxy)) == "a"
        until(lambda: proxy.snapshot().process.logs_dropped == 1)
