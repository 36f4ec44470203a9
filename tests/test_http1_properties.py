"""Heads from good to hopeless: beside a slow reader, and cut into pieces."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.http1 import (
    MAX_HEAD,
    MessageError,
    RequestHead,
    ResponseHead,
    edit,
    request_end,
    response_end,
)
from messages import (
    METHODS,
    RefusedError,
    cuts,
    read_request,
    read_response,
    requests,
    responses,
    spoiled,
)

LONGEST = b"GET / HTTP/1.1\r\nx: %b\r\n\r\n" % (b"y" * (MAX_HEAD - 27))
TOO_LONG = LONGEST[:-4] + b"y\r\n\r\n"
ENDLESS = LONGEST[:-4] + b"y" * 1000

methods = st.sampled_from(METHODS)
names = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=255).map(str.encode)
values = st.text(st.characters(max_codepoint=255, exclude_categories=["Cc"]) | st.just("\t")).map(
    lambda text: text.encode("latin-1").strip(b" \t")
)
harmless = st.lists(
    st.tuples(names, values).filter(lambda pair: pair[0].lower() != b"te"), max_size=9
)

End = Callable[[bytes], int]
Parse = Callable[[bytes], RequestHead | ResponseHead]


def answering(method: bytes) -> Parse:
    return lambda raw: ResponseHead(raw, method)


def outcome(pieces: list[bytes], end_of: End, parse: Parse) -> tuple[object, ...]:
    """Return what becomes of a head that comes in pieces: how long it is, and what it says."""
    came = b""
    try:
        for piece in pieces:
            came += piece
            if end := end_of(came):
                head = parse(came[:end])
                return end, head.fields(), {name: getattr(head, name) for name in slots(head)}
    except MessageError as error:
        return "refused", error.problem
    return ("more is needed",)


def slots(head: RequestHead | ResponseHead) -> list[str]:
    return [name for kind in type(head).__mro__ for name in vars(kind).get("__slots__", ())]


def octets(raw: bytes) -> list[bytes]:
    return [raw[at : at + 1] for at in range(len(raw))]


@given(spoiled(requests))
@example(LONGEST)
@example(TOO_LONG)
def test_a_request_says_what_a_slow_reader_sees_in_it(raw: bytes) -> None:
    try:
        read, length = read_request(raw, MAX_HEAD)
    except RefusedError:
        with pytest.raises(MessageError):
            RequestHead(raw)
        return
    head = RequestHead(raw)
    method, target, version = read.first
    assert (head.method, head.target) == (method, target)
    assert head.is_http10 == (version == b"HTTP/1.0")
    assert head.length == (None if length == -1 else length or 0)
    assert head.connection == read.tokens(b"connection")
    assert head.host == next(iter(read.values(b"host")), None)
    asks = b"upgrade" in head.connection and bool(read.values(b"upgrade"))
    assert head.has_upgrade == (asks and not length and not head.is_http10)
    wants = read.tokens(b"te")
    lost = {b"upgrade"} if asks and length else set()
    lost |= {b"te"} if wants != {b"trailers"} else set()
    more = [(b"te", b"trailers")] if b"trailers" in wants and b"te" in lost else []
    assert head.fields() == [pair for pair in read.fields if pair[0] not in lost] + more
    assert head.raw.startswith(b"%b %b HTTP/1.%d\r\n" % (method, target, not head.is_http10))


@given(spoiled(responses), methods)
def test_a_response_says_what_a_slow_reader_sees_in_it(raw: bytes, method: bytes) -> None:
    try:
        read, framing, length = read_response(raw, method, MAX_HEAD)
    except RefusedError:
        with pytest.raises(MessageError):
            ResponseHead(raw, method)
        return
    head = ResponseHead(raw, method)
    version, code = read.first
    assert head.status == int(code)
    assert head.is_http10 == (version == b"HTTP/1.0")
    assert (head.framing.name, head.length) == (framing, length)
    assert head.connection == read.tokens(b"connection")
    is_without = framing == "TUNNEL" or code[:1] == b"1" or code == b"204"
    lost = {b"content-length", b"transfer-encoding"} if is_without else set()
    assert head.fields() == [pair for pair in read.fields if pair[0] not in lost]
    assert head.is_final == (code[:1] != b"1" or code == b"101")
    assert head.raw.startswith(b"HTTP/1.%d %b" % (not head.is_http10, code))


@given(spoiled(requests).flatmap(cuts))
@example([LONGEST[:-1], LONGEST[-1:]])
@example([TOO_LONG[:-1], TOO_LONG[-1:]])
@example([ENDLESS[:MAX_HEAD], ENDLESS[MAX_HEAD:]])
@example([ENDLESS[: MAX_HEAD - 1], ENDLESS[MAX_HEAD - 1 :] + b"\r\n\r\n"])
def test_a_request_in_pieces_is_what_it_is_in_one(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    alike = outcome([whole], request_end, RequestHead)
    assert outcome(pieces, request_end, RequestHead) == alike
    if len(whole) < 500:
        assert outcome(octets(whole), request_end, RequestHead) == alike


@given(spoiled(responses).flatmap(cuts), methods)
@example([b"HTTP/1.1 200 ", b"y" * MAX_HEAD, b"\r\n\r\n"], b"GET")
def test_a_response_in_pieces_is_what_it_is_in_one(pieces: list[bytes], method: bytes) -> None:
    whole = b"".join(pieces)
    alike = outcome([whole], response_end, answering(method))
    assert outcome(pieces, response_end, answering(method)) == alike
    if len(whole) < 500:
        assert outcome(octets(whole), response_end, answering(method)) == alike


@given(st.binary() | spoiled(requests) | spoiled(responses), methods)
def test_any_bytes_are_a_head_or_a_message_error(raw: bytes, method: bytes) -> None:
    for end_of, parse in ((request_end, RequestHead), (response_end, answering(method))):
        outcome([raw], end_of, parse)
        outcome([raw], len, parse)


@given(spoiled(requests) | spoiled(responses), st.integers(0, 400))
@example(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 101, 500)
def test_what_is_refused_at_once_has_no_chance(raw: bytes, cut: int) -> None:
    """What is not refused yet may still become a head; what is refused is so with any rest."""
    for end_of, parse, rest in (
        (request_end, RequestHead, b"\nGET / HTTP/1.1\r\nx:y\r\n\r\n"),
        (response_end, answering(b"GET"), b"HTTP/1.1 200 O\r\nx:y\r\n\r\n"),
    ):
        begun = raw[:cut]
        now = outcome([begun], end_of, parse)
        later = [outcome([begun + rest[at:]], end_of, parse) for at in range(len(rest))]
        if now[0] == "refused":
            assert {*map(str, later)} == {str(now)}
        elif now[0] == "more is needed":
            # Some are refused for what they say as a whole, and not for a byte or for their size.
            assert any(not str(each[1]).startswith(("0x", "more than")) for each in later)


@given(harmless)
def test_fields_come_out_as_they_were_put_in(fields: list[tuple[bytes, bytes]]) -> None:
    raw = b"GET / HTTP/1.1\r\n" + b"".join(b"%b:%b \r\n" % pair for pair in fields) + b"\r\n"
    head = RequestHead(raw)
    assert head.raw == raw
    assert head.fields() == [(name.lower(), value) for name, value in fields]
    for name, value in fields:
        assert head.has(name.lower())
        assert value in head.values(name.lower())
    assert not head.has(b"te")


@given(harmless, harmless)
def test_edited_fields_are_gone_or_at_the_end(
    fields: list[tuple[bytes, bytes]], more: list[tuple[bytes, bytes]]
) -> None:
    raw = edit(b"GET / HTTP/1.1\r\n\r\n", append=fields)
    drop = {name.lower() for name, _ in fields[::2]}
    edited = RequestHead(edit(raw, drop=drop, append=more))
    kept = [(name.lower(), value) for name, value in fields if name.lower() not in drop]
    assert edited.fields() == kept + [(name.lower(), value) for name, value in more]
    assert edit(raw) == raw
