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
from dsbalance.model import (
    Bind,
    Check,
    HashKey,
    InitState,
    Observe,
    OnError,
    SendProxy,
    Server,
)


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
        (":80 backlog 10 tfo nice 3 id 4", [Bind(port=80, id=4)]),
        (":80,:81 accept-proxy", [Bind(port=p, accept_proxy=True) for p in (80, 81)]),
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
        (":80 interface eth0", ["interface: refused: HAProxy has it, this version does not"]),
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
        ("h init-addr last,libc tfo stick", Server(name="s", host="h")),
        ("h slowstart 10s", Server(name="s", host="h", slowstart=10.0)),
        ("h slowstart 500", Server(name="s", host="h", slowstart=0.5)),
        ("h slowstart 10s slowstart 0", Server(name="s", host="h")),
        ("h minconn 3 maxconn 5", Server(name="s", host="h", minconn=3, maxconn=5)),
        ("h minconn 5 maxconn 5", Server(name="s", host="h", minconn=5, maxconn=5)),
        ("h minconn 0 maxconn 5", Server(name="s", host="h", maxconn=5)),
        # Observed on HAProxy 2.6.12: the higher one of both is the limit.
        ("h minconn 9 maxconn 5", Server(name="s", host="h", maxconn=9)),
        ("h minconn 9", Server(name="s", host="h", maxconn=9)),
        ("h maxqueue 5", Server(name="s", host="h", maxqueue=5)),
        ("h maxqueue 0", Server(name="s", host="h")),
        (
            "h on-marked-up shutdown-backup-sessions",
            Server(name="s", host="h", shutdown_backups_on_up=True),
        ),
        ("h hash-key id", Server(name="s", host="h")),
        ("h hash-key addr-port", Server(name="s", host="h", hash_key=HashKey.ADDR_PORT)),
        ("h guid x.1", Server(name="s", host="h", guid="x.1")),
        (
            "h:1 check observe layer4",
            Server(name="s", host="h", port=1, check=Check(), observe=Observe()),
        ),
        (
            "h:1 observe layer4 error-limit 1 on-error mark-down check",
            Server(
                name="s",
                host="h",
                port=1,
                check=Check(),
                observe=Observe(error_limit=1, on_error=OnError.MARK_DOWN),
            ),
        ),
        (
            "h:1 check observe layer4 observe none",
            Server(name="s", host="h", port=1, check=Check()),
        ),
        # Observed on HAProxy 2.6.12: taken, and without effect.
        ("h observe layer4 error-limit 1 on-error mark-down", Server(name="s", host="h")),
        (
            "h:1 check init-state fully-down",
            Server(name="s", host="h", port=1, check=Check(), init_state=InitState.FULLY_DOWN),
        ),
        ("h init-state down", Server(name="s", host="h")),
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
        ("h maxqueue -1", ["maxqueue: expects a whole number of 0"]),
        ("h minconn x", ["minconn: expects a whole number of 0"]),
        ("h error-limit 0", ["error-limit: expects a whole number of 1"]),
        ("h on-error die", ["on-error: expects one of fastinter, fail-check, sudden-death, mark"]),
        ("h on-marked-up none", ["on-marked-up: expects shutdown-backup-sessions, not 'none'"]),
        ("h observe layer5", ["observe: expects layer4 or none, not 'layer5'"]),
        ("h observe layer7", ["observe: layer7: HAProxy has it, this version does not; write"]),
        ("h slowstart -1", ["slowstart: a time is a whole number"]),
        ("h slowstart 30d", ["slowstart: a time is at most"]),
        ("h init-state none", ["init-state: expects one of fully-up, up, down, fully-down, not"]),
        ("h hash-key name", ["hash-key: expects one of id, addr, addr-port, id32, guid, not"]),
        ("h guid a/b", ["server s: a guid is made of up to 127 letters, digits and"]),
        ("h source 10.0.0.1", ["source: refused: HAProxy has it, this version does not"]),
        ("h:1 check track a/b", ["server s: it can be checked or track another server, not both"]),
        ("h check", ["server s: it has neither a port nor a check port"]),
        (
            "h:x weight y ssl verify none sni z slowstart z",
            ["not 'x'", "weight: ", "ssl: ", "verify: ", "sni: ", "slowstart: a time is"],
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


@pytest.mark.parametrize("word", ["id", "guid"])
def test_what_names_one_server_belongs_on_its_line(word: str) -> None:
    with pytest.raises(ConfigError, match=rf"{word}: refused: an? {word} belongs on a server line"):
        server("h", f"{word} 5")


def test_a_default_server_line_may_have_what_a_server_has() -> None:
    line = (
        "check observe layer4 error-limit 5 on-error fastinter slowstart 10s minconn 3 maxconn 5 "
        "maxqueue 7 on-marked-up shutdown-backup-sessions init-state down hash-key addr"
    )
    assert server("h:1", line) == Server(
        name="s",
        host="h",
        port=1,
        check=Check(),
        observe=Observe(error_limit=5, on_error=OnError.FASTINTER),
        slowstart=10.0,
        minconn=3,
        maxconn=5,
        maxqueue=7,
        shutdown_backups_on_up=True,
        init_state=InitState.DOWN,
        hash_key=HashKey.ADDR,
    )
    plain = server("h:1 no-check observe none maxqueue 0 minconn 0 slowstart 0 hash-key id", line)
    assert plain == Server(name="s", host="h", port=1, maxconn=5, shutdown_backups_on_up=True)


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
    read_server(arguments("server", "s h log-proto legacy", report), ServerWords())
    assert [n.message.split(":")[0] for n in report.notices] == [
        "backlog on a bind line",
        "log-proto on a server line",
    ]


@pytest.mark.parametrize(
    ("line", "defaults", "expected"),
    [
        ("observe layer4", "", ["observe has no effect without 'check'"]),
        ("check observe layer4 error-limit 5 on-error mark-down", "", []),
        ("init-state down", "", ["init-state has no effect without 'check'"]),
        ("check init-state down", "", []),
        ("check error-limit 5", "", ["error-limit has no effect without 'observe'"]),
        ("check on-error mark-down", "", ["on-error has no effect without 'observe'"]),
        ("check error-limit 5", "observe layer4", []),
        # What a line has from its defaults may be for the other servers.
        ("weight 5", "observe layer4 error-limit 5 on-error mark-down init-state down", []),
        ("weight 5", "minconn 9 maxconn 5", []),
        ("minconn 9 maxconn 5", "", ["minconn needs a higher maxconn; both are taken as 9"]),
        ("minconn 9", "", ["minconn needs a higher maxconn; both are taken as 9"]),
        ("maxconn 5", "minconn 9", ["minconn needs a higher maxconn; both are taken as 9"]),
        ("maxconn 5", "minconn 9 maxconn 10", ["minconn needs a higher maxconn; both are taken"]),
        ("minconn 3 maxconn 5", "", []),
        ("minconn 5 maxconn 5", "", []),
    ],
)
def test_a_word_that_cannot_have_its_effect_is_noticed_at_the_line_that_says_it(
    line: str, defaults: str, expected: list[str]
) -> None:
    report = Report()
    start = read_default_server(arguments("default-server", defaults), ServerWords())
    read_server(arguments("server", f"s h:1 {line}", report), start)
    found = [n.message.removeprefix("server s: ") for n in report.notices]
    assert len(found) == len(expected), found
    for message, beginning in zip(found, expected, strict=True):
        assert message.startswith(beginning)


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


# --- the PROXY protocol --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("h", None),
        ("h send-proxy", SendProxy.V1),
        ("h send-proxy-v2", SendProxy.V2),
        # They are two words, not one with two values.
        ("h send-proxy-v2 send-proxy", SendProxy.V2),
        ("h send-proxy no-send-proxy", None),
        ("h send-proxy-v2 no-send-proxy", SendProxy.V2),
        ("h send-proxy send-proxy-v2 no-send-proxy-v2", SendProxy.V1),
    ],
)
def test_a_server_is_sent_a_header_of_the_later_version_that_is_on(
    line: str, version: SendProxy | None
) -> None:
    assert server(line).send_proxy is version
    assert server("h", line.removeprefix("h")).send_proxy is version
    assert not server(line).check_send_proxy


@pytest.mark.parametrize(
    ("line", "is_sent"),
    [
        ("h:1 check", False),
        ("h:1 check send-proxy", True),
        ("h:1 check send-proxy no-check-send-proxy", True),
        ("h:1 check send-proxy port 9", False),
        ("h:1 check send-proxy addr 10.0.0.1", False),
        ("h:1 check send-proxy-v2 port 9 check-send-proxy", True),
        ("h:1 check port 9 check-send-proxy", True),
        ("h:1 check check-send-proxy no-check-send-proxy", False),
        ("h:1 check-send-proxy", False),
    ],
)
def test_a_check_of_another_place_starts_with_a_header_where_that_is_said(
    line: str, is_sent: bool
) -> None:
    assert server(line).check_send_proxy is is_sent
    # With rules, they alone say it.
    for said in (True, False):
        rules = CheckRules(ports=(None,), send_proxy=said)
        assert server(line, rules=rules).check_send_proxy is (said and " check " in f"{line} ")
