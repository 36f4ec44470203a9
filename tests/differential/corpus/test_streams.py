"""What is the same to everybody is made the same, and nothing else is."""

from __future__ import annotations

import pytest

from .streams import comparable

OK = "HTTP/1.1 200 OK\r\n"
# As after HEAD: a length, and no body.
HEAD_OK = f"{OK}content-length: 9\r\n\r\n"
CHUNKED = f"{OK}transfer-encoding: chunked\r\n\r\n"
PAGE = "HTTP/1.1 503 Away\r\ncontent-length: its length\r\ncontent-type: text/html\r\n\r\n(page)"


@pytest.mark.parametrize(
    ("stream", "told"),
    [
        ("", ""),
        ("\0\0\4", "\0\0\4"),
        ("GET / HTTP/1.1\r\nHost:x \r\n\r\n", "GET / HTTP/1.1\r\nhost: x\r\n\r\n"),
        (f"{OK}X-A:  b C \r\n\r\n", f"{OK}x-a: b C\r\n\r\n"),
        (f"{OK}Connection: a,b\r\n\r\n", f"{OK}connection: a, b\r\n\r\n"),
        (f"{OK}X: a,b\r\n\r\n", f"{OK}x: a,b\r\n\r\n"),
        (f"{OK}Content-Length: 2\r\n\r\nokX: y", f"{OK}content-length: 2\r\n\r\nokX: y"),
        (f"{HEAD_OK}{OK}X: y\r\n\r\n", f"{HEAD_OK}{OK}x: y\r\n\r\n"),
        ("HTTP/1.1 200 \r\n\r\n", "HTTP/1.1 200\r\n\r\n"),
        (f"{CHUNKED}1\r\na\r\n0a\r\n0123456789\r\n", f"{CHUNKED}B\r\na0123456789\r\n"),
        (f"{CHUNKED}1\r\na\r\n0\r\nX-T: v\r\n\r\n", f"{CHUNKED}1\r\na\r\n0\r\nx-t: v\r\n\r\n"),
        (f"{CHUNKED}0\r\n\r\n{OK}X: y\r\n\r\n", f"{CHUNKED}0\r\n\r\n{OK}x: y\r\n\r\n"),
        (f"{CHUNKED}0\r\n\r\n", f"{CHUNKED}0\r\n\r\n"),
        (f"{CHUNKED}1\r\na\r\n0\r\n", f"{CHUNKED}1\r\na\r\n0\r\n"),
        (f"{CHUNKED}nonsense", f"{CHUNKED}nonsense"),
        (PAGE.replace("its length", "15").replace("(page)", "<html>a</html>\n"), PAGE),
        (PAGE.replace("its length", "9").replace("(page)", ""), PAGE),
        (PAGE.replace("503", "302"), PAGE.replace("503", "302")),
        ("a" * 99, "a" * 99),
        ("xx" + "a" * 15000, "xxa{15000}"),
    ],
)  # fmt: skip
def test_what_means_the_same_is_told_alike(stream: str, told: str) -> None:
    assert comparable(stream.encode("latin-1")) == told
