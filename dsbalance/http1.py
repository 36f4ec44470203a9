"""Heads of HTTP/1.x messages: where they end, what frames their bodies, what is refused. No I/O.

A head goes on as the bytes that came, so everything depends on the next reader seeing in them what
was seen here. Hence the rule: whatever two parsers could read differently is refused, and hardly
anything is repaired. A line ends with CR LF; none is folded; no space stands before a colon.

    body of a request                      body of a response, the first that applies
    Transfer-Encoding: chunked   chunked   101, or 2xx to CONNECT       TUNNEL
    Content-Length: n            n bytes   to HEAD, 1xx, 204, 304       NONE
    neither                      none      Transfer-Encoding: chunked   CHUNKED
                                           Content-Length: n            LENGTH (NONE if it is 0)
                                           neither                      CLOSE: up to its end

Source: RFC 9110 and RFC 9112; what HAProxy 2.6.12 was seen to take and refuse.
"""

from __future__ import annotations

import base64
import enum
import hashlib
import re
from collections.abc import Container, Iterable
from functools import lru_cache

from dsbalance.http1_grammar import (
    FIELDS,
    MAX_HEAD,
    REQUEST,
    RESPONSE,
    USUAL_RESPONSE,
    Form,
    MessageError,
)

__all__ = [
    "MAX_HEAD",
    "MAX_LENGTH",
    "Framing",
    "MessageError",
    "RequestHead",
    "ResponseHead",
    "accepts_upgrade",
    "edit",
    "request_end",
    "response_end",
]

MAX_LENGTH = 2**63 - 1
"""Bytes of a body: what a signed 64-bit counter holds, since the next reader may have one."""

# A head of so many bytes is not too long, even if it has a hundred fields.
_SHORT = MAX_HEAD - 400

# A client says the same of itself in each request. 256 of them take a megabyte at the most.
_MAX_REMEMBERED = 2048
_REMEMBERED = 256

# RFC 6455, 1.3 and 4.1: parts of the protocol, no secrets.
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_WEBSOCKET_KEY_LENGTH = 24

_EMPTY_LINES = re.compile(rb"(?:\r\n)*+")
# The next two are for heads that are known to be good.
_PAIR = re.compile(rb"\n([^:\r]++):([^\r]*+)")
_SPECIAL = re.compile(
    rb"\n(connection|content-length|host|te|transfer-encoding|upgrade):([^\r]*+)", re.I
)
# What may stand in several lines, which then count as one with commas between.
_LISTS = frozenset((b"connection", b"te", b"upgrade"))
_NOTHING: frozenset[bytes] = frozenset()
_LENGTHS = (b"content-length", b"transfer-encoding")
_HOST = re.compile(rb"[\w.\-~%!$&'()*+;=:\[\]]*+")
_AUTHORITY = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*+://)?+([^/]*+)")
_PORTS = {b"http://": b"80", b"https://": b"443"}


class Framing(enum.Enum):
    """How the end of a response's body is known."""

    NONE = enum.auto()  # there is no body
    LENGTH = enum.auto()
    CHUNKED = enum.auto()
    CLOSE = enum.auto()  # it ends with the connection
    TUNNEL = enum.auto()  # it is no body: from here on bytes go both ways

    # An Enum hashes its name, in Python; identity is as good and costs a tenth.
    __hash__ = object.__hash__


# A member that is looked up through its class takes 70 ns on Python 3.11, a global one 7.
_NONE, _LENGTH, _CHUNKED, _CLOSE, _TUNNEL = Framing


class _Head:
    """What requests and responses have in common."""

    __slots__ = ("connection", "is_http10", "length", "raw")

    raw: bytes
    is_http10: bool
    length: int | None
    connection: frozenset[bytes]

    def fields(self) -> list[tuple[bytes, bytes]]:
        """Return name, in lower case, and value, without space around it, of each field."""
        return [(name.lower(), value.strip(b" \t")) for name, value in _PAIR.findall(self.raw)]

    def has(self, name: bytes) -> bool:
        """Return whether there is a field of this name, which is given in lower case."""
        return b"\n" + name + b":" in self.raw.lower()

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of the fields of this name, which is given in lower case."""
        return [value for each, value in self.fields() if each == name]


class RequestHead(_Head):
    """The head of a request. Not to be changed.

    Args:
        raw: The whole head and nothing else; empty lines may stand before it.

    Attributes:
        raw: From the request line to the empty line, as it came, except that a version above 1.1
            is 1.1, that one with a body does not ask for another protocol, and that no other
            transfer coding is asked for.
        method: As it came: methods know capitals.
        target: What stands in the request line.
        is_http10: Whether the client said HTTP/1.0.
        length: Bytes of the body, 0 if there is none; None: it is chunked.
        connection: What ``Connection`` lists, in lower case.
        has_upgrade: Whether it asks for another protocol, and may get it.
        host: The value of ``Host``; None: there is none.

    Raises:
        MessageError: It is refused.
    """

    __slots__ = ("has_upgrade", "host", "method", "target")

    def __init__(self, raw: bytes) -> None:
        line = REQUEST.whole.match(raw)
        if line is None and raw[:1] == b"\r":
            raw = raw[_behind_empty_lines(raw) :]
            line = REQUEST.whole.match(raw)
        if line is None:
            raise _refusal(REQUEST, raw)
        self.method, self.target, version = line.groups()
        # With the LF before the first of them.
        fields = raw[line.end() - 1 :]
        said = _remembered(fields) if len(fields) <= _MAX_REMEMBERED else _say(fields)
        if said is None or (len(raw) > _SHORT and _is_too_long(raw)):
            raise _refusal(REQUEST, raw)
        self.host, self.connection, has_upgrade, has_te, self.length = said
        self.raw = raw
        self.is_http10 = False
        if version != b"1.1":
            self.is_http10 = version == b"1.0"
            self.raw = raw if self.is_http10 else _as_http11(raw, line.start(3))
        if has_te:
            self._limit_te()
        self.has_upgrade = has_upgrade and self._may_upgrade()
        if self.length != 0 and self.is_http10:
            self._check_length()
        if self.target[:1] != b"/" or self.method == b"CONNECT":
            self._check_target()

    def _limit_te(self) -> None:
        """Ask for trailers at the most: another coding than chunked would be refused."""
        asked = _tokens(b",".join(self.values(b"te")))
        if asked != {b"trailers"}:
            more = [(b"te", b"trailers")] if b"trailers" in asked else []
            self.raw = edit(self.raw, drop=(b"te",), append=more)

    def _may_upgrade(self) -> bool:
        """Return whether another protocol may follow this request, which asks for it.

        Raises:
            MessageError: It wants a WebSocket and cannot get one.
        """
        is_h2c = any(b"h2c" in value.lower() for value in self.values(b"upgrade"))
        if self.length != 0 or is_h2c:
            # Of which protocol a body is would be anybody's guess; HAProxy drops the field, too.
            # Requests of HTTP/2 would go by unseen, which has given this way up (RFC 9113, 3.1).
            self.raw = edit(self.raw, drop=(b"upgrade",))
            return False
        if _wants_websocket(self):
            keys = self.values(b"sec-websocket-key")
            if [len(key) for key in keys] != [_WEBSOCKET_KEY_LENGTH]:
                raise MessageError("a WebSocket without a key, or with a wrong one")
        return not self.is_http10

    def _check_length(self) -> None:
        """Raise MessageError if HTTP/1.0 has no such body. HAProxy refuses the second, too."""
        if self.length is None:
            raise MessageError("Transfer-Encoding in HTTP/1.0")
        if self.method in (b"GET", b"HEAD", b"DELETE"):
            raise MessageError(f"{self.method.decode()} with a body in HTTP/1.0")

    def _check_target(self) -> None:
        """Raise MessageError if the target has no form of RFC 9112, 3.2, or means another host."""
        if self.target == b"*" and self.method == b"OPTIONS":
            return
        match = _AUTHORITY.match(self.target)
        assert match is not None
        scheme, authority = match.groups()
        if self.method == b"CONNECT":
            if self.length != 0:
                raise MessageError("CONNECT with a body")
            if authority != self.target or not re.search(rb".:\d+\Z", authority):
                raise MessageError("the target of CONNECT is not host:port")
            port = authority.rpartition(b":")[2]
            port = port if port in _PORTS.values() else b""
        elif scheme:
            port = _PORTS.get(scheme.lower(), b"")
        else:
            raise MessageError("the target is neither a path nor a URI")
        if not _HOST.fullmatch(authority):
            raise MessageError("the target has what stands in no name of a host")
        if self.host is not None and _bare(authority, port) != _bare(self.host, port):
            raise MessageError("target and Host name different hosts")


class ResponseHead(_Head):
    """The head of a response. Not to be changed.

    Args:
        raw: The whole head and nothing else.
        method: That of the request.

    Attributes:
        raw: As it came, except that a version above 1.1 is 1.1, and that there is no length where
            none may be: in 1xx, in 204, and before a tunnel.
        status: 100 to 999.
        is_http10: Whether the server said HTTP/1.0.
        length: Bytes of the body, 0 if there is none; None: ``framing`` says where it ends.
        framing: How the end of the body is known.
        connection: What ``Connection`` lists, in lower case.

    Raises:
        MessageError: It is refused.
    """

    __slots__ = ("framing", "status")

    def __init__(self, raw: bytes, method: bytes) -> None:
        usual = USUAL_RESPONSE.fullmatch(raw)
        if usual is not None and len(raw) <= _SHORT:
            version, digits, text, coding, connection = usual.groups()
            length = None if text is None else int(text)
            framing = _CHUNKED if coding else _CLOSE if length is None else _LENGTH
            has_upgrade = False
        else:
            version, digits, connection, has_upgrade, framing, length = _read_response(raw)
            raw = _as_http11(raw, len("HTTP/")) if version > b"1.1" else raw
        self.raw = raw
        self.is_http10 = version == b"1.0"
        self.connection = _tokens(connection) if connection else _NOTHING
        self.status = status = int(digits)
        if framing is _CHUNKED and self.is_http10:
            raise MessageError("Transfer-Encoding in HTTP/1.0")
        self.framing = framing
        self.length = length
        if status == 101 or (method == b"CONNECT" and 200 <= status < 300):
            if status == 101 and not has_upgrade:
                raise MessageError("101 without Upgrade")
            self.framing, self.length = _TUNNEL, None
            self._drop_lengths()
        elif status < 200 or status in (204, 304) or method == b"HEAD" or length == 0:
            self.framing, self.length = _NONE, 0
            if status < 200 or status == 204:
                self._drop_lengths()

    @property
    def is_final(self) -> bool:
        """Whether no other response to the same request follows."""
        return self.status >= 200 or self.status == 101

    def _drop_lengths(self) -> None:
        """Leave out what some clients would believe and others not. HAProxy does so as well."""
        if any(self.has(name) for name in _LENGTHS):
            self.raw = edit(self.raw, drop=_LENGTHS)


def request_end(data: bytes) -> int:
    """Return the length of the head at the start of ``data``, with empty lines before it.

    Whether it is a good one is for :class:`RequestHead` to say.

    Returns:
        0 if more is needed.

    Raises:
        MessageError: It is none, and cannot become one.
    """
    end = data.find(b"\r\n\r\n") + 4
    if end == 4:
        end = data.find(b"\r\n\r\n", _behind_empty_lines(data)) + 4
    if 4 < end <= MAX_HEAD:
        return end
    REQUEST.check(data)
    return 0


def response_end(data: bytes) -> int:
    """Return the length of the head at the start of ``data``.

    Whether it is a good one is for :class:`ResponseHead` to say.

    Returns:
        0 if more is needed.

    Raises:
        MessageError: It is none, and cannot become one.
    """
    end = data.find(b"\r\n\r\n") + 4
    if 4 <= end <= MAX_HEAD:
        return end
    RESPONSE.check(data)
    return 0


def edit(
    raw: bytes, *, drop: Container[bytes] = (), append: Iterable[tuple[bytes, bytes]] = ()
) -> bytes:
    """Return the head ``raw`` without some fields and with others at its end.

    Args:
        raw: A whole head that was parsed before.
        drop: Names, in lower case, of fields to leave out.
        append: Names and values of fields to add; they must be a token and a plain value.
    """
    lines = raw[:-4].split(b"\r\n")
    if drop:
        lines[1:] = [line for line in lines[1:] if line.partition(b":")[0].lower() not in drop]
    lines += [name + b": " + value for name, value in append]
    lines += (b"", b"")
    return b"\r\n".join(lines)


def accepts_upgrade(request: RequestHead, response: ResponseHead) -> bool:
    """Return whether the client may believe ``response``, as far as other protocols go.

    It may not believe a 101 that it did not ask for. If it asked for a WebSocket, it wants a proof
    that the answer is for its key: RFC 6455, 4.1.
    """
    if response.status != 101:
        return True
    if not request.has_upgrade or not _wants_websocket(request):
        return request.has_upgrade
    (key,) = request.values(b"sec-websocket-key")
    digest = hashlib.sha1(key + _WEBSOCKET_GUID, usedforsecurity=False).digest()
    return response.values(b"sec-websocket-accept") == [base64.b64encode(digest)]


def _refusal(form: Form, raw: bytes) -> MessageError:
    problem = "too long for its fields" if _is_too_long(raw) else "half a head"
    return form.refusal(raw) or MessageError(problem)


def _is_too_long(raw: bytes) -> bool:
    return len(raw) + 4 * (raw.count(b"\r\n") - 2) > MAX_HEAD


def _behind_empty_lines(data: bytes) -> int:
    match = _EMPTY_LINES.match(data)
    assert match is not None
    return match.end()


def _as_http11(raw: bytes, at: int) -> bytes:
    """Return ``raw``, which has its version at this place, as HTTP/1.1."""
    return raw[:at] + b"1.1" + raw[at + 3 :]


def _read_response(raw: bytes) -> tuple[bytes, bytes, bytes, bool, Framing, int | None]:
    """Return version, status, Connection, whether it says Upgrade, framing and length.

    Raises:
        MessageError: It is refused.
    """
    match = RESPONSE.whole.fullmatch(raw)
    if match is None or _is_too_long(raw):
        raise _refusal(RESPONSE, raw)
    found = _special(raw)
    framing, length = _framed(found)
    connection = found.get(b"connection", b"")
    return match[1], match[2], connection, _has_upgrade(found), framing, length


# What the fields of a request say: Host; what Connection lists; whether there are Upgrade, with its
# token, and TE; the length as RequestHead has it. A NamedTuple takes ten times as long to unpack.
_Said = tuple[bytes | None, frozenset[bytes], bool, bool, int | None]


def _say(fields: bytes) -> _Said | None:
    """Return what ``fields``, from the LF before the first of them on, say; None: they are none.

    Raises:
        MessageError: They are refused.
    """
    if FIELDS.whole.fullmatch(fields, 1) is None:
        return None
    found = _special(fields)
    framing, length = _framed(found)
    host = found.get(b"host")
    if host is not None and not _HOST.fullmatch(host):
        raise MessageError("Host has what stands in no name of a host")
    connection = _tokens(found.get(b"connection", b""))
    has_upgrade, has_te = _has_upgrade(found), b"te" in found
    return host, connection, has_upgrade, has_te, 0 if framing is _CLOSE else length


_remembered = lru_cache(_REMEMBERED)(_say)


def _special(raw: bytes) -> dict[bytes, bytes]:
    """Return the fields on which the connection depends, by their names in lower case.

    Raises:
        MessageError: There are two of which there may be one.
    """
    pairs = _SPECIAL.findall(raw)
    found = {name.lower(): value.strip(b" \t") for name, value in pairs}
    if len(found) < len(pairs):
        found.clear()
        for written, value in pairs:
            name = written.lower()
            if name in found and name not in _LISTS:
                raise MessageError(f"two fields {name.decode()}")
            found[name] = found[name] + b"," + value if name in found else value.strip(b" \t")
    return found


def _framed(found: dict[bytes, bytes]) -> tuple[Framing, int | None]:
    """Return how the end of a body is known, and its length; CLOSE: nothing is said.

    Raises:
        MessageError: What is said is refused.
    """
    text = found.get(b"content-length")
    if b"transfer-encoding" in found:
        if text is not None:
            raise MessageError("Content-Length with Transfer-Encoding")
        if found[b"transfer-encoding"].lower() != b"chunked":
            raise MessageError("Transfer-Encoding is not chunked, or not that alone")
        return _CHUNKED, None
    if text is None:
        return _CLOSE, None
    # Nineteen digits are enough for MAX_LENGTH.
    if not text.isdigit() or len(text) > 19 or (length := int(text)) > MAX_LENGTH:
        raise MessageError("Content-Length is no number, or too great")
    return _LENGTH, length


def _has_upgrade(found: dict[bytes, bytes]) -> bool:
    return b"upgrade" in found and b"upgrade" in _tokens(found.get(b"connection", b""))


def _wants_websocket(request: RequestHead) -> bool:
    return b"websocket" in _tokens(b",".join(request.values(b"upgrade")))


@lru_cache(64)
def _tokens(text: bytes) -> frozenset[bytes]:
    """Return what a list with commas has, in lower case."""
    return frozenset(token.strip(b" \t") for token in text.lower().split(b",")) - {b""}


def _bare(authority: bytes, port: bytes) -> bytes:
    """Return it as it is compared: in lower case, and without ``port``, unless that is empty."""
    name, colon, said = authority.lower().rpartition(b":")
    return name if port and colon and said in (b"", port) else authority.lower()
