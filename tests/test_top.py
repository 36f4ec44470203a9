"""The live table: what stands in it, and how it lives through what happens to a balancer."""

from __future__ import annotations

import io
import os
import re
import threading
from collections.abc import Iterator
from typing import Any, TextIO

import pytest

from actors import PATIENCE, until
from dsbalance.remote import RefusedError, Remote, RemoteError, StatRow
from dsbalance.top import (
    Look,
    Screen,
    Watch,
    amount,
    changes,
    look,
    mark,
    painted,
    picture,
    reason,
    span,
    top,
)
from runtime_api import RuntimeApi


def row(status: str, **fields: str) -> StatRow:
    return StatRow({"pxname": "web", "svname": "a", "type": "2", "status": status, **fields})


def looked(*rows: StatRow, at: float = 0.0, **info: str) -> Look:
    said = {"Name": "HAProxy", "Version": "2.6.12", "Pid": "11", "Uptime": "0d 0h01m00s"}
    more = {"Uptime_sec": "60", "Maxconn": "2000", "CurrConns": "3", "SessRate": "1"}
    return Look({**said, **more, **info}, rows, at)


FRONTEND = StatRow(
    {
        "pxname": "web",
        "svname": "FRONTEND",
        "type": "0",
        "status": "OPEN",
        "scur": "12",
        "smax": "340",
        "slim": "200000",
        "rate": "7",
        "bin": "1000",
        "bout": "2000",
    }
)
BACKEND = StatRow(
    {"pxname": "web", "svname": "BACKEND", "type": "1", "status": "UP", "qcur": "0", "lastchg": "9"}
)
SERVER = row(
    "DOWN 1/12",
    qcur="3",
    scur="0",
    smax="20",
    check_status="* L4CON",
    check_desc="No",
    last_chk="Refused",
    lastchg="11520",
)


# -- the table


def test_the_table_has_a_proxy_its_backend_and_its_servers() -> None:
    watch = Watch(looked(FRONTEND, SERVER, BACKEND, node="lab"))
    assert picture(watch, 130) == [
        "HAProxy 2.6.12 on lab, process 11, up 0d 0h01m00s",
        "3 of 2000 connections, 1 sessions/s",
        "",
        "             state      queue  cur  max limit rate bytes/s  check since",
        "  web        OPEN               12  340  200k    7",
        "    backend  UP             0               -                        9s",
        "!   a        DOWN 1/12      3    0   20     -               L4CON  3h12  No: Refused",
    ]


def test_a_narrow_terminal_has_the_reasons_below_and_clips_names() -> None:
    long_name = row("DOWN", svname="primary-with-a-very-long-name", last_chk="x" * 99)
    lines = picture(Watch(looked(FRONTEND, long_name, BACKEND)), 79)
    assert max(map(len, lines)) <= 79
    assert lines[-2].startswith("!   primary-with-a~  DOWN ")
    assert lines[-1].startswith("      xxxx")
    assert lines[-1].endswith("...")


def test_a_terminal_that_is_too_narrow_shows_the_left_part() -> None:
    lines = picture(Watch(looked(FRONTEND, SERVER, BACKEND)), 30)
    assert max(map(len, lines)) <= 30
    assert lines[-2].startswith("!   a       DOWN 1/12")


def test_a_backend_of_its_own_stands_above_its_servers() -> None:
    lines = picture(Watch(looked(SERVER, BACKEND)), 130)
    assert [line.split()[0] for line in lines[-2:]] == ["web", "!"]


def test_bytes_per_second_come_from_two_looks() -> None:
    watch = Watch(looked(FRONTEND, at=10.0))
    assert "bytes/s" not in picture(watch, 130)[1]
    later = StatRow({**FRONTEND.fields, "bin": "101000", "bout": "202000"})
    watch.take(looked(later, at=12.0))
    lines = picture(watch, 130)
    assert lines[1] == "3 of 2000 connections, 1 sessions/s, 150k bytes/s"
    assert lines[-1].endswith("    7    150k")


def test_counters_that_were_cleared_are_no_negative_rate() -> None:
    watch = Watch(looked(FRONTEND, at=10.0))
    watch.take(looked(StatRow({**FRONTEND.fields, "bin": "0", "bout": "0"}), at=11.0))
    assert picture(watch, 130)[-1].endswith("    7       0")


@pytest.mark.parametrize(
    ("status", "fields", "sign", "why"),
    [
        ("UP", {"weight": "1"}, " ", ""),
        ("UP", {"weight": "0"}, " ", "weight 0"),
        ("UP", {"throttle": "25"}, " ", "slow start, 25 %"),
        ("UP 2/3", {"check_desc": "Layer4 timeout"}, "~", "Layer4 timeout"),
        ("no check", {"weight": "1"}, " ", ""),
        ("DRAIN", {"weight": "0"}, "-", ""),
        ("MAINT", {}, "-", ""),
        ("MAINT (via paragon/a)", {"tracked": "paragon/a"}, "-", "via paragon/a"),
        ("MAINT (resolution)", {}, "-", "resolution"),
        ("DOWN", {"tracked": "paragon/a"}, "!", "via paragon/a"),
        ("UP", {"tracked": "paragon/a", "weight": "1"}, " ", ""),
        ("DOWN (agent)", {"last_chk": "gone"}, "!", "agent: gone"),
        ("NOLB", {"check_desc": "404"}, "-", "404"),
        ("something new", {}, " ", ""),
    ],
)
def test_a_state_has_a_mark_and_a_reason(
    status: str, fields: dict[str, str], sign: str, why: str
) -> None:
    server = row(status, **fields)
    assert (mark(server), reason(server)) == (sign, why)


@pytest.mark.parametrize(
    "number", [0, 9_999, 10_000, 99_949, 99_950, 999_499, 10**9, 10**15, 10**18]
)
def test_an_amount_has_its_place(number: int) -> None:
    assert len(amount(number)) <= 4


def test_words_of_amounts_and_durations() -> None:
    assert [amount(None), amount(0), amount(10_000), amount(999_600)] == ["", "0", "10k", "1.0M"]
    assert [span(None), span(0), span(60), span(3600), span(86_400)] == [
        "",
        "0s",
        "1m",
        "1h00",
        "1d",
    ]


def test_colours_repeat_the_mark_and_the_state() -> None:
    lines = picture(Watch(looked(FRONTEND, SERVER, BACKEND)), 130)
    for line, colour in zip(lines[-3:], ("32", "32", "1;7;31"), strict=True):
        assert painted(line).count(f"\x1b[{colour}m") == 2
        assert re.sub(r"\x1b\[[\d;]*m", "", painted(line)) == line
    assert [painted(line) for line in lines[:4]] == lines[:4]
    assert "\x1b[1;7;31mDOWN 1/12\x1b[0m" in painted(lines[-1])


def test_a_server_that_is_called_like_a_state_is_no_state() -> None:
    line = picture(Watch(looked(row("MAINT", svname="UP"))), 130)[-1]
    assert "\x1b[33mMAINT\x1b" in painted(line)
    assert "mUP" not in painted(line)


# -- what has changed


def test_a_change_of_state_is_an_event_but_a_count_of_checks_is_none() -> None:
    before, counting, after = (
        looked(row(status, check_desc="No answer")) for status in ("UP", "UP 2/3", "DOWN 1/3")
    )
    assert list(changes(before, counting)) == []
    assert list(changes(counting, after)) == ["web/a: UP -> DOWN: No answer"]
    assert list(changes(looked(), after)) == []


def test_a_balancer_that_was_started_anew_begins_anew() -> None:
    for anew in (looked(FRONTEND, Pid="12"), looked(FRONTEND, Uptime_sec="1")):
        watch = Watch(looked(FRONTEND))
        watch.take(anew)
        (event,) = watch.news()
        assert event.endswith(f"it was started anew, as process {watch.now.info['Pid']}")
        assert watch.before is None


def test_trouble_is_told_once_and_so_is_its_end() -> None:
    watch = Watch(looked(FRONTEND))
    for number in range(3):
        watch.lose(RemoteError("/x", f"cannot connect: {number}"))
    assert watch.trouble == "cannot connect: 2"
    assert [event[9:] for event in watch.news()] == ["cannot connect: 0"]
    assert picture(watch, 130)[1] == "NO ANSWER: cannot connect: 2"
    watch.take(looked(FRONTEND))
    assert [event[9:] for event in watch.news()] == ["it answers again"]
    assert watch.news() == []


# -- on a screen


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    with RuntimeApi() as api:
        api.row("web/FRONTEND", "OPEN")
        api.row("web/a", "UP", weight="1")
        api.row("other/FRONTEND", "OPEN")
        yield api


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_look_may_be_at_some_proxies_alone(api: RuntimeApi) -> None:
    remote = Remote(api.address)
    assert [row.path for row in look(remote, ["web"]).rows] == ["web/FRONTEND", "web/a"]
    with pytest.raises(RefusedError, match="nope: there is no proxy of this name"):
        look(remote, ["web", "nope"])


def test_once_is_a_table_even_on_a_terminal(
    api: RuntimeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    api.row("web/b", "DOWN", check_desc="No answer", last_chk="x" * 99)
    out = Terminal()
    top(Remote(api.address), Screen(out, {}, is_once=True), None, 1.0, [])
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("HAProxy 2.6.12 on lab, process 11")
    rows = [line.split()[:2] for line in lines[4:]]
    assert rows[:2] == [["web", "OPEN"], ["a", "UP"]]
    assert rows[2:] == [["!", "b"], ["No", "answer:"], ["other", "OPEN"]]
    assert max(map(len, lines)) == 79
    assert "\x1b" not in out.getvalue()


def test_nobody_there_at_first_is_an_error() -> None:
    with RuntimeApi() as gone:
        remote = Remote(gone.address)
    with pytest.raises(RemoteError, match="cannot connect"):
        top(remote, Screen(io.StringIO(), {}), None, 1.0, [])


class Story:
    """An output that does the next thing after each table, and in the end is interrupted."""

    def __init__(self, *acts: Any) -> None:
        self.out = io.StringIO()
        self._acts = list(acts)
        self.write = self.out.write
        self.isatty = self.out.isatty

    def flush(self) -> None:
        if not self._acts:
            raise KeyboardInterrupt
        self._acts.pop(0)()


def test_plain_lines_say_what_has_changed_and_then_how_it_is(api: RuntimeApi) -> None:
    def stop() -> None:
        api.answers["show stat"] = b"Permission denied\n\n"

    def start() -> None:
        api.answers.clear()
        api.info.update(Pid="12")

    story: Any = Story(
        lambda: api.rows[1].update(status="DOWN", last_chk="Connection refused"), stop, start
    )
    with pytest.raises(KeyboardInterrupt):
        top(Remote(api.address), Screen(story, {}), None, 0.001, ["web"])
    told = [
        line[9:] if re.match(r"\d\d:\d\d:\d\d ", line) else line
        for line in story.out.getvalue().splitlines()
        if "->" in line or "again" in line or "anew" in line or "it does not say" in line
    ]
    wrong = "it does not say what was asked, but: Permission denied"
    assert told == [
        "web/a: UP -> DOWN: Connection refused",
        wrong,
        f"NO ANSWER: {wrong}",
        "it answers again",
        "it was started anew, as process 12",
    ]
    assert story.out.getvalue().count("HAProxy 2.6.12") == 4


# -- on a terminal of its own


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal, and the descriptor of who sits before it."""
    pty: Any = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    at, of = pty.openpty()
    with open(of, "r+b", buffering=0) as raw, io.TextIOWrapper(raw, write_through=True) as text:
        yield text, at
    os.close(at)


@pytest.mark.parametrize("colour", [{}, {"NO_COLOR": "1"}])
def test_it_is_drawn_over_itself_until_q_is_typed(
    colour: dict[str, str],
    terminal: tuple[TextIO, int],
    api: RuntimeApi,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    text, at = terminal
    seen = bytearray()
    screen = Screen(text, {"TERM": "xterm", **colour})
    # On a thread, for on this one it could not be told that it does not end.
    thread = threading.Thread(
        target=top, args=(Remote(api.address), screen, text, 0.01, []), daemon=True
    )

    def is_seen(words: bytes) -> bool:
        seen.extend(os.read(at, 1 << 16))
        return words in seen

    thread.start()
    until(lambda: is_seen(b"; q ends"))
    api.rows[1].update(status="DRAIN")
    until(lambda: is_seen(b"web/a: UP -> DRAIN"))
    os.write(at, b"xq")
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert b"\x1b[7F" in seen
    assert (b"\x1b[32m" in seen) is not bool(colour)


def test_a_table_that_is_too_long_says_so(api: RuntimeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "10")
    for number in range(20):
        api.row(f"web/s{number}", "UP")
    out = Terminal()
    watch = Watch(look(Remote(api.address)))
    watch.lose(RemoteError("x", "gone"))
    Screen(out, {"NO_COLOR": "1"}).show(watch)
    lines = [line.removesuffix("\x1b[K") for line in out.getvalue().splitlines()]
    assert len(lines) == 10
    assert lines[0].endswith("up 0d 0h00m09s; q ends")
    assert lines[8] == "  ... and 19 lines more"
