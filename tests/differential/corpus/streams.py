"""What one end of a connection heard, in a form in which two programs can be compared.

Names of fields lose their case, as HAProxy sends them in lower case and we as they came, and so do
blanks around a value or between tokens. Chunks are joined, for where they are cut means nothing. A
page of our own has other words than HAProxy's.
"""

from __future__ import annotations

import re

_HEAD = re.compile(rb"(?:HTTP/\d|[!-9;-~]+ [^\r\n]*HTTP/)[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n")
_FIELD = re.compile(rb"^([!-9;-~]+):[ \t]*([^\r\n]*?)[ \t]*\r$", re.MULTILINE)
_LENGTH = re.compile(rb"^content-length: (\d+)\r$", re.MULTILINE)
_CHUNKED = re.compile(rb"^transfer-encoding: .*chunked\r$", re.MULTILINE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]+)\r\n")
_TRAILERS = re.compile(rb"(?:[^\r\n]+\r\n)*\r\n")
_PAGE = re.compile(
    rb"^(content-length): \d+\r\n(.*?\r\n)\r\n(?:<html>.*</html>\s*)?\Z", re.M | re.S
)
_IS_PAGE = re.compile(rb"HTTP/1\.1 .*^content-type: text/html\r$", re.M | re.S)
_RUN = re.compile(rb"([!-~])\1{99,}")
_BLANKS = re.compile(rb"\s*,\s*")


def comparable(stream: bytes) -> str:
    """Return the messages of ``stream`` as text, and what is none as it is."""
    told, at = [], 0
    while found := _HEAD.match(stream, at):
        head = _even(found[0])
        body, at = _body(head, stream, found.end())
        told.append(_without_words(head + body))
    text = b"".join([*told, stream[at:]])
    return _RUN.sub(lambda run: b"%s{%d}" % (run[1], len(run[0])), text).decode("latin-1")


def _even(head: bytes) -> bytes:
    first, rest = head.split(b"\r\n", 1)
    return first.rstrip(b" ") + b"\r\n" + _FIELD.sub(_even_field, rest)


def _even_field(field: re.Match[bytes]) -> bytes:
    name, value = field[1].lower(), field[2]
    return name + b": " + (_BLANKS.sub(b", ", value) if name == b"connection" else value) + b"\r"


def _body(head: bytes, stream: bytes, at: int) -> tuple[bytes, int]:
    if stream.startswith(b"HTTP/1.", at):
        # What frames a body is told although there is none, as after HEAD.
        return b"", at
    if _CHUNKED.search(head):
        return _joined(stream, at)
    length = _LENGTH.search(head)
    end = at + (int(length[1]) if length else 0)
    return stream[at:end], min(end, len(stream))


def _joined(stream: bytes, at: int) -> tuple[bytes, int]:
    """Return a chunked body as if it had been one chunk, and where it ends."""
    start, data, end = at, bytearray(), b""
    while not end and (found := _CHUNK.match(stream, at)):
        size, at = int(found[1], 16), found.end()
        data += stream[at : at + size]
        if not size:
            trailers = _TRAILERS.match(stream, at)
            if not trailers:
                return stream[start:], len(stream)
            end, at = b"0\r\n" + _FIELD.sub(_even_field, trailers[0]), trailers.end()
        else:
            at = min(at + size + 2, len(stream))
    return (b"%X\r\n%s\r\n" % (len(data), data) if data else b"") + end, at


def _without_words(message: bytes) -> bytes:
    """Return a response without the words of a page, if it is one of the program's own."""
    return (
        _PAGE.sub(rb"\1: its length\r\n\2\r\n(page)", message)
        if _IS_PAGE.match(message)
        else message
    )
