"""What HTTP/1.x messages are made of, and what is wrong where they are not. No I/O.

A good message is read by an expression that matches the whole of it. Where that fails, another
one, which matches as much as it may begin with, tells the first byte that is wrong; so the verdict
on some bytes does not depend on the pieces in which they came.

Source: RFC 9110, 5; RFC 9112, 2 to 5; what HAProxy 2.6.12 was seen to take and refuse.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dsbalance.errors import DsbalanceError

MAX_HEAD = 15281
"""Bytes of a head without fields. Each field costs 4 of them: so HAProxy was seen to count."""


class MessageError(DsbalanceError):
    """A message is refused.

    Attributes:
        problem: What is wrong with it, in words.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


class Form(NamedTuple):
    """What a part of a message looks like.

    Attributes:
        whole: It. Of a request the first line: fields are read by themselves.
        begun: What it may begin with, with marks: empty groups.
        places: Where one is behind each of the marks.
        room: Bytes that it may have.
    """

    whole: re.Pattern[bytes]
    begun: re.Pattern[bytes]
    places: tuple[str, ...]
    room: int

    def check(self, data: bytes) -> None:
        """Raise MessageError if ``data``, which is not the whole of it, cannot become so."""
        refusal = self.refusal(data)
        if refusal is not None:
            raise refusal

    def refusal(self, data: bytes) -> MessageError | None:
        """Return why ``data``, which is not the whole of it, cannot become so; None: it can."""
        text = data[: self.room]
        match = self.begun.match(text)
        assert match is not None
        assert match.lastindex is not None
        place = self.places[match.lastindex - 1]
        if match.end() < len(text):
            return MessageError(f"0x{text[match.end()]:02x} {place}")
        if len(text) == self.room:
            return MessageError(f"more than {self.room} bytes, still {place}")
        return None


def beginning(*parts: bytes) -> bytes:
    """Return an expression that matches as much of ``parts``, in their order, as there is."""
    nested = b""
    for part in reversed(parts):
        nested = b"(?:" + part + nested + b")?+"
    return nested


TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
# A name of more letters, or a field more, and HAProxy refuses the head.
_NAME = TOKEN + b"{1,255}+"
_FIELD = _NAME + b":" + VALUE + rb"\r\n"
_FIELDS = b"(?:" + _FIELD + rb"){0,100}+\r\n"
_VERSION = (b"H", b"T", b"T", b"P", b"/", b"[1-9]", rb"\.", rb"\d")
_TARGET = rb"[\x21\x22\x24-\x7e]++"


def _fields_beginning() -> bytes:
    """Return what ``_FIELDS`` may begin with, with a mark for each of ``_FIELDS_PLACES``."""
    end = beginning(b"()", rb"\n()")
    field = beginning(_NAME, b":()", VALUE, rb"\r()", rb"\n")
    hundred = b"(?:" + _FIELD + rb"){100}+()" + beginning(rb"\r", end)
    fewer = b"(?:" + _FIELD + rb"){0,99}+()(?:\r" + end + b"|" + field + b")"
    return b"(?:" + hundred + b"|" + fewer + b")"


_FIELDS_BEGINNING = _fields_beginning()
_FIELDS_PLACES = (
    *("behind a hundred fields", "behind CR", "behind the end"),
    *("in the name of a field", "behind CR", "behind the end"),
    *("in the value of a field", "behind CR"),
)

FIELDS = Form(re.compile(_FIELDS), re.compile(_FIELDS_BEGINNING), _FIELDS_PLACES, MAX_HEAD)

REQUEST = Form(
    re.compile(b"(" + TOKEN + b"++) (" + _TARGET + rb") HTTP/([1-9]\.\d)\r\n"),
    re.compile(
        # Empty lines before it are for clients that end a body with one: RFC 9112, 2.2.
        rb"(?:\r\n)*+(?:\r\Z)?+"
        + beginning(
            *(b"()", TOKEN + b"++", b" ()", _TARGET, b" ()"),
            *(*_VERSION, rb"\r()", rb"\n", _FIELDS_BEGINNING),
        )
    ),
    ("in the method", "in the target", "in the version", "behind CR", *_FIELDS_PLACES),
    MAX_HEAD,
)

RESPONSE = Form(
    re.compile(rb"HTTP/([1-9]\.\d) ([1-9]\d\d)(?: " + VALUE + rb")?+\r\n" + _FIELDS),
    re.compile(
        beginning(
            *(b"()", *_VERSION, b" ()", b"[1-9]", rb"\d", rb"\d()", b"(?: " + VALUE + b")?+"),
            *(rb"\r()", rb"\n", _FIELDS_BEGINNING),
        )
    ),
    ("in the version", "in the status", "in the reason", "behind CR", *_FIELDS_PLACES),
    MAX_HEAD,
)


def _usual_response() -> bytes:
    """Return what most responses look like: they match ``RESPONSE.whole`` as well.

    The fields on which the connection depends have their usual spelling here, and none stands
    there twice, nor a length with a coding. So one expression reads all of them.
    """
    line = rb"HTTP/(1\.[01]) ([1-9]\d\d)(?: " + VALUE + rb")?+\r\n"
    # Most names differ from all of the special ones in their first letter.
    plain = rb"[!#$%&'*+\-.^_`|~0-9ABD-GI-SV-Zabd-gi-sv-z]" + TOKEN + b"{0,254}+:" + VALUE
    special = b"(?i:connection|content-length|host|transfer-encoding|upgrade):"
    other = b"(?!" + special + b")" + _NAME + b":" + VALUE
    length = rb"(?(3)(?!))(?(4)(?!))[Cc]ontent-[Ll]ength: (\d{1,18}+)"
    coding = rb"(?(3)(?!))(?(4)(?!))[Tt]ransfer-[Ee]ncoding: (chunked)"
    connection = rb"(?(5)(?!))[Cc]onnection:(" + VALUE + b")"
    field = b"(?:" + b"|".join((plain, length, coding, connection, other)) + b")"
    return line + b"(?:" + field + rb"\r\n){0,100}+\r\n"


USUAL_RESPONSE = re.compile(_usual_response())
"""Groups: version, status, length, coding, connection."""
