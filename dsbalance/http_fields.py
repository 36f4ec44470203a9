"""Fields of a head, as bytes: what is removed, what is added, what ``Connection`` lists. No I/O.

The connection to the client and the one to the server are kept or closed each for itself, so the
tokens ``close`` and ``keep-alive`` go no further than here. Other tokens do, but for those that
would make the next reader drop what it must have, or what was added here.

    ``connection`` of a request    the server's is kept    it is closed
    HTTP/1.1                       nothing                 close
    HTTP/1.0                       keep-alive              nothing

    ``connection`` of a response   the client's is kept    it is closed
    1.1 to a request of 1.1        nothing                 close
    1.1 to a request of 1.0        keep-alive              close
    1.0                            keep-alive              nothing

What is added is written as HAProxy writes it, in lower case.

Source: RFC 9110, 7.6.1; RFC 9112, 9.3; observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache, partial
from ipaddress import ip_address

from dsbalance.conditions import Facts, Network
from dsbalance.http1 import RequestHead
from dsbalance.http_options import (
    AddressField,
    HeaderAction,
    HeaderRule,
    HttpOptions,
    Sample,
    Template,
)

OWN = frozenset((b"close", b"keep-alive"))
"""Tokens of ``Connection`` that mean the one connection."""

NEEDED = frozenset((b"content-length", b"transfer-encoding", b"host"))
"""What ``Connection`` may not take from the next reader: the frame of a message, and its host."""

# Addresses whose fields are remembered: those that are at work at one time, mostly.
_REMEMBERED = 1024
_CONNECTION = re.compile(rb"\r\nconnection:([^\r]*+)", re.I)
# A request line whose target names the host.
_AUTHORITY = re.compile(rb"([^ ]++ [^:/? ]*+://)[^/? ]*+")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]*+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a request comes from.

    Attributes:
        source: The client's address.
        source_port: And its port.
        destination: The address that the client came to.
        destination_port: And the port.
        facts: What conditions look at.
    """

    source: str
    source_port: int
    destination: str
    destination_port: int
    facts: Facts


class Edit:
    """A :class:`HeaderRule`, made to be carried out often."""

    __slots__ = ("_is_deletion", "_line", "_lines", "_start", "_value")

    def __init__(self, rule: HeaderRule) -> None:
        self._is_deletion = rule.action is HeaderAction.DEL
        self._value = rule.value
        name = rule.name.lower().encode()
        self._start = name + b": "
        # The lines to remove.
        self._lines = None if rule.action is HeaderAction.ADD else _lines_like(name)
        # The line to add, if it is the same for everybody.
        is_fixed = not any(isinstance(part, Sample) for part in rule.value)
        self._line = self._start + "".join(rule.value).encode() + b"\r\n" if is_fixed else None

    def apply(self, raw: bytes, origin: Origin) -> bytes:
        """Return the head ``raw`` as the rule makes it."""
        if self._lines is not None:
            raw = self._lines.sub(b"", raw)
        if self._is_deletion:
            return raw
        line = self._line
        if line is None:
            line = b"%b%b\r\n" % (self._start, filled(self._value, origin))
        if self._start == b"host: " and (match := _AUTHORITY.match(raw)):
            # The target names the host, too, and the two may not differ (RFC 9112, 3.2.2).
            raw = match[1] + line[6:-2] + raw[match.end() :]
        return b"%b%b\r\n" % (raw[:-2], line)


class Addresses:
    """What ``option forwardfor`` and ``option originalto`` of two levels come to.

    Each adds one field, whatever the client has sent: under the backend's name if the backend has
    the option at all, and not for an address that either level excepts.

    Args:
        frontend: What is configured there.
        backend: What is configured there.

    Attributes:
        names: Of the fields, in lower case.
    """

    __slots__ = ("_tell", "_unless", "names")

    def __init__(self, frontend: HttpOptions, backend: HttpOptions) -> None:
        forwardfor = _merged(frontend.forwardfor, backend.forwardfor, "X-Forwarded-For")
        originalto = _merged(frontend.originalto, backend.originalto, "X-Original-To")
        self.names = frozenset(field.name for field in (forwardfor, originalto) if field)
        is_if_none = forwardfor is not None and forwardfor.is_if_none
        self._unless = lines_of(forwardfor.name) if forwardfor and is_if_none else None
        self._tell = lru_cache(_REMEMBERED)(partial(_tell, forwardfor, originalto))

    def lines(self, raw: bytes, origin: Origin) -> bytes:
        """Return the fields to add to the head ``raw``."""
        is_told = self._unless is not None and self._unless.search(raw) is not None
        return self._tell(origin.source, origin.destination, is_told)


@dataclass(frozen=True, slots=True)
class _AddressLine:
    """One of the two options, on both levels together."""

    name: bytes
    exceptions: tuple[Network, ...]
    is_if_none: bool

    def tell(self, address: str) -> bytes:
        """Return the field that tells ``address``; empty if it is none, or an exception."""
        written = plain(address)
        if not written or any(ip_address(written) in network for network in self.exceptions):
            return b""
        return b"%b: %b\r\n" % (self.name, written.encode())


def _merged(
    frontend: AddressField | None, backend: AddressField | None, name: str
) -> _AddressLine | None:
    """Return what two levels of an option come to; ``name``: where it does not give one."""
    levels = [level for level in (backend, frontend) if level is not None]
    if not levels:
        return None
    return _AddressLine(
        (levels[0].name or name).lower().encode(),
        tuple(level.exception for level in levels if level.exception is not None),
        all(level.is_if_none for level in levels),
    )


def _tell(
    forwardfor: _AddressLine | None,
    originalto: _AddressLine | None,
    source: str,
    destination: str,
    is_told: bool,
) -> bytes:
    """Return the fields that tell addresses; ``is_told``: who the client is need not be told."""
    line = b"" if forwardfor is None or is_told else forwardfor.tell(source)
    return line if originalto is None else line + originalto.tell(destination)


def lines_of(name: bytes) -> re.Pattern[bytes]:
    """Return what finds the fields of a name, each with the line end before it, and its value."""
    return re.compile(rb"\r\n" + re.escape(name) + rb":([^\r]*+)", re.I)


def _lines_like(name: bytes) -> re.Pattern[bytes]:
    """Return what finds the fields that some readers take for those of ``name``.

    CGI and WSGI know no dash, so behind them ``X_Real_IP`` is ``X-Real-IP``: one that a client had
    set would outlive a rule that sets or deletes the other.
    """
    return re.compile(rb"\r\n" + re.escape(name).replace(rb"\-", b"[-_]") + rb":[^\r]*+", re.I)


def sifted(raw: bytes, tokens: frozenset[bytes], dropped: frozenset[bytes]) -> bytes:
    """Return a head whose ``Connection`` lists ``tokens`` without those that are ``dropped``."""
    if tokens <= dropped:
        return _CONNECTION.sub(b"", raw)
    if tokens.isdisjoint(dropped):
        return raw

    def sift(line: re.Match[bytes]) -> bytes:
        listed = (token.strip(b" \t") for token in line[1].split(b","))
        kept = [token for token in listed if token and token.lower() not in dropped]
        return b"\r\nconnection: " + b", ".join(kept) if kept else b""

    return _CONNECTION.sub(sift, raw)


def response_line(
    request: RequestHead | None, *, keeps_client: bool, is_http10: bool = False
) -> bytes:
    """Return the ``connection`` field of a response; empty if it needs none.

    Args:
        request: What is answered; None: no whole head has come.
        keeps_client: Whether the client's connection stays open.
        is_http10: Whether the response says HTTP/1.0.
    """
    if not keeps_client:
        return b"" if is_http10 else b"connection: close\r\n"
    if is_http10 or (request is not None and request.is_http10):
        return b"connection: keep-alive\r\n"
    return b""


def filled(template: Template, origin: Origin) -> bytes:
    """Return what ``template`` says of ``origin``."""
    parts = (_sampled(part, origin) if isinstance(part, Sample) else part for part in template)
    return "".join(parts).encode()


def plain(address: str) -> str:
    """Return an address as it may stand in a head, without its scope; empty if it is none."""
    written = address.partition("%")[0]
    return written if _ADDRESS.fullmatch(written) else ""


def _sampled(sample: Sample, origin: Origin) -> str:
    match sample:
        case Sample.SRC:
            return plain(origin.source)
        case Sample.SRC_PORT:
            return str(origin.source_port)
        case Sample.DST:
            return plain(origin.destination)
        case _:
            return str(origin.destination_port)
