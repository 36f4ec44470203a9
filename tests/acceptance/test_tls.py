"""Real TLS through the suite's listeners, and a gigabyte each way.

The balancer is a program of its own, started with nothing but the addresses of the servers. These
are threads of the test, each with a certificate that says which server it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from actors import PATIENCE, connect
from processes import ROOT, Process
from programs import DSBALANCE, devices

SECURE_PORTS = (5022, *range(5014, 5020), 50809)
PRINT_PORT = 9100
PORTS = (*SECURE_PORTS, 5555, PRINT_PORT)

GIGABYTE = 1 << 30
BLOCK = 1 << 20

Talk = Callable[[socket.socket], None]


def certificate(number: int) -> str:
    return str(ROOT / "dsbalance" / "testdata" / f"TEST-ONLY-primary-{number}.pem")


class Server:
    """One application server, which does the same with every connection.

    Args:
        number: 1 to 3: the certificate that it shows.
        host: Its address.
        talk: What it does with a connection, behind TLS where the port is a secure one.
    """

    def __init__(self, number: int, host: str, talk: Talk) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(certificate(number))
        self._talk = talk
        self._listeners = [socket.create_server((host, port)) for port in PORTS]
        self._threads = [
            threading.Thread(target=self._accept, args=(sock,), daemon=True)
            for sock in self._listeners
        ]
        for thread in self._threads:
            thread.start()

    def _accept(self, listener: socket.socket) -> None:
        is_secure = listener.getsockname()[1] in SECURE_PORTS
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threading.Thread(target=self._serve, args=(sock, is_secure), daemon=True).start()

    def _serve(self, sock: socket.socket, is_secure: bool) -> None:
        sock.settimeout(PATIENCE)
        # Else what follows the session tickets waits 40 ms for their acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(OSError), contextlib.closing(sock):
            if is_secure:
                with self._context.wrap_socket(sock, server_side=True) as secure:
                    self._talk(secure)
            else:
                self._talk(sock)

    def close(self) -> None:
        for listener in self._listeners:
            # A thread in accept() keeps a closed listener alive; shutdown wakes it.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)


@pytest.fixture
def site(loopback: Callable[[], str]) -> Iterator[Callable[[Talk], str]]:
    """Return what starts three servers and the balancer, and returns the balancer's address."""
    with ExitStack() as stack:

        def start(talk: Talk) -> str:
            hosts = [loopback() for _ in range(3)]
            for number, host in enumerate(hosts, 1):
                stack.callback(Server(number, host, talk).close)
            front = loopback()
            addresses = ",".join(hosts)
            servers = ("--paragon", addresses, "--phoenix", addresses)
            options = (*servers, "--print-ports", str(PRINT_PORT), "--host", front)
            program = stack.enter_context(Process(*DSBALANCE, "run", *options))
            # The last of its ports, which no server has: nobody hears of this connection.
            program.until_it_listens((front, 50808))
            return front

        yield start


@pytest.fixture(scope="module")
def trusting() -> ssl.SSLContext:
    """Return what a device knows: the certificates of the three servers and no others."""
    context = ssl.create_default_context(cafile=certificate(1))
    context.load_verify_locations(certificate(2))
    context.load_verify_locations(certificate(3))
    return context


@contextlib.contextmanager
def secure(
    context: ssl.SSLContext, address: tuple[str, int], source: str | None = None
) -> Iterator[ssl.SSLSocket]:
    """Connect, and demand that whoever answers proves to be one of the servers."""
    with connect(address, source) as peer:
        with context.wrap_socket(peer.sock, server_hostname="localhost") as sock:
            yield sock


def subject(sock: ssl.SSLSocket) -> str:
    """Return the common name in the certificate that the other end showed."""
    shown = sock.getpeercert()
    assert shown
    pairs = [pair for group in shown["subject"] for pair in group]
    return str(dict(pairs)["commonName"])  # type: ignore[arg-type]


def tell_port(sock: socket.socket) -> None:
    """Answer every message with the port that it came to."""
    while sock.recv(64):
        sock.sendall(str(sock.getsockname()[1]).encode())


def test_a_device_sees_the_certificate_of_one_server_on_all_ports(
    site: Callable[[Talk], str], trusting: ssl.SSLContext
) -> None:
    front = site(tell_port)
    found = set()
    for source in devices(12):
        subjects = set()
        for port in SECURE_PORTS:
            with secure(trusting, (front, port), source) as sock:
                subjects.add(subject(sock))
                sock.sendall(b"Which port is this?")
                assert int(sock.recv(64)) == port
        assert len(subjects) == 1, source
        found |= subjects
    assert found == {f"TEST ONLY primary-{number}" for number in (1, 2, 3)}


# --- a gigabyte each way --------------------------------------------------------------------------


def pour(sock: socket.socket) -> bytes:
    """Send a gigabyte, no two blocks of which are equal, and return its digest."""
    block = bytearray(os.urandom(BLOCK))
    digest = hashlib.sha256()
    for number in range(GIGABYTE // BLOCK):
        block[:8] = number.to_bytes(8)
        digest.update(block)
        sock.sendall(block)
    return digest.digest()


def drink(sock: socket.socket) -> bytes:
    """Receive a gigabyte and return its digest."""
    buffer = memoryview(bytearray(BLOCK))
    digest = hashlib.sha256()
    left = GIGABYTE
    while left:
        count = sock.recv_into(buffer, min(left, BLOCK))
        assert count, f"{left} bytes are missing"
        digest.update(buffer[:count])
        left -= count
    return digest.digest()


def test_a_gigabyte_passes_each_way_through_tls(
    site: Callable[[Talk], str], trusting: ssl.SSLContext
) -> None:
    digests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def talk(sock: socket.socket) -> None:
        digests.put(drink(sock))
        digests.put(pour(sock))

    front = site(talk)
    # One thread an end: OpenSSL's connections are not for two at a time.
    with secure(trusting, (front, 5022)) as sock:
        assert pour(sock) == digests.get(timeout=PATIENCE)
        assert drink(sock) == digests.get(timeout=PATIENCE)


def test_a_gigabyte_passes_each_way_at_once(site: Callable[[Talk], str]) -> None:
    digests: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()

    def both(sock: socket.socket) -> tuple[bytes, bytes]:
        with ThreadPoolExecutor(2) as pool:
            sent, got = pool.submit(pour, sock), pool.submit(drink, sock)
            return sent.result(), got.result()

    front = site(lambda sock: digests.put(both(sock)))
    with connect((front, PRINT_PORT)) as peer:
        sent, got = both(peer.sock)
    assert digests.get(timeout=PATIENCE) == (got, sent)
