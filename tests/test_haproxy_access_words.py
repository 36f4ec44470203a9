"""ACLs, conditions and the rules that have them: what each line says, and what is refused."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbalance import conditions
from dsbalance.conditions import Condition, Fetch, Term
from dsbalance.door import BackendRule, DoorAction, DoorRule
from dsbalance.errors import ConfigError
from dsbalance.haproxy.access_words import parse_network
from dsbalance.haproxy.config import read
from dsbalance.haproxy.lexer import MAX_INTEGER
from dsbalance.model import Frontend

TABLE = "stick-table type ip size 5 store conn_cur\n"


def frontend(lines: str) -> Frontend:
    text = f"listen a\nbind :1\n{TABLE}{lines}\nbackend b\nbackend c\n"
    return read([("x.cfg", text)]).config.frontends[0]


def condition(words: str, acls: str = "") -> Condition:
    """Return the condition of a rule that ends in these words."""
    (rule,) = frontend(f"{acls}\ntcp-request connection reject {words}").door
    assert rule.condition
    return rule.condition


def src(*networks: str) -> conditions.Look:
    return conditions.Look(fetch=Fetch.SRC, networks=tuple(map(ip_network, networks)))


def number(
    fetch: Fetch, *ranges: tuple[int | None, int | None], backend: str | None = None
) -> conditions.Look:
    return conditions.Look(fetch=fetch, ranges=ranges, backend=backend)


def problem(lines: str, kind: str = "listen") -> str:
    with pytest.raises(ConfigError) as caught:
        read([("x.cfg", f"{kind} a\nbind :1\n{lines}\n")])
    (found,) = caught.value.problems
    return str(found)


# --- tests ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "test"),
    [
        ("src 10.0.0.1", src("10.0.0.1/32")),
        ("src 10.0.0.9/8 ::1 fe80::/10", src("10.0.0.0/8", "::1/128", "fe80::/10")),
        ("src 10.0.0.0/255.255.0.0 0.0.0.0/0.0.0.0", src("10.0.0.0/16", "0.0.0.0/0")),
        ("src ::ffff:10.0.0.1", src("::ffff:10.0.0.1/128")),
        ("src -m ip -n -- 10.0.0.1", src("10.0.0.1/32")),
        ("dst_port 80", number(Fetch.DST_PORT, (80, 80))),
        (
            "dst_port 80 8000:8080 :10 60000:",
            number(Fetch.DST_PORT, (80, 80), (8000, 8080), (None, 10), (60000, None)),
        ),
        ("dst_port 5:5 -m", None),
        ("sc0_conn_cur gt 9", number(Fetch.SC0_CONN_CUR, (10, None))),
        ("sc0_conn_cur ge 9", number(Fetch.SC0_CONN_CUR, (9, None))),
        ("sc0_conn_rate lt 9", number(Fetch.SC0_CONN_RATE, (None, 8))),
        ("sc0_conn_rate le 9", number(Fetch.SC0_CONN_RATE, (None, 9))),
        ("sc0_conn_rate -m int eq 9", number(Fetch.SC0_CONN_RATE, (9, 9))),
        # An operator holds for all numbers after it, and several do not narrow one another.
        ("dst_port eq 80 81", number(Fetch.DST_PORT, (80, 80), (81, 81))),
        ("dst_port 7 ge 80 le 90", number(Fetch.DST_PORT, (7, 7), (80, None), (None, 90))),
        (f"dst_port gt {MAX_INTEGER - 1}", number(Fetch.DST_PORT, (MAX_INTEGER, None))),
        ("nbsrv(b) lt 1", number(Fetch.NBSRV, (None, 0), backend="b")),
        ("nbsrv 1", number(Fetch.NBSRV, (1, 1), backend="a")),
        ("nbsrv() 1", number(Fetch.NBSRV, (1, 1), backend="a")),
    ],
)
def test_a_test_compares_what_is_fetched_with_its_values(
    words: str, test: conditions.Look | None
) -> None:
    if test is None:
        assert "expects a whole number" in problem(f"acl x {words}")
        return
    assert condition(f"if {{ {words} }}").alternatives == ((Term(tests=(test,)),),)
    named = condition("if x", f"acl x {words}")
    assert named.alternatives == ((Term(tests=(test,), name="x"),),)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("x", "expects src, dst_port, sc0_conn_cur, sc0_conn_rate or nbsrv(BACKEND)"),
        ("x path_beg /a", "or nbsrv(BACKEND), not 'path_beg'"),
        ("x hdr(host) a", "or nbsrv(BACKEND), not 'hdr(host)'"),
        ("x src,ipmask(24) 10.0.0.0", "or nbsrv(BACKEND), not 'src,ipmask(24)'"),
        ("x src() 10.0.0.0", "or nbsrv(BACKEND), not 'src()'"),
        ("x nbsrv((b) 1", "or nbsrv(BACKEND), not 'nbsrv((b)'"),
        ("x src", "src: expects values"),
        ("x src --", "src: expects values"),
        ("x src -m", "expects ip"),
        ("x src -m str 10.0.0.1", "src: -m: expects ip, not 'str'"),
        ("x dst_port -m found", "dst_port: -m: expects int, not 'found'"),
        ("x src -f list.txt", "src: -f is refused: the values stand on the line itself"),
        ("x src -i 10.0.0.1", "src: -i is refused"),
        ("x src 10.0.0.1 -n", "expects an address or a network, such as 10.0.0.0/8, not '-n'"),
        ("x src localhost", "expects an address or a network, such as 10.0.0.0/8, not 'localhost'"),
        ("x src 10.0.0.0/33", "not '10.0.0.0/33'"),
        ("x src 10.0.0.0/255.0.255.0", "not '10.0.0.0/255.0.255.0'"),
        ("x src 10.0.0.0/0.0.0.255", "not '10.0.0.0/0.0.0.255'"),
        ("x src 10.0.0.0/255.0.0.256", "not '10.0.0.0/255.0.0.256'"),
        ("x src ::1/255.0.0.0", "not '::1/255.0.0.0'"),
        ("x src 10.1", "not '10.1'"),
        ("x src fe80::1%eth0", "not 'fe80::1%eth0'"),
        ("x dst_port a", "expects a whole number of 0 to 2147483647, not 'a'"),
        ("x dst_port :", "expects a whole number of 0 to 2147483647, not ':'"),
        ("x dst_port 80-90", "expects a whole number of 0 to 2147483647, not '80-90'"),
        ("x dst_port 90:80", "the range '90:80' is empty"),
        ("x dst_port gt 80:90", "expects a whole number of 0 to 2147483646, not '80:90'"),
        ("x dst_port lt 0", "expects a whole number of 1 to 2147483647, not '0'"),
        ("x dst_port ne 80", "expects a whole number of 0 to 2147483647, not 'ne'"),
        ("x dst_port gt", "gt: expects a number"),
        ("x dst_port gt 5 le", "le: expects a number"),
        ("x/y src 10.0.0.1", "a name is made of letters, digits and '-_.:', not 'x/y'"),
        ("or src 10.0.0.1", "'or' parts the alternatives of a condition; take another name"),
        ("", "acl: expects NAME and a test"),
    ],
)
def test_a_wrong_test_is_refused_with_what_would_be_accepted(words: str, message: str) -> None:
    found = problem(f"acl {words}")
    assert found.startswith("x.cfg:3: acl: ")
    assert message in found


def test_a_frontend_counts_the_servers_of_a_backend_that_it_names() -> None:
    found = problem("default_backend b\nuse_backend b if { nbsrv lt 1 }\nbackend b", "frontend")
    assert found == ("x.cfg:4: use_backend: nbsrv: expects the name of a backend: nbsrv(BACKEND)")


@given(st.ip_addresses(), st.integers(0, 32))
def test_a_network_is_that_of_its_address_with_as_many_bits(address: object, bits: int) -> None:
    assert parse_network(f"{address}/{bits}") == ip_network(f"{address}/{bits}", strict=False)
    assert parse_network(str(address)) == ip_network(str(address))


# --- conditions ----------------------------------------------------------------------------------

A, B = (Term(tests=(src(host),), name=name) for host, name in (("::1", "A"), ("::2", "B")))
NOT_A, NOT_B = (Term(tests=term.tests, name=term.name, is_negated=True) for term in (A, B))
ANON = Term(tests=(number(Fetch.DST_PORT, (80, 80)),))
NOT_ANON = Term(tests=ANON.tests, is_negated=True)


@pytest.mark.parametrize(
    ("words", "alternatives"),
    [
        ("if A", [[A]]),
        ("if !A", [[NOT_A]]),
        ("if ! A", [[NOT_A]]),
        ("if !!A", [[A]]),
        ("if ! !A B", [[A, B]]),
        ("if A B or !A !B", [[A, B], [NOT_A, NOT_B]]),
        ("if A || B || { dst_port 80 }", [[A], [B], [ANON]]),
        ("if !{ dst_port 80 } A", [[NOT_ANON, A]]),
        ("if A ! { dst_port 80 }", [[A, NOT_ANON]]),
        ("unless A or B", [[A], [B]]),
    ],
)
def test_a_condition_is_alternatives_of_terms(words: str, alternatives: list[list[Term]]) -> None:
    found = condition(words, "acl A src ::1\nacl B src ::2\n")
    assert found.alternatives == tuple(map(tuple, alternatives))
    assert found.is_unless is words.startswith("unless")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("when A", "expects if, unless or nothing, not 'when'"),
        ("if", "expects the name of an acl, or { TEST }"),
        ("if A or", "expects the name of an acl, or { TEST }"),
        ("if or A", "there is no acl 'or' above"),
        ("if A or or A", "there is no acl 'or' above"),
        ("if !", "expects the name of an acl, or { TEST }"),
        ("if B", "there is no acl 'B' above"),
        ("if insde", "there is no acl 'insde' above; did you mean 'inside'?"),
        ("if METH_GET", "there is no acl 'METH_GET' above"),
        ("if {src ::1}", "there is no acl '{src' above"),
        ("if { src ::1", "expects a word, and then }"),
        ("if { }", "expects src, dst_port"),
        ("if { A }", "not 'A'"),
        ("if A }", "there is no acl '}' above"),
        ("if A unless A", "there is no acl 'unless' above"),
    ],
)
def test_a_wrong_condition_is_refused(words: str, message: str) -> None:
    acls = "acl A src ::1\nacl inside src ::1\n"
    found = problem(f"{acls}tcp-request connection reject {words}")
    assert found.startswith("x.cfg:5: tcp-request connection: ")
    assert message in found


def test_the_nearest_of_many_names_is_not_looked_for() -> None:
    acls = "".join(f"acl inside{n} src ::1\n" for n in range(21))
    found = problem(f"{acls}tcp-request connection reject if inside")
    assert found.endswith("there is no acl 'inside' above")


def test_the_lines_of_one_acl_are_alternatives() -> None:
    found = condition("if x", "acl x src ::1\nacl y src ::3\nacl x dst_port 80\n")
    term = Term(tests=(src("::1"), number(Fetch.DST_PORT, (80, 80))), name="x")
    assert found.alternatives == ((term,),)


def test_all_conditions_share_the_tests_of_an_acl() -> None:
    rule = "tcp-request connection reject if x !x\n"
    (one, two) = frontend(f"acl x src ::1\n{rule}{rule}").door
    assert one.condition
    assert two.condition
    terms = [term for c in (one.condition, two.condition) for term in c.alternatives[0]]
    assert len({id(term.tests) for term in terms}) == 1


@pytest.mark.parametrize("name", ["x", "LOCALHOST", "FALSE"])
def test_an_acl_gets_no_line_after_its_use(name: str) -> None:
    lines = "acl x src ::1\ntcp-request connection reject if x !LOCALHOST or FALSE\n"
    found = problem(f"{lines}acl {name} src ::2")
    assert found == (
        f"x.cfg:5: acl: {name} is in use above: all its lines have to stand before that"
    )


def test_what_is_predefined_can_be_defined_otherwise() -> None:
    term = Term(tests=(src("10.0.0.1/32"),), name="LOCALHOST")
    found = condition("if LOCALHOST", "acl LOCALHOST src 10.0.0.1")
    assert found.alternatives == ((term,),)


def test_an_acl_is_that_of_its_section_alone() -> None:
    text = "backend b\nacl x src ::1\nlisten a\nbind :1\ntcp-request connection reject if x\n"
    with pytest.raises(ConfigError, match="there is no acl 'x' above"):
        read([("x.cfg", text)])


class Somebody:
    """A client of an address, of whom nothing else is known."""

    dst_port = 1
    sc0_conn_cur = None
    sc0_conn_rate = None

    def __init__(self, source: bytes) -> None:
        self.source = source

    def nbsrv(self, backend: str | None) -> int | None:
        return None


@pytest.mark.parametrize(
    ("source", "is_here"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("128.0.0.1", False), ("::2", False)],
)
def test_what_is_predefined_holds_as_in_haproxy(source: str, is_here: bool) -> None:
    somebody = Somebody(ip_network(source).network_address.packed)
    held = [
        name for name in ("TRUE", "FALSE", "LOCALHOST") if condition(f"if {name}").holds(somebody)
    ]
    assert held == ["TRUE", *["LOCALHOST"] * is_here]


# --- rules ---------------------------------------------------------------------------------------

EVERYBODY = condition("if TRUE")


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ("accept", DoorRule(action=DoorAction.ACCEPT)),
        ("reject if TRUE", DoorRule(action=DoorAction.REJECT, condition=EVERYBODY)),
        ("track-sc0 src", DoorRule(action=DoorAction.TRACK, table="a")),
        (
            "track-sc0 src table a if TRUE",
            DoorRule(action=DoorAction.TRACK, table="a", condition=EVERYBODY),
        ),
        ("expect-proxy layer4", DoorRule(action=DoorAction.EXPECT_PROXY)),
        (
            "expect-proxy layer4 if TRUE",
            DoorRule(action=DoorAction.EXPECT_PROXY, condition=EVERYBODY),
        ),
    ],
)
def test_a_rule_of_the_door_is_what_its_line_says(words: str, rule: DoorRule) -> None:
    assert frontend(f"tcp-request connection {words}").door == (rule,)


def test_a_frontend_tracks_in_its_own_table() -> None:
    text = f"frontend f\nbind :1\n{TABLE}tcp-request connection track-sc0 src\ndefault_backend b\n"
    (found,) = read([("x.cfg", f"{text}backend b\n")]).config.frontends
    assert found.door == (DoorRule(action=DoorAction.TRACK),)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tcp-request connection", "expects accept, reject, track-sc0 src or expect-proxy layer4"),
        (
            "tcp-request connection deny",
            "expects accept, reject, track-sc0 src or expect",
        ),
        ("tcp-request connection silent-drop", "not 'silent-drop'"),
        ("tcp-request connection track-sc1 src", "not 'track-sc1'"),
        ("tcp-request connection accept x", "expects if, unless or nothing, not 'x'"),
        ("tcp-request connection track-sc0", "expects src"),
        ("tcp-request connection track-sc0 dst", "track-sc0: expects src, the client's address"),
        ("tcp-request connection track-sc0 src table", "expects the name of the section that owns"),
        ("tcp-request connection track-sc0 src if TRUE table a", "there is no acl 'table' above"),
        ("tcp-request connection expect-proxy", "expects layer4"),
        ("tcp-request connection expect-proxy layer5", "expects layer4, not 'layer5'"),
        (
            "tcp-request content accept",
            "refused: HAProxy has it, this version does not; write",
        ),
        (
            "tcp-request session accept",
            "refused: HAProxy has it, this version does not; write",
        ),
        ("tcp-request foo", "unknown keyword 'tcp-request foo' in a listen section; did you mean"),
        ("use_backend", "use_backend: expects the name of a backend"),
        ("use_backend %[src]", "expects the name of a backend, not a format: '%[src]'"),
        ("use_backend a x", "use_backend: expects if, unless or nothing, not 'x'"),
        ("stick-table type ip size 5 store gpc0", "store: expects conn_cur or conn_rate(PERIOD)"),
        ("stick-table type ip size 5 store conn_cur,", None),
        ("stick-table type ip size 5 store ,", "store: expects conn_cur or conn_rate(PERIOD), not"),
        ("stick-table type ip size 5 store conn_rate", "not 'conn_rate'"),
        ("stick-table type ip size 5 store conn_rate(0)", "the period must be longer than 0"),
        ("stick-table type ip size 5 store conn_rate(x)", "a time is a whole number"),
        ("stick-table type ip size 5 store conn_rate(25d)", "a time is at most"),
    ],
)
def test_a_wrong_rule_is_refused(line: str, message: str | None) -> None:
    if message is None:
        assert read([("x.cfg", f"backend a\n{line}\n")]).config
        return
    found = problem(line)
    assert found.startswith("x.cfg:3: ")
    assert message in found


def test_of_two_rates_the_first_counts() -> None:
    text = "backend a\nstick-table type ip size 5 store conn_rate(1s),conn_rate(2s)\n"
    (found,) = read([("x.cfg", text)]).config.backends
    assert found.table
    assert found.table.conn_rate_period == 1.0


def test_routes_are_kept_in_their_order() -> None:
    assert frontend("use_backend b if TRUE\nuse_backend c").routes == (
        BackendRule(backend="b", condition=EVERYBODY),
        BackendRule(backend="c"),
    )


@pytest.mark.parametrize("kind", ["backend", "defaults"])
def test_the_door_belongs_to_a_section_that_clients_connect_to(kind: str) -> None:
    with pytest.raises(ConfigError, match=f"tcp-request connection: does not belong in a {kind}"):
        read([("x.cfg", f"{kind} x\ntcp-request connection accept\n")])


def test_a_backend_sends_nobody_elsewhere() -> None:
    (notice,) = read([("x.cfg", "backend x\nuse_backend y\n")]).notices
    assert str(notice) == "x.cfg:2: use_backend: has no effect in a backend section"


# --- paths ---------------------------------------------------------------------------------------

USE = "mode http\nhttp-request use-service prometheus-exporter"


@pytest.mark.parametrize(
    ("acls", "words", "paths"),
    [
        ("", "{ path /metrics }", ("/metrics",)),
        ("", "{ path -m str -n -- /a /b }", ("/a", "/b")),
        ("acl m path /a\nacl m path /b", "m", ("/a", "/b")),
    ],
)
def test_a_path_is_tested_for_the_service_that_is_at_it(
    acls: str, words: str, paths: tuple[str, ...]
) -> None:
    text = f"listen a\nbind :1\n{acls}\n{USE} if {words}\n"
    (found,) = read([("x.cfg", text)]).config.frontends
    assert found.http
    assert found.http.metrics == paths


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        *(
            (f"{USE}{words}", "expects if { path /metrics }, one test of the path and nothing else")
            for words in (
                *("", " unless { path /m }", " if { path_beg /m }", " if { path /m } TRUE"),
                *(" if TRUE", " if nobody", " unless nobody"),
            )
        ),
        (f"{USE} if", "expects { path /metrics }"),
        (f"{USE} if {{ path /m", "expects a word, and then }"),
        (f"{USE} if {{ }}", "expects path"),
        (f"{USE} if {{ path }}", "path: expects values"),
        (f"{USE} if {{ path -i /m }}", "path: -i is refused: the values stand on the line itself"),
        (f"{USE} if {{ path -m beg /m }}", "path: -m: expects str, not 'beg'"),
        (f"{USE} if {{ path m }}", "metrics are answered at a path, without a query, not at 'm'"),
        (
            "acl m path /m\ntcp-request connection reject if m",
            "m tests the path: only 'http-request use-service' may have it",
        ),
        ("acl m path /m\nacl m src ::1", "m tests the path above, and nothing else beside it"),
        ("acl m src ::1\nacl m path /m", "expects src, dst_port, sc0_conn_cur, sc0_conn_rate or"),
    ],
)
def test_a_test_of_the_path_that_means_more_is_refused(lines: str, message: str) -> None:
    assert f": {message}" in problem(lines)
