"""PROXY headers through a whole proxy: what a client comes with, and what its server is told."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path as FilePath

import pytest

import dsbalance
from actors import PATHS, PATIENCE, Path, Peer, Stub, connect, front, one_backend, until
from dsbalance import Backend, Bind, Config, Proxy, Server
from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.haproxy.proxy_protocol import Header, header_end, parse_header
from dsbalance.http_options import AddressField, HttpOptions
from dsbalance.model import SendProxy

TOLD = Header(
    version=2,
    source="192.0.2.1",
    source_port=56324,
    destination="192.0.2.9",
    destination_port=443,
    tlvs=b"\5\0\6unique",
)
V1 = replace(TOLD, version=1, tlvs=b"")
LOCAL = Header(version=2, is_local=True)
CERTIFICATE = FilePath(dsbalance.__file__).parent / "testdata" / "TEST-ONLY-primary-1.pem"
REQUEST = b"GET / HTTP/1.1\r\nHost: primary\r\n\r\n"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


class Stage:
    """A proxy in front of one server, the test itself."""

    def __init__(self, path: Path, version: SendProxy | None, **frontend: object) -> None:
        self.stub = Stub(path.host)
        server = Server(name="a", host=path.host, port=self.stub.port, send_proxy=version)
        config = one_backend(server, host=path.host)
        binds = (Bind(host=path.host, port=0, accept_proxy="door" not in frontend),)
        door = replace(config.frontends[0], binds=binds, **frontend)  # type: ignore[arg-type]
        back = replace(config.backends[0], http=door.http)
        self.proxy = Proxy(
            replace(config, frontends=(door,), backends=(back,)),
            poller=path.poller(),
            pipes=path.pipes,
        )
        self.proxy.start()

    def client(self, header: Header | None = None) -> Peer:
        client = connect(front(self.proxy))
        return client if header is None else client.say(header.encode())

    def server(self) -> tuple[Header, Peer]:
        """Return the header that the server gets, and its end of the connection behind that."""
        server = self.stub.accept()
        data = b""
        while not header_end(data):
            part = server.take(1)
            assert part, f"the header ended: {data!r}"
            data += part
        return parse_header(data), server

    def current(self) -> int:
        return self.proxy.snapshot().frontends[0].current

    def close(self) -> None:
        self.proxy.stop()
        self.proxy.join()
        self.stub.close()


@pytest.fixture(params=[path for path in PATHS if path.pipes], ids=str)
def path(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if path.lack:
        pytest.skip(path.lack)
    return path


@pytest.fixture
def stages(path: Path) -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def staged(
    stack: contextlib.ExitStack, path: Path, version: SendProxy | None, **frontend: object
) -> Stage:
    stage = Stage(path, version, **frontend)
    stack.callback(stage.close)
    return stage


def head_of(peer: Peer) -> bytes:
    """Return a message's head."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        part = peer.take(1)
        assert part, f"the head ended: {head!r}"
        head += part
    return head


def from_source(network: str) -> Condition:
    look = Look(fetch=Fetch.SRC, networks=(IPv4Network(network),))
    return Condition(alternatives=((Term(tests=(look,)),),))


# --- from the client's header to the server's -----------------------------------------------------


@pytest.mark.parametrize("told", [TOLD, V1], ids=["v2", "v1"])
@pytest.mark.parametrize(
    ("version", "heard"),
    [(SendProxy.V1, {"version": 1, "tlvs": b""}), (SendProxy.V2, {"version": 2})],
)
def test_a_server_hears_what_the_client_came_with(
    stages: contextlib.ExitStack,
    path: Path,
    told: Header,
    version: SendProxy,
    heard: dict[str, object],
) -> None:
    stage = staged(stages, path, version)
    with stage.client(told).say(b"ping") as client:
        header, server = stage.server()
        assert header == replace(told, **heard)  # type: ignore[arg-type]
        with server:
            server.hear(b"ping").say(b"pong").finish()
            client.hear(b"pong").hear_end().say(b"still").finish()
            server.hear(b"still").hear_end()


def test_a_header_may_come_byte_by_byte(stages: contextlib.ExitStack, path: Path) -> None:
    stage = staged(stages, path, SendProxy.V2)
    with stage.client() as client:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in TOLD.encode() + b"ping":
            client.say(bytes([byte]))
        header, server = stage.server()
        assert header == TOLD
        server.hear(b"ping").close()


@pytest.mark.parametrize("told", [None, Header(version=1), LOCAL], ids=["none", "v1", "v2"])
def test_a_server_hears_the_clients_own_address_where_it_came_with_none(
    stages: contextlib.ExitStack, path: Path, told: Header | None
) -> None:
    words = {"door": ()} if told is None else {}
    stage = staged(stages, path, SendProxy.V2, **words)
    with stage.client(told).say(b"ping") as client:
        header, server = stage.server()
        server.hear(b"ping").close()
        assert (header.source, header.source_port) == client.sock.getsockname()[:2]
        assert (header.destination, header.destination_port) == client.sock.getpeername()[:2]


def test_a_server_that_is_told_nothing_gets_what_stands_behind_the_header(
    stages: contextlib.ExitStack, path: Path
) -> None:
    stage = staged(stages, path, None)
    with stage.client(TOLD).say(b"ping"):
        stage.stub.accept().hear(b"ping").close()


def test_tls_begins_behind_the_headers(stages: contextlib.ExitStack, path: Path) -> None:
    stage = staged(stages, path, SendProxy.V2)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(CERTIFICATE)
    trusting = ssl.create_default_context(cafile=CERTIFICATE)

    def talk() -> bytes:
        with trusting.wrap_socket(stage.client(TOLD).sock, server_hostname="localhost") as client:
            client.sendall(b"ping")
            return client.recv(4)

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(talk)
        header, server = stage.server()
        assert header == TOLD
        with serving.wrap_socket(server.sock, server_side=True) as secured:
            assert secured.recv(4) == b"ping"
            secured.sendall(b"pong")
            assert answer.result(PATIENCE) == b"pong"


# --- whose address decides ------------------------------------------------------------------------


def test_a_header_is_expected_from_those_alone_of_whom_a_rule_says_so(
    stages: contextlib.ExitStack, path: Path
) -> None:
    if path.host != "127.0.0.1":
        pytest.skip("the rules are for IPv4")
    trusted = DoorRule(action=DoorAction.EXPECT_PROXY, condition=from_source("127.0.0.9"))
    stage = staged(stages, path, SendProxy.V2, door=(trusted,))
    try:
        client = connect(front(stage.proxy), "127.0.0.9")
    except OSError as error:
        pytest.skip(f"127.0.0.9 cannot be used here: {error}")
    with client.say(TOLD.encode()):
        header, server = stage.server()
        server.close()
        assert header == TOLD
    # From anybody else the same bytes are a client's own, and nobody believes them.
    with stage.client(TOLD) as forger:
        header, server = stage.server()
        with server:
            assert header.source == forger.sock.getsockname()[0]
            server.hear(TOLD.encode())


def test_the_address_of_the_header_decides_where_a_client_goes(path: Path) -> None:
    with contextlib.ExitStack() as stack:
        stubs = [stack.enter_context(contextlib.closing(Stub(path.host))) for _ in range(2)]
        near, far = (Server(name="s", host=path.host, port=stub.port) for stub in stubs)
        config = one_backend(near, host=path.host)
        config = Config(
            frontends=(
                replace(
                    config.frontends[0],
                    binds=(Bind(host=path.host, port=0, accept_proxy=True),),
                    routes=(BackendRule(backend="far", condition=from_source("192.0.2.0/24")),),
                ),
            ),
            backends=(*config.backends, Backend(name="far", servers=(far,))),
        )
        with Proxy(config, poller=path.poller()) as proxy:
            for source, stub in (("192.0.2.1", stubs[1]), ("198.51.100.1", stubs[0])):
                header = replace(V1, source=source)
                with connect(front(proxy)).say(header.encode() + b"ping"):
                    stub.accept().hear(b"ping").close()


# --- HTTP -----------------------------------------------------------------------------------------


def test_requests_have_the_address_of_the_header_and_one_header_is_sent_for_all(
    stages: contextlib.ExitStack, path: Path
) -> None:
    http = HttpOptions(forwardfor=AddressField(), originalto=AddressField())
    stage = staged(stages, path, SendProxy.V2, http=http)
    with stage.client(TOLD).say(REQUEST) as client:
        header, server = stage.server()
        assert header == TOLD
        with server:
            for _ in range(2):
                head = head_of(server)
                assert b"x-forwarded-for: 192.0.2.1\r\n" in head.lower()
                assert b"x-original-to: 192.0.2.9\r\n" in head.lower()
                server.say(RESPONSE)
                assert head_of(client).startswith(b"HTTP/1.1 200 OK\r\n")
                client.hear(b"hi").say(REQUEST)


# --- what is no header ----------------------------------------------------------------------------


def test_who_says_no_header_leaves_its_room_to_the_next(
    stages: contextlib.ExitStack, path: Path
) -> None:
    stage = staged(stages, path, SendProxy.V1, maxconn=1)
    for _ in range(3):
        with stage.client() as client:
            client.say(b"GET / HTTP/1.0\r\n\r\n").hear_reset()
    with stage.client(TOLD) as client:
        header, server = stage.server()
        server.close()
        assert header == V1
        client.hear_end()


def test_who_says_nothing_has_as_long_as_a_client_may_be_silent(
    stages: contextlib.ExitStack, path: Path
) -> None:
    stage = staged(stages, path, SendProxy.V1, timeout_client=0.05)
    with stage.client() as client:
        client.hear_end()
    until(lambda: stage.current() == 0)


def test_a_proxy_that_stops_waits_for_no_header(path: Path) -> None:
    stage = Stage(path, SendProxy.V1)
    with stage.client() as client:
        until(lambda: stage.current() == 1)
        stage.close()
        client.hear_end()


def test_who_is_still_at_the_door_when_the_ports_close_gets_one_answer(path: Path) -> None:
    stage = Stage(path, None, http=HttpOptions())
    with stage.client() as client:
        client.say(V1.encode()[:10])
        until(lambda: stage.current() == 1)
        stage.proxy.soft_stop()
        client.say(V1.encode()[10:] + REQUEST)
        with stage.stub.accept() as server:
            server.take_head()
            server.say(RESPONSE)
            assert b"connection: close" in client.take_head().lower()
            client.hear(b"hi")
            client.hear_end()
    stage.proxy.join()
    stage.close()


# --- servers that are not there -------------------------------------------------------------------


def test_another_server_is_told_the_same(path: Path) -> None:
    with contextlib.closing(Stub(path.host)) as gone:
        pass
    with contextlib.closing(Stub(path.host)) as stub:
        servers = (
            Server(name="gone", host=path.host, port=gone.port, send_proxy=SendProxy.V2),
            Server(name="there", host=path.host, port=stub.port, send_proxy=SendProxy.V1),
        )
        config = one_backend(*servers, host=path.host, retries=1, redispatch=1)
        with Proxy(config, poller=path.poller()) as proxy:
            with connect(front(proxy)).say(b"ping") as client:
                address = client.sock.getsockname()[1]
                line = b"PROXY TCP%d %b %b %d %d\r\n" % (
                    6 if ":" in path.host else 4,
                    path.host.encode(),
                    path.host.encode(),
                    address,
                    front(proxy)[1],
                )
                stub.accept().hear(line + b"ping").close()
