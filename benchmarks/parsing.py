"""Claim: 64 kB of anything are read as a configuration, or refused, within 100 ms of CPU.

And twice as much takes twice as long: ``growth`` is the cost of twice the text, as a multiple of
twice the cost.

Unit: one text of 64 kB, of which everything is looked at and every problem is found. Of each family
of shapes a line has the slowest one: ``ms`` is CPU time of this thread, which a busy machine spoils
least; ``growth`` is taken of shapes that take 5 ms and more, since others are too short for it.
There is no rival: HAProxy ends at the first few problems, and cannot be told from its start.
Command: ``.venv/bin/python benchmarks/parsing.py``
"""

from __future__ import annotations

import contextlib
import gc
import time
from dataclasses import dataclass

from contest import Bars, Contest, Figures, options
from shapes import FAMILIES, Shape

from dsbalance import ConfigError
from dsbalance.haproxy.config import read

# Each text is read so often, and the shortest time counts: among a hundred shapes one will have met
# a bad moment.
TRIES = 3
# What is too short to be compared with another.
SHORT = 0.005


@dataclass(frozen=True)
class Family:
    """Shapes of one kind, and what they are called in the results."""

    name: str
    shapes: tuple[Shape, ...]
    package: str = "dsbalance"


def seconds(text: str) -> float:
    """Return the CPU time that it takes to read a text."""
    # What the text before has left is not this one's.
    gc.collect()
    return min(_seconds(text) for _ in range(TRIES))


def _seconds(text: str) -> float:
    began = time.thread_time()
    with contextlib.suppress(ConfigError):
        read([("x.cfg", text)], {"A": "x y"})
    return time.thread_time() - began


def measure(family: Family, size: int) -> Figures:
    """Return what the slowest text of a family takes."""
    once = [seconds(shape(size)) for shape in family.shapes]
    growth = [
        seconds(shape(2 * size)) / (2 * taken)
        for shape, taken in zip(family.shapes, once, strict=True)
        if taken > SHORT
    ]
    slowest = max(once)
    figures = {"rate": 1 / slowest, "cpu_us": 1e6 * slowest, "ms": 1e3 * slowest}
    return figures | {"growth": max(growth, default=1.0)}


def main() -> None:
    args = options(__doc__, rounds=5, count=64, small=2)
    families = [
        Family(f"dsbalance, {name}", tuple(shapes.values())) for name, shapes in FAMILIES.items()
    ]
    bars: Bars = {"ms": (None, 100.0), "growth": (None, 1.5)}
    contest = Contest(
        f"{args.count} kB of anything", "text", bars={each.name: bars for each in families}
    )
    contest.run(families, args.rounds, lambda family: measure(family, 1024 * args.count))


if __name__ == "__main__":
    main()
