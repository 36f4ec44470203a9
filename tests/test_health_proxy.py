"""Checks that begin with a PROXY header, against real listeners."""

from __future__ import annotations

import contextlib
import queue
import socket
from collections.abc import Iterator

import pytest

from actors import PATIENCE, Peer, Stub
from dsbalance.health import CheckResult, CheckStatus, HealthChecker
from dsbalance.model import Check, SendProxy, Server

LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"


class Bench:
    """A checker at work, and what it says."""

    def __init__(self, checker: HealthChecker) -> None:
        self._checker = checker
        self._results: queue.SimpleQueue[CheckResult] = queue.SimpleQueue()

    def check(self, *stubs: Stub, send_proxy: SendProxy | None, is_sent: bool = True) -> None:
        server = Server(
            name="a",
            host=stubs[0].host,
            check=Check(ports=tuple(stub.port for stub in stubs), interval=600),
            send_proxy=send_proxy,
            check_send_proxy=is_sent,
        )
        self._checker.watch(server, on_result=self._results.put)

    @property
    def status(self) -> CheckStatus:
        return self._results.get(timeout=PATIENCE).status


@pytest.fixture
def bench() -> Iterator[Bench]:
    with HealthChecker() as checker:
        yield Bench(checker)


@pytest.fixture
def stubs() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def listening(stack: contextlib.ExitStack, host: str = "127.0.0.1") -> Stub:
    try:
        stub = Stub(host)
    except OSError as error:
        pytest.skip(f"{host} cannot be used here: {error}")
    stack.callback(stub.close)
    return stub


@pytest.mark.parametrize("version", [None, SendProxy.V1])
@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", "TCP4"), ("::1", "TCP6")])
def test_a_check_in_version_1_names_the_addresses_of_its_own_connection(
    bench: Bench,
    stubs: contextlib.ExitStack,
    version: SendProxy | None,
    host: str,
    family: str,
) -> None:
    stub = listening(stubs, host)
    bench.check(stub, send_proxy=version)
    sock, address = stub.sock.accept()
    with Peer(sock) as application:
        said = f"PROXY {family} {host} {host} {address[1]} {stub.port}\r\n"
        application.hear(said.encode()).hear_reset()
    assert bench.status is CheckStatus.L4OK


def test_a_check_in_version_2_is_local_at_each_of_its_ports(
    bench: Bench, stubs: contextlib.ExitStack
) -> None:
    ports = [listening(stubs), listening(stubs)]
    bench.check(*ports, send_proxy=SendProxy.V2)
    for port in ports:
        with port.accept() as application:
            application.hear(LOCAL).hear_reset()
    assert bench.status is CheckStatus.L4OK


def test_a_port_that_is_not_open_fails_as_without_a_header(
    bench: Bench, stubs: contextlib.ExitStack
) -> None:
    closed = listening(stubs)
    closed.close()
    bench.check(closed, send_proxy=SendProxy.V2)
    assert bench.status is CheckStatus.L4CON


def test_what_sessions_begin_with_is_no_matter_of_the_checks(
    bench: Bench, stubs: contextlib.ExitStack
) -> None:
    stub = listening(stubs)
    bench.check(stub, send_proxy=SendProxy.V1, is_sent=False)
    assert bench.status is CheckStatus.L4OK
    # Whoever comes first here stands behind the check, or is the check, which was reset unheard.
    with socket.create_connection((stub.host, stub.port)) as client:
        client.sendall(b"client")
        with stub.accept() as application:
            try:
                application.hear(b"client")
            except ConnectionResetError:
                return
