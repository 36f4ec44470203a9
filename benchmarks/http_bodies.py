"""Claim: a body of a GB goes through us in HTTP mode as fast as in TCP mode.

Unit: one megabyte (10^6 bytes) of a body in one direction, on one connection. ``rate`` is MB/s. The
figures to compare with are our own in ``mode tcp``, in the same round. With Content-Length nothing
of a body has to be looked at; in chunks of 64 KiB, which are there for information, every size is.
Command: ``.venv/bin/python benchmarks/http_bodies.py``
"""

import functools
from collections.abc import Callable

from http_load import body_server, download, upload
from http_rivals import http_rivals, unread
from rig import Claim, Meter, Sample, alone, run
from rivals import Target

# To within what such figures differ by themselves.
BARS = {"relative": (0.9, None), "relative_cpu": (None, 1.1)}


def work(move: Callable[..., None], target: Target, count: int, *, is_chunked: bool) -> Sample:
    with Meter(target) as meter:
        move(target.port, count * 1_000_000, is_chunked=is_chunked)
    return meter.sample(count)


def claim(text: str, move: Callable[..., None], *, is_chunked: bool) -> Claim[Target]:
    return Claim(
        text=text,
        unit="MB",
        count=1000,
        small=10,
        bars={} if is_chunked else BARS,
        work=functools.partial(work, move, is_chunked=is_chunked),
        stage=functools.partial(alone, serving=body_server),
        rivals=(*http_rivals(), unread()),
        against=unread().name,
    )


CLAIMS = (
    claim("download with Content-Length", download, is_chunked=False),
    claim("upload with Content-Length", upload, is_chunked=False),
    claim("download in chunks", download, is_chunked=True),
    claim("upload in chunks", upload, is_chunked=True),
)

if __name__ == "__main__":
    run(CLAIMS)
