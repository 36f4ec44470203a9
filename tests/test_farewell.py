"""Leaving a client so that it gets its last response, and for no longer than it takes."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors import Path, Peer, tcp_pair, until
from dsbalance.conduit import Intake, Outlet
from dsbalance.farewell import Farewell
from dsbalance.loop import Loop
from dsbalance.sockets import set_reset
from dsbalance.splice import BUFFER_SIZE, PipePool


class Parting:
    """A farewell on a loop of its own, and the client that it is said to."""

    def __init__(self, way: Path, *, is_stuffed: bool = False, limit: float | None = None) -> None:
        self.loop = Loop(way.poller())
        near, far = tcp_pair()
        self.client = Peer(far)
        self.said = b""
        self.pool = PipePool(0)
        intake = Intake(near, memoryview(bytearray(BUFFER_SIZE)))
        outlet = Outlet(near, self.pool)
        while is_stuffed and not outlet.is_blocked:
            self.said += b"x" * BUFFER_SIZE
            outlet.send(b"x" * BUFFER_SIZE)
        self.overs = 0
        self.farewell = Farewell(self.loop, intake, outlet, limit, self._over)
        self.near = near
        self.loop.start("farewell")
        self.loop.ask(self._begin)

    def _begin(self) -> None:
        self.loop.watch_stream(self.near, self.farewell)
        self.farewell.begin()

    def _over(self) -> None:
        self.overs += 1
        self.farewell.stop()
        self.loop.close(self.near)

    def close(self) -> None:
        self.loop.stop()
        self.loop.join()
        self.near.close()
        self.client.close()


@pytest.fixture
def parted(way: Path) -> Iterator[Callable[..., Parting]]:
    partings: list[Parting] = []

    def part(**words: Any) -> Parting:
        partings.append(Parting(way, **words))
        return partings[-1]

    yield part
    for parting in partings:
        parting.close()
        assert parting.overs <= 1


def test_it_half_closes_and_waits_for_the_clients_end(parted: Callable[..., Parting]) -> None:
    parting = parted()
    parting.client.hear_end()
    assert parting.overs == 0
    parting.client.finish()
    until(lambda: parting.overs == 1)


def test_what_the_client_still_says_is_discarded(parted: Callable[..., Parting]) -> None:
    parting = parted()
    parting.client.say(b"x" * 5_000_000)
    parting.client.hear_end()
    parting.client.say(b"x" * 100)
    parting.client.finish()
    until(lambda: parting.overs == 1)


def test_a_client_that_has_not_read_all_gets_the_rest_first(
    parted: Callable[..., Parting],
) -> None:
    parting = parted(is_stuffed=True)
    parting.client.hear(parting.said)
    parting.client.hear_end()
    parting.client.finish()
    until(lambda: parting.overs == 1)


def test_a_client_that_resets_is_left(parted: Callable[..., Parting]) -> None:
    parting = parted(is_stuffed=True)
    parting.client.reset()
    until(lambda: parting.overs == 1)


def test_a_client_that_never_reads_is_reset_in_the_end(parted: Callable[..., Parting]) -> None:
    parting = parted(is_stuffed=True, limit=0.1)
    until(lambda: parting.overs == 1)
    with pytest.raises(ConnectionResetError):
        while parting.client.sock.recv(1 << 20):
            pass


def test_a_client_that_goes_on_for_ever_is_left_in_the_end(
    parted: Callable[..., Parting],
) -> None:
    parting = parted()
    parting.client.hear_end()
    with pytest.raises(ConnectionError):
        while True:
            parting.client.say(b"x" * 65536)
    until(lambda: parting.overs == 1)


def test_an_error_of_ours_ends_it(parted: Callable[..., Parting]) -> None:
    parting = parted()
    parting.client.hear_end()
    parting.loop.ask(lambda: parting.farewell.on_crash(RuntimeError()))
    assert parting.overs == 1


def test_a_client_that_is_gone_already_is_left_at_once(way: Path) -> None:
    loop = Loop(way.poller())
    near, far = tcp_pair()
    set_reset(far)
    far.close()
    # Until the reset has arrived here.
    while near.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
        pass
    overs: list[bool] = []
    buffer = memoryview(bytearray(BUFFER_SIZE))
    outlet = Outlet(near, PipePool(0))
    farewell = Farewell(loop, Intake(near, buffer), outlet, None, lambda: overs.append(True))
    loop.watch_stream(near, farewell)
    farewell.begin()
    assert overs == [True]
    near.close()
    loop.free()
