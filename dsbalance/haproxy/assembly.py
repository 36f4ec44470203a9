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

import functools
from collections.abc import Iterable, Sequence
from dataclasses import replace

from dsbalance.door import DoorAction
from dsbalance.errors import ConfigError
from dsbalance.haproxy.instruments import (
    backend_log,
    frontend_log,
    note_idle_words,
    numbers_of,
    own_state_file,
    state_path,
)
from dsbalance.haproxy.lexer import quoted
from dsbalance.haproxy.sections import (
    GlobalSection,
    HttpWord,
    Named,
    Rules,
    Section,
    Settings,
    StateSource,
)
from dsbalance.haproxy.server_words import CheckRules, ServerLine, make_server
from dsbalance.haproxy.statement import Place, Report
from dsbalance.http_options import Deny, HttpOptions, Redirect
from dsbalance.model import Backend, Balance, Config, Frontend, HashKind, Keepalive, Server, Table

# It is frozen, and mostly the same for all sections in mode http.
_http_options = functools.lru_cache(maxsize=8)(HttpOptions)
# A name is compared with at most so many, and while it is at most so long: to find the nearest of
# two hundred long ones takes 50 ms.
_FEW = 20
_SHORT = 20


def assemble(process: GlobalSection, sections: Sequence[Section], report: Report) -> Config | None:
    """Return the configuration, or None with the problems in ``report``."""
    active = [section for section in sections if not section.settings.is_disabled]
    for section in sections:
        if section.settings.is_disabled:
            report.notice(section.place, f"{section}: disabled, and left out")
    _Names(sections, report).look_up(active)
    _tell_of_http_words(active, report)
    frontends = []
    backends = []
    numbers = numbers_of(sections, report)
    for section in active:
        if report.is_full:
            break
        _note_what_is_missing(section, report)
        note_idle_words(section, report)
        try:
            if section.takes_clients:
                frontends.append(_frontend(section, numbers.get(section)))
            if section.is_backend:
                backends.append(_backend(section, numbers.get(section), report))
        except ConfigError as error:
            report.failed(section.place, error)
    if report.problems:
        return None
    return Config(
        frontends=tuple(frontends),
        backends=tuple(backends),
        maxconn=process.maxconn,
        hard_stop_after=process.hard_stop_after,
        logs=process.logs,
        log_tag=process.log_tag,
        log_hostname=process.log_hostname,
        node=process.node,
        description=process.description,
        sockets=tuple(process.sockets),
        timeout_stats=process.timeout_stats,
        maxconn_stats=process.maxconn_stats,
        state_file=state_path(process.state_file, process),
    )


def places(process: GlobalSection, sections: Iterable[Section]) -> dict[str, Place]:
    """Return where each object stands, by the subject that problems name it with."""
    found: dict[str, Place] = {}
    if process.maxconn_place is not None:
        found["global maxconn"] = process.maxconn_place
    found.update((f"stats socket {sock}", place) for sock, place in process.sockets.items())
    for section in sections:
        if section.is_frontend:
            subject = f"frontend {section.name}"
            found[subject] = section.place
            for bind, place in zip(section.binds, section.bind_places, strict=True):
                found.setdefault(f"{subject}, bind {bind}", place)
            _add_pages(found, section, subject)
        if section.is_backend:
            subject = f"backend {section.name}"
            found[subject] = section.place
            _add_pages(found, section, subject)
            for line in section.servers.values():
                found[f"{subject}, server {line.name}"] = line.place
    return found


def _add_pages(found: dict[str, Place], section: Section, subject: str) -> None:
    for status, file in section.settings.http.error_files.items():
        found[f"{subject}, errorfile {status}"] = file.place


def _answers_itself(section: Section) -> bool:
    """Return whether a section has something to say to clients that no server is needed for."""
    http, rules = section.settings.http, section.rules
    if not http.is_on:
        return False
    if http.stats is not None or http.monitor_uri is not None:
        return True
    if rules is None:
        return False
    answers = [rule for rule in rules.request_rules if isinstance(rule, Deny | Redirect)]
    return bool(answers or rules.redirects or rules.metrics or rules.routes)


class _Names:
    """Who is named by whom."""

    __slots__ = ("_backends", "_disabled", "_guids", "_report", "_tables")

    def __init__(self, sections: Iterable[Section], report: Report) -> None:
        self._report = report
        self._backends: dict[str, Section] = {}
        self._disabled: dict[str, Section] = {}
        self._guids: dict[str, Place] = {}
        self._tables: dict[str, Table] = {}
        for section in sections:
            if section.is_backend:
                known = self._disabled if section.settings.is_disabled else self._backends
                known[section.name] = section
            if section.table is not None and not section.settings.is_disabled:
                self._own(section, section.table)

    def _own(self, section: Section, table: Table) -> None:
        """Note a table; a frontend and the backend of its name may not have one each."""
        if self._tables.setdefault(section.name, table) is not table:
            message = f"stick-table: another section {quoted(section.name)} has one already"
            self._report.problem(section.place, f"{section}: {message}")

    def look_up(self, sections: Iterable[Section]) -> None:
        """Report every name that nothing answers to, and every guid that two servers have."""
        for section in sections:
            if section.is_frontend:
                self._look_up_backend(section)
            if section.rules is not None:
                self._look_up_rules(section, section.rules)
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
            if not section.is_backend and not _answers_itself(section):
                self._report.problem(section.place, f"{section}: expects a default_backend")
        else:
            self._look_up_target(section, named, "default_backend")

    def _look_up_target(self, section: Section, named: Named, keyword: str) -> None:
        """Report a backend that the clients of ``section`` cannot go to."""
        name, place = named
        if name == section.name and section.is_backend:
            # HAProxy calls it a loop.
            self._report.problem(place, f"{section}: {keyword} names the section itself")
        elif self._find(name, place, f"{section}: {keyword}"):
            other = self._backends[name]
            if other.settings.http.is_on is not section.settings.http.is_on:
                modes = ("http", "tcp") if other.settings.http.is_on else ("tcp", "http")
                message = "{}: {}: {} is in mode {}, this section in mode {}"
                self._report.problem(place, message.format(section, keyword, quoted(name), *modes))
            elif other.takes_clients and other.rules and other.rules.has_http:
                # They are run once for its own clients, and would be for those of others too.
                message = f"{quoted(name)} has HTTP rules; write it as a frontend and a backend"
                self._report.problem(place, f"{section}: {keyword}: {message}")

    def _look_up_rules(self, section: Section, rules: Rules) -> None:
        """Report the names in the rules of who may come in, and who goes where."""
        stats = section.settings.http.stats
        if rules.redirects and section.settings.http.is_on and (stats or rules.metrics):
            # HAProxy shows the page first, which without a condition nobody would see here.
            message = "redirect: comes before 'stats' and 'use-service' here"
            advice = "write 'http-request redirect'"
            self._report.problem(section.place, f"{section}: {message}; {advice}")
        for route, place in rules.routes:
            self._look_up_target(section, Named(route.backend, place), "use_backend")
        for name, place in rules.counted:
            self._find(name, place, f"{section}: nbsrv")
        for rule, place in rules.door:
            if rule.action is DoorAction.TRACK:
                owner = section.name if rule.table is None else rule.table
                table = self._tables.get(owner)
                if table is None:
                    message = f"{section}: track-sc0: {quoted(owner)} has no stick-table"
                    self._report.problem(place, message)
                elif not table.counts_connections:
                    message = f"the stick-table of {quoted(owner)} stores no connections"
                    self._report.problem(place, f"{section}: track-sc0: {message}")

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


def _tell_of_http_words(sections: Iterable[Section], report: Report) -> None:
    """Report the words of mode http: those that are refused in it, and those that have no use."""
    is_in_effect: dict[HttpWord, bool] = {}
    seen: set[int] = set()
    for section in sections:
        http = section.settings.http
        # Thousands of sections may share what they inherit.
        if id(http) not in seen:
            seen.add(id(http))
            for word in http.words.values():
                is_in_effect[word] = is_in_effect.get(word, False) or http.is_on
    for word, is_used in is_in_effect.items():
        if not is_used:
            report.notice(word.place, f"{word.keyword}: has no effect in 'mode tcp'")
        elif word.reason:
            report.problem(word.place, f"{word.keyword}: refused: {word.reason}")


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


def _frontend(section: Section, number: int | None) -> Frontend:
    settings = section.settings
    named = settings.default_backend
    # One in mode tcp that names nobody has been reported.
    is_alone = settings.http.is_on and not section.is_backend
    rules = section.rules
    return Frontend(
        name=section.name,
        binds=tuple(section.binds),
        backend=named.name if named else None if is_alone else section.name,
        maxconn=settings.maxconn,
        timeout_client=settings.timeout_client,
        timeout_client_fin=settings.timeout_client_fin,
        keepalive=_client(settings) if settings.has_client_keepalive else None,
        http=_http(section, is_frontend=True) if settings.http.is_on else None,
        door=tuple(placed.rule for placed in rules.door) if rules else (),
        routes=tuple(placed.rule for placed in rules.routes) if rules else (),
        table=None if section.is_backend else section.table,
        id=number,
        description=section.description,
        log=frontend_log(settings),
        counts_listeners=settings.counts_listeners,
    )


def _http(section: Section, *, is_frontend: bool) -> HttpOptions:
    http = section.settings.http
    # What a listen says itself is said once: by its frontend, which has the first and last word.
    is_said = is_frontend or not section.takes_clients
    made = _http_options(
        connection=http.connection,
        forwardfor=http.forwardfor,
        originalto=http.originalto,
        timeout_request=http.timeout_request,
        timeout_keep_alive=http.timeout_keep_alive,
        monitor_uri=http.monitor_uri if is_frontend else None,
        stats=http.stats if is_said else None,
        error_files=tuple(sorted((status, file.path) for status, file in http.error_files.items())),
    )
    rules = section.rules
    if rules is None or not rules.has_http or not is_said:
        return made
    return replace(
        made,
        request_rules=(*rules.request_rules, *rules.redirects),
        response_rules=tuple(rules.response_rules),
        metrics=tuple(rules.metrics),
    )


def _backend(section: Section, number: int | None, report: Report) -> Backend:
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
        http=_http(section, is_frontend=False) if settings.http.is_on else None,
        id=number,
        description=section.description,
        log=backend_log(settings),
        loads_state=settings.state_source is StateSource.GLOBAL,
        state_file=own_state_file(section),
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
        send_proxy=settings.checks_send_proxy,
        timeout=settings.timeout_check,
    )
    for line in section.servers.values():
        try:
            yield make_server(line, section.name, rules)
        except ConfigError as error:
            report.failed(line.place, error)
