"""Commands about frontends, sessions and the process."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.haproxy.runtime_frontends import pointer, session_number
from dsbalance.stats_options import Level
from pretence import Steered


def ask(steered: Steered, line: str, level: Level = Level.ADMIN) -> str:
    return "".join(answer(line, Visit(level), steered, lambda _line: None))


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("disable frontend fe", ("set_frontend", "fe", False)),
        ("shutdown frontend fe", ("shutdown_frontend", "fe")),
        ("set maxconn frontend fe 50", ("set_frontend_maxconn", "fe", 50)),
        ("set maxconn frontend #2 0", ("set_frontend_maxconn", "fe", None)),
        ("set maxconn global 100", ("set_maxconn", 100)),
        ("set maxconn global 0", ("set_maxconn", None)),
        ("set rate-limit connections global 0", None),
        ("set rate-limit sessions global 0", None),
        ("shutdown session 0xab", ("shutdown_session", 0xAB)),
        ("clear counters", ("clear_counters", False)),
        ("clear counters foo", ("clear_counters", False)),
        ("clear counters all", ("clear_counters", True)),
    ],
)
def test_what_is_done_is_answered_by_an_empty_line(line: str, done: Any) -> None:
    steered = Steered()
    assert ask(steered, line) == "\n"
    assert steered.done == ([] if done is None else [done])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("disable frontend", "A frontend name is expected.\n\n"),
        ("disable frontend be", "No such frontend.\n\n"),
        ("enable frontend fe", "All sockets are already enabled.\n\n"),
        ("enable frontend shut", "Frontend was previously shut down, cannot enable.\n\n"),
        ("disable frontend shut", "Frontend was previously shut down, cannot disable.\n\n"),
        ("shutdown frontend shut", "Frontend was already shut down.\n\n"),
        ("shutdown frontend zzz", "No such frontend.\n\n"),
        ("set maxconn frontend", "A frontend name is expected.\n\n"),
        ("set maxconn frontend fe", "Integer value expected.\n\n"),
        ("set maxconn frontend fe x", "Integer value expected.\n\n"),
        ("set maxconn frontend fe -5", "Value out of range.\n\n"),
        ("set maxconn global", "Expects an integer value.\n\n"),
        ("set maxconn global -1", "Value out of range.\n\n"),
        ("set maxconn global 501", "Value out of range.\n\n"),
        ("set rate-limit", "'set rate-limit' only supports :\n   - 'connections global'"),
        ("set rate-limit foo global 5", "'set rate-limit' only supports :\n"),
        ("set rate-limit connections foo 5", "'set rate-limit' only supports :\n"),
        ("set rate-limit connections global", "Expects an integer value.\n\n"),
        ("set rate-limit connections global -1", "Value out of range.\n\n"),
        ("set rate-limit connections global 5", "There are no rate limits here"),
        ("shutdown session", "Session pointer expected (use 'show sess').\n\n"),
        ("shutdown session x", "Session pointer expected (use 'show sess').\n\n"),
        ("shutdown session 0", "Session pointer expected (use 'show sess').\n\n"),
    ],
)
def test_what_is_refused_says_why_and_does_nothing(line: str, text: str) -> None:
    steered = Steered()
    assert ask(steered, line).startswith(text)
    assert steered.done == []


def test_a_frontend_is_enabled_once_it_was_disabled() -> None:
    steered = Steered()
    assert ask(steered, "disable frontend fe") == "\n"
    assert ask(steered, "disable frontend fe") == "All sockets are already disabled.\n\n"
    assert ask(steered, "enable frontend fe") == "\n"


def test_a_session_has_a_pointer_that_leads_back_to_it() -> None:
    (session, *_) = Steered().sessions()
    assert session_number(pointer(session)) == session.id


def test_a_session_that_has_gone_cannot_be_ended() -> None:
    text = "No such session (use 'show sess').\n\n"
    assert ask(Steered(), "shutdown session 0xdeadbeef") == text


def test_operators_forget_the_highest_values_and_admins_all() -> None:
    steered = Steered()
    assert ask(steered, "clear counters", Level.OPERATOR) == "\n"
    assert ask(steered, "clear counters all", Level.OPERATOR) == "Permission denied\n\n"
    assert steered.done == [("clear_counters", False)]


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_number_of_a_session_is_found_again(number: int) -> None:
    assert session_number(f"0x{number:x}") == number


@pytest.mark.parametrize("text", ["", "0x", "x", "0x1g", "-1", "1_0", "\u0663", "0x" + "f" * 17])
def test_what_is_no_number_of_a_session_is_none(text: str) -> None:
    assert session_number(text) is None
