"""What a head looks like on the other side, and which requests get no further. No I/O.

    request    ``monitor-uri``; the frontend's rules, then the backend's, each in their order;
               X-Forwarded-For and X-Original-To, always behind what the client sent; ``connection``
    response   the backend's rules, then the frontend's; ``connection``

A head that needs no change is passed on as the bytes that came. An interim response (1xx) is no
matter of rules.

Source: HAProxy 2.6 configuration manual, 4.2; the order was observed on HAProxy 2.6.12.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from dsbalance.conditions import Condition
from dsbalance.http1 import Framing, RequestHead, ResponseHead
from dsbalance.http_answers import Answer, error, redirection
from dsbalance.http_fields import (
    NEEDED,
    OWN,
    Addresses,
    Edit,
    Origin,
    filled,
    lines_of,
    plain,
    response_line,
    sifted,
)
from dsbalance.http_options import (
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    RequestRule,
)

_CLOSING = (HttpConnection.CLOSE, HttpConnection.SERVER_CLOSE)
# A target with scheme and host, and the path.
_ABSOLUTE = re.compile(rb"[^:/?]*+://([^/?]*+)(.*+)")
_HOST = lines_of(b"host")

# When; and what: a field is edited, or the client gets an answer or the way to another place.
_Step = tuple[Condition | None, Edit | Answer | Redirect]
_Files = Mapping[tuple[int, str], Answer]


class Rewriting:
    """What a frontend with a backend makes of heads.

    Args:
        frontend: What is configured there.
        backend: What is configured there; it has the last word where only one may speak.
        files: What ``error_files`` hold, by status and path; what is not among them is not used.

    Attributes:
        is_client_kept: Whether the client may use its connection for another request.
        is_server_kept: Whether we may do so with the server's.
        is_silent: Whether a response goes on as it came where neither side speaks of its
            connection.
        added: Names, in lower case, of the fields that servers get from us: a client may not say
            them behind our back, in a trailer.
    """

    __slots__ = (
        "_addresses",
        "_connection",
        "_dropped",
        "_monitor_page",
        "_monitored",
        "_of_request",
        "_of_response",
        "_pages",
        "added",
        "is_client_kept",
        "is_server_kept",
        "is_silent",
    )

    def __init__(
        self,
        frontend: HttpOptions,
        backend: HttpOptions,
        files: _Files | None = None,
    ) -> None:
        self.is_client_kept = frontend.connection is not HttpConnection.CLOSE
        self.is_server_kept = not {frontend.connection, backend.connection} & {*_CLOSING}
        # Of a request that says HTTP/1.1, and of one that says HTTP/1.0.
        self._connection = (
            (b"", b"connection: keep-alive\r\n")
            if self.is_server_kept
            else (b"connection: close\r\n", b"")
        )
        self._monitored = None if frontend.monitor_uri is None else frontend.monitor_uri.encode()
        near = _pages(frontend, files or {})
        self._pages = near | _pages(backend, files or {})
        self._monitor_page = near.get(200, error(200))
        levels = (
            (_steps(frontend.request_rules, near), False),
            (_steps(backend.request_rules, self._pages), True),
        )
        self._of_request = tuple(level for level in levels if level[0])
        self._of_response = _steps(backend.response_rules + frontend.response_rules, self._pages)
        self.is_silent = self.is_client_kept and self.is_server_kept and not self._of_response
        self._addresses = Addresses(frontend, backend)
        rules = frontend.request_rules + backend.request_rules
        self.added = self._addresses.names | _names(rules)
        self._dropped = OWN | NEEDED | self.added

    def request(self, head: RequestHead, origin: Origin) -> bytes | Answer:
        """Return what the server gets, or what the client gets instead."""
        monitored = self._monitored
        if monitored is not None and monitored in (head.target, _place(head.target)[1]):
            return self._monitor_page
        raw = head.raw
        tokens = head.connection
        if tokens:
            raw = sifted(raw, tokens, self._dropped)
        for steps, is_behind in self._of_request:
            made = _follow(steps, raw, head, origin)
            if isinstance(made, Answer):
                return replace(made, is_behind=True) if is_behind else made
            raw = made
        lines = b"" if b"upgrade" in tokens else self._connection[head.is_http10]
        if self._addresses.names:
            lines = self._addresses.lines(raw, origin) + lines
        return raw[:-2] + lines + b"\r\n" if lines else raw

    def response(
        self, head: ResponseHead, request: RequestHead, origin: Origin, *, keeps_client: bool
    ) -> bytes | Answer:
        """Return what the client gets of a response, or instead of it.

        Args:
            head: That of the response.
            request: What it answers.
            origin: Where that came from.
            keeps_client: Whether the client's connection stays open.
        """
        raw = head.raw
        tokens = head.connection
        if tokens:
            raw = sifted(raw, tokens, OWN | NEEDED)
        if not head.is_final:
            return raw
        if self._of_response:
            made = _follow(self._of_response, raw, request, origin)
            if isinstance(made, Answer):
                return made
            raw = made
        if head.framing is Framing.TUNNEL or b"upgrade" in tokens:
            return raw
        line = response_line(request, keeps_client=keeps_client, is_http10=head.is_http10)
        return b"%b%b\r\n" % (raw[:-2], line) if line else raw

    def error(self, status: int) -> Answer:
        """Return the answer with this status: a page of ``error_files``, or ours."""
        return self._pages.get(status) or error(status)


def _pages(options: HttpOptions, files: _Files) -> dict[int, Answer]:
    """Return the pages of one level, by their statuses."""
    return {each[0]: files[each] for each in options.error_files if each in files}


def _steps(rules: Iterable[RequestRule], pages: Mapping[int, Answer]) -> tuple[_Step, ...]:
    """Return what the rules of one level come to, which answers with ``pages``."""
    steps: list[_Step] = []
    for rule in rules:
        match rule:
            case HeaderRule():
                steps.append((rule.condition, Edit(rule)))
            case Deny():
                page = pages.get(rule.status) or error(rule.status)
                steps.append((rule.condition, replace(page, is_denial=True)))
            case _:
                steps.append((rule.condition, rule))
    return tuple(steps)


def _names(rules: Iterable[RequestRule]) -> frozenset[bytes]:
    """Return the names, in lower case, of the fields that ``rules`` set or add."""
    return frozenset(
        rule.name.lower().encode()
        for rule in rules
        if isinstance(rule, HeaderRule) and rule.action is not HeaderAction.DEL
    )


def _follow(
    steps: Iterable[_Step], raw: bytes, request: RequestHead, origin: Origin
) -> bytes | Answer:
    """Return the head ``raw`` after ``steps``, or what the client gets instead."""
    for condition, step in steps:
        if condition is not None and not condition.holds(origin.facts):
            continue
        if isinstance(step, Edit):
            raw = step.apply(raw, origin)
        elif isinstance(step, Answer):
            return step
        else:
            # A body that may be on its way is not read for the sake of a redirect.
            where = _location(step, request.target, raw, origin)
            return redirection(step.status, where, closes=request.length != 0)
    return raw


def _location(rule: Redirect, target: bytes, raw: bytes, origin: Origin) -> bytes:
    """Return where ``rule`` sends a client that wanted ``target`` of the host in ``raw``."""
    if rule.location is not None:
        return filled(rule.location, origin)
    assert rule.scheme is not None
    host, path = _place(target)
    if named := _HOST.search(raw):
        host = named[1].strip(b" \t")
    # HAProxy leaves it empty, and to a browser `https:///a/b` is the host `a`.
    authority = host or _authority(plain(origin.destination))
    return b"%b://%b%b" % (rule.scheme.encode(), authority, path or b"/")


def _place(target: bytes) -> tuple[bytes, bytes]:
    """Return the host and the path, with its query, that ``target`` names; empty: it names none."""
    if target[:1] == b"/":
        return b"", target
    match = _ABSOLUTE.fullmatch(target)
    return (b"", b"") if match is None else (match[1], match[2])


def _authority(address: str) -> bytes:
    """Return an address as a URI has it."""
    return (f"[{address}]" if ":" in address else address).encode()
