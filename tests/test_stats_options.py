"""Pages and sockets are validated where they are made, and say no password."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.conditions import Condition, Fetch, Look, Term
from dsbalance.errors import ConfigError
from dsbalance.http_options import HttpOptions
from dsbalance.stats_options import MAX_PATH, Level, StatsPage, StatsSocket, node_name, socket_path

EVEN = Condition(alternatives=((Term(tests=(Look(fetch=Fetch.DST_PORT, ranges=((80, 80),)),)),),))


def problems(kind: type[StatsPage | StatsSocket], said: dict[str, Any]) -> list[str]:
    try:
        kind(**said)
    except ConfigError as error:
        return [problem.message for problem in error.problems]
    return []


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"uri": "/", "refresh": 0.5, "realm": "a 'b'", "admin": True, "node": "", "scope": (".",)},
        {"uri": "/a?b#c", "admin": EVEN, "node": "n-1.x_y", "description": "", "scope": ("a", "b")},
        {"users": (("a", ""), ("b c", "d:e é")), "description": "two words"},
    ],
)
def test_a_page_may_be_as_haproxy_takes_it(said: dict[str, Any]) -> None:
    assert problems(StatsPage, said) == []


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"uri": "stats"}, "the uri begins with / and has no spaces, not 'stats'"),
        ({"uri": "/a b"}, "the uri begins with / and has no spaces, not '/a b'"),
        ({"refresh": 0.0}, "refresh must be above 0 and below 2147484 s, not 0.0"),
        ({"users": (("", "x"),)}, "the name of a user is not empty and has no colon, not ''"),
        ({"users": (("a:b", "x"),)}, "the name of a user is not empty and has no colon, not 'a:b'"),
        ({"users": (("a\n", "x"),)}, "the name of a user has the control character '\\n'"),
        ({"users": (("a", "x"), ("a", "y"))}, "user 'a' is given 2 times"),
        ({"realm": ""}, "the realm is empty"),
        ({"realm": 'a"\r\nX: y'}, "the realm has the control character '\\r'"),
        ({"node": "a b"}, "a node is made of letters, digits and '-_.', not 'a b'"),
        ({"description": "a\tb"}, "the description has the control character '\\t'"),
        ({"scope": ("a b",)}, "a scope is made of letters, digits and '-_.:', not 'a b'"),
    ],
)
def test_what_a_page_cannot_be_is_refused(said: dict[str, Any], message: str) -> None:
    assert problems(StatsPage, said) == [message]


@pytest.mark.parametrize("password", ["hunter2\n", "hunter2\ud800"])
def test_no_message_and_no_repr_has_a_password(password: str) -> None:
    assert problems(StatsPage, {"users": (("a", password),)}) == [
        "the password of 'a' has a control character, or is no text"
    ]
    page = StatsPage(users=(("somebody", "hunter2"),))
    assert "hunter2" not in repr(HttpOptions(stats=page))
    assert page != StatsPage(users=(("somebody", "hunter3"),))


@pytest.mark.parametrize(
    ("socket", "text"),
    [
        (StatsSocket(path="/run/x.sock"), "/run/x.sock"),
        (StatsSocket(path="x.sock", mode=0o660, user="root", group=0), "x.sock"),
        (StatsSocket(host="127.0.0.1", port=9999), "127.0.0.1:9999"),
        (StatsSocket(host="::1", port=0, level=Level.ADMIN), "[::1]:0"),
        (StatsSocket(port=1), ":1"),
    ],
)
def test_a_socket_is_called_by_its_place(socket: StatsSocket, text: str) -> None:
    assert str(socket) == text


def test_a_socket_is_for_who_runs_us_and_does_not_let_him_change_servers() -> None:
    assert StatsSocket(path="/x").mode == 0o600
    assert StatsSocket(path="/x").level is Level.OPERATOR
    assert Level.USER < Level.OPERATOR < Level.ADMIN


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({}, "it has a path or a port, one of them"),
        ({"path": "/x", "port": 1}, "it has a path or a port, one of them"),
        ({"path": ""}, "a path is not empty and has no NUL character, not ''"),
        ({"path": "/x\0"}, "a path is not empty and has no NUL character, not '/x\\x00'"),
        ({"path": "/" + "é" * 54}, "the path of a socket has at most 107 bytes, this one 109"),
        ({"path": "/\ud800"}, "a path is text"),
        ({"port": 65536}, "port must be 0 to 65535, not 65536"),
        ({"path": "/x", "mode": 0o10000}, "mode must be 0 to 4095, not 4096"),
        ({"path": "/x", "user": ""}, "the user is empty"),
        ({"path": "/x", "group": -1}, "group must be 0 to 4294967295, not -1"),
        ({"path": "/x", "level": 3}, "level must be one of user, operator, admin, not 3"),
    ],
)
def test_what_a_socket_cannot_be_is_refused(said: dict[str, Any], message: str) -> None:
    assert problems(StatsSocket, said) == [message]


def test_a_path_may_have_as_many_bytes_as_the_system_has_room_for() -> None:
    assert socket_path("x" * MAX_PATH) is None
    assert socket_path("x" * (MAX_PATH + 1))
    assert node_name("") is None


def test_only_a_condition_depends_on_something() -> None:
    assert StatsPage(admin=EVEN).condition is EVEN
    assert StatsPage(admin=True).condition is None
    assert StatsPage().condition is None
