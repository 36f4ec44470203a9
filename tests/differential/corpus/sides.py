"""HAProxy and dsbalance, each with a frontend and a backend for every case."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence

from dsbalance import Config, Proxy
from dsbalance.haproxy.config import read
from dsbalance.poller import SelectorPoller

from ..haproxy import HAPROXY
from .cases import Case

_DEFAULTS = """\
defaults
    mode http
    timeout connect 2s
    timeout client 8s
    timeout server 8s
    retries 0
    option httplog
    log global
"""
_LINE = re.compile(
    r"\] (?P<front>\S+) (?P<server>\S+/\S+) (?P<times>[-+\d/]+) (?P<status>-?\d+) \+?\d+ - -"
    r" (?P<end>..)"
)


def _host() -> str:
    """Return an address for this process alone, if the system has more than 127.0.0.1.

    Clients of other programs, whose server has gone, do not come to a port of it by chance.
    """
    number = os.getpid() % 60_000
    host = f"127.2.{number >> 8}.{number & 255}"
    with socket.socket() as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return "127.0.0.1"
    return host


HOST = _host()
Street = Sequence[list[socket.socket]]


class Journal:
    """The lines of ``option httplog``, by case."""

    def __init__(self) -> None:
        self._lines: dict[str, list[str]] = defaultdict(list)

    def add(self, line: str) -> None:
        """Keep a line, in short: backend and server, a sign for each time, status, letters."""
        if found := _LINE.search(line):
            times = "".join("-" if time == "-1" else "+" for time in found["times"].split("/"))
            short = f"{found['server']} {times} {found['status']} {found['end']}"
            self._lines[found["front"]].append(re.sub(r"\b(?:front|back)\d+/", "", short))

    def of(self, number: int) -> tuple[str, ...]:
        return tuple(self._lines[f"front{number}"])


def text(cases: Sequence[Case], street: Street, doors: Sequence[str]) -> str:
    """Return the file: a frontend and a backend for each case, with these doors."""
    parts = [_DEFAULTS]
    for number, (case, listeners, door) in enumerate(zip(cases, street, doors, strict=True)):
        parts.append(f"frontend front{number}\n    bind {door}\n")
        parts += (f"    {line}\n" for line in case.frontend)
        parts.append(f"    default_backend back{number}\nbackend back{number}\n")
        parts += (f"    {line}\n" for line in case.backend)
        for name, listener, words in zip("abc", listeners, case.servers, strict=False):
            host, port = listener.getsockname()
            parts.append(f"    server {name} {host}:{port} {words}\n")
    return "".join(parts)


class OurSide:
    """The cases in a :class:`Proxy` of this process."""

    def __init__(self, cases: Sequence[Case], street: Street) -> None:
        file = text(cases, street, [f"{HOST}:0"] * len(cases))
        self.journal = Journal()
        self._proxy = self.made(read([("haproxy.cfg", file)]).config)

    def made(self, config: Config) -> Proxy:
        """Return the proxy that is to run."""
        return Proxy(config)

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        log, journal = logging.getLogger("dsbalance.conversation"), self.journal

        class _Ear(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                journal.add(record.getMessage())

        ear, level, spreads = _Ear(), log.level, log.propagate
        log.addHandler(ear)
        log.setLevel(logging.INFO)
        log.propagate = False
        try:
            with self._proxy:
                yield
        finally:
            log.removeHandler(ear)
            log.setLevel(level)
            log.propagate = spreads

    def door(self, number: int) -> tuple[str, int]:
        return self._proxy.addresses(f"front{number}")[0]


class PortableSide(OurSide):
    """The same as it is where there is neither epoll nor splice."""

    def made(self, config: Config) -> Proxy:
        return Proxy(config, poller=SelectorPoller(), pipes=0)


class HaproxySide:
    """The cases in a HAProxy, which gets its listening sockets and sends its log."""

    def __init__(self, cases: Sequence[Case], street: Street) -> None:
        self.journal = Journal()
        self._doors = [socket.create_server((HOST, 0)) for _ in cases]
        self._addresses: list[tuple[str, int]] = [door.getsockname() for door in self._doors]
        self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ear.bind(("127.0.0.1", 0))
        file = text(cases, street, [f"fd@{door.fileno()}" for door in self._doors])
        where = "{}:{}".format(*self._ear.getsockname())
        self._file = f"global\n    log {where} len 8192 local0\n{file}"

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
            path = f"{folder}/haproxy.cfg"
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._file)
            with open(f"{folder}/said", "w+b") as said:
                process = subprocess.Popen(
                    (HAPROXY or "haproxy", "-db", "-f", path),
                    pass_fds=[door.fileno() for door in self._doors],
                    stdout=said,
                    stderr=said,
                )
                for door in self._doors:
                    door.close()
                thread = threading.Thread(target=self._listen, daemon=True)
                thread.start()
                try:
                    yield
                    if process.poll() is not None:
                        said.seek(0)
                        raise RuntimeError(f"HAProxy has ended:\n{said.read().decode()}")
                finally:
                    process.kill()
                    process.wait()
                    self._ear.sendto(b"", self._ear.getsockname())
                    thread.join()
                    self._ear.close()

    def door(self, number: int) -> tuple[str, int]:
        return self._addresses[number]

    def _listen(self) -> None:
        while line := self._ear.recv(1 << 16):
            self.journal.add(line.decode("latin-1"))
