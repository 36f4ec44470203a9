"""The line of ``option httplog``, as programs that read HAProxy's log expect it."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.log import HttpRecord, http_line, quoted_request

RECORD = HttpRecord(
    client=("10.0.1.2", 33317),
    began=datetime(2009, 2, 6, 12, 14, 14, 655_999),
    frontend="http-in",
    backend="static",
    server="srv1",
    times=(10, 0, 30, 69, 109),
    status=200,
    sent=2750,
    ending="--",
    sessions=(3, 2, 1, 0),
    request=b"GET /index.html HTTP/1.1",
)
# The fields of the manual's 8.2.3, as a program would take them apart.
LINE = re.compile(
    r"(?P<host>\S+):(?P<port>\d+) \[(?P<date>[^]]+)\] (?P<frontend>\S+) (?P<backend>[^/ ]+)"
    r"/(?P<server>\S+) (?P<times>-?\d+/-?\d+/-?\d+/-?\d+/\d+) (?P<status>-?\d+) (?P<sent>\d+) - -"
    r" (?P<ending>.{4}) (?P<sessions>\d+/\d+/\d+/\d+/\+?\d+) (?P<queues>\d+/\d+)"
    r' "(?P<request>[^"]*)"'
)


def test_every_field_stands_where_the_manual_has_it() -> None:
    assert http_line(RECORD) == (
        "10.0.1.2:33317 [06/Feb/2009:12:14:14.655] http-in static/srv1 10/0/30/69/109 200 2750"
        ' - - ---- 3/2/1/0/0 0/0 "GET /index.html HTTP/1.1"'
    )


def test_a_request_that_nobody_got_names_no_server() -> None:
    line = http_line(
        replace(RECORD, server=None, status=503, ending="SC", times=(0, -1, -1, -1, 0))
    )
    assert " static/<NOSRV> 0/-1/-1/-1/0 503 2750 - - SC-- " in line


def test_a_response_that_never_was_has_no_status() -> None:
    assert " -1 2750 - - CD-- " in http_line(replace(RECORD, status=None, ending="CD"))


@pytest.mark.parametrize(
    ("is_redispatched", "tries"), [(False, "3/2/1/0/2 "), (True, "3/2/1/0/+2 ")]
)
def test_tries_are_counted_and_marked_if_another_server_got_it(
    is_redispatched: bool, tries: str
) -> None:
    assert tries in http_line(replace(RECORD, tries=2, is_redispatched=is_redispatched))


def test_queues_are_the_servers_and_then_the_backends() -> None:
    assert " 4/7 " in http_line(replace(RECORD, queues=(4, 7)))


def test_an_ipv6_client_has_its_port_behind_the_last_colon() -> None:
    assert http_line(replace(RECORD, client=("2001:db8::1", 7))).startswith("2001:db8::1:7 [")


def test_a_request_line_that_never_came_whole_is_bad() -> None:
    assert quoted_request(b"") == "<BADREQ>"


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        (b'GET /" HTTP/1.1', "GET /#22 HTTP/1.1"),
        (b"GET /# HTTP/1.1", "GET /#23 HTTP/1.1"),
        (b"GET /{|}~ HTTP/1.1", "GET /{|}~ HTTP/1.1"),
        (b"GET /\x1b[2J\x7f\n HTTP/1.1", "GET /#1B[2J#7F#0A HTTP/1.1"),
        (b"GET /\xc3\xa9 HTTP/1.1", "GET /#C3#A9 HTTP/1.1"),
    ],
)
def test_what_could_end_the_line_or_upset_a_terminal_is_written_as_numbers(
    line: bytes, quoted: str
) -> None:
    assert quoted_request(line) == quoted


def test_a_long_request_is_cut() -> None:
    assert quoted_request(b"GET /" + b"x" * 5000) == "GET /" + "x" * 1019


@given(st.binary(max_size=200))
def test_whatever_was_asked_the_line_can_be_taken_apart(request: bytes) -> None:
    match = LINE.fullmatch(http_line(replace(RECORD, request=request)))
    assert match is not None
    assert match["request"].isascii()
    assert match["request"].isprintable()
