"""Files become a configuration or a list of everything that is wrong with them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbalance.errors import ConfigError
from dsbalance.haproxy.config import GLOBAL_ROWS, Reading, read
from dsbalance.haproxy.keywords import OTHER_SECTIONS, PREPROCESSOR
from dsbalance.haproxy.proxy_words import PROXY_WORDS
from dsbalance.haproxy.server_words import BIND_WORDS, SERVER_WORDS
from dsbalance.haproxy.statement import Report
from dsbalance.http_options import AddressField, HttpConnection, HttpOptions
from dsbalance.model import Balance, Config, OnError

HAPROXY = shutil.which("haproxy")
# Each example starts a process.
FEW = min((settings.default.max_examples if settings.default else 50) // 2, 300)
RING = "balance source\nhash-type consistent\n"
EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "suite.cfg"


def reading(text: str, environment: Mapping[str, str] | None = None) -> Reading:
    return read([("x.cfg", text)], environment or {})


def problems(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        reading(text, environment)
    return [str(problem).removeprefix("x.cfg:") for problem in caught.value.problems]


def notices(text: str, environment: Mapping[str, str] | None = None) -> list[str]:
    return [str(n).removeprefix("x.cfg:") for n in reading(text, environment).notices]


# --- global --------------------------------------------------------------------------------------


def test_global_words_may_stand_in_several_sections() -> None:
    config = reading("global\nmaxconn 5\nbackend a\nglobal\nhard-stop-after 30s\n").config
    assert (config.maxconn, config.hard_stop_after) == (5, 30.0)


def test_nothing_said_is_no_limit() -> None:
    assert reading("").config == Config()
    assert reading("global\nmaxconn 0\nhard-stop-after 0\n").config == Config()


def test_of_two_global_maxconn_the_first_counts_and_of_two_stops_the_last() -> None:
    text = "global\nmaxconn 5\nmaxconn 6\nhard-stop-after 1s\nhard-stop-after 2s\n"
    config = reading(text).config
    assert (config.maxconn, config.hard_stop_after) == (5, 2.0)
    assert notices(text) == [
        "3: maxconn: given before, the first one counts",
        "5: hard-stop-after: given before, the last one counts",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("global x\n", "1: global: unexpected word 'x'"),
        ("global\nmaxconn\n", "2: maxconn: expects a number of sessions"),
        ("global\nmaxconn x\n", "2: maxconn: expects a whole number"),
        ("global\nmaxconn 5 6\n", "2: maxconn: unexpected word '6'"),
        ("global\nhard-stop-after x\n", "2: hard-stop-after: a time is"),
        ("global\nnbthraed 2\n", "2: unknown keyword 'nbthraed' in a global section; did you mean"),
        ("global\nmode tcp\n", "2: mode: does not belong in a global section"),
        ("global\nno daemon\n", "2: daemon: 'no' may not stand before it"),
        ("global\nmaxconnrate 5\n", "2: maxconnrate: refused: HAProxy has it, this version does"),
    ],
)
def test_a_wrong_global_line_is_refused(text: str, expected: str) -> None:
    (found,) = problems(text)
    assert found.startswith(expected)


# --- sections ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mode tcp\n", "1: unknown keyword 'mode' before the first section"),
        ("lisen a\n", "1: unknown keyword 'lisen' before the first section; did you mean 'listen'"),
        ("listen\n", "1: listen: expects a name"),
        ("listen a b\n", "1: listen: expects from DEFAULTS or nothing, not 'b'"),
        ("listen a from b\n", "1: listen: there is no defaults 'b' above"),
        ("defaults x y\n", "1: defaults: expects from DEFAULTS or nothing, not 'y'"),
        (
            "defaults x\ndefaults x\nbackend a from x\n",
            "3: backend: defaults 'x' stands at x.cfg:1",
        ),
        ("backend a\nlisten a\n", "2: listen a: the name is taken by the backend of x.cfg:1"),
        ("backend a\nbackend a\n", "2: backend a: the name is taken by the backend of x.cfg:1"),
        ("peers p\npeer x 10.0.0.1:1\n", "1: peers: refused: HAProxy has it, this version does"),
        (".if 1\n", "1: .if: refused: conditional blocks are not read"),
        ("backend a\nno\n", "2: unknown keyword 'no' in a backend section"),
        ("backend a\nnbthread 4\n", "2: nbthread: does not belong in a backend section"),
        ("backend a\nLISTEN b\n", "2: unknown keyword 'LISTEN' in a backend section; did you mean"),
        ("defaults\nbind :1\n", "2: bind: does not belong in a defaults section"),
        ("defaults\nserver s h\n", "2: server: does not belong in a defaults section"),
        (
            "frontend a\nbind :1\ndefault_backend b\nserver s h\nbackend b\n",
            "4: server: does not belong in a frontend section",
        ),
        ("backend a\nserver s '' x\n", "2: word 3 is empty; perhaps a variable is not set"),
        ('backend a\n"retries 3\n', "2: a quote is opened and not closed"),
        ("\ufeffbackend a\n", "1: the file starts with a byte-order mark"),
    ],
)
def test_a_line_out_of_place_is_refused(text: str, expected: str) -> None:
    (found,) = problems(text)
    assert found.startswith(expected)


def test_a_section_starts_from_the_last_defaults_or_the_one_that_it_names() -> None:
    text = """
defaults slow
    retries 7
    default-server weight 5
    server-state-file-name x
defaults fast from slow
    timeout server 1s
    default-server maxconn 3
defaults
    retries 1
backend last
    server s h
backend slow from slow
    server s h
backend fast from fast
    retries 9
    default-server weight 6
    server s h
backend again from fast
    server s h
"""
    found = {
        b.name: (b.retries, b.timeout_server, b.servers[0].weight, b.servers[0].maxconn)
        for b in reading(text).config.backends
    }
    assert found == {
        "last": (1, None, 1, None),
        "slow": (7, None, 5, None),
        "fast": (9, 1.0, 6, 3),
        "again": (7, 1.0, 5, 3),
    }


def test_a_defaults_section_forgets_the_one_before() -> None:
    config = reading("defaults\nretries 7\ndefaults\ntimeout queue 1s\nbackend a\n").config
    assert (config.backends[0].retries, config.backends[0].timeout_queue) == (3, 1.0)


def test_a_section_for_something_else_is_passed_over_and_listed() -> None:
    text = "userlist u\nuser x password y\nresolvers r\nwhatever\nuserlist v\nbackend a\n"
    assert notices(text) == [
        "1: section userlist: accepted and without effect here",
        "3: section resolvers: accepted and without effect here",
    ]
    assert [backend.name for backend in reading(text).config.backends] == ["a"]


def test_a_line_in_a_section_that_cannot_use_it_is_noticed() -> None:
    text = "frontend a\nbind :1\ntimeout client 1s\ndefault_backend b\nbalance source\nbackend b\n"
    assert notices(text) == ["5: balance: has no effect in a frontend section"]


def test_checks_without_their_option_are_noticed_with_their_section() -> None:
    text = "backend a\ntcp-check connect port 5\nbackend b\n"
    (found,) = notices(text)
    assert found == "1: backend a: 'tcp-check connect' has no effect without 'option tcp-check'"
    assert notices(text.replace("backend b", "option tcp-check")) == []


def test_a_refused_option_may_be_switched_off() -> None:
    text = "backend a\nno option checkcache\nno option transparent\n"
    for mode in ("tcp", "http"):
        assert notices(text + f"mode {mode}\n") == [
            "2: no option checkcache: accepted and without effect here",
            "3: no option transparent: accepted and without effect here",
        ]


def test_all_problems_are_reported_by_file_and_line() -> None:
    files = [
        ("b.cfg", "listen a\nbind :x\nmode health\ndefault_backend c\n"),
        ("a.cfg", "foo\nbackend b\nretries\nserver s\n"),
    ]
    with pytest.raises(ConfigError) as caught:
        read(files)
    assert [(p.file, p.line) for p in caught.value.problems] == [
        ("b.cfg", 2),
        ("b.cfg", 3),
        ("b.cfg", 4),
        ("a.cfg", 1),
        ("a.cfg", 3),
        ("a.cfg", 4),
    ]


def test_a_file_that_is_something_else_is_given_up() -> None:
    found = problems("x\n" * 10 * Report.MAX_LISTED)
    assert len(found) == Report.MAX_LISTED + 1
    assert found[-1] == "1001: and more: 1000 are listed"


def test_defaults_go_on_in_the_next_file_and_sections_do_not() -> None:
    first = "defaults\nretries 7\nbackend a\n"
    config = read([("a.cfg", first), ("b.cfg", "backend b\n")]).config
    assert [backend.retries for backend in config.backends] == [7, 7]
    with pytest.raises(ConfigError, match=r"b.cfg:1: unknown keyword 'retries' before the first"):
        read([("a.cfg", first), ("b.cfg", "retries 3\n")])


def test_line_ends_of_windows_are_line_ends() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert reading(text.replace("\n", "\r\n")) == reading(text)


def test_a_last_line_without_its_end_is_noticed() -> None:
    assert notices("global\nmaxconn 5") == [
        "2: the last line has no line end: the file may have been cut, and HAProxy refuses it"
    ]


def test_a_reading_says_where_everything_stands() -> None:
    files = [
        ("a.cfg", "global\nmaxconn 5\nlisten a\nbind :1,[::1]:2-3\nbind :1\n"),
        ("b.cfg", "\nbackend b\n\nserver s h\nfrontend f\nbind :4\ndefault_backend b\n"),
    ]
    assert read(files).places == {
        "global maxconn": ("a.cfg", 2),
        "frontend a": ("a.cfg", 3),
        "frontend a, bind :1": ("a.cfg", 4),
        "frontend a, bind [::1]:2-3": ("a.cfg", 4),
        "backend a": ("a.cfg", 3),
        "backend b": ("b.cfg", 2),
        "backend b, server s": ("b.cfg", 4),
        "frontend f": ("b.cfg", 5),
        "frontend f, bind :4": ("b.cfg", 6),
    }
    assert read([]).places == {}


# --- variables -----------------------------------------------------------------------------------


def test_variables_come_from_the_environment_that_is_given() -> None:
    text = """
backend a
    server s "${HOST}" "${MORE[*]}" weight "${WEIGHT-7}"
    server t "$HOST" "$NONE"
    server "${.SECTION}-${.LINE}" h
    description "${.FILE}"
"""
    environment = {"HOST": "10.0.0.9", "MORE": "backup maxconn 5"}
    found = reading(text, environment)
    first, second, third = found.config.backends[0].servers
    assert (first.host, first.backup, first.maxconn, first.weight) == ("10.0.0.9", True, 5, 7)
    assert second.host == "10.0.0.9"
    assert third.name == "a-5"
    assert "x.cfg:4: the variable NONE is not set, and taken as empty" in map(str, found.notices)


def test_the_section_of_a_variable_is_its_kind_where_it_has_no_name() -> None:
    (found,) = problems('"${.SECTION}x"\n')
    assert found.startswith("1: unknown keyword 'x' before")
    (found,) = problems('global\n"x${.SECTION}"\n')
    assert found.startswith("2: unknown keyword 'xglobal'")
    (found,) = problems('defaults\n"x${.SECTION}"\n')
    assert found.startswith("2: unknown keyword 'xdefaults'")
    (found,) = problems('defaults\n"${.NONE}"\n')
    assert found.startswith("2: the variables with a dot are .FILE, .LINE and .SECTION, not .NONE")


def test_a_line_of_nothing_but_an_unset_variable_is_no_line() -> None:
    assert reading('backend a\n"$NONE"\n').config.backends[0].name == "a"


# --- words of ours -------------------------------------------------------------------------------


def test_a_policy_comes_from_a_comment() -> None:
    text = "backend a\n    # dsbalance: policy dsbalance.policy:LeastConn\nbackend b\n"
    a, b = reading(text).config.backends
    assert (a.policy, b.policy) == ("dsbalance.policy:LeastConn", None)
    trailing = "listen a\nbalance source #dsbalance: policy dsbalance.policy:First\n"
    assert reading(trailing).config.backends[0].policy == "dsbalance.policy:First"


def test_a_policy_given_twice_is_noticed_and_the_last_one_counts() -> None:
    line = "# dsbalance: policy dsbalance.policy:"
    text = f"backend a\n{line}First\n{line}LeastConn\n"
    assert reading(text).config.backends[0].policy == "dsbalance.policy:LeastConn"
    assert notices(text) == ["3: dsbalance: policy: given before, the last one counts"]


def test_the_clients_of_a_server_are_bounded_by_a_comment() -> None:
    lines = f"{RING}stick-table type ip size 1k\nstick on src\n"
    for text in (
        f"backend a\n# dsbalance: bounded-clients 125\n{lines}",
        f"defaults\n{RING}listen a\n{lines}# dsbalance: bounded-clients 125\n",
        f"backend a\n{lines}# dsbalance: bounded-clients 200\n# dsbalance: bounded-clients 125\n",
    ):
        assert reading(text).config.backends[0].bounded_clients == 125
    assert reading(f"backend a\n{lines}").config.backends[0].bounded_clients is None


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "hash-type consistent\nstick on src table t",
        "balance source\nstick on src table t",
        RING,
        f"{RING}stick match src table t",
        "balance random\nhash-type consistent\nstick on src table t",
        f"{RING}stick on src table t\n# dsbalance: policy dsbalance.policy:First",
    ],
)
def test_clients_that_cannot_be_bounded_are_refused_at_the_comment(lines: str) -> None:
    text = f"backend t\nstick-table type ip size 1k\nbackend a\n{lines}\n"
    (found,) = problems(f"{text}# dsbalance: bounded-clients 125\n")
    line = text.count("\n") + 1
    assert found.startswith(f"{line}: backend a: bounded_clients needs balance source, hash-type")


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("", "2: unknown keyword '' after dsbalance:"),
        ("plicy x:y", "2: unknown keyword 'plicy' after dsbalance:; did you mean 'policy'?"),
        ("policy", "2: dsbalance: policy: expects PACKAGE.MODULE:NAME"),
        ("policy nowhere", "2: dsbalance: policy: policy wants PACKAGE.MODULE:NAME"),
        ("policy no.such_module:X", "2: dsbalance: policy: policy no.such_module:X: Module"),
        ("policy dsbalance.policy:First x", "2: dsbalance: policy: unexpected word 'x'"),
        ("bounded-clients", "2: dsbalance: bounded-clients: expects a percentage above 100"),
        ("bounded-clients 100", "2: dsbalance: bounded-clients: expects a whole number of 101"),
        ("bounded-clients 65536", "2: dsbalance: bounded-clients: expects a whole number of 101"),
        ("bounded-clients 125%", "2: dsbalance: bounded-clients: expects a whole number of 101"),
        ("bounded-clients 125 x", "2: dsbalance: bounded-clients: unexpected word 'x'"),
    ],
)
def test_a_wrong_word_of_ours_is_refused(comment: str, expected: str) -> None:
    (found,) = problems(f"backend a\n# dsbalance: {comment}\n")
    assert found.startswith(expected)


@pytest.mark.parametrize("section", ["", "global\n", "defaults\n", "userlist u\n"])
def test_words_of_ours_belong_to_backends(section: str) -> None:
    (found,) = problems(f"{section}# dsbalance: policy dsbalance.policy:First\n")
    assert found.endswith("dsbalance: policy: belongs in a listen or backend section")


def test_other_comments_are_comments() -> None:
    assert reading("# about dsbalance: it reads this\nbackend a # 'x\n").notices == ()


# --- anything at all -----------------------------------------------------------------------------

_keywords = st.sampled_from([*GLOBAL_ROWS, *PROXY_WORDS, *OTHER_SECTIONS, *PREPROCESSOR, "no x"])
_arguments = st.sampled_from(
    [
        *(*BIND_WORDS, *SERVER_WORDS, *BIND_WORDS, *SERVER_WORDS),
        *("type", "ip", "size", "expire", "src", "table", "consistent", "source", "if", "port"),
        *(":80", "[::1]:80", "10.0.0.1", "h:1", "a", "b/s", "0", "1", "5s", "200k", "-1", "9" * 99),
        *('"$A"', '"$NONE"', '"', "'", "\\", "#", "''", "# dsbalance: bounded-clients 101"),
        *("random(2)", "static-rr", "srvkey", "addr", "layer4", "mark-down", "down", "addr-port"),
    ]
)
_line = st.builds(lambda *words: " ".join(words), _keywords, _arguments, _arguments) | st.builds(
    lambda first, words: " ".join((first, *words)),
    st.sampled_from(
        ["server s h", "server t h:1 check", "default-server", "bind :1", "stick on src"]
    )
    | _keywords,
    st.lists(_arguments, max_size=6),
)
_section = st.sampled_from(
    ["global", "defaults", "defaults d", "listen a", "backend b", "backend b from d", "frontend f"]
)
_text = (
    st.lists(_line | _section, max_size=60).map(lambda lines: "\n".join((*lines, "")))
    | st.lists(_line, max_size=40).map(lambda lines: "\n".join(("listen a", "bind :1", *lines, "")))
    | st.text()
    | st.binary().map(lambda data: data.decode("latin-1"))
)


@given(st.lists(_text, max_size=2))
def test_any_text_is_read_or_refused_with_config_errors(texts: list[str]) -> None:
    files = [(f"{number}.cfg", text) for number, text in enumerate(texts)]
    said: list[str]
    try:
        found = read(files, {"A": "x y"})
    except ConfigError as error:
        said = [str(problem) for problem in error.problems]
        places = [(problem.file, problem.line) for problem in error.problems]
    else:
        said = [str(notice) for notice in found.notices]
        places = [(notice.file, notice.line) for notice in found.notices]
    assert places == sorted(places)
    assert all(line >= 1 for _, line in places)
    assert "".join(said).isprintable()


_times = st.sampled_from(["0", "1", "1us", "90s", "24d", "25d", "2147483647", "2147483648", "1x"])
_numbers = st.sampled_from(["0", "1", "007", "256", "257", "65535", "2147483647"])
# The arguments of words without effect are not looked at, so what HAProxy says of those is its own.
_used = sorted(word for word, row in PROXY_WORDS.items() if row.parse)
# `addr` would take the next word for a name, and HAProxy would look it up; the others are of 3.x.
_used_by_servers = sorted(
    word
    for word, row in SERVER_WORDS.items()
    if row.field and word not in {"addr", "guid", "hash-key", "init-state"}
)
_proxy_line = st.one_of(
    st.builds("{} {}".format, st.sampled_from(_used), _times | _numbers),
    st.builds("no {}".format, st.sampled_from(_used)),
    st.sampled_from(_used),
    st.sampled_from([f"balance {word}" for word in Balance]),
    st.sampled_from(["balance random(3)", "balance random()", "balance random(0)"]),
    st.builds(
        "hash-type {} {} {}".format,
        st.sampled_from(["consistent", "map-based"]),
        st.sampled_from(["", "sdbm", "wt6", "none", "avalanche"]),
        st.sampled_from(["", "avalanche", "x"]),
    ),
    st.sampled_from(["stick on src", "stick match src table a", "stick store-request src"]),
    st.sampled_from(["stick-table type ip size 200k expire 30m", "stick-table size 1 type ipv6"]),
    st.just("stick-table size 1 type ip srvkey addr"),
    st.sampled_from(["option redispatch -2", "mode tcp", "tcp-check connect port 5"]),
    st.builds(
        "stats {} {}".format,
        st.sampled_from(["admin if", "auth a:", "enable", "realm", "refresh", "scope", "show-desc"])
        | st.sampled_from(["show-node", "uri /", "hide-version", "show-legends"]),
        st.sampled_from(["", "TRUE", "LOCALHOST or FALSE", "10", "2m", "a:b", ". x", "x"]),
    ),
    st.builds(
        "log {} {} {} {}".format,
        st.sampled_from(["127.0.0.1", "[::1]:5", "/dev/log", "stdout", "unix@/x", "udp@127.0.0.1"]),
        st.sampled_from(["", "len 80", "len 70000", "format raw", "len 99 format short", "x"]),
        st.sampled_from(["local0", "daemon", "cron2", "LOCAL0", "8"]),
        st.sampled_from(["", "info", "debug emerg", "err x", "info info x"]),
    ),
    st.sampled_from(["log global", "no log", "load-server-state-from-file local"]),
)
_server_line = st.builds(
    "server {} {} {}".format,
    st.sampled_from(["s", "t", "u-1.x:y_z", "v", "w", "x", "y", "z"]),
    st.sampled_from(["10.0.0.1", "10.0.0.1:0", "10.0.0.1:80", "[::1]", "::1:80", "localhost:"]),
    st.lists(
        st.sampled_from(_used_by_servers)
        | st.builds("{} {}".format, st.sampled_from(_used_by_servers), _times | _numbers)
        | st.sampled_from(["check", "track a/s", "track t", "addr 10.0.0.2", "addr [::1]"])
        | st.sampled_from(["on-marked-down shutdown-sessions", "init-addr last,libc"])
        | st.sampled_from(["on-marked-up shutdown-backup-sessions", "observe layer4"])
        | st.builds("on-error {}".format, st.sampled_from(OnError)),
        max_size=5,
    ).map(" ".join),
)
_bind_line = st.builds(
    "bind {} {}".format,
    st.sampled_from(
        [":80", "*:80-85", "[::]:80", ":::80", "10.0.0.1:80,:81", "localhost:80", ":1,"]
    ),
    st.sampled_from(["", "name x", "v4v6", "v6only", 'name "a b"', "backlog 5 nice 3"]),
)


@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed")
@settings(max_examples=FEW)
@given(st.lists(_proxy_line | _server_line | _bind_line, min_size=10, max_size=30))
def test_a_section_that_is_read_is_one_that_haproxy_takes(lines: list[str]) -> None:
    while True:
        text = "\n".join(("listen a", "bind 127.0.0.1:80", *lines, ""))
        try:
            read([("x.cfg", text)])
        except ConfigError as error:
            # What is refused is left out until something remains.
            wrong = {problem.line - 3 for problem in error.problems}
            if not wrong & set(range(len(lines))):
                return
            lines = [line for number, line in enumerate(lines) if number not in wrong]
        else:
            break
    command = [HAPROXY or "", "-c", "-f", "/dev/stdin"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 2}, (text, done.stderr)


# What an administrator writes who follows the vendor's white paper: ports apart, HTTP by its name.
BY_HAND = """
global
    log 127.0.0.1 local0
    daemon
    maxconn 4096
defaults
    log global
    mode http
    option httplog
    option dontlognull
    option http-server-close
    option redispatch
    retries 3
    timeout http-request 10s
    timeout http-keep-alive 10s
    timeout queue 1m
    timeout connect 10s
    timeout client 1m
    timeout server 1m
    errorfile 503 /etc/haproxy/errors/503.http
frontend auth
    mode tcp
    option tcplog
    bind *:5022
    bind *:5014-5019
    default_backend auth
backend auth
    mode tcp
    balance source
    hash-type consistent
    stick-table type ip size 200k expire 30m
    stick on src
    option tcp-check
    server primary-1 10.0.0.11 check port 5022 id 1 weight 10
    server primary-2 10.0.0.12 check port 5022 id 2 weight 10
frontend auth-http
    bind *:5012
    option forwardfor except 127.0.0.0/8
    default_backend auth-http
backend auth-http
    balance source
    hash-type consistent
    stick on src table auth
    server primary-1 10.0.0.11:5012 track auth/primary-1 id 1 weight 10
    server primary-2 10.0.0.12:5012 track auth/primary-2 id 2 weight 10
listen best-http
    bind *:50808
    option forwardfor
    balance roundrobin
    server primary-1 10.0.0.11:50808 check
"""


def test_a_file_with_plain_http_reads_as_it_is_meant() -> None:
    found = reading(BY_HAND)
    idle = "accepted and without effect here"
    assert [str(notice).removeprefix("x.cfg:") for notice in found.notices] == [
        f"{number}: {word}: {idle}" for number, word in ((4, "daemon"),)
    ]
    lines = {side.name: side.log.line for side in found.config.frontends if side.log}
    assert lines == {"auth": "tcplog", "auth-http": "httplog", "best-http": "httplog"}
    http = {side.name: side.http for side in found.config.frontends}
    assert {name for name, said in http.items() if said is not None} == {"auth-http", "best-http"}
    assert http["best-http"] == HttpOptions(
        connection=HttpConnection.SERVER_CLOSE,
        forwardfor=AddressField(),
        timeout_request=10.0,
        timeout_keep_alive=10.0,
        error_files=((503, "/etc/haproxy/errors/503.http"),),
    )
    assert [side.forwardfor for side in http.values() if side] == [
        AddressField(exception=ip_network("127.0.0.0/8")),
        AddressField(),
    ]


@pytest.mark.parametrize(
    "line", ['stats auth "a:hunter2', "  stats  auth 'a:hunter2", 'stats auth "a:${hunter2"']
)
def test_a_line_with_a_password_is_not_shown(line: str) -> None:
    assert problems(f"listen a\n{line}\n") == [
        "2: stats auth: a quote, an escape or a variable is malformed"
    ]
