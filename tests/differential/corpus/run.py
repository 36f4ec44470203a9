"""All cases through one side, many at a time."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from .actors import Scene
from .cases import Case
from .outcome import Outcome
from .sides import HOST, HaproxySide, OurSide

_AT_ONCE = 24
# For how many cases one program runs. Each of them has listening sockets, and the rest of the
# 256 descriptors that some systems allow is for connections.
_BATCH = 45
# How long nothing more has to come of a case before it is over.
_REST = 0.3
# The same where everything that is expected has come.
_SHORT_REST = 0.05


def outcomes(
    side: type[OurSide | HaproxySide],
    cases: Sequence[Case],
    expected: Mapping[str, Outcome] | None = None,
) -> dict[str, Outcome]:
    """Return what comes of each case; with ``expected``, what is as expected is waited for."""
    found: dict[str, Outcome] = {}
    for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        played = _played(side, batch, expected)
        found.update(zip((case.name for case in batch), played, strict=True))
    return found


def _played(
    side: type[OurSide | HaproxySide],
    cases: Sequence[Case],
    expected: Mapping[str, Outcome] | None,
) -> list[Outcome]:
    with contextlib.ExitStack() as stack:
        street = [
            [stack.enter_context(socket.create_server((HOST, 0))) for _ in case.servers]
            for case in cases
        ]
        program = side(cases, street)
        stack.enter_context(program.at_work())
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE))

        def one(number: int) -> Outcome:
            wanted = None if expected is None else expected[cases[number].name]
            with contextlib.closing(Scene(program.door(number), street[number])) as scene:
                return _outcome(scene, cases[number], wanted, lambda: program.journal.of(number))

        return list(pool.map(one, range(len(cases))))


def _outcome(
    scene: Scene, case: Case, wanted: Outcome | None, log: Callable[[], tuple[str, ...]]
) -> Outcome:
    def seen() -> Outcome:
        clients, servers = scene.heard()
        return Outcome(clients=clients, servers=servers, log=log())

    def is_as_wanted() -> bool:
        ours = seen()
        return wanted is not None and wanted.beside(ours) == ours

    scene.play(case.steps)
    is_known = wanted is not None and scene.until(is_as_wanted)
    scene.rest(_SHORT_REST if is_known else _REST)
    return seen()
