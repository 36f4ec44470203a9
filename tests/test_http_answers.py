"""Pages and redirects of our own, and those of an operator; whole plays are in the golden ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from dsbalance.errors import ConfigError
from dsbalance.http1 import RequestHead, ResponseHead
from dsbalance.http_answers import Answer, FilePart, error, read_page, redirection
from dsbalance.http_options import DENY_STATUSES, REDIRECT_STATUSES

GET = RequestHead(b"GET / HTTP/1.1\r\n\r\n")
HEAD = RequestHead(b"HEAD / HTTP/1.1\r\n\r\n")
OLD = RequestHead(b"GET / HTTP/1.0\r\n\r\n")

# As HAProxy 2.6.12 says them.
REASONS = {
    200: "OK",
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    407: "Unauthorized",
    408: "Request Time-out",
    410: "Gone",
    413: "Payload Too Large",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    425: "Too Early",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Time-out",
}


def split(answer: bytes) -> tuple[list[str], bytes]:
    """Return the lines of the head, and the body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return head.decode().split("\r\n"), body


# --- ours ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", DENY_STATUSES)
def test_a_page_has_the_fields_that_haproxy_gives_it(status: int) -> None:
    lines, body = split(error(status).render(GET, keeps_client=True))
    closing = ["connection: close"] if status in (400, 408) else []
    assert lines == [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"content-length: {len(body)}",
        "cache-control: no-cache",
        "content-type: text/html",
        *closing,
    ]
    assert body.startswith(f"<html><body><h1>{status} {REASONS[status]}</h1>\n".encode())
    assert body.endswith(b".\n</body></html>\n")


@pytest.mark.parametrize("status", DENY_STATUSES)
def test_a_page_for_who_has_asked_nothing_closes(status: int) -> None:
    early = error(status).render(None, keeps_client=True)
    lines, body = split(early)
    assert lines == [
        f"HTTP/1.1 {status} {REASONS[status]}",
        f"Content-length: {len(body)}",
        "Cache-Control: no-cache",
        "Connection: close",
        "Content-Type: text/html",
    ]
    assert body == split(error(status).render(GET, keeps_client=True))[1]


@pytest.mark.parametrize(
    ("request_head", "keeps_client", "last"),
    [
        (GET, True, "content-type: text/html"),
        (GET, False, "connection: close"),
        (OLD, True, "connection: keep-alive"),
        (OLD, False, "connection: close"),
    ],
)
def test_a_page_says_what_becomes_of_the_connection(
    request_head: RequestHead, keeps_client: bool, last: str
) -> None:
    lines, _ = split(error(503).render(request_head, keeps_client=keeps_client))
    assert lines[-1] == last


@pytest.mark.parametrize("answer", [error(403), redirection(302, b"/b", closes=False)])
def test_an_answer_to_head_has_no_body(answer: Answer) -> None:
    made = answer.render(HEAD, keeps_client=True)
    assert made.endswith(b"\r\n\r\n")
    assert split(made)[0] == split(answer.render(GET, keeps_client=True))[0]


@pytest.mark.parametrize("status", REDIRECT_STATUSES)
def test_a_redirect_is_remembered_only_if_it_is_for_good(status: int) -> None:
    answer = redirection(status, b"https://h/a?b", closes=False)
    lines, body = split(answer.render(GET, keeps_client=True))
    reason = {301: "Moved Permanently", 302: "Found", 303: "See Other"}.get(
        status, "Temporary Redirect" if status == 307 else "Permanent Redirect"
    )
    control = [] if status in (301, 308) else ["cache-control: no-cache"]
    assert lines == [
        f"HTTP/1.1 {status} {reason}",
        "content-length: 0",
        "location: https://h/a?b",
        *control,
    ]
    assert not body
    assert (answer.status, answer.closes, answer.part(GET)) == (status, False, None)


def test_a_redirect_may_end_the_connection() -> None:
    answer = redirection(301, b"/", closes=True)
    assert split(answer.render(GET, keeps_client=True))[0][-1] == "connection: close"


@pytest.mark.parametrize("status", DENY_STATUSES)
def test_what_we_answer_is_a_response(status: int) -> None:
    for request in (GET, OLD, None):
        raw = error(status).render(request, keeps_client=False)
        end = raw.index(b"\r\n\r\n") + 4
        assert ResponseHead(raw[:end], b"GET").length == len(raw) - end


# --- an operator's -------------------------------------------------------------------------------


def content(*fields: str, version: str = "1.1", body: str = "no!\n") -> bytes:
    lines = [f"HTTP/{version} 403 Nope", *fields, "", body]
    return "\r\n".join(lines).encode()


@pytest.mark.parametrize(
    ("page", "line", "is_kept"),
    [
        (content("Content-Length: 4"), "", True),
        (content("content-length:4", "X-A: b"), "", True),
        (content("Content-Length: 0", body=""), "", True),
        (content(), "connection: close\r\n", False),
        (content(body=""), "connection: close\r\n", False),
        (content("Content-Length: 4", "Connection: close"), "connection: close\r\n", False),
        (content("Content-Length: 4", version="1.0"), "connection: keep-alive\r\n", True),
        (content("Content-Length: 4", "Connection: close", version="1.0"), "", False),
        (content(version="1.0"), "", False),
    ],
)
def test_a_page_of_the_operators_is_sent_as_it_is(page: bytes, line: str, is_kept: bool) -> None:
    answer = read_page(403, page, 9)
    end = page.index(b"\r\n\r\n") + 2
    head = page[:end].replace(b"Connection: close\r\n", b"")
    assert answer.closes is not is_kept
    assert answer.render(GET, keeps_client=True) == head + line.encode() + b"\r\n"
    assert answer.part(GET) == FilePart(9, end + 2, len(page) - end - 2)
    assert answer.part(None) == answer.part(GET)
    assert answer.part(HEAD) is None
    early = answer.render(None, keeps_client=False)
    assert early.startswith(head)


def test_a_page_may_have_lines_as_an_editor_makes_them(tmp_path: Path) -> None:
    path = tmp_path / "page"
    path.write_bytes(b"HTTP/1.0 503 Later\nRetry-After: 9\n\nlater\n\nmuch later\n")
    with path.open("rb") as file:
        answer = read_page(503, file.read(), file.fileno())
        part = answer.part(GET)
        assert part is not None
        file.seek(part.offset)
        assert file.read(part.length) == b"later\n\nmuch later\n"
    assert answer.render(GET, keeps_client=True) == (
        b"HTTP/1.0 503 Later\r\nRetry-After: 9\r\n\r\n"
    )


def test_other_tokens_of_a_page_stay() -> None:
    answer = read_page(200, content("Connection: Foo, close", "Content-Length: 4"), 9)
    made = answer.render(GET, keeps_client=True)
    assert made.endswith(b"\r\nconnection: Foo\r\nContent-Length: 4\r\nconnection: close\r\n\r\n")


def test_of_an_empty_page_nothing_is_sent() -> None:
    answer = read_page(408, b"", 9)
    assert answer.closes
    for request in (GET, HEAD, None):
        assert answer.render(request, keeps_client=True) == b""
        assert answer.part(request) is None


@pytest.mark.parametrize(
    ("page", "message"),
    [
        (b"hello", "it has no empty line behind the head of a response"),
        (b"hello\n\n", "it does not begin as a response: "),
        (content("A : b"), "it does not begin as a response: "),
        (content("Content-Length: 5"), "its body has 4 bytes, not 5 as its head says"),
        (content("Content-Length: 3"), "its body has 4 bytes, not 3 as its head says"),
        (content("Content-Length: 0"), "its body has 4 bytes, not 0 as its head says"),
        (content("Transfer-Encoding: chunked"), "it is chunked, or something comes behind it"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "it is chunked, or something comes behind it"),
        (
            b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            "it is chunked, or something comes behind it",
        ),
        (b"HTTP/1.1 204 X\r\n\r\nbody", "its body has 4 bytes, not 0 as its head says"),
    ],
)
def test_a_page_that_is_no_whole_response_is_refused(page: bytes, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_page(403, page, 9)
    assert str(caught.value).startswith(message)
