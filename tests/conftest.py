"""What every test may use: hypothesis profiles and addresses of one's own.

profile     examples   chosen
ci          50         the same at each run; unless HYPOTHESIS_PROFILE says otherwise
brief       10         likewise; where another Python has tried the others
thorough    2000       anew at each run, with what failed before tried first
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from actors import LONG_WAYS, WAYS, Greeter, HttpStage, Path

# A noisy machine makes any deadline, and the check for slow generation, a matter of luck.
_patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("ci", _patient, max_examples=50, derandomize=True, database=None)
settings.register_profile("brief", _patient, max_examples=10, derandomize=True, database=None)
settings.register_profile("thorough", _patient, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# 127.1.0.0 and up, a block of 256 addresses for a process: two runs on one machine seldom meet.
_LOOPBACK = int(ipaddress.IPv4Address("127.1.0.0"))
_addresses = itertools.cycle(
    str(ipaddress.IPv4Address(_LOOPBACK + (os.getpid() % 60_000) * 256 + last))
    for last in range(1, 255)
)


@pytest.fixture
def loopback() -> Callable[[], str]:
    """Return a function that gives another 127.x.y.z at each call.

    Every port of such an address is free, and a client that binds to one is a client of its own.
    Skips the test where the system has 127.0.0.1 alone, as macOS does.
    """

    def another() -> str:
        address = next(_addresses)
        with socket.socket() as probe:
            try:
                probe.bind((address, 0))
            except OSError as error:
                pytest.skip(f"{address} cannot be used here: {error}")
        return address

    return another


@pytest.fixture
def greeters() -> Iterator[list[Greeter]]:
    """Two servers, ``a`` and ``b``, that tell their names."""
    greeters = [Greeter("a"), Greeter("b")]
    yield greeters
    for greeter in greeters:
        greeter.close()


@pytest.fixture(params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Path:
    """A way through the machine for HTTP mode."""
    return _passable(request.param)


@pytest.fixture(params=LONG_WAYS, ids=str)
def long_way(request: pytest.FixtureRequest) -> Path:
    """A way through the machine for long bodies."""
    return _passable(request.param)


def _passable(way: Path) -> Path:
    if way.lack:
        pytest.skip(way.lack)
    return way


@pytest.fixture
def opened() -> Iterator[Callable[..., HttpStage]]:
    """Return a function that makes an :class:`HttpStage`; they are closed behind the test."""
    stages: list[HttpStage] = []

    def make(way: Path, **words: Any) -> HttpStage:
        stages.append(HttpStage(way, **words))
        return stages[-1]

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(way: Path, opened: Callable[..., HttpStage]) -> HttpStage:
    """A proxy in HTTP mode before one server, with nothing configured."""
    return opened(way)
