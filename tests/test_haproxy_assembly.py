"""Sections become frontends and backends, and every name finds what it names, or is reported."""

from __future__ import annotations

import pytest

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import Reading, read
from dsbalance.haproxy.statement import Report
from dsbalance.http_options import Deny, HttpOptions
from dsbalance.model import Backend, Balance, Keepalive

TABLE = "stick-table type ip size 5\n"
TIMEOUTS = "defaults\n timeout connect 1s\n timeout client 1s\n timeout server 1s\n"
TARGET = "backend b\n server t 10.0.0.1:1 check\n server u 10.0.0.1 track t\n server v 10.0.0.1\n"


NO_RING = (
    "1: backend a: hash-balance-factor has no effect without a consistent hash or 'balance random'"
)


def reading(text: str) -> Reading:
    return read([("x.cfg", text)])


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        reading(text)
    return [str(problem).removeprefix("x.cfg:") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("text", "frontends", "backends"),
    [
        ("", [], []),
        ("listen a\nbind :1\n", [("a", "a")], ["a"]),
        ("listen a\nserver s h\n", [], ["a"]),
        ("frontend a\nbind :1\ndefault_backend b\nbackend b\n", [("a", "b")], ["b"]),
        ("frontend a\nbind :1\ndefault_backend a\nbackend a\n", [("a", "a")], ["a"]),
        ("listen a\nbind :1\ndefault_backend b\nbackend b\n", [("a", "b")], ["a", "b"]),
        (
            "defaults\ndefault_backend b\nfrontend a\nbind :1\nlisten c\nbind :1\nbackend b\n",
            [("a", "b"), ("c", "b")],
            ["c", "b"],
        ),
        ("backend b\nfrontend a\nbind :1\ndefault_backend b\n", [("a", "b")], ["b"]),
        ("listen a\ndisabled\nbind :1\nbackend b\n", [], ["b"]),
        ("backend a\ndisabled\nserver s h guid x\nbackend b\nserver s h guid x\n", [], ["b"]),
        ("defaults\ndisabled\nlisten a\nbind :1\nbackend b\nenabled\n", [], ["b"]),
        *(
            (
                f"frontend a\nmode http\nbind :1\n{line}\nbackend b\nmode http\n",
                [("a", None)],
                ["b"],
            )
            for line in (
                *("stats enable", "monitor-uri /x", "http-request deny", "redirect location /x"),
                *("http-request redirect location /x", "use_backend b if TRUE"),
                "http-request use-service prometheus-exporter if { path /m }",
            )
        ),
        ("listen a\nmode http\nbind :1\nstats enable\n", [("a", "a")], ["a"]),
    ],
)
def test_sections_become_frontends_and_backends_in_their_order(
    text: str, frontends: list[tuple[str, str | None]], backends: list[str]
) -> None:
    config = reading(text).config
    assert [(frontend.name, frontend.backend) for frontend in config.frontends] == frontends
    assert [backend.name for backend in config.backends] == backends


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("frontend a\nbind :1\n", ["1: frontend a: expects a default_backend"]),
        (
            "frontend a\nbind :1\ndefault_backend paragn\nbackend paragon\n",
            ["3: frontend a: default_backend: there is no backend 'paragn'; did you mean 'para"],
        ),
        (
            "frontend a\nbind :1\ndefault_backend b\nbackend b\ndisabled\n",
            ["3: frontend a: default_backend: there is no backend 'b'; the one of x.cfg:4 is"],
        ),
        ("frontend a\nbind :1\ndefault_backend f\nfrontend f\nbind :2\ndefault_backend f\n", None),
        (
            "listen a\nbind :1\ndefault_backend a\n",
            ["3: listen a: default_backend names the section itself"],
        ),
        (
            "frontend a\ndefault_backend b\nbackend b\n",
            ["1: frontend a: it has no bind, so nobody could reach it"],
        ),
        ("backend a\nstick on src\n", ["2: backend a: stick: 'a' has no stick-table"]),
        (
            "backend a\nbalance source\nstick match src table b\n",
            ["3: backend a: stick: there is no backend 'b'"],
        ),
        ("backend a\nstick on src table b\nbackend b\n", ["2: backend a: stick: 'b' has no"]),
        (
            TARGET + "backend a\nserver s h track c/t\n",
            ["6: server s: track: there is no backend 'c'"],
        ),
        (
            TARGET + "backend a\nserver s h track b/x\n",
            ["6: server s: track: there is no server 'x' in backend 'b'"],
        ),
        (
            TARGET + "backend a\nserver s h track b/u\n",
            ["6: server s: track: b/u tracks another server itself; name that one"],
        ),
        (
            TARGET + "backend a\nserver s h track b/v\n",
            ["6: server s: track: b/v is not checked"],
        ),
        ("backend a\nserver s h track s\n", ["2: server s: track: a/s tracks another server"]),
        (
            "backend a\nserver s h id 5\nserver t h id 5\n",
            ["1: backend a: id '5' is given 2 times"],
        ),
        ("backend a\n\nserver s h check\n", ["3: server s: it has neither a port nor a check"]),
        (
            "backend a\nserver s h guid x\nbackend b\nserver s h guid y\nserver t h guid x\n",
            ["5: server t: guid 'x' is taken by the server of x.cfg:2"],
        ),
        (
            "backend a\n# dsbalance: bounded-clients 125\nserver s h check\n",
            [
                "2: backend a: bounded_clients needs balance source, hash-type consistent and a",
                "3: server s: it has neither a port nor a check",
            ],
        ),
        ("backend a/b\n", ["1: backend a/b: a name is made of letters"]),
        ("backend a\nserver s/t h\n", ["2: server s/t: a name is made of letters"]),
        (
            "listen a\nbind :1\nbackend a\nfrontend a\nbind :1\n",
            [
                "3: backend a: the name is taken by the listen of x.cfg:1",
                "4: frontend a: the name is taken by the listen of x.cfg:1",
            ],
        ),
    ],
)
def test_a_name_that_nothing_answers_to_is_reported_at_its_line(
    text: str, expected: list[str] | None
) -> None:
    found = problems(text)
    if expected is None:
        expected = ["3: frontend a: default_backend: there is no", "6: frontend f: default_backend"]
    assert len(found) == len(expected), found
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


STORES = "stick-table type ip size 5 store conn_cur\n"
F = "frontend f\nbind :1\ndefault_backend b\n"
B = "backend b\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            F + "use_backend c if TRUE\n" + B,
            ["4: frontend f: use_backend: there is no backend 'c'"],
        ),
        (
            "listen f\nbind :1\nuse_backend f\n",
            ["3: listen f: use_backend names the section itself"],
        ),
        ("frontend b\nbind :1\ndefault_backend b\nuse_backend b\n" + B, []),
        (
            F + "mode http\n" + B,
            ["3: frontend f: default_backend: 'b' is in mode tcp, this section in mode http"],
        ),
        (
            F + "use_backend c\n" + B + "backend c\nmode http\n",
            ["4: frontend f: use_backend: 'c' is in mode http, this section in mode tcp"],
        ),
        ("defaults\nmode http\n" + F + B, []),
        (
            F + "tcp-request connection track-sc0 src\n" + B,
            ["4: frontend f: track-sc0: 'f' has no stick-table"],
        ),
        (
            F + "tcp-request connection track-sc0 src table b\n" + B,
            ["4: frontend f: track-sc0: 'b' has no stick-table"],
        ),
        (
            F + "tcp-request connection track-sc0 src table b\n" + B + TABLE,
            ["4: frontend f: track-sc0: the stick-table of 'b' stores no connections"],
        ),
        (
            F + "tcp-request connection track-sc0 src table b\n" + B + "disabled\n" + STORES,
            [
                "3: frontend f: default_backend: there is no backend 'b'; the one of x.cfg:5 is",
                "4: frontend f: track-sc0: 'b' has no stick-table",
            ],
        ),
        (F + STORES + "tcp-request connection track-sc0 src\n" + B, []),
        (F + "tcp-request connection reject\n" + B, []),
        (F + STORES + "tcp-request connection track-sc0 src table f\n" + B, []),
        ("listen a\nbind :1\n" + STORES + "tcp-request connection track-sc0 src\n", []),
        (
            "frontend b\nbind :1\ndefault_backend b\n" + STORES + B + TABLE,
            ["5: backend b: stick-table: another section 'b' has one already"],
        ),
        ("frontend b\nbind :1\ndefault_backend b\n" + STORES + B, []),
        (
            F + STORES + B + "stick on src table f\n",
            ["6: backend b: stick: there is no backend 'f'"],
        ),
        (
            F + "acl x nbsrv(y) lt 1\nuse_backend b if x { nbsrv(z) gt 0 } !x\n" + B,
            [
                "4: frontend f: nbsrv: there is no backend 'y'",
                "5: frontend f: nbsrv: there is no backend 'z'",
            ],
        ),
        (
            "backend b\nmode http\nhttp-request deny if { nbsrv(z) gt 0 } or { nbsrv 1 }\n",
            ["3: backend b: nbsrv: there is no backend 'z'"],
        ),
        # HTTP rules of a listen.
        *(
            (
                f"defaults\nmode http\n{F}{words}listen l\nbind :2\n{rule}\n{B}",
                [f"{line}: frontend f: {keyword}: 'l' has HTTP rules; write it as a frontend and"],
            )
            for rule in ("http-request deny", "redirect scheme https", "http-response deny")
            for words, keyword, line in (
                ("default_backend l\n", "default_backend", 6),
                ("use_backend l if TRUE\n", "use_backend", 6),
            )
        ),
        (f"defaults\nmode http\n{F}use_backend l\nlisten l\nhttp-request deny\n{B}", []),
        (f"defaults\nmode http\n{F}use_backend l\nlisten l\nbind :2\nmonitor-uri /\n{B}", []),
    ],
)
def test_clients_are_sent_and_counted_where_that_can_be(text: str, expected: list[str]) -> None:
    if not expected:
        assert reading(text).config.frontends
        return
    found = problems(text)
    assert len(found) == len(expected), found
    for problem, beginning in zip(found, expected, strict=True):
        assert problem.startswith(beginning)


def test_a_problem_of_a_section_that_nobody_may_use_is_not_looked_for() -> None:
    text = F + B + "listen off\nbind :2\ndisabled\nuse_backend z\nacl x nbsrv(z) 1\n"
    text += "tcp-request connection track-sc0 src table z\n"
    assert [frontend.name for frontend in reading(text).config.frontends] == ["f"]


def test_what_mode_http_refuses_is_a_problem_once_where_it_stands() -> None:
    text = "defaults\nmode http\ncookie A\nbackend a\nbackend b\nhttp-send-name-header x\n"
    assert [problem.partition(";")[0] for problem in problems(text)] == [
        f"{place}: refused: HAProxy has it, this version does not"
        for place in ("3: cookie", "6: http-send-name-header")
    ]


def test_a_frontend_and_a_backend_of_one_name_have_their_own_rules() -> None:
    text = "defaults\nmode http\nfrontend a\nbind :1\ndefault_backend a\nhttp-request deny\n"
    text += "monitor-uri /x\nbackend a\nhttp-request deny deny_status 404\n"
    config = reading(text).config
    (one,), (other,) = config.frontends, config.backends
    assert one.http == HttpOptions(request_rules=(Deny(status=403),), monitor_uri="/x")
    assert other.http == HttpOptions(request_rules=(Deny(status=404),))


def test_it_is_known_where_everything_stands() -> None:
    found = reading("global\nmaxconn 5\nlisten a\nbind :1\nserver s h\n").places
    assert {subject: place.line for subject, place in found.items()} == {
        "global maxconn": 2,
        "frontend a": 3,
        "frontend a, bind :1": 4,
        "backend a": 3,
        "backend a, server s": 5,
    }
    assert reading("").places == {}


def test_it_is_known_where_a_page_is_named() -> None:
    text = "defaults\nmode http\nerrorfile 503 a\nlisten l\nerrorfile 400 b\nbind :1\n"
    found = {subject: place.line for subject, place in reading(text).places.items()}
    for side in ("frontend l", "backend l"):
        assert found[f"{side}, errorfile 503"] == 3
        assert found[f"{side}, errorfile 400"] == 5


def test_a_near_name_is_looked_for_among_a_few_short_ones() -> None:
    def said(*names: str) -> str:
        backends = "".join(f"backend {name}\n" for name in names)
        (problem,) = problems(f"frontend a\nbind :1\ndefault_backend {names[0]}x\n{backends}")
        return problem

    few = [f"b{number}" for number in range(20)]
    assert said(*few).endswith("; did you mean 'b0'?")
    assert said(*few, "b20").endswith("there is no backend 'b0x'")
    assert said("b" * 19).endswith(f"; did you mean '{'b' * 19}'?")
    assert said("b" * 20).endswith(f"there is no backend '{'b' * 20}x'")


def test_when_no_more_problems_are_listed_no_more_are_looked_for() -> None:
    sections = "".join(f"frontend f{number}\n" for number in range(2 * Report.MAX_LISTED))
    found = problems(sections)
    assert len(found) == Report.MAX_LISTED + 1
    assert found[-1].endswith(": and more: 1000 are listed")


def test_of_many_sections_not_every_notice_is_listed() -> None:
    sections = "".join(f"listen f{number}\n" for number in range(Report.MAX_LISTED))
    found = [str(notice) for notice in reading(sections).notices]
    assert len(found) == Report.MAX_LISTED + 1
    assert sum("no bind" in notice for notice in found) == Report.MAX_LISTED // 2


def test_names_are_looked_up_across_files_and_in_any_order() -> None:
    files = [
        ("a.cfg", "frontend f\nbind :1\ndefault_backend b\n"),
        ("b.cfg", "backend b\nstick on src table c\nserver s h track c/t\n"),
        ("c.cfg", "backend c\nstick-table type ip size 1\nserver t h:1 check\n"),
    ]
    config = read(files).config
    assert [backend.name for backend in config.backends] == ["b", "c"]
    assert config.backends[0].servers[0].track == "c/t"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (TIMEOUTS + "listen a\nbind :1\nserver s h\n", []),
        (TIMEOUTS + "listen a\nserver s h\n", ["5: listen a: no bind, so it is a backend only"]),
        ("backend a\n", []),
        (
            "backend a\nserver s h\n",
            ["1: backend a: no 'timeout connect', 'timeout server': waits without limit"],
        ),
        ("listen a\nbind :1\n", ["1: listen a: no 'timeout client': waits without limit"]),
        ("backend a\ndisabled\n", ["1: backend a: disabled, and left out"]),
        (
            TIMEOUTS + "clitcpka-idle 5\nsrvtcpka-cnt 5\nlisten a\nbind :1\nbackend b\n",
            [
                "7: listen a: clitcpka-... has no effect without 'option clitcpka'",
                "7: listen a: srvtcpka-... has no effect without 'option srvtcpka'",
                "9: backend b: srvtcpka-... has no effect without 'option srvtcpka'",
            ],
        ),
        (TIMEOUTS + "clitcpka-idle 5\noption clitcpka\nlisten a\nbind :1\n", []),
        *(
            (f"backend a\nhash-balance-factor 150\n{lines}\n", [NO_RING])
            for lines in (
                "balance source",
                "hash-type consistent",
                "balance first\nhash-type consistent",
                "balance random\n# dsbalance: policy dsbalance.policy:First",
            )
        ),
        ("backend a\nhash-balance-factor 150\nbalance random\n", []),
        ("backend a\nhash-balance-factor 150\nbalance source\nhash-type consistent\n", []),
        ("frontend f\nbind :1\ntimeout client 1s\ndefault_backend b\nbackend b\n", []),
        ("backend a\noption httpclose\n", ["2: option httpclose: has no effect in 'mode tcp'"]),
        ("backend a\ncookie A\n", ["2: cookie: has no effect in 'mode tcp'"]),
        ("defaults\noption httpclose\nbackend a\nmode http\nbackend b\n", []),
    ],
)
def test_what_is_missing_is_noticed(text: str, expected: list[str]) -> None:
    assert [str(n).removeprefix("x.cfg:") for n in reading(text).notices] == expected


def test_a_backend_has_what_its_section_and_its_defaults_say() -> None:
    text = "balance random(5)\nhash-balance-factor 150\nfullconn 70\noption persist\n"
    own, inherited, other = reading(
        f"backend a\n{text}defaults\n{text}backend b\n"
        "backend c\nbalance source\nno option persist\nfullconn 0\nhash-balance-factor 0\n"
    ).config.backends
    for made in (own, inherited):
        assert (made.balance, made.random_draws) == (Balance.RANDOM, 5)
        assert (made.hash_balance_factor, made.fullconn, made.persist) == (150, 70, True)
    assert other == Backend(name="c", balance=Balance.SOURCE, timeout_connect=None)


def test_keepalive_has_its_side() -> None:
    text = "option tcpka\nclitcpka-cnt 1\nclitcpka-idle 2\nclitcpka-intvl 3\n"
    text += "srvtcpka-cnt 4\nsrvtcpka-idle 5\nsrvtcpka-intvl 6\n"
    config = reading(f"listen a\nbind :1\n{text}").config
    assert config.frontends[0].keepalive == Keepalive(count=1, idle=2, interval=3)
    assert config.backends[0].keepalive == Keepalive(count=4, idle=5, interval=6)


def test_a_backend_has_no_limit_that_the_file_does_not_say() -> None:
    backend = reading("backend a\nserver s h\n").config.backends[0]
    assert backend.timeout_connect is None
    assert backend.timeout_queue is None


@pytest.mark.parametrize(
    "lines",
    ["stats enable", "http-request use-service prometheus-exporter if { path /m }"],
)
def test_a_redirect_line_does_not_hide_what_is_shown(lines: str) -> None:
    text = f"listen a\nmode http\nbind :1\n{lines}\nredirect location /x\n"
    (found,) = problems(text)
    assert found.startswith("1: listen a: redirect: comes before 'stats' and 'use-service' here")
    assert reading(text.replace("mode http", "mode tcp")).config.frontends[0].http is None


@pytest.mark.parametrize(
    ("lines", "line"),
    [
        ("", 1),
        ("http-request del-header X\n", 1),
        ("http-response deny\n", 1),
    ],
)
def test_a_frontend_that_answers_nobody_itself_has_a_backend(lines: str, line: int) -> None:
    for mode in ("tcp", "http"):
        text = f"frontend a\nmode {mode}\nbind :1\n{lines}"
        assert problems(text) == [f"{line}: frontend a: expects a default_backend"]
    assert problems("frontend a\nbind :1\nstats enable\n") == [
        "1: frontend a: expects a default_backend"
    ]
