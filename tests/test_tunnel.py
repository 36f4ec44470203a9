"""When both sides leave HTTP behind: upgrades and CONNECT."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path as FilePath

import pytest

import dsbalance
from actors import OK, HttpStage, Path, Peer, get, state, until

Opened = Callable[..., HttpStage]

UPGRADE = get("/", "Connection: Upgrade", "Upgrade: chat")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n"
CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
# What asks for a tunnel, and what grants it.
WAYS_IN = pytest.mark.parametrize(
    ("request_", "response"), [(UPGRADE, SWITCHED), (CONNECT, ESTABLISHED)], ids=["101", "CONNECT"]
)
CERTIFICATE = FilePath(dsbalance.__file__).parent / "testdata" / "TEST-ONLY-primary-1.pem"


def tunneled(stage: HttpStage, request_: bytes, response: bytes) -> tuple[Peer, Peer]:
    """Return both ends of a tunnel."""
    client, server = stage.talk(request_)
    server.take_head()
    server.say(response)
    client.take_head()
    return client, server


@WAYS_IN
def test_both_may_say_what_they_like(stage: HttpStage, request_: bytes, response: bytes) -> None:
    client, server = tunneled(stage, request_, response)
    with client, server:
        for number in range(20):
            client.say(b"\x00GET %d" % number)
            server.hear(b"\x00GET %d" % number)
            server.say(b"\xffHTTP %d" % number)
            client.hear(b"\xffHTTP %d" % number)
    until(lambda: stage.clients() == 0)


@WAYS_IN
def test_what_either_said_early_comes_behind_the_heads(
    stage: HttpStage, request_: bytes, response: bytes
) -> None:
    client, server = stage.talk(request_ + b"early")
    with client, server:
        server.take_head()
        server.say(response + b"at once")
        assert client.take_head().startswith(response[:12])
        client.hear(b"at once")
        server.hear(b"early")
        client.say(b" and later")
        server.hear(b" and later")


@WAYS_IN
def test_early_bytes_reach_no_server_that_refuses(
    stage: HttpStage, request_: bytes, response: bytes
) -> None:
    client, server = stage.talk(request_ + get("/next"))
    with client, server:
        server.take_head()
        server.say(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        client.hear_answer(403, b"no")
        server.hear_request(b"GET /next")
        server.say(OK)
        client.hear_answer(200, b"ok")


def test_a_tunnel_that_was_not_asked_for_is_refused(stage: HttpStage) -> None:
    client, server = stage.talk(get())
    with client, server:
        server.take_head()
        server.say(SWITCHED)
        client.hear_answer(502)


@WAYS_IN
def test_each_direction_ends_by_itself(stage: HttpStage, request_: bytes, response: bytes) -> None:
    client, server = tunneled(stage, request_, response)
    with client, server:
        client.say(b"last words")
        client.finish()
        server.hear(b"last words")
        server.hear_end()
        server.say(b"answer")
        server.close()
        client.hear(b"answer")
        client.hear_end()
    until(lambda: stage.clients() == 0)


@WAYS_IN
def test_a_reset_is_passed_on(stage: HttpStage, request_: bytes, response: bytes) -> None:
    client, server = tunneled(stage, request_, response)
    with client:
        server.reset()
        client.hear_reset()
    client, server = tunneled(stage, request_, response)
    with server:
        client.reset()
        server.hear_reset()
    until(lambda: stage.clients() == 0)


@WAYS_IN
def test_long_streams_in_both_directions_are_whole(
    long_way: Path, opened: Opened, request_: bytes, response: bytes
) -> None:
    stage = opened(long_way)
    up, down = os.urandom(8 << 20), os.urandom(8 << 20)
    client, server = tunneled(stage, request_, response)
    with client, server:
        threads = [
            threading.Thread(target=peer.say, args=(words,))
            for peer, words in ((client, up), (server, down))
        ]
        for thread in threads:
            thread.start()
        reader = threading.Thread(target=lambda: heard.append(server.take(len(up))))
        heard: list[bytes] = []
        reader.start()
        client.hear(down)
        for thread in (*threads, reader):
            thread.join()
        assert heard == [up]


def test_a_tunnel_holds_its_place(way: Path, opened: Opened) -> None:
    stage = opened(way, maxconn=1, timeout_queue=60.0)
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    with client, server, stage.connect() as other:
        other.say(get())
        until(lambda: stage.proxy.snapshot().backends[0].queued == 1)
        client.close()
        server.close()
        with stage.stub.accept() as its:
            its.hear_request(b"GET /")
            its.say(OK)
            other.hear_answer(200, b"ok")


def test_the_bytes_of_a_tunnel_are_counted_once(stage: HttpStage) -> None:
    client, server = stage.talk(CONNECT + b"12345")
    with client, server:
        head = server.take_head()
        server.say(ESTABLISHED + b"123")
        answer = client.take_head()
        client.hear(b"123")
        server.hear(b"12345")
        client.say(b"6789")
        server.hear(b"6789")
        server.say(b"45")
        client.hear(b"45")
    until(lambda: stage.clients() == 0)
    counted = state(stage.proxy, "a")
    assert (counted.bytes_in, counted.bytes_out) == (len(head) + 9, len(answer) + 5)


def test_a_silent_tunnel_has_a_limit_of_its_own(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=60.0, timeout_server=60.0, timeout_tunnel=0.1)
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    with client, server:
        client.hear_end()
        server.hear_end()
    until(lambda: stage.clients() == 0)


def test_a_tunnel_outlives_the_limits_of_requests(way: Path, opened: Opened) -> None:
    stage = opened(way, timeout_client=0.2, timeout_server=0.2, timeout_tunnel=60.0)
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    with client, server:
        # Another one that keeps to them ends in the meantime.
        with stage.connect() as other:
            other.hear_answer(408)
        server.say(b"still there")
        client.hear(b"still there")


def test_a_soft_stop_lets_a_tunnel_go_on(stage: HttpStage) -> None:
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    with client, server:
        stage.proxy.soft_stop()
        client.say(b"on")
        server.hear(b"on")
    stage.proxy.join()


def test_tls_goes_through_a_tunnel(stage: HttpStage) -> None:
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(CERTIFICATE)
    # Who they are is not the question.
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = False
    ours.verify_mode = ssl.CERT_NONE
    heard: list[bytes] = []

    def answer() -> None:
        with theirs.wrap_socket(server.sock, server_side=True) as secret:
            heard.append(secret.recv(6))
            secret.sendall(b"answer")
            secret.unwrap().close()

    thread = threading.Thread(target=answer)
    thread.start()
    with ours.wrap_socket(client.sock) as secret:
        secret.sendall(b"secret")
        assert secret.recv(6) == b"answer"
        assert secret.recv(1) == b""
        secret.unwrap()
    thread.join()
    client.close()
    server.close()
    assert heard == [b"secret"]


def test_an_urgent_byte_goes_nowhere(stage: HttpStage) -> None:
    client, server = tunneled(stage, CONNECT, ESTABLISHED)
    with client, server:
        client.say(b"before")
        client.sock.send(b"!", socket.MSG_OOB)
        client.say(b"behind")
        server.hear(b"before")
        server.hear(b"behind")
