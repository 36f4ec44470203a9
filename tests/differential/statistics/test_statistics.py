"""The statistics of HAProxy and ours, for the same traffic: what is counted, and what differs."""

from __future__ import annotations

import socket
import sys

import pytest

from ..haproxy import lack
from .cases import Case, cases
from .differences import MASKED, captured, expected, listed
from .rows import MASK, Rows, differences
from .run import outcomes
from .sides import HaproxySide, OurSide, PortableSide

ALL = cases()
ON_PURPOSE = sorted({name for each in listed() for name in each.ours})
# What depends on that a reset is seen while nobody waits for bytes of the client.
SEEN_LATE = {
    "http: queue: the one who waits resets",
    "http: the client resets while it waits",
    "http: the client resets while it waits for the connection",
    "http: the client resets in the response",
}


def lack_of(case: Case, side: type[OurSide]) -> str:
    """Return why a case cannot be played; empty: it can."""
    if side is PortableSide and case.name in SEEN_LATE:
        return "without epoll a client's reset is seen when it is written to"
    if "full" in case.ports and sys.platform != "linux":
        return "what a full backlog does is Linux's"
    return ""


@pytest.fixture(scope="module", params=[OurSide, PortableSide])
def ours(request: pytest.FixtureRequest) -> tuple[type[OurSide], dict[str, Rows]]:
    """What is counted in each case here."""
    if not hasattr(socket, "AF_UNIX"):
        pytest.skip("there are no Unix sockets here to ask on")
    side: type[OurSide] = request.param
    return side, outcomes(side, [case for case in ALL if not lack_of(case, side)], expected())


@pytest.fixture(scope="module")
def theirs() -> dict[str, Rows]:
    """What HAProxy counts in each case now."""
    if (reason := lack()) is not None:
        pytest.skip(reason)
    return outcomes(HaproxySide, ALL, captured())


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_rows_and_counts_are_as_expected(
    case: Case, ours: tuple[type[OurSide], dict[str, Rows]]
) -> None:
    side, rows = ours
    if reason := lack_of(case, side):
        pytest.skip(reason)
    assert differences(expected()[case.name], rows[case.name]) == []


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_haproxy_counts_what_was_captured(case: Case, theirs: dict[str, Rows]) -> None:
    assert differences(captured()[case.name], theirs[case.name]) == []


def test_every_case_has_a_name_of_its_own_and_was_captured() -> None:
    assert len(ALL) >= 150
    assert {case.name for case in ALL} == {*captured()}
    assert len({case.name for case in ALL}) == len(ALL)
    assert {*captured()} >= {*ON_PURPOSE, *SEEN_LATE}


@pytest.mark.parametrize("name", ON_PURPOSE)
def test_what_is_listed_differs(name: str) -> None:
    for each in listed():
        for row, columns in each.ours.get(name, {}).items():
            for column, value in columns.items():
                their = captured()[name][row][column]
                assert their != value, f"{row} {column}"
                assert their != MASK or value in {"", "-1"}, f"{row} {column} is masked"


def test_each_difference_has_a_reason_and_is_told_once() -> None:
    places = [
        (name, row, column)
        for each in listed()
        for name, rows in each.ours.items()
        for row, columns in rows.items()
        for column in columns
    ]
    assert len(places) == len(set(places))
    assert all(reason.endswith(".") for reason in (*MASKED.values(), *(x.reason for x in listed())))


def test_three_of_four_cases_are_counted_alike() -> None:
    assert len(ON_PURPOSE) * 4 <= len(ALL)


def test_what_is_not_compared_are_times_addresses_and_idle_connections() -> None:
    everything = {*next(iter(next(iter(captured().values())).values()))}
    assert everything >= {*MASKED}
    assert len(everything - {*MASKED}) >= 75
