"""Heads, doors and routes are written line by line, and what a line cannot hold is refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import drafts
from dsbalance import conditions
from dsbalance.conditions import Condition, Fetch, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import PREDEFINED
from dsbalance.haproxy.config import read
from dsbalance.haproxy.http_writer import backend_lines, frontend_lines
from dsbalance.haproxy.writer import write
from dsbalance.http_options import (
    AddressField,
    Deny,
    HeaderAction,
    HeaderRule,
    HttpConnection,
    HttpOptions,
    Redirect,
    Sample,
)
from dsbalance.model import Backend, Bind, Config, Frontend, Table
from dsbalance.stats_options import StatsPage

INSIDE = Term(
    tests=(
        conditions.Look(fetch=Fetch.SRC, networks=(ip_network("10.0.0.0/8"), ip_network("::1"))),
        conditions.Look(fetch=Fetch.DST_PORT, ranges=((80, 80), (8000, 8080), (None, 9))),
    ),
    name="inside",
)
BUSY = Term(tests=(conditions.Look(fetch=Fetch.SC0_CONN_CUR, ranges=((10, None),)),))
NO_SERVER = Term(
    tests=(conditions.Look(fetch=Fetch.NBSRV, ranges=((None, 0),), backend="b"),), is_negated=True
)


def frontend(**said: Any) -> Frontend:
    return Frontend(**({"name": "f", "binds": (Bind(port=1),), "backend": "b"} | said))


def when(*terms: Term, is_unless: bool = False) -> Condition:
    return Condition(alternatives=(terms,), is_unless=is_unless)


def http(**said: Any) -> list[str]:
    return backend_lines(Backend(name="b", http=HttpOptions(**said)))


def network(host: str) -> conditions.Look:
    return conditions.Look(fetch=Fetch.SRC, networks=(ip_network(host),))


# --- the lines -----------------------------------------------------------------------------------


def test_a_section_of_mode_tcp_without_rules_has_no_line() -> None:
    assert backend_lines(Backend(name="b")) == []
    assert frontend_lines(frontend()) == []
    assert http() == []


def test_a_condition_stands_behind_its_rule_and_its_acls_above_all() -> None:
    door = (
        DoorRule(action=DoorAction.ACCEPT, condition=when(INSIDE)),
        DoorRule(action=DoorAction.TRACK),
        DoorRule(action=DoorAction.TRACK, table="t"),
        DoorRule(
            action=DoorAction.REJECT,
            condition=Condition(alternatives=((BUSY, INSIDE), (NO_SERVER,))),
        ),
        DoorRule(action=DoorAction.EXPECT_PROXY),
    )
    routes = (
        BackendRule(backend="c", condition=when(replace(INSIDE, is_negated=True), is_unless=True)),
        BackendRule(backend="d"),
    )
    assert frontend_lines(frontend(door=door, routes=routes)) == [
        "acl inside src 10.0.0.0/8 ::1",
        "acl inside dst_port 80 8000:8080 :9",
        "tcp-request connection accept if inside",
        "tcp-request connection track-sc0 src",
        "tcp-request connection track-sc0 src table t",
        "tcp-request connection reject if { sc0_conn_cur ge 10 } inside or !{ nbsrv(b) le 0 }",
        "tcp-request connection expect-proxy layer4",
        "use_backend c unless !inside",
        "use_backend d",
    ]


def test_what_is_predefined_is_not_written_again() -> None:
    terms = (PREDEFINED["LOCALHOST"], PREDEFINED["FALSE"])
    rule = Deny(status=403, condition=when(*terms))
    assert http(request_rules=(rule,)) == ["http-request deny if LOCALHOST !TRUE"]
    other = Term(tests=(network("::2"),), name="LOCALHOST")
    assert http(response_rules=(Deny(status=502, condition=when(other)),)) == [
        "acl LOCALHOST src ::2",
        "http-response deny if LOCALHOST",
    ]


def test_options_stand_before_rules_and_rules_in_their_order() -> None:
    assert http(
        connection=HttpConnection.SERVER_CLOSE,
        forwardfor=AddressField(
            name="X-Client", exception=ip_network("10.0.0.0/8"), is_if_none=True
        ),
        originalto=AddressField(exception=ip_network("::1")),
        timeout_request=10.0,
        timeout_keep_alive=90.0,
        error_files=((503, "/x/503 page"),),
        request_rules=(
            HeaderRule(action=HeaderAction.SET, name="X#", value=("a ", Sample.SRC, "%")),
            HeaderRule(action=HeaderAction.DEL, name="X", condition=when(BUSY)),
            Redirect(scheme="https", status=301),
            Deny(status=403),
            Redirect(location=("/x",)),
            Deny(status=502),
        ),
        response_rules=(
            HeaderRule(action=HeaderAction.ADD, name="X", value=("y",)),
            Deny(status=502),
            Deny(status=403),
        ),
    ) == [
        "option http-server-close",
        "option forwardfor except 10.0.0.0/8 header X-Client if-none",
        "option originalto except ::1/128",
        "timeout http-request 10s",
        "timeout http-keep-alive 90s",
        'errorfile 503 "/x/503 page"',
        'http-request set-header "X#" "a %[src]%%"',
        "http-request del-header X if { sc0_conn_cur ge 10 }",
        "http-request redirect scheme https code 301",
        "http-request deny",
        "http-request redirect location /x",
        "http-request deny deny_status 502",
        "http-response add-header X y",
        "http-response deny",
        "http-response deny deny_status 403",
    ]


def test_a_frontend_names_its_monitor() -> None:
    assert frontend_lines(frontend(http=HttpOptions(monitor_uri="/a"))) == ["monitor-uri /a"]


def test_many_values_are_written_as_several_tests() -> None:
    hosts = tuple(ip_network(f"10.0.{n}.0/24") for n in range(130))
    term = Term(tests=(conditions.Look(fetch=Fetch.SRC, networks=hosts),), name="x")
    lines = http(request_rules=(Deny(status=403, condition=when(term)),))
    assert [len(line.split()) for line in lines] == [64, 64, 11, 4]
    config = Config(backends=(Backend(name="b", http=HttpOptions()),))
    text = write(config) + "".join(f"{line}\n" for line in lines)
    rules = read([("x.cfg", text)]).config.backends[0].http
    assert rules
    assert rules.request_rules[0].condition
    ((found,),) = rules.request_rules[0].condition.alternatives
    assert tuple(host for test in found.tests for host in test.networks) == hosts


@given(st.data())
def test_what_is_written_of_a_frontend_reads_back(data: st.DataObject) -> None:
    terms = data.draw(drafts.terms(["b", "c"]))
    owning = ["t", "f", None]
    made = frontend(
        http=data.draw(drafts.http_options(terms, drafts.words, is_frontend=True)),
        door=tuple(data.draw(st.lists(drafts.doors(terms, owning), max_size=4))),
        routes=tuple(data.draw(st.lists(drafts.routes(terms, ["b", "c"]), max_size=4))),
    )
    counting = "stick-table type ip size 1 store conn_cur\n"
    lines = "".join(f"{line}\n" for line in frontend_lines(made))
    text = f"frontend f\nmode http\nbind :1\ndefault_backend b\n{counting}{lines}"
    text += "".join(f"backend {name}\nmode http\n" for name in "bc") + f"backend t\n{counting}"
    (found,) = read([("x.cfg", text)]).config.frontends
    assert replace(found, table=None) == made


def test_a_page_and_metrics_stand_behind_the_rules_and_their_acls_above() -> None:
    page = StatsPage(uri="/x", admin=when(INSIDE, NO_SERVER))
    said = HttpOptions(request_rules=(Deny(status=403),), metrics=("/m",), stats=page)
    assert frontend_lines(frontend(http=said)) == [
        "acl inside src 10.0.0.0/8 ::1",
        "acl inside dst_port 80 8000:8080 :9",
        "http-request deny",
        "http-request use-service prometheus-exporter if { path /m }",
        "stats enable",
        "stats uri /x",
        "stats admin if inside !{ nbsrv(b) le 0 }",
    ]


# --- what the language cannot say ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            [INSIDE, Term(tests=(network("::2"),), name="inside")],
            "frontend f: there are several ACLs 'inside'",
        ),
        ([Term(tests=INSIDE.tests)], "an ACL of several tests needs a name"),
        (
            [Term(tests=(conditions.Look(fetch=Fetch.NBSRV, ranges=((1, 1),)),))],
            "nbsrv is written with the name of a backend",
        ),
        (
            [Term(tests=(conditions.Look(fetch=Fetch.DST_PORT, ranges=((None, None),)),))],
            "a range without ends is not written",
        ),
        ([Term(tests=(network("::2"),), name="or")], "'or' cannot be the name of an ACL"),
        ([Term(tests=(network("::2"),), name="a b")], "'a b' cannot be the name of an ACL"),
        ([BUSY] * 13, "too long for a line; give its ACLs names"),
    ],
)
def test_a_condition_that_the_language_cannot_say_is_refused(
    terms: list[Term], message: str
) -> None:
    rule = BackendRule(backend="b", condition=when(*terms))
    with pytest.raises(ConfigError, match=message):
        frontend_lines(frontend(routes=(rule,)))


def test_a_line_of_as_many_words_as_there_may_be_is_written() -> None:
    rule = BackendRule(backend="b", condition=when(*[BUSY] * 12))
    (line,) = frontend_lines(frontend(routes=(rule,)))
    assert len(line.split()) == 63


# --- a listen ------------------------------------------------------------------------------------

PLAIN = HttpOptions(connection=HttpConnection.CLOSE)
RULED = replace(PLAIN, request_rules=(Deny(status=403),), monitor_uri="/a")
RESPONDS = replace(PLAIN, response_rules=(Deny(status=502),))
ONE = Backend(name="f", http=PLAIN)


def headers(config: Config) -> list[str]:
    text = write(config)
    assert drafts.unnumbered(read([("x.cfg", text)]).config) == config
    return [line for line in text.splitlines() if line and line[0] != " "][1:]


@pytest.mark.parametrize(
    ("frontends", "backends", "expected"),
    [
        ([frontend(backend="f", http=PLAIN)], [ONE], ["listen f"]),
        ([frontend(backend="f", http=RULED)], [ONE], ["listen f"]),
        # The two say different things of heads.
        (
            [frontend(backend="f", http=HttpOptions())],
            [ONE],
            ["frontend f", "backend f"],
        ),
        # Rules of a listen are its frontend's.
        (
            [frontend(backend="f", http=RULED)],
            [replace(ONE, http=replace(PLAIN, request_rules=(Deny(status=403),)))],
            ["frontend f", "backend f"],
        ),
        # They would be run for the clients of others, too.
        *(
            (
                [frontend(backend="f", http=http), other],
                [ONE, Backend(name="b", http=PLAIN)],
                ["frontend f", "frontend g", "backend f", "backend b"],
            )
            for http in (RULED, RESPONDS)
            for other in (
                frontend(name="g", backend="f", http=PLAIN),
                frontend(name="g", http=PLAIN, routes=(BackendRule(backend="f"),)),
            )
        ),
        (
            [frontend(backend="f", http=PLAIN), frontend(name="g", backend="f", http=PLAIN)],
            [ONE],
            ["listen f", "frontend g"],
        ),
        # It has one table, and is no backend for itself.
        (
            [frontend(backend="f", table=Table(size=1))],
            [Backend(name="f")],
            ["frontend f", "backend f"],
        ),
        (
            [frontend(backend="f", routes=(BackendRule(backend="f"),))],
            [Backend(name="f")],
            ["frontend f", "backend f"],
        ),
    ],
)
def test_a_frontend_and_the_backend_of_its_name_are_one_listen_if_it_can_say_both(
    frontends: list[Frontend], backends: list[Backend], expected: list[str]
) -> None:
    config = Config(frontends=tuple(frontends), backends=tuple(backends))
    assert headers(config) == expected


def test_the_mode_of_all_stands_in_defaults_and_that_of_some_in_their_sections() -> None:
    some = Config(backends=(ONE, Backend(name="b")))
    assert [line.strip() for line in write(some).splitlines() if "mode" in line] == [
        "mode tcp",
        "mode http",
    ]
    assert write(Config(backends=(ONE,))).count("mode http") == 1
    assert "mode tcp" not in write(Config(backends=(ONE,)))
