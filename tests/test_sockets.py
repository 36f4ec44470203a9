"""Options, errors and ends of one socket."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing

import pytest

from actors import tcp_pair
from dsbalance import Keepalive
from dsbalance.sockets import Door, open_stream, set_keepalive, set_reset, shut, unsent, words


def test_a_stream_is_born_non_blocking() -> None:
    with closing(open_stream(socket.AF_INET)) as sock:
        assert not sock.getblocking()
        assert sock.type == socket.SOCK_STREAM


@pytest.mark.parametrize(
    ("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
)
def test_a_door_gives_connections_ready_for_use(family: socket.AddressFamily, host: str) -> None:
    with Door(family) as door:
        door.bind((host, 0))
        door.listen()
        with pytest.raises(BlockingIOError):
            door.admit()
        with socket.create_connection(door.getsockname()[:2]) as client:
            # The handshake is over, so its client is there.
            sock, address = door.admit()
            with closing(sock):
                assert not sock.getblocking()
                assert (sock.family, sock.type, sock.timeout) == (family, socket.SOCK_STREAM, 0.0)
                assert address[:2] == client.getsockname()[:2]


def test_keepalive_sets_the_numbers_that_are_given() -> None:
    with closing(open_stream(socket.AF_INET)) as sock:
        before = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        set_keepalive(sock, Keepalive(idle=61, interval=11))
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 61
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 11
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == before


def test_an_error_has_the_words_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    assert words(errno.ECONNREFUSED) == os.strerror(errno.ECONNREFUSED)
    monkeypatch.setattr(socket, "errorTab", {10061: "Connection refused."}, raising=False)
    assert words(10061) == "Connection refused"


def test_shut_tells_whether_there_was_somebody() -> None:
    near, far = tcp_pair()
    assert shut(near)
    assert far.recv(1) == b""
    near.close()
    far.close()
    near, far = tcp_pair()
    set_reset(far)
    far.close()
    near.settimeout(10)
    with pytest.raises(ConnectionResetError):
        near.recv(1)
    assert not shut(near)
    near.close()


def test_unsent_counts_what_a_stopped_reader_has_not_got() -> None:
    near, far = tcp_pair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = near.send(b"x" * 10_000_000)
    assert 0 < unsent(near) < sent
    near.close()
    assert unsent_of_closed(near) == 0
    far.close()


def test_nothing_is_unsent_to_a_peer_that_has_reset() -> None:
    near, far = tcp_pair()
    near.send(b"x" * 10_000_000)
    assert unsent(near) > 0
    set_reset(far)
    far.close()
    assert unsent(near) == 0
    near.close()


def unsent_of_closed(sock: socket.socket) -> int:
    """Ask for a descriptor that is no more, as a session may whose peer has reset it."""
    try:
        return unsent(sock)
    except ValueError:
        # A closed Python socket has the number -1, which ioctl refuses before the system sees it.
        return 0


def test_unsent_falls_to_zero_when_the_peer_has_everything() -> None:
    near, far = tcp_pair()
    assert unsent(near) == 0
    near.close()
    far.close()
