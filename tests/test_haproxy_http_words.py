"""The words of ``mode http``: what each makes of a section, and what it refuses."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from dsbalance import conditions
from dsbalance.conditions import Condition, Fetch, Term
from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import read
from dsbalance.haproxy.http_words import REUSE
from dsbalance.http_options import (
    AddressField,
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    RequestRule,
    ResponseRule,
    Sample,
)

INSIDE = Condition(
    alternatives=(
        (
            Term(
                tests=(conditions.Look(fetch=Fetch.SRC, networks=(ip_network("10.0.0.0/8"),)),),
                name="inside",
            ),
        ),
    )
)
ACL = "acl inside src 10.0.0.0/8\n"


def frontend(lines: str, defaults: str = "") -> HttpOptions:
    text = f"defaults\n{defaults}\nlisten a\nmode http\nbind :1\n{ACL}{lines}\n"
    found = read([("x.cfg", text)]).config.frontends[0].http
    assert found is not None
    return found


def backend(lines: str, kind: str = "backend") -> HttpOptions:
    text = f"{kind} a\nmode http\n{ACL}{lines}\n"
    found = read([("x.cfg", text)]).config.backends[0].http
    assert found is not None
    return found


def header(
    action: str, name: str, *value: str | Sample, when: Condition | None = None
) -> HeaderRule:
    return HeaderRule(action=HeaderAction(action), name=name, value=value, condition=when)


# --- what both sides have ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ("", "connection", None),
        ("option http-server-close", "connection", HttpConnection.SERVER_CLOSE),
        ("option httpclose", "connection", HttpConnection.CLOSE),
        ("option http-keep-alive", "connection", HttpConnection.KEEP_ALIVE),
        ("option httpclose\noption http-server-close", "connection", HttpConnection.SERVER_CLOSE),
        ("option httpclose\nno option httpclose", "connection", None),
        # `no` takes back what is in force, and nothing else.
        ("option httpclose\nno option http-keep-alive", "connection", HttpConnection.CLOSE),
        ("", "forwardfor", None),
        ("option forwardfor", "forwardfor", AddressField()),
        (
            "option forwardfor if-none header X-Client except 127.0.0.1/8",
            "forwardfor",
            AddressField(name="X-Client", exception=ip_network("127.0.0.0/8"), is_if_none=True),
        ),
        # A line says all of it.
        (
            "option forwardfor header X\noption forwardfor if-none",
            "forwardfor",
            AddressField(is_if_none=True),
        ),
        ("option originalto", "originalto", AddressField()),
        (
            "option originalto header X except ::1",
            "originalto",
            AddressField(name="X", exception=ip_network("::1")),
        ),
        ("timeout http-request 10s", "timeout_request", 10.0),
        ("timeout http-request 10s\ntimeout http-request 0", "timeout_request", None),
        ("timeout http-keep-alive 1m", "timeout_keep_alive", 60.0),
        ("errorfile 503 /x/503.http", "error_files", ((503, "/x/503.http"),)),
        (
            "errorfile 503 a\nerrorfile 400 'b c'\nerrorfile 503 d",
            "error_files",
            ((400, "b c"), (503, "d")),
        ),
    ],
)
def test_both_sides_have_what_a_line_says(lines: str, field: str, value: object) -> None:
    assert getattr(frontend(lines), field) == value
    assert getattr(frontend("", lines), field) == value
    assert getattr(backend(lines), field) == value


def test_a_section_adds_its_pages_to_those_of_its_defaults() -> None:
    found = frontend("errorfile 503 own", "errorfile 400 a\nerrorfile 503 b")
    assert found.error_files == ((400, "a"), (503, "own"))


def test_a_monitor_is_answered_by_the_frontend() -> None:
    text = "listen a\nmode http\nbind :1\nmonitor-uri /alive\n"
    config = read([("x.cfg", text)]).config
    (one,), (other,) = config.frontends, config.backends
    assert one.http == HttpOptions(monitor_uri="/alive")
    assert other.http == HttpOptions()


# --- rules ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("http-request set-header X y", [header("set-header", "X", "y")]),
        (
            'http-request add-header X "a %[src]:%[src_port] 100%%"',
            [header("add-header", "X", "a ", Sample.SRC, ":", Sample.SRC_PORT, " 100%")],
        ),
        ("http-request del-header X", [header("del-header", "X")]),
        ("http-request del-header X -m str", [header("del-header", "X")]),
        ("http-request del-header X if inside", [header("del-header", "X", when=INSIDE)]),
        (
            "http-request set-header if unless if inside",
            [header("set-header", "if", "unless", when=INSIDE)],
        ),
        ("http-request deny", [Deny(status=403)]),
        ("http-request deny deny_status 429 if inside", [Deny(status=429, condition=INSIDE)]),
        ("http-request deny status 404", [Deny(status=404)]),
        ("http-request redirect scheme https code 301", [Redirect(scheme="https", status=301)]),
        ("http-request redirect location /%[dst]", [Redirect(location=("/", Sample.DST))]),
        (
            "http-request redirect code 308 location /x if inside",
            [Redirect(location=("/x",), status=308, condition=INSIDE)],
        ),
        # Without a format, and behind all other rules.
        (
            "redirect location /%[src]%% if inside\nredirect scheme https\nhttp-request deny",
            [
                Deny(status=403),
                Redirect(location=("/%[src]%%",), condition=INSIDE),
                Redirect(scheme="https"),
            ],
        ),
    ],
)
def test_a_request_meets_rules_in_the_order_of_haproxy(
    lines: str, rules: list[RequestRule]
) -> None:
    assert frontend(lines).request_rules == tuple(rules)
    assert backend(lines).request_rules == tuple(rules)


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        ("http-response set-header X y", [header("set-header", "X", "y")]),
        ("http-response add-header X y if inside", [header("add-header", "X", "y", when=INSIDE)]),
        (
            "http-response del-header X\nhttp-response deny",
            [header("del-header", "X"), Deny(status=502)],
        ),
        ("http-response deny deny_status 503", [Deny(status=503)]),
    ],
)
def test_a_response_meets_its_rules(lines: str, rules: list[ResponseRule]) -> None:
    assert frontend(lines).response_rules == tuple(rules)
    assert backend(lines).response_rules == tuple(rules)


def test_a_rule_below_a_redirect_is_noticed_for_it_comes_first() -> None:
    rules = "http-request deny\nredirect scheme https\nhttp-request deny\nhttp-response deny\n"
    (notice,) = read([("x.cfg", f"backend a\nmode http\n{rules}")]).notices
    assert str(notice) == (
        "x.cfg:5: http-request: comes before the 'redirect' lines, also those above it"
    )


def test_the_rules_of_a_listen_are_run_once() -> None:
    lines = "http-request deny\nredirect scheme https\nhttp-response deny"
    text = f"listen a\nmode http\nbind :1\n{lines}\n"
    assert read([("x.cfg", text)]).config.backends[0].http == HttpOptions()
    # Without a bind it is a backend.
    assert len(backend(lines, "listen").request_rules) == 2


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("option httpclose x", "option httpclose: unexpected word 'x'"),
        (
            "option forwardfor foo",
            "option forwardfor: expects except NETWORK, header NAME, if",
        ),
        ("option forwardfor except", "option forwardfor: expects a network"),
        ("option forwardfor except h", "expects an address or a network"),
        ("option forwardfor header", "option forwardfor: expects the name of a field"),
        ("option forwardfor header X:", "the name of a field is a token of RFC 9110, not 'X:'"),
        ("option forwardfor header Content-Length", "Content-Length cannot be set"),
        ("no option forwardfor", "option forwardfor: 'no' may not stand before it"),
        (
            "option originalto if-none",
            "except NETWORK, header NAME or nothing, not 'if-none'",
        ),
        ("timeout http-request", "timeout http-request: expects a time, such as 10s"),
        ("timeout http-keep-alive x", "timeout http-keep-alive: a time is a whole number"),
        ("errorfile", "errorfile: expects STATUS FILE"),
        ("errorfile x y", "errorfile: expects a whole number"),
        ("errorfile 503", "errorfile: expects the path of a file"),
        ("errorfile 503 x y", "errorfile: unexpected word 'y'"),
        ("errorfile 418 x", "errorfile: the status of an error file must be one of 200, 400"),
        ("monitor-uri", "monitor-uri: expects a target, such as /alive"),
        ("monitor-uri '/a b'", "monitor-uri: monitor_uri is a target without spaces"),
        ("http-reuse", "http-reuse: expects one of never, safe, aggressive, always"),
        ("http-reuse often", "expects one of never, safe, aggressive, always, not 'often'"),
        ("http-request", "expects one of set-header, add-header, del-header, deny, redirect or"),
        ("http-request tarpit", "deny, redirect or use-service, not 'tarpit'"),
        ("http-request set-header", "http-request: expects the name of a field"),
        ("http-request set-header X", "http-request: expects its value"),
        ("http-request set-header X y z", "http-request: expects if, unless or nothing, not 'z'"),
        ("http-request set-header X %[req.hdr(y)]", "http-request: %[req.hdr(y)] is none of"),
        ("http-request set-header X '\\x'", None),
        ('http-request set-header X "a\\rb"', "has the control character"),
        ("http-request set-header Transfer-Encoding x", "Transfer-Encoding cannot be set"),
        ("http-request del-header X -m beg", "del-header: -m: expects str, not 'beg'"),
        ("http-request deny 403", "http-request: expects if, unless or nothing, not '403'"),
        ("http-request deny deny_status", "http-request: expects a status"),
        ("http-request deny deny_status 418", "the status of deny must be one of 200, 400"),
        ("http-request redirect", "redirect wants a scheme or a location, and not both"),
        ("http-request redirect location", "http-request: expects a place"),
        ("http-request redirect scheme", "http-request: expects https"),
        ("http-request redirect scheme %[src]", "a scheme is made of letters, digits and"),
        ("redirect prefix /x", "redirect: expects location, scheme or code, not 'prefix'"),
        ("redirect location /x scheme https", "a scheme or a location, and not both"),
        ("redirect location /x drop-query", "expects location, scheme or code, not 'drop-query'"),
        ("redirect location /x code 300", "the status of redirect must be one of 301, 302, 303"),
        ("redirect location /x code", "redirect: expects a status"),
        ("http-response", "expects one of set-header, add-header, del-header or deny"),
        ("http-response redirect location /x", "del-header or deny, not 'redirect'"),
        ("http-response deny if nobody", "there is no acl 'nobody' above"),
    ],
)
def test_a_wrong_line_is_refused_in_every_mode(line: str, message: str | None) -> None:
    for mode in ("tcp", "http"):
        text = f"listen a\nbind :1\n{line}\nmode {mode}\n"
        if message is None:
            assert read([("x.cfg", text)]).config
            continue
        with pytest.raises(ConfigError) as caught:
            read([("x.cfg", text)])
        (found,) = map(str, caught.value.problems)
        assert found.startswith(f"x.cfg:3: {line.removeprefix('no ').split()[0]}")
        assert message in found


@pytest.mark.parametrize("word", REUSE)
def test_how_connections_are_reused_is_noticed_where_haproxy_would_share_them(word: str) -> None:
    text = f"backend a\nmode http\nhttp-reuse {word}\n"
    found = [str(notice) for notice in read([("x.cfg", text)]).notices]
    shared = f"x.cfg:3: http-reuse {word}: a connection to a server is one client's own here"
    assert found == ([] if word == "never" else [shared])


@pytest.mark.parametrize(
    ("kind", "word", "argument"),
    [
        ("frontend", "http-reuse", " never"),
        ("backend", "monitor-uri", " /x"),
        ("frontend", "option checkcache", ""),
    ],
)
def test_a_word_of_the_other_side_has_no_effect(kind: str, word: str, argument: str) -> None:
    text = f"{kind} a\nmode http\n{word}{argument}\n"
    text += "bind :1\ndefault_backend b\nbackend b\nmode http\n" if kind == "frontend" else ""
    found = map(str, read([("x.cfg", text)]).notices)
    assert f"x.cfg:3: {word}: has no effect in a {kind} section" in found


@pytest.mark.parametrize("word", ["http-request", "http-response", "redirect"])
def test_rules_do_not_belong_in_defaults(word: str) -> None:
    with pytest.raises(ConfigError, match=f"{word}: does not belong in a defaults section"):
        read([("x.cfg", f"defaults\n{word} deny\n")])


# --- the other mode ------------------------------------------------------------------------------


def test_a_word_of_mode_http_that_nobody_has_a_use_for_is_noticed_once() -> None:
    text = """
defaults
    option forwardfor
    errorfile 503 x
    cookie A
backend one
    option forwardfor
    option httpclose
    no option http-server-close
    http-request deny
    http-request deny if TRUE
backend two
    cookie B
"""
    assert [str(notice) for notice in read([("x.cfg", text)]).notices] == [
        *(f"x.cfg:{n}: {w}: has no effect in 'mode tcp'" for n, w in ((3, "option forwardfor"),)),
        "x.cfg:4: errorfile: has no effect in 'mode tcp'",
        "x.cfg:5: cookie: has no effect in 'mode tcp'",
        "x.cfg:7: option forwardfor: has no effect in 'mode tcp'",
        "x.cfg:8: option httpclose: has no effect in 'mode tcp'",
        "x.cfg:10: http-request: has no effect in 'mode tcp'",
        "x.cfg:13: cookie: has no effect in 'mode tcp'",
    ]


def test_one_section_in_mode_http_is_use_enough() -> None:
    text = """
defaults
    option forwardfor
    option http-server-close
backend plain
backend heads
    mode http
backend later
    mode http
    option forwardfor header X
"""
    reading = read([("x.cfg", text)])
    assert reading.notices == ()
    plain, heads, later = (found.http for found in reading.config.backends)
    assert plain is None
    assert heads == HttpOptions(connection=HttpConnection.SERVER_CLOSE, forwardfor=AddressField())
    assert later
    assert later.forwardfor == AddressField(name="X")


def test_what_is_refused_in_mode_http_is_a_problem_where_it_stands() -> None:
    text = """
defaults
    cookie A
backend plain
    option checkcache
backend heads
    mode http
backend also
    mode http
    http-send-name-header A
    http-send-name-header B
    cookie B
backend off
    mode http
    disabled
    compression algo gzip
"""
    with pytest.raises(ConfigError) as caught:
        read([("x.cfg", text)])
    refused = "refused: HAProxy has it, this version does not"
    sticks = "; clients stick by their address: 'stick on src'"
    assert [str(problem) for problem in caught.value.problems] == [
        f"x.cfg:3: cookie: {refused}{sticks}",
        f"x.cfg:10: http-send-name-header: {refused}",
        f"x.cfg:12: cookie: {refused}{sticks}",
    ]


# --- metrics -------------------------------------------------------------------------------------

USE = "http-request use-service prometheus-exporter"


@pytest.mark.parametrize(
    ("lines", "paths"),
    [
        (f"{USE} if {{ path /metrics }}", ("/metrics",)),
        (f"{USE} if {{ path /a /b /a }}\n{USE} if {{ path /b /c }}", ("/a", "/b", "/c")),
    ],
)
def test_prometheus_is_answered_at_paths(lines: str, paths: tuple[str, ...]) -> None:
    assert frontend(lines).metrics == paths
    assert backend(lines).metrics == paths
    assert backend(f"bind :1\n{lines}", "listen").metrics == ()


def test_who_is_denied_above_is_denied_the_metrics_too() -> None:
    made = frontend(f"http-request deny if inside\n{USE} if {{ path /m }}\n")
    assert made == HttpOptions(request_rules=(Deny(status=403, condition=INSIDE),), metrics=("/m",))
    made = frontend(f"{USE} if {{ path /m }}\nhttp-request del-header X")
    assert made == HttpOptions(request_rules=(header("del-header", "X"),), metrics=("/m",))


@pytest.mark.parametrize("word", ["deny", "redirect location /x"])
def test_who_is_denied_below_would_get_no_metrics_so_that_is_refused(word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        frontend(f"{USE} if {{ path /m }}\nhttp-request {word}")
    (found,) = caught.value.problems
    assert found.line == 8
    assert found.message.endswith("a 'use-service' above it comes after it here; move that down")


def test_no_other_service_is_used() -> None:
    with pytest.raises(ConfigError, match="use-service: expects prometheus-exporter, not 'lua'"):
        frontend("http-request use-service lua")
