"""Claim: a plan for 5,000 clients and 10 servers takes less than 1 s of CPU, its start included.

Unit: one process that runs ``dsbalance plan`` for the suite's preset and shows the picture, one
after the other, with the files in the system's cache. ``cpu_ms`` is the whole process's, the
system's share of making it included; ``bare_cpu_ms`` is that of an interpreter that does nothing,
in the same round. With a change three moments are worked out, without one there is one. There is no
rival: no other program tells before a change who would move.
Command: ``.venv/bin/python benchmarks/plan.py``
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address

from contest import Bars, Contest, Figures, options, per_unit

SERVERS = 10
FIRST = IPv4Address("10.1.0.1")


@dataclass(frozen=True)
class Change:
    """What is planned, and what it is called in the results."""

    name: str
    words: tuple[str, ...] = ()
    package: str = "dsbalance"


CHANGES = (
    Change("dsbalance, as it is"),
    Change("dsbalance, a server lost", ("--lose", "primary-3")),
    Change("dsbalance, a server added", ("--add", f"primary-{SERVERS + 1}=10.0.0.99")),
)


def spent(command: list[str]) -> tuple[float, float, float]:
    """Return the seconds that a process takes, and those of CPU: the user's and the system's."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"it ended with {process.returncode}")
    return seconds, usage.ru_utime, usage.ru_stime


def measure(change: Change, count: int) -> Figures:
    """Return what one plan costs."""
    _, *bare = spent([sys.executable, "-c", "pass"])
    servers = ",".join(f"10.0.0.{number}" for number in range(11, 11 + SERVERS))
    words = ["plan", "--paragon", servers, "--clients", f"{FIRST}-{FIRST + count - 1}"]
    seconds, user, system = spent([sys.executable, "-m", "dsbalance", *words, *change.words])
    figures = {"cpu_ms": 1e3 * (user + system), "bare_cpu_ms": 1e3 * sum(bare)}
    return {**per_unit(1, seconds, user, system), **figures}


def main() -> None:
    args = options(__doc__, rounds=9, count=5000, small=50)
    bars: Bars = {"cpu_ms": (None, 1000.0)}
    contest = Contest(
        f"plans for {args.count:,} clients and {SERVERS} servers",
        "plan",
        bars={change.name: bars for change in CHANGES},
    )
    contest.run(CHANGES, args.rounds, partial(measure, count=args.count))


if __name__ == "__main__":
    main()
