"""What is logged and where to, as frozen values. No I/O.

Each value is validated where it is made, and raises :class:`ConfigError`.

Source: HAProxy 2.6 configuration manual, 3.1 (``log``) and 4.2 (``log``, ``option tcplog`` and the
others); RFC 3164, RFC 5424.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from dsbalance.errors import ConfigError
from dsbalance.stats_options import socket_path
from dsbalance.validation import choose, demand, text_line, whole

STREAMS = ("stdout", "stderr")
MIN_LENGTH = 80
MAX_LENGTH = 65535

_ADDRESS = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>[0-9]{1,5})")
_MAX_PORT = 65535


class Facility(enum.IntEnum):
    """RFC 5424, table 1, in the words of ``log``."""

    KERN, USER, MAIL, DAEMON, AUTH, SYSLOG, LPR, NEWS = range(8)
    UUCP, CRON, AUTH2, FTP, NTP, AUDIT, ALERT, CRON2 = range(8, 16)
    LOCAL0, LOCAL1, LOCAL2, LOCAL3, LOCAL4, LOCAL5, LOCAL6, LOCAL7 = range(16, 24)


class Severity(enum.IntEnum):
    """RFC 5424, table 2, in the words of ``log``; the lower, the worse."""

    EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)


class LogFormat(enum.StrEnum):
    """How a message is written: the word behind ``format``."""

    RFC3164 = "rfc3164"
    RFC5424 = "rfc5424"
    SHORT = "short"
    RAW = "raw"


class LineFormat(enum.StrEnum):
    """What is said of a session or a request; CONNECT is what HAProxy says without an option."""

    CONNECT = "connect"
    TCPLOG = "tcplog"
    HTTPLOG = "httplog"


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTarget:
    """One ``log`` line: where messages go, and which.

    Attributes:
        address: ``host:port`` (UDP; an IPv6 address is in brackets), an absolute path (a Unix
            datagram socket), ``stdout`` or ``stderr``.
        facility: Who says it.
        level: Messages that are less grave are left out.
        floor: Graver ones than this are sent as if they were this grave (HAProxy's ``minlevel``).
        format: How a message is written.
        length: Longer ones are cut, in bytes; 80 to 65535.
    """

    address: str
    facility: Facility = Facility.LOCAL0
    level: Severity = Severity.DEBUG
    floor: Severity = Severity.EMERG
    format: LogFormat = LogFormat.RFC3164
    length: int = 1024

    def __post_init__(self) -> None:
        choose(self, "format", LogFormat)
        for word, kind in (("facility", Facility), ("level", Severity), ("floor", Severity)):
            if not isinstance(getattr(self, word), kind):
                names = ", ".join(member.name.lower() for member in kind)
                message = f"{word} must be one of {names}, not {getattr(self, word)!r}"
                raise ConfigError(message)
        demand(
            _address(self.address),
            whole("length", self.length, MIN_LENGTH, MAX_LENGTH),
            subject="log",
            name=self.address,
        )


def _address(address: str) -> str | None:
    if address in STREAMS:
        return None
    if address.startswith("/"):
        return socket_path(address)
    match = _ADDRESS.fullmatch(address)
    if match and 0 < int(match["port"]) <= _MAX_PORT:
        return None
    return "expects ADDRESS:PORT, an absolute path, stdout or stderr"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendLog:
    """What a frontend logs of its sessions or requests.

    Attributes:
        targets: Where to; none: nothing is logged.
        line: How.
        skips_null: Whether nothing is said of connections without a byte (``option dontlognull``).
        skips_normal: Whether nothing is said of what went well (``option dontlog-normal``).
        raises_errors: Whether what went wrong is logged at ``err`` instead of ``info``
            (``option log-separate-errors``).
        tag: What stands for the program's name (``log-tag``); None: as for the whole process.
    """

    targets: tuple[LogTarget, ...] = ()
    line: LineFormat = LineFormat.CONNECT
    skips_null: bool = False
    skips_normal: bool = False
    raises_errors: bool = False
    tag: str | None = None

    def __post_init__(self) -> None:
        choose(self, "line", LineFormat)
        demand(text_line("the tag", self.tag))


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendLog:
    """What is logged of a backend's servers.

    Attributes:
        targets: Where to; none: nothing is logged there.
        tells_checks: Whether checks are told of when their outcome changes
            (``option log-health-checks``).
        tag: As of :class:`FrontendLog`.
    """

    targets: tuple[LogTarget, ...] = ()
    tells_checks: bool = False
    tag: str | None = None

    def __post_init__(self) -> None:
        demand(text_line("the tag", self.tag))
