"""A balancer in a test: its servers, its clients, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from dsbalance.balancer import Balancer, Change, Failure, Placement, Stage
from dsbalance.model import Backend, Check, Server
from dsbalance.policy import Client, Policy, own_policy
from dsbalance.sticky import StickTable

# One result is enough, so that a test says what it means.
WATCHED = Check(rise=1, fall=1)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **{"check": WATCHED, **settings})


def client(address: str = "10.0.0.1") -> Client:
    return Client(address, ip_address(address).packed, 5022)


def make(
    names: str | Iterable[Server] = "abc",
    *,
    table: StickTable | None = None,
    policy: Policy | None = None,
    **backend_settings: Any,
) -> Balancer:
    """Return a balancer of servers of these names; ``a`` has id 1 and so on."""
    servers = [server(name) for name in names] if isinstance(names, str) else names
    backend = Backend(name="x", servers=tuple(servers), **backend_settings)
    tables = {"x": StickTable(size=1000, ttl=60.0) if table is None else table}
    return Balancer(backend, tables, policy or own_policy(backend))


def place(balancer: Balancer, who: Client | None = None, now: float = 0.0) -> Placement:
    placement = balancer.route(who or client(), now)
    balancer._check()
    return placement


def connect(balancer: Balancer, who: Client | None = None, now: float = 0.0) -> Placement:
    placement = place(balancer, who, now)
    balancer.connected(placement, now)
    return placement


def name_of(placement: Placement) -> str:
    """Return where a session is; ``-``: it waits for any server, or is nowhere."""
    return placement.server.name if placement.server else "-"


def where(*placements: Placement) -> str:
    """Return where sessions are, in capitals those that wait; ``-``: for any server."""
    names = [(name_of(p), p.is_queued) for p in placements]
    return "".join(name.upper() if is_queued else name for name, is_queued in names)


def attempts(balancer: Balancer, placement: Placement, cause: Failure = Failure.REFUSED) -> str:
    """Return which server is tried at which second until it is given up, if all fail."""
    at = 0.0
    found = [f"{name_of(placement)}@{at:g}"]
    while (retry := balancer.failed(placement, cause, at)) is not None:
        balancer._check()
        assert retry.placement is placement
        at += retry.delay + (0.7 if cause is Failure.TIMEOUT else 0)
        if placement.stage is Stage.DISPLACED:
            balancer.reroute(placement, at)
            balancer._check()
        found.append(f"{name_of(placement)}@{at:g}")
    assert placement.server is not None
    assert balancer.release(placement, at) == []
    return " ".join(found)


def requeue(balancer: Balancer, changes: Iterable[Change], now: float = 0.0) -> None:
    """Decide anew for those who lost their turn by changes."""
    for change in changes:
        for placement in change.requeued:
            balancer.reroute(placement, now)
    balancer._check()
