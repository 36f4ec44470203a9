"""The desk: answers what is asked about the proxy itself. All on the loop's thread.

    asked for                    password       gets
    the health                   not needed     200 or 503; names only with the password
    a path of ``metrics``        not needed     the metrics, as in HAProxy
    all else below the uri       where set      the page, what changes on it, CSV, JSON, metrics
    a form                       where set      what :mod:`dsbalance.admission` says; then 303

What is shown is made at most once a second, and less often if that takes long: many viewers cost no
more than one. What is asked before a change is for one person, and is made each time.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

from dsbalance.admission import Credentials, Seal, objection
from dsbalance.balancer import AdminState, Health
from dsbalance.candidates import Client
from dsbalance.errands import Errand, Form, Kind, place_of, quoted, read_errand, read_form
from dsbalance.errors import ConfigError
from dsbalance.explanation import Step
from dsbalance.history import History
from dsbalance.http1 import RequestHead
from dsbalance.http_answers import Answer, error
from dsbalance.http_fields import Origin
from dsbalance.loop import Loop
from dsbalance.model import Backend, Frontend
from dsbalance.page import Dress, Page, question, scoped
from dsbalance.page_parts import Clock
from dsbalance.stats import Snapshot
from dsbalance.stats_options import StatsPage
from dsbalance.steering import Steering
from dsbalance.version import VERSION
from dsbalance.view import Explained, Finding, Remembered, View

# How long what was made once is good for everybody, in seconds.
_FRESH = 1.0
# It is longer where more than this part of the loop's time would go into it: the statistics of
# 10,000 servers take a fifth of a second.
_SHARE = 0.05
# What can be done by a form, in HAProxy's words for it; agents there are none.
_ACTIONS: Mapping[str, Callable[[Steering, str], object]] = {
    "ready": lambda steering, path: steering.set_admin(path, AdminState.READY),
    "drain": lambda steering, path: steering.set_admin(path, AdminState.DRAIN),
    "maint": lambda steering, path: steering.set_admin(path, AdminState.MAINT),
    "hrunn": lambda steering, path: steering.set_health(path, Health.UP),
    "hnolb": lambda steering, path: steering.set_health(path, Health.STOPPING),
    "hdown": lambda steering, path: steering.set_health(path, Health.DOWN),
    "dhlth": lambda steering, path: steering.set_checks(path, is_on=False),
    "ehlth": lambda steering, path: steering.set_checks(path, is_on=True),
    "shutdown": lambda steering, path: steering.shutdown_sessions(path),
}
# Whoever makes up names of sections makes us forget the others' pages, and no more.
_MAX_KEPT = 32
_METHODS = (b"GET", b"HEAD", b"POST")


class World(NamedTuple):
    """What a desk knows of its proxy.

    Attributes:
        loop: Whose time it is.
        steering: What there is, and how it is changed.
        explain: Tells where a client of a backend would go now, and why.
    """

    loop: Loop
    steering: Steering
    explain: Callable[[str, Client], tuple[Step, ...]]


class _Kept(NamedTuple):
    """What was made, and until when it is good for everybody."""

    answer: Answer
    until: float


class Office:
    """What all desks of a process share.

    Args:
        world: What they know of the proxy.

    Attributes:
        world: As given.
        secret: Of this process.
        history: What the curves are drawn from.
        dress: The style and the script of the pages.
        fields: What is said of each page, but for its kind and length.
    """

    __slots__ = (
        *("_kept", "_picture", "_picture_until"),
        *("dress", "fields", "history", "secret", "world"),
    )

    def __init__(self, world: World) -> None:
        self.world = world
        self.secret = secrets.token_bytes(32)
        self.history = History()
        self.dress = Dress(_read("page.css"), _read("page.js"))
        self.fields = _fields(self.dress)
        self._kept: dict[object, _Kept] = {}
        self._picture: Snapshot | None = None
        self._picture_until = 0.0

    def make_desk(self, frontend: Frontend, backend: Backend) -> StatsDesk | None:
        """Return the desk of the way from a frontend to a backend; None: neither has one."""
        windows = []
        metrics: set[bytes] = set()
        for section in (frontend, backend):
            http = section.http
            if http is None:
                continue
            metrics.update(path.encode() for path in http.metrics)
            if http.stats is not None:
                windows.append(Window(self, http.stats, section.name))
        return StatsDesk(self, windows, metrics) if windows or metrics else None

    def step(self) -> None:
        """Note what the curves are drawn from; to be called once a second."""
        now = self.world.loop.now
        if self.history.is_due(now):
            self.history.add(self.world.steering.snapshot(), now)

    def keep(self, key: object, make: Callable[[], Answer]) -> Answer:
        """Return what was made for ``key`` lately, or make it."""
        now = self.world.loop.now
        kept = self._kept.get(key)
        if kept is not None and now < kept.until:
            return kept.answer
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        began = time.perf_counter()
        answer = make()
        took = time.perf_counter() - began
        self._kept[key] = _Kept(answer, now + max(_FRESH, took / _SHARE))
        return answer

    def snapshot(self) -> Snapshot:
        """Return what there is to know, as of half a second ago at the most."""
        now = self.world.loop.now
        if self._picture is None or now >= self._picture_until:
            self._picture = self.world.steering.snapshot()
            self._picture_until = now + _FRESH / 2
        return self._picture

    def forget(self) -> None:
        """Make everything anew when it is asked for next: something was changed."""
        self._kept.clear()
        self._picture = None

    def tell(self, body: bytes, kind: str, status: int = 200, more: bytes = b"") -> Answer:
        """Return an answer of some kind of content."""
        return _answer(status, body, kind, self.fields + more)


class StatsDesk:
    """The desk of one way from a frontend to a backend; see :class:`dsbalance.service.Desk`.

    Args:
        office: What all desks share.
        windows: The pages, the frontend's before the backend's.
        metrics: Paths at which Prometheus is answered.
    """

    __slots__ = ("_metrics", "_office", "_windows")

    def __init__(self, office: Office, windows: list[Window], metrics: set[bytes]) -> None:
        self._office = office
        self._windows = windows
        self._metrics = metrics

    def takes(self, request: RequestHead) -> bool:
        """Return whether this request is answered here, and goes to no server."""
        if request.method not in _METHODS:
            return False
        place = place_of(request.target)
        return self._is_metrics(place) or self._find(place) is not None

    def answer(self, request: RequestHead, body: bytes, origin: Origin) -> Answer:
        """Return what the client gets; see :meth:`dsbalance.service.Desk.answer`."""
        place = place_of(request.target)
        if self._is_metrics(place):
            query = place.partition(b"?")[2].decode("latin-1")
            return _metrics(self._office, (), query, request)
        window = self._find(place)
        assert window is not None
        return window.answer(request, body, origin)

    def _find(self, place: bytes) -> Window | None:
        return next((window for window in self._windows if place.startswith(window.start)), None)

    def _is_metrics(self, place: bytes) -> bool:
        return bool(self._metrics) and place.partition(b"?")[0] in self._metrics


class Window:
    """One page of statistics, and what is below its uri.

    Args:
        office: What all desks share.
        page: As it is configured.
        owner: The section that has it.

    Attributes:
        start: What its targets begin with.
    """

    __slots__ = ("_credentials", "_names", "_office", "_page", "_seal", "start")

    def __init__(self, office: Office, page: StatsPage, owner: str) -> None:
        self._office = office
        self._page = page
        self._credentials = Credentials(page.users, office.secret)
        self._seal = Seal(office.secret)
        self._names = tuple(owner if name == "." else name for name in page.scope)
        self.start = page.uri.encode()

    def answer(self, request: RequestHead, body: bytes, origin: Origin) -> Answer:
        """Return what the client gets."""
        errand = read_errand(self._page.uri, request.target)
        user = self._credentials.find(request)
        if errand.kind is Kind.HEALTH:
            return self._office.keep(
                (self, "health", user is None), lambda: self._health(is_known=user is not None)
            )
        if user is None:
            return _unauthorized(self._page.realm)
        is_admin = self._may_change(origin)
        if request.method == b"POST":
            return self._take(request, body, errand, user=user, is_admin=is_admin)
        if errand.kind is Kind.ASK:
            return self._ask(errand, user) if is_admin else self._refuse("You may not.")
        if errand.kind is Kind.METRICS:
            return _metrics(self._office, self._names, errand.query, request)
        # What makes no difference is not in the key: else each made-up word would be work for us.
        key: tuple[object, ...] = (self, errand.kind, errand.scope)
        if errand.kind in (Kind.PAGE, Kind.LIVE):
            key += (errand.find, errand.stays, errand.outcome, is_admin)
        return self._office.keep(key, lambda: self._show(errand, is_admin=is_admin))

    # -- what is shown

    def _show(self, errand: Errand, *, is_admin: bool) -> Answer:
        office, snapshot = self._office, self._snapshot(errand.scope)
        match errand.kind:
            case Kind.CSV | Kind.TYPED | Kind.JSON:
                return _statistics(office, snapshot, errand.kind, legends=self._page.shows_legends)
            case Kind.LIVE:
                page = Page(self._view(errand, snapshot, is_admin=is_admin))
                return office.tell(page.live(), "application/json")
            case _:
                page = Page(self._view(errand, snapshot, is_admin=is_admin))
                return office.tell(page.html(office.dress), "text/html; charset=utf-8")

    def _view(self, errand: Errand, snapshot: Snapshot, *, is_admin: bool) -> View:
        office, page = self._office, self._page
        process = snapshot.process
        return View(
            uri=page.uri,
            words=errand.words(),
            snapshot=snapshot,
            history=office.history,
            clock=self._clock(snapshot),
            node="" if page.node is None else page.node or process.node,
            description="" if page.description is None else page.description or process.description,
            version="" if page.hides_version else VERSION,
            shows_legends=page.shows_legends,
            is_admin=is_admin,
            refresh=page.refresh,
            stays=errand.stays,
            scope=errand.scope,
            outcome=errand.outcome,
            finding=self._find(errand.find, snapshot) if errand.find else None,
        )

    def _find(self, written: str, snapshot: Snapshot) -> Finding:
        """Look for a client in the tables, and ask each backend about it."""
        world = self._office.world
        try:
            address = ipaddress.ip_address(written)
        except ValueError:
            return Finding(client=written, problem="That is no IP address.")
        address = getattr(address, "ipv4_mapped", None) or address
        key = address.packed
        entries = []
        for table in snapshot.tables:
            entry = world.steering.find_entry(table.name, key)
            if entry is not None:
                found = Remembered(table.name, entry.server, entry.remaining, entry.uses)
                entries.append(found)
        client = Client(str(address), key, 0)
        alike: dict[tuple[str, ...], list[str]] = {}
        for backend in snapshot.backends:
            steps = tuple(map(str, world.explain(backend.name, client)))
            alike.setdefault(steps, []).append(backend.name)
        explained = tuple(Explained(tuple(names), steps) for steps, names in alike.items())
        return Finding(client=written, entries=tuple(entries), explained=explained)

    def _health(self, *, is_known: bool) -> Answer:
        """Tell whether every backend can serve."""
        snapshot = self._snapshot("")
        out = [each.name for each in snapshot.backends if each.status.startswith("DOWN")]
        if snapshot.process.is_stopping:
            said = "stopping\n"
        elif not out:
            return self._office.tell(b"ok\n", "text/plain")
        elif is_known:
            said = f"no server: {', '.join(out)}\n"
        else:
            said = f"no server in {len(out)} of {len(snapshot.backends)} backends\n"
        return self._office.tell(said.encode(), "text/plain; charset=utf-8", 503)

    # -- what is changed

    def _ask(self, errand: Errand, user: str) -> Answer:
        """Return the page that asks whether something shall be done."""
        office, snapshot = self._office, self._snapshot("")
        view = self._view(errand, snapshot, is_admin=True)
        token = self._seal.token(user, self._page.uri)
        page = question(view, errand.action, errand.server, token, office.dress)
        if page is None:
            return error(404)
        return office.tell(page, "text/html; charset=utf-8")

    def _take(
        self, request: RequestHead, body: bytes, errand: Errand, *, user: str, is_admin: bool
    ) -> Answer:
        """Do what a form says."""
        form = read_form(body)
        if form.find is not None and not form.action:
            return self._see_found(errand, form.find)
        if not is_admin:
            return self._see_other(errand, "DENY")
        problem = objection(
            request,
            user,
            has_token=bool(form.token),
            is_token_ours=self._seal.fits(form.token, user, self._page.uri),
        )
        if problem:
            return self._refuse(problem)
        return self._see_other(errand, self._carry_out(form))

    def _carry_out(self, form: Form) -> str:
        """Do what a form says, and return HAProxy's code for what became of it."""
        if not form.servers or not form.action:
            return "NONE"
        backends = self._snapshot("").backends
        names = [each.name for each in backends if form.backend in (each.name, f"#{each.id}")]
        act = _ACTIONS.get(form.action)
        if act is None or not names:
            return "ERRP"
        done = 0
        for server in form.servers:
            try:
                act(self._office.world.steering, f"{names[0]}/{server}")
            except ConfigError:
                continue
            done += 1
        if done:
            self._office.forget()
        return "DONE" if done == len(form.servers) else "PART" if done else "ERRP"

    def _may_change(self, origin: Origin) -> bool:
        admin = self._page.admin
        return admin if isinstance(admin, bool) else admin.holds(origin.facts)

    # -- small parts

    def _snapshot(self, part: str) -> Snapshot:
        return scoped(self._office.snapshot(), self._names, part)

    def _clock(self, snapshot: Snapshot) -> Clock:
        now = snapshot.process.started_at + snapshot.uptime
        return Clock(now, time.localtime(now).tm_gmtoff)

    def _refuse(self, problem: str) -> Answer:
        return self._office.tell(f"{problem}\n".encode(), "text/plain; charset=utf-8", 403)

    def _see_other(self, errand: Errand, code: str) -> Answer:
        words = f";st={code}"
        words += ";norefresh" if errand.stays else ""
        words += f"?scope={quoted(errand.scope)}" if errand.scope else ""
        return _see(self._page.uri + words)

    def _see_found(self, errand: Errand, find: str) -> Answer:
        return _see(self._page.uri + replace(errand, find=find.strip()).words())


def _read(name: str) -> str:
    return (importlib.resources.files("dsbalance") / "web" / name).read_text("utf-8")


def _fields(dress: Dress) -> bytes:
    """Return what keeps a page to itself: it loads nothing, and nothing else may run on it."""
    allowed = {
        "default-src": "'none'",
        "style-src": _digest(dress.style),
        "script-src": _digest(dress.script),
        "connect-src": "'self'",
        "img-src": "data:",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    policy = "; ".join(f"{name} {sources}" for name, sources in allowed.items())
    return (
        f"cache-control: no-store\r\ncontent-security-policy: {policy}\r\n"
        # Not no-referrer: a browser would say that a form of ours comes from nowhere.
        "referrer-policy: same-origin\r\nx-content-type-options: nosniff\r\n"
    ).encode()


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _answer(status: int, body: bytes, kind: str, more: bytes) -> Answer:
    head = b"HTTP/1.1 %d %b\r\ncontent-length: %d\r\ncontent-type: %b\r\n%b"
    reason = {200: b"OK", 403: b"Forbidden", 503: b"Service Unavailable"}[status]
    return Answer(
        status=status, head=head % (status, reason, len(body), kind.encode(), more), body=body
    )


def _see(location: str) -> Answer:
    """Return the answer to a form: where to look now."""
    head = "HTTP/1.1 303 See Other\r\ncontent-length: 0\r\ncache-control: no-store\r\n"
    return Answer(status=303, head=f"{head}location: {location}\r\n".encode())


def _unauthorized(realm: str) -> Answer:
    page = error(401)
    written = realm.replace("\\", "\\\\").replace('"', '\\"')
    field = f'www-authenticate: Basic realm="{written}"\r\n'.encode()
    return replace(page, head=page.head + field, early=None)


def _statistics(office: Office, snapshot: Snapshot, kind: Kind, *, legends: bool) -> Answer:
    """Return the statistics as HAProxy's tools read them."""
    from dsbalance.haproxy.show_stat import Form as Written  # noqa: PLC0415 -- when it is used
    from dsbalance.haproxy.show_stat import Question, show_stat  # noqa: PLC0415

    question = Question(form=Written[kind.name], shows_legends=legends)
    text = "".join(show_stat(snapshot, question))
    content = "application/json" if kind is Kind.JSON else "text/plain; charset=utf-8"
    return office.tell(text.encode(), content)


def _metrics(office: Office, names: tuple[str, ...], query: str, request: RequestHead) -> Answer:
    """Return the metrics, in the format that is asked for."""
    # Loaded when it is used: few have a Prometheus.
    from dsbalance.prometheus import (  # noqa: PLC0415
        OPENMETRICS,
        TEXT,
        exposition,
        is_openmetrics_wanted,
        read_query,
    )

    is_open = is_openmetrics_wanted(b",".join(request.values(b"accept")).decode("latin-1"))
    try:
        wanted = read_query(query)
    except ValueError:
        return error(400)

    def make() -> Answer:
        snapshot = scoped(office.snapshot(), names, "")
        text = "".join(exposition(snapshot, wanted, is_openmetrics=is_open))
        return office.tell(text.encode(), OPENMETRICS if is_open else TEXT)

    return office.keep((Kind.METRICS, names, wanted, is_open), make)
