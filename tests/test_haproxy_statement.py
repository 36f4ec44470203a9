"""Arguments are taken in order, and the report says each thing in its place."""

from __future__ import annotations

import pytest

from dsbalance.errors import ConfigError, Problem
from dsbalance.haproxy.statement import Arguments, Place, Report

HERE = Place("x.cfg", 7)


def arguments(*words: str) -> Arguments:
    return Arguments("timeout connect", list(words), HERE, Report())


def test_words_are_taken_one_after_the_other() -> None:
    args = arguments("a", "b", "c", "d")
    assert args
    assert args.take("x") == "a"
    assert args.peek() == args.peek() == "b"
    args.skip(1)
    assert args.take("x") == "c"
    assert args.only("x") == "d"
    assert not args
    assert args.peek() == ""
    args.end()


def test_a_missing_word_is_asked_for() -> None:
    with pytest.raises(ConfigError, match="expects a time"):
        arguments().take("a time")
    args = arguments("a")
    args.skip(3)
    with pytest.raises(ConfigError, match="expects a time"):
        args.only("a time")


def test_a_word_too_many_is_named() -> None:
    with pytest.raises(ConfigError, match="unexpected word 'b'"):
        arguments("a", "b").only("a time")


def test_a_report_keeps_problems_and_notices_with_their_places() -> None:
    report = Report()
    report.problem(HERE, "one")
    report.failed(HERE, ConfigError("two", Problem("three", subject="server s")), "server")
    report.failed(HERE, ConfigError("four"))
    report.notice(HERE, "five")
    assert list(map(str, report.problems)) == [
        "x.cfg:7: one",
        "x.cfg:7: server: two",
        "x.cfg:7: server: server s: three",
        "x.cfg:7: four",
    ]
    assert list(map(str, report.notices)) == ["x.cfg:7: five"]


def test_a_message_is_short_and_on_one_line_whatever_a_name_holds() -> None:
    report = Report()
    report.problem(HERE, "server a\nb\x1b[2J é: wrong")
    report.notice(HERE, "x" * 100_000)
    assert report.problems[0].message == r"server a\nb\x1b[2J é: wrong"
    assert len(report.notices[0].message) == 300


def test_what_nobody_would_read_is_not_listed() -> None:
    report = Report()
    for number in range(Report.MAX_LISTED):
        assert not report.is_full
        report.problem(Place("x.cfg", number), "wrong")
    assert not report.is_full
    for number in range(5):
        report.problem(Place("x.cfg", 2000 + number), "wrong")
        assert report.is_full
    assert len(report.problems) == Report.MAX_LISTED + 1
    assert str(report.problems[-1]) == "x.cfg:2000: and more: 1000 are listed"
    assert not report.is_noted_enough
    for number in range(Report.MAX_LISTED + 5):
        report.notice(Place("x.cfg", number), "perhaps")
    assert report.is_noted_enough
    assert str(report.notices[-1]) == "x.cfg:1000: and more: 1000 are listed"


def test_what_has_no_effect_is_listed_once() -> None:
    report = Report()
    report.no_effect(HERE, "log")
    report.no_effect(Place("x.cfg", 9), "log")
    report.no_effect(Place("x.cfg", 9), "daemon")
    assert [(n.line, n.message.split(":")[0]) for n in report.notices] == [
        (7, "log"),
        (9, "daemon"),
    ]


@pytest.mark.parametrize(
    ("word", "end"),
    [("blance", "; did you mean 'balance'?"), ("BIND", "; did you mean 'bind'?"), ("xyz", "")],
)
def test_a_near_word_is_suggested(word: str, end: str) -> None:
    sentence = Report().unknown(word, "here", ["balance", "bind"])
    assert sentence == f"unknown keyword {word!r} here{end}"


def test_suggestions_come_to_an_end() -> None:
    report = Report()
    assert not report.suggestion("x" * 50_000, ["balance"])
    for _ in range(Report.MAX_SUGGESTIONS):
        assert report.suggestion("balnce", ["balance"])
    assert not report.suggestion("balnce", ["balance"])
