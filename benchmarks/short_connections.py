"""Claim: a short connection costs us at most 1.25 x the CPU that it costs best-tuned HAProxy.

Unit: connect, 100 bytes, their echo, close; one after the other, with source hash, stick table
and statistics on.
Command: ``.venv/bin/python benchmarks/short_connections.py``
"""

import socket

from load import WORDS
from rig import Claim, Meter, Sample, alone
from rivals import Target


def work(target: Target, count: int) -> Sample:
    with Meter(target) as meter:
        for _ in range(count):
            with socket.create_connection(("127.0.0.1", target.port)) as sock:
                sock.sendall(WORDS)
                if len(sock.recv(1000)) != len(WORDS):
                    raise ValueError("an answer was not whole")
    return meter.sample(count)


if __name__ == "__main__":
    Claim(
        text="short connections",
        unit="connection",
        count=6000,
        small=100,
        bars={"relative": (0.85, None), "relative_cpu": (None, 1.25), "user_us": (None, 45.0)},
        work=work,
        stage=alone,
    ).run()
