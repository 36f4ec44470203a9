"""Reading a PROXY header off a real connection, on both pollers, however it arrives."""

from __future__ import annotations

import queue
import select
import socket
import struct
from collections.abc import Callable, Iterator

import pytest

from actors import PATIENCE, Peer, tcp_pair, until
from dsbalance.greeting import Greeting
from dsbalance.haproxy.proxy_protocol import Header, parse_header
from dsbalance.loop import Loop
from dsbalance.poller import READABLE, EpollPoller, SelectorPoller

LINE = b"PROXY TCP6 2001:db8::1 2001:db8::9 56324 443\r\n"
LOCAL = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"
TLVS = b"\xe0\0\2hi"
BLOCK = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11"
    + struct.pack(">H", 12 + len(TLVS))
    + bytes([192, 0, 2, 1, 192, 0, 2, 9])
    + struct.pack(">HH", 56324, 443)
    + TLVS
)
HEADERS = [LINE, LOCAL, BLOCK]
NAMES = ["line", "local", "block"]


class CountingPoller(SelectorPoller):
    """Level-triggered; it knows how often somebody waited."""

    __slots__ = ("waits",)

    def __init__(self) -> None:
        super().__init__()
        self.waits = 0

    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        self.waits += 1
        return super().poll(timeout)


class Porch:
    """A loop with a greeting on it, and what it calls back."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.near, far = tcp_pair()
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = Peer(far)
        self.told: queue.SimpleQueue[Header | str] = queue.SimpleQueue()
        self.greeting: Greeting
        loop.start("greeting")

    def open(self, timeout: float | None = None) -> None:
        self.greeting = Greeting(
            self.loop,
            self.near,
            timeout=timeout,
            on_greeted=lambda greeting, header: self.told.put(header),
            on_lost=lambda greeting, reason: self.told.put(reason),
        )
        self.loop.ask(self.greeting.open)

    def hear(self) -> Header | str:
        """Return what comes of it."""
        return self.told.get(timeout=PATIENCE)

    def has_taken(self, size: int) -> bool:
        return self.loop.ask(lambda: len(self.greeting._data)) == size

    def is_watched(self) -> bool:
        return self.loop.ask(lambda: self.near.fileno() in self.loop._watchers)

    def rest(self, size: int) -> bytes:
        """Return the bytes that nobody has taken."""
        self.near.settimeout(PATIENCE)
        return Peer(self.near).take(size)

    def close(self) -> None:
        self.loop.stop()
        self.loop.join()
        self.near.close()
        self.client.close()
        assert self.told.empty(), "it was told twice"


@pytest.fixture(params=[SelectorPoller, EpollPoller])
def porch(request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture) -> Iterator[Porch]:
    if request.param is EpollPoller and not hasattr(select, "epoll"):
        pytest.skip("there is no epoll here")
    porch = Porch(Loop(request.param()))
    yield porch
    porch.close()
    assert not caplog.get_records("call"), "the loop's guard had to catch something"


# --- headers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", HEADERS, ids=NAMES)
def test_what_is_there_already_is_read_at_once(porch: Porch, data: bytes) -> None:
    porch.client.say(data + b"behind")
    until(lambda: len(porch.near.recv(100, socket.MSG_PEEK)) == len(data) + 6)
    porch.open(timeout=60)
    assert porch.told.qsize() == 1
    assert porch.hear() == parse_header(data)
    assert porch.greeting.due_tick == 0
    assert porch.rest(6) == b"behind"


@pytest.mark.parametrize("data", HEADERS, ids=NAMES)
def test_a_header_may_come_in_any_two_pieces(porch: Porch, data: bytes) -> None:
    for size in range(1, len(data)):
        porch.open()
        porch.client.say(data[:size])
        until(lambda size=size: porch.has_taken(size))  # type: ignore[misc]
        porch.client.say(data[size:] + b"behind")
        assert porch.hear() == parse_header(data)
        assert not porch.is_watched()
        assert porch.rest(6) == b"behind"
        porch.near.setblocking(False)


@pytest.mark.parametrize("data", HEADERS, ids=NAMES)
def test_a_header_may_come_byte_by_byte(porch: Porch, data: bytes) -> None:
    porch.open(timeout=60)
    for size, byte in enumerate(data[:-1], 1):
        porch.client.say(bytes([byte]))
        until(lambda size=size: porch.has_taken(size))  # type: ignore[misc]
    porch.client.say(data[-1:])
    assert porch.hear() == parse_header(data)


def test_a_header_may_be_longer_than_a_glance(porch: Porch) -> None:
    noop = b"\4" + struct.pack(">H", 16000) + bytes(16000)
    data = LOCAL[:14] + struct.pack(">H", len(noop)) + noop
    porch.open()
    porch.client.say(data + b"behind")
    assert porch.hear() == Header(version=2, is_local=True)
    assert porch.rest(6) == b"behind"


def test_what_comes_behind_is_told_to_the_next_watcher(porch: Porch) -> None:
    told: queue.SimpleQueue[int] = queue.SimpleQueue()

    class Next:
        def on_events(self, events: int) -> None:
            porch.loop.unwatch(porch.near)
            told.put(events)

        def on_crash(self, error: Exception) -> None:
            raise error

    porch.open()
    porch.client.say(LINE + b"behind")
    porch.hear()
    porch.loop.ask(lambda: porch.loop.watch_stream(porch.near, Next(), READABLE))
    assert told.get(timeout=PATIENCE) & READABLE
    assert porch.rest(6) == b"behind"


def test_who_waits_for_the_rest_of_a_header_does_not_spin() -> None:
    poller = CountingPoller()
    porch = Porch(Loop(poller))
    try:
        porch.open()
        porch.client.say(LINE[:20])
        until(lambda: porch.has_taken(20))
        before = poller.waits
        later: queue.SimpleQueue[int] = queue.SimpleQueue()
        porch.loop.ask(lambda: porch.loop.after(0.2, lambda: later.put(poller.waits)))
        # A wait for the question, one for the alarm, and a few for what is late.
        assert later.get(timeout=PATIENCE) - before < 10
        porch.loop.ask(porch.greeting.close)
    finally:
        porch.close()


# --- what is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", "it does not begin as one"),
        (b"\r\n\r\n\0\r\nQUIT\n\x99", "version and command 0x99 are not known"),
        (b"PROXY TCP4 a b c d\r\n", "the line is not two addresses and two ports"),
        (b"PROXY UNKNOWN " + b"x" * 100, "the line is longer than 107 bytes"),
        (BLOCK[:-3] + b"\xff" + BLOCK[-2:], "a TLV is longer than the header"),
    ],
)
def test_what_is_no_header_is_reset(porch: Porch, data: bytes, reason: str) -> None:
    porch.open(timeout=60)
    porch.client.say(data)
    assert porch.hear() == reason
    porch.client.hear_reset()
    assert porch.near.fileno() == -1
    assert porch.greeting.due_tick == 0


def test_who_ends_without_a_word_is_ended(porch: Porch) -> None:
    porch.open(timeout=60)
    porch.client.finish().hear_end()
    assert porch.hear() == "the connection ended"


def test_who_ends_in_the_middle_is_reset(porch: Porch) -> None:
    porch.open()
    porch.client.say(LINE[:-1]).finish().hear_reset()
    assert porch.hear() == "the connection ended"


@pytest.mark.parametrize("said", [b"", LINE[:-1]])
def test_who_resets_is_lost(porch: Porch, said: bytes) -> None:
    porch.open()
    porch.client.say(said)
    until(lambda: porch.has_taken(len(said)))
    porch.client.reset()
    assert porch.hear() == "Connection reset by peer"
    until(lambda: porch.near.fileno() == -1)


def test_who_resets_behind_a_header_was_greeted(porch: Porch) -> None:
    porch.client.say(LINE).reset()
    porch.open()
    assert porch.hear() in (parse_header(LINE), "Connection reset by peer")


# --- time -----------------------------------------------------------------------------------------


def test_who_says_nothing_in_time_is_ended(porch: Porch) -> None:
    porch.open(timeout=0.01)
    porch.client.hear_end()
    assert porch.hear() == "it took too long"


def test_who_says_half_of_it_in_time_is_reset(porch: Porch) -> None:
    porch.client.say(LINE[:-1])
    until(lambda: len(porch.near.recv(100, socket.MSG_PEEK)) == len(LINE) - 1)
    porch.open(timeout=0.01)
    porch.client.hear_reset()
    assert porch.hear() == "it took too long"


def test_a_byte_does_not_gain_time(porch: Porch) -> None:
    porch.open(timeout=60)
    due = porch.greeting.due_tick
    porch.client.say(LINE[:1])
    until(lambda: porch.has_taken(1))
    assert porch.greeting.due_tick == due > 0
    porch.loop.ask(porch.greeting.close)


# --- its end --------------------------------------------------------------------------------------


def test_who_is_not_awaited_any_more_is_ended_and_nobody_is_told(porch: Porch) -> None:
    porch.open(timeout=60)
    porch.loop.ask(porch.greeting.close)
    porch.loop.ask(porch.greeting.close)
    porch.client.hear_end()
    assert porch.greeting.due_tick == 0


def test_who_was_greeted_is_not_closed(porch: Porch) -> None:
    porch.open()
    porch.client.say(LINE)
    porch.hear()
    porch.loop.ask(porch.greeting.close)
    porch.client.say(b"still there")
    assert porch.rest(11) == b"still there"


def test_an_error_of_who_is_told_is_not_one_of_the_greeting(
    porch: Porch, caplog: pytest.LogCaptureFixture
) -> None:
    told: queue.SimpleQueue[str] = queue.SimpleQueue()

    def fail(greeting: Greeting, header: Header) -> None:
        raise OSError(f"no room for {header.source}")

    greeting = Greeting(
        porch.loop,
        porch.near,
        timeout=None,
        on_greeted=fail,
        on_lost=lambda greeting, reason: told.put(reason),
    )
    porch.loop.ask(greeting.open)
    porch.client.say(LINE + b"behind")
    until(lambda: bool(caplog.records))
    assert "no room for 2001:db8::1" in caplog.text
    caplog.clear()
    assert not porch.is_watched()
    assert porch.rest(6) == b"behind"
    assert told.empty()


def test_a_greeting_that_crashes_is_lost(porch: Porch) -> None:
    porch.open()
    crash: Callable[[], None] = lambda: porch.greeting.on_crash(RuntimeError("a bug"))  # noqa: E731
    porch.loop.ask(crash)
    assert porch.hear() == "a bug"
    porch.client.hear_end()
