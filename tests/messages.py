"""HTTP messages for the tests: good ones, nearly good ones, and a slow reader to compare with.

The reader goes through a message octet by octet, after RFC 9112, and shares no line with the
package. It says what a message is, or that it is refused, but not why.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS = frozenset(b"0123456789")
_TOKEN = _LETTERS | _DIGITS | frozenset(b"!#$%&'*+-.^_`|~")
_HOST = _LETTERS | _DIGITS | frozenset(b"._-~%!$&'()*+;=:[]")
_FRAMING = (b"content-length", b"transfer-encoding", b"host")
_TO_THE_HEAD = {
    *(b"connection", b"content-length", b"host", b"keep-alive", b"proxy-connection", b"te"),
    *(b"trailer", b"transfer-encoding", b"upgrade"),
}


class RefusedError(Exception):
    """The message is none."""


@dataclass
class Read:
    """What the reader saw in a head."""

    first: tuple[bytes, ...]
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)

    def values(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each == name]

    def tokens(self, name: bytes) -> frozenset[bytes]:
        words = b",".join(self.values(name)).lower().split(b",")
        return frozenset(word.strip(b" \t") for word in words if word.strip(b" \t"))


def need(is_good: bool) -> None:
    if not is_good:
        raise RefusedError


def read_lines(raw: bytes) -> list[bytes]:
    """Return the lines of a head, which ends with an empty one, without their ends."""
    lines = [b""]
    rest = list(raw)
    while rest:
        octet = rest.pop(0)
        if octet == 13:
            need(bool(rest) and rest.pop(0) == 10)
            lines.append(b"")
        else:
            need(octet != 10)
            lines[-1] += bytes([octet])
    # What is behind the last end of a line is no line.
    need(len(lines) > 2 and lines[-1] == lines[-2] == b"")
    return lines[:-2]


def read_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    need(len(lines) <= 100)
    fields = []
    for line in lines:
        name, colon, value = line.partition(b":")
        need(bool(colon) and 1 <= len(name) <= 255 and set(name) <= _TOKEN)
        need(all(octet == 9 or (octet >= 32 and octet != 127) for octet in value))
        fields.append((name.lower(), value.strip(b" \t")))
    for name in _FRAMING:
        need(len([each for each, _ in fields if each == name]) < 2)
    return fields


def read_version(word: bytes) -> None:
    need(len(word) == 8 and word[:5] == b"HTTP/" and word[6:7] == b".")
    need(word[5] in _DIGITS and word[7] in _DIGITS and word[5] != 48)


def read_length(head: Read, version: bytes) -> int | None:
    """Return the length that is said, -1: chunked, None: nothing is said."""
    lengths, codings = head.values(b"content-length"), head.values(b"transfer-encoding")
    need(not (lengths and codings))
    if codings:
        need(codings[0].lower() == b"chunked" and version != b"HTTP/1.0")
        return -1
    if not lengths:
        return None
    need(1 <= len(lengths[0]) <= 19 and set(lengths[0]) <= _DIGITS)
    need(int(lengths[0]) < 1 << 63)
    return int(lengths[0])


def is_same_host(one: bytes, other: bytes, port: bytes) -> bool:
    """Return whether two authorities are the same, if ``port`` is what none means.

    Without a port to mean, they have to be the same as they are written.
    """
    if not port:
        return one.lower() == other.lower()

    def parts(authority: bytes) -> tuple[bytes, bytes]:
        cut = authority.rfind(b":")
        name, said = (authority, b"") if cut < 0 else (authority[:cut], authority[cut + 1 :])
        return name.lower(), said.lower() or port

    return parts(one) == parts(other)


def read_request(raw: bytes, limit: int) -> tuple[Read, int | None]:
    """Return the head and the length of the body, -1: chunked."""
    while raw[:2] == b"\r\n":
        raw = raw[2:]
    lines = read_lines(raw)
    need(len(raw) + 4 * (len(lines) - 1) <= limit)
    words = lines[0].split(b" ")
    need(len(words) == 3)
    method, target, version = words
    need(bool(method) and set(method) <= _TOKEN)
    need(bool(target) and all(33 <= octet <= 126 and octet != 35 for octet in target))
    read_version(version)
    head = Read((method, target, version), read_fields(lines[1:]))
    length = read_length(head, version)
    hosts = head.values(b"host")
    need(not hosts or set(hosts[0]) <= _HOST)
    if version == b"HTTP/1.0" and length:
        need(method not in (b"GET", b"HEAD", b"DELETE"))
    read_target(method, target, hosts[0] if hosts else None, length)
    asks = b"upgrade" in head.tokens(b"connection") and bool(head.values(b"upgrade"))
    if asks and not length and b"websocket" in head.tokens(b"upgrade"):
        keys = head.values(b"sec-websocket-key")
        need(len(keys) == 1 and len(keys[0]) == 24)
    return head, length


def read_target(method: bytes, target: bytes, host: bytes | None, length: int | None) -> None:
    if method == b"CONNECT":
        need(not length)
        authority = target
        name, colon, port = target.rpartition(b":")
        need(bool(name and colon and port) and set(port) <= _DIGITS)
        usual = port if port in (b"80", b"443") else b""
    elif target.startswith(b"/") or (method == b"OPTIONS" and target == b"*"):
        return
    else:
        scheme, mark, rest = target.partition(b"://")
        need(bool(mark and scheme) and scheme[0] in _LETTERS)
        need(set(scheme) <= _LETTERS | _DIGITS | frozenset(b"+-."))
        authority = rest.split(b"/")[0]
        usual = {b"http": b"80", b"https": b"443"}.get(scheme.lower(), b"")
    need(set(authority) <= _HOST)
    need(host is None or is_same_host(authority, host, usual))


def read_response(raw: bytes, method: bytes, limit: int) -> tuple[Read, str, int | None]:
    """Return the head, how the end of the body is known, and its length."""
    lines = read_lines(raw)
    need(len(raw) + 4 * (len(lines) - 1) <= limit)
    version, _, rest = lines[0].partition(b" ")
    code, blank, reason = rest[:3], rest[3:4], rest[4:]
    read_version(version)
    need(len(code) == 3 and set(code) <= _DIGITS and code[0] != 48)
    need(blank in (b" ", b""))
    need(all(octet == 9 or (octet >= 32 and octet != 127) for octet in reason))
    head = Read((version, code), read_fields(lines[1:]))
    length = read_length(head, version)
    if code == b"101":
        need(b"upgrade" in head.tokens(b"connection") and bool(head.values(b"upgrade")))
    if code == b"101" or (method == b"CONNECT" and code[:1] == b"2"):
        return head, "TUNNEL", None
    if method == b"HEAD" or code[:1] == b"1" or code in (b"204", b"304") or length == 0:
        return head, "NONE", 0
    if length == -1:
        return head, "CHUNKED", None
    return (head, "CLOSE", None) if length is None else (head, "LENGTH", length)


def read_chunked(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], int] | None:
    """Return data, trailers and how many bytes they took; None: there is more to come."""
    body, at = b"", 0
    while True:
        end = data.find(b"\r\n", at)
        if end < 0:
            return None
        size, semicolon, extension = data[at:end].partition(b";")
        if semicolon:
            size = size.rstrip(b" \t")
        need(1 <= len(size) <= 16 and set(size) <= _DIGITS | frozenset(b"abcdefABCDEF"))
        need(all(octet == 9 or (octet >= 32 and octet != 127) for octet in extension))
        count, at = int(size, 16), end + 2
        need(count < 1 << 52)
        if count == 0:
            break
        body += data[at : at + count]
        if len(data) < at + count + 2:
            need(b"\r\n".startswith(data[at + count :]))
            return None
        need(data[at + count : at + count + 2] == b"\r\n")
        at += count + 2
    if data[at : at + 2] == b"\r\n":
        return body, [], at + 2
    end = data.find(b"\r\n\r\n", at)
    if end < 0:
        return None
    trailers = read_fields(read_lines(data[at : end + 4]))
    need(not _TO_THE_HEAD & {name for name, _ in trailers})
    return body, trailers, end + 4


# --- messages ------------------------------------------------------------------------------------

NAMES = (
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Upgrade", b"Accept"),
    *(b"Sec-WebSocket-Key", b"X-Forwarded-For", b"Cookie", b"Content-Type", b"TE", b"Content"),
    *(b"host", b"CONTENT-LENGTH", b"transfer-encoding", b"cOnnection", b"upgrade", b"x"),
)
VALUES = (
    *(
        b"a",
        b"a:80",
        b"a:443",
        b"a:",
        b"A",
        b"b",
        b"0",
        b"5",
        b"007",
        b"chunked",
        b"Chunked",
        b"gzip",
    ),
    *(b"close", b"keep-alive", b"Upgrade", b"upgrade, close", b"websocket", b"h2c, WebSocket", b""),
    *(b"dGhlIHNhbXBsZSBub25jZQ==", b"chunked, chunked", b"5, 5", b"+5", b"5 5", b"0x5", b"\xe9"),
    *(
        b"trailers",
        b"x, Trailers",
        b"9223372036854775807",
        b"9223372036854775808",
        b"9" * 30,
        b"a b",
        b"a\tb",
        b"text/html",
    ),
)
METHODS = (b"GET", b"POST", b"HEAD", b"CONNECT", b"OPTIONS", b"get", b"DELETE", b"M-SEARCH")
TARGETS = (
    *(b"/", b"/a?b=c", b"*", b"http://a/", b"http://a:80/x", b"http://b", b"a:80", b"a", b"//a"),
    *(
        b"https://A:443",
        b"http://a?x",
        b"http://u@a/",
        b"http:///x",
        b"://a/",
        b"1://a/",
        b"a:443",
        b"/a:b://c",
    ),
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.2")
STATUSES = (b"200", b"200", b"404", b"100", b"101", b"204", b"304", b"999", b"503")
REASONS = (b" OK", b" Not Found", b"", b" ", b"  ", b" \xe9t\xe9")
SIZES = (b"1", b"a", b"A", b"0a", b"003", b"1;x", b"2 ; x=y", b"3\t;", b"f;a=\"b;c\"")  # fmt: skip
# What a byte more, or another one, is likely to break.
NASTY = (
    *(b"\r", b"\n", b"\r\n", b" ", b"\t", b":", b"\0", b"\x0b", b"\x7f", b"\x80", b",", b";"),
    *(b"0", b"5", b"f", b"#", b"/", b"H", b"\r\n\r\n", b"\r\n ", b"a: b\r\n"),
)

_blanks = st.sampled_from((b" ", b" ", b" ", b"", b"\t", b"  "))
_fields = st.lists(
    st.builds(
        lambda name, before, value, after: b"%b:%b%b%b\r\n" % (name, before, value, after),
        *(st.sampled_from(NAMES), _blanks, st.sampled_from(VALUES)),
        st.sampled_from((b"", b"", b"", b" ", b"\t ")),
    ),
    max_size=6,
).map(b"".join)

# Well formed, though what they say may be refused.
requests = st.builds(
    lambda method, target, version, fields: (
        b"%b %b %b\r\n%b\r\n" % (method, target, version, fields)
    ),
    *(st.sampled_from(METHODS), st.sampled_from(TARGETS), st.sampled_from(VERSIONS), _fields),
)
responses = st.builds(
    lambda version, status, reason, fields: (
        b"%b %b%b\r\n%b\r\n" % (version, status, reason, fields)
    ),
    *(st.sampled_from(VERSIONS), st.sampled_from(STATUSES), st.sampled_from(REASONS), _fields),
)


@st.composite
def chunked_bodies(draw: st.DrawFn) -> bytes:
    parts = []
    for size in draw(st.lists(st.sampled_from(SIZES), max_size=4)):
        count = int(size.partition(b";")[0], 16)
        data = draw(st.sampled_from((b"x" * count, b"0\r\n\r\nabcdefghijkl"[:count].ljust(count))))
        parts += [size, b"\r\n", data, b"\r\n"]
    trailers = draw(st.one_of(st.just(b""), st.just(b"X-T: 1\r\n"), _fields))
    return b"".join(
        (*parts, draw(st.sampled_from((b"0", b"00", b"0;x"))), b"\r\n", trailers, b"\r\n")
    )


@st.composite
def spoiled(draw: st.DrawFn, good: st.SearchStrategy[bytes]) -> bytes:
    """Return one of ``good`` in which a few things went wrong."""
    text = draw(good)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        sign = draw(st.sampled_from(NASTY) | st.binary(min_size=1, max_size=1))
        text = text[:at] + sign + text[at + draw(st.integers(0, 2)) :]
    return text


@st.composite
def cuts(draw: st.DrawFn, text: bytes) -> list[bytes]:
    """Return ``text`` in pieces."""
    places = sorted(draw(st.sets(st.integers(1, max(1, len(text) - 1)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]
