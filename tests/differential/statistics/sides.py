"""HAProxy and dsbalance, each with a frontend and a backend for every case, told by one file."""

from __future__ import annotations

import contextlib
import http.client
import math
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from dsbalance import Config, Proxy
from dsbalance.haproxy.config import read
from dsbalance.poller import SelectorPoller

from ..corpus.sides import HOST
from ..haproxy import HAPROXY
from .cases import Case
from .rows import Rows, parse

_PATIENCE = 20.0
# For how long an answer serves who looks again and again, in seconds.
_MOMENT = 0.03
_FILE = """\
global
    stats socket {socket} level admin
    maxconn 600
{threads}
defaults
    timeout connect 2s
    timeout client 8s
    timeout server 8s
    retries 0
    option socket-stats
{pages}"""
# So that both say the same when they say something of their own, byte by byte.
_PAGES = (200, 400, 403, 408, 502, 503, 504)
_PAGE = "HTTP/1.1 {} Sorry\r\ncontent-length: 5\r\ncontent-type: text/plain\r\n\r\nsorry"
_METRICS = """\
frontend metrics
    mode http
    bind {}
    http-request use-service prometheus-exporter if {{ path /metrics }}
"""


def text(cases: Sequence[Case], addresses: Sequence[Sequence[str]], doors: Sequence[str]) -> str:
    """Return the file: a frontend and a backend for each case.

    Args:
        cases: The cases.
        addresses: Those of the servers of each case.
        doors: What stands behind ``bind`` in each case.
    """
    parts = []
    for number, (case, servers, door) in enumerate(zip(cases, addresses, doors, strict=True)):
        parts.append(f"frontend front{number}\n    mode {case.mode}\n    bind {door}\n")
        parts += (f"    {line}\n" for line in case.frontend)
        parts.append(f"    default_backend back{number}\n")
        parts.append(f"backend back{number}\n    mode {case.mode}\n")
        parts += (f"    {line}\n" for line in case.backend)
        for name, address, words in zip("abc", servers, case.servers, strict=False):
            parts.append(f"    server {name} {address} {words}\n")
    return "".join(parts)


class _Side:
    """A program that works on the cases, and answers on a runtime API.

    Args:
        cases: The cases.
        addresses: Of the servers of each case.
    """

    def __init__(self, cases: Sequence[Case], addresses: Sequence[Sequence[str]]) -> None:
        self._cases = cases
        self._addresses = addresses
        self._folder = tempfile.TemporaryDirectory(prefix="statistics-")
        self._turn = threading.Lock()
        self._look = threading.Lock()
        self._looked_at = -math.inf
        self._seen: dict[str, Rows] = {}
        self._socket = str(Path(self._folder.name) / "socket")

    def ask(self, command: str) -> str:
        """Put a command, and return the answer."""
        # HAProxy takes 10 at a time, and then some; the rest would have to try again.
        with self._turn, socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(_PATIENCE)
            sock.connect(self._socket)
            sock.sendall(f"{command}\n".encode())
            answer = bytearray()
            while part := sock.recv(1 << 16):
                answer += part
        return answer.decode()

    def rows(self, number: int, since: float = math.inf) -> Rows:
        """Return what is said of a case.

        Args:
            number: That of the case.
            since: How old the answer may be, an instant: one answer serves many who look often.
        """
        with self._look:
            now = time.monotonic()
            if self._looked_at < max(min(since, now), now - _MOMENT):
                self._looked_at = now
                self._seen = parse(self.ask("show stat"))
            return {**self._seen[f"front{number}"], **self._seen[f"back{number}"]}

    def metrics(self, accept: str = "") -> tuple[str, str]:
        """Return what the exporter says, and what it calls that."""
        connection = http.client.HTTPConnection(*self._metrics(), timeout=_PATIENCE)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics", headers={"Accept": accept} if accept else {})
            answer = connection.getresponse()
            return answer.read().decode(), answer.getheader("Content-Type", "")

    def _metrics(self) -> tuple[str, int]:
        raise NotImplementedError

    def _text(self, doors: Sequence[str], threads: str = "") -> str:
        """Return the file. The last door is the exporter's."""
        pages = []
        for status in _PAGES:
            page = Path(self._folder.name) / f"{status}.http"
            page.write_bytes(_PAGE.format(status).encode())
            pages.append(f"    errorfile {status} {page}\n")
        head = _FILE.format(socket=self._socket, threads=threads, pages="".join(pages))
        *fronts, last = doors
        return head + text(self._cases, self._addresses, fronts) + _METRICS.format(last)


class OurSide(_Side):
    """The cases in a :class:`Proxy` of this process."""

    def __init__(self, cases: Sequence[Case], addresses: Sequence[Sequence[str]]) -> None:
        super().__init__(cases, addresses)
        file = self._text([f"{HOST}:0"] * (len(cases) + 1))
        self._proxy = self.made(read([("haproxy.cfg", file)]).config)

    def made(self, config: Config) -> Proxy:
        """Return the proxy that is to run."""
        return Proxy(config)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with self._folder, self._proxy:
            yield

    def door(self, number: int) -> tuple[str, int]:
        return self._proxy.addresses(f"front{number}")[0]

    def _metrics(self) -> tuple[str, int]:
        return self._proxy.addresses("metrics")[0]


class PortableSide(OurSide):
    """The same as it is where there is neither epoll nor splice."""

    def made(self, config: Config) -> Proxy:
        return Proxy(config, poller=SelectorPoller(), pipes=0)


class HaproxySide(_Side):
    """The cases in a HAProxy, which gets its listening sockets."""

    def __init__(self, cases: Sequence[Case], addresses: Sequence[Sequence[str]]) -> None:
        super().__init__(cases, addresses)
        self._doors = [socket.create_server((HOST, 0)) for _ in (*cases, None)]
        self._places: list[tuple[str, int]] = [door.getsockname() for door in self._doors]

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with self._folder, tempfile.TemporaryFile() as said:
            file = Path(self._folder.name) / "haproxy.cfg"
            doors = [f"fd@{door.fileno()}" for door in self._doors]
            file.write_text(self._text(doors, threads="    nbthread 1\n"), encoding="utf-8")
            process = subprocess.Popen(
                (HAPROXY or "haproxy", "-db", "-f", str(file)),
                pass_fds=[door.fileno() for door in self._doors],
                stdout=said,
                stderr=said,
            )
            try:
                for door in self._doors:
                    door.close()
                self._greet(process)
                yield
            finally:
                process.kill()
                process.wait()
                said.seek(0)
                self.said = said.read().decode()

    def door(self, number: int) -> tuple[str, int]:
        return self._places[number]

    def _metrics(self) -> tuple[str, int]:
        return self._places[-1]

    def _greet(self, process: subprocess.Popen[bytes]) -> None:
        """Wait until it answers."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.ask("show info")
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return
