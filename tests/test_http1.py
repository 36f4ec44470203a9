"""Heads of requests and responses: what they say, what is refused and why, what is changed."""

from __future__ import annotations

import contextlib

import pytest

from dsbalance import http1
from dsbalance.http1 import (
    MAX_HEAD,
    MAX_LENGTH,
    Framing,
    MessageError,
    RequestHead,
    ResponseHead,
    accepts_upgrade,
    edit,
    request_end,
    response_end,
)

HOST = "Host: a"
WEBSOCKET = (HOST, "Connection: Upgrade", "Upgrade: websocket")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
# The key and the proof for it are those of RFC 6455, 1.3.
PROOF = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def head(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1")


def problem_of_request(raw: bytes) -> str:
    with pytest.raises(MessageError) as caught:
        RequestHead(raw)
    assert str(caught.value) == caught.value.problem
    return caught.value.problem


def problem_of_response(raw: bytes, method: bytes = b"GET") -> str:
    with pytest.raises(MessageError) as caught:
        ResponseHead(raw, method)
    return caught.value.problem


def hosts_beside(method: str, target: str) -> list[str]:
    """Return which of some hosts are taken beside ``target``."""
    taken = []
    for host in ("x", "X", "x:", "x:80", "x:443", "x:8080", "x::", "x:080", "y"):
        with contextlib.suppress(MessageError):
            RequestHead(head(f"{method} {target} HTTP/1.1", f"Host: {host}"))
            taken.append(host)
    return taken


# --- requests ------------------------------------------------------------------------------------


def test_a_request_of_a_browser() -> None:
    raw = head(
        "GET /phoenix/jobs?id=12 HTTP/1.1",
        "Host: printer-7.example:5012",
        "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0)",
        "Accept-Encoding: gzip, deflate",
        "Connection: keep-alive, Foo",
    )
    request = RequestHead(raw)
    assert request.raw == raw
    assert (request.method, request.target) == (b"GET", b"/phoenix/jobs?id=12")
    assert not request.is_http10
    assert request.length == 0
    assert request.host == b"printer-7.example:5012"
    assert request.connection == {b"keep-alive", b"foo"}
    assert not request.has_upgrade
    assert request.fields()[2] == (b"accept-encoding", b"gzip, deflate")
    assert request.has(b"user-agent")
    assert not request.has(b"agent")
    assert request.values(b"accept-encoding") == [b"gzip, deflate"]


@pytest.mark.parametrize(
    ("lines", "length"),
    [
        ((), 0),
        (("Content-Length: 0",), 0),
        (("content-LENGTH:\t0042 ",), 42),
        ((f"Content-Length: {MAX_LENGTH}",), MAX_LENGTH),
        (("Transfer-Encoding: Chunked",), None),
        (("TE: trailers", "Trailer: x"), 0),
    ],
)
def test_the_length_of_a_body_is_what_the_fields_say(
    lines: tuple[str, ...], length: int | None
) -> None:
    assert RequestHead(head("POST / HTTP/1.1", HOST, *lines)).length == length


@pytest.mark.parametrize(
    "line",
    [
        *("GET /a HTTP/1.1", 'GET /"<>\\^`{|} HTTP/1.1', "m-search / HTTP/1.1", "GET // HTTP/1.1"),
        *("OPTIONS * HTTP/1.1", "OPTIONS / HTTP/1.0", "GET http://a/ HTTP/1.1"),
        *("GET http://A:80 HTTP/1.1", "GET https://a:443/? HTTP/1.1", "GET x+y.z://a HTTP/1.1"),
        "CONNECT a:443 HTTP/1.1",
    ],
)
def test_these_request_lines_are_taken(line: str) -> None:
    raw = head(line, HOST)
    assert RequestHead(raw).raw == raw


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("G@T / HTTP/1.1", "0x40 in the method"),
        (" GET / HTTP/1.1", "0x20 in the method"),
        ("GET", "0x0d in the method"),
        ("GET\t/ HTTP/1.1", "0x09 in the method"),
        ("GET  / HTTP/1.1", "0x20 in the target"),
        ("GET /#x HTTP/1.1", "0x23 in the target"),
        ("GET /\x7f HTTP/1.1", "0x7f in the target"),
        ("GET /\xe9 HTTP/1.1", "0xe9 in the target"),
        ("GET /", "0x0d in the target"),
        ("GET /  HTTP/1.1", "0x20 in the version"),
        ("GET /a b HTTP/1.1", "0x62 in the version"),
        ("GET / http/1.1", "0x68 in the version"),
        ("GET / HTTP/0.9", "0x30 in the version"),
        ("GET / HTTP/1.10", "0x30 in the version"),
        ("GET / HTTP/11", "0x31 in the version"),
        ("GET / HTTP/1.1 ", "0x20 in the version"),
        ("GET a HTTP/1.1", "the target is neither a path nor a URI"),
        ("GET a:80 HTTP/1.1", "the target is neither a path nor a URI"),
        ("GET * HTTP/1.1", "the target is neither a path nor a URI"),
        ("PRI * HTTP/2.0", "the target is neither a path nor a URI"),
        ("GET 1://a/ HTTP/1.1", "the target is neither a path nor a URI"),
        ("GET http://b/ HTTP/1.1", "target and Host name different hosts"),
        ("GET http://a:8080/ HTTP/1.1", "target and Host name different hosts"),
        ("GET http:///x HTTP/1.1", "target and Host name different hosts"),
        ("CONNECT b:443 HTTP/1.1", "target and Host name different hosts"),
        ("GET http://u@a/ HTTP/1.1", "the target has what stands in no name of a host"),
        ("GET http://a?x HTTP/1.1", "the target has what stands in no name of a host"),
        ("CONNECT a HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT :1 HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT a:1/ HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT http://a:1 HTTP/1.1", "the target of CONNECT is not host:port"),
        ("CONNECT /:1 HTTP/1.1", "the target of CONNECT is not host:port"),
    ],
)
def test_these_request_lines_are_refused(line: str, problem: str) -> None:
    assert problem_of_request(head(line, HOST)) == problem


@pytest.mark.parametrize(
    ("target", "hosts"),
    [
        ("http://x/", "x X x: x:80"),
        ("HTTP://X:80/", "x X x: x:80"),
        ("https://x/", "x X x: x:443"),
        ("https://x:443/", "x X x: x:443"),
        ("http://x:443/", "x:443"),
        ("https://x:80/", "x:80"),
        ("ftp://x/", "x X"),
        ("ftp://x:80/", "x:80"),
    ],
)
def test_a_port_that_goes_without_saying_makes_no_other_host(target: str, hosts: str) -> None:
    """What is taken here, HAProxy 2.6.12 takes as well."""
    assert hosts_beside("GET", target) == hosts.split()


@pytest.mark.parametrize(
    ("target", "hosts"),
    [("x:80", "x X x: x:80"), ("x:443", "x X x: x:443"), ("x:8080", "x:8080")],
)
def test_a_tunnel_has_a_port_that_its_host_may_leave_out(target: str, hosts: str) -> None:
    assert hosts_beside("CONNECT", target) == hosts.split()


def test_a_uri_needs_no_host_beside_it_but_no_empty_one() -> None:
    assert RequestHead(head("GET http://a/ HTTP/1.1")).host is None
    raw = head("GET http://a/ HTTP/1.1", "Host:")
    assert problem_of_request(raw) == "target and Host name different hosts"
    assert RequestHead(head("GET / HTTP/1.1", "Host:")).host == b""


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("Content-Length: 5", "Content-Length: 5"), "two fields content-length"),
        (("Content-Length: 5", "content-length: 6"), "two fields content-length"),
        (("Transfer-Encoding: chunked",) * 2, "two fields transfer-encoding"),
        ((HOST,), "two fields host"),
        (
            ("Content-Length: 5", "Transfer-Encoding: chunked"),
            "Content-Length with Transfer-Encoding",
        ),
        *(
            ((f"Content-Length:{text}",), "Content-Length is no number, or too great")
            for text in (*("", "5, 5", "+5", "-5", "0x5", "5 5", "\xb2", "5_0"), "0" * 20, 2**63)
        ),
        *(
            (
                (f"Transfer-Encoding:{text}",),
                "Transfer-Encoding is not chunked, or not that alone",
            )
            for text in (
                *("", "gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,"),
                *(", chunked", "chunked;q=1", "identity", "xchunked", '"chunked"'),
            )
        ),
        (("X : y",), "0x20 in the name of a field"),
        ((": y",), "0x3a in the name of a field"),
        (("X: y", " z"), "0x20 in the name of a field"),
        (("X: y", "\tz: a"), "0x09 in the name of a field"),
        (("X",), "0x0d in the name of a field"),
        (("X\xe9: y",), "0xe9 in the name of a field"),
        (("x" * 256 + ":",), "0x78 in the name of a field"),
        *(
            ((f"X: y{chr(code)}z",), f"0x{code:02x} in the value of a field")
            for code in (*range(9), 10, 11, 12, *range(14, 32), 127)
        ),
        (("X: y\rZ: a",), "0x5a behind CR"),
        (("X: y\r",), "0x0d behind CR"),
        (("\rX: y",), "0x58 behind CR"),
        (("X:",) * 100, "0x58 behind a hundred fields"),
    ],
)
def test_these_fields_are_refused(lines: tuple[str, ...], problem: str) -> None:
    assert problem_of_request(head("POST / HTTP/1.1", HOST, *lines)) == problem


@pytest.mark.parametrize("host", ["a b", "a,b", "a/b", "u@a", "\xe9"])
def test_a_host_that_others_could_read_differently_is_refused(host: str) -> None:
    raw = head("GET / HTTP/1.1", f"Host: {host}")
    assert problem_of_request(raw) == "Host has what stands in no name of a host"


def test_a_hundred_fields_with_long_names_and_any_values_are_taken() -> None:
    raw = head("GET / HTTP/1.1", "x" * 255 + ":\t\xe9 ", *["X:"] * 99)
    request = RequestHead(raw)
    assert len(request.fields()) == 100
    assert request.fields()[0] == (b"x" * 255, b"\xe9")


@pytest.mark.parametrize(
    ("method", "field", "problem"),
    [
        ("POST", "Transfer-Encoding: chunked", "Transfer-Encoding in HTTP/1.0"),
        ("GET", "Content-Length: 1", "GET with a body in HTTP/1.0"),
        ("HEAD", "Content-Length: 1", "HEAD with a body in HTTP/1.0"),
        ("DELETE", "Content-Length: 1", "DELETE with a body in HTTP/1.0"),
    ],
)
def test_http10_knows_no_such_body(method: str, field: str, problem: str) -> None:
    assert problem_of_request(head(f"{method} / HTTP/1.0", field)) == problem


def test_http10_knows_other_bodies() -> None:
    request = RequestHead(head("POST / HTTP/1.0", "Content-Length: 1"))
    assert request.is_http10
    assert request.length == 1
    assert RequestHead(head("GET / HTTP/1.0", "Content-Length: 0")).length == 0


def test_connect_has_no_body() -> None:
    for field in ("Content-Length: 1", "Transfer-Encoding: chunked"):
        assert problem_of_request(head("CONNECT a:1 HTTP/1.1", field)) == "CONNECT with a body"


@pytest.mark.parametrize("version", ["1.2", "2.0", "9.9"])
def test_a_later_version_is_1_1(version: str) -> None:
    request = RequestHead(head(f"GET /HTTP/{version} HTTP/{version}", HOST))
    assert request.raw == head(f"GET /HTTP/{version} HTTP/1.1", HOST)
    assert not request.is_http10
    response = ResponseHead(head(f"HTTP/{version} 200 HTTP/{version}"), b"GET")
    assert response.raw == head(f"HTTP/1.1 200 HTTP/{version}")
    assert not response.is_http10


def test_empty_lines_before_a_request_are_left_out() -> None:
    raw = head("GET / HTTP/1.1", HOST)
    padded = b"\r\n\r\n\r\n" + raw
    assert request_end(padded + b"GET") == len(padded)
    assert RequestHead(padded).raw == raw
    assert request_end(b"\r") == request_end(b"\r\n\r\n") == request_end(b"\r\n\r") == 0
    with pytest.raises(MessageError, match="0x0d in the method"):
        request_end(b"\rG")
    assert problem_of_request(b"\r\n\r\n") == "half a head"


def test_options_of_the_connection_may_stand_in_several_lines() -> None:
    request = RequestHead(head("GET / HTTP/1.1", "Connection: a,, B ,", "CONNECTION: c"))
    assert request.connection == {b"a", b"b", b"c"}


def test_fields_that_came_before_are_known_unless_they_are_long() -> None:
    short, long = ("X-Only: here",), ("X-Only: here", "Cookie: " + "x" * 4000)
    before = http1._remembered.cache_info()
    for line in ("GET /1 HTTP/1.1", "GET /2 HTTP/1.1", "GET /3 HTTP/1.1"):
        assert RequestHead(head(line, *short)).fields() == [(b"x-only", b"here")]
        RequestHead(head(line, *long))
    after = http1._remembered.cache_info()
    assert after.hits - before.hits == 2
    assert after.misses - before.misses == 1


def test_long_fields_are_read_like_short_ones() -> None:
    request = RequestHead(head("GET / HTTP/1.1", HOST, "Cookie: " + "x" * 4000))
    assert request.host == b"a"
    assert problem_of_request(head("GET / HTTP/1.1", "Cookie: " + "x" * 4000, "X")).startswith("0x")


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        (("TE: trailers",), ("TE: trailers",)),
        (("te: Trailers ,",), ("te: Trailers ,",)),
        (("TE: gzip", "A: b"), ("A: b",)),
        (("TE:",), ()),
        (("TE: trailers;q=1",), ()),
        (("TE: gzip, trailers", "A: b"), ("A: b", "te: trailers")),
        (("TE: trailers", "TE: gzip"), ("te: trailers",)),
    ],
)
def test_no_coding_is_asked_for_that_would_be_refused(
    lines: tuple[str, ...], rest: tuple[str, ...]
) -> None:
    assert RequestHead(head("GET / HTTP/1.1", *lines)).raw == head("GET / HTTP/1.1", *rest)


# --- where a head ends ---------------------------------------------------------------------------


def test_a_head_ends_with_an_empty_line() -> None:
    request, response = head("GET / HTTP/1.1", HOST), head("HTTP/1.1 200 OK", "A: b")
    for end_of, raw in ((request_end, request), (response_end, response)):
        assert end_of(raw) == end_of(raw + b"\r\n\r\n") == len(raw)
        assert [end_of(raw[:cut]) for cut in range(len(raw))] == [0] * len(raw)


def test_a_head_has_a_limit() -> None:
    for end_of, line in ((request_end, "GET / HTTP/1.1"), (response_end, "HTTP/1.1 200 OK")):
        endless = f"{line}\r\nX: ".encode().ljust(MAX_HEAD, b"x")
        assert end_of(endless[:-1]) == 0
        for too_long in (endless, endless + b"\r\n\r\n"):
            with pytest.raises(MessageError, match=f"more than {MAX_HEAD} bytes, still"):
                end_of(too_long)


@pytest.mark.parametrize(("count", "limit"), [(0, 15281), (1, 15277), (92, 14913), (100, 14881)])
def test_the_limit_is_that_of_haproxy(count: int, limit: int) -> None:
    for end_of, problem_of, line in (
        (request_end, problem_of_request, "GET /{} HTTP/1.1"),
        (response_end, problem_of_response, "HTTP/1.1 200 {}"),
    ):
        rest = ["X: "] * count
        missing = limit - len(head(line.format(""), *rest))
        longest, longer = (head(line.format("x" * (missing + more)), *rest) for more in (0, 1))
        assert end_of(longest) == len(longest) == limit
        RequestHead(longest) if end_of is request_end else ResponseHead(longest, b"GET")
        assert problem_of(longer).startswith(("more than", "too long for its fields"))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x16", "0x16 in the method"),
        (b"GET / HTTP/1.1\n", "0x0a in the version"),
        (b"GET /\r", "0x0d in the target"),
        (b"GET / HTTP/1.1\r\nA: b\r\n ", "0x20 in the name of a field"),
        (b"GET / HTTP/1.1\r\n\n", "0x0a in the name of a field"),
        (b"GET / HTTP/1.1\r\n\rX", "0x58 behind CR"),
    ],
)
def test_what_cannot_become_a_request_is_refused_at_once(data: bytes, problem: str) -> None:
    assert request_end(data[:-1]) == 0
    with pytest.raises(MessageError, match=problem):
        request_end(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"S", "0x53 in the version"),
        (b"\r", "0x0d in the version"),
        (b"HTTP/1.1\t", "0x09 in the version"),
        (b"HTTP/1.1  ", "0x20 in the status"),
        (b"HTTP/1.1 0", "0x30 in the status"),
        (b"HTTP/1.1 20x", "0x78 in the status"),
        (b"HTTP/1.1 2000", "0x30 in the reason"),
        (b"HTTP/1.1 200 \0", "0x00 in the reason"),
        (b"HTTP/1.1 200\t", "0x09 in the reason"),
        (b"HTTP/1.1 200 OK\n", "0x0a in the reason"),
        (b"HTTP/1.1 200 OK\r\r", "0x0d behind CR"),
        (b"HTTP/1.1 200 OK\r\n ", "0x20 in the name of a field"),
    ],
)
def test_what_cannot_become_a_response_is_refused_at_once(data: bytes, problem: str) -> None:
    assert response_end(data[:-1]) == 0
    with pytest.raises(MessageError, match=problem):
        response_end(data)


@pytest.mark.parametrize("raw", [b"", b"GET / HTTP/1.1\r\n", head("GET / HTTP/1.1")[:-1]])
def test_half_a_head_is_none(raw: bytes) -> None:
    assert problem_of_request(raw) == problem_of_response(b"HTTP/1.1 200 OK\r\n") == "half a head"


def test_more_than_a_head_is_none() -> None:
    assert problem_of_request(head("GET / HTTP/1.1") + b"x") == "0x78 behind the end"
    assert problem_of_request(head("GET / HTTP/1.1", *["a:"] * 100) + b"x") == "0x78 behind the end"


# --- responses -----------------------------------------------------------------------------------

LENGTH, CHUNKED = "Content-Length: 5", "Transfer-Encoding: chunked"
SWITCHED = ("Connection: upgrade", "Upgrade: x")


@pytest.mark.parametrize(
    ("method", "status", "fields", "framing", "length"),
    [
        ("GET", 200, (LENGTH,), Framing.LENGTH, 5),
        ("GET", 200, ("Content-Length: 0",), Framing.NONE, 0),
        ("GET", 200, (CHUNKED,), Framing.CHUNKED, None),
        ("GET", 200, ("TRANSFER-ENCODING: CHUNKED",), Framing.CHUNKED, None),
        ("GET", 200, (), Framing.CLOSE, None),
        ("GET", 205, (LENGTH,), Framing.LENGTH, 5),
        ("HEAD", 200, (LENGTH,), Framing.NONE, 0),
        ("HEAD", 200, (CHUNKED,), Framing.NONE, 0),
        ("head", 200, (LENGTH,), Framing.LENGTH, 5),
        ("GET", 304, (LENGTH,), Framing.NONE, 0),
        ("GET", 204, (), Framing.NONE, 0),
        ("GET", 100, (), Framing.NONE, 0),
        ("GET", 101, SWITCHED, Framing.TUNNEL, None),
        ("CONNECT", 200, (), Framing.TUNNEL, None),
        ("CONNECT", 299, (), Framing.TUNNEL, None),
        ("CONNECT", 300, (LENGTH,), Framing.LENGTH, 5),
        ("CONNECT", 100, (), Framing.NONE, 0),
    ],
)
def test_the_end_of_a_body_follows_from_method_status_and_fields(
    method: str, status: int, fields: tuple[str, ...], framing: Framing, length: int | None
) -> None:
    raw = head(f"HTTP/1.1 {status} x", *fields)
    response = ResponseHead(raw, method.encode())
    assert (response.status, response.framing, response.length) == (status, framing, length)
    assert response.raw == raw


@pytest.mark.parametrize(
    ("method", "status", "more"),
    [("GET", 103, ()), ("GET", 204, ()), ("GET", 101, SWITCHED), ("CONNECT", 200, ())],
)
@pytest.mark.parametrize("field", ["content-length: 5", "Transfer-Encoding: chunked"])
def test_a_length_is_left_out_where_there_is_no_body(
    method: str, status: int, more: tuple[str, ...], field: str
) -> None:
    response = ResponseHead(head(f"HTTP/1.1 {status}", *more, field, "A: b"), method.encode())
    assert response.raw == head(f"HTTP/1.1 {status}", *more, "A: b")
    assert response.length == (None if response.framing is Framing.TUNNEL else 0)


@pytest.mark.parametrize("line", ["HTTP/1.1 200", "HTTP/1.1 200 ", "HTTP/1.0 999 \xe9 \t x"])
def test_a_reason_may_be_missing_or_anything(line: str) -> None:
    response = ResponseHead(head(line, LENGTH), b"GET")
    assert response.raw == head(line, LENGTH)
    assert response.is_http10 == ("1.0" in line)


def test_final_is_what_ends_the_exchange_or_the_protocol() -> None:
    final = {
        status: ResponseHead(head(f"HTTP/1.1 {status}", *SWITCHED), b"GET").is_final
        for status in (100, 101, 102, 199, 200, 204, 304, 503)
    }
    assert [status for status, is_final in final.items() if not is_final] == [100, 102, 199]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (("HTTP/1.1 099 x",), "0x30 in the status"),
        (("HTTP/0.9 200 x",), "0x30 in the version"),
        (("ICY 200 OK",), "0x49 in the version"),
        (("HTTP/1.1 200 OK", LENGTH, LENGTH), "two fields content-length"),
        (("HTTP/1.1 200 OK", LENGTH, CHUNKED), "Content-Length with Transfer-Encoding"),
        (("HTTP/1.1 200 OK", CHUNKED, LENGTH), "Content-Length with Transfer-Encoding"),
        (("HTTP/1.1 200 OK", CHUNKED, CHUNKED), "two fields transfer-encoding"),
        (("HTTP/1.0 200 OK", CHUNKED), "Transfer-Encoding in HTTP/1.0"),
        (("HTTP/1.1 204 No", "Content-Length: x"), "Content-Length is no number, or too great"),
        (("HTTP/1.1 200 OK", "X: y", " z"), "0x20 in the name of a field"),
        (("HTTP/1.1 200 OK", *["X:"] * 101), "0x58 behind a hundred fields"),
        (("HTTP/1.1 200 OK", HOST, HOST), "two fields host"),
        (("HTTP/1.1 101 x",), "101 without Upgrade"),
        (("HTTP/1.1 101 x", "Upgrade: x"), "101 without Upgrade"),
        (("HTTP/1.1 101 x", "Connection: upgrade"), "101 without Upgrade"),
    ],
)
def test_these_responses_are_refused(lines: tuple[str, ...], problem: str) -> None:
    assert problem_of_response(head(*lines)) == problem


def test_a_response_may_ask_for_the_end_of_the_connection() -> None:
    for lines in (("Connection: Close, x",), ("connection: close", "CONNECTION: x")):
        response = ResponseHead(head("HTTP/1.1 200 OK", *lines), b"GET")
        assert response.connection == {b"close", b"x"}


# --- other protocols -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "fields", "has_upgrade"),
    [
        ("GET / HTTP/1.1", ("Connection: x, UPGRADE", "Upgrade: h3"), True),
        ("POST / HTTP/1.1", ("Connection: upgrade", "Upgrade: x", "Content-Length: 0"), True),
        ("GET / HTTP/1.1", ("Connection: upgrade",), False),
        ("GET / HTTP/1.1", ("Upgrade: x",), False),
        ("GET / HTTP/1.1", ("Connection: x", "Upgrade: x"), False),
        ("GET / HTTP/1.0", ("Connection: upgrade", "Upgrade: x"), False),
    ],
)
def test_an_upgrade_is_asked_for_in_both_fields(
    line: str, fields: tuple[str, ...], *, has_upgrade: bool
) -> None:
    raw = head(line, *fields)
    assert RequestHead(raw).has_upgrade == has_upgrade
    assert RequestHead(raw).raw == raw


@pytest.mark.parametrize("wanted", ["h2c", "websocket, H2C"])
def test_nobody_is_asked_for_http2_whose_requests_would_go_by_unseen(wanted: str) -> None:
    request = RequestHead(head("GET / HTTP/1.1", "Connection: Upgrade", f"Upgrade: {wanted}"))
    assert request.raw == head("GET / HTTP/1.1", "Connection: Upgrade")
    assert not request.has_upgrade


@pytest.mark.parametrize("field", ["Content-Length: 5", "Transfer-Encoding: chunked"])
def test_a_request_with_a_body_does_not_ask_for_an_upgrade(field: str) -> None:
    request = RequestHead(head("POST / HTTP/1.1", *WEBSOCKET, field))
    assert request.raw == head("POST / HTTP/1.1", *WEBSOCKET[:2], field)
    assert not request.has_upgrade
    assert request.connection == {b"upgrade"}


@pytest.mark.parametrize("keys", [(), (KEY, KEY), (KEY + "x",), ("Sec-WebSocket-Key: x",)])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_websocket_has_a_key(version: str, keys: tuple[str, ...]) -> None:
    raw = head(f"GET / HTTP/{version}", *WEBSOCKET, *keys)
    assert problem_of_request(raw) == "a WebSocket without a key, or with a wrong one"


@pytest.mark.parametrize(
    ("asked", "answered", "is_accepted"),
    [
        ((*WEBSOCKET, KEY), ("HTTP/1.1 101 x", *WEBSOCKET, PROOF), True),
        ((*WEBSOCKET, KEY), ("HTTP/1.1 101 x", *WEBSOCKET, PROOF.replace("s3p", "S3p")), False),
        ((*WEBSOCKET, KEY), ("HTTP/1.1 101 x", *WEBSOCKET, PROOF, PROOF), False),
        ((*WEBSOCKET, KEY), ("HTTP/1.1 101 x", *WEBSOCKET), False),
        ((*WEBSOCKET, KEY), ("HTTP/1.1 426 x", *WEBSOCKET), True),
        ((HOST, "Connection: upgrade", "Upgrade: x"), ("HTTP/1.1 101 x", *SWITCHED), True),
        ((HOST,), ("HTTP/1.1 200 OK",), True),
    ],
)
def test_a_websocket_has_a_proof(
    asked: tuple[str, ...], answered: tuple[str, ...], *, is_accepted: bool
) -> None:
    request = RequestHead(head("GET / HTTP/1.1", *asked))
    response = ResponseHead(head(*answered), b"GET")
    assert accepts_upgrade(request, response) == is_accepted


def test_nobody_is_switched_who_did_not_ask() -> None:
    response = ResponseHead(head("HTTP/1.1 101 x", *SWITCHED), b"GET")
    for line in ("GET / HTTP/1.1", "GET / HTTP/1.0"):
        request = RequestHead(head(line, HOST))
        assert not accepts_upgrade(request, response)


# --- editing -------------------------------------------------------------------------------------


def test_fields_are_dropped_whatever_their_letters_and_added_at_the_end() -> None:
    raw = head("GET / HTTP/1.1", "A: 1", "B: 2", "a:3", "aa: 4")
    edited = edit(raw, drop={b"a"}, append=[(b"X", b"y"), (b"X", b"")])
    assert edited == head("GET / HTTP/1.1", "B: 2", "aa: 4", "X: y", "X: ")
    assert edit(head("GET / HTTP/1.1"), append=[(b"X", b"y")]) == head("GET / HTTP/1.1", "X: y")
    assert edit(raw) == raw


def test_the_module_says_what_it_offers() -> None:
    assert all(hasattr(http1, name) for name in http1.__all__)
