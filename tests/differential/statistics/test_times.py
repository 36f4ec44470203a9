"""Which of the times a pause is in.

Lower bounds alone, and of pauses that began when both programs had seen what comes before: no
machine is too slow for that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ..haproxy import lack
from .cases import cases
from .rows import Rows
from .run import played
from .sides import HaproxySide, OurSide

ALL = [case for case in cases() if case.name.startswith("times: ")]
TIMES = ("qtime", "ctime", "rtime", "ttime")
# Milliseconds: a pause of 0.1 s, and clocks that are read a little before or after it.
_PAUSE = 95
# Case -> in which times of the server, and of the backend, the pause is at least.
LONG = {
    "times: a session": ("a", {"ttime"}),
    "times: a session that has waited in the queue": ("a", {"qtime", "ttime"}),
    "times: a session that was connected at the second attempt": ("b", {"ttime"}),
    "times: the server thinks": ("a", {"rtime", "ttime"}),
    "times: the server is slow in the body": ("a", {"ttime"}),
    "times: the client rests between two requests": ("a", set()),
    "times: one of two was refused": ("a", {"rtime", "ttime"}),
    "times: nobody answers": ("a", set()),
}


@pytest.fixture(scope="module", params=[HaproxySide, OurSide])
def rows(request: pytest.FixtureRequest) -> Iterator[dict[str, Rows]]:
    """What a side says of each case, times and all."""
    # Ours needs full ports and Unix sockets, which are where HAProxy is.
    if (reason := lack()) is not None:
        pytest.skip(reason)
    with played(request.param, ALL) as (program, _):
        yield {case.name: program.rows(number) for number, case in enumerate(ALL)}


@pytest.mark.parametrize("name", LONG)
def test_a_pause_is_in_the_longest_of_the_times_it_belongs_to(
    rows: dict[str, Rows], name: str
) -> None:
    server, long = LONG[name]
    for row in (server, "BACKEND"):
        found = {time for time in TIMES if int(rows[name][row][f"{time}_max"]) >= _PAUSE}
        assert found >= long, row


def test_without_a_response_of_a_server_there_are_no_times(rows: dict[str, Rows]) -> None:
    for row in ("a", "BACKEND"):
        of = rows["times: nobody answers"][row]
        assert {of[time] for time in (*TIMES, *(f"{time}_max" for time in TIMES))} == {"0"}


def test_in_tcp_mode_there_is_no_time_of_a_response(rows: dict[str, Rows]) -> None:
    for name in ("times: a session", "times: a session that has waited in the queue"):
        for row in ("a", "BACKEND"):
            assert rows[name][row]["rtime"] == rows[name][row]["rtime_max"] == "0"


def test_every_case_is_looked_at() -> None:
    assert {*LONG} == {case.name for case in ALL}
