"""What a frontend or a backend in ``mode http`` does with heads, as frozen values. No I/O.

Each value is validated where it is made, and raises :class:`ConfigError`. What a rule puts into a
head cannot end a line there, and cannot change where a message ends or who closes: whatever this
proxy has read in a head, the next reader reads, too.

Source: HAProxy 2.6 configuration manual, 4.2 and 8.2.4.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from dsbalance.conditions import Condition, Network
from dsbalance.errors import ConfigError
from dsbalance.stats_options import StatsPage
from dsbalance.validation import choose, demand, durations, repeated

DENY_STATUSES = (
    *(200, 400, 401, 403, 404, 405, 407, 408, 410, 413, 421, 422, 425, 429),
    *(500, 501, 502, 503, 504),
)
"""The statuses of which HAProxy 2.6 has a page of its own: ``deny_status`` takes no others."""

REDIRECT_STATUSES = (301, 302, 303, 307, 308)

# What says where a message ends, or what becomes of the connection: these are ours to say.
_OURS = frozenset(("connection", "content-length", "transfer-encoding", "upgrade"))

_SECOND_HOST = "a second Host would be another request to each reader"

# RFC 9110, 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# What a request line has as its target; HAProxy compares all of it.
_TARGET = re.compile(r"[\x21-\x7e]+")
# The part of it before the query.
_PATH = re.compile(r"/[\x21-\x3e\x40-\x7e]*")
# As heads of requests may have it.
_HOST = re.compile(r"[\w.\-~%!$&'()*+;=:\[\]]*", re.ASCII)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*")


class HttpConnection(enum.StrEnum):
    """What becomes of the connections after a response, in the words of ``option``."""

    KEEP_ALIVE = "http-keep-alive"
    SERVER_CLOSE = "http-server-close"
    CLOSE = "httpclose"


class Sample(enum.StrEnum):
    """What a text may have put into it, ``%[src]`` for one."""

    SRC = "src"
    SRC_PORT = "src_port"
    DST = "dst"
    DST_PORT = "dst_port"


class HeaderAction(enum.StrEnum):
    """What a rule does with fields of a name."""

    SET = "set-header"
    ADD = "add-header"
    DEL = "del-header"


Template = tuple[str | Sample, ...]
"""A text, with what is to be put into it."""

# How a text says it: `%[src]`, or `%ci` as in a log format.
_SAMPLES = {f"%[{sample}]": sample for sample in Sample} | {
    "%ci": Sample.SRC,
    "%cp": Sample.SRC_PORT,
    "%fi": Sample.DST,
    "%fp": Sample.DST_PORT,
}
_MARK = re.compile(r"%(?:%|\[[^\]]*\]?|(?:\{[^}]*\})?\w*)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressField:
    """``option forwardfor`` or ``option originalto``.

    Attributes:
        name: Of the field; None: X-Forwarded-For or X-Original-To.
        exception: Addresses for which no field is added; None: there are none.
        is_if_none: Whether it is added only where there is no such field yet.
    """

    name: str | None = None
    exception: Network | None = None
    is_if_none: bool = False

    def __post_init__(self) -> None:
        is_network = isinstance(self.exception, IPv4Network | IPv6Network | None)
        demand(
            None if self.name is None else _field_name(self.name),
            _SECOND_HOST if str(self.name).lower() == "host" else None,
            None if is_network else f"except wants a network, not {self.exception!r}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderRule:
    """``http-request`` or ``http-response`` with ``set-header``, ``add-header``, ``del-header``.

    Attributes:
        action: ``set-header`` replaces all fields of the name, ``add-header`` leaves them.
        name: Of the field; not one that frames messages, or says what becomes of connections.
        value: What it is set to, or what is added; of no use to ``del-header``.
        condition: When; None: always.
    """

    action: HeaderAction
    name: str
    value: Template = ()
    condition: Condition | None = None

    def __post_init__(self) -> None:
        choose(self, "action", HeaderAction)
        is_deletion = self.action is HeaderAction.DEL
        demand(
            _field_name(self.name),
            "del-header takes no value" if is_deletion and self.value else None,
            None if is_deletion else _text(f"the value of {self.name}", self.value),
            *_host(self.action, self.value) if str(self.name).lower() == "host" else (),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Deny:
    """``http-request deny`` (403) or ``http-response deny`` (502).

    Attributes:
        status: One of :data:`DENY_STATUSES`.
        condition: When; None: always.
    """

    status: int
    condition: Condition | None = None

    def __post_init__(self) -> None:
        demand(_one_of("the status of deny", self.status, DENY_STATUSES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Redirect:
    """``redirect``: one of scheme and location is given.

    Attributes:
        scheme: The same place under this scheme.
        location: Another place.
        status: 301, 302, 303, 307 or 308.
        condition: When; None: always.
    """

    scheme: str | None = None
    location: Template | None = None
    status: int = 302
    condition: Condition | None = None

    def __post_init__(self) -> None:
        demand(
            "redirect wants a scheme or a location, and not both"
            if (self.scheme is None) is (self.location is None)
            else None,
            f"a scheme is made of letters, digits and '+-.', not {self.scheme!r}"
            if self.scheme is not None and not _SCHEME.fullmatch(self.scheme)
            else None,
            None if self.location is None else _text("the location", self.location),
            _one_of("the status of redirect", self.status, REDIRECT_STATUSES),
        )


RequestRule = HeaderRule | Deny | Redirect
ResponseRule = HeaderRule | Deny


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """What ``mode http`` is configured with on one level.

    Attributes:
        connection: None: as the other level says, or KEEP_ALIVE.
        forwardfor: What tells the server the client's address; None: nothing on this level.
        originalto: What tells it the address that the client came to.
        request_rules: In their order, the frontend's before the backend's.
        response_rules: In their order, the backend's before the frontend's.
        timeout_request: Limit of a request's head (``timeout http-request``).
        timeout_keep_alive: Limit of silence between two requests (``timeout http-keep-alive``);
            None: ``timeout_request``, or else the client's.
        monitor_uri: Of a frontend: a target that it answers itself, with 200.
        error_files: Status and path of pages that replace ours (``errorfile``).
        stats: Where statistics are shown (``stats enable`` and the like); None: nowhere.
        metrics: Paths at which Prometheus is answered (``http-request use-service
            prometheus-exporter if { path ... }``).
    """

    connection: HttpConnection | None = None
    forwardfor: AddressField | None = None
    originalto: AddressField | None = None
    request_rules: tuple[RequestRule, ...] = ()
    response_rules: tuple[ResponseRule, ...] = ()
    timeout_request: float | None = None
    timeout_keep_alive: float | None = None
    monitor_uri: str | None = None
    error_files: tuple[tuple[int, str], ...] = ()
    stats: StatsPage | None = None
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.connection is not None:
            choose(self, "connection", HttpConnection)
        demand(
            *durations(self, "timeout_request", "timeout_keep_alive"),
            "originalto has no if-none"
            if self.originalto is not None and self.originalto.is_if_none
            else None,
            f"monitor_uri is a target without spaces, not {self.monitor_uri!r}"
            if self.monitor_uri is not None and not _TARGET.fullmatch(self.monitor_uri)
            else None,
            *(
                _one_of("the status of an error file", status, DENY_STATUSES)
                for status, _ in self.error_files
            ),
            *(
                f"the error file of {status} has no path"
                for status, path in self.error_files
                if not path
            ),
            *repeated("the error file of", [str(status) for status, _ in self.error_files]),
            *(
                f"metrics are answered at a path, without a query, not at {path!r}"
                for path in self.metrics
                if not _PATH.fullmatch(path)
            ),
            *repeated("the path of metrics", self.metrics),
        )


def read_template(text: str) -> Template:
    """Return what ``text`` says: ``%[src]`` or ``%ci`` is put into it, ``%%`` is ``%``.

    Raises:
        ConfigError: Something else is to be put into it.
    """
    parts: list[str | Sample] = []
    literal, end = "", 0
    for mark in _MARK.finditer(text):
        literal += text[end : mark.start()]
        end = mark.end()
        if mark[0] == "%%":
            literal += "%"
        elif mark[0] in _SAMPLES:
            parts += (literal, _SAMPLES[mark[0]])
            literal = ""
        else:
            raise ConfigError(f"{mark[0]} is none of {', '.join(_SAMPLES)} and %%")
    return tuple(part for part in (*parts, literal + text[end:]) if part)


def write_template(template: Template) -> str:
    """Return the text of ``template``, as :func:`read_template` takes it."""
    return "".join(
        f"%[{part}]" if isinstance(part, Sample) else part.replace("%", "%%") for part in template
    )


def _field_name(name: object) -> str | None:
    """Return what is wrong with the name of a field that we are to add, set or remove."""
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        return f"the name of a field is a token of RFC 9110, not {name!r}"
    if name.lower() in _OURS:
        return f"{name} cannot be set: it says where messages or connections end"
    return None


def _host(action: HeaderAction, value: Template) -> Iterator[str]:
    """Yield what is wrong with a rule on ``Host``."""
    if action is HeaderAction.ADD:
        yield _SECOND_HOST
    # It may go into the target, too.
    if not all(isinstance(part, Sample) or _HOST.fullmatch(part) for part in value):
        yield "a Host is made of letters, digits and punctuation of URIs"


def _text(subject: str, template: Template) -> str | None:
    """Return what is wrong with a text that goes into a head."""
    literals = "".join(part for part in template if not isinstance(part, Sample))
    if not template or not any(template):
        return f"{subject} is empty"
    if control := _CONTROL.search(literals):
        return f"{subject} has the control character {control[0]!r}"
    try:
        literals.encode()
    except UnicodeEncodeError:
        return f"{subject} is no text"
    return None


def _one_of(subject: str, status: object, statuses: tuple[int, ...]) -> str | None:
    if status in statuses and not isinstance(status, bool | float):
        return None
    return f"{subject} must be one of {', '.join(map(str, statuses))}, not {status!r}"
