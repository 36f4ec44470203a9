"""Commands about stick tables: shown in pieces, filtered, written, cleared."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.stats_options import Level
from dsbalance.sticky import Entry
from pretence import Steered

TITLE = "# table: be, type: ip, size:5, used:2\n"
FIRST = "0x1010101: key=1.1.1.1 use=0 exp=59999 server_id=2 server_key=s2\n"
SECOND = "0x1010102: key=1.1.1.2 use=1 exp=60000 server_id=1 server_key=s1\n"
OPERATORS = 'Require and operator among "eq", "ne", "le", "ge", "lt", "gt"\n\n'
CLEAR = 'Required arguments: <table> "data.<store_data_type>" <operator> <value> or <table> key'


def ask(line: str, steered: Steered | None = None, level: Level = Level.ADMIN) -> str:
    return "".join(answer(line, Visit(level), steered or Steered(), lambda _line: None))


def test_all_tables_are_shown_without_what_is_in_them() -> None:
    other = "# table: static, type: ipv6, size:100, used:0\n"
    assert ask("show table") == f"{TITLE}{other}\n"


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("", TITLE + FIRST + SECOND),
        ("key 1.1.1.2", TITLE + SECOND),
        ("key ::ffff:1.1.1.2", TITLE + SECOND),
        ("key 1.1.1.2 more", TITLE + SECOND),
        ("key 9.9.9.9", ""),
        ("data.server_id eq 2", TITLE + FIRST),
        ("data.server_id ne 2", TITLE + SECOND),
        ("data.server_id gt 1", TITLE + FIRST),
        ("data.server_id ge 2", TITLE + FIRST),
        ("data.server_id lt 2", TITLE + SECOND),
        ("data.server_id le 2 data.server_id gt 1", TITLE + FIRST),
        ("data.server_id eq 9", TITLE),
    ],
)
def test_a_table_is_shown_as_far_as_it_is_asked_for(words: str, rows: str) -> None:
    assert ask(f"show table be {words}") == f"{rows}\n"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("nope", "No such table\n\n"),
        ("fe", "No such table\n\n"),
        ("be key", "Key value expected\n\n"),
        ("be key zz", "Invalid key\n\n"),
        ("be key ::1", "Invalid key\n\n"),
        ("static key fe80::1%eth0", "Invalid key\n\n"),
        ("be foo", "Optional argument only supports"),
        ("be data.foo eq 1", "Filter entry #1: Unknown data type\n\n"),
        ("be data.gpc0 eq 1", "Filter entry #1: Data type not stored in this table\n\n"),
        ("be data.server_id foo 1", f"Filter entry #1: {OPERATORS}"),
        ("be data.server_id", f"Filter entry #1: {OPERATORS}"),
        (
            "be data.server_id eq x",
            "Filter entry #1: Require a valid integer value to compare against\n\n",
        ),
        (
            "be data.server_id eq",
            "Filter entry #1: Require a valid integer value to compare against\n\n",
        ),
        (
            "be data.server_key eq s1",
            "Filter entry #1: Require a valid integer value to compare against\n\n",
        ),
        ("be data.server_id eq 2 foo", "Filter entry #2: Unknown data type\n\n"),
        (
            "be" + " data.server_id eq 2" * 5,
            "Detected extra data in filter, 16th word of input, after '2'\n\n",
        ),
    ],
)
def test_what_cannot_be_shown_is_said(words: str, text: str) -> None:
    assert ask(f"show table {words}").startswith(text)


def test_users_see_that_there_are_entries_but_not_which() -> None:
    text = f"{TITLE}# contents not dumped due to insufficient privileges\n\n"
    assert ask("show table be", level=Level.USER) == text
    assert ask("show table be key 1.1.1.1", level=Level.USER) == "Permission denied\n\n"
    assert ask("clear table be", level=Level.USER) == "Permission denied\n\n"
    assert ask("show table", level=Level.USER).startswith(TITLE)


def test_entries_that_never_expire_and_unknown_servers_are_shown_as_nothing() -> None:
    steered = Steered()
    steered.stored["static"] = [
        Entry(key=b"\x0a\x00\x00\x01", server="gone"),
        Entry(key=bytes(15) + b"\x01", server="127.0.0.1:8001"),
    ]
    rows = ask("show table static", steered).splitlines()[1:3]
    assert rows == [
        "0xa000001: key=::ffff:10.0.0.1 use=0 exp=0 server_id=0 server_key=gone",
        "0x1: key=::1 use=0 exp=0 server_id=1 server_key=127.0.0.1:8001",
    ]


def test_a_table_of_ipv6_addresses_has_ipv4_ones_too() -> None:
    steered = Steered()
    assert ask("set table static key 10.0.0.1 data.server_id 1", steered) == "\n"
    assert ask("set table static key ::ffff:10.0.0.1 data.server_id 1", steered) == "\n"
    assert ask("set table static key ::1 data.server_id 2", steered) == "\n"
    key = b"\x0a\x00\x00\x01"
    assert steered.done == [
        ("set_entry", "static", key, "h1"),
        ("set_entry", "static", key, "h1"),
        ("set_entry", "static", bytes(15) + b"\x01", "t1"),
    ]


@pytest.mark.parametrize(
    ("words", "done"),
    [
        ("be key 9.9.9.9 data.server_id 2", ("set_entry", "be", b"\x09" * 4, "s2")),
        (
            "be key 9.9.9.9 data.server_id 2 data.server_id 1",
            ("set_entry", "be", b"\x09" * 4, "s1"),
        ),
        ("be key 1.1.1.1", ("set_entry", "be", b"\x01" * 4, None)),
        ("be", None),
    ],
)
def test_an_entry_is_written_or_touched(words: str, done: Any) -> None:
    steered = Steered()
    assert ask(f"set table {words}", steered) == "\n"
    assert steered.done == ([] if done is None else [done])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n\n"),
        ("be foo", "Required arguments: <table> key <key> [data.<store_data_type> <value>]*\n\n"),
        ("zz key 1.1.1.1", "No such table\n\n"),
        ("be key", "Key value expected\n\n"),
        ("be key zz data.server_id 1", "Invalid key\n\n"),
        (
            "be data.server_id 2",
            'content-based lookup is only supported with the "show" and "clear" actions\n\n',
        ),
        ("be key 1.1.1.1 foo 2", '"data.<type>" followed by a value expected\n\n'),
        ("be key 1.1.1.1 data.server_id 1 foo", '"data.<type>" followed by a value expected\n\n'),
        ("be key 1.1.1.1 data.foo 1", "Unknown data type\n\n"),
        ("be key 1.1.1.1 data.server_id 1 data.foo 1", "Unknown data type\n\n"),
        ("be key 1.1.1.1 data.gpc0 1", "Data type not stored in this table\n\n"),
        ("be key 1.1.1.1 data.server_id", "Require a valid integer value to store\n\n"),
        ("be key 1.1.1.1 data.server_id 2x", "Require a valid integer value to store\n\n"),
        ("be key 1.1.1.1 data.server_key s1", "Require a valid integer value to store\n\n"),
        ("be key 1.1.1.1 data.server_id 9", "No such server.\n\n"),
        ("be key 8.8.8.8", "there is no such entry\n\n"),
    ],
)
def test_what_cannot_be_written_changes_nothing(words: str, text: str) -> None:
    steered = Steered()
    assert ask(f"set table {words}", steered) == text
    assert steered.done == []


@pytest.mark.parametrize(
    ("words", "removed"),
    [
        ("key 1.1.1.1", {b"\x01\x01\x01\x01"}),
        ("key 1.1.1.1 more", {b"\x01\x01\x01\x01"}),
        ("data.server_id eq 2", {b"\x01\x01\x01\x01"}),
        ("", {b"\x01\x01\x01\x01", b"\x01\x01\x01\x02"}),
        ("key 8.8.8.8", {b"\x08\x08\x08\x08"}),
        ("data.server_id eq 7", set()),
    ],
)
def test_entries_are_removed(words: str, removed: set[bytes]) -> None:
    steered = Steered()
    assert ask(f"clear table be {words}", steered) == "\n"
    assert steered.done == ([("clear_entries", "be", removed)] if removed else [])
    assert b"\x01\x01\x01\x02" in {entry.key for entry in steered.stored["be"]}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("", f"{CLEAR} <key>\n\n"),
        ("be foo bar", f"{CLEAR} <key>\n\n"),
        ("zz", "No such table\n\n"),
        ("be key", "Key value expected\n\n"),
        ("be key 1.1.1.2", "Entry currently in use, cannot remove\n\n"),
        ("be data.foo eq 1", "Filter entry #1: Unknown data type\n\n"),
    ],
)
def test_what_cannot_be_removed_stays(words: str, text: str) -> None:
    steered = Steered()
    assert ask(f"clear table {words}", steered) == text
    assert len(steered.stored["be"]) == 2


def test_a_million_entries_are_looked_at_a_few_at_a_time() -> None:
    steered = Steered()
    taken = 0

    def entries(_table: str) -> Iterator[Entry]:
        nonlocal taken
        for number in range(1_000_000):
            taken += 1
            yield Entry(key=number.to_bytes(4), server="s1", remaining=1.0)

    steered.entries = entries  # type: ignore[method-assign, assignment]
    for line in ("show table be", "show table be data.server_id eq 2", "clear table be"):
        taken = 0
        pieces = answer(line, Visit(Level.ADMIN), steered, lambda _line: None)
        assert next(pieces) == ("" if line.startswith("clear") else TITLE)
        tracemalloc.start()
        for _ in range(20):
            before = taken
            assert len(next(pieces)) < 30_000
            assert taken - before <= 250
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 500_000
        steered.done.clear()
