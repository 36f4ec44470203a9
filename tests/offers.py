"""What a policy is offered in a test: clients, servers, and what they carry."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from dsbalance.candidates import SHARES_PER_WEIGHT, Candidates, Client, Policy
from dsbalance.model import Server


class FakeLoad:
    """So many sessions and so many who wait."""

    def __init__(
        self, sessions: int = 0, waiting: int = 0, moved: int = 0, limit: int | None = None
    ) -> None:
        self.placements = [None] * sessions
        self.queue = [None] * waiting
        self.moved = moved
        self.moved_load = sessions + waiting
        self.limit = limit
        self.share = 0
        self.before = 0


def client(address: str = "10.0.0.1") -> Client:
    return Client(address, ip_address(address).packed, 5022)


def server(name: str, **settings: Any) -> Server:
    return Server(name=name, host="192.0.2.1", port=9, **settings)


def offer(*servers: Server, **loads: FakeLoad) -> Candidates:
    found = {each.name: loads.get(each.name, FakeLoad()) for each in servers}
    before = 0
    for each in servers:
        load = found[each.name]
        load.share = load.share or SHARES_PER_WEIGHT * each.weight
        load.before = before
        before += load.share
        if load.limit is None:
            load.limit = each.maxconn
    return Candidates(servers, loads=found)


def name_of(chosen: Server | None) -> str | None:
    return None if chosen is None else chosen.name


def answers(policy: Policy, offered: Candidates, count: int, avoid: str = "") -> str:
    """Return who is chosen one after the other, a letter each; ``-``: nobody."""
    avoided = server(avoid) if avoid else None
    return "".join(name_of(policy.choose(client(), offered, avoided)) or "-" for _ in range(count))


names = st.sampled_from(["a", "b", "c", "d", "e", "f"])
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
pools = st.dictionaries(names, st.integers(1, 5), min_size=1).map(
    lambda weights: tuple(server(name, weight=weight) for name, weight in weights.items())
)
# Each step: who is there with room, who is there and full, who is to be avoided.
situations = st.lists(st.tuples(st.sets(names), st.sets(names), names), min_size=1, max_size=30)


def assert_fit(policy: Policy, history: Sequence[tuple[set[str], set[str], str]]) -> None:
    """Assert that somebody is chosen if there is room, and ``avoid`` only if all else is full."""
    for free, full, avoid in history:
        loads = {name: FakeLoad(sessions=1) for name in full}
        offered = offer(*(server(n, maxconn=1) for n in sorted(free | full)), **loads)
        fit = free - full
        chosen = name_of(policy.choose(client(), offered, server(avoid)))
        if fit - {avoid}:
            assert chosen in fit - {avoid}
        else:
            assert chosen == (avoid if fit else None)
