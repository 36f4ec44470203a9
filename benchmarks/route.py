"""Claim: a session's decisions cost at most 12 us of CPU, however many clients the table knows.

With source hash and stick table on: at most 12 us, and beside 100,000 entries at most 1.2 x what it
costs beside few or none.

Unit: the decisions of one session: ``route``, ``connected`` and ``release``, with one reading of
the clock. It is all user time, but a round is too short for the clock tick to say so. Who comes is
new to the table, or known, in no order. There is no rival: in other programs the decisions cannot
be told from the rest.
Command: ``.venv/bin/python benchmarks/route.py``
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from contest import Bars, Contest, Figures, Meter, options

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
PORT = 5022


@dataclass(frozen=True)
class Case:
    """What the table has when clients come, and what it is called in the results."""

    name: str
    entries: int
    package: str = "dsbalance"


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


def measure(case: Case, count: int, *, is_known: bool) -> Figures:
    """Return the figures of one round, with a balancer of its own."""
    mine = balancer(case.entries + count)
    decide(mine, clients(range(case.entries)))
    chance = random.Random(1)
    known, new = range(case.entries), range(case.entries, case.entries + count)
    coming = clients(chance.sample(known if is_known else new, count))
    with Meter() as meter:
        decide(mine, coming)
    return meter.figures(count)


def main() -> None:
    args = options(__doc__, rounds=9, count=5000, small=250)
    entries = ENTRIES_PER_SESSION * args.count
    many = Case(f"dsbalance, {entries:,} entries", entries)
    for is_known, few in ((False, 0), (True, args.count)):
        case = Case(f"dsbalance, {few:,} entries", few)
        bars: dict[str, Bars] = {
            case.name: {"cpu_us": (None, 12.0)},
            many.name: {"cpu_us": (None, 12.0), "relative_cpu": (None, 1.2)},
        }
        who = "known" if is_known else "new"
        contest = Contest(f"decisions for {who} clients", "session", case.name, bars=bars)
        contest.run(
            (case, many), args.rounds, partial(measure, count=args.count, is_known=is_known)
        )


if __name__ == "__main__":
    main()
