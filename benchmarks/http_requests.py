"""Claim: a kept-alive HTTP request costs us at most 1.25 x the CPU it costs best-tuned HAProxy.

Unit: a GET with six fields and its answer, a head of seven lines and 100 bytes, on 64 connections
at a time, which are made before and closed afterwards. No head comes twice. X-Forwarded-For is
added; the server's connections are kept as well, and for comparison closed after each answer.
Command: ``.venv/bin/python benchmarks/http_requests.py``
"""

import functools
from contextlib import ExitStack

from http_load import answering_server, request
from http_rivals import CLOSING, http_rivals
from load import connect
from rig import Claim, Meter, Sample, alone, run
from rivals import Target

CONNECTIONS = 64

stage = functools.partial(alone, serving=answering_server)


def work(target: Target, count: int) -> Sample:
    with ExitStack() as stack:
        socks = connect(target.port, CONNECTIONS, stack)
        with Meter(target) as meter:
            request(socks, count)
    return meter.sample(count)


KEPT = Claim(
    text="HTTP requests, both connections kept",
    unit="request",
    count=20_000,
    small=500,
    bars={"relative": (0.8, None), "relative_cpu": (None, 1.25)},
    work=work,
    stage=stage,
    rivals=http_rivals(),
)
CLOSED = Claim(
    text="HTTP requests, the server's connection closed after each",
    unit="request",
    count=6000,
    small=500,
    work=work,
    stage=stage,
    rivals=http_rivals(CLOSING),
)

if __name__ == "__main__":
    run([KEPT, CLOSED])
