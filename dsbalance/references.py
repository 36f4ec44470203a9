"""The names in a configuration: each has one owner, and finds what it names. No I/O.

    who names          whom                       who has to
    default_backend    a backend                  be of the frontend's mode
    use_backend        a backend                  be of the frontend's mode
    stick              a backend                  own a table
    track-sc0          a frontend or a backend    own a table that counts connections
    nbsrv              a backend
    track              a server                   be checked itself

:class:`~dsbalance.model.Config` asks for what is wrong when it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.errors import Problem
from dsbalance.http_options import HttpOptions, RequestRule, ResponseRule
from dsbalance.stats_options import StatsPage
from dsbalance.validation import repeated

if TYPE_CHECKING:
    from dsbalance.model import Config

_Rule = DoorRule | BackendRule | RequestRule | ResponseRule | StatsPage


def ambiguous(config: Config) -> Iterator[Problem]:
    """Yield a problem for each name in ``config`` that several would answer to."""
    guids = [s.guid for b in config.backends for s in b.servers if s.guid is not None]
    yield from map(Problem, repeated("frontend", [f.name for f in config.frontends]))
    yield from map(Problem, repeated("backend", [b.name for b in config.backends]))
    yield from map(Problem, repeated("guid", guids))
    yield from _renumbered(config)
    owners = {backend.name for backend in config.backends if backend.table is not None}
    for frontend in config.frontends:
        if frontend.table is not None and frontend.name in owners:
            message = "it and the backend of its name have a stick-table each"
            yield Problem(message, subject=f"frontend {frontend.name}")


def _renumbered(config: Config) -> Iterator[Problem]:
    """Yield a problem for each proxy with the id of another one; a ``listen`` has one for both."""
    owners: dict[int, str] = {}
    for kind, proxies in (("frontend", config.frontends), ("backend", config.backends)):
        for proxy in proxies:
            if proxy.id is None:
                continue
            owner = owners.setdefault(proxy.id, proxy.name)
            if owner != proxy.name:
                message = f"id {proxy.id} is that of {owner} already"
                yield Problem(message, subject=f"{kind} {proxy.name}")


def dangling(config: Config) -> Iterator[Problem]:
    """Yield a problem for each name in ``config`` that nothing fit for it answers to."""
    yield from _unserved(config)
    yield from _untracked(config)
    yield from _uncounted(config)
    tables = {backend.name for backend in config.backends if backend.table is not None}
    for backend in config.backends:
        for rule in backend.stick:
            owner = backend.name if rule.table is None else rule.table
            if owner not in tables:
                yield Problem(
                    f"stick: {owner!r} has no stick-table", subject=f"backend {backend.name}"
                )
    yield from _unfollowed(config)


def _unserved(config: Config) -> Iterator[Problem]:
    """Yield a problem for each backend that a frontend names and cannot use."""
    backends = {backend.name: backend for backend in config.backends}
    for frontend in config.frontends:
        for name in frontend.ways:
            backend = backends.get(name)
            if backend is None:
                message = f"there is no backend {name!r}"
            elif (backend.http is None) is (frontend.http is None):
                continue
            else:
                modes = ("tcp", "http") if frontend.http else ("http", "tcp")
                message = "backend {!r} is in mode {}, the frontend in mode {}".format(name, *modes)
            yield Problem(message, subject=f"frontend {frontend.name}")


def _untracked(config: Config) -> Iterator[Problem]:
    """Yield a problem for each table that clients are to be tracked in and cannot be."""
    tables = {b.name: b.table for b in config.backends if b.table is not None}
    tables.update((f.name, f.table) for f in config.frontends if f.table is not None)
    for frontend in config.frontends:
        for rule in frontend.door:
            if rule.action is not DoorAction.TRACK:
                continue
            subject = f"frontend {frontend.name}"
            owner = frontend.name if rule.table is None else rule.table
            table = tables.get(owner)
            if table is None:
                yield Problem(f"track-sc0: {owner!r} has no stick-table", subject=subject)
            elif not table.counts_connections:
                message = f"track-sc0: the stick-table of {owner!r} stores no connections"
                yield Problem(message, subject=subject)


def _uncounted(config: Config) -> Iterator[Problem]:
    """Yield a problem for each ``nbsrv`` of a backend that there is not."""
    backends = {backend.name for backend in config.backends}
    for frontend in config.frontends:
        rules: list[_Rule] = [*frontend.door, *frontend.routes, *rules_of(frontend.http)]
        for name in sorted(counted(rules) - backends) if rules else ():
            message = f"nbsrv: there is no backend {name!r}"
            yield Problem(message, subject=f"frontend {frontend.name}")
    for backend in config.backends:
        for name in sorted(counted(rules_of(backend.http)) - backends) if backend.http else ():
            message = f"nbsrv: there is no backend {name!r}"
            yield Problem(message, subject=f"backend {backend.name}")


def rules_of(http: HttpOptions | None) -> Sequence[_Rule]:
    """Return what in ``mode http`` may depend on a condition."""
    if http is None:
        return ()
    pages = () if http.stats is None else (http.stats,)
    return (*http.request_rules, *http.response_rules, *pages)


def counted(rules: Iterable[_Rule]) -> set[str]:
    """Return the backends whose servers the conditions of ``rules`` count."""
    found: set[str] = set()
    # A long ACL may stand in many conditions.
    seen: set[int] = set()
    for rule in rules:
        for alternative in rule.condition.alternatives if rule.condition else ():
            for term in alternative:
                if id(term) not in seen:
                    seen.add(id(term))
                    found.update(test.backend for test in term.tests if test.backend is not None)
    return found


def _unfollowed(config: Config) -> Iterator[Problem]:
    """Yield a problem for each server whose health cannot be tracked."""
    pairs = [(backend.name, server) for backend in config.backends for server in backend.servers]
    tracking = [(name, server.name, server.track) for name, server in pairs if server.track]
    servers = {f"{name}/{server.name}": server for name, server in pairs} if tracking else {}
    for backend_name, server_name, track in tracking:
        subject = f"backend {backend_name}, server {server_name}"
        other = servers.get(track)
        if other is None:
            yield Problem(f"track: there is no server {track!r}", subject=subject)
        elif other.track is not None:
            yield Problem(f"track: {track} tracks another server itself", subject=subject)
        elif other.check is None:
            yield Problem(f"track: {track} is not checked", subject=subject)
