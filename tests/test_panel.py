"""A dashboard is for this machine alone unless it is told otherwise."""

from __future__ import annotations

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import PREDEFINED
from dsbalance.haproxy.config import read
from dsbalance.haproxy.writer import write
from dsbalance.model import Bind, Config, Frontend
from dsbalance.panel import LOCALHOST, dashboard, equipped, exposure, is_open_to_change, read_users
from dsbalance.stats_options import Level, StatsPage, StatsSocket


def page(frontend: Frontend) -> StatsPage:
    assert frontend.http is not None
    assert frontend.http.stats is not None
    return frontend.http.stats


@pytest.mark.parametrize(
    ("address", "bind"),
    [
        ("8404", "127.0.0.1:8404"),
        (":8404", "127.0.0.1:8404"),
        ("127.0.0.2:0", "127.0.0.2:0"),
        ("[::1]:8404", "[::1]:8404"),
        ("10.0.0.5:8404", "10.0.0.5:8404"),
        ("*:8404", ":8404"),
    ],
)
def test_a_port_alone_is_this_machines(address: str, bind: str) -> None:
    assert [str(each) for each in dashboard(address).binds] == [bind]


@pytest.mark.parametrize("address", ["", "x", "127.0.0.1", "127.0.0.1:", "1-2", "h:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigError):
        dashboard(address)


def test_without_users_only_who_is_here_may_change_something() -> None:
    shown = dashboard("*:8404")
    assert page(shown).uri == "/"
    condition = page(shown).admin
    assert not isinstance(condition, bool)
    assert condition.alternatives == ((LOCALHOST,),)
    assert PREDEFINED["LOCALHOST"] == LOCALHOST


def test_with_users_who_has_a_password_may_change_something() -> None:
    shown = page(dashboard("*:8404", [("a", "b")]))
    assert shown.users == (("a", "b"),)
    assert shown.admin is True


def test_it_needs_no_server_and_can_be_written_as_a_file() -> None:
    shown = dashboard("8404")
    assert shown.ways == ()
    assert read([("x.cfg", write(Config(frontends=(shown,))))]).config.frontends == (shown,)


@pytest.mark.parametrize(
    ("address", "is_told"),
    [("8404", False), ("[::1]:1", False), ("localhost:1", False), ("*:1", True), ("h:1", True)],
)
def test_it_is_told_when_others_see_it_without_a_password(address: str, is_told: bool) -> None:
    assert bool(exposure(dashboard(address))) is is_told
    assert exposure(dashboard(address, [("a", "b")])) is None


def test_what_shows_nothing_exposes_nothing() -> None:
    assert exposure(Frontend(name="f", binds=(Bind(port=1),), backend="b")) is None


@pytest.mark.parametrize(
    ("words", "is_open"),
    [
        ("stats enable\nstats admin if TRUE", True),
        ("stats enable", False),
        ("stats admin if LOCALHOST", False),
        ("monitor-uri /up", False),
    ],
)
def test_a_page_that_anybody_may_steer_by_is_found(words: str, is_open: bool) -> None:
    text = f"listen f\nmode http\nbind :1\n{words}\n"
    (frontend,) = read([("x.cfg", text)]).config.frontends
    assert is_open_to_change(frontend) is is_open


def test_of_bytes_there_is_no_page_to_steer_by() -> None:
    assert not is_open_to_change(Frontend(name="f", binds=(Bind(port=1),), backend="b"))


def test_a_configuration_gets_what_is_asked_for() -> None:
    bare = Config()
    assert equipped(bare, None, None) == bare
    shown = dashboard("8404")
    found = equipped(Config(sockets=(StatsSocket(path="/a"),)), shown, "/b")
    assert found.frontends == (shown,)
    assert [(str(each), each.level) for each in found.sockets] == [
        ("/a", Level.OPERATOR),
        ("/b", Level.ADMIN),
    ]
    assert found.sockets[1].mode == 0o600
    with pytest.raises(ConfigError, match="frontend 'dashboard' is given 2 times"):
        equipped(found, shown, None)
    with pytest.raises(ConfigError, match="stats socket '/b' is given 2 times"):
        equipped(found, None, "/b")


def test_a_file_of_users_has_one_in_each_line() -> None:
    lines = ["# who may\n", "\n", "  \n", "a:b:c\r\n", "d e: f \n"]
    assert read_users(lines, "x") == [("a", "b:c"), ("d e", " f ")]


@pytest.mark.parametrize("line", ["hunter2", ":hunter2", "hunter2:"])
def test_a_line_that_is_no_user_is_told_without_what_it_says(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_users(["a:b", line], "users")
    assert [str(problem) for problem in caught.value.problems] == ["users:2: expects USER:PASSWORD"]


def test_a_file_without_users_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"users: there is no USER:PASSWORD in it"):
        read_users(["# nobody\n"], "users")
