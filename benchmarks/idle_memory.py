"""Claim: a connection that is idle costs us at most 3 KiB of memory.

Unit: one connection more, which has had one small answer and is silent; a client's and a server's
socket. ``bytes`` is by how much the rival's own memory has grown: pages that are not a file's, of
all its processes. What the kernel holds, four sockets with their buffers, is the same for everyone
and not in it. ``rate`` and CPU are those of making the connections.
The rival is new in each round, because memory that was used once is not always given back, and has
100 connections already.
Command: ``.venv/bin/python benchmarks/idle_memory.py``
"""

from contextlib import nullcontext

from load import echo_server, held
from rig import Claim, Meter, Sample, memory
from rivals import Rival, running

FIRST = 100


def stage(rival: Rival, _count: int) -> nullcontext[Rival]:
    return nullcontext(rival)


def work(rival: Rival, count: int) -> Sample:
    with (
        echo_server() as server,
        running(rival, server) as target,
        held(target.port, FIRST),
    ):
        before = memory(target.pid)
        with Meter(target) as meter, held(target.port, count):
            grown = memory(target.pid) - before
    return meter.sample(count, bytes=grown / count)


if __name__ == "__main__":
    Claim(
        text="memory of an idle connection",
        unit="connection",
        count=2000,
        small=200,
        bars={"bytes": (None, 3072.0)},
        work=work,
        stage=stage,
    ).run()
