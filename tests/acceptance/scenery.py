"""The suite in small: a proxy with a dashboard, three machines behind it, and clients that talk.

Everything is on addresses of 127.0.0.0/8, in this process. A client goes on until the scenery is
closed; when its connection is lost it makes another one.
"""

from __future__ import annotations

import contextlib
import random
import socket
import socketserver
import threading
from collections.abc import Callable
from typing import Any

from dsbalance import Backend, Bind, Config, Frontend, Proxy, Server
from dsbalance.http_options import HttpOptions
from dsbalance.model import Balance, Check, HashKind, HashType, StickRule, Table
from dsbalance.stats_options import StatsPage

TABLE = Table(size=204_800, expire=1800.0)
SERVERS = ("primary-1", "primary-2", "primary-3")


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.guests.append(self.request)  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while part := self.request.recv(1 << 16):
                self.request.sendall(part)


class Web(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.server.guests.append(self.request)  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):
            while self.request.recv(1 << 16):
                size = random.randrange(500, 20_000)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size
                self.request.sendall(head + b"x" * size)


class Service(socketserver.ThreadingTCPServer):
    """One port of one machine."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, kind: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__((host, port), kind)
        self.guests: list[socket.socket] = []
        self.thread = threading.Thread(target=lambda: self.serve_forever(0.05), daemon=True)
        self.thread.start()

    def die(self) -> None:
        """Refuse everybody, and leave those who are there."""
        self.shutdown()
        self.thread.join()
        self.server_close()
        for guest in self.guests:
            with contextlib.suppress(OSError):
                guest.shutdown(socket.SHUT_RDWR)


class Scenery:
    """The proxy and everybody around it.

    Args:
        another: Gives a loopback address of one's own.
        stats: What the dashboard is configured with.

    Attributes:
        proxy: At work.
        url: Of the dashboard.
    """

    def __init__(self, another: Callable[[], str], **stats: Any) -> None:
        self._another = another
        hosts = [another() for _ in SERVERS]
        self._door = another()
        ports = _free_ports(self._door, hosts)
        self._secure, self._plain = ports
        self._services = {
            name: (Service(host, self._secure, Echo), Service(host, self._plain, Web))
            for name, host in zip(SERVERS, hosts, strict=True)
        }
        given: dict[str, Any] = {"uri": "/", "admin": True}
        page = StatsPage(**(given | stats))
        self.proxy = Proxy(_config(hosts, self._door, ports, page))
        self.proxy.start()
        host, port = self.proxy.addresses("stats")[0]
        self.url = f"http://{host}:{port}/"
        self._is_over = threading.Event()
        self._clients: list[threading.Thread] = []

    def admit(self, secure: int, plain: int) -> None:
        """Let clients come: so many that stay connected, and so many that ask by HTTP."""
        kinds = [self._stay] * secure + [self._browse] * plain
        for kind in kinds:
            client = threading.Thread(target=kind, args=(self._another(),), daemon=True)
            self._clients.append(client)
            client.start()

    def kill(self, name: str) -> None:
        """Let a machine die."""
        for service in self._services.pop(name):
            service.die()

    def wait(self, seconds: float) -> None:
        """Let the clients talk."""
        self._is_over.wait(seconds)

    def admin(self, path: str) -> str:
        """Return what was asked of a server."""
        backend, _, server = path.partition("/")
        (found,) = (
            each.admin
            for section in self.proxy.snapshot().backends
            for each in section.servers
            if (section.name, each.name) == (backend, server)
        )
        return found

    def close(self) -> None:
        """End everything."""
        self._is_over.set()
        self.proxy.stop()
        self.proxy.join()
        for client in self._clients:
            client.join()
        for name in [*self._services]:
            self.kill(name)

    def _stay(self, source: str) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError), self._connect(self._secure, source) as sock:
                for _ in range(random.randrange(5, 60)):
                    sock.sendall(b"x" * random.randrange(100, 20_000))
                    if not sock.recv(1 << 16) or self._is_over.wait(random.uniform(0.1, 1)):
                        break
            self._is_over.wait(0.2)

    def _browse(self, source: str) -> None:
        while not self._is_over.is_set():
            with contextlib.suppress(OSError), self._connect(self._plain, source) as sock:
                for _ in range(random.randrange(2, 40)):
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
                    if not sock.recv(1 << 16) or self._is_over.wait(random.uniform(0.01, 0.4)):
                        break
            self._is_over.wait(0.2)

    def _connect(self, port: int, source: str) -> socket.socket:
        return socket.create_connection((self._door, port), 5, source_address=(source, 0))


def _free_ports(*hosts: Any) -> tuple[int, int]:
    """Return two ports: of addresses of one's own nearly all are free."""
    with socket.create_server((hosts[0], 0)) as one, socket.create_server((hosts[0], 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


def _config(hosts: list[str], door: str, ports: tuple[int, int], page: StatsPage) -> Config:
    secure, plain = ports
    check = Check(ports=(secure,), interval=0.5, fall=3, rise=4)

    def servers(*, tracks: str = "") -> tuple[Server, ...]:
        return tuple(
            Server(
                name=name,
                host=host,
                maxconn=200,
                check=None if tracks else check,
                track=f"{tracks}/{name}" if tracks else None,
                shutdown_on_down=True,
            )
            for name, host in zip(SERVERS, hosts, strict=True)
        )

    words: dict[str, Any] = {
        "balance": Balance.SOURCE,
        "hash_type": HashType(kind=HashKind.CONSISTENT),
    }
    own, shared = (StickRule(),), (StickRule(table="paragon"),)
    return Config(
        frontends=(
            _front("paragon", door, secure, None),
            _front("paragon-http", door, plain, HttpOptions()),
            Frontend(
                name="stats",
                binds=(Bind(host="127.0.0.1", port=0),),
                http=HttpOptions(stats=page),
                backend=None,
            ),
        ),
        backends=(
            Backend(name="paragon", servers=servers(), table=TABLE, stick=own, **words),
            Backend(
                name="paragon-http",
                servers=servers(tracks="paragon"),
                stick=shared,
                http=HttpOptions(),
                **words,
            ),
        ),
        node="balancer-1",
        description="Dispatcher Suite",
    )


def _front(name: str, host: str, port: int, http: HttpOptions | None) -> Frontend:
    binds = (Bind(host=host, port=port),)
    return Frontend(name=name, binds=binds, backend=name, http=http, maxconn=2000)
