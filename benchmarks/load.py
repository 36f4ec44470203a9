"""The ends of the connections: an echo server, and clients that send, ask or just stay."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import select
import signal
import socket
import struct
from collections.abc import Iterator, Sequence

WORDS = b"x" * 100
_BLOCK = 1 << 20
_CONTEXT = multiprocessing.get_context("fork")
_PATIENCE = 60.0
# Held connections: so many at a time are on their way, fewer than fit into any rival's backlog; so
# many come from one source, as many sources have to be remembered.
_BATCH = 50
_PER_SOURCE = 1000
_BIND_ADDRESS_NO_PORT = 24  # ip(7); Python has a name for it from 3.12 on


# --- the server ----------------------------------------------------------------------------------


@contextlib.contextmanager
def echo_server() -> Iterator[int]:
    """Run a server process that repeats what it hears and ends when its client does."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = _CONTEXT.Process(target=_echo, args=(sock,), daemon=True)
    process.start()
    port = sock.getsockname()[1]
    sock.close()
    try:
        yield port
    finally:
        process.terminate()
        process.join()


def _echo(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    buffer = memoryview(bytearray(_BLOCK))
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _address = listener.accept()
                peers[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                continue
            try:
                if count := peers[fd].recv_into(buffer):
                    peers[fd].sendall(buffer[:count])
                    continue
            except OSError:
                pass
            peers.pop(fd).close()


# --- clients -------------------------------------------------------------------------------------


def stream(port: int, streams: int, size: int) -> None:
    """Send ``size`` bytes on each of so many connections at once, and take them back.

    Nobody half-closes before the last byte is back: not every rival survives that. The bytes that
    come back are counted and dropped (``MSG_TRUNC``, tcp(7)), so that the client, which shares the
    processors with the rival, costs little.

    Raises:
        ValueError: A connection ended before.
    """
    with contextlib.ExitStack() as stack, select.epoll() as poll:
        socks = connect(port, streams, stack)
        left = dict.fromkeys(socks, size)
        missing = dict.fromkeys(socks, size)
        block, buffer = memoryview(bytes(_BLOCK)), memoryview(bytearray(_BLOCK))
        for fd, sock in socks.items():
            sock.setblocking(False)
            poll.register(fd, select.EPOLLIN | select.EPOLLOUT)
        while missing:
            for fd, events in poll.poll():
                if events & select.EPOLLOUT:
                    left[fd] -= socks[fd].send(block[: left[fd]])
                    if not left[fd]:
                        poll.modify(fd, select.EPOLLIN)
                if events & ~select.EPOLLOUT:
                    count = socks[fd].recv_into(buffer, _BLOCK, socket.MSG_TRUNC)
                    missing[fd] -= count
                    if not missing[fd]:
                        del missing[fd]
                        poll.unregister(fd)
                    elif not count:
                        raise ValueError(f"{missing[fd]} bytes of {size} did not come back")


def ask(socks: dict[int, socket.socket], count: int) -> None:
    """Have a request of 100 bytes answered ``count`` times, one at a time on each connection.

    Raises:
        ValueError: A connection ended, or an answer was not whole.
    """
    with select.epoll() as poll:
        for fd, sock in socks.items():
            poll.register(fd, select.EPOLLIN)
            sock.sendall(WORDS)
        sent, answered = len(socks), 0
        while answered < sent:
            for fd, _ in poll.poll():
                if len(socks[fd].recv(1000)) != len(WORDS):
                    raise ValueError("an answer was not whole")
                answered += 1
                if sent < count:
                    socks[fd].sendall(WORDS)
                    sent += 1


def connect(port: int, count: int, stack: contextlib.ExitStack) -> dict[int, socket.socket]:
    """Return so many new connections by descriptor; the stack closes them."""
    socks = {}
    for _ in range(count):
        sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        socks[sock.fileno()] = sock
    return socks


@contextlib.contextmanager
def held(port: int, count: int) -> Iterator[None]:
    """Have a process hold so many connections, each of which has had one answer and is silent.

    Raises:
        OSError: One was refused, or had no answer.
    """
    ours, theirs = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_hold, args=(port, count, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        said = ours.recv() if ours.poll(_PATIENCE) else "the connections were not made in time"
        if said:
            raise OSError(said)
        yield
    finally:
        process.terminate()
        process.join()
        ours.close()


def _hold(port: int, count: int, report: multiprocessing.connection.Connection) -> None:
    socks: list[socket.socket] = []
    try:
        while len(socks) < count:
            numbers = range(len(socks), min(len(socks) + _BATCH, count))
            batch = [_connect_from(number // _PER_SOURCE, port) for number in numbers]
            _ask_once(batch)
            socks += batch
        report.send("")
    except (OSError, ValueError) as error:
        report.send(f"connection {len(socks)} of {count}: {error}")
        return
    signal.pause()


def _connect_from(source: int, port: int) -> socket.socket:
    sock = socket.socket()
    sock.settimeout(20.0)
    # The port is chosen when the address of the other end is known: before, it would have to be one
    # that nobody uses at all, and the search for it can take the kernel milliseconds.
    sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
    # Reset at the end, so that thousands of closed connections do not wait for their last packet.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.bind((f"127.10.{source // 250}.{source % 250 + 1}", 0))
    sock.connect(("127.0.0.1", port))
    return sock


def _ask_once(socks: Sequence[socket.socket]) -> None:
    for sock in socks:
        sock.sendall(WORDS)
    for sock in socks:
        if len(sock.recv(1000)) != len(WORDS):
            raise ValueError("it was closed, or its answer was not whole")
