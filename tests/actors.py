"""The people of the plays: a client and a server that do what a test tells them, line by line.

Every wait has a limit that no working program reaches; no line sleeps.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server, ServerSnapshot
from dsbalance.poller import EpollPoller, Poller, SelectorPoller
from dsbalance.sockets import set_reset

PATIENCE = 20.0


@dataclass(frozen=True)
class Path:
    """One way through the machine: who waits, how many pipes it may splice with, which address."""

    poller: Callable[[], Poller]
    pipes: int
    host: str

    def __str__(self) -> str:
        how = "splice" if self.pipes else "copy"
        return f"{self.poller.__name__.removesuffix('Poller').lower()}-{how}-{self.host}"

    @property
    def lack(self) -> str | None:
        """What this system has not got, so that the path cannot be gone; None: it can."""
        if self.poller is EpollPoller and not hasattr(select, "epoll"):
            return "there is no epoll here"
        if self.pipes and not hasattr(os, "splice"):
            return "there is no splice here"
        try:
            with contextlib.closing(Stub(self.host)) as stub:
                connect((stub.host, stub.port)).close()
        except OSError as error:
            return f"{self.host} cannot be used here: {error}"
        return None


PATHS = tuple(
    Path(poller, pipes, host)
    for poller in (EpollPoller, SelectorPoller)
    for pipes in (4, 0)
    for host in ("127.0.0.1", "::1")
)


class Peer:
    """One end of a TCP connection, blocking. What it does can be told in a row."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(PATIENCE)

    def say(self, words: bytes) -> Self:
        self.sock.sendall(words)
        return self

    def hear(self, words: bytes) -> Self:
        """Demand that exactly these bytes come next."""
        got = self.take(len(words))
        assert got == words, f"{words[:50]!r} ({len(words)}) was due, not {got[:50]!r} ({len(got)})"
        return self

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer if the stream ends before."""
        parts = bytearray()
        while len(parts) < size:
            part = self.sock.recv(min(size - len(parts), 1 << 20))
            if not part:
                break
            parts += part
        return bytes(parts)

    def hear_end(self) -> Self:
        """Demand a clean end of the stream."""
        got = self.sock.recv(1)
        assert not got, f"the end was due, not {got!r}"
        return self

    def hear_reset(self) -> None:
        """Demand a reset."""
        try:
            got = self.sock.recv(1)
        except ConnectionResetError:
            return
        raise AssertionError(f"a reset was due, not {got!r}")

    def finish(self) -> Self:
        """Half-close: say nothing more, go on hearing."""
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self) -> None:
        set_reset(self.sock)
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Stub:
    """A server whose connections a test accepts one by one."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0, backlog: int = 128) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.sock = socket.create_server((host, port), family=family, backlog=backlog)
        self.sock.settimeout(PATIENCE)
        self.host = host
        self.port: int = self.sock.getsockname()[1]

    def accept(self) -> Peer:
        sock, _ = self.sock.accept()
        return Peer(sock)

    def close(self) -> None:
        self.sock.close()


class Greeter:
    """A server that tells every client its name and then repeats what it hears."""

    def __init__(self, name: str, host: str = "127.0.0.1", port: int = 0) -> None:
        self.name = name
        self.stub = Stub(host, port)
        self.host, self.port = self.stub.host, self.stub.port
        self.stub.sock.settimeout(None)
        self._peers: list[Peer] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self.stub.sock.accept()
            except OSError:
                return
            peer = Peer(sock)
            self._peers.append(peer)
            threading.Thread(target=self._talk, args=(peer,), daemon=True).start()

    def _talk(self, peer: Peer) -> None:
        peer.sock.settimeout(None)
        try:
            peer.say(self.name.encode().ljust(16))
            while part := peer.sock.recv(1 << 16):
                peer.say(part)
        except OSError:
            pass
        finally:
            peer.close()

    def close(self) -> None:
        """Die: the port refuses and every connection is reset."""
        # A thread in accept() keeps a closed listener alive; shutdown wakes it.
        with contextlib.suppress(OSError):
            self.stub.sock.shutdown(socket.SHUT_RDWR)
        self.stub.close()
        self._thread.join(PATIENCE)
        for peer in self._peers:
            with contextlib.suppress(OSError):
                set_reset(peer.sock)
                peer.sock.shutdown(socket.SHUT_RD)
            peer.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection, the first one non-blocking."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    near.setblocking(False)
    far.settimeout(10)
    return near, far


def connect(address: tuple[str, int], source: str | None = None) -> Peer:
    """Return a client's end of a new connection."""
    origin = None if source is None else (source, 0)
    return Peer(socket.create_connection(address, timeout=PATIENCE, source_address=origin))


def greeted_by(address: tuple[str, int], source: str | None = None) -> str:
    """Return the name of the :class:`Greeter` that a new client of ``source`` reaches."""
    with connect(address, source) as client:
        return client.take(16).decode().strip()


def until(fact: Callable[[], bool]) -> None:
    """Wait for a fact that other threads bring about."""
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def one_backend(*servers: Server, host: str = "127.0.0.1", **backend: object) -> Config:
    """Return a configuration: frontend ``front`` on a free port, backend ``back``."""
    return Config(
        frontends=(Frontend(name="front", binds=(Bind(host=host, port=0),), backend="back"),),
        backends=(Backend(name="back", servers=servers, **backend),),  # type: ignore[arg-type]
    )


def front(proxy: Proxy) -> tuple[str, int]:
    """Return the address of the frontend of :func:`one_backend`."""
    return proxy.addresses("front")[0]


def server(greeter: Greeter, **words: object) -> Server:
    """Return the configuration of a :class:`Greeter` as a server."""
    return Server(name=greeter.name, host=greeter.host, port=greeter.port, **words)  # type: ignore[arg-type]


def state(proxy: Proxy, name: str) -> ServerSnapshot:
    """Return what the proxy says of the server of this name."""
    (found,) = (s for b in proxy.snapshot().backends for s in b.servers if s.name == name)
    return found
