"""Commands that only show something."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.haproxy.runtime_shows import in_words
from dsbalance.haproxy.server_state import COLUMNS
from dsbalance.stats_options import Level, StatsSocket
from pretence import Steered, blank, server

SOCKETS = (
    StatsSocket(path="/run/a.sock", level=Level.ADMIN),
    StatsSocket(host="127.0.0.1", port=9999),
    StatsSocket(host="::1", port=9998, level=Level.USER),
)
CONN = (
    "# bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb"
    " safe_nb idle_lim idle_cur idle_per_thr[1]\n"
)
DATE = re.compile(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d\.\d+\]")


def ask(line: str, steered: Steered | None = None, level: Level = Level.ADMIN) -> str:
    visit = Visit(level, None, SOCKETS, {"HOME": "/root", "LANG": "C"})
    return DATE.sub("[date]", "".join(answer(line, visit, steered or Steered(), print)))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("show backend", "# name\nbe\nstatic\n\n"),
        ("show peers", "\n"),
        ("show peers x", "No such peers\n\n"),
        ("show cli level", "admin\n\n"),
        (
            "show cli sockets",
            (
                "# socket lvl processes\nunix@/run/a.sock admin all\n"
                "ipv4@127.0.0.1:9999 operator all\nipv6@::1:9998 user all\n\n"
            ),
        ),
        ("show env", "HOME=/root\nLANG=C\n\n"),
        ("show env HOME", "HOME=/root\n\n"),
        ("show env nope", "Variable not found\n\n"),
        ("show errors", "Total events captured on [date] : 0\n\n"),
        ("show errors be", "Total events captured on [date] : 0\n\n"),
        ("show errors fe", "Total events captured on [date] : 0\n\n"),
        ("show errors -1 request", "Total events captured on [date] : 0\n\n"),
        ("show errors nope", "No such proxy.\n\n"),
        ("show servers state nope", "Can't find backend.\n\n"),
        ("show servers conn fe", "Can't find backend.\n\n"),
        (
            "show servers conn be",
            (
                f"{CONN}be/s1 4/1 127.0.0.1 8001 - 5000 0 0 0 0 0 -1 0 0\n"
                "be/s2 4/2 127.0.0.1 0 - 5000 0 0 0 0 0 -1 0 0\n"
                "be/s3 4/3 127.0.0.1 8003 - 5000 0 0 0 0 0 -1 0 0\n\n"
            ),
        ),
        ("show sess 0x123", "Session not found.\n\n"),
    ],
)
def test_what_is_asked_for_is_shown(line: str, text: str) -> None:
    assert ask(line) == text


def test_the_version_is_the_one_of_show_info() -> None:
    (version,) = re.findall(r"^Version: (.*)$", ask("show info"), re.MULTILINE)
    assert ask("show version") == f"{version}\n\n"


def test_the_state_of_all_servers_or_of_one_backends_is_a_state_file() -> None:
    lines = ask("show servers state").splitlines()
    assert lines[:2] == ["1", f"# {COLUMNS}"]
    assert [line.split()[3] for line in lines[2:-1]] == ["s1", "s2", "s3", "h1", "t1"]
    assert lines[-1] == ""
    assert ask("show servers state #5").splitlines()[2:-1] == lines[5:7]


def test_sessions_begin_as_haproxys_do_and_end_with_the_reason() -> None:
    first, second = ask("show sess").splitlines()[:2]
    assert first == (
        "0xab: proto=tcpv4 src=10.1.2.3:4000 fe=fe be=be srv=s1 ts=00 epoch=0 age=2m5s idle=2s"
        ' bytes_in=5 bytes_out=6 stage=relaying reason="hash"'
    )
    assert second == (
        "0xac: proto=tcpv6 src=::1:5 fe=fe be=<NONE> srv=<none> ts=00 epoch=0 age=0s idle=0s"
        ' bytes_in=0 bytes_out=0 stage=idle reason=""'
    )


def test_one_session_is_shown_at_length() -> None:
    text = (
        "0xab: [date] id=171 proto=tcpv4 source=10.1.2.3:4000\n"
        "  frontend=fe (mode=tcp)\n"
        "  backend=be (mode=tcp)\n"
        "  server=s1\n"
        '  age=2m5s idle=2s bytes_in=5 bytes_out=6 stage=relaying reason="hash"\n'
    )
    assert ask("show sess 0xab") == f"{text}\n"
    assert ask("show sess ab") == f"{text}\n"
    assert ask("show sess all").startswith(f"{text}0xac: [date] id=172 proto=tcpv6")
    assert "  backend=<NONE> (mode=-)\n  server=<NONE>\n" in ask("show sess 0xac")


def test_what_is_no_number_shows_all_sessions() -> None:
    assert ask("show sess 0x") == ask("show sess zz") == ask("show sess")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0s"),
        (7.9, "7s"),
        (59, "59s"),
        (60, "1m0s"),
        (125, "2m5s"),
        (3600, "1h0m"),
        (7325, "2h2m"),
        (86400, "1d0h"),
        (90 * 86400 + 3 * 3600, "90d3h"),
    ],
)
def test_a_duration_is_told_in_its_two_greatest_units(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    "line", ["show stat", "show servers state", "show servers conn", "show stat typed"]
)
def test_ten_thousand_servers_come_in_pieces(line: str) -> None:
    steered = Steered()
    many = tuple(server(f"s{number}", number) for number in range(1, 10_001))
    backend = replace(steered.now.backends[0], servers=many)
    steered.now = replace(steered.now, backends=(backend,))
    pieces = [*answer(line, Visit(Level.ADMIN), steered, print)]
    assert len(pieces) > 100
    assert max(map(len, pieces)) < 200_000
    assert sum(piece.count("s9999") for piece in pieces) == 1


def test_who_is_no_operator_does_not_see_addresses_and_sessions() -> None:
    steered = Steered()
    for line in ("show sess", "show sess all", "show errors", "show env", "show env HOME"):
        assert ask(line, steered, Level.USER) == "Permission denied\n\n"
    assert "127.0.0.1:8001" in ask("show stat", steered, Level.OPERATOR)
    assert "127.0.0.1:8001" not in ask("show stat", steered, Level.USER)


def test_the_statistics_may_be_asked_for_in_part() -> None:
    rows = ask("show stat be 4 1").splitlines()[1:-1]
    assert [row.split(",")[:2] for row in rows] == [["be", "s1"]]
    assert ask("show stat nope 4 -1") == "No such proxy.\n\n"
    assert ask("show stat nope") == ask("show stat")
    assert ask("show stat typed").startswith("F.2.0.0.pxname.1:KNS:str:fe\n")


def test_a_frontend_alone_has_no_errors_to_show_either() -> None:
    steered = Steered()
    steered.now = replace(steered.now, backends=())
    assert ask("show errors fe", steered).startswith("Total")
    assert ask("show errors be", steered) == "No such proxy.\n\n"


def test_the_connections_of_a_server_are_counted() -> None:
    steered = Steered()
    busy = server("s1", 1, address="[::1]:80", port=80, current=3, peak=5, kept=2)
    backend = blank(type(steered.now.backends[0]), name="be", id=4, servers=(busy,))
    steered.now = replace(steered.now, backends=(backend,))
    row = "be/s1 4/1 ::1 80 - 5000 3 5 5 0 0 -1 2 2\n"
    assert ask("show servers conn", steered) == f"{CONN}{row}\n"
