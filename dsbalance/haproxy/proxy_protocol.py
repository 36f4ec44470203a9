"""The PROXY protocol: a header at the start of a connection says whose it is. No I/O.

    version   looks like                                        what it says
    1         PROXY TCP4 192.0.2.1 192.0.2.9 56324 443 CRLF     whose, and where it was made to
    1         PROXY TCP6 2001:db8::1 2001:db8::9 56324 443 CRLF the same
    1         PROXY UNKNOWN ... CRLF                            nothing: the rest is ignored
    2         signature, PROXY, TCP over IPv4 or IPv6, TLVs     the same as TCP4 and TCP6, and more
    2         signature, PROXY, unspecified or a Unix stream    nothing but the TLVs
    2         signature, LOCAL, ...                             nothing: it is the sender's own

Where it says nothing, the connection's own addresses hold. A TLV is a type, a length and a value:
they are checked and carried over, not read.

Source: The PROXY protocol, versions 1 & 2 (proxy-protocol.txt, W. Tarreau, 2020/03/05). HAProxy
2.6.12, as observed, takes numbers in version 1 that are out of range or have leading zeros; and of
those that say nothing it takes LOCAL, and UNKNOWN with nothing behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from dsbalance.candidates import Client
from dsbalance.errors import DsbalanceError
from dsbalance.words import SendProxy

MAX_HEADER = 16384
"""The longest header in bytes: HAProxy's ``tune.bufsize``."""

# So many fit into a header with any addresses that we send.
_MAX_TLVS = MAX_HEADER - 16 - 36

# Section 2.1: the worst case of a line with its CRLF.
_MAX_LINE = 107
_LINE_STARTS = (b"PROXY TCP4 ", b"PROXY TCP6 ", b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r\n")
_LINE = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+)"
    rb" (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})\r\n"
)
_LINE_BREAK = re.compile(rb"[\r\n]")

_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
# The signature, the version with the command, the family with the transport, the length.
_FIXED = 16
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
# Bytes of the addresses, those of a Unix stream are paths. Datagrams have no business on a stream.
_ADDRESSES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}

_AUTHORITY, _CRC32C, _UNIQUE_ID = 0x02, 0x03, 0x05
# What a value may have at the most: section 2.2.5, and as HAProxy 2.6.12 does.
_MAX_VALUE = {_AUTHORITY: 255, _UNIQUE_ID: 128}

# What stands before an IPv4 address in an IPv6 one (RFC 4291, 2.5.5).
_MAPPED, _COMPATIBLE = bytes(10) + b"\xff\xff", bytes(12)


class ProxyHeaderError(DsbalanceError):
    """It is no PROXY header, or one that is not to be trusted.

    Attributes:
        problem: What is wrong, in words.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(f"PROXY header: {problem}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a PROXY header says.

    Attributes:
        version: 1 or 2.
        is_local: Whether the sender made the connection for itself (LOCAL): then it says no more.
        source: The client's address; empty: the connection's own addresses hold.
        source_port: The client's port.
        destination: The address that the client came to, of the same family.
        destination_port: The port that it came to.
        tlvs: What else version 2 says, as it came.
    """

    version: int
    is_local: bool = False
    source: str = ""
    source_port: int = 0
    destination: str = ""
    destination_port: int = 0
    tlvs: bytes = b""

    def __post_init__(self) -> None:
        """Raise :class:`ProxyHeaderError` unless it can be sent as it is."""
        if self.version not in {1, 2}:
            raise ProxyHeaderError(f"there is no version {self.version}")
        if len(_pack(self.source)) != len(_pack(self.destination)):
            raise ProxyHeaderError("the addresses are of two families")
        for port in (self.source_port, self.destination_port):
            if not 0 <= port <= 65535:
                raise ProxyHeaderError(f"{port} is no port")
        if self.is_local and (self.version == 1 or self.source or self.tlvs):
            raise ProxyHeaderError("a LOCAL one is of version 2 and says no more")
        if self.tlvs and self.version == 1:
            raise ProxyHeaderError("version 1 has no TLVs")
        if len(self.tlvs) > _MAX_TLVS:
            raise ProxyHeaderError(f"its TLVs are longer than {_MAX_TLVS} bytes")
        _find_checksum(self.tlvs)

    @property
    def packed(self) -> bytes:
        """The client's address as 4 or 16 bytes in network order; empty as ``source``."""
        return _pack(self.source)

    def encode(self) -> bytes:
        """Return it as it is sent; a checksum among the TLVs is made anew."""
        return self._line() if self.version == 1 else self._block()

    def _line(self) -> bytes:
        if not self.source:
            return b"PROXY UNKNOWN\r\n"
        family = 6 if ":" in self.source else 4
        addresses = f"{self.source} {self.destination}"
        ports = f"{self.source_port} {self.destination_port}"
        return f"PROXY TCP{family} {addresses} {ports}\r\n".encode()

    def _block(self) -> bytes:
        source = _pack(self.source)
        addresses = source + _pack(self.destination)
        if addresses:
            addresses += self.source_port.to_bytes(2, "big")
            addresses += self.destination_port.to_bytes(2, "big")
        block = bytearray(_SIGNATURE)
        block.append(_LOCAL if self.is_local else _PROXY)
        block.append({0: _UNSPECIFIED, 4: _TCP4, 16: _TCP6}[len(source)])
        block += (len(addresses) + len(self.tlvs)).to_bytes(2, "big")
        block += addresses
        start = len(block)
        block += self.tlvs
        found = _find_checksum(self.tlvs)
        if found is not None:
            place = slice(start + found, start + found + 4)
            block[place] = bytes(4)
            block[place] = crc32c(block).to_bytes(4, "big")
        return bytes(block)


def header_end(data: bytes | bytearray) -> int:
    """Return the length of the header that ``data`` begins with; 0: more is needed.

    Not all is checked that :func:`parse_header` checks. However ``data`` grows, the answer is the
    same, and it comes before there are more than :data:`MAX_HEADER` bytes.

    Raises:
        ProxyHeaderError: What is there cannot become a header.
    """
    return _block_end(data) if data[:1] == _SIGNATURE[:1] else _line_end(data)


def parse_header(data: bytes | bytearray) -> Header:
    """Return what a header says; ``data`` is the whole of it and nothing else.

    Raises:
        ProxyHeaderError: It is none.
    """
    if not data or header_end(data) != len(data):
        raise ProxyHeaderError("it is not whole, or something is behind it")
    return _parse_block(data) if data[:1] == _SIGNATURE[:1] else _parse_line(data)


def introduction(kind: SendProxy, client: Client, came_to: str) -> bytes:
    """Return the header that tells a server whose connection it gets.

    What the client's own header says goes along. Two families become one as in HAProxy: an IPv4
    address is written as an IPv6 one.

    Args:
        kind: The version.
        client: Whose connection it is.
        came_to: The address of ours that the client's connection was made to; empty: not known.
    """
    version = 2 if kind is SendProxy.V2 else 1
    greeting = client.greeting
    source, destination = client.address.partition("%")[0], came_to.partition("%")[0]
    if greeting is not None and greeting.source:
        destination = greeting.destination
    if not destination:
        return Header(version=version, is_local=version == 2).encode()
    if (":" in source) is not (":" in destination):
        source, destination = _widen(source), _widen(destination)
    return Header(
        version=version,
        source=source,
        source_port=client.source_port,
        destination=destination,
        destination_port=client.port,
        tlvs=greeting.tlvs if greeting is not None and version == 2 else b"",
    ).encode()


def crc32c(data: bytes | bytearray) -> int:
    """Return the CRC-32C of ``data`` (RFC 4960, appendix B). O(bytes), about 60 ns each.

    >>> f"{crc32c(b'123456789'):08x}"
    'e3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


# -- version 1


def _line_end(data: bytes | bytearray) -> int:
    line = bytes(data[:_MAX_LINE])
    if not any(line.startswith(start[: len(line)]) for start in _LINE_STARTS):
        raise ProxyHeaderError("it does not begin as one")
    found = _LINE_BREAK.search(line, 0, _MAX_LINE - 1)
    if found is None:
        if len(line) >= _MAX_LINE - 1:
            raise ProxyHeaderError(f"the line is longer than {_MAX_LINE} bytes")
        return 0
    end = line[found.start() : found.start() + 2]
    if end == b"\r\n":
        return found.start() + 2
    if end == b"\r":
        return 0
    raise ProxyHeaderError("CR and LF end a line together")


def _parse_line(line: bytes | bytearray) -> Header:
    if line.startswith(b"PROXY UNKNOWN"):
        return Header(version=1)
    found = _LINE.fullmatch(line)
    if found is None:
        raise ProxyHeaderError("the line is not two addresses and two ports")
    family, *texts, source_port, destination_port = (part.decode() for part in found.groups())
    if any((":" in text) is not (family == "6") for text in texts):
        raise ProxyHeaderError(f"the addresses are not those of TCP{family}")
    # There is one way to write an IPv4 address, which the header demands.
    source, destination = texts if family == "4" else (_text(_pack(text)) for text in texts)
    return Header(
        version=1,
        source=source,
        source_port=int(source_port),
        destination=destination,
        destination_port=int(destination_port),
    )


# -- version 2


def _block_end(data: bytes | bytearray) -> int:
    size = len(data)
    if data[: len(_SIGNATURE)] != _SIGNATURE[:size]:
        raise ProxyHeaderError("it does not begin as one")
    if size > 12 and data[12] not in {_LOCAL, _PROXY}:
        raise ProxyHeaderError(f"version and command 0x{data[12]:02x} are not known")
    if size > 13 and data[12] == _PROXY and data[13] not in _ADDRESSES:
        raise ProxyHeaderError(f"family and transport 0x{data[13]:02x} are not those of a stream")
    if size < _FIXED:
        return 0
    end = _FIXED + int.from_bytes(data[14:16], "big")
    if data[12] == _PROXY and end < _FIXED + _ADDRESSES[data[13]]:
        raise ProxyHeaderError("it is too short for its addresses")
    if end > MAX_HEADER:
        raise ProxyHeaderError(f"it is longer than {MAX_HEADER} bytes")
    return end if size >= end else 0


def _parse_block(data: bytes | bytearray) -> Header:
    if data[12] == _LOCAL:
        # The receiver discards all that follows, its family too.
        return Header(version=2, is_local=True)
    family = data[13]
    start = _FIXED + _ADDRESSES[family]
    addresses, tlvs = bytes(data[_FIXED:start]), bytes(data[start:])
    found = _find_checksum(tlvs)
    if found is not None:
        place = slice(start + found, start + found + 4)
        blank = bytearray(data)
        blank[place] = bytes(4)
        if crc32c(blank).to_bytes(4, "big") != data[place]:
            raise ProxyHeaderError("the checksum is wrong")
    if family not in {_TCP4, _TCP6}:
        return Header(version=2, tlvs=tlvs)
    size = 4 if family == _TCP4 else 16
    return Header(
        version=2,
        source=_text(addresses[:size]),
        source_port=int.from_bytes(addresses[-4:-2], "big"),
        destination=_text(addresses[size : 2 * size]),
        destination_port=int.from_bytes(addresses[-2:], "big"),
        tlvs=tlvs,
    )


def _find_checksum(tlvs: bytes) -> int | None:
    """Return where the checksum's value is; None: there is none. Checks them all by the way."""
    found = None
    for kind, start, end in _walk(tlvs):
        size = end - start
        if size > _MAX_VALUE.get(kind, size):
            raise ProxyHeaderError(f"TLV 0x{kind:02x} is longer than {_MAX_VALUE[kind]} bytes")
        if kind == _CRC32C:
            if size != 4 or found is not None:
                raise ProxyHeaderError("a checksum has 4 bytes, and there is one at the most")
            found = start
    return found


def _walk(tlvs: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the type of each TLV, and where its value begins and ends."""
    at = 0
    while at < len(tlvs):
        start = at + 3
        end = start + int.from_bytes(tlvs[at + 1 : start], "big")
        # A head that is cut off ends behind them too.
        if end > len(tlvs):
            raise ProxyHeaderError("a TLV is longer than the header")
        yield tlvs[at], start, end
        at = end


# -- addresses


def _pack(address: str) -> bytes:
    """Return the bytes of an address; none, if it is empty."""
    try:
        if ":" in address and "%" not in address:
            return IPv6Address(address).packed
        return IPv4Address(address).packed if address else b""
    except AddressValueError:
        raise ProxyHeaderError(f"{address!r} is no address") from None


def _text(packed: bytes) -> str:
    """Return an address as text, written as the system's own (``inet_ntop``)."""
    if len(packed) == 4:
        return ".".join(map(str, packed))
    start, rest = packed[:12], packed[12:]
    if start == _MAPPED:
        return f"::ffff:{_text(rest)}"
    if start == _COMPATIBLE and rest[:2] != bytes(2):
        return f"::{_text(rest)}"
    return str(IPv6Address(packed))


def _widen(address: str) -> str:
    """Return the IPv6 address that an IPv4 one is mapped to, and any other as it is."""
    return address if ":" in address else f"::ffff:{address}"


def _crc_table() -> tuple[int, ...]:
    """Return what each byte does to the remainder; the polynomial is Castagnoli's, reflected."""
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()
