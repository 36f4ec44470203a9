"""Chunked bodies of HTTP/1.1 messages on their way from one connection to another. No I/O.

What goes on is framed anew: a size line is passed if it is the plainest of its kind, and written
again otherwise, without extensions. So no other parser sees in it what was not seen here.

    due       what it is                             then
    SIZE      hexadecimal digits, extensions, CR LF  the data; TRAILERS if there is none
    DATA_END  CR LF behind the data                  SIZE
    TRAILERS  fields, and an empty line              the end

Source: RFC 9112, 7.1; what HAProxy 2.6.12 was seen to take and refuse.
"""

from __future__ import annotations

import re
from collections.abc import Container

from dsbalance.http1 import edit
from dsbalance.http1_grammar import FIELDS, VALUE, Form, MessageError, beginning

MAX_CHUNK = 2**52 - 1
"""Bytes of a chunk, as HAProxy has it."""

# A trailer that changes what the head said of the message, or of the connection: RFC 9110, 6.5.1.
_FORBIDDEN = re.compile(
    rb"(?:\A|\n)(?:connection|content-length|host|keep-alive|proxy-connection|te|trailer"
    rb"|transfer-encoding|upgrade):",
    re.I,
)

_SIZE = Form(
    re.compile(rb"([0-9A-Fa-f]{1,16}+)(?:[ \t]*+;" + VALUE + rb")?+\r\n"),
    re.compile(
        rb"()(?:[0-9A-Fa-f]{1,16}+(?:\r()"
        + beginning(rb"\n")
        + b"|"
        + beginning(rb"[ \t]*+()", b";", VALUE, rb"\r()", rb"\n")
        + b"))?+"
    ),
    ("in the size of a chunk", "behind CR", "behind the size of a chunk", "behind CR"),
    # Nobody is known to send extensions, let alone long ones.
    1024,
)
_DATA_END = Form(
    re.compile(rb"\r\n"), re.compile(b"()" + beginning(rb"\r", rb"\n")), ("behind a chunk",), 2
)
_TRAILERS = FIELDS

_PLAIN_SIZE = re.compile(rb"[1-9A-Fa-f][0-9A-Fa-f]*+\r\n")
# What stands behind a chunk as a rule: another one's size, or the end.
_USUAL_GAP = re.compile(rb"\r\n(?:([1-9A-Fa-f][0-9A-Fa-f]{0,9}+)|0\r\n)\r\n")


class Chunked:
    """A chunked body on its way.

    Args:
        drop: Names, in lower case, of trailers that do not go on.

    Attributes:
        blind: Bytes of the present chunk's data still to come. They need not be looked at: who
            passes some of them on by itself tells :meth:`skip`.
        is_complete: Whether the body has ended.
    """

    __slots__ = ("_drop", "_due", "_held", "blind", "is_complete")

    def __init__(self, drop: Container[bytes] = ()) -> None:
        self.blind = 0
        self.is_complete = False
        self._drop = drop
        self._due = _SIZE
        self._held = b""  # what is due, as far as it came

    def feed(self, data: bytes | memoryview) -> tuple[int, list[bytes | memoryview]]:
        """Take in what came, and return what goes on.

        Returns:
            The number of bytes taken, which is all of them if the body does not end before; and
            what to send in their place, in its order. Parts of it may be parts of ``data``.

        Raises:
            MessageError: It is refused. What was returned before was good.
        """
        pieces: list[bytes | memoryview] = []
        at = same = 0  # what lies between goes on as it is
        end = len(data)
        while at < end and not self.is_complete:
            if self.blind:
                step = min(self.blind, end - at)
                self.skip(step)
                at += step
                gap = None if self.blind else _USUAL_GAP.match(data, at)
                if gap is not None:
                    self.blind = int(gap[1] or b"0", 16)
                    self.is_complete = not self.blind
                    at = gap.end()
                continue
            held = len(self._held)
            match = self._match(data, at)
            came = match[0] if match else b""
            goes = self._follow(match) if match else b""
            after = at + len(came) - held if match else end
            if held or goes != came or not match:
                if at > same:
                    pieces.append(data[same:at])
                if goes:
                    pieces.append(goes)
                same = after
            at = after
        if at > same:
            pieces.append(data[same:at])
        return at, pieces

    def skip(self, count: int) -> None:
        """Take in that ``count`` bytes of data, ``blind`` at the most, went by unseen."""
        self.blind -= count

    def _match(self, data: bytes | memoryview, at: int) -> re.Match[bytes] | None:
        """Return what is due if it ends in ``data``, from ``at`` on; otherwise hold it.

        Raises:
            MessageError: It cannot be what is due.
        """
        due = self._due
        if not self._held:
            match = due.whole.match(data, at, at + due.room)
            if match is not None:
                return match
        text = self._held + data[at : at + due.room - len(self._held)]
        match = due.whole.match(text)
        if match is not None:
            self._held = b""
            return match
        due.check(text)
        self._held = text
        return None

    def _follow(self, match: re.Match[bytes]) -> bytes:
        """Go on to what is due behind what ``match`` found; return what is sent in its place.

        Raises:
            MessageError: It is refused for what it says.
        """
        came = match[0]
        if self._due is _DATA_END:
            self._due = _SIZE
            return came
        if self._due is _TRAILERS:
            if _FORBIDDEN.search(came):
                raise MessageError("a trailer that belongs into the head")
            self.is_complete = True
            # A head without its first line.
            kept = edit(b"\r\n" + came, drop=self._drop)[2:] if self._drop else came
            return b"0\r\n" + kept
        size = int(match[1], 16)
        if size > MAX_CHUNK:
            raise MessageError("a chunk is too great")
        self.blind = size
        self._due = _DATA_END if size else _TRAILERS
        if not size:
            # It goes on with the trailers: a body that breaks off here must not look complete.
            return b""
        return came if _PLAIN_SIZE.fullmatch(came) else b"%x\r\n" % size
