"""Claim: a stream through us costs no more CPU per GB than through best-tuned HAProxy.

Unit: one megabyte (10^6 bytes) to the server, which echoes it. ``rate`` is MB/s.
Command: ``.venv/bin/python benchmarks/bulk.py``
"""

from load import stream
from rig import Claim, Meter, Sample, alone
from rivals import Target


def work(target: Target, count: int) -> Sample:
    with Meter(target) as meter:
        stream(target.port, 1, count * 1_000_000)
    return meter.sample(count)


if __name__ == "__main__":
    Claim(
        text="bulk",
        unit="MB",
        count=1000,
        small=10,
        bars={"relative": (1.0, None), "relative_cpu": (None, 1.0)},
        work=work,
        stage=alone,
    ).run()
