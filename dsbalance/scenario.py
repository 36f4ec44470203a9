"""What might be changed, and the backends that it would change: names to servers. No I/O.

    asked for           means
    lose SERVER         its checks fail, in every backend that has a server of that name
    lose BACKEND/SERVER the one of that backend, and of whoever tracks it
    weight ... = N      its weight is N, likewise
    add SERVER=ADDR     another server like the last one, in the only backend that there is
    add BACKEND/...     in that backend

Backends that are *linked* and *alike* are one :class:`Group`, and what is asked of one is asked of
all. Linked: they share a stick table, or one tracks the other. Alike: in all that decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace

from dsbalance.backends import Backends
from dsbalance.balancer import Balancer, Change, Failure, Placement, Retry, Stage
from dsbalance.client_list import Address, text_of
from dsbalance.errors import ConfigError, NoServerError, Problem
from dsbalance.haproxy.lexer import parse_address
from dsbalance.model import Backend, Bind, Config, HashKey, InitState, Server
from dsbalance.policy import Client
from dsbalance.sticky import StickTable

MAPPED = bytes(10) + b"\xff\xff"  # RFC 4291, section 2.5.5.2
# What has no part in where a client goes, as long as every server is well.
_BACKEND_ASIDE = frozenset(
    {
        *("name", "servers", "stick", "table", "keepalive", "http"),
        *(f"timeout_{part}" for part in ("connect", "server", "server_fin", "tunnel", "queue")),
    }
)
_SERVER_ASIDE = frozenset(
    {
        *("check", "track", "port", "guid", "observe", "slowstart", "init_state"),
        *("shutdown_on_down", "shutdown_backups_on_up", "send_proxy", "check_send_proxy"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is to be tried, in the words of the module's table.

    Attributes:
        lose: Names.
        add: Name -> address, with a port or without.
        weights: Name -> weight, 0 to 256; of a server that is added, too.
    """

    lose: Sequence[str] = ()
    add: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, int] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.lose or self.add or self.weights)

    def __str__(self) -> str:
        parts = [f"{name} is lost" for name in self.lose]
        parts += (f"{name} ({address}) is added" for name, address in self.add.items())
        parts += (f"{name} gets weight {weight}" for name, weight in self.weights.items())
        return ", ".join(parts) or "nothing is changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A backend, with its fellows: those that always decide as it does.

    Attributes:
        backend: The first of them in the file.
        fellows: The names of the others.
        binds: Where clients come in, those of the first frontend that leads here.
    """

    backend: Backend
    fellows: tuple[str, ...] = ()
    binds: tuple[Bind, ...] = ()

    @property
    def name(self) -> str:
        """The backend's."""
        return self.backend.name

    @property
    def names(self) -> tuple[str, ...]:
        """The backend's and its fellows'."""
        return (self.name, *self.fellows)

    def bind(self, address: Address) -> Bind | None:
        """Return the first bind that a client of this address can reach; None: there is none."""
        return next((bind for bind in self.binds if _accepts(bind, address)), None)

    def client(self, address: Address) -> Client:
        """Return a client as the listener of :meth:`bind` makes it.

        On an IPv6 socket that takes IPv4 too, an IPv4 client is ``::ffff:a.b.c.d``: another hash.
        """
        bind = self.bind(address)
        port = 0 if bind is None else bind.port
        if bind is not None and ":" in bind.host and address.version == 4:
            return Client(f"::ffff:{address}", MAPPED + address.packed, port)
        return Client(text_of(address), address.packed, port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edits:
    """A scenario, with names that say what they mean.

    Attributes:
        lose: Backend and server, of those that have a health of their own.
        add: Backend -> servers.
        weights: Backend and server -> weight.
    """

    lose: tuple[tuple[str, str], ...] = ()
    add: Mapping[str, tuple[Server, ...]] = field(default_factory=dict)
    weights: Mapping[tuple[str, str], int] = field(default_factory=dict)


def find_groups(config: Config, name: str | None = None) -> tuple[Group, ...]:
    """Return the groups of a configuration in the order of the file, or the one that has ``name``.

    A backend without servers, which only keeps a table, is in none.

    Raises:
        ConfigError: There is no backend of that name, or none that has a server.
    """
    binds = {
        name: frontend.binds for frontend in reversed(config.frontends) for name in frontend.ways
    }
    members: list[list[Backend]] = []
    for backend in config.backends:
        if not backend.servers:
            continue
        for group in members:
            if _are_fellows(group[0], backend):
                group.append(backend)
                break
        else:
            members.append([backend])
    found = [
        Group(
            backend=first,
            fellows=tuple(backend.name for backend in others),
            binds=next((binds[b.name] for b in (first, *others) if b.name in binds), ()),
        )
        for first, *others in members
    ]
    chosen = tuple(group for group in found if name is None or name in group.names)
    if not chosen:
        raise ConfigError(_nobody("backend with servers", name, [g.name for g in found]))
    return chosen


def resolve(scenario: Scenario, config: Config, groups: Sequence[Group]) -> Edits:
    """Return what is to be done.

    Args:
        scenario: Its names may be of any backend.
        config: Where they are looked up.
        groups: Those that are looked at; a server goes to them if no backend is said.

    Raises:
        ConfigError: A name is not there, or leaves open which backend is meant.
    """
    everywhere = find_groups(config)
    servers = {(g.name, server.name): server for g in everywhere for server in g.backend.servers}
    homes = {name: group.name for group in everywhere for name in group.names}
    add: dict[str, tuple[Server, ...]] = {}
    for name, address in scenario.add.items():
        group = _home(name, everywhere if "/" in name else groups)
        server = _like_the_last(group.backend, name.rpartition("/")[2], address)
        add[group.name] = (*add.get(group.name, ()), server)
        servers[group.name, server.name] = server
    lose: dict[tuple[str, str], None] = {}
    for name in scenario.lose:
        for pair in _matches(name, servers, homes):
            track = servers[pair].track
            lose[pair if track is None else _split(track)] = None
    weights = {
        pair: weight
        for name, weight in scenario.weights.items()
        for pair in _matches(name, servers, homes)
    }
    return Edits(lose=tuple(lose), add=add, weights=weights)


class Trial:
    """One backend at work, with those that it depends on, on a copy of the configuration.

    Every server that is not in maintenance is well at the start: what starts down has come up.

    Attributes:
        balancer: The backend's.
    """

    __slots__ = ("_backends", "balancer")

    def __init__(self, config: Config, group: Group) -> None:
        """Begin without a client.

        Raises:
            ConfigError: A policy of the user's own cannot be loaded or copied.
        """
        self._backends = Backends(Config(backends=tuple(map(_calm, _needed(config, group.name)))))
        self.balancer: Balancer = self._backends.balancer(group.name)

    @property
    def table(self) -> tuple[str, StickTable] | None:
        """The backend whose table is asked or stored into first, and the table; None: none is."""
        for rule in self.balancer.backend.stick:
            owner = rule.table or self.balancer.name
            return owner, self._backends.table(owner)
        return None

    def apply(self, edits: Edits) -> list[Change]:
        """Change what there is; return what followed.

        Raises:
            ConfigError: A server cannot be added, or a weight is out of its range.
        """
        backends = self._backends
        mine = {balancer.name for balancer in backends}
        changes: list[Change] = []
        for name, servers in edits.add.items():
            for server in servers if name in mine else ():
                changes += backends.add_server(name, server, 0.0)
        for (name, server_name), weight in edits.weights.items():
            if name in mine:
                changes += backends.set_weight(name, server_name, weight, 0.0)
        for name, server_name in edits.lose:
            if name in mine:
                changes += self._fail(name, server_name)
        return changes

    def lose(self, name: str) -> None:
        """Lose a server of the backend, or the one that it tracks."""
        track = self.balancer.states[name].server.track
        self._fail(*((self.balancer.name, name) if track is None else _split(track)))

    def _fail(self, backend: str, name: str) -> list[Change]:
        """Let the checks of a server fail until it is down, unless it is in maintenance."""
        state = self._backends.balancer(backend).states[name]
        changes: list[Change] = []
        while state.is_running:
            changes += self._backends.check_failed(backend, name, 0.0, "lost")
        return changes

    def concerns(self, edits: Edits) -> bool:
        """Whether something is asked of the backend's servers, or of those that they track."""
        name = self.balancer.name
        health = {
            (name, server.name) if server.track is None else _split(server.track)
            for server in self.balancer.backend.servers
        }
        is_weighted = any(backend == name for backend, _ in edits.weights)
        return name in edits.add or is_weighted or not health.isdisjoint(edits.lose)


def retry(balancer: Balancer, placement: Placement) -> Retry | None:
    """Let an attempt be refused, and wait out the pause that follows.

    Whoever gets the place that was left is connected.

    Returns:
        None: the session is given up, and is to be released.
    """
    found = balancer.failed(placement, Failure.REFUSED, 0.0)
    if found is None:
        return None
    for heir in found.admitted:
        balancer.connected(heir, 0.0)
    if placement.stage is Stage.DISPLACED:
        try:
            balancer.reroute(placement, 0.0)
        except NoServerError:
            return None
    return found


def _accepts(bind: Bind, address: Address) -> bool:
    if ":" not in bind.host:
        return address.version == 4
    # Only `::` takes both; whether it does is the system's habit if the file says nothing.
    return address.version == 6 or (bind.host == "::" and not bind.v6only)


def _are_fellows(one: Backend, other: Backend) -> bool:
    """Whether two backends are linked and alike."""
    return not _links(one).isdisjoint(_links(other)) and _nature(one) == _nature(other)


def _links(backend: Backend) -> set[str]:
    tables = {backend.name if rule.table is None else rule.table for rule in backend.stick}
    tracked = {_split(server.track)[0] for server in backend.servers if server.track}
    return {backend.name, *tables, *tracked}


def _nature(backend: Backend) -> list[object]:
    """Return all of a backend that decides; a field that is new to this module does."""
    rules = [
        (rule.action, backend.name if rule.table is None else rule.table) for rule in backend.stick
    ]
    servers = [
        (_relevant(server, _SERVER_ASIDE), server.hash_key is HashKey.ADDR_PORT and server.port)
        for server in backend.servers
    ]
    return [*_relevant(backend, _BACKEND_ASIDE), rules, servers]


def _relevant(value: Backend | Server, aside: frozenset[str]) -> list[object]:
    return [getattr(value, each.name) for each in fields(value) if each.name not in aside]


def _needed(config: Config, name: str) -> list[Backend]:
    """Return a backend and those that it cannot be without, in the order of the file."""
    backends = {backend.name: backend for backend in config.backends}
    found: set[str] = set()
    wanted = {name}
    while wanted:
        found |= wanted
        wanted = {link for each in wanted for link in _links(backends[each])} - found
    return [backend for backend in config.backends if backend.name in found]


def _calm(backend: Backend) -> Backend:
    """Return a backend with all servers up from the start, and with a policy of its own."""
    servers = tuple(replace(server, init_state=InitState.UP) for server in backend.servers)
    try:
        policy = deepcopy(backend.policy)
    except Exception as error:  # a policy of the user's own may raise anything
        message = f"its policy cannot be copied, to try it: {type(error).__name__}: {error}"
        raise ConfigError(Problem(message, subject=f"backend {backend.name}")) from error
    # Heads are no part of it, and their conditions may name backends that are not there.
    return replace(backend, servers=servers, policy=policy, http=None)


def _home(name: str, groups: Sequence[Group]) -> Group:
    """Return the group that a new server is added to."""
    backend, slash, _ = name.rpartition("/")
    if slash:
        for group in groups:
            if backend in group.names:
                return group
        raise ConfigError(_nobody("backend with servers", backend, [g.name for g in groups]))
    if len(groups) > 1:
        names = ", ".join(group.name for group in groups)
        raise ConfigError(f"add: say BACKEND/{name}, for there are several: {names}")
    return groups[0]


def _like_the_last(backend: Backend, name: str, address: str) -> Server:
    """Return a server with the words of the last line, backups aside if that can be."""
    host, port, last_port = parse_address(address)
    if not host or last_port is not None:
        raise ConfigError(f"add: {name} wants an address, with one port or none, not {address!r}")
    model = next((s for s in reversed(backend.servers) if not s.backup), backend.servers[-1])
    return replace(
        model,
        name=name,
        host=host,
        port=port or model.port,
        id=None,
        guid=None,
        disabled=False,
        track=None,
        slowstart=None,
        init_state=InitState.UP,
    )


def _matches(
    name: str, servers: Iterable[tuple[str, str]], homes: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return the servers that a name means."""
    backend, slash, server = name.rpartition("/")
    home = homes.get(backend)
    found = [pair for pair in servers if pair[1] == server and (not slash or pair[0] == home)]
    if not found:
        names = dict.fromkeys("/".join(pair) if slash else pair[1] for pair in servers)
        raise ConfigError(_nobody("server", name, names))
    return found


def _nobody(what: str, name: str | None, names: Iterable[str]) -> str:
    """Return the sentence that something is not there, and what is."""
    is_called = "" if name is None else f" {name!r}"
    there = list(names)
    more = f" and {len(there) - 10} more" if len(there) > 10 else ""
    return f"there is no {what}{is_called}" + (
        f"; there is {', '.join(there[:10])}{more}" if there else ""
    )


def _split(track: str) -> tuple[str, str]:
    backend, _, server = track.partition("/")
    return backend, server
