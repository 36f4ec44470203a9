"""What is told of single clients, at each step of their way."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from actors import (
    WAYS,
    Greeter,
    HttpStage,
    Peer,
    Stub,
    connect,
    front,
    get,
    one_backend,
    server,
    until,
)
from dsbalance import Proxy, Server
from dsbalance.stats import SessionSnapshot


@pytest.fixture
def stub() -> Iterator[Stub]:
    with contextlib.closing(Stub()) as stub:
        yield stub


def only(proxy: Proxy) -> SessionSnapshot:
    (found,) = proxy.sessions()
    return found


def test_a_session_says_who_it_is_and_where_it_goes_and_why(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        client.say(b"hello").hear(b"hello")
        seen = only(proxy)
        assert (seen.client, seen.client_port) == client.sock.getsockname()
        assert (seen.frontend, seen.backend, seen.server) == ("front", "back", "a")
        assert (seen.reason, seen.stage, seen.is_http) == ("roundrobin", "relaying", False)
        assert (seen.bytes_in, seen.bytes_out) == (5, 21)
        assert 0 <= seen.idle <= seen.age
        assert only(proxy).id == seen.id
    assert proxy.sessions() == []


def test_who_waits_has_no_server_and_no_reason_yet(stub: Stub) -> None:
    config = one_backend(Server(name="a", host=stub.host, port=stub.port, maxconn=1))
    with Proxy(config) as proxy, connect(front(proxy)), stub.accept(), connect(front(proxy)):
        until(lambda: len(proxy.sessions()) == 2)
        (waiting,) = (each for each in proxy.sessions() if each.stage == "queued")
        assert (waiting.server, waiting.reason, waiting.backend) == (None, "", "back")
        assert (waiting.bytes_in, waiting.bytes_out) == (0, 0)


def test_who_is_on_the_way_is_said_to_be_so() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        away = Server(name="a", host="127.0.0.1", port=closed.getsockname()[1])
        with Proxy(one_backend(away, retries=1000)) as proxy, connect(front(proxy)):
            until(lambda: [each.stage for each in proxy.sessions()] == ["retrying"])
            assert only(proxy).server == "a"


def test_a_conversation_says_what_it_does() -> None:
    stage = HttpStage(WAYS[0])
    with contextlib.closing(stage), contextlib.ExitStack() as stack:
        client: Peer = stack.enter_context(stage.connect())
        until(lambda: [each.stage for each in stage.proxy.sessions()] == ["fresh"])
        client.say(get())
        peer = stack.enter_context(stage.stub.accept())
        peer.take_head()
        seen = only(stage.proxy)
        assert (seen.stage, seen.server, seen.is_http) == ("asking", "a", True)
        assert (seen.bytes_in, seen.bytes_out) == (len(get()), 0)
        peer.say(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        client.hear_answer(200, b"ok")
        seen = only(stage.proxy)
        assert (seen.stage, seen.server, seen.reason) == ("idle", None, "")
        assert seen.bytes_out > 0


def test_a_request_that_waits_for_its_server_is_queued() -> None:
    stage = HttpStage(WAYS[0], maxconn=1)
    with contextlib.closing(stage), contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(stage.connect()).say(get())
        stack.enter_context(stage.stub.accept())
        until(lambda: "queued" in {each.stage for each in stage.proxy.sessions()})


def test_a_tunnel_counts_what_passes_through() -> None:
    stage = HttpStage(WAYS[0])
    with contextlib.closing(stage), contextlib.ExitStack() as stack:
        client = stack.enter_context(stage.connect())
        client.say(get("/", "Connection: upgrade", "Upgrade: x"))
        peer = stack.enter_context(stage.stub.accept())
        peer.take_head()
        peer.say(b"HTTP/1.1 101 Yes\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        client.take_head()
        before = only(stage.proxy)
        assert before.stage == "tunnel"
        client.say(b"12345")
        peer.hear(b"12345").say(b"123")
        client.hear(b"123")
        seen = only(stage.proxy)
        assert (seen.bytes_in - before.bytes_in, seen.bytes_out - before.bytes_out) == (5, 3)


def test_clients_of_a_frontend_that_was_removed_are_told_of(greeters: list[Greeter]) -> None:
    with Proxy(one_backend(server(greeters[0]))) as proxy, connect(front(proxy)) as client:
        client.take(16)
        proxy.remove_frontend("front")
        assert only(proxy).frontend == "front"
