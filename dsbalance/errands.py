"""What somebody wants at the desk: from a target and a form to values. No I/O.

Below the uri of a page everything is ours to answer. What stands behind it:

    nothing, or what is not in this table      the page
    /metrics, /health                          for Prometheus, for a probe
    ;csv  ;typed  ;json                        the statistics, as HAProxy's tools read them
    ;live                                      what changes on the page, for its script
    ;ask=ACTION;on=BACKEND/SERVER              the page that asks whether it shall be done
    ;scope=NAME  ;find=ADDRESS                 one section alone; where a client is
    ;norefresh  ;st=CODE                       it stays as it is; what became of a form

Words stand behind ``;``, ``&`` or ``?``, in any order, as in HAProxy; where the uri ends with a
slash, ``metrics`` and ``health`` stand right behind it. The form is HAProxy's: ``s``, once for each
server, ``action`` and ``b``, the backend's name or ``#`` and its number.

Source: observed on HAProxy 2.6.12; ``find``, ``ask``, ``live``, ``health``, ``metrics`` are ours.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

_SEPARATORS = re.compile(r"[?;&]")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_SPECIAL = re.compile(rb"[^A-Za-z0-9._~/:\-]")
# A target that names the host, too.
_AUTHORITY = re.compile(rb"[^:/? ]+://[^/? ]*")
# Longer ones are cut: nobody looks for them.
_MAX_WORD = 256


class Kind(enum.Enum):
    """What is to be shown."""

    PAGE = "page"
    LIVE = "live"
    ASK = "ask"
    CSV = "csv"
    TYPED = "typed"
    JSON = "json"
    METRICS = "metrics"
    HEALTH = "health"


# What became of a form, in HAProxy's codes.
OUTCOMES = ("DONE", "NONE", "PART", "ERRP", "DENY")

_BY_PATH = {"metrics": Kind.METRICS, "health": Kind.HEALTH}
# The first that is there counts.
_BY_WORD = {kind.value: kind for kind in (Kind.LIVE, Kind.CSV, Kind.TYPED, Kind.JSON)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What a target asks for.

    Attributes:
        kind: What is to be shown.
        scope: The section to show; empty: all that may be shown.
        find: The client to look for, as it was written; empty: nobody.
        stays: Whether the page is to stay as it is (``norefresh``).
        outcome: What became of a form, one of HAProxy's codes; empty: there was none.
        action: What is asked about.
        server: And about whom, as ``backend/server``.
        query: What stands behind the first ``?``, as it is.
    """

    kind: Kind = Kind.PAGE
    scope: str = ""
    find: str = ""
    stays: bool = False
    outcome: str = ""
    action: str = ""
    server: str = ""
    query: str = ""

    def words(self) -> str:
        """Return what stands behind the uri for the same view again, without what was asked."""
        given = [("scope", self.scope), ("find", self.find)]
        words = [f";{name}={quoted(value)}" for name, value in given if value]
        return "".join((";norefresh" if self.stays else "", *words))


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What was sent by POST.

    Attributes:
        servers: Names of servers.
        action: What is to become of them; empty: nothing was said.
        backend: Whose they are: a name, or ``#`` and a number.
        token: The proof that the form is ours.
        find: A client to look for; None: it is not about that.
    """

    servers: tuple[str, ...] = ()
    action: str = ""
    backend: str = ""
    token: str = ""
    find: str | None = None


def place_of(target: bytes) -> bytes:
    """Return path and query of a target, without the host that it may name."""
    match = _AUTHORITY.match(target)
    return target if match is None else target[match.end() :]


def read_errand(uri: str, target: bytes) -> Errand:
    """Return what a target wants that begins with ``uri``."""
    tail = place_of(target)[len(uri.encode()) :].decode("latin-1")
    path, *written = _SEPARATORS.split(tail)
    found: dict[str, str] = {}
    for word in written:
        name, _, value = word.partition("=")
        found.setdefault(name, value)
    kind = _BY_PATH.get(path.strip("/"), Kind.PAGE)
    if kind is Kind.PAGE:
        kind = next((kind for word, kind in _BY_WORD.items() if word in found), kind)
    if kind is Kind.PAGE and "ask" in found:
        kind = Kind.ASK
    values = {name: plain(found.get(name, "")) for name in ("scope", "find", "st", "ask", "on")}
    return Errand(
        kind=kind,
        scope=values["scope"],
        find=values["find"].strip(),
        stays="norefresh" in found,
        outcome=values["st"] if values["st"] in OUTCOMES else "",
        action=values["ask"],
        server=values["on"],
        query=tail.partition("?")[2],
    )


def read_form(body: bytes) -> Form:
    """Return what a form says; of what may be said once, the last counts."""
    servers: list[str] = []
    found: dict[str, str] = {}
    for pair in body.decode("latin-1").split("&"):
        name, _, value = pair.partition("=")
        if name == "s":
            servers.append(plain(value))
        else:
            found[name] = plain(value)
    return Form(
        servers=tuple(servers),
        action=found.get("action", ""),
        backend=found.get("b", ""),
        token=found.get("token", ""),
        find=found.get("find"),
    )


def plain(written: str) -> str:
    """Return a value without its escapes; bytes that are no UTF-8 are marked."""
    raw = written.replace("+", " ").encode("latin-1", "replace")
    raw = _ESCAPE.sub(lambda match: bytes((int(match[1], 16),)), raw)
    return raw.decode("utf-8", "replace")[:_MAX_WORD]


def quoted(value: str) -> str:
    """Return a value as it may stand in a target: :func:`plain` takes it back."""
    return _SPECIAL.sub(
        lambda match: b"%%%02X" % match[0][0], value.encode("utf-8", "replace")
    ).decode()
