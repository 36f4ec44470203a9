"""The stage of the fault plays: people who do what a case tells them, the proxy between them.

Most cases are one conversation. The fixtures are its two ends, already connected:

    @configured(timeout_client=900, timeout_server_fin=0.1)
    def test_half_closed_silence_has_an_end(client: Peer, server: Peer) -> None:
        client.say(REQUEST).finish()
        server.hear(REQUEST).hear_end()
        client.hear_end()

Where there is more than one client or server, or something happens before they meet, the case
calls them on the stage itself:

    def test_a_refused_client_is_served_by_the_next_server(stage: Stage) -> None:
        a, b = stage.server("a"), stage.server("b")
        a.refuse()
        stage.open(retries=1, redispatch=1)
        client = stage.client()
        b.accept().say(b"220 ready")
        client.hear(b"220 ready")

What takes its time has the fixture ``clock``: the proxy's clock, which stands until it leaps. With
``check`` every server has its next check when the case says so, and ``faults.island`` is a place
for cases that would harm the whole machine.

Every case is played on each of :data:`actors.PATHS`; :data:`ON_IPV4` and its like choose fewer.
When a case has passed, the stage sees that nothing is left of it: no session, no socket, no thread,
no error in the log that it did not :meth:`Stage.expect_error`.
"""

from __future__ import annotations

import logging
import os
import re
import select
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, replace
from typing import Any, cast

import pytest

from actors import (
    PATHS,
    PATIENCE,
    Greeter,
    Path,
    Peer,
    Stub,
    connect,
    front,
    one_backend,
    state,
    until,
)
from dsbalance import Config, Frontend, Proxy, Server
from dsbalance.poller import Poller
from dsbalance.sockets import unsent
from faults.clock import Clock

_OF_FRONTEND = frozenset(field.name for field in fields(Frontend))
_BACKLOG = 128
_TELLS_DESCRIPTORS = os.path.isdir("/dev/fd")
_REQUEST = b"print this"
_ANSWER = b"done"
# A loop that has read nothing in so many turns waits for somebody to take what it has.
_ENOUGH_TURNS = 10
# More than the buffers of both of its sockets, and of their peers', hold on any system.
_FLOOD = 256 << 20


def _only(*paths: Path) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("path", paths, ids=str, indirect=True)


configured = pytest.mark.configured
"""Words of :meth:`Stage.config` for the fixtures ``client`` and ``server``."""

ON_IPV4 = _only(*(path for path in PATHS if path.host == "127.0.0.1"))
"""For clients of several addresses: IPv6 has one on loopback."""

ON_BOTH_POLLERS = _only(*(path for path in PATHS if path.pipes and path.host == "127.0.0.1"))
"""For what neither the way of the bytes nor the family makes a difference to."""

ON_SPLICE = _only(*(path for path in PATHS if path.pipes))
"""For what cannot happen to a copy."""

ON_ONE_PATH = _only(PATHS[0])
"""For what is decided above the sockets, or takes long."""


class PlayedServer(Stub):
    """A server that a case plays: it listens from the start, and hangs until it is told more.

    The kernel accepts for it, so whoever connects is connected; a case takes them one by one with
    :meth:`accept`, first come first, and talks with what that returns.

    Attributes:
        name: Its name in the backend.
        host, port: Its address, its own until the stage closes, whatever it is told to do.
        peers: Whom it has accepted.
    """

    def __init__(self, name: str, host: str) -> None:
        super().__init__(host, backlog=_BACKLOG)
        self.name = name
        self.peers: list[Peer] = []
        self._fillers: list[socket.socket] = []

    def accept(self) -> Peer:
        """Return its end of the next connection."""
        peer = super().accept()
        self.peers.append(peer)
        return peer

    @property
    def is_untouched(self) -> bool:
        """Whether nobody has ever got a connection to it that it could accept."""
        return not self.peers and not select.select([self.sock], [], [], 0)[0]

    def refuse(self) -> None:
        """Refuse whoever comes from now on, and reset who was not accepted yet; the others stay."""
        self.sock.close()
        # Bound and not listening: the kernel answers RST, and nobody else gets the port.
        self.sock = socket.socket(self.sock.family)
        if os.name == "posix":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((self.host, self.port))
        self.sock.settimeout(PATIENCE)

    def die(self) -> None:
        """Refuse, and reset everybody whom it had accepted."""
        self.refuse()
        while self.peers:
            peer = self.peers.pop()
            with suppress(OSError):
                peer.reset()

    def drop(self) -> None:
        """Answer no SYN from now on: its queue is full, and Linux drops what does not fit.

        Whoever waits in the queue is accepted, to hang. Skips the case on other systems.
        """
        if not sys.platform.startswith("linux"):
            pytest.skip("only Linux drops the SYNs that a full queue has no room for")
        self.sock.listen(0)
        self._take_waiting()
        filler = socket.socket(self.sock.family)
        self._fillers.append(filler)
        filler.setblocking(False)
        filler.connect_ex((self.host, self.port))
        # One fits in a queue of 0. Whoever it is, there it stays.
        assert select.select([self.sock], [], [], PATIENCE)[0]

    def listen(self) -> None:
        """Come back on the same port: take whoever comes, after :meth:`refuse` or :meth:`drop`."""
        self.sock.listen(_BACKLOG)
        if self._fillers:
            self._take_waiting()
            self._leave_fillers()

    def hang_up(self) -> None:
        """Close all its connections; the port is as it was."""
        while self.peers:
            self.peers.pop().close()
        self._leave_fillers()

    def close(self) -> None:
        """Leave the stage."""
        self.hang_up()
        super().close()

    def _take_waiting(self) -> None:
        """Accept who waits, to hang; but our own fillers have done their work."""
        ours = [filler.getsockname() for filler in self._fillers]
        self.sock.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                sock, source = self.sock.accept()
                if source in ours:
                    sock.close()
                else:
                    self.peers.append(Peer(sock))
        self.sock.settimeout(PATIENCE)

    def _leave_fillers(self) -> None:
        while self._fillers:
            self._fillers.pop().close()


class Book(logging.Handler):
    """What the proxy logs, from INFO up, in the order in which it was written.

    Attributes:
        records: All of it.
    """

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def lines(self, pattern: str = "", level: int = logging.INFO) -> list[str]:
        """Return the messages of ``level`` and above that ``pattern`` is found in."""
        found = (record.getMessage() for record in list(self.records) if record.levelno >= level)
        return [line for line in found if re.search(pattern, line)]


class WakeCounter:
    """A poller that counts how often it was asked.

    Attributes:
        count: Calls of ``poll`` so far: the turns of the loop.
    """

    def __init__(self, poller: Poller) -> None:
        self.count = 0
        self._poller = poller

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Count, and do as the other."""
        self.count += 1
        return self._poller.poll(timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._poller, name)


class Stage:
    """A proxy, the servers behind it and the clients in front of it.

    Args:
        path: How the bytes go.
        source: Returns another loopback address at each call, or skips the test.

    Attributes:
        path: As given.
        proxy: Opened by :meth:`open`, :meth:`client` or :meth:`talk`, whichever comes first.
        book: Its log.
    """

    def __init__(self, path: Path, source: Callable[[], str]) -> None:
        self.path = path
        self.book = Book()
        self._source = source
        self._servers: list[PlayedServer | Greeter] = []
        self._words: dict[str, dict[str, object]] = {}
        self._clients: list[Peer] = []
        self._asides: list[threading.Thread] = []
        self._failures: list[BaseException] = []
        self._expected: list[str] = []
        self._may_end = False
        self._proxy: Proxy | None = None
        self._clock: Clock | None = None
        self._poller: WakeCounter | None = None
        self._logger = logging.getLogger("dsbalance")
        self._level = self._logger.level
        self._logger.addHandler(self.book)
        self._logger.setLevel(logging.INFO)
        self._descriptors = open_descriptors()
        self._sockets = open_sockets()
        # The proxy's own, apart from its ports and its sessions.
        self._inner = 0

    # -- who is on the stage

    def server(self, name: str = "a", host: str | None = None, **words: object) -> PlayedServer:
        """Return a server that the case plays, and that the proxy is going to know.

        Args:
            name: Its name in the backend; servers stand there in the order of these calls.
            host: Its address; None: the path's. ``stage.source()`` has more for IPv4.
            words: What else :class:`dsbalance.Server` takes, such as ``check`` or ``maxconn``.
        """
        played = PlayedServer(name, self.path.host if host is None else host)
        self._enter(played, words)
        return played

    def greeter(self, name: str = "a", host: str | None = None, **words: object) -> Greeter:
        """Return a server that tells everybody its name and repeats what it hears, by itself."""
        greeter = Greeter(name, self.path.host if host is None else host)
        self._enter(greeter, words)
        return greeter

    def client(self, source: str | None = None, port: int | None = None) -> Peer:
        """Return a client that has just connected; its end is closed with the stage at the latest.

        Args:
            source: Where it comes from; None: the path's address.
            port: Of the frontend that it comes to; None: the first one.
        """
        address = self.address
        client = connect(address if port is None else (address[0], port), source)
        self._clients.append(client)
        return client

    def talk(self, source: str | None = None) -> tuple[Peer, Peer]:
        """Return both ends of a new session with the first server, whom no other must reach.

        The kernels have connected by then; what the proxy has seen of it, bytes that pass tell.
        """
        if not self._servers:
            self.server()
        first = self._servers[0]
        assert isinstance(first, PlayedServer)
        return self.client(source), first.accept()

    def meet(self, server: PlayedServer, source: str | None = None) -> tuple[Peer, Peer]:
        """Return both ends of a new session, which must be with ``server``."""
        client, peer = self.client(source), server.accept()
        client.say(_REQUEST)
        peer.hear(_REQUEST).say(_ANSWER)
        return client.hear(_ANSWER), peer

    def flood(self, peer: Peer, words: bytes = bytes(1 << 16)) -> int:
        """Let ``peer`` say ``words`` over and over until nobody takes any more.

        Returns:
            How many bytes it said; the last words may be broken off.
        """
        view = memoryview(words)
        peer.sock.setblocking(False)
        said = refused = 0
        while refused < _ENOUGH_TURNS:
            try:
                said += peer.sock.send(view[said % len(words) :])
                refused = 0
                assert said < _FLOOD, "somebody takes all of it, and keeps it"
            except BlockingIOError:
                # The answer is that of another turn, in which the proxy would have taken more.
                self.sessions()
                refused += 1
        peer.sock.settimeout(PATIENCE)
        return said

    def source(self) -> str:
        """Return an address that is nobody else's, for one client or server. Skips on IPv6."""
        if ":" in self.path.host:
            pytest.skip("IPv6 has one address on loopback")
        return self._source()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Hold the proxy's thread, so that it sees at once all that happens meanwhile."""
        is_held, may_go = threading.Event(), threading.Event()

        def hold() -> None:
            is_held.set()
            may_go.wait(PATIENCE)

        self.proxy._loop.call(hold)
        assert is_held.wait(PATIENCE)
        try:
            yield
        finally:
            may_go.set()

    def aside(self, act: Callable[[], object]) -> threading.Thread:
        """Let something happen at the same time; what it raises fails the case at its end."""

        def run() -> None:
            try:
                act()
            except BaseException as failure:  # noqa: BLE001 - raised again in leave()
                self._failures.append(failure)

        thread = threading.Thread(target=run)
        self._asides.append(thread)
        thread.start()
        return thread

    # -- the proxy

    def config(self, **words: object) -> Config:
        """Return frontend ``front`` and backend ``back`` with the servers that have entered.

        Args:
            words: What :class:`dsbalance.Frontend` or :class:`dsbalance.Backend` takes, or both, as
                ``keepalive``; ``maxconn`` is the frontend's, ``table`` the backend's. For others,
                replace what is returned.
        """
        servers = (
            Server(name=each.name, host=each.host, port=each.port, **self._words[each.name])  # type: ignore[arg-type]
            for each in self._servers
        )
        behind = {
            word: value
            for word, value in words.items()
            if word not in _OF_FRONTEND or word in {"keepalive", "table"}
        }
        before = {
            word: value for word, value in words.items() if word in _OF_FRONTEND and word != "table"
        }
        config = one_backend(*servers, host=self.path.host, **behind)
        return replace(config, frontends=(replace(config.frontends[0], **before),))  # type: ignore[arg-type]

    def open(self, config: Config | None = None, **words: object) -> Proxy:
        """Start the proxy: with ``config``, or with what :meth:`config` makes of ``words``."""
        assert self._proxy is None, "it is open"
        before = open_sockets()
        config = self.config(**words) if config is None else config
        self._poller = WakeCounter(self.path.poller())
        poller = cast("Poller", self._poller)
        self._proxy = Proxy(config, poller=poller, pipes=self.path.pipes)
        self._inner = open_sockets() - before
        self._proxy.start()
        return self._proxy

    @property
    def proxy(self) -> Proxy:
        """The proxy at work."""
        return self.open() if self._proxy is None else self._proxy

    @property
    def address(self) -> tuple[str, int]:
        """Where clients connect."""
        return front(self.proxy)

    def sessions(self) -> int:
        """Return how many sessions the proxy counts now, at all of its frontends."""
        return sum(frontend.current for frontend in self.proxy.snapshot().frontends)

    def settle(self) -> None:
        """Return when the proxy has seen all that has happened by now."""
        # The first answer ends a turn; the second one comes from a turn that began after it.
        for _ in range(2):
            self.proxy.snapshot()

    def turns(self) -> int:
        """Return how often the proxy has waited for events so far: one that spins does it often."""
        assert self._poller is not None, "the proxy is not open"
        return self._poller.count

    def hold_clock(self) -> Clock:
        """Return the proxy's clock, which stands still from here on until the case moves it."""
        assert self._proxy is None, "it has begun to go by another one"
        self._clock = Clock(self.settle)
        return self._clock

    def until_it_is(self, server: str, status: str) -> None:
        """Wait until the proxy says that a server is in this state, such as ``DOWN 1/2``."""
        until(lambda: state(self.proxy, server).status == status)

    def until_empty(self) -> None:
        """Wait for the end of the last session, with everybody still on the stage."""
        until(lambda: self.sessions() == 0)

    # -- what a case may leave behind

    def expect_error(self, pattern: str) -> None:
        """Allow errors in the log that ``pattern`` is found in, and demand one of them."""
        self._expected.append(pattern)

    def expect_end(self) -> None:
        """Allow that the proxy has ended when the case has: it is told to stop there."""
        self._may_end = True

    def leave(self, *, has_passed: bool) -> None:
        """End everything; demand that nothing is left, unless the case has failed already."""
        try:
            if self._clock is not None:
                self._clock.let_go()
            for thread in self._asides:
                thread.join(PATIENCE)
            for client in self._clients:
                client.close()
            for server in self._servers:
                if isinstance(server, PlayedServer):
                    server.hang_up()
            if has_passed and self._proxy is not None and not self._may_end:
                self._assert_idle()
        finally:
            self._end()
        if has_passed:
            self._assert_nothing_left()

    # -- behind the scene

    def _enter(self, server: PlayedServer | Greeter, words: dict[str, object]) -> None:
        self._servers.append(server)
        self._words[server.name] = words

    def _assert_idle(self) -> None:
        """Demand that the proxy runs, and holds nothing but its ports."""
        assert _is_running(), "the proxy's thread has ended"
        self.until_empty()
        for backend in self.proxy.snapshot().backends:
            counts = {s.name: (s.current, s.queued) for s in backend.servers}
            counts[backend.name] = backend.current, backend.queued
            assert set(counts.values()) == {(0, 0)}, f"sessions are counted, not had: {counts}"
        if _TELLS_DESCRIPTORS:
            until(lambda: open_sockets() == self._sockets_due())

    def _sockets_due(self) -> int:
        """Return how many sockets there are when everybody is silent: ports, and the loop's own."""
        names = [frontend.name for frontend in self.proxy.snapshot().frontends]
        ports = sum(len(self.proxy.addresses(name)) for name in names)
        theirs = sum(_has_port(server) for server in self._servers)
        return self._sockets + self._inner + ports + theirs

    def _end(self) -> None:
        if self._proxy is not None:
            self._proxy.stop()
            self._proxy.join()
        if self._clock is not None:
            self._clock.give_back()
        for server in self._servers:
            server.close()
        self._logger.removeHandler(self.book)
        self._logger.setLevel(self._level)

    def _assert_nothing_left(self) -> None:
        if self._failures:
            raise self._failures[0]
        assert not any(thread.is_alive() for thread in self._asides), "an aside goes on"
        assert not _is_running(), "the proxy's thread goes on"
        until(lambda: open_descriptors() == self._descriptors)
        errors = self.book.lines(level=logging.ERROR)
        for pattern in self._expected:
            assert self.book.lines(pattern, logging.ERROR), f"no error says {pattern!r}: {errors}"
        is_due = re.compile("|".join(self._expected) or "(?!)")
        undue = [line for line in errors if not is_due.search(line)]
        assert not undue, f"the log has errors: {undue}"


def until_sent(peer: Peer) -> None:
    """Wait until the other kernel has what ``peer`` said: a reset destroys what has not left."""
    until(lambda: unsent(peer.sock) == 0)


def _has_port(server: PlayedServer | Greeter) -> bool:
    sock = server.stub.sock if isinstance(server, Greeter) else server.sock
    return sock.fileno() >= 0


def open_descriptors() -> int:
    """Return how many descriptors this process has open; 0 where the system does not tell."""
    return len(_modes())


def open_sockets() -> int:
    """Return how many of them are sockets."""
    return sum(map(stat.S_ISSOCK, _modes()))


def open_pipes() -> int:
    """Return how many of them are pipes' ends."""
    return sum(map(stat.S_ISFIFO, _modes()))


def _modes() -> list[int]:
    modes = []
    for name in os.listdir("/dev/fd") if _TELLS_DESCRIPTORS else ():
        # The one that the listing itself had is gone by now.
        with suppress(OSError):
            modes.append(os.fstat(int(name)).st_mode)
    return modes


def _is_running() -> bool:
    return any(thread.name == "dsbalance" for thread in threading.enumerate())
