"""Bodies of a known length and endless ones: what belongs to them, in whatever pieces it comes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.bodies import Body, Endless, Measured, Piece, body_of
from dsbalance.chunked import Chunked
from dsbalance.http1 import RequestHead

pieces = st.lists(st.binary(min_size=1, max_size=9), max_size=12)


def passed(body: Body, data: Piece) -> tuple[int, bytes]:
    """Feed ``data``; return how much of it was used, and what goes on."""
    used, goes_on = body.feed(data)
    return used, b"".join(goes_on)


@pytest.mark.parametrize("kind", [bytes, memoryview], ids=["bytes", "view"])
def test_what_belongs_to_it_goes_on_and_nothing_behind_it(kind: type[bytes | memoryview]) -> None:
    body = Measured(5)
    assert passed(body, kind(b"abc")) == (3, b"abc")
    assert (body.is_complete, body.blind) == (False, 2)
    assert passed(body, kind(b"deNEXT")) == (2, b"de")
    assert (body.is_complete, body.blind) == (True, 0)


def test_a_body_that_comes_at_once_is_complete() -> None:
    body = Measured(3)
    assert passed(body, b"abc") == (3, b"abc")
    assert body.is_complete


@given(pieces, st.integers(min_value=1, max_value=60))
def test_a_measured_body_is_its_first_bytes_however_they_come(
    stream: list[bytes], length: int
) -> None:
    body = Measured(length)
    got = b""
    left = b""
    for piece in stream:
        used, goes_on = (0, b"") if body.is_complete else passed(body, piece)
        got += goes_on
        left += piece[used:]
        assert body.blind == length - len(got)
        assert body.is_complete is (len(got) == length)
    whole = b"".join(stream)
    assert (got, left) == (whole[:length], whole[length:])


@given(st.lists(st.tuples(st.booleans(), st.integers(min_value=1, max_value=9)), max_size=12))
def test_bytes_that_go_by_unseen_count_like_those_that_are_seen(
    steps: list[tuple[bool, int]],
) -> None:
    seen, mixed = Measured(50), Measured(50)
    for is_unseen, size in steps:
        count = min(size, seen.blind)
        if not count:
            break
        seen.feed(b"x" * count)
        if is_unseen:
            mixed.skip(count)
        else:
            mixed.feed(b"x" * count)
        assert (mixed.blind, mixed.is_complete) == (seen.blind, seen.is_complete)


def test_skipping_the_rest_completes_it() -> None:
    body = Measured(7)
    body.skip(6)
    assert not body.is_complete
    body.skip(1)
    assert body.is_complete


@given(pieces)
def test_an_endless_body_takes_everything_and_is_never_complete(stream: list[bytes]) -> None:
    body = Endless()
    for piece in stream:
        assert passed(body, piece) == (len(piece), piece)
        body.skip(1 << 40)
        assert not body.is_complete
        assert body.blind > 1 << 60


def test_a_request_has_the_body_that_its_head_says() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n"
    measured = body_of(RequestHead(head % b"Content-Length: 7"))
    assert isinstance(measured, Measured)
    assert measured.blind == 7
    assert isinstance(body_of(RequestHead(head % b"Transfer-Encoding: chunked")), Chunked)


def test_trailers_that_may_not_go_on_do_not() -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = body_of(RequestHead(head), drop=(b"x-forged",))
    assert passed(body, b"0\r\nX-Forged: 1\r\nX-Sum: 2\r\n\r\n")[1] == b"0\r\nX-Sum: 2\r\n\r\n"
