"""What trouble leads to in HTTP mode: every stage, both sides, and the rules behind the table."""

from __future__ import annotations

import itertools

import pytest

from dsbalance.fates import (
    BROKEN_OFF,
    LAPSED,
    UNREAD,
    Circumstances,
    Fate,
    Leave,
    Stage,
    Trouble,
    fate,
    wants_to_stay,
)
from dsbalance.http1 import RequestHead
from dsbalance.relay import Ending, Side

READING = (Stage.FRESH, Stage.IDLE, Stage.HEAD)
EXCHANGING = (Stage.ASKING, Stage.ANSWERING)
# What the loop can tell of in a stage. A client that ends behind its request is waited for.
POSSIBLE = {
    *itertools.product(READING, (Side.CLIENT,), Trouble),
    (Stage.PLACING, Side.CLIENT, Trouble.RESET),
    *itertools.product(EXCHANGING, Side, Trouble),
}
EVERYTHING = set(itertools.product(Stage, Side, Trouble))


def test_whatever_can_happen_has_a_fate() -> None:
    for stage, side, trouble in POSSIBLE:
        assert isinstance(fate(stage, side, trouble), Fate)


@pytest.mark.parametrize(
    ("stage", "side", "trouble"), sorted(EVERYTHING - POSSIBLE, key=str), ids=str
)
def test_what_cannot_happen_is_an_error_of_ours(stage: Stage, side: Side, trouble: Trouble) -> None:
    with pytest.raises(KeyError):
        fate(stage, side, trouble)


def test_who_has_gone_is_told_nothing() -> None:
    assert all(
        fate(stage, Side.CLIENT, Trouble.RESET).status is None
        for stage in (*READING, Stage.PLACING, *EXCHANGING)
    )


def test_nothing_is_answered_into_the_middle_of_a_response() -> None:
    # What was written there would be a part of the body.
    ends = [
        fate(Stage.ANSWERING, side, trouble) for side, trouble in itertools.product(Side, Trouble)
    ]
    assert all(end.status is None and end.leave is not Leave.STAY for end in ends)


def test_a_server_that_fails_does_not_cost_the_client_its_connection() -> None:
    ends = {trouble: fate(Stage.ASKING, Side.SERVER, trouble) for trouble in Trouble}
    assert all(end.leave is Leave.STAY for end in ends.values())
    assert ends[Trouble.SILENT].status == 504
    assert {end.status for trouble, end in ends.items() if trouble is not Trouble.SILENT} == {502}


def test_a_client_that_has_said_something_else_is_not_listened_to_any_more() -> None:
    # Where its next request would begin, nobody knows.
    ends = [fate(stage, Side.CLIENT, Trouble.REFUSED) for stage in (*READING, Stage.ASKING)]
    assert all(end == Fate(end.ending, 400, Leave.CLOSE) for end in ends)


def test_between_two_requests_silence_and_the_end_are_nothing_to_tell_of() -> None:
    for trouble in (Trouble.ENDED, Trouble.RESET, Trouble.SILENT):
        assert fate(Stage.IDLE, Side.CLIENT, trouble) == Fate(Ending.NORMAL)


@pytest.mark.parametrize("stage", [Stage.FRESH, Stage.HEAD])
def test_a_head_that_does_not_come_is_waited_for_and_then_said_so(stage: Stage) -> None:
    silent = fate(stage, Side.CLIENT, Trouble.SILENT)
    assert (silent.status, silent.ending) == (408, Ending.REQUEST_TIMEOUT)
    ended = fate(stage, Side.CLIENT, Trouble.ENDED)
    assert (ended.status, ended.ending) == (400, Ending.REQUEST_ABORTED)


def test_the_log_says_who_did_it_and_how() -> None:
    # The manual's first letter: upper case for an abort, lower case for a timeout, P for a refusal.
    letters = {Side.CLIENT: "C", Side.SERVER: "S"}
    for stage, side, trouble in POSSIBLE:
        ending = fate(stage, side, trouble).ending
        if ending is Ending.NORMAL:
            assert stage is Stage.IDLE
        elif trouble is Trouble.REFUSED:
            assert ending[0] == "P"
        elif trouble is Trouble.SILENT:
            assert ending[0] == letters[side].lower()
        else:
            assert ending[0] == letters[side]


def test_the_log_says_when_it_was() -> None:
    phases = {Stage.FRESH: "R", Stage.HEAD: "R", Stage.PLACING: "C", Stage.ANSWERING: "D"}
    for stage, phase in phases.items():
        found = {fate(*case).ending[1] for case in POSSIBLE if case[0] is stage}
        assert found == {phase}


def test_a_response_that_only_its_end_would_end_is_reset() -> None:
    for side, trouble in itertools.product(Side, Trouble):
        end = fate(Stage.ANSWERING, side, trouble, Circumstances(is_endless=True))
        assert end == Fate(fate(Stage.ANSWERING, side, trouble).ending, None, Leave.RESET)


@pytest.mark.parametrize("trouble", [Trouble.ENDED, Trouble.RESET])
def test_a_kept_connection_that_ends_is_left_to_the_client_to_try_again(trouble: Trouble) -> None:
    for is_uploading in (False, True):
        case = Circumstances(is_reused=True, is_uploading=is_uploading)
        assert fate(Stage.ASKING, Side.SERVER, trouble, case) is LAPSED
    assert (LAPSED.status, LAPSED.leave) == (None, Leave.CLOSE)


def test_a_kept_connection_is_like_any_other_once_it_answers_or_is_silent() -> None:
    case = Circumstances(is_reused=True)
    for stage, trouble in (
        *((Stage.ASKING, trouble) for trouble in (Trouble.SILENT, Trouble.REFUSED)),
        *((Stage.ANSWERING, trouble) for trouble in Trouble),
    ):
        assert fate(stage, Side.SERVER, trouble, case) == fate(stage, Side.SERVER, trouble)


def test_a_server_that_resets_before_it_has_taken_all_is_told_of_by_the_end() -> None:
    case = Circumstances(is_uploading=True)
    assert fate(Stage.ASKING, Side.SERVER, Trouble.RESET, case) is BROKEN_OFF
    assert Fate(Ending.SERVER_RESET) == BROKEN_OFF
    for trouble in (Trouble.ENDED, Trouble.SILENT, Trouble.REFUSED):
        assert fate(Stage.ASKING, Side.SERVER, trouble, case).status in {502, 504}
    assert fate(Stage.ASKING, Side.CLIENT, Trouble.RESET, case).ending is Ending.CLIENT_RESET


def test_a_client_that_has_the_whole_response_is_not_reset() -> None:
    case = Circumstances(is_answered=True, is_uploading=True)
    assert fate(Stage.ANSWERING, Side.CLIENT, Trouble.SILENT, case) is UNREAD
    assert UNREAD.status is None
    assert UNREAD.leave is Leave.CLOSE
    assert fate(Stage.ANSWERING, Side.CLIENT, Trouble.ENDED, case).ending is Ending.CLIENT_RESET


@pytest.mark.parametrize(
    ("version", "said", "stays"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: foo\r\n", True),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: keep-alive, close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: foo\r\n", False),
        (b"1.0", b"Connection: Keep-Alive\r\n", True),
        (b"1.0", b"Connection: keep-alive, close\r\n", False),
    ],
)
def test_whether_a_client_stays_it_says_with_its_version_and_its_words(
    version: bytes, said: bytes, stays: bool
) -> None:
    request = RequestHead(b"GET / HTTP/%b\r\nHost: h\r\n%b\r\n" % (version, said))
    assert wants_to_stay(request) is stays
