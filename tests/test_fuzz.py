"""Whatever is written or typed: it is taken, or refused with ConfigError, and soon.

Files, words, arguments and names are made from those that people write, by what goes wrong when
they do. That it is soon is counted in calls and not in time; ``benchmarks/parsing.py`` times it.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import re
import runpy
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from actors import one_backend
from dsbalance import (
    Backend,
    Bind,
    Check,
    Config,
    ConfigError,
    ConnectError,
    Frontend,
    HashType,
    Keepalive,
    Proxy,
    Server,
    StickRule,
    Table,
    cli,
)
from dsbalance.haproxy.config import Reading, read
from dsbalance.haproxy.lexer import (
    MAX_INTEGER,
    MAX_MILLISECONDS,
    MAX_SIZE,
    parse_address,
    parse_integer,
    parse_size,
    parse_time,
)
from dsbalance.haproxy.writer import write

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = (ROOT / "examples" / "suite.cfg").read_text(encoding="utf-8")
SITE = """\
global
    maxconn 20000
    hard-stop-after 30s
defaults site
    mode tcp
    timeout connect "${WAIT-3s}"
    timeout client 1h
    timeout server 1h
frontend door from site
    bind :5022,[::1]:5014-5019 name 'the door'
    default_backend rooms
backend rooms
    balance source
    hash-type consistent sdbm avalanche
    stick-table type ipv6 size 200k expire 30m nopurge
    stick match src table rooms # dsbalance: policy dsbalance.policy:First
    option tcp-check
    tcp-check connect port 5022
    default-server inter 5s fall 3 rise 12 on-marked-down shutdown-sessions
    server a 10.0.0.11:80 check addr [::1] weight 256 id 7
    server "$NAME" 10.0.0.12 track rooms/a maxconn 5 backup disabled
    no option redispatch
"""
HEADS = """\
defaults
    mode http
    timeout connect 3s
    timeout client 1h
    timeout server 1h
    option http-server-close
    timeout http-request 10s
    errorfile 503 /etc/pages/503.http
frontend hall
    bind :80 accept-proxy
    stick-table type ip size 10k expire 1m store conn_cur,conn_rate(10s)
    acl inside src 10.0.0.0/8 192.168.0.0/255.255.0.0
    acl inside dst_port 80 8000:8080
    tcp-request connection expect-proxy layer4 if { src ::1 }
    tcp-request connection track-sc0 src unless inside
    tcp-request connection reject if { sc0_conn_cur gt 20 } or { sc0_conn_rate ge 99 } !LOCALHOST
    option forwardfor except 127.0.0.0/8 header X-Client if-none
    option originalto
    monitor-uri /alive
    http-request set-header X-From "%[src]:%[src_port] at 100%%"
    http-request del-header X-Forwarded-For -m str
    http-request deny deny_status 429 unless inside || { nbsrv(desks) lt 1 }
    http-response add-header X-By "${NAME-us}"
    redirect scheme https code 301 if !inside
    use_backend desks if inside
    default_backend desks
backend desks
    http-reuse never
    option tcp-check
    tcp-check connect port 81 send-proxy
    server a 10.0.0.11:80 check send-proxy-v2
    server b 10.0.0.12:80 send-proxy no-send-proxy
"""

# What keyboards, editors and other systems leave in a file.
SIGNS = st.sampled_from(
    [
        *"\"'\\#$ \t\r\n\v\f\0,:;-[]{}*@/%=.0129é\x1b\x7f\x85\xa0\u2028\u0661\ufeff",
        *("\\\n", "\\\r\n", "\\x", "\\x0", "${", "${A-", '"$', "[*]", "..", "::", "no ", "from "),
        *("9" * 30, "-1", "+1", "0x10", "1_000", "# dsbalance: "),
    ]
)


class Slip(NamedTuple):
    """Something that goes wrong: what, where, as parts of a text's length, and with which sign."""

    kind: str
    start: float
    end: float
    sign: str

    def __call__(self, text: str) -> str:
        first, second = sorted((int(self.start * len(text)), int(self.end * len(text))))
        before, between, after = text[:first], text[first:second], text[second:]
        match self.kind:
            case "insert":
                return before + self.sign + between + after
            case "replace":
                return before + self.sign + between[1:] + after
            case "cut":
                return before + after
            case "end":
                return before
            case "repeat":
                return before + between + between + after
        # Two pieces change places, up to the end of a line or a word.
        end = "\n" if self.kind == "swap lines" else " "
        left, right = between.partition(end), after.partition(end)
        return before + right[0] + left[1] + left[2] + left[0] + right[1] + right[2]


slips = st.lists(
    st.builds(
        Slip,
        st.sampled_from(["insert", "replace", "cut", "end", "repeat", "swap lines", "swap words"]),
        st.floats(0, 1),
        st.floats(0, 1),
        SIGNS,
    ),
    min_size=1,
    max_size=8,
)


def slipped(*texts: str) -> st.SearchStrategy[str]:
    """Return texts that are like one of these, but for a few slips."""

    def make(text: str, all_slips: Sequence[Slip]) -> str:
        for slip in all_slips:
            text = slip(text)
        return text

    return st.builds(make, st.sampled_from(texts), slips)


# --- files ---------------------------------------------------------------------------------------


def said_of(files: Sequence[tuple[str, str]]) -> list[str]:
    """Return what is said of some files, which are wrong, or worth a notice.

    What is read can be written, unless the language cannot say it, and reads back.
    """
    try:
        reading = read(files, {"NAME": "b"})
    except ConfigError as error:
        found = error.problems
    else:
        found = reading.notices
        with contextlib.suppress(ConfigError):
            assert read([("written", write(reading.config))]).config == reading.config
    assert all(problem.file and problem.line for problem in found)
    return [str(problem) for problem in found]


def test_the_files_that_slips_are_made_in_are_good() -> None:
    files = [("x.cfg", EXAMPLE), ("y.cfg", SITE), ("z.cfg", HEADS)]
    assert said_of(files) == []


@given(st.lists(slipped(EXAMPLE, SITE, HEADS), min_size=1, max_size=2))
def test_a_file_with_slips_is_read_or_refused(texts: list[str]) -> None:
    said = said_of([(f"{number}.cfg", text) for number, text in enumerate(texts)])
    assert "".join(said).isprintable()


@given(
    slipped(SITE, HEADS), st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)), max_size=3)
)
def test_bytes_that_are_no_text_are_refused_with_their_line(
    text: str, cuts: list[tuple[float, bytes]]
) -> None:
    content = text.encode()
    for place, some in cuts:
        at = int(place * len(content))
        content = content[:at] + some + content[at + 1 :]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.cfg"
        path.write_bytes(content)
        try:
            expected = outcome(read, [(str(path), content.decode())])
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            expected = f"{path}:{line}: byte {content[error.start]:#04x} is not UTF-8"
        assert outcome(cli._read, [folder]) == expected


def outcome(act: Callable[[list[Any]], Reading], files: list[Any]) -> Reading | str:
    try:
        return act(files)
    except ConfigError as error:
        return str(error)


# --- words ---------------------------------------------------------------------------------------


@given(slipped("30m", "1500", "2147483647", "24d", "90s", "250us", "0"))
def test_a_time_with_slips_is_a_time_of_haproxys_or_refused(word: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_time(word) <= MAX_MILLISECONDS / 1000


@given(slipped("200k", "4294967295", "1g", "0", "1048576"))
def test_a_size_with_slips_is_a_size_of_haproxys_or_refused(word: str) -> None:
    with contextlib.suppress(ConfigError):
        assert 0 <= parse_size(word) <= MAX_SIZE


@given(slipped("0", "256", "-5", "2147483647"), st.integers(-10, 0), st.integers(0, 300))
def test_a_number_with_slips_is_in_its_bounds_or_refused(word: str, low: int, high: int) -> None:
    with contextlib.suppress(ConfigError):
        assert low <= parse_integer(word, low, high) <= high
    with contextlib.suppress(ConfigError):
        assert -MAX_INTEGER <= parse_integer(word, -MAX_INTEGER) <= MAX_INTEGER


@given(
    slipped(":5022", "10.0.0.11:80", "[2001:db8::1]:443", ":5014-5019", "*", "print.example.org")
)
def test_an_address_with_slips_is_one_or_refused(word: str) -> None:
    with contextlib.suppress(ConfigError):
        host, port, last_port = parse_address(word)
        assert port is None or 0 <= port <= 65535
        assert last_port is None or 0 < (port or 0) <= last_port <= 65535
        assert not set(host) & set(" \t\r\n\0/@%[]#\"'\\")


# --- arguments -----------------------------------------------------------------------------------

COMMANDS = (
    ["run", "--listen", ":9100", "--server", "10.0.0.11:9100", "--backup", "[::1]:9100"],
    ["run", "--listen", ":1", "--server", "10.0.0.1:1", "--stick", "30m", "--balance", "source"],
    ["run", "--listen", ":1", "--server", "10.0.0.1", "--no-check", "--maxconn", "5"],
    ["run", "--listen", ":1", "--server", "10.0.0.1:1", "--policy", "dsbalance.policy:First"],
    ["run", "--paragon", "10.0.0.11,10.0.0.12", "--print-ports", "515,9100", "--host", "::1"],
    ["suite", "--phoenix", "10.0.0.11", "--phoenix-backup", "10.0.0.12", "--host", "10.0.0.9"],
    ["-f", str(ROOT / "examples" / "suite.cfg"), "-q"],
    ["run", "-f", str(ROOT / "tests" / "data"), "-v"],
)
# Not "demo", which would be shown.
WORDS = sorted({"-", "", "--", "-h", "-V", "--listen=", *(w for words in COMMANDS for w in words)})


@st.composite
def arguments(draw: st.DrawFn) -> list[str]:
    """Return a command line to check something, with slips in its words and in their order."""
    words = list(draw(st.sampled_from(COMMANDS)))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(words)))
        words[place : place + draw(st.integers(0, 2))] = draw(
            st.lists(st.sampled_from(WORDS) | slipped(*WORDS) | st.text(max_size=5), max_size=2)
        )
    # `suite` prints, and anything else is to be checked alone.
    return words if "suite" in words else [*words, "-c"]


@contextlib.contextmanager
def without_names() -> Iterator[None]:
    """Let no name be looked up: a slip in an address may make a name of it."""
    look_up = socket.getaddrinfo

    def numeric(*args: Any, **words: Any) -> Any:
        words["flags"] = words.get("flags", 0) | socket.AI_NUMERICHOST
        return look_up(*args, **words)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", numeric)
        yield


@given(arguments())
def test_any_command_line_is_obeyed_or_refused_in_lines_of_its_own(words: list[str]) -> None:
    assume("-c" in words or words[:1] == ["suite"])
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), without_names():
        try:
            status: object = cli.main(words)
        except SystemExit as done:
            status = f"exit {done.code}"
    said = err.getvalue().split("\n")
    assert said.pop() == ""
    match status:
        case cli.EXIT_OK:
            assert out.getvalue()
        case cli.EXIT_WRONG:
            assert said
            assert all(line.startswith("dsbalance: ") and line.isprintable() for line in said)
        case cli.EXIT_USAGE | "exit 2":
            assert said[0].startswith("usage: dsbalance")
            assert said[-1].isprintable()
        case _:
            assert status == "exit 0"
            assert not err.getvalue()


# --- names and numbers from other programs -------------------------------------------------------

NUMBERS: st.SearchStrategy[Any] = st.one_of(
    st.integers(),
    st.sampled_from([10**5000, -(10**5000), 2**31, 2**63, 256, 257, 65536, True, None]),
    st.floats(),
    st.sampled_from([0.0, -0.0, math.inf, 2147483.6, 2147483.7]),
    st.sampled_from(["5", "", "x" * 5000, b"5"]),
)
TEXTS = st.text(max_size=8) | slipped("back/a", "a", "::1", "10.0.0.1", "source", "b/c/d")
# Value -> what it wants, its numbers, its texts.
VALUES: dict[type, tuple[dict[str, Any], str, str]] = {
    Server: ({"name": "s", "host": "h"}, "port weight id maxconn", "name host track"),
    Check: ({}, "interval fast_interval down_interval rise fall timeout", "host"),
    Backend: (
        {"name": "b"},
        "retries redispatch timeout_connect timeout_server timeout_tunnel timeout_queue",
        "name balance policy",
    ),
    Bind: ({"port": 1}, "port last_port", "host name"),
    Frontend: (
        {"name": "f", "binds": (Bind(port=1),), "backend": "b"},
        "maxconn timeout_client timeout_client_fin",
        "name backend",
    ),
    Config: ({}, "maxconn hard_stop_after", ""),
    Table: ({"size": 1}, "size expire", "type"),
    StickRule: ({}, "", "action table"),
    HashType: ({}, "", "kind"),
    Keepalive: ({}, "idle interval count", ""),
}


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_value_is_made_or_refused(kind: type, data: st.DataObject) -> None:
    wanted, numbers, texts = VALUES[kind]
    optional = dict.fromkeys(numbers.split(), NUMBERS) | dict.fromkeys(texts.split(), TEXTS)
    given_words = data.draw(st.fixed_dictionaries({}, optional=optional))
    with contextlib.suppress(ConfigError):
        made = kind(**wanted | given_words)
        assert made == kind(**wanted | given_words)
        assert repr(made)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    """A proxy that has not been started, which does at once what it is asked."""
    proxy = Proxy(one_backend(Server(name="a", host="127.0.0.1", port=9)))
    yield proxy
    proxy.stop()


@pytest.mark.parametrize(
    "ask",
    [
        *(Proxy.drain, Proxy.ready, Proxy.maint, Proxy.addresses),
        *(Proxy.remove_frontend, Proxy.remove_backend, Proxy.remove_server),
        lambda proxy, name: proxy.set_weight(name, 1),
        lambda proxy, name: proxy.add_server(name, Server(name="b", host="127.0.0.1")),
        lambda proxy, name: proxy.add_server("back", Server(name="a", host=name)),
        lambda proxy, name: proxy.add_backend(Backend(name="back", policy=name)),
        lambda proxy, name: proxy.add_frontend(
            Frontend(name="front", binds=(Bind(port=1, host=name),), backend=name)
        ),
    ],
)
@given(name=TEXTS)
def test_a_name_that_is_not_there_changes_nothing(
    proxy: Proxy, ask: Callable[[Proxy, str], object], name: str
) -> None:
    assume(name not in {"front", "back", "back/a"})
    before = proxy.snapshot()
    with without_names(), pytest.raises((ConfigError, ConnectError)):
        ask(proxy, name)
    after = proxy.snapshot()
    assert (after.frontends, after.backends) == (before.frontends, before.backends)


@given(weight=NUMBERS)
def test_a_weight_is_taken_or_refused(proxy: Proxy, weight: Any) -> None:
    before = proxy.snapshot().backends[0].servers[0].weight
    try:
        proxy.set_weight("back/a", weight)
    except ConfigError:
        assert proxy.snapshot().backends[0].servers[0].weight == before
    else:
        assert 0 <= proxy.snapshot().backends[0].servers[0].weight == weight <= 256


# --- work ----------------------------------------------------------------------------------------

FAMILIES: dict[str, dict[str, Callable[[int], str]]] = runpy.run_path(
    str(ROOT / "benchmarks" / "shapes.py")
)["FAMILIES"]


class Work(NamedTuple):
    """What it took to do something.

    Attributes:
        steps: Calls of functions, in Python and in C, and turns of loops.
        depth: Calls in calls in calls, at the most.
    """

    steps: int
    depth: int


def work(act: Callable[[int], object], size: int) -> Work:
    """Count the work of an act of that size."""
    calls = depth = deepest = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls, depth, deepest
        calls += event in {"call", "c_call"}
        depth += (event == "call") - (event == "return")
        deepest = max(deepest, depth)

    sys.setprofile(count)
    try:
        act(size)
    finally:
        sys.setprofile(None)
    return Work(calls + turns(act, size), deepest)


if sys.version_info >= (3, 12):

    def turns(act: Callable[[int], object], size: int) -> int:
        """Count the turns of loops."""
        monitoring, jump = sys.monitoring, sys.monitoring.events.JUMP
        count = itertools.count()

        def on_jump(*_: object) -> None:
            next(count)

        monitoring.use_tool_id(monitoring.PROFILER_ID, "turns")
        monitoring.register_callback(monitoring.PROFILER_ID, jump, on_jump)
        monitoring.set_events(monitoring.PROFILER_ID, jump)
        try:
            act(size)
        finally:
            monitoring.set_events(monitoring.PROFILER_ID, 0)
            monitoring.free_tool_id(monitoring.PROFILER_ID)
        return next(count)

else:

    def turns(act: Callable[[int], object], size: int) -> int:
        """Count nothing: this Python tells only a tracer, and coverage may be that."""
        return 0


def assert_linear(act: Callable[[int], object], size: int = 3000) -> None:
    """Demand that three times as much is some three times the work at the most, and no deeper."""
    act(size // 5)  # What is made once and kept is not counted.
    once, thrice = work(act, size), work(act, 3 * size)
    assert thrice.steps <= 3.5 * once.steps + 500
    assert thrice.depth <= once.depth + 5


def test_the_count_tells_what_is_linear() -> None:
    def one_by_one(size: int) -> None:
        for _ in range(size):
            len("")

    def square(size: int) -> None:
        for part in range(size // 50):
            one_by_one(part)

    def deep(size: int) -> None:
        if size > 0:
            deep(size - 1000)

    assert_linear(one_by_one)
    for act in (square, deep):
        with pytest.raises(AssertionError):
            assert_linear(act)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the turns of loops are not counted")
def test_the_count_tells_a_loop_in_a_loop() -> None:
    def square(size: int) -> None:
        for part in range(size // 50):
            for _ in range(part):
                pass

    with pytest.raises(AssertionError):
        assert_linear(square)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(shape, id=f"{family}: {name}")
        for family, shapes in FAMILIES.items()
        for name, shape in shapes.items()
    ],
)
def test_thrice_as_much_is_thrice_the_work(shape: Callable[[int], str]) -> None:
    def read_it(size: int) -> None:
        with contextlib.suppress(ConfigError):
            read([("x.cfg", shape(size))], {"A": "x y"})

    assert_linear(read_it)


def test_a_policy_of_many_dots_is_no_deeper_than_one_of_few() -> None:
    """To import a.b is to import a first, which is a recursion of Python's own."""

    def read_it(size: int) -> None:
        with contextlib.suppress(ConfigError):
            read([("x.cfg", f"listen a\n# dsbalance: policy {'a.' * size}a:b\n")])

    assert_linear(read_it)
    assert work(read_it, 3000).depth <= work(read_it, 20).depth


LINES = (SITE + HEADS).splitlines()
NAMES = re.compile(r"\b(rooms|door|desks|hall|inside)\b")
# Every call of some thousand lines is counted.
FEW = min((settings.default.max_examples if settings.default else 50) // 2, 300)


@settings(max_examples=FEW)
@given(st.lists(st.sampled_from(LINES) | slipped(*LINES), min_size=1, max_size=12))
def test_lines_over_and_over_are_as_much_work_each_time(lines: list[str]) -> None:
    lines = [NAMES.sub(r"\1{}", line) for line in lines]

    def read_it(size: int) -> None:
        numbered = (line.replace("{}", str(n)) for n in range(size // 20) for line in lines)
        with contextlib.suppress(ConfigError):
            read([("x.cfg", "\n".join(numbered))], {"NAME": "b"})

    assert_linear(read_it, size=1000)
