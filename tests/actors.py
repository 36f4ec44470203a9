"""The people of the plays: a client and a server that do what a test tells them, line by line.

Every wait has a limit that no working program reaches; no line sleeps.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from types import TracebackType
from typing import Any, Self

from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server, ServerSnapshot
from dsbalance.http_options import HttpOptions
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

# In HTTP mode: who waits and how bytes go, each way of both at least once.
WAYS = tuple(
    path
    for path in PATHS
    if path.host == "127.0.0.1" and (path.poller is EpollPoller) is (path.pipes > 0)
)
# The same for long bodies, where all four differ.
LONG_WAYS = tuple(path for path in PATHS if path.host == "127.0.0.1")


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

    def take_head(self) -> bytes:
        """Return what comes up to the next empty line, and not a byte more."""
        head = bytearray()
        while not head.endswith(b"\r\n\r\n"):
            part = self.sock.recv(1)
            assert part, f"the end came within a head: {bytes(head)!r}"
            head += part
        return bytes(head)

    def hear_request(self, line: bytes) -> bytes:
        """Demand a request's head with this first line; return all of it."""
        head = self.take_head()
        assert head.startswith(line + b" HTTP/"), f"{line!r} was due, not {head!r}"
        return head

    def hear_answer(self, status: int, body: bytes | None = None) -> bytes:
        """Demand a response with Content-Length, or without a body; return its head.

        Args:
            status: That it has to have.
            body: That it has to have; None: whatever comes.
        """
        head = self.take_head()
        assert head[9:12] == b"%d" % status, f"{status} was due, not {head!r}"
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        got = self.take(int(length[1])) if length else b""
        assert body is None or got == body, f"{body!r} was due, not {got[:200]!r}"
        return head

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

    def hear_gone(self) -> None:
        """Demand an end or a reset, and not a byte before."""
        with contextlib.suppress(ConnectionResetError):
            self.hear_end()

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


class HttpStage:
    """A proxy in HTTP mode between a stub server, or several, and whoever connects.

    Args:
        way: Through the machine.
        servers: How many; they are called ``a``, ``b`` and so on.
        words: Of the frontend, the backend and each server, by their names; ``timeout_request`` and
            the like are the frontend's.

    Attributes:
        stub: The first server.
        stubs: All of them.
    """

    def __init__(self, way: Path, *, servers: int = 1, **words: Any) -> None:
        self.stubs = [Stub(way.host) for _ in range(servers)]
        self.stub = self.stubs[0]
        http = HttpOptions(**_mine(HttpOptions, words))
        doors = (Bind(host=way.host, port=0),)
        own = ("maxconn", "shutdown_on_down", "send_proxy")
        theirs = {word: words.pop(word) for word in own if word in words}
        frontend = Frontend(
            name="front", binds=doors, backend="back", http=http, **_mine(Frontend, words)
        )
        placed = tuple(
            Server(name=chr(97 + number), host=stub.host, port=stub.port, **theirs)
            for number, stub in enumerate(self.stubs)
        )
        backend = Backend(name="back", servers=placed, http=HttpOptions(), **words)
        config = Config(frontends=(frontend,), backends=(backend,))
        self.proxy = Proxy(config, poller=way.poller(), pipes=way.pipes)
        self.proxy.start()

    def connect(self) -> Peer:
        """Return a client's end of a new connection."""
        return connect(front(self.proxy))

    def talk(self, request: bytes = b"") -> tuple[Peer, Peer]:
        """Return a client that has asked, and its server, which has not read that yet."""
        client = self.connect().say(request or get())
        return client, self.stub.accept()

    def clients(self) -> int:
        """Return how many connections of clients there are."""
        return self.proxy.snapshot().frontends[0].current

    def close(self) -> None:
        """End the proxy and the servers."""
        self.proxy.stop()
        self.proxy.join()
        for stub in self.stubs:
            stub.close()


def _mine(kind: type, words: dict[str, Any]) -> dict[str, Any]:
    """Take the words out that are settings of ``kind``."""
    names = {field.name for field in fields(kind)} - {"name", "maxconn", "table"}
    return {word: words.pop(word) for word in list(words) if word in names}


# The plainest response there is.
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def get(target: str = "/", *lines: str, version: str = "1.1") -> bytes:
    """Return a request without a body."""
    return "\r\n".join((f"GET {target} HTTP/{version}", "Host: h", *lines, "", "")).encode()


def post(target: str = "/", body: bytes = b"", length: int | None = None) -> bytes:
    """Return a request with a body; ``length``: of all of it, if more is to come."""
    head = f"POST {target} HTTP/1.1\r\nHost: h\r\n"
    return f"{head}Content-Length: {length or len(body)}\r\n\r\n".encode() + body
