"""The fixtures of the fault plays; what they are for stands in ``faults.stage``."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack

import pytest

from actors import PATHS, Path, Peer
from dsbalance import Config
from faults.checks import Round
from faults.clock import Clock
from faults.island import Island
from faults.program import Program
from faults.stage import Stage

_HAS_PASSED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    item.stash[_HAS_PASSED] = report.when == "call" and report.passed
    return report


@pytest.fixture(params=PATHS, ids=str)
def path(request: pytest.FixtureRequest) -> Path:
    """One way through the machine: epoll or selectors, splice or copy, IPv4 or IPv6."""
    path: Path = request.param
    if path.lack:
        pytest.skip(path.lack)
    return path


@pytest.fixture
def stage(
    path: Path, loopback: Callable[[], str], request: pytest.FixtureRequest
) -> Iterator[Stage]:
    """An empty stage; servers enter first, then the proxy, then clients."""
    stage = Stage(path, loopback)
    try:
        yield stage
    finally:
        stage.leave(has_passed=request.node.stash.get(_HAS_PASSED, False))


@pytest.fixture
def clock(stage: Stage) -> Clock:
    """The proxy's clock, which stands still until the case moves it."""
    return stage.hold_clock()


@pytest.fixture
def check(stage: Stage, clock: Clock) -> Round:
    """A check of every server, each time that it is called. Skips where servers notice checks."""
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux can hold the end of a handshake back, so that no check is accepted")
    return Round(stage, clock)


@pytest.fixture(scope="session")
def island() -> Iterator[Island]:
    """A process in a network of its own; skips the test where there cannot be one."""
    island = Island()
    try:
        if lack := island.reach():
            pytest.skip(lack)
        yield island
    finally:
        island.close()


@pytest.fixture
def conversation(stage: Stage, request: pytest.FixtureRequest) -> tuple[Peer, Peer]:
    """Both ends of a session with server ``a``, as ``configured``."""
    marker = request.node.get_closest_marker("configured")
    stage.server("a")
    stage.open(**(marker.kwargs if marker else {}))
    return stage.talk()


@pytest.fixture
def client(conversation: tuple[Peer, Peer]) -> Peer:
    """The client's end."""
    return conversation[0]


@pytest.fixture
def server(conversation: tuple[Peer, Peer]) -> Peer:
    """The server's end."""
    return conversation[1]


@pytest.fixture
def start(stage: Stage, tmp_path: pathlib.Path) -> Iterator[Callable[..., Program]]:
    """Return a function that starts the real program, in place of the proxy of the stage.

    It takes what :meth:`Stage.open` takes, and ``descriptors``; see :class:`Program`.
    """
    if os.name != "posix":
        pytest.skip("there are neither signals nor descriptors here")
    with ExitStack() as cleanup:

        def start(
            config: Config | None = None, *, descriptors: int | None = None, **words: object
        ) -> Program:
            config = stage.config(**words) if config is None else config
            return cleanup.enter_context(Program(stage.path, config, tmp_path, descriptors))

        yield start
