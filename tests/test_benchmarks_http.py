"""The HTTP benchmarks notice what is lost, and their rivals all have the same to do.

Here a figure may be anything: the machine is busy with the tests.
"""

from __future__ import annotations

import importlib
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"
# The server closes where the rival says that it does.
CLOSE = b"\r\nconnection: close\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

pytestmark = pytest.mark.skipif(not hasattr(select, "epoll"), reason="the servers want epoll")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("http_load")


@pytest.fixture
def rivals(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("http_rivals")


@contextmanager
def server_that_says(*answers: bytes) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the port of a server and the heads that it reads.

    It gives each head the next answer, in pieces of a byte if that is short, and then ends.
    """
    heads: list[bytes] = []

    def serve() -> None:
        with listener.accept()[0] as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for answer in answers:
                head = b""
                while not head.endswith(b"\r\n\r\n") and (data := sock.recv(1000)):
                    head += data
                heads.append(head)
                pieces = [answer] if len(answer) > 200 else [bytes([byte]) for byte in answer]
                for piece in pieces:
                    sock.sendall(piece)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1], heads
        thread.join()


def connected(port: int, stack: ExitStack) -> dict[int, socket.socket]:
    sock = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
    return {sock.fileno(): sock}


# --- the ends ------------------------------------------------------------------------------------


def test_every_request_is_answered_and_none_is_like_another(load: Any) -> None:
    with load.answering_server() as port, ExitStack() as stack:
        load.request(connected(port, stack) | connected(port, stack), 20)
    page = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100
    page = page.replace(b"OK", b"OK" + b"!" * 200)
    with server_that_says(page, page, page) as (port, heads), ExitStack() as stack:
        load.request(connected(port, stack), 3)
    assert len(set(heads)) == len(heads) == 3
    assert {len(head.splitlines()) for head in heads} == {8}


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 99 + b"\0" * 100,
        b"HTTP/1.1 503 Service Unavailable\r\n\r\n" + b"x" * 200,
        b"",
    ],
)
def test_an_answer_that_is_not_whole_is_noticed(load: Any, answer: bytes) -> None:
    with server_that_says(answer) as (port, _), ExitStack() as stack:
        with pytest.raises(ValueError, match="not whole"):
            load.request(connected(port, stack), 1)


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 1_000_000, 3_000_000])
def test_a_body_goes_both_ways(load: Any, size: int, *, is_chunked: bool) -> None:
    with load.body_server() as port:
        load.download(port, size, is_chunked=is_chunked)
        load.upload(port, size, is_chunked=is_chunked)


def test_chunks_of_any_size_are_counted_wherever_they_are_cut(load: Any) -> None:
    chunks = b"3\r\nabc\r\n00a\r\n0\r\n\r\n5678a\r\n0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for answer in (head + chunks, head + b"X: " + b"x" * 200 + b"\r\n\r\n" + chunks):
        with server_that_says(answer.replace(b"\r\n\r\nX", b"\r\nX")) as (port, _):
            load.download(port, 13, is_chunked=True)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123456789",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n123456789",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n1234567890\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n",
    ],
)
def test_a_download_that_lost_bytes_is_noticed(load: Any, answer: bytes) -> None:
    with server_that_says(answer) as (port, _):
        with pytest.raises(ValueError, match=r"not whole|did not come|ended"):
            load.download(port, 10, is_chunked=b"chunked" in answer)


@pytest.mark.parametrize("answer", [b"200 OK\r\n\r\n1", b"200 OK\r\n\r\n", b"400 Bad\r\n\r\n0"])
def test_an_upload_that_went_wrong_is_noticed(load: Any, answer: bytes) -> None:
    # Nothing is sent behind the head, so that nothing is left unread.
    with server_that_says(b"HTTP/1.1 " + answer) as (port, _):
        with pytest.raises(ValueError, match=r"not whole|ended"):
            load.upload(port, 0, is_chunked=False)


# --- the rivals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["dsbalance", "haproxy", "haproxy-tuned", "nginx"])
@pytest.mark.parametrize("is_closing", [False, True])
def test_every_rival_tells_the_client_s_address_and_keeps_the_server_if_it_may(
    rivals: Any, name: str, *, is_closing: bool
) -> None:
    options = (rivals.CLOSING,) if is_closing else ()
    (rival,) = (rival for rival in rivals.http_rivals(*options) if rival.name == name)
    if why := rival.missing():
        pytest.skip(why)
    start = importlib.import_module("rivals")
    with (
        server_that_says(ANSWER) as (server, heads),
        start.running(rival, server) as target,
        socket.create_connection(("127.0.0.1", target.port), 10) as sock,
    ):
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert sock.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")
    (head,) = heads
    assert b"\r\nx-forwarded-for: 127.0.0.1\r\n" in head.lower()
    assert (CLOSE in head.lower()) is is_closing
