"""A configuration at work, as the loop's thread sees it: listeners, sessions, checks, changes.

:class:`dsbalance.proxy.Proxy` calls this from other threads; here everything happens on one, and
nothing waits. What is decided is decided in :mod:`dsbalance.backends`; this carries it out.
"""

from __future__ import annotations

import enum
import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from dsbalance.approach import Approach, call_up
from dsbalance.backends import Backends
from dsbalance.balancer import Balancer, Change, Placement
from dsbalance.candidates import Client
from dsbalance.console import Console
from dsbalance.entrance import Entrance
from dsbalance.entrances import Entrances
from dsbalance.errors import ConfigError, Problem
from dsbalance.explanation import Step, explain_now
from dsbalance.gazette import Gazette
from dsbalance.haproxy.server_log import Cause
from dsbalance.limits import Budget
from dsbalance.listener import Hall
from dsbalance.loop import Loop
from dsbalance.model import Backend, Config, Frontend, Server
from dsbalance.operations import Operations, split
from dsbalance.pages import Pages
from dsbalance.recall import recall_states
from dsbalance.relay import Ending
from dsbalance.resolve import Located, Target
from dsbalance.service import Desk, Tools
from dsbalance.splice import BUFFER_SIZE, PipePool
from dsbalance.sticky import Entry
from dsbalance.survey import Parts
from dsbalance.watching import Watching

if TYPE_CHECKING:
    from dsbalance.desk import Office

_log = logging.getLogger("dsbalance.engine")

# A policy that fails is reported once in this many seconds, however many clients come.
_COMPLAINT_INTERVAL = 60.0
# How often there is a look at what has no event of its own, in seconds.
_HOUSEKEEPING = 1.0

Places = dict[str, Located]
"""Server name -> where it is."""


class _Life(enum.Enum):
    """NEW: what comes and goes is noted. OPEN: it is listened on and checked. CLOSED: no more."""

    NEW = enum.auto()
    OPEN = enum.auto()
    CLOSED = enum.auto()


class Engine:
    """Frontends, backends, checks and sessions on one loop.

    Args:
        config: What to run.
        places: Where the servers of each backend are, by its name.
        loop: Where it runs.
        budget: How many sessions and pipes there may be.

    Attributes:
        operations: What operators may see and do.
        on_idle: Called once when, after :meth:`close_ports`, the last session has ended.
    """

    def __init__(
        self, config: Config, places: dict[str, Places], loop: Loop, budget: Budget
    ) -> None:
        self.on_idle: Callable[[], None] | None = None
        self._life = _Life.NEW
        self._loop = loop
        self._started_at = loop.now
        # What a frontend without a limit of its own may have decides on the default of `fullconn`.
        maxconn = config.maxconn or budget.maxconn
        self._backends = Backends(replace(config, maxconn=maxconn), now=loop.now)
        self._gazette = Gazette(config, self._backends)
        for backend in config.backends:
            self._gazette.open_backend(backend)
        self._targets: dict[str, dict[str, Target]] = {}
        checked = partial(self._apply, cause=Cause.CHECK)
        self._watching = Watching(loop, self._backends, checked, self._gazette.tell_check)
        for name, located in places.items():
            self._take_places(name, located)
        self._pool = PipePool(budget.pipes)
        self._pages = Pages()
        self._pages.read((*config.frontends, *config.backends))
        self._looked_at = loop.now
        hall = Hall(loop, budget.maxconn)
        # Once a section has a page: what all pages share.
        self._office: Office | None = None
        self._entrances = Entrances(
            self._backends,
            self._targets,
            hall,
            Tools(
                loop,
                memoryview(bytearray(BUFFER_SIZE)),
                self._pool,
                self._heed,
                self._pages.answers,
                self._make_desk,
                self._gazette.open_frontend,
                lambda: hall.room.used,
            ),
            self._look_idle,
        )
        made = (self._backends, self._entrances, self._watching, self._targets, self._pool)
        self.operations = Operations(Parts(config, budget, loop, *made, self._apply, self._gazette))
        self.operations.survey.drops = lambda: self._gazette.dropped
        self._console = Console(loop, self.operations, config)
        self._callbacks: list[Callable[[Change], None]] = []
        self._quiet_until: dict[str, float] = {}
        self._entrances.begin(config.frontends)
        recall_states(self.operations.parts)

    # -- life

    def open(self) -> None:
        """Listen everywhere, or nowhere, and begin to check.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        try:
            self._entrances.open()
            self._watching.open()
            self._console.open()
        except BaseException:
            self._console.close()
            self._entrances.close()
            raise
        self._life = _Life.OPEN
        self._keep_house()
        for entrance in self._entrances:
            _say_open(entrance)

    def close_ports(self) -> None:
        """Accept nobody any more; sessions go on, conversations to the end of their request."""
        self.operations.survey.is_stopping = True
        self._entrances.close()
        self._gazette.tell_end({e.frontend.name: e.counters.total for e in self._entrances})
        self._entrances.retire()
        self._look_idle()

    def close(self) -> None:
        """End everything."""
        self._life = _Life.CLOSED
        self._watching.close()
        self._entrances.kill()
        self._pages.close()
        self._pool.close()
        self._console.close()
        self._gazette.close()

    # -- what there is

    def stick_entries(self, backend: str) -> list[Entry]:
        """Return what is in the stick table that a backend owns, or raise ConfigError."""
        return list(self._backends.table(backend).entries(self._loop.now))

    def explain(self, backend: str, client: Client) -> tuple[Step, ...]:
        """Return why a client would go where it would go now, or raise ConfigError."""
        return explain_now(self._backends.balancer(backend), client, self._loop.now)

    def addresses(self, frontend: str) -> list[tuple[str, int]]:
        """Return where a frontend listens, or raise ConfigError."""
        return self._entrances.find(frontend).addresses()

    def subscribe(self, callback: Callable[[Change], None]) -> None:
        """Tell ``callback`` of each change."""
        self._callbacks.append(callback)

    # -- parts that come and go

    def add_frontend(self, frontend: Frontend) -> None:
        """Listen for a new frontend, or change nothing and raise ConfigError or ConnectError."""
        if self._life is _Life.CLOSED:
            raise RuntimeError("this proxy has ended: it cannot listen any more")
        self.operations.survey.forget()
        self._pages.read([frontend])
        entrance = self._entrances.add(frontend)
        if self._life is _Life.NEW:
            return
        try:
            entrance.open()
        except BaseException:
            self._entrances.remove(frontend.name)
            self._gazette.close_frontend(frontend.name)
            raise
        _say_open(entrance)

    def remove_frontend(self, name: str) -> None:
        """Close the ports of a frontend, or raise ConfigError."""
        self.operations.survey.forget()
        self._entrances.remove(name)
        self._gazette.close_frontend(name)

    def add_backend(self, backend: Backend, places: Places) -> None:
        """Have one backend more, or change nothing and raise ConfigError."""
        self.operations.survey.forget()
        self._pages.read([backend])
        self._backends.add_backend(backend, self._loop.now)
        self._gazette.open_backend(backend)
        self._take_places(backend.name, places)
        self._watching.begin(backend, backend.servers)

    def remove_backend(self, name: str) -> None:
        """Forget a backend that nobody uses, or raise ConfigError."""
        users = self._entrances.users(name)
        if users:
            raise ConfigError(
                Problem(f"frontend {users[0]} uses it", subject=f"backend {name}"),
            )
        checked = [
            (name, server)
            for server in self._backends.balancer(name).states
            if self._watching.is_checked(name, server)
        ]
        self.operations.survey.forget()
        self._backends.remove_backend(name)
        self._entrances.forget(name)
        self._gazette.close_backend(name)
        for key in checked:
            self._watching.end(*key)
        del self._targets[name]

    def add_server(self, backend: str, server: Server, located: Located) -> None:
        """Let a server take clients, or change nothing and raise ConfigError."""
        changes = self._backends.add_server(backend, server, self._loop.now)
        self._take_places(backend, {server.name: located})
        self._watching.begin(self._backends.balancer(backend).backend, [server])
        self._apply(changes)

    def remove_server(self, path: str) -> None:
        """Forget a server that nobody tracks, or raise ConfigError."""
        backend, server = split(path)
        is_checked = self._watching.is_checked(backend, server)
        changes = self._backends.remove_server(backend, server, self._loop.now)
        if is_checked:
            self._watching.end(backend, server)
        self._apply(changes)

    # -- what follows

    def _take_places(self, backend: str, places: Places) -> None:
        targets = self._targets.setdefault(backend, {})
        for server, located in places.items():
            targets[server] = located.server
            self._watching.targets[backend, server] = located.check

    def _make_desk(self, frontend: Frontend, backend: Backend) -> Desk | None:
        """Return who answers what is asked about the proxy itself; None: nobody does."""
        options = [each.http for each in (frontend, backend) if each.http is not None]
        if not any(http.stats is not None or http.metrics for http in options):
            return None
        if self._office is None:
            # Loaded when it is used: most proxies have no page.
            from dsbalance.desk import Office, World  # noqa: PLC0415

            self._office = Office(World(self._loop, self.operations, self.explain))
        return self._office.make_desk(frontend, backend)

    def _look_idle(self) -> None:
        if self.on_idle is not None and self._entrances.is_empty:
            on_idle, self.on_idle = self.on_idle, None
            on_idle()

    def _apply(self, changes: Iterable[Change], cause: Cause = Cause.OPERATOR) -> None:
        """Log what changed, tell who wants to know, and move the sessions that it concerns."""
        for change in changes:
            self.operations.survey.forget()
            _log_change(change)
            if self._life is _Life.OPEN:
                self._gazette.tell_change(change, cause)
            ending = Ending.SERVER_DOWN if change.is_down else Ending.SERVER_UP
            for placement in change.shutdown:
                if (approach := _approach(placement)) is not None:
                    approach.lose_server(ending)
            for placement in change.requeued:
                if (approach := _approach(placement)) is not None:
                    approach.reroute()
            call_up(self._loop, change.admitted)
            # Last, for a callback may change the same things once more.
            for callback in self._callbacks:
                try:
                    callback(change)
                except (Exception, SystemExit):  # noqa: BLE001 - the guard, for what is not ours
                    _log.exception("a callback raised")

    def _heed(self, balancer: Balancer) -> None:
        """Carry out what failed attempts to connect have come to."""
        alarm = self._backends.take_alarm(balancer, self._loop.now)
        if alarm is not None:
            for server in alarm.servers:
                self._watching.hasten(balancer.name, server)
            self._apply(alarm.changes, Cause.TRAFFIC)

    def _keep_house(self) -> None:
        """Every second: look at what has no event of its own.

        Servers that start slowly carry more, stick entries expire, policies may have failed.
        """
        now = self._loop.now
        # By the clock, not so long after the last time: what is counted in a second is a second's.
        self._loop.after(_HOUSEKEEPING - (now - self._started_at) % _HOUSEKEEPING, self._keep_house)
        elapsed, self._looked_at = now - self._looked_at, now
        self.operations.survey.look(elapsed)
        call_up(self._loop, self._backends.step(now, elapsed))
        for table in self._backends.tables.values():
            table.sweep(now)
        self._entrances.sweep()
        if self._office is not None:
            self._office.step()
        for balancer in self._backends:
            if now >= self._quiet_until.get(balancer.name, now):
                complaint = balancer.take_complaint()
                if complaint is not None:
                    self._quiet_until[balancer.name] = now + _COMPLAINT_INTERVAL
                    _log.error("backend %s: %s; its balance decides", balancer.name, complaint)


def _approach(placement: Placement) -> Approach | None:
    """Return whose placement it is; None: it has ended since the change was made."""
    return placement.owner if isinstance(placement.owner, Approach) else None


def _say_open(entrance: Entrance) -> None:
    frontend = entrance.frontend
    places = " ".join(f"{host}:{port}" for host, port in entrance.addresses())
    backend = "without a backend" if frontend.backend is None else f"for backend {frontend.backend}"
    _log.info("Frontend %s listens on %s, %s", frontend.name, places, backend)


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
    if change.is_outage:
        _log.error("backend %s has no server available!", change.backend)
