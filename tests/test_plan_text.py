"""What a plan looks like, to people and to programs."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import Backend, Balance, Check, Config, Plan, Server, StickRule, Table, plan
from dsbalance.model import HashKind, HashType, StickAction
from dsbalance.plan_text import (
    BAR_CHARACTERS,
    MIN_WIDTH,
    Style,
    as_csv,
    as_json,
    painted,
    picture,
    policy_words,
)
from dsbalance.suite import suite

STICK: dict[str, Any] = {"table": Table(size=1000, expire=1800.0), "stick": (StickRule(),)}
SOURCE: dict[str, Any] = {
    "balance": Balance.SOURCE,
    "hash_type": HashType(kind=HashKind.CONSISTENT),
}


def server(name: str, **words: Any) -> Server:
    return Server(name=name, host="10.0.0.1", port=80, check=Check(), **words)


def of(*servers: Server, clients: str = "10.1.0.0/24", change: Any = None, **words: Any) -> Plan:
    """Return a plan for one backend."""
    config = Config(backends=(Backend(name="web", servers=servers, **words),))
    return plan(config, [clients], **(change or {}))


def drawn(found: Plan, width: int = 80, *, is_ascii: bool = False) -> str:
    return "\n".join(picture(found, Style(width, is_ascii)))


A, B, C = map(server, "abc")
LOSS = of(A, B, C, **SOURCE, **STICK, change={"lose": ["b"]})

# What the three moments look like, to the letter.
SHOWN = """\
254 clients: b is lost.

web:
  balance source, hash-type consistent, stick on

server     weight  now                  after                settled
a               1  ########         74  ##############  126  ##############  126
b               1  #########        79  DOWN              0  DOWN              0
c               1  ###########     101  ##############  128  ##############  128
busiest            c             39.8%  c             50.4%  c             50.4%

At once 79 of 254 clients move (31.1%):
  b -> a  52 ########################################
  b -> c  27 #####################

When the stick entries have expired (after 30m without a session), nobody else
moves."""


def test_a_picture_to_the_letter() -> None:
    assert drawn(LOSS, is_ascii=True) == SHOWN


def test_bars_are_drawn_to_an_eighth() -> None:
    style = Style()
    assert style.bar(0, 8, 4) == "    "
    assert style.bar(8, 8, 4) == "████"
    assert style.bar(3, 8, 4) == "█▌  "
    assert style.bar(1, 1000, 4) == "▏   ", "whoever has any shows some"
    assert Style(is_ascii=True).bar(1, 1000, 4) == "#   "
    blocks = set("".join(picture(LOSS))) - set(SHOWN)
    assert blocks <= set(BAR_CHARACTERS)
    assert blocks


names = st.lists(
    st.from_regex(r"[a-z]{1,40}", fullmatch=True), min_size=1, max_size=12, unique=True
)
changes = st.sampled_from([{}, {"add": {"x1": "10.0.0.9"}}, {"weights": {"x0": 256}}])


@given(names, st.integers(1, 40), st.integers(1, 200), st.booleans(), changes)
def test_a_picture_fits_its_width_and_lines_up(
    found: list[str], count: int, width: int, is_ascii: bool, change: Any
) -> None:
    servers = [server("x0"), *map(server, found)]
    found_plan = of(*servers, clients=f"10.1.0.1-10.1.0.{count}", change=change)
    text = drawn(found_plan, width, is_ascii=is_ascii)
    lines = text.splitlines()
    assert max(map(len, lines)) <= max(width, MIN_WIDTH)
    assert is_ascii is text.isascii()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("server "))
    table = lines[head + 1 : head + 1 + len(servers) + len(change.get("add", ()))]
    # A word in the place of the last bar has no blanks behind it.
    assert len({len(line) for line in table if line[-1] in "0123456789%"}) <= 1


def test_a_wide_picture_has_the_shares() -> None:
    assert re.search(r"a +1  #+ +74  29\.1%  #+ +126  49\.6%", drawn(LOSS, 120, is_ascii=True))


def test_without_a_change_there_is_one_column() -> None:
    text = drawn(of(A, B, C, **SOURCE), is_ascii=True)
    assert text.startswith(
        "254 clients.\n\nweb:\n  balance source, hash-type consistent\n\nserver "
    )
    assert "after" not in text
    assert "move" not in text
    assert drawn(of(A, clients="10.1.0.7")).startswith("1 client.\n")


def test_a_server_without_a_client_is_flagged() -> None:
    found = of(A, B, server("k", backup=True), balance=Balance.FIRST)
    text = drawn(found)
    assert re.search(r"^b +1  NO CLIENT +0 +0\.0%$", text, re.M)
    assert re.search(r"^k +1  backup +0 +0\.0%$", text, re.M)
    assert "\n! b has no client (now).\n" in text
    assert "! k" not in text


def test_why_a_server_has_nobody_is_said_in_a_word() -> None:
    servers = (A, server("w", weight=0), server("m", disabled=True))
    change = {"lose": ["a"], "add": {"n": "10.0.0.9"}, "weights": {"w": 1}}
    # The one that is added is like the last one, which was in maintenance.
    text = drawn(of(*servers, **SOURCE, **STICK, change=change))
    assert re.search(r"^w +0->1  weight 0 +0 ", text, re.M)
    assert re.search(r"^m +1  MAINT +0  MAINT +0  MAINT +0$", text, re.M)
    assert re.search(r"^n +1  not yet +0  ", text, re.M)
    assert re.search(r"^a +1  █+ +254  DOWN +0  DOWN +0$", text, re.M)


def test_whom_entries_keep_away_from_a_new_server_is_no_fault_of_it() -> None:
    text = drawn(of(A, **SOURCE, **STICK, change={"add": {"n": "10.0.0.9"}}))
    assert re.search(r"^n +1  not yet +0  none yet +0  █", text, re.M)
    assert "! n" not in text
    assert "At once nobody moves.\n" in text
    assert re.search(r"\(after 30m without a session\), \d+ more move", text.replace("\n", " "))


def test_who_waits_or_is_refused_has_a_line() -> None:
    waiting = drawn(of(server("a", maxconn=5), clients="10.1.0.1-10.1.0.9"), is_ascii=True)
    assert re.search(r"^\(waiting\) +#+ +4 +44\.4%$", waiting, re.M)
    assert "! 4 clients wait for a place (now)." in waiting
    refused = drawn(of(A, change={"lose": ["a"]}, clients="10.1.0.1-10.1.0.9"), is_ascii=True)
    assert re.search(r"^\(refused\) +0  #+ +9  #+ +9$", refused, re.M)
    assert "! 9 clients are refused (after)." in refused
    assert "  a -> (nowhere)  9 ###" in refused
    (busiest,) = (line for line in refused.splitlines() if line.startswith("busiest"))
    assert busiest.split() == ["busiest", "a", "100.0%"]


def test_many_moves_are_summed_up() -> None:
    servers = [server(f"s{number}") for number in range(12)]
    found = of(*servers, **SOURCE, change={"lose": ["s0"]}, clients="10.1.0.0/22")
    text = drawn(found)
    moves = found.backends[0].moves("after")  # type: ignore[arg-type]
    assert len(moves) > 9
    assert text.count("s0 -> ") == 8
    rest = sum(move.clients for move in moves[8:])
    assert f"  and {rest} by {len(moves) - 8} other ways\n" in text


def test_one_way_more_is_shown_rather_than_summed_up() -> None:
    servers = [server(f"s{number}") for number in range(10)]
    found = of(*servers, **SOURCE, change={"lose": ["s0"]}, clients="10.1.0.0/22")
    assert len(found.backends[0].moves("after")) == 9  # type: ignore[arg-type]
    text = drawn(found)
    assert text.count("s0 -> ") == 9
    assert "other ways" not in text


def test_long_names_are_cut() -> None:
    name = "a-server-with-a-very-long-name"
    text = drawn(of(server(name), B, **SOURCE, change={"lose": ["b"]}), 60)
    assert f"\n{name[:13]}.. " in text
    moved = drawn(of(server(name), B, **SOURCE, change={"lose": ["b"]}), 120)
    assert f"  b -> {name[:20]}.. " in moved


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({}, "Begun anew, nobody else moves."),
        (STICK, "When the stick entries have expired (after 30m without a session), nobody"),
        ({**STICK, "table": Table(size=999)}, "When the stick entries have expired, nobody"),
        (
            {**STICK, "stick": (StickRule(action=StickAction.STORE_REQUEST),)},
            "Begun anew, nobody else moves.",
        ),
    ],
)
def test_when_the_rest_moves_depends_on_the_entries(words: dict[str, Any], sentence: str) -> None:
    text = drawn(of(A, B, **SOURCE, **words, change={"lose": ["b"]}), 200)
    assert sentence in text


def test_notes_are_sentences_below() -> None:
    text = drawn(of(A, B))
    assert "\n- The address alone does not decide here: " in text
    assert text.endswith("go elsewhere.")


def test_each_group_has_a_table_and_may_be_left_alone() -> None:
    config = suite(paragon=["10.0.0.1", "10.0.0.2"], phoenix=["10.0.0.1", "10.0.0.2"])
    text = drawn(plan(config, ["10.1.0.0/24"], lose=["phoenix/primary-1"]), 120)
    paragon, phoenix = text.split("\nphoenix and phoenix-http:\n")
    assert "\nparagon and paragon-http:\n  balance source" in paragon
    assert "The change does not concern it." in paragon
    assert "The change does not concern it." not in phoenix
    assert "DOWN" in phoenix


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({}, "balance roundrobin"),
        ({"policy": object()}, "a policy of its own"),
        (SOURCE, "balance source, hash-type consistent"),
        (
            {**SOURCE, **STICK, "hash_balance_factor": 150, "bounded_clients": 125},
            (
                "balance source, hash-type consistent, hash-balance-factor 150, "
                "bounded-clients 125, stick on"
            ),
        ),
    ],
)
def test_a_policy_is_named_in_the_words_of_the_file(words: dict[str, Any], text: str) -> None:
    assert policy_words(Backend(name="web", **words)) == text


def test_colours_repeat_words_and_change_none() -> None:
    found = of(A, B, C, **SOURCE, change={"lose": ["a", "b", "c"], "add": {"n": "10.0.0.9"}})
    for line in [*picture(found), *picture(of(A, B, balance=Balance.FIRST))]:
        assert re.sub(r"\x1b\[[\d;]*m", "", painted(line)) == line
    assert painted("b  1  DOWN  0") == "b  1  \x1b[31mDOWN\x1b[0m  0"
    assert painted("a and b:") == "\x1b[1ma and b:\x1b[0m"
    assert painted("plain") == "plain"


# -- for programs


def test_the_keys_of_the_json_stay() -> None:
    facts: Any = json.loads(as_json(LOSS))
    assert facts["change"] == {"lose": ["b"], "add": {}, "weights": {}}
    (backend,) = facts["backends"]
    assert set(backend) == {
        *("name", "fellows", "policy", "clients", "moments", "servers", "busiest"),
        *("without_client", "waiting", "refused", "moved", "moves", "notes"),
    }
    assert backend["moments"] == ["now", "after", "settled"]
    assert backend["servers"][1] == {
        "name": "b",
        "address": "10.0.0.1:80",
        "backup": False,
        "weight": 1,
        "weight_before": 1,
        "state": "DOWN",
        "state_before": "UP",
        "clients": {"now": 79, "after": 0, "settled": 0},
    }
    assert backend["busiest"]["now"] == {"server": "c", "share": 0.397638}
    assert backend["moved"] == {"after": 79, "settled": 0}
    assert backend["moves"]["after"] == [
        {"from": "b", "to": "a", "clients": 52},
        {"from": "b", "to": "c", "clients": 27},
    ]
    assert backend["without_client"] == {"now": [], "after": [], "settled": []}


def test_json_has_what_was_before_and_what_is_now() -> None:
    found = of(A, B, change={"weights": {"a": 4}, "add": {"n": "10.0.0.9"}, "lose": ["b"]})
    (backend,) = json.loads(as_json(found))["backends"]
    assert [(s["weight_before"], s["weight"]) for s in backend["servers"]] == [
        *((1, 4), (1, 1), (None, 1)),
    ]
    assert [(s["state_before"], s["state"]) for s in backend["servers"]] == [
        *(("UP", "UP"), ("UP", "DOWN"), (None, "UP")),
    ]


def test_json_without_a_change_has_now_alone_and_null_for_nobody() -> None:
    found = of(server("a", disabled=True), clients="10.1.0.1-10.1.0.3")
    (backend,) = json.loads(as_json(found))["backends"]
    assert backend["moments"] == ["now"]
    assert backend["busiest"] == {"now": None}
    assert (backend["refused"], backend["waiting"]) == ({"now": 3}, {"now": 0})
    assert (backend["moved"], backend["moves"]) == ({}, {})


def rows_of(found: Plan) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(found))))


def test_a_line_of_the_csv_has_a_client_and_its_ways() -> None:
    rows = rows_of(LOSS)
    assert len(rows) == 254
    assert list(rows[0].values()) == ["10.1.0.1", "web", "b", "hash", "a", "hash", "a", "hash"]
    assert list(rows[0]) == [
        *("client", "backend", "now", "now_reason"),
        *("after", "after_reason", "settled", "settled_reason"),
    ]
    assert {row["after_reason"] for row in rows if row["now"] != "b"} == {"sticky"}


def test_the_csv_has_every_backend_and_leaves_out_what_does_not_happen() -> None:
    config = suite(paragon=["10.0.0.1"], phoenix=["10.0.0.1"])
    rows = rows_of(plan(config, ["10.1.0.7"], lose=["phoenix/primary-1"]))
    assert [list(row.values()) for row in rows] == [
        ["10.1.0.7", "paragon", "primary-1", "hash", "", "", "", ""],
        ["10.1.0.7", "phoenix", "primary-1", "hash", "", "refused", "", "refused"],
    ]


def test_a_picture_says_who_the_fellows_are_once() -> None:
    config = suite(paragon=["10.0.0.1"], print_ports=[515])
    text = drawn(plan(config, ["10.1.0.7"]))
    assert text.count("\nparagon and paragon-http and paragon-print:\n") == 1
