"""Clients that mean no good: slow, endless, never reading. Nothing grows, nobody else waits."""

from __future__ import annotations

import contextlib
import gc
import os
import select
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from actors import OK, HttpStage, Path, Peer, get, post, until
from dsbalance.conversation import Conversation

Opened = Callable[..., HttpStage]

MIB = 1 << 20
needs_proc = pytest.mark.skipif(
    not os.path.isdir("/proc/self/fd"), reason="this system does not list a process's descriptors"
)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def grown() -> Iterator[Callable[[], int]]:
    """Return how many bytes of Python's memory are in use that were not at the start."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    def measure() -> int:
        return tracemalloc.get_traced_memory()[0] - before

    yield measure
    tracemalloc.stop()


def serve(stage: HttpStage) -> None:
    """Have one more client, which is served as ever."""
    client, server = stage.talk(get("/other"))
    with client, server:
        server.hear_request(b"GET /other")
        server.say(OK)
        client.hear_answer(200, b"ok")


def stuffed(peer: Peer, words: bytes, patience: float = 0.3) -> int:
    """Say it again and again until nobody takes any more for a while; return how often."""
    peer.sock.setblocking(False)
    said = 0
    rest = b""
    while True:
        try:
            rest = (rest or words)[peer.sock.send(rest or words) :]
            said += not rest
        except BlockingIOError:
            if not select.select([], [peer.sock], [], patience)[1]:
                return said
        except ConnectionError:
            return said


def test_two_hundred_slow_heads_cost_little_and_hold_nobody_up(
    stage: HttpStage, closing: ExitStack, grown: Callable[[], int]
) -> None:
    clients = [closing.enter_context(stage.connect()) for _ in range(200)]
    head = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"".join(b"X-%d: y\r\n" % i for i in range(100))
    for part in range(0, len(head), 100):
        for client in clients:
            client.say(head[part : part + 100])
        if not part % 500:
            serve(stage)
    until(lambda: stage.clients() == 200)
    assert grown() < 8 * MIB


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nHost: h\r\nX: ", b"\r\n"])
def test_an_endless_head_is_refused(stage: HttpStage, start: bytes) -> None:
    with stage.connect() as client:
        with contextlib.suppress(ConnectionError):
            client.say(start + b"x" * 100_000 if start != b"\r\n" else start * 100_000)
        with contextlib.suppress(ConnectionResetError):
            client.hear_answer(400)
            client.hear_end()
    until(lambda: stage.clients() == 0)
    serve(stage)


def test_many_small_fields_are_an_endless_head_too(stage: HttpStage) -> None:
    with stage.connect() as client:
        client.say(b"GET / HTTP/1.1\r\nHost: h\r\n" + b"a: b\r\n" * 5000)
        client.hear_answer(400)
        client.hear_end()


def test_a_client_that_never_reads_costs_a_buffer_or_a_pipe(
    long_way: Path, opened: Opened, grown: Callable[[], int]
) -> None:
    stage = opened(long_way)
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        stuffed(server, b"x" * MIB)
        assert grown() < 4 * MIB
        serve(stage)
        client.reset()
    until(lambda: stage.clients() == 0)


def test_a_server_that_never_reads_costs_a_buffer_or_a_pipe(
    long_way: Path, opened: Opened, grown: Callable[[], int]
) -> None:
    stage = opened(long_way)
    client, server = stage.talk(post(length=10_000_000_000))
    with client, server:
        server.hear_request(b"POST /")
        stuffed(client, b"x" * MIB)
        assert grown() < 4 * MIB
        serve(stage)
        client.reset()
    until(lambda: stage.clients() == 0)


def test_a_client_that_asks_for_ever_and_never_reads_costs_a_buffer(
    stage: HttpStage, grown: Callable[[], int]
) -> None:
    body = b"x" * 60_000
    client, server = stage.talk()
    ended = threading.Event()

    def answer_all() -> None:
        with contextlib.suppress(OSError, AssertionError):
            while True:
                server.take_head()
                server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + body)
        ended.set()

    thread = threading.Thread(target=answer_all)
    thread.start()
    with client:
        said = stuffed(client, get() * 1000)
        assert said, "it was stopped before it began"
        assert grown() < 4 * MIB
        client.reset()
    thread.join()
    server.close()
    until(lambda: stage.clients() == 0)
    serve(stage)


def test_a_client_that_is_answered_by_us_for_ever_and_never_reads_costs_a_buffer(
    way: Path, opened: Opened, grown: Callable[[], int]
) -> None:
    stage = opened(way, monitor_uri="/alive")
    with stage.connect() as client:
        stuffed(client, get("/alive") * 1000)
        assert grown() < 4 * MIB
        client.reset()
    until(lambda: stage.clients() == 0)


def test_a_server_that_says_100_for_ever_to_a_client_that_never_reads_costs_a_buffer(
    stage: HttpStage, grown: Callable[[], int]
) -> None:
    client, server = stage.talk()
    with client, server:
        server.hear_request(b"GET /")
        stuffed(server, b"HTTP/1.1 100 Continue\r\nX: y\r\n\r\n" * 1000)
        assert grown() < 4 * MIB
        serve(stage)
        client.reset()
    until(lambda: stage.clients() == 0)


def test_tiny_chunks_are_passed_on_and_hold_nobody_up(stage: HttpStage) -> None:
    client, server = stage.talk(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunks = b"1\r\nx\r\n" * 200_000
    with client, server:
        server.hear_request(b"POST /")
        thread = threading.Thread(target=client.say, args=(chunks + b"0\r\n\r\n",))
        thread.start()
        serve(stage)
        server.hear(chunks)
        server.hear(b"0\r\n\r\n")
        thread.join()


# -- nothing is left behind


def visit(stage: HttpStage, number: int) -> None:
    """Be one of many kinds of clients."""
    kind = number % 10
    if kind == 0:
        serve(stage)
        return
    if kind == 1:
        with stage.connect() as client:
            client.say(b"nonsense\r\n\r\n")
            client.hear_answer(400)
        return
    if kind == 2:
        stage.connect().reset()
        return
    request_ = {
        3: post(length=100_000_000),
        4: get("/", "Connection: Upgrade", "Upgrade: x"),
        5: b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n",
    }.get(kind, get())
    client, server = stage.talk(request_)
    with client, server:
        server.take_head()
        if kind == 3:
            stuffed(client, b"x" * MIB, 0.005)
            client.reset()
        elif kind == 4:
            server.say(b"HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
            client.take_head()
        elif kind == 5:
            server.say(b"HTTP/1.1 200 OK\r\n\r\n")
            client.take_head()
        elif kind == 6:
            client.close()
        elif kind == 7:
            server.close()
            client.hear_answer(502)
        elif kind == 8:
            server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
            stuffed(server, b"x" * MIB, 0.005)
            client.reset()
        else:
            server.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx")
            server.reset()
            client.take_head()


@needs_proc
def test_three_hundred_clients_of_all_kinds_leave_no_descriptor(
    long_way: Path, opened: Opened
) -> None:
    stage = opened(long_way)

    def rounds(count: int) -> int:
        for number in range(count):
            visit(stage, number)
        until(lambda: stage.clients() == 0)
        return len(os.listdir("/proc/self/fd"))

    # Pipes are kept for the next stream.
    before = rounds(20)
    assert rounds(300) <= before + 2 * long_way.pipes


def test_a_conversation_that_has_ended_is_gone_at_once(
    way: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive: list[weakref.ref[Conversation]] = []

    class Watched(Conversation):
        __slots__ = ("__weakref__",)

        def open(self) -> None:
            alive.append(weakref.ref(self))
            super().open()

    monkeypatch.setattr("dsbalance.lobby.Conversation", Watched)
    stage = opened(way)
    gc.collect()
    gc.disable()
    try:
        for number in range(20):
            visit(stage, number)
        until(lambda: stage.clients() == 0)
        # The loop has done another turn since.
        serve(stage)
        until(lambda: stage.clients() == 0)
        until(lambda: all(ref() is None for ref in alive))
    finally:
        gc.enable()
    assert len(alive) == 21
