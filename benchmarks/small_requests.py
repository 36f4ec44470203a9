"""Claim: a kept-alive small request costs us no more CPU than best-tuned HAProxy.

Unit: 100 bytes to the server and back, on 64 connections at a time, which are made before and
closed afterwards. The tuning is for streams: here HAProxy as it comes, which splices nothing, is
cheaper, and stands beside it.
Command: ``.venv/bin/python benchmarks/small_requests.py``
"""

from contextlib import ExitStack

from load import ask, connect
from rig import Claim, Meter, Sample, alone
from rivals import Target

CONNECTIONS = 64


def work(target: Target, count: int) -> Sample:
    with ExitStack() as stack:
        socks = connect(target.port, CONNECTIONS, stack)
        with Meter(target) as meter:
            ask(socks, count)
    return meter.sample(count)


if __name__ == "__main__":
    Claim(
        text="kept-alive small requests",
        unit="request",
        count=40_000,
        small=500,
        bars={"relative": (1.0, None), "relative_cpu": (None, 1.0)},
        work=work,
        stage=alone,
    ).run()
