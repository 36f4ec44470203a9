"""The top of the page: what is in trouble, and where a client is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dsbalance.history import History
from dsbalance.page_parts import Clock, Mark
from dsbalance.page_summary import (
    Trouble,
    all_well,
    troubles,
    write_finding,
    write_head,
    write_summary,
)
from dsbalance.sheet import Sheet
from dsbalance.stats import (
    BackendSnapshot,
    FrontendSnapshot,
    ProcessSnapshot,
    ServerSnapshot,
    Snapshot,
)
from dsbalance.view import Explained, Finding, Remembered, View
from pretence import blank, check, server

# 14:03 in UTC.
CLOCK = Clock(1_795_442_580, 0.0)


def section(name: str, *servers: ServerSnapshot, status: str = "UP") -> BackendSnapshot:
    return blank(BackendSnapshot, name=name, status=status, active=1, servers=servers)


def snapshot(*backends: BackendSnapshot, **words: Any) -> Snapshot:
    process = blank(ProcessSnapshot, **words)
    return Snapshot(uptime=90.0, process=process, backends=backends)


def view(shown: Snapshot, **words: Any) -> View:
    return View(uri="/st", snapshot=shown, history=History(), clock=CLOCK, **words)


def up(name: str, number: int = 1) -> ServerSnapshot:
    return server(name, number, status="UP")


def down(name: str, **words: Any) -> ServerSnapshot:
    given = {"status": "DOWN", "reason": "Layer4 timeout", "seconds_in_state": 60.0}
    return server(name, 1, **(given | words))


# -- all is well


@pytest.mark.parametrize(
    ("backends", "said"),
    [
        ((), "There are no servers"),
        ((section("be"),), "There are no servers"),
        ((section("be", up("a")),), "The server serves"),
        ((section("be", up("a"), up("b")),), "Both servers serve"),
        ((section("be", up("a"), up("b"), up("c")),), "All 3 servers serve"),
        ((section("be", up("a"), up("b")), section("web", up("a"), up("b"))), "Both servers serve"),
    ],
)
def test_a_machine_counts_once_in_however_many_sections_it_is(
    backends: tuple[BackendSnapshot, ...], said: str
) -> None:
    assert all_well(snapshot(*backends)) == said


def test_where_all_is_well_there_is_no_trouble() -> None:
    assert troubles(snapshot(section("be", up("a"), server("b", 2))), CLOCK) == []


# -- troubles


def test_a_server_that_is_down_is_told_with_reason_and_time() -> None:
    assert troubles(snapshot(section("be", up("a"), down("b"))), CLOCK) == [
        Trouble(Mark.DOWN, "b", "is DOWN since 14:02: Layer4 timeout", "b0s1")
    ]


def test_a_state_from_the_start_has_no_reason() -> None:
    (trouble,) = troubles(snapshot(section("be", down("b", reason="", status="MAINT"))), CLOCK)
    assert trouble.words == "is MAINT since 14:02"


def test_a_machine_has_one_line_for_all_its_sections() -> None:
    sections = [section(name, up("a"), down("b")) for name in ("one", "two", "three", "four")]
    (trouble,) = troubles(snapshot(*sections), CLOCK)
    assert trouble.words.endswith(": Layer4 timeout (one, two, three, four)")
    assert trouble.anchor == "b0s1"
    (trouble,) = troubles(snapshot(*sections, section("five", down("b"))), CLOCK)
    assert trouble.words.endswith("(one, two, three and 2 more)")


def test_another_machine_of_the_same_name_has_its_own() -> None:
    sections = (
        section("one", down("b", host="10.0.0.1")),
        section("two", down("b", host="10.0.0.2")),
    )
    found = [trouble.words for trouble in troubles(snapshot(*sections), CLOCK)]
    assert [words.rpartition(" ")[2] for words in found] == ["(one)", "(two)"]


def test_the_worst_comes_first() -> None:
    shown = snapshot(
        section(
            "be", down("a", status="DRAIN"), down("b", status="UP 1/3", check=check()), down("c")
        ),
        section("web", down("d", status="MAINT"), status="DOWN"),
    )
    shown = replace(
        shown,
        frontends=(
            blank(FrontendSnapshot, name="be", status="FULL", backend="be"),
            blank(FrontendSnapshot, name="alone", status="STOP"),
            blank(FrontendSnapshot, name="fine", status="OPEN"),
        ),
    )
    found = troubles(shown, CLOCK)
    assert [(trouble.mark, trouble.subject, trouble.anchor) for trouble in found] == [
        (Mark.DOWN, "web", "b1"),
        (Mark.DOWN, "c", "b0s2"),
        (Mark.WEAK, "b", "b0s1"),
        (Mark.WEAK, "Frontend be", "b0"),
        (Mark.MAINT, "d", "b1s0"),
        (Mark.MAINT, "Frontend alone", "others"),
        (Mark.DRAIN, "a", "b0s0"),
    ]
    assert found[0].words == "has had no server since 14:03"
    assert found[3].words == "is FULL"


# -- what is written


def summary(shown: View) -> str:
    sheet = Sheet()
    write_summary(sheet, shown, troubles(shown.snapshot, shown.clock))
    return sheet.html()


def test_the_summary_says_that_all_is_well() -> None:
    written = summary(view(snapshot(section("be", up("a")))))
    assert "<strong data-l>The server serves</strong>" in written
    assert "<li>" not in written


def test_the_summary_leads_to_each_trouble() -> None:
    written = summary(view(snapshot(section("be", up("a"), down("b")))))
    assert '<a href="#b0s1">b</a> <span data-l>is DOWN since' in written
    assert written.count('data-m="down"') == 2


def test_of_many_troubles_some_are_counted() -> None:
    written = summary(view(snapshot(section("be", *(down(f"s{n}") for n in range(20))))))
    assert written.count("<li>") == 12
    assert "8 more" in written


@pytest.mark.parametrize("outcome", ["DONE", "NONE", "PART", "ERRP", "DENY"])
def test_what_became_of_a_form_is_told(outcome: str) -> None:
    assert 'role="status"' in summary(view(snapshot(), outcome=outcome))


def test_no_other_words_are_an_outcome() -> None:
    assert "EVIL" not in summary(view(snapshot(), outcome="EVIL"))
    assert "notice" not in summary(view(snapshot(), outcome="EVIL"))


def test_a_part_of_the_sections_leads_back_to_all() -> None:
    written = summary(view(snapshot(), scope="b<e"))
    assert "“b&lt;e”" in written
    assert '<a href="/st">' in written


def head(shown: View) -> str:
    sheet = Sheet()
    write_head(sheet, shown)
    return sheet.html()


def test_the_head_tells_the_process() -> None:
    shown = snapshot(current=3, maxconn=2000, rate=7, bytes_out_rate=5000, idle=93)
    written = head(view(shown, node="n<1", description="d", version="0.1"))
    assert "<p>n&lt;1 · d · 0.1</p>" in written
    for value in ("3 of 2\u202f000", "7", "5.0 kB/s", "93 %", "1 min"):
        assert f">{value}</dd>" in written


def test_a_process_without_a_limit_has_none() -> None:
    assert ">3</dd>" in head(view(snapshot(current=3)))


def test_the_search_has_what_was_looked_for() -> None:
    written = head(view(snapshot(), finding=Finding(client='"><b>')))
    assert 'value="&quot;&gt;&lt;b&gt;"' in written


def found(finding: Finding) -> str:
    sheet = Sheet()
    write_finding(sheet, finding)
    return sheet.html()


def test_what_is_no_address_is_said_to_be_none() -> None:
    written = found(Finding(client="<x>", problem="That is no IP address."))
    assert "Where is &lt;x&gt;?" in written
    assert "no IP address" in written


def test_who_is_not_remembered_is_told_where_it_would_go() -> None:
    written = found(Finding(client="::1", explained=(Explained(("be", "web"), ("one", "two")),)))
    assert "No stick table remembers it." in written
    assert "A new connection to be, web" in written
    assert "<li data-l>one</li><li data-l>two</li>" in written


def test_who_is_remembered_is_told_where_and_how_long() -> None:
    entries = Remembered("t1", "a", 61.0, 2), Remembered("t2", "b", None, 0)
    written = found(Finding(client="::1", entries=entries))
    assert "<b data-l>a</b>, as t1 remembers <span data-l>for 1 min more; 2 open now." in written
    assert "<b data-l>b</b>, as t2 remembers <span data-l>for ever." in written
