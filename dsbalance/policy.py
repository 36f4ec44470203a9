"""From the words of a configuration to what chooses a server: policies that ship, or a user's own.

    balance      hash-type     policy             chooses
    source       consistent    SourceConsistent   the owner of the client's address on the ring
    source       map-based     SourceMap          the owner of the client's slot in a table
    random(N)                  Random             the least loaded of N that are drawn
    roundrobin                 RoundRobin         each in turn, the heavier ones more often
    static-rr                  StaticRoundRobin   the same, by a table
    leastconn                  LeastConn          the fewest sessions for its weight
    first                      First              the lowest id that has room

A policy of the user's own is an object with ``choose``; see :class:`Policy`. It cannot stop
traffic: when it raises, or chooses somebody who was not offered, :class:`Guarded` lets the
backend's ``balance`` decide. No I/O.

One that ships is told at once of each server that comes, goes or has another weight (``adapt``),
for the order of its choices depends on when that was. It serves one group: a backend has one for
its active servers and another one for its backups.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

from dsbalance.candidates import Candidates, Client, Load, Policy, Reason
from dsbalance.errors import ConfigError, Problem
from dsbalance.hashing import Random, SourceConsistent, SourceMap
from dsbalance.loads import First, LeastConn
from dsbalance.model import Backend, Balance, HashKind, Server
from dsbalance.turns import RoundRobin, StaticRoundRobin

__all__ = [
    "BuiltIn",
    "Candidates",
    "Client",
    "Guarded",
    "Load",
    "Policy",
    "Reason",
    "built_in",
    "guarded",
    "load_policy",
    "own_policy",
]

BuiltIn: TypeAlias = (
    SourceConsistent | SourceMap | Random | RoundRobin | StaticRoundRobin | LeastConn | First
)
# More than any package is deep.
_MAX_DOTS = 20


class Guarded:
    """A policy of the user's own, with the backend's ``balance`` to decide when it fails.

    Attributes:
        reason: Who made the last choice: POLICY, or the ``balance`` that stood in.
    """

    __slots__ = ("_complaint", "_count", "_policy", "_substitute", "reason")

    def __init__(self, policy: Policy, substitute: BuiltIn) -> None:
        self._policy = policy
        self._substitute = substitute
        self._complaint = ""
        self._count = 0
        self.reason = Reason.POLICY

    def choose(self, client: Client, servers: Candidates, avoid: Server | None) -> Server | None:
        """Return what the policy chooses if it was offered, else what the substitute chooses."""
        try:
            server = self._policy.choose(client, servers, avoid)
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- the client gets a server
            self._complain(f"raised {type(error).__name__}: {error}")
        else:
            if server is None or (isinstance(server, Server) and server in servers):
                self.reason = Reason.POLICY
                return server
            name = server.name if isinstance(server, Server) else repr(server)
            self._complain(f"chose {name}, which is not among {servers!r}")
        self.reason = self._substitute.reason
        return self._substitute.choose(client, servers, avoid)

    def adapt(self, servers: Candidates) -> None:
        """Tell the substitute who has come or gone, or has another weight."""
        self._substitute.adapt(servers)

    def take_complaint(self) -> str | None:
        """Return what went wrong last, and how often since the last call; None: nothing did."""
        if not self._count:
            return None
        times = f" ({self._count} times)" if self._count > 1 else ""
        self._count = 0
        kind = type(self._policy)
        return f"policy {kind.__module__}.{kind.__qualname__} {self._complaint}{times}"

    def _complain(self, complaint: str) -> None:
        self._complaint = complaint
        self._count += 1


def own_policy(backend: Backend) -> Policy | None:
    """Return the policy of the user's own that a backend asks for; None: it asks for none.

    Raises:
        ConfigError: It cannot be loaded, or is none; see :func:`load_policy`.
    """
    policy = backend.policy
    if policy is None:
        return None
    try:
        return load_policy(policy) if isinstance(policy, str) else _checked(policy, repr(policy))
    except ConfigError as error:
        subject = f"backend {backend.name}"
        raise ConfigError(*(Problem(p.message, subject) for p in error.problems)) from error


def load_policy(spec: str) -> Policy:
    """Import ``package.module:Name``, call it without arguments, and return what that gives.

    Raises:
        ConfigError: ``spec`` has another shape, the import or the call fails, whatever they raise,
            or the result has no method ``choose``.
    """
    module_name, _, name = spec.partition(":")
    if not module_name or not name:
        raise ConfigError(f"policy wants PACKAGE.MODULE:NAME, not {spec!r}")
    # To import a name of many dots is as deep a recursion of Python's own.
    if spec.count(".") > _MAX_DOTS:
        raise ConfigError(f"policy: a name has at most {_MAX_DOTS} dots, not {spec.count('.')}")
    try:
        maker: Any = importlib.import_module(module_name)
        for part in name.split("."):
            maker = getattr(maker, part)
        policy = maker()
    except (Exception, SystemExit) as error:  # a module of the user's own may raise anything
        raise ConfigError(f"policy {spec}: {type(error).__name__}: {error}") from error
    return _checked(policy, spec)


def built_in(backend: Backend) -> BuiltIn:
    """Return a new policy of the kind that ``balance`` and ``hash-type`` name."""
    factor = backend.hash_balance_factor
    if backend.balance is Balance.RANDOM:
        return Random(backend.random_draws, factor=factor, seed=backend.name)
    if backend.balance is Balance.SOURCE:
        is_mixed = backend.hash_type.is_mixed
        if backend.hash_type.kind is HashKind.CONSISTENT:
            bound = backend.bounded_clients
            return SourceConsistent(is_mixed=is_mixed, factor=factor, bound=bound)
        return SourceMap(is_mixed=is_mixed)
    return _SIMPLE[backend.balance]()


_SIMPLE: Mapping[Balance, type[RoundRobin | StaticRoundRobin | LeastConn | First]] = {
    Balance.ROUNDROBIN: RoundRobin,
    Balance.STATIC_RR: StaticRoundRobin,
    Balance.LEASTCONN: LeastConn,
    Balance.FIRST: First,
}


def guarded(policy: Policy, backend: Backend) -> BuiltIn | Guarded:
    """Return a policy that ships as it is, and any other one with a substitute behind it."""
    if isinstance(policy, BuiltIn) and type(policy) in get_args(BuiltIn):
        return policy
    return Guarded(policy, built_in(backend))


def _checked(policy: object, spec: str) -> Policy:
    if not callable(getattr(policy, "choose", None)):
        raise ConfigError(f"policy {spec}: there is no method choose")
    return policy  # type: ignore[return-value]  # Python cannot check more of it than that
