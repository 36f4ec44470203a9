"""``bind``, ``server`` and ``default-server`` lines: what each word makes of the model's values."""

from __future__ import annotations

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.lexer import split
from dsbalance.haproxy.server_words import (
    CheckRules,
    ServerWords,
    make_server,
    read_binds,
    read_default_server,
    read_server,
)
from dsbalance.haproxy.statement import Arguments, Place, Report
from dsbalance.model import Bind, Check, Server


def arguments(keyword: str, line: str, report: Report | None = None) -> Arguments:
    words, _ = split(line, lambda name, default: f"{name}{default}")
    return Arguments(keyword, words, Place("x.cfg", 3), report or Report())


def binds(line: str) -> list[Bind]:
    return read_binds(arguments("bind", line))


def server(line: str, defaults: str = "", rules: CheckRules | None = None) -> Server:
    start = read_default_server(arguments("default-server", defaults), ServerWords())
    found = read_server(arguments("server", f"s {line}"), start)
    return make_server(found, "be", rules or CheckRules())


# --- bind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (":5022", [Bind(port=5022)]),
        ("*:80", [Bind(port=80)]),
        (":::80", [Bind(host="::", port=80)]),
        ("[::]:80 v4v6", [Bind(host="::", port=80, v6only=False)]),
        ("[::]:80 v6only", [Bind(host="::", port=80, v6only=True)]),
        (":5014-5019 name secure", [Bind(port=5014, last_port=5019, name="secure")]),
        (':80 name "2nd floor"', [Bind(port=80, name="2nd floor")]),
        ("127.0.0.1:0", [Bind(host="127.0.0.1", port=0)]),
        ("localhost:80", [Bind(host="localhost", port=80)]),
        (
            ":80,10.0.0.1:81-82,[::1]:83 name x",
            [
                Bind(port=80, name="x"),
                Bind(host="10.0.0.1", port=81, last_port=82, name="x"),
                Bind(host="::1", port=83, name="x"),
            ],
        ),
        (":80,", [Bind(port=80)]),
        (":80 backlog 10 tfo nice 3 id 4", [Bind(port=80)]),
    ],
)
def test_a_bind_line_gives_its_listening_addresses(line: str, expected: list[Bind]) -> None:
    assert binds(line) == expected


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("", ["expects ADDRESS:PORT"]),
        (",", ["expects ADDRESS:PORT"]),
        ("10.0.0.1", ["expects ADDRESS:PORT, not '10.0.0.1'"]),
        (":80,,:81", ["expects ADDRESS:PORT, not ''"]),
        (":80 accept-proxy", ["accept-proxy: refused: this version does not speak the PROXY"]),
        (":80 name", ["name: expects a value"]),
        (":80 nam x", ["unknown keyword 'nam' on a bind line; did you mean 'name'?"]),
        (
            ":8O,:0-5 ssl crt x.pem maxconn 5",
            [
                "ssl: refused: TLS passes through",
                "crt: refused: TLS passes through",
                "maxconn: refused: HAProxy has it",
                "not '8O'",
                "starts at 0",
            ],
        ),
    ],
)
def test_a_wrong_bind_line_is_refused_with_all_its_problems(line: str, messages: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        binds(line)
    assert len(caught.value.problems) == len(messages)
    for problem, message in zip(caught.value.problems, messages, strict=True):
        assert message in str(problem)


def test_a_line_of_nothing_but_commas_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError) as caught:
        binds("," * 60_000)
    assert 20 <= len(caught.value.problems) < 30
    assert len(binds(",".join(f":{port}" for port in range(1, 30_000)))) == 29_999


# --- server --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("10.0.0.11", Server(name="s", host="10.0.0.11")),
        ("10.0.0.11:5022", Server(name="s", host="10.0.0.11", port=5022)),
        # HAProxy reads port 0 as no port.
        ("10.0.0.11:0", Server(name="s", host="10.0.0.11")),
        ("[::1]:80", Server(name="s", host="::1", port=80)),
        ("srv1.example.org", Server(name="s", host="srv1.example.org")),
        ("::1 weight 0 id 7 maxconn 5", None),
        (
            "h weight 0 id 7 maxconn 5 backup disabled",
            Server(name="s", host="h", weight=0, id=7, maxconn=5, backup=True, disabled=True),
        ),
        ("h maxconn 0 backup no-backup disabled enabled", Server(name="s", host="h")),
        ("h on-marked-down shutdown-sessions", Server(name="s", host="h", shutdown_on_down=True)),
        ("h track a/b", Server(name="s", host="h", track="a/b")),
        ("h track b", Server(name="s", host="h", track="be/b")),
        ("h init-addr last,libc tfo stick error-limit 3", Server(name="s", host="h")),
        ("h inter 5s rise 3", Server(name="s", host="h")),
        ("h:1 check", Server(name="s", host="h", port=1, check=Check())),
        ("h:1 check no-check", Server(name="s", host="h", port=1)),
        (
            "h check port 5 addr 10.0.0.1 inter 5s fastinter 1s downinter 10s rise 12 fall 4",
            Server(
                name="s",
                host="h",
                check=Check(
                    ports=(5,),
                    host="10.0.0.1",
                    interval=5.0,
                    fast_interval=1.0,
                    down_interval=10.0,
                    rise=12,
                    fall=4,
                ),
            ),
        ),
    ],
)
def test_a_server_line_gives_a_server(line: str, expected: Server | None) -> None:
    if expected is None:
        with pytest.raises(ConfigError, match="brackets"):
            server(line)
    else:
        assert server(line) == expected


@pytest.mark.parametrize(
    ("line", "messages"),
    [
        ("", ["expects an address"]),
        (":80", ["the address that the client came to"]),
        ("*", ["the address that the client came to"]),
        ("h:80-81", ["a server has one port"]),
        ("h:+1", ["port offset"]),
        ("h 80", ["unknown keyword '80' on a server line"]),
        ("h chekc inter foo", ["unknown keyword 'chekc' on a server line; did you mean 'check'?"]),
        ("h weight 257", ["weight: expects a whole number of 0 to 256, not '257'"]),
        ("h weight", ["weight: expects a value"]),
        ("h inter 0", ["inter: must be longer than 0"]),
        ("h rise 0", ["rise: expects a whole number of 1"]),
        ("h id 0", ["id: expects a whole number of 1"]),
        ("h port 0", ["port: expects a whole number of 1 to 65535"]),
        ("h port 65536", ["port: expects a whole number of 1 to 65535"]),
        ("h on-marked-down none", ["on-marked-down: expects shutdown-sessions, not 'none'"]),
        ("h init-addr none", ["init-addr: expects last,libc or libc"]),
        ("h addr 10.0.0.1:5", ["addr: expects an address without a port"]),
        ("h addr *", ["addr: expects an address without a port"]),
        ("h track a/b/c", ["track: expects SERVER or BACKEND/SERVER"]),
        ("h track /", ["track: expects SERVER or BACKEND/SERVER"]),
        ("h maxqueue 5", ["maxqueue: refused: HAProxy has it, this version does not"]),
        ("h:1 check track a/b", ["server s: it can be checked or track another server, not both"]),
        ("h check", ["server s: it has neither a port nor a check port"]),
        (
            "h:x weight y ssl verify none sni z slowstart 5s",
            ["not 'x'", "weight: ", "ssl: ", "verify: ", "sni: ", "slowstart: refused"],
        ),
    ],
)
def test_a_wrong_server_line_is_refused_with_all_its_problems(
    line: str, messages: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        server(line)
    assert len(caught.value.problems) == len(messages), caught.value
    for problem, message in zip(caught.value.problems, messages, strict=True):
        assert message in str(problem)


def test_a_server_starts_from_the_default_server_line() -> None:
    defaults = "inter 5s fall 3 rise 12 on-marked-down shutdown-sessions weight 5 check port 9"
    found = server("h rise 2 weight 1", defaults)
    check = Check(ports=(9,), interval=5.0, fall=3, rise=2)
    assert found == Server(name="s", host="h", check=check, shutdown_on_down=True)
    assert server("h no-check track x/y", defaults).track == "x/y"


def test_default_server_lines_add_up_and_leave_earlier_servers_alone() -> None:
    first = read_default_server(arguments("default-server", "weight 5"), ServerWords())
    early = read_server(arguments("server", "a h"), first)
    second = read_default_server(arguments("default-server", "maxconn 7"), first)
    read_server(arguments("server", "b h backup"), second)
    assert (early.words.weight, early.words.maxconn) == (5, None)
    assert (second.weight, second.maxconn, second.backup) == (5, 7, False)


def test_an_id_belongs_to_one_server() -> None:
    with pytest.raises(ConfigError, match="id: refused: an id belongs on a server line"):
        server("h", "id 5")


def test_a_word_given_twice_is_noticed_and_the_last_one_counts() -> None:
    report = Report()
    line = read_server(arguments("server", "s h inter 5s inter 6s", report), ServerWords())
    assert line.words.interval == 6.0
    assert [str(n) for n in report.notices] == [
        "x.cfg:3: server s: inter is given twice, the last one counts"
    ]


def test_a_word_without_effect_is_noticed_with_its_line() -> None:
    report = Report()
    read_binds(arguments("bind", ":1 backlog 5", report))
    read_server(arguments("server", "s h on-error fail-check", report), ServerWords())
    assert [n.message.split(":")[0] for n in report.notices] == [
        "backlog on a bind line",
        "on-error on a server line",
    ]


# --- what the checks connect to ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "rules", "ports"),
    [
        ("h:1 check", (), ()),
        ("h:1 check port 9", (), (9,)),
        ("h:1 check", (None,), ()),
        ("h:1 check port 9", (None,), (9,)),
        ("h check", (5022,), (5022,)),
        ("h check", (5022, 5555), (5022, 5555)),
        ("h:1 check", (5022, None), (5022, 1)),
        ("h:1 check port 9", (5022, None, None), (5022, 9, 9)),
    ],
)
def test_each_connect_of_a_check_has_its_port(
    line: str, rules: tuple[int | None, ...], ports: tuple[int, ...]
) -> None:
    check = server(line, rules=CheckRules(ports=rules, timeout=3.0)).check
    assert check is not None
    assert check.ports == ports
    assert check.timeout == 3.0


def test_a_connect_without_any_port_is_refused() -> None:
    with pytest.raises(ConfigError, match="server s: it has neither"):
        server("h check", rules=CheckRules(ports=(5022, None)))
