"""Where the demo plays: three stand-in servers, the balancer in front of them, and the printers.

    on               is
    127.B.0.10       the balancer, on the suite's own ports
    127.B.0.11-13    the servers, on the same ports and on those that are only checked
    127.B.1.x        the printers, an address each

B is 0, or the next of a few others where one of these is taken. What the balancer runs is
:func:`dsbalance.suite.suite`, with shorter times between the checks, so that nobody has to wait.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.resources
import ipaddress
import itertools
import queue
import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from dsbalance.demo_printers import PAUSE, Answer, Ledger, Line, Printer
from dsbalance.demo_screen import PrinterColumn, ServerRow, View
from dsbalance.demo_servers import Job, StubServer
from dsbalance.errors import ConnectError
from dsbalance.hashring import HashRing
from dsbalance.model import Backend, Check, Config
from dsbalance.placement import Change
from dsbalance.proxy import Proxy
from dsbalance.suite import PARAGON_HTTP_PORT, PHOENIX_HTTP_PORT, suite

SERVERS = 3
PRINTERS = 12
# Printers that come later have addresses up to this one.
_LAST_PRINTER = 60
# In each of these the ring gives every server some of the first twelve printers.
BLOCKS = (0, 201, 204, 205, 208, 211)

# The pace of the show: a server is down after 1.5 s at the most, and trusted again after 2 s.
_INTERVAL = 0.5
_RISE = 4

_PLAIN_PORTS = (PARAGON_HTTP_PORT, PHOENIX_HTTP_PORT)


class Group(NamedTuple):
    """A part of the suite: a printer has one server for all ports of a group.

    Attributes:
        name: The backend that has its table and its checks.
        ports: Where the balancer listens for it.
    """

    name: str
    ports: tuple[int, ...]

    @property
    def title(self) -> str:
        """Its name for readers."""
        return self.name.capitalize()


class Ground(NamedTuple):
    """The addresses of one block."""

    block: int

    @property
    def balancer(self) -> str:
        """Where the printers connect to."""
        return f"127.{self.block}.0.10"

    @property
    def servers(self) -> tuple[str, ...]:
        """Where the servers listen."""
        return tuple(f"127.{self.block}.0.{10 + n}" for n in range(1, SERVERS + 1))

    def printer(self, number: int) -> str:
        """Where the printer with this last byte comes from."""
        return f"127.{self.block}.1.{number}"

    def survey(self, ports: tuple[int, ...]) -> None:
        """See whether everything is free.

        Raises:
            ConnectError: An address is not there at all (its cause is EADDRNOTAVAIL), or a port
                is taken.
        """
        wanted = [(host, port) for host in (self.balancer, *self.servers) for port in ports]
        wanted += ((self.printer(number), 0) for number in range(1, PRINTERS + 1))
        for host, port in wanted:
            try:
                socket.create_server((host, port)).close()
            except OSError as error:
                raise ConnectError(f"{host}:{port}", error.strerror or str(error)) from error


class Stage:
    """Everything that plays, on one block of addresses.

    Args:
        block: Which.
        pause: Seconds between two rounds of one printer.

    Attributes:
        ground: The addresses.
        preset: What the suite's configuration is without our haste.
        config: What the balancer runs.
        groups: The parts of the suite.
        servers: Name -> stand-in, in the balancer's order.
        printers: Number, from 1 -> printer.
        ledger: What the printers have seen.
        changes: What the balancer has found out about servers, oldest first.
    """

    def __init__(self, block: int, *, pause: float = PAUSE) -> None:
        self.ground = Ground(block)
        hosts = self.ground.servers
        self.preset = suite(paragon=hosts, phoenix=hosts, host=self.ground.balancer)
        self.config = hastened(self.preset)
        self.groups = tuple(_groups(self.config))
        self.servers: dict[str, StubServer] = {}
        self.printers: dict[int, Printer] = {}
        self.ledger = Ledger({port: group.name for group in self.groups for port in group.ports})
        self.changes: queue.SimpleQueue[Change] = queue.SimpleQueue()
        self._pause = pause
        self._line: Line | None = None
        self._proxy: Proxy | None = None
        self._exits = contextlib.ExitStack()
        self._newcomers = iter(range(PRINTERS + 1, _LAST_PRINTER + 1))

    @property
    def ports(self) -> tuple[int, ...]:
        """All ports that the balancer listens on."""
        return tuple(port for group in self.groups for port in group.ports)

    @property
    def check(self) -> Check:
        """How the preset watches a server."""
        return _check(self.preset.backends[0])

    def open(self) -> None:
        """Start the servers and the balancer; the printers come later.

        Raises:
            ConnectError: Something is taken, or a server does not start; then nothing runs.
        """
        plain = {*_PLAIN_PORTS, *_checked(self.config)} - set(self._secure_ports)
        self.ground.survey((*self._secure_ports, *plain))
        try:
            self._start_servers(tuple(plain))
            self._proxy = Proxy(self.config)
            self._exits.callback(self._proxy.join)
            self._exits.callback(self._proxy.stop)
            self._proxy.start()
            self._proxy.subscribe(self.changes.put)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End everything: the printers first, so that nobody loses a request to the end."""
        for printer in self.printers.values():
            printer.stop()
        for printer in self.printers.values():
            printer.join()
        self._exits.close()

    # -- the play

    def add_printers(self) -> None:
        """Let the first printers begin."""
        for number in range(1, PRINTERS + 1):
            self._add_printer(number, self.ground.printer(number))

    def add_printer(self, server: str) -> Printer:
        """Let one more printer begin, whose address the hash gives to ``server``."""
        ring = HashRing(dict.fromkeys(self.servers, 1), identify=self._id_of)
        source = next(
            address
            for address in map(self.ground.printer, self._newcomers)
            if ring.lookup(ipaddress.IPv4Address(address)) == server
        )
        return self._add_printer(len(self.printers) + 1, source)

    def states(self) -> dict[str, tuple[str, ...]]:
        """Return server -> what the balancer takes it for, in each group."""
        assert self._proxy is not None
        pictures = {backend.name: backend for backend in self._proxy.snapshot().backends}
        words: dict[str, list[str]] = {name: [] for name in self.servers}
        for group in self.groups:
            for server in pictures[group.name].servers:
                words[server.name].append(server.status)
        return {name: tuple(found) for name, found in words.items()}

    def mistold(self, instant: float) -> list[Answer]:
        """Return the answers since ``instant`` whose server was told a wrong address of its client.

        Where TLS hides the request it can be told none.
        """
        return [
            answer
            for answer in self.ledger.since(instant)
            if answer.told != self._told_at(answer.port, self.printers[answer.printer])
        ]

    def drain(self, server: str) -> None:
        """Take a server out of service gently."""
        assert self._proxy is not None
        for group in self.groups:
            self._proxy.drain(f"{group.name}/{server}")

    def ready(self, server: str) -> None:
        """Put it back."""
        assert self._proxy is not None
        for group in self.groups:
            self._proxy.ready(f"{group.name}/{server}")

    def view(self, elapsed: float) -> View:
        """Return all there is to see, ``elapsed`` seconds after the beginning."""
        tally, states = self.ledger.tally(), self.states()
        rows = tuple(
            ServerRow(
                name=name,
                address=stub.job.host,
                process=f"running {stub.pid}" if stub.is_running else "KILLED",
                states=states[name],
                answers=tally.by_server.get(name, 0),
            )
            for name, stub in self.servers.items()
        )
        return View(
            elapsed=elapsed,
            groups=tuple(group.title for group in self.groups),
            servers=rows,
            printers=tuple(self._columns()),
            answered=tally.answered,
            failed=tally.failed,
            slowest=tally.slowest,
        )

    def _columns(self) -> Iterator[PrinterColumn]:
        owners, homes = self.ledger.owners(), self.ledger.homes()
        for number in self.printers:
            keys = [(number, group.name) for group in self.groups]
            yield PrinterColumn(
                number=number,
                servers=tuple(map(owners.get, keys)),
                has_moved=tuple(owners.get(key) != homes.get(key) for key in keys),
            )

    # -- making it

    def _told_at(self, port: int, printer: Printer) -> str:
        return printer.source if port in _PLAIN_PORTS else ""

    @functools.cached_property
    def _secure_ports(self) -> tuple[int, ...]:
        return tuple(port for port in self.ports if port not in _PLAIN_PORTS)

    def _start_servers(self, plain: tuple[int, ...]) -> None:
        folder = importlib.resources.files("dsbalance") / "testdata"
        certificates = []
        for server in self.config.backends[0].servers:
            resource = folder / f"TEST-ONLY-{server.name}.pem"
            path = str(self._exits.enter_context(importlib.resources.as_file(resource)))
            certificates.append(path)
            job = Job(
                name=server.name,
                host=server.host,
                secure_ports=self._secure_ports,
                plain_ports=plain,
                certificate=path,
            )
            self.servers[server.name] = stub = StubServer(job)
            self._exits.callback(stub.close)
            stub.start()
        for stub in self.servers.values():
            stub.wait()
        self._line = Line(self.ground.balancer, self._secure_ports, _PLAIN_PORTS, certificates)

    def _add_printer(self, number: int, source: str) -> Printer:
        assert self._line is not None
        printer = Printer(number, source, self._line, self.ledger, pause=self._pause)
        self.printers[number] = printer
        printer.start()
        return printer

    def _id_of(self, server: str) -> int:
        return list(self.servers).index(server) + 1


def open_stage(*, pause: float = PAUSE) -> Stage:
    """Return an open stage on the first block of addresses that is free.

    Raises:
        ConnectError: None is, or this system has no such addresses; it says what to do.
    """
    for block in BLOCKS:
        stage = Stage(block, pause=pause)
        try:
            stage.open()
        except ConnectError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno == errno.EADDRNOTAVAIL:
                raise ConnectError(error.address, _aliases(stage.ground)) from cause
            last = error
        else:
            return stage
    advice = (
        f"{last.reason}; so it is on {len(BLOCKS)} other addresses. Is a Dispatcher Suite, a"
        " balancer or another demo running on this machine? End it and try again"
    )
    raise ConnectError(last.address, advice) from last


def _aliases(ground: Ground) -> str:
    """Return what to do where 127.0.0.1 is the only loopback address, as on macOS."""
    hosts = f"{ground.balancer} {' '.join(ground.servers)}"
    return (
        "this system does not have that address. The demo needs some more on the loopback"
        " interface; on macOS and the BSDs:\n"
        f"    for a in {hosts}; do sudo ifconfig lo0 alias $a; done\n"
        f"    for n in $(seq 1 {_LAST_PRINTER}); do"
        f" sudo ifconfig lo0 alias {ground.printer(0)[:-1]}$n; done"
    )


def hastened(config: Config) -> Config:
    """Return ``config`` with checks that follow each other faster."""
    return replace(config, backends=tuple(map(_hastened, config.backends)))


def _hastened(backend: Backend) -> Backend:
    servers = tuple(
        server
        if server.check is None
        else replace(server, check=replace(server.check, interval=_INTERVAL, rise=_RISE))
        for server in backend.servers
    )
    return replace(backend, servers=servers)


def _groups(config: Config) -> Iterator[Group]:
    """Yield the parts of the suite: the frontends whose backends share a table are one."""
    owners = {backend.name: backend.stick[0].table or backend.name for backend in config.backends}
    frontends = sorted(config.frontends, key=lambda frontend: owners[frontend.ways[0]])
    for name, members in itertools.groupby(frontends, lambda member: owners[member.ways[0]]):
        binds = (bind for member in members for bind in member.binds)
        yield Group(name, tuple(port for bind in binds for port in bind.ports))


def _checked(config: Config) -> set[int]:
    """Return the ports that checks connect to."""
    return {
        port
        for backend in config.backends
        for server in backend.servers
        if server.check is not None
        for port in server.check.ports
    }


def _check(backend: Backend) -> Check:
    check = backend.servers[0].check
    assert check is not None
    return check
