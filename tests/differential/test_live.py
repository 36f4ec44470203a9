"""HAProxy and dsbalance decide alike, live, for a few seeds of each policy.

``python3 -m tests.differential`` plays many more.
"""

from __future__ import annotations

import pytest

from .files import POLICIES, setup_of
from .play import lack
from .story import Story
from .telling import performed

pytestmark = pytest.mark.skipif(bool(lack()), reason=lack() or "")

DECISIONS = 25
SEEDS = range(2 * len(POLICIES))


@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: f"{seed}-{setup_of(seed).kind[0]}")
def test_the_two_decide_alike(seed: int) -> None:
    setup = setup_of(seed)
    ending = performed(seed, setup, DECISIONS)
    told = "\n".join([str(Story(setup, ending.story.events)), *ending.found])
    assert not ending.found, f"python3 -m tests.differential --seeds {seed} makes it short:\n{told}"
    assert ending.decisions >= DECISIONS
