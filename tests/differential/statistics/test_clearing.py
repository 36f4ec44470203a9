"""What ``clear counters`` and ``clear counters all`` leave, at HAProxy and here."""

from __future__ import annotations

import pytest

from ..haproxy import lack
from .cases import cases
from .differences import MASKED, listed
from .rows import Rows, comparable, differences
from .run import played
from .sides import HaproxySide, OurSide

# Sessions that have ended and one that has not, errors, retries, checks that failed.
PLAYED = (
    "tcp: three sessions one after the other",
    "tcp: two at a time",
    "tcp: one of two is in maintenance",
    "tcp: refused, sent to the other one",
    "tcp: no server is up",
    "tcp: the client resets",
    "http: three exchanges on one connection",
    "http: status 404",
    "http: denied by the frontend",
    "state: maint of the last one",
    "state: health down and up, checked",
)
_COMMANDS = ("clear counters", "clear counters all")


@pytest.fixture(scope="module")
def both() -> list[dict[str, list[Rows]]]:
    """What HAProxy and we say after each command, case by case."""
    if (reason := lack()) is not None:
        pytest.skip(reason)
    chosen = [case for case in cases() if case.name in PLAYED]
    assert len(chosen) == len(PLAYED)
    said = []
    for side in (HaproxySide, OurSide):
        after = []
        with played(side, chosen) as (program, _):
            for command in _COMMANDS:
                assert program.ask(command).strip() == ""
                after.append([_rows(program, number) for number in range(len(chosen))])
        said.append(dict(zip(_COMMANDS, after, strict=True)))
    return said


def _rows(program: OurSide | HaproxySide, number: int) -> Rows:
    rows = program.rows(number)
    # What was on the wire, HAProxy forgets with either command, and the rest of its bytes does not.
    own = {"bin", "bout"} if rows["FRONTEND"]["mode"] == "http" else set()
    return comparable(rows, {*MASKED, *own}, number)


@pytest.mark.parametrize("command", _COMMANDS)
@pytest.mark.parametrize("name", PLAYED)
def test_the_same_is_left(both: list[dict[str, list[Rows]]], command: str, name: str) -> None:
    names = [case.name for case in cases() if case.name in PLAYED]
    theirs, ours = (side[command][names.index(name)] for side in both)
    assert differences(theirs, ours) == []


def test_no_case_is_one_that_differs_anyway() -> None:
    assert {*PLAYED}.isdisjoint(name for each in listed() for name in each.ours)
