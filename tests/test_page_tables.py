"""The tables of the page, read back cell by cell."""

from __future__ import annotations

import re
from dataclasses import replace
from html import unescape
from typing import Any

import pytest

from dsbalance.history import INTERVAL, History
from dsbalance.page_parts import Clock
from dsbalance.page_tables import MAX_SERVERS, write_sections, write_tables
from dsbalance.sheet import Sheet
from dsbalance.stats import (
    BackendSnapshot,
    FrontendSnapshot,
    ProcessSnapshot,
    ServerSnapshot,
    Snapshot,
    TableSnapshot,
)
from dsbalance.view import View
from pretence import blank, check, server


def section(name: str, *servers: ServerSnapshot, **words: Any) -> BackendSnapshot:
    given = {"status": "UP", "balance": "source", "active": len(servers)}
    return blank(BackendSnapshot, name=name, servers=servers, **(given | words))


def frontend(name: str, **words: Any) -> FrontendSnapshot:
    return blank(FrontendSnapshot, name=name, **({"status": "OPEN"} | words))


def shown(*backends: BackendSnapshot, frontends: tuple[FrontendSnapshot, ...] = ()) -> Snapshot:
    process = blank(ProcessSnapshot)
    return Snapshot(uptime=9.0, process=process, backends=backends, frontends=frontends)


def written(snapshot: Snapshot, history: History | None = None, **words: Any) -> str:
    """Return the sections of a page."""
    sheet = Sheet()
    clock = Clock(1_795_442_580, 0.0)
    view = View(uri="/st", snapshot=snapshot, history=history or History(), clock=clock, **words)
    write_sections(sheet, view)
    return sheet.html()


def texts(html: str) -> list[str]:
    """Return the text of each cell of each row, without tags."""
    cells = re.findall(r"<t[dh][ >].*?</t[dh]>", html.partition("<tbody>")[2])
    return [unescape(re.sub(r"<[^>]*>", " ", cell)).strip() for cell in cells]


def test_a_server_has_the_columns_of_haproxys_page() -> None:
    row = server(
        "s1",
        1,
        status="UP",
        check=check(),
        queued=1,
        queued_peak=2,
        maxqueue=3,
        rate=4,
        rate_peak=5,
        current=7,
        peak=8,
        maxconn=9,
        total=10,
        chosen=11,
        since_used=12.0,
    )
    cells = texts(written(shown(section("be", row))))[:16]
    assert cells[0] == "s1"
    assert cells[1].split("  ")[0] == "UP"
    assert cells[2:14] == ["1", "2", "3", "4", "5", "", "7", "8", "9", "10", "11", "12 s"]


def test_a_frontend_and_the_total_have_those_that_they_count() -> None:
    front = frontend("be", backend="be", rate=1, rate_peak=2, current=3, peak=4, maxconn=5, total=6)
    total = section(
        "be",
        queued=1,
        queued_peak=2,
        rate=3,
        rate_peak=4,
        current=5,
        peak=6,
        fullconn=7,
        total=8,
        chosen=9,
        since_used=0.1,
    )
    cells = texts(written(shown(total, frontends=(front,))))
    assert cells[0] == "Frontend"
    assert cells[2:14] == ["", "", "", "1", "2", "", "3", "4", "5", "6", "", ""]
    assert cells[16] == "Backend"
    assert cells[18:30] == ["1", "2", "", "3", "4", "", "5", "6", "7", "8", "9", "now"]


def test_a_section_has_the_frontends_that_lead_there() -> None:
    fronts = frontend("be", backend="be"), frontend("auth", backend="be"), frontend("st")
    html = written(shown(section("be"), frontends=fronts))
    names = [cell for cell in texts(html) if cell and not cell[0].isdigit()]
    assert names[:2] == ["Frontend", "OPEN"]
    assert "Frontend auth" in names
    others = html.partition('id="others"')[2]
    assert ">st</th>" in others
    assert "auth" not in others


def test_rejected_clients_are_told() -> None:
    front = frontend("be", backend="be", denied=2, requests_denied=3)
    assert "5 denied" in written(shown(section("be"), frontends=(front,)))


def test_a_state_is_told_with_time_reason_check_and_troubles() -> None:
    row = server(
        "s1",
        1,
        status="DOWN",
        reason="Layer4 timeout",
        seconds_in_state=120.0,
        check=check(),
        retries=3,
    )
    html = written(shown(section("be", row)))
    assert '<tr class="v" id="b0s0" data-l="data-m" data-m="down">' in html
    assert "<b data-l>DOWN</b><span data-l>since 14:01 (2 min)</span>" in html
    assert "<em data-l>Layer4 timeout</em><small data-l>L4OK in 1.0 ms, 1 s ago</small>" in html
    assert "<small data-l>3 retries</small>" in html


def test_why_a_server_is_up_is_no_news() -> None:
    row = server("s1", 1, status="UP", reason="Layer4 check passed")
    assert "<em data-l></em>" in written(shown(section("be", row)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"active": 1}, "1 of 1 serve"),
        ({"active": 0, "backups": 1}, "1 of 1 serve, backups alone"),
        ({"active": 0, "status": "DOWN"}, "0 of 1 serve"),
    ],
)
def test_the_total_tells_how_many_serve(words: dict[str, Any], said: str) -> None:
    assert f"<span data-l>{said}</span>" in written(shown(section("be", server("s", 1), **words)))


def test_addresses_and_policies_are_told_where_that_is_wanted() -> None:
    row = server("s1", 1, address="10.0.0.1:80", is_backup=True, asked_weight=7)
    front = frontend("be", backend="be", addresses=("0.0.0.0:80", "[::]:80"))
    snapshot = shown(section("be", row, is_http=True), frontends=(front,))
    plain = written(snapshot)
    assert "10.0.0.1" not in plain
    assert "balance" not in plain
    assert "[::]:80" not in plain
    assert "<small>backup, weight 7</small>" in plain
    told = written(snapshot, shows_legends=True)
    assert "<small>10.0.0.1:80, backup, weight 7</small>" in told
    assert "<small>HTTP, balance source</small>" in told
    assert "<small>0.0.0.0:80, [::]:80</small>" in told


# -- curves


def test_the_servers_of_a_section_are_drawn_to_one_scale() -> None:
    servers = server("a", 1, current=4), server("b", 2, current=2)
    snapshot = shown(section("be", *servers, current=6))
    history = History()
    history.add(snapshot, 0.0)
    history.add(snapshot, INTERVAL)
    curves = re.findall(r' d="([^"]*)"', written(snapshot, history))
    high, _, half, _, total, _ = (re.findall(r"V(\d+)", curve)[0] for curve in curves)
    assert (high, half, total) == ("1", "12", "1")


@pytest.mark.parametrize(("is_http", "title"), [(False, "Open"), (True, "Requests/s")])
def test_the_curve_of_sessions_says_what_it_is_of(is_http: bool, title: str) -> None:
    html = written(shown(section("be", is_http=is_http)))
    assert f'<th scope="col" class="g">{title}</th><th scope="col">Bytes/s</th>' in html


# -- buttons


def test_only_who_may_change_something_sees_buttons() -> None:
    snapshot = shown(section("be", server("s1", 1)))
    assert "data-ask" not in written(snapshot)
    assert written(snapshot, is_admin=True).count("data-ask") == 2


def test_what_was_asked_for_last_is_no_button() -> None:
    row = server("s 1", 1, admin="drain")
    html = written(shown(section("be", row)), is_admin=True, words=";scope=b")
    assert '<span aria-current="true">drain</span>' in html
    links = [unescape(link) for link in re.findall(r'<a href="(/[^"]*)"', html)]
    assert links == [
        "/st;ask=ready;on=be/s%201;scope=b",
        "/st;ask=maint;on=be/s%201;scope=b",
    ]


def test_every_row_has_as_many_cells_as_the_head() -> None:
    front = frontend("be", backend="be")
    snapshot = shown(section("be", server("s1", 1)), frontends=(front, frontend("x")))
    for is_admin, width in ((False, 16), (True, 17)):
        html = written(snapshot, is_admin=is_admin)
        rows = re.findall(r'<tr class="[fvt]".*?</tr>', html)
        assert len(rows) == 4
        assert {len(re.findall(r"<t[dh][ >]", row)) for row in rows} == {width}
        assert html.count("<col ") + html.count("<col>") == 2 * width


# -- bounds


def test_of_very_many_servers_some_are_counted() -> None:
    servers = tuple(server(f"s{number}", 1) for number in range(MAX_SERVERS + 5))
    html = written(shown(section("be", *servers), section("second"), section("third")))
    assert html.count('class="v"') == MAX_SERVERS
    assert "5 more servers" in html
    assert "2 more sections" in html
    assert 'id="b1"' not in html


# -- stick tables


def tables(*shown_tables: TableSnapshot) -> str:
    sheet = Sheet()
    snapshot = replace(shown(), tables=shown_tables)
    write_tables(sheet, View(uri="/", snapshot=snapshot, history=History(), clock=Clock(0, 0)))
    return sheet.html()


def test_without_a_stick_table_nobody_is_remembered() -> None:
    assert tables() == ""


def test_each_server_has_its_share_of_the_clients() -> None:
    counts = (("b", 1), ("a", 3))
    table = TableSnapshot(name="be", type="ip", size=5000, used=4, expire=1800.0, counts=counts)
    html = tables(table)
    assert "of 5\u202f000 clients, for 30 min of silence" in html
    cells = [cell for cell in texts(html) if cell]
    assert cells == ["a", "3", "75 %", "b", "1", "25 %"]
    assert re.findall(r'width="([\d.]+)"', html) == ["75.0", "25.0"]


def test_a_table_may_be_empty_and_remember_for_ever() -> None:
    html = tables(TableSnapshot(name="be", type="ip", size=5, used=0, expire=None))
    assert "of 5 clients, for ever" in html
    assert texts(html) == []
