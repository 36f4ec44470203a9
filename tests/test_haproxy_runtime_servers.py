"""Commands about a server: what they do, and that what is refused does nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance.balancer import AdminState, Health
from dsbalance.haproxy.runtime import answer
from dsbalance.haproxy.runtime_command import Visit
from dsbalance.stats_options import Level
from pretence import Steered

AGENT = "agent checks are not enabled on this server"
USAGE = (
    "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send"
    " | check-addr | check-port | fqdn | health | ssl | state | weight\n\n"
)
STATIC = "Backend is using a static LB algorithm and only accepts weights '0%' and '100%'.\n\n"
NO_MAP = (
    "can't change <port> to port map because it is incompatible with current health check"
    " port configuration (use 'port' statement from the 'server' directive."
)


def ask(steered: Steered, line: str) -> str:
    return "".join(answer(line, Visit(Level.ADMIN), steered, lambda _line: None))


@pytest.mark.parametrize(
    ("line", "done"),
    [
        ("set weight be/s1 5", ("set_weight", "be/s1", 5)),
        ("set weight be/s1 +5", ("set_weight", "be/s1", 5)),
        ("set weight be/s1 0", ("set_weight", "be/s1", 0)),
        ("set weight be/s1 256", ("set_weight", "be/s1", 256)),
        ("set weight be/s1 50%", ("set_weight", "be/s1", 0)),
        ("set weight be/s2 55%", ("set_weight", "be/s2", 5)),
        ("set weight be/s2 9999%", ("set_weight", "be/s2", 256)),
        ("set weight be/s2 100%", ("set_weight", "be/s2", 10)),
        ("set weight be/s2 10 more", ("set_weight", "be/s2", 10)),
        ("set weight static/h1 0%", ("set_weight", "static/h1", 0)),
        ("set weight static/h1 100%", ("set_weight", "static/h1", 20)),
        ("set weight static/h1 20", ("set_weight", "static/h1", 20)),
        ("set server be/s1 weight 5", ("set_weight", "be/s1", 5)),
        ("set server #4/#2 weight 20%", ("set_weight", "be/s2", 2)),
        ("set server be/s1 state ready", ("set_admin", "be/s1", AdminState.READY)),
        ("set server be/s1 state drain x", ("set_admin", "be/s1", AdminState.DRAIN)),
        ("set server static/t1 state maint", ("set_admin", "static/t1", AdminState.MAINT)),
        ("disable server be/s1", ("set_admin", "be/s1", AdminState.MAINT)),
        ("enable server be/s3", ("set_admin", "be/s3", AdminState.READY)),
        ("set server be/s1 health up", ("set_health", "be/s1", Health.UP)),
        ("set server be/s2 health stopping", ("set_health", "be/s2", Health.STOPPING)),
        ("set server be/s1 health down", ("set_health", "be/s1", Health.DOWN)),
        ("set server be/s1 check-port 99", ("set_check_port", "be/s1", 99)),
        ("disable health be/s1", ("set_checks", "be/s1", False)),
        ("enable health be/s1", ("set_checks", "be/s1", True)),
        ("disable health be/s2", None),
        ("disable agent be/s1", None),
        ("set maxconn server be/s1 10", ("set_server_maxconn", "be/s1", 10)),
        ("set maxconn server be/s1 0", ("set_server_maxconn", "be/s1", None)),
        ("shutdown sessions server be/s1", ("shutdown_sessions", "be/s1")),
    ],
)
def test_what_is_done_is_answered_by_an_empty_line(line: str, done: Any) -> None:
    steered = Steered()
    assert ask(steered, line) == "\n"
    assert steered.done == ([] if done is None else [done])


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("set weight", "Require 'backend/server'.\n\n"),
        ("set weight be/s1", "Require <weight> or <weight%>.\n\n"),
        ("set weight be/s1 -1", "Absolute weight can only be between 0 and 256 inclusive.\n\n"),
        ("set weight be/s1 257", "Absolute weight can only be between 0 and 256 inclusive.\n\n"),
        ("set weight be/s1 5x", "Trailing garbage in weight string\n"),
        ("set weight be/s1 5%x", "Trailing garbage in weight string\n"),
        ("set weight be/s1 %", "Empty weight string empty or preceded by garbage\n"),
        ("set weight be/s1 -5%", "Relative weight must be positive.\n\n"),
        ("set weight static/h1 5", STATIC),
        ("set weight static/h1 50%", STATIC),
        ("set server be/s1 weight", "Require <weight> or <weight%>.\n\n"),
        (
            "set server be/s1 state",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        (
            "set server be/s1 state READY",
            "'set server <srv> state' expects 'ready', 'drain' and 'maint'.\n\n",
        ),
        (
            "set server be/s1 health",
            "'set server <srv> health' expects 'up', 'stopping', or 'down'.\n\n",
        ),
        ("set server static/t1 health up", "cannot change health on a tracking server.\n\n"),
        ("set server be/s1 agent up", f"{AGENT}.\n\n"),
        ("set server be/s1 agent-addr 1.2.3.4", f"{AGENT}\n"),
        ("set server be/s1 agent-port 1", f"{AGENT}\n"),
        ("set server be/s1 agent-send x", f"{AGENT}.\n\n"),
        ("set server be/s1 check-addr 127.0.0.1", "check-addr cannot be changed here.\n\n"),
        ("set server be/s1 check-port", "set server <b>/<s> check-port requires a port.\n\n"),
        ("set server be/s1 check-port x", "provided port is not an integer\n"),
        ("set server be/s1 check-port 70000", "provided port is invalid\n"),
        ("set server be/s1 check-port 0", "provided port is invalid\n"),
        ("set server be/s2 check-port 99", "health checks are not enabled on this server\n"),
        (
            "set server be/s1 fqdn a.b",
            "set server <b>/<s> fqdn failed because no resolution is configured.\n\n",
        ),
        ("set server be/s1 fqdn", "set server <b>/<s> fqdn requires a FQDN.\n\n"),
        (
            "set server be/s1 ssl on",
            "'set server <srv> ssl' cannot be set.  default-server should define ssl settings\n\n",
        ),
        ("set server be/s1 foo", USAGE),
        ("set server be/s1", USAGE),
        ("set server foo", "Require 'backend/server'.\n\n"),
        ("set server be/zz state ready", "No such server.\n\n"),
        (
            "enable health be/s2",
            "Health check was not configured on this server, cannot enable.\n\n",
        ),
        ("enable agent be/s1", "Agent was not configured on this server, cannot enable.\n\n"),
        ("disable agent foo", "Require 'backend/server'.\n\n"),
        ("disable server be/zz", "No such server.\n\n"),
        ("set maxconn server be/s1", "Require <maxconn>.\n\n"),
        ("set maxconn server be/s1 x", "maxconn string empty or preceded by garbage\n"),
        ("set maxconn server be/s1 5x", "Trailing garbage in maxconn string\n"),
        ("set maxconn server be/s1 -1", "Value out of range.\n\n"),
        ("set maxconn server foo 5", "Require 'backend/server'.\n\n"),
        ("shutdown sessions server zz/s1", "No such backend.\n\n"),
    ],
)
def test_what_is_refused_says_why_and_does_nothing(line: str, text: str) -> None:
    steered = Steered()
    assert ask(steered, line) == text
    assert steered.done == []


@pytest.mark.parametrize(
    ("line", "told", "done"),
    [
        ("be/s1 addr 127.0.0.2", "IP changed from '127.0.0.1' to '127.0.0.2'", ("127.0.0.2", None)),
        ("be/s1 addr 127.0.0.1", "no need to change the addr", None),
        ("be/s1 addr 127.0.0.1 foo 5", "no need to change the addr", None),
        (
            "be/s1 addr 127.0.0.1 port 8001",
            "no need to change the addr, no need to change the port",
            None,
        ),
        (
            "be/s1 addr 127.0.0.1 port 99",
            "no need to change the addr, port changed from '8001' to '99'",
            (None, 99),
        ),
        (
            "be/s1 addr ::1 port 99",
            "IP changed from '127.0.0.1' to '::1', port changed from '8001' to '99'",
            ("::1", 99),
        ),
        (
            "be/s2 addr 127.0.0.1 port 80",
            "no need to change the addr, port changed from '+0' to '80'",
            (None, 80),
        ),
        ("be/s1 addr zz", "Invalid addr 'zz'", None),
        ("be/s1 addr localhost", "Invalid addr 'localhost'", None),
        ("be/s1 addr 127.0.0.1:80", "Invalid addr '127.0.0.1:80'", None),
        ("be/s1 addr fe80::1%eth0", "Invalid addr 'fe80::1%eth0'", None),
        (
            "be/s1 addr 127.0.0.1 port x",
            "no need to change the addr, problem converting port 'x' to an int",
            None,
        ),
        ("be/s1 addr 127.0.0.2 port 0", "problem converting port '0' to an int", None),
        ("be/s1 addr 127.0.0.2 port 65536", "problem converting port '65536' to an int", None),
        ("be/s1 addr 127.0.0.2 port", "problem converting port '' to an int", None),
        ("be/s1 addr 127.0.0.2 port +1", NO_MAP, None),
        ("be/s1 addr 127.0.0.1 port -1", f"no need to change the addr, {NO_MAP}", None),
    ],
)
def test_an_address_is_changed_with_its_port_or_not_at_all(
    line: str, told: str, done: tuple[str | None, int | None] | None
) -> None:
    steered = Steered()
    assert ask(steered, f"set server {line}") == f"{told} by 'stats socket command'\n\n"
    assert steered.done == (
        [] if done is None else [("set_address", line.split(maxsplit=1)[0], *done)]
    )


def test_an_address_that_is_missing_is_asked_for() -> None:
    expected = "set server <b>/<s> addr requires an address and optionally a port.\n\n"
    assert ask(Steered(), "set server be/s1 addr") == expected


def test_the_address_of_a_server_on_ipv6_is_known_without_its_brackets() -> None:
    steered = Steered()
    steered._change("be/s1", address="[::1]:8001")
    told = ask(steered, "set server be/s1 addr 0:0::1")
    assert told == "no need to change the addr by 'stats socket command'\n\n"


def test_a_weight_is_told_with_the_configured_one() -> None:
    steered = Steered()
    assert ask(steered, "get weight be/s2") == "10 (initial 10)\n\n"
    ask(steered, "set weight be/s2 50%")
    assert ask(steered, "get weight be/s2") == "5 (initial 10)\n\n"
    ask(steered, "set weight be/s2 50%")
    assert ask(steered, "get weight be/s2") == "5 (initial 10)\n\n"
    assert ask(steered, "get weight zz/s1") == "No such backend.\n\n"


WORDS = st.sampled_from(
    [
        *("set", "server", "weight", "maxconn", "state", "health", "addr", "port", "agent"),
        *("be/s1", "be/s2", "static/h1", "static/t1", "be/zz", "#4/#1", "/", "enable", "disable"),
        *("ready", "maint", "up", "down", "5", "-5", "50%", "0", "99999999999999999999", "x%"),
        *("127.0.0.9", "::1", "::ffff:1.2.3.4", "shutdown", "sessions", "check-port", "fqdn"),
    ]
)


@given(st.lists(WORDS, max_size=8))
def test_a_command_is_done_once_or_refused_and_then_nothing_is(said: list[str]) -> None:
    steered = Steered()
    told: list[str] = []
    text = "".join(answer(" ".join(said), Visit(Level.ADMIN), steered, told.append))
    assert text.endswith("\n")
    assert len(steered.done) <= 1
    # Who did something says nothing, but where it is.
    if steered.done:
        assert told == [" ".join(said)]
        assert text == "\n" or " changed from " in text
    elif text != "\n":
        assert not told or "no need to change" in text
