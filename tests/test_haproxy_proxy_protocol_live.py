"""PROXY headers between us and a HAProxy that runs beside the test, in both directions."""

from __future__ import annotations

import contextlib
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from actors import Peer, Stub
from dsbalance.candidates import Client
from dsbalance.haproxy.proxy_protocol import (
    Header,
    ProxyHeaderError,
    header_end,
    introduction,
    parse_header,
)
from dsbalance.words import SendProxy
from processes import Process

# It is in a folder that is not on the path of everybody but root.
HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
pytestmark = pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")

READY, READER = 9000, 9001
# What HAProxy sends, by the port at which it does so.
WRITERS = {
    9011: "send-proxy",
    9012: "send-proxy-v2",
    9013: "send-proxy-v2 proxy-v2-options crc32c,unique-id",
}


class Haproxy(NamedTuple):
    """A HAProxy whose only server is the test."""

    host: str
    server: Stub

    def heard(self) -> tuple[Header, Peer]:
        """Return the header with which it comes to the server, and the rest of the connection."""
        peer = self.server.accept()
        data = b""
        while not header_end(data):
            part = peer.take(1)
            assert part, f"the header ended: {data!r}"
            data += part
        return parse_header(data), peer


def configuration(host: str, port: int) -> str:
    lines = [
        *("defaults", "mode tcp", "timeout connect 5s", "timeout client 30s", "timeout server 30s"),
        *("listen reader", f"bind {host}:{READER} accept-proxy"),
        f"server s {host}:{port} send-proxy",
    ]
    for door, words in WRITERS.items():
        lines += [
            *(f"listen writer-{door}", "unique-id-format %ci:%cp"),
            *(f"bind {host}:{door} accept-proxy", f"bind {host}:{door + 10}"),
            f"server s {host}:{port} {words}",
        ]
    # The last, since HAProxy opens its ports in this order.
    lines += ["frontend ready", f"bind {host}:{READY}", "mode http"]
    return "\n".join([*lines, ""])


@pytest.fixture
def haproxy(tmp_path: Path, loopback: Callable[[], str]) -> Iterator[Haproxy]:
    host = loopback()
    file = tmp_path / "haproxy.cfg"
    with contextlib.closing(Stub(host)) as server:
        file.write_text(configuration(host, server.port), encoding="utf-8")
        with Process(HAPROXY or "", "-db", "-f", str(file)) as process:
            process.until_it_listens((host, READY))
            yield Haproxy(host, server)


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


ON_IPV4 = Header(
    version=2,
    source="192.0.2.1",
    source_port=56324,
    destination="192.0.2.9",
    destination_port=443,
)
ON_IPV6 = Header(
    version=2, source="2001:db8::1", source_port=0, destination="::ffff:1.2.3.4", destination_port=1
)


# --- what HAProxy writes --------------------------------------------------------------------------


@pytest.mark.parametrize("door", WRITERS, ids=WRITERS.values())
def test_what_haproxy_says_of_a_client_of_its_own_is_understood(
    haproxy: Haproxy, loopback: Callable[[], str], door: int
) -> None:
    source = loopback()
    address = (haproxy.host, door + 10)
    with Peer(socket.create_connection(address, source_address=(source, 0))) as client:
        port = client.sock.getsockname()[1]
        client.say(b"hello")
        header, server = haproxy.heard()
        with server:
            server.hear(b"hello")
    assert (header.source, header.source_port) == (source, port)
    assert (header.destination, header.destination_port) == address
    if "crc32c" in WRITERS[door]:
        unique = f"{source}:{port}".encode()
        assert header.tlvs[:3] == b"\3\0\4"
        assert header.tlvs[7:] == tlv(5, unique)
        # And what was a right checksum is one that we make too.
        assert parse_header(header.encode()) == header
    else:
        assert header.tlvs == b""


@pytest.mark.parametrize("door", WRITERS, ids=WRITERS.values())
@pytest.mark.parametrize("told", [ON_IPV4, ON_IPV6], ids=["IPv4", "IPv6"])
def test_what_we_told_haproxy_comes_back_as_haproxy_says_it(
    haproxy: Haproxy, door: int, told: Header
) -> None:
    with Peer(socket.create_connection((haproxy.host, door))) as client:
        client.say(told.encode() + b"hello")
        header, server = haproxy.heard()
        with server:
            server.hear(b"hello")
    assert (header.source, header.source_port) == (told.source, told.source_port)
    assert (header.destination, header.destination_port) == (
        told.destination,
        told.destination_port,
    )


# --- what HAProxy reads ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", SendProxy)
@pytest.mark.parametrize(
    ("source", "came_to"),
    [
        ("192.0.2.1", "192.0.2.9"),
        ("2001:db8::1", "::"),
        ("::ffff:192.0.2.1", "::1.2.3.4"),
        ("192.0.2.1", "2001:db8::9"),
    ],
)
def test_haproxy_understands_how_we_introduce_a_client(
    haproxy: Haproxy, version: SendProxy, source: str, came_to: str
) -> None:
    greeting = Header(version=2, tlvs=tlv(0xE0, b"x" * 1000) + tlv(3, bytes(4)) + tlv(5, b"id"))
    said = introduction(version, Client(source, b"", 443, 56324, greeting), came_to)
    with Peer(socket.create_connection((haproxy.host, READER))) as client:
        client.say(said + b"hello")
        header, server = haproxy.heard()
        with server:
            server.hear(b"hello")
    ours = parse_header(said)
    assert (header.source, header.destination) == (ours.source, ours.destination)
    assert (header.source_port, header.destination_port) == (56324, 443)


@pytest.mark.parametrize(
    "told", [Header(version=1), Header(version=2, is_local=True)], ids=["UNKNOWN", "LOCAL"]
)
def test_haproxy_takes_the_connections_own_addresses_where_we_say_none(
    haproxy: Haproxy, told: Header
) -> None:
    with Peer(socket.create_connection((haproxy.host, READER))) as client:
        own = client.sock.getsockname()
        client.say(told.encode())
        header, server = haproxy.heard()
        server.close()
    assert (header.source, header.source_port) == own
    assert (header.destination, header.destination_port) == (haproxy.host, READER)


def test_haproxy_finds_a_checksum_wrong_that_we_find_wrong(haproxy: Haproxy) -> None:
    data = bytearray(replace(ON_IPV4, tlvs=tlv(3, bytes(4))).encode())
    data[-1] ^= 1
    with Peer(socket.create_connection((haproxy.host, READER))) as client:
        client.say(bytes(data)).hear_reset()


# --- the verdicts ---------------------------------------------------------------------------------

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 9, 0, 1, 0, 2])


def line(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


def block(command: int, family: int, body: bytes = b"") -> bytes:
    return SIGNATURE + bytes([command, family]) + len(body).to_bytes(2, "big") + body


BOTH_TAKE = [
    line("TCP4 192.0.2.1 192.0.2.9 0 65535"),
    line("TCP6 2001:DB8::1 ::ffff:1.2.3.4 1 2"),
    line("TCP6 1:2:3:4:5:6:7:: 0001::8 1 2"),
    line("UNKNOWN"),
    block(0x20, 0x00),
    block(0x20, 0xFF, b"what family?"),
    block(0x20, 0x11, ADDRESSES + tlv(3, b"fake")),
    block(0x21, 0x11, ADDRESSES),
    block(0x21, 0x11, ADDRESSES + tlv(0xE0, b"") + tlv(4, bytes(16000))),
    block(0x21, 0x11, ADDRESSES + tlv(5, b"u" * 128) + tlv(2, b"a" * 255)),
]
BOTH_REFUSE = [
    b"GET / HTTP/1.0\r\n\r\n",
    line("TCP4 ::1 ::1 1 2"),
    line("TCP6 192.0.2.1 192.0.2.9 1 2"),
    line("TCP6 1::2:3:4:5:6:7:8 ::1 1 2"),
    line("TCP6 fe80::1%lo ::1 1 2"),
    line("TCP4 192.0.2.1  192.0.2.9 1 2"),
    line("TCP4 192.0.2.1 192.0.2.9 1 2 "),
    line("TCP4 192.0.2.1 192.0.2.9 +1 2"),
    line("TCP4 192.0.2.1 192.0.2.9 1"),
    line("TCP5 192.0.2.1 192.0.2.9 1 2"),
    line("TCP4 192.0.2.1 192.0.2.9 1 2\r"),
    b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\n",
    block(0x22, 0x11, ADDRESSES),
    block(0x11, 0x11, ADDRESSES),
    block(0x21, 0x12, ADDRESSES),
    block(0x21, 0x10, ADDRESSES),
    block(0x21, 0x11, ADDRESSES[:-1]),
    block(0x21, 0x21, ADDRESSES),
    block(0x21, 0x11, ADDRESSES + b"\4\0"),
    block(0x21, 0x11, ADDRESSES + tlv(4, b"abc")[:-1]),
    block(0x21, 0x11, ADDRESSES + tlv(3, b"fake")),
    block(0x21, 0x11, ADDRESSES + tlv(3, b"abc")),
    block(0x21, 0x11, ADDRESSES + tlv(5, b"u" * 129)),
    block(0x21, 0x11, ADDRESSES + tlv(2, b"a" * 256)),
    block(0x21, 0x11, ADDRESSES + tlv(4, bytes(16384))),
]
# Numbers that stand for others than is written: the specification permits none of them.
HAPROXY_ALONE_TAKES = [
    line("TCP4 192.0.2.1 192.0.2.9 01 2"),
    line("TCP4 192.0.2.1 192.0.2.9 65536 2"),
    line("TCP4 192.0.2.1 192.0.2.9  2"),
    line("TCP4 192.0.2.256 192.0.2.9 1 2"),
    line("TCP4 192.0.02.1 192.0.2.9 1 2"),
    line("TCP4 192.0.2 192.0.2.9 1 2"),
]
# Those that say nothing: the specification has their rest ignored.
WE_ALONE_TAKE = [
    line("UNKNOWN 192.0.2.1 192.0.2.9 1 2"),
    block(0x21, 0x00),
    block(0x21, 0x31, bytes(216)),
]


def is_taken(data: bytes) -> bool:
    try:
        parse_header(data[: header_end(data)])
    except ProxyHeaderError:
        return False
    return True


def test_the_verdicts_are_those_of_haproxy_but_for_what_is_listed(haproxy: Haproxy) -> None:
    for cases, ours, theirs in (
        (BOTH_TAKE, True, True),
        (BOTH_REFUSE, False, False),
        (HAPROXY_ALONE_TAKES, False, True),
        (WE_ALONE_TAKE, True, False),
    ):
        for data in cases:
            assert is_taken(data) is ours, data
            with Peer(socket.create_connection((haproxy.host, READER))) as client:
                client.say(data)
                if theirs:
                    haproxy.heard()[1].close()
                else:
                    client.hear_reset()
