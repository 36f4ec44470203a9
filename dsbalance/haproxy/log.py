"""Log lines as HAProxy writes them, so that the programs which read those read ours. No I/O.

    client, date, frontend    10.0.0.7:5160 [06/Feb/2026:12:14:14.655] in
    backend/server, times     back/a 10/0/30/69/109
    status, bytes, cookies    200 2750 - -
    ending, sessions, queues  ---- 1/1/1/1/0 0/0
    request                   "GET / HTTP/1.1"

Source: HAProxy 2.6 configuration manual, 8.2.3 (``option httplog``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

# What a line may not have as it is: HAProxy writes it as # and two digits.
_UNPRINTABLE = re.compile(rb"[^\x20\x21\x24-\x7e]")
# HAProxy cuts the request there, so that a line fits into a syslog message.
_MAX_REQUEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRecord:
    """One request, as ``option httplog`` tells of it.

    Attributes:
        client: Address and port that it came from.
        began: When its first byte came, in local time.
        frontend: Where it came in.
        backend: Where it went.
        server: Who got it; None: nobody.
        times: In whole milliseconds: receiving its head, waiting in queues, connecting, waiting for
            the response's head, all of it; -1: it did not come to that.
        status: Of the response; None: there was none.
        sent: Bytes that went to the client.
        ending: Two letters, as :class:`dsbalance.relay.Ending` has them.
        sessions: How many there are: process, frontend, backend, server.
        tries: Attempts to connect that failed.
        is_redispatched: Whether the last one went to another server.
        queues: How many are ahead of it: for its server, for the backend.
        request: The request line.
    """

    client: tuple[str, int]
    began: datetime
    frontend: str
    backend: str
    server: str | None
    times: tuple[int, int, int, int, int]
    status: int | None
    sent: int
    ending: str
    sessions: tuple[int, int, int, int]
    tries: int = 0
    is_redispatched: bool = False
    queues: tuple[int, int] = (0, 0)
    request: bytes = b""


def http_line(record: HttpRecord) -> str:
    """Return the line of ``option httplog``, without what syslog puts before it."""
    host, port = record.client
    date = record.began.strftime("%d/%b/%Y:%H:%M:%S") + f".{record.began.microsecond // 1000:03d}"
    retries = f"+{record.tries}" if record.is_redispatched else str(record.tries)
    return (
        f"{host}:{port} [{date}] {record.frontend}"
        f" {record.backend}/{record.server if record.server is not None else '<NOSRV>'}"
        f" {'/'.join(map(str, record.times))}"
        f" {-1 if record.status is None else record.status} {record.sent} - - {record.ending}--"
        f" {'/'.join(map(str, record.sessions))}/{retries}"
        f" {record.queues[0]}/{record.queues[1]}"
        f' "{quoted_request(record.request)}"'
    )


def quoted_request(line: bytes) -> str:
    """Return a request line as it may stand between quotes; ``<BADREQ>`` for none."""
    if not line:
        return "<BADREQ>"
    cut = line[:_MAX_REQUEST]
    return _UNPRINTABLE.sub(lambda found: b"#%02X" % found[0][0], cut).decode("ascii")
