"""What a check came to, and when the first ones are due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.checks import CheckResult, CheckStatus, first_delays


@pytest.mark.parametrize(
    ("status", "reason", "passed", "local"),
    [
        (CheckStatus.L4OK, "Layer4 check passed", True, False),
        (CheckStatus.L4CON, "Layer4 connection problem", False, False),
        (CheckStatus.L4TOUT, "Layer4 timeout", False, False),
        (CheckStatus.SOCKERR, "Socket error", False, True),
    ],
)
def test_a_result_speaks_as_haproxy_does(
    status: CheckStatus, reason: str, passed: bool, local: bool
) -> None:
    result = CheckResult(status=status, port=5022)
    assert (result.reason, result.is_passed, result.is_local) == (reason, passed, local)


def test_a_summary_has_the_port_and_the_words_of_the_system() -> None:
    result = CheckResult(status=CheckStatus.L4OK, port=5022)
    assert result.summary == "Layer4 check passed at port 5022"
    result = CheckResult(status=CheckStatus.L4CON, port=9, detail="Connection refused")
    assert result.summary == "Layer4 connection problem at port 9 (Connection refused)"


@pytest.mark.parametrize(
    ("intervals", "delays"),
    [
        ([], []),
        ([5.0], [0.0]),
        ([2.0, 2.0, 2.0, 2.0], [0.0, 0.5, 1.0, 1.5]),
        # The shortest counts for those below it, the own one for those above.
        ([8.0, 2.0, 4.0, 8.0], [0.0, 0.5, 2.0, 6.0]),
        # What is below a second is not spread over, but is spread.
        ([0.5, 0.5, 4.0, 3.0], [0.0, 0.75, 2.0, 2.25]),
        ([0.4, 0.8], [0.0, 0.4]),
    ],
)
def test_first_checks_are_spread_as_haproxy_spreads_them(
    intervals: list[float], delays: list[float]
) -> None:
    assert first_delays(intervals) == pytest.approx(delays)


@given(st.lists(st.floats(0.01, 3600.0), min_size=1, max_size=50))
def test_first_checks_begin_at_once_and_stay_within_an_interval(intervals: list[float]) -> None:
    delays = first_delays(intervals)
    assert delays[0] == 0.0
    assert len(delays) == len(intervals)
    for delay, interval in zip(delays, intervals, strict=True):
        assert 0.0 <= delay < max(interval, *intervals)
    if min(intervals) == max(intervals):
        assert delays == sorted(delays)
