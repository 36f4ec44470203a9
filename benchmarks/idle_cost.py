"""Claim: 10,000 idle connections add no cost to the active ones.

Unit: 100 bytes to the server and back, on 64 connections at a time, through a rival that has
``idle`` silent ones besides: 10,000, or as many as the limit of descriptors allows a rival, which
needs two for each. ``rate`` and CPU are those of this rival; ``alone_us`` is the CPU of a request
through another process of the same program that has none, in the same round, and ``ratio`` is one
by the other.
Command: ``.venv/bin/python benchmarks/idle_cost.py``
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import small_requests
from load import echo_server, held
from rig import Claim, Sample, alone, descriptors
from rivals import Rival, Target, running

IDLE = 10_000
# Descriptors for everything but idle connections: active ones, pipes, listeners, logs.
SPARE = 1000


class Pair(NamedTuple):
    """One program in two processes: ``beside`` has ``idle`` silent connections, ``alone`` none."""

    alone: Target
    beside: Target
    idle: int


@contextmanager
def stage(rival: Rival, count: int) -> Iterator[Pair]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A round that only shows that it works does so with few.
    idle = min(IDLE, count // 2, (limit - SPARE) // 2)
    with (
        alone(rival) as first,
        echo_server() as server,
        running(rival, server, maxconn=idle + 200) as second,
        held(second.port, idle),
    ):
        yield Pair(first, second, idle)


def work(pair: Pair, count: int) -> Sample:
    without, beside = (small_requests.work(target, count) for target in pair[:2])
    if descriptors(pair.beside.pid) < 2 * pair.idle:
        raise ValueError("it has closed some of the idle connections")
    before, after = without.metrics["cpu_us"], beside.metrics["cpu_us"]
    return replace(beside, more={"alone_us": before, "ratio": after / before, "idle": pair.idle})


if __name__ == "__main__":
    Claim(
        text="small requests beside idle connections",
        unit="request",
        count=20_000,
        small=500,
        bars={"ratio": (None, 1.1)},
        work=work,
        stage=stage,
    ).run()
