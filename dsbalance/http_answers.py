"""What we say instead of a server: error pages, redirects, ``monitor-uri``. No I/O.

    fields, in their order                                                when
    Content-length, Cache-Control, Connection: close, Content-Type        no request was understood
    content-length, cache-control, content-type, perhaps connection       one was
    content-length, location, cache-control, perhaps connection           it goes elsewhere

A page of the operator's own (``errorfile``) takes the place of ours with its own fields. It is a
part of an open file, which the kernel sends.

Source: observed on HAProxy 2.6.12, whose statuses, reasons and fields these are. The sentences on
the pages are our own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from dsbalance.errors import ConfigError
from dsbalance.http1 import Framing, MessageError, RequestHead, ResponseHead
from dsbalance.http_fields import OWN, response_line, sifted

_PAGES = {
    200: (b"OK", b"Ready to serve."),
    400: (b"Bad request", b"This request is not valid HTTP, or not plain enough to be passed on."),
    401: (b"Unauthorized", b"A user name and a password are needed here."),
    403: (b"Forbidden", b"A rule of this proxy forbids the request."),
    404: (b"Not Found", b"There is nothing at this address."),
    405: (b"Method Not Allowed", b"This method is not allowed here."),
    407: (b"Unauthorized", b"A user name and a password are needed by this proxy."),
    408: (b"Request Time-out", b"The request did not arrive completely in the time allowed."),
    410: (b"Gone", b"What was at this address has been removed for good."),
    413: (b"Payload Too Large", b"The request carries more than is allowed."),
    421: (b"Misdirected Request", b"This is not the server for that host."),
    422: (b"Unprocessable Content", b"The request was understood, but cannot be carried out."),
    425: (b"Too Early", b"The request came before the connection was secured."),
    429: (b"Too Many Requests", b"There were too many requests lately; wait before the next."),
    500: (b"Internal Server Error", b"Something went wrong inside this proxy."),
    501: (b"Not Implemented", b"What the request asks for is not supported."),
    502: (b"Bad Gateway", b"The server broke off, or its response was not valid."),
    503: (b"Service Unavailable", b"None of the servers can take the request at the moment."),
    504: (b"Gateway Time-out", b"The server did not respond in the time allowed."),
}
_REDIRECTIONS = {
    301: b"Moved Permanently",
    302: b"Found",
    303: b"See Other",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
}
# These may be remembered by a client, and the others must not.
_PERMANENT = (301, 308)
# Behind these a client has to start anew: its request was not understood, or did not end.
_CLOSING = (400, 408)

_BLANK = re.compile(rb"\n\r?\n")
_LINE_END = re.compile(rb"\r?\n")


class FilePart(NamedTuple):
    """A part of an open file, to be sent."""

    fd: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a client gets from us.

    Attributes:
        status: Of it, as the log says it.
        head: Status line and fields, each with its line end; without ``connection``, which depends
            on whom it is for. Empty: nothing is sent.
        body: What is behind the head.
        file: Where that is, if it is in a file.
        early: The whole answer to one who has sent no whole head; None: ``head`` and the rest.
        is_http10: Whether it says HTTP/1.0.
        closes: Whether the client's connection ends with it, whatever the client wants.
        is_behind: Whether a rule of the backend says so, not one of the frontend.
        is_denial: Whether a rule denies what was asked for, with whatever status.
    """

    status: int
    head: bytes
    body: bytes = b""
    file: FilePart | None = None
    early: bytes | None = None
    is_http10: bool = False
    closes: bool = False
    is_behind: bool = False
    is_denial: bool = False

    def render(self, request: RequestHead | None, *, keeps_client: bool) -> bytes:
        """Return the answer, but for the :meth:`part` of a file.

        Args:
            request: What is answered; None: no whole head has come.
            keeps_client: Whether the client's connection stays open, as far as it wants that.
        """
        if request is None and self.early is not None:
            return self.early
        if not self.head:
            return b""
        keeps = keeps_client and not self.closes
        line = response_line(request, keeps_client=keeps, is_http10=self.is_http10)
        return b"%b%b\r\n%b" % (self.head, line, b"" if _is_head(request) else self.body)

    def part(self, request: RequestHead | None) -> FilePart | None:
        """Return what of a file is sent behind what :meth:`render` returns."""
        return None if _is_head(request) else self.file


def error(status: int) -> Answer:
    """Return our own page with this status, one of those that ``deny_status`` may have."""
    return _ANSWERS[status]


def redirection(status: int, location: bytes, *, closes: bool) -> Answer:
    """Return an answer that sends the client to ``location``."""
    control = b"" if status in _PERMANENT else b"cache-control: no-cache\r\n"
    head = b"HTTP/1.1 %d %b\r\ncontent-length: 0\r\nlocation: %b\r\n%b"
    return Answer(
        status=status,
        head=head % (status, _REDIRECTIONS[status], location, control),
        closes=closes,
    )


def read_page(status: int, content: bytes, fd: int) -> Answer:
    """Return the answer that an ``errorfile`` makes.

    Its lines may end with LF alone. Of an empty file nothing is sent, and the connection is closed:
    that is how operators silence a page.

    Args:
        status: What it stands for; its own status line may say another one.
        content: The whole file.
        fd: The file, which stays open as long as the answer is used.

    Raises:
        ConfigError: It is no response, or not a whole one.
    """
    if not content:
        return Answer(status=status, head=b"", closes=True)
    blank = _BLANK.search(content)
    if blank is None:
        raise ConfigError("it has no empty line behind the head of a response")
    try:
        head = ResponseHead(_LINE_END.sub(b"\r\n", content[: blank.end()]), b"GET")
    except MessageError as refusal:
        raise ConfigError(f"it does not begin as a response: {refusal}") from None
    if not head.is_final or head.framing in (Framing.TUNNEL, Framing.CHUNKED):
        raise ConfigError("it is chunked, or something comes behind it")
    length = len(content) - blank.end()
    if head.framing is not Framing.CLOSE and head.length != length:
        raise ConfigError(f"its body has {length} bytes, not {head.length} as its head says")
    return Answer(
        status=status,
        head=sifted(head.raw, head.connection, OWN)[:-2],
        file=FilePart(fd, blank.end(), length),
        is_http10=head.is_http10,
        closes=head.framing is Framing.CLOSE or b"close" in head.connection,
    )


def _is_head(request: RequestHead | None) -> bool:
    return request is not None and request.method == b"HEAD"


def _made(status: int, reason: bytes, sentence: bytes) -> Answer:
    """Return our own page, with its two forms."""
    body = b"<html><body><h1>%d %b</h1>\n%b\n</body></html>\n" % (status, reason, sentence)
    start = b"HTTP/1.1 %d %b\r\n" % (status, reason)
    late = b"content-length: %d\r\ncache-control: no-cache\r\ncontent-type: text/html\r\n"
    early = (
        b"Content-length: %d\r\nCache-Control: no-cache\r\n"
        b"Connection: close\r\nContent-Type: text/html\r\n\r\n"
    )
    return Answer(
        status=status,
        head=start + late % len(body),
        body=body,
        early=start + early % len(body) + body,
        closes=status in _CLOSING,
    )


_ANSWERS = {status: _made(status, *page) for status, page in _PAGES.items()}
