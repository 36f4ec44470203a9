"""What messages are made of: the first byte that is wrong, in any piece of them."""

from __future__ import annotations

import contextlib
import re

import pytest

from dsbalance.http1_grammar import (
    FIELDS,
    MAX_HEAD,
    REQUEST,
    RESPONSE,
    USUAL_RESPONSE,
    Form,
    MessageError,
    beginning,
)

LIMITED = Form(re.compile(b"abc"), re.compile(beginning(b"()a", b"b()", b"c")), ("one", "two"), 4)


def test_a_beginning_matches_as_much_as_there_is() -> None:
    pattern = re.compile(beginning(b"a+", b"()b", b"c()"))
    for text, end, mark in (("", 0, None), ("aa", 2, None), ("aab", 3, 1), ("abcc", 3, 2)):
        match = pattern.match(text.encode())
        assert match is not None
        assert (match.end(), match.lastindex) == (end, mark)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"a", None),
        (b"ab", None),
        (b"ax", "0x78 one"),
        (b"abx", "0x78 two"),
        (b"abcxx", "0x78 two"),
    ],
)
def test_the_first_wrong_byte_is_told(data: bytes, problem: str | None) -> None:
    refusal = LIMITED.refusal(data)
    assert (refusal.problem if refusal else None) == problem
    with pytest.raises(MessageError, match=problem) if problem else contextlib.nullcontext():
        LIMITED.check(data)


def test_a_message_error_says_its_problem() -> None:
    assert str(MessageError("too bad")) == MessageError("too bad").problem == "too bad"


@pytest.mark.parametrize("form", [REQUEST, RESPONSE, FIELDS])
def test_there_is_a_place_for_every_mark(form: Form) -> None:
    assert form.begun.groups == len(form.places)


def test_what_is_too_long_is_refused_with_its_last_place() -> None:
    refusal = FIELDS.refusal(b"a:" + b"b" * MAX_HEAD)
    assert refusal is not None
    assert refusal.problem == f"more than {MAX_HEAD} bytes, still in the value of a field"
    assert FIELDS.refusal(b"a:" + b"b" * (MAX_HEAD - 3)) is None


@pytest.mark.parametrize(
    ("fields", "is_usual"),
    [
        (b"", True),
        (b"Content-Length: 5\r\nConnection: close\r\nContent-Type: a\r\nDate: b\r\n", True),
        (b"TRANSFER-ENCODING: chunked\r\n", False),
        (b"Transfer-encoding: chunked\r\nconnection:\tx\r\n", True),
        (b"Content-Length: 5\r\nContent-Length: 5\r\n", False),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", False),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", False),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", False),
        (b"Connection: a\r\nConnection: b\r\n", False),
        (b"CONTENT-LENGTH: 5\r\n", False),
        (b"Content-Length:5\r\n", False),
        (b"Content-Length: 1234567890123456789\r\n", False),
        (b"Upgrade: a\r\n", False),
        (b"Host: a\r\n", False),
        (b"Upgrader: a\r\nContent: b\r\nTo: c\r\n", True),
        (b"a:\r\n" * 100, True),
        (b"a:\r\n" * 101, False),
        (b"a" * 255 + b":\r\n" + b"c" * 255 + b":\r\n", True),
        (b"a" * 256 + b":\r\n", False),
        (b"c" * 256 + b":\r\n", False),
    ],
)
def test_most_responses_are_read_at_once(fields: bytes, *, is_usual: bool) -> None:
    raw = b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n"
    assert bool(USUAL_RESPONSE.fullmatch(raw)) == is_usual
    if is_usual:
        assert RESPONSE.whole.fullmatch(raw)
