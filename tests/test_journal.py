"""What is told of a request: its times, and one line for each ending."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable

import pytest

from actors import OK, HttpStage, Path, get, post, until
from dsbalance.http_options import Deny
from dsbalance.journal import Journal

Opened = Callable[..., HttpStage]

LINE = re.compile(
    r"(?P<host>\S+):(?P<port>\d+) \[[^]]+\] (?P<frontend>\S+) (?P<backend>[^/ ]+)/(?P<server>\S+)"
    r" (?P<times>-?\d+/-?\d+/-?\d+/-?\d+/\d+) (?P<status>-?\d+) (?P<sent>\d+) - -"
    r" (?P<ending>.{4}) (?P<sessions>\S+) (?P<queues>\S+)"
    r' \{\|(?P<reason>\S+)\} "(?P<request>[^"]*)"'
)


class Log:
    """The lines that were told."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def lines(self, count: int) -> list[re.Match[str]]:
        """Return as many lines as there have to be, each taken apart."""
        until(lambda: len(self._found()) >= count)
        found = self._found()
        assert len(found) == count
        return found

    def _found(self) -> list[re.Match[str]]:
        told = [r.getMessage() for r in self._caplog.records if r.name == "dsbalance.conversation"]
        return [match for line in told if (match := LINE.fullmatch(line))]


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Log:
    caplog.set_level(logging.INFO, "dsbalance.conversation")
    return Log(caplog)


def test_times_begin_where_the_last_part_ended() -> None:
    journal = Journal(10.0)
    journal.asked_at, journal.answered_at = 10.005, 10.05
    assert journal.times(10.1, 10.012, 10.02) == (5, 7, 8, 30, 100)


def test_a_request_that_did_not_queue_waited_no_time() -> None:
    journal = Journal(10.0)
    journal.asked_at = 10.005
    assert journal.times(10.1, 10.005, 10.02) == (5, 0, 15, -1, 100)


@pytest.mark.parametrize(
    ("moments", "times"),
    [({}, (-1, -1, -1, -1, 100)), ({"asked_at": 10.005}, (5, -1, -1, -1, 100))],
)
def test_what_it_did_not_come_to_has_no_time(
    moments: dict[str, float], times: tuple[int, ...]
) -> None:
    journal = Journal(10.0)
    for moment, instant in moments.items():
        setattr(journal, moment, instant)
    assert journal.times(10.1, 0.0, 0.0) == times


def test_the_next_request_has_nothing_of_the_last_one() -> None:
    journal = Journal(10.0)
    journal.asked_at = journal.answered_at = 10.005
    journal.status = 200
    journal.begin(20.0, 50, 77)
    assert journal.times(20.1, 0.0, 0.0) == (-1, -1, -1, -1, 100)
    assert journal.status is None
    assert journal.sent == 77


def test_each_request_has_a_line(stage: HttpStage, log: Log) -> None:
    client, server = stage.talk(get("/1") + get("/2"))
    answers = []
    with client, server:
        port = str(client.sock.getsockname()[1])
        for _ in range(2):
            server.take_head()
            server.say(OK)
            answers.append(client.hear_answer(200, b"ok") + b"ok")
    for number, line in enumerate(log.lines(2)):
        assert line["request"] == f"GET /{number + 1} HTTP/1.1"
        assert (line["host"], line["port"]) == ("127.0.0.1", port)
        assert (line["frontend"], line["backend"], line["server"]) == ("front", "back", "a")
        assert (line["status"], line["sent"]) == ("200", str(len(answers[number])))
        assert (line["ending"], line["reason"]) == ("----", "roundrobin")
        assert line["sessions"] == "1/1/0/0/0"
        assert "-" not in line["times"]


@pytest.mark.parametrize(
    ("words", "status", "ending"),
    [
        (b"nonsense\r\n\r\n", "400", "PR--"),
        (b"GET / HT", "408", "cR--"),
        (b"", "408", "cR--"),
    ],
)
def test_what_never_became_a_request_is_told_of(
    way: Path, opened: Opened, log: Log, words: bytes, status: str, ending: str
) -> None:
    stage = opened(way, timeout_client=0.1)
    with stage.connect() as client:
        client.say(words)
        client.hear_answer(int(status))
    (line,) = log.lines(1)
    assert (line["status"], line["ending"], line["request"]) == (status, ending, "<BADREQ>")
    assert (line["server"], line["reason"]) == ("<NOSRV>", "-")
    assert line["times"].startswith("-1/-1/-1/-1/")


def test_what_we_answer_behind_another_request_has_no_times_of_that_one(
    way: Path, opened: Opened, log: Log
) -> None:
    stage = opened(way, timeout_client=0.2)
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(OK)
        client.hear_answer(200, b"ok")
        client.say(b"GET / HT")
        client.hear_answer(408)
    _, line = log.lines(2)
    assert line["times"].startswith("-1/-1/-1/-1/")


def test_a_client_that_goes_in_its_head_is_told_of(stage: HttpStage, log: Log) -> None:
    with stage.connect() as client:
        client.say(b"GET / HT")
        client.finish()
        client.hear_answer(400)
    (line,) = log.lines(1)
    assert (line["status"], line["ending"]) == ("400", "CR--")


def test_a_client_that_goes_between_two_requests_is_not(stage: HttpStage, log: Log) -> None:
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(OK)
        client.hear_answer(200, b"ok")
    until(lambda: stage.clients() == 0)
    log.lines(1)


def test_a_request_that_nobody_takes_is_told_of(stage: HttpStage, log: Log) -> None:
    stage.proxy.maint("back/a")
    with stage.connect() as client:
        client.say(get())
        client.hear_answer(503)
    (line,) = log.lines(1)
    assert (line["status"], line["ending"], line["server"]) == ("503", "SC--", "<NOSRV>")


def test_a_request_that_waits_too_long_is_told_of(way: Path, opened: Opened, log: Log) -> None:
    stage = opened(way, maxconn=1, timeout_queue=0.1)
    first, server = stage.talk()
    with first, server, stage.connect() as second:
        server.take_head()
        second.say(get("/second"))
        second.hear_answer(503)
        (line,) = log.lines(1)
    assert (line["status"], line["ending"], line["request"]) == (
        "503",
        "sQ--",
        "GET /second HTTP/1.1",
    )


def test_a_request_that_we_deny_is_told_of(way: Path, opened: Opened, log: Log) -> None:
    stage = opened(way, request_rules=(Deny(status=403),))
    with stage.connect() as client:
        client.say(get())
        client.hear_answer(403)
    (line,) = log.lines(1)
    assert (line["status"], line["ending"]) == ("403", "PR--")
    assert re.fullmatch(r"\d+/-1/-1/-1/\d+", line["times"])


@pytest.mark.parametrize(
    ("words", "status", "ending"),
    [
        (b"", "502", "SH--"),
        (b"nonsense", "502", "PH--"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "200", "SD--"),
        (b"HTTP/1.1 200 OK\r\n\r\nwhole", "200", "----"),
    ],
    ids=["nothing", "nonsense", "cut", "ended"],
)
def test_what_the_server_did_is_told_of(
    stage: HttpStage, log: Log, words: bytes, status: str, ending: str
) -> None:
    client, server = stage.talk()
    with client:
        server.take_head()
        server.say(words)
        server.close()
        client.take_head()
    (line,) = log.lines(1)
    assert (line["status"], line["ending"], line["server"]) == (status, ending, "a")


@pytest.mark.parametrize(
    ("words", "status", "ending"),
    [(b"", "504", "sH--"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", "200", "sD--")],
    ids=["nothing", "half"],
)
def test_a_server_that_falls_silent_is_told_of(
    way: Path, opened: Opened, log: Log, words: bytes, status: str, ending: str
) -> None:
    stage = opened(way, timeout_server=0.1)
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(words)
        client.take_head()
        (line,) = log.lines(1)
    assert (line["status"], line["ending"]) == (status, ending)


def test_a_client_that_goes_within_its_body_is_told_of(stage: HttpStage, log: Log) -> None:
    client, server = stage.talk(post("/", b"half", length=8))
    with server:
        server.take_head()
        server.hear(b"half")
        client.reset()
        (line,) = log.lines(1)
    assert (line["status"], line["ending"]) == ("-1", "CD--")


def test_a_stop_is_told_of(stage: HttpStage, log: Log) -> None:
    client, server = stage.talk()
    with client, server:
        server.take_head()
        stage.proxy.stop()
        stage.proxy.join()
    (line,) = log.lines(1)
    assert line["ending"] == "KH--"


def test_a_tunnel_is_told_of_when_it_ends(stage: HttpStage, log: Log) -> None:
    client, server = stage.talk(b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n")
    with client, server:
        server.take_head()
        server.say(b"HTTP/1.1 200 OK\r\n\r\n")
        sent = len(client.take_head()) + 5
        server.say(b"hello")
        client.hear(b"hello")
    (line,) = log.lines(1)
    assert (line["status"], line["ending"], line["sent"]) == ("200", "----", str(sent))


def test_nothing_is_told_where_nobody_listens(
    stage: HttpStage, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "dsbalance.conversation")
    client, server = stage.talk()
    with client, server:
        server.take_head()
        server.say(OK)
        client.hear_answer(200)
    until(lambda: stage.clients() == 0)
    assert not [r for r in caplog.records if r.name == "dsbalance.conversation"]
