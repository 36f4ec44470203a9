"""Chunked bodies: what goes on for what came, in pieces of any size, seen or unseen."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.chunked import MAX_CHUNK, Chunked
from dsbalance.http1_grammar import MAX_HEAD, MessageError
from messages import RefusedError, chunked_bodies, cuts, read_chunked, spoiled


def feed(body: Chunked, data: bytes) -> tuple[int, bytes]:
    """Return what it took, and what goes on; the same of a view as of bytes."""
    taken, pieces = body.feed(memoryview(data))
    return taken, b"".join(pieces)


def outcome(pieces: list[bytes]) -> tuple[object, ...]:
    """Return what goes on for a body in pieces, how much it took, and how it ended."""
    body, sent, taken = Chunked(), b"", 0
    for piece in pieces:
        try:
            count, went = feed(body, piece)
        except MessageError as error:
            return "refused", error.problem
        taken += count
        sent += went
        assert body.is_complete or count == len(piece)
        if body.is_complete:
            break
    return sent, taken, body.is_complete, body.blind


def problem_of(data: bytes) -> str:
    with pytest.raises(MessageError) as caught:
        feed(Chunked(), data)
    return caught.value.problem


# --- examples ------------------------------------------------------------------------------------


def test_a_plain_body_goes_on_in_one_piece_and_uncopied() -> None:
    data = b"5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n"
    body = Chunked()
    taken, pieces = body.feed(memoryview(data + b"GET / HTTP/1.1\r\n"))
    assert taken == len(data)
    assert pieces == [data]
    assert isinstance(pieces[0], memoryview)
    assert body.is_complete
    assert body.feed(b"more") == (0, [])


@pytest.mark.parametrize(
    ("came", "goes"),
    [
        (b"005;a=b\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
        (b'5 ; a = "\xe9\t;"\r\nhello\r\n000;x\r\n\r\n', b"5\r\nhello\r\n0\r\n\r\n"),
        (b"5\r\nhello\r\n0005\t;\r\nworld\r\n0\r\n\r\n", b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n"),
        (b"00000000000000aB\r\n", b"ab\r\n"),
        (b"aB\r\n", b"aB\r\n"),
        (b"0\r\n\r\n", b"0\r\n\r\n"),
        (b"0\r\nX-T: 1\r\nY:\t2\r\n\r\n", b"0\r\nX-T: 1\r\nY:\t2\r\n\r\n"),
    ],
)
def test_what_is_plain_goes_on_and_the_rest_is_said_plainly(came: bytes, goes: bytes) -> None:
    assert feed(Chunked(), came) == (len(came), goes)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\r", "0x0d in the size of a chunk"),
        (b" ", "0x20 in the size of a chunk"),
        (b"0x", "0x78 behind the size of a chunk"),
        (b"+", "0x2b in the size of a chunk"),
        (b"-", "0x2d in the size of a chunk"),
        (b"5_", "0x5f behind the size of a chunk"),
        (b"5 \r", "0x0d behind the size of a chunk"),
        (b"5\n", "0x0a behind the size of a chunk"),
        (b"5\r\r", "0x0d behind CR"),
        (b"5;\n", "0x0a behind the size of a chunk"),
        (b"5;\0", "0x00 behind the size of a chunk"),
        (b"5;\rx", "0x78 behind CR"),
        (b"0" * 17, "0x30 behind the size of a chunk"),
        (b"0" * 16 + b"5", "0x35 behind the size of a chunk"),
        (b"10000000000000\r\n", "a chunk is too great"),
        (b"f" * 16 + b"\r\n", "a chunk is too great"),
        (b"5;" + b"x" * 1022, "more than 1024 bytes, still behind the size of a chunk"),
        (b"5\r\nhello!", "0x21 behind a chunk"),
        (b"5\r\nhello\n", "0x0a behind a chunk"),
        (b"5\r\nhello\r5", "0x35 behind a chunk"),
        (b"5\r\nhello\r\n\r", "0x0d in the size of a chunk"),
        (b"0\r\nX ", "0x20 in the name of a field"),
        (b"0\r\nX: y\r\n ", "0x20 in the name of a field"),
        (b"0\r\nX: y\n", "0x0a in the value of a field"),
        (b"0\r\n" + b"X:\r\n" * 100 + b"X", "0x58 behind a hundred fields"),
        (
            b"0\r\nX:" + b"x" * (MAX_HEAD - 2),
            f"more than {MAX_HEAD} bytes, still in the value of a field",
        ),
        *(
            (b"0\r\n%b: x\r\n\r\n" % name, "a trailer that belongs into the head")
            for name in (
                *(b"A: b\r\nhost", b"A: b\r\nC: host\r\nUpgrade"),
                *(b"Content-Length", b"TRANSFER-ENCODING", b"host", b"Connection", b"TE"),
                *(b"Trailer", b"Upgrade", b"Keep-Alive", b"Proxy-Connection"),
            )
        ),
    ],
)
def test_these_are_refused_and_not_a_byte_before(data: bytes, problem: str) -> None:
    assert problem_of(data) == problem
    assert not isinstance(outcome([data[:-1]])[0], str)


def test_the_limits_are_reached() -> None:
    body = Chunked()
    feed(body, b"fffffffffffff\r\n")
    assert body.blind == MAX_CHUNK
    longest = b"5;" + b"x" * 1020 + b"\r\n"
    assert feed(Chunked(), longest + b"hello") == (len(longest) + 5, b"5\r\nhello")
    trailers = b"0\r\n" + b"X:\r\n" * 100 + b"\r\n"
    assert feed(Chunked(), trailers) == (len(trailers), trailers)


@pytest.mark.parametrize(
    "data", [b"5;" + b"x" * 1021 + b"\r\n", b"0\r\nX:" + b"x" * (MAX_HEAD - 5) + b"\r\n\r\n"]
)
def test_a_byte_over_the_limit_is_too_much(data: bytes) -> None:
    assert problem_of(data).startswith("more than")
    assert not isinstance(outcome([data.replace(b"xx", b"x", 1)])[0], str)


def test_trailers_that_are_not_wanted_do_not_go_on() -> None:
    body = Chunked(drop={b"x-forwarded-for", b"b"})
    came = b"0\r\nA: 1\r\nX-FORWARDED-FOR: 9.9.9.9\r\nb:\r\n\r\n"
    assert feed(body, came) == (len(came), b"0\r\nA: 1\r\n\r\n")
    only = b"0\r\nb: 1\r\n\r\n"
    assert feed(Chunked(drop={b"b"}), only) == (len(only), b"0\r\n\r\n")
    assert feed(Chunked(drop={b"b"}), b"0\r\n\r\n") == (5, b"0\r\n\r\n")


def test_the_data_of_a_chunk_need_not_be_seen() -> None:
    body = Chunked()
    assert feed(body, b"a\r\n01") == (5, b"a\r\n01")
    assert body.blind == 8
    body.skip(5)
    assert body.blind == 3
    body.skip(3)
    assert body.blind == 0
    assert feed(body, b"\r\n2\r\nab") == (7, b"\r\n2\r\nab")
    assert feed(body, b"\r\n0\r\n\r\nx") == (7, b"\r\n0\r\n\r\n")
    assert body.is_complete


def test_an_end_of_a_line_is_not_held_back() -> None:
    body = Chunked()
    assert feed(body, b"2\r\nab\r") == (6, b"2\r\nab")
    assert feed(body, b"\n") == (1, b"\r\n")
    assert feed(body, b"0") == (1, b"")


def test_the_end_goes_on_when_all_of_it_is_there() -> None:
    body = Chunked()
    assert feed(body, b"1\r\nx\r\n0\r\nA:b\r\n") == (14, b"1\r\nx\r\n")
    assert feed(body, b"\r") == (1, b"")
    assert not body.is_complete
    assert feed(body, b"\n") == (1, b"0\r\nA:b\r\n\r\n")
    assert body.is_complete


# --- properties ----------------------------------------------------------------------------------


@given(st.lists(st.binary(min_size=1, max_size=300)), st.binary(max_size=9))
def test_what_was_put_into_chunks_comes_out(parts: list[bytes], more: bytes) -> None:
    came = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    body = Chunked()
    assert feed(body, came + more) == (len(came), came)
    assert body.is_complete
    assert read_chunked(came) == (b"".join(parts), [], len(came))


@given(spoiled(chunked_bodies()), st.sampled_from([b"", b"GET /"]))
def test_a_body_says_what_a_slow_reader_sees_in_it(came: bytes, more: bytes) -> None:
    data = came + more
    try:
        read = read_chunked(data)
    except RefusedError:
        problem_of(data)
        return
    body = Chunked()
    if read is None:
        # What is there may be wrong already, where the reader waits for the end of a line.
        whole = outcome([data])
        assert whole[0] == "refused" or whole[1:3] == (len(data), False)
        return
    taken, goes = feed(body, data)
    assert body.is_complete
    assert taken == read[2]
    again = read_chunked(goes)
    assert again == (read[0], read[1], len(goes))
    assert outcome([goes]) == (goes, len(goes), True, 0)


@given(spoiled(chunked_bodies()).flatmap(cuts))
@example([b"5;", b"x" * 1021 + b"\r\n"])
@example([b"0" * 16, b"5\r\nhello"])
@example([b"0\r\nX:", b"x" * (MAX_HEAD - 5), b"\r\n\r\n"])
def test_a_body_in_pieces_is_what_it_is_in_one(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    alike = outcome([data])
    octets = [data[at : at + 1] for at in range(len(data))]
    for each in (pieces, octets):
        assert outcome(each) == alike


@given(chunked_bodies(), st.data())
def test_a_body_half_of_which_is_not_seen_is_the_same(came: bytes, data: st.DataObject) -> None:
    seen, unseen, sent, at = outcome([came]), Chunked(), b"", 0
    if seen[0] == "refused":
        return
    while not unseen.is_complete:
        if unseen.blind and data.draw(st.booleans()):
            count = data.draw(st.integers(1, unseen.blind))
            unseen.skip(count)
            went = came[at : at + count]
        else:
            count, went = feed(unseen, came[at : at + data.draw(st.integers(1, 9))])
        sent += went
        at += count
    assert (sent, at, True, 0) == seen


@given(st.binary() | spoiled(chunked_bodies()))
def test_any_bytes_are_a_body_or_a_message_error(data: bytes) -> None:
    outcome([data])


@given(chunked_bodies(), st.integers(0, 60))
def test_what_is_not_refused_yet_may_still_become_a_body(came: bytes, cut: int) -> None:
    begun = Chunked()
    try:
        feed(begun, came[:cut])
    except MessageError:
        return
    if not begun.is_complete:
        rest = b"x" * begun.blind + b"\r\n"
        ends = [rest, *(b"1\r\nx\r\n0\r\nX:\r\n\r\n"[at:] for at in range(16))]
        later = [outcome([came[:cut] + b"x" * begun.blind + end]) for end in ends]
        assert any(not str(each[1]).startswith("0x") for each in later)
