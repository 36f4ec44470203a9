"""Raw requests through HAProxy and through us: what everybody sees, and what differs on purpose."""

from __future__ import annotations

import json

import pytest

from ..haproxy import lack
from .cases import Case, cases
from .outcome import Outcome, captured, differences, expected, laxities
from .run import outcomes
from .sides import HaproxySide, OurSide, PortableSide

ALL = cases()
ON_PURPOSE = {name: each for each in differences() for name in each.ours}
# What depends on that a reset is seen while nobody waits for bytes of the client.
SEEN_LATE = {"client resets behind its request", "queue: the client resets"}


@pytest.fixture(scope="module", params=[OurSide, PortableSide])
def ours(request: pytest.FixtureRequest) -> tuple[type[OurSide], dict[str, Outcome]]:
    """What comes of each case here."""
    side: type[OurSide] = request.param
    seen = [case for case in ALL if side is OurSide or case.name not in SEEN_LATE]
    return side, outcomes(side, seen, expected())


@pytest.fixture(scope="module")
def theirs() -> dict[str, Outcome]:
    """What HAProxy makes of each case now."""
    if (reason := lack()) is not None:
        pytest.skip(reason)
    return outcomes(HaproxySide, ALL, captured())


def parts(outcome: Outcome) -> str:
    """Return it in lines, for a difference that can be read."""
    return json.dumps(outcome.told(), indent=1)


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_everybody_sees_what_is_expected(
    case: Case, ours: tuple[type[OurSide], dict[str, Outcome]]
) -> None:
    side, outcome = ours
    if side is PortableSide and case.name in SEEN_LATE:
        pytest.skip("without epoll a client's reset is seen when it is written to")
    found = outcome[case.name]
    assert parts(found) == parts(expected()[case.name].beside(found))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_haproxy_does_what_was_captured(case: Case, theirs: dict[str, Outcome]) -> None:
    found = theirs[case.name]
    assert parts(found) == parts(captured()[case.name].beside(found))


@pytest.mark.parametrize("name", sorted(ON_PURPOSE))
def test_what_differs_is_stricter(name: str) -> None:
    theirs, ours = captured()[name], expected()[name]
    assert theirs != ours, "it does not differ"
    assert (laxities(theirs, ours) == []) is ON_PURPOSE[name].is_stricter


def test_each_difference_has_a_reason_and_is_told_once() -> None:
    names = [name for difference in differences() for name in difference.ours]
    assert len(names) == len(set(names))
    assert all(difference.reason.endswith(".") for difference in differences())
    assert sum(not difference.is_stricter for difference in differences()) <= 4


def test_every_case_has_a_name_of_its_own_and_was_captured() -> None:
    assert len(ALL) >= 150
    assert {case.name for case in ALL} == {*captured()}
    assert len({case.name for case in ALL}) == len(ALL)
    assert {*captured()} >= {*ON_PURPOSE, *SEEN_LATE}
