"""All cases through one side, many at a time."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from ..corpus.sides import HOST
from .cases import Case
from .differences import MASKED
from .rows import Rows, comparable, differences
from .scene import Stage
from .sides import HaproxySide, OurSide

_AT_ONCE = 24
# For how many cases one program runs. Each of them has listening sockets, and the rest of the
# 256 descriptors that some systems allow is for connections.
_BATCH = 45
_PATIENCE = 4.0
# How long nothing more has to be counted before a case is over that nothing is known of.
_REST = 0.4
_MOMENT = 0.05


def outcomes(
    side: type[OurSide | HaproxySide],
    cases: Sequence[Case],
    expected: Mapping[str, Rows] | None = None,
) -> dict[str, Rows]:
    """Return what is counted in each case; with ``expected``, what is expected is waited for."""
    found: dict[str, Rows] = {}
    for start in range(0, len(cases), _BATCH):
        batch = cases[start : start + _BATCH]
        with played(side, batch, expected) as (_, rows):
            found.update(zip((case.name for case in batch), rows, strict=True))
    return found


@contextlib.contextmanager
def played(
    side: type[OurSide | HaproxySide],
    cases: Sequence[Case],
    expected: Mapping[str, Rows] | None = None,
) -> Iterator[tuple[OurSide | HaproxySide, list[Rows]]]:
    """Yield the program that has been through the cases, still at work, and what it counted."""
    with contextlib.ExitStack() as stack:
        street = [stack.enter_context(_ports(case)) for case in cases]
        program = side(cases, [ports.addresses for ports in street])
        stack.enter_context(program.at_work())
        pool = stack.enter_context(ThreadPoolExecutor(_AT_ONCE))

        def one(number: int) -> Rows:
            case = cases[number]
            desk = _Desk(program, number)
            stage = Stage(program.door(number), street[number].open, desk)
            with contextlib.closing(stage):
                stage.play(case.steps)
                wanted = None if expected is None else expected[case.name]
                return _settled(partial(desk.comparable, time.monotonic()), wanted)

        yield program, list(pool.map(one, range(len(cases))))


class _Desk:
    """What is asked about one case."""

    def __init__(self, program: OurSide | HaproxySide, number: int) -> None:
        self._program = program
        self._number = number

    def ask(self, command: str) -> str:
        for name in ("front", "back"):
            command = command.replace(f"{{{name}}}", f"{name}{self._number}")
        return self._program.ask(command)

    def rows(self, since: float) -> Rows:
        return self._program.rows(self._number, since)

    def comparable(self, since: float) -> Rows:
        return comparable(self.rows(since), MASKED, self._number)


def _settled(look: Callable[[], Rows], wanted: Rows | None) -> Rows:
    """Return what is counted in the end."""
    deadline = time.monotonic() + _PATIENCE
    seen = look()
    rest = time.monotonic() + _REST
    while time.monotonic() < deadline:
        if wanted is not None and not differences(wanted, seen):
            break
        if wanted is None and time.monotonic() > rest:
            break
        time.sleep(_MOMENT)
        now = look()
        if now != seen:
            seen, rest = now, time.monotonic() + _REST
    return seen


@dataclass(frozen=True)
class _Ports:
    """Where the servers of one case are to be found.

    Attributes:
        addresses: ``host:port`` of each.
        open: The sockets of those that can be reached, by the names of the servers.
    """

    addresses: list[str]
    open: dict[str, socket.socket]


@contextlib.contextmanager
def _ports(case: Case) -> Iterator[_Ports]:
    found = _Ports([], {})
    with contextlib.ExitStack() as stack:
        for name, kind in zip("abc", case.ports, strict=False):
            if kind == "dead":
                # Bound, so that nobody else gets it; nobody listens, so it refuses.
                port = stack.enter_context(socket.socket())
                port.bind((HOST, 0))
            else:
                port = socket.create_server((HOST, 0), backlog=0 if kind == "full" else None)
                stack.enter_context(port)
            if kind == "full":
                for _ in range(3):
                    guest = stack.enter_context(socket.socket())
                    guest.setblocking(False)
                    guest.connect_ex(port.getsockname())
            elif kind == "open":
                found.open[name] = port
            found.addresses.append("{}:{}".format(*port.getsockname()))
        yield found
