"""The ends of HTTP connections: servers that answer, and clients that ask, fetch and send.

They know no more of HTTP than they need, so that they cost little: client, rival and server share
the processors.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import select
import socket
import threading
from collections.abc import Callable, Iterator

# No two requests and no two answers are the same, so that nobody gains from remembering heads.
_REQUEST = (
    b"GET /printers/queue?job=%d HTTP/1.1\r\n"
    b"Host: dispatcher.example:5012\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-GB,en;q=0.5\r\n"
    b"Accept-Encoding: gzip, deflate\r\n"
    b"Cookie: session=6f1c2b7a9d3e4f50\r\n"
    b"\r\n"
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: nginx/1.22.1\r\n"
    b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    b"Content-Type: text/html; charset=utf-8\r\n"
    b"Content-Length: 100\r\n"
    b"Cache-Control: no-cache\r\n"
    b'ETag: "%d"\r\n'
    b"\r\n"
)
_PAGE = b"x" * 100
_OK = b"HTTP/1.1 200 "
_END = b"\r\n\r\n"
_CLOSING = b"\nconnection: close\r\n"
_HEAD_LIMIT = 65536
_BLOCK = 1 << 20
# What programs write at a time that do not know yet how much there will be.
_CHUNK = 1 << 16
_PATIENCE = 60.0
_CONTEXT = multiprocessing.get_context("fork")


# --- small answers -------------------------------------------------------------------------------


def answering_server() -> contextlib.AbstractContextManager[int]:
    """Run a server process that answers every request with a head of seven lines and 100 bytes.

    It closes the connection if the request says so.
    """
    return _process(_answer)


def _answer(listener: socket.socket) -> None:
    poll = select.epoll()
    poll.register(listener.fileno(), select.EPOLLIN)
    peers: dict[int, socket.socket] = {}
    number = 0
    while True:
        for fd, _ in poll.poll():
            if fd == listener.fileno():
                sock, _address = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                peers[sock.fileno()] = sock
                poll.register(sock.fileno(), select.EPOLLIN)
                continue
            with contextlib.suppress(OSError):
                request = peers[fd].recv(_HEAD_LIMIT)
                if request.endswith(_END):
                    number += 1
                    peers[fd].sendall(_ANSWER % number + _PAGE)
                    if _CLOSING not in request.lower():
                        continue
            peers.pop(fd).close()


def request(socks: dict[int, socket.socket], count: int) -> None:
    """Have ``count`` requests answered, one at a time on each connection.

    Raises:
        ValueError: A connection ended, or an answer was not whole.
    """
    with select.epoll() as poll:
        sent = answered = 0
        for fd, sock in socks.items():
            poll.register(fd, select.EPOLLIN)
            sock.sendall(_REQUEST % sent)
            sent += 1
        while answered < sent:
            for fd, _ in poll.poll():
                answer = socks[fd].recv(_HEAD_LIMIT)
                if not (answer.startswith(_OK) and answer.endswith(_END + _PAGE)):
                    raise ValueError("an answer was not whole")
                answered += 1
                if sent < count:
                    socks[fd].sendall(_REQUEST % sent)
                    sent += 1


# --- bodies --------------------------------------------------------------------------------------


def body_server() -> contextlib.AbstractContextManager[int]:
    """Run a server process that sends bodies, and takes them.

    ``GET /length/N`` has N bytes with Content-Length as the answer, ``GET /chunked/N`` N bytes in
    chunks; the answer to ``PUT`` is how many bytes came.
    """
    return _process(_exchange_all)


def _exchange_all(listener: socket.socket) -> None:
    while True:
        # A rival may keep a connection that it does not use any more.
        sock, _address = listener.accept()
        threading.Thread(target=_exchange, args=(sock,), daemon=True).start()


def _exchange(sock: socket.socket) -> None:
    with sock, contextlib.suppress(OSError, ValueError):
        while True:
            head, rest = _read_head(sock)
            method, path, *_ = head.split(b" ", 2)
            if method == b"GET":
                _, framing, size = path.split(b"/")
                sock.sendall(b"HTTP/1.1 200 OK\r\n")
                _send_body(sock, int(size), is_chunked=framing == b"chunked")
            else:
                count = b"%d" % _read_body(sock, head, rest)
                sock.sendall(_OK + b"OK\r\nContent-Length: %d\r\n\r\n%s" % (len(count), count))


def download(port: int, size: int, *, is_chunked: bool) -> None:
    """Fetch a body of so many bytes.

    Raises:
        ValueError: It was not whole.
    """
    framing = b"chunked" if is_chunked else b"length"
    with _connect(port) as sock:
        sock.sendall(b"GET /%s/%d HTTP/1.1\r\nHost: x\r\n\r\n" % (framing, size))
        head, rest = _read_head(sock)
        if _read_body(sock, head, rest) != size:
            raise ValueError("the body was not whole")


def upload(port: int, size: int, *, is_chunked: bool) -> None:
    """Send a body of so many bytes.

    Raises:
        ValueError: The server did not get it whole.
    """
    with _connect(port) as sock:
        sock.sendall(b"PUT / HTTP/1.1\r\nHost: x\r\n")
        _send_body(sock, size, is_chunked=is_chunked)
        head, rest = _read_head(sock)
        if not head.startswith(_OK) or rest != b"%d" % size:
            raise ValueError("the body was not whole")


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), _PATIENCE)


def _send_body(sock: socket.socket, size: int, *, is_chunked: bool) -> None:
    """Send the last field of a head, the end of the head, and so many bytes."""
    if not is_chunked:
        sock.sendall(b"Content-Length: %d\r\n\r\n" % size)
        block = memoryview(bytes(_BLOCK))
        for start in range(0, size, _BLOCK):
            sock.sendall(block[: size - start])
        return
    sock.sendall(b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"%x\r\n%s\r\n" % (_CHUNK, bytes(_CHUNK))
    for _ in range(size // _CHUNK):
        sock.sendall(chunk)
    if rest := size % _CHUNK:
        sock.sendall(b"%x\r\n%s\r\n" % (rest, bytes(rest)))
    sock.sendall(b"0\r\n\r\n")


def _read_head(sock: socket.socket) -> tuple[bytes, bytes]:
    """Return a head in lower case but for its first line, and what came of the body with it."""
    data = b""
    while _END not in data:
        data += _receive(sock)
    head, _, rest = data.partition(_END)
    first, _, fields = head.partition(b"\r\n")
    return first + b"\r\n" + fields.lower() + b"\r\n", rest


def _read_body(sock: socket.socket, head: bytes, rest: bytes) -> int:
    """Return the length of a body that begins with ``rest``."""
    if b"\ntransfer-encoding: chunked\r\n" in head:
        return _read_chunks(sock, rest)
    size = int(head.partition(b"\ncontent-length: ")[2].partition(b"\r\n")[0])
    _drop(sock, size - len(rest))
    return size


def _read_chunks(sock: socket.socket, data: bytes) -> int:
    size = 0
    while True:
        while b"\r\n" not in data:
            data += _receive(sock)
        line, _, data = data.partition(b"\r\n")
        chunk = int(line, 16)
        size += chunk
        # With the line's end behind it.
        if len(data) < chunk + 2:
            _drop(sock, chunk + 2 - len(data))
            data = b""
        else:
            data = data[chunk + 2 :]
        if not chunk:
            return size


def _receive(sock: socket.socket) -> bytes:
    # Little, because what comes behind a head or a chunk's size is copied.
    data = sock.recv(4096)
    if not data:
        raise ValueError("the connection ended")
    return data


def _drop(sock: socket.socket, count: int) -> None:
    """Take so many bytes without a copy of them (``MSG_TRUNC``, tcp(7))."""
    buffer = memoryview(bytearray(_BLOCK))
    while count:
        taken = sock.recv_into(buffer, min(count, _BLOCK), socket.MSG_TRUNC)
        if not taken:
            raise ValueError(f"{count} bytes of a body did not come")
        count -= taken


# --- processes -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _process(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    process = _CONTEXT.Process(target=serve, args=(sock,), daemon=True)
    process.start()
    port = sock.getsockname()[1]
    sock.close()
    try:
        yield port
    finally:
        process.terminate()
        process.join()
