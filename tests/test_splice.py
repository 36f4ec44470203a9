"""A channel between real sockets: copied and spliced, blocked, ended, reset."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import pytest

from actors import tcp_pair
from dsbalance.relay import Progress
from dsbalance.sockets import set_reset
from dsbalance.splice import BUFFER_SIZE, Channel, Pipe, PipePool

needs_splice = pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice")


class Bench:
    """A channel with the peers of its two sockets."""

    def __init__(self, pool: PipePool) -> None:
        self.source, self.writer = tcp_pair()
        self.sink, self.reader = tcp_pair()
        self.pool = pool
        self.channel = Channel(self.source, self.sink, memoryview(bytearray(BUFFER_SIZE)), pool)

    def pump_until(self, wanted: Progress) -> None:
        """Pump, and read at the far end what comes, until ``wanted`` happens."""
        for _ in range(100_000):
            if self.channel.pump() is wanted:
                return
        raise AssertionError(f"never {wanted}")

    def close(self) -> None:
        self.channel.drop()
        self.pool.close()
        for sock in (self.source, self.writer, self.sink, self.reader):
            sock.close()


@pytest.fixture(params=["copy", pytest.param("splice", marks=needs_splice)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(PipePool(4 if request.param == "splice" else 0))
    yield bench
    bench.close()


def fill(bench: Bench) -> bytes:
    """Send until neither side takes more; return what was sent."""
    sent = bytearray()
    block = os.urandom(BUFFER_SIZE)
    bench.writer.setblocking(False)
    progress = Progress.DRAINED
    idle = 0
    while idle < 3:
        # All that the kernel takes before the channel sees it, so that its reads are full ones.
        before = len(sent)
        with contextlib.suppress(BlockingIOError):
            while True:
                sent += block[: bench.writer.send(block)]
        progress = bench.channel.pump()
        idle = idle + 1 if len(sent) == before else 0
    assert progress is Progress.BLOCKED
    bench.writer.settimeout(10)
    return bytes(sent)


def drain(bench: Bench, size: int) -> bytes:
    got = bytearray()
    while len(got) < size:
        bench.channel.pump()
        bench.reader.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            got += bench.reader.recv(1 << 20)
    return bytes(got)


def test_bytes_arrive_as_they_were_and_are_counted(bench: Bench) -> None:
    bench.writer.sendall(b"login 4711\r\n")
    assert bench.channel.pump() is Progress.DRAINED
    assert bench.reader.recv(100) == b"login 4711\r\n"
    assert bench.channel.moved == 12


def test_a_source_that_has_nothing_is_drained(bench: Bench) -> None:
    assert bench.channel.pump() is Progress.DRAINED
    assert bench.channel.moved == 0


def test_a_stopped_reader_blocks_the_channel_and_nothing_is_lost(bench: Bench) -> None:
    sent = fill(bench)
    assert bench.channel.is_blocked
    assert drain(bench, len(sent)) == sent
    assert bench.channel.pump() is Progress.DRAINED
    assert not bench.channel.is_blocked


def test_what_is_kept_is_written_piece_by_piece_and_whole(bench: Bench) -> None:
    # A sink that takes little at a time, so that what is kept is not gone at the first attempt.
    bench.sink.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    bench.reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    words = os.urandom(BUFFER_SIZE)
    bench.writer.sendall(words)
    got = bytearray()
    pieces = 0
    while len(got) < len(words):
        pieces += bench.channel.pump() is Progress.BLOCKED
        got += bench.reader.recv(512)
    assert bytes(got) == words
    assert pieces > 3


def test_the_end_is_seen_behind_the_last_byte(bench: Bench) -> None:
    sent = fill(bench)
    bench.writer.shutdown(socket.SHUT_WR)
    assert bench.channel.pump() is Progress.BLOCKED
    bench.channel.is_closing = True
    assert drain(bench, len(sent)) == sent
    bench.pump_until(Progress.ENDED)


def test_an_end_that_came_with_the_bytes_is_found_at_once(bench: Bench) -> None:
    bench.writer.sendall(b"bye")
    bench.writer.shutdown(socket.SHUT_WR)
    bench.channel.is_closing = True
    bench.pump_until(Progress.ENDED)
    assert bench.reader.recv(100) == b"bye"


def test_a_reset_is_seen_behind_the_bytes_before_it(bench: Bench) -> None:
    bench.writer.sendall(b"half an answer")
    set_reset(bench.writer)
    bench.writer.close()
    bench.channel.is_closing = True
    bench.pump_until(Progress.RESET)
    assert bench.reader.recv(100) == b"half an answer"


def test_a_reset_sink_refuses(bench: Bench) -> None:
    set_reset(bench.reader)
    bench.reader.close()
    bench.writer.sendall(b"x" * BUFFER_SIZE)
    bench.pump_until(Progress.REFUSED)


def test_a_reset_sink_refuses_what_was_kept(bench: Bench) -> None:
    fill(bench)
    set_reset(bench.reader)
    bench.reader.close()
    assert bench.channel.pump() is Progress.REFUSED


def test_a_long_stream_gives_others_their_turn(bench: Bench) -> None:
    block = os.urandom(1 << 20)
    seen = set()
    bench.writer.setblocking(False)
    bench.reader.setblocking(False)
    for _ in range(2_000):
        with contextlib.suppress(BlockingIOError):
            bench.writer.send(block)
        with contextlib.suppress(BlockingIOError):
            bench.reader.recv(1 << 20)
        seen.add(bench.channel.pump())
    assert seen <= {Progress.MORE, Progress.DRAINED, Progress.BLOCKED}
    assert bench.channel.moved > BUFFER_SIZE


@needs_splice
def test_a_stream_borrows_a_pipe_and_returns_it_when_it_is_empty() -> None:
    pool = PipePool(1)
    bench = Bench(pool)
    try:
        sent = fill(bench)
        assert pool.take() is None
        assert drain(bench, len(sent)) == sent
        bench.pump_until(Progress.DRAINED)
        pipe = pool.take()
        assert pipe is not None
        pool.give(pipe)
    finally:
        bench.close()


@needs_splice
def test_without_a_free_pipe_a_stream_is_copied() -> None:
    pool = PipePool(1)
    lent = pool.take()
    assert lent is not None
    bench = Bench(pool)
    try:
        sent = fill(bench)
        assert drain(bench, len(sent)) == sent
    finally:
        pool.give(lent)
        bench.close()


@needs_splice
def test_a_pipe_that_is_not_empty_is_never_lent_again() -> None:
    pool = PipePool(1)
    pipe = pool.take()
    assert pipe is not None
    pipe.held = os.write(pipe.writer, b"secret")
    pool.give(pipe)
    other = pool.take()
    assert other is not None
    assert other is not pipe
    with pytest.raises(BlockingIOError):
        os.read(other.reader, 10)
    pool.give(other)
    pool.close()


@needs_splice
def test_without_descriptors_no_pipe_is_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pipe(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", no_pipe)
    assert PipePool(1).take() is None


@needs_splice
@pytest.mark.parametrize("code", ["EINVAL", "ENOSYS", "EPERM"])
def test_where_splice_is_forbidden_a_stream_is_copied(
    code: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_splice(*_args: object, **_words: object) -> int:
        raise OSError(getattr(errno, code), code)

    monkeypatch.setattr(os, "splice", no_splice)
    bench = Bench(PipePool(1))
    try:
        sent = fill(bench)
        assert drain(bench, len(sent)) == sent
    finally:
        bench.close()


def test_an_urgent_byte_in_a_stream_is_not_its_end(bench: Bench) -> None:
    sent = fill(bench)
    drain(bench, len(sent))
    bench.writer.setblocking(True)
    bench.channel.is_closing = True
    bench.writer.send(b"!", socket.MSG_OOB)
    bench.writer.sendall(b"behind it")
    bench.writer.shutdown(socket.SHUT_WR)
    bench.pump_until(Progress.ENDED)
    bench.reader.settimeout(10)
    assert bench.reader.recv(100) == b"behind it"


@needs_splice
def test_a_pipe_says_what_it_holds() -> None:
    pipe = Pipe()
    assert pipe.held == 0
    pipe.close()


@needs_splice
def test_a_pool_says_how_many_pipes_there_are() -> None:
    pool = PipePool(2)
    assert (pool.limit, pool.lent, pool.free) == (2, 0, 0)
    one, two = pool.take(), pool.take()
    assert one is not None
    assert two is not None
    assert (pool.take(), pool.lent, pool.free) == (None, 2, 0)
    pool.give(one)
    assert (pool.lent, pool.free) == (1, 1)
    pool.give(two)
    pool.close()
    assert (pool.lent, pool.free) == (0, 0)
