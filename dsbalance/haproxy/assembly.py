"""From the drafts of all sections to a Config. No I/O.

    a section            becomes
    frontend             a Frontend
    backend              a Backend
    listen               both; without a bind a Backend alone
    disabled, of any     nothing: what names it is a problem
    defaults             nothing: it has been copied into the others

Names are looked up here, so that a problem is reported at the line that gives the name.

Source: HAProxy 2.6 configuration manual, 4.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dsbalance.errors import ConfigError
from dsbalance.haproxy.lexer import quoted
from dsbalance.haproxy.proxy_words import Section, Settings
from dsbalance.haproxy.server_words import CheckRules, ServerLine, make_server
from dsbalance.haproxy.statement import Place, Report
from dsbalance.model import Backend, Balance, Config, Frontend, HashKind, Keepalive, Server

# A name is compared with at most so many, and while it is at most so long: to find the nearest of
# two hundred long ones takes 50 ms.
_FEW = 20
_SHORT = 20


@dataclass(slots=True)
class GlobalSection:
    """What the ``global`` sections have said so far, and where ``maxconn`` stands."""

    maxconn: int | None = None
    maxconn_place: Place | None = None
    hard_stop_after: float | None = None


def assemble(process: GlobalSection, sections: Sequence[Section], report: Report) -> Config | None:
    """Return the configuration, or None with the problems in ``report``."""
    active = [section for section in sections if not section.settings.is_disabled]
    for section in sections:
        if section.settings.is_disabled:
            report.notice(section.place, f"{section}: disabled, and left out")
    _Names(sections, report).look_up(active)
    frontends = []
    backends = []
    for section in active:
        if report.is_full:
            break
        _note_what_is_missing(section, report)
        try:
            if section.is_frontend and (section.binds or not section.is_backend):
                frontends.append(_frontend(section))
            if section.is_backend:
                backends.append(_backend(section, report))
        except ConfigError as error:
            report.failed(section.place, error)
    if report.problems:
        return None
    return Config(
        frontends=tuple(frontends),
        backends=tuple(backends),
        maxconn=process.maxconn,
        hard_stop_after=process.hard_stop_after,
    )


def places(process: GlobalSection, sections: Iterable[Section]) -> dict[str, Place]:
    """Return where each object stands, by the subject that problems name it with."""
    found: dict[str, Place] = {}
    if process.maxconn_place is not None:
        found["global maxconn"] = process.maxconn_place
    for section in sections:
        if section.is_frontend:
            subject = f"frontend {section.name}"
            found[subject] = section.place
            for bind, place in zip(section.binds, section.bind_places, strict=True):
                found.setdefault(f"{subject}, bind {bind}", place)
        if section.is_backend:
            subject = f"backend {section.name}"
            found[subject] = section.place
            for line in section.servers.values():
                found[f"{subject}, server {line.name}"] = line.place
    return found


class _Names:
    """Who is named by whom."""

    __slots__ = ("_backends", "_disabled", "_guids", "_report")

    def __init__(self, sections: Iterable[Section], report: Report) -> None:
        self._report = report
        self._backends: dict[str, Section] = {}
        self._disabled: dict[str, Section] = {}
        self._guids: dict[str, Place] = {}
        for section in sections:
            if section.is_backend:
                known = self._disabled if section.settings.is_disabled else self._backends
                known[section.name] = section

    def look_up(self, sections: Iterable[Section]) -> None:
        """Report every name that nothing answers to, and every guid that two servers have."""
        for section in sections:
            if section.is_frontend:
                self._look_up_backend(section)
            for rule, place in section.stick:
                owner = rule.table or section.name
                where = f"{section}: stick"
                if self._find(owner, place, where) and self._backends[owner].table is None:
                    self._report.problem(place, f"{where}: {quoted(owner)} has no stick-table")
            for line in section.servers.values():
                if line.words.track is not None:
                    self._look_up_tracked(section, line, line.words.track)
                if line.words.guid is not None:
                    self._register(line, line.words.guid)

    def _look_up_backend(self, section: Section) -> None:
        named = section.settings.default_backend
        if named is None:
            if not section.is_backend:
                self._report.problem(section.place, f"{section}: expects a default_backend")
        elif named.name == section.name and section.is_backend:
            # HAProxy calls it a loop.
            self._report.problem(
                named.place, f"{section}: default_backend names the section itself"
            )
        else:
            self._find(named.name, named.place, f"{section}: default_backend")

    def _look_up_tracked(self, section: Section, line: ServerLine, track: str) -> None:
        name, _, server = track.rpartition("/")
        name = name or section.name
        where = f"server {line.name}: track"
        if not self._find(name, line.place, where):
            return
        other = self._backends[name].servers.get(server)
        if other is None:
            message = f"{where}: there is no server {quoted(server)} in backend {quoted(name)}"
            self._report.problem(line.place, message)
        elif other.words.track is not None:
            message = f"{where}: {name}/{server} tracks another server itself; name that one"
            self._report.problem(line.place, message)
        elif not other.words.is_checked:
            self._report.problem(line.place, f"{where}: {name}/{server} is not checked")

    def _register(self, line: ServerLine, guid: str) -> None:
        at = self._guids.setdefault(guid, line.place)
        if at is not line.place:
            message = f"guid {quoted(guid)} is taken by the server of {at.file}:{at.line}"
            self._report.problem(line.place, f"server {line.name}: {message}")

    def _find(self, name: str, place: Place, where: str) -> bool:
        """Return whether there is a backend ``name``, and report it when there is none."""
        if name in self._backends:
            return True
        message = f"{where}: there is no backend {quoted(name)}"
        if name in self._disabled:
            at = self._disabled[name].place
            message += f"; the one of {at.file}:{at.line} is disabled"
        elif len(self._backends) <= _FEW and len(name) <= _SHORT:
            message += self._report.suggestion(name, self._backends)
        self._report.problem(place, message)
        return False


def _note_what_is_missing(section: Section, report: Report) -> None:
    """Add notices for what HAProxy warns of too, and for what has no effect as it stands."""
    if report.is_noted_enough:
        # Of thousands of sections, it would be a quarter of the work to say what nobody reads.
        return
    settings = section.settings
    missing = []
    if section.is_frontend and settings.timeout_client is None:
        missing.append("'timeout client'")
    if section.servers and settings.timeout_connect is None:
        missing.append("'timeout connect'")
    if section.servers and settings.timeout_server is None:
        missing.append("'timeout server'")
    if missing:
        report.notice(section.place, f"{section}: no {', '.join(missing)}: waits without limit")
    if section.is_frontend and section.is_backend and not section.binds:
        report.notice(section.place, f"{section}: no bind, so it is a backend only")
    client = settings.client_idle, settings.client_interval, settings.client_count
    if section.is_frontend and any(client) and not settings.has_client_keepalive:
        message = "clitcpka-... has no effect without 'option clitcpka'"
        report.notice(section.place, f"{section}: {message}")
    if section.is_backend and settings.hash_balance_factor and not _has_ring(section):
        message = "hash-balance-factor has no effect without a consistent hash or 'balance random'"
        report.notice(section.place, f"{section}: {message}")
    server = settings.server_idle, settings.server_interval, settings.server_count
    if section.is_backend and any(server) and not settings.has_server_keepalive:
        message = "srvtcpka-... has no effect without 'option srvtcpka'"
        report.notice(section.place, f"{section}: {message}")


def _has_ring(section: Section) -> bool:
    """Return whether a server that has its share may be passed over for the next one."""
    if section.policy is not None:
        return False
    if section.settings.balance is Balance.SOURCE:
        return section.settings.hash_type.kind is HashKind.CONSISTENT
    return section.settings.balance is Balance.RANDOM


def _client(settings: Settings) -> Keepalive:
    return Keepalive(
        idle=settings.client_idle,
        interval=settings.client_interval,
        count=settings.client_count,
    )


def _server(settings: Settings) -> Keepalive:
    return Keepalive(
        idle=settings.server_idle,
        interval=settings.server_interval,
        count=settings.server_count,
    )


def _frontend(section: Section) -> Frontend:
    settings = section.settings
    named = settings.default_backend
    return Frontend(
        name=section.name,
        binds=tuple(section.binds),
        backend=named.name if named else section.name,
        maxconn=settings.maxconn,
        timeout_client=settings.timeout_client,
        timeout_client_fin=settings.timeout_client_fin,
        keepalive=_client(settings) if settings.has_client_keepalive else None,
    )


def _backend(section: Section, report: Report) -> Backend:
    settings = section.settings
    backend = Backend(
        name=section.name,
        servers=tuple(_servers(section, report)),
        balance=settings.balance,
        hash_type=settings.hash_type,
        policy=section.policy,
        table=section.table,
        stick=tuple(placed.rule for placed in section.stick),
        retries=settings.retries,
        redispatch=settings.redispatch,
        allbackups=settings.allbackups,
        timeout_connect=settings.timeout_connect,
        timeout_server=settings.timeout_server,
        timeout_server_fin=settings.timeout_server_fin,
        timeout_tunnel=settings.timeout_tunnel,
        timeout_queue=settings.timeout_queue,
        keepalive=_server(settings) if settings.has_server_keepalive else None,
        random_draws=settings.random_draws,
        hash_balance_factor=settings.hash_balance_factor,
        fullconn=settings.fullconn,
        persist=settings.persist,
    )
    if bounded := section.bounded_clients:
        try:
            return replace(backend, bounded_clients=bounded.percent)
        except ConfigError as error:
            report.failed(bounded.place, error)
    return backend


def _servers(section: Section, report: Report) -> Iterable[Server]:
    """Yield the servers of a section that can be made, and report those that cannot."""
    settings = section.settings
    rules = CheckRules(
        ports=settings.check_ports if settings.has_tcp_check else (),
        timeout=settings.timeout_check,
    )
    for line in section.servers.values():
        try:
            yield make_server(line, section.name, rules)
        except ConfigError as error:
            report.failed(line.place, error)
