"""All backends of a configuration, and what links them: stick tables and ``track``. No I/O.

    link                        means
    stick ... table BACKEND     several backends share the table that one of them owns
    track BACKEND/SERVER        a server shares the health of another one, its leader, and inherits
                                what is asked of it: maintenance and drain, not the weight

What is asked of a server itself and what it inherits are kept apart: it is back in service when
neither keeps it out.

Every change of what there is makes a new :class:`Config` first, which refuses whatever would leave
something dangling; only then does anything happen. Frontends are the caller's to keep.

Source: the HAProxy 2.6 manual, ``stick``, ``stick-table`` and ``track``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from dsbalance.aftermath import Alarm
from dsbalance.balancer import (
    AdminState,
    Balancer,
    Change,
    Health,
    Placement,
    ServerState,
)
from dsbalance.checks import CheckResult
from dsbalance.errors import ConfigError, Problem
from dsbalance.model import Backend, Config, Server, TableType
from dsbalance.policy import own_policy
from dsbalance.sticky import StickTable


class Backends:
    """The balancers and stick tables of a configuration. For the loop's thread alone.

    Iterating is over the balancers. Methods that take a name raise ConfigError for one that is not
    there, except for the result of a check, which may come late. A list of changes is to be carried
    out in its order: the server's own first, then those of the servers that track it.

    Attributes:
        config: The backends as they are now, with the weights of the configuration, and no
            frontends.
    """

    __slots__ = ("_balancers", "_followers", "_fullconns", "_tables", "config")

    def __init__(self, config: Config, now: float = 0.0) -> None:
        """Make the balancers and tables, and link them.

        Args:
            config: Of its frontends, only how many sessions they may have.
            now: Monotonic seconds at the start.

        Raises:
            ConfigError: A policy cannot be made.
        """
        self.config = replace(config, frontends=())
        self._fullconns = _fullconns(config)
        self._tables: dict[str, StickTable] = {}
        self._balancers: dict[str, Balancer] = {}
        self._followers: dict[tuple[str, str], list[tuple[str, str]]] = {}
        for backend in config.backends:
            self._make_table(backend)
        for backend in config.backends:
            self._make_balancer(backend, now)
        for backend in config.backends:
            self._link(backend)

    def __iter__(self) -> Iterator[Balancer]:
        return iter(self._balancers.values())

    def __len__(self) -> int:
        return len(self._balancers)

    def balancer(self, name: str) -> Balancer:
        """Return the balancer of a backend."""
        if name not in self._balancers:
            raise ConfigError(f"there is no backend {name!r}")
        return self._balancers[name]

    def table(self, name: str) -> StickTable:
        """Return the stick table that a backend owns."""
        if name not in self._tables:
            raise ConfigError(f"there is no stick-table {name!r}")
        return self._tables[name]

    @property
    def tables(self) -> dict[str, StickTable]:
        """Name of a backend -> the table that it owns, for those that own one."""
        return dict(self._tables)

    def state(self, backend: str, server: str) -> ServerState:
        """Return a server as it is now; to be read."""
        return self.balancer(backend).settings.find(server)

    def clear(self, *, is_all: bool) -> None:
        """Forget the highest values, or with ``is_all`` all that was counted."""
        for balancer in self:
            balancer.settings.clear(is_all=is_all)

    def followers(self, backend: str, server: str) -> list[tuple[str, str]]:
        """Return backend and name of each server that tracks this one."""
        return list(self._followers.get((backend, server), ()))

    # -- what happens to a server

    def note_check(self, backend: str, server: str, now: float, result: CheckResult) -> None:
        """Keep what a check came to, for whoever looks; what follows from it is told apart."""
        if backend in self._balancers:
            self._balancers[backend].settings.note_check(server, now, result)

    def check_passed(self, backend: str, server: str, now: float, reason: str = "") -> list[Change]:
        """Take in a passed check of a server, for it and those that track it.

        Args:
            backend: Its backend.
            server: Its name.
            now: Monotonic seconds.
            reason: What the check came to, in words.
        """
        if backend not in self._balancers:
            return []
        changes = self._balancers[backend].check_passed(server, now, reason)
        return self._tell(backend, server, changes, now)

    def check_failed(self, backend: str, server: str, now: float, reason: str = "") -> list[Change]:
        """Take in a failed check of a server, for it and those that track it; see the above."""
        if backend not in self._balancers:
            return []
        changes = self._balancers[backend].check_failed(server, now, reason)
        return self._tell(backend, server, changes, now)

    def take_alarm(self, backend: Balancer, now: float) -> Alarm | None:
        """Return what failed attempts have come to, for servers and those that track them.

        See :meth:`dsbalance.balancer.Balancer.take_alarm`; the backend may have been removed.
        """
        alarm = backend.take_alarm(now)
        if alarm is None:
            return None
        changes = [*alarm.changes]
        for change in alarm.changes:
            changes = self._tell(change.backend, change.server, changes, now)
        return alarm._replace(changes=tuple(changes))

    def step(self, now: float, elapsed: float = 1.0) -> list[Placement]:
        """Do what is due once a second, and return the sessions that are let in by it.

        See :meth:`dsbalance.balancer.Balancer.step`.
        """
        return [placement for balancer in self for placement in balancer.step(now, elapsed)]

    def set_health(self, backend: str, server: str, health: Health, now: float) -> list[Change]:
        """Take a server, and those that track it, to be as ``health`` says until its checks differ.

        Raises:
            ConfigError: It tracks another one itself.
        """
        changes = self.balancer(backend).set_health(server, health, now)
        return self._tell(backend, server, changes, now)

    def set_admin(self, backend: str, server: str, admin: AdminState, now: float) -> list[Change]:
        """Make a server ready, drain it, or take it into maintenance, with those that track it."""
        changes = self.balancer(backend).set_admin(server, admin, now)
        return self._tell(backend, server, changes, now)

    def set_weight(self, backend: str, server: str, weight: int, now: float) -> list[Change]:
        """Give a server another weight; those that track it keep theirs.

        Raises:
            ConfigError: The weight is not from 0 to 256.
        """
        return self.balancer(backend).set_weight(server, weight, now)

    # -- what there is

    def add_backend(self, backend: Backend, now: float) -> None:
        """Add a backend.

        Raises:
            ConfigError: The name is taken, a table or leader that it names is not there, or its
                policy cannot be made. Nothing has changed then.
        """
        config = replace(self.config, backends=(*self.config.backends, backend))
        self._make_table(backend)
        try:
            self._make_balancer(backend, now)
        except ConfigError:
            self._tables.pop(backend.name, None)
            raise
        self.config = config
        self._link(backend)

    def remove_backend(self, name: str) -> None:
        """Forget a backend. Sessions that have its balancer may use it to their end.

        Raises:
            ConfigError: Another backend uses its table, or tracks one of its servers.
        """
        balancer = self.balancer(name)
        rest = tuple(backend for backend in self.config.backends if backend.name != name)
        self.config = replace(self.config, backends=rest)
        for server in balancer.backend.servers:
            self._unlink(name, server)
        del self._balancers[name]
        self._tables.pop(name, None)

    def add_server(self, backend: str, server: Server, now: float) -> list[Change]:
        """Add a server to a backend, behind the others.

        Raises:
            ConfigError: Its name or id is taken, or it tracks a server that is not there.
        """
        balancer = self.balancer(backend)
        servers = (*balancer.backend.servers, server)
        config = self._replaced(replace(balancer.backend, servers=servers))
        leader = None if server.track is None else self.state(*_split(server.track))
        changes = balancer.add_server(server, now, leader)
        self.config = config
        self._follow(backend, server)
        return changes

    def remove_server(self, backend: str, server: str, now: float) -> list[Change]:
        """Remove a server; the sessions that have a place there go on until they end.

        Raises:
            ConfigError: Another server tracks it.
        """
        followers = self.followers(backend, server)
        if followers:
            message = f"it cannot be removed: {'/'.join(followers[0])} tracks it"
            subject = f"backend {backend}, server {server}"
            raise ConfigError(Problem(message, subject=subject))
        balancer = self.balancer(backend)
        rest = tuple(other for other in balancer.backend.servers if other.name != server)
        config = self._replaced(replace(balancer.backend, servers=rest))
        gone = [other for other in balancer.backend.servers if other.name == server]
        changes = balancer.remove_server(server, now)
        self.config = config
        self._unlink(backend, gone[0])
        return changes

    # -- links

    def _make_table(self, backend: Backend) -> None:
        table = backend.table
        if table is not None:
            self._tables[backend.name] = StickTable(
                size=table.size,
                ttl=table.expire,
                accepts_ipv6=table.type is TableType.IPV6,
                nopurge=table.nopurge,
                srvkey=table.srvkey,
            )

    def _make_balancer(self, backend: Backend, now: float) -> None:
        self._balancers[backend.name] = Balancer(
            backend, self._tables, own_policy(backend), now, self._fullconns.get(backend.name, 1)
        )

    def _link(self, backend: Backend) -> None:
        """Let the servers of a backend follow their leaders, all of which are there now."""
        for server in backend.servers:
            if server.track is not None:
                leader = self.state(*_split(server.track))
                self._balancers[backend.name].follow(server.name, leader)
                self._follow(backend.name, server)

    def _follow(self, backend: str, server: Server) -> None:
        if server.track is not None:
            self._followers.setdefault(_split(server.track), []).append((backend, server.name))

    def _unlink(self, backend: str, server: Server) -> None:
        if server.track is not None:
            self._followers[_split(server.track)].remove((backend, server.name))

    def _tell(self, backend: str, server: str, changes: list[Change], now: float) -> list[Change]:
        """Return the changes of a server with those of its followers."""
        # Without a change too: a server that is down and drained is still down, but its followers
        # inherit the drain.
        for follower, name in self._followers.get((backend, server), ()):
            changes += self._balancers[follower].leader_changed(name, now)
        return changes

    def _replaced(self, new: Backend) -> Config:
        """Return the configuration with a backend in the place of the one of its name."""
        backends = tuple(new if old.name == new.name else old for old in self.config.backends)
        return replace(self.config, backends=backends)


def _split(track: str) -> tuple[str, str]:
    backend, _, server = track.partition("/")
    return backend, server


def _fullconns(config: Config) -> dict[str, int]:
    """Return HAProxy's ``fullconn`` of backends that say none: a tenth of what may come to them."""
    sums: dict[str, int] = {}
    for frontend in config.frontends:
        most = frontend.maxconn or config.maxconn or 0
        for name in frontend.ways:
            sums[name] = sums.get(name, 0) + most
    return {name: max(1, -(-most // 10)) for name, most in sums.items()}
