"""Claim: fifty browsers that look at the dashboard do not slow down who is forwarded.

Unit: 100 bytes to the server and back, one at a time on each of 8 connections, with a pause after
each answer so that the rival is not at its limit. ``p99_us`` is the time that all but one of a
hundred of them took while fifty browsers each ask once in two seconds for what the open page asks
for, and another client reads the page one byte a second; ``alone_us`` is that of others, which take
turns with these in the same round, when the same browsers ask another process for the same bytes:
they need processors, too. ``ratio`` is one by the other. There are twelve listeners of three
servers each. HAProxy has no such page: its own is loaded anew. ``rate`` and CPU are those of the
time in which somebody looks.
Command: ``.venv/bin/python benchmarks/dashboard.py``
"""

import contextlib
import functools
import multiprocessing
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

from load import WORDS, connect, echo_server
from rig import Claim, Meter, Sample
from rivals import Rival, Site, Target, free_port, haproxy, running

BROWSERS = 50
# Seconds between two looks of a browser; what the page itself does.
INTERVAL = 2.0
CONNECTIONS = 8
# Seconds that a client waits behind an answer.
PAUSE = 0.004
# In how many turns a round is done, each alone and beside the browsers.
TURNS = 4
_CONTEXT = multiprocessing.get_context("fork")

_CONFIG = """\
global
    maxconn 1000
defaults
    mode tcp
    timeout connect 5s
    timeout client 10m
    timeout server 10m
listen stats
    mode http
    bind 127.0.0.1:{stats}
    stats enable
    stats uri /
"""
_LISTEN = """\
listen part-{number}
    bind 127.0.0.1:{port}
    balance source
    hash-type consistent
    stick-table type ip size 200k expire 30m
    stick on src
    server a 127.0.0.1:{server}
    server b 127.0.0.1:{server}
    server c 127.0.0.1:{server}
"""


class Watched(NamedTuple):
    """A rival at work.

    Attributes:
        target: Where it forwards.
        port: Of its dashboard.
        other: Of a process that answers whatever it is asked as the dashboard once did.
        look: What a browser asks for.
    """

    target: Target
    port: int
    other: int
    look: bytes


def _command(site: Site, program: list[str], stats: int) -> list[str]:
    parts = [_CONFIG.format(stats=stats)]
    for number in range(12):
        port = free_port() if number else site.port
        parts.append(_LISTEN.format(number=number, port=port, server=site.servers[0]))
    path = site.folder / "stats.cfg"
    path.write_text("".join(parts), encoding="ascii")
    return [*program, str(path)]


def _start(program: list[str], stats: int = 0) -> Callable[[Site], list[str]]:
    return functools.partial(_command, program=program, stats=stats)


_PROGRAMS = {
    "dsbalance": [sys.executable, "-m", "dsbalance", "-f"],
    "haproxy": [haproxy() or "haproxy", "-db", "-f"],
}
_REQUEST = b"GET %b HTTP/1.1\r\nHost: h\r\n\r\n"
_LOOKS = {"dsbalance": b"/;live", "haproxy": b"/"}
RIVALS = (
    Rival(name="dsbalance", command=_start(_PROGRAMS["dsbalance"])),
    Rival(
        name="haproxy",
        command=_start(_PROGRAMS["haproxy"]),
        missing=lambda: "" if haproxy() else "HAProxy is not installed",
    ),
)


@contextlib.contextmanager
def stage(rival: Rival, _count: int) -> Iterator[Watched]:
    port = free_port()
    # A site has one port; this is the other.
    own = replace(rival, command=_start(_PROGRAMS[rival.name], port))
    look = _LOOKS[rival.name]
    with echo_server() as server, running(own, server) as target:
        with socket.create_connection(("127.0.0.1", port)) as sock:
            sock.sendall(_REQUEST % look)
            answer = _read_answer(sock)
        with _stand_in(answer) as other:
            yield Watched(target, port, other, look)


@contextlib.contextmanager
def _stand_in(answer: bytes) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as sock:
        process = _CONTEXT.Process(target=_answer, args=(sock, answer), daemon=True)
        process.start()
        try:
            yield sock.getsockname()[1]
        finally:
            process.terminate()
            process.join()


def _answer(listener: socket.socket, answer: bytes) -> None:
    with selectors.DefaultSelector() as waiting:
        waiting.register(listener, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock is listener:
                    sock, _ = listener.accept()
                    waiting.register(sock, selectors.EVENT_READ)
                elif sock.recv(4096):
                    sock.sendall(answer)
                else:
                    waiting.unregister(sock)
                    sock.close()


@contextlib.contextmanager
def looking(port: int, look: bytes) -> Iterator[None]:
    """Have a process of browsers that look, and of one client that reads slowly."""
    process = _CONTEXT.Process(target=_look, args=(port, look), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _look(port: int, target: bytes) -> None:
    """Ask once in an interval on each connection, which the rival may close behind the answer."""
    slow = socket.create_connection(("127.0.0.1", port))
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    slow.sendall(_REQUEST % b"/")
    due = slow_due = time.monotonic()
    request = _REQUEST % target
    browsers: dict[int, socket.socket] = {}
    for number in (number for _ in iter(int, 1) for number in range(BROWSERS)):
        due += INTERVAL / BROWSERS
        time.sleep(max(0.0, due - time.monotonic()))
        if due > slow_due:
            with contextlib.suppress(ConnectionError):
                slow.recv(1)
            slow_due = due + 1.0
        sock = browsers.get(number) or socket.create_connection(("127.0.0.1", port))
        sock.sendall(request)
        if b"connection: close" not in _read_answer(sock).lower().partition(b"\r\n\r\n")[0]:
            browsers[number] = sock
        else:
            sock.close()
            browsers.pop(number, None)


def _read_answer(sock: socket.socket) -> bytes:
    """Read one response, and return it."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += _more(sock)
    head, _, body = got.lower().partition(b"\r\n\r\n")
    if b"content-length: " in head:
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(body) < length:
            body += (more := _more(sock))
            got += more
    else:
        while not got.endswith(b"0\r\n\r\n"):
            got += _more(sock)
    return got


def _more(sock: socket.socket) -> bytes:
    if data := sock.recv(1 << 20):
        return data
    raise ConnectionError("it ended within an answer")


def times(port: int, count: int) -> list[float]:
    """Return how long each of so many answers took, in seconds."""
    found: list[float] = []
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as waiting:
        socks = [*connect(port, CONNECTIONS, stack).values()]
        asked: dict[socket.socket, float] = {}
        due = [
            (time.perf_counter() + PAUSE * number / CONNECTIONS, sock)
            for number, sock in enumerate(socks)
        ]
        for sock in socks:
            waiting.register(sock, selectors.EVENT_READ)
        while len(found) < count:
            now = time.perf_counter()
            while due and due[0][0] <= now:
                _, sock = due.pop(0)
                asked[sock] = time.perf_counter()
                sock.sendall(WORDS)
            left = max(0.0, due[0][0] - time.perf_counter()) if due else None
            for key, _ in waiting.select(left):
                peer = key.fileobj
                assert isinstance(peer, socket.socket)
                if len(peer.recv(1000)) != len(WORDS):
                    raise ValueError("an answer was not whole")
                now = time.perf_counter()
                found.append(now - asked[peer])
                due.append((now + PAUSE, peer))
    return found


def work(watched: Watched, count: int) -> Sample:
    alone: list[float] = []
    beside: list[float] = []
    meter = Meter(watched.target)
    part = max(CONNECTIONS, count // TURNS)
    for _ in range(TURNS):
        with looking(watched.other, watched.look):
            alone += times(watched.target.port, part)
        with looking(watched.port, watched.look), meter:
            beside += times(watched.target.port, part)
    before, after = _p99(alone), _p99(beside)
    more = {"p99_us": after * 1e6, "alone_us": before * 1e6, "ratio": after / before}
    return meter.sample(len(beside), **more)


def _p99(found: list[float]) -> float:
    return sorted(found)[len(found) * 99 // 100]


if __name__ == "__main__":
    Claim(
        text="forwarding while fifty browsers look",
        unit="request",
        count=16_000,
        small=400,
        bars={"ratio": (None, 1.1)},
        work=work,
        stage=stage,
        rivals=RIVALS,
        against="haproxy",
    ).run()
