"""Who goes where, before anyone is hurt: clients of a configuration, as it is and changed. No I/O.

    moment    what the core is shown
    now       every client comes once, in order, and its session stays open
    after     the change is made; whoever had a session at a server that is lost has lost it; every
              client connects again, in order, and its old session ends
    settled   everything begins anew with the change made: no entry is left, nobody is connected

The decisions are those of :class:`dsbalance.balancer.Balancer`, which runs here on a copy: there is
no second opinion. What differs from a proxy at work is the order in which clients come, how many
sessions they have, and how long, so shares of ``leastconn`` and turns of ``roundrobin`` are an
example. Where a client goes by the hash of its address is certain.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dsbalance.balancer import Balancer, Placement, Stage
from dsbalance.client_list import Address, ClientList
from dsbalance.errors import ConfigError, NoServerError
from dsbalance.model import Backend, Balance, Config
from dsbalance.policy import Client
from dsbalance.scenario import Edits, Group, Scenario, Trial, find_groups, resolve, retry

# What stands for a reason where nobody serves a client.
WAITING = "waiting"
REFUSED = "refused"


class Moment(enum.StrEnum):
    """When; see the table of this module."""

    NOW = "now"
    AFTER = "after"
    SETTLED = "settled"


class Seat(NamedTuple):
    """Where one client is at one moment.

    Attributes:
        server: The server's name; None: nowhere.
        reason: A :class:`dsbalance.policy.Reason`, or why it is not served: :data:`WAITING` in the
            queue of ``server`` or of them all, :data:`REFUSED`.
    """

    server: str | None
    reason: str


class Move(NamedTuple):
    """How many clients go from one server to another.

    Attributes:
        origin: Its name; None: they were nowhere.
        goal: Its name; None: they are nowhere.
        clients: How many.
    """

    origin: str | None
    goal: str | None
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOutlook:
    """One server.

    Attributes:
        name: Its name.
        address: Its host, and its port if it has one.
        is_backup: Whether it is a backup.
        weights: Its weight now and after the change; None: it is not there yet.
        states: HAProxy's words for its state, likewise, such as ``UP``, ``DOWN``, ``no check``.
    """

    name: str
    address: str
    is_backup: bool
    weights: tuple[int | None, int]
    states: tuple[str | None, str]

    def is_open(self, moment: Moment) -> bool:
        """Whether it takes new clients, as long as it is no backup."""
        index = moment is not Moment.NOW
        return bool(self.weights[index]) and self.states[index] in {"UP", "no check"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOutlook:
    """One backend.

    Attributes:
        name: Its name.
        fellows: Other backends that always decide as it does, such as ``paragon-http``.
        backend: Its configuration as it is now.
        clients: Those who come, in order.
        servers: In the order of the file, those that are added behind them.
        seats: Moment -> where each client is, in the order of ``clients``. Without a change for
            this backend there is NOW alone.
        notes: What one ought to know besides, a sentence each.
    """

    name: str
    fellows: tuple[str, ...]
    backend: Backend
    clients: tuple[Address, ...]
    servers: tuple[ServerOutlook, ...]
    seats: Mapping[Moment, tuple[Seat, ...]]
    notes: tuple[str, ...]

    def counts(self, moment: Moment) -> Counter[str | None]:
        """Return how many clients each server has, those that wait for it included."""
        return Counter(seat.server for seat in self.seats[moment])

    def moves(self, moment: Moment) -> tuple[Move, ...]:
        """Return who has moved since the moment before, the largest move first; of NOW: none."""
        earlier = {Moment.AFTER: Moment.NOW, Moment.SETTLED: Moment.AFTER}.get(moment, moment)
        pairs = zip(self.seats[earlier], self.seats[moment], strict=True)
        found = Counter((old.server, new.server) for old, new in pairs if old.server != new.server)
        return tuple(Move(*move, clients) for move, clients in found.most_common())

    def moved(self, moment: Moment) -> int:
        """Return how many have moved since the moment before."""
        return sum(move.clients for move in self.moves(moment))

    def unserved(self, moment: Moment) -> Counter[str]:
        """Return how many clients are WAITING and how many REFUSED."""
        return Counter(s.reason for s in self.seats[moment] if s.reason in {WAITING, REFUSED})

    def busiest(self, moment: Moment) -> tuple[str, float] | None:
        """Return the server with the most clients, and its share of all; None: nobody has any."""
        counts = self.counts(moment)
        counts.pop(None, None)
        if not counts:
            return None
        name = max((s.name for s in self.servers if counts[s.name]), key=counts.__getitem__)
        return name, counts[name] / len(self.clients)

    def idle(self, moment: Moment) -> tuple[str, ...]:
        """Return the servers that could have a client and have none."""
        counts = self.counts(moment)
        is_backed_up = not any(s.is_open(moment) and not s.is_backup for s in self.servers)
        return tuple(
            server.name
            for server in self.servers
            if not counts[server.name]
            and server.is_open(moment)
            # A backup is meant to have none as long as the others work.
            and (not server.is_backup or (is_backed_up and self.backend.allbackups))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a change would do.

    Attributes:
        scenario: The change.
        clients: Those who come, in order.
        backends: In the order of the file.
    """

    scenario: Scenario
    clients: tuple[Address, ...]
    backends: tuple[BackendOutlook, ...]


def plan(
    config: Config,
    clients: Iterable[str | Address],
    *,
    backend: str | None = None,
    lose: Sequence[str] = (),
    add: Mapping[str, str] | None = None,
    weights: Mapping[str, int] | None = None,
) -> Plan:
    """Tell who goes where, and who would move.

    Args:
        config: What runs, or is to run. Nothing of it is changed, and no policy of its is asked.
        clients: Addresses, or words for them; see :mod:`dsbalance.client_list`.
        backend: The only one to look at; None: all.
        lose: Servers to lose: ``SERVER`` or ``BACKEND/SERVER``; see :mod:`dsbalance.scenario`.
        add: Servers to add: name -> address.
        weights: Weights to change: name -> weight.

    >>> from dsbalance.suite import suite
    >>> config = suite(paragon=["10.0.0.11", "10.0.0.12", "10.0.0.13"])
    >>> (outlook,) = plan(config, ["10.1.0.0/24"], lose=["primary-2"]).backends
    >>> len(outlook.clients), outlook.idle(Moment.AFTER)
    (254, ())
    >>> {move.origin for move in outlook.moves(Moment.AFTER)}
    {'primary-2'}

    Raises:
        ConfigError: There is no client, a word for one is wrong, or a server or backend is not
            there or cannot be changed so.
    """
    addresses = tuple(ClientList(clients))
    if not addresses:
        raise ConfigError("there is no client")
    scenario = Scenario(lose=tuple(lose), add=dict(add or {}), weights=dict(weights or {}))
    groups = find_groups(config, backend)
    edits = resolve(scenario, config, groups)
    return Plan(
        scenario=scenario,
        clients=addresses,
        backends=tuple(_outlook(config, group, addresses, edits) for group in groups),
    )


def _outlook(
    config: Config, group: Group, addresses: tuple[Address, ...], edits: Edits
) -> BackendOutlook:
    clients = [group.client(address) for address in addresses]
    trial = Trial(config, group)
    crowd = _Crowd(trial.balancer, clients)
    crowd.come()
    seats = {Moment.NOW: crowd.seats()}
    before = _states(trial.balancer)
    last = trial
    if trial.concerns(edits):
        crowd.endure(trial, edits)
        crowd.come()
        seats[Moment.AFTER] = crowd.seats()
        last = Trial(config, group)
        last.apply(edits)
        newcomers = _Crowd(last.balancer, clients)
        newcomers.come()
        seats[Moment.SETTLED] = newcomers.seats()
    return BackendOutlook(
        name=group.name,
        fellows=group.fellows,
        backend=group.backend,
        clients=addresses,
        servers=tuple(_servers(last.balancer, before)),
        seats=seats,
        notes=tuple(_notes(trial, clients, edits)),
    )


class _Crowd:
    """The clients of one backend, with a session each."""

    __slots__ = ("_balancer", "_clients", "_sessions")

    def __init__(self, balancer: Balancer, clients: Sequence[Client]) -> None:
        self._balancer = balancer
        self._clients = clients
        self._sessions: list[Placement | None] = [None] * len(clients)

    def come(self) -> None:
        """Let everybody connect, in order; a session that somebody has ends then."""
        for index, client in enumerate(self._clients):
            self._end(index)
            self._sessions[index] = self._connect(client)

    def endure(self, trial: Trial, edits: Edits) -> None:
        """Make the change, and end the sessions that it costs."""
        for change in trial.apply(edits):
            self._let_in(change.admitted)
        for index, session in enumerate(self._sessions):
            state = None if session is None else session.server
            if state is not None and not state.is_running:
                self._end(index)

    def seats(self) -> tuple[Seat, ...]:
        """Return where everybody is."""
        return tuple(map(_seat, self._sessions))

    def _connect(self, client: Client) -> Placement | None:
        """Return the session of a client, or None if it has got none."""
        balancer = self._balancer
        try:
            placement = balancer.route(client, 0.0)
        except NoServerError:
            return None
        if placement.is_queued:
            return placement
        state = placement.server
        # `option persist` sends a client to a server that is down, and that refuses.
        while state is not None and not state.is_running:
            if retry(balancer, placement) is None:
                self._let_in(balancer.release(placement, 0.0))
                return None
            state = placement.server
        if not placement.is_queued:
            balancer.connected(placement, 0.0)
        return placement

    def _end(self, index: int) -> None:
        session, self._sessions[index] = self._sessions[index], None
        if session is not None:
            self._let_in(self._balancer.release(session, 0.0))

    def _let_in(self, admitted: Iterable[Placement]) -> None:
        for placement in admitted:
            self._balancer.connected(placement, 0.0)


def _seat(session: Placement | None) -> Seat:
    if session is None:
        return Seat(None, REFUSED)
    name = None if session.server is None else session.server.name
    is_served = session.stage is Stage.CONNECTED
    return Seat(name, session.reason.value if is_served else WAITING)


def _states(balancer: Balancer) -> dict[str, tuple[int, str]]:
    return {name: (state.server.weight, state.word) for name, state in balancer.states.items()}


def _servers(balancer: Balancer, before: Mapping[str, tuple[int, str]]) -> Iterable[ServerOutlook]:
    for name, (weight, word) in _states(balancer).items():
        server = balancer.states[name].server
        old_weight, old_word = before.get(name, (None, None))
        host = f"[{server.host}]" if ":" in server.host else server.host
        yield ServerOutlook(
            name=name,
            address=host if server.port is None else f"{host}:{server.port}",
            is_backup=server.backup,
            weights=(old_weight, weight),
            states=(old_word, word),
        )


def _notes(trial: Trial, clients: Sequence[Client], edits: Edits) -> Iterable[str]:
    """Yield what is easily overlooked."""
    balancer = trial.balancer
    for name, server in edits.lose:
        if name == balancer.name and not balancer.states[server].is_checked:
            yield (
                f"{server} has no check: it is shown as marked down, but nobody would notice that "
                "it is lost"
            )
    if not _is_certain(balancer.backend):
        yield (
            "the address alone does not decide here: when clients come in another order, or have "
            "other sessions open, single ones go elsewhere"
        )
    if trial.table is not None:
        _, table = trial.table
        if table.size < len(clients):
            yield f"the stick table has room for {table.size:,} of {len(clients):,} clients"
        strangers = sum(table.normalise(client.packed) is None for client in clients)
        if strangers:
            yield f"{strangers:,} IPv6 clients get no entry: the table takes IPv4 alone"
    complaint = balancer.take_complaint()
    if complaint is not None:
        yield complaint


def _is_certain(backend: Backend) -> bool:
    """Whether a new client goes to the same server whoever came before it."""
    is_hash = backend.policy is None and backend.balance is Balance.SOURCE
    return is_hash and not backend.hash_balance_factor and backend.bounded_clients is None
