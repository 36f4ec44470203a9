"""A relayed session as a conversation: both pollers, by copy and by splice, IPv4 and IPv6."""

from __future__ import annotations

import hashlib
import os
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from actors import PATHS, Path, Peer, Stub, connect, front, one_backend, until
from dsbalance import Config, Proxy, Server


class Stage:
    """A proxy between one stub server and whoever connects."""

    def __init__(self, path: Path, **limits: float) -> None:
        self.stub = Stub(path.host)
        server = Server(name="a", host=path.host, port=self.stub.port)
        config = one_backend(server, host=path.host)
        self.proxy = Proxy(_limited(config, limits), poller=path.poller(), pipes=path.pipes)
        self.proxy.start()

    def talk(self) -> tuple[Peer, Peer]:
        """Return both ends of a new session."""
        client = connect(front(self.proxy))
        return client, self.stub.accept()

    def sessions(self) -> int:
        return self.proxy.snapshot().frontends[0].current

    def close(self) -> None:
        self.proxy.stop()
        self.proxy.join()
        self.stub.close()


def _limited(config: Config, limits: dict[str, float]) -> Config:
    mine = {word: value for word, value in limits.items() if word.startswith("timeout_client")}
    theirs = {word: value for word, value in limits.items() if word not in mine}
    return replace(
        config,
        frontends=(replace(config.frontends[0], **mine),),  # type: ignore[arg-type]
        backends=(replace(config.backends[0], **theirs),),  # type: ignore[arg-type]
    )


@pytest.fixture(params=PATHS, ids=str)
def path(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if path.lack:
        pytest.skip(path.lack)
    return path


@pytest.fixture
def stage(path: Path) -> Iterator[Stage]:
    stage = Stage(path)
    yield stage
    stage.close()


def test_both_hear_what_the_other_says(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        client.say(b"who are you?")
        server.hear(b"who are you?")
        server.say(b"a")
        client.hear(b"a")


def test_a_client_that_half_closes_gets_its_whole_answer(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        request = os.urandom(100_000)
        client.say(request)
        client.finish()
        server.hear(request)
        server.hear_end()
        server.say(request[::-1])
        server.close()
        client.hear(request[::-1])
        client.hear_end()
    until(lambda: stage.sessions() == 0)


def test_a_server_that_half_closes_hears_the_client_out(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        server.say(b"ready")
        server.finish()
        client.hear(b"ready")
        client.hear_end()
        document = os.urandom(10_000)
        client.say(document)
        client.close()
        server.hear(document)
        server.hear_end()
    until(lambda: stage.sessions() == 0)


def test_both_may_half_close_at_once(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        client.finish()
        server.finish()
        client.hear_end()
        server.hear_end()
    until(lambda: stage.sessions() == 0)


def test_a_server_that_speaks_first_is_heard(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        server.say(b"220 ready\r\n")
        client.hear(b"220 ready\r\n")


def test_a_server_that_accepts_and_closes_ends_the_client_cleanly(stage: Stage) -> None:
    client, server = stage.talk()
    with client:
        server.close()
        client.hear_end()
    until(lambda: stage.sessions() == 0)


def test_a_reset_of_the_server_reaches_the_client_behind_its_last_byte(stage: Stage) -> None:
    client, server = stage.talk()
    with client:
        server.say(b"half an ans")
        client.hear(b"half an ans")
        server.reset()
        client.hear_reset()
    until(lambda: stage.sessions() == 0)


def test_a_reset_of_the_client_reaches_the_server(stage: Stage) -> None:
    client, server = stage.talk()
    with server:
        client.say(b"print thi")
        server.hear(b"print thi")
        client.reset()
        server.hear_reset()
    until(lambda: stage.sessions() == 0)


def test_a_reset_behind_a_half_close_is_a_reset(stage: Stage) -> None:
    client, server = stage.talk()
    with server:
        client.say(b"all of it")
        client.finish()
        server.hear(b"all of it")
        server.hear_end()
        client.reset()
        # The server may go on writing until the reset is there; then it must be told.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while True:
                server.say(b"x" * 65536)
    until(lambda: stage.sessions() == 0)


def test_a_slow_client_gets_everything_before_the_reset(stage: Stage) -> None:
    client, server = stage.talk()
    with client:
        answer = os.urandom(300_000)
        server.say(answer)
        # Everything has left the server before it resets, for a reset destroys what has not.
        until(lambda: _unsent(server) == 0)
        server.reset()
        client.hear(answer)
        client.hear_reset()
    until(lambda: stage.sessions() == 0)


def test_a_client_that_reads_late_gets_everything_before_the_reset(path: Path) -> None:
    # A session may linger longer than its limit, as long as the client takes something.
    stage = Stage(path, timeout_client=1.0, timeout_server=1.0)
    try:
        client, server = stage.talk()
        with client:
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            answer = os.urandom(2_000_000)
            server.say(answer)
            until(lambda: _unsent(server) == 0)
            server.reset()
            until(lambda: stage.proxy.snapshot().backends[0].servers[0].current == 1)
            client.hear(answer)
            client.hear_reset()
    finally:
        stage.close()


def _unsent(peer: Peer) -> int:
    from dsbalance.sockets import unsent

    return unsent(peer.sock)


def test_an_answer_that_comes_before_a_reset_is_delivered(stage: Stage) -> None:
    client, server = stage.talk()
    with client:
        client.say(b"x" * 200_000)
        server.take(1)
        server.say(b"413 too much")
        # Bytes of the client are unread, so this close is a reset.
        server.close()
        client.hear(b"413 too much")
        client.hear_reset()
    until(lambda: stage.sessions() == 0)


def test_fifty_megabytes_wait_for_a_stopped_reader_and_are_whole(stage: Stage) -> None:
    client, server = stage.talk()
    block = os.urandom(1 << 20)
    sent = hashlib.sha256()

    def send() -> None:
        for _ in range(50):
            sent.update(block)
            server.say(block)
        server.finish()

    thread = threading.Thread(target=send)
    thread.start()
    got = hashlib.sha256()
    with client, server:
        while part := client.sock.recv(1 << 20):
            got.update(part)
        thread.join()
        assert got.digest() == sent.digest()


def test_streams_in_both_directions_at_once_are_whole(stage: Stage) -> None:
    client, server = stage.talk()
    size = 8 << 20
    up, down = os.urandom(size), os.urandom(size)
    heard: dict[str, bytes] = {}

    def act(name: str, peer: Peer, words: bytes) -> list[threading.Thread]:
        def say() -> None:
            peer.say(words)
            peer.finish()

        def listen() -> None:
            heard[name] = peer.take(size + 1)

        threads = [threading.Thread(target=say), threading.Thread(target=listen)]
        for thread in threads:
            thread.start()
        return threads

    with client, server:
        for thread in act("client", client, up) + act("server", server, down):
            thread.join()
        assert heard["server"] == up
        assert heard["client"] == down
    until(lambda: stage.sessions() == 0)


def test_a_client_that_speaks_before_its_server_is_reached_loses_nothing(path: Path) -> None:
    stage = Stage(path)
    try:
        client = connect(front(stage.proxy))
        client.say(b"early")
        client.finish()
        server = stage.stub.accept()
        with client, server:
            server.hear(b"early")
            server.hear_end()
    finally:
        stage.close()


def test_single_bytes_arrive_one_by_one(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        client.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for number in range(500):
            client.say(bytes((number % 256,)))
            server.hear(bytes((number % 256,)))
            server.say(b"!")
            client.hear(b"!")


def test_an_urgent_byte_disturbs_nothing(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        client.say(b"before")
        client.sock.send(b"!", socket.MSG_OOB)
        client.say(b"behind")
        server.hear(b"before")
        server.hear(b"behind")


def test_silence_ends_a_session(path: Path) -> None:
    stage = Stage(path, timeout_client=0.1, timeout_server=0.2)
    try:
        client, server = stage.talk()
        with client, server:
            client.hear_end()
            server.hear_end()
        until(lambda: stage.sessions() == 0)
        assert stage.proxy.snapshot().backends[0].client_aborts == 1
    finally:
        stage.close()


def test_half_closed_silence_has_a_limit_of_its_own(path: Path) -> None:
    stage = Stage(path, timeout_client=900, timeout_server=900, timeout_server_fin=0.1)
    try:
        client, server = stage.talk()
        with client, server:
            client.finish()
            server.hear_end()
            client.hear_end()
        until(lambda: stage.sessions() == 0)
        assert stage.proxy.snapshot().backends[0].server_aborts == 1
    finally:
        stage.close()


def test_who_has_not_got_everything_when_time_is_up_is_reset(path: Path) -> None:
    stage = Stage(path, timeout_client=0.3, timeout_server=0.3)
    try:
        client, server = stage.talk()
        with client, server:
            server.sock.setblocking(False)
            block = b"x" * (1 << 20)
            with pytest.raises(ConnectionError):
                # The client reads nothing, so this fills every buffer on the way, and then it ends.
                while True:
                    try:
                        server.sock.send(block)
                    except BlockingIOError:
                        select.select([], [server.sock], [], 0.05)
            with pytest.raises(ConnectionResetError):
                while client.sock.recv(1 << 20):
                    pass
    finally:
        stage.close()


def test_bytes_are_counted(stage: Stage) -> None:
    client, server = stage.talk()
    with client, server:
        client.say(b"12345")
        server.hear(b"12345")
        server.say(b"123")
        client.hear(b"123")
    until(lambda: stage.sessions() == 0)
    snapshot = stage.proxy.snapshot()
    assert (snapshot.frontends[0].bytes_in, snapshot.frontends[0].bytes_out) == (5, 3)
    assert (snapshot.backends[0].bytes_in, snapshot.backends[0].bytes_out) == (5, 3)
