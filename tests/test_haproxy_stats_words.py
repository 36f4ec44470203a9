"""The words of statistics: what each makes of a page or a socket, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from dsbalance.conditions import Condition
from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import PREDEFINED
from dsbalance.haproxy.config import Reading, read
from dsbalance.haproxy.statement import Place
from dsbalance.http_options import HttpOptions
from dsbalance.stats_options import Level, StatsPage, StatsSocket

LOCAL = Condition(alternatives=((PREDEFINED["LOCALHOST"],),))


def reading(text: str) -> Reading:
    return read([("x.cfg", text)])


def problems(text: str) -> list[str]:
    """Return what is wrong with a text, without the name of the file."""
    try:
        reading(text)
    except ConfigError as error:
        return [str(problem).removeprefix("x.cfg:") for problem in error.problems]
    return []


def notices(text: str) -> list[str]:
    return [str(notice).removeprefix("x.cfg:") for notice in reading(text).notices]


def http(lines: str, defaults: str = "") -> HttpOptions:
    text = f"defaults\nmode http\ntimeout client 1s\n{defaults}\nfrontend f\nbind :1\n{lines}\n"
    found = reading(text)
    assert found.notices == ()
    made = found.config.frontends[0].http
    assert made is not None
    return made


# --- pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("stats enable", {}),
        ("stats uri /x?y", {"uri": "/x?y"}),
        ("stats refresh 10", {"refresh": 10.0}),
        ("stats refresh 500ms", {"refresh": 0.5}),
        ("stats refresh 0", {"refresh": None}),
        ("stats realm a\\ b", {"realm": "a b"}),
        ("stats auth a:b:c\nstats auth d:", {"users": (("a", "b:c"), ("d", ""))}),
        ('stats auth "a b:c d"', {"users": (("a b", "c d"),)}),
        ("stats hide-version", {"hides_version": True}),
        ("stats show-legends", {"shows_legends": True}),
        ("stats show-node", {"node": ""}),
        ("stats show-node n-1", {"node": "n-1"}),
        ("stats show-desc", {"description": ""}),
        ("stats show-desc two  words", {"description": "two words"}),
        ("stats scope .\nstats scope b\nstats scope .", {"scope": (".", "b")}),
        ("stats admin if TRUE", {"admin": True}),
        ("stats admin if LOCALHOST\nstats admin if TRUE", {"admin": True}),
        ("stats admin if TRUE\nstats admin if LOCALHOST", {"admin": True}),
        ("stats admin if LOCALHOST", {"admin": LOCAL}),
        (
            "stats admin if LOCALHOST\nstats admin if FALSE LOCALHOST",
            {
                "admin": Condition(
                    alternatives=(
                        *LOCAL.alternatives,
                        (PREDEFINED["FALSE"], PREDEFINED["LOCALHOST"]),
                    )
                )
            },
        ),
        (
            "stats admin unless FALSE",
            {"admin": Condition(alternatives=((PREDEFINED["FALSE"],),), is_unless=True)},
        ),
    ],
)
def test_a_word_changes_the_page_and_switches_it_on(lines: str, said: dict[str, Any]) -> None:
    assert http(lines).stats == StatsPage(**said)


def test_the_first_word_of_a_section_forgets_what_was_inherited() -> None:
    above = "stats uri /d\nstats auth a:b\nstats refresh 5s"
    assert http("", above).stats == StatsPage(uri="/d", users=(("a", "b"),), refresh=5.0)
    assert http("stats realm x\nstats uri /e", above).stats == StatsPage(realm="x", uri="/e")
    assert http("option forwardfor", above).stats == StatsPage(
        uri="/d", users=(("a", "b"),), refresh=5.0
    )


def test_what_one_section_says_is_not_said_of_its_defaults() -> None:
    text = "defaults\nmode http\nstats uri /d\nfrontend f\nbind :1\nstats uri /f\n"
    text += "frontend g\nbind :2\n"
    pages = [frontend.http.stats for frontend in reading(text).config.frontends if frontend.http]
    assert [page.uri for page in pages if page] == ["/f", "/d"]


def test_a_listen_shows_a_page_by_its_frontend_and_a_backend_by_its_own() -> None:
    text = "defaults\nmode http\nlisten l\nbind :1\nstats enable\nbackend b\nstats uri /b\n"
    config = reading(text).config
    assert config.frontends[0].http == HttpOptions(stats=StatsPage())
    assert [backend.http for backend in config.backends] == [
        HttpOptions(),
        HttpOptions(stats=StatsPage(uri="/b")),
    ]


def test_of_two_passwords_of_a_user_the_first_counts() -> None:
    text = "listen a\nmode http\nbind :1\ntimeout client 1s\nstats auth a:b\nstats auth a:c\n"
    assert notices(text) == ["6: stats auth: a is there, the first one counts"]
    (frontend,) = reading(text).config.frontends
    assert frontend.http
    assert frontend.http.stats
    assert frontend.http.stats.users == (("a", "b"),)


def test_in_mode_tcp_nothing_is_shown() -> None:
    text = "listen a\nbind :1\ntimeout client 1s\nstats enable\nstats auth a:b\n"
    assert notices(text) == [
        "4: stats enable: has no effect in 'mode tcp'",
        "5: stats auth: has no effect in 'mode tcp'",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stats", "unknown keyword 'stats' in a listen section"),
        ("stats enabled", "unknown keyword 'stats enabled'"),
        ("stats enable x", "stats enable: unexpected word 'x'"),
        ("stats hide-version x", "stats hide-version: unexpected word 'x'"),
        ("stats uri", "stats uri: expects a target, such as /stats"),
        ("stats uri stats", "stats uri: the uri begins with / and has no spaces, not 'stats'"),
        ("stats realm a b", "stats realm: unexpected word 'b'"),
        ("stats refresh", "stats refresh: expects a time, such as 5s"),
        ("stats refresh often", "stats refresh: a time is a whole number and"),
        ("stats admin", "stats admin: expects if or unless, and a condition"),
        ("stats admin if nobody", "stats admin: there is no acl 'nobody' above"),
        (
            "stats admin if LOCALHOST\nstats admin unless FALSE",
            "stats admin: of several lines none has unless; write '!' before the ACL",
        ),
        ("stats scope", "stats scope: expects the name of a section, or . for this one"),
        ("stats scope a/b", "stats scope: a scope is made of letters"),
        ("stats show-node a/b", "stats show-node: a node is made of letters"),
        ("no stats enable", "stats enable: 'no' may not stand before it"),
        (
            "stats http-request auth",
            "stats http-request: refused: HAProxy has it, this version does not; write",
        ),
    ],
)
def test_a_wrong_line_is_refused_with_what_would_be_accepted(line: str, message: str) -> None:
    (found,) = problems(f"listen a\nmode http\nbind :1\n{line}\n")
    assert found.partition(": ")[2].startswith(message)


@pytest.mark.parametrize(
    "line",
    [
        *("stats auth hunter2", "stats auth :hunter2", "stats auth a:b hunter2"),
        *('stats auth "hunter2', "stats auth 'a:hunter2", 'stats auth "a:$-hunter2"'),
        *("stats auth a:hunter2\\x00", "stats auth a:\\x01hunter2"),
    ],
)
def test_no_message_has_a_password(line: str) -> None:
    (found,) = problems(f"listen a\nmode http\nbind :1\n{line}\n")
    assert found.startswith("4: stats auth: ")
    assert "hunter2" not in found


def test_who_may_change_something_is_not_said_in_defaults() -> None:
    (found,) = problems("defaults\nstats admin if TRUE\n")
    assert found == "2: stats admin: does not belong in a defaults section"


# --- names and states ----------------------------------------------------------------------------


def test_a_section_has_a_description_an_id_and_its_listeners_rows() -> None:
    text = "listen a\nbind :1 id 5 name x\nid 7\ndescription two  words\noption socket-stats\n"
    config = reading(text + "server s ::1:1\n").config
    (frontend,), (backend,) = config.frontends, config.backends
    assert (frontend.id, backend.id, frontend.binds[0].id) == (7, 7, 5)
    assert (frontend.description, backend.description) == ("two words", "two words")
    assert frontend.counts_listeners
    assert not reading(f"{text}no option socket-stats\n").config.frontends[0].counts_listeners


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id 0", "id: expects a whole number of 1 to 2147483647, not '0'"),
        ("description", "description: expects a text"),
        ("bind :2-3 id 4", "bind: bind *: an id is that of one port"),
        ("load-server-state-from-file all", "load-server-state-from-file: expects global, local"),
        ("server-state-file-name a b", "server-state-file-name: unexpected word 'b'"),
    ],
)
def test_a_wrong_name_is_refused(line: str, message: str) -> None:
    (found,) = problems(f"listen a\nbind :1\n{line}\n")
    assert found.partition(": ")[2].startswith(message)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("", "a"),
        ("server-state-file-name x", "x"),
        ("server-state-file-name use-backend-name", "a"),
    ],
)
def test_servers_may_begin_as_a_file_of_their_own_has_them(words: str, name: str) -> None:
    text = f"global\nserver-state-base /v\nbackend a\nload-server-state-from-file local\n{words}\n"
    assert reading(text).config.backends[0].state_file == f"/v/{name}"


def test_of_two_state_files_the_first_counts() -> None:
    text = "global\nserver-state-file /a\nserver-state-file /b\n"
    assert reading(text).config.state_file == "/a"
    assert notices(text) == ["3: server-state-file: given before, the first one counts"]


# --- sockets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("/x", {"path": "/x"}),
        ("unix@x", {"path": "x"}),
        ("/x mode 660 level admin", {"path": "/x", "mode": 0o660, "level": Level.ADMIN}),
        ("/x user u group g", {"path": "/x", "user": "u", "group": "g"}),
        ("/x uid 0 gid 65534 level user", {"path": "/x", "user": 0, "group": 65534, "level": 1}),
        ("127.0.0.1:9999", {"host": "127.0.0.1", "port": 9999}),
        ("ipv4@127.0.0.2:1 level operator", {"host": "127.0.0.2", "port": 1}),
        ("ipv6@[::1]:1", {"host": "::1", "port": 1}),
        ("localhost:1", {"host": "localhost", "port": 1}),
    ],
)
def test_a_socket_line_says_where_and_for_whom(words: str, said: dict[str, Any]) -> None:
    found = reading(f"global\nstats socket {words}\n")
    said = said | {"level": Level(said.get("level", Level.OPERATOR))}
    assert found.config.sockets == (StatsSocket(**said),)
    assert found.notices == ()
    assert found.places[f"stats socket {found.config.sockets[0]}"] == Place("x.cfg", 2)


@pytest.mark.parametrize("address", [":9999", "*:9999", "10.0.0.1:9999", "name:9999"])
def test_a_socket_that_others_reach_is_noticed(address: str) -> None:
    (found,) = notices(f"global\nstats socket {address}\n")
    assert found.startswith("2: stats socket: ")
    assert found.endswith(":9999: other machines reach it, and nobody is asked for a password")


def test_what_only_haproxy_has_a_use_for_is_noticed() -> None:
    text = "global\nstats socket /x expose-fd listeners thread 1 name y\nstats bind-process 1\n"
    assert notices(text) == [
        *(
            f"2: {word} on a stats line: accepted and without effect here"
            for word in ("expose-fd", "thread", "name")
        ),
        "3: stats bind-process: accepted and without effect here",
    ]


def test_the_process_has_its_limits_and_names() -> None:
    text = "global\nstats timeout 30s\nstats maxconn 5\nnode n-1\ndescription two  words\n"
    config = reading(text).config
    assert (config.timeout_stats, config.maxconn_stats) == (30.0, 5)
    assert (config.node, config.description) == ("n-1", "two words")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stats socket", "stats socket: expects the path of a socket, or ADDRESS:PORT"),
        ("stats socket :0", "stats socket: expects a path or ADDRESS:PORT, not ':0'"),
        ("stats socket :1-2", "stats socket: expects a path or ADDRESS:PORT, not ':1-2'"),
        ("stats socket fd@3", "stats socket: expects a path, unix@PATH or ADDRESS:PORT"),
        ("stats socket /x\nstats socket /x", "stats socket: '/x' is given twice"),
        ("stats socket /x mode 8", "stats socket: mode: expects an octal number such as 660"),
        ("stats socket /x level x", "stats socket: level: expects one of user, operator, admin"),
        ("stats socket /x uid a", "stats socket: uid: expects a whole number of 0 to 4294967295"),
        ("stats socket /x wrong", "stats socket: unknown keyword 'wrong' on a stats line"),
        ("stats socket /x accept-proxy", "stats socket: accept-proxy: refused: HAProxy has it"),
        (f"stats socket /{'x' * 107}", "stats socket: stats socket /xxx"),
        ("stats timeout 0", "stats timeout: must be longer than 0"),
        ("stats maxconn 0", "stats maxconn: expects a whole number of 1 to 2147483647, not '0'"),
        ("stats enable", "stats enable: does not belong in a global section"),
        ("node a/b", "node: a node is made of letters, digits and '-_.', not 'a/b'"),
        ("description", "description: expects a text"),
        ("server-state-file", "server-state-file: expects a file"),
    ],
)
def test_a_wrong_line_of_the_process_is_refused(line: str, message: str) -> None:
    (found,) = problems(f"global\n{line}\n")
    assert found.partition(": ")[2].startswith(message)
