"""A server dies under load, comes back, is drained: who moves, and that nobody is refused.

The suite's preset with other intervals, in front of three servers that are processes of their own.
30 devices, ten that the hash gives to each server, make 50 connections a second.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from queue import SimpleQueue
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self

import pytest

from actors import PATIENCE, Peer, connect, greeted_by, until
from dsbalance import Change, Config, Proxy, ServerSnapshot
from dsbalance.suite import suite
from programs import Standin, answered_by, devices

PORT = 5022
HTTP_PORT = 5012
SPOOLER_PORT = 5555
RATE = 50

NAMES = ("primary-1", "primary-2", "primary-3")
VICTIM = "primary-2"


def of_each(start: int, count: int) -> dict[str, str]:
    """Return ``count`` devices of each server, in turns, with the server that the hash gives."""
    groups = [devices(start + count, owner)[start:] for owner in (1, 2, 3)]
    return {
        source: name
        for row in zip(*groups, strict=True)
        for source, name in zip(row, NAMES, strict=True)
    }


def of(name: str, owners: dict[str, str]) -> list[str]:
    return [source for source, owner in owners.items() if owner == name]


OWNERS = of_each(0, 10)
ITS_OWN = of(VICTIM, OWNERS)
OTHERS = {source: name for source, name in OWNERS.items() if name != VICTIM}
# Those that come later.
NEWCOMERS = of_each(10, 4)
LATECOMERS = of_each(14, 4)
LAST_ONES = of(VICTIM, of_each(18, 4))


class Visit(NamedTuple):
    """One connection of the load: who greeted it, or what went wrong."""

    source: str
    server: str
    failure: str = ""


class Load:
    """50 connections a second, of each source in turn, until the ``with`` ends.

    A connection is over when it was greeted. How long that takes delays no other.

    Attributes:
        visits: In the order in which they ended.
    """

    def __init__(self, address: tuple[str, int], sources: Iterable[str] = OWNERS) -> None:
        self.visits: list[Visit] = []
        self._address = address
        self._sources = tuple(sources)
        self._gate = threading.Lock()
        self._is_over = threading.Event()
        self._under_way: list[Future[None]] = []
        self._pool = ThreadPoolExecutor(len(self._sources))
        self._pacer = threading.Thread(target=self._pace)

    def _pace(self) -> None:
        due = time.monotonic()
        for source in itertools.cycle(self._sources):
            if self._is_over.wait(max(0.0, due - time.monotonic())):
                return
            with self._gate:
                self._under_way.append(self._pool.submit(self._visit, source))
            due += 1 / RATE

    def _visit(self, source: str) -> None:
        try:
            server = greeted_by(self._address, source)
        except OSError as error:
            self.visits.append(Visit(source, "", repr(error)))
        else:
            self.visits.append(Visit(source, server, "" if server else "it was closed"))

    @contextmanager
    def between(self) -> Iterator[None]:
        """Let something happen while no connection is on its way.

        What a server has taken dies with it; the promise is about the connections that come then.
        """
        with self._gate:
            wait(self._under_way, PATIENCE)
            self._under_way.clear()
            yield

    def round(self) -> dict[str, str]:
        """Return who serves each source from now on; every source has come by then."""
        with self.between():
            start = len(self.visits)

        def served() -> dict[str, str]:
            return {visit.source: visit.server for visit in self.visits[start:]}

        until(lambda: len(served()) == len(self._sources))
        return served()

    @property
    def failed(self) -> list[Visit]:
        return [visit for visit in self.visits if visit.failure]

    def __enter__(self) -> Self:
        self._pacer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_over.set()
        self._pacer.join()
        self._pool.shutdown()


class Site:
    """Three Paragon servers, and the proxy in front of them.

    Args:
        loopback: The fixture.
        stack: What ends everything.
        check: What differs from the preset's checks.
        backend: What differs from its backends.
        absent: The server that is not started, for a test that plays it.

    Attributes:
        front: Where the devices connect; ``http`` is the port of plain HTTP.
    """

    def __init__(
        self,
        loopback: Callable[[], str],
        stack: ExitStack,
        *,
        check: Mapping[str, Any],
        backend: Mapping[str, Any] = MappingProxyType({}),
        absent: str = "",
    ) -> None:
        self.hosts = {name: loopback() for name in NAMES}
        self._stack = stack
        self._standins: dict[str, list[Standin]] = {}
        for name in NAMES:
            if name != absent:
                self.start(name)
        host = loopback()
        whole = {**BY_HASH, **backend}
        config = tuned(suite(paragon=list(self.hosts.values()), host=host), check, whole)
        self.proxy = Proxy(config)
        self.front = host, PORT
        self.http = host, HTTP_PORT
        self._changes: SimpleQueue[Change] = SimpleQueue()

    def open(self) -> None:
        self._stack.enter_context(self.proxy)
        self.proxy.subscribe(self._changes.put)

    def start(self, name: str) -> None:
        """Start a server: the terminal server is one process, the spooler another."""
        host = self.hosts[name]
        self._standins[name] = [
            self._stack.enter_context(Standin(name, host, ports))
            for ports in ((PORT, HTTP_PORT), (SPOOLER_PORT,))
        ]

    def greets(self, source: str) -> str:
        """Return the server of a new session."""
        return greeted_by(self.front, source)

    def answers(self, source: str) -> str:
        """Return the server of a request by plain HTTP."""
        return answered_by(self.http, source).partition(" ")[0]

    def kill(self, name: str) -> None:
        for standin in self._standins[name]:
            standin.kill()

    def kill_spooler(self, name: str) -> None:
        self._standins[name][1].kill()

    def until_it_is(self, name: str, word: str) -> None:
        """Wait for the event that a server is ``UP`` or ``DOWN``, whatever comes before."""
        while True:
            change = self._changes.get(timeout=PATIENCE)
            if (change.backend, change.server, change.new) == ("paragon", name, word):
                return

    def server(self, name: str) -> ServerSnapshot:
        (found,) = (s for s in self.proxy.snapshot().backends[0].servers if s.name == name)
        return found


def tuned(config: Config, check: Mapping[str, Any], backend: Mapping[str, Any]) -> Config:
    """Return the preset with other checks, and backends that differ in what is given."""
    return replace(
        config,
        backends=tuple(
            replace(
                each,
                servers=tuple(
                    server
                    if server.check is None
                    else replace(server, check=replace(server.check, **check))
                    for server in each.servers
                ),
                **backend,
            )
            for each in config.backends
        ),
    )


def hold(address: tuple[str, int], stack: ExitStack) -> dict[str, Peer]:
    """Return a session of each device, greeted by the server that the hash gives."""
    held = {source: stack.enter_context(connect(address, source)) for source in OWNERS}
    for source, peer in held.items():
        peer.hear(OWNERS[source].encode().ljust(16))
    return held


def assert_they_talk(held: Mapping[str, Peer], sources: Iterable[str]) -> None:
    for source in sources:
        held[source].say(b"still there?")
        held[source].hear(b"still there?")


def assert_they_ended(held: Mapping[str, Peer], sources: Iterable[str]) -> None:
    """Demand that the sessions have ended, cleanly or with a reset."""
    for source in sources:
        with suppress(ConnectionResetError):
            held[source].hear_end()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


# Of the checks: one that comes each hour notices nothing.
QUICK = {"interval": 0.1}
BLIND = {"interval": 3600.0}
# Of the backends.
NO_STICK = {"table": None, "stick": ()}
# The owners of these devices are those of the hash, in whatever order they come.
BY_HASH = {"bounded_clients": None}


def assert_only_its_own_moved(found: Mapping[str, str]) -> None:
    assert {source: found[source] for source in OTHERS} == OTHERS
    assert {found[source] for source in ITS_OWN} == {"primary-1", "primary-3"}


def test_no_connection_fails_before_the_checks_notice(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    site = Site(loopback, stack, check=BLIND)
    site.open()
    with Load(site.front) as load:
        assert load.round() == OWNERS
        with load.between():
            site.kill(VICTIM)
        assert_only_its_own_moved(load.round())
    assert load.failed == []
    assert site.server(VICTIM).status.startswith("UP")
    assert site.server(VICTIM).redispatches >= len(ITS_OWN)


@pytest.mark.parametrize("is_sticky", [True, False], ids=["stick", "no-stick"])
def test_a_server_dies_and_comes_back_under_load(
    loopback: Callable[[], str], stack: ExitStack, is_sticky: bool
) -> None:
    site = Site(loopback, stack, check=QUICK, backend={} if is_sticky else NO_STICK)
    site.open()
    held = hold(site.front, stack)
    with Load(site.front) as load:
        assert load.round() == OWNERS
        with load.between():
            site.kill(VICTIM)
        site.until_it_is(VICTIM, "DOWN")
        moved = load.round()
        assert_only_its_own_moved(moved)
        site.start(VICTIM)
        site.until_it_is(VICTIM, "UP")
        assert load.round() == (moved if is_sticky else OWNERS)
    assert load.failed == []
    # Not for one connection was another server's device anywhere else.
    assert {(v.source, v.server) for v in load.visits if v.source in OTHERS} == set(OTHERS.items())
    assert_they_ended(held, ITS_OWN)
    assert_they_talk(held, OTHERS)
    assert {source: greeted_by(site.front, source) for source in NEWCOMERS} == NEWCOMERS


def test_a_server_that_is_back_takes_nobody_before_it_has_risen(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    site = Site(loopback, stack, check=QUICK | {"rise": 100_000}, backend=NO_STICK)
    site.open()
    site.kill(VICTIM)
    site.until_it_is(VICTIM, "DOWN")
    site.start(VICTIM)
    # "DOWN 3/100000": its checks pass.
    until(lambda: site.server(VICTIM).status.startswith("DOWN "))
    with Load(site.front) as load:
        assert_only_its_own_moved(load.round())
    assert load.failed == []


def test_a_server_without_its_spooler_is_down_though_it_accepts(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    site = Site(loopback, stack, check=QUICK)
    site.open()
    held = hold(site.front, stack)
    with Load(site.front) as load:
        assert load.round() == OWNERS
        # The server lives and takes connections; those of the moment in which it is marked down are
        # ended with its other sessions.
        with load.between():
            site.kill_spooler(VICTIM)
            site.until_it_is(VICTIM, "DOWN")
        assert_only_its_own_moved(load.round())
    assert load.failed == []
    # The server lives; it is the proxy that ends its sessions.
    assert_they_ended(held, ITS_OWN)
    assert_they_talk(held, OTHERS)


def test_a_server_that_drops_every_syn_costs_a_redispatch_and_no_connection(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    site = Site(loopback, stack, check=QUICK, backend={"timeout_connect": 0.3}, absent=VICTIM)
    host = site.hosts[VICTIM]
    stack.enter_context(socket.create_server((host, SPOOLER_PORT)))
    stack.enter_context(socket.create_server((host, PORT), backlog=0))
    site.open()
    until(lambda: site.server(VICTIM).status == "UP")
    # Nobody accepts, so this one fills the backlog, and Linux drops what does not fit.
    stack.enter_context(socket.create_connection((host, PORT)))
    with Load(site.front) as load:
        assert_only_its_own_moved(load.round())
        site.until_it_is(VICTIM, "DOWN")
        spent = site.server(VICTIM).redispatches
        assert_only_its_own_moved(load.round())
    assert load.failed == []
    assert site.server(VICTIM).redispatches == spent
    assert {greeted_by(site.front, source) for source in of(VICTIM, NEWCOMERS)} <= {
        "primary-1",
        "primary-3",
    }


def test_a_server_that_is_drained_keeps_its_clients_and_gets_no_others(
    loopback: Callable[[], str], stack: ExitStack
) -> None:
    site = Site(loopback, stack, check=QUICK)
    site.open()
    held = hold(site.front, stack)
    with Load(site.front) as load:
        site.proxy.drain(f"paragon/{VICTIM}")
        assert load.round() == OWNERS
        for newcomers, server_of in ((NEWCOMERS, site.greets), (LATECOMERS, site.answers)):
            for source, owner in newcomers.items():
                server = server_of(source)
                assert server != VICTIM
                assert owner in (server, VICTIM)
        assert {site.answers(source) for source in ITS_OWN} == {VICTIM}
        site.proxy.ready(f"paragon/{VICTIM}")
        assert {greeted_by(site.front, source) for source in LAST_ONES} == {VICTIM}
    assert load.failed == []
    assert {visit.server for visit in load.visits if visit.source in ITS_OWN} == {VICTIM}
    assert_they_talk(held, OWNERS)
