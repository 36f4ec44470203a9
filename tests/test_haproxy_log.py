"""The lines of sessions and requests, as programs that read HAProxy's log expect them."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.log import (
    Record,
    connect_line,
    letters,
    line,
    quoted_request,
    severity,
)
from dsbalance.log_options import FrontendLog, LineFormat, Severity
from dsbalance.relay import Ending, Phase

RECORD = Record(
    client=("10.0.1.2", 33317),
    began=datetime(2009, 2, 6, 2, 4, 5, 55_999),
    frontend="http-in",
    backend="static",
    server="srv1",
    times=(10, 0, 30, 69, 109),
    status=200,
    sent=2750,
    ending="--",
    sessions=(3, 2, 1, 0),
    request=b"GET /index.html HTTP/1.1",
    reason="sticky",
)
# The fields of the manual's 8.2.3, as a program would take them apart.
LINE = re.compile(
    r"(?P<host>\S+):(?P<port>\d+) \[(?P<date>[^]]+)\] (?P<frontend>\S+) (?P<backend>[^/ ]+)"
    r"/(?P<server>\S+) (?P<times>-?\d+/-?\d+/-?\d+/-?\d+/\d+) (?P<status>-?\d+) (?P<sent>\d+) - -"
    r" (?P<ending>.{4}) (?P<sessions>\d+/\d+/\d+/\d+/\+?\d+) (?P<queues>\d+/\d+)"
    r' \{\|(?P<reason>[^}]*)\} "(?P<request>[^"]*)"'
)


def http_line(**changes: Any) -> str:
    return line(RECORD._replace(**changes), LineFormat.HTTPLOG)


def tcp_line(**changes: Any) -> str:
    return line(RECORD._replace(**changes), LineFormat.TCPLOG)


def test_a_request_has_every_field_where_the_manual_has_it() -> None:
    assert http_line() == (
        "10.0.1.2:33317 [06/Feb/2009:02:04:05.055] http-in static/srv1 10/0/30/69/109 200 2750"
        ' - - ---- 3/2/1/0/0 0/0 {|sticky} "GET /index.html HTTP/1.1"'
    )


def test_a_session_has_every_field_where_the_manual_has_it_and_the_reason_behind_them() -> None:
    assert tcp_line() == (
        "10.0.1.2:33317 [06/Feb/2009:02:04:05.055] http-in static/srv1 0/30/109 2750"
        " -- 3/2/1/0/0 0/0 sticky"
    )


def test_who_was_got_by_nobody_has_no_server_and_no_reason() -> None:
    nobody: dict[str, Any] = {
        "server": None,
        "ending": "SC",
        "times": (0, -1, -1, -1, 0),
        "reason": "-",
    }
    told = http_line(status=503, **nobody)
    assert " static/<NOSRV> 0/-1/-1/-1/0 503 2750 - - SC-- " in told
    assert ' {|-} "' in told
    assert tcp_line(**nobody).endswith(" static/<NOSRV> -1/-1/0 2750 SC 3/2/1/0/0 0/0 -")


def test_a_response_that_never_was_has_no_status() -> None:
    assert " -1 2750 - - CD-- " in http_line(status=None, ending="CD")


@pytest.mark.parametrize("told", [http_line, tcp_line])
@pytest.mark.parametrize(
    ("is_redispatched", "tries"), [(False, "3/2/1/0/2 "), (True, "3/2/1/0/+2 ")]
)
def test_tries_are_counted_and_marked_if_another_server_got_it(
    is_redispatched: bool, tries: str, told: Any
) -> None:
    assert tries in told(retries=2, is_redispatched=is_redispatched)


def test_queues_are_the_servers_and_then_the_backends() -> None:
    assert " 4/7 {" in http_line(queues=(4, 7))
    assert tcp_line(queues=(4, 7)).endswith(" 4/7 sticky")


def test_an_ipv6_client_has_its_port_behind_the_last_colon() -> None:
    assert http_line(client=("2001:db8::1", 7)).startswith("2001:db8::1:7 [")


@pytest.mark.parametrize(("is_http", "mode"), [(True, "HTTP"), (False, "TCP")])
def test_who_only_came_is_told_of_with_both_ends(is_http: bool, mode: str) -> None:
    said = connect_line(("10.0.1.2", 7), ("10.0.0.1", 80), "in", is_http=is_http)
    assert said == f"Connect from 10.0.1.2:7 to 10.0.0.1:80 (in/{mode})"


def test_a_request_line_that_never_came_whole_is_bad() -> None:
    assert quoted_request(b"") == "<BADREQ>"


@pytest.mark.parametrize(
    ("request_line", "quoted"),
    [
        (b'GET /" HTTP/1.1', "GET /#22 HTTP/1.1"),
        (b"GET /# HTTP/1.1", "GET /#23 HTTP/1.1"),
        (b"GET /{|}~ HTTP/1.1", "GET /{|}~ HTTP/1.1"),
        (b"GET /\x1b[2J\x7f\n HTTP/1.1", "GET /#1B[2J#7F#0A HTTP/1.1"),
        (b"GET /\xc3\xa9 HTTP/1.1", "GET /#C3#A9 HTTP/1.1"),
    ],
)
def test_what_could_end_the_line_or_upset_a_terminal_is_written_as_numbers(
    request_line: bytes, quoted: str
) -> None:
    assert quoted_request(request_line) == quoted


def test_a_long_request_is_cut() -> None:
    assert quoted_request(b"GET /" + b"x" * 5000) == "GET /" + "x" * 1019


@given(st.binary(max_size=200))
def test_whatever_was_asked_the_line_can_be_taken_apart(request: bytes) -> None:
    match = LINE.fullmatch(http_line(request=request))
    assert match is not None
    assert match["request"].isascii()
    assert match["request"].isprintable()


# -- letters


@pytest.mark.parametrize("ending", [*Ending])
@pytest.mark.parametrize("is_http", [False, True])
def test_each_ending_has_two_letters_of_which_haproxy_knows_the_first(
    ending: Ending, is_http: bool
) -> None:
    for phase in (None, *Phase):
        assert re.fullmatch("[-CScsPLRIDUK][-RQCHD]", letters(ending, phase, is_http=is_http))


@pytest.mark.parametrize(
    ("phase", "is_http", "has_head", "told"),
    [
        (None, True, False, "KR"),
        (Phase.QUEUED, False, False, "KQ"),
        (Phase.CONNECTING, False, False, "KC"),
        (Phase.PAUSED, True, False, "KC"),
        (Phase.RELAYING, False, False, "K-"),
        (Phase.RELAYING, True, False, "KH"),
        (Phase.RELAYING, True, True, "KD"),
    ],
)
def test_who_was_ended_from_outside_has_the_letter_of_where_it_was(
    phase: Phase | None, is_http: bool, has_head: bool, told: str
) -> None:
    assert letters(Ending.KILLED, phase, is_http=is_http, has_head=has_head) == told


@pytest.mark.parametrize(("ending", "told"), [(Ending.SERVER_DOWN, "D-"), (Ending.SERVER_UP, "U-")])
def test_a_server_that_went_or_came_ends_a_session_from_outside(ending: Ending, told: str) -> None:
    assert letters(ending, Phase.RELAYING) == told


def test_what_the_ends_did_has_the_letters_of_its_ending() -> None:
    assert letters(Ending.CLIENT_RESET, Phase.RELAYING) == "CD"
    assert letters(Ending.CONNECT_FAILED, Phase.PAUSED, is_http=True) == "SC"


# -- what is told, and how grave it is

QUIET = FrontendLog(skips_normal=True)
LOUD = FrontendLog(raises_errors=True)
WRONG: list[dict[str, Any]] = [
    {"ending": "CD"},
    {"ending": "PR", "status": 403},
    {"retries": 1},
    {"is_redispatched": True},
    {"status": 500},
]


@pytest.mark.parametrize("changes", [{}, {"ending": "LR"}, {"status": 404}, {"status": None}])
def test_what_went_well_may_be_left_out(changes: dict[str, Any]) -> None:
    record = RECORD._replace(**changes)
    assert severity(record, QUIET) is None
    assert severity(record, LOUD) is Severity.INFO


@pytest.mark.parametrize("changes", WRONG)
def test_what_went_wrong_is_never_left_out_and_graver_if_asked_for(changes: dict[str, Any]) -> None:
    record = RECORD._replace(**changes)
    assert severity(record, QUIET) is Severity.INFO
    assert severity(record, LOUD) is Severity.ERR


def test_a_client_that_said_nothing_may_be_left_out_whatever_became_of_it() -> None:
    record = RECORD._replace(is_null=True, ending="SC")
    assert severity(record, FrontendLog(skips_null=True, raises_errors=True)) is None
    assert severity(record, LOUD) is Severity.ERR
    assert severity(RECORD, FrontendLog(skips_null=True)) is Severity.INFO
