"""PROXY headers: what is taken, what is refused, and that neither depends on how it arrives."""

from __future__ import annotations

import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dsbalance.candidates import Client
from dsbalance.errors import DsbalanceError
from dsbalance.haproxy.proxy_protocol import (
    MAX_HEADER,
    Header,
    ProxyHeaderError,
    crc32c,
    header_end,
    introduction,
    parse_header,
)
from dsbalance.words import SendProxy

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
ON_IPV4 = bytes([192, 0, 2, 1, 192, 0, 2, 9]) + struct.pack(">HH", 56324, 443)
ON_IPV6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    + socket.inet_pton(socket.AF_INET6, "2001:db8::9")
    + struct.pack(">HH", 56324, 443)
)
UNIX = b"/from".ljust(108, b"\0") + b"/to".ljust(108, b"\0")
FROM_IPV4 = Header(
    version=1,
    source="192.0.2.1",
    source_port=56324,
    destination="192.0.2.9",
    destination_port=443,
)


def block(
    command: int, family: int, body: bytes = b"", *, size: int | None = None, start: int = 0
) -> bytes:
    """Return a header of version 2 that says what it is told to, right or wrong."""
    size = len(body) if size is None else size
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", size) + body[start:]


def tlv(kind: int, value: bytes, size: int | None = None) -> bytes:
    return bytes([kind]) + struct.pack(">H", len(value) if size is None else size) + value


def sealed(family: int, addresses: bytes, before: bytes = b"", behind: bytes = b"") -> bytes:
    """Return a header of version 2 with a checksum that is right."""
    blank = block(PROXY, family, addresses + before + tlv(3, bytes(4)) + behind)
    at = 16 + len(addresses) + len(before) + 3
    return blank[:at] + struct.pack(">I", crc32c(blank)) + blank[at + 4 :]


def piecewise(data: bytes) -> Header | str | None:
    """Return the header that stands in ``data``, which comes byte by byte; or what is wrong."""
    try:
        for size in range(1, len(data) + 1):
            if end := header_end(data[:size]):
                assert end == size
                return parse_header(data[:end])
    except ProxyHeaderError as error:
        return str(error)
    return None


def at_once(data: bytes) -> Header | str | None:
    try:
        end = header_end(data)
        return parse_header(data[:end]) if end else None
    except ProxyHeaderError as error:
        return str(error)


# --- strategies

PORTS = st.integers(0, 65535)
IPV4 = st.binary(min_size=4, max_size=4).map(lambda packed: socket.inet_ntop(2, packed))
IPV6 = st.builds(
    lambda start, rest: socket.inet_ntop(socket.AF_INET6, (start + rest)[-16:]),
    st.sampled_from([bytes(10) + b"\xff\xff", bytes(16), bytes(14), b"\xfe\x80" + bytes(12), b""]),
    st.binary(min_size=16, max_size=16) | st.binary(min_size=4, max_size=4).map(bytes(12).__add__),
)
# What is not looked into; a checksum is added where it is wanted.
VALUES = st.tuples(st.integers(0, 255).filter(lambda kind: kind != 3), st.binary(max_size=128)).map(
    lambda each: tlv(*each)
)
TLVS = st.lists(VALUES, max_size=4).map(b"".join)
ADDRESSES = st.one_of(
    st.fixed_dictionaries({}),
    *(
        st.fixed_dictionaries(
            {
                "source": address,
                "source_port": PORTS,
                "destination": address,
                "destination_port": PORTS,
            }
        )
        for address in (IPV4, IPV6)
    ),
)
LINES = ADDRESSES.map(lambda addresses: Header(version=1, **addresses))
BLOCKS = st.builds(
    lambda addresses, tlvs: Header(version=2, tlvs=tlvs, **addresses), ADDRESSES, TLVS
)
HEADERS = LINES | BLOCKS | st.just(Header(version=2, is_local=True))


# --- version 1 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        ("TCP4 192.0.2.1 192.0.2.9 1 2", "192.0.2.1", "192.0.2.9"),
        ("TCP4 0.0.0.0 255.255.255.255 0 65535", "0.0.0.0", "255.255.255.255"),
        ("TCP6 2001:db8::1 ::1 1 2", "2001:db8::1", "::1"),
        ("TCP6 2001:DB8:0:0::ABCD :: 1 2", "2001:db8::abcd", "::"),
        ("TCP6 1:2:3:4:5:6:7:: 0001:2:3:4:5:6:7:8 1 2", "1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:8"),
        ("TCP6 ::ffff:1.2.3.4 ::ffff:102:304 1 2", "::ffff:1.2.3.4", "::ffff:1.2.3.4"),
        ("TCP6 ::1.2.3.4 ::1:0 1 2", "::1.2.3.4", "::0.1.0.0"),
        (f"TCP6 {'ffff:' * 7}ffff {'ffff:' * 7}ffff 65535 65535", *["ffff:" * 7 + "ffff"] * 2),
    ],
)
def test_a_line_names_the_client_and_where_it_came_to(
    line: str, source: str, destination: str
) -> None:
    data = f"PROXY {line}\r\n".encode()
    header = parse_header(data)
    assert (header.version, header.is_local, header.tlvs) == (1, False, b"")
    assert (header.source, header.destination) == (source, destination)
    ports = [str(header.source_port), str(header.destination_port)]
    assert ports == line.split()[-2:]
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    assert header.packed == socket.inet_pton(family, source)


@pytest.mark.parametrize(
    "rest", ["", " ", " 192.0.2.1 192.0.2.9 1 2", " \xff\0 any\tthing", " " + "x" * 91]
)
def test_what_stands_behind_unknown_is_ignored(rest: str) -> None:
    data = b"PROXY UNKNOWN" + rest.encode("latin-1") + b"\r\n"
    assert parse_header(data) == Header(version=1)
    assert Header(version=1).packed == b""


@pytest.mark.parametrize(
    "line",
    [
        "TCP4 192.0.2.1 192.0.2.9 01 2",
        "TCP4 192.0.2.1 192.0.2.9 00 2",
        "TCP4 192.0.2.1 192.0.2.9 1 65536",
        "TCP4 192.0.2.1 192.0.2.9 99999 2",
        "TCP4 192.0.2.1 192.0.2.9 123456 2",
        "TCP4 192.0.2.1 192.0.2.9 +1 2",
        "TCP4 192.0.2.1 192.0.2.9 -1 2",
        "TCP4 192.0.2.1 192.0.2.9 0x1 2",
        "TCP4 192.0.2.1 192.0.2.9 \u0661 2",
        "TCP4 192.0.2.1 192.0.2.9 1",
        "TCP4 192.0.2.1 192.0.2.9 1 ",
        "TCP4 192.0.2.1 192.0.2.9  2",
        "TCP4 192.0.2.1 192.0.2.9 1 2 ",
        "TCP4 192.0.2.1 192.0.2.9 1 2 3",
        "TCP4  192.0.2.1 192.0.2.9 1 2",
        "TCP4\t192.0.2.1 192.0.2.9 1 2",
        "TCP4 192.0.2.1\t192.0.2.9 1 2",
        "TCP4 192.0.2.01 192.0.2.9 1 2",
        "TCP4 192.0.2.256 192.0.2.9 1 2",
        "TCP4 192.0.2 192.0.2.9 1 2",
        "TCP4 192.0.2.1.1 192.0.2.9 1 2",
        "TCP4 3221225985 192.0.2.9 1 2",
        "TCP4 . . 1 2",
        "TCP4 ::1 ::1 1 2",
        "TCP4 192.0.2.1 ::1 1 2",
        "TCP6 192.0.2.1 192.0.2.9 1 2",
        "TCP6 ::1 192.0.2.9 1 2",
        "TCP6 fe80::1%lo ::1 1 2",
        "TCP6 1::2:3:4:5:6:7:8 ::1 1 2",
        "TCP6 1::2::3 ::1 1 2",
        "TCP6 1:2:3:4:5:6:7 ::1 1 2",
        "TCP6 12345::1 ::1 1 2",
        "TCP6 [::1] ::1 1 2",
        "TCP6 : ::1 1 2",
        "TCP6 ::ffff:01.2.3.4 ::1 1 2",
        "TCP4 ",
        "TCP5 192.0.2.1 192.0.2.9 1 2",
        "UDP4 192.0.2.1 192.0.2.9 1 2",
        "tcp4 192.0.2.1 192.0.2.9 1 2",
        " TCP4 192.0.2.1 192.0.2.9 1 2",
        "UNKNOWNS",
        "UNKNOWN a\rb",
        "UNKNOWN a\nb",
        "UNKNOWN\n",
        "UNKNOWN\r\r",
        "UNKNOWN " + "x" * 92,
        "UNKNOWN " + "x" * 500,
        "",
        "TCP4 192.0.2.1 192.0.2.9 1 2\r",
        "TCP4 192.0.2.1 192.0.2.9 1 2\n",
        "TCP4 192.0.2.1 192.0.2.9 1 2\rx",
    ],
)
def test_what_is_not_exactly_a_line_is_refused(line: str) -> None:
    data = f"PROXY {line}\r\n".encode()
    assert isinstance(at_once(data), str)
    assert piecewise(data) == at_once(data)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\0",
        b"proxy TCP4 192.0.2.1 192.0.2.9 1 2\r\n",
        b"PROXYTCP4 192.0.2.1 192.0.2.9 1 2\r\n",
        b"PROXY\r\n",
        b" PROXY UNKNOWN\r\n",
        b"\r\nPROXY UNKNOWN\r\n",
        b"\r\n\r\n\0\r\nQUIT\r\n",
        b"\0",
        b"\n",
    ],
)
def test_who_begins_with_something_else_is_refused_at_its_first_byte(data: bytes) -> None:
    ends = [size for size in range(len(data) + 1) if isinstance(at_once(data[:size]), str)]
    assert ends, "it was never refused"
    first = ends[0]
    assert ends == list(range(first, len(data) + 1))
    start = data[: first - 1]
    assert b"PROXY UNKNOWN\r\n".startswith(start) or SIGNATURE.startswith(start)


def test_a_line_without_an_end_is_refused_before_it_is_long() -> None:
    start = b"PROXY UNKNOWN " + b"x" * 91
    assert header_end(start) == 0
    assert header_end(start + b"\r") == 0
    assert header_end(start + b"\r\n") == 107
    with pytest.raises(ProxyHeaderError, match="longer than 107 bytes"):
        header_end(start + b"x")


# --- version 2 ------------------------------------------------------------------------------------


def test_a_block_names_the_client_and_where_it_came_to() -> None:
    assert parse_header(block(PROXY, 0x11, ON_IPV4)) == Header(
        version=2,
        source="192.0.2.1",
        source_port=56324,
        destination="192.0.2.9",
        destination_port=443,
    )
    assert parse_header(block(PROXY, 0x21, ON_IPV6)) == Header(
        version=2,
        source="2001:db8::1",
        source_port=56324,
        destination="2001:db8::9",
        destination_port=443,
    )


@pytest.mark.parametrize("family", [0x00, 0x11, 0x21, 0x31, 0x12, 0xFF])
@pytest.mark.parametrize("body", [b"", b"abc", ON_IPV4, tlv(3, b"fake"), tlv(4, b"", 9)])
def test_all_that_follows_local_is_discarded(family: int, body: bytes) -> None:
    data = block(LOCAL, family, body)
    assert header_end(data + b"behind") == len(data)
    assert parse_header(data) == Header(version=2, is_local=True)


@pytest.mark.parametrize(("family", "body"), [(0x00, b""), (0x31, UNIX)])
def test_without_addresses_of_tcp_those_of_the_connection_hold(family: int, body: bytes) -> None:
    header = parse_header(block(PROXY, family, body + tlv(5, b"unique")))
    assert header == Header(version=2, tlvs=tlv(5, b"unique"))


@pytest.mark.parametrize(
    "data",
    [
        block(0x22, 0x11, ON_IPV4),
        block(0x11, 0x11, ON_IPV4),
        block(0x31, 0x11, ON_IPV4),
        block(0x00, 0x00),
        block(PROXY, 0x10, ON_IPV4),
        block(PROXY, 0x01, ON_IPV4),
        block(PROXY, 0x12, ON_IPV4),
        block(PROXY, 0x22, ON_IPV6),
        block(PROXY, 0x32, UNIX),
        block(PROXY, 0x13, ON_IPV4),
        block(PROXY, 0x41, ON_IPV6),
        block(PROXY, 0x11, ON_IPV4[:-1]),
        block(PROXY, 0x11),
        block(PROXY, 0x21, ON_IPV6[:-1]),
        block(PROXY, 0x21, ON_IPV4),
        block(PROXY, 0x31, UNIX[:-1]),
        SIGNATURE[:-1] + b"X" + block(PROXY, 0x11, ON_IPV4)[12:],
    ],
)
def test_what_is_not_exactly_a_block_is_refused_before_it_is_whole(data: bytes) -> None:
    assert isinstance(at_once(data), str)
    assert piecewise(data) == at_once(data) == at_once(data[:16])


@pytest.mark.parametrize(
    "tlvs",
    [
        tlv(4, bytes(20)),
        tlv(0xE5, b"hello"),
        tlv(0xE5, b""),
        tlv(0xFF, b"") * 3,
        tlv(5, b"u" * 128),
        tlv(2, b"a" * 255),
        tlv(0x20, b"\1" + bytes(4) + tlv(0x21, b"TLSv1.3")),
    ],
)
def test_tlvs_are_carried_over_unread(tlvs: bytes) -> None:
    header = parse_header(block(PROXY, 0x11, ON_IPV4 + tlvs))
    assert header.tlvs == tlvs
    assert header.encode() == block(PROXY, 0x11, ON_IPV4 + tlvs)


@pytest.mark.parametrize(
    "tlvs",
    [
        b"\4",
        b"\4\0",
        b"\4\0\1",
        tlv(4, b"abc", 4),
        tlv(4, b"abc") + b"\4\0",
        tlv(0xE5, b"he", 0xFFFF),
        tlv(5, b"u" * 129),
        tlv(2, b"a" * 256),
        tlv(3, b"abc"),
        tlv(3, b"abcde"),
        tlv(3, b""),
        tlv(3, b"fake"),
    ],
)
@pytest.mark.parametrize(
    ("family", "addresses"), [(0x11, ON_IPV4), (0x21, ON_IPV6), (0x00, b""), (0x31, UNIX)]
)
def test_tlvs_that_do_not_fit_are_refused(tlvs: bytes, family: int, addresses: bytes) -> None:
    data = block(PROXY, family, addresses + tlvs)
    assert isinstance(at_once(data), str)
    assert piecewise(data) == at_once(data)


def test_the_longest_header_is_taken_and_a_longer_one_refused_at_its_length() -> None:
    longest = tlv(4, bytes(MAX_HEADER - 16 - 36 - 3))
    assert parse_header(block(PROXY, 0x21, ON_IPV6 + longest)).tlvs == longest
    with pytest.raises(ProxyHeaderError, match="longer than 16384 bytes"):
        header_end(block(PROXY, 0x21, ON_IPV6 + longest + b"\0")[:16])
    with pytest.raises(ProxyHeaderError, match="TLVs are longer than 16332 bytes"):
        parse_header(block(PROXY, 0x11, ON_IPV4 + tlv(4, bytes(MAX_HEADER - 16 - 36 - 2))))


# --- the checksum ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "crc"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        # RFC 3720, B.4.
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_crc32c(data: bytes, crc: int) -> None:
    assert crc32c(data) == crc32c(bytearray(data)) == crc


@pytest.mark.parametrize(
    ("source", "tlvs"),
    [
        ("127.0.0.1", "0304ef35bc77 05092d3746303030303031"),
        ("1.2.3.4", "0304ad1f5bd6 05092d3031303230333034"),
    ],
)
def test_what_haproxy_seals_is_taken_and_sealed_alike(source: str, tlvs: str) -> None:
    addresses = {
        "127.0.0.1": "7f000001 7f4d0101 c734 4337",
        "1.2.3.4": "01020304 05060708 0457 08ae",
    }[source]
    crc, unique = (bytes.fromhex(part) for part in tlvs.split())
    body = bytes.fromhex(addresses) + b"".join(tlv(part[0], part[2:]) for part in (crc, unique))
    data = block(PROXY, 0x11, body)
    header = parse_header(data)
    assert header.source == source
    assert header.encode() == data


@pytest.mark.parametrize(("family", "addresses"), [(0x11, ON_IPV4), (0x21, ON_IPV6)])
def test_a_bit_that_flips_is_found(family: int, addresses: bytes) -> None:
    data = sealed(family, addresses, tlv(4, b"before"), tlv(0xE0, b"behind"))
    parse_header(data)
    tail = 16 + len(addresses)
    # All but the lengths and the checksum's type, without which there is no checksum to find.
    lengths = {tail + each for each in (1, 2, 9, 10, 11, 17, 18)}
    for at in set(range(16, len(data))) - lengths:
        for bit in range(8):
            wrong = bytearray(data)
            wrong[at] ^= 1 << bit
            with pytest.raises(ProxyHeaderError):
                parse_header(wrong)


def test_there_is_one_checksum() -> None:
    data = sealed(0x11, ON_IPV4, behind=tlv(3, bytes(4)))
    with pytest.raises(ProxyHeaderError, match="one at the most"):
        parse_header(data)


def test_without_addresses_a_checksum_holds_too() -> None:
    assert parse_header(sealed(0x31, UNIX)).tlvs
    assert parse_header(sealed(0x00, b"")).tlvs


# --- properties -----------------------------------------------------------------------------------


@given(HEADERS)
def test_what_is_encoded_is_what_is_parsed(header: Header) -> None:
    data = header.encode()
    assert len(data) <= MAX_HEADER
    assert parse_header(data) == parse_header(bytearray(data)) == header


@given(BLOCKS, st.binary(min_size=4, max_size=4))
def test_a_checksum_is_made_anew(header: Header, old: bytes) -> None:
    tlvs = header.tlvs + tlv(3, old)
    again = Header(
        version=2,
        source=header.source,
        source_port=header.source_port,
        destination=header.destination,
        destination_port=header.destination_port,
        tlvs=tlvs,
    )
    parsed = parse_header(again.encode())
    assert parsed.tlvs[:-4] == tlvs[:-4]
    assert parsed.encode() == again.encode()


@given(HEADERS, st.binary(max_size=20))
def test_a_header_ends_where_it_ends_however_it_comes(header: Header, behind: bytes) -> None:
    data = header.encode()
    assert [header_end(data[:size]) for size in range(len(data))] == [0] * len(data)
    assert header_end(data + behind) == len(data)
    for size in (0, len(data) - 1):
        with pytest.raises(ProxyHeaderError, match="not whole"):
            parse_header(data[:size])
    if behind:
        with pytest.raises(ProxyHeaderError, match="behind it"):
            parse_header(data + behind)


@given(
    st.one_of(
        st.binary(max_size=120),
        st.binary(max_size=300).map(SIGNATURE.__add__),
        st.builds(block, st.just(PROXY), st.sampled_from([0, 0x11, 0x21]), st.binary(max_size=80)),
        st.text("PROXYTC46 UNKW.:0123456789af\r\n", max_size=110).map(
            lambda text: b"PROXY TCP" + text.encode()
        ),
    )
)
@example(b"PROXY UNKNOWN\r")
@example(b"PROXY UNKNOWN\rx")
@example(b"PROXY UNKNOWN " + b"x" * 91 + b"\r\r")
@example(block(PROXY, 0x11, ON_IPV4, size=3))
@example(block(PROXY, 0x12, b"", size=0xFFFF))
def test_anything_else_is_refused_in_the_same_words_however_it_comes(data: bytes) -> None:
    assert piecewise(data) == at_once(data)


@given(HEADERS, st.data())
def test_what_is_damaged_is_a_header_or_is_refused(header: Header, data: st.DataObject) -> None:
    damaged = bytearray(header.encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    assert piecewise(bytes(damaged)) == at_once(bytes(damaged))


# --- what is no header ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        {"version": 3},
        {"version": 0},
        {"version": 1, "source": "192.0.2.1", "destination": "::1"},
        {"version": 2, "source": "192.0.2.1"},
        {"version": 2, "source": "somewhere", "destination": "192.0.2.1"},
        {"version": 2, "source": "fe80::1%lo", "destination": "::1"},
        {"version": 2, "source": "::1", "destination": "::2", "source_port": 65536},
        {"version": 2, "source": "::1", "destination": "::2", "destination_port": -1},
        {"version": 1, "is_local": True},
        {"version": 2, "is_local": True, "tlvs": tlv(4, b"")},
        {"version": 2, "is_local": True, "source": "::1", "destination": "::1"},
        {"version": 1, "tlvs": tlv(4, b"")},
        {"version": 2, "tlvs": b"\4"},
        {"version": 2, "tlvs": tlv(3, b"abc")},
        {"version": 2, "tlvs": tlv(3, b"abcde")},
        {"version": 2, "tlvs": tlv(4, bytes(MAX_HEADER))},
    ],
)
def test_a_header_that_cannot_be_sent_is_not_made(words: dict[str, object]) -> None:
    with pytest.raises(ProxyHeaderError):
        Header(**words)  # type: ignore[arg-type]


def test_the_error_has_the_problem_and_makes_the_sentence() -> None:
    with pytest.raises(DsbalanceError, match=r"^PROXY header: it does not begin as one$") as caught:
        header_end(b"GET")
    assert isinstance(caught.value, ProxyHeaderError)
    assert caught.value.problem == "it does not begin as one"


# --- what a server is told ------------------------------------------------------------------------


def client(address: str, greeting: Header | None = None) -> Client:
    return Client(address, b"", 443, 56324, greeting)


@pytest.mark.parametrize(
    ("address", "came_to", "line"),
    [
        ("192.0.2.1", "192.0.2.9", "TCP4 192.0.2.1 192.0.2.9 56324 443"),
        ("2001:db8::1", "2001:db8::9", "TCP6 2001:db8::1 2001:db8::9 56324 443"),
        ("fe80::1%eth0", "fe80::2%eth0", "TCP6 fe80::1 fe80::2 56324 443"),
        (
            "::ffff:192.0.2.1",
            "::ffff:192.0.2.9",
            "TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.9 56324 443",
        ),
        ("192.0.2.1", "2001:db8::9", "TCP6 ::ffff:192.0.2.1 2001:db8::9 56324 443"),
        ("2001:db8::1", "192.0.2.9", "TCP6 2001:db8::1 ::ffff:192.0.2.9 56324 443"),
        ("192.0.2.1", "", "UNKNOWN"),
    ],
)
def test_a_server_is_told_who_the_client_is(address: str, came_to: str, line: str) -> None:
    told = introduction(SendProxy.V1, client(address), came_to)
    assert told.decode() == f"PROXY {line}\r\n"
    same = parse_header(introduction(SendProxy.V2, client(address), came_to))
    plain = parse_header(told)
    assert (same.version, same.is_local) == (2, not came_to)
    assert (same.source, same.destination) == (plain.source, plain.destination)
    assert (same.source_port, same.destination_port) == (plain.source_port, plain.destination_port)


def test_a_server_is_told_what_the_client_came_with() -> None:
    tlvs = tlv(5, b"unique")
    greeting = parse_header(sealed(0x11, ON_IPV4, tlvs))
    told = introduction(SendProxy.V2, client(greeting.source, greeting), "127.0.0.1")
    assert told == sealed(0x11, ON_IPV4, tlvs)
    told = introduction(SendProxy.V1, client(greeting.source, greeting), "127.0.0.1")
    assert parse_header(told) == FROM_IPV4


def test_a_seal_is_broken_and_made_anew_where_the_addresses_are_others() -> None:
    greeting = parse_header(sealed(0x31, UNIX))
    told = introduction(SendProxy.V2, client("192.0.2.1", greeting), "192.0.2.9")
    assert told == sealed(0x11, ON_IPV4)


@pytest.mark.parametrize(
    "greeting", [Header(version=1), Header(version=2), Header(version=2, is_local=True)]
)
def test_who_came_without_addresses_has_those_of_its_connection(greeting: Header) -> None:
    told = introduction(SendProxy.V1, client("192.0.2.1", greeting), "192.0.2.9")
    assert parse_header(told) == FROM_IPV4
    assert introduction(SendProxy.V2, client("192.0.2.1", greeting), "192.0.2.9") == block(
        PROXY, 0x11, ON_IPV4
    )
