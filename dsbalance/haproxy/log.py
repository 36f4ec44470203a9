"""Log lines as HAProxy writes them, so that the programs which read those read ours. No I/O.

    of                       ``option tcplog``                        ``option httplog``
    client, date, frontend   10.0.0.7:5160 [06/Feb/2026:12:14:14.655] in
    backend/server, times    back/a 0/30/109                          back/a 10/0/30/69/109
    status, bytes, cookies   2750                                     200 2750 - -
    ending, sessions, queues -- 1/1/1/1/0 0/0                         ---- 1/1/1/1/0 0/0
    reason, which is ours    sticky                                   {|sticky}
    request                                                           "GET / HTTP/1.1"

Why a client went where it went stands behind the last field of HAProxy's. In ``httplog`` it stands
where HAProxy has captured headers, before the request: programs that read its log hold what comes
behind the quotes for a mistake. It is the second header, as some take the first for an address.

Sources: the HAProxy 2.6 manual, 8.2.1 (the default), 8.2.2, 8.2.3, 8.5 (the letters) and
``option dontlog-normal``; what those leave open was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import NamedTuple

from dsbalance.log_options import FrontendLog, LineFormat, Severity
from dsbalance.relay import Ending, Phase

# What a line may not have as it is: HAProxy writes it as # and two digits.
_UNPRINTABLE = re.compile(rb"[^\x20\x21\x24-\x7e]")
# HAProxy cuts the request there, so that a line fits into a syslog message.
_MAX_REQUEST = 1024
# Endings that come from outside and hit a session in any phase.
_STRUCK = (Ending.KILLED, Ending.SERVER_DOWN, Ending.SERVER_UP)
_PHASES = {Phase.QUEUED: "Q", Phase.CONNECTING: "C", Phase.PAUSED: "C"}
# As HAProxy has them, whatever the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Record(NamedTuple):
    """A session or a request that has ended.

    Attributes:
        client: Address and port that it came from.
        began: When it was accepted, or the request's first byte came, in local time.
        frontend: Where it came in.
        backend: Where it went.
        server: Who got it; None: nobody.
        times: In whole milliseconds: receiving its head, waiting in queues, connecting, waiting for
            the response's head, all of it; -1: it did not come to that.
        sent: Bytes that went to the client.
        ending: Two letters; see :func:`letters`.
        sessions: How many there are: process, frontend, backend, server. Itself counts for the
            first two.
        status: Of the response; None: there was none.
        retries: Attempts to connect that followed a failed one.
        is_redispatched: Whether the last one went to another server.
        queues: Its place in the queues of its server and of its backend, from 1; 0: it did not
            wait there.
        request: The request line.
        is_null: Whether nothing came from the client.
        reason: Why it went where it went; ``-``: nowhere.
    """

    client: tuple[str, int]
    began: datetime
    frontend: str
    backend: str
    server: str | None
    times: tuple[int, int, int, int, int]
    sent: int
    ending: str
    sessions: tuple[int, int, int, int]
    status: int | None = None
    retries: int = 0
    is_redispatched: bool = False
    queues: tuple[int, int] = (0, 0)
    request: bytes = b""
    is_null: bool = False
    reason: str = "-"

    @property
    def is_normal(self) -> bool:
        """Whether it went well, for ``option dontlog-normal`` and ``log-separate-errors``."""
        return (
            self.ending[0] in "-L"
            and not self.retries
            and not self.is_redispatched
            and (self.status is None or self.status < 500)
        )


def severity(record: Record, options: FrontendLog) -> Severity | None:
    """Return how grave a record is for its frontend; None: it does not want to know."""
    if options.skips_null and record.is_null:
        return None
    if record.is_normal:
        return None if options.skips_normal else Severity.INFO
    return Severity.ERR if options.raises_errors else Severity.INFO


def letters(
    ending: Ending, phase: Phase | None, *, is_http: bool = False, has_head: bool = False
) -> str:
    """Return HAProxy's two letters for an ending.

    Args:
        ending: What it came to.
        phase: Where it was on its way; None: it had not asked for one.
        is_http: Whether it was a request.
        has_head: Whether the response's head had come.
    """
    if ending not in _STRUCK:
        return ending.value
    if phase is None:
        return ending[0] + "R"
    if phase in _PHASES:
        return ending[0] + _PHASES[phase]
    if not is_http:
        return ending[0] + "-"
    return ending[0] + ("D" if has_head else "H")


def line(record: Record, style: LineFormat) -> str:
    """Return the line of ``option tcplog`` or ``option httplog``, without what syslog puts first.

    The default line is that of :func:`connect_line`; who asks for it here gets ``tcplog``.
    """
    host, port = record.client
    began = record.began
    is_http = style is LineFormat.HTTPLOG
    if is_http:
        times = "/".join(map(str, record.times))
        status = f" {-1 if record.status is None else record.status}"
        ending = f"- - {record.ending}--"
        rest = f'{{|{record.reason}}} "{quoted_request(record.request)}"'
    else:
        _, waiting, connecting, _, total = record.times
        times = f"{waiting}/{connecting}/{total}"
        status = ""
        ending = record.ending
        rest = record.reason
    active, of_frontend, of_backend, of_server = record.sessions
    return (
        f"{host}:{port} [{began.day:02d}/{_MONTHS[began.month - 1]}/{began.year}"
        f":{began.hour:02d}:{began.minute:02d}:{began.second:02d}.{began.microsecond // 1000:03d}]"
        f" {record.frontend}"
        f" {record.backend}/{'<NOSRV>' if record.server is None else record.server}"
        f" {times}{status} {record.sent} {ending}"
        f" {active}/{of_frontend}/{of_backend}/{of_server}"
        f"/{'+' if record.is_redispatched else ''}{record.retries}"
        f" {record.queues[0]}/{record.queues[1]} {rest}"
    )


def connect_line(
    client: tuple[str, int], door: tuple[str, int], frontend: str, *, is_http: bool
) -> str:
    """Return what HAProxy says of a session whose frontend has no option for its log."""
    mode = "HTTP" if is_http else "TCP"
    return f"Connect from {client[0]}:{client[1]} to {door[0]}:{door[1]} ({frontend}/{mode})"


def quoted_request(request: bytes) -> str:
    """Return a request line as it may stand between quotes; ``<BADREQ>`` for none."""
    if not request:
        return "<BADREQ>"
    cut = request[:_MAX_REQUEST]
    return _UNPRINTABLE.sub(lambda found: b"#%02X" % found[0][0], cut).decode("ascii")
