"""Claim: a session's decisions cost at most 12 us of CPU, however many clients the table knows.

With source hash and stick table on: at most 12 us, and beside 100,000 entries at most 1.2 x what it
costs beside few or none.

Unit: the decisions of one session: ``route``, ``connected`` and ``release``, with one reading of
the clock. It is all user time, but a round is too short for the clock tick to say so. Who comes is
new to the table, or known, in no order; as many come to the large table as to the small one. There
is no rival: in other programs the decisions cannot be told from the rest.

The tables stand in one process and take turns of 100 sessions, like two backends of a proxy. So a
noisy moment hits both, and neither has the processor's caches to itself. ``apart`` is the same with
a single turn of all sessions, and without the second bar: 5,000 entries alone stay in a cache of
1 MB, where the large table's are read from main memory. That is the whole difference: as valgrind
counts them, a known client's decisions take the same instructions in both, within 0.2 %, and seven
more misses of such a cache in the large one.
Command: ``.venv/bin/python benchmarks/route.py``
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from contest import Bars, Contest, Figures, options
from rig import Meter

from dsbalance import (
    Backend,
    Balance,
    Client,
    Config,
    HashKind,
    HashType,
    Server,
    StickRule,
    Table,
)
from dsbalance.backends import Backends
from dsbalance.balancer import Balancer

# Entries of a full table for each session in a round: 100,000 as it comes.
ENTRIES_PER_SESSION = 20
# Sessions that come to one table before it is the other's turn: 0.3 ms.
TURN = 100
PORT = 5022


@dataclass(frozen=True)
class Case:
    """What the table has when clients come, and what it is called in the results."""

    name: str
    entries: int
    package: str = "dsbalance"


@dataclass
class Site:
    """A balancer, the numbers of the clients that come to it, and what their decisions cost."""

    balancer: Balancer
    coming: list[int]
    meter: Meter = field(default_factory=Meter)


class Rounds:
    """Rounds in which the sites of all cases take turns; each case asks for its own figures."""

    def __init__(self, cases: Sequence[Case], count: int, turn: int, *, is_known: bool) -> None:
        """Let so many clients come to each, that are known or not, and so many in a turn."""
        self._cases = cases
        self._count = count
        self._turn = turn
        self._is_known = is_known
        self._figures: dict[str, Figures] = {}

    def measure(self, case: Case) -> Figures:
        """Return the figures of a case, from a round that it has not asked for yet."""
        if case.name not in self._figures:
            self._figures = self._go_round()
        return self._figures.pop(case.name)

    def _go_round(self) -> dict[str, Figures]:
        """Return the figures of a round for each case, which has a balancer of its own."""
        sites = {case.name: self._site(case) for case in self._cases}
        for first in range(0, self._count, self._turn):
            for site in sites.values():
                # New objects, as accept() gives them.
                turn = clients(site.coming[first : first + self._turn])
                with site.meter:
                    decide(site.balancer, turn)
        return {name: site.meter.sample(self._count).metrics for name, site in sites.items()}

    def _site(self, case: Case) -> Site:
        """Return a site whose table knows the first clients."""
        site = Site(balancer(case.entries + self._count), [])
        decide(site.balancer, clients(range(case.entries)))
        first = 0 if self._is_known else case.entries
        after = case.entries if self._is_known else case.entries + self._count
        site.coming = random.Random(1).sample(range(first, after), self._count)
        return site


def balancer(size: int) -> Balancer:
    """Return a balancer of three servers, with a table for so many clients."""
    names = ("primary-1", "primary-2", "primary-3")
    backend = Backend(
        name="paragon",
        servers=tuple(Server(name=name, host="127.0.0.1", port=PORT) for name in names),
        balance=Balance.SOURCE,
        hash_type=HashType(kind=HashKind.CONSISTENT),
        table=Table(size=size, expire=1800.0),
        stick=(StickRule(),),
    )
    return Backends(Config(backends=(backend,)), time.monotonic()).balancer("paragon")


def clients(numbers: Iterable[int]) -> list[Client]:
    """Return clients with addresses of 10.0.0.0/8."""
    packed = [(10 << 24 | number).to_bytes(4, "big") for number in numbers]
    return [Client(".".join(map(str, each)), each, PORT) for each in packed]


def decide(balancer: Balancer, clients: list[Client]) -> None:
    """Let clients come and go, one after the other."""
    clock = time.monotonic
    for client in clients:
        now = clock()
        placement = balancer.route(client, now)
        balancer.connected(placement, now)
        balancer.release(placement, now)


def main() -> None:
    args = options(__doc__, rounds=9, count=5000, small=250)
    entries = ENTRIES_PER_SESSION * args.count
    many = Case(f"dsbalance, {entries:,} entries", entries)
    for who, few, turn in (
        ("new clients", 0, TURN),
        ("known clients", args.count, TURN),
        ("known clients, apart", args.count, args.count),
    ):
        case = Case(f"dsbalance, {few:,} entries", few)
        bars: dict[str, Bars] = {
            case.name: {"cpu_us": (None, 12.0)},
            many.name: {"cpu_us": (None, 12.0)},
        }
        if turn is TURN:
            bars[many.name] = {"cpu_us": (None, 12.0), "relative_cpu": (None, 1.2)}
        rounds = Rounds((case, many), args.count, turn, is_known=few > 0)
        contest = Contest(f"decisions for {who}", "session", case.name, bars=bars)
        contest.run((case, many), args.rounds, rounds.measure)


if __name__ == "__main__":
    main()
