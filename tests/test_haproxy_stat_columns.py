"""The columns of the statistics: those of HAProxy, and what each says when."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from captures import capture, picture, rows
from dsbalance.checks import CheckResult, CheckStatus
from dsbalance.counters import Times
from dsbalance.haproxy.show_stat import lines
from dsbalance.haproxy.stat_columns import COLUMNS, TEXTS, Kind, Line, is_down, is_in_maintenance
from dsbalance.stats import (
    BackendSnapshot,
    FrontendSnapshot,
    ListenerSnapshot,
    ProcessSnapshot,
    ServerSnapshot,
    Snapshot,
)
from pretence import blank, check, server

CAPTURE = capture("haproxy-show-stat.json")

# An estimate of HAProxy's, of which we have no like.
OURS = {"need_conn_est"}

# Columns that are no count of their own, and those that are always 0.
FOLLOWING = {
    *("pid", "iid", "sid", "type", "act", "bck", "rate_lim", "conn_rate", "conn_rate_max"),
    *("conn_tot", "dses", "wrew", "comp_in", "comp_out", "comp_byp", "comp_rsp"),
    *("cache_lookups", "cache_hits", "srv_icur", "idle_conn_cur", "safe_conn_cur"),
    *("used_conn_cur", "need_conn_est"),
    *("agg_server_status", "agg_server_check_status", "agg_check_status"),
}
FIXED = {Kind.FRONTEND: {"eint"}, Kind.LISTENER: {"eint", "slim"}}

REFUSED = CheckResult(status=CheckStatus.L4CON, port=8001, detail="Connection refused")


def values(line: Line) -> dict[str, Any]:
    """Return what a line has, by the names of the columns; what is empty is left out."""
    fields = {column.name: column.fields.get(_place(line)) for column in COLUMNS}
    found = {name: field.get(line) for name, field in fields.items() if field is not None}
    return {name: value for name, value in found.items() if value is not None}


def _place(line: Line) -> tuple[Kind, bool]:
    return line.kind, line.proxy.is_http


def of_server(shown: ServerSnapshot, *, is_http: bool = False) -> dict[str, Any]:
    proxy = blank(BackendSnapshot, name="be", id=3, is_http=is_http, servers=(shown,))
    snapshot = Snapshot(uptime=1.0, process=blank(ProcessSnapshot), backends=(proxy,))
    return values(Line(Kind.SERVER, shown, proxy, snapshot))


def of_frontend(shown: FrontendSnapshot, **process: Any) -> dict[str, Any]:
    snapshot = Snapshot(uptime=1.0, process=blank(ProcessSnapshot, **process), frontends=(shown,))
    return values(Line(Kind.FRONTEND, shown, shown, snapshot))


# --- beside HAProxy ------------------------------------------------------------------------------


def test_the_columns_are_the_first_103_of_haproxy_in_its_order() -> None:
    head = CAPTURE["csv"].split("\n")[0].removeprefix("# ").split(",")
    assert [column.name for column in COLUMNS] == head[:103]


def test_tags_and_types_are_those_of_haproxy() -> None:
    for line in filter(None, CAPTURE["typed"].split("\n")):
        place, tags, kind, _ = line.split(":", 3)
        letter, _, _, index, name, _ = place.split(".")
        if int(index) < len(COLUMNS):
            column = COLUMNS[int(index)]
            of_kind = next(each for each in Kind if each.letter == letter)
            assert (column.name, column.type) == (name, kind)
            assert column.fields[of_kind, True].tags == tags, line


def test_each_row_has_what_haproxy_has_in_it_and_nothing_more() -> None:
    shown = [values(line) for line in lines(picture(CAPTURE["csv"]))]
    for row, ours in zip(rows(CAPTURE["csv"]), shown, strict=True):
        names = {column.name for column in COLUMNS} - OURS
        theirs = {name: value for name, value in row.items() if value and name in names}
        # An empty text is a value, and cannot be told from none in CSV.
        written = {name: str(value) for name, value in ours.items() if value != ""}
        assert {name: text for name, text in written.items() if name not in OURS} == theirs


def test_each_number_is_found_where_it_is_counted() -> None:
    table = rows(CAPTURE["csv"])
    renumbered = [
        {
            name: str(1000 + index)
            for index, (name, value) in enumerate(row.items())
            if value.isdigit() and name not in FOLLOWING
        }
        for row in table
    ]
    written = io.StringIO()
    writer = csv.DictWriter(written, list(table[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | numbers for row, numbers in zip(table, renumbered, strict=True))
    for expected, line in zip(renumbered, lines(picture(written.getvalue())), strict=True):
        found = values(line)
        for name, number in expected.items():
            if name in found and name not in FIXED.get(line.kind, ()):
                assert (name, str(found[name])) == (name, number)


def test_every_column_is_explained() -> None:
    assert list(TEXTS) == [column.name for column in COLUMNS]
    assert all(text and '"' not in text for text in TEXTS.values())


# --- the checks of a server ----------------------------------------------------------------------


def test_a_server_without_checks_has_none_of_their_columns() -> None:
    shown = of_server(server("s", 1, check_failures=3, downs=4, downtime=5.5))
    assert not {name for name in shown if name.startswith(("chk", "check", "last_", "down"))}


def test_a_check_that_passed_leaves_no_error() -> None:
    passed = CheckResult(status=CheckStatus.L4OK, port=80, elapsed=0.0126)
    shown = of_server(server("s", 1, check=check(last=passed, health=4), downtime=5.9, downs=2))
    assert {name: shown[name] for name in shown if "ch" in name and "lastchg" not in name} == {
        "chkfail": 0,
        "chkdown": 2,
        "check_status": "L4OK",
        "check_duration": 13,
        "last_chk": "",
        "check_desc": "Layer4 check passed",
        "check_rise": 2,
        "check_fall": 3,
        "check_health": 4,
    }
    assert shown["downtime"] == 5


@pytest.mark.parametrize(
    ("words", "status", "reason"),
    [
        ({"last": None}, "INI", "Initializing"),
        ({"last": None, "is_running": True}, "* INI", "Initializing"),
        ({"last": REFUSED}, "L4CON", "Layer4 connection problem"),
        ({"last": REFUSED, "is_running": True}, "* L4CON", "Layer4 connection problem"),
    ],
)
def test_a_star_says_that_a_check_is_under_way(
    words: dict[str, Any], status: str, reason: str
) -> None:
    shown = of_server(server("s", 1, check=check(**words)))
    assert (shown["check_status"], shown["check_desc"]) == (status, reason)
    assert ("check_duration" in shown) is (words["last"] is not None)


@pytest.mark.parametrize(
    ("port", "checked_port", "detail", "expected"),
    [
        (8001, None, "Connection refused", "Connection refused"),
        (None, 8001, "Connection refused", "Connection refused"),
        (80, 8001, "Connection refused", "Connection refused"),
        (80, None, "Connection refused", "Connection refused at port 8001"),
        (None, None, "", "at port 8001"),
        (8001, None, "", ""),
    ],
)
def test_an_error_says_at_which_of_several_ports_it_was(
    port: int | None, checked_port: int | None, detail: str, expected: str
) -> None:
    last = CheckResult(status=CheckStatus.L4TOUT, port=8001, detail=detail)
    shown = of_server(server("s", 1, port=port, check=check(last=last, port=checked_port)))
    assert shown["last_chk"] == expected


def test_checks_that_an_operator_has_stopped_are_not_told_of() -> None:
    shown = of_server(server("s", 1, check=check(is_paused=True)))
    assert not {name for name in shown if name.startswith(("chk", "check", "last_", "down"))}


@pytest.mark.parametrize("status", ["MAINT", "MAINT (via be/s2)"])
def test_maintenance_leaves_the_counts_of_the_checks(status: str) -> None:
    shown = of_server(server("s", 1, status=status, check=check(is_paused=True)))
    assert (shown["chkfail"], shown["chkdown"], shown["downtime"]) == (0, 0, 0)
    assert not {name for name in shown if name.startswith(("check", "last_"))}


# --- other things of servers and backends --------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "op", "down", "in_maintenance"),
    [
        ("UP", 2, False, False),
        ("no check", 2, False, False),
        ("DRAIN", 2, False, False),
        ("NOLB", 3, False, False),
        ("UP", 1, False, False),
        ("DOWN 1/2", 0, True, False),
        ("DRAIN", 0, True, False),
        ("MAINT", 2, True, True),
        ("MAINT (via be/s2)", 0, True, True),
    ],
)
def test_who_is_down_and_who_is_in_maintenance(
    status: str, op: int, *, down: bool, in_maintenance: bool
) -> None:
    shown = server("s", 1, status=status, op=op)
    assert (is_down(shown), is_in_maintenance(shown)) == (down, in_maintenance)


def test_limits_that_are_not_set_are_empty() -> None:
    assert not {"slim", "qlimit", "throttle", "hanafail", "tracked"} & set(
        of_server(server("s", 1))
    )
    shown = of_server(
        server("s", 1, maxconn=5, maxqueue=6, throttle=7, alarms=8, tracked="be/s2"),
    )
    assert [shown[name] for name in ("slim", "qlimit", "throttle", "hanafail")] == [5, 6, 7, 8]
    assert shown["tracked"] == "be/s2"


def test_times_are_whole_milliseconds_and_ages_whole_seconds() -> None:
    shown = of_server(
        server(
            *("s", 1),
            means=Times(0.0014, 0.0016, 0.25, 3.0),
            longest=Times(1.0, 2.0, 3.0, 4.0),
            seconds_in_state=9.99,
            since_used=0.99,
        )
    )
    assert [shown[f"{part}time"] for part in "qcrt"] == [1, 2, 250, 3000]
    assert [shown[f"{part}time_max"] for part in "qcrt"] == [1000, 2000, 3000, 4000]
    assert (shown["lastchg"], shown["lastsess"]) == (9, 0)
    assert of_server(server("s", 1))["lastsess"] == -1


def test_connections_in_use_are_those_that_may_be_used_again() -> None:
    shown = server("s", 1, current=3, kept=2)
    http, tcp = of_server(shown, is_http=True), of_server(shown)
    assert (http["used_conn_cur"], http["need_conn_est"], http["srv_icur"]) == (3, 5, 2)
    assert (tcp["used_conn_cur"], tcp["need_conn_est"]) == (0, 2)


def test_a_backend_that_never_had_a_server_was_never_down() -> None:
    def downtime(servers: tuple[ServerSnapshot, ...]) -> Any:
        proxy = blank(BackendSnapshot, name="be", id=3, downtime=7.7, servers=servers)
        snapshot = Snapshot(uptime=1.0, process=blank(ProcessSnapshot), backends=(proxy,))
        return values(Line(Kind.BACKEND, proxy, proxy, snapshot)).get("downtime")

    assert downtime(()) is None
    assert downtime((server("s", 1),)) == 7


@pytest.mark.parametrize(
    ("balance", "algorithm"),
    [("leastconn", "leastconn"), ("random(2)", "random"), ("hdr(x-a) use", "hdr")],
)
def test_a_policy_is_told_without_its_arguments(balance: str, algorithm: str) -> None:
    proxy = blank(BackendSnapshot, name="be", id=3, balance=balance)
    snapshot = Snapshot(uptime=1.0, process=blank(ProcessSnapshot), backends=(proxy,))
    assert values(Line(Kind.BACKEND, proxy, proxy, snapshot))["algo"] == algorithm


# --- frontends and listeners ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "of_process", "expected"), [(50, 100, 50), (None, 100, 100), (None, None, None)]
)
def test_the_limit_of_a_frontend_is_its_own_or_that_of_the_process(
    own: int | None, of_process: int | None, expected: int | None
) -> None:
    shown = of_frontend(blank(FrontendSnapshot, name="fe", id=2, maxconn=own), maxconn=of_process)
    assert shown.get("slim") == expected


def test_connections_that_a_rule_refused_are_connections_and_no_sessions() -> None:
    shown = of_frontend(blank(FrontendSnapshot, name="fe", id=2, total=14, denied=2))
    assert (shown["stot"], shown["conn_tot"], shown["dcon"]) == (14, 16, 2)


def test_what_is_of_http_is_empty_in_tcp_mode() -> None:
    tcp = of_frontend(blank(FrontendSnapshot, name="fe", id=2))
    http = of_frontend(blank(FrontendSnapshot, name="fe", id=2, is_http=True))
    assert set(http) - set(tcp) == {
        *("hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"),
        *("intercepted", "cache_lookups", "cache_hits"),
    }
    assert (tcp["mode"], http["mode"]) == ("tcp", "http")


def test_a_listener_has_the_number_and_address_that_it_has() -> None:
    proxy = blank(FrontendSnapshot, name="fe", id=2)
    shown = blank(ListenerSnapshot, name="sock-3", id=3, address="[::1]:80", status="OPEN")
    snapshot = Snapshot(uptime=1.0, process=blank(ProcessSnapshot), frontends=(proxy,))
    found = values(Line(Kind.LISTENER, shown, proxy, snapshot))
    assert (found["pxname"], found["svname"], found["iid"], found["sid"]) == ("fe", "sock-3", 2, 3)
    assert (found["addr"], found["status"], found["slim"]) == ("[::1]:80", "OPEN", 0)
