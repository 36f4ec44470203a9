"""The same rules at the door, the same clients: HAProxy and dsbalance let in and send alike.

Clients of a few addresses come and go at random at frontends that look at all that may be looked
at, while servers are taken away and given back. After each step both sides have settled, so what
the next client gets depends on the rules alone.
"""

from __future__ import annotations

import random
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from actors import PATIENCE, Greeter, Peer, connect, until
from dsbalance import Proxy
from dsbalance.haproxy.config import read
from processes import Process
from programs import HAPROXY

needs_haproxy = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed")

FILE = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 1h
    timeout server 1h

frontend by-source
    bind {front}:6001
    acl friend src {one}
    acl known src {one} {two}
    acl known src {three}
    tcp-request connection accept if friend
    tcp-request connection reject if !known or {{ src {three} }}
    default_backend a

frontend by-count
    bind {front}:6002
    tcp-request connection track-sc0 src table counts
    tcp-request connection reject if {{ sc0_conn_cur gt 2 }}
    default_backend a

listen by-rate
    bind {front}:6003
    stick-table type ip size 100 expire 1h store conn_rate(1h)
    tcp-request connection reject if {{ sc0_conn_rate gt 0 }}
    tcp-request connection track-sc0 src unless {{ src {one} }}
    tcp-request connection reject if {{ sc0_conn_rate gt 6 }} or {{ sc0_conn_cur gt 0 }}
    server a {a}

frontend ways
    bind {front}:6004
    bind {front}:6005
    bind {front}:6006-6007
    use_backend b if {{ dst_port 6005 }} !{{ src {one} }}
    use_backend c if {{ dst_port gt 6006 }} or {{ nbsrv(a) lt 1 }}
    use_backend b unless {{ nbsrv(b) lt 2 }} or {{ dst_port 6004 }}
    default_backend a

frontend by-turn
    bind {front}:6008
    tcp-request connection track-sc0 src table turns if {{ src {one} {two} }}
    tcp-request connection track-sc0 src table counts
    tcp-request connection reject unless {{ sc0_conn_cur lt 4 }}
    use_backend b if {{ sc0_conn_cur 2 }}
    use_backend c if {{ sc0_conn_cur ge 3 }}
    default_backend a

frontend announced
    bind {front}:6009
    tcp-request connection expect-proxy layer4 if {{ src {two} {three} }}
    tcp-request connection track-sc0 src table counts
    tcp-request connection reject if {{ src 192.0.2.0/24 }} or {{ sc0_conn_cur gt 3 }}
    use_backend b if {{ src 192.0.2.0/25 }}
    use_backend c if {{ dst_port 7777 }}
    default_backend a

backend a
    server a1 {a}
    server a2 {a}

backend b
    server b1 {b}
    server b2 {b} backup
    server b3 {b}

backend c
    server c1 {c}

backend counts
    stick-table type ip size 100 expire 1h store conn_cur,conn_rate(1h)

backend turns
    stick-table type ip size 100 expire 1h store conn_cur
"""
PORTS = tuple(range(6001, 6010))
HEADERS = (
    "PROXY TCP4 192.0.2.7 198.51.100.1 40000 5014\r\n",
    "PROXY TCP4 192.0.2.200 198.51.100.1 40000 7777\r\n",
    "PROXY TCP4 192.0.2.201 198.51.100.1 40000 7778\r\n",
    "PROXY UNKNOWN\r\n",
)
SERVERS = ("a/a1", "a/a2", "b/b1", "b/b3")
NOBODY = "rejected"


class Theirs:
    """HAProxy with this file."""

    def __init__(self, text: str, folder: Path, stack: ExitStack) -> None:
        self._address = str(folder / "socket")
        file = folder / "haproxy.cfg"
        head = f"global\n    stats socket {self._address} level admin\n"
        file.write_text(head + text, encoding="utf-8")
        process = stack.enter_context(Process(HAPROXY or "haproxy", "-db", "-f", str(file)))
        process.until_it_listens((text.split("bind ")[1].split(":", maxsplit=1)[0], 6009))

    def set_server(self, server: str, state: str) -> None:
        assert not self._ask(f"set server {server} state {state}").strip()

    def count(self) -> int:
        """Return how many connections there are, and demand that the tables count no more."""
        rows = [row.split(",") for row in self._ask("show stat -1 1 -1").splitlines() if row]
        current = rows[0].index("scur")
        return sum(int(row[current]) for row in rows[1:])

    def tracked(self) -> int:
        """Return how many connections the tables count."""
        said = self._ask("show table counts") + self._ask("show table turns")
        return sum(map(int, re.findall(r"conn_cur=(\d+)", said)))

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(self._address)
            sock.sendall(f"{command}\n".encode())
            return b"".join(iter(lambda: sock.recv(1 << 16), b"")).decode()


class Ours:
    """dsbalance with this file, in this process."""

    def __init__(self, text: str, stack: ExitStack) -> None:
        self._proxy = stack.enter_context(Proxy(read([("doors.cfg", text)]).config))

    def set_server(self, server: str, state: str) -> None:
        {"ready": self._proxy.ready, "drain": self._proxy.drain, "maint": self._proxy.maint}[state](
            server
        )

    def count(self) -> int:
        return sum(frontend.current for frontend in self._proxy.snapshot().frontends)


@dataclass
class Pair:
    """Both sides, and the clients that are at both of them."""

    fronts: tuple[str, str]
    theirs: Theirs
    ours: Ours
    clients: list[tuple[int, Peer, Peer]] = field(default_factory=list)

    def come(self, port: int, source: str, words: str) -> tuple[str, str]:
        """Let a client come to both, and return who greets it; it stays if somebody does."""
        (theirs, name), (ours, ours_name) = (
            _come((front, port), source, words) for front in self.fronts
        )
        if theirs is not None and ours is not None:
            self.clients.append((port, theirs, ours))
        else:
            for peer in (theirs, ours):
                if peer is not None:
                    peer.close()
        return name, ours_name

    def go(self, index: int) -> None:
        """Let a client leave both, and wait until both have noticed."""
        _, *peers = self.clients.pop(index)
        for peer in peers:
            peer.close()
        self.settle()

    def settle(self) -> None:
        counted = sum(port in (6002, 6008, 6009) for port, *_ in self.clients)
        until(lambda: self.ours.count() == len(self.clients))
        until(lambda: self.theirs.count() == len(self.clients))
        until(lambda: self.theirs.tracked() == counted)


def _come(address: tuple[str, int], source: str, words: str) -> tuple[Peer | None, str]:
    try:
        client = connect(address, source)
    except ConnectionResetError:
        return None, NOBODY
    try:
        name = client.say(words.encode()).take(16).decode().strip()
    except ConnectionResetError:
        name = ""
    if name:
        return client, name
    client.close()
    return None, NOBODY


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@needs_haproxy
@pytest.mark.parametrize("seed", range(3))
def test_both_let_in_and_send_alike(
    seed: int, tmp_path: Path, loopback: Callable[[], str], stack: ExitStack
) -> None:
    greeters = [Greeter(name) for name in "abc"]
    for greeter in greeters:
        stack.callback(greeter.close)
    sources = [loopback() for _ in range(4)]
    words = dict(zip(("one", "two", "three"), sources, strict=False))
    words |= {greeter.name: f"{greeter.host}:{greeter.port}" for greeter in greeters}
    fronts = loopback(), loopback()
    pair = Pair(
        fronts,
        Theirs(FILE.format(front=fronts[0], **words), tmp_path, stack),
        Ours(FILE.format(front=fronts[1], **words), stack),
    )
    pair.settle()
    chance = random.Random(seed)
    told: list[str] = []
    found: set[str] = set()
    for _ in range(150):
        deed = chance.random()
        if deed < 0.1:
            server, state = chance.choice(SERVERS), chance.choice(("ready", "drain", "maint"))
            told.append(f"{server} is set to {state}")
            pair.theirs.set_server(server, state)
            pair.ours.set_server(server, state)
        elif deed < 0.4 and pair.clients:
            index = chance.randrange(len(pair.clients))
            told.append(f"the client at {pair.clients[index][0]} leaves")
            pair.go(index)
        else:
            port, number = chance.choice(PORTS), chance.randrange(4)
            # Who is expected to say a header says it, and now and then somebody else does.
            is_proxy = port == 6009 and number in (1, 2)
            header = chance.choice(HEADERS) if is_proxy or chance.random() < 0.1 else ""
            told.append(f"client {number} comes to {port} {header.strip()}")
            theirs, ours = pair.come(port, sources[number], header)
            assert theirs == ours, "\n".join(told)
            found.add(theirs)
    assert found == {"a", "b", "c", NOBODY}
    while pair.clients:
        pair.go(0)
