"""Reading what is looked at, and writing what is kept: real sockets, by copy and by splice."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import threading
from collections.abc import Iterator

import pytest

from actors import tcp_pair
from dsbalance.bodies import Body, Endless, Measured
from dsbalance.chunked import Chunked
from dsbalance.conduit import Intake, Outlet, carry
from dsbalance.http1 import MessageError
from dsbalance.http_answers import FilePart
from dsbalance.relay import Progress
from dsbalance.sockets import set_reset
from dsbalance.splice import BUFFER_SIZE, PipePool

needs_splice = pytest.mark.skipif(not hasattr(os, "splice"), reason="this system has no splice")


class Bench:
    """An intake and an outlet, with the peers of their sockets."""

    def __init__(self, pool: PipePool) -> None:
        self.source, self.writer = tcp_pair()
        self.sink, self.reader = tcp_pair()
        self.pool = pool
        self.intake = Intake(self.source, memoryview(bytearray(BUFFER_SIZE)))
        self.outlet = Outlet(self.sink, pool)

    def carry_until(self, body: Body, wanted: Progress) -> None:
        """Carry, as if each turn brought an event, until ``wanted`` happens."""
        for _ in range(100_000):
            self.intake.is_drained = False
            if carry(body, self.intake, self.outlet) is wanted:
                return
        raise AssertionError(f"never {wanted}")

    def stuff(self) -> bytes:
        """Send until the sink takes no more; return what was sent."""
        sent = b""
        while not self.outlet.is_blocked:
            sent += b"x" * BUFFER_SIZE
            self.outlet.send(b"x" * BUFFER_SIZE)
        return sent

    def heard(self, size: int) -> bytes:
        """Return the next ``size`` bytes at the far end, flushing meanwhile."""
        got = b""
        while len(got) < size:
            self.outlet.flush()
            got += self.reader.recv(size - len(got))
        return got

    def close(self) -> None:
        self.outlet.drop()
        self.pool.close()
        for sock in (self.source, self.writer, self.sink, self.reader):
            sock.close()


@pytest.fixture(params=["copy", pytest.param("splice", marks=needs_splice)])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    bench = Bench(PipePool(4 if request.param == "splice" else 0))
    yield bench
    bench.close()


# -- in


def filled(bench: Bench, wanted: Progress) -> None:
    """Fill until that comes of it: what was sent may be on its way still."""
    for _ in range(1_000_000):
        if bench.intake.fill() is wanted:
            return
    raise AssertionError(f"never {wanted}")


def test_what_came_is_held_until_it_is_used(bench: Bench) -> None:
    bench.writer.sendall(b"abc")
    filled(bench, Progress.MORE)
    bench.writer.sendall(b"def")
    filled(bench, Progress.MORE)
    assert bench.intake.held == b"abcdef"
    assert bench.intake.use(4) == b"abcd"
    assert bench.intake.use(2) == b"ef"
    assert bench.intake.held == b""


def test_a_short_read_has_drained_the_socket_unless_it_ends(bench: Bench) -> None:
    bench.writer.sendall(b"abc")
    filled(bench, Progress.MORE)
    assert bench.intake.is_drained
    bench.intake.is_drained, bench.intake.is_closing = False, True
    bench.writer.sendall(b"def")
    filled(bench, Progress.MORE)
    assert not bench.intake.is_drained


def test_nothing_there_is_drained(bench: Bench) -> None:
    assert bench.intake.fill() is Progress.DRAINED
    assert bench.intake.is_drained


def test_an_end_and_a_reset_are_told_apart(bench: Bench) -> None:
    bench.writer.shutdown(socket.SHUT_WR)
    filled(bench, Progress.ENDED)
    set_reset(bench.writer)
    bench.writer.close()
    other = Bench(PipePool(0))
    set_reset(other.writer)
    other.writer.close()
    filled(other, Progress.RESET)
    other.close()


# -- out


def test_what_is_not_taken_is_kept_in_its_order(bench: Bench) -> None:
    sent = bench.stuff()
    assert bench.outlet.send(b"behind") is Progress.BLOCKED
    assert bench.outlet.send(memoryview(b" it")) is Progress.BLOCKED
    sent += b"behind it"
    assert bench.outlet.sent == len(sent)
    assert bench.heard(len(sent)) == sent
    assert bench.outlet.flush() is Progress.DRAINED
    assert not bench.outlet.is_blocked


def test_a_peer_that_has_gone_refuses(bench: Bench) -> None:
    set_reset(bench.reader)
    bench.reader.close()
    for _ in range(1000):
        if bench.outlet.send(b"x" * BUFFER_SIZE) is Progress.REFUSED:
            break
    else:
        raise AssertionError("never refused")


def test_a_peer_that_goes_while_it_blocks_refuses(bench: Bench) -> None:
    bench.stuff()
    set_reset(bench.reader)
    bench.reader.close()
    while bench.outlet.flush() is Progress.BLOCKED:
        pass
    assert bench.outlet.flush() is Progress.REFUSED


def test_what_is_kept_may_be_taken_away(bench: Bench) -> None:
    sent = bench.stuff()
    bench.outlet.send(b"the end")
    kept = bench.outlet.take_kept()
    assert kept.endswith(b"xthe end")
    assert not bench.outlet.is_blocked
    assert len(kept) < len(sent)


def test_a_part_of_a_file_goes_behind_everything_else(bench: Bench) -> None:
    content = os.urandom(3_000_000)
    with tempfile.TemporaryFile() as file:
        file.write(b"head" + content + b"tail")
        file.flush()
        sent = bench.stuff()
        part = FilePart(file.fileno(), 4, len(content))
        assert bench.outlet.send_file(part) is Progress.BLOCKED
        assert bench.heard(len(sent) + len(content)) == sent + content
        assert bench.outlet.flush() is Progress.DRAINED
        assert bench.outlet.sent == len(sent) + len(content)


def test_a_file_that_has_become_shorter_ends_early(bench: Bench) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(b"short")
        file.flush()
        assert bench.outlet.send_file(FilePart(file.fileno(), 0, 100)) is Progress.DRAINED
    assert bench.heard(5) == b"short"


# -- from one to the other


@pytest.mark.parametrize("size", [1, BUFFER_SIZE - 1, BUFFER_SIZE, 3_000_000])
def test_a_body_is_carried_and_not_a_byte_of_what_is_behind(bench: Bench, size: int) -> None:
    words = os.urandom(size)
    thread = threading.Thread(target=bench.writer.sendall, args=(words + b"NEXT",))
    thread.start()
    got: list[bytes] = []

    def read() -> None:
        part = b""
        while len(part) < size:
            part += bench.reader.recv(size - len(part))
        got.append(part)

    reader = threading.Thread(target=read)
    reader.start()
    body = Measured(size)
    while not body.is_complete:
        bench.intake.is_drained = False
        carry(body, bench.intake, bench.outlet)
    while bench.outlet.is_blocked:
        bench.outlet.flush()
    thread.join()
    reader.join()
    assert got == [words]
    while bench.intake.held != b"NEXT":
        bench.intake.fill()
    bench.reader.setblocking(False)
    with pytest.raises(BlockingIOError):
        bench.reader.recv(1)


def test_a_carried_body_has_given_its_pipe_back(bench: Bench) -> None:
    size = 40 * BUFFER_SIZE
    sent = 0
    body = Measured(size)
    bench.writer.setblocking(False)
    bench.reader.setblocking(False)
    while not body.is_complete or bench.outlet.is_blocked:
        if sent < size:
            with contextlib.suppress(BlockingIOError):
                sent += bench.writer.send(b"x" * (size - sent))
        bench.intake.is_drained = False
        carry(body, bench.intake, bench.outlet)
        with contextlib.suppress(BlockingIOError):
            bench.reader.recv(1 << 20)
    bench.outlet.give_back()
    assert bench.pool.lent == 0


def test_the_end_of_the_source_is_told_behind_its_last_byte(bench: Bench) -> None:
    bench.writer.sendall(b"half")
    bench.writer.close()
    bench.carry_until(Measured(9), Progress.ENDED)
    assert bench.heard(4) == b"half"


def test_an_endless_body_goes_on_until_its_source_ends(bench: Bench) -> None:
    body = Endless()
    for words in (b"ab", b"cd"):
        bench.writer.sendall(words)
        while bench.outlet.sent < 2 or (words == b"cd" and bench.outlet.sent < 4):
            bench.intake.is_drained = False
            assert carry(body, bench.intake, bench.outlet) is Progress.DRAINED
    bench.writer.close()
    bench.carry_until(body, Progress.ENDED)
    assert bench.heard(4) == b"abcd"


def test_nothing_is_read_while_the_sink_takes_nothing(bench: Bench) -> None:
    bench.stuff()
    bench.writer.sendall(b"abc")
    assert carry(Measured(3), bench.intake, bench.outlet) is Progress.BLOCKED
    assert bench.intake.held == b""


def test_what_is_no_such_body_is_an_error(bench: Bench) -> None:
    bench.writer.sendall(b"zz\r\n")
    with pytest.raises(MessageError):
        bench.carry_until(Chunked(), Progress.ENDED)


def test_a_sink_that_has_gone_is_told(bench: Bench) -> None:
    set_reset(bench.reader)
    bench.reader.close()
    bench.writer.setblocking(False)
    body = Endless()
    for _ in range(100_000):
        with contextlib.suppress(BlockingIOError):
            bench.writer.send(b"x" * BUFFER_SIZE)
        bench.intake.is_drained = False
        if carry(body, bench.intake, bench.outlet) is Progress.REFUSED:
            return
    raise AssertionError("never refused")


def test_without_a_pipe_to_borrow_it_copies(bench: Bench) -> None:
    while bench.pool.take() is not None:
        pass
    assert not bench.outlet.borrow()


@needs_splice
def test_a_pipe_that_holds_bytes_is_not_given_back() -> None:
    with contextlib.closing(Bench(PipePool(1))) as bench:
        before = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                before += bench.sink.send(bytes(BUFFER_SIZE))
        words = os.urandom(50_000)
        bench.writer.sendall(words)
        assert bench.outlet.borrow()
        taken = bench.outlet.splice(bench.source, len(words))
        for _ in range(3):
            assert bench.outlet.flush() is Progress.BLOCKED
            bench.outlet.give_back()
        assert bench.heard(before + taken)[before:] == words[:taken]
        assert bench.outlet.flush() is Progress.DRAINED
        bench.outlet.give_back()
        assert bench.pool.take() is not None
