"""How many sessions a server may have: ``maxconn``, and ``minconn`` while the backend has few."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.counters import BackendCounters
from dsbalance.model import Server
from dsbalance.placement import Crowd, ServerState


def limits(minconn: int | None, maxconn: int | None, fullconn: int, most: int) -> list[int | None]:
    """Return the limit while the backend has 1 session, 2, 3 and so on."""
    counters = BackendCounters()
    placed = Server(name="s", host="192.0.2.1", minconn=minconn, maxconn=maxconn)
    state = ServerState(placed, 1, 0.0, Crowd(counters, fullconn))
    found = []
    for counters.current in range(1, most + 1):
        found.append(state.limit)
    return found


# By hand from what was observed on HAProxy 2.6.12.
@pytest.mark.parametrize(
    ("minconn", "maxconn", "fullconn", "expected"),
    [
        (1, 10, 10, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]),
        (2, 10, 20, [2, 2, 2, 2, 2, 3, 3, 4, 4, 5, 5]),
        (3, 7, 10, [3, 3, 3, 3, 3, 4, 4, 5, 6, 7, 7]),
        (1, 4, 13, [1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4]),
        (5, 10, 10, [5, 5, 5, 5, 5, 6, 7, 8, 9, 10]),
        (1, 3, 7, [1, 1, 1, 1, 2, 2, 3, 3]),
        (4, 4, 9, [4] * 12),
        (None, 4, 9, [4] * 12),
        (None, None, 9, [None] * 3),
    ],
)
def test_the_limit_grows_with_the_backend_until_that_is_full(
    minconn: int | None, maxconn: int | None, fullconn: int, expected: list[int]
) -> None:
    assert limits(minconn, maxconn, fullconn, len(expected)) == expected


@given(st.integers(1, 50), st.integers(0, 50), st.integers(1, 100))
def test_a_limit_is_between_minconn_and_maxconn_and_never_shrinks_as_sessions_come(
    minconn: int, more: int, fullconn: int
) -> None:
    maxconn = minconn + more
    found = limits(minconn, maxconn, fullconn, fullconn + 3)
    assert found == sorted(found, key=lambda limit: limit or 0)
    assert {minconn <= (limit or 0) <= maxconn for limit in found} == {True}
    assert found[fullconn - 1 :] == [maxconn] * 4
