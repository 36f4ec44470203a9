"""Messages as a log target gets them: what stands before a line, and how long it may be. No I/O.

    format    a message
    rfc3164   <134>Feb  6 12:14:14 host haproxy[4711]: the line
    rfc5424   <134>1 2026-02-06T12:14:14.655000+01:00 host haproxy 4711 - - the line
    short     <6>the line
    raw       the line

The number is facility * 8 + severity; the severity alone where there is no facility. Without a name
of the machine RFC 3164 has none, and RFC 5424 a dash.

Whatever a line has in it, a message is one line of printable ASCII: a client cannot begin another
one, nor upset the terminal of who reads it.

Sources: RFC 3164, 4; RFC 5424, 6; the HAProxy 2.6 manual, ``log`` in section 3.1; where it leaves
something open, as observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import re
from datetime import datetime

from dsbalance.log_options import LogFormat, LogTarget, Severity

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


class Envelope:
    """The form in which one target gets the messages of one section.

    Args:
        target: Which form, and which messages.
        tag: What stands for the program's name.
        host: What stands for the machine's; None: nothing.
        pid: The number of the process.
        end: What ends a message, behind what the target's length is the limit of.
    """

    __slots__ = ("_end", "_format", "_length", "_marks", "_second", "_sender", "_stamp", "_zone")

    def __init__(
        self, target: LogTarget, *, tag: str, host: str | None, pid: int, end: bytes = b"\n"
    ) -> None:
        self._format = target.format
        self._length = target.length
        self._end = end
        # By severity; None: its target does not want to know.
        self._marks = [
            _mark(target, severity) if severity <= target.level else None for severity in Severity
        ]
        if self._format is LogFormat.RFC5424:
            self._sender = f"{host or '-'} {tag} {pid} - - "
        else:
            self._sender = f"{'' if host is None else host + ' '}{tag}[{pid}]: "
        # The date is made once a second: it is half of the cost of a message.
        self._second = -1
        self._stamp = self._zone = ""

    def seal(self, severity: Severity, line: str, now: float) -> bytes | None:
        """Return the message; None: its target does not want to know.

        Args:
            severity: How grave it is.
            line: What there is to say; whatever is in it.
            now: Seconds since 1970.
        """
        mark = self._marks[severity]
        if mark is None:
            return None
        if self._format is LogFormat.RFC3164:
            if int(now) != self._second:
                self._look(now)
            text = f"{mark}{self._stamp}{line}"
        elif self._format is LogFormat.RFC5424:
            if int(now) != self._second:
                self._look(now)
            text = f"{mark}{self._stamp}{int(now % 1 * 1e6):06d}{self._zone}{line}"
        else:
            text = mark + line
        if not (text.isascii() and text.isprintable()):
            text = _UNPRINTABLE.sub(_numbered, text)
        return text[: self._length].encode("ascii") + self._end

    def _look(self, now: float) -> None:
        """Write down what stands before the messages of this second."""
        self._second = int(now)
        when = datetime.fromtimestamp(self._second)
        if self._format is LogFormat.RFC5424:
            date = when.astimezone().isoformat()
            self._stamp = f"1 {date[:19]}."
            self._zone = f"{date[19:]} {self._sender}"
        else:
            clock = f"{when.hour:02d}:{when.minute:02d}:{when.second:02d}"
            self._stamp = f"{_MONTHS[when.month - 1]} {when.day:2d} {clock} {self._sender}"


def _mark(target: LogTarget, severity: Severity) -> str:
    """Return what a message begins with."""
    if target.format is LogFormat.RAW:
        return ""
    facility = 0 if target.format is LogFormat.SHORT else target.facility * 8
    return f"<{facility + max(severity, target.floor)}>"


def _numbered(found: re.Match[str]) -> str:
    """Return a character as HAProxy writes those that it does not print."""
    return "".join(f"#{byte:02X}" for byte in found[0].encode("utf-8", "surrogatepass"))
