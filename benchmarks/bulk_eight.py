"""Claim: eight streams at once cost us no more CPU per GB than best-tuned HAProxy.

Unit: one megabyte (10^6 bytes) to the server, which echoes it, on any of the eight. ``rate`` is
MB/s.
Command: ``.venv/bin/python benchmarks/bulk_eight.py``
"""

from load import stream
from rig import Claim, Meter, Sample, alone
from rivals import Target

STREAMS = 8


def work(target: Target, count: int) -> Sample:
    with Meter(target) as meter:
        stream(target.port, STREAMS, count * 1_000_000 // STREAMS)
    return meter.sample(count)


if __name__ == "__main__":
    Claim(
        text="eight bulk streams",
        unit="MB",
        count=1000,
        small=40,
        bars={"relative": (1.0, None), "relative_cpu": (None, 1.0)},
        work=work,
        stage=alone,
    ).run()
