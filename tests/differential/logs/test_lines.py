"""Each line of the log, HAProxy's and ours, of the same play."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..haproxy import lack
from .plays import CASES, Case
from .sides import Side

pytestmark = pytest.mark.skipif(lack() is not None, reason=str(lack()))


def told(side: Side, case: Case) -> tuple[str, ...]:
    """Return what a side says of a play."""
    stage = side.stages[case.name]
    case.play(stage)
    stage.until_over()
    return side.heard(case.name)


@pytest.fixture(scope="module")
def sides(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    folder = tmp_path_factory.mktemp("logs")
    theirs, ours = (Side(CASES, folder, is_haproxy=is_haproxy) for is_haproxy in (True, False))
    with theirs.at_work(), ours.at_work():
        yield theirs, ours


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_say_the_same_but_where_a_reason_is_given(
    sides: tuple[Side, Side], case: Case
) -> None:
    theirs, ours = (told(side, case) for side in sides)
    assert bool(case.why) is (case.ours is not None)
    if case.ours is None:
        assert ours == theirs
    else:
        assert ours == case.ours
        assert ours != theirs, "what was different is not any more"
