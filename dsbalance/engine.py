"""A configuration at work, as the loop's thread sees it: listeners, sessions, checks, changes.

:class:`dsbalance.proxy.Proxy` calls this from other threads; here everything happens on one, and
nothing waits. What is decided is decided in :mod:`dsbalance.backends`; this carries it out.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial

from dsbalance.backends import Backends
from dsbalance.balancer import AdminState, Change, Placement
from dsbalance.errors import ConfigError, Problem
from dsbalance.health import CheckResult, HealthChecker, Watch
from dsbalance.limits import Budget
from dsbalance.listener import Entrance, Hall
from dsbalance.loop import Loop
from dsbalance.model import Backend, Config, Frontend, Server
from dsbalance.relay import Ending, Limits
from dsbalance.resolve import Located, Target
from dsbalance.service import Service
from dsbalance.session import Session, resume
from dsbalance.splice import BUFFER_SIZE, PipePool
from dsbalance.stats import FrontendSnapshot, Snapshot

_log = logging.getLogger("dsbalance.engine")

# A policy that fails is reported once in this many seconds, however many clients come.
_COMPLAINT_INTERVAL = 60.0
# How often there is a look at what has no event of its own, in seconds.
_HOUSEKEEPING = 1.0

Places = dict[str, Located]
"""Server name -> where it is."""


class Engine:
    """Frontends, backends, checks and sessions on one loop.

    Args:
        config: What to run.
        places: Where the servers of each backend are, by its name.
        loop: Where it runs.
        budget: How many sessions and pipes there may be.

    Attributes:
        on_idle: Called once when, after :meth:`close_ports`, the last session has ended.
    """

    def __init__(
        self, config: Config, places: dict[str, Places], loop: Loop, budget: Budget
    ) -> None:
        self.on_idle: Callable[[], None] | None = None
        self._loop = loop
        self._started_at = loop.now
        self._backends = Backends(config, now=loop.now)
        self._targets: dict[str, dict[str, Target]] = {}
        self._check_targets: dict[tuple[str, str], Target] = {}
        for backend, located in places.items():
            self._take_places(backend, located)
        self._hall = Hall(loop, budget.maxconn)
        self._pool = PipePool(budget.pipes)
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._checker = HealthChecker(loop)
        self._callbacks: list[Callable[[Change], None]] = []
        self._quiet_until: dict[str, float] = {}
        self._services: dict[str, tuple[Entrance, Service]] = {}
        # Those of frontends that were removed, until their last session has ended.
        self._leaving: set[Service] = set()
        for frontend in config.frontends:
            self._make_service(frontend)

    # -- life

    def open(self) -> None:
        """Listen everywhere, or nowhere, and begin to check.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        try:
            for entrance, service in self._services.values():
                entrance.open(service)
        except BaseException:
            for entrance, _ in self._services.values():
                entrance.close()
            raise
        self._checker.watch_all(
            self._watch(backend, server)
            for backend in self._backends.config.backends
            for server in backend.servers
            if server.check is not None
        )
        self._keep_house()

    def close_ports(self) -> None:
        """Accept nobody any more; sessions go on."""
        for entrance, _ in self._services.values():
            entrance.close()
        self._look_idle()

    def close(self) -> None:
        """End everything."""
        for entrance, _ in self._services.values():
            entrance.close()
        self._checker.close()
        for session in self._sessions():
            session.kill(Ending.KILLED)
        self._pool.close()

    # -- operation

    def set_admin(self, path: str, admin: AdminState) -> None:
        """Change what an operator wants of ``backend/server``, or raise ConfigError."""
        backend, server = self._split(path)
        changes = self._backends.set_admin(backend, server, admin, self._loop.now)
        if self._is_checked(backend, server):
            if admin is AdminState.MAINT:
                self._checker.pause((backend, server))
            else:
                self._checker.resume((backend, server))
        self._apply(changes)

    def set_weight(self, path: str, weight: int) -> None:
        """Change the share of ``backend/server``, or raise ConfigError."""
        backend, server = self._split(path)
        self._apply(self._backends.set_weight(backend, server, weight, self._loop.now))

    def addresses(self, frontend: str) -> list[tuple[str, int]]:
        """Return where a frontend listens, or raise ConfigError."""
        return self._find(frontend)[0].addresses()

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Tell ``callback`` of each change."""
        self._callbacks.append(callback)

    def snapshot(self) -> Snapshot:
        """Return what there is to know now."""
        now = self._loop.now
        return Snapshot(
            uptime=now - self._started_at,
            frontends=tuple(
                _picture(entrance, service) for entrance, service in self._services.values()
            ),
            backends=self._backends.snapshot(now),
        )

    # -- parts that come and go

    def add_frontend(self, frontend: Frontend) -> None:
        """Listen for a new frontend, or change nothing and raise ConfigError or ConnectError."""
        subject = f"frontend {frontend.name}"
        if frontend.name in self._services:
            raise ConfigError(Problem("there is one of this name already", subject=subject))
        if frontend.backend not in self._targets:
            raise ConfigError(Problem(f"there is no backend {frontend.backend!r}", subject=subject))
        entrance, service = self._make_service(frontend)
        try:
            entrance.open(service)
        except BaseException:
            del self._services[frontend.name]
            raise

    def remove_frontend(self, name: str) -> None:
        """Close the ports of a frontend, or raise ConfigError."""
        entrance, service = self._find(name)
        del self._services[name]
        entrance.close()
        if service.sessions:
            self._leaving.add(service)

    def add_backend(self, backend: Backend, places: Places) -> None:
        """Have one backend more, or change nothing and raise ConfigError."""
        self._backends.add_backend(backend, self._loop.now)
        self._take_places(backend.name, places)
        self._checker.watch_all(
            self._watch(backend, server) for server in backend.servers if server.check is not None
        )

    def remove_backend(self, name: str) -> None:
        """Forget a backend that nobody uses, or raise ConfigError."""
        users = [e.frontend.name for e, s in self._services.values() if e.frontend.backend == name]
        users += [service.name for service in self._leaving if service.balancer.name == name]
        if users:
            raise ConfigError(
                Problem(f"frontend {users[0]} uses it", subject=f"backend {name}"),
            )
        checked = [
            (name, server)
            for server in self._backends.balancer(name).states
            if self._is_checked(name, server)
        ]
        self._backends.remove_backend(name)
        for key in checked:
            self._checker.unwatch(key)
        del self._targets[name]

    def add_server(self, backend: str, server: Server, located: Located) -> None:
        """Let a server take clients, or change nothing and raise ConfigError."""
        changes = self._backends.add_server(backend, server, self._loop.now)
        self._take_places(backend, {server.name: located})
        if server.check is not None:
            config = self._backends.balancer(backend).backend
            self._checker.watch_all([self._watch(config, server)])
        self._apply(changes)

    def remove_server(self, path: str) -> None:
        """Forget a server that nobody tracks, or raise ConfigError."""
        backend, server = self._split(path)
        is_checked = self._is_checked(backend, server)
        changes = self._backends.remove_server(backend, server, self._loop.now)
        if is_checked:
            self._checker.unwatch((backend, server))
        self._apply(changes)
        del self._targets[backend][server]

    # -- what follows

    def _take_places(self, backend: str, places: Places) -> None:
        targets = self._targets.setdefault(backend, {})
        for server, located in places.items():
            targets[server] = located.server
            self._check_targets[backend, server] = located.check

    def _make_service(self, frontend: Frontend) -> tuple[Entrance, Service]:
        backend = self._backends.balancer(frontend.backend).backend
        entrance = Entrance(frontend, self._hall)
        service = Service(
            name=frontend.name,
            loop=self._loop,
            balancer=self._backends.balancer(frontend.backend),
            targets=self._targets[frontend.backend],
            buffer=self._buffer,
            pool=self._pool,
            limits=Limits(
                client=frontend.timeout_client,
                server=backend.timeout_server,
                tunnel=backend.timeout_tunnel,
                client_fin=frontend.timeout_client_fin,
                server_fin=backend.timeout_server_fin,
            ),
            timeout_connect=backend.timeout_connect,
            timeout_queue=backend.timeout_queue or backend.timeout_connect,
            keepalive=backend.keepalive,
            on_left=partial(self._left, entrance),
        )
        self._services[frontend.name] = entrance, service
        return entrance, service

    def _left(self, entrance: Entrance, service: Service) -> None:
        entrance.leave()
        if service in self._leaving and not service.sessions:
            self._leaving.remove(service)
        if self.on_idle is not None:
            self._look_idle()

    def _look_idle(self) -> None:
        if self.on_idle is not None and not any(self._sessions()):
            on_idle, self.on_idle = self.on_idle, None
            on_idle()

    def _sessions(self) -> list[Session]:
        services = (*(service for _, service in self._services.values()), *self._leaving)
        return [session for service in services for session in service.sessions]

    def _watch(self, backend: Backend, server: Server) -> Watch:
        return Watch(
            server=server,
            key=(backend.name, server.name),
            target=self._check_targets[backend.name, server.name],
            connect_timeout=backend.timeout_connect,
            gate=self._backends.balancer(backend.name).states[server.name].gate,
            on_result=partial(self._checked, backend.name, server.name),
        )

    def _checked(self, backend: str, server: str, result: CheckResult) -> None:
        now = self._loop.now
        reason = f"{result.reason} at port {result.port}"
        if result.detail:
            reason += f" ({result.detail})"
        if result.is_passed:
            self._apply(self._backends.check_passed(backend, server, now, reason))
        elif not result.is_local:
            self._apply(self._backends.check_failed(backend, server, now, reason))

    def _is_checked(self, backend: str, server: str) -> bool:
        states = self._backends.balancer(backend).states
        return server in states and states[server].server.check is not None

    def _apply(self, changes: Iterable[Change]) -> None:
        """Log what changed, tell who wants to know, and move the sessions that it concerns."""
        for change in changes:
            _log_change(change)
            for callback in self._callbacks:
                try:
                    callback(change)
                except Exception:  # noqa: BLE001 - the guard, for what is not ours
                    _log.exception("a callback raised")
            for placement in change.shutdown:
                _session(placement).lose_server()
            for placement in change.requeued:
                _session(placement).reroute()
            resume(self._loop, change.admitted)

    def _keep_house(self) -> None:
        """Every second: forget stick entries that have expired, say which policies have failed."""
        now = self._loop.now
        for table in self._backends.tables.values():
            table.sweep(now)
        for balancer in self._backends:
            if now >= self._quiet_until.get(balancer.name, now):
                complaint = balancer.take_complaint()
                if complaint is not None:
                    self._quiet_until[balancer.name] = now + _COMPLAINT_INTERVAL
                    _log.error("backend %s: %s; its balance decides", balancer.name, complaint)
        self._loop.after(_HOUSEKEEPING, self._keep_house)

    def _find(self, frontend: str) -> tuple[Entrance, Service]:
        if frontend not in self._services:
            raise ConfigError(f"there is no frontend {frontend!r}")
        return self._services[frontend]

    @staticmethod
    def _split(path: str) -> tuple[str, str]:
        backend, slash, server = path.partition("/")
        if not slash:
            raise ConfigError(f"a server is named BACKEND/SERVER, not {path!r}")
        return backend, server


def _session(placement: Placement) -> Session:
    assert isinstance(placement.owner, Session)
    return placement.owner


def _picture(entrance: Entrance, service: Service) -> FrontendSnapshot:
    room, counters = entrance.room, service.counters
    return FrontendSnapshot(
        name=service.name,
        status="FULL" if room.is_full() else "OPEN",
        maxconn=room.limit,
        current=room.used,
        peak=room.most,
        total=counters.total,
        bytes_in=counters.bytes_in,
        bytes_out=counters.bytes_out,
    )


def _log_change(change: Change) -> None:
    """Say it in the words that HAProxy's log has for it."""
    level = logging.WARNING if change.new.startswith(("DOWN", "MAINT")) else logging.INFO
    _log.log(
        level,
        "Server %s/%s is %s (was %s), reason: %s. %d active and %d backup servers left."
        " %d sessions active, %d requeued, %d remaining in queue.",
        change.backend,
        change.server,
        change.new or "gone",
        change.old or "new",
        change.reason,
        change.active,
        change.backups,
        change.sessions,
        len(change.requeued),
        change.queued,
    )
    if not change.active and not change.backups:
        _log.error("backend %s has no server available!", change.backend)
