"""HAProxy and dsbalance with the same file, the same servers, and an ear for their log."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from actors import PATIENCE, Peer, connect
from dsbalance import Proxy
from dsbalance.haproxy.config import read

from ..haproxy import HAPROXY

if TYPE_CHECKING:
    from .plays import Case

_GLOBAL = """\
global
    log {ear} len 8192 local0
    stats socket {socket} level admin
defaults
    log global
    timeout connect 200ms
    timeout client 8s
    timeout server 8s
    timeout queue 8s
    default-server inter 50ms rise 2 fall 2
"""
_HEAD = re.compile(r"(<\d+>)[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d haproxy\[\d+\]: ([^\n]*)\n")
_TRAFFIC = re.compile(
    r"127\.0\.0\.1:\d+ \[[^]]+\] (?P<front>\S+) (?P<server>\S+) (?P<times>[-\d/]+) (?P<rest>.*)"
)
# Behind the queues, which nothing else looks like.
_REASON = re.compile(r"( \d+/\d+) (?:\{\|[^}]*\}|[-a-z]+)(?= \"|$)")

# Between the times, or the status, and the letters.
_SENT = re.compile(r"((?:[-+]/)+[-+](?: -?\d+)?) \d+ (?=- - |\S\S \d)")


class Stage:
    """What a play has: its section's door, its server, the runtime API, and the log."""

    def __init__(self, side: Side, name: str, server: socket.socket) -> None:
        self.name = name
        self._side = side
        self._server = server

    def client(self) -> Peer:
        return connect(self._side.door(self.name))

    def accept(self) -> Peer:
        return Peer(self._server.accept()[0])

    def operate(self, command: str) -> str:
        return self._side.ask(command)

    def leave(self) -> None:
        """Let the server refuse."""
        self._address = self._server.getsockname()
        self._server.close()

    def come_back(self) -> None:
        self._server = socket.create_server(self._address)

    def until_queued(self, count: int) -> None:
        rows = ("a", "BACKEND")
        _until(lambda: count in [self._side.column(self.name, row, "qcur") for row in rows])

    def until_told(self, words: str) -> None:
        _until(lambda: any(words in line for line in self._side.heard(self.name)))

    def until_over(self) -> None:
        _until(lambda: self._side.column(self.name, "FRONTEND", "scur") == 0)

    def close(self) -> None:
        self._server.close()


class Side:
    """One of both at work.

    Args:
        cases: Which sections it has.
        folder: Where its socket may be.
        is_haproxy: Whether it is HAProxy.
    """

    def __init__(self, cases: Sequence[Case], folder: Path, *, is_haproxy: bool) -> None:
        self._cases = cases
        self._is_haproxy = is_haproxy
        self._ear = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ear.bind(("127.0.0.1", 0))
        self._ear.setblocking(False)
        self._lines: list[str] = []
        self._socket = str(folder / ("haproxy" if is_haproxy else "ours"))
        self._file = folder / f"{'haproxy' if is_haproxy else 'ours'}.cfg"
        self._doors: dict[str, tuple[str, int]] = {}

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        with contextlib.ExitStack() as cleanup:
            cleanup.enter_context(self._ear)
            servers = {case.name: socket.create_server(("127.0.0.1", 0)) for case in self._cases}
            self.stages = {name: Stage(self, name, sock) for name, sock in servers.items()}
            for stage in self.stages.values():
                cleanup.callback(stage.close)
            doors = [socket.create_server(("127.0.0.1", 0)) for _ in self._cases]
            for case, door in zip(self._cases, doors, strict=True):
                self._doors[case.name] = door.getsockname()
                if not self._is_haproxy:
                    door.close()
            text = self._text(servers, [door.fileno() for door in doors])
            for case in self._cases:
                if "refuses" in case.server:
                    servers[case.name].close()
            if self._is_haproxy:
                cleanup.enter_context(self._haproxy(text, doors))
            else:
                cleanup.enter_context(Proxy(read([("haproxy.cfg", text)]).config))
            yield

    def door(self, name: str) -> tuple[str, int]:
        return self._doors[name]

    def ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self._socket)
            sock.sendall(command.encode() + b"\n")
            parts = []
            while part := sock.recv(1 << 16):
                parts.append(part)
            return b"".join(parts).decode()

    def column(self, section: str, row: str, name: str) -> int:
        rows = csv.DictReader(io.StringIO(self.ask("show stat").lstrip("# ")))
        (found,) = (r for r in rows if (r["pxname"], r["svname"]) == (section, row))
        return int(found[name])

    def heard(self, name: str) -> tuple[str, ...]:
        """Return what was said of a section so far, without what is never the same."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._lines.append(self._ear.recv(1 << 16).decode())
        mine = re.compile(rf"[ (/]{re.escape(name)}[ /.)]")
        lines = tuple(_comparable(line) for line in self._lines if mine.search(line))
        if any(case.is_http for case in self._cases if case.name == name):
            # HAProxy counts heads in a form of its own, not as they are sent; and our pages differ.
            return tuple(_SENT.sub(r"\1 N ", line) for line in lines)
        return lines

    def _text(self, servers: dict[str, socket.socket], doors: Sequence[int]) -> str:
        host, port = self._ear.getsockname()
        parts = [_GLOBAL.format(ear=f"{host}:{port}", socket=self._socket)]
        for case, fd in zip(self._cases, doors, strict=True):
            where = f"fd@{fd}" if self._is_haproxy else "{}:{}".format(*self._doors[case.name])
            parts.append(f"listen {case.name}\n    bind {where}\n")
            if case.is_http:
                parts.append("    mode http\n")
            if case.style:
                parts.append(f"    option {case.style}\n")
            parts += (f"    {line}\n" for line in case.words)
            words = case.server.replace("refuses", "")
            address = "{}:{}".format(*servers[case.name].getsockname())
            parts.append(f"    server a {address} {words}\n")
        return "".join(parts)

    @contextlib.contextmanager
    def _haproxy(self, text: str, doors: Sequence[socket.socket]) -> Iterator[None]:
        self._file.write_text(text, encoding="utf-8")
        process = subprocess.Popen(
            (HAPROXY or "haproxy", "-db", "-f", str(self._file)),
            pass_fds=[door.fileno() for door in doors],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for door in doors:
            door.close()
        try:
            _until(lambda: process.poll() is not None or Path(self._socket).exists())
            assert process.poll() is None, "HAProxy has ended: try the file by hand"
            yield
        finally:
            process.kill()
            process.wait()


def _comparable(message: str) -> str:
    """Return a message without date, ports, numbers of the process, and times but their signs."""
    found = _HEAD.fullmatch(message)
    assert found is not None, message
    priority, line = found[1], re.sub(r"check duration: \d+ms", "check duration: Nms", found[2])
    # HAProxy may have counted the session that is just being connected, or not.
    line = re.sub(r"\d+ sessions active", "N sessions active", line)
    line = re.sub(r"127\.0\.0\.1:\d+ to 127\.0\.0\.1:\d+", "A to B", line)
    traffic = _TRAFFIC.fullmatch(line)
    if traffic is None:
        return f"{priority} {line}"
    signs = "/".join("-" if time == "-1" else "+" for time in traffic["times"].split("/"))
    rest = _REASON.sub(r"\1", traffic["rest"])
    return f"{priority} {traffic['front']} {traffic['server']} {signs} {rest}"


def _until(fact: object) -> None:
    assert callable(fact)
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)
