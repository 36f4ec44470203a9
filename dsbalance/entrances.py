"""The frontends of a configuration at work, and how they come and go.

Everything here runs on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

from dsbalance.backends import Backends
from dsbalance.balancer import Balancer
from dsbalance.counters import FrontendCounters
from dsbalance.entrance import Entrance
from dsbalance.errors import ConfigError, Problem
from dsbalance.http_options import HttpOptions
from dsbalance.listener import Hall
from dsbalance.lobby import Party
from dsbalance.model import Backend, Frontend
from dsbalance.references import counted, rules_of
from dsbalance.resolve import Target
from dsbalance.service import Reception, Service, Tools
from dsbalance.tracking import Tracking


class Totals(NamedTuple):
    """What came in at all frontends, those that were removed too, whatever was cleared since.

    Attributes:
        sessions: Client connections.
        requests: Requests.
        bytes_out: To clients.
    """

    sessions: int = 0
    requests: int = 0
    bytes_out: int = 0

    def plus(self, counters: FrontendCounters) -> Totals:
        """Return the sum with what was counted at a frontend."""
        sessions, requests, bytes_out = self
        return Totals(
            sessions + counters.total,
            requests + counters.requests,
            bytes_out + counters.bytes_out,
        )


class Entrances:
    """All frontends of a configuration, at work. It is the :class:`dsbalance.door.World` of rules.

    Args:
        backends: Where the clients go.
        targets: Where the servers of each backend are, by its name; kept by the engine.
        hall: Of the process.
        tools: Of the loop.
        on_left: Called when a client's connection has ended.

    Attributes:
        hall: Of the process.
        loop: Where everything runs.
    """

    __slots__ = (
        "_backends",
        "_entrances",
        "_leaving",
        "_on_left",
        "_past",
        "_tables",
        "_targets",
        "_tools",
        "hall",
        "loop",
    )

    def __init__(
        self,
        backends: Backends,
        targets: Mapping[str, dict[str, Target]],
        hall: Hall,
        tools: Tools,
        on_left: Callable[[], None],
    ) -> None:
        self.hall = hall
        self.loop = tools.loop
        self._backends = backends
        self._targets = targets
        self._tools = tools
        self._on_left = on_left
        self._entrances: dict[str, Entrance] = {}
        # What happened at frontends that have gone, and before it was cleared.
        self._past = Totals()
        # Those of frontends that were removed, until their last client has left.
        self._leaving: dict[Party, Entrance] = {}
        # What counts connections, by the section whose stick-table it is.
        self._tables: dict[str, Tracking] = {}

    def __iter__(self) -> Iterator[Entrance]:
        return iter(self._entrances.values())

    def all(self) -> list[Entrance]:
        """Return all frontends, with those that were removed and whose clients are still there."""
        return [*self._entrances.values(), *self._leaving.values()]

    def find(self, name: str) -> Entrance:
        """Return a frontend, or raise ConfigError."""
        if name not in self._entrances:
            raise ConfigError(f"there is no frontend {name!r}")
        return self._entrances[name]

    def begin(self, frontends: Iterable[Frontend]) -> None:
        """Make the frontends of the configuration, which was validated whole."""
        frontends = list(frontends)
        # Each may count in the table of any other.
        for frontend in frontends:
            self._make_table(frontend)
        for frontend in frontends:
            self._entrances[frontend.name] = Entrance(frontend, self)

    def add(self, frontend: Frontend) -> Entrance:
        """Make a frontend, which does not listen yet, or change nothing and raise ConfigError."""
        if frontend.name in self._entrances:
            subject = f"frontend {frontend.name}"
            raise ConfigError(Problem("there is one of this name already", subject=subject))
        self._demand_whole((*(entrance.frontend for entrance in self), frontend))
        self._make_table(frontend)
        entrance = self._entrances[frontend.name] = Entrance(frontend, self)
        return entrance

    def remove(self, name: str) -> None:
        """Close the ports of a frontend and forget it, or raise ConfigError; sessions go on."""
        entrance = self.find(name)
        self._demand_whole(tuple(other.frontend for other in self if other is not entrance))
        del self._entrances[name]
        if entrance.frontend.table is not None:
            self._tables.pop(name, None)
        entrance.close()
        if not entrance.party.is_empty:
            self._leaving[entrance.party] = entrance
        else:
            self._past = self._past.plus(entrance.counters)

    def totals(self) -> Totals:
        """Return what came in so far. O(frontends)."""
        totals = self._past
        for entrance in self.all():
            totals = totals.plus(entrance.counters)
        return totals

    def clear(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all but :meth:`totals`."""
        self.hall.room.most = 0
        if is_all:
            self._past = self.totals()
        for entrance in self.all():
            entrance.clear(is_all=is_all)

    def open(self) -> None:
        """Listen everywhere, or nowhere.

        Raises:
            ConnectError: A port cannot be listened on.
        """
        try:
            for entrance in self:
                entrance.open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close all ports; sessions go on."""
        for entrance in self:
            entrance.close()

    def retire(self) -> None:
        """Let everybody go who has nothing under way."""
        for entrance in self.all():
            entrance.retire()

    def kill(self) -> None:
        """Close all ports and end everybody who is there."""
        self.close()
        for entrance in self.all():
            entrance.kill()

    @property
    def is_empty(self) -> bool:
        """Whether nobody is there, at any frontend."""
        return all(entrance.party.is_empty for entrance in self.all())

    def users(self, backend: str) -> list[str]:
        """Return the frontends that need a backend, or have clients that may."""
        frontends = [entrance.frontend for entrance in self.all()]
        return [frontend.name for frontend in frontends if backend in _needs(frontend)]

    def forget(self, backend: str) -> None:
        """Let the counters of a backend's table go: it was removed."""
        self._tables.pop(backend, None)

    def sweep(self) -> None:
        """Remove what has lapsed in the tables that count connections."""
        for table in self._tables.values():
            table.sweep(self.now)

    # -- what an entrance asks

    @property
    def now(self) -> float:
        """The instant of this turn."""
        return self.loop.now

    def nbsrv(self, backend: str | None) -> int | None:
        """Return how many servers of a backend may be chosen; None: no backend is named."""
        return None if backend is None else len(self._backends.balancer(backend).candidates)

    def service(self, frontend: Frontend, backend: str | None, reception: Reception) -> Service:
        """Return the way from a frontend to a backend; None: to nobody."""
        if backend is None:
            http = None if frontend.http is None else HttpOptions()
            nobody = Balancer(Backend(name=frontend.name, http=http), {})
            return Service(frontend, nobody, {}, self._tools, reception)
        balancer = self._backends.balancer(backend)
        return Service(frontend, balancer, self._targets[backend], self._tools, reception)

    def table(self, frontend: Frontend, name: str | None) -> Tracking:
        """Return what counts in the stick-table of a section; None: that of the frontend."""
        owner = frontend.name if name is None else name
        if owner not in self._tables:
            self._make_table(self._backends.balancer(owner).backend)
        return self._tables[owner]

    def left(self, party: Party) -> None:
        """A client of a frontend has left."""
        if self._leaving and party.is_empty:
            entrance = self._leaving.pop(party, None)
            if entrance is not None:
                self._past = self._past.plus(entrance.counters)
        self._on_left()

    def _make_table(self, section: Frontend | Backend) -> None:
        if section.table is not None:
            self._tables[section.name] = Tracking(section.table)

    def _demand_whole(self, frontends: tuple[Frontend, ...]) -> None:
        """Raise ConfigError if ``frontends`` are not all that they and the backends name."""
        replace(self._backends.config, frontends=frontends)


def _needs(frontend: Frontend) -> set[str]:
    """Return the sections that a frontend names."""
    rules = rules_of(frontend.http)
    tables = {rule.table for rule in frontend.door if rule.table is not None}
    return {*frontend.ways} | tables | counted((*frontend.door, *frontend.routes, *rules))
